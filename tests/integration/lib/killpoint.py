"""Programs that end with SIGKILL right before a chosen call (tests/tools/killpoint.c)."""
import mmap
import signal
import struct
import subprocess

from lib.mount import Mount, MountError, force_unmount

SIZE = 4096
WHAT_OFFSET, WHAT_SIZE = 24, 512
END_SECONDS = 30


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
        killpoint.free()
        super().__init__(binary, env={**killpoint.env, **how.pop("env", {})}, **how)

    def died(self):
        """Waits for the end that the killpoint makes; fails when it was another one."""
        try:
            status = self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired as late:
            raise MountError(f"killed before {self.killpoint.what}, it lives\n{self.log()}") from late
        if status != -signal.SIGKILL:
            raise MountError(f"it ended with status {status}, not by the kill\n{self.log()}")
        self._unmount_dead()

    def end(self):
        """Ends it with SIGKILL from outside."""
        self.process.kill()
        self.process.wait()
        self._unmount_dead()

    def _unmount_dead(self):
        force_unmount(self.path)
        self.killpoint.free()

    def leave(self):
        """Unmounts as a user would, and keeps the state, for start()."""
        done = subprocess.run(["fusermount3", "-u", "--", str(self.path)], text=True, capture_output=True, check=False)
        problems = [done.stderr] if done.returncode else []
        problems += self._await_end()
        self.killpoint.free()
        if problems:
            raise MountError("\n".join(problems) + "\n" + self.log())
