"""The main job on real environments: 270 versions by other people, through the REST API into the service, and
out through the mount with the programs that people use."""
import hashlib
import json
import os
import subprocess
import tarfile

import pytest

from lib.corpus import files_below, same_context, same_spec
from lib.mount import Mount
from lib.saves import load_text
from lib.service import Service

pytestmark = pytest.mark.long


class Loaded:
    """The corpus in a service of its own, mounted."""

    def __init__(self, binary, corpus):
        self.corpus = corpus
        self.manifest = json.loads((corpus / "manifest.json").read_text())
        self.service = Service(binary)
        try:
            self.service.load_corpus(corpus)
            self.mount = Mount(binary, service=self.service, options={"refresh": 3600})
        except BaseException:
            self.service.stop()
            raise
        self.ws = self.mount.path / "local"

    def versions(self):
        for entry in self.manifest:
            yield entry, self.corpus / entry["dir"], self.ws / entry["name"] / entry["version"]


@pytest.fixture(scope="module")
def loaded_corpus(binary, corpus):
    everything = Loaded(binary, corpus)
    try:
        yield everything
        everything.mount.stop()
    finally:
        everything.mount.kill()
        everything.service.stop()


def run(*words, **more):
    done = subprocess.run([str(w) for w in words], capture_output=True, check=False, **more)
    assert done.returncode == 0, f"{words}: status {done.returncode}\n{done.stderr.decode()}"
    assert not done.stderr, done.stderr.decode()
    return done.stdout.decode()


@pytest.mark.deadline(300)
def test_every_version_is_there(loaded_corpus):
    for entry, _, shown in loaded_corpus.versions():
        names = {p.name for p in shown.iterdir()}
        assert {"spec.yml", "build.log", "Dockerfile"} <= names, entry["dir"]
        assert ("context" in names) == (entry["kind"] == "build"), entry["dir"]
        assert ("conda.yml" in names) == (entry["kind"] == "image+conda"), entry["dir"]
    assert len({p.name for p in loaded_corpus.ws.iterdir()}) == 112


def test_ls_find_cat_getfattr(loaded_corpus):
    listing = run("ls", "-lR", loaded_corpus.ws)
    found = run("find", loaded_corpus.ws, "-type", "f").splitlines()
    assert listing.count("spec.yml") == len(loaded_corpus.manifest)
    assert sum(line.endswith("/spec.yml") for line in found) == len(loaded_corpus.manifest)
    for path in found:
        with open(path, "rb") as file:
            assert len(file.read()) == os.stat(path).st_size, path
    tags = run("getfattr", "-d", "-R", "-h", "--absolute-names", loaded_corpus.ws)
    expected = sum(2 * len(load_text(ours / "spec.yml").get("tags") or {})
                   for _, ours, _ in loaded_corpus.versions())
    assert tags.count("user.tag.") == expected > 0


def test_context_bytes_are_the_corpus_own(loaded_corpus):
    assert sum(same_context(entry, ours, shown) for entry, ours, shown in loaded_corpus.versions()) > 500


def test_specs_and_conda_files_say_the_same(loaded_corpus):
    for entry, ours, shown in loaded_corpus.versions():
        same_spec(entry, ours, shown)


def test_du_equals_the_sum_of_sizes(loaded_corpus):
    shown = int(run("du", "-sb", loaded_corpus.ws).split()[0])
    total = sum(p.lstat().st_size for p in loaded_corpus.ws.rglob("*"))
    assert shown == total
    blocks = int(run("du", "-s", "--block-size=512", loaded_corpus.ws).split()[0])
    assert blocks == sum(-(-p.stat().st_size // 512) for p in files_below(loaded_corpus.ws))


def test_tar(loaded_corpus, tmp_path):
    archive = tmp_path / "all.tar"
    run("tar", "cf", archive, "-C", loaded_corpus.ws, ".")
    with tarfile.open(archive) as tar:
        members = {m.name.removeprefix("./"): m for m in tar.getmembers()}
        for path in files_below(loaded_corpus.ws):
            member = members[str(path.relative_to(loaded_corpus.ws))]
            assert tar.extractfile(member).read() == path.read_bytes()


@pytest.mark.deadline(240)
def test_rsync_backs_up_and_a_second_run_copies_nothing(loaded_corpus, tmp_path, binary):
    backup = tmp_path / "backup"
    run("rsync", "-aX", f"{loaded_corpus.ws}/", f"{backup}/")
    for _, _, shown in loaded_corpus.versions():
        copy = backup / shown.relative_to(loaded_corpus.ws)
        assert digest(copy) == digest(shown)
        assert (copy / "spec.yml").stat().st_mtime_ns == (shown / "spec.yml").stat().st_mtime_ns
        for name in os.listxattr(shown / "spec.yml"):
            assert os.getxattr(copy / "spec.yml", name) == os.getxattr(shown / "spec.yml", name)
    statistics = run("rsync", "-a", "--stats", f"{loaded_corpus.ws}/", f"{backup}/")
    assert "Number of regular files transferred: 0" in statistics

    # Also after a remount, where nothing of the first one is remembered.
    with Mount(binary, service=loaded_corpus.service) as again:
        for entry, _, shown in loaded_corpus.versions():
            other = again.path / "local" / entry["name"] / entry["version"]
            assert other.stat().st_ino == shown.stat().st_ino
        statistics = run("rsync", "-aX", "--stats", f"{again.path}/local/", f"{backup}/")
        assert "Number of regular files transferred: 0" in statistics


def digest(version):
    sums = hashlib.sha256()
    for path in files_below(version):
        sums.update(str(path.relative_to(version)).encode() + b"\0" + path.read_bytes())
    return sums.hexdigest()


@pytest.mark.deadline(300)
def test_a_copy_of_every_version_is_a_valid_cli_asset(loaded_corpus, tmp_path, binary):
    """Copied out, then published by a program that knows only the CLI's rules, into another service: the same again."""
    copies = tmp_path / "copies"
    for entry, _, shown in loaded_corpus.versions():
        target = copies / entry["name"] / entry["version"]
        target.parent.mkdir(parents=True, exist_ok=True)
        run("cp", "-r", shown, target)
    with Service(binary) as other, Mount(binary, service=other) as mount:
        said = mount.load(copies).stdout
        assert f"{len(loaded_corpus.manifest)} published, 0 failed" in said
        for entry, _, shown in loaded_corpus.versions():
            assert digest(mount.path / "local" / entry["name"] / entry["version"]) == digest(shown)


def test_requests_of_a_cold_and_of_a_warm_find(loaded_corpus, binary):
    service = loaded_corpus.service
    environments = 112
    contexts = sum(entry["kind"] == "build" for entry in loaded_corpus.manifest)
    with Mount(binary, service=service, options={"refresh": 3600}) as cold:
        service.reset_counters()
        run("find", cold.path / "local")
        # The list of logs that is fetched beside a walk: whoever reads one waits for it.
        assert next(cold.path.glob("local/*/[0-9]*/build.log")).read_bytes() == b""
        first = service.counters()
        pages = -(-environments // 100)
        # The first contact came before; what is left beside the lists is the storage's key, once.
        assert first["total"] <= pages + environments + contexts + 3, first
        assert first["routes"].get("GET version", 0) == 0
        service.reset_counters()
        run("find", cold.path / "local")
        run("ls", "-lR", cold.path / "local")
        assert service.counters()["total"] == 0
