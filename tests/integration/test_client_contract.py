"""
What the client asks, against the OpenAPI documents: every method of the client is called, from every
kind of source and with every kind of storage credential, each request is caught on its way, and must
be one that the documents allow. A kind of request that is new, or not asked any more, fails.
"""
import base64
import json
import os
import re
import subprocess
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from lib.blobs import ACCOUNT
from lib.forward import Forwarder
from lib.service import DATA_PLANE, Service
from lib.world import DOCUMENTS, OPERATIONS

ROOT = Path(__file__).resolve().parents[2]
REGISTRY = "contract-registry"
EROFS = -30
EOPNOTSUPP = -95
EINVAL = -22
ENOENT = -2

# All that the client sends. ROUTE_LITERALS, below, says when this is to grow.
ASKED = {f"machinelearning:{name}" for name in (
    "Workspaces_ListBySubscription", "Workspaces_ListByResourceGroup", "Workspaces_Get",
    "Datastores_List", "Datastores_ListSecrets",
    "EnvironmentContainers_List", "EnvironmentContainers_Get", "EnvironmentContainers_CreateOrUpdate",
    "EnvironmentContainers_Delete", "EnvironmentVersions_List", "EnvironmentVersions_Get",
    "EnvironmentVersions_CreateOrUpdate", "EnvironmentVersions_Delete",
    "Registries_ListBySubscription", "RegistryEnvironmentContainers_List", "RegistryEnvironmentContainers_Get",
    "RegistryEnvironmentContainers_Delete",
    "RegistryEnvironmentVersions_List", "RegistryEnvironmentVersions_Get",
    "RegistryEnvironmentVersions_CreateOrUpdate", "RegistryEnvironmentVersions_Delete",
    "RegistryDataReferences_GetBlobReferenceSAS")}
ASKED |= {f"registry:{name}" for name in (
    "EnvironmentContainers_List", "EnvironmentContainers_Get", "EnvironmentContainers_Delete",
    "EnvironmentVersions_List", "EnvironmentVersions_Get", "EnvironmentVersions_CreateOrUpdate", "EnvironmentVersions_Delete",
    "DataReferences_GetBlobReferenceSas", "TemporaryDataReferences_CreateOrGetTemporaryDataReference")}
ASKED |= {f"regional:{name}" for name in (
    "Registry_Discovery", "Workspace_Discovery", "Environment_GetOperation", "Environment_StartImageBuild",
    "Environment_GetImageDetails", "Environment_ConsumeImageDetails")}
# What no document has, and why it is right all the same.
UNDOCUMENTED = {
    "embedded:create workspace": (
        "PUT", r"/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.MachineLearningServices/workspaces/[^/]+",
        "only the embedded service is asked for it"),
    "arm:operation": (
        "GET", r"/subscriptions/[^/]+/providers/Microsoft\.MachineLearningServices/locations/[^/]+/operations/[^/]+",
        "the service named it in Azure-AsyncOperation"),
    "regional:cancel build": (
        "DELETE", r"/environment/v1\.0/operations/[^/]+",
        "the embedded service can; Azure has no such call that we know of"),
}
ASKED |= UNDOCUMENTED.keys()

# Blob Storage has no document: azureml-rest.md section 10. Query and headers that must be there.
BLOBS = {
    "blob:list": ("GET", {"restype": "container", "comp": "list", "prefix": None}, {}),
    "blob:block": ("PUT", {"comp": "block", "blockid": None}, {"content-length": None}),
    "blob:blocklist": ("PUT", {"comp": "blocklist"}, {"content-length": None}),
    "blob:metadata": ("PUT", {"comp": "metadata"}, {"x-ms-meta-upload_status": "completed", "x-ms-meta-name": None,
                                                     "x-ms-meta-version": None, "content-length": "0"}),
    "blob:head": ("HEAD", {}, {}),
    "blob:get": ("GET", {}, {"range": None}),
    "blob:copy": ("PUT", {}, {"x-ms-copy-source": None, "x-ms-blob-type": "BlockBlob", "content-length": "0"}),
    "blob:put": ("PUT", {}, {"x-ms-blob-type": "BlockBlob", "content-type": "application/octet-stream",
                             "content-length": None}),
}
BLOB_QUERY = {"restype", "comp", "prefix", "maxresults", "include", "marker", "blockid"}
SAS_QUERY = {"sv", "sr", "st", "se", "sp", "spr", "sig", "skoid", "sktid", "skt", "ske", "sks", "skv"}

