"""
Blob Storage as Microsoft's clients use it (official-clients.md, "Upload" and "Download"), by
hand-written requests over a real socket.
"""
import base64
import hashlib
import http.client
import os
import time
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from urllib.parse import parse_qsl, quote, urlsplit
import xml.etree.ElementTree as ElementTree

import pytest

from lib.assets import content_hash
from lib.blobs import ACCOUNT, VERSION, Blobs, make_sas, shared_key, sign
from lib.service import Service

# The files and the hash of azureml-rest.md section 8.
VECTOR = {"Dockerfile": b"FROM ubuntu:22.04\nCOPY a.txt /a.txt\n", "a.txt": b"hello\n",
          "B.txt": b"x\n", "sub/requirements.txt": b"numpy==1.26.4\n"}
VECTOR_HASH = "cf6f2ddf6d387def1f1e68a4e7aa7b18"
KEY = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="


def when(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))


def write(directory, files):
    for name, data in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(data)


@pytest.fixture(scope="module", params=["key", "sas", "none"])
def served(request, binary):
    """A service for each kind of credentials that a datastore can have."""
    with Service(binary, "--storage-auth", request.param) as running:
        yield running


@pytest.fixture(scope="module")
def plain(binary):
    with Service(binary) as running:
        yield running


@pytest.fixture
def blobs(plain):
    """A container of the test's own, with the account's key."""
    made = Blobs(plain, f"test-{os.urandom(8).hex()}", key=plain.blobs().key)
    assert made.create().status == 201
    return made


def test_our_own_signing():
    """The vectors of azureml-rest.md section 10: what signs in these tests signs as the SDK does."""
    date = {"x-ms-date": "Wed, 14 Sep 2022 20:33:51 GMT", "x-ms-version": "2021-12-02"}
    put = {**date, "Content-Length": "6", "Content-Type": "application/octet-stream",
           "Content-MD5": "sZRqySSS0jR8YjW00mERhA==", "If-None-Match": "*",
           "x-ms-blob-type": "BlockBlob"}
    assert shared_key(KEY, "PUT", "/c1/LocalUpload/cf6f/my%20ctx/a.txt", {}, put, "exampleacct") == \
        "SharedKey exampleacct:WegdWf2sWsEMBO63+wIxPl9hldQOFur0vg5bl5gqKGw="
    params = {"restype": "container", "comp": "list", "prefix": "LocalUpload/cf6f/my ctx/",
              "include": "metadata"}
    assert shared_key(KEY, "GET", "/c1", params, date, "exampleacct") == \
        "SharedKey exampleacct:6zcqxybEzNF7rqiu92FPwDr/eoASbM0r08qsB3QUpOg="


def test_our_own_hash(tmp_path):
    write(tmp_path, VECTOR)
    assert content_hash(tmp_path) == VECTOR_HASH
    assert content_hash(tmp_path / "a.txt") == "71837600ad97da81bfd1dc421aab4b13"


def test_a_context_is_uploaded_once(served, tmp_path):
    """All of it the first time, and only HEAD when the same content comes again."""
    write(tmp_path / "ctx", VECTOR)
    served.reset_counters()
    uri = served.upload_context(tmp_path / "ctx", "first", "1")
    first = served.counters()["routes"]
    assert first["PUT blob"] == len(VECTOR)
    assert uri == f"{served.blobs().url}/LocalUpload/{VECTOR_HASH}/ctx/"
    served.reset_counters()
    assert served.upload_context(tmp_path / "ctx", "second", "1") == uri
    assert "PUT blob" not in served.counters()["routes"]
    blobs = served.blobs()
    indicator = blobs.head(f"LocalUpload/{VECTOR_HASH}/ctx/B.txt")
    assert indicator.headers["x-ms-meta-upload_status"] == "completed"
    assert indicator.headers["x-ms-meta-name"] == "first"
    assert indicator.headers["x-ms-meta-version"] == "1"
    listed = blobs.list(prefix=f"LocalUpload/{VECTOR_HASH}/ctx/", include="metadata")
    assert {name.split("/ctx/")[1]: int(properties["Content-Length"])
            for name, properties in listed.items()} == {n: len(d) for n, d in VECTOR.items()}
    for name, data in VECTOR.items():
        got = blobs.get(f"LocalUpload/{VECTOR_HASH}/ctx/{name}")
        assert (got.status, got.body) == (200, data)


