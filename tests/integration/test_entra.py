"""
Microsoft Entra ID in `mlenvfs serve`: tokens for secrets, certificates, federated identities, people
and refresh tokens; what they open, and how everything is refused. Over TLS, as clients demand.
"""
import json
import re
import subprocess
import time
import uuid
from email.utils import parsedate_to_datetime

import pytest

from lib.entra import ARM, CLI, ML, STORAGE, TENANT, Entra, Key, base64url, from_base64url, read_jwt
from lib.mount import wait_until
from lib.service import Service

SECRET = "~a.secret+with/reserved=characters&more 🐍"
DEFAULTS = {"tokenSeconds": 3599, "refreshInSeconds": 0, "deviceSeconds": 900, "deviceIntervalSeconds": 0,
            "clockSkewSeconds": 0, "textNumbers": False, "rotateRefreshTokens": False, "assertionsOnce": False}
FOREIGN_TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"


@pytest.fixture(scope="module")
def served(binary):
    with Service(binary, tls=True) as running:
        yield running


@pytest.fixture
def entra(served):
    made = Entra(served)
    made.settings(**DEFAULTS)
    yield made
    made.settings(**DEFAULTS)


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Two keys with certificates: the application's and a stranger's."""
    directory = tmp_path_factory.mktemp("keys")
    return Key(directory, "app"), Key(directory, "stranger")


@pytest.fixture
def app(entra, keys):
    return entra.register(secrets=[SECRET, "another-secret"], certificates=[keys[0].cert.read_text()])


def given(response):
    assert response.status == 200, response
    assert response.headers["Cache-Control"].startswith("no-store")
    return response.json()


def refused(response, number, error, status=400):
    """An error in the form that clients take apart."""
    body = response.json()
    assert (response.status, body["error"], body["error_codes"]) == (status, error, [number]), body
    assert body["error_description"].startswith(f"AADSTS{number}: ")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", body["timestamp"])
    for name in ("trace_id", "correlation_id"):
        assert uuid.UUID(body[name])
        assert body[name] in body["error_description"]
    assert SECRET not in response.body.decode()


def opens(service, token, path=None, **more):
    """The status of a request to ARM with a token."""
    return service.get(path or service.workspace_path(), token=token, **more).status


# ---- a client secret ----


def test_a_secret_gives_a_token_that_opens_arm(served, entra, app):
    answer = given(entra.by_secret(app, SECRET))
    assert answer.keys() == {"token_type", "expires_in", "ext_expires_in", "access_token"}
    assert (answer["token_type"], answer["expires_in"]) == ("Bearer", 3599)
    header, claims = read_jwt(answer["access_token"])
    assert header["alg"] == "RS256" and header["kid"]
    assert (claims["aud"], claims["appid"], claims["tid"]) == ("https://management.azure.com", app, TENANT)
    assert claims["iss"] == f"{served.url}/{TENANT}/"
    assert claims["exp"] - claims["iat"] == 3599 and abs(claims["iat"] - time.time()) < 60
    assert (claims["idtyp"], claims["appidacr"], claims["ver"]) == ("app", "1", "1.0")
    assert opens(served, answer["access_token"]) == 200
    assert opens(served, answer["access_token"], "/discovery") == 200


def test_any_of_its_secrets_will_do(entra, app):
    given(entra.by_secret(app, "another-secret"))


def test_tokens_differ(entra, app):
    first, second = (given(entra.by_secret(app, SECRET))["access_token"] for _ in range(2))
    assert first != second


@pytest.mark.parametrize("name", ["organizations", "common"])
def test_an_application_must_name_its_tenant(entra, app, name):
    refused(entra.by_secret(app, SECRET, tenant=name), 50059, "invalid_request")


def test_wrong_secrets_and_clients(entra, app):
    refused(entra.by_secret(app, SECRET + "x"), 7000215, "invalid_client", 401)
    refused(entra.by_secret(str(uuid.uuid4()), SECRET), 700016, "unauthorized_client")
    refused(entra.by_secret(app, SECRET, tenant=FOREIGN_TENANT), 90002, "invalid_request")
    refused(entra.token(grant_type="client_credentials", client_id=app, scope=ARM), 7000218, "invalid_client", 401)
    entra.register(app, secrets=[{"value": SECRET, "expires": "2020-01-01T00:00:00Z"},
                                 {"value": "still good", "expires": "2099-01-01T00:00:00Z"}])
    refused(entra.by_secret(app, SECRET), 7000222, "invalid_client", 401)
    given(entra.by_secret(app, "still good"))


def test_an_application_of_another_tenant(entra):
    """A tenant is there because an application is; others are not found in it."""
    app = entra.register(tenantId=FOREIGN_TENANT, secrets=[SECRET])
    other = entra.register(secrets=[SECRET])
    token = given(entra.by_secret(app, SECRET, tenant=FOREIGN_TENANT))["access_token"]
    assert read_jwt(token)[1]["tid"] == FOREIGN_TENANT
    refused(entra.by_secret(app, SECRET), 700016, "unauthorized_client")
    refused(entra.by_secret(other, SECRET, tenant=FOREIGN_TENANT), 700016, "unauthorized_client")


@pytest.mark.parametrize("missing", ["grant_type", "client_id", "scope"])
def test_a_missing_parameter_is_named(entra, app, missing):
    form = {"grant_type": "client_credentials", "client_id": app, "client_secret": SECRET, "scope": ARM}
    del form[missing]
    response = entra.token(**form)
    refused(response, 900144, "invalid_request")
    assert f"'{missing}'" in response.json()["error_description"]


def test_other_mistakes_in_the_form(served, entra, app):
    refused(entra.token(grant_type="password", client_id=app), 70003, "unsupported_grant_type")
    path, kind = entra.path("oauth2/v2.0/token"), "application/x-www-form-urlencoded"
    for headers, body in (({"Content-Type": "application/json"}, b"{}"), ({}, b"client_id=x"),
                          ({"Content-Type": kind}, b"a=%zz"), ({"Content-Type": kind}, b"a=b\0c"),
                          ({"Content-Type": kind}, b"a=" + b"b" * 70000),
                          ({"Content-Type": kind}, b"&".join(b"p%d=1" % n for n in range(100)))):
        refused(served.exchange("POST", path, body, headers), 900561, "invalid_request")
    assert served.exchange("GET", path).status in (401, 405)


# ---- scopes ----


@pytest.mark.parametrize("scope, audience", [
    (ARM, "https://management.azure.com"), ("https://management.azure.com//.default", "https://management.azure.com"),
    ("https://management.core.windows.net/.default", "https://management.azure.com"),
    ("https://MANAGEMENT.azure.com/.default", "https://management.azure.com"),
    ("https://management.usgovcloudapi.net/.default", "https://management.azure.com"),
    (STORAGE, "https://storage.azure.com"), ("https://storage.azure.com//.default", "https://storage.azure.com"),
    (ML, "https://ml.azure.com")])
def test_scopes_name_what_they_are_for(entra, app, scope, audience):
    token = given(entra.by_secret(app, SECRET, scope=scope))["access_token"]
    assert read_jwt(token)[1]["aud"] == audience


def test_the_services_own_address_is_arm(served, entra, app):
    """Clients that are given another endpoint ask for a token for that."""
    token = given(entra.by_secret(app, SECRET, scope=f"{served.url}/.default"))["access_token"]
    assert opens(served, token) == 200


@pytest.mark.parametrize("scope, number, error", [
    ("https://management.azure.com/user_impersonation", 1002012, "invalid_scope"),
    ("https://graph.microsoft.com/.default", 500011, "invalid_resource"),
    (f"{ARM} {STORAGE}", 28000, "invalid_scope"), ("openid profile", 70011, "invalid_scope"),
    ("nonsense", 70011, "invalid_scope"), (" ", 70011, "invalid_scope"), ("/", 70011, "invalid_scope")])
def test_scopes_that_are_none(entra, app, scope, number, error):
    refused(entra.by_secret(app, SECRET, scope=scope), number, error)


def test_a_token_is_for_one_thing(served, entra, app):
    arm, storage, ml = (given(entra.by_secret(app, SECRET, scope=scope))["access_token"]
                        for scope in (ARM, STORAGE, ML))
    wrong = served.get(served.workspace_path(), token=storage)
    assert (wrong.status, wrong.code) == (401, "InvalidAuthenticationTokenAudience")
    assert opens(served, ml) == 401
    assert [opens(served, token, "/discovery") for token in (arm, storage, ml)] == [200, 401, 200]
    container = f"/mlenvfslocal/{served.datastore()['containerName']}?restype=container&comp=list"
    answers = [served.exchange("GET", container, None, {"Authorization": f"Bearer {token}"})
               for token in (arm, storage, ml)]
    assert [answer.status for answer in answers] == [401, 200, 401]
    assert answers[0].code == "InvalidAuthenticationInfo" and b"Audience" in answers[0].body
    assert f"authorization_uri={served.url}/{TENANT}" in answers[0].headers["WWW-Authenticate"]
    for token in (arm, storage, ml):
        assert served.get("/__mlenvfs/counters", token=token).status == 401


def test_v1_takes_a_resource(served, entra, app):
    form = {"grant_type": "client_credentials", "client_id": app, "client_secret": SECRET,
            "resource": "https://management.core.windows.net/"}
    answer = given(entra.post(entra.path("oauth2/token"), form))
    assert (answer["expires_in"], answer["resource"]) == ("3599", "https://management.azure.com")
    assert abs(int(answer["expires_on"]) - time.time() - 3599) < 60 and int(answer["not_before"]) <= time.time() + 60
    assert opens(served, answer["access_token"]) == 200
    refused(entra.post(entra.path("oauth2/token"), {**form, "resource": "https://graph.windows.net"}), 500011,
            "invalid_resource")


# ---- tokens ----


def test_a_token_ends(served, entra, app):
    entra.settings(tokenSeconds=1)
    token = given(entra.by_secret(app, SECRET))["access_token"]
    blob = given(entra.by_secret(app, SECRET, scope=STORAGE))["access_token"]
    wait_until(lambda: opens(served, token) == 401, 30, "the token's end")
    response = served.get(served.workspace_path(), token=token)
    assert response.code == "ExpiredAuthenticationToken"
    assert 'error="invalid_token"' in response.headers["WWW-Authenticate"]
    container = f"/mlenvfslocal/{served.datastore()['containerName']}?restype=container&comp=list"
    headers = {"Authorization": f"Bearer {blob}"}
    wait_until(lambda: served.exchange("GET", container, None, headers).status == 401, 30, "the other's end")
    assert b"expired" in served.exchange("GET", container, None, headers).body


def test_a_token_is_not_to_be_made_up(served, entra, app, keys):
    token = given(entra.by_secret(app, SECRET))["access_token"]
    header, claims, signature = token.split(".")
    parts = read_jwt(token)
    longer = base64url(json.dumps({**parts[1], "exp": parts[1]["exp"] + 9999}).encode())
    none = base64url(json.dumps({**parts[0], "alg": "none"}).encode())
    flipped = ("B" if signature[0] == "A" else "A") + signature[1:]
    forged = keys[1].sign(parts[1], header={"kid": parts[0]["kid"]})
    for wrong in (f"{header}.{longer}.{signature}", f"{header}.{claims}.{flipped}", f"{none}.{claims}.", forged,
                  f"{none}.{claims}.{signature}", f"{header}.{claims}", token + ".x", "x", "a.b.c", "..", "é",
                  "x" * 40000):
        assert opens(served, wrong.encode().decode("latin-1")) in (401, 431), wrong[:80]
    assert opens(served, token) == 200


def test_an_id_token_opens_nothing(served, entra):
    assert opens(served, entra.sign_in()["id_token"]) == 401


def test_the_keys_are_published(served, entra, app, tmp_path):
    """Who knows nothing but the discovery document can check a token."""
    token = given(entra.by_secret(app, SECRET))["access_token"]
    found = served.exchange("GET", entra.path("v2.0/.well-known/openid-configuration")).json()
    key, = served.exchange("GET", found["jwks_uri"][len(served.url):]).json()["keys"]
    assert key["kid"] == read_jwt(token)[0]["kid"] and (key["kty"], key["use"]) == ("RSA", "sig")
    n, e = (int.from_bytes(from_base64url(key[name]), "big") for name in "ne")
    (tmp_path / "key.cnf").write_text("asn1=SEQUENCE:info\n[info]\nalgorithm=SEQUENCE:rsa\n"
                                      "key=BITWRAP,SEQUENCE:key\n[rsa]\nid=OID:rsaEncryption\nparameter=NULL\n"
                                      f"[key]\nn=INTEGER:{n}\ne=INTEGER:{e}\n")
    subprocess.run(["openssl", "asn1parse", "-genconf", tmp_path / "key.cnf", "-out", tmp_path / "key.der", "-noout"],
                   check=True, capture_output=True, timeout=60)
    text, _, signature = token.rpartition(".")
    (tmp_path / "signature").write_bytes(from_base64url(signature))
    subprocess.run(["openssl", "dgst", "-sha256", "-verify", tmp_path / "key.der", "-keyform", "DER", "-signature",
                    tmp_path / "signature"], input=text.encode(), check=True, capture_output=True, timeout=60)


def test_revoked_tokens(served, entra, app):
    token = given(entra.by_secret(app, SECRET))["access_token"]
    entra.revoke(kind="access")
    assert opens(served, token) == 401
    token = given(entra.by_secret(app, SECRET))["access_token"]
    assert opens(served, token) == 200
    entra.revoke(kind="access", claims="true")
    challenge = served.get(served.workspace_path(), token=token).headers["WWW-Authenticate"]
    assert 'error="insufficient_claims"' in challenge
    claims = json.loads(from_base64url(re.search(r'claims="([^"]+)"', challenge).group(1)))
    assert claims["access_token"]["nbf"]["essential"] is True
    token = given(entra.by_secret(app, SECRET, claims=json.dumps(claims)))["access_token"]
    assert opens(served, token) == 200


def test_tokens_and_applications_end_with_the_service(binary):
    with Service(binary, tls=True) as service:
        entra = Entra(service)
        app = entra.register(secrets=[SECRET])
        token = given(entra.by_secret(app, SECRET))["access_token"]
        service.restart()
        assert opens(service, token) == 401
        refused(entra.by_secret(app, SECRET), 700016, "unauthorized_client")


def test_numbers_may_be_texts(entra, app):
    """Both are seen in the wild."""
    entra.settings(textNumbers=True, refreshInSeconds=1800)
    answer = given(entra.by_secret(app, SECRET))
    assert (answer["expires_in"], answer["refresh_in"]) == ("3599", "1800")


# ---- a certificate ----


@pytest.mark.parametrize("algorithm", ["RS256", "PS256"])
def test_a_certificate_gives_a_token(served, entra, app, keys, algorithm):
    answer = given(entra.by_assertion(app, keys[0].sign(entra.claims(app), algorithm)))
    assert read_jwt(answer["access_token"])[1]["appidacr"] == "2"
    assert opens(served, answer["access_token"]) == 200


def test_thumbprints_of_old_clients(entra, app, keys):
    """They leave the padding on."""
    padded = {"x5t": keys[0].thumbprints()["RS256"]["x5t"] + "="}
    given(entra.by_assertion(app, keys[0].sign(entra.claims(app), header=padded)))


def test_the_issuer_is_an_audience_too(served, entra, app, keys):
    claims = entra.claims(app, aud=f"{served.url}/{TENANT}/v2.0")
    given(entra.by_assertion(app, keys[0].sign(claims)))


def test_an_assertion_can_be_used_again_unless_told_otherwise(entra, app, keys):
    assertion = keys[0].sign(entra.claims(app))
    given(entra.by_assertion(app, assertion))
    given(entra.by_assertion(app, assertion))
    entra.settings(assertionsOnce=True)
    given(entra.by_assertion(app, assertion))
    refused(entra.by_assertion(app, assertion), 50013, "invalid_client", 401)
    given(entra.by_assertion(app, keys[0].sign(entra.claims(app))))


# Times are from now on: tests run long after they were collected.
ASSERTIONS = {
    "ended": ({"exp": -400}, 700024, "invalid_client", 401),
    "without an end": ({"exp": None}, 700024, "invalid_client", 401),
    "of the future": ({"nbf": 1000, "exp": 2000}, 700024, "invalid_client", 401),
    "for another endpoint": ({"aud": "https://login.microsoftonline.com/x/oauth2/v2.0/token"}, 700023,
                             "invalid_client", 401),
    "for nobody": ({"aud": None}, 700023, "invalid_client", 401),
    "of another subject": ({"sub": "somebody"}, 700021, "invalid_client", 401),
    "of another issuer": ({"iss": "somebody"}, 70021, "invalid_request", 400),
    "without an id": ({"jti": None}, 50027, "invalid_request", 400),
    "with an id that is no text": ({"jti": 7}, 50027, "invalid_request", 400),
}


@pytest.mark.parametrize("name", sorted(ASSERTIONS))
def test_assertions_that_are_refused(entra, app, keys, name):
    changed, number, error, status = ASSERTIONS[name]
    now = int(time.time())
    changed = {claim: now + value if claim in ("nbf", "exp") and value is not None else value
               for claim, value in changed.items()}
    refused(entra.by_assertion(app, keys[0].sign(entra.claims(app, **changed))), number, error, status)


def test_signatures_that_are_refused(entra, app, keys):
    own, stranger = keys
    claims = entra.claims(app)
    good = own.sign(claims)
    parts = good.split(".")
    for wrong in (stranger.sign(claims), stranger.sign(claims, header=own.thumbprints()["RS256"]),
                  own.sign(claims, header={}), own.sign(claims, header=stranger.thumbprints()["RS256"]),
                  own.sign(claims, header={**own.thumbprints()["RS256"], "alg": "PS256"}),
                  own.sign(claims, header={**own.thumbprints()["RS256"], "alg": "HS256"}),
                  own.sign(claims, header={**own.thumbprints()["RS256"], "alg": "none"}),
                  f"{parts[0]}.{base64url(json.dumps({**claims, 'x': 1}).encode())}.{parts[2]}"):
        refused(entra.by_assertion(app, wrong), 700027, "invalid_client", 401)
    for malformed in ("x", "a.b.c", "..", f"{parts[0]}.{parts[1]}.", f"{parts[0]}.{parts[1]}.*", good + "." + good,
                      "." + good, f"{base64url(b'[1]')}.{parts[1]}.{parts[2]}", "x" * 50000):
        refused(entra.by_assertion(app, malformed), 50027, "invalid_request")
    refused(entra.by_assertion(app, good, client_assertion_type="other"), 900144, "invalid_request")


def test_a_clock_that_is_off(served, entra, app, keys):
    """Azure's clock is an hour ahead: it refuses the assertion, and its Date tells why."""
    entra.settings(clockSkewSeconds=3600)
    response = entra.by_assertion(app, keys[0].sign(entra.claims(app)))
    refused(response, 700024, "invalid_client", 401)
    dates = response.headers.get_all("Date")
    assert len(dates) == 1 and abs(parsedate_to_datetime(dates[0]).timestamp() - time.time() - 3600) < 60
    later = entra.claims(app, nbf=int(time.time()) + 3600, exp=int(time.time()) + 4200)
    token = given(entra.by_assertion(app, keys[0].sign(later)))["access_token"]
    assert opens(served, token) == 200
    entra.settings(clockSkewSeconds=0, tokenSeconds=1800)
    short = given(entra.by_secret(app, SECRET))["access_token"]
    entra.settings(clockSkewSeconds=3600)
    assert opens(served, short) == 401


