"""A backup of 270 versions restored by rsync into an empty workspace: each version once, and a second run has nothing to do."""
import json

import pytest

from lib.corpus import same_context, same_spec
from lib.mount import Mount, wait_until
from lib.saves import error_of, routes, run, state_of, writes
from lib.service import Service

pytestmark = pytest.mark.long

OPTIONS = {"refresh": 3600, "settle": 0.5}


class Restored:
    """The corpus, restored by one rsync through a mount into a service of its own."""

    def __init__(self, binary, corpus, state):
        self.binary, self.corpus = binary, corpus
        self.env = {"XDG_STATE_HOME": str(state)}
        self.manifest = json.loads((corpus / "manifest.json").read_text())
        self.service, self.mount = Service(binary), None
        try:
            self.mount = Mount(binary, service=self.service, options=OPTIONS, env=self.env)
            self.rsync(self.mount)
            for _, _, shown in self.versions(self.mount):
                wait_until(lambda: state_of(shown) == "published", 60, f"{shown}")  # pylint: disable=cell-var-from-loop
        except BaseException:
            self.end()
            raise

    def versions(self, mount):
        for entry in self.manifest:
            yield entry, self.corpus / entry["dir"], mount.local / entry["name"] / entry["version"]

    def drafts(self):
        return json.loads(self.mount.cli("status", "--json", self.mount.path).stdout)["drafts"]

    def rsync(self, mount):
        return run("rsync", "-aX", "--stats", f"{self.corpus}/environments/", f"{mount.local}/")

    def end(self):
        if self.mount:
            self.mount.kill()
        self.service.stop()


@pytest.fixture(scope="module")
def restored(binary, corpus, tmp_path_factory):
    made = Restored(binary, corpus, tmp_path_factory.mktemp("state"))
    yield made
    made.end()


@pytest.mark.deadline(300)
def test_each_version_is_published_once(restored):
    for _, _, shown in restored.versions(restored.mount):
        assert state_of(shown) == "published", f"{shown}: {state_of(shown)}: {error_of(shown)}"
    assert routes(restored.service)["PUT version"] == len(restored.manifest)
    listed = {(entry["name"], version["name"]) for entry in restored.manifest for version in
              restored.service.list(restored.service.workspace_path("local", "environments", entry["name"], "versions"), listViewType="All")}
    assert listed == {(entry["name"], entry["version"]) for entry in restored.manifest}


@pytest.mark.deadline(300)
def test_another_machine_sees_what_was_backed_up(restored):
    with Mount(restored.binary, service=restored.service) as other:
        files = 0
        for entry, ours, shown in restored.versions(other):
            files += same_context(entry, ours, shown)
            same_spec(entry, ours, shown)
        assert files > 500


@pytest.mark.deadline(300)
def test_the_files_are_shown_as_they_were_restored(restored):
    for entry, ours, shown in restored.versions(restored.mount):
        for name in entry["files"]:
            assert (shown / name).read_bytes() == (ours / name).read_bytes(), f"{entry['dir']}/{name}"
            assert (shown / name).stat().st_mtime_ns == (ours / name).stat().st_mtime_ns, f"{entry['dir']}/{name}"


@pytest.mark.deadline(300)
def test_a_second_run_transfers_and_writes_nothing(restored):
    restored.service.reset_counters()
    assert "Number of regular files transferred: 0\n" in restored.rsync(restored.mount)
    assert writes(restored.service) == {}


@pytest.mark.deadline(300)
def test_a_run_after_a_remount_transfers_and_writes_nothing(restored):
    restored.mount.stop()
    restored.mount = Mount(restored.binary, service=restored.service, options=OPTIONS, env=restored.env)
    restored.service.reset_counters()
    assert "Number of regular files transferred: 0\n" in restored.rsync(restored.mount)
    assert writes(restored.service) == {}
    assert restored.drafts() == []
