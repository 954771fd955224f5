"""Version directories copied into the mount by any program that copies: each becomes a version, once, with all that is in it."""
import errno
import os
import shutil
import signal
import subprocess
import time

import pytest

from lib.mount import wait_until
from lib.saves import (SAVE_ERRORS, Program, context_of, errno_of, error_of, load_text, look_again, properties, put_context, routes, run,
                       state_of, versions, writes)

SETTLE = 0.3
NEVER = 3600
IMAGE = {"image": "mcr.microsoft.com/azureml/base:1"}
SPEC = "image: mcr.microsoft.com/azureml/base:2\ntags: {team: ml}\n"
CONTEXT_SPEC = "build: {path: context}\n"
WITH_CONDA = SPEC + "conda_file: conda.yml\n"
CONDA = "channels:\n- conda-forge\ndependencies:\n- python=3.10\n"
# Image and conda file, image, build context.
SET = ["churn-training/1", "churn-training/2", "tf-serving/1", "invoice-ocr/1"]


@pytest.fixture
def mount(service, make_mount):
    service.put_version("a", "1", IMAGE)
    return make_mount(service=service, options={"refresh": 3600, "settle": SETTLE})


@pytest.fixture
def patient(service, make_mount):
    """A mount that publishes no build context because it is quiet."""
    service.put_version("a", "1", IMAGE)
    return make_mount(service=service, options={"refresh": 3600, "settle": NEVER})


@pytest.fixture
def source(examples, tmp_path):
    """A directory of environments as people keep them."""
    top = tmp_path / "source"
    for name in SET:
        shutil.copytree(examples / name, top / name)
    return top


def published(directory):
    """Waits until a draft has become a version."""
    try:
        wait_until(lambda: state_of(directory) == "published", 20, "a publication")
    except AssertionError:
        pytest.fail(f"{directory} is {state_of(directory)}: {error_of(directory)}")


def says_the_same(ours, shown, **names):
    """Whether a version shows what a directory held; names: name and version, where the place gives it others."""
    was, now = load_text(ours / "spec.yml"), load_text(shown / "spec.yml")
    was.setdefault("os_type", "linux")
    now.setdefault("os_type", "linux")
    assert now == {**was, **names}
    if "conda_file" in was:
        assert load_text(shown / "conda.yml") == load_text(ours / was["conda_file"])
    context = {path.relative_to(ours): path.read_bytes() for path in (ours / "context").rglob("*") if path.is_file()}
    assert {path.relative_to(shown): path.read_bytes() for path in (shown / "context").rglob("*") if path.is_file()} == context
    for key, value in (was.get("tags") or {}).items():
        assert os.getxattr(shown, f"user.tag.{key}").decode() == value


def repository(top, where):
    """A Git repository, outside, with a directory as its one commit."""
    me = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]
    git = ["git", *me, f"--git-dir={where}", f"--work-tree={top}"]
    run(*git, "init", "-q")
    run(*git, "add", "-A")
    run(*git, "commit", "-qm", "environments")
    os.unlink(where / "index")
    return where


def copy(how, top, target, tmp_path):
    """Copies what is in a directory of environments into a workspace."""
    if how in ("cp -r", "cp -a"):
        run(*how.split(), *sorted(top.iterdir()), target)
    elif how == "tar x":
        run("tar", "cf", tmp_path / "all.tar", "-C", top, ".")
        run("tar", "xf", tmp_path / "all.tar", "-C", target, "--no-same-owner")
    elif how == "unzip":
        run("zip", "-qr", tmp_path / "all.zip", ".", cwd=top)
        run("unzip", "-q", tmp_path / "all.zip", "-d", target)
    elif how.startswith("rsync"):
        run(*how.split(), f"{top}/", f"{target}/")
    elif how == "git checkout":
        git = repository(top, tmp_path / "repository")
        run("git", f"--git-dir={git}", f"--work-tree={target}", "checkout", "-qf", "main")
    elif how == "mv draft":
        for version in sorted(top.glob("*/*")):
            environment = target / version.parent.name
            environment.mkdir(exist_ok=True)
            run("cp", "-r", version, environment / ".draft")
            run("mv", environment / ".draft", environment / version.name)


@pytest.mark.parametrize("how", ["cp -r", "cp -a", "tar x", "unzip", "rsync -aX", "rsync -aX --inplace", "rsync -a --delay-updates",
                                 "git checkout", "mv draft"])
