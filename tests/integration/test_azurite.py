"""
The program's blob client against Azurite, Microsoft's emulator of Azure Storage: build contexts
written and read through a mount whose datastore leads there, and checked from outside.
"""
import base64
import errno
import hashlib
import os
import time
from urllib.parse import quote

import pytest

from lib.azurite import ACCOUNT, Azurite, Redirected
from lib.blobs import Blobs, make_sas
from lib.js import require_packages
from lib.mount import Mount, wait_until
from lib.service import Service

pytestmark = pytest.mark.long

require_packages("Azurite")

BLOCK = 8 * 1024 * 1024  # what the program sends in one request
FILES = {"Dockerfile": b"FROM scratch\nCOPY . /\n", "empty": b"", "sub/dir/x.py": b"print(1)\n" * 999,
         "names/ä ü+100%&#?.txt": "ß\n".encode(), "names/a~b'c(d)!.txt": b"y", "bin": bytes(range(256)) * 100}
LARGE = {"large": os.urandom(BLOCK + 12345), "whole": os.urandom(1024 * 1024)}


def when(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))


@pytest.fixture(scope="module")
def azurite():
    with Azurite() as running:
        yield running


@pytest.fixture(scope="module")
def served(binary):
    with Service(binary) as running:
        yield running


def sas_of(container, permissions="rcwl", seconds=3600):
    sas = make_sas(container.key, container.container, permissions, when(seconds), account=ACCOUNT)
    return {"secretsType": "Sas", "sasToken": "&".join(f"{name}={encode(value)}" for name, value in sas.items())}


def encode(text):
    return quote(text, safe="")


@pytest.fixture
def redirected(request, azurite, served):
    """With the account's key, or with a SAS of the container where the test asks for both."""
    container = azurite.container()
    key = getattr(request, "param", "key") == "key"
    with Redirected(served, container, {"secretsType": "AccountKey", "key": container.key} if key else
                    sas_of(container)) as running:
        yield running


both = pytest.mark.parametrize("redirected", ["key", "sas"], indirect=True)


def fill(directory, files):
    for path, data in files.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(data)


def publish(mount, name, version, files):
    """A draft with a context, made and published; it is there when this returns."""
    draft = mount.local / name / ".next"
    draft.mkdir(parents=True)
    (draft / "context").mkdir()
    fill(draft / "context", files)
    (draft / "spec.yml").write_text("build:\n  path: context\n")
    os.rename(draft, mount.local / name / version)


def content(directory):
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def context_uri(service, name, version):
    return service.get_version(name, version)["properties"]["build"]["contextUri"]


def unique(name):
    return f"{name}-{os.urandom(4).hex()}"


@both
def test_a_context_there_and_back(redirected, served, make_mount):
    """Written by one mount, looked at from outside, read by another."""
    name, files = unique("context"), {**FILES, **LARGE}
    publish(make_mount(service=redirected), name, "1", files)
    container = redirected.container
    uri = context_uri(served, name, "1")
    assert uri.startswith(container.url + "/LocalUpload/") and uri.endswith("/")
    prefix = uri.removeprefix(container.url + "/")
    there = container.list(prefix, include="metadata")
    assert {path.removeprefix(prefix): int(found["Content-Length"]) for path, found in there.items()} == \
        {path: len(data) for path, data in files.items()}
    for path, data in files.items():
        got = container.get(prefix + path)
        assert (got.status, got.body == data) == (200, True), path
    for path in ("Dockerfile", "whole"):
        assert there[prefix + path]["Content-MD5"] == base64.b64encode(hashlib.md5(files[path]).digest()).decode()
    done = [found for found in there.values() if found.get("x-ms-meta-upload_status") == "completed"]
    assert len(done) == 1 and (done[0]["x-ms-meta-name"], done[0]["x-ms-meta-version"]) == (name, "1")
    reader = make_mount(service=redirected)
    shown = reader.local / name / "1/context"
    assert content(shown) == files
    assert {path: (shown / path).stat().st_size for path in files} == {path: len(data) for path, data in files.items()}


def test_large_files_go_in_blocks(redirected, azurite, make_mount):
    before = len(azurite.requests())
    publish(make_mount(service=redirected), unique("blocks"), "1", {"Dockerfile": b"FROM scratch\n", **LARGE})
    asked = [path for method, path, _ in azurite.requests()[before:] if method == "PUT"]
    assert sum("comp=block&" in path or path.endswith("comp=block") for path in asked) == 2
    assert sum("comp=blocklist" in path for path in asked) == 1


def test_any_part_of_a_file_can_be_read(redirected, make_mount):
    name, data = unique("ranges"), LARGE["large"]
    publish(make_mount(service=redirected), name, "1", {"Dockerfile": b"FROM scratch\n", "large": data})
    reader = make_mount(service=redirected)
    with open(reader.local / name / "1/context/large", "rb") as file:
        for offset, length in ((len(data) - 5, 100), (0, 1), (BLOCK - 3, 6), (BLOCK, 4096), (1, 65536), (len(data), 1)):
            file.seek(offset)
            assert file.read(length) == data[offset:offset + length]


