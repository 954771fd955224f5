"""Saving while other programs are at the same file: nobody's half is published, and nobody is told of a save that was none."""
import errno
import os
import signal
import subprocess
import threading
import time

import pytest

from lib.mount import wait_until

IMAGE = {"image": "mcr.microsoft.com/azureml/base:1"}
SPEC = "name: a\nimage: mcr.microsoft.com/azureml/base:{}\n"


@pytest.fixture
def mount(service, make_mount):
    service.put_version("a", "1", IMAGE)
    return make_mount(service=service, options={"refresh": 0.5})


def versions(service):
    return {item["name"] for item in
            service.list(service.workspace_path("local", "environments", "a", "versions"), listViewType="All")}


def test_a_close_saves_only_what_its_own_program_wrote(service, mount):
    spec = mount.local / "a/1/spec.yml"
    with open(spec, "w", encoding="utf-8") as writer:
        writer.write("name: a\nimage: [half")
        writer.flush()
        subprocess.run(["python3", "-c", f"open({str(spec)!r}, 'r+').close()"], check=True, timeout=60)
        assert versions(service) == {"1"}, "the half is not published, and nobody is told that it is not valid"
        writer.seek(0)
        writer.truncate()
        writer.write(SPEC.format(2))
    assert service.get_version("a", "2")["properties"]["image"] == "mcr.microsoft.com/azureml/base:2"
    assert versions(service) == {"1", "2"}


@pytest.mark.deadline(240)
def test_who_looks_at_a_file_that_is_saved_over_and_over_always_finds_it(service, mount):
    """By programs that end at once, so that what they saved is the published file again at once; each save is a version."""
    spec = mount.local / "a/1/spec.yml"
    failures, end = [], threading.Event()

    def look():
        while not end.is_set():
            for call in (lambda: os.stat(spec), lambda: os.close(os.open(spec, os.O_RDONLY)),
                         lambda: os.close(os.open(spec, os.O_WRONLY))):
                try:
                    call()
                except OSError as error:
                    # The kernel looks again once only: between two looks everything may have changed twice.
                    if error.errno != errno.ESTALE:
                        failures.append(error)

    readers = [threading.Thread(target=look) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        for number in range(2, 32):
            text = SPEC.format(number).replace("\n", "\\n")
            command = f"printf '{text}' > spec.yml" if number % 2 else f"printf '{text}' > .t && mv -f .t spec.yml"
            subprocess.run(["sh", "-c", command], cwd=spec.parent, check=True, timeout=60)
            assert service.get_version("a", str(number))["properties"]["image"].endswith(f":{number}")
    finally:
        end.set()
        for reader in readers:
            reader.join()
    assert not failures
    assert len(versions(service)) == 31


def test_what_is_written_after_others_renamed_the_file_into_place_is_saved(service, mount):
    directory = mount.local / "a/1"
    with open(directory / "tmp", "w", encoding="utf-8") as writer:
        writer.write(SPEC.format(2))
        writer.flush()
        subprocess.run(["mv", directory / "tmp", directory / "spec.yml"], check=True, timeout=60)
        assert versions(service) == {"1", "2"}
        os.stat(directory / "spec.yml")  # who renamed it is gone: nothing else keeps what is shown
        writer.seek(0)
        writer.write(SPEC.format(3))
    assert service.get_version("a", "3")["properties"]["image"] == "mcr.microsoft.com/azureml/base:3"


@pytest.mark.parametrize("how", ["open", "truncate"])
def test_what_was_emptied_is_no_part_of_the_next_save(service, mount, how):
    """`: > spec.yml` saves nothing, nor does a save of conda.yml take the empty file for what spec.yml says."""
    directory = mount.local / "b/1"
    service.put_version("b", "1", {**IMAGE, "condaFile": '{"dependencies": ["python=3.10"]}'})
    wait_until(directory.exists, 30, "the environment")
    # Saved by this process, which lives: it is shown on.
    (directory / "spec.yml").write_text("name: b\nimage: mcr.microsoft.com/azureml/base:2\nconda_file: conda.yml\n", encoding="utf-8")
    if how == "open":
        os.close(os.open(directory / "spec.yml", os.O_WRONLY | os.O_TRUNC))
    else:
        os.truncate(directory / "spec.yml", 0)
    (directory / "conda.yml").write_text("dependencies: [python=3.11]\n", encoding="utf-8")
    saved = service.get_version("b", "3")["properties"]
    assert saved["image"] == "mcr.microsoft.com/azureml/base:2" and "3.11" in saved["condaFile"]


def test_a_dockerfile_edited_right_after_its_version_was_copied_is_saved(service, mount, examples):
    """For some seconds the copying program's own Dockerfile is taken and dropped: not what an editor renames onto it."""
    subprocess.run(["cp", "-a", examples / "invoice-ocr/1", mount.local / "a/9"], check=True, timeout=60)
    wait_until(lambda: "9" in versions(service), 30, "the publication")
    subprocess.run(["sed", "-i", "$a# more", mount.local / "a/9/Dockerfile"], check=True, timeout=60)
    assert "10" in versions(service)
    assert (mount.local / "a/10/context/Dockerfile").read_text().endswith("# more\n")


def test_two_files_of_a_draft_that_are_written_at_once_are_one_version(service, mount):
    """As programs do that copy several files at once: spec.yml is closed when half of conda.yml is there."""
    draft = mount.local / "a/2"
    draft.mkdir()
    with open(draft / "conda.yml", "w", encoding="utf-8") as conda:
        conda.write("dependencies:\n- python=3.10\n")
        conda.flush()
        (draft / "spec.yml").write_text("image: mcr.microsoft.com/azureml/base:2\nconda_file: conda.yml\n")
        descriptor = os.open(draft, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
        assert versions(service) == {"1"}
        conda.write("- numpy\n")
    assert versions(service) == {"1", "2"}
    assert "numpy" in service.get_version("a", "2")["properties"]["condaFile"]


@pytest.mark.deadline(240)
@pytest.mark.parametrize("attempt", range(4))
def test_a_signal_ends_the_mount_while_drafts_are_published(service, make_mount, attempt):
    """The kernel is told of each new version: it must not wait for a rename that nobody answers any more."""
    mount = make_mount(service=service)
    env = mount.local / "new"
    env.mkdir()
    begun = threading.Event()

    def publish(first):
        for number in range(first, first + 100):
            try:
                draft = env / f".{number}"
                draft.mkdir()
                (draft / "spec.yml").write_text(SPEC.format(number).replace("name: a\n", ""))
                draft.rename(env / str(number))
            except OSError as error:
                assert error.errno in (errno.EIO, errno.EINTR, errno.ENOTCONN, errno.ECONNABORTED, errno.ENOENT)
                return
            begun.set()

    publishers = [threading.Thread(target=publish, args=(first,)) for first in (1000, 2000, 3000)]
    for publisher in publishers:
        publisher.start()
    begun.wait(60)
    time.sleep(attempt / 20)
    mount.process.send_signal(signal.SIGTERM)
    assert mount.process.wait(30) == 0
    for publisher in publishers:
        publisher.join(30)
    mount.kill()  # what is left: its directory
