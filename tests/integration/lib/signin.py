"""Small stand-ins for what gives tokens (Entra ID's token endpoint, IMDS, App Service, Azure Arc), over TLS or not."""
import base64
import hashlib
import http.server
import json
import secrets
import ssl
import subprocess
import threading
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

TENANT = "11111111-2222-3333-4444-555555555555"
CLIENT_ID = "66666666-7777-8888-9999-000000000000"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


def openssl(*args, **more):
    return subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True, **more).stdout


class Authority:
    """A certificate authority of our own, with a certificate for 127.0.0.1 (`pem`: key and certificate)."""

    def __init__(self, directory):
        self.dir = Path(directory)
        self.ca = self.dir / "ca.pem"
        self.pem = self.dir / "server.pem"
        key, request, cert = self.dir / "key", self.dir / "request", self.dir / "cert"
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        openssl("req", "-x509", *curve, "-keyout", self.dir / "ca.key", "-out", self.ca,
                "-subj", "/CN=Test CA", "-days", "2")
        openssl("req", *curve, "-keyout", key, "-out", request, "-subj", "/CN=127.0.0.1")
        names = self.dir / "names"
        names.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
        openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self.dir / "ca.key", "-CAcreateserial",
                "-out", cert, "-days", "2", "-extfile", names)
        self.pem.write_bytes(key.read_bytes() + cert.read_bytes())

    def application(self, password=None):
        """A key and certificate as an application has them: (PEM, PKCS#12, the certificate alone)."""
        key, cert = self.dir / "app.key", self.dir / "app.crt"
        pem, pfx = self.dir / "app.pem", self.dir / "app.pfx"
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-subj", "/CN=app",
                "-days", "2")
        pem.write_bytes(key.read_bytes() + cert.read_bytes())
        openssl("pkcs12", "-export", "-inkey", key, "-in", cert, "-out", pfx, "-passout", f"pass:{password or ''}")
        return pem, pfx, cert


class Request:
    """What came in: method, path, query and form as plain dicts, headers."""

    def __init__(self, method, target, headers, body):
        self.method, self.headers = method, headers
        parts = urlsplit(target)
        self.path = parts.path
        self.query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.form = {name: values[0] for name, values in parse_qs(body.decode(errors="replace")).items()}


class StandIn:
    """
    An HTTP server on 127.0.0.1 that answers with what self.answer(request) gives: a status, a
    dict or bytes, and headers. A context manager.
    """

    def __init__(self, authority=None):
        self.requests = []
        self.lock = threading.Lock()
        self.slow = threading.Event()  # set: no answer until it is cleared
        self.date = None               # what the Date header says instead of the truth
        stand_in = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                request = Request(self.command, self.path, self.headers, body)
                with stand_in.lock:
                    stand_in.requests.append(request)
                while stand_in.slow.is_set():
                    time.sleep(0.02)
                status, content, headers = stand_in.answer(request)
                if not isinstance(content, bytes):
                    content = json.dumps(content).encode()
                try:
                    self.send_response_only(status)
                    self.send_header("Date", stand_in.date or self.date_time_string())
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(content)))
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(content)
                except OSError:
                    self.close_connection = True

            do_GET = do_POST = handle_one

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, *_):
                pass  # a client that does not trust us

        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        scheme = "http"
        if authority:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(authority.pem)
            # The handshake is the business of each connection's thread.
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True,
                                                     do_handshake_on_connect=False)
            scheme = "https"
        self.url = f"{scheme}://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def answer(self, request):
        raise NotImplementedError

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.slow.clear()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def refusal(error, code, words="Something is wrong."):
    return 400, {"error": error, "error_codes": [code],
                 "error_description": f"AADSTS{code}: {words} Trace ID: 1 Correlation ID: 2"}, {}


