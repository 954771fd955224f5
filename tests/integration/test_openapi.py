"""
The service against the OpenAPI documents: every operation and every official example are asked of
it, with names and scopes that exist here in place of theirs, and what it answers must be what the
documents allow.
"""
import json

import pytest

from lib.openapi import check_error
from lib.service import API_VERSION, DATA_API_VERSION, Service
from lib.world import (DOCUMENTS, IMAGE, OPERATIONS, REGISTRY, SHARED, World, named, temporary)

RECORDED = DOCUMENTS.recorded()
EXAMPLES = {path.stem: json.loads(path.read_text())
            for path in sorted((SHARED / "api/openapi/examples").glob("*.json"))}
MISSING = "there-is-no-such-thing"

NOT_OFFERED = {
    "regional:Environment_GetRecipe": "the service builds by itself, and gives no script for it",
    "regional:Environment_StartImageBuildOnCompute": "the service has no compute",
    "machinelearning:CodeVersions_CreateOrGetStartPendingUpload": "the service has no code assets",
}


@pytest.fixture(scope="module")
def world(binary):
    with Service(binary, "--registry-polls", "1", "--page-size", "2", "--builder", "none") as service:
        yield World(service)


# ---- every operation: what it answers when all is well, and when something is missing ----

CASES = {}


def case(*keys):
    def register(function):
        CASES.update(dict.fromkeys(keys, function))
        return function
    return register


def statuses(world, operation, *asked):
    """Asks in turn, (status, keyword arguments of World.ask); gives the last answer."""
    response = None
    for status, how in asked:
        response = world.ask(operation, **how)
        assert response.status == status, (operation, how, response)
    return response


@case("machinelearning:Workspaces_ListBySubscription", "machinelearning:Workspaces_ListByResourceGroup",
      "machinelearning:Registries_ListBySubscription", "machinelearning:Registries_List")
def scopes(world, operation):
    names = []
    response = statuses(world, operation, (200, {}))
    names += [item["name"] for item in response.json()["value"]]
    while response.json().get("nextLink"):
        response = world.service.follow(response.json()["nextLink"])
        DOCUMENTS.check_response(operation, response)
        names += [item["name"] for item in response.json()["value"]]
    assert set(names) >= ({"azureml", REGISTRY} if "Registries" in operation.id else {"local"})
    statuses(world, operation, (400, {"query": {"api-version": "nonsense"}}))


@case("machinelearning:Workspaces_Get")
def workspace(world, operation):
    statuses(world, operation, (404, {"workspaceName": MISSING}),
             (404, {"resourceGroupName": MISSING}), (200, {"workspaceName": "LOCAL"}), (200, {}))


@case("machinelearning:Registries_Get")
def registry(world, operation):
    statuses(world, operation, (404, {"registryName": MISSING}), (200, {}))


@case("machinelearning:Datastores_List")
def datastores(world, operation):
    response = statuses(world, operation, (404, {"workspaceName": MISSING}),
                        (200, {"query": {"count": "30", "orderByAsc": "false"}}),
                        (200, {"query": {"isDefault": "true"}}))
    assert [item["name"] for item in response.json()["value"]] == ["workspaceblobstore"]
    assert statuses(world, operation, (200, {"query": {"names": "other"}})).json()["value"] == []


@case("machinelearning:Datastores_Get", "machinelearning:Datastores_ListSecrets")
def datastore(world, operation):
    statuses(world, operation, (404, {"name": MISSING}), (200, {"name": "workspaceblobstore"}))


@case("machinelearning:EnvironmentContainers_List", "machinelearning:RegistryEnvironmentContainers_List",
      "registry:EnvironmentContainers_List")
def environments(world, operation):
    statuses(world, operation, (404, {"workspaceName": MISSING, "registryName": MISSING}),
             (400, {"query": {"listViewType": "Some"}}), (200, {"query": {"listViewType": "All"}}),
             (200, {"query": {"listViewType": "ArchivedOnly"}}))
    response = statuses(world, operation, (200, {}))
    names = {item["name"] for item in response.json()["value"]}
    while response.json().get("nextLink"):
        response = world.service.follow(response.json()["nextLink"])
        DOCUMENTS.check_response(operation, response)
        names |= {item["name"] for item in response.json()["value"]}
    assert names >= {"known", "built"}


