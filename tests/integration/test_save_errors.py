"""Saves that fail: the call that programs check says so, nothing is published, and nothing that was typed is lost."""
import errno
import json
import os
import re
import subprocess
import time

import pytest

from lib.mount import wait_until
from lib.saves import (SAVE_ERRORS, Program, context_of, errno_of, error_of, load_text, properties, put_context, run, state_of, versions,
                       wait_shown, writes)

IMAGE = {"image": "mcr.microsoft.com/azureml/base:1", "tags": {"team": "ml"}}
CONDA = "channels:\n- conda-forge\ndependencies:\n- python=3.10\n"
CONTEXT = {"Dockerfile": b"FROM scratch\n", "app/main.py": b"print('one')\n"}
INVALID = b"image: mcr.microsoft.com/azureml/base:2\ntags:\n  team: ml\nimagee: typing error\n"
VALID = b"image: mcr.microsoft.com/azureml/base:2\ntags: {team: ml}\n"
SAVE_SECONDS = 3


@pytest.fixture
def mount(service, make_mount):
    service.put_version("a", "1", IMAGE)
    service.put_version("c", "1", {**IMAGE, "condaFile": CONDA})
    put_context(service, "b", "1", CONTEXT)
    mount = make_mount(service=service, options={"refresh": 3600, "save_timeout": SAVE_SECONDS})
    for name in "abc":
        assert (mount.local / name / "1/spec.yml").read_bytes()
    return mount


@pytest.fixture
def program(mount):
    made = Program(mount.local / "a/1")
    yield made
    made.end()


def failing_close(path, data, flags=os.O_WRONLY | os.O_TRUNC):
    """Saves, and gives what fsync and what close say; both must fail."""
    fd = os.open(path, flags)
    try:
        os.write(fd, data)
        checked = errno_of(os.fsync, fd)
    except BaseException:
        os.close(fd)
        raise
    return checked, errno_of(os.close, fd)


def status(mount):
    return json.loads(mount.cli("status", "--json", mount.path).stdout)


def test_an_invalid_spec(service, mount, program):
    version = mount.local / "a/1"
    published = (version / "spec.yml").read_bytes()
    service.reset_counters()
    program.do("fd = os.open('spec.yml', os.O_WRONLY | os.O_TRUNC)")
    program.do(f"os.write(fd, {INVALID!r})")
    for call in ("os.fsync(fd)", "os.fdatasync(fd)", "os.close(fd)"):
        with pytest.raises(OSError) as caught:
            program.do(call)
        assert caught.value.errno == errno.EBADMSG, call
    rejected = version / "spec.yml.rejected"
    assert rejected.read_bytes() == INVALID
    assert (version / "spec.yml").read_bytes() == INVALID, "the program sees what it wrote"
    for path in (version, version / "spec.yml", rejected):
        assert re.search(r"line 4, column 1\b.*imagee", error_of(path)), path
    assert state_of(rejected) == "rejected"
    assert re.search(r"env=a version=1 file=spec\.yml .*imagee", mount.log())
    assert service.counters()["total"] == 0, "what is not valid is not sent"
    told = [item for item in status(mount)["rejected"] if item["path"].endswith("local/a/1/spec.yml.rejected")]
    assert len(told) == 1 and "imagee" in json.dumps(told[0])
    assert "imagee" in mount.cli("status", mount.path).stdout

    program.end()
    wait_shown(version / "spec.yml", published)
    assert rejected.read_bytes() == INVALID and os.readlink(mount.local / "a/latest") == "1"
    run("rm", rejected)
    assert not rejected.exists() and "spec.yml.rejected" not in os.listdir(version)
    assert status(mount)["rejected"] == []
    assert versions(service, "a") == {"1"}