# ---- workload identity ----


def test_a_federated_identity(served, entra, keys):
    provider, stranger = keys
    who = {"issuer": "https://oidc.example/cluster", "subject": "system:serviceaccount:ns:name"}
    app = entra.register(federatedCredentials=[{**who, "publicKey": provider.public.read_text()}])
    now = int(time.time())
    claims = {"iss": who["issuer"], "sub": who["subject"], "aud": ["other", "api://AzureADTokenExchange"],
              "iat": now, "nbf": now, "exp": now + 3600}
    token = given(entra.by_assertion(app, provider.sign(claims, header={"kid": "1"})))["access_token"]
    assert opens(served, token) == 200
    for changed in ({"sub": "another"}, {"iss": "https://other.example"}, {"aud": "api://Other"}, {"aud": []}):
        wrong = provider.sign({**claims, **changed}, header={})
        refused(entra.by_assertion(app, wrong), 70021, "invalid_request")
    refused(entra.by_assertion(app, stranger.sign(claims, header={})), 700027, "invalid_client", 401)
    refused(entra.by_assertion(app, provider.sign({**claims, "exp": now - 400}, header={})), 700024, "invalid_client",
            401)


# ---- a person, by device code ----


def test_a_person_signs_in(served, entra):
    entra.settings(deviceIntervalSeconds=0)
    first = given(entra.device_code())
    assert first["verification_uri"] == f"{served.url}/devicelogin"
    assert (first["expires_in"], first["interval"]) == (900, 0)
    assert first["user_code"] in first["message"] and len(first["device_code"]) > 40
    page = served.exchange("GET", "/devicelogin")
    assert page.status == 200 and b"/__mlenvfs/entra/devicecodes/" in page.body
    for _ in range(2):
        refused(entra.poll(first["device_code"]), 70016, "authorization_pending")
    assert entra.answer(first["user_code"].lower(), user="ann@example.com").status == 204
    answer = given(entra.poll(first["device_code"], client_info="1"))
    claims = read_jwt(answer["access_token"])[1]
    assert (claims["unique_name"], claims["scp"], claims["idtyp"]) == ("ann@example.com", "user_impersonation", "user")
    assert "https://management.azure.com/.default" in answer["scope"].split()
    identity = read_jwt(answer["id_token"])[1]
    assert (identity["aud"], identity["preferred_username"]) == (CLI, "ann@example.com")
    info = json.loads(from_base64url(answer["client_info"]))
    assert info == {"uid": claims["oid"], "utid": TENANT}
    assert opens(served, answer["access_token"]) == 200
    refused(entra.poll(first["device_code"]), 70018, "bad_verification_code")
    assert entra.answer(first["user_code"]).status == 404