def test_each_version_is_published_once(service, mount, source, tmp_path, how):
    service.reset_counters()
    copy(how, source, mount.local, tmp_path)
    for name in SET:
        published(mount.local / name)
        says_the_same(source / name, mount.local / name)
        assert error_of(mount.local / name) is None
    assert sorted(os.listdir(mount.local)) == ["a", "churn-training", "invoice-ocr", "tf-serving"]
    assert sorted(os.listdir(mount.local / "churn-training")) == ["1", "2", "latest"]
    assert sorted(os.listdir(mount.local / "invoice-ocr/1")) == ["Dockerfile", "build.log", "context", "spec.yml"]
    mount.stop()
    assert routes(service)["PUT version"] == len(SET), routes(service)
    assert {name: versions(service, name.split("/")[0]) for name in SET} == \
        {name: {path.name for path in (source / name).parent.iterdir()} for name in SET}


@pytest.mark.parametrize("how", ["cp -r", "cp -a", "rsync -aX", "tar x"])
def test_between_workspaces_and_from_the_curated_ones(service, mount, examples, tmp_path, how):
    """What is copied holds derived files and logs too: they are taken and dropped."""
    curated = next(path.parent for path in sorted((mount.path / "@azureml").glob("*/1/conda.yml")))
    curated_versions = set(os.listdir(curated.parent)) - {"latest"}
    mount.load(examples)
    service.make_workspace("second")
    look_again(mount)
    wait_until((mount.path / "second").is_dir, 20, "the other workspace")
    service.reset_counters()
    copy(how, mount.local, mount.path / "second", tmp_path)
    for name in SET:
        published(mount.path / "second" / name)
        says_the_same(mount.local / name, mount.path / "second" / name)
    (mount.local / "mine").mkdir()
    copy(how, curated.parent, mount.local / "mine", tmp_path)
    published(mount.local / "mine/1")
    says_the_same(curated, mount.local / "mine/1", name="mine")
    assert "mine" in error_of(mount.local / "mine/1"), "the note that the name gave way"
    mount.stop()
    assert versions(service, "mine") == curated_versions
    assert versions(service, "a", "second") == {"1"}
    assert routes(service)["PUT version"] == len(SET) + 1 + len(versions(service, "mine"))


def test_git_clone_makes_an_environment(service, mount, source, tmp_path):
    """The repository is scratch of the environment; its directories are versions."""
    git = repository(source / "churn-training", tmp_path / "repository")
    run("git", "clone", "-q", git, mount.local / "churn-training")
    for version in ("1", "2"):
        published(mount.local / "churn-training" / version)
        says_the_same(source / "churn-training" / version, mount.local / "churn-training" / version)
    assert versions(service, "churn-training") == {"1", "2"}
    assert run("git", "-C", mount.local / "churn-training", "log", "--format=%s") == "environments\n"
    assert run("git", "-C", mount.local / "churn-training", "status", "--porcelain", "--untracked-files=no") == ""


# ---- a directory with a version's name ----


@pytest.mark.parametrize("first", ["spec.yml", "conda.yml"])
def test_the_close_that_completes_it_publishes_it(service, mount, first):
    draft = mount.local / "a/4"
    draft.mkdir()
    assert state_of(draft) == "draft" and versions(service, "a") == {"1"}
    texts = {"spec.yml": WITH_CONDA, "conda.yml": CONDA}
    (draft / first).write_text(texts.pop(first))
    assert state_of(draft) == "draft" and versions(service, "a") == {"1"}
    assert error_of(draft) is None or "conda.yml" in error_of(draft)
    (name, text), = texts.items()
    service.reset_counters()
    (draft / name).write_text(text)
    assert state_of(draft) == "published" and routes(service) == {"GET version": 1, "PUT version": 1}
    assert versions(service, "a") == {"1", "4"}
    assert os.readlink(mount.local / "a/latest") == "4"
    assert sorted(os.listdir(draft)) == ["Dockerfile", "build.log", "conda.yml", "spec.yml"]