def test_datastore_of_a_new_store(served):
    """The container exists from the start; its credentials are of the kind the service was told."""
    store = served.datastore()
    assert store["datastoreType"] == "AzureBlob" and store["accountName"] == ACCOUNT
    assert served.blobs().list() == {}  or all(name.startswith("LocalUpload/")
                                               for name in served.blobs().list())
    kind = store["credentials"]["credentialsType"]
    assert kind in ("AccountKey", "Sas", "None")
    secrets = served.request("POST", served.workspace_path("local", "datastores", "workspaceblobstore",
                                                           "listSecrets"), {"expirableSecret": True})
    if kind == "None":
        assert secrets.status == 400
    else:
        assert secrets.json()["secretsType"] == kind
        assert set(secrets.json()) == {"secretsType", "key" if kind == "AccountKey" else "sasToken"}


def test_head_of_what_is_not_there(blobs):
    response = blobs.head("nothing")
    assert (response.status, response.body) == (404, b"")
    assert response.headers["x-ms-error-code"] == "BlobNotFound"
    again = blobs.head("nothing")  # the connection is still in step
    assert again.status == 404


def test_errors_are_xml(blobs):
    response = blobs.get("nothing")
    assert response.status == 404
    assert response.headers.get_content_type() == "application/xml"
    root = ElementTree.fromstring(response.body)
    assert root.tag == "Error" and root.findtext("Code") == "BlobNotFound" and root.findtext("Message")


def test_put_in_parallel(blobs):
    files = {f"d/{number:03}.bin": os.urandom(number * 1000) for number in range(40)}
    with ThreadPoolExecutor(8) as pool:
        statuses = [response.status for response in pool.map(blobs.put, files, files.values())]
    assert statuses == [201] * len(files)
    for name, data in files.items():
        assert blobs.get(name).body == data
    with ThreadPoolExecutor(8) as pool:
        again = list(pool.map(blobs.put, files, files.values()))
    assert {(response.status, response.code) for response in again} == {(409, "BlobAlreadyExists")}


def test_checksum_of_a_put(blobs):
    wrong = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    response = blobs.put("a", b"data", {"Content-MD5": wrong})
    assert (response.status, response.code) == (400, "Md5Mismatch")
    assert blobs.head("a").status == 404
    right = blobs.put("a", b"data")
    assert right.headers["Content-MD5"] == base64.b64encode(hashlib.md5(b"data").digest()).decode()
    assert right.headers["ETag"] == blobs.head("a").headers["ETag"]


def put_block(blobs, name, number, data):
    block = base64.b64encode(f"{number:08}".encode()).decode()
    response = blobs.call("PUT", name, {"comp": "block", "blockid": block}, data)
    assert response.status == 201, response
    return block


def put_block_list(blobs, name, ids, kind="Latest"):
    xml = "<?xml version='1.0' encoding='utf-8'?>\n<BlockList>" + \
        "".join(f"<{kind}>{block}</{kind}>" for block in ids) + "</BlockList>"
    return blobs.call("PUT", name, {"comp": "blocklist"}, xml.encode(),
                      {"Content-Type": "application/xml", "x-ms-blob-content-type": "text/plain"})


