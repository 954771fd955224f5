"""What the tree shows: versions, latest, archived, registries, attributes, odd and hostile names."""
import errno
import os
import stat
import subprocess

import pytest

from lib.mount import wait_until
from lib.steps import archive, delete, make_workspace, put_in_group, upload_blobs

IMAGE = {"image": "mcr.microsoft.com/azureml/base:1", "osType": "Linux"}


@pytest.fixture
def fresh(service, make_mount):
    """A service and a mount of it that looks again every time."""
    return service, make_mount(service=service, options={"refresh": 0})


def errno_of(call, *args, **kwargs):
    with pytest.raises(OSError) as caught:
        call(*args, **kwargs)
    return caught.value.errno


def test_latest_is_the_newest_by_creation(fresh):
    service, mount = fresh
    for version in ("9", "10", "2"):
        service.put_version("e", version, IMAGE)
    env = mount.local / "e"
    assert sorted(p.name for p in env.iterdir()) == ["10", "2", "9", "latest"]
    assert os.readlink(env / "latest") == "2"
    assert "version: \"2\"" in (env / "latest/spec.yml").read_text()
    service.put_version("e", "3", IMAGE)
    assert os.readlink(env / "latest") == "3"


def test_archived_versions_and_environments(fresh):
    service, mount = fresh
    for version in ("1", "2"):
        service.put_version("some", version, IMAGE)
        service.put_version("all", version, IMAGE)
    service.put_version("some", "1", {**IMAGE, "isArchived": True})
    archive(service, "all")
    local, archived = mount.local, mount.local / ".archived"
    assert {p.name for p in local.iterdir()} == {"some"}, "reached by its name, not listed"
    assert {p.name for p in (local / "some").iterdir()} == {"2", "latest"}
    assert {p.name for p in archived.iterdir()} == {"all", "some"}
    assert {p.name for p in (archived / "some").iterdir()} == {"1"}
    assert {p.name for p in (archived / "all").iterdir()} == {"1", "2"}
    assert (archived / "some/1/spec.yml").read_text().startswith("$schema")
    assert errno_of(os.stat, local / "all") == errno.ENOENT
    assert errno_of(os.stat, local / "some/1") == errno.ENOENT
    assert errno_of(os.stat, archived / "some/2") == errno.ENOENT


def test_registries_are_read_only_for_everyone(fresh):
    _, mount = fresh
    registry = mount.path / "@azureml"
    versions = list(registry.glob("*/latest/spec.yml"))
    assert versions
    for path in versions:
        assert stat.S_IMODE(path.stat().st_mode) == 0o444
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o555
        assert os.getxattr(path, "user.azureml.type") == b"Curated"
        reference = os.getxattr(path, "user.azureml.reference").decode()
        assert reference.startswith("azureml://registries/azureml/environments/")


def test_a_curated_version_in_a_workspace_has_its_registrys_content(fresh):
    service, mount = fresh
    origin = next(p for p in (mount.path / "@azureml").glob("*/1/conda.yml")).parent
    service.raw(origin.parent.name, "1", {}, curated=True)
    shown = mount.local / origin.parent.name / "1"
    assert (shown / "conda.yml").read_bytes() == (origin / "conda.yml").read_bytes()
    assert (shown / "Dockerfile").read_bytes() == (origin / "Dockerfile").read_bytes()
    service.raw("AzureML-gone", "1", {}, curated=True)
    gone = mount.local / "AzureML-gone" / "1"
    assert {p.name for p in gone.iterdir()} == {"spec.yml", "build.log"}
    assert "image" not in [line.split(":")[0] for line in (gone / "spec.yml").read_text().splitlines()]