def test_a_corrected_save_after_a_failed_one(service, mount, program):
    with pytest.raises(OSError):
        program.save("spec.yml", INVALID)
    program.save("spec.yml", INVALID.replace(b"imagee: typing error\n", b""))
    assert versions(service, "a") == {"1", "2"} and properties(service, "a", "2")["image"][-1] == "2"
    assert (mount.local / "a/1/spec.yml.rejected").read_bytes() == INVALID, "it stays until it is removed"
    run("rm", mount.local / "a/1/spec.yml.rejected")


def kept_texts(version):
    return sorted(path.read_bytes() for path in version.glob("spec.yml.rejected*"))


@pytest.mark.parametrize("back", ["rename", "write"])
def test_a_backup_that_comes_back_replaces_nothing_that_was_typed(mount, program, back):
    """An editor whose second save fails too puts the first, as it has it in a backup, in its place again."""
    first, second = INVALID, INVALID.replace(b"typing", b"another typing")
    with pytest.raises(OSError):
        program.save("spec.yml", first)
    if back == "rename":
        program.do("os.rename('spec.yml', 'spec.yml~')")
    with pytest.raises(OSError):
        program.save("spec.yml", second)
    with pytest.raises(OSError):
        program.do("os.rename('spec.yml~', 'spec.yml')") if back == "rename" else program.save("spec.yml", first)
    assert set(kept_texts(mount.local / "a/1")) == {first, second}


def test_a_program_that_goes_on_typing_leaves_one_rejected_text(mount, program):
    texts = [INVALID.replace(b"typing", b"typing " * i) for i in range(1, 4)]
    for text in texts + texts[-1:]:
        with pytest.raises(OSError):
            program.save("spec.yml", text)
    assert kept_texts(mount.local / "a/1") == [texts[-1]]


@pytest.mark.parametrize("how", ["rename", "link", "append"])
def test_an_invalid_spec_by_other_calls(service, mount, how):
    version = mount.local / "a/1"
    published = (version / "spec.yml").read_bytes()
    if how == "append":
        done = subprocess.run(["bash", "-c", "cat >> spec.yml"], cwd=version, input=b"imagee: x\n", capture_output=True, check=False)
        assert done.returncode and b"Bad message" in done.stderr
        assert (version / "spec.yml.rejected").read_bytes() == published + b"imagee: x\n"
    else:
        (version / "tmp1").write_bytes(INVALID)
        if how == "link":
            os.unlink(version / "spec.yml")
        assert errno_of(getattr(os, how), version / "tmp1", version / "spec.yml") == errno.EBADMSG
        assert (version / "tmp1").read_bytes() == INVALID
        assert (version / "spec.yml.rejected").read_bytes() == INVALID
    assert error_of(version)
    if how == "rename":
        assert (version / "spec.yml").read_bytes() == published, "the published view is unchanged"
    assert versions(service, "a") == {"1"}


def test_invalid_files_that_are_not_spec_yml(service, mount):
    conda, main = mount.local / "c/1/conda.yml", mount.local / "b/1/context/Dockerfile"
    assert failing_close(conda, b"dependencies:\n  - pip: [a\n") == (errno.EBADMSG, errno.EBADMSG)
    assert (mount.local / "c/1/conda.yml.rejected").read_bytes() == b"dependencies:\n  - pip: [a\n"
    assert re.search(r"conda\.yml.*line \d+, column \d+", error_of(mount.local / "c/1"))
    os.unlink(main)
    assert failing_close(mount.local / "b/1/spec.yml", b"build: {path: context}\n") == (errno.EBADMSG, errno.EBADMSG)
    assert "Dockerfile" in error_of(mount.local / "b/1")
    assert (mount.local / "b/1/spec.yml.rejected").read_bytes() == b"build: {path: context}\n"
    assert versions(service, "b") == versions(service, "c") == {"1"}