def test_a_large_upload_in_blocks(blobs):
    """As the SDK does over 64 MiB: 4 MiB blocks in parallel, then their list."""
    pieces = [os.urandom(4 * 1024 * 1024) for _ in range(3)] + [b"end"]
    with ThreadPoolExecutor(4) as pool:
        ids = list(pool.map(lambda number: put_block(blobs, "large", number, pieces[number]),
                            range(len(pieces))))
    assert blobs.head("large").status == 404
    assert put_block_list(blobs, "large", ids).status == 201
    whole = b"".join(pieces)
    head = blobs.head("large")
    assert int(head.headers["Content-Length"]) == len(whole)
    assert head.headers["Content-Type"] == "text/plain"
    assert blobs.get("large").body == whole
    assert put_block_list(blobs, "large", ["AAAA"]).code == "InvalidBlockList"
    assert blobs.get("large", {"x-ms-range": f"bytes={len(whole) - 5}-"}).body == whole[-5:]


def test_download_in_ranges(blobs):
    """The SDK asks for the first 32 MiB by range, and learns the size from Content-Range."""
    data = os.urandom(3 * 1024 * 1024 + 7)
    blobs.put("data", data)
    first = blobs.get("data", {"x-ms-range": "bytes=0-33554431"})
    assert first.status == 206 and first.body == data
    assert first.headers["Content-Range"] == f"bytes 0-{len(data) - 1}/{len(data)}"
    for start, end in ((0, 0), (1048575, 1048576), (1048576, 2097151), (5, len(data) - 1)):
        part = blobs.get("data", {"x-ms-range": f"bytes={start}-{end}"})
        assert (part.status, part.body) == (206, data[start:end + 1])
        assert part.headers["Content-Range"] == f"bytes {start}-{end}/{len(data)}"
    etag = first.headers["ETag"]
    assert blobs.get("data", {"x-ms-range": "bytes=0-3", "If-Match": etag}).status == 206
    blobs.put("data", b"new", overwrite=True)
    changed = blobs.get("data", {"x-ms-range": "bytes=0-3", "If-Match": etag})
    assert (changed.status, changed.code) == (412, "ConditionNotMet")


def test_download_of_an_empty_blob(blobs):
    assert blobs.put("empty", b"").status == 201
    ranged = blobs.get("empty", {"x-ms-range": "bytes=0-33554431"})
    assert (ranged.status, ranged.code) == (416, "InvalidRange")
    whole = blobs.get("empty")
    assert (whole.status, whole.body, whole.headers["Content-Length"]) == (200, b"", "0")
    assert blobs.head("empty").headers["Content-Length"] == "0"


def test_names_of_all_kinds(blobs):
    """What comes out of a list is what was put in, whatever is in it."""
    names = ["..", "../up", "a//b", "a b", "a+b", "a%b", "100%25", "ü", "\U0001f40d", "<&>\"'", "c\\d",
             "tab\there", "line\nend", "cr\r", "\x01", "\ufffe", "q?x=1#y", "x" * 900, "a/../b", " lead "]
    for name in names:
        assert blobs.put(name, name.encode()).status == 201, name
    assert set(blobs.list()) == set(names)
    for name in names:
        assert blobs.get(name).body == name.encode()
    assert "\x01" in blobs.list(prefix="\x01")
    bad = blobs.call_path("GET", f"/{ACCOUNT}/{blobs.container}/a%00b")
    assert (bad.status, bad.code) == (400, "InvalidUri")


def test_list_in_pages(blobs):
    names = {f"p/{number:02}" for number in range(25)} | {"q/1", "q/2/x", "z"}
    for name in names:
        blobs.put(name, b"")
    assert set(blobs.list(maxresults=4)) == names
    assert set(blobs.list(prefix="p/", maxresults=25)) == {n for n in names if n.startswith("p/")}
    assert blobs.list(delimiter="/", maxresults=1).keys() == {"p/", "q/", "z"}
    assert blobs.list(delimiter="/", prefix="q/").keys() == {"q/1", "q/2/"}
    page = blobs.list_page()
    assert page.headers.get_content_type() == "application/xml"
    item = ElementTree.fromstring(page.body).find("Blobs/Blob/Properties")
    for tag in ("Last-Modified", "Etag", "Content-Length", "Content-Type", "Content-MD5", "BlobType"):
        assert item.find(tag) is not None, tag
    missing = Blobs(blobs.service, "there-is-none", key=blobs.key).list_page()
    assert (missing.status, missing.code) == (404, "ContainerNotFound")


