"""The token endpoint of `mlenvfs serve`: requests by hand, and assertions signed by openssl(1)."""
import base64
import hashlib
import json
import ssl
import subprocess
import time
import uuid
from urllib.parse import urlencode

from lib.service import SUBSCRIPTION

TENANT = SUBSCRIPTION
CLI = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"
ARM = "https://management.azure.com/.default"
STORAGE = "https://storage.azure.com/.default"
ML = "https://ml.azure.com/.default"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def from_base64url(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def read_jwt(token):
    """Header and claims, unchecked."""
    header, claims, _ = token.split(".")
    return json.loads(from_base64url(header)), json.loads(from_base64url(claims))


class Key:
    """An RSA key with a certificate, in files."""

    def __init__(self, directory, name="app"):
        self.key, self.cert, self.public = (directory / f"{name}{end}" for end in ("-key.pem", ".pem", "-public.pem"))
        _openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", self.key, "-out", self.cert,
                 "-days", "2", "-subj", f"/CN={name}")
        _openssl("pkey", "-in", self.key, "-pubout", "-out", self.public)

    def thumbprints(self):
        der = ssl.PEM_cert_to_DER_cert(self.cert.read_text())
        return {"RS256": {"x5t": base64url(hashlib.sha1(der).digest())},
                "PS256": {"x5t#S256": base64url(hashlib.sha256(der).digest())}}

    def sign(self, claims, algorithm="RS256", header=None):
        """A token with these claims; header replaces what it would say of the certificate."""
        header = {"alg": algorithm, "typ": "JWT",
                  **(self.thumbprints().get(algorithm, {}) if header is None else header)}
        text = ".".join(base64url(json.dumps(part).encode()) for part in (header, claims))
        how = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32"] if algorithm == "PS256" else []
        signature = _openssl("dgst", "-sha256", "-sign", self.key, *how, stdin=text.encode())
        return f"{text}.{base64url(signature)}"


def _openssl(*words, stdin=None):
    return subprocess.run(["openssl", *map(str, words)], input=stdin, capture_output=True, check=True,
                          timeout=60).stdout


class Entra:
    """One service's Entra, as a client sees it, and the switches that tests have."""

    def __init__(self, service, tenant=TENANT):
        self.service = service
        self.tenant = tenant

    def path(self, *rest, tenant=None):
        return "/" + "/".join((tenant or self.tenant, *rest))

    @property
    def endpoint(self):
        return self.service.url + self.path("oauth2/v2.0/token")

    def post(self, path, form, headers=None):
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json",
                   **(headers or {})}
        return self.service.exchange("POST", path, urlencode(form).encode(), headers)

    def token(self, tenant=None, **form):
        return self.post(self.path("oauth2/v2.0/token", tenant=tenant), form)

    def by_secret(self, app, secret, scope=ARM, **more):
        return self.token(grant_type="client_credentials", client_id=app, client_secret=secret, scope=scope, **more)

    def by_assertion(self, app, assertion, scope=ARM, **more):
        return self.token(grant_type="client_credentials", client_id=app, client_assertion=assertion, scope=scope,
                          **{"client_assertion_type": ASSERTION_TYPE, **more})

    def claims(self, app, **changed):
        """What an assertion says; None leaves a claim out."""
        now = int(time.time())
        claims = {"aud": self.endpoint, "iss": app, "sub": app, "jti": str(uuid.uuid4()), "nbf": now - 60, "iat": now,
                  "exp": now + 600, **changed}
        return {name: value for name, value in claims.items() if value is not None}

    def device_code(self, app=CLI, scope=f"{ARM} offline_access openid profile", tenant=None):
        return self.post(self.path("oauth2/v2.0/devicecode", tenant=tenant), {"client_id": app, "scope": scope})

    def poll(self, code, app=CLI, **more):
        return self.token(grant_type=DEVICE_GRANT, client_id=app, device_code=code, **more)

    def refresh(self, token, scope=ARM, app=CLI, **more):
        return self.token(grant_type="refresh_token", client_id=app, refresh_token=token, scope=scope, **more)

    # ---- /__mlenvfs/entra/ ----

    def register(self, app=None, **what):
        """Makes an application, or replaces it; gives its id."""
        app = app or str(uuid.uuid4())
        self.service.request("PUT", f"/__mlenvfs/entra/apps/{app}", what, expect=(200, 201))
        return app

    def settings(self, **what):
        self.service.request("PUT", "/__mlenvfs/entra/settings", what, expect=204)

    def answer(self, user_code, approve=True, **more):
        return self.service.request("POST", f"/__mlenvfs/entra/devicecodes/{user_code}", {"approve": approve, **more})

    def revoke(self, **query):
        self.service.request("DELETE", "/__mlenvfs/entra/tokens", query=query, expect=204)

    def sign_in(self, user="someone@example.com", **more):
        """The whole device flow; gives the last answer's JSON."""
        given = self.device_code(**more).json()
        assert self.answer(given["user_code"], user=user).status == 204
        done = self.poll(given["device_code"])
        assert done.status == 200, done
        return done.json()