@case("machinelearning:EnvironmentContainers_Get", "machinelearning:RegistryEnvironmentContainers_Get",
      "registry:EnvironmentContainers_Get")
def environment(world, operation):
    response = statuses(world, operation, (404, named(MISSING)), (200, named("known")))
    assert response.json()["properties"]["nextVersion"]


@case("machinelearning:EnvironmentContainers_CreateOrUpdate",
      "machinelearning:RegistryEnvironmentContainers_CreateOrUpdate",
      "registry:EnvironmentContainers_CreateOrUpdate")
def put_environment(world, operation):
    name = world.new()
    body = {"properties": {"description": "d", "tags": {"a": "1"}, "isArchived": False}}
    first = world.ask(operation, body, **named(name))
    again = world.ask(operation, {"properties": {**body["properties"], "isArchived": True}},
                      **named(name))
    assert {first.status, again.status} <= {200, 201}
    assert world.ask(operation, {"properties": {}}, **named("AzureML-mine")).status == 400


@case("machinelearning:EnvironmentContainers_Delete", "machinelearning:RegistryEnvironmentContainers_Delete",
      "registry:EnvironmentContainers_Delete")
def delete_environment(world, operation):
    name = world.new()
    put_anywhere(world, operation, name, "1")
    statuses(world, operation, (200, named(name)), (204, named(name)))


@case("machinelearning:EnvironmentVersions_List", "machinelearning:RegistryEnvironmentVersions_List",
      "registry:EnvironmentVersions_List")
def versions(world, operation):
    statuses(world, operation, (404, named(MISSING)),
             (200, {**named("known"), "query": {"listViewType": "ArchivedOnly"}}))
    first = statuses(world, operation, (200, named("known"))).json()
    assert [item["name"] for item in first["value"]] == ["3", "2"]
    second = world.service.follow(first["nextLink"])
    DOCUMENTS.check_response(operation, second)
    assert [item["name"] for item in second.json()["value"]] == ["1"]
    assert not second.json().get("nextLink")
    query = {"$orderBy": "createdtime asc", "$top": "1"}
    oldest = statuses(world, operation, (200, {**named("known"), "query": query})).json()
    assert [item["name"] for item in oldest["value"]] == ["1"]


@case("machinelearning:EnvironmentVersions_Get", "machinelearning:RegistryEnvironmentVersions_Get",
      "registry:EnvironmentVersions_Get")
def version(world, operation):
    statuses(world, operation, (404, named("known", MISSING)), (404, named(MISSING, "1")),
             (200, named("known", "1")), (200, named("built", "1")))


@case("machinelearning:EnvironmentVersions_CreateOrUpdate",
      "machinelearning:RegistryEnvironmentVersions_CreateOrUpdate")
def put_version(world, operation):
    name = world.new()
    where = named(name, "1")
    body = {"properties": {**IMAGE, "condaFile": "dependencies:\n- python=3.10\n",
                           "inferenceConfig": {route: {"path": "/live", "port": 80} for route in (
                               "livenessRoute", "readinessRoute", "scoringRoute")}}}
    statuses(world, operation, (201, {"body": body, **where}))
    again = world.ask(operation, body, **where)
    tagged = {"properties": {**body["properties"], "tags": {"a": "1"}}}
    update = world.ask(operation, tagged, **where)
    assert {again.status, update.status} <= {200, 201}
    statuses(world, operation, (409, {"body": {"properties": {"image": "other"}}, **where}),
             (400, {"body": {"properties": {}}, **where}),
             (400, {"body": {"properties": {**IMAGE, "build": {"contextUri": world.context}}},
                    **named(name, "2")}),
             (201, {"body": {"properties": {"build": {"contextUri": world.context}}},
                    **named(name, "3")}))


@case("registry:EnvironmentVersions_CreateOrUpdate")
def put_registry_version(world, operation):
    name = world.new()
    statuses(world, operation, (202, {"body": {"properties": IMAGE}, **named(name, "1")}),
             (409, {"body": {"properties": {"image": "other"}}, **named(name, "1")}))