@pytest.mark.parametrize("permissions, allowed", [
    ("r", {"get", "head"}), ("l", {"list"}), ("c", {"new"}), ("w", {"put", "new", "metadata"}),
    ("d", {"delete"}), ("rl", {"get", "head", "list"}),
    ("rcwl", {"get", "head", "list", "put", "new", "metadata"})])
def test_sas_permissions(blobs, permissions, allowed):
    blobs.put("a", b"x")
    sas = Blobs(blobs.service, blobs.container,
                sas=make_sas(blobs.key, blobs.container, permissions, when(60)))
    tried = {"get": sas.get("a"), "head": sas.head("a"), "list": sas.list_page(),
             "put": sas.put("a", b"y", overwrite=True), "new": sas.put("b", b"y"),
             "metadata": sas.set_metadata("a", n="1"), "delete": sas.delete("a")}
    assert {name for name, response in tried.items() if response.status < 300} == allowed
    for name in tried.keys() - allowed:
        assert (tried[name].status, tried[name].code) == (403, "AuthorizationPermissionMismatch")


def test_sas_is_checked(blobs):
    blobs.put("a b", b"x")
    blobs.put("other", b"x")

    def status(name="a b", key=blobs.key, container=blobs.container, **how):
        how = {"permissions": "r", "expiry": when(60), **how}
        return Blobs(blobs.service, blobs.container, sas=make_sas(key, container, **how)).get(name).status

    assert status() == 200
    assert status(blob="a b") == 200
    assert status(start=when(-60), protocol="https,http") == 200
    assert status(expiry="2099-01-01") == 200
    refused = [status(name="other", blob="a b"), status(expiry=when(-1)), status(start=when(60)),
               status(key=KEY), status(container="another"), status(protocol="https"),
               status(version="2018-11-09"), status(expiry="soon")]
    assert refused == [403] * len(refused)


def test_sas_of_the_service(binary):
    """What listSecrets gives with --storage-auth sas does what an upload and a download need."""
    with Service(binary, "--storage-auth", "sas") as service:
        blobs = service.blobs()
        assert blobs.sas["sr"] == "c" and not blobs.key
        assert blobs.put("a", b"x").status == 201
        assert blobs.set_metadata("a", upload_status="completed").status == 200
        assert blobs.get("a").body == b"x" and list(blobs.list()) == ["a"]
        assert Blobs(service, blobs.container).get("a").status == 401
        assert Blobs(service, blobs.container, bearer=service.token).get("a").status == 200


def test_shared_key_is_checked(blobs):
    blobs.put("a", b"x")
    path = f"/{ACCOUNT}/{blobs.container}/a"

    def ask(sent=None, signed=None, account=ACCOUNT, key=blobs.key):
        sent = {"x-ms-version": VERSION, "x-ms-date": formatdate(usegmt=True), **(sent or {})}
        authorization = shared_key(key, "GET", path, {}, {**sent, **(signed or {})}, account)
        return blobs.service.exchange("GET", path, None, {**sent, "Authorization": authorization})

    assert ask().status == 200
    assert ask({"Range": "bytes=0-0"}).status == 206
    old = formatdate(time.time() - 16 * 60, usegmt=True)
    for refused in (ask({"x-ms-date": old}), ask(key=KEY), ask(account="other"),
                    ask(signed={"x-ms-range": "bytes=0-0"})):
        assert (refused.status, refused.code) == (403, "AuthenticationFailed")
        assert blobs.key not in refused.body.decode()
    missing = blobs.service.exchange("GET", path)
    assert (missing.status, missing.code) == (401, "NoAuthenticationInformation")