# The pieces that the client's addresses are made of, and everything else that looks like one. One that
# is new here is a kind of request that tests/tools/everything.c has to ask and ASKED has to name.
ROUTE_LITERALS = {
    "%s/", "%s/datastores", "%s/environment/%s/subscriptions", "%s/registrymanagement/v1.0/registries",
    "%s/subscriptions", "/", "/%s", "/%s%s", "/?", "/azureml-envs/", "/blob/%s/%s/", "/build.log", "/datastores",
    "/discovery", "/environment/v1.0/consume/imageDetails", "/environments", "/image", "/listSecrets",
    "/providers/Microsoft.MachineLearningServices/", "/registries", "/resourceGroups", "/subscriptions/",
    "/versions", "/versions/", "/workspaces", "datareferences", "datarefs", "tempdatarefs"}


class Recorder(Forwarder):
    """Keeps what was asked, and whether the service agreed."""

    def __init__(self, service):
        self.requests = []
        super().__init__(service)

    def seen(self, method, target, headers, body, status):
        self.requests.append(Request(method, target, headers, body, status))


class Request:
    """One request of the client."""

    def __init__(self, method, target, headers, body, status):
        parts = urlsplit(target)
        self.method, self.target, self.path, self.body, self.status = method, target, parts.path, body, status
        self.query = parse_qsl(parts.query, keep_blank_values=True)
        self.headers = {name.lower(): value for name, value in headers.items()}

    def __repr__(self):
        return f"{self.method} {self.target.partition('sig=')[0]} {self.status}"


@pytest.fixture(scope="module", params=["key", "sas", "none"])
def asked(request, binary, flavour):
    """What `everything` has asked, with each kind of storage credential; and what it said."""
    program = ROOT / f"build/{flavour}/tests/tools/everything"
    if not os.access(program, os.X_OK):
        pytest.skip(f"NOT TESTED: {program} is missing (make tools)")
    with Service(binary, "--storage-auth", request.param, "--builder", "none") as service:
        service.make_registry(REGISTRY)
        with Recorder(service) as recorder:
            env = {**service.env, "EVERYTHING_TOKEN": service.token}
            done = subprocess.run([program, recorder.url, REGISTRY], env=env, capture_output=True, text=True, timeout=110,
                                  check=False)
            assert done.returncode == 0, done.stderr
            return request.param, recorder.requests, [line.split() for line in done.stdout.splitlines()]


# ---- which operation a request is ----


def pattern(template):
    """A path's template as a regular expression: literals in any case, a parameter is one segment."""
    parts = re.split(r"(\{\w+\})", template)
    return re.compile("".join(f"(?P<{part[1:-1]}>[^/]+)" if part.startswith("{") else f"(?i:{re.escape(part)})"
                              for part in parts) + "$")


PATTERNS = [(operation, pattern(operation.path)) for operation in OPERATIONS.values()]


def find_operation(request):
    data = request.path.lower().startswith(DATA_PLANE + "/")
    path = request.path[len(DATA_PLANE):] if data else request.path
    for operation, expression in PATTERNS:
        if operation.method != request.method or operation.key.startswith("registry:") != data:
            continue
        match = expression.match(path)
        if match:
            return operation, {name: unquote(value) for name, value in match.groupdict().items()}
    return None, None


def find_blob(request):
    query = dict(request.query)
    for key, (method, params, headers) in BLOBS.items():
        if request.method == method and all(name in query and value in (None, query[name])
                                            for name, value in params.items()) and \
                ("x-ms-copy-source" in headers) == ("x-ms-copy-source" in request.headers) and \
                (bool(params) or "comp" not in query):
            return key
    return None


def kind_of(request):
    if request.path.startswith(f"/{ACCOUNT}/"):
        return find_blob(request)
    operation, _ = find_operation(request)
    if operation:
        return operation.key
    return next((key for key, (method, path, _) in UNDOCUMENTED.items()
                 if method == request.method and re.fullmatch(path, request.path)), None)


# ---- whether it may be asked so ----


def resolve(operation, parameter):
    """A parameter, wherever it is defined."""
    while "$ref" in parameter:
        document, _, pointer = parameter["$ref"].partition("#")
        name = document.rsplit("/", 1)[-1] if document else operation.document
        found = DOCUMENTS.schemas.get(name)
        assert found is not None, f"{operation}: {parameter}"
        for step in pointer.strip("/").split("/"):
            found = found[step]
        parameter = found
    return parameter


def parameters(operation):
    return [resolve(operation, parameter) for parameter in operation.parameters]


