"""
Image builds as files: build.log and its attributes, and `mlenvfs build`. By buildah where it is installed, and with
programs that pretend to build, line by line as the test says, for what is about logs and not about images.
"""
import errno
import os
import pty
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from lib.builds import BUILD_SECONDS, pretender, start, static_program, without_times
from lib.mount import wait_until
from lib.terminal import Home, Terminal

BUILD = "user.azureml.build"
STATE = "user.azureml.build_state"
IMAGE = "user.azureml.image"
FINAL = ("Succeeded", "Failed", "Canceled")
# A line is there within a second; so long it may take on a machine that is busy with something else.
SOON_SECONDS = 20
# What of a log is asked for at once.
BLOCK = 1024 * 1024
# What a program that pretends to build does: it copies what it is told, until it is told how to end.
OBEY = """
with open({fifo!r}, "rb") as orders:
    for order in orders:
        if order.startswith(b"EXIT "):
            return int(order[5:])
        os.write(1, order[:-2] if order.endswith(b"\\\\\\n") else order)
return 9
"""


def attribute(path, name):
    """The value, or None where there is none."""
    try:
        return os.getxattr(path, name).decode()
    except OSError as problem:
        assert problem.errno == errno.ENODATA, problem
        return None


def wait_state(version, states=FINAL, seconds=BUILD_SECONDS):
    states = (states,) if isinstance(states, str) else states
    wait_until(lambda: attribute(version, STATE) in states, seconds, f"a build to be {states}")
    return attribute(version, STATE)


def begin(version):
    os.setxattr(version, BUILD, b"start")


def publish(mount, name="env", spec="image: example.org/base:1\n"):
    """A version without files; gives its directory."""
    env = mount.local / name
    env.mkdir()
    (env / "spec.yml").write_text(spec)
    return env / "1"


def publish_context(mount, dockerfile, *files, name="env"):
    """A version with a build context; gives its directory."""
    draft = mount.local / name / ".next"
    draft.parent.mkdir()
    (draft / "context").mkdir(parents=True)
    (draft / "spec.yml").write_text("build:\n  path: context\n")
    (draft / "context" / "Dockerfile").write_text(dockerfile)
    for file in files:
        shutil.copy(file, draft / "context")
    draft.rename(draft.parent / "1")
    return draft.parent / "1"


def remount(mount):
    """Unmounts, and mounts again with what is on the disk."""
    subprocess.run(["fusermount3", "-u", "--", str(mount.path)], check=True)
    assert mount.process.wait(BUILD_SECONDS) == 0
    mount.start()


class Director:
    """Tells the program that pretends to build what to write, and how to end."""

    def __init__(self, directory):
        self.fifo = Path(directory) / "orders"
        os.mkfifo(self.fifo)
        self.program = pretender(directory, OBEY.format(fifo=str(self.fifo)))
        self._out = None

    def write(self, data):
        if self._out is None:  # waits until the program reads
            self._out = open(self.fifo, "wb", buffering=0)  # pylint: disable=consider-using-with
        self._out.write(data)

    def line(self, text):
        self.write(text.encode() + b"\n")

    def piece(self, text):
        """A part of a line: its end comes later."""
        self.write(text.encode() + b"\\\n")

    def end(self, status=0):
        self.write(f"EXIT {status}\n".encode())
        self._out.close()
        self._out = None


