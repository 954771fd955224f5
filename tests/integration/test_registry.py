"""Registries of one's own: new versions are made in them, slowly; what is there refuses changes, with a reason."""
import contextlib
import errno
import json
import os
import shutil
import subprocess

import pytest

from lib.mount import Mount, wait_until
from lib.service import Service
from lib.steps import upload_blobs

IMAGE = {"image": "mcr.microsoft.com/azureml/base:1", "condaFile": "dependencies:\n- python=3.10\n", "tags": {"team": "ml"}}
CONTEXT = {"Dockerfile": b"FROM ubuntu:22.04\n", "sub/one.txt": b"one\n" * 3000, "sub/empty": b"", "\u00e4 b": bytes(range(256))}
SPEC = "$schema: https://azuremlschemas.azureedge.net/latest/environment.schema.json\nimage: {}\n"


@contextlib.contextmanager
def running(binary, *service_options, **options):
    with Service(binary, *service_options) as service:
        service.make_registry("team")
        with Mount(binary, service=service, options={"registry": "team", "refresh": 3600, "settle": 0.2, **options}) as mount:
            yield service, mount, mount.path / "@team"


@pytest.fixture
def place(binary):
    with running(binary) as parts:
        yield parts


def errno_of(call, *args):
    with pytest.raises(OSError) as caught:
        call(*args)
    return caught.value.errno


def in_registry(service, name):
    path = service.registry_path("team", "environments", name, "versions")
    answer = service.get(path, query={"listViewType": "All"})
    return [] if answer.status == 404 else sorted(item["name"] for item in answer.json()["value"])


def state(path):
    return os.getxattr(path, "user.mlenvfs.state").decode()


def operations(mount):
    return json.loads(os.getxattr(mount.path, "user.mlenvfs.status"))["service"]["operations"]


def test_a_copy_into_a_registry_is_a_version_with_all_its_files(place):
    service, mount, team = place
    uri = upload_blobs(service, "LocalUpload/x/ctx/", CONTEXT)
    service.put_version("e", "3", {"build": {"contextUri": uri}, "description": "d"})
    service.put_version("f", "1", IMAGE)
    mount.refresh()
    service.reset_counters()
    for name, version in (("e", "3"), ("f", "1")):
        (team / name).mkdir()
        shutil.copytree(mount.local / name / version, team / name / version)
        wait_until(lambda at=team / name / version: state(at) == "published", 30, "the publication")
        assert in_registry(service, name) == [version]
        reference = os.getxattr(team / name / version, "user.azureml.reference").decode()
        assert reference == f"azureml://registries/team/environments/{name}/versions/{version}"
    routes = service.counters()["routes"]
    assert routes["PUT tempdataref"] == 1 and routes["PUT registry version"] == 2
    for name, data in CONTEXT.items():
        assert (team / "e/3/context" / name).read_bytes() == data
    assert "team: ml" in (team / "f/1/spec.yml").read_text()
    assert os.readlink(team / "f/latest") == "1"


