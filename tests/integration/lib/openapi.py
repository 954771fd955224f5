"""The OpenAPI documents (Swagger 2.0) as JSON Schema, and what their examples look like."""
import copy
import json
import re
from datetime import datetime
from urllib.parse import urlsplit

import jsonschema

ARM = "machinelearning-2026-05-01.subset.json"
DATA = "registry-dataplane-2021-10-01-dataplanepreview.subset.json"
REGIONAL = "regional-services.unofficial.json"
COMMON = "common-types.json"
METHODS = ("get", "put", "post", "delete", "patch", "head")
PLAIN = "!plain"  # of a definition: without what its discriminator adds

FORMATS = jsonschema.FormatChecker(formats=())


@FORMATS.checks("date-time", raises=ValueError)
def _is_date_time(text):
    """RFC 3339, with the 7 fraction digits that Azure sends."""
    if isinstance(text, str):
        match = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", text)
        if not match:
            raise ValueError(text)
        datetime.fromisoformat(match.group(1))
    return True


@FORMATS.checks("uri", raises=ValueError)
def _is_uri(text):
    return not isinstance(text, str) or bool(urlsplit(text).scheme and urlsplit(text).netloc)


@FORMATS.checks("int32")
def _is_int32(number):
    return not isinstance(number, int) or -2**31 <= number < 2**31


class Operation:
    """One operation of a document."""

    def __init__(self, document, path, method, body):
        self.document = document
        self.path = path
        self.method = method.upper()
        self.id = body["operationId"]
        self.parameters = body.get("parameters", [])
        self.responses = body["responses"]

    @property
    def key(self):
        return f"{self.document.split('-')[0]}:{self.id}"

    def __repr__(self):
        return self.key


class Documents:
    """All documents of a directory; validates against their definitions."""

    def __init__(self, directory):
        self.directory = directory
        self.schemas = {}
        for name in (ARM, DATA, REGIONAL, COMMON):
            document = json.loads((directory / name).read_text())
            self.schemas[name] = document
        self.definitions = self._all_definitions()

    def operations(self):
        for name in (ARM, DATA, REGIONAL):
            for path, item in self.schemas[name]["paths"].items():
                for method in METHODS:
                    if method in item:
                        yield Operation(name, path, method, item[method])

    def example(self, name):
        return json.loads((self.directory / "examples" / f"{name}.json").read_text())

    def recorded(self):
        """All recorded exchanges, by the first two digits of their file's name."""
        files = sorted((self.directory / "examples/recorded").glob("*.json"))
        return {file.name[:2]: json.loads(file.read_text()) for file in files}

    # ---- conversion ----

    def _all_definitions(self):
        """Definitions of all documents, by "document:name", as JSON Schema."""
        found, children = {}, {}
        for document, content in self.schemas.items():
            for name, definition in content.get("definitions", {}).items():
                for parent in definition.get("allOf", ()):
                    value = definition.get("x-ms-discriminator-value")
                    if value is not None and "$ref" in parent:
                        children.setdefault(_key(document, parent["$ref"]), {})[value] = \
                            f"{document}:{name}"
        for document, content in self.schemas.items():
            for name, definition in content.get("definitions", {}).items():
                key = f"{document}:{name}"
                plain = _convert(definition, document)
                found[key + PLAIN] = plain
                found[key] = _polymorphic(plain, key, definition.get("discriminator"),
                                          children.get(key, {}))
        return found

    def validator(self, schema, document):
        """For a schema of a document."""
        return jsonschema.Draft7Validator(
            {"allOf": [_convert(schema, document)], "definitions": self.definitions},
            format_checker=FORMATS)

    def problems(self, schema, document, value):
        """What is wrong with a value, as texts; empty when it is valid."""
        return [f"{'/'.join(map(str, error.absolute_path))}: {error.message}"
                for error in self.validator(schema, document).iter_errors(value)]

    def check_response(self, operation, response):
        """Asserts that the operation may answer this."""
        status = str(response.status)
        stated = operation.responses.get(status, operation.responses["default"])
        assert status in operation.responses or response.status >= 400, \
            f"{operation} does not answer {status}: {response}"
        if "schema" not in stated:
            assert response.body in (b"", b"null"), f"{operation} {status} has no body: {response}"
            return
        # A long operation that is not done has nothing to say yet.
        if response.status in (200, 202) and not response.body and operation.path.endswith(
                "/operations/{operationId}"):
            return
        assert response.headers.get_content_type() == "application/json", response.headers
        problems = self.problems(stated["schema"], operation.document, response.json())
        assert not problems, f"{operation} {status}: {problems}\n{response}"
        if response.status >= 400:
            check_error(response.json())

    def check_request(self, operation, body):
        """Asserts that a body is one that the operation takes."""
        stated = next((one for one in operation.parameters if one.get("in") == "body"), None)
        assert stated is not None or body is None, f"{operation} has no body"
        if body is not None:
            problems = self.problems(stated["schema"], operation.document, body)
            assert not problems, f"{operation}: {problems}"


