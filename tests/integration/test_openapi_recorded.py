"""
The exchanges that were recorded between Microsoft's Python SDK and Azure, asked of the service with
names and scopes that exist here: the status must be the recorded one, and the answer must have the
recorded shape.
"""
import json
import re
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest

from lib.openapi import check_error, shape_differences
from lib.service import GROUP, Service
from lib.world import DOCUMENTS, IMAGE, REGISTRY, World

RECORDED = DOCUMENTS.recorded()

FREE = {"tags", "registryFqdns", "additionalInfo"}
# Newer api-versions have members that the recordings, of 2022, have not.
NEWER = {"provisioningState", "stage", "resourceGroup", "subscriptionId"}
# Null in every recording, and left out here: it is of no use without Hadoop, and clients take a
# member that is absent for null.
NULLS = {"wasbsUri"}


class Replay:
    """Recorded requests with the names of this world."""

    def __init__(self, world):
        self.world = world
        self.service = world.service
        self.renamed = {}

    def path(self, url):
        """The path and query of a recorded URL here."""
        parts = urlsplit(url)
        path = parts.path
        if parts.hostname.endswith(".blob.core.windows.net"):
            blob = path.split("/", 2)[2]
            return f"/mlenvfslocal/{self.world.blobs.container}/{blob}", {}
        path = path.replace("/resourceGroups/rg/", f"/resourceGroups/{GROUP}/")
        path = path.replace("/workspaces/ws", "/workspaces/local").replace("testFeed", REGISTRY)
        path = re.sub(r"env-test-\d+", lambda match: self.name(match.group(0)), path)
        return path, dict(parse_qsl(parts.query))

    def name(self, recorded):
        return self.renamed.setdefault(recorded, self.world.new())

    def body(self, body):
        """A recorded body here: what it names is what exists."""
        if body is None:
            return None
        text = re.sub(r"env-test-\d+", lambda match: self.name(match.group(0)), json.dumps(body))
        text = text.replace("testFeed", REGISTRY)
        return json.loads(re.sub(r"https://exampleacct[^\"]*?/LocalUpload/",
                                 f"{self.world.blobs.url}/LocalUpload/", text))

    def ask(self, number):
        """Asks what was recorded; the status must be the recorded one, the shape as well."""
        recorded = RECORDED[number]
        request, expected = recorded["request"], recorded["response"]
        path, query = self.path(request["url"])
        response = self.service.request(request["method"], path, self.body(request["body"]),
                                        query=query)
        return self.compare(response, expected)

    def compare(self, response, expected):
        assert response.status == expected["status"], response
        if isinstance(expected["body"], (dict, list)):
            differences = shape_differences(expected["body"], response.json(), FREE, NEWER, NULLS)
            assert not differences, f"{differences}\n{response}"
        else:
            assert response.body.decode() == (expected["body"] or "")
        for name in ("Location", "x-ms-response-type", "x-ms-async-operation-timeout",
                     "Azure-AsyncOperation"):
            assert (name in response.headers) == (name in expected["headers"]) or \
                name == "x-ms-response-type", (name, dict(response.headers))
        return response


@pytest.fixture(scope="module")
def world(binary):
    with Service(binary, "--registry-polls", "1", "--page-size", "2") as service:
        yield World(service)


@pytest.fixture
def replay(world):
    return Replay(world)


def test_recorded_container_that_is_not_there(replay):
    response = replay.ask("01")
    recorded = RECORDED["01"]["response"]["body"]["error"]
    error = response.json()["error"]
    name = next(iter(replay.renamed.values()))
    assert error["code"] == recorded["code"]
    assert error["message"] == re.sub(r"env-test-\d+", name, recorded["message"])
    inner = {entry["type"]: entry["info"]["value"] for entry in error["additionalInfo"]}
    assert inner.keys() == {entry["type"] for entry in recorded["additionalInfo"]}
    assert inner["InnerError"] == {"code": "NotFoundError", "innerError": None}
    assert response.headers["x-ms-response-type"] == "error"


def test_recorded_create_and_its_container(replay):
    response = replay.ask("02")
    recorded = RECORDED["02"]["response"]["body"]["properties"]
    for name in ("condaFile", "image", "description", "osType", "environmentType"):
        assert response.json()["properties"][name] == recorded[name]
    path, query = replay.path(RECORDED["02"]["request"]["url"])
    assert response.headers["Location"] == \
        f"{replay.service.url}{path}?api-version={query['api-version']}"
    container = replay.ask("03")
    assert container.json()["properties"]["latestVersion"] == "1"
    assert container.json()["properties"]["description"] == ""


def test_recorded_lists_and_archive(replay):
    path, _ = replay.path(RECORDED["05"]["request"]["url"])
    name = path.split("/environments/")[1].split("/")[0]
    conda = RECORDED["05"]["request"]["body"]["properties"]["condaFile"]
    image = RECORDED["05"]["request"]["body"]["properties"]["image"]
    for version in ("1", "2"):
        replay.service.put_version(name, version, {"image": image, "condaFile": conda,
                                                   "description": "This is description"})
    listed = replay.ask("04").json()
    assert [item["name"] for item in listed["value"]] == ["2", "1"]
    assert not listed.get("nextLink")
    # An update answers 201 like a create in the recordings; clients take 200 as well.
    recorded = RECORDED["05"]
    path, query = replay.path(recorded["request"]["url"])
    response = replay.service.request("PUT", path, replay.body(recorded["request"]["body"]),
                                      query=query, expect=(200, 201))
    assert not shape_differences(recorded["response"]["body"], response.json(), FREE, NEWER, NULLS)
    assert response.json()["properties"]["isArchived"] is True
    assert [item["name"] for item in replay.ask("04").json()["value"]] == ["2"]