def test_the_same_context_is_sent_once(redirected, azurite, make_mount):
    mount = make_mount(service=redirected)
    publish(mount, unique("first"), "1", FILES)
    before = len(azurite.requests())
    publish(mount, unique("second"), "1", FILES)
    assert [method for method, _, _ in azurite.requests()[before:]].count("PUT") == 0


@both
def test_a_change_makes_a_context_of_its_own(redirected, azurite, served, make_mount):
    """What did not change would be copied by the service; Azurite copies nothing, so it is sent."""
    name, mount = unique("change"), make_mount(service=redirected)
    publish(mount, name, "1", {**FILES, "whole": LARGE["whole"]})
    before = len(azurite.requests())
    (mount.local / name / "1/context/sub/dir/x.py").write_bytes(b"print(2)\n")
    changed = {**FILES, "whole": LARGE["whole"], "sub/dir/x.py": b"print(2)\n"}
    place = served.workspace_path("local", "environments", name, "versions", "2")
    wait_until(lambda: served.get(place).status == 200, 60, "version 2")
    assert context_uri(served, name, "1") != context_uri(served, name, "2")
    puts = [(path.partition("?")[0], status) for method, path, status in azurite.requests()[before:] if method == "PUT"]
    # 501 with a key; with a SAS, it trips over the source's.
    refused = {path for path, status in puts if status in (500, 501)}
    assert refused and refused <= {path for path, status in puts if status == 201}, puts
    reader = make_mount(service=redirected)
    assert content(reader.local / name / "1/context") == {**FILES, "whole": LARGE["whole"]}
    assert content(reader.local / name / "2/context") == changed


def test_a_context_of_other_tools(redirected, served, make_mount):
    """Blocks of another size, folder blobs, no checksums, no metadata."""
    name, container = unique("foreign"), redirected.container
    data = os.urandom(100_000)
    ids = [base64.b64encode(f"block {number}".encode()).decode() for number in range(10)]
    for number, block in enumerate(ids):
        put = container.call("PUT", "DockerBuildContext/x/data", {"comp": "block", "blockid": block},
                             data[number * 10_000:(number + 1) * 10_000])
        assert put.status == 201, put
    xml = "<?xml version='1.0'?><BlockList>" + "".join(f"<Latest>{block}</Latest>" for block in ids) + "</BlockList>"
    assert container.call("PUT", "DockerBuildContext/x/data", {"comp": "blocklist"}, xml.encode(),
                          {"Content-Type": "application/xml"}).status == 201
    assert container.put("DockerBuildContext/x/Dockerfile", b"FROM scratch\n").status == 201
    assert container.put("DockerBuildContext/x/sub", b"", {"x-ms-meta-hdi_isfolder": "true"}).status == 201
    assert container.put("DockerBuildContext/x/sub/file", b"f").status == 201
    served.put_version(name, "1", {"build": {"contextUri": f"{container.url}/DockerBuildContext/x"}})
    mount = make_mount(service=redirected)
    assert content(mount.local / name / "1/context") == {"data": data, "Dockerfile": b"FROM scratch\n", "sub/file": b"f"}


def test_many_files_in_many_directories(redirected, make_mount):
    files = {"Dockerfile": b"FROM scratch\n", **{f"d{number % 7}/f{number:03}": b"%d" % number for number in range(60)}}
    name = unique("many")
    publish(make_mount(service=redirected), name, "1", files)
    assert content(make_mount(service=redirected).local / name / "1/context") == files


@pytest.mark.parametrize("secret", [
    lambda container: {"secretsType": "AccountKey", "key": base64.b64encode(b"another key" * 4).decode()},
    lambda container: sas_of(container, seconds=-60),
    lambda container: sas_of(Blobs(container.service, "another", key=container.key, account=ACCOUNT)),
], ids=["wrong key", "ended SAS", "SAS of another container"])
def test_storage_that_refuses(azurite, served, binary, secret):
    """The mount goes on; what it can't read is an error, and nothing secret is in the log."""
    container = azurite.container()
    name = unique("refused")
    served.put_version(name, "1", {"build": {"contextUri": f"{container.url}/x/"}})
    container.put("x/Dockerfile", b"FROM scratch\n")
    with Redirected(served, container, secret(container)) as redirected:
        with Mount(binary, service=redirected) as mount:
            with pytest.raises(OSError) as caught:
                os.listdir(mount.local / name / "1/context")
            assert caught.value.errno == errno.EACCES
            assert (mount.local / name / "1/spec.yml").read_text()
            log = mount.log()
            given = redirected.secret
            assert (given.get("key") or given["sasToken"].split("sig=")[1]) not in log