@case("machinelearning:EnvironmentVersions_Delete", "machinelearning:RegistryEnvironmentVersions_Delete",
      "registry:EnvironmentVersions_Delete")
def delete_version(world, operation):
    name = world.new()
    put_anywhere(world, operation, name, "1")
    statuses(world, operation, (200, named(name, "1")), (204, named(name, "1")))


@case("machinelearning:EnvironmentVersions_Publish")
def publish(world, operation):
    name = world.new()
    body = {"destinationName": name, "destinationVersion": "7", "registryName": REGISTRY}
    response = statuses(world, operation, (404, {"body": body, **named("known", MISSING)}),
                        (404, {"body": {**body, "registryName": MISSING}, **named("known", "1")}),
                        (202, {"body": body, **named("known", "1")}))
    finish(world, response)
    shown = world.service.registry_path(REGISTRY, "environments", name, "versions", "7")
    assert world.service.get(shown, expect=200).json()["properties"]["image"] == IMAGE["image"]


@case("machinelearning:RegistryDataReferences_GetBlobReferenceSAS",
      "registry:DataReferences_GetBlobReferenceSas")
def data_reference(world, operation):
    place = world.service.registry_path(REGISTRY, "environments", "built", "versions", "1")
    uri = world.service.get(place, expect=200).json()["properties"]["build"]["contextUri"]
    body = {"assetId": temporary("built", "1")["assetId"], "blobUri": uri}
    response = statuses(world, operation, (404, {"body": body, **named("built", MISSING)}),
                        (200, {"body": body, **named("built", "1")}))
    blobs = world.given_by(response.json()["blobReferenceForConsumption"]["credential"]["sasUri"])
    assert list(blobs.list()) == ["ctx/Dockerfile"]
    assert blobs.get("ctx/Dockerfile").body == b"FROM scratch\n"
    assert blobs.put("ctx/other", b"x").status == 403


@case("registry:TemporaryDataReferences_CreateOrGetTemporaryDataReference")
def temporary_reference(world, operation):
    name = world.new()
    first, second = (statuses(world, operation, (200, {"body": temporary(name, "1"),
                                                       **named(name, "1")})).json()
                     for _ in range(2))
    # The SDK uploads nothing when it finds its files there, so each gets a container of its own.
    assert first["blobReferenceForConsumption"]["blobUri"] != \
        second["blobReferenceForConsumption"]["blobUri"]
    statuses(world, operation, (409, {"body": temporary("known", "1"), **named("known", "1")}))


@case("registry:ResourceManagementAssetReference_Import")
def import_asset(world, operation):
    local = world.service.get(world.service.workspace_path(), expect=200).json()["properties"]
    source = (f"azureml://locations/local/workspaces/{local['workspaceId']}/environments/known/"
              "versions/1")
    body = {"properties": {"referenceType": "Id", "destinationName": world.new(),
                           "destinationVersion": "1", "sourceAssetId": source}}
    response = statuses(world, operation, (202, {"body": body}))
    finish(world, response)
    body["properties"]["sourceAssetId"] = source.replace("known", MISSING)
    assert world.ask(operation, body).status == 404


@case("regional:Registry_Discovery")
def discovery(world, operation):
    response = statuses(world, operation, (404, {"registryName": MISSING}), (200, {}))
    assert response.json()["primaryRegionResourceProviderUri"].endswith("/")


@case("regional:Workspace_Discovery")
def services(world, operation):
    assert statuses(world, operation, (200, {})).json()["api"] == world.service.url


@case("regional:Environment_GetOperation")
def get_operation(world, operation):
    put = world.ask(OPERATIONS["registry:EnvironmentVersions_CreateOrUpdate"], {"properties": IMAGE},
                    **named(world.new(), "1"))
    name = put.headers["Location"].rsplit("/", 1)[1]
    statuses(world, operation, (404, {"operationId": MISSING}), (202, {"operationId": name}),
             (200, {"operationId": name}))


@case("regional:Environment_GetImageDetails")
def image_details(world, operation):
    answer = statuses(world, operation, (404, named(MISSING, "1")), (200, named("known", "1")))
    assert answer.json()["imageExistsInRegistry"] is False