def value_problem(stated, text):
    """What is wrong with a parameter's value, which is a text on the way."""
    kind = stated.get("type", "string")
    if kind in ("integer", "number") and not re.fullmatch(r"-?\d+", text):
        return f"{text!r} is not a number"
    if kind == "boolean" and text not in ("true", "false"):
        return f"{text!r} is not a boolean"
    if "enum" in stated and text not in stated["enum"]:
        return f"{text!r} is none of {stated['enum']}"
    if "pattern" in stated and not re.search(stated["pattern"], text):
        return f"{text!r} does not match {stated['pattern']}"
    if not stated.get("minLength", 0) <= len(text) <= stated.get("maxLength", len(text)):
        return f"{text!r} is too short or too long"
    return None


def query_problems(operation, request):
    stated = {one["name"].lower(): one for one in parameters(operation) if one.get("in") == "query"}
    given = {name.lower(): value for name, value in request.query}
    if not operation.key.startswith("regional:"):
        stated.setdefault("api-version", {"required": True, "pattern": r"^\d{4}-\d\d-\d\d(-\w+)?$"})
    yield from (f"query: {name} is missing" for name, one in stated.items()
                if one.get("required") and name not in given)
    # A link that the service gave has what the service wants in it.
    unknown = given.keys() - stated.keys() - {"$skip", "$skiptoken"}
    yield from (f"query: {name} is not known" for name in unknown)
    for name in given.keys() & stated.keys():
        problem = value_problem(stated[name], given[name])
        if problem:
            yield f"query {name}: {problem}"
    if len(given) != len(request.query):
        yield "query: a name is there twice"


def body_problems(operation, request):
    stated = next((one for one in parameters(operation) if one.get("in") == "body"), None)
    if not request.body:
        if stated and stated.get("required"):
            yield "there is no body"
        if request.method in ("PUT", "POST") and request.headers.get("content-length") != "0":
            yield "no body needs Content-Length: 0"
        return
    if stated is None:
        yield f"no body is taken: {request.body[:100]!r}"
        return
    if not request.headers.get("content-type", "").startswith("application/json"):
        yield f"Content-Type: {request.headers.get('content-type')}"
    problems = DOCUMENTS.problems(stated["schema"], operation.document, json.loads(request.body))
    yield from (f"body: {problem}" for problem in problems)


def header_problems(request):
    if not re.fullmatch(r"Bearer \S+", request.headers.get("authorization", "")):
        yield "there is no token"
    if not request.headers.get("accept", "").startswith("application/json"):
        yield f"Accept: {request.headers.get('accept')}"
    if not request.headers.get("user-agent", "").startswith("mlenvfs/"):
        yield f"User-Agent: {request.headers.get('user-agent')}"


def operation_problems(request):
    operation, names = find_operation(request)
    if operation is None:
        return list(header_problems(request))
    problems = list(header_problems(request))
    for stated in parameters(operation):
        if stated.get("in") == "path" and stated["name"] in names:
            problem = value_problem(stated, names[stated["name"]])
            if problem:
                problems.append(f"path {stated['name']}: {problem}")
    return problems + list(query_problems(operation, request)) + list(body_problems(operation, request))


def blob_problems(request):
    """Section 10: version, date, one kind of permission, and what the call needs."""
    key = find_blob(request)
    _, _, needed = BLOBS[key]
    query = dict(request.query)
    for name, value in needed.items():
        given = request.headers.get(name) or (name == "range" and request.headers.get("x-ms-range"))
        if not given or value not in (None, given):
            yield f"{name}: {given}"
    # A log is read at the address that the service gave, whose signature names the version.
    named = "sv" in query and "/ImageLogs/" in request.path
    if not named and not re.fullmatch(r"\d{4}-\d\d-\d\d", request.headers.get("x-ms-version", "")):
        yield f"x-ms-version: {request.headers.get('x-ms-version')}"
    authorization, signed = request.headers.get("authorization", ""), "sig" in query
    if signed == bool(authorization) or not signed and not re.match(rf"SharedKey {ACCOUNT}:|Bearer ", authorization):
        yield "neither a signature nor a permission, or both"
    if authorization.startswith("SharedKey") and "x-ms-date" not in request.headers:
        yield "there is no date"
    yield from (f"query: {name}" for name in query.keys() - BLOB_QUERY - SAS_QUERY)
    if "blockid" in query and len(base64.b64decode(query["blockid"], validate=True)) > 64:
        yield "a block's id has at most 64 bytes"
    if key == "blob:blocklist" and not re.match(rb"(<\?xml[^>]*>\s*)?<BlockList>(<Latest>[^<]+</Latest>)+</BlockList>",
                                                request.body):
        yield f"body: {request.body[:200]!r}"