class Tail:
    """`tail -f` of a log; what it has shown."""

    def __init__(self, path):
        self.shown = b""
        self.complaints = b""
        # With a pause of less than its own second, so that the times are the mount's.
        self.process = subprocess.Popen(["tail", "-s", "0.05", "-n", "+1", "-f", str(path)],  # pylint: disable=consider-using-with
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self._threads = [threading.Thread(target=self._read, args=(name, stream), daemon=True) for name, stream in (
            ("shown", self.process.stdout), ("complaints", self.process.stderr))]
        for thread in self._threads:
            thread.start()

    def _read(self, name, stream):
        while True:
            some = os.read(stream.fileno(), 65536)
            if not some:
                return
            setattr(self, name, getattr(self, name) + some)

    def wait_for(self, words):
        wait_until(lambda: words in self.shown, SOON_SECONDS, f"{words!r} to be shown, after {self.shown[-500:]!r}")

    def stop(self):
        self.process.terminate()
        self.process.wait()
        for thread in self._threads:
            thread.join()
        self.process.stdout.close()
        self.process.stderr.close()


@pytest.fixture
def director(tmp_path):
    return Director(tmp_path)


@pytest.fixture
def tail():
    """Starts tails, which end with the test."""
    started = []

    def follow(path):
        started.append(Tail(path))
        return started[-1]

    yield follow
    for one in started:
        one.stop()


@pytest.fixture
def directed(director, make_mount):
    """A mount of the embedded service whose builder does as it is told."""
    return make_mount(options={"builder": director.program})


# ---- a real build ----


def test_a_real_build(engine, make_mount, tail, tmp_path):
    """Followed from before it begins, it ends with an image that runs and a log that stays."""
    mount = make_mount(options={"builder": "buildah"}, env=engine.env)
    static_program(tmp_path, "hello", "hello from the image")
    # Only root has the ids that a RUN step needs, wherever the tests run.
    run = "RUN [\"/hello\"]\n" if os.geteuid() == 0 else ""
    version = publish_context(
        mount, f"FROM scratch\nCOPY --chmod=755 hello /hello\n{run}CMD [\"/hello\"]\n", tmp_path / "hello")
    latest = version.parent / "latest"
    assert attribute(version, STATE) == "NotStarted"
    assert attribute(version, IMAGE) is None
    seen = tail(latest / "build.log")

    begin(latest)
    assert wait_state(latest) == "Succeeded", (latest / "build.log").read_text()
    log = (latest / "build.log").read_bytes()
    assert b"STEP 1/" in log and (not run or b"hello from the image" in log)
    image = attribute(version, IMAGE)
    assert engine.output_of(image, "/hello") == "hello from the image\n"
    seen.wait_for(log[-100:])
    assert seen.shown == log and not seen.complaints

    before = os.stat(version / "build.log")
    assert before.st_size == len(log)
    # The same definition again: there is nothing to build, and its log is the same one.
    done = mount.cli("build", version)
    assert done.stdout == image + "\n"
    assert (latest / "build.log").read_bytes() == log
    seen.stop()
    for _ in range(2):
        remount(mount)
        assert (latest / "build.log").read_bytes() == log
        assert attribute(version, STATE) == "Succeeded" and attribute(version, IMAGE) == image
        after = os.stat(version / "build.log")
        assert (after.st_size, after.st_mtime_ns, after.st_ino) == (before.st_size, before.st_mtime_ns, before.st_ino)


def test_a_real_failure(engine, make_mount):
    if os.geteuid():
        pytest.skip("NOT TESTED: RUN steps in a chroot are tested as root only")
    mount = make_mount(options={"builder": "buildah"}, env=engine.env)
    version = publish_context(mount, "FROM scratch\nRUN [\"/not-there\"]\n")
    done = mount.cli("build", "--follow", version, check=False)
    log = (version / "build.log").read_text()
    assert done.returncode == 1
    assert done.stdout == log
    reason = log.splitlines()[-1]
    assert "Failed: buildah ended with status" in reason and reason in done.stderr
    assert attribute(version, STATE) == "Failed" and attribute(version, IMAGE) is None


# ---- the log ----


def test_each_line_as_it_is_written(directed, director, tail):
    version = publish(directed)
    seen = tail(version / "build.log")
    begin(version)
    for number in range(5):
        director.line(f"line {number}")
        seen.wait_for(f"line {number}\n".encode())
        assert os.stat(version / "build.log").st_size == len(seen.shown)
    director.piece("a line without")
    seen.wait_for(b"a line without")
    director.line(" an end, until now")
    seen.wait_for(b"a line without an end, until now\n")
    assert attribute(version, STATE) == "Running"
    director.end()
    assert wait_state(version) == "Succeeded"
    log = (version / "build.log").read_bytes()
    seen.wait_for(log[-50:])
    assert seen.shown == log
    assert not seen.complaints, "tail never saw it get shorter"


def test_less_follows(directed, director, tail):
    version = publish(directed)
    home = Home()
    begin(version)
    director.line("the first line")
    seen = tail(version / "build.log")
    seen.wait_for(b"the first line")
    less = Terminal(home, ["less", "+F", version / "build.log"])
    try:
        less.wait(lambda screen: "the first line" in screen, "the log")
        director.line("the second line")
        less.wait(lambda screen: "the second line" in screen, "what was added")
        director.end()
    finally:
        less.close()
        home.remove()
    wait_state(version)


def test_a_failed_build(directed, director):
    version = publish(directed)
    begin(version)
    director.line("this does not go well")
    director.end(3)
    assert wait_state(version) == "Failed"
    lines = without_times((version / "build.log").read_bytes()).decode().splitlines()
    assert lines[-1].startswith("Failed: ") and "status 3" in lines[-1]
    # The next one has a log of its own.
    begin(version)
    director.line("better")
    director.end()
    assert wait_state(version) == "Succeeded"
    log = (version / "build.log").read_text()
    assert "better" in log and "this does not" not in log


def test_never_built(service, make_mount):
    """An empty log, and no requests for those that only list and stat."""
    mount = make_mount(service=service)
    version = publish(mount)
    subprocess.run(["ls", "-lR", mount.local], check=True, capture_output=True)
    service.reset_counters()
    subprocess.run(["ls", "-lR", mount.local], check=True, capture_output=True)
    assert service.counters()["total"] == 0
    assert (version / "build.log").read_bytes() == b""
    assert os.stat(version / "build.log").st_size == 0
    assert attribute(version, STATE) == "NotStarted" and attribute(version, IMAGE) is None
    names = os.listxattr(version)
    assert not [name for name in names if "build" in name or "image" in name]
    assert attribute(version, BUILD) is None


def test_a_build_that_runs_over_a_remount(serve, director, make_mount, tail):
    service = serve("--builder", director.program)
    mount = make_mount(service=service)
    version = publish(mount)
    begin(version)
    director.line("before")
    wait_until(lambda: b"before" in (version / "build.log").read_bytes(), SOON_SECONDS, "a line")
    remount(mount)
    seen = tail(version / "build.log")
    seen.wait_for(b"before\n")
    assert attribute(version, STATE) == "Running"
    director.line("after")
    seen.wait_for(b"after\n")
    director.end()
    assert wait_state(version) == "Succeeded"


def test_the_embedded_service_ends_with_its_mount(directed, director):
    """What it was building has failed then, and says so."""
    version = publish(directed)
    begin(version)
    director.line("half of it")
    wait_until(lambda: b"half of it" in (version / "build.log").read_bytes(), SOON_SECONDS, "a line")
    remount(directed)
    assert wait_state(version) == "Failed"
    log = (version / "build.log").read_text()
    assert "half of it" in log and "Failed: " in log.splitlines()[-1]


def test_a_version_made_anew_was_never_built(service, make_mount):
    mount = make_mount(service=service, options={"refresh": 0})
    version = publish(mount)
    begin(version)
    wait_state(version)
    wait_until(lambda: os.stat(version / "build.log").st_size, SOON_SECONDS, "a log")
    place = service.workspace_path("local", "environments", "env", "versions", "1")
    service.request("DELETE", place, expect=(200, 204))
    service.put_version("env", "1", {"image": "example.org/other:1"})
    assert os.stat(version / "build.log").st_size == 0
    assert attribute(version, STATE) == "NotStarted"


def test_somebody_elses_build(serve, director, make_mount):
    """Started through the API: the mount was not told, and finds its log."""
    service = serve("--builder", director.program)
    mount = make_mount(service=service, options={"refresh": 0.2})
    version = publish(mount)
    build = start(service, "env", "1")
    director.line("not from here")
    build.wait_for("not from here")
    wait_until(lambda: b"not from here\n" in (version / "build.log").read_bytes(), SOON_SECONDS, "the log")
    director.end()
    assert build.wait() == "Succeeded"
    wait_until(lambda: (version / "build.log").read_bytes() == build.read(), SOON_SECONDS, "all of the log")
    assert wait_state(version) == "Succeeded"
    assert attribute(version, IMAGE)


# ---- many and much ----


def state_of_the_build(mount):
    """What the mount remembers of its only build."""
    found = list((mount.base / "state" / "mlenvfs" / "builds").glob("*/*.json"))
    return found[0].read_text() if found else ""


def requests_of(service, readers, log):
    """What so many readers of all of the log cost at once."""
    contents = []

    def read():
        contents.append(Path(log).read_bytes())

    service.reset_counters()
    threads = [threading.Thread(target=read) for _ in range(readers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(contents)) == 1 and len(contents) == readers
    return service.counters()["total"], contents[0]


@pytest.mark.races
def test_eight_readers_cost_as_much_as_one(serve, make_mount, tmp_path):
    # Written at once, so that following it fetches the beginning only.
    program = pretender(tmp_path, "os.write(1, b'0123456789abcde\\n' * 100000)", "return 0")
    service = serve("--builder", program)
    first = make_mount(service=service)
    version = publish(first)
    begin(version)
    assert wait_state(version) == "Succeeded"
    wait_until(lambda: os.stat(version / "build.log") and '"settled":\ttrue' in state_of_the_build(first),
               SOON_SECONDS, "the end of the log")
    costs = []
    for readers in (8, 1):
        mount = make_mount(service=service, start=False)
        shutil.copytree(first.base / "state", mount.base / "state")
        for log in (mount.base / "state" / "mlenvfs" / "builds").glob("*/*.log"):
            log.unlink()
        mount.start()
        log = mount.local / "env" / "1" / "build.log"
        assert os.stat(log).st_size > 3 * BLOCK
        cost, content = requests_of(service, readers, log)
        assert len(content) == os.stat(log).st_size
        costs.append(cost)
        # Where the log is, and each of its blocks once.
        assert cost == 1 + -(-len(content) // BLOCK), (readers, costs)


@pytest.mark.deadline(240)
def test_a_log_of_50_megabytes(serve, make_mount, tmp_path, flavour):
    """With a line of 10 MB in the middle and one without an end; read from anywhere, in little memory."""
    # All of it takes long with sanitizers, and goes no other way through the program.
    parts = 20 if flavour == "release" else 3
    program = pretender(tmp_path, f"parts = {parts}", """
os.write(1, b"the beginning\\n")
for n in range(parts):
    os.write(1, b"".join(b"%08d this is one of very many lines of the log\\n" % (n * 20000 + i) for i in range(20000)))
for n in range(parts):
    os.write(1, b"x" * 500000)
os.write(1, b"\\n")
for n in range(parts):
    os.write(1, b"".join(b"%08d and this is one of the others\\n" % i for i in range(20000)))
os.write(1, b"the end, without an end" + b"y" * 1000000)
return 0
""")
    service = serve("--builder", program)
    mount = make_mount(service=service)
    version = publish(mount)
    build = start(service, "env", "1")  # nobody follows it
    assert build.wait(seconds=180) == "Succeeded"
    log = version / "build.log"
    begin(version)  # the same definition: it is there, with its log
    assert wait_state(version) == "Succeeded"
    content = log.read_bytes()
    size = len(content)
    assert size == os.stat(log).st_size > parts * 2_250_000
    assert content == build.read()
    with open(log, "rb") as file:
        for offset in (0, 1, size // 3, size // 2, size - 1_000_000, size - 1, size, size + 10):
            file.seek(offset)
            assert file.read(70_000) == content[offset:offset + 70_000]
    if flavour == "release":
        peak = next(int(line.split()[1]) for line in Path(f"/proc/{mount.pid}/status").read_text().splitlines()
                    if line.startswith("VmHWM:"))
        assert peak < 100 * 1024, f"{peak} kB for a log of {size // 1024} kB"


# ---- starting and cancelling ----


def refused(version, value):
    """The errno of telling it that, and the reason that is left."""
    with pytest.raises(OSError) as caught:
        os.setxattr(version, BUILD, value)
    return caught.value.errno, attribute(version, "user.mlenvfs.error")


def test_what_can_not_be_done(directed, director):
    version = publish(directed)
    number, reason = refused(version, b"maybe")
    assert number == errno.EINVAL and "start" in reason
    number, reason = refused(version, b"cancel")
    assert number == errno.EINVAL and "under way" in reason
    begin(version)
    assert attribute(version, "user.mlenvfs.error") is None, "what works takes the reason away"
    director.line("x")
    os.setxattr(version / "spec.yml", BUILD, b"cancel\n")
    assert wait_state(version) == "Canceled"
    draft = version.parent / ".draft"
    draft.mkdir()
    with pytest.raises(OSError) as caught:
        os.setxattr(draft, BUILD, b"start")
    assert caught.value.errno == errno.EOPNOTSUPP
    with pytest.raises(OSError) as caught:
        os.setxattr(version, BUILD, b"start", os.XATTR_REPLACE)
    assert caught.value.errno == errno.ENODATA


def test_read_only(directed, director):
    """Registries, and read-only mounts: what is there can be looked at."""
    version = publish(directed)
    curated = next(path for path in (directed.path / "@azureml").glob("*/*") if path.name != "latest")
    done = directed.cli("build", curated, check=False)
    assert done.returncode == 1 and "can't be built here" in done.stderr
    assert (curated / "build.log").read_bytes() == b""
    begin(version)
    director.line("to be read elsewhere")
    director.end()
    assert wait_state(version) == "Succeeded"
    log = (version / "build.log").read_bytes()
    directed.options["ro"] = True
    remount(directed)
    assert (version / "build.log").read_bytes() == log
    assert attribute(version, STATE) == "Succeeded"
    done = directed.cli("build", version, check=False)
    assert done.returncode == 1 and "Read-only file system" in done.stderr


def test_a_read_only_mount_follows_what_others_build(serve, director, make_mount, tail):
    """Though the kernel tells it of no open there."""
    service = serve("--builder", director.program)
    writer, reader = make_mount(service=service), make_mount(service=service, options={"ro": True, "refresh": 0.2})
    version = publish(writer)
    log = reader.local / "env" / "1" / "build.log"
    wait_until(log.exists, SOON_SECONDS, "the version")
    assert os.stat(log).st_size == 0
    begin(version)
    director.line("first line")
    wait_until(lambda: b"first line\n" in log.read_bytes(), SOON_SECONDS, "a log that was not there before")
    seen = tail(log)
    for number in range(5):
        director.line(f"line {number}")
        seen.wait_for(f"line {number}\n".encode())
    director.end()
    assert wait_state(version) == "Succeeded"
    seen.wait_for(b"Succeeded")
    wait_until(lambda: log.read_bytes() == (version / "build.log").read_bytes(), SOON_SECONDS, "the same log")
    assert os.stat(log).st_size == len(log.read_bytes())
    assert not seen.complaints


def test_a_log_that_nobody_knew_of_is_read_at_once_without_an_open(serve, director, make_mount):
    """No second look is needed: its size is asked for as it is read, after it was listed as empty."""
    service = serve("--builder", director.program)
    writer = make_mount(service=service)
    version = publish(writer)
    begin(version)
    director.line("built before")
    director.end()
    assert wait_state(version) == "Succeeded"
    reader = make_mount(service=service, options={"ro": True})
    log = reader.local / "env" / "1" / "build.log"
    assert subprocess.run(["ls", "-l", log.parent], check=True, capture_output=True, text=True).stdout.count("build.log") == 1
    with open(log, "rb") as file:
        file.seek(0, os.SEEK_END)
        assert file.tell() > len("built before\n")
    shown = subprocess.run(["cat", log], check=True, capture_output=True).stdout
    assert shown == (version / "build.log").read_bytes() and b"built before\n" in shown


def test_started_twice_is_one_build(directed, director):
    version = publish(directed)
    begin(version)
    begin(version)
    director.line("only once")
    begin(version)
    director.end()
    assert wait_state(version) == "Succeeded"
    assert (version / "build.log").read_text().count("only once") == 1


# ---- the command ----


class Command:
    """`mlenvfs build`, running."""

    def __init__(self, mount, *words, stderr=None):
        self.process = subprocess.Popen([str(mount.binary), "build", *map(str, words)],  # pylint: disable=consider-using-with
                                        env=mount.env, text=True, stdout=subprocess.PIPE,
                                        stderr=stderr or subprocess.PIPE)

    def joined(self):
        """It has joined the build, and reads the log."""
        files = Path(f"/proc/{self.process.pid}/fd")
        return any(os.readlink(file).endswith("/build.log") for file in files.iterdir())

    def end(self):
        """Its exit status, output and complaints."""
        out, complaints = self.process.communicate(timeout=BUILD_SECONDS)
        return self.process.returncode, out, complaints


def test_the_command_shows_progress_and_the_image(directed, director, tmp_path):
    version = publish(directed)
    shown = tmp_path / "progress"
    with shown.open("wb") as stderr:
        command = Command(directed, version, stderr=stderr)
    director.line("STEP 1/2: FROM scratch")
    director.line("STEP 2/2: COPY")
    wait_until(lambda: "Running: STEP 2/2: COPY" in shown.read_text(), SOON_SECONDS, "a step")
    director.end()
    status, out, _ = command.end()
    progress = shown.read_text()
    assert status == 0
    assert out == attribute(version, IMAGE) + "\n"
    assert "Succeeded" in progress.splitlines()[-1]
    assert "\r" not in progress


def test_the_command_follows(directed, director):
    version = publish(directed)
    command = Command(directed, "--follow", version / "spec.yml")
    director.line("all of this")
    director.end(7)
    status, out, complaints = command.end()
    assert status == 1
    assert out == (version / "build.log").read_text() and "all of this\n" in out
    assert out.splitlines()[-1] in complaints and "status 7" in complaints


def test_progress_on_a_terminal(directed, director):
    version = publish(directed)
    master, slave = pty.openpty()
    command = Command(directed, version, stderr=slave)
    os.close(slave)
    director.line("Step 1/1 : RUN something")
    shown = b""
    while b"Running: Step 1/1 : RUN something" not in shown:
        shown += os.read(master, 4096)
    director.end()
    status, out, _ = command.end()
    os.close(master)
    assert status == 0 and out
    assert b"\r" in shown and b"0:0" in shown


def test_ctrl_c_leaves_it_running(directed, director):
    version = publish(directed)
    command = Command(directed, version)
    director.line("x")
    wait_until(lambda: attribute(version, STATE) == "Running", SOON_SECONDS, "the build to run")
    command.process.send_signal(signal.SIGINT)
    status, _, complaints = command.end()
    assert status == 130 and "goes on" in complaints, complaints
    assert attribute(version, STATE) == "Running"
    director.line("y")
    # Who waits for it is told that it was cancelled.
    waiting = Command(directed, version)
    wait_until(waiting.joined, SOON_SECONDS, "it to wait")
    assert directed.cli("build", "--cancel", version).returncode == 0
    status, _, complaints = waiting.end()
    assert status == 1 and "cancelled" in complaints
    assert attribute(version, STATE) == "Canceled"


def test_the_command_explains(directed, sandbox, tmp_path):
    version = publish(directed)
    for words, status, text in ((["--cancel", version], 1, "under way"),
                                ([tmp_path], 1, "not an environment version"),
                                ([version / "nowhere"], 1, "No such file"),
                                ([], 2, "of what?"),
                                (["--folow", version], 2, "unknown option"),
                                (["--follow", "--cancel", version], 2, "exclude"),
                                ([version, version], 2, "too many")):
        done = sandbox.cli("build", *words, check=False)
        assert (done.returncode, text in done.stderr) == (status, True), done.stderr
