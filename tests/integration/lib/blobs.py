"""Blob Storage as Microsoft's clients speak it, by hand: signing, and the calls of build contexts."""
import base64
import hashlib
import hmac
import xml.etree.ElementTree as ElementTree
from email.utils import formatdate
from urllib.parse import parse_qsl, quote, unquote, urlencode

ACCOUNT = "mlenvfslocal"
VERSION = "2021-12-02"
SIGNED_HEADERS = ("content-encoding", "content-language", "content-length", "content-md5",
                  "content-type", "date", "if-modified-since", "if-match", "if-none-match",
                  "if-unmodified-since", "range")
SAS_FIELDS = ("sp", "st", "se", "canonical", "si", "sip", "spr", "sv", "sr", "snapshot",
              "ses", "rscc", "rscd", "rsce", "rscl", "rsct")


def sign(key, text):
    return base64.b64encode(hmac.new(base64.b64decode(key), text.encode(),
                                     hashlib.sha256).digest()).decode()


def shared_key(key, method, path, params, headers, account=ACCOUNT):
    """The Authorization header of a request (azureml-rest.md section 10)."""
    lower = {name.lower(): str(value).strip() for name, value in headers.items()}
    if lower.get("content-length") == "0":
        lower["content-length"] = ""
    if "x-ms-date" in lower:
        lower["date"] = ""
    text = method + "\n" + "".join(lower.get(name, "") + "\n" for name in SIGNED_HEADERS)
    text += "".join(f"{name}:{lower[name]}\n" for name in sorted(lower) if name.startswith("x-ms-"))
    text += f"/{account}{path}"
    text += "".join(f"\n{name.lower()}:{value}" for name, value in sorted(params.items()))
    return f"SharedKey {account}:{sign(key, text)}"


def make_sas(key, container, permissions, expiry, *, blob=None, start="", protocol="",
             version=VERSION, account=ACCOUNT):
    """A service SAS of a container, or of one blob, as a dict of query parameters."""
    where = f"/blob/{account}/{container}" + (f"/{blob}" if blob is not None else "")
    sas = {"sp": permissions, "st": start, "se": expiry, "spr": protocol, "sv": version,
           "sr": "c" if blob is None else "b"}
    text = "\n".join({**sas, "canonical": where}.get(field, "") for field in SAS_FIELDS)
    return {**{name: value for name, value in sas.items() if value}, "sig": sign(key, text)}


class Blobs:
    """
    One container of a service, with one kind of credential: key (base64), sas (a query string or
    a dict), bearer (a token), or none of them. Calls give the service's Response.
    """

    def __init__(self, service, container, key=None, sas=None, bearer=None, account=ACCOUNT):
        self.service = service
        self.account = account
        self.container = container
        self.key = key
        self.sas = dict(parse_qsl(sas.lstrip("?"))) if isinstance(sas, str) else sas or {}
        self.bearer = bearer

    @property
    def url(self):
        return f"{self.service.url}/{self.account}/{self.container}"

    def call(self, method, name=None, params=None, body=b"", headers=None):
        """One request; name None is the container itself."""
        path = f"/{self.account}/{self.container}"
        if name is not None:
            path += "/" + quote(name, safe="/~")
        return self.call_path(method, path, params, body, headers)

    def call_path(self, method, path, params=None, body=b"", headers=None):
        """The same for a path as it is to be sent."""
        params = {**(params or {}), **self.sas}
        headers = {"x-ms-version": VERSION, "x-ms-date": formatdate(usegmt=True), **(headers or {})}
        if method == "PUT":
            headers.setdefault("Content-Length", str(len(body)))
        if self.key:
            headers["Authorization"] = shared_key(self.key, method, path, params, headers, self.account)
        elif self.bearer:
            headers["Authorization"] = f"Bearer {self.bearer}"
        query = urlencode(params, quote_via=quote)
        return self.service.exchange(method, path + (f"?{query}" if query else ""),
                                     body if method == "PUT" else None, headers)

    def put(self, name, data, headers=None, overwrite=False):
        """Put Blob as the SDK sends it: a checksum, and no replacing unless asked for."""
        sent = {"x-ms-blob-type": "BlockBlob", "Content-Type": "application/octet-stream"}
        if data:
            sent["Content-MD5"] = base64.b64encode(hashlib.md5(data).digest()).decode()
        if not overwrite:
            sent["If-None-Match"] = "*"
        return self.call("PUT", name, body=data, headers={**sent, **(headers or {})})

    def get(self, name, headers=None):
        return self.call("GET", name, headers=headers)

    def head(self, name):
        return self.call("HEAD", name)

    def delete(self, name):
        return self.call("DELETE", name)

    def set_metadata(self, blob, /, **metadata):
        return self.call("PUT", blob, {"comp": "metadata"},
                         headers={f"x-ms-meta-{key}": value for key, value in metadata.items()})

    def create(self):
        return self.call("PUT", params={"restype": "container"})

    def list_page(self, **params):
        return self.call("GET", params={"restype": "container", "comp": "list", **params})

    def list(self, prefix="", **params):
        """All blobs: {name: {property or "x-ms-meta-" + name: text}}, groups as {name: None}."""
        found, marker = {}, ""
        while True:
            page = self.list_page(prefix=prefix, **params, **({"marker": marker} if marker else {}))
            assert page.status == 200, page
            root = ElementTree.fromstring(page.body)
            for item in root.find("Blobs"):
                found[_name(item.find("Name"))] = _properties(item)
            marker = root.findtext("NextMarker")
            if not marker:
                return found


def _name(element):
    text = element.text or ""
    return unquote(text, errors="surrogateescape") if element.get("Encoded") == "true" else text


def _properties(item):
    if item.tag == "BlobPrefix":
        return None
    found = {child.tag: child.text or "" for child in item.find("Properties")}
    for child in item.find("Metadata") if item.find("Metadata") is not None else ():
        found[f"x-ms-meta-{child.tag}"] = child.text or ""
    return found