def test_modes_owner_times_and_links(fresh):
    service, mount = fresh
    service.put_version("e", "1", {**IMAGE, "condaFile": "dependencies:\n- python=3.10\n"})
    version = mount.local / "e/1"
    modes = {p.name: stat.S_IMODE(p.lstat().st_mode) for p in version.iterdir()}
    assert modes == {"spec.yml": 0o644, "conda.yml": 0o644, "Dockerfile": 0o444, "build.log": 0o444}
    assert stat.S_IMODE(version.stat().st_mode) == 0o755
    for path in (mount.path, mount.local, version, version / "spec.yml"):
        found = path.stat()
        assert (found.st_uid, found.st_gid) == (os.geteuid(), os.getegid())
        assert found.st_nlink == 1
    record = service.get_version("e", "1")
    assert record["systemData"]["createdAt"].startswith(
        subprocess.check_output(["date", "-u", "-r", version / "spec.yml", "+%Y-%m-%dT%H:%M:%S"], text=True).strip())
    assert os.stat(version / "build.log").st_size == 0


def test_attributes(fresh):
    service, mount = fresh
    tags = {"team": "ml", "empty": "", "k" * 300: "too long a name", "big": "x" * 70000, "uml\u00e4ut": "\u00fc"}
    service.raw("e", "1", {**IMAGE, "description": "What it is.", "tags": tags})
    for path in (mount.local / "e/1", mount.local / "e/1/spec.yml"):
        assert set(os.listxattr(path)) == {"user.description", "user.tag.team", "user.tag.empty", "user.tag.uml\u00e4ut"}
        assert os.getxattr(path, "user.tag.team") == b"ml"
        assert os.getxattr(path, "user.tag.empty") == b""
        assert os.getxattr(path, "user.description") == b"What it is."
        assert os.getxattr(path, "user.azureml.reference") == b"azureml:e:1"
        assert os.getxattr(path, "user.mlenvfs.state") == b"published"
        assert errno_of(os.getxattr, path, "user.tag.none") == errno.ENODATA
        assert errno_of(os.getxattr, path, "user.mlenvfs.error") == errno.ENODATA
        assert errno_of(os.getxattr, path, "user.tag.big") == errno.E2BIG
        assert errno_of(os.getxattr, path, "security.selinux") == errno.EOPNOTSUPP
        assert errno_of(os.getxattr, path, "trusted.x") in (errno.EOPNOTSUPP, errno.ENODATA)
    assert os.listxattr(mount.local) == []
    assert "too long a name" in (mount.local / "e/1/spec.yml").read_text()


def test_getxattr_sizes_are_as_on_a_local_disk(fresh):
    service, mount = fresh
    service.put_version("e", "1", {**IMAGE, "tags": {"team": "platform"}})
    script = ("import ctypes, os, sys; c = ctypes.CDLL(None, use_errno=True); p = os.fsencode(sys.argv[1]);"
              "f = lambda n: (c.getxattr(p, b'user.tag.team', ctypes.create_string_buffer(64), n), ctypes.get_errno());"
              "print(f(0)[0], f(3), f(8)[0], f(64)[0])")
    said = subprocess.check_output(["/usr/bin/python3", "-c", script, mount.local / "e/1"], text=True)
    assert said.strip() == f"8 (-1, {errno.ERANGE}) 8 8"


def test_a_read_only_mount_refuses_at_once(service, make_mount):
    service.put_version("e", "1", IMAGE)
    mount = make_mount(service=service, options={"ro": True})
    spec = mount.local / "e/1/spec.yml"
    assert errno_of(open, spec, "a") == errno.EROFS
    assert errno_of(open, mount.local / "e/1/new", "w") == errno.EROFS
    assert errno_of(os.mkdir, mount.local / "e/2") == errno.EROFS
    assert errno_of(os.rename, spec, mount.local / "e/1/other") == errno.EROFS
    assert errno_of(os.symlink, "x", mount.local / "e/l") == errno.EROFS
    assert errno_of(os.truncate, spec, 0) == errno.EROFS


def test_mkdir_at_the_root_makes_a_workspace(mounted):
    os.mkdir(mounted.path / "team-a")
    assert {p.name for p in mounted.path.iterdir()} >= {"local", "team-a"}
    assert errno_of(os.mkdir, mounted.path / "team-a") == errno.EEXIST
    assert errno_of(os.mkdir, mounted.path / ".Trash-1000") == errno.EACCES
    assert errno_of(os.mkdir, mounted.path / "no name") == errno.EINVAL
    assert os.listdir(mounted.path / "team-a") == []
    assert os.listdir(mounted.path / "team-a/.archived") == []