def test_an_invalid_spec_that_nobody_waits_for(service, mount, program):
    """The bytes come at munmap after close: there is no call left that could fail."""
    published = (mount.local / "a/1/spec.yml").read_bytes()
    program.do("""
libc = ctypes.CDLL(None, use_errno=True); libc.mmap.restype = ctypes.c_void_p
fd = os.open('spec.yml', os.O_RDWR); at = libc.mmap(None, ctypes.c_size_t(4096), 3, 1, fd, ctypes.c_long(0)); os.close(fd)
ctypes.memmove(at, b'[[[[', 4); libc.munmap(ctypes.c_void_p(at), ctypes.c_size_t(4096))""")
    rejected = mount.local / "a/1/spec.yml.rejected"
    wait_until(rejected.exists, 20, "the rejected text")
    assert rejected.read_bytes() == b"[[[[" + published[4:]
    wait_until(lambda: error_of(mount.local / "a/1"), 10, "the reason")
    assert "line 1" in error_of(mount.local / "a/1")
    assert versions(service, "a") == {"1"}


# ---- what the service says ----

TAKEN = VALID.replace(b"image:", b'version: "9"\nimage:')
ANSWERS = {
    "not allowed": ([{"path": "*/versions/*", "method": "PUT", "status": 403}], {errno.EACCES}),
    "not signed in": ([{"path": "*/versions/*", "status": 401}], {errno.EACCES}),
    "throttled": ([{"path": "*/versions/*", "status": 429, "retry_after": 60}], {errno.EBUSY}),
    "out of order": ([{"path": "*/versions/*", "status": 503, "retry_after": 60}], {errno.EBUSY}),
    "failing": ([{"path": "*/versions/*", "status": 500}], {errno.EIO}),
    "too large": ([{"path": "*/versions/*", "method": "PUT", "status": 413}], {errno.EFBIG}),
    "refused": ([{"path": "*/versions/*", "method": "PUT", "status": 400, "code": "ValidationError"}], {errno.EBADMSG, errno.EIO}),
    "workspace gone": ([{"path": "*/versions/*", "method": "PUT", "status": 404}], SAVE_ERRORS),
    "silent": ([{"path": "*/versions/*", "delay_ms": 60000}], {errno.ETIMEDOUT}),
    "silent at the PUT": ([{"path": "*/versions/*", "method": "PUT", "delay_ms": 60000}], {errno.ETIMEDOUT}),
    "garbage": ([{"path": "*/versions/*", "garbage": True}], {errno.EIO}),
    "garbage in an answer": ([{"path": "*/versions/*", "method": "PUT", "garbage_body": True}], {errno.EIO}),
    "hanging up": ([{"path": "*/versions/*", "reset": True}], {errno.EIO}),
}


@pytest.mark.parametrize("what", ANSWERS)
def test_what_the_service_says_reaches_the_program(service, mount, program, what):
    rules, expected = ANSWERS[what]
    service.set_faults(*rules)
    began = time.monotonic()
    with pytest.raises(OSError) as caught:
        program.save("spec.yml", VALID)
    assert time.monotonic() - began < SAVE_SECONDS + 2, "within the deadline"
    assert caught.value.errno in expected, caught.value
    assert (mount.local / "a/1/spec.yml.rejected").read_bytes() == VALID
    assert error_of(mount.local / "a/1")
    service.set_faults()
    assert versions(service, "a") == {"1"}
    program.save("spec.yml", VALID)
    assert versions(service, "a") == {"1", "2"}, "the same text saved again is tried again"
    program.end()
    assert (mount.local / "a/1/spec.yml.rejected").read_bytes() == VALID


@pytest.mark.parametrize("rules", [[{"path": "*/versions/*", "status": 403}], [{"path": "*/versions/*", "status": 503, "retry_after": 60}]],
                         ids=["403", "503"])
def test_fsync_says_what_close_will_say(service, mount, rules):
    service.set_faults(*rules)
    checked, closed = failing_close(mount.local / "a/1/spec.yml", VALID)
    assert checked == closed and closed in (errno.EACCES, errno.EBUSY)
    service.set_faults()
    assert versions(service, "a") == {"1"}