@pytest.mark.parametrize("tenant", [TENANT, "organizations", "common"])
def test_people_of_any_tenant(entra, tenant):
    first = given(entra.device_code(tenant=tenant))
    entra.answer(first["user_code"])
    assert read_jwt(given(entra.poll(first["device_code"], tenant=tenant))["access_token"])[1]["tid"] == TENANT


def test_a_person_says_no(entra):
    first = given(entra.device_code())
    entra.answer(first["user_code"], approve=False)
    refused(entra.poll(first["device_code"]), 65004, "authorization_declined")


def test_a_code_ends(entra):
    entra.settings(deviceSeconds=1)
    first = given(entra.device_code())
    wait_until(lambda: entra.poll(first["device_code"]).json()["error"] == "expired_token", 30, "the code's end")
    refused(entra.poll(first["device_code"]), 70019, "expired_token")
    assert entra.answer(first["user_code"]).status == 404


def test_polls_that_come_too_fast(entra):
    entra.settings(deviceIntervalSeconds=120)
    first = given(entra.device_code())
    assert first["interval"] == 120
    refused(entra.poll(first["device_code"]), 70016, "authorization_pending")
    refused(entra.poll(first["device_code"]), 70016, "slow_down")


def test_codes_that_are_none(entra, app):
    first = given(entra.device_code())
    refused(entra.poll("made-up"), 70018, "bad_verification_code")
    public = entra.register(publicClient=True)
    refused(entra.poll(first["device_code"], app=public), 70018, "bad_verification_code")
    refused(entra.device_code(app=app), 7000218, "invalid_client", 401)
    refused(entra.device_code(app=str(uuid.uuid4())), 700016, "unauthorized_client")
    refused(entra.device_code(scope="openid"), 70011, "invalid_scope")
    given(entra.device_code(app=public))