def test_workspaces_of_one_name_are_told_apart(fresh):
    service, mount = fresh
    make_workspace(service, "twin", "group-a")
    make_workspace(service, "twin", "group-b")
    assert {p.name for p in mount.path.iterdir()} >= {"twin@group-a", "twin@group-b", "local"}
    put_in_group(service, "group-b", "twin", "e", "1", IMAGE)
    assert os.listdir(mount.path / "twin@group-a") == []
    assert (mount.path / "twin@group-b/e/1/spec.yml").exists()


def test_anonymous_environments_are_hidden(service, make_mount):
    service.put_version("CliV2AnonymousEnvironment", "abc", {**IMAGE, "isAnonymous": True})
    service.put_version("e", "1", IMAGE)
    hidden, shown = make_mount(service=service), make_mount(service=service, options={"anonymous": True})
    assert set(os.listdir(hidden.local)) == {"e"}
    assert errno_of(os.stat, hidden.local / "CliV2AnonymousEnvironment") == errno.ENOENT
    assert (shown.local / "CliV2AnonymousEnvironment/abc/spec.yml").exists()


HOSTILE = {"..": "%2E.", ".": "%2E", "a/b": "a%2Fb", ".archived": "%2Earchived", "100%41": "100%2541", "sp ace\u00e9": "sp ace\u00e9"}


def test_hostile_environment_names(fresh):
    service, mount = fresh
    for name in HOSTILE:
        service.raw(name, "1", {**IMAGE, "description": name})
    service.raw("x" * 300, "1", IMAGE)
    service.raw("nul\0name", "1", IMAGE)
    names = set(os.listdir(mount.local))
    assert set(HOSTILE.values()) <= names
    assert "nul\ufffdname" in names
    assert errno_of(os.listdir, mount.local / "nul\ufffdname") == errno.ESTALE
    cut = names - set(HOSTILE.values()) - {"nul\ufffdname"}
    assert len(cut) == 1 and "%~" in cut.pop()
    for name, shown in HOSTILE.items():
        assert os.getxattr(mount.local / shown / "1", "user.description").decode() == name
    found = subprocess.run(["find", mount.path, "-ls"], check=False, capture_output=True, text=True)
    assert all("ufffd" in line or "nul" in line for line in found.stderr.splitlines())


def test_hostile_version_names(fresh):
    service, mount = fresh
    for name in ("latest", "..", "a/b", "v" * 300):
        service.raw("e", name, IMAGE)
    names = set(os.listdir(mount.local / "e"))
    assert {"latest", "%6Catest", "%2E.", "a%2Fb"} <= names and len(names) == 5
    for name in names:
        assert (mount.local / "e" / name / "spec.yml").read_text()


CONTEXT = {"../../escape": b"1", "/abs": b"2", "a": b"3", "a/b": b"4", "c//d": b"5", "Dockerfile": b"FROM scratch\n",
           "deep/" * 50 + "f": b"6", "sp ace/\u00fc#%20?.txt": b"7", "n" * 300: b"8", "empty": b""}


def test_hostile_context_names(fresh):
    service, mount = fresh
    uri = upload_blobs(service, "hostile/", CONTEXT)
    service.put_version("e", "1", {"build": {"contextUri": uri, "dockerfilePath": "../../../../etc/passwd"}})
    context = mount.local / "e/1/context"
    files = {str(p.relative_to(context)): p.read_bytes() for p in context.rglob("*") if p.is_file()}
    assert sorted(files.values()) == sorted(CONTEXT.values())
    assert files["%2E./%2E./escape"] == b"1"
    assert files["%2Fabs"] == b"2"
    assert files["%61"] == b"3" and files["a/b"] == b"4"
    assert files["sp ace/\u00fc#%2520?.txt"] == b"7"
    link = os.readlink(mount.local / "e/1/Dockerfile")
    assert link.startswith("context/%2E./") and "/../" not in link
    for path in context.rglob("*"):
        assert path.lstat().st_size == len(path.read_bytes()) if path.is_file() else True


