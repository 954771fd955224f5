"""
kill -9 of the daemon at every step of every kind of save: a library ends it right before its first, second,
third, ... call that changes something or talks to somebody (tests/tools/killpoint.c), until a save goes through.
After a restart every save that was reported done is a version exactly once, every other one is a draft or a
.rejected, none is both, and nothing is published by itself, however often it is started again.

Each kind is hit at every fourth step, the next kind one step later; with MLENVFS_SLOW=1 at every one, which
takes a quarter of an hour.
"""
import os
import time

import pytest

from conftest import FLAVOUR
from lib.embedded import Embedded
from lib.killpoint import KillPoint, MortalMount
from lib.mount import MountError, wait_until
from lib.killing import KINDS, Judge, Save

if FLAVOUR != "release":
    pytest.skip(f"NOT TESTED: a library preloaded before the {FLAVOUR} sanitizer's is not possible; the release build "
                "is tested", allow_module_level=True)

SETTLE = 0.2
POINTS_MAX = 400
UNHURT_IN_A_ROW = 2
STRIDE = 1 if os.environ.get("MLENVFS_SLOW") else 4
EMBEDDED_KINDS = [kind for kind in KINDS if kind.name in ("mv of a draft", "spec.yml in place", "context file renamed over")]
# Without the cache on the disk, which test_cache.py stops in the middle of its own writes.
OPTIONS = {"refresh": 3600, "settle": SETTLE, "cache_size": 0}


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
        for point in range(1 + KINDS.index(self.kind) % STRIDE, POINTS_MAX, STRIDE):
            self.one(point)
            if self.unhurt == UNHURT_IN_A_ROW:
                return
        pytest.fail(f"{POINTS_MAX} steps, and still no end of it; the last: {self.saves[-1]}")

    def start(self):
        self.mount.start()

    def begin(self, save):
        """A new start, and what it makes of the last save."""
        save.prepare(self.service)
        self.start()
        self.judge_last()

    def one(self, point):
        save = Save.new(self.kind, point)
        self.begin(save)
        save.warm(self.mount.local)
        self.mount.killpoint.arm(point)
        hung = save.run(self.mount.local, rescue=self.mount.abort, meanwhile=self.mount.stuck)
        self.await_kill(point)
        save.what = self.mount.killpoint.what and f"killed before call {point}, {self.mount.killpoint.what}"
        self.saves.append(save)
        self.unhurt = 0 if save.what else self.unhurt + 1
        if not save.what:
            self.expect_unhurt(save)
            self.mount.killpoint.disarm()
            self.mount.process.kill()
        try:
            self.mount.died()
        except MountError as end:
            self.problem(save, str(end))
        if hung:
            self.problem(save, "the program hung, until the connection to the daemon was aborted")

    def await_kill(self, point):
        """What the daemon does after its reply belongs to the save: waits for the kill, or until it is quiet."""
        killpoint, quiet = self.mount.killpoint, 0
        while not killpoint.what and quiet < 5:
            before = killpoint.count
            time.sleep(0.005)
            quiet = quiet + 1 if killpoint.count == before else 0
        assert killpoint.what or killpoint.count < point


class EmbeddedLoop(Loop):
    """The same where the service is in the daemon, and dies with it."""

    def __init__(self, kind, mount):
        super().__init__(kind, Embedded(mount), mount)

    def start(self):
        self.service.forget()
        super().start()

    def begin(self, save):
        self.start()
        self.judge_last()
        save.prepare(self.service)
        self.mount.refresh()
        wait_until((self.mount.local / save.env / "1").is_dir, 10, "the new environment")


def check(loop):
    """All points of a loop, and what must still be true a while and a restart later."""
    mount = loop.mount
    try:
        loop.all_points()
        loop.start()
        loop.judge_last()
        time.sleep(2 * SETTLE)
        loop.all_stay("after a while")
        mount.leave()
        loop.start()
        loop.all_stay("after another restart")
        loop.save_again()
        loop.report(loop.kind)
        mount.stop()
    finally:
        if mount.process:
            mount.kill()


@pytest.mark.deadline(600)
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_daemon_killed_at_any_step_loses_nothing_and_saves_once(binary, service, killpoint, kind):
    check(Loop(kind, service, MortalMount(binary, killpoint, service=service, options=OPTIONS)))


@pytest.mark.deadline(600)
@pytest.mark.parametrize("kind", EMBEDDED_KINDS, ids=str)
def test_the_embedded_service_may_die_with_the_daemon(binary, killpoint, kind):
    check(EmbeddedLoop(kind, MortalMount(binary, killpoint, options=OPTIONS)))