def test_without_offline_access_nothing_is_left_behind(entra):
    assert entra.sign_in(scope=ARM).keys() == {"token_type", "scope", "expires_in", "ext_expires_in", "access_token"}


# ---- refresh tokens ----


def test_a_refresh_token_is_good_for_every_resource(served, entra):
    answer = entra.sign_in(user="bob@example.com")
    arm = given(entra.refresh(answer["refresh_token"]))
    storage = given(entra.refresh(arm["refresh_token"], scope=STORAGE))
    assert opens(served, arm["access_token"]) == 200
    claims = read_jwt(storage["access_token"])[1]
    assert (claims["aud"], claims["unique_name"]) == ("https://storage.azure.com", "bob@example.com")
    assert arm["refresh_token"] not in (answer["refresh_token"], storage["refresh_token"])
    given(entra.refresh(answer["refresh_token"]))


def test_a_refresh_token_of_one_use(entra):
    entra.settings(rotateRefreshTokens=True)
    answer = entra.sign_in()
    second = given(entra.refresh(answer["refresh_token"]))
    refused(entra.refresh(answer["refresh_token"]), 50173, "invalid_grant")
    given(entra.refresh(second["refresh_token"]))


def test_refresh_tokens_that_are_refused(entra):
    token = entra.sign_in()["refresh_token"]
    refused(entra.refresh("made-up"), 70000, "invalid_grant")
    refused(entra.refresh(token, app=entra.register(publicClient=True)), 70000, "invalid_grant")
    entra.register(tenantId=FOREIGN_TENANT, secrets=[SECRET])
    refused(entra.refresh(token, tenant=FOREIGN_TENANT), 70000, "invalid_grant")
    given(entra.refresh(token, tenant="organizations"))
    entra.settings(clockSkewSeconds=91 * 86400)
    refused(entra.refresh(token), 700082, "invalid_grant")
    entra.settings(clockSkewSeconds=0)
    entra.revoke(kind="refresh")
    refused(entra.refresh(token), 50173, "invalid_grant")


