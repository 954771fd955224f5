"""Programs that end with SIGKILL right before a chosen call (tests/tools/killpoint.c)."""
import ctypes
import mmap
import signal
import struct
import time
from pathlib import Path

from lib.mount import Mount, MountError, force_unmount, wait_until

SIZE = 4096
WHAT_OFFSET, WHAT_SIZE = 24, 512
END_SECONDS = 10
STUCK_SECONDS = 0.3
MNT_FORCE = 1
_libc = ctypes.CDLL(None, use_errno=True)


def _text(path):
    """What a file of /proc says; "" when what it is about is gone."""
    try:
        return path.read_text()
    except OSError:
        return ""


class KillPoint:
    """A plan for one program at a time, which is started with .env in its environment."""

    def __init__(self, library, path):
        path.write_bytes(bytes(SIZE))
        with open(path, "r+b") as file:
            self.page = mmap.mmap(file.fileno(), SIZE)
        self.env = {"LD_PRELOAD": str(library), "KILLPOINT_FILE": str(path)}

    def _put(self, offset, number):
        self.page[offset:offset + 8] = struct.pack("=q", number)

    def free(self):
        """Counts nothing; the next program that starts with .env is the one that is counted."""
        self._put(0, 0)
        self._put(16, 0)

    def arm(self, number):
        """Counts from now on; the program ends before its call of this number, the first being 1."""
        self.page[WHAT_OFFSET:WHAT_OFFSET + WHAT_SIZE] = bytes(WHAT_SIZE)
        self._put(8, 0)
        self._put(0, number)

    def disarm(self):
        self._put(0, 0)

    @property
    def count(self):
        """How many calls were counted since arm()."""
        return struct.unpack("=q", self.page[8:16])[0]

    @property
    def what(self):
        """The call that was not made any more; "" when all of them were."""
        return self.page[WHAT_OFFSET:WHAT_OFFSET + WHAT_SIZE].rstrip(b"\0").decode(errors="replace")


class MortalMount(Mount):
    """A mount that a KillPoint can end, and that is started again in the same place with the same state."""

    def __init__(self, binary, killpoint, **how):
        self.killpoint = killpoint
        self.stuck_since = None
        killpoint.free()
        super().__init__(binary, env={**killpoint.env, **how.pop("env", {})}, **how)

    def died(self):
        """Waits for the end that the killpoint makes, and clears the mount point; fails when it was another end."""
        wait_until(lambda: self.process.poll() is not None or self.stuck(), END_SECONDS, "the end of the daemon")
        stuck = self.process.poll() is None
        if stuck:
            self.abort()
        status = self.process.wait(END_SECONDS)
        force_unmount(self.path)
        self.killpoint.free()
        if stuck:
            raise MountError("killed, it could not end before its connection was aborted: a thread waited for a lock that "
                             "the kernel holds until a request is answered")
        if status != -signal.SIGKILL:
            raise MountError(f"it ended with status {status}, not by the kill\n{self.log()}")

    def stuck(self):
        """
        Killed, but one of its threads waits in the kernel for a directory that is locked until the daemon
        answers, which it never will.
        """
        now = time.monotonic()
        waits = [_text(task / "wchan").startswith("fuse_reverse_inval") and " D " in _text(task / "stat")
                 for task in Path(f"/proc/{self.pid}/task").iterdir()]
        if not (self.killpoint.what and any(waits)):
            self.stuck_since = None
            return False
        self.stuck_since = self.stuck_since or now
        return now - self.stuck_since > STUCK_SECONDS

    def abort(self):
        """Ends what waits for the daemon (root's way; nobody but the kernel's file for it has another)."""
        _libc.umount2(str(self.path).encode(), MNT_FORCE)

    def end(self):
        """Ends it with SIGKILL from outside."""
        self.process.kill()
        self.died()

    def leave(self):
        try:
            super().leave()
        finally:
            self.killpoint.free()
