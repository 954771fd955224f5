"""
Microsoft's JavaScript clients (@azure/arm-machinelearning, @azure/identity, @azure/storage-blob), as
npm has them, against `mlenvfs serve`: told nothing but its address and its CA. What they write appears
in a mount, and the reverse.
"""
import base64
import os
import uuid

import pytest

from lib.entra import TENANT, Entra, Key
from lib.js import Clients, JsError, require_packages
from lib.mount import Mount, wait_until
from lib.service import GROUP, SUBSCRIPTION, Service

pytestmark = pytest.mark.long

require_packages("Microsoft's JavaScript clients")

SECRET = "a-secret-~.with+reserved/characters"
PLACE = (GROUP, "local")
IMAGE = "docker.io/library/python:3.11-slim"
CONDA = "name: made-by-js\nchannels:\n- conda-forge\ndependencies:\n- python=3.11\n- pip:\n  - numpy==1.26.4\n"


@pytest.fixture(scope="module")
def served(binary):
    with Service(binary, "--page-size", "2", tls=True) as running:
        yield running


@pytest.fixture(scope="module")
def app(served):
    return Entra(served).register(secrets=[SECRET])


@pytest.fixture(scope="module")
def js(served, app, tmp_path_factory):
    with Clients(served, tmp_path_factory.mktemp("js"), subscription=SUBSCRIPTION, tenant=TENANT, client=app,
                 secret=SECRET) as clients:
        yield clients


@pytest.fixture(scope="module")
def mount(binary, served, js):    # pylint: disable=unused-argument
    with Mount(binary, service=served, options={"refresh": 0}) as mounted:
        yield mounted


@pytest.fixture
def name():
    return f"env-{uuid.uuid4().hex[:8]}"


def put(js, name, version, **properties):
    properties = properties or {"image": IMAGE}
    return js.arm("environmentVersions.createOrUpdate", *PLACE, name, version, {"properties": properties})


def versions(js, name, **options):
    pages = js.arm("environmentVersions.list", *PLACE, name, options)["pages"]
    return [[item["name"] for item in page] for page in pages]


def raises(status, call, *args):
    with pytest.raises(JsError) as caught:
        call(*args)
    assert caught.value.status == status, caught.value
    return caught.value


def shown(path):
    """Whether a file of the mount is there, whatever its lists remember."""
    try:
        return path.stat()
    except FileNotFoundError:
        return None


# ---- what the client writes ----


def test_create(js, mount, name):
    made = put(js, name, "1", image=IMAGE, condaFile=CONDA, description="made by JavaScript", tags={"team": "ml"},
               osType="Linux")
    assert made["name"] == "1" and made["id"].endswith(f"/environments/{name}/versions/1")
    properties = made["properties"]
    assert (properties["image"], properties["osType"], properties["environmentType"]) == (IMAGE, "Linux", "UserCreated")
    assert made["systemData"]["createdAt"]
    here = mount.local / name / "1"
    wait_until(lambda: shown(here), 30, "the version in the mount")
    spec = (here / "spec.yml").read_text()
    assert IMAGE in spec and "made by JavaScript" in spec and "team: ml" in spec
    conda = (here / "conda.yml").read_text()
    assert "numpy==1.26.4" in conda and "name: made-by-js" in conda


def test_get(js, name):
    put(js, name, "1", image=IMAGE, tags={"a": "b"})
    got = js.arm("environmentVersions.get", *PLACE, name, "1")
    assert got["properties"]["tags"] == {"a": "b"} and got["properties"]["isArchived"] is False
    container = js.arm("environmentContainers.get", *PLACE, name)
    assert (container["properties"]["latestVersion"], container["properties"]["nextVersion"]) == ("1", "2")


def test_lists_come_in_pages(js, name):
    for version in "12345":
        put(js, name, version)
    assert versions(js, name) == [["5", "4"], ["3", "2"], ["1"]]
    assert versions(js, name, orderBy="createdtime asc", top=1)[0] == ["1"]
    pages = js.arm("environmentContainers.list", *PLACE, {})["pages"]
    assert all(len(page) <= 2 for page in pages)
    assert name in [item["name"] for page in pages for item in page]


def test_update(js, mount, name):
    """What GET gives goes back with other tags, as the portal does it."""
    put(js, name, "1")
    got = js.arm("environmentVersions.get", *PLACE, name, "1")
    got["properties"]["tags"] = {"stage": "prod"}
    got["properties"]["description"] = "changed"
    js.arm("environmentVersions.createOrUpdate", *PLACE, name, "1", got)
    here = mount.local / name / "1"
    wait_until(lambda: shown(here) and "stage: prod" in (here / "spec.yml").read_text(), 30, "the tags in the mount")
    assert "changed" in (here / "spec.yml").read_text()