def test_an_access_token_is_no_refresh_token(entra):
    refused(entra.refresh(entra.sign_in()["access_token"]), 70000, "invalid_grant")


# ---- discovery ----


def test_discovery(served, entra):
    found = served.exchange("GET", entra.path("v2.0/.well-known/openid-configuration")).json()
    assert found["issuer"] == f"{served.url}/{TENANT}/v2.0"
    assert found["token_endpoint"] == entra.endpoint
    assert found["device_authorization_endpoint"] == f"{served.url}/{TENANT}/oauth2/v2.0/devicecode"
    instance = served.exchange("GET", "/common/discovery/instance?api-version=1.1&authorization_endpoint="
                               f"{served.url}/{TENANT}/oauth2/v2.0/authorize").json()
    assert instance["tenant_discovery_endpoint"].startswith(served.url)
    assert f"{served.host}:{served.port}" in instance["metadata"][0]["aliases"]
    refused(served.exchange("GET", entra.path("v2.0/.well-known/openid-configuration", tenant=FOREIGN_TENANT + "x")),
            90002, "invalid_request")


def test_what_a_cloud_says_of_itself(served):
    cloud, = served.exchange("GET", "/metadata/endpoints?api-version=2022-09-01").json()
    assert cloud["resourceManager"] == served.url and cloud["authentication"]["loginEndpoint"] == f"{served.url}/"


