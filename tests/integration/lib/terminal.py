"""Programs that a person talks to, for tests: on a terminal of their own (tmux), or line by line."""
import os
import queue
import re
import secrets
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

from lib.mount import MountError, wait_until

# Wide enough for a whole path in a status line.
WIDTH, HEIGHT = 240, 40
WAIT_SECONDS = 20 * (1 if os.environ.get("MLENVFS_FLAVOUR", "release") == "release" else 4)
MARK = "MLENVFS_TEST_PROGRAM"


class ProgramError(AssertionError):
    """A program did not do what it was told within its time; with what it showed last."""


class Home:
    """A home directory for one program, and the environment that leads there; marks all its processes."""

    def __init__(self):
        self.path = Path(tempfile.mkdtemp(prefix="mlenvfs-home-"))
        self.mark = secrets.token_hex(8)
        self.env = {"PATH": os.environ["PATH"], "HOME": str(self.path), "LC_ALL": "C.UTF-8", "TZ": "UTC",
                    "TMUX_TMPDIR": str(self.path), "TMPDIR": str(self.path), "SHELL": "/bin/sh", MARK: self.mark}

    def file(self, name, text):
        """Writes a file of settings."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def processes(self):
        """What still runs of everything that was started in this home, as {pid: name}."""
        found = {}
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and f"{MARK}={self.mark}".encode() in (entry / "environ").read_bytes():
                    found[int(entry.name)] = (entry / "comm").read_text().strip()
            except OSError:
                continue
        return found

    def remove(self):
        shutil.rmtree(self.path, ignore_errors=True)


class Terminal:
    """A program on a terminal: a tmux server with a socket of its own, of one window of a fixed size."""

    def __init__(self, home, words):
        self.home = home
        self._tmux("-f", "/dev/null", "start-server", ";", "set", "-g", "remain-on-exit", "on", ";",
                   "set", "-g", "escape-time", "0", ";", "set", "-g", "status", "off", ";",
                   "new-session", "-d", "-c", self.home.path, "-x", WIDTH, "-y", HEIGHT, "--", *words)

    def _tmux(self, *words, check=True):
        done = subprocess.run(["tmux", "-u", "-L", self.home.mark, *map(str, words)], env=self.home.env, text=True,
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=WAIT_SECONDS, check=False)
        if check and done.returncode:
            raise ProgramError(f"tmux {words}: {done.stderr}")
        return done.stdout

    def type(self, text):
        """Types text as it is."""
        self._tmux("send-keys", "-H", *(f"{byte:02x}" for byte in text.encode()))

    def press(self, *keys):
        """Presses keys, by tmux's names: Enter, C-x, M-l, F2, S-End; a single character is itself."""
        self._tmux("send-keys", *keys)

    def screen(self):
        return self._tmux("capture-pane", "-p")

    def wait(self, right, what):
        """Waits until right(screen) holds."""
        last = ""

        def look():
            nonlocal last
            last = self.screen()
            return right(last)

        try:
            wait_until(look, WAIT_SECONDS, what)
        except MountError as problem:
            raise ProgramError(f"{problem}; the screen:\n{_shown(last)}") from None

    def ended(self):
        return self._tmux("display-message", "-p", "#{pane_dead}").strip() == "1"

    def await_end(self):
        """Waits until the program has ended by itself."""
        try:
            wait_until(self.ended, WAIT_SECONDS, "the program's end")
        except MountError as problem:
            raise ProgramError(f"{problem}; the screen:\n{_shown(self.screen())}") from None

    def close(self):
        """Closes the window, whatever runs in it."""
        self._tmux("kill-server", check=False)


def _shown(screen):
    return "\n".join(line.rstrip() for line in screen.splitlines() if line.strip())


class Dialogue:
    """A program that answers line by line on its output; what it complains about is taken for output too."""

    def __init__(self, home, words):
        self.process = subprocess.Popen([str(word) for word in words], env=home.env, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1)
        self._lines = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def say(self, text):
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def hear(self, last):
        """Its lines up to the one that matches `last`, with that one."""
        heard = []
        while not heard or not re.search(last, heard[-1]):
            try:
                line = self._lines.get(timeout=WAIT_SECONDS)
            except queue.Empty:
                line = None
            if line is None:
                raise ProgramError(f"{self.process.args[0]} said only {heard}, no {last!r}")
            heard.append(line)
        return heard

    def await_end(self):
        self.process.stdin.close()
        try:
            self.process.wait(WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            raise ProgramError(f"{self.process.args[0]} does not end") from None

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(WAIT_SECONDS)
        self.process.stdin.close()
        self.process.stdout.close()