def test_archive_and_restore_a_version(js, mount, name):
    for version in "12":
        put(js, name, version)
    for archived, lists in ((True, [["2"]]), (False, [["2", "1"]])):
        got = js.arm("environmentVersions.get", *PLACE, name, "1")
        got["properties"]["isArchived"] = archived
        js.arm("environmentVersions.createOrUpdate", *PLACE, name, "1", got)
        assert versions(js, name) == lists
        assert versions(js, name, listViewType="ArchivedOnly") == ([["1"]] if archived else [[]])
        place, other = (mount.local / ".archived" / name / "1", mount.local / name / "1")[::1 if archived else -1]
        wait_until(lambda: shown(place) and not shown(other), 30, f"version 1, archived: {archived}")


def test_archive_an_environment(js, mount, name):
    put(js, name, "1")
    wait_until(lambda: shown(mount.local / name), 30, "the environment")
    got = js.arm("environmentContainers.get", *PLACE, name)
    got["properties"]["isArchived"] = True
    js.arm("environmentContainers.createOrUpdate", *PLACE, name, got)
    assert name not in [item["name"] for page in js.arm("environmentContainers.list", *PLACE, {})["pages"]
                        for item in page]
    wait_until(lambda: name not in os.listdir(mount.local), 30, "its end in the mount")
    assert js.arm("environmentVersions.get", *PLACE, name, "1")["properties"]["image"] == IMAGE


def test_delete(js, mount, name):
    for version in "12":
        put(js, name, version)
    wait_until(lambda: shown(mount.local / name / "2"), 30, "the versions")
    js.arm("environmentVersions.delete", *PLACE, name, "2")
    wait_until(lambda: not shown(mount.local / name / "2"), 30, "the version's end in the mount")
    assert versions(js, name) == [["1"]]
    js.arm("environmentVersions.delete", *PLACE, name, "2")
    js.arm("environmentContainers.delete", *PLACE, name)
    raises(404, js.arm, "environmentContainers.get", *PLACE, name)
    wait_until(lambda: not shown(mount.local / name), 30, "the environment's end in the mount")


def test_what_is_refused(js, name):
    put(js, name, "1")
    error = pytest.raises(JsError, put, js, name, "1", image="another").value
    assert (error.status, error.code) == (409, "UserError") and "already registered" in str(error)
    assert raises(404, js.arm, "environmentVersions.get", *PLACE, name, "none").code == "UserError"
    raises(404, js.arm, "environmentContainers.get", *PLACE, "there-is-none")
    assert pytest.raises(JsError, put, js, name, "2", image="a", build={"contextUri": "https://x/"}).value.status == 400
    raises(404, js.arm, "workspaces.get", GROUP, "no-such-workspace")


def test_workspaces_and_datastores(js):
    assert js.arm("workspaces.get", *PLACE)["name"] == "local"
    for pages in (js.arm("workspaces.listBySubscription")["pages"], js.arm("workspaces.listByResourceGroup", GROUP)["pages"]):
        assert [item["name"] for page in pages for item in page] == ["local"]
    (store,), = js.arm("datastores.list", *PLACE, {"isDefault": True})["pages"]
    assert store["properties"]["datastoreType"] == "AzureBlob"
    assert js.arm("datastores.listSecrets", *PLACE, store["name"])["secretsType"] == "AccountKey"


# ---- what the mount writes ----


def test_a_version_of_the_mount(js, mount, name):
    draft = mount.local / name / "1"
    draft.mkdir(parents=True)
    (draft / "conda.yml").write_text(CONDA)
    (draft / "spec.yml").write_text(f"image: {IMAGE}\nconda_file: conda.yml\ndescription: by hand\ntags: {{a: b}}\n")
    got = wait_until(lambda: version_or_none(js, name), 60, "the version")
    properties = got["properties"]
    assert (properties["image"], properties["description"], properties["tags"]) == (IMAGE, "by hand", {"a": "b"})
    assert "numpy==1.26.4" in properties["condaFile"]
    (mount.local / name / "1/spec.yml").write_text((mount.local / name / "1/spec.yml").read_text().replace(
        IMAGE, "docker.io/library/python:3.12-slim"))
    assert versions(js, name) == [["2", "1"]]


def version_or_none(js, name):
    try:
        return js.arm("environmentVersions.get", *PLACE, name, "1")
    except JsError as error:
        assert error.status == 404, error
        return None


# ---- build contexts ----


