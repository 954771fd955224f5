"""Scratch: every name that is no part of an asset is the user's own, in a full file system, and never leaves the machine."""
import errno
import os
import stat
import subprocess

import pytest

from lib.saves import Program, context_of, errno_of, put_context, run, versions, wait_shown

IMAGE = {"image": "mcr.microsoft.com/azureml/base:1"}
CONTEXT = {"Dockerfile": b"FROM scratch\n", "app/main.py": b"print('one')\n"}
EDITORS = [".spec.yml.swp", ".spec.yml.swx", "4913", "spec.yml~", ".spec.yml.un~", "#spec.yml#", "spec.yml.~1~", "DEADJOE", "#spec.yml",
           "spec.yml.save", ".spec.yml.kak.AbC123", ".spec.yml.vis.AbC123", "spec.yml.ZILESAVE", ".goutputstream-AbC123", "spec.yml.AbC123",
           "spec.yml___jb_tmp___", "spec.yml___jb_old___", "sedAbC123", "spec.yml.orig", "spec.yml.rej", "spec.ymlAbC123.bck", "notes"]
IN_CONTEXT = [".main.py.swp", "4913", "main.py~", ".#main.py", "#main.py#", ".main.py.AbC123", ".goutputstream-AbC123", "main.py___jb_tmp___"]


@pytest.fixture
def mount(service, make_mount):
    for version in ("1", "2"):
        service.put_version("a", version, IMAGE)
    put_context(service, "b", "1", CONTEXT)
    mount = make_mount(service=service, options={"refresh": 3600})
    for name in "ab":
        os.listdir(mount.local / name / "1")
    os.listdir(mount.local / "a/2")
    os.listdir(mount.local / "b/1/context/app")
    return mount


def test_scratch_is_seen_in_every_version_and_costs_nothing(service, mount):
    env = mount.local / "a"
    service.reset_counters()
    for name in EDITORS:
        (env / "1" / name).write_text(name)
    os.symlink("me@host.1", env / "1/.#spec.yml")
    (env / "1/.~tmp~").mkdir()
    for other in ("1", "2", "latest"):
        assert set(EDITORS) <= set(os.listdir(env / other))
        assert all((env / other / name).read_text() == name for name in EDITORS)
        assert os.readlink(env / other / ".#spec.yml") == "me@host.1"
        assert (env / other / ".~tmp~").is_dir()
    assert (env / "1/4913").stat().st_ino == (env / "2/4913").stat().st_ino
    os.unlink(env / "2/4913")
    assert not (env / "1/4913").exists() and "4913" not in os.listdir(env / "latest")
    assert not set(EDITORS) & set(os.listdir(env)), "in the versions, not beside them"
    assert service.counters()["total"] == 0
    assert versions(service, "a") == {"1", "2"}


def test_scratch_stays_where_it_is_when_latest_moves(service, mount):
    """vim and nano remove their lock by the path through latest, which leads to another version after the save."""
    latest = mount.local / "a/latest"
    (latest / ".spec.yml.swp").write_text("lock")
    text = (latest / "spec.yml").read_text()
    (latest / "spec.yml").write_text(text.replace("base:1", "base:3"))
    assert os.readlink(latest) == "3" and versions(service, "a") == {"1", "2", "3"}
    assert (latest / ".spec.yml.swp").read_text() == "lock"
    os.unlink(latest / ".spec.yml.swp")
    assert ".spec.yml.swp" not in os.listdir(mount.local / "a/2")


def test_scratch_is_a_full_file_system(mount):
    version = mount.local / "a/1"
    path = version / "work/deep/file"
    path.parent.mkdir(parents=True)
    path.write_text("one\n")
    with open(path, "a", encoding="ascii") as file:
        file.write("two\n")
    inode = path.stat().st_ino
    os.rename(path, version / "moved")
    assert (version / "moved").stat().st_ino == inode and (version / "moved").read_text() == "one\ntwo\n"
    os.rename(version / "work/deep", version / "other")
    os.link(version / "moved", version / "hard")
    assert (version / "hard").stat().st_nlink == 2
    os.symlink("moved", version / "soft")
    assert (version / "soft").read_text() == "one\ntwo\n"
    os.mknod(version / "made", stat.S_IFREG | 0o600)
    assert (version / "made").stat().st_size == 0
    os.truncate(version / "moved", 3)
    os.utime(version / "moved", ns=(1, 2_000_000_001))
    os.chmod(version / "moved", 0o640)
    found = (version / "hard").stat()
    assert found.st_mtime_ns == 2_000_000_001 and stat.S_IMODE(found.st_mode) == 0o640 and found.st_size == 3
    assert errno_of(os.open, version / "moved", os.O_CREAT | os.O_EXCL | os.O_WRONLY) == errno.EEXIST
    held = os.open(version / "moved", os.O_RDWR)
    os.unlink(version / "moved")
    assert os.pread(held, 9, 0) == b"one" and os.pwrite(held, b"ONE", 0) == 3
    os.close(held)
    assert (version / "hard").read_text() == "ONE"
    (version / "other/x").touch()
    assert errno_of(os.rmdir, version / "other") == errno.ENOTEMPTY
    run("rm", "-r", version / "work", version / "other")
    fd = os.open(version / "big", os.O_CREAT | os.O_RDWR)
    os.posix_fallocate(fd, 0, 100_000)
    os.pwrite(fd, b"x", 1_000_000)
    assert os.fstat(fd).st_size == 1_000_001
    os.close(fd)
    for name in ("hard", "soft", "made", "big"):
        os.unlink(version / name)
    assert sorted(os.listdir(version)) == ["Dockerfile", "build.log", "spec.yml"]