def test_what_lies_above_workspaces(served, entra, app):
    token = given(entra.by_secret(app, SECRET))["access_token"]

    def ask(path, status=200, **more):
        response = served.get(path, query={"api-version": "2022-12-01"}, token=token, **more)
        assert response.status == status, response
        return response.json()

    one, = ask("/subscriptions")["value"]
    assert (one["subscriptionId"], one["tenantId"], one["state"]) == (TENANT, TENANT, "Enabled")
    assert ask(f"/subscriptions/{TENANT}") == one
    assert ask(f"/subscriptions/{uuid.uuid4()}", 404)["error"]["code"] == "SubscriptionNotFound"
    assert [tenant["tenantId"] for tenant in ask("/tenants")["value"]] == [TENANT]
    assert [group["name"] for group in ask(f"/subscriptions/{TENANT}/resourcegroups")["value"]] == ["local"]
    assert ask(f"/subscriptions/{TENANT}/resourceGroups/LOCAL")["name"] == "local"
    assert ask(f"/subscriptions/{TENANT}/resourceGroups/none", 404)["error"]["code"] == "ResourceGroupNotFound"


def test_only_what_comes_before_a_sign_in_is_open(served):
    """No path that looks like one of Entra's opens another."""
    for path in ("/subscriptions", "/tenants", "/subscriptions/oauth2/v2.0/token", "/subscriptions/x/resourceGroups",
                 "/x/oauth2/v2.0/authorize", "/x/discovery/other", "/__mlenvfs/entra/settings",
                 "/__mlenvfs/oauth2/v2.0/authorize", "/discovery", "/metadata/identity/oauth2/token", "/%2e%2e/x"):
        for method in ("GET", "PUT", "DELETE"):
            response = served.exchange(method, path + "?api-version=2022-12-01", b"" if method == "PUT" else None)
            assert response.status == 401, (method, path, response)


