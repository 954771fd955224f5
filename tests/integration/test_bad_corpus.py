"""Malformed and odd specs, as new versions and as edits: each has the result that the corpus's manifest names."""
import errno
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from lib.mount import Mount, wait_until
from lib.saves import SAVE_ERRORS, error_of, look_again, state_of, versions, wait_shown
from lib.service import Service

SHARED = Path(os.environ.get("MLENVFS_SHARED", Path(__file__).resolve().parents[3] / "shared"))
BAD = SHARED / "corpus/bad"
if not (BAD / "manifest.tsv").is_file():
    pytest.skip(f"NOT TESTED: {BAD} is missing (set MLENVFS_SHARED)", allow_module_level=True)

CASES = {file: expected for file, expected, _ in
         (line.split("\t") for line in (BAD / "manifest.tsv").read_text(encoding="utf-8").splitlines()[1:])}
FILES = [file for file in CASES if "/" not in file]
# What has no place in a text: the whole file, or files of the context.
NO_PLACE = {"scalar-1mib.yml", "symlink-escape/spec.yml", "symlink-cycle/spec.yml"}
NOTES = {"type-version-float.yml": "2.10", "key-missing-name.yml": "name", "key-read-only.yml": "creation_context",
         "key-wrong-schema.yml": "schema", "build-path-url.yml": "https|URL|reference", "tag-non-string.yml": "tag",
         "mismatch-name/environments/alpha/1/spec.yml": "beta", "mismatch-version/environments/alpha/2/spec.yml": "3"}
# Links do not survive every way of copying a corpus: where they came as files that hold the target, they are made again.
LINKS = {"symlink-escape": ["context/requirements.txt"], "symlink-cycle": ["context/requirements.txt", "context/again.txt"]}
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}"
CASE_SECONDS = 10
# Where the edits are tried, and of which version.
EDITS, BASE = "edits", "30"


class World:
    """One service and one mount for all cases: what one of them breaks, the others would show."""

    def __init__(self, binary):
        self.service = Service(binary)
        self.service.make_workspace(EDITS)
        self.mount = None
        try:
            self.mount = Mount(binary, service=self.service, options={"refresh": 3600, "settle": 0.2})
        except BaseException:
            self.service.stop()
            raise


@pytest.fixture(scope="module")
def world(binary):
    made = World(binary)
    try:
        yield made
        made.mount.stop()
    finally:
        made.mount.kill()
        made.service.stop()


def identity(file, prefix):
    """The environment and version that a spec names, so that only what is wrong with it counts."""
    text = (BAD / file).read_bytes().decode("utf-8", "replace")
    name = re.search(rf"^name:\s*(&\w+\s+)?({NAME})\s*$", text, re.MULTILINE)
    version = re.search(rf"^version:\s*\"?({NAME})\"?\s*$", text, re.MULTILINE)
    stem = file.split("/")[0].removesuffix(".yml")
    return name.group(2) if name else f"{prefix}-{stem}", version.group(1) if version else "1"


