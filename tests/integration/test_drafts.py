"""Drafts: real directories in the mount that become versions by a rename."""
import errno
import os
import shutil
import subprocess

import pytest

from lib.mount import wait_until

IMAGE = {"image": "mcr.microsoft.com/azureml/base:1"}
SPEC = "image: mcr.microsoft.com/azureml/base:2\ntags: {team: ml}\n"


@pytest.fixture
def mount(service, make_mount):
    service.put_version("a", "1", {**IMAGE, "tags": {"team": "ml"}})
    return make_mount(service=service, options={"refresh": 3600})


def errno_of(call, *args, **kwargs):
    with pytest.raises(OSError) as caught:
        call(*args, **kwargs)
    return caught.value.errno


def run(*words):
    done = subprocess.run([str(word) for word in words], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not done.stderr, f"{words}: {done.stderr}"


def versions(service, name):
    return {item["name"] for item in
            service.list(service.workspace_path("local", "environments", name, "versions"), listViewType="All")}


def test_a_draft_is_published_by_a_rename(service, mount):
    draft = mount.local / "a/.next"
    draft.mkdir()
    (draft / "spec.yml").write_text(SPEC)
    assert os.getxattr(draft, "user.mlenvfs.state") == b"draft"
    assert versions(service, "a") == {"1"}, "a draft is local"
    service.reset_counters()
    run("mv", draft, mount.local / "a/2")
    assert service.get_version("a", "2")["properties"]["image"] == "mcr.microsoft.com/azureml/base:2"
    assert sorted(os.listdir(mount.local / "a")) == ["1", "2", "latest"]
    assert os.readlink(mount.local / "a/latest") == "2"
    wait_until(lambda: "name: a\nversion: \"2\"" in (mount.local / "a/2/spec.yml").read_text(), 10, "the full text")
    assert service.counters()["routes"].get("PUT version") == 1


@pytest.mark.parametrize("how", ["cp -r", "cp -a", "rsync -aX", "tar"])
def test_a_copy_of_every_kind_makes_a_new_environment(service, mount, examples, how, tmp_path):
    """A curated environment becomes one's own, and so does a build context, with any program that copies."""
    sources = [next((mount.path / "@azureml").glob("*/1")), examples / "invoice-ocr/1", examples / "churn-training/2"]
    for number, source in enumerate(sources):
        env = mount.local / f"mine-{number}"
        env.mkdir()
        copy(how, source, env / ".draft", tmp_path)
        run("mv", env / ".draft", env / "7")
        for path in source.rglob("*"):
            if path.is_file() and path.name not in ("spec.yml", "conda.yml"):
                assert (env / "7" / path.relative_to(source)).read_bytes() == path.read_bytes()
        assert os.listdir(env) and versions(service, env.name) == {"7"}


def copy(how, source, target, tmp_path):
    if how == "tar":
        target.mkdir()
        run("tar", "cf", tmp_path / "x.tar", "-C", source, ".")
        run("tar", "xf", tmp_path / "x.tar", "--no-same-owner", "-C", target)
    elif how.startswith("rsync"):
        run(*how.split(), f"{source}/", f"{target}/")
    else:
        run(*how.split(), source, target)


def test_a_draft_that_is_not_valid_stays_with_the_reason(service, mount):
    draft = mount.local / "a/.next"
    draft.mkdir()
    (draft / "spec.yml").write_text("image: x\nimagee: y\n")
    assert errno_of(os.rename, draft, mount.local / "a/2") == errno.EBADMSG
    reason = os.getxattr(draft, "user.mlenvfs.error").decode()
    assert "line 2" in reason and "imagee" in reason
    assert "imagee" in mount.log()
    assert (draft / "spec.yml").read_text() == "image: x\nimagee: y\n"
    assert versions(service, "a") == {"1"}
    subprocess.run(["sed", "-i", "/imagee/d", draft / "spec.yml"], check=True)
    os.rename(draft, mount.local / "a/2")
    assert versions(service, "a") == {"1", "2"}


def test_a_version_that_exists_is_not_replaced(service, mount):
    shutil.copytree(mount.local / "a/1", mount.local / "a/.again")
    assert errno_of(os.rename, mount.local / "a/.again", mount.local / "a/1") in (errno.EEXIST, errno.ENOTEMPTY)
    service.put_version("a", "3", {**IMAGE, "isArchived": True})
    assert (mount.local / "a/.again/spec.yml").exists()


def test_a_service_that_fails_leaves_the_draft(service, mount):
    draft = mount.local / "a/.next"
    draft.mkdir()
    (draft / "spec.yml").write_text(SPEC)
    service.set_faults({"path": "*/versions/2", "method": "PUT", "status": 403})
    assert errno_of(os.rename, draft, mount.local / "a/2") == errno.EACCES
    assert (draft / "spec.yml").read_text() == SPEC
    service.set_faults()
    os.rename(draft, mount.local / "a/2")
    assert versions(service, "a") == {"1", "2"}


def test_an_answer_that_was_lost_is_one_version(service, mount):
    draft = mount.local / "a/.next"
    draft.mkdir()
    (draft / "spec.yml").write_text(SPEC)
    service.set_faults({"path": "*/versions/2", "method": "PUT", "lost": True, "times": 1})
    os.rename(draft, mount.local / "a/2")
    assert versions(service, "a") == {"1", "2"}
    assert not draft.exists()


def test_drafts_survive_a_remount(service, make_mount, tmp_path):
    service.put_version("a", "1", IMAGE)
    state = {"XDG_STATE_HOME": str(tmp_path)}
    first = make_mount(service=service, env=state)
    (first.local / "a/.kept").mkdir()
    (first.local / "a/.kept/note").write_text("not lost")
    (first.local / "only-here").mkdir()
    first.stop()
    again = make_mount(service=service, env=state)
    assert (again.local / "a/.kept/note").read_text() == "not lost"
    assert "only-here" in os.listdir(again.local)
    os.rmdir(again.local / "only-here")
    assert "only-here" not in os.listdir(again.local)


def test_a_draft_is_a_full_file_system(mount):
    draft = mount.local / "a/.work"
    draft.mkdir()
    (draft / "sub/deep").mkdir(parents=True)
    path = draft / "sub/deep/file"
    path.write_text("one\n")
    with open(path, "a", encoding="ascii") as file:
        file.write("two\n")
    with open(path, "r+b") as file:
        file.seek(0)
        file.write(b"ONE")
        os.fsync(file.fileno())
    assert path.read_text() == "ONE\ntwo\n"
    inode = path.stat().st_ino
    os.rename(path, draft / "moved")
    assert (draft / "moved").stat().st_ino == inode
    os.rename(draft / "sub", draft / "other")
    assert (draft / "other/deep").is_dir() and not (draft / "sub").exists()
    os.link(draft / "moved", draft / "hard")
    assert (draft / "hard").stat().st_nlink == 2
    os.symlink("moved", draft / "link")
    assert os.readlink(draft / "link") == "moved" and (draft / "link").read_text() == "ONE\ntwo\n"
    os.truncate(draft / "moved", 3)
    assert (draft / "hard").read_text() == "ONE"
    os.utime(draft / "moved", ns=(1, 2_000_000_001))
    os.chmod(draft / "moved", 0o600)
    found = (draft / "moved").stat()
    assert found.st_mtime_ns == 2_000_000_001 and found.st_mode & 0o777 == 0o600
    os.setxattr(draft / "moved", "user.any", b"value")
    assert os.listxattr(draft / "moved") == ["user.any"]
    os.removexattr(draft / "moved", "user.any")
    with pytest.raises(FileExistsError):
        os.close(os.open(draft / "moved", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    held = os.open(draft / "moved", os.O_RDONLY)
    os.unlink(draft / "moved")
    (draft / "moved").write_text("another file of the same name")
    assert os.read(held, 10) == b"ONE" and os.fstat(held).st_size == 3
    os.close(held)
    assert errno_of(os.rmdir, draft) == errno.ENOTEMPTY
    run("rm", "-r", draft)
    assert sorted(os.listdir(mount.local / "a")) == ["1", "latest"]


def test_editors_and_git_work_in_a_draft(mount):
    draft = mount.local / "a/.edit"
    shutil.copytree(mount.local / "a/1", draft)
    run("sed", "-i", "s/base:1/base:9/", draft / "spec.yml")
    run("git", "-C", draft, "init", "-q")
    run("git", "-C", draft, "-c", "user.name=t", "-c", "user.email=t@example.org", "add", ".")
    run("git", "-C", draft, "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-q", "-m", "x")
    (draft / "notes").mkdir()
    (draft / "notes/todo").write_text("mine")
    os.rename(draft, mount.local / "a/9")
    assert "base:9" in (mount.local / "a/9/spec.yml").read_text()
    assert sorted(os.listdir(draft)) == [".git", "notes"], "what is no part of the version is not lost"
    assert (draft / "notes/todo").read_text() == "mine"
    run("git", "-C", draft, "log")


def test_what_an_ignore_file_excludes_stays_in_the_draft(service, mount):
    draft = mount.local / "a/.ctx"
    (draft / "context/data").mkdir(parents=True)
    (draft / "spec.yml").write_text("build: {path: context}\n")
    for name, text in (("Dockerfile", "FROM scratch\n"), (".amlignore", "*.log\n"), ("data/x", "x"), ("data/y.log", "y")):
        (draft / "context" / name).write_text(text)
    os.rename(draft, mount.local / "a/5")
    shown = mount.local / "a/5/context"
    assert {str(p.relative_to(shown)) for p in shown.rglob("*") if p.is_file()} == {"Dockerfile", ".amlignore", "data/x"}
    assert [str(p.relative_to(draft)) for p in draft.rglob("*") if p.is_file()] == ["context/data/y.log"]


def test_what_was_written_while_it_was_published_is_not_lost(service, mount):
    draft = mount.local / "a/.next"
    draft.mkdir()
    (draft / "spec.yml").write_text("name: a\n" + SPEC)
    service.set_faults({"path": "*/versions/2", "method": "PUT", "delay_ms": 1000})
    spec = os.open(draft / "spec.yml", os.O_WRONLY | os.O_APPEND)
    flights = puts(service)
    with subprocess.Popen(["mv", draft, mount.local / "a/2"]) as mv:
        wait_until(lambda: puts(service) > flights or mv.poll() is not None, 20, "the publication")
        os.write(spec, b"# a last thought\n")
        os.close(spec)
        assert mv.wait(60) == 0
    # As it comes, it is still in the draft, or it was an edit of the version made of it.
    assert [path for path in (mount.local / "a").rglob("spec.yml") if "last thought" in path.read_text()]
    assert {"1", "2"} <= versions(service, "a")


def puts(service):
    """Requests that make a version: by then everything of it was read."""
    return service.counters()["routes"].get("PUT version", 0)


def test_direct_io(mount):
    draft = mount.local / "a/.direct"
    draft.mkdir()
    subprocess.run(["dd", "if=/dev/zero", f"of={draft}/x", "bs=1000", "count=3", "oflag=direct", "status=none"], check=True)
    assert (draft / "x").stat().st_size == 3000


def test_where_no_drafts_are(service, mount, make_mount):
    version = next((mount.path / "@azureml").glob("*"))
    assert errno_of(os.mkdir, version / ".draft") == errno.EROFS
    assert errno_of(os.mkdir, mount.local / "a/1") == errno.EEXIST
    assert errno_of(os.mkdir, mount.local / "a/no good") == errno.EINVAL
    assert errno_of(os.mkdir, mount.local / "a") == errno.EEXIST
    assert errno_of(os.mkdir, mount.local / "no good") == errno.EINVAL
    (mount.local / "a/.d").mkdir()
    assert errno_of(os.rename, mount.local / "a/.d", mount.local / "a/no good") == errno.EBADMSG
    readonly = make_mount(service=service, options={"ro": True})
    assert errno_of(os.mkdir, readonly.local / "a/.draft") == errno.EROFS
    assert os.listdir(readonly.local / "a")


def test_drafts_are_not_in_the_archive_and_rm_of_an_environment_asks_for_them(service, mount):
    (mount.local / "a/.mine").mkdir()
    (mount.local / "a/.mine/notes").write_text("x")
    assert errno_of(os.rmdir, mount.local / "a") == errno.ENOTEMPTY
    run("rm", "-r", mount.local / "a")
    assert os.listdir(mount.local / ".archived/a") == ["1"]
    assert "a" not in os.listdir(mount.local)
