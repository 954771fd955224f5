"""A service that misbehaves: the right errno in bounded time, the reason in the log, the mount alive."""
import errno
import json
import os
import signal
import socket
import subprocess
import time

import pytest

from lib.mount import MountError, Sandbox, is_mounted, wait_until
from lib.steps import account_key, upload_blobs

IMAGE = {"image": "mcr.microsoft.com/azureml/base:1"}
VERSIONS = "*/environments/broken/versions"
TIMEOUT = 3  # seconds one operation may take in these tests


@pytest.fixture
def mount(service, make_mount):
    service.put_version("broken", "1", IMAGE)
    service.put_version("fine", "1", IMAGE)
    return make_mount(service=service, options={"refresh": 0, "timeout": TIMEOUT})


def errno_of(call, *args):
    with pytest.raises(OSError) as caught:
        call(*args)
    return caught.value.errno


FAULTS = [
    ("401", {"status": 401}, {errno.EACCES}, "401"),
    ("403", {"status": 403}, {errno.EACCES}, "403"),
    ("404", {"status": 404}, {errno.ESTALE}, None),
    ("429, longer than there is time", {"status": 429, "retry_after": 60}, {errno.EBUSY}, "429"),
    ("429 again and again", {"status": 429, "retry_after": 1}, {errno.EBUSY}, "429"),
    ("500", {"status": 500}, {errno.EIO}, "500"),
    ("garbage JSON", {"garbage_body": True}, {errno.EIO}, None),
    ("not HTTP", {"garbage": True}, {errno.EIO}, None),
    ("a truncated body", {"truncate": 40}, {errno.EIO}, None),
    ("a body of 100 MB", {"huge": 100 * 1024 * 1024}, {errno.EIO}, None),
    ("a reset", {"reset": True}, {errno.EIO, errno.EHOSTUNREACH}, None),
    ("closed without an answer", {"close": True}, {errno.EIO, errno.EHOSTUNREACH}, None),
    ("nothing at all", {"delay_ms": 60000}, {errno.ETIMEDOUT}, None),
    ("a body that stops", {"body_delay_ms": 60000}, {errno.ETIMEDOUT}, None),
]


@pytest.mark.parametrize("fault,expected,word", [f[1:] for f in FAULTS], ids=[f[0] for f in FAULTS])
def test_errno_time_and_log(service, mount, fault, expected, word):
    service.set_faults({"path": VERSIONS, **fault})
    started = time.monotonic()
    assert errno_of(os.listdir, mount.local / "broken") in expected
    # Bounded: the operation's own limit, with room for a slow machine. Not a measure of speed.
    assert time.monotonic() - started < TIMEOUT + 20
    assert (mount.local / "fine/1/spec.yml").read_text().startswith("$schema"), "the mount is alive"
    if expected != {errno.ESTALE}:
        log = mount.log()
        assert "broken" in log and (word is None or word in log), log
    service.set_faults()
    wait_until(lambda: readable(mount.local / "broken"), 30, "the service's recovery to be noticed")


def readable(path):
    """By a process of its own: one that asks again and again has to wait as long as the service said."""
    done = subprocess.run(["ls", path], capture_output=True, check=False)
    return done.returncode == 0 and done.stdout


def test_a_known_list_is_shown_while_the_service_is_away(service, mount):
    text = (mount.local / "broken/1/spec.yml").read_text()
    service.set_faults({"path": "*", "status": 503})
    assert (mount.local / "broken/1/spec.yml").read_text() == text
    assert "1" in os.listdir(mount.local / "broken")
    said = mount.cli("status", mount.path).stdout
    assert "stale" in said and "503" in said


def test_a_short_outage_is_not_noticed(service, mount):
    service.set_faults({"path": VERSIONS, "status": 503, "times": 2})
    assert "1" in os.listdir(mount.local / "broken")


def test_pages_that_repeat_or_are_missing(service, mount):
    for number in range(250):
        service.put_version("many", str(number), IMAGE)
    assert len(os.listdir(mount.local / "many")) == 251
    service.set_faults({"path": "*/environments/many/versions", "duplicate_page": True})
    # A list that never ends, or shows things twice, is worse than the old one.
    names = os.listdir(mount.local / "many")
    assert len(names) == len(set(names)) == 251


class Waiting:
    """A program that waits for an answer of the service, seen to be waiting; killed on the way out."""

    def __init__(self, service, make_mount, *command):
        service.put_version("slow", "1", IMAGE)
        self.mount = make_mount(service=service, options={"timeout": 600})
        os.listdir(self.mount.local)
        service.set_faults({"path": "*/environments/slow/versions", "delay_ms": 600000})
        before = self.flights()
        self.program = subprocess.Popen([*command, self.mount.local / "slow/1"], stderr=subprocess.DEVNULL)
        try:
            wait_until(lambda: self.flights() > before, 20, "the request")
            assert self.program.poll() is None
        except BaseException:
            self.program.kill()
            raise

    def flights(self):
        return json.loads(os.getxattr(self.mount.path, "user.mlenvfs.status"))["catalog"]["flights"]

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.program.poll() is None:
            self.program.kill()
        self.program.wait(60)


