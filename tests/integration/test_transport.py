"""
Every kind of operation of a mount, over TLS, with everything that can be wrong between it and the service: the right
errno in bounded time, no version twice, and all of them work afterwards in the same mount.
"""
import errno
import json
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from conftest import FLAVOUR
from lib.frontdoor import AFTER, HOST, FrontDoor, make_certificates
from lib.mount import Mount, wait_until
from lib.service import Service
from lib.steps import upload_blobs

IMAGE = {"image": "mcr.microsoft.com/azureml/base:1"}
FILES = {"Dockerfile": b"FROM scratch\n", "data": b"x" * 100000}
SLOWNESS = 1 if FLAVOUR == "release" else 4
TIMEOUT = 1.5 * SLOWNESS  # seconds one operation, and a save, may take
# A guard against hanging, for a slow machine; no measure of speed.
SLACK_SECONDS = 15 * SLOWNESS
RECOVERY_SECONDS = 30 * SLOWNESS

FAULTS = {
    "refuse": {errno.EHOSTUNREACH},
    "drop": {errno.ETIMEDOUT, errno.EHOSTUNREACH},
    "no TLS": {errno.EHOSTUNREACH},
    "wrong certificate": {errno.EHOSTUNREACH},
    "reset": {errno.EIO},
    "half-close": {errno.EIO},
    "stall": {errno.ETIMEDOUT},
    "too long a length": {errno.EIO},
    "stall in the body": {errno.ETIMEDOUT},
}
if FLAVOUR != "release":
    # One of each kind: the others take the same way through the program.
    FAULTS = {name: FAULTS[name] for name in ("refuse", "reset", "stall", "too long a length")}


OPTIONS = {"refresh": 3600, "timeout": TIMEOUT, "save_timeout": TIMEOUT, "settle": 0.2}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(folder)
    return folder


@pytest.fixture(scope="module")
def world(binary, certificates):
    """A service, its front door, and a mount that goes through it."""
    with Service(binary) as service, FrontDoor(service, certificates) as door:
        with Mount(binary, service=door, options=OPTIONS, env={"CURL_CA_BUNDLE": str(certificates / "ca.pem")}) as mount:
            yield service, door, mount


class Operation:
    """
    One kind of operation in an environment of its own. prepare: what was done while all was well; run: raises OSError or
    does it; again: the same once more after it has failed; versions: how many there are in the end.
    """
    versions = 1

    def __init__(self, world, number):
        self.service, _, self.mount = world
        self.name = f"{type(self).__name__.lower()}-{number}"
        self.top = self.mount.local / self.name

    def stock(self):
        """At the service, before the mount looks."""
        self.service.put_version(self.name, "1", IMAGE)

    def prepare(self):
        pass

    def run(self):
        raise NotImplementedError

    def again(self):
        self.run()

    def check(self):
        """It is done, and once."""
        path = self.service.workspace_path("local", "environments", self.name, "versions")
        found = sorted(item["name"] for item in self.service.list(path, listViewType="All"))
        assert found == [str(number + 1) for number in range(self.versions)], self.name


class ListEnvironments(Operation):
    def stock(self):
        self.service.make_workspace(self.name)
        self.top = self.mount.path / self.name

    def prepare(self):
        assert self.name in os.listdir(self.mount.path)

    def run(self):
        os.listdir(self.top)

    def check(self):
        assert os.listdir(self.top) == []


class ListVersions(Operation):
    def run(self):
        assert "1" in os.listdir(self.top)


class ListContext(Operation):
    def stock(self):
        uri = upload_blobs(self.service, f"LocalUpload/{self.name}/ctx/", FILES)
        self.service.put_version(self.name, "1", {"build": {"contextUri": uri}})

    def prepare(self):
        assert "context" in os.listdir(self.top / "1")

    def run(self):
        assert sorted(os.listdir(self.top / "1/context")) == sorted(FILES)


class ReadContext(ListContext):
    def prepare(self):
        assert sorted(os.listdir(self.top / "1/context")) == sorted(FILES)

    def run(self):
        assert (self.top / "1/context/data").read_bytes() == FILES["data"]


class ChangeTag(Operation):
    def prepare(self):
        os.stat(self.top / "1/spec.yml")

    def run(self):
        os.setxattr(self.top / "1", "user.tag.team", b"ml")

    def check(self):
        super().check()
        assert self.service.get_version(self.name, "1")["properties"]["tags"] == {"team": "ml"}


class SaveSpec(Operation):
    versions = 2

    def prepare(self):
        self.text = (self.top / "1/spec.yml").read_text()

    def run(self):
        (self.top / "1/spec.yml").write_text(self.text.replace("base:1", f"base:{self.name}"))

    def again(self):
        # What was answered wrongly may have been done: it is looked up, and not done again.
        await_nothing_open(self.mount)
        if "2" not in os.listdir(self.top):
            self.run()


class PublishDraft(SaveSpec):
    def prepare(self):
        os.listdir(self.top / "1")
        self.draft = self.top / ".next"
        (self.draft / "context").mkdir(parents=True)
        for name, data in FILES.items():
            (self.draft / "context" / name).write_bytes(data + self.name.encode())
        (self.draft / "spec.yml").write_text("build:\n  path: context\n")

    def run(self):
        os.rename(self.draft, self.top / "2")

    def check(self):
        super().check()
        assert (self.top / "2/context/data").read_bytes() == FILES["data"] + self.name.encode()


