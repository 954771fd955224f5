"""Build contexts in storage that has no keys, whose signatures run out, that spoils bytes, or that others have filled."""
import errno
import os
import random

import pytest

from lib.mount import Mount, wait_until
from lib.service import Service
from lib.steps import upload_blobs

LARGE = random.Random(7).randbytes(5 * 1024 * 1024 + 123)
FILES = {
    "Dockerfile": b"FROM ubuntu:22.04\nCOPY . /\n",
    "empty": b"",
    "large.bin": LARGE,
    "with space/\u00fcml\u00e4ut/+&=#?.txt": b"percent\r\n\x00\xff",
    ".hidden/.dockerignore": b"*.pyc\n",
    "sub/deep/er/file": b"no newline at the end",
}


def read_tree(top):
    return {os.path.relpath(os.path.join(at, name), top): open(os.path.join(at, name), "rb").read()
            for at, _, names in os.walk(top) for name in names}


@pytest.mark.parametrize("how", ["key", "sas", "none"])
def test_contexts_of_others_come_back_byte_for_byte_and_ours_go_there(binary, how):
    """none: the workspace's datastore has no secrets, and our token opens the container."""
    with Service(binary, "--storage-auth", how) as service:
        uri = upload_blobs(service, "LocalUpload/0123456789abcdef/my ctx/", FILES)
        service.blobs().put("LocalUpload/0123456789abcdef/my ctx/sub/folder/", b"")
        service.put_version("theirs", "1", {"build": {"contextUri": uri}})
        with Mount(binary, service=service, options={"settle": 0.2}) as mount:
            context = mount.local / "theirs/1/context"
            assert read_tree(context) == FILES
            assert context.joinpath("large.bin").stat().st_size == len(LARGE)
            with open(context / "large.bin", "rb") as file:
                for offset in (0, 1, 1024 * 1024 - 1, 4 * 1024 * 1024 + 5, len(LARGE) - 1):
                    file.seek(offset)
                    assert file.read(4097) == LARGE[offset:offset + 4097]
            # And back: what is larger than one request goes in blocks.
            draft = mount.local / "ours/.next"
            draft.joinpath("context").mkdir(parents=True)
            (draft / "context/blocks").write_bytes(LARGE * 2)
            (draft / "context/Dockerfile").write_bytes(FILES["Dockerfile"])
            (draft / "spec.yml").write_text("build:\n  path: context\n")
            os.rename(draft, mount.local / "ours/1")
            uri = service.get_version("ours", "1")["properties"]["build"]["contextUri"]
            blobs = service.blobs()
            assert blobs.get(uri.removeprefix(blobs.url + "/") + "blocks").body == LARGE * 2
            routes = service.counters()["routes"]
            assert ("POST listSecrets" in routes) == (how != "none")


def test_a_signature_that_runs_out_while_a_large_file_is_read(binary):
    """It is renewed before it is refused; one that the service takes back is renewed when it is."""
    with Service(binary, "--storage-auth", "sas", "--sas-seconds", 3) as service:
        uri = upload_blobs(service, "ctx/", {"large": LARGE})
        service.put_version("e", "1", {"build": {"contextUri": uri}})
        with Mount(binary, service=service) as mount, \
                open(mount.local / "e/1/context/large", "rb", buffering=0) as file:
            old = service.blobs()
            service.reset_counters()
            assert file.read(4096) == LARGE[:4096]
            wait_until(lambda: old.head("ctx/large").status == 403, 30, "a signature of that age to run out")
            data = LARGE[:4096]
            while piece := file.read(65536):
                data += piece
            assert data == LARGE
            assert service.counters()["routes"]["POST listSecrets"] >= 1


def test_storage_that_refuses_once_is_asked_with_new_secrets(binary):
    with Service(binary, "--storage-auth", "sas") as service:
        uri = upload_blobs(service, "ctx/", {"large": LARGE})
        service.put_version("e", "1", {"build": {"contextUri": uri}})
        with Mount(binary, service=service) as mount, \
                open(mount.local / "e/1/context/large", "rb", buffering=0) as file:
            assert file.read(4096) == LARGE[:4096]
            service.set_faults({"path": "/mlenvfslocal/*", "method": "GET", "status": 403, "times": 1})
            file.seek(4 * 1024 * 1024)
            assert file.read(4096) == LARGE[4 * 1024 * 1024:][:4096]


def test_spoilt_bytes_are_never_shown(service, make_mount):
    uri = upload_blobs(service, "ctx/", {"large": LARGE, "small": b"0123456789"})
    service.put_version("e", "1", {"build": {"contextUri": uri}})
    mount = make_mount(service=service)
    context = mount.local / "e/1/context"
    assert sorted(os.listdir(context)) == ["large", "small"]
    # Once is noticed by nobody: they are asked for again.
    service.set_faults({"path": "*/ctx/large", "method": "GET", "corrupt": True, "times": 1})
    with open(context / "large", "rb") as file:
        assert file.read(100) == LARGE[:100]
    service.set_faults({"path": "*/ctx/*", "method": "GET", "corrupt": True})
    with open(context / "large", "rb") as file, pytest.raises(OSError) as caught:
        file.seek(3 * 1024 * 1024)
        file.read(100)
    assert caught.value.errno == errno.EIO
    with pytest.raises(OSError) as caught:
        (context / "small").read_bytes()
    assert caught.value.errno == errno.EIO
    log = mount.log()
    assert "not those that were stored: their MD5 is" in log and "small" in log
    service.set_faults()
    wait_until(lambda: readable(context / "small") == b"0123456789", 30, "the error to be forgotten")


def readable(path):
    try:
        return path.read_bytes()
    except OSError:
        return None