def test_a_git_context_is_a_reference(fresh):
    service, mount = fresh
    git = "https://git.example.org/team/images.git#main:base"
    service.put_version("e", "1", {"build": {"contextUri": git, "dockerfilePath": "Dockerfile"}})
    assert {p.name for p in (mount.local / "e/1").iterdir()} == {"spec.yml", "build.log"}
    assert git in (mount.local / "e/1/spec.yml").read_text()


def test_a_large_context_file_is_read_in_parts(fresh, tmp_path):
    service, mount = fresh
    content = os.urandom(5 * 1024 * 1024 + 17)
    uri = upload_blobs(service, "large/", {"Dockerfile": b"FROM scratch\n", "model.bin": content})
    service.put_version("e", "1", {"build": {"contextUri": uri}})
    path = mount.local / "e/1/context/model.bin"
    with open(path, "rb") as file:
        file.seek(3 * 1024 * 1024 - 5)
        assert file.read(10) == content[3 * 1024 * 1024 - 5:][:10]
        file.seek(len(content) - 3)
        assert file.read(100) == content[-3:]
    subprocess.run(["cp", path, tmp_path / "copy"], check=True)
    assert (tmp_path / "copy").read_bytes() == content


def test_changes_by_others_are_seen(service, make_mount):
    mount = make_mount(service=service, options={"refresh": 1})
    service.put_version("e", "1", {**IMAGE, "tags": {"a": "1"}})
    spec = mount.local / "e/1/spec.yml"
    wait_until(spec.exists, 20, "the version")
    before = spec.stat()
    service.put_version("e", "1", {**IMAGE, "tags": {"a": "2", "b": "3"}})
    wait_until(lambda: "b: \"3\"" in spec.read_text(), 20, "the tag in spec.yml")
    assert os.getxattr(spec, "user.tag.b") == b"3"
    # The service leaves the time as it was: it moves when the change is told to the kernel.
    wait_until(lambda: spec.stat().st_mtime_ns > before.st_mtime_ns, 20, "the new time, by which rsync sees the change")
    after = spec.stat()
    assert after.st_size == len(spec.read_bytes())
    assert after.st_ino == before.st_ino
    service.put_version("e", "2", IMAGE)
    wait_until(lambda: os.readlink(mount.local / "e/latest") == "2", 20, "latest")
    wait_until(lambda: "2" in os.listdir(mount.local / "e"), 20, "the new version in the listing")
    service.put_version("f", "1", IMAGE)
    wait_until((mount.local / "f/latest/spec.yml").exists, 20, "the new environment")
    delete(service, "e")
    wait_until(lambda: not (mount.local / "e").exists(), 20, "the deletion")


def test_a_forced_refresh_shows_changes_at_once(service, make_mount):
    mount = make_mount(service=service, options={"refresh": 3600})
    service.put_version("e", "1", IMAGE)
    assert (mount.local / "e/1").exists()
    service.put_version("e", "2", IMAGE)
    assert "2" not in os.listdir(mount.local / "e")
    os.setxattr(mount.path, "user.mlenvfs.refresh", b"1")
    wait_until(lambda: "2" in os.listdir(mount.local / "e"), 20, "version 2")
    assert (mount.local / "e/2/spec.yml").exists()


def test_statfs_and_readdir_details(loaded):
    found = os.statvfs(loaded.path)
    assert found.f_namemax == 255 and found.f_blocks > 0
    with os.scandir(loaded.local) as entries:
        for entry in entries:
            assert entry.inode() == entry.stat(follow_symlinks=False).st_ino
            assert entry.is_dir()