def test_what_is_there_refuses_changes_and_an_edit_is_a_new_version(place):
    service, mount, team = place
    for name in ("e", "f"):
        service.put_version(name, "1", IMAGE, registry="team")
    mount.refresh()
    version = team / "e/1"
    os.setxattr(version, "user.tag.team", b"ml")  # as it is: cp -a does it
    assert errno_of(os.setxattr, version, "user.tag.x", b"1") == errno.EROFS
    assert "published in a registry can't be changed" in mount.log()
    done = subprocess.run(["rm", "-r", version], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode and "Read-only" in done.stderr
    assert in_registry(service, "e") == ["1"]
    spec, version = team / "f/1/spec.yml", team / "f/1"
    # Only the description: that would be a change of what is there.
    with pytest.raises(OSError) as caught:
        spec.write_text(spec.read_text() + "description: new\n")
    assert caught.value.errno == errno.EROFS
    assert "registry" in os.getxattr(version, "user.mlenvfs.error").decode()
    assert in_registry(service, "f") == ["1"]
    (version / "spec.yml.rejected").unlink()
    spec.write_text(spec.read_text().replace("base:1", "base:2"))
    assert in_registry(service, "f") == ["1", "2"]
    assert "base:2" in (team / "f/2/spec.yml").read_text()


def test_a_taken_name_is_refused(place):
    service, mount, team = place
    service.put_version("e", "1", IMAGE, registry="team")
    mount.refresh()
    assert os.listdir(team / "e")
    service.put_version("e", "2", IMAGE, registry="team")  # somebody else's
    (team / "e/.next").mkdir()
    (team / "e/.next/spec.yml").write_text(SPEC.format("i"))
    assert errno_of(os.rename, team / "e/.next", team / "e/2") == errno.EEXIST
    os.rename(team / "e/.next", team / "e/3")
    assert in_registry(service, "e") == ["1", "2", "3"]


def test_permanent_removal(binary):
    with running(binary, delete="permanent") as (service, mount, team):
        for version in ("1", "2"):
            service.put_version("e", version, IMAGE, registry="team")
        mount.refresh()
        subprocess.run(["rm", "-r", team / "e/1"], check=True)
        assert in_registry(service, "e") == ["2"]


def test_the_system_registry_takes_nothing(place):
    _, mount, _ = place
    some = next((mount.path / "@azureml").glob("*/1"))
    assert errno_of(os.mkdir, some.parent / "new") == errno.EROFS
    assert errno_of(os.mkdir, mount.path / "@azureml/new") == errno.EROFS
    assert errno_of(open, some / "spec.yml", "a") in (errno.EROFS, errno.EACCES)


# ---- registrations that take a while ----


def test_the_program_waits_and_status_shows_how_far_it_is(binary):
    with running(binary, "--registry-polls", 3) as (service, mount, team):
        (team / "e/.next").mkdir(parents=True)
        (team / "e/.next/spec.yml").write_text(SPEC.format("i"))
        with subprocess.Popen(["mv", "-T", team / "e/.next", team / "e/4"]) as move:
            one = wait_until(lambda: operations(mount), 20, "the operation")[0]
            assert (one["scope"], one["environment"], one["version"], one["being"]) == ("team", "e", "4", "registered")
            said = mount.cli("status", mount.path).stdout
            assert "operations  team/e/4: being registered for" in said
            assert move.wait(60) == 0
        assert state(team / "e/4") == "published"
        assert operations(mount) == []
        assert service.counters()["routes"]["PUT registry version"] == 1


@pytest.mark.parametrize("how", ["rename", "quiet"])
def test_a_registration_that_outlasts_the_save_goes_on(binary, how):
    """The program is told in time; nothing is sent twice, and the draft goes when the registry is done."""
    with running(binary, "--registry-polls", 3, save_timeout=1) as (service, mount, team):
        draft = team / "e" / (".next" if how == "rename" else "4")
        draft.mkdir(parents=True)
        (draft / "spec.yml").write_text(SPEC.format("i")) if how == "rename" else told(draft / "spec.yml")
        if how == "rename":
            assert errno_of(os.rename, draft, team / "e/4") == errno.ETIMEDOUT
        assert "accepted" in os.getxattr(draft, "user.mlenvfs.error").decode()
        one = wait_until(lambda: operations(mount), 20, "the operation")[0]
        assert (one["environment"], one["version"]) == ("e", "4")
        assert "e/4" in mount.cli("status", mount.path).stdout
        wait_until(lambda: (team / "e/4").exists() and state(team / "e/4") == "published", 40, "the registry to be done")
        assert in_registry(service, "e") == ["4"]
        if how == "rename":
            wait_until(lambda: not draft.exists(), 20, "the draft to go")
        assert service.counters()["routes"]["PUT registry version"] == 1
        assert operations(mount) == []


def told(spec):
    """Writes a draft's spec.yml, which publishes it: the close says that it is not done in time."""
    with pytest.raises(OSError) as caught:
        spec.write_text(SPEC.format("i"))
    assert caught.value.errno == errno.ETIMEDOUT


def test_a_save_again_while_it_is_registered_sends_nothing(binary):
    with running(binary, "--registry-polls", 1000, save_timeout=1) as (service, mount, team):
        (team / "e/.next").mkdir(parents=True)
        (team / "e/.next/spec.yml").write_text(SPEC.format("i"))
        assert errno_of(os.rename, team / "e/.next", team / "e/4") == errno.ETIMEDOUT
        assert errno_of(os.rename, team / "e/.next", team / "e/4") in (errno.ETIMEDOUT, errno.EEXIST)
        assert service.counters()["routes"]["PUT registry version"] == 1
        assert (team / "e/.next/spec.yml").exists(), "what was written is kept"