def test_fsync_says_that_a_version_is_taken(service, mount):
    service.put_version("a", "9", IMAGE)
    assert failing_close(mount.local / "a/1/spec.yml", TAKEN) == (errno.EEXIST, errno.EEXIST)
    assert (mount.local / "a/1/spec.yml.rejected").read_bytes() == TAKEN
    assert properties(service, "a", "9")["image"] == IMAGE["image"]


def test_the_service_is_down(service, mount, program):
    port = service.port
    service.down()
    began = time.monotonic()
    assert failing_close(mount.local / "a/1/spec.yml", VALID) == (errno.EHOSTUNREACH, errno.EHOSTUNREACH)
    assert time.monotonic() - began < 2 * SAVE_SECONDS + 2
    assert (mount.local / "a/1/spec.yml.rejected").read_bytes() == VALID
    # Scratch needs no service.
    (mount.local / "a/1/notes").write_text("x")
    assert (mount.local / "a/1/notes").read_text() == "x"
    service.start(port)
    assert versions(service, "a") == {"1"}, "what was told to have failed is not published later"
    program.save("spec.yml", VALID.replace(b"base:2", b"base:3"))
    assert versions(service, "a") == {"1", "2"}


@pytest.mark.parametrize("what", ["PUT", "GET"])
def test_an_answer_that_was_lost_is_one_version(service, mount, program, what):
    service.set_faults({"path": "*/versions/*", "method": what, "lost": True, "times": 1})
    program.save("spec.yml", VALID)
    service.set_faults()
    assert versions(service, "a") == {"1", "2"}
    assert not (mount.local / "a/1/spec.yml.rejected").exists()


def test_an_upload_that_fails(service, mount):
    service.set_faults({"path": "/mlenvfslocal/*", "method": "PUT", "status": 403})
    main = mount.local / "b/1/context/app/main.py"
    fd = os.open(main, os.O_WRONLY | os.O_TRUNC)
    os.write(fd, b"print('two')\n")
    assert errno_of(os.close, fd) == errno.EACCES
    assert (main.parent / "main.py.rejected").read_bytes() == b"print('two')\n"
    service.set_faults()
    assert versions(service, "b") == {"1"}
    run("cp", main.parent / "main.py.rejected", main)
    assert versions(service, "b") == {"1", "2"}
    run("bash", "-c", "echo >> Dockerfile", cwd=mount.local / "b/1/context")
    assert set(context_of(service, "b", "3")) == set(CONTEXT), "what was rejected is no content"


def test_a_failed_change_of_tags(service, mount):
    spec = mount.local / "a/1/spec.yml"
    text = spec.read_bytes().replace(b"team: ml", b"team: platform")
    service.set_faults({"path": "*/versions/1", "method": "PUT", "status": 403})
    done = subprocess.run(["cp", "/dev/stdin", spec], input=text, capture_output=True, check=False)
    assert done.returncode and b"Permission denied" in done.stderr
    service.set_faults()
    assert properties(service, "a", "1")["tags"] == {"team": "ml"}
    assert (mount.local / "a/1/spec.yml.rejected").read_bytes() == text
    wait_until(lambda: load_text(spec)["tags"] == {"team": "ml"}, 10, "the published tags")


# ---- what cannot be changed ----


def refusals(path):
    """What every way to change a file says, as far as it is a file's."""
    name = str(path)
    yield errno_of(os.open, path, os.O_WRONLY)
    yield errno_of(os.open, path, os.O_RDWR)
    yield errno_of(os.open, path, os.O_WRONLY | os.O_TRUNC)
    yield errno_of(os.open, path, os.O_WRONLY | os.O_APPEND)
    yield errno_of(os.truncate, path, 0)
    yield errno_of(os.rename, name, name + "~")