def test_writing_the_derived_files_into_it_is_dropped(service, mount):
    draft = mount.local / "a/4"
    draft.mkdir()
    (draft / "Dockerfile").write_text("FROM x\n")
    (draft / "spec.yml").write_text(SPEC)
    assert state_of(draft) == "published"
    # Late ones too: cp and rsync know nothing of the publication in between.
    for name in ("Dockerfile", "build.log"):
        assert (draft / name).stat().st_mode & 0o200, "the mode does not keep an ordinary user's cp away"
        fd = os.open(draft / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.write(fd, b"FROM y\n")
        os.utime(draft / name)
        os.close(fd)
    os.utime(draft)
    os.chmod(draft, 0o755)
    assert b"base:2" in (draft / "Dockerfile").read_bytes() and (draft / "build.log").read_bytes() == b""
    assert versions(service, "a") == {"1", "4"}


def test_what_the_program_wrote_stays_as_it_is_while_it_goes_on(service, mount):
    """rsync and cp look at their files again and set times after the version was published."""
    draft = mount.local / "a/4"
    draft.mkdir()
    cp = Program(draft)
    text = ("# mine\nname: a\n" + SPEC).encode()
    cp.save("spec.yml", text)
    inode = cp.do("os.stat('spec.yml').st_ino")
    cp.do("os.utime('spec.yml', (1600000000, 1600000000)); os.chmod('spec.yml', 0o640); os.utime('.', (1500000000, 1500000000))")
    assert versions(service, "a") == {"1", "4"}
    assert cp.do("open('spec.yml', 'rb').read()") == text and cp.do("os.stat('spec.yml').st_ino") == inode
    cp.end()
    found = (draft / "spec.yml").stat()
    assert found.st_mtime == 1_600_000_000 and found.st_mode & 0o777 == 0o640
    assert (draft / "spec.yml").read_bytes().startswith(b"# mine\n")
    assert versions(service, "a") == {"1", "4"}


def test_its_directory_stays_the_same_one(mount, source, tmp_path):
    """tar compares the inode of a directory when it sets its time, at the end; so does find."""
    draft = mount.local / "a/4"
    draft.mkdir()
    inode = draft.stat().st_ino
    (draft / "spec.yml").write_text(SPEC)
    assert state_of(draft) == "published" and draft.stat().st_ino == inode
    (mount.local / "a/5").mkdir()
    run("tar", "cf", tmp_path / "one.tar", "-C", source / SET[0], ".")
    run("tar", "xf", tmp_path / "one.tar", "--no-same-owner", "-C", mount.local / "a/5")
    published(mount.local / "a/5")


@pytest.mark.parametrize("name", [".next", "4"])
def test_a_descriptor_that_outlives_the_draft_loses_nothing(service, mount, name):
    """What is written after the publication is saved, or refused, or still there: a close that says yes and keeps nothing is a lie."""
    draft = mount.local / "a" / name
    draft.mkdir()
    (draft / "conda.yml").write_text(CONDA)
    fd = os.open(draft / "conda.yml", os.O_WRONLY | os.O_APPEND)
    run("bash", "-c", 'printf "%s" "$1" > spec.yml', "-", WITH_CONDA, cwd=draft)
    if name == ".next":
        run("mv", draft, mount.local / "a/4")
    assert versions(service, "a") == {"1", "4"}
    os.write(fd, b"- last-thought\n")
    try:
        os.close(fd)
    except OSError as problem:
        assert problem.errno in SAVE_ERRORS
    kept = [path for path in (mount.local / "a").rglob("*") if path.is_file() and b"last-thought" in path.read_bytes()]
    assert kept


def test_an_invalid_one_fails_at_close_and_stays(service, mount):
    draft = mount.local / "a/4"
    draft.mkdir()
    fd = os.open(draft / "spec.yml", os.O_WRONLY | os.O_CREAT)
    os.write(fd, b"image: x\nimagee: y\n")
    assert errno_of(os.fsync, fd) == errno.EBADMSG
    assert errno_of(os.close, fd) == errno.EBADMSG
    assert state_of(draft) == "draft" and "line 2" in error_of(draft) and "imagee" in error_of(draft)
    assert (draft / "spec.yml").read_text() == "image: x\nimagee: y\n"
    assert versions(service, "a") == {"1"}
    assert "imagee" in mount.cli("status", mount.path).stdout
    (draft / "spec.yml").write_text(SPEC)
    assert versions(service, "a") == {"1", "4"} and "imagee" not in (error_of(draft) or "")


def test_an_incomplete_one_stays_and_is_never_published(service, make_mount, tmp_path):
    service.put_version("a", "1", IMAGE)
    state = {"XDG_STATE_HOME": str(tmp_path)}
    mount = make_mount(service=service, options={"settle": SETTLE}, env=state)
    drafts = {"4": {"conda.yml": CONDA}, "5": {"spec.yml": WITH_CONDA}, "6": {"context/Dockerfile": "FROM scratch\n"}, "7": {}}
    for name, files in drafts.items():
        (mount.local / "a" / name).mkdir()
        for file, text in files.items():
            (mount.local / "a" / name / file).parent.mkdir(exist_ok=True)
            (mount.local / "a" / name / file).write_text(text)
    mount.stop()
    assert versions(service, "a") == {"1"}
    again = make_mount(service=service, options={"settle": SETTLE}, env=state)
    assert set(os.listdir(again.local / "a")) == {"1", "4", "5", "6", "7", "latest"}
    assert os.readlink(again.local / "a/latest") == "1"
    assert {state_of(again.local / "a" / name) for name in "4567"} == {"draft"}
    assert (again.local / "a/6/context/Dockerfile").read_text() == "FROM scratch\n"
    (again.local / "a/5/conda.yml").write_text(CONDA)
    assert versions(service, "a") == {"1", "5"}
    run("rm", "-r", again.local / "a/4", again.local / "a/6", again.local / "a/7")
    assert set(os.listdir(again.local / "a")) == {"1", "5", "latest"} and versions(service, "a") == {"1", "5"}


def test_a_version_that_exists_is_no_draft(service, mount):
    service.put_version("a", "2", {**IMAGE, "isArchived": True})
    look_again(mount)
    for name in ("1", "2", "latest"):
        assert errno_of(os.mkdir, mount.local / "a" / name) == errno.EEXIST, name


def test_a_version_that_somebody_else_made_meanwhile(service, patient):
    """The list does not know it: the service does."""
    (patient.local / "a/4").mkdir()
    service.put_version("a", "4", {"image": "theirs"})
    assert errno_of(run_save, patient.local / "a/4/spec.yml", SPEC) == errno.EEXIST
    for _ in range(2):
        kept = [path for path in (patient.local / "a").rglob("spec.yml*") if path.read_text() == SPEC]
        assert len(kept) == 1, "what was written is still there, also when the version is in the list"
        assert "exists" in error_of(kept[0].parent)
        look_again(patient)
    assert properties(service, "a", "4")["image"] == "theirs"
    (patient.local / "a/5").mkdir()
    service.put_version("a", "5", {"image": "mcr.microsoft.com/azureml/base:2", "tags": {"team": "ml"}})
    run_save(patient.local / "a/5/spec.yml", SPEC)
    assert state_of(patient.local / "a/5") == "published", "the same content is no conflict"


def run_save(path, text):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.write(fd, text.encode())
    os.close(fd)


def make_context(directory, spec=CONTEXT_SPEC):
    (directory / "context/app").mkdir(parents=True)
    (directory / "spec.yml").write_text(spec)
    (directory / "context/Dockerfile").write_text("FROM scratch\nCOPY app /app\n")
    (directory / "context/app/main.py").write_text("print(1)\n")


def test_a_build_context_is_published_when_it_is_quiet(service, mount):
    draft = mount.local / "a/4"
    make_context(draft)
    assert state_of(draft) == "draft"
    published(draft)
    assert context_of(service, "a", "4") == {"Dockerfile": b"FROM scratch\nCOPY app /app\n", "app/main.py": b"print(1)\n"}
    assert routes(service)["PUT version"] == 2, "the one that was there before, and this"


def test_a_build_context_with_an_open_file_is_not_quiet(service, mount):
    draft = mount.local / "a/4"
    make_context(draft)
    with open(draft / "context/data", "wb", buffering=0) as file:
        for _ in range(6):
            time.sleep(SETTLE / 2)
            file.write(b"x")
        time.sleep(3 * SETTLE)
        assert state_of(draft) == "draft" and versions(service, "a") == {"1"}
    published(draft)
    assert context_of(service, "a", "4")["data"] == b"x" * 6


def test_an_invalid_build_context_stays_with_the_reason(service, mount):
    draft = mount.local / "a/4"
    (draft / "context").mkdir(parents=True)
    (draft / "spec.yml").write_text(CONTEXT_SPEC)
    (draft / "context/requirements.txt").write_text("numpy\n")
    wait_until(lambda: error_of(draft), 20, "the reason")
    assert "Dockerfile" in error_of(draft) and state_of(draft) == "draft" and versions(service, "a") == {"1"}
    (draft / "context/Dockerfile").write_text("FROM scratch\n")
    published(draft)
    assert "Dockerfile" not in (error_of(draft) or "")


def test_fsync_of_the_directory_publishes_at_once(service, patient):
    draft = patient.local / "a/4"
    make_context(draft)
    for what in (draft, draft / "context"):
        fd = os.open(what, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(fd)
        os.close(fd)
        if what == draft:
            assert versions(service, "a") == {"1", "4"} and state_of(draft) == "published"
    bad = patient.local / "a/5"
    make_context(bad)
    os.unlink(bad / "context/Dockerfile")
    fd = os.open(bad, os.O_RDONLY | os.O_DIRECTORY)
    assert errno_of(os.fsync, fd) == errno.EBADMSG
    os.close(fd)
    assert versions(service, "a") == {"1", "4"} and "Dockerfile" in error_of(bad)


def test_an_unmount_publishes_what_is_complete(service, make_mount, tmp_path):
    service.put_version("a", "1", IMAGE)
    state = {"XDG_STATE_HOME": str(tmp_path)}
    mount = make_mount(service=service, options={"settle": NEVER}, env=state)
    make_context(mount.local / "a/4")
    make_context(mount.local / "new/1")
    make_context(mount.local / "a/.not-this")
    make_context(mount.local / "a/5")
    os.unlink(mount.local / "a/5/context/Dockerfile")
    assert versions(service, "a") == {"1"}
    mount.stop()
    assert versions(service, "a") == {"1", "4"} and versions(service, "new") == {"1"}
    again = make_mount(service=service, env=state)
    assert state_of(again.local / "a/4") == "published"
    assert state_of(again.local / "a/5") == state_of(again.local / "a/.not-this") == "draft"


def test_a_draft_of_a_killed_daemon_waits_until_it_is_touched(service, make_mount, tmp_path):
    service.put_version("a", "1", IMAGE)
    state = {"XDG_STATE_HOME": str(tmp_path)}
    mount = make_mount(service=service, options={"settle": NEVER}, env=state)
    make_context(mount.local / "a/4")
    mount.process.send_signal(signal.SIGKILL)
    mount.process.wait()
    mount.kill()
    again = make_mount(service=service, options={"settle": SETTLE}, env=state)
    assert state_of(again.local / "a/4") == "draft"
    time.sleep(4 * SETTLE)
    assert versions(service, "a") == {"1"}, "nothing is published behind the user's back"
    (again.local / "a/4/context/app/more.py").write_text("print(2)\n")
    published(again.local / "a/4")
    assert set(context_of(service, "a", "4")) == {"Dockerfile", "app/main.py", "app/more.py"}


def test_the_path_is_the_identity(service, mount):
    draft = mount.local / "a/4"
    draft.mkdir()
    run("bash", "-c", 'printf "%s" "$1" > spec.yml', "-", "name: other\nversion: 99\n" + SPEC, cwd=draft)
    assert versions(service, "a") == {"1", "4"} and versions(service, "other") == set()
    wait_until(lambda: load_text(draft / "spec.yml")["name"] == "a", 10, "the published spec")
    assert load_text(draft / "spec.yml")["version"] == "4"
    assert "other" in error_of(draft) and "99" in error_of(draft)


def test_a_conda_file_beside_the_draft_is_stored_inside(service, mount):
    (mount.local / "a/.shared").mkdir()
    (mount.local / "a/.shared/conda.yml").write_text(CONDA)
    (mount.local / "a/4").mkdir()
    (mount.local / "a/4/spec.yml").write_text(SPEC + "conda_file: ../.shared/conda.yml\n")
    assert versions(service, "a") == {"1", "4"}
    assert load_text(mount.local / "a/4/conda.yml") == load_text(CONDA)
    assert load_text(mount.local / "a/4/spec.yml")["conda_file"] in ("conda.yml", "../.shared/conda.yml")
    assert (mount.local / "a/.shared/conda.yml").read_text() == CONDA


def test_the_service_fails_while_a_draft_is_published(service, mount):
    draft = mount.local / "a/4"
    draft.mkdir()
    service.set_faults({"path": "*/versions/4", "method": "PUT", "status": 403})
    assert errno_of(run_save, draft / "spec.yml", SPEC) == errno.EACCES
    assert state_of(draft) == "draft" and error_of(draft)
    service.set_faults()
    run_save(draft / "spec.yml", SPEC)
    assert versions(service, "a") == {"1", "4"} and state_of(draft) == "published"


def test_a_draft_copied_beside_a_published_version(service, mount):
    """A new version from an old one, with a change on the way."""
    put_context(service, "b", "1", {"Dockerfile": b"FROM scratch\n", "x": b"1"})
    look_again(mount)
    wait_until((mount.local / "b/1").exists, 20, "the version")
    service.reset_counters()
    subprocess.run(["bash", "-ec", "cp -r 1 .next; echo 2 > .next/context/x; rm .next/context/Dockerfile; "
                    "echo FROM busybox > .next/context/Dockerfile; mv .next 2"], cwd=mount.local / "b", check=True)
    assert context_of(service, "b", "2") == {"Dockerfile": b"FROM busybox\n", "x": b"2\n"}
    assert writes(service)["PUT version"] == 1 and os.readlink(mount.local / "b/latest") == "2"
    assert sorted(os.listdir(mount.local / "b")) == ["1", "2", "latest"]
