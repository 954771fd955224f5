"""
Loss of the service at every request of every kind of save: one request that goes wrong in each way that requests do,
and the loss of everything from one request on. A save that was reported done is a version exactly once; every other one
is where its bytes can be found, and nothing is published by itself when the service is there again.
"""
import errno
import os
import time

import pytest

from conftest import FLAVOUR
from lib.killpoint import KillPoint
from lib.processes import in_processes
from lib.mount import Mount, wait_until
from lib.killing import KINDS, Judge, Save
from lib.service import Service

pytestmark = pytest.mark.long

SETTLE = 0.2
SAVE_TIMEOUT = 2
REQUESTS_MAX = 60
POINTS_MAX = 200
STRIDE = 1 if os.environ.get("MLENVFS_SLOW") else 2
AT_ONCE = 8
NOTICE_SECONDS = 5
SLACK_SECONDS = 4 if FLAVOUR == "release" else 20
OPTIONS = {"refresh": 3600, "settle": SETTLE, "save_timeout": SAVE_TIMEOUT}
# Each way that one request goes wrong. A lost answer is one to a request that was carried out.
ONCE = [{"close": True}, {"reset": True}, {"lost": True}, {"status": 503, "retry_after": 0}, {"status": 500}, {"truncate": 5},
        {"status": 429, "retry_after": 1}, {"delay_ms": 300}, {"garbage": True}, {"status": 403}]
# Each way that the service is gone from one request on.
FOR_GOOD = [{"close": True}, {"lost": True}, {"delay_ms": 20000}, {"status": 503}]
SERVICE_KINDS = [kind for kind in KINDS if kind.name in ("mv of a draft", "spec.yml in place", "context file in place",
                                                         "tags only")]
LOSS_ERRORS = {errno.EHOSTUNREACH, errno.ETIMEDOUT, errno.EIO, errno.EBUSY}