def test_a_waiting_cat_is_interrupted_by_ctrl_c(service, make_mount):
    with Waiting(service, make_mount, "cat") as waiting:
        waiting.program.send_signal(signal.SIGINT)
        assert waiting.program.wait(20) == -signal.SIGINT
        assert "slow" in os.listdir(waiting.mount.local)


def test_unmounting_ends_at_once_while_somebody_waits(service, make_mount):
    with Waiting(service, make_mount, "ls") as waiting:
        subprocess.run(["fusermount3", "-u", "-z", waiting.mount.path], check=True)
        # The kernel lets go of a mount that is in use when its last user does.
        waiting.program.kill()
        assert waiting.mount.process.wait(20) == 0
    assert not is_mounted(waiting.mount.path)
    waiting.mount.kill()


def test_sigterm_unmounts_while_somebody_waits(service, make_mount):
    with Waiting(service, make_mount, "ls") as waiting:
        waiting.mount.process.send_signal(signal.SIGTERM)
        assert waiting.program.wait(20) != 0
        assert waiting.mount.process.wait(20) == 0
    assert not is_mounted(waiting.mount.path)
    waiting.mount.kill()


def test_a_killed_process_is_cleaned_up_by_the_next_mount(binary):
    with Sandbox(binary) as box:
        at = box.base / "mnt"
        at.mkdir()
        box.cli("mount", at)
        pid = int(subprocess.check_output(
            ["/usr/bin/python3", "-c",
             "import json, os, sys; print(json.loads(os.getxattr(sys.argv[1], 'user.mlenvfs.status'))['pid'])", at]))
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: errno_or_zero(at) == errno.ENOTCONN, 20, "the dead mount")
        box.cli("mount", at)
        assert (at / "local").is_dir()
        box.cli("umount", at)
        assert not is_mounted(at)


def errno_or_zero(path):
    try:
        os.listdir(path)
    except OSError as error:
        return error.errno
    return 0


def test_a_wrong_token_is_told_before_anything_is_mounted(service, make_mount):
    with pytest.raises(MountError) as caught:
        make_mount(env={"AZURE_ACCESS_TOKEN": "wrong-token-7c1e"}, options={"arm_endpoint": service.url, "timeout": 5})
    assert "401" in str(caught.value)
    assert "wrong-token-7c1e" not in str(caught.value)


def test_an_unreachable_service_is_told_before_anything_is_mounted(binary, make_mount):
    with pytest.raises(MountError) as caught:
        make_mount(options={"arm_endpoint": "http://127.0.0.1:9", "timeout": 3})
    assert "127.0.0.1" in str(caught.value)


def test_a_start_that_waits_is_interrupted(sandbox):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        (sandbox.base / "mnt").mkdir()
        command = [sandbox.binary, "mount", "-f", "-o", f"arm_endpoint=http://127.0.0.1:{silent.getsockname()[1]}",
                   sandbox.base / "mnt"]
        with subprocess.Popen(command, env=sandbox.env, stderr=subprocess.PIPE, text=True) as process:
            silent.accept()[0].close()  # it has started: what follows is never answered
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 1, "it ends by itself, cleaning up"
            assert "interrupted" in process.stderr.read()


def test_the_token_is_in_no_log_and_no_environment(service, make_mount):
    mount = make_mount(service=service, options={"log_level": "debug"})
    uri = upload_blobs(service, "secret/", {"Dockerfile": b"FROM scratch\n"})
    service.put_version("e", "1", {"build": {"contextUri": uri}})
    wait_until((mount.local / "e/1/context/Dockerfile").exists, 40, "the version")
    assert (mount.local / "e/1/context/Dockerfile").read_bytes() == b"FROM scratch\n"
    key = account_key(service)
    service.set_faults({"path": "*", "status": 403})
    os.setxattr(mount.path, "user.mlenvfs.refresh", b"1")
    readable(mount.local)
    said = mount.log() + mount.cli("status", "--json", mount.path).stdout
    for part in ("environ", "cmdline"):
        try:
            with open(f"/proc/{mount.pid}/{part}", "rb") as file:
                said += file.read().decode(errors="replace")
        except PermissionError:
            pass  # who holds a token can't be looked into, but by root
    assert service.token not in said
    assert key not in said
    assert "sig=" not in said.replace("sig=*", "")


def test_hidden_names_are_never_asked_for(service, mount):
    os.listdir(mount.local)
    service.reset_counters()
    for name in (".git", ".hg", ".svn", "RCS", ".Trash-1000", ".hidden", "autorun.inf"):
        for place in (mount.path, mount.local):
            assert errno_of(os.stat, place / name) == errno.ENOENT
    routes = service.counters()["routes"]
    assert routes.get("GET versions", 0) == 0


def test_one_broken_environment_hides_no_other_below_archived(service, mount):
    service.put_version("old", "1", {**IMAGE, "isArchived": True})
    service.set_faults({"path": VERSIONS, "status": 500})
    archived = mount.local / ".archived"
    # Whether it belongs there is not known: a backup must see an error, not that it is gone.
    assert sorted(os.listdir(archived)) == ["broken", "old"]
    assert os.listdir(archived / "old") == ["1"]
    assert errno_of(os.listdir, archived / "broken") == errno.EIO
    service.set_faults()
    wait_until(lambda: os.listdir(archived) == ["old"], 20, "the recovery")
