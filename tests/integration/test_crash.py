"""
kill -9 of the daemon at every step of every kind of save: a library ends it right before its first, second,
third, ... call that changes something or talks to somebody (tests/tools/killpoint.c), until a save goes through.
After a restart every save that was reported done is a version exactly once, every other one is a draft or a
.rejected, none is both, and nothing is published by itself, however often it is started again.
"""
import time

import pytest

from conftest import FLAVOUR
from lib.killpoint import KillPoint, MortalMount
from lib.mount import MountError
from lib.saves import KINDS, Judge, Save

if FLAVOUR != "release":
    pytest.skip(f"NOT TESTED: a library preloaded before the {FLAVOUR} sanitizer's is not possible; the release build "
                "is tested", allow_module_level=True)

SETTLE = 0.2
POINTS_MAX = 400
UNHURT_IN_A_ROW = 2
OPTIONS = {"refresh": 3600}


@pytest.fixture
def killpoint(binary, tmp_path):
    library = binary.parent / "tests/tools/killpoint.so"
    assert library.exists(), f"there is no {library}: run make tools first, or make test"
    return KillPoint(library, tmp_path / "killpoint")


class Loop(Judge):
    """Saves of one kind, each hit at the next step."""

    def __init__(self, kind, service, mount):
        super().__init__(service, mount)
        self.kind = kind
        self.unhurt = 0

    def all_points(self):
        """Until a save goes through unhurt, more than once: what the daemon does is not quite the same each time."""
        self.mount.leave()
        for point in range(1, POINTS_MAX):
            self.one(point)
            if self.unhurt == UNHURT_IN_A_ROW:
                return
        pytest.fail(f"{POINTS_MAX} steps, and still no end of it; the last: {self.saves[-1]}")

    def one(self, point):
        save = Save.new(self.kind, point)
        save.prepare(self.service)
        self.mount.start()
        self.judge_last()
        save.warm(self.mount.local)
        self.mount.killpoint.arm(point)
        hung = save.run(self.mount.local, rescue=self.mount.abort,
                        meanwhile=lambda: bool(self.mount.killpoint.what))
        self.await_kill(point)
        save.what = self.mount.killpoint.what and f"killed before call {point}, {self.mount.killpoint.what}"
        self.saves.append(save)
        self.unhurt = 0 if save.what else self.unhurt + 1
        if not save.what:
            self.expect_unhurt(save)
            self.mount.killpoint.disarm()
            self.mount.process.kill()
        if hung:
            self.problem(save, "the program hung")
        try:
            self.mount.died()
        except MountError as end:
            self.problem(save, str(end))

    def await_kill(self, point):
        """What the daemon does after its reply belongs to the save: waits for the kill, or until it is quiet."""
        killpoint, quiet = self.mount.killpoint, 0
        while not killpoint.what and quiet < 5:
            before = killpoint.count
            time.sleep(0.005)
            quiet = quiet + 1 if killpoint.count == before else 0
        assert killpoint.what or killpoint.count < point


@pytest.mark.deadline(600)
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_daemon_killed_at_any_step_loses_nothing_and_saves_once(binary, service, killpoint, kind):
    mount = MortalMount(binary, killpoint, service=service, options=OPTIONS)
    try:
        loop = Loop(kind, service, mount)
        loop.all_points()
        mount.start()
        loop.judge_last()
        time.sleep(2 * SETTLE)
        loop.all_stay("after a while")
        mount.leave()
        mount.start()
        loop.all_stay("after another restart")
        loop.save_again()
        loop.report(kind)
        mount.stop()
    finally:
        if mount.process:
            mount.kill()
