"""CLI v2 asset directories as the Python SDK reads them: the spec, and the hash of a build context."""
import hashlib
import os
from pathlib import Path

import yaml

# What the SDK's hash begins with (azure-ai-ml 1.4.0, _asset_utils.get_object_hash).
HASH_BEGIN = b"Initialize for october 2021 AML CLI version"
ROUTES = {"liveness_route": "livenessRoute", "readiness_route": "readinessRoute",
          "scoring_route": "scoringRoute"}


class Asset:
    """
    One environment version on disk: name, version (None: not given), the REST properties without
    a build, and the build context's directory with the Dockerfile's path (None: no context).
    Scalars are kept as the text they are written as; the conda file is sent as it is.
    """

    def __init__(self, path):
        path = Path(path)
        self.file = path / "spec.yml" if path.is_dir() else path
        spec = yaml.load(self.file.read_bytes(), Loader=yaml.BaseLoader) or {}
        self.name = spec.get("name")
        self.version = spec.get("version")
        self.properties = {"isAnonymous": False, "isArchived": False}
        for name, member in (("description", "description"), ("tags", "tags"), ("image", "image"),
                             ("os_type", "osType")):
            if spec.get(name):
                self.properties[member] = spec[name]
        if "conda_file" in spec:
            self.properties["condaFile"] = self._conda(spec["conda_file"])
        if "inference_config" in spec:
            self.properties["inferenceConfig"] = {
                ROUTES[route]: {"path": value["path"], "port": int(value["port"])}
                for route, value in spec["inference_config"].items()}
        self.context = self.context_uri = self.dockerfile_path = None
        if "build" in spec:
            self._read_build(spec["build"])

    def _conda(self, value):
        if isinstance(value, str):
            return (self.file.parent / value).read_bytes().decode()
        return yaml.safe_dump(value, sort_keys=False, allow_unicode=True)

    def _read_build(self, build):
        self.dockerfile_path = build.get("dockerfile_path")
        if "://" in build["path"]:
            self.context_uri = build["path"]
        else:
            self.context = (self.file.parent / build["path"]).resolve()

    def body(self, context_uri=None):
        """The body of the version's PUT."""
        properties = dict(self.properties)
        uri = context_uri or self.context_uri
        if uri:
            properties["build"] = {"contextUri": uri}
            if self.dockerfile_path:
                properties["build"]["dockerfilePath"] = self.dockerfile_path
        return {"properties": properties}


def content_hash(path):
    """The hash that names an uploaded directory or file (azureml-rest.md section 8)."""
    digest = hashlib.md5(HASH_BEGIN)
    path = Path(path)
    if path.is_file():
        digest.update(path.read_bytes())
    else:
        _hash_directory(digest, path)
    return digest.hexdigest()


def _hash_directory(digest, path):
    for entry in sorted(path.iterdir(), key=lambda entry: str(entry).lower()):
        digest.update(entry.name.encode())
        if entry.is_file():
            digest.update(entry.read_bytes())
        elif entry.is_dir():
            _hash_directory(digest, entry)


def context_files(path):
    """The files below path as (relative path with '/', absolute path), the indicator blob first."""
    found = []
    for base, _, names in os.walk(path):
        for name in names:
            whole = os.path.join(base, name)
            found.append((os.path.relpath(whole, path), Path(whole)))
    return sorted(found, key=lambda item: str(item[1]))