# ---- the file of --entra ----


def test_applications_from_a_file(binary, tmp_path, keys):
    app = str(uuid.uuid4())
    path = tmp_path / "apps.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps({"settings": {"tokenSeconds": 60}, "apps": [
        {"clientId": app, "secrets": [SECRET], "certificates": [keys[0].cert.read_text()]}]}))
    with Service(binary, "--entra", path, tls=True) as service:
        entra = Entra(service)
        assert given(entra.by_secret(app, SECRET))["expires_in"] == 60
        given(entra.by_assertion(app, keys[0].sign(entra.claims(app))))
        service.restart()
        given(entra.by_secret(app, SECRET))


@pytest.mark.parametrize("content, words", [
    ("{", "JSON"), ("[]", "object"), ({"app": []}, "'app'"), ({"apps": {}}, "list"), ({"apps": [{}]}, "client id"),
    ({"apps": [{"clientId": "a/b"}]}, "client id"), ({"apps": [{"clientId": "a", "secret": "x"}]}, "'secret'"),
    ({"apps": [{"clientId": "a", "secrets": ["short"]}]}, "8 characters"),
    ({"apps": [{"clientId": "a", "secrets": ["long enough"] * 9}]}, "at most 8"),
    ({"apps": [{"clientId": "a", "secrets": [{"value": "long enough", "expires": "soon"}]}]}, "'soon'"),
    ({"apps": [{"clientId": "a", "certificates": ["x"]}]}, "certificate"),
    ({"apps": [{"clientId": "a", "federatedCredentials": [{"issuer": "a"}]}]}, "'subject'"),
    ({"settings": {"tokenSeconds": 0}}, "'tokenSeconds'"), ({"settings": {"textNumbers": 1}}, "'textNumbers'"),
    ({"settings": {"x": 1}}, "'x'"),
])
def test_files_that_are_wrong(sandbox, tmp_path, content, words):
    path = tmp_path / "apps.json"
    path.touch(mode=0o600)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    done = sandbox.cli("serve", "--listen", "0", "--store", tmp_path / "store", "--entra", path, check=False)
    assert done.returncode == 1 and str(path) in done.stderr and words in done.stderr, done.stderr