def test_what_is_read_only_says_so_at_open(service, mount, make_mount):
    # An ordinary user is stopped by the mode before the file system is asked.
    read_only = {errno.EROFS, errno.EACCES}
    curated = next((mount.path / "@azureml").glob("*/latest/spec.yml"))
    assert set(refusals(curated)) <= read_only
    assert errno_of(os.open, curated.parent / "new", os.O_CREAT | os.O_WRONLY) in read_only
    service.raw(curated.parent.parent.name, "1", {}, curated=True)
    os.setxattr(mount.path, "user.mlenvfs.refresh", b"1")
    assert set(refusals(mount.local / curated.parent.parent.name / "1/spec.yml")) <= read_only
    service.put_version("a", "2", {**IMAGE, "isArchived": True})
    os.setxattr(mount.path, "user.mlenvfs.refresh", b"1")
    for name in ("Dockerfile", "build.log"):
        for call in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC):
            assert errno_of(os.open, mount.local / "a/1" / name, call) in read_only, name
    for call in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC):
        assert errno_of(os.open, mount.local / ".archived/a/2/spec.yml", call) in read_only
    with make_mount(service=service, options={"ro": True}) as readonly:
        assert set(refusals(readonly.local / "a/1/spec.yml")) == {errno.EROFS}
        assert errno_of(os.open, readonly.local / "a/1/new", os.O_CREAT | os.O_WRONLY) == errno.EROFS
        assert errno_of(os.mkdir, readonly.local / "a/9") == errno.EROFS
    assert versions(service, "a") == {"1", "2"}


def test_a_directory_in_the_way_of_rejected(service, mount):
    """What was typed is not lost because its usual place is taken."""
    (mount.local / "a/1/spec.yml.rejected").mkdir()
    checked, closed = failing_close(mount.local / "a/1/spec.yml", INVALID)
    assert checked == closed == errno.EBADMSG
    kept = [path for path in (mount.local / "a/1").rglob("*.rejected*") if path.is_file()]
    assert [path.read_bytes() for path in kept] == [INVALID]


def test_rejected_texts_survive_a_remount(service, make_mount, tmp_path):
    service.put_version("a", "1", IMAGE)
    state = {"XDG_STATE_HOME": str(tmp_path)}
    first = make_mount(service=service, env=state)
    program = Program(first.local / "a/1")
    with pytest.raises(OSError):
        program.save("spec.yml", INVALID)
    program.end()
    first.stop()
    service.reset_counters()
    again = make_mount(service=service, env=state)
    rejected = again.local / "a/1/spec.yml.rejected"
    assert rejected.read_bytes() == INVALID
    assert load_text(again.local / "a/1/spec.yml")["image"] == IMAGE["image"]
    assert [item["path"].split("local/")[-1] for item in status(again)["rejected"]] == ["a/1/spec.yml.rejected"]
    again.cli("discard", rejected)
    assert not rejected.exists() and status(again)["rejected"] == []
    assert writes(service) == {}


def test_discard(mount, program):
    with pytest.raises(OSError):
        program.save("spec.yml", INVALID)
    program.end()
    (mount.local / "a/.next/context").mkdir(parents=True)
    (mount.local / "a/.next/spec.yml").write_bytes(INVALID)
    assert any(item["path"].endswith("local/a/.next") for item in status(mount)["drafts"])
    mount.cli("discard", mount.local / "a/.next")
    assert not (mount.local / "a/.next").exists() and status(mount)["drafts"] == []
    mount.cli("discard", mount.local / "a/1/spec.yml.rejected")
    assert "spec.yml.rejected" not in os.listdir(mount.local / "a/1")
    assert failing_close(mount.local / "a/1/spec.yml", INVALID) == (errno.EBADMSG, errno.EBADMSG)
    (mount.local / "a/1/notes").write_text("mine")
    mount.cli("discard", mount.local / "a/1")
    assert load_text(mount.local / "a/1/spec.yml")["image"] == IMAGE["image"], "what is published stays"
    assert status(mount)["rejected"] == []