def test_recorded_latest(replay):
    path, _ = replay.path(RECORDED["06"]["request"]["url"])
    name = path.split("/environments/")[1].split("/")[0]
    properties = RECORDED["06"]["response"]["body"]["value"][0]["properties"]
    sent = {key: properties[key] for key in ("image", "condaFile", "build", "description", "tags")
            if properties.get(key)}
    for version in ("10", "9"):
        replay.service.put_version(name, version, replay.body(sent))
    listed = replay.service.get(path, query=replay.path(RECORDED["06"]["request"]["url"])[1])
    assert not shape_differences(RECORDED["06"]["response"]["body"], listed.json(), FREE,
                                 NEWER | {"nextLink"}, NULLS)
    assert [item["name"] for item in listed.json()["value"]] == ["9"]


def test_recorded_curated(replay):
    """A workspace shows a curated environment without what it is made of; its name has dots."""
    recorded = RECORDED["07"]["response"]["body"]["properties"]
    path, query = replay.path(RECORDED["07"]["request"]["url"])
    name = path.split("/environments/")[1].split("/")[0]
    replay.service.raw(name, "1", {**recorded, "condaFile": "{}", **IMAGE}, curated=True)
    assert replay.ask("07").json()["properties"] == recorded
    for method in ("PUT", "DELETE"):
        refused = replay.service.request(method, path, {"properties": IMAGE}, query=query)
        assert refused.status == 400, refused
        check_error(refused.json())


def test_recorded_datastore_and_secrets(replay):
    replay.ask("08")
    replay.ask("09")


def test_recorded_blob_heads(replay):
    path, _ = replay.path(RECORDED["10"]["request"]["url"])
    name = path.split("/", 3)[3]
    blobs = replay.world.blobs
    assert blobs.put(name, b"FROM scratch\n").status == 201
    assert blobs.set_metadata(name, name="n", version="1", upload_status="completed").status == 200
    there, missing = blobs.head(name), blobs.head(replay.path(RECORDED["11"]["request"]["url"])[0]
                                                  .split("/", 3)[3])
    for response, number in ((there, "10"), (missing, "11")):
        recorded = RECORDED[number]["response"]
        assert response.status == recorded["status"]
        assert response.body == b""
        lost = {name for name in recorded["headers"] if name not in response.headers}
        assert lost <= {"Server", "Transfer-Encoding"}, lost
    for name in ("Accept-Ranges", "Content-Type", "Vary", "x-ms-access-tier", "x-ms-blob-type",
                 "x-ms-lease-state", "x-ms-lease-status", "x-ms-meta-upload_status",
                 "x-ms-server-encrypted", "x-ms-access-tier-inferred"):
        assert there.headers[name] == RECORDED["10"]["response"]["headers"][name]
    assert re.fullmatch('"0x8D[0-9A-F]{13}"', there.headers["ETag"])
    assert missing.headers["x-ms-error-code"] == "BlobNotFound"


def test_recorded_build_context(replay):
    response = replay.ask("12")
    recorded = RECORDED["12"]["response"]["body"]["properties"]
    properties = response.json()["properties"]
    assert properties["condaFile"] == ""
    assert properties["build"]["dockerfilePath"] == recorded["build"]["dockerfilePath"]
    assert properties["build"]["contextUri"].endswith("/")
    assert properties["tags"] == recorded["tags"]


def test_recorded_registry(replay):
    """Recordings 20 to 25: discovery, the reference for an upload, a PUT that takes its time."""
    found = replay.ask("20").json()
    assert found["primaryRegionResourceProviderUri"].endswith("/")
    reference = replay.ask("21").json()["blobReferenceForConsumption"]
    recorded = RECORDED["21"]["response"]["body"]["blobReferenceForConsumption"]
    assert reference["credential"]["credentialType"] == recorded["credential"]["credentialType"]
    sas = dict(parse_qsl(urlsplit(reference["credential"]["sasUri"]).query))
    assert (sas["sr"], sorted(sas["sp"])) == ("c", sorted("rcwl"))
    location = replay.ask("22").headers["Location"]
    running = replay.service.follow(location)
    assert (running.status, running.body) == (RECORDED["23"]["response"]["status"], b"")
    assert int(running.headers["Retry-After"]) >= 1  # or Microsoft's client waits for 30 s
    done = replay.service.follow(location)
    assert (done.status, done.body) == (RECORDED["24"]["response"]["status"], b"")
    version = replay.ask("25").json()
    name = next(iter(replay.renamed.values()))
    assert version["id"] == f"azureml://registries/{REGISTRY}/environments/{name}/versions/1"
    assert version["type"] == RECORDED["25"]["response"]["body"]["type"]


def test_every_recording_is_used():
    source = Path(__file__).read_text()
    unused = [number for number in RECORDED if f'"{number}"' not in source]
    assert not unused