def test_latest_is_as_long_as_its_target(fresh):
    service, mount = fresh
    service.raw("e", "a/b", IMAGE)
    link = mount.local / "e/latest"
    assert os.readlink(link) == "a%2Fb"
    assert os.lstat(link).st_size == len("a%2Fb")


def test_names_that_tools_look_for_are_environments_too(fresh):
    service, mount = fresh
    service.put_version("CVS", "1", IMAGE)
    assert (mount.local / "CVS/1/spec.yml").exists()
    assert not (mount.local / "CVS/1/RCS").exists()


def test_an_old_handle_does_not_bring_an_old_listing_back(fresh):
    service, mount = fresh
    service.put_version("e", "1", IMAGE)
    before = os.open(mount.local / "e", os.O_RDONLY | os.O_DIRECTORY)
    try:
        service.put_version("e", "2", IMAGE)
        with os.scandir(mount.local / "e"):  # opened and not read: what the old one reads is kept
            assert sorted(os.listdir(before)) in (["1", "latest"], ["1", "2", "latest"])
        assert sorted(os.listdir(mount.local / "e")) == ["1", "2", "latest"]
    finally:
        os.close(before)


def test_a_version_made_anew_is_another_one(fresh):
    service, mount = fresh
    version = mount.local / "e/1"
    service.put_version("e", "1", {**IMAGE, "condaFile": "name: a\n"})
    first = (version / "conda.yml").read_text()
    with open(version / "spec.yml", encoding="utf-8"):  # keeps the directory in the kernel's memory
        delete(service, "e")
        service.put_version("e", "1", {**IMAGE, "condaFile": "name: a-much-longer-name\n"})
        wait_until(lambda: (version / "conda.yml").read_text() != first, 20, "the new conda.yml")
        assert (version / "conda.yml").stat().st_size == len((version / "conda.yml").read_bytes())
    delete(service, "e")
    service.put_version("e", "1", IMAGE)
    wait_until(lambda: not (version / "conda.yml").exists(), 20, "the end of conda.yml")


def test_a_context_made_anew_is_another_one(fresh):
    service, mount = fresh
    version = mount.local / "e/1"

    def put(name, content):
        uri = upload_blobs(service, f"{name}/", {"Dockerfile": content, name: b"x"})
        service.put_version("e", "1", {"build": {"contextUri": uri, "dockerfilePath": "Dockerfile"}})

    put("one", b"FROM one\n")
    assert (version / "Dockerfile").read_text() == "FROM one\n"
    with open(version / "spec.yml", encoding="utf-8"), open(version / "context/one", "rb"):
        delete(service, "e")
        put("second", b"FROM the-second\n")
        wait_until(lambda: sorted(os.listdir(version / "context")) == ["Dockerfile", "second"], 20,
                   "the new context")
        assert (version / "Dockerfile").read_text() == "FROM the-second\n"


def test_an_environment_brought_back_leaves_what_is_archived(fresh):
    service, mount = fresh
    service.put_version("e", "1", {**IMAGE, "isArchived": True})
    service.put_version("e", "2", IMAGE)
    archive(service, "e")
    held = os.open(mount.path / "local/.archived/e", os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert sorted(os.listdir(held)) == ["1", "2"]
        archive(service, "e", False)
        wait_until(lambda: os.listdir(mount.local / ".archived/e") == ["1"], 20, "the listing")
    finally:
        os.close(held)


def test_a_forced_refresh_reaches_files_that_were_read(service, make_mount):
    mount = make_mount(service=service, options={"refresh": 3600})
    service.put_version("e", "1", IMAGE)
    spec = mount.local / "e/1/spec.yml"
    before = spec.stat()
    assert len(spec.read_bytes()) == before.st_size
    service.put_version("e", "1", {**IMAGE, "tags": {"a": "2"}})
    os.setxattr(mount.path, "user.mlenvfs.refresh", b"1")
    wait_until(lambda: spec.stat().st_mtime_ns > before.st_mtime_ns, 20, "what rsync looks at")
    assert spec.stat().st_size == len(spec.read_bytes()) > before.st_size