class Restore(Operation):
    def stock(self):
        self.service.put_version(self.name, "1", {**IMAGE, "isArchived": True})
        self.service.put_version(self.name, "2", IMAGE)

    versions = 2

    def prepare(self):
        self.archived = self.mount.local / ".archived" / self.name / "1"
        assert self.archived.is_dir()

    def run(self):
        os.rename(self.archived, self.top / "1")

    def again(self):
        if not (self.top / "1").is_dir():
            self.run()

    def check(self):
        super().check()
        assert not self.service.get_version(self.name, "1")["properties"]["isArchived"]


OPERATIONS = [ListEnvironments, ListVersions, ListContext, ReadContext, ChangeTag, SaveSpec, PublishDraft, Restore]


def await_nothing_open(mount):
    def nothing():
        return not json.loads(os.getxattr(mount.path, "user.mlenvfs.status"))["publishing"]
    wait_until(nothing, RECOVERY_SECONDS, "doubtful publications to be looked up")


def attempt(operation):
    """(errno or 0, seconds)"""
    started = time.monotonic()
    try:
        operation.run()
        number = 0
    except OSError as error:
        number = error.errno
    return number, time.monotonic() - started


def recovered(operation):
    try:
        operation.again()
        return True
    except OSError:
        return False


def prepared(world, number):
    """One of each kind, with what it needs at the service and what was done before."""
    mount = world[2]
    operations = [kind(world, number) for kind in OPERATIONS]
    for operation in operations:
        operation.stock()
    mount.refresh()
    wait_until(lambda: set(os.listdir(mount.local)) >= {op.name for op in operations[1:]}, 20, "the environments")
    for operation in operations:
        operation.prepare()
    return operations


def all_recover(pool, operations):
    list(pool.map(lambda op: wait_until(lambda: recovered(op), RECOVERY_SECONDS, f"{op.name} to work again"), operations))
    for operation in operations:
        operation.check()


@pytest.mark.parametrize("fault", FAULTS)
def test_every_operation(world, fault):
    _, door, mount = world
    operations = prepared(world, list(FAULTS).index(fault))
    with ThreadPoolExecutor(len(operations)) as pool:
        door.go_wrong(fault)
        results = list(pool.map(attempt, operations))
        door.go_wrong(None)
        for operation, (number, took) in zip(operations, results):
            # What was done although the answer to it was lost may have been found out.
            expected = FAULTS[fault] | ({0} if fault in AFTER else set())
            # A slow machine may come to the end of the time before the end of the tries.
            expected |= {errno.ETIMEDOUT} if took >= TIMEOUT else set()
            assert number in expected, f"{operation.name}: {os.strerror(number)}\n{mount.log()[-3000:]}"
            assert took < TIMEOUT + SLACK_SECONDS, operation.name
        all_recover(pool, operations)


@pytest.mark.skipif(FLAVOUR != "release", reason="NOT TESTED: nothing can be preloaded before a sanitizer's library")
def test_a_name_that_no_server_knows_for_a_while(binary, certificates, tmp_path):
    """From the start of a mount, which remembers what the one before it read; it need not be mounted again."""
    nobody = tmp_path / "nobody-knows"
    env = {"CURL_CA_BUNDLE": str(certificates / "ca.pem"), "NONAME_HOST": HOST, "NONAME_FILE": str(nobody),
           "LD_PRELOAD": str(binary.parent / "tests/tools/noname.so")}
    with Service(binary) as service, FrontDoor(service, certificates, HOST) as door, \
            Mount(binary, service=door, options=OPTIONS, env=env) as mount, ThreadPoolExecutor(len(OPERATIONS)) as pool:
        operations = prepared((service, door, mount), 0)
        mount.leave()
        nobody.touch()
        mount.start()
        for operation, (number, took) in zip(operations, pool.map(attempt, operations)):
            remembered = type(operation) in (ListEnvironments, ListVersions, ListContext)
            assert number in {errno.EHOSTUNREACH, 0 if remembered else errno.EHOSTUNREACH}, (operation.name, mount.log()[-3000:])
            assert took < TIMEOUT + SLACK_SECONDS, operation.name
        assert "not resolve host" in mount.log()
        nobody.unlink()
        all_recover(pool, operations)


def test_what_is_known_is_shown_meanwhile(world):
    service, door, mount = world
    service.put_version("known", "1", IMAGE)
    mount.refresh()
    text = (mount.local / "known/1/spec.yml").read_text()
    door.go_wrong("refuse")
    try:
        mount.refresh()
        assert (mount.local / "known/1/spec.yml").read_text() == text
        assert "stale" in mount.cli("status", mount.path).stdout
    finally:
        door.go_wrong(None)
    shutil.copytree(mount.local / "known/1", mount.local / "known/2")
    wait_until(lambda: os.getxattr(mount.local / "known/2", "user.mlenvfs.state") == b"published", 20, "the copy")