def test_blobs_and_keys_survive_a_crash(binary, tmp_path):
    with Service(binary, store=tmp_path / "store") as service:
        blobs = service.blobs()
        data = os.urandom(2 * 1024 * 1024 + 1)
        assert blobs.put("kept", data).status == 201
        put_block(blobs, "pending", 1, b"one")
        service.restart(crash=True)
        assert service.blobs().key == blobs.key
        assert blobs.get("kept").body == data
        block = base64.b64encode(b"00000001").decode()
        assert put_block_list(blobs, "pending", [block], "Uncommitted").status == 201
        assert blobs.get("pending").body == b"one"


def test_an_upload_that_breaks_off_leaves_the_old_blob(blobs):
    blobs.put("a", b"old")
    path = f"/{ACCOUNT}/{blobs.container}/a"
    headers = {"x-ms-version": VERSION, "x-ms-date": formatdate(usegmt=True),
               "x-ms-blob-type": "BlockBlob", "Content-Length": "1000"}
    headers["Authorization"] = shared_key(blobs.key, "PUT", path, {}, headers)
    connection = http.client.HTTPConnection(blobs.service.host, blobs.service.port, timeout=60)
    connection.putrequest("PUT", path)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders(b"only some of it")
    connection.close()
    assert blobs.get("a").body == b"old"


def test_an_answer_that_was_lost(blobs):
    """A put whose answer is lost was done; the client's next try is told so."""
    blobs.service.set_faults({"method": "PUT", "path": "*/lost", "times": 1, "lost": True})
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        blobs.put("lost", b"x")
    again = blobs.put("lost", b"x")
    assert (again.status, again.code) == (409, "BlobAlreadyExists")
    assert blobs.get("lost").body == b"x"
    blobs.service.set_faults()


def test_registry_upload(plain):
    """A container of its own each time, SAS sr=c sp=rcwl, files at its root."""
    plain.make_registry("uploads")
    path = plain.registry_path("uploads", "tempdatarefs", "e", "versions", "1", data_plane=True)
    body = {"assetId": "azureml://registries/uploads/environments/e/versions/1",
            "temporaryDataReferenceType": "TemporaryBlobReference"}
    seen = set()
    for _ in range(2):
        given = plain.request("PUT", path, body, expect=200).json()["blobReferenceForConsumption"]
        uri = urlsplit(given["credential"]["sasUri"])
        sas = dict(parse_qsl(uri.query))
        assert sas["sr"] == "c" and set(sas["sp"]) == set("rcwl")
        assert given["blobUri"].split("?")[0].endswith(uri.path)
        blobs = Blobs(plain, uri.path.split("/")[2], sas=sas)
        assert blobs.head("ctx/Dockerfile").status == 404
        assert blobs.put("ctx/Dockerfile", b"FROM scratch\n").status == 201
        assert blobs.set_metadata("ctx/Dockerfile", upload_status="completed").status == 200
        assert blobs.delete("ctx/Dockerfile").status == 403
        seen.add(uri.path)
    assert len(seen) == 2


def test_small_answers_are_quick(blobs):
    """Nagle's algorithm and delayed acknowledgements would cost 40 ms for each of these."""
    blobs.put("a", b"x")
    begin = time.monotonic()
    for _ in range(50):
        assert blobs.get("a").status == 200
    assert time.monotonic() - begin < 50 * 0.03


def test_signatures_stay_out_of_the_log(binary):
    service = Service(binary, "--storage-auth", "sas")
    try:
        blobs = service.blobs()
        blobs.put("a", b"x")
        blobs.get("nothing")
        Blobs(service, blobs.container, sas={**blobs.sas, "sp": "rwd"}).get("a")
        log = service.log()
        for secret in (blobs.sas["sig"], quote(blobs.sas["sig"], safe=""), service.token):
            assert secret not in log
    finally:
        service.stop()


def test_hmac_of_this_file():
    """sign() is the same HMAC as everybody's: RFC 4231, test case 2."""
    key = base64.b64encode(b"Jefe").decode()
    assert base64.b64decode(sign(key, "what do ya want for nothing?")).hex() == \
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