def test_a_file_that_others_can_read(sandbox, tmp_path):
    path = tmp_path / "apps.json"
    path.write_text("{}")
    path.chmod(0o644)
    done = sandbox.cli("serve", "--listen", "0", "--store", tmp_path / "store", "--entra", path, check=False)
    assert done.returncode == 1 and "others may read" in done.stderr


def test_control_says_what_is_wrong(served):
    for path, body in (("apps/a%2Fb", {}), ("apps/" + "x" * 100, {}), ("apps/a", {"secrets": "x"}),
                       ("settings", {"tokenSeconds": "x"})):
        assert served.request("PUT", f"/__mlenvfs/entra/{path}", body).status == 400
    assert served.request("POST", "/__mlenvfs/entra/devicecodes/NONE", {}).status == 400
    assert served.request("POST", "/__mlenvfs/entra/devicecodes/NONE", {"approve": True}).status == 404
    assert served.request("DELETE", "/__mlenvfs/entra/apps/none").status == 204


def test_an_application_that_is_gone(entra, app):
    entra.service.request("DELETE", f"/__mlenvfs/entra/apps/{app}", expect=200)
    refused(entra.by_secret(app, SECRET), 700016, "unauthorized_client")


# ---- faults ----


def test_faults_of_the_token_endpoint(served, entra, app):
    served.set_faults({"path": "*/oauth2/v2.0/token", "status": 429, "retry_after": 7, "times": 1},
                      {"path": "*/oauth2/v2.0/token", "status": 503, "times": 1},
                      {"path": "*/oauth2/v2.0/token", "status": 400, "times": 1,
                       "body": json.dumps({"error": "interaction_required"})})
    try:
        throttled = entra.by_secret(app, SECRET)
        assert (throttled.status, throttled.headers["Retry-After"]) == (429, "7")
        assert throttled.json()["error"] == "temporarily_unavailable"
        assert entra.by_secret(app, SECRET).json()["error"] == "temporarily_unavailable"
        assert entra.by_secret(app, SECRET).json() == {"error": "interaction_required"}
        given(entra.by_secret(app, SECRET))
    finally:
        served.set_faults()


# ---- the whole way: a mount with a token of Entra's ----


def test_a_mount_with_such_a_token(served, entra, app, make_mount):
    served.put_version("signed-in", "1")
    token = given(entra.by_secret(app, SECRET))["access_token"]
    mount = make_mount(service=served, env={"AZURE_ACCESS_TOKEN": token})
    mount.env["AZURE_ACCESS_TOKEN"] = token
    assert "busybox" in (mount.local / "signed-in/1/spec.yml").read_text()


def test_no_secret_is_ever_said(served, entra, app, keys):
    """Not in the log, not in the process list."""
    assertion = keys[0].sign(entra.claims(app))
    token = given(entra.by_assertion(app, assertion))["access_token"]
    refresh = entra.sign_in()["refresh_token"]
    refused(entra.by_secret(app, "wrong-" + SECRET), 7000215, "invalid_client", 401)
    with open(f"/proc/{served.pid}/cmdline", "rb") as words:
        seen = words.read().decode() + served.log()
    for secret in (SECRET, assertion, token, refresh, served.token):
        assert secret not in seen