def check_error(body):
    """What the error schemas do not say, and every client needs: a code and a message."""
    assert set(body) >= {"error"}, body
    assert isinstance(body["error"]["code"], str) and body["error"]["code"], body
    assert isinstance(body["error"]["message"], str) and body["error"]["message"], body


def _key(document, ref):
    where, _, pointer = ref.partition("#/definitions/")
    return f"{where.removeprefix('./') or document}:{pointer}"


def _ref(key):
    return {"$ref": f"#/definitions/{key}"}


def _convert(schema, document, in_all_of=False):
    """A Swagger 2.0 schema of a document as JSON Schema; references lead to definitions."""
    if isinstance(schema, list):
        return [_convert(item, document, in_all_of) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        # What a definition inherits from is its parent without the parent's other children.
        key = _key(document, schema["$ref"]) + (PLAIN if in_all_of else "")
        converted = _ref(key)
        if schema.get("x-nullable"):
            converted = {"anyOf": [converted, {"type": "null"}]}
        return converted
    converted = {}
    for name, value in schema.items():
        if name == "properties":
            converted[name] = {key: _convert(item, document) for key, item in value.items()}
        elif name == "allOf":
            converted[name] = _convert(value, document, True)
        elif name in ("items", "additionalProperties"):
            converted[name] = _convert(value, document)
        elif name == "enum":
            # An enum that is open takes values it does not name.
            if not schema.get("x-ms-enum", {}).get("modelAsString"):
                converted[name] = list(value)
        elif not name.startswith("x-") and name not in ("readOnly", "discriminator", "description",
                                                        "example", "default"):
            converted[name] = copy.deepcopy(value)
    if schema.get("x-nullable"):
        if "type" in converted:
            converted["type"] = [converted["type"], "null"]
        if "enum" in converted:
            converted["enum"].append(None)
    return converted


def _polymorphic(plain, key, discriminator, children):
    """A definition with what its discriminator adds."""
    if not discriminator:
        return plain
    cases = [{"if": {"properties": {discriminator: {"const": value}}, "required": [discriminator]},
              "then": _ref(child + PLAIN)} for value, child in sorted(children.items())]
    return {"allOf": [_ref(key + PLAIN), {"required": [discriminator],
                                          "properties": {discriminator: {"enum": sorted(children)}}},
                      *cases]}


def shape_differences(expected, given, free=(), extra=(), nulls=(), at="body"):
    """
    Where the answer `given` has another shape than the recorded one: other members, other types.
    free: members whose inside is anybody's ("tags"); extra: members that `given` may have besides;
    nulls: members that it may leave out because they are null in the recording.
    """
    if at.rsplit(".", 1)[-1] in free:
        return [] if type(expected) is type(given) else [f"{at}: {given!r} for {expected!r}"]
    if isinstance(expected, dict) and isinstance(given, dict):
        missing = {name for name in expected.keys() - given.keys()
                   if name not in nulls or expected[name] is not None}
        found = [f"{at}: no member {name}" for name in sorted(missing)]
        found += [f"{at}: has {name}" for name in sorted(given.keys() - expected.keys() - set(extra))]
        for name in sorted(expected.keys() & given.keys()):
            found += shape_differences(expected[name], given[name], free, extra, nulls,
                                       f"{at}.{name}")
        return found
    if isinstance(expected, list) and isinstance(given, list):
        return [difference for item in given if expected
                for difference in shape_differences(expected[0], item, free, extra, nulls,
                                                    f"{at}[]")]
    if type(expected) is not type(given):
        return [f"{at}: {given!r} for {expected!r}"]
    return []