def problems_of(request):
    return list(blob_problems(request)) if request.path.startswith(f"/{ACCOUNT}/") else operation_problems(request)


# ---- the tests ----


def test_every_request_is_one_that_the_documents_allow(asked):
    requests = asked[1]
    unknown = [request for request in requests if kind_of(request) is None]
    assert not unknown
    wrong = {repr(request): problems_of(request) for request in requests if problems_of(request)}
    assert not wrong, wrong


def test_every_kind_of_request_was_asked(asked):
    """No less and no more than what this test knows of."""
    credentials, requests, _ = asked
    kinds = {kind_of(request) for request in requests}
    # Where there are no secrets, nobody asks for them.
    assert kinds == (ASKED | BLOBS.keys()) - ({"machinelearning:Datastores_ListSecrets"} if credentials == "none" else set())


def test_every_method_of_the_client_was_called(asked):
    said = asked[2]
    header = (ROOT / "client/source.h").read_text()
    body = header[header.index("struct source_ops {"):]
    methods = set(re.findall(r"\(\*(\w+)\)", body[:body.index("\n};")])) - {"stop", "free"}
    assert {line[2] for line in said} == methods
    for sources, scope, method, result in said:
        expected = 0
        if scope == REGISTRY and method in ("update_version", "update_env"):
            expected = EROFS
        if sources == "registries" and method == "upload_context":
            expected = EINVAL
        if scope == REGISTRY and method in ("start_build", "get_build", "read_log", "cancel_build"):
            expected = EOPNOTSUPP
        if method in ("get_image", "find_log"):
            assert int(result) in (0, ENOENT, EOPNOTSUPP), (sources, scope, method, result)
            continue
        if sources == "registries" and method in ("list_context", "read_context"):
            assert int(result) in (0, EINVAL, ENOENT)
            continue
        assert int(result) == expected, (sources, scope, method, result)


def test_the_service_agreed(asked):
    """It refused nothing but the files that are not there yet."""
    requests = asked[1]
    refused = {(request.method, request.status) for request in requests if request.status >= 400}
    assert refused <= {("HEAD", 404)}


def test_no_route_of_the_client_is_left_out():
    found = set()
    for path in (ROOT / "client").glob("*.c"):
        if path.name.startswith(("auth", "azure_files", "child", "cloud", "keyring")):
            continue    # signing in: test_auth.py and test_signin_served.py
        text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.S)
        found |= set(re.findall(r'"((?:%s)?/[^" \\]*)"', text)) | set(re.findall(r'"((?:temp)?data(?:refs|references))"', text))
    assert found == ROUTE_LITERALS, "say in tests/tools/everything.c and in ASKED what is asked there now"


@pytest.mark.parametrize("change, complaint", [
    (lambda request: request.query.clear(), "api-version is missing"),
    (lambda request: request.query.append(("listViewType", "Some")), "listviewtype"),
    (lambda request: request.query.append(("color", "red")), "color is not known"),
    (lambda request: request.headers.pop("authorization"), "no token"),
    (lambda request: setattr(request, "body", b"{}"), "no body is taken"),
])
def test_the_check_sees_mistakes(asked, change, complaint):
    requests = asked[1]
    good = next(request for request in requests if kind_of(request) == "machinelearning:EnvironmentVersions_List")
    bad = Request(good.method, good.target, good.headers, good.body, good.status)
    assert not problems_of(bad)
    change(bad)
    assert any(complaint in problem for problem in problems_of(bad)), problems_of(bad)


@pytest.mark.parametrize("change, complaint", [
    (lambda body: body["properties"].update(tags={"a": 1}), "tags/a"),
    (lambda body: body["properties"].update(isArchived="no"), "isArchived"),
    (lambda body: body.pop("properties"), "'properties' is a required property"),
])
def test_the_check_sees_mistakes_in_bodies(asked, change, complaint):
    requests = asked[1]
    good = next(request for request in requests if kind_of(request) == "machinelearning:EnvironmentVersions_CreateOrUpdate")
    body = json.loads(good.body)
    change(body)
    bad = Request(good.method, good.target, good.headers, json.dumps(body).encode(), good.status)
    assert any(complaint in problem for problem in problems_of(bad)), problems_of(bad)