@case("regional:Environment_ConsumeImageDetails")
def registry_image_details(world, operation):
    asset = temporary("known", "1")["assetId"]
    answer = statuses(world, operation, (404, {"body": {"assetId": asset.replace("known", MISSING)}}),
                      (400, {"body": {"assetId": "known"}}), (200, {"body": {"assetId": asset}}))
    assert answer.json()["imageExistsInRegistry"] is False


@case("regional:Environment_StartImageBuild")
def start_build(world, operation):
    """The build of a service that has no builder ends in its own time, and is an operation meanwhile."""
    answer = statuses(world, operation, (404, {"body": {}, **named(MISSING, "1")}),
                      (202, {"body": {}, **named("known", "1")}))
    name = answer.json()["location"].rsplit("/", 1)[1]
    poll = OPERATIONS["regional:Environment_GetOperation"]
    for _ in range(1000):
        answer = world.ask(poll, operationId=name)
        if answer.status == 200:
            break
        assert int(answer.headers["Retry-After"]) >= 1, answer.headers
    assert answer.json()["status"] == "Failed", answer


def put_anywhere(world, operation, name, version):
    registry = REGISTRY if "/registries/" in operation.path else None
    world.service.put_version(name, version, IMAGE, registry=registry)


def finish(world, response):
    """Waits for a long operation, as clients do."""
    status = response.headers.get("Azure-AsyncOperation")
    for _ in range(10):
        answer = world.service.follow(status or response.headers["Location"])
        if answer.json()["status"] == "Succeeded" if status else answer.status == 200:
            return
        assert int(answer.headers["Retry-After"]) >= 1, answer.headers
    raise AssertionError(f"never done: {answer}")


def test_every_operation_has_a_case():
    assert sorted(CASES.keys() | NOT_OFFERED.keys()) == sorted(OPERATIONS)
    assert not CASES.keys() & NOT_OFFERED.keys()


@pytest.mark.parametrize("key", sorted(CASES))
def test_operation(world, key):
    CASES[key](world, OPERATIONS[key])


@pytest.mark.parametrize("key", sorted(NOT_OFFERED))
def test_operation_that_is_not_offered(world, key):
    operation = OPERATIONS[key]
    body = {"assetId": temporary("known", "1")["assetId"]} if "Consume" in key else \
        {"pendingUploadType": "None"} if "Pending" in key else \
        {} if operation.method == "POST" else None
    response = world.ask(operation, body, computeName="cpu", **named("known", "1"))
    assert response.status == 404, response


# ---- the check itself ----


def response_problems(key, status, body):
    operation = OPERATIONS[key]
    return DOCUMENTS.problems(operation.responses[status]["schema"], operation.document, body)


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_the_examples_own_answers_are_valid(name):
    operation = "machinelearning:" + EXAMPLES[name]["operationId"]
    for status, answer in EXAMPLES[name]["responses"].items():
        if answer and "body" in answer:
            problems = response_problems(operation, status, answer["body"])
            # One example has the word nextLink where a link belongs.
            assert not [problem for problem in problems if problem != "nextLink: 'nextLink' is not a 'uri'"]


@pytest.mark.parametrize("number, change, complaint", [
    ("02", lambda body: body["properties"].update(isArchived="no"), "isArchived"),
    ("02", lambda body: body["properties"].update(tags={"a": 1}), "tags/a"),
    ("02", lambda body: body["systemData"].update(createdAt="yesterday"), "createdAt"),
    ("02", lambda body: body.pop("properties"), "'properties' is a required property"),
    ("02", lambda body: body["properties"].update(build={}), "contextUri"),
    ("08", lambda body: body["properties"].pop("accountName"), None),
    ("08", lambda body: body["properties"].update(accountName=1), "accountName"),
    ("08", lambda body: body["properties"].update(datastoreType="Floppy"), "datastoreType"),
    ("08", lambda body: body["properties"]["credentials"].clear(), "credentialsType"),
    ("09", lambda body: body.update(key=7), "key"),
])
def test_the_check_sees_mistakes(number, change, complaint):
    operation = {"02": "EnvironmentVersions_CreateOrUpdate", "08": "Datastores_Get",
                 "09": "Datastores_ListSecrets"}[number]
    recorded = RECORDED[number]["response"]
    body = json.loads(json.dumps(recorded["body"]))
    key, status = f"machinelearning:{operation}", str(recorded["status"])
    assert not response_problems(key, status, body)
    change(body)
    problems = response_problems(key, status, body)
    assert any(complaint in problem for problem in problems) if complaint else not problems