def _decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Entra(StandIn):
    """
    The token endpoint. token is what it gives for ARM (storage gets another); script is a list of
    answers, of which each is given once before the right ones.
    """

    def __init__(self, authority, token, certificate=None, expires_in=3599):
        self.token, self.expires_in = token, expires_in
        self.certificate = certificate  # path; of the application
        self.secret = "s3cret~" + secrets.token_urlsafe(24)
        self.federated = "fed." + secrets.token_urlsafe(24)
        self.refresh = "refresh." + secrets.token_urlsafe(24)
        self.device_code = "device." + secrets.token_urlsafe(24)
        self.pending = 1
        self.script = []
        self.assertions = []
        super().__init__(authority)

    def env(self, **more):
        """The variables that lead here; True stands for what is right."""
        return {"AZURE_AUTHORITY_HOST": self.url, "AZURE_TENANT_ID": TENANT, "AZURE_CLIENT_ID": CLIENT_ID, **more}

    def tokens(self, scope=None):
        """The requests for tokens; of one scope."""
        with self.lock:
            return [r for r in self.requests if r.path.endswith("/token") and (not scope or scope in r.form.get("scope", ""))]

    def answer(self, request):
        if request.path == f"/{TENANT}/oauth2/v2.0/devicecode":
            return 200, {"device_code": self.device_code, "user_code": "ABCD-EFGH", "interval": 0.05,
                         "expires_in": 60, "verification_uri": "https://microsoft.com/devicelogin"}, {}
        if request.path != f"/{TENANT}/oauth2/v2.0/token" or request.method != "POST":
            return 200, {}, {}
        with self.lock:
            if self.script:
                return self.script.pop(0)
        if request.form.get("client_id") != CLIENT_ID and "client_secret" in request.form:
            return refusal("unauthorized_client", 700016)
        return self.grant(request.form)

    def grant(self, form):
        kind = form["grant_type"]
        if kind == "client_credentials" and "client_secret" in form:
            if form["client_secret"] != self.secret:
                return refusal("invalid_client", 7000215, f"Invalid client secret {form['client_secret']}.")
            return self.give(form)
        if kind == "client_credentials" and form.get("client_assertion_type") == ASSERTION_TYPE:
            wrong = self.check(form["client_assertion"])
            return refusal("invalid_client", 700027, wrong) if wrong else self.give(form)
        if kind == DEVICE_GRANT and form["device_code"] == self.device_code:
            with self.lock:
                self.pending -= 1
                if self.pending >= 0:
                    return refusal("authorization_pending", 70016)
            return self.give(form, refresh=True)
        if kind == "refresh_token":
            if form["refresh_token"] != self.refresh:
                return refusal("invalid_grant", 700082, f"{form['refresh_token']} is expired.")
            return self.give(form, refresh=True)
        return refusal("invalid_request", 900144)

    def give(self, form, refresh=False):
        token = self.token if "storage" not in form.get("scope", "") else f"storage-{self.token}"
        answer = {"token_type": "Bearer", "expires_in": self.expires_in, "access_token": token}
        if refresh:
            self.refresh = "refresh." + secrets.token_urlsafe(24)
            answer["refresh_token"] = self.refresh
        return 200, answer, {}

    def check(self, assertion):
        """What is wrong with an assertion; None when nothing is."""
        self.assertions.append(assertion)
        if assertion == self.federated:
            return None
        try:
            signed, _, signature = assertion.rpartition(".")
            header, claims = (json.loads(_decode(part)) for part in signed.split("."))
        except ValueError:
            return "This is no JWT."
        der = ssl.PEM_cert_to_DER_cert(self.certificate.read_text())
        if _decode(header.get("x5t#S256", "")) != hashlib.sha256(der).digest():
            return "The thumbprint is another one's."
        if claims["aud"] != f"{self.url}/{TENANT}/oauth2/v2.0/token":
            return "It is for somebody else."
        if not claims["nbf"] <= time.time() <= claims["exp"] <= claims["nbf"] + 600:
            return "It is not the time."
        if claims["iss"] != CLIENT_ID or claims["sub"] != CLIENT_ID or not claims["jti"]:
            return "It is from somebody else."
        return self.check_signature(header["alg"], signed, signature)

    def check_signature(self, alg, signed, signature):
        key, file = self.certificate.with_suffix(".pub"), self.certificate.with_suffix(f".{secrets.token_hex(4)}")
        key.write_bytes(openssl("x509", "-in", self.certificate, "-pubkey", "-noout"))
        file.write_bytes(_decode(signature))
        pss = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32"] if alg == "PS256" else []
        try:
            openssl("dgst", "-sha256", "-verify", key, *pss, "-signature", file, input=signed.encode())
        except subprocess.CalledProcessError:
            return "The signature is wrong."
        return None


