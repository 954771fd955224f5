"""Removing and restoring where things were also edited: what is archived keeps its number, and local files go with what they belong to."""
import os
import subprocess

import pytest

from lib.mount import wait_until
from lib.saves import Program, context_of, load_text, properties, put_context, run, state_of, versions, wait_shown, writes

IMAGE = {"image": "mcr.microsoft.com/azureml/base:1", "tags": {"team": "ml"}}
CONTEXT = {"Dockerfile": b"FROM scratch\n", "app/main.py": b"print('one')\n"}
INVALID = b"imagee: x\n"


@pytest.fixture
def mount(service, make_mount):
    for version in ("1", "2"):
        service.put_version("a", version, IMAGE)
    put_context(service, "b", "1", CONTEXT)
    return make_mount(service=service, options={"refresh": 3600})


def snapshot(top):
    return {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()}


def archived(service, name, version):
    return properties(service, name, version)["isArchived"]


def test_an_edited_version_is_removed_and_restored(service, mount):
    version = mount.local / "a/2"
    editor = Program(version)
    with pytest.raises(OSError):
        editor.save("spec.yml", INVALID)
    editor.end()
    wait_until(lambda: b"image: " in (version / "spec.yml").read_bytes(), 10, "the published text")
    (version / "spec.yml").write_bytes((version / "spec.yml").read_bytes() + b"# mine\n")
    (version / ".spec.yml.swp").write_text("swap")
    run("rm", "-r", version)
    assert archived(service, "a", "2") and sorted(os.listdir(mount.local / "a")) == ["1", "latest"]
    assert os.readlink(mount.local / "a/latest") == "1"
    run("mv", mount.local / ".archived/a/2", mount.local / "a")
    assert not archived(service, "a", "2") and os.readlink(mount.local / "a/latest") == "2"
    assert load_text(version / "spec.yml")["image"] == IMAGE["image"]
    assert "spec.yml.rejected" not in os.listdir(version), "what rm removed stays removed"
    (version / "spec.yml").write_text((version / "spec.yml").read_text().replace("base:1", "base:3"))
    assert versions(service, "a") == {"1", "2", "3"}


def test_the_number_of_an_archived_version_is_not_used_again(service, mount):
    run("rm", "-r", mount.local / "a/2")
    (mount.local / "a/1/spec.yml").write_text((mount.local / "a/1/spec.yml").read_text().replace("base:1", "base:7"))
    assert versions(service, "a") == {"1", "2", "3"}
    assert properties(service, "a", "2")["image"] == IMAGE["image"] and archived(service, "a", "2")
    assert properties(service, "a", "3")["image"] == "mcr.microsoft.com/azureml/base:7"


def test_a_version_made_again_after_it_was_deleted_shows_nothing_old(service, mount):
    version = mount.local / "a/2"
    text = (version / "spec.yml").read_text()
    (version / "spec.yml").write_text("# old comment\n" + text)
    os.utime(version / "spec.yml", (1_500_000_000, 1_500_000_000))
    run("rm", "-r", version)
    run("rm", "-r", mount.local / ".archived/a/2")
    assert versions(service, "a") == {"1"}
    version.mkdir()
    (version / "spec.yml").write_text(text)
    assert versions(service, "a") == {"1", "2"} and state_of(version) == "published"
    assert "old comment" not in (version / "spec.yml").read_text()
    assert (version / "spec.yml").stat().st_mtime != 1_500_000_000


def test_rm_of_a_file_in_a_context_and_then_of_the_version(service, mount):
    context = mount.local / "b/1/context"
    os.unlink(context / "app/main.py")
    os.rmdir(context / "app")
    run("rm", "-r", mount.local / "b/1")
    assert archived(service, "b", "1") and context_of(service, "b", "1") == CONTEXT
    run("mv", mount.local / ".archived/b/1", mount.local / "b")
    assert snapshot(mount.local / "b/1/context") == CONTEXT


def test_rm_rf_of_a_workspace_with_drafts_scratch_and_edits_is_undone_with_one_mv(service, mount):
    before = snapshot(mount.local)
    (mount.local / "a/1/.spec.yml.swp").write_text("swap")
    (mount.local / "a/.next").mkdir()
    (mount.local / "a/.next/spec.yml").write_text("image: x\n")
    (mount.local / "a/9").mkdir()
    (mount.local / "a/9/conda.yml").write_text("dependencies: [python]\n")
    (mount.local / "b/1/context/main.py~").write_text("backup")
    editor = Program("/")
    with pytest.raises(OSError):
        editor.save(str(mount.local / "a/1/spec.yml"), INVALID)
    editor.end()
    wait_shown(mount.local / "a/1/spec.yml", before["a/1/spec.yml"])
    service.reset_counters()
    subprocess.run(["rm", "-rf", mount.local], check=False, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert os.listdir(mount.local) == []
    assert not [kind for kind in writes(service) if kind.startswith("DELETE")], "nothing is deleted"
    run("bash", "-c", "mv .archived/* .", cwd=mount.local)
    assert snapshot(mount.local) == before
    assert versions(service, "a") == {"1", "2"} and state_of(mount.local / "a/1") == "published"