def copied(source, target):
    """`cp -r` of a directory; gives what cp says of files that it could not close."""
    done = subprocess.run(["cp", "-r", source, target], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode or not done.stderr
    return {number for number in SAVE_ERRORS if os.strerror(number) in done.stderr} if done.returncode else set()


def fsync(directory):
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
        return set()
    except OSError as problem:
        return {problem.errno}
    finally:
        os.close(fd)


def write(path, data):
    """Saves as cat does; gives the errno of the close, in a set."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        for at in range(0, len(data), 65536):
            os.write(fd, data[at:at + 65536])
    finally:
        try:
            os.close(fd)
            failed = set()
        except OSError as problem:
            failed = {problem.errno}
    return failed


def prepared(case, tmp_path):
    """The case's directory, with its links."""
    top = tmp_path / case
    shutil.copytree(BAD / case, top, symlinks=True, copy_function=shutil.copyfile)
    for path in [top, *top.rglob("*")]:
        if path.is_dir():
            path.chmod(0o755)
    for link in LINKS.get(case, ()):
        if not (top / link).is_symlink():
            target = (top / link).read_text()
            (top / link).unlink()
            (top / link).symlink_to(target)
    return top


def tree(top):
    """{relative path: bytes, or a link's target}"""
    return {str(path.relative_to(top)): os.readlink(path) if path.is_symlink() else path.read_bytes()
            for path in top.rglob("*") if path.is_symlink() or path.is_file()}


def put(world, file, tmp_path):
    """Writes a case into the mount; gives the version's directory, what was written, and the errnos seen."""
    local = world.mount.local
    if file.startswith("mismatch-"):
        source = (BAD / file).parent
        version = local / source.parent.name / source.name
        version.parent.mkdir(exist_ok=True)
        return version, {"spec.yml": (source / "spec.yml").read_bytes()}, copied(source, version)
    name, number = identity(file, "new")
    environment = local / name
    environment.mkdir()
    if "/" not in file:
        version = environment / number
        version.mkdir()
        return version, {"spec.yml": (BAD / file).read_bytes()}, write(version / "spec.yml", (BAD / file).read_bytes())
    case, *inner = file.split("/")[:-1]
    top = prepared(case, tmp_path)
    if inner:
        # A spec that names files beside its directory: all of it is an environment then.
        failed = set().union(*(copied(part, environment / part.name) for part in sorted(top.iterdir())))
        return environment / inner[0], tree(top / inner[0]), failed
    return environment / number, tree(top), copied(top, environment / number)


@pytest.mark.parametrize("file", CASES)
def test_as_a_new_version(world, tmp_path, file):
    began = time.monotonic()
    version, written, failed = put(world, file, tmp_path)
    name, number = version.parent.name, version.name
    if CASES[file] == "reject":
        failed |= fsync(version)
        assert failed and failed <= SAVE_ERRORS, failed
        assert state_of(version) == "draft" and tree(version) == written, "what was written is still there"
        reason = error_of(version)
        assert reason and (file in NO_PLACE or re.search(r"(spec|conda)\.yml: line \d+, column \d+: ", reason)), reason
        assert versions(world.service, name) == set()
    else:
        assert not failed, f"{failed}: {error_of(version)}"
        wait_until(lambda: state_of(version) == "published", CASE_SECONDS, f"{version} to be published: {error_of(version)}")
        assert number in versions(world.service, name)
        note = error_of(version)
        if CASES[file] == "accept":
            assert note is None
        else:
            assert note and re.search(NOTES[file], note), note
    assert time.monotonic() - began < CASE_SECONDS, "in bounded time"
    assert os.listdir(world.mount.path / "@azureml"), "the mount is alive"


@pytest.mark.parametrize("file", FILES)
def test_as_an_edit_of_a_published_version(world, file):
    data = (BAD / file).read_bytes()
    name, number = identity(file, "edited")
    world.service.put_version(name, BASE, {"image": "mcr.microsoft.com/azureml/base:1"}, workspace=EDITS)
    look_again(world.mount)
    version = world.mount.path / EDITS / name / BASE
    wait_until(version.exists, CASE_SECONDS, "the version to edit")
    published = (version / "spec.yml").read_bytes()
    done = subprocess.run(["bash", "-c", 'cat "$1" > spec.yml', "-", BAD / file], cwd=version, capture_output=True, text=True, check=False)
    if file == "root-empty.yml":
        # Nothing was written: that is what `: > spec.yml` does, and no save.
        assert done.returncode == 0 and versions(world.service, name, EDITS) == {BASE}
    elif CASES[file] == "reject":
        assert done.returncode and any(os.strerror(number) in done.stderr for number in (errno.EBADMSG, errno.EFBIG)), done.stderr
        assert (version / "spec.yml.rejected").read_bytes() == data
        reason = error_of(version)
        assert reason and (file in NO_PLACE or re.search(r"line \d+, column \d+", reason)), reason
        assert versions(world.service, name, EDITS) == {BASE}
        wait_shown(version / "spec.yml", published)
    else:
        assert done.returncode == 0 and not done.stderr, f"{done.stderr}: {error_of(version)}"
        # The version that it names, or else the next one.
        named = number if file.startswith("type-version-") else str(int(BASE) + 1)
        assert versions(world.service, name, EDITS) == {BASE, named}
        assert not (version / "spec.yml.rejected").exists()
