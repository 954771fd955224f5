"""Changing what is published: tags and description by setfattr; rm archives, mv restores, rm in .archived deletes."""
import errno
import os
import shutil
import subprocess
import threading

import pytest

from lib.mount import wait_until

IMAGE = {"image": "mcr.microsoft.com/azureml/base:1"}


@pytest.fixture
def mount(service, make_mount):
    for name in ("a", "b"):
        for version in ("1", "2", "3"):
            service.put_version(name, version, {**IMAGE, "tags": {"team": "ml"}, "stage": "Development"})
    return make_mount(service=service, options={"refresh": 3600})


def errno_of(call, *args, **kwargs):
    with pytest.raises(OSError) as caught:
        call(*args, **kwargs)
    return caught.value.errno


def rm(*words):
    done = subprocess.run(["rm", *map(str, words)], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr


def mv(*words):
    subprocess.run(["mv", *map(str, words)], check=True, stdin=subprocess.DEVNULL)


def tags(service, name="a", version="1"):
    return service.get_version(name, version)["properties"]["tags"]


def archived(service, name, version):
    return service.get_version(name, version)["properties"]["isArchived"]


def env_archived(service, name):
    path = service.workspace_path("local", "environments", name)
    return service.get(path, expect=200).json()["properties"]["isArchived"]


def versions(service, name):
    return {item["name"] for item in
            service.list(service.workspace_path("local", "environments", name, "versions"), listViewType="All")}


# ---- tags and description ----


def test_setfattr_sets_tags_in_place(service, mount):
    version = mount.local / "a/1"
    before = version.joinpath("spec.yml").stat()
    subprocess.run(["setfattr", "-n", "user.tag.owner", "-v", "grace", version], check=True)
    assert tags(service) == {"team": "ml", "owner": "grace"}
    assert os.getxattr(version / "spec.yml", "user.tag.owner") == b"grace"
    assert "owner: grace" in (version / "spec.yml").read_text()
    after = version.joinpath("spec.yml").stat()
    assert after.st_size == len((version / "spec.yml").read_bytes())
    assert after.st_mtime_ns > before.st_mtime_ns
    os.setxattr(version / "spec.yml", "user.tag.team", "platform \u00fc".encode())
    os.removexattr(version, "user.tag.owner")
    assert tags(service) == {"team": "platform \u00fc"}
    assert service.get_version("a", "1")["properties"]["stage"] == "Development", "what we do not know is kept"
    assert versions(service, "a") == {"1", "2", "3"}, "no new version"


def test_description(service, mount):
    version = mount.local / "a/2"
    os.setxattr(version, "user.description", b"What it is for.\nTwo lines.")
    assert service.get_version("a", "2")["properties"]["description"] == "What it is for.\nTwo lines."
    os.removexattr(version, "user.description")
    assert not service.get_version("a", "2")["properties"].get("description")
    assert errno_of(os.removexattr, version, "user.description") == errno.ENODATA


def test_flags_and_errors_are_as_on_a_local_disk(service, mount):
    version = mount.local / "a/1"
    assert errno_of(os.setxattr, version, "user.tag.team", b"x", os.XATTR_CREATE) == errno.EEXIST
    assert errno_of(os.setxattr, version, "user.tag.none", b"x", os.XATTR_REPLACE) == errno.ENODATA
    assert errno_of(os.removexattr, version, "user.tag.none") == errno.ENODATA
    assert errno_of(os.setxattr, version, "user.tag.bytes", b"\xff\xfe") == errno.EINVAL
    assert errno_of(os.setxattr, version, "user.azureml.id", b"x") == errno.EACCES
    assert errno_of(os.setxattr, mount.local, "user.tag.x", b"x") == errno.EOPNOTSUPP
    assert errno_of(os.setxattr, version, "security.x", b"x") in (errno.EOPNOTSUPP, errno.EPERM)
    assert tags(service) == {"team": "ml"}
    registry = next((mount.path / "@azureml").glob("*/latest/spec.yml"))
    # An ordinary user is stopped by the mode before the file system is asked.
    assert errno_of(os.setxattr, registry, "user.tag.x", b"x") in (errno.EROFS, errno.EACCES)


def test_setting_what_is_there_already_writes_nothing(service, mount):
    os.listdir(mount.local / "a/1")
    service.reset_counters()
    os.setxattr(mount.local / "a/1", "user.tag.team", b"ml")
    assert service.counters()["routes"].get("PUT version", 0) == 0
    service.reset_counters()
    os.setxattr(mount.local / "a/1", "user.tag.team", b"new")
    assert service.counters()["routes"] == {"GET version": 1, "PUT version": 1}


def test_a_tag_of_somebody_else_is_kept(service, mount, make_mount):
    other = make_mount(service=service, options={"refresh": 3600})
    os.listxattr(mount.local / "a/1")
    os.listxattr(other.local / "a/1")
    os.setxattr(mount.local / "a/1", "user.tag.from-one", b"1")
    os.setxattr(other.local / "a/1", "user.tag.from-two", b"2")
    assert tags(service) == {"team": "ml", "from-one": "1", "from-two": "2"}


def test_two_mounts_set_different_tags_at_once_and_lose_none(service, mount, make_mount):
    """The service has no ETags: the mounts of one machine keep out of each other's way themselves."""
    shared = {"XDG_RUNTIME_DIR": str(mount.runtime)}
    other = make_mount(service=service, options={"refresh": 3600}, env=shared)
    # A slow service makes the window wide.
    service.set_faults({"path": "*/versions/1", "method": "PUT", "delay_ms": 30})
    writers = [threading.Thread(target=set_tags, args=(each.local / "a/1", who))
               for each, who in ((mount, "one"), (other, "two"), (mount, "three"), (other, "four"))]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    expected = {f"{who}-{number}": str(number) for who in ("one", "two", "three", "four") for number in range(5)}
    assert tags(service) == {"team": "ml", **expected}


def set_tags(version, who):
    for number in range(5):
        os.setxattr(version, f"user.tag.{who}-{number}", str(number).encode())


def test_a_failed_change_says_so_and_changes_nothing(service, mount):
    service.set_faults({"path": "*/versions/1", "method": "PUT", "status": 403})
    assert errno_of(os.setxattr, mount.local / "a/1", "user.tag.x", b"y") == errno.EACCES
    assert os.listxattr(mount.local / "a/1") == ["user.tag.team"]


def test_cp_and_rsync_carry_tags_out_and_setfattr_restores_them(service, mount, tmp_path):
    subprocess.run(["rsync", "-aX", f"{mount.local}/a/1/", f"{tmp_path}/copy/"], check=True)
    dump = subprocess.check_output(["getfattr", "-d", "spec.yml"], cwd=tmp_path / "copy")
    os.removexattr(mount.local / "a/1", "user.tag.team")
    subprocess.run(["setfattr", "--restore=-"], input=dump, cwd=mount.local / "a/1", check=True)
    assert tags(service) == {"team": "ml"}


# ---- rm and mv ----


def test_rm_of_a_version_archives_it_and_mv_restores_it(service, mount):
    env, archive = mount.local / "a", mount.local / ".archived"
    text = (env / "2/spec.yml").read_text()
    rm("-r", env / "2")
    assert archived(service, "a", "2") and not archived(service, "a", "1")
    assert set(os.listdir(env)) == {"1", "3", "latest"}
    assert os.listdir(archive) == ["a"] and os.listdir(archive / "a") == ["2"]
    assert (archive / "a/2/spec.yml").read_text() == text
    mv(archive / "a/2", env)
    assert not archived(service, "a", "2")
    assert set(os.listdir(env)) == {"1", "2", "3", "latest"}
    assert (env / "2/spec.yml").read_text() == text
    assert os.listdir(archive) == []


def test_latest_follows_a_removal(service, mount):
    assert os.readlink(mount.local / "a/latest") == "3"
    rm("-r", mount.local / "a/3")
    assert os.readlink(mount.local / "a/latest") == "2"


def test_rm_of_an_environment_archives_it_and_one_mv_brings_it_back(service, mount):
    rm("-r", mount.local / "a/1")
    service.reset_counters()
    rm("-r", mount.local / "a")
    assert env_archived(service, "a") and not env_archived(service, "b")
    assert os.listdir(mount.local) == ["b"]
    assert set(os.listdir(mount.local / ".archived/a")) == {"1", "2", "3"}
    mv(mount.local / ".archived/a", mount.local)
    assert not env_archived(service, "a")
    assert set(os.listdir(mount.local / "a")) == {"2", "3", "latest"}


def test_rm_rf_of_a_whole_workspace_is_undone_with_one_mv(service, mount):
    rm("-r", mount.local / "b/1")
    before = snapshot(mount.local)
    subprocess.run(["rm", "-rf", mount.local], check=False, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert os.listdir(mount.local) == []
    for name in ("a", "b"):
        assert versions(service, name) == {"1", "2", "3"}, "nothing is deleted"
    mv(*sorted((mount.local / ".archived").iterdir()), mount.local)
    assert snapshot(mount.local) == before


def snapshot(top):
    return {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()}


def test_rm_in_archived_deletes_for_good(service, mount):
    rm("-r", mount.local / "a/1")
    rm("-r", mount.local / ".archived/a/1")
    assert versions(service, "a") == {"2", "3"}
    rm("-r", mount.local / "b")
    rm("-r", mount.local / ".archived/b")
    path = service.workspace_path("local", "environments", "b")
    assert service.get(path).status == 404
    assert os.listdir(mount.local / ".archived") == []


def test_delete_permanent(service, make_mount):
    service.put_version("a", "1", IMAGE)
    service.put_version("a", "2", IMAGE)
    mount = make_mount(service=service, options={"delete": "permanent"})
    rm("-r", mount.local / "a/1")
    assert versions(service, "a") == {"2"}
    rm("-r", mount.local / "a")
    assert service.get(service.workspace_path("local", "environments", "a")).status == 404


def test_files_removed_alone_come_back(service, mount):
    version = mount.local / "a/1"
    os.unlink(version / "spec.yml")
    assert errno_of(os.stat, version / "spec.yml") == errno.ENOENT
    assert "spec.yml" not in os.listdir(version)
    service.reset_counters()
    wait_until((version / "spec.yml").exists, 40, "spec.yml to come back by itself")
    assert "spec.yml" in os.listdir(version)
    assert not archived(service, "a", "1")
    assert service.counters()["routes"].get("PUT version", 0) == 0


def test_a_version_with_files_in_it_is_not_removed(service, mount):
    assert errno_of(os.rmdir, mount.local / "a/1") == errno.ENOTEMPTY
    assert errno_of(os.rmdir, mount.local / "a") == errno.ENOTEMPTY
    assert errno_of(os.rmdir, mount.local) in (errno.EPERM, errno.ENOTEMPTY)
    assert errno_of(os.rmdir, mount.local / ".archived") == errno.EBUSY
    assert not archived(service, "a", "1")


def test_a_build_context_goes_with_its_version(service, mount):
    blobs = service.blobs()
    for name in ("Dockerfile", "sub/one", "sub/deep/two"):
        assert blobs.put("ctx/" + name, b"FROM scratch\n").status == 201
    service.put_version("c", "1", {"build": {"contextUri": f"{blobs.url}/ctx/"}})
    os.setxattr(mount.path, "user.mlenvfs.refresh", b"1")
    wait_until((mount.local / "c/1").exists, 20, "the version")
    rm("-r", mount.local / "c/1")
    assert archived(service, "c", "1")
    mv(mount.local / ".archived/c/1", mount.local / "c")
    assert (mount.local / "c/1/context/sub/deep/two").read_bytes() == b"FROM scratch\n"


def test_another_name_is_a_copy_and_not_a_move(service, mount, tmp_path):
    assert errno_of(os.rename, mount.local / "a/1", mount.local / "a/9") == errno.EXDEV
    assert errno_of(os.rename, mount.local / "a", mount.local / "z") == errno.EXDEV
    assert errno_of(os.rename, mount.local / "a/1", mount.local / "b/9") == errno.EXDEV
    shutil.copytree(mount.local / "a/1", tmp_path / "copy")
    assert versions(service, "a") == {"1", "2", "3"}


def test_a_registry_refuses(service, mount):
    version = next((mount.path / "@azureml").glob("*/1"))
    done = subprocess.run(["rm", "-rf", version], capture_output=True, text=True, check=False)
    assert done.returncode and ("Read-only" in done.stderr or "Permission denied" in done.stderr)
    assert (version / "spec.yml").exists()


def test_a_service_that_refuses_to_archive_is_heard(service, mount):
    service.set_faults({"path": "*/versions/1", "method": "PUT", "status": 403})
    done = subprocess.run(["rm", "-r", mount.local / "a/1"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode and "Permission denied" in done.stderr
    wait_until((mount.local / "a/1/spec.yml").exists, 40, "the version to come back")


def test_an_answer_that_was_lost_archives_once(service, mount):
    service.set_faults({"path": "*/versions/1", "method": "PUT", "lost": True, "times": 1})
    rm("-r", mount.local / "a/1")
    assert archived(service, "a", "1")
    assert os.listdir(mount.local / ".archived/a") == ["1"]
