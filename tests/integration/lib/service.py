"""`mlenvfs serve` as a child process, and the requests that tests make to it."""
import http.client
import json
import os
import re
import secrets
import selectors
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import quote, urlencode

from lib.assets import Asset, content_hash, context_files
from lib.blobs import ACCOUNT, Blobs
from lib.mount import SANITIZER_WORDS, end_with_tests, sandbox_env

SUBSCRIPTION = "00000000-0000-0000-0000-000000000000"
GROUP = "local"
WORKSPACE = "local"
PROVIDER = "Microsoft.MachineLearningServices"
API_VERSION = "2026-05-01"
DATA_API_VERSION = "2021-10-01-dataplanepreview"
DATA_PLANE = "/mferp/managementfrontend"
UP_SECONDS = 60
DOWN_SECONDS = 30
REQUEST_SECONDS = 60


class ServiceError(AssertionError):
    """The service did not start, did not end well, or did not answer as expected."""


class Response:
    """An answer: status, headers (case-insensitive), body."""

    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    def json(self):
        return json.loads(self.body)

    @property
    def code(self):
        """The error code, of ARM and of Blob Storage."""
        if "x-ms-error-code" in self.headers:
            return self.headers["x-ms-error-code"]
        return self.json()["error"]["code"] if self.body else None

    def __repr__(self):
        return f"<{self.status} {self.body[:2000]!r}>"