class Imds(StandIn):
    """The Instance Metadata Service of a virtual machine. expires_on is absolute, by its own clock."""

    def __init__(self, token, now=None, client_id=None):
        self.token, self.now, self.client_id = token, now, client_id
        self.busy = 0  # so many answers say that it is being restarted
        super().__init__()

    def env(self):
        return {"AZURE_POD_IDENTITY_AUTHORITY_HOST": self.url}

    def answer(self, request):
        if request.path != "/metadata/identity/oauth2/token" or request.query.get("api-version") != "2018-02-01":
            return 404, {}, {}
        if request.headers.get("Metadata") != "true":
            return 400, {"error": "invalid_request", "error_description": "Required metadata header not specified"}, {}
        if request.query.get("client_id") != self.client_id:
            return 400, {"error": "invalid_request", "error_description": "Identity not found"}, {}
        with self.lock:
            self.busy -= 1
            if self.busy >= 0:
                return 410, {}, {}
        return 200, {"access_token": self.token, "token_type": "Bearer", "resource": request.query["resource"],
                     "expires_on": str(int(self.now or time.time()) + 3600)}, {}


class AppService(StandIn):
    """The identity endpoint of App Service, Functions and Container Apps."""

    def __init__(self, token):
        self.token = token
        self.header = "he4der-" + secrets.token_urlsafe(24)
        super().__init__()

    def env(self):
        return {"IDENTITY_ENDPOINT": f"{self.url}/msi/token", "IDENTITY_HEADER": self.header}

    def answer(self, request):
        if request.path != "/msi/token" or request.query.get("api-version") != "2019-08-01":
            return 404, {}, {}
        if request.headers.get("X-IDENTITY-HEADER") != self.header:
            return 403, {"message": "The header is wrong."}, {}
        return 200, {"access_token": self.token, "expires_on": str(int(time.time()) + 3600)}, {}


class Arc(StandIn):
    """What claims to be Azure Arc's agent, and names a file to be read."""

    def __init__(self, file):
        self.file = file
        super().__init__()

    def env(self):
        return {"IDENTITY_ENDPOINT": f"{self.url}/metadata/identity/oauth2/token", "IMDS_ENDPOINT": self.url}

    def answer(self, request):
        return 401, {}, {"WWW-Authenticate": f"Basic realm={self.file}"}


def install_az(directory, token, subscription=None):
    """An `az` that is signed in; gives the folder for PATH. Each call is a line in `calls`."""
    folder = Path(directory) / "bin"
    folder.mkdir(exist_ok=True)
    answer = {"accessToken": token, "expires_on": int(time.time()) + 3600, "tokenType": "Bearer"}
    (folder / "answer.json").write_text(json.dumps(answer))
    program = folder / "az"
    program.write_text(f"""#!/bin/sh
echo "$*" >>'{folder}/calls'
case "$*" in
"account get-access-token --output json --resource https://management.azure.com"*) exec cat '{folder}/answer.json' ;;
"account get-access-token --output json --resource https://storage.azure.com"*) exec cat '{folder}/answer.json' ;;
*) exit 2 ;;
esac
""")
    program.chmod(0o755)
    return folder