def test_the_clutter_of_scratch_does_not_keep_a_version_from_being_archived(service, mount):
    for name in (".spec.yml.swp", "notes"):
        (mount.local / "a/2" / name).write_text("x")
    done = subprocess.run(["rm", "-r", mount.local / "a/2"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert service.get_version("a", "2")["properties"]["isArchived"]


def test_scratch_survives_a_remount(service, make_mount, tmp_path):
    for version in ("1", "2"):
        service.put_version("a", version, IMAGE)
    put_context(service, "b", "1", CONTEXT)
    state = {"XDG_STATE_HOME": str(tmp_path)}
    first = make_mount(service=service, env=state)
    (first.local / "a/1/.spec.yml.swp").write_text("unsaved")
    (first.local / "a/1/dir").mkdir()
    os.symlink("nowhere", first.local / "a/1/dir/link")
    (first.local / "b/1/context/app/main.py~").write_text("backup")
    first.stop()
    again = make_mount(service=service, env=state)
    assert (again.local / "a/2/.spec.yml.swp").read_text() == "unsaved"
    assert os.readlink(again.local / "a/1/dir/link") == "nowhere"
    assert (again.local / "b/1/context/app/main.py~").read_text() == "backup"


def test_temporary_names_in_a_context_are_scratch(service, mount):
    app = mount.local / "b/1/context/app"
    service.reset_counters()
    for name in IN_CONTEXT:
        (app / name).write_text("temporary")
    (app / ".~tmp~").mkdir()
    assert service.counters()["total"] == 0 and versions(service, "b") == {"1"}
    run("bash", "-c", "echo two > main.py", cwd=app)
    assert context_of(service, "b", "2") == {**CONTEXT, "app/main.py": b"two\n"}
    assert set(IN_CONTEXT) <= set(os.listdir(app))
    wait_shown(app / "main.py", CONTEXT["app/main.py"])


def test_git_in_an_environment_and_in_a_version(service, mount):
    me = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for directory in (mount.local / "a/1", mount.local / "a"):
        run("git", "-C", directory, "init", "-q")
        run("git", "-C", directory, *me, "add", "-A")
        run("git", "-C", directory, *me, "commit", "-qm", "x")
        assert run("git", "-C", directory, "status", "--porcelain") == ""
        run("rm", "-rf", directory / ".git")
    assert versions(service, "a") == {"1", "2"}


def test_names_that_tools_only_look_up_are_answered_here(service, mount):
    names = [".git", ".hg", ".bzr", ".svn", "CVS", "RCS", "SCCS", "_MTN", ".src", ".dir-locals.el", ".dir-locals-2.el", ".le.ini", ".menus",
             ".keys", "spec.yml,v", "s.spec.yml", ".hidden"]
    service.reset_counters()
    for directory in (mount.path, mount.local, mount.local / "a", mount.local / "a/1", mount.local / "b/1/context"):
        assert not [name for name in names if os.path.lexists(directory / name)]
    assert service.counters()["total"] == 0
    assert errno_of(os.mkdir, mount.path / ".Trash-1000") == errno.EACCES


def test_locks_on_scratch(mount):
    one, two = Program(mount.local / "a/1"), Program(mount.local / "a/2")
    one.do("import fcntl; fd = os.open('lock', os.O_CREAT | os.O_RDWR); fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)")
    two.do("import fcntl; fd = os.open('lock', os.O_RDWR)")
    with pytest.raises(OSError):
        two.do("fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)")
    one.end()
    two.do("fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)")
    two.end()
