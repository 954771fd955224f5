"""A real mount as a child process, for the tests: started, awaited, and cleaned up on every way out."""
import ctypes
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

TYPE = "fuse.mlenvfs"
UP_SECONDS = 60
DOWN_SECONDS = 30
LOOKED_AT_SECONDS = 5
SANITIZER_WORDS = re.compile(r"(ERROR: (Address|Leak)Sanitizer|WARNING: ThreadSanitizer|runtime error:).*")
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def end_with_tests():
    """For preexec_fn: SIGTERM when the thread that starts the process ends, however it does."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class MountError(AssertionError):
    """The mount did not start, did not end, or did not end well; with its log."""


def mounts():
    """All mlenvfs mount points of this machine, as /proc/self/mountinfo has them now."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        if right.split()[0] == TYPE:
            at = left.split()[4]
            found.append(re.sub(r"\\([0-7]{3})", lambda m: chr(int(m.group(1), 8)), at))
    return found


def is_mounted(path):
    return os.path.realpath(os.path.dirname(path)) + "/" + os.path.basename(path) in mounts()


def wait_until(condition, seconds, what):
    """Polls until condition() is true; returns what it gave. MountError after so many seconds."""
    end = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            raise MountError(f"after {seconds} s still waiting for {what}")
        time.sleep(0.01)


def force_unmount(path):
    """Unmounts, whatever state it is in. For the way out only."""
    for lazily in ([], ["-z"]):
        if is_mounted(path):
            subprocess.run(["fusermount3", "-u", *lazily, "--", str(path)],
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def sandbox_env(base, extra=None):
    """An environment in which mlenvfs finds nothing of the user who runs the tests."""
    env = {name: value for name, value in os.environ.items()
           if name == "PATH" or name.endswith("SAN_OPTIONS")}
    env.update(HOME=str(base), XDG_DATA_HOME=str(base / "data"), XDG_RUNTIME_DIR=str(base / "run"),
               XDG_STATE_HOME=str(base / "state"), XDG_CACHE_HOME=str(base / "cache"),
               LC_ALL="C.UTF-8", TZ="UTC")
    env.update(extra or {})
    return env


class Sandbox:
    """A private directory (short, since socket paths are) with the environment that leads into it."""

    def __init__(self, binary, env=None):
        self.binary = Path(binary)
        self.base = Path(tempfile.mkdtemp(prefix="mlenvfs-"))
        self.runtime = self.base / "run"
        self.runtime.mkdir(mode=0o700)
        self.env = sandbox_env(self.base, env)

    def cli(self, *args, check=True, timeout=60, **more):
        """Runs the binary in this sandbox; gives the CompletedProcess, with text output."""
        done = subprocess.run([str(self.binary), *map(str, args)], env=self.env, text=True,
                              capture_output=True, timeout=timeout, check=False, **more)
        if check and done.returncode:
            raise MountError(f"mlenvfs {' '.join(map(str, args))}: status {done.returncode}\n"
                             f"{done.stdout}{done.stderr}")
        return done

    def remove(self):
        """Removes the directory, but never through something that is mounted in it."""
        inside = [at for at in mounts() if at.startswith(f"{self.base}/")]
        for at in inside:
            force_unmount(at)
        shutil.rmtree(self.base, ignore_errors=True)
        if inside:
            raise MountError(f"still mounted at the end of the test: {inside}")

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.remove()


class Mount(Sandbox):
    """
    `mlenvfs mount -f` of a service (an object with .url and .token), or of the embedded service
    in a store of its own. Options are -o options: {"refresh": 0, "ro": True}. A context manager;
    stop() is what checks that it ended well.
    """

    def __init__(self, binary, service=None, source=None, options=None, env=None, start=True):
        super().__init__(binary, env)
        self.path = self.base / "mnt"
        self.path.mkdir()
        self.log_path = self.base / "log"
        self.options = dict(options or {})
        self.source = source
        self.process = None
        if service is not None:
            self.options.setdefault("arm_endpoint", service.url)
            if service.token:
                self.env["AZURE_ACCESS_TOKEN"] = service.token
            if getattr(service, "ca", None):
                self.env["CURL_CA_BUNDLE"] = str(service.ca)
        if start:
            try:
                self.start()
            except BaseException:
                self.kill()
                raise

    @property
    def local(self):
        """The workspace that the embedded service has from the start."""
        return self.path / "local"

    @property
    def pid(self):
        return self.process.pid

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def command(self):
        words = [str(self.binary), "mount", "-f"]
        for name, value in self.options.items():
            values = value if isinstance(value, (list, tuple)) else [value]
            for one in values:
                if one is not False:
                    text = name if one is True else f"{name}={one}".replace(",", "\\,")
                    words += ["-o", text]
        return words + ([self.source] if self.source else []) + [str(self.path)]

    def start(self):
        """Starts it and waits until the kernel has the mount and it answers."""
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.command(), env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
                preexec_fn=end_with_tests)
        wait_until(lambda: is_mounted(self.path) or self.process.poll() is not None, UP_SECONDS,
                   "the mount")
        if self.process.poll() is not None:
            raise MountError(f"mlenvfs mount ended with status {self.process.returncode}\n{self.log()}")
        os.statvfs(self.path)
        return self

    def load(self, *directories, workspace=None):
        """Publishes environment directories into the workspace, as `mlenvfs import` does."""
        where = ["--workspace", workspace] if workspace else []
        return self.cli("import", *where, self.path, *directories, timeout=600)

    def refresh(self):
        """Makes every list old, so that the next look asks the service."""
        os.kill(self.pid, signal.SIGHUP)

    def stop(self):
        """Unmounts as a user would; it must be idle, end with status 0, and leave nothing."""
        if self.process is None:
            return
        problems = self._unmount()
        if problems:
            force_unmount(self.path)
        problems += self._await_end()
        problems += self._complaints()
        log = self.log()
        self._forget()
        if problems:
            raise MountError("\n".join(problems) + "\n" + log)

    def leave(self):
        """Unmounts as a user would, and keeps the state, for start()."""
        problems = self._unmount() + self._await_end()
        if problems:
            raise MountError("\n".join(problems) + "\n" + self.log())

    def _unmount(self):
        """`status` of another test, which looks at all mounts, may have this one open at the moment."""
        end = time.monotonic() + LOOKED_AT_SECONDS
        while True:
            done = subprocess.run(["fusermount3", "-u", "--", str(self.path)], text=True, capture_output=True, check=False)
            if not done.returncode:
                return []
            if "busy" not in done.stderr or time.monotonic() > end:
                return [f"unmounting: {done.stderr.strip()}"]
            time.sleep(0.05)

    def kill(self):
        """Ends it by force, with no check, for tests that broke it and for the way out."""
        force_unmount(self.path)
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._forget()

    def _forget(self):
        self.process = None
        self.remove()

    def _await_end(self):
        try:
            status = self.process.wait(DOWN_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return [f"it did not end within {DOWN_SECONDS} s of the unmount"]
        return [f"it ended with status {status}"] if status else []

    def _complaints(self):
        problems = [match.group(0) for match in SANITIZER_WORDS.finditer(self.log())]
        reports = os.environ.get("MLENVFS_REPORTS")
        if reports:
            problems += [path.read_text(errors="replace")
                         for path in Path(reports).glob(f"*.{self.pid}")]
        # The lock file stays: another mount may be about to open it.
        problems += [f"left behind: {path}" for path in self.runtime.iterdir() if path.name != "mlenvfs.lock"]
        return problems

    def __exit__(self, exc_type, *exc):
        if exc_type:
            self.kill()
        else:
            self.stop()
