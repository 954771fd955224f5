"""A service with something of everything in it, asked by the operations of the OpenAPI documents."""
import os
import re
from pathlib import Path
from urllib.parse import quote

import pytest

from lib.blobs import Blobs
from lib.openapi import Documents
from lib.service import DATA_PLANE, GROUP, SUBSCRIPTION

SHARED = Path(os.environ.get("MLENVFS_SHARED", Path(__file__).resolve().parents[4] / "shared"))
if not (SHARED / "api/openapi").is_dir():
    pytest.skip(f"NOT TESTED: the OpenAPI documents in {SHARED}/api/openapi are missing "
                "(set MLENVFS_SHARED)", allow_module_level=True)

DOCUMENTS = Documents(SHARED / "api/openapi")
OPERATIONS = {operation.key: operation for operation in DOCUMENTS.operations()}

IMAGE = {"image": "docker.io/library/busybox:latest"}
REGISTRY = "openapi-registry"


def temporary(name, version):
    return {"assetId": f"azureml://registries/{REGISTRY}/environments/{name}/versions/{version}",
            "temporaryDataReferenceType": "TemporaryBlobReference"}


def named(name, version=None):
    """The parameters of a path that names an environment, by all the names they go by."""
    names = {"name": name, "environmentName": name}
    return names if version is None else {**names, "version": version}


class World:
    """A service with something of everything in it, and requests to it by operation."""

    def __init__(self, service):
        self.service = service
        self.made = 0
        service.make_registry(REGISTRY)
        for version in ("1", "2", "3"):
            service.put_version("known", version, {**IMAGE, "tags": {"n": version}})
            service.put_version("known", version, IMAGE, registry=REGISTRY)
        self.blobs = service.blobs()
        assert self.blobs.put("ctx/Dockerfile", b"FROM scratch\n").status == 201
        self.context = f"{self.blobs.url}/ctx/"
        service.put_version("built", "1", {"build": {"contextUri": self.context}})
        self.upload_to_registry("built", "1")

    def new(self):
        """A name that was not used before."""
        self.made += 1
        return f"env-{self.made}"

    def upload_to_registry(self, name, version):
        place = self.service.registry_path(REGISTRY, "tempdatarefs", name, "versions", version,
                                           data_plane=True)
        given = self.service.request("PUT", place, temporary(name, version), expect=200).json()
        blobs = self.given_by(given["blobReferenceForConsumption"]["credential"]["sasUri"])
        assert blobs.put("ctx/Dockerfile", b"FROM scratch\n").status == 201
        uri = given["blobReferenceForConsumption"]["blobUri"] + "/ctx/"
        self.service.put_version(name, version, {"build": {"contextUri": uri}}, registry=REGISTRY)

    def ask(self, operation, body=None, query=None, **names):
        """One request of an operation; what is not given of its path is what exists."""
        known = {"subscriptionId": SUBSCRIPTION, "resourceGroupName": GROUP,
                 "workspaceName": "local", "registryName": REGISTRY, **names}
        path = re.sub(r"\{(\w+)\}", lambda match: quote(known[match.group(1)], safe=""),
                      operation.path)
        if operation.key.startswith("registry:"):
            path = DATA_PLANE + path
        if body is not None:
            DOCUMENTS.check_request(operation, body)
        response = self.service.request(operation.method, path, body, query=query)
        DOCUMENTS.check_response(operation, response)
        return response

    def given_by(self, sas_uri):
        """The container that a reference's sasUri leads to, with that SAS."""
        path, _, sas = sas_uri.removeprefix(self.service.url).partition("?")
        return Blobs(self.service, path.split("/")[-1], sas=sas)