class Service:
    """
    A service on a free port of 127.0.0.1 with a token and a store of its own, ended on every way
    out. options are further words of the command line; store is an SQLite file to be kept. tls: it
    speaks TLS with a CA of its own, whose file is .ca then; ca: it does with the options given.
    """

    def __init__(self, binary, *options, store=None, faults=None, env=None, tls=False, ca=None):
        self.binary = Path(binary)
        self.base = Path(tempfile.mkdtemp(prefix="mlenvfs-serve-"))
        self.store = Path(store) if store else self.base / "store"
        self.options = [str(option) for option in options] + ["--tls"] * tls
        self.env = sandbox_env(self.base, env)
        self.ca = Path(self.env["XDG_DATA_HOME"]) / "mlenvfs/tls/ca.pem" if tls else ca
        self.token = secrets.token_hex(16)
        self.log_path = self.base / "log"
        self.process = self.host = self.port = None
        self._local = threading.local()
        if faults is not None:
            (self.base / "faults.json").write_text(json.dumps(_plan(faults)))
            self.options += ["--faults", str(self.base / "faults.json")]
        (self.base / "token").touch(mode=0o600)
        (self.base / "token").write_text(self.token + "\n")
        try:
            self.start()
        except BaseException:
            self.kill()
            raise

    # ---- the process ----

    def command(self, port=0):
        return [str(self.binary), "serve", "--listen", f"127.0.0.1:{port}", "--store",
                str(self.store), "--token-file", str(self.base / "token"), *self.options]

    def start(self, port=0):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.command(port), env=self.env, stdin=subprocess.DEVNULL, stderr=log,
                stdout=subprocess.PIPE, start_new_session=True,
                preexec_fn=end_with_tests)
        line = self._first_line()
        match = re.fullmatch(rf"listening on {self.scheme}://(127\.0\.0\.1):(\d+)\n", line)
        if not match:
            raise ServiceError(f"mlenvfs serve said {line!r}\n{self.log()}")
        self.host, self.port = match.group(1), int(match.group(2))
        return self

    def _first_line(self):
        end, line = time.monotonic() + UP_SECONDS, b""
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                if not selector.select(max(0, end - time.monotonic())):
                    raise ServiceError(f"mlenvfs serve said nothing for {UP_SECONDS} s")
                piece = os.read(self.process.stdout.fileno(), 1)
                if not piece:
                    break
                line += piece
        return line.decode()

    @property
    def scheme(self):
        return "https" if self.ca else "http"

    @property
    def url(self):
        return f"{self.scheme}://{self.host}:{self.port}"

    @property
    def pid(self):
        return self.process.pid

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def restart(self, crash=False):
        """Ends it (crash: with SIGKILL) and starts it again on the same port and store."""
        self._end(signal.SIGKILL if crash else signal.SIGTERM)
        return self.start(self.port)

    def down(self):
        """Ends it for a while: start(port) brings it back, with its store."""
        self._end(signal.SIGTERM)

    def stop(self):
        """Ends it as an administrator would; it must end with status 0 and without complaint."""
        if self.process is None:
            return
        pid = self.pid
        status = self._end(signal.SIGTERM)
        problems = [f"mlenvfs serve ended with status {status}"] if status else []
        log = self.log()
        problems += [match.group(0) for match in SANITIZER_WORDS.finditer(log)]
        reports = os.environ.get("MLENVFS_REPORTS")
        if reports:
            problems += [path.read_text(errors="replace")
                         for path in Path(reports).glob(f"*.{pid}")]
        self._remove()
        if problems:
            raise ServiceError("\n".join(problems) + "\n" + log)

    def kill(self):
        """Ends it by force, with no check, for the way out."""
        if self.process is not None:
            self._end(signal.SIGKILL)
        self._remove()

    def _end(self, how):
        """Ends the process, and with force when it takes too long; gives its status."""
        self._forget_connection()
        process, self.process = self.process, None
        if process.poll() is None:
            process.send_signal(how)
        try:
            status = process.wait(DOWN_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            status = f"(none within {DOWN_SECONDS} s of signal {how})"
        process.stdout.close()
        return status

    def _remove(self):
        shutil.rmtree(self.base, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, exc_type, *exc):
        if exc_type:
            self.kill()
        else:
            self.stop()

    # ---- requests ----

    def _connection(self):
        if getattr(self._local, "connection", None) is None:
            if self.ca:
                connection = http.client.HTTPSConnection(
                    self.host, self.port, timeout=REQUEST_SECONDS,
                    context=ssl.create_default_context(cafile=self.ca))
            else:
                connection = http.client.HTTPConnection(self.host, self.port, timeout=REQUEST_SECONDS)
            connection.connect()
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._local.connection = connection
        return self._local.connection

    def _forget_connection(self):
        connection = getattr(self._local, "connection", None)
        self._local.connection = None
        if connection is not None:
            connection.close()

    def exchange(self, method, target, body=None, headers=None):
        """One request exactly as given, on this thread's own connection."""
        connection = self._connection()
        try:
            connection.request(method, target, body=body, headers=headers or {})
            answer = connection.getresponse()
            response = Response(answer.status, answer.headers, answer.read())
        except BaseException:
            self._forget_connection()
            raise
        if answer.will_close:
            self._forget_connection()
        return response

    def request(self, method, path, body=None, *, query=None, headers=None, expect=None, token=None):
        """
        One request with the token (token: another one, "" for none). A body that is not bytes is
        sent as JSON; api-version is added where it belongs and is not given. expect: the statuses
        that are right.
        """
        query = dict(query or {})
        if path.startswith("/subscriptions/"):
            query.setdefault("api-version", API_VERSION)
        elif path.startswith(DATA_PLANE):
            query.setdefault("api-version", DATA_API_VERSION)
        headers = {"Accept": "application/json", **(headers or {})}
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        if body is None and method in ("POST", "PUT"):
            body = b""
        token = self.token if token is None else token
        if token:
            headers.setdefault("Authorization", f"Bearer {token}")
        target = path + ("?" + urlencode(query, quote_via=quote) if query else "")
        response = self.exchange(method, target, body, headers)
        if expect is not None and response.status not in _statuses(expect):
            raise ServiceError(f"{method} {target}: {response}\nexpected status {expect}")
        return response

    def get(self, path, **more):
        return self.request("GET", path, **more)

    def follow(self, url, **more):
        """GET of a link that the service gave."""
        assert url.startswith(self.url + "/"), url
        path, _, query = url[len(self.url):].partition("?")
        response = self.exchange("GET", path + (f"?{query}" if query else ""), None,
                                 {"Authorization": f"Bearer {self.token}", **more})
        return response

    def list(self, path, **query):
        """All items of a list, page by page."""
        response = self.get(path, query=query, expect=200)
        items = response.json()["value"]
        while response.json().get("nextLink"):
            response = self.follow(response.json()["nextLink"])
            assert response.status == 200, response
            items += response.json()["value"]
        return items

    # ---- paths ----

    @staticmethod
    def workspace_path(workspace=WORKSPACE, *rest):
        return _path("subscriptions", SUBSCRIPTION, "resourceGroups", GROUP, "providers", PROVIDER,
                     "workspaces", workspace, *rest)

    @staticmethod
    def registry_path(registry, *rest, data_plane=False):
        path = _path("subscriptions", SUBSCRIPTION, "resourceGroups", GROUP, "providers", PROVIDER,
                     "registries", registry, *rest)
        return DATA_PLANE + path if data_plane else path

    # ---- what only this service has ----

    def counters(self):
        return self.get("/__mlenvfs/counters", expect=200).json()

    def reset_counters(self):
        self.request("DELETE", "/__mlenvfs/counters", expect=204)

    def set_faults(self, *rules):
        """Replaces the fault plan (docs/faults.md); without rules nothing goes wrong any more."""
        self.request("PUT", "/__mlenvfs/faults", _plan(rules), expect=204)

    def make_workspace(self, name):
        self.request("POST", _path("__mlenvfs", "workspaces", name), expect=(200, 201))

    def make_registry(self, name):
        self.request("PUT", _path("__mlenvfs", "registries", name), expect=(200, 201))

    def raw(self, name, version, properties, *, workspace=WORKSPACE, registry=None, curated=False):
        """Stores a version without any check; properties is a dict, or the bytes to be sent."""
        scope = f"@{registry}" if registry else workspace
        self.request("PUT", _path("__mlenvfs", "raw", scope, name, version), properties,
                     query={"curated": "true"} if curated else None, expect=201)

    # ---- environments ----

    def put_version(self, name, version, properties=None, *, workspace=WORKSPACE, registry=None,
                    expect=(200, 201)):
        """Registers a version; without properties, one with a small image. Gives the resource."""
        if properties is None:
            properties = {"image": "docker.io/library/busybox:latest"}
        place = self.registry_path(registry) if registry else self.workspace_path(workspace)
        path = place + _path("environments", name, "versions", version)
        return self.request("PUT", path, {"properties": properties}, expect=expect).json()

    def get_version(self, name, version, *, workspace=WORKSPACE):
        return self.get(self.workspace_path(workspace, "environments", name, "versions", version),
                        expect=200).json()

    def next_version(self, name, *, workspace=WORKSPACE):
        """What the SDK takes for a version when none is given."""
        response = self.get(self.workspace_path(workspace, "environments", name), expect=(200, 404))
        return "1" if response.status == 404 else response.json()["properties"]["nextVersion"]

    # ---- blobs ----

    def datastore(self, workspace=WORKSPACE):
        return self.get(self.workspace_path(workspace, "datastores", "workspaceblobstore"),
                        expect=200).json()["properties"]

    def blobs(self, workspace=WORKSPACE):
        """The workspace's container, with the credentials that its datastore gives."""
        store = self.datastore(workspace)
        if store["credentials"]["credentialsType"] == "None":
            return Blobs(self, store["containerName"], bearer=self.token)
        given = self.request("POST", self.workspace_path(workspace, "datastores",
                                                         "workspaceblobstore", "listSecrets"),
                             expect=200).json()
        return Blobs(self, store["containerName"], key=given.get("key"), sas=given.get("sasToken"))

    def upload_context(self, path, name, version, *, workspace=WORKSPACE):
        """
        Uploads a build context in the steps of the SDK (azureml-rest.md section 8), without its
        ignore files, which no test needs. Gives the contextUri.
        """
        blobs = self.blobs(workspace)
        digest, files = content_hash(path), context_files(path)
        if not files:
            raise ServiceError(f"Directory {path} is empty.")
        top = f"LocalUpload/{digest}/{Path(path).name}/"
        indicator = top + files[0][0]
        head = blobs.head(indicator)
        legacy = blobs.head(f"az-ml-artifacts/{digest}/{Path(path).name}/{files[0][0]}")
        assert legacy.status == 404, legacy
        if head.status == 404 or head.headers.get("x-ms-meta-upload_status") != "completed":
            for relative, whole in files:
                put = blobs.put(top + relative, whole.read_bytes(), overwrite=head.status == 200)
                assert put.status == 201, put
            done = blobs.set_metadata(indicator, name=name, version=version,
                                      upload_status="completed")
            assert done.status == 200, done
        return f"{blobs.url}/{quote(top)}"

    def load_asset_dir(self, path, *, name=None, version=None, workspace=WORKSPACE):
        """Registers an asset directory as `az ml environment create` does. Gives the resource."""
        asset = Asset(path)
        name = name or asset.name
        version = version or asset.version or self.next_version(name, workspace=workspace)
        uri = None
        if asset.context:
            uri = self.upload_context(asset.context, name, version, workspace=workspace)
        return self.put_version(name, version, asset.body(uri)["properties"], workspace=workspace)

    def load_corpus(self, corpus, *, workspace=WORKSPACE):
        """Registers every version of the corpus; gives its manifest."""
        manifest = json.loads((Path(corpus) / "manifest.json").read_text())
        for record in manifest:
            self.load_asset_dir(Path(corpus) / record["dir"], name=record["name"],
                                version=record["version"], workspace=workspace)
        return manifest


def _path(*segments):
    return "".join("/" + quote(str(segment), safe="~") for segment in segments)


def _plan(rules):
    return rules if isinstance(rules, dict) else {"rules": list(rules)}


def _statuses(expect):
    return (expect,) if isinstance(expect, int) else expect


__all__ = ["ACCOUNT", "API_VERSION", "DATA_PLANE", "GROUP", "PROVIDER", "Response", "SUBSCRIPTION",
           "Service", "ServiceError", "WORKSPACE"]