# ---- the official examples ----

# Placeholders of the examples that mean nothing, by the parameter; and of names that must exist.
MEANINGS = {"$orderBy": "createdtime desc", "orderBy": "createdtime", "searchText": "blob",
            "names": "workspaceblobstore", "isDefault": "true"}
EXAMPLES_NOT_OFFERED = {"CodeVersions_CreateOrGetStartPendingUpload"}


def example_query(operation, parameters):
    query = {}
    for stated in operation.parameters:
        name = stated.get("name")
        if stated.get("in") == "query" and name in parameters:
            value = MEANINGS.get(name, parameters[name])
            query[name] = value if isinstance(value, str) else json.dumps(value)
    query["api-version"] = parameters.get("api-version", API_VERSION)
    # The examples call $skip by another name; a token of theirs would mean nothing here.
    return query


def halves(properties):
    """A valid version for each half of the examples', which have an image and a build."""
    common = {name: value for name, value in properties.items()
              if name not in ("image", "build", "condaFile")}
    return [{**common, "image": properties["image"], "condaFile": "name: string\n"},
            {**common, "build": properties["build"]}]


def assert_kept(sent, answer):
    """What was put is what came back, but for what the service normalises."""
    for name, value in sent.items():
        if name == "condaFile":
            assert json.loads(answer[name]) == {"name": "string"}
        else:
            assert answer[name] == value, (name, value, answer)


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_example(world, name):
    example = EXAMPLES[name]
    operation = OPERATIONS["machinelearning:" + example["operationId"]]
    parameters = example["parameters"]
    query = example_query(operation, parameters)
    body = parameters.get("body")
    fresh = operation.method in ("PUT", "DELETE")
    names = named("workspaceblobstore" if "Datastores" in operation.id else
                  world.new() if fresh else "known", "1")
    if "VersionsCreateOrUpdate" in operation.id.replace("_", ""):
        assert world.ask(operation, body, query, **names).status == 400  # image and build
        for number, properties in enumerate(halves(body["properties"])):
            names["version"] = f"half-{number}"
            response = world.ask(operation, {**body, "properties": properties}, query, **names)
            assert str(response.status) in example["responses"]
            assert_kept(properties, response.json()["properties"])
        return
    if "Publish" in name:
        body = {**body, "destinationName": world.new(), "registryName": REGISTRY}
    if "GetBlobReferenceSAS" in name:
        names = named("built", "1")
    if operation.method == "DELETE":
        put_anywhere(world, operation, names["name"], "1")
    response = world.ask(operation, body, query, **names)
    if name in EXAMPLES_NOT_OFFERED:
        assert response.status == 404
        return
    assert str(response.status) in example["responses"], response
    expected = example["responses"][str(response.status)] or {}
    for header in expected.get("headers") or {}:
        assert header in response.headers
    if operation.method == "PUT":
        assert_kept(body["properties"], response.json()["properties"])
    elif "value" in (expected.get("body") or {}):
        assert isinstance(response.json()["value"], list)


def test_errors_without_a_token(world):
    for path in (world.service.workspace_path(), world.service.registry_path(REGISTRY, data_plane=True),
                 "/discovery"):
        for token in ("", "wrong"):
            response = world.service.get(path, token=token)
            assert response.status == 401, response
            check_error(response.json())
            assert response.headers["WWW-Authenticate"].startswith("Bearer ")


def test_api_versions_of_all_clients(world):
    """None is checked against one value: each client has its own."""
    for version in ("2022-05-01", "2022-10-01", "2022-10-01-preview", "2023-04-01-preview",
                    "2024-07-01-preview", DATA_API_VERSION, API_VERSION):
        world.service.get(world.service.workspace_path(), query={"api-version": version}, expect=200)