class Loop(Judge):
    """Saves of one kind, each with a fault at the next of its requests, for each fault."""

    def __init__(self, binary, kind, number, faults, for_good):
        self.kind, self.number, self.faults, self.for_good = kind, number, faults, for_good
        super().__init__(Service(binary), None)
        try:
            self.mount = Mount(binary, service=self.service, options=OPTIONS)
        except BaseException:
            self.service.kill()
            raise

    def end(self, well):
        if well:
            self.mount.stop()
            self.service.stop()
        else:
            self.mount.kill()
            self.service.kill()

    def run(self):
        well = False
        try:
            for turn in range(min(FEW, len(self.faults))):
                self.all_requests(turn)
            time.sleep(2 * SETTLE)
            self.all_stay("after a while")
            self.save_again()
            well = True
        finally:
            self.end(well)
        return self

    def all_requests(self, turn):
        for skip in range(REQUESTS_MAX):
            fault = self.faults[(self.number + skip + turn * len(self.faults) // min(FEW, len(self.faults))) % len(self.faults)]
            if not self.one(f"{turn}-{skip}", fault, skip):
                return
        raise AssertionError(f"{self.kind} makes more than {REQUESTS_MAX} requests")

    def one(self, label, fault, skip):
        """One save; gives whether it came as far as the fault."""
        save = Save.new(self.kind, label)
        save.prepare(self.service)
        self.mount.refresh()
        wait_until((self.mount.local / save.env / "1").is_dir, 10, "the new environment")
        save.warm(self.mount.local)
        self.service.reset_counters()
        self.service.set_faults({**fault, "skip": skip} if self.for_good else {**fault, "skip": skip, "times": 1})
        started = time.monotonic()
        hung = save.run(self.mount.local)
        took = time.monotonic() - started
        hit = self.hit(save, skip)
        self.service.set_faults()
        self.saves.append(save)
        if hit:
            save.what = f"request {skip + 1}{' and all later ones' if self.for_good else ''}: {fault}"
        self.judge(save)
        if hung:
            self.problem(save, "the program hung")
        if not hit:
            self.expect_unhurt(save)
        elif self.for_good:
            self.expect_lost(save, took)
        return hit

    def hit(self, save, skip):
        """Whether it came as far as the fault. What the client did not wait for is counted when the service notices that."""
        end = time.monotonic() + (NOTICE_SECONDS if save.error in LOSS_ERRORS else 0)
        while self.service.counters()["total"] <= skip:
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
        return True

    def expect_lost(self, save, took):
        """It fails in time, for the reason that it is."""
        if save.error and save.kind.gives != "nothing" and save.error not in LOSS_ERRORS:
            self.problem(save, "another error than those of a service that is gone")
        waited = save.kind.done != "published"    # else nobody waits for the service
        if waited and took > SAVE_TIMEOUT + SLACK_SECONDS:
            self.problem(save, f"it took {took:.1f} s")


# ---- the service itself is killed ----


class ServiceLoop(Judge):
    """Saves of one kind, each of which the service dies in, a step later each time, and is started again at once."""

    def __init__(self, binary, killpoint, kind):
        self.killpoint, self.kind, self.killed = killpoint, kind, ""
        killpoint.free()
        super().__init__(Service(binary, env=killpoint.env), None)
        self.mount = Mount(binary, service=self.service, options=OPTIONS)

    def all_points(self):
        for point in range(1, POINTS_MAX, STRIDE):
            if not self.one(point):
                return
        pytest.fail(f"{POINTS_MAX} steps, and still no end of it; the last: {self.saves[-1]}")

    def one(self, point):
        save = Save.new(self.kind, point)
        save.prepare(self.service)
        self.mount.refresh()
        wait_until((self.mount.local / save.env / "1").is_dir, 10, "the new environment")
        save.warm(self.mount.local)
        self.killed = ""
        self.killpoint.arm(point)
        hung = save.run(self.mount.local, meanwhile=self.revive)
        self.revive()
        if not self.killed:
            self.killpoint.disarm()
            self.expect_unhurt(save)
        save.what = self.killed and f"the service killed before its call {point}, {self.killed}"
        self.saves.append(save)
        self.judge(save)
        if hung:
            self.problem(save, "the program hung")
        return self.killed

    def revive(self):
        """Starts the service again on the same port and store when it was killed."""
        if not self.killed and self.killpoint.what:
            self.killed = self.killpoint.what
            self.killpoint.free()
            self.service.restart(crash=True)
        return False


@pytest.mark.deadline(600)
@pytest.mark.skipif(FLAVOUR != "release", reason="NOT TESTED: nothing can be preloaded before a sanitizer's library")
@pytest.mark.parametrize("kind", SERVICE_KINDS, ids=str)
def test_a_service_killed_at_any_step_and_started_again_saves_once(binary, tmp_path, kind):
    loop = ServiceLoop(binary, KillPoint(binary.parent / "tests/tools/killpoint.so", tmp_path / "killpoint"), kind)
    well = False
    try:
        loop.all_points()
        time.sleep(2 * SETTLE)
        loop.all_stay("after a while")
        loop.save_again()
        loop.report(kind)
        well = True
    finally:
        loop.mount.stop() if well else loop.mount.kill()
        loop.service.stop() if well else loop.service.kill()


# ---- faults ----

# Each request of each kind of save meets a few of the faults, another few in the next kind; with
# MLENVFS_SLOW=1, which takes minutes, all of them.
FEW = len(ONCE) if os.environ.get("MLENVFS_SLOW") else 2


def all_kinds(binary, faults, for_good):
    """Several at once: they wait most of the time."""
    def run(number):
        loop = Loop(binary, KINDS[number], number, faults, for_good).run()
        return len(loop.saves), loop.problems

    results = in_processes([lambda number=number: run(number) for number in range(len(KINDS))], AT_ONCE)
    points, problems = sum(count for count, _ in results), [text for _, some in results for text in some]
    print(f"{points} saves")
    if problems:
        pytest.fail(f"{len(problems)} problems with {points} saves:\n" + "\n".join(problems), pytrace=False)


@pytest.mark.deadline(600)
def test_one_request_that_goes_wrong_is_no_second_version_and_no_lost_save(binary):
    all_kinds(binary, ONCE, False)


@pytest.mark.deadline(600)
def test_a_service_that_is_gone_from_one_request_on_loses_nothing(binary):
    all_kinds(binary, FOR_GOOD, True)