def storage(js):
    (store,), = js.arm("datastores.list", *PLACE, {"isDefault": True})["pages"]
    given = store["properties"]
    key = js.arm("datastores.listSecrets", *PLACE, store["name"])["key"]
    return {"account": given["accountName"], "container": given["containerName"], "key": key}


def encoded(data):
    return base64.b64encode(data).decode()


FILES = {"Dockerfile": b"FROM scratch\nCOPY . /\n", "empty": b"", "sub/ü b.bin": bytes(range(256)) * 40,
         "large.bin": bytes(range(251)) * 2000}


def test_a_context_of_the_client(served, js, mount, name):
    """With the account's key; one file in blocks."""
    store = storage(js)
    for path, data in FILES.items():
        js.call("blobs", "upload", f"LocalUpload/{name}/ctx/{path}", encoded(data), 65536 if len(data) > 65536 else 0,
                **store)
    uri = f"{served.url}/{store['account']}/{store['container']}/LocalUpload/{name}/ctx/"
    put(js, name, "1", build={"contextUri": uri, "dockerfilePath": "Dockerfile"})
    here = mount.local / name / "1/context"
    wait_until(lambda: shown(here), 30, "the context in the mount")
    assert {str(path.relative_to(here)): path.read_bytes() for path in here.rglob("*") if path.is_file()} == FILES


def test_a_context_of_the_mount(served, js, mount, name):
    """Read with a token for storage, which the same credential gives."""
    draft = mount.local / name / "1"
    (draft / "context/sub").mkdir(parents=True)
    for path, data in FILES.items():
        (draft / "context" / path).write_bytes(data)
    (draft / "spec.yml").write_text("build:\n  path: context\n")
    got = wait_until(lambda: version_or_none(js, name), 60, "the version")
    store = {**storage(js), "key": None}
    uri = got["properties"]["build"]["contextUri"]
    assert uri.startswith(f"{served.url}/{store['account']}/{store['container']}/")
    prefix = uri.split(f"/{store['container']}/", 1)[1]
    listed = js.call("blobs", "list", prefix, **store)
    assert {item[0].removeprefix(prefix): item[1] for item in listed} == \
        {path: len(data) for path, data in FILES.items()}
    for path, data in FILES.items():
        assert base64.b64decode(js.call("blobs", "download", prefix + path, **store)) == data
    indicator = next(item for item in listed if item[2])
    assert indicator[2]["upload_status"] == "completed" and indicator[2]["name"] == name


def test_blob_metadata_and_removal(js, name):
    store = storage(js)
    js.call("blobs", "upload", name, encoded(b"x"), 0, **store)
    assert js.call("blobs", "metadata", name, {"one": "1"}, **store) == {"one": "1"}
    js.call("blobs", "remove", name, **store)
    assert pytest.raises(JsError, js.call, "blobs", "download", name, **store).value.status == 404


# ---- signing in ----


def test_a_revoked_token_is_renewed_by_the_client(served, js, name):
    """Continuous access evaluation: the client answers the challenge by itself."""
    put(js, name, "1")
    Entra(served).revoke(kind="access", claims="true")
    served.reset_counters()
    assert js.arm("environmentVersions.get", *PLACE, name, "1")["name"] == "1"
    assert served.counters()["routes"]["POST token"] == 1


def test_a_wrong_secret(served, app, tmp_path):
    with Clients(served, tmp_path, subscription=SUBSCRIPTION, tenant=TENANT, client=app, secret="wrong") as clients:
        error = pytest.raises(JsError, clients.arm, "workspaces.get", *PLACE).value
        assert error.name in ("AuthenticationError", "CredentialUnavailableError", "AuthenticationRequiredError")
        assert "AADSTS7000215" in str(error)


def test_a_certificate(served, tmp_path):
    key = Key(tmp_path)
    whole = tmp_path / "whole.pem"
    whole.write_text(key.key.read_text() + key.cert.read_text())
    client = Entra(served).register(certificates=[key.cert.read_text()])
    with Clients(served, tmp_path, subscription=SUBSCRIPTION, tenant=TENANT, client=client,
                 certificate=str(whole)) as clients:
        assert clients.arm("workspaces.get", *PLACE)["name"] == "local"


def test_a_device_code(served, tmp_path):
    entra = Entra(served)
    entra.settings(deviceIntervalSeconds=1)
    with Clients(served, tmp_path, subscription=SUBSCRIPTION, tenant=TENANT) as clients:
        begun = clients.start("arm", "workspaces.get", *PLACE)
        code = wait_until(lambda: clients.call("token", "codes"), 60, "the code")[0]["userCode"]
        assert entra.answer(code).status == 204
        assert clients.wait(begun)["name"] == "local"
