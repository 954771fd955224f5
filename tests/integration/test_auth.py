"""Signing in to Azure in every way, against stand-ins: what is asked, what is kept, what refusals come to."""
import concurrent.futures
import errno
import json
import os
import resource
import signal
import stat
import subprocess
import time
from pathlib import Path

import pytest

from lib.mount import MountError, wait_until
from lib.service import SUBSCRIPTION
from lib.signin import Arc, AppService, Authority, Entra, Imds, install_az, refusal

SOURCE = f"azureml://subscriptions/{SUBSCRIPTION}"
SHORT = 0.001  # seconds that a token lives: the next request needs another one
PASSWORD = "pa55-of-the-certificate"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def application(authority):
    return authority.application(PASSWORD)


@pytest.fixture
def entra(authority, service, application):
    with Entra(authority, service.token, application[2]) as running:
        yield running


@pytest.fixture
def azure(make_mount, service, authority):
    """Mounts the service as a subscription of Azure would be: with a way to sign in, and no token."""
    def make(env, options=None, **more):
        options = {"arm_endpoint": service.url, "cafile": authority.ca, "log_level": "debug", "timeout": 10,
                   **(options or {})}
        return make_mount(source=SOURCE, options=options, env=env, **more)

    return make


@pytest.fixture
def doctor(sandbox, service, authority):
    """`mlenvfs doctor` of the service, as a subscription of Azure, with these variables and options."""
    def run(env, options=(), source=SOURCE, **more):
        sandbox.env.update(env)
        words = [f"arm_endpoint={service.url}", f"cafile={authority.ca}", "timeout=10", *options]
        return sandbox.cli("doctor", "-o", ",".join(words), source, check=False, **more)

    return run


def signed_in_by(done):
    assert done.returncode == 0, done.stdout + done.stderr
    line = next(line for line in done.stdout.splitlines() if line.split()[:2] == ["ok", "token"])
    return line.rpartition(" by ")[2]


def with_secret(entra, **more):
    return entra.env(AZURE_CLIENT_SECRET=entra.secret, **more)


def error_of(path):
    with pytest.raises(OSError) as caught:
        os.listdir(path)
    return errno.errorcode[caught.value.errno]


def error_or_none(path):
    try:
        os.listdir(path)
    except OSError as error:
        return errno.errorcode[error.errno]
    return None


def why_not(azure, env, options=None):
    """A mount says at its start why it is none."""
    with pytest.raises(MountError) as caught:
        azure(env, options)
    return str(caught.value)


# ---- applications ----


def test_client_secret(azure, entra):
    mount = azure(with_secret(entra))
    assert "local" in os.listdir(mount.path)
    assert [r.form["grant_type"] for r in entra.tokens()] == ["client_credentials"]
    assert "signed in by environment" in mount.log()


@pytest.mark.parametrize("kind", ["pem", "pfx"])
def test_certificate(doctor, entra, application, kind):
    env = {"AZURE_CLIENT_CERTIFICATE_PATH": str(application[kind == "pfx"])}
    if kind == "pfx":
        env["AZURE_CLIENT_CERTIFICATE_PASSWORD"] = PASSWORD
    assert signed_in_by(doctor(entra.env(**env))) == "environment"
    assert entra.assertions


def test_certificate_of_somebody_else(doctor, entra, application, authority):
    entra.certificate = authority.dir / "cert"
    done = doctor(entra.env(AZURE_CLIENT_CERTIFICATE_PATH=str(application[0])))
    assert done.returncode == 1
    assert "the certificate's signature is not accepted" in done.stdout


def test_workload_identity_reads_its_file_each_time(azure, entra, tmp_path):
    file = tmp_path / "federated"
    file.write_text(entra.federated)
    entra.expires_in = SHORT
    mount = azure(entra.env(AZURE_FEDERATED_TOKEN_FILE=str(file)))
    entra.federated = "fed.the-next-one"
    file.write_text("fed.the-next-one\n")
    os.listdir(mount.path / "local")
    assert entra.assertions[-1] == "fed.the-next-one"


# ---- managed identities ----


def test_imds(azure, service):
    with Imds(service.token) as imds:
        imds.busy = 1
        mount = azure(imds.env())
        assert "local" in os.listdir(mount.path)
        assert "signed in by managed-identity" in mount.log()
        assert imds.requests[0].headers.get("Metadata") is None, "it is looked for first"


def test_imds_of_a_user_assigned_identity(doctor, service):
    with Imds(service.token, client_id="an-identity") as imds:
        assert signed_in_by(doctor({**imds.env(), "AZURE_CLIENT_ID": "an-identity"})) == "managed-identity"
        done = doctor({**imds.env(), "AZURE_CLIENT_ID": "another"})
    assert done.returncode == 1 and "no managed identity with the client id" in done.stdout


def test_imds_whose_clock_is_years_off(azure, service):
    """A token that seems long dead, or immortal, by our clock is good for an hour by the one of who gave it."""
    with Imds(service.token, now=784887151) as imds:
        imds.date = "Tue, 15 Nov 1994 08:12:31 GMT"
        mount = azure(imds.env(), {"refresh": 0})
        for _ in range(3):
            os.listdir(mount.path)
        assert len([r for r in imds.requests if r.headers.get("Metadata")]) == 1


def test_app_service(doctor, service):
    with AppService(service.token) as app:
        assert signed_in_by(doctor(app.env())) == "managed-identity"
        done = doctor({**app.env(), "IDENTITY_HEADER": "an0ther"})
    assert done.returncode == 1 and "The header is wrong" in done.stdout


def test_arc_s_agent_gets_its_own_files_only(doctor, tmp_path):
    (tmp_path / "x.key").write_text("k3y-of-somebody")
    for file in ("/etc/passwd", tmp_path / "x.key", "/var/opt/azcmagent/tokens/../../../../etc/x.key"):
        with Arc(file) as arc:
            done = doctor(arc.env())
            assert done.returncode == 1 and "not the agent's" in done.stdout
            assert len(arc.requests) == 1 and "k3y-of-somebody" not in done.stdout


# ---- the Azure CLI, and which way is taken ----


@pytest.fixture
def az(service, tmp_path):
    """An `az` that knows the subscription, and the variables that lead to it; .calls() is what it was asked."""
    class Az:
        folder = install_az(tmp_path, service.token)
        env = {"PATH": f"{folder}:{os.environ['PATH']}", "AZURE_CONFIG_DIR": str(tmp_path / "azure")}

        def calls(self):
            return (self.folder / "calls").read_text().splitlines()

    (tmp_path / "azure").mkdir()
    (tmp_path / "azure/azureProfile.json").write_text("\ufeff" + json.dumps({"subscriptions": [{"id": SUBSCRIPTION}]}))
    return Az()


@pytest.fixture
def assets(tmp_path):
    """Something to import."""
    version = tmp_path / "assets/imported/1"
    version.mkdir(parents=True)
    (version / "spec.yml").write_text("image: registry.example/a:1\n")
    return version.parent.parent


def test_azure_cli(azure, az):
    mount = azure(az.env, {"credential": "azure-cli"})
    assert "local" in os.listdir(mount.path)
    # It is the tenant of this subscription that is asked, whatever az's own default is.
    assert az.calls() == [
        f"account get-access-token --output json --resource https://management.azure.com --subscription {SUBSCRIPTION}"]


def test_import_asks_az_as_the_mount_does(azure, az, assets):
    mount = azure(az.env, {"credential": "azure-cli"})
    mount.cli("import", mount.path, assets)
    calls = az.calls()
    assert len(calls) > 1 and all(call.endswith(f" --subscription {SUBSCRIPTION}") for call in calls)


@pytest.mark.parametrize("source", ["embedded", "none"])
def test_import_into_the_embedded_service_asks_nobody(make_mount, entra, assets, source):
    mount = make_mount(source=source, env=with_secret(entra))
    mount.cli("import", mount.path, assets)
    assert not entra.requests


def test_the_order(doctor, entra, sandbox, service, tmp_path):
    folder = install_az(tmp_path, service.token)
    with Imds(service.token, client_id=entra.env()["AZURE_CLIENT_ID"]) as imds:
        env = {**with_secret(entra), **imds.env(), "PATH": f"{folder}:{os.environ['PATH']}",
               "AZURE_ACCESS_TOKEN": service.token}
        assert signed_in_by(doctor(env)) == "AZURE_ACCESS_TOKEN"
        for variable, way in (("AZURE_ACCESS_TOKEN", "environment"), ("AZURE_CLIENT_SECRET", "managed-identity")):
            del sandbox.env[variable]
            assert signed_in_by(doctor({})) == way
        assert signed_in_by(doctor({}, ["credential=azure-cli"])) == "azure-cli"
        assert signed_in_by(doctor({"AZURE_TOKEN_CREDENTIALS": "dev"})) == "azure-cli"
        assert signed_in_by(doctor({"AZURE_TOKEN_CREDENTIALS": "ManagedIdentityCredential"})) == "managed-identity"


def test_nothing_is_set_up(azure, tmp_path):
    """Every way says why it is none, and the way out is in the same line."""
    with Imds("none") as imds:
        imds.answer = lambda request: (404, {}, {})
        why = why_not(azure, {**imds.env(), "PATH": f"{tmp_path}:/usr/bin:/bin"})
    for word in ("environment: AZURE_TENANT_ID, AZURE_CLIENT_ID not set", "managed-identity: this is no machine",
                 "login: nobody has signed in", "azure-cli: the Azure CLI is not installed", "az login"):
        assert word in why, word


# ---- tokens: one for many, renewed, refused ----


@pytest.mark.races
def test_one_request_for_many_waiters(azure, entra, service):
    for n in range(8):
        service.put_version(f"env-{n}", "1")
    mount = azure(with_secret(entra))
    entra.slow.set()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        looks = [pool.submit(os.listdir, mount.path / "local" / f"env-{n}") for n in range(8)]
        wait_until(entra.tokens, 20, "the request for a token")
        entra.slow.clear()
        for look in looks:
            assert "1" in look.result(20)
    assert len(entra.tokens("management")) == 1


def test_an_expired_token_is_renewed(azure, entra):
    entra.expires_in = SHORT
    mount = azure(with_secret(entra))
    before = len(entra.tokens())
    os.listdir(mount.path / "local")
    assert len(entra.tokens()) > before


def test_a_refused_token_is_replaced_at_once(azure, entra):
    """The service refuses (401) what Entra ID gave: the next one is asked for, and nobody notices."""
    entra.script = [(200, {"access_token": "revoked-t0ken", "expires_in": 3599}, {})]
    mount = azure(with_secret(entra))
    assert "local" in os.listdir(mount.path)
    assert len(entra.tokens()) == 2


def test_a_token_that_is_always_refused_is_replaced_once(azure, entra):
    entra.token = "no-such-t0ken"
    assert "The access token is invalid" in why_not(azure, with_secret(entra))
    assert len(entra.tokens()) == 2


def test_a_refusal_in_words(azure, entra):
    why = why_not(azure, entra.env(AZURE_CLIENT_SECRET="wr0ng-secret"))
    assert "environment: Microsoft Entra ID refuses it (AADSTS7000215, invalid_client): the client secret is wrong" in why
    assert "wr0ng-secret" not in why
    assert len(entra.tokens()) == 1


def test_a_refusal_later_on(azure, entra):
    """The secret is replaced while the mount is up: EACCES, with the reason, and no storm of requests."""
    entra.expires_in = SHORT
    mount = azure(with_secret(entra))
    good, entra.secret = entra.secret, "s3cret~another"
    before = len(entra.tokens())
    for _ in range(20):
        assert error_of(mount.path / "local") == "EACCES"
    assert len(entra.tokens()) - before < 10
    assert "the client secret is wrong" in mount.cli("status", mount.path).stdout
    entra.secret = good
    wait_until(lambda: not error_or_none(mount.path / "local"), 30, "the next try")


@pytest.mark.parametrize("answer, name", [
    ((200, b"<html>a page of a proxy</html>", {}), "EIO"),
    ((200, b"x" * 1_000_000, {}), "EIO"),
    ((302, {}, {"Location": "http://127.0.0.1:9/"}), "EIO"),
    ((403, b"blocked", {}), "EACCES"),
])
def test_malformed_answers(azure, entra, answer, name):
    entra.expires_in = SHORT
    mount = azure(with_secret(entra))
    entra.script = [answer] * 8
    assert error_of(mount.path / "local") == name
    entra.script = []
    if name == "EIO":  # a refusal is believed for some seconds
        wait_until(lambda: not error_or_none(mount.path / "local"), 30, "the next try")


def test_a_slow_endpoint_holds_nobody_longer_than_timeout(azure, entra):
    entra.expires_in = SHORT
    mount = azure(with_secret(entra), {"timeout": 3})
    entra.slow.set()
    start = time.monotonic()
    assert error_of(mount.path / "local") == "ETIMEDOUT"
    assert time.monotonic() - start < 30
    entra.slow.clear()
    wait_until(lambda: not error_or_none(mount.path / "local"), 30, "the next try")


def test_a_busy_endpoint_is_asked_again(azure, entra):
    entra.script = [(503, {}, {}), (429, {}, {"Retry-After": "0"})]
    mount = azure(with_secret(entra))
    assert "local" in os.listdir(mount.path)
    assert len(entra.tokens()) == 3


# ---- where ----


def test_an_authority_without_tls_is_refused(sandbox):
    (sandbox.base / "mnt").mkdir()
    sandbox.env.update(AZURE_AUTHORITY_HOST="http://login.example.com", AZURE_TENANT_ID="t", AZURE_CLIENT_ID="c",
                       AZURE_CLIENT_SECRET="s3cret")
    done = sandbox.cli("mount", SOURCE, sandbox.base / "mnt", check=False)
    assert done.returncode == 1
    assert "AZURE_AUTHORITY_HOST is not https" in done.stderr and "s3cret" not in done.stderr


@pytest.mark.parametrize("variable", ["CURL_CA_BUNDLE", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_private_ca_by_variable(sandbox, service, entra, authority, variable):
    sandbox.env.update({**with_secret(entra), variable: str(authority.ca)})
    done = sandbox.cli("doctor", "-o", f"arm_endpoint={service.url}", SOURCE, check=False)
    assert signed_in_by(done) == "environment"


def test_nobody_is_told_a_secret_who_is_not_trusted(sandbox, service, entra):
    sandbox.env.update(with_secret(entra))
    done = sandbox.cli("doctor", "-o", f"arm_endpoint={service.url},credential=environment,timeout=5", SOURCE,
                       check=False)
    assert done.returncode == 1
    assert "certificate" in done.stdout and "-o cafile=FILE" in done.stdout
    assert not entra.requests


def test_settings_of_azure_s_own_tools(azure, make_mount, service, entra, authority, tmp_path):
    """SOURCE azure: the workspace of .azureml/config.json, found from below its folder."""
    (tmp_path / ".azureml").mkdir()
    (tmp_path / "below").mkdir()
    workspace = service.workspace_path().split("/")
    (tmp_path / ".azureml/config.json").write_text(json.dumps({
        "subscription_id": workspace[2], "resource_group": workspace[4], "workspace_name": workspace[8]}))
    service.make_workspace("other")
    mount = azure(with_secret(entra), start=False)
    mount.source = "azure"
    here = os.getcwd()
    try:
        os.chdir(tmp_path / "below")
        mount.start()
    finally:
        os.chdir(here)
    assert [name for name in os.listdir(mount.path) if name[0] not in ".@"] == ["local"]


@pytest.mark.parametrize("source, words", [
    ("azure", "no subscription is set"),
    (f"azureml://subscriptions/{SUBSCRIPTION}", ""),
])
def test_settings_that_are_missing(doctor, entra, source, words):
    done = doctor({**with_secret(entra), "AZURE_CONFIG_DIR": "/nonexistent"}, source=source)
    assert done.returncode == (1 if words else 0) and words in done.stdout


# ---- mlenvfs login ----


@pytest.fixture
def person(sandbox, entra, authority):
    """Signs in with `mlenvfs login`; gives what it printed."""
    sandbox.env.update(AZURE_AUTHORITY_HOST=entra.url, AZURE_TENANT_ID=entra.env()["AZURE_TENANT_ID"])

    def login(*words, check=True):
        return sandbox.cli("login", "-o", f"cafile={authority.ca}", *words, check=check)

    return login


def login_file(sandbox):
    return sandbox.base / "state/mlenvfs/login.json"


def test_login_and_logout(sandbox, person, entra, doctor):
    entra.pending = 2
    done = person()
    assert "https://microsoft.com/devicelogin" in done.stdout and "ABCD-EFGH" in done.stdout
    assert entra.device_code not in done.stdout + done.stderr
    assert stat.S_IMODE(login_file(sandbox).stat().st_mode) == 0o600
    first = json.loads(login_file(sandbox).read_text())["refresh_token"]
    assert first == entra.refresh
    assert signed_in_by(doctor({"PATH": str(sandbox.base)})) == "login"
    # What came along with the token is newer, and kept.
    assert json.loads(login_file(sandbox).read_text())["refresh_token"] == entra.refresh != first
    assert "Signed out" in sandbox.cli("logout").stdout
    assert not login_file(sandbox).exists()
    assert "Nobody is signed in" in sandbox.cli("logout").stdout
    done = doctor({})
    assert done.returncode == 1 and "nobody has signed in with 'mlenvfs login'" in done.stdout


def test_login_that_is_declined(sandbox, person, entra):
    entra.script = [refusal("authorization_declined", 70000)]
    done = person(check=False)
    assert done.returncode == 1 and "declined" in done.stderr
    assert not login_file(sandbox).exists()


def test_login_that_has_run_out(sandbox, person, entra, doctor):
    person()
    kept = json.loads(login_file(sandbox).read_text())["refresh_token"]
    entra.refresh = "refresh.of-another-day"
    done = doctor({"PATH": str(sandbox.base)})
    assert done.returncode == 1 and "'mlenvfs login' is needed again" in done.stdout
    assert kept not in done.stdout


def test_login_that_others_can_read_is_not_used(sandbox, person, doctor):
    person()
    login_file(sandbox).chmod(0o644)
    done = doctor({"PATH": str(sandbox.base)})
    assert done.returncode == 1 and "others may read" in done.stdout


@pytest.fixture
def keyring(sandbox):
    """The desktop's keyring, unlocked, on a session bus of its own."""
    for program in ("dbus-daemon", "gnome-keyring-daemon", "secret-tool"):
        if not any(os.access(f"{folder}/{program}", os.X_OK) for folder in os.environ["PATH"].split(":")):
            pytest.skip(f"NOT TESTED: {program} is not installed")
    bus = subprocess.Popen(["dbus-daemon", "--session", "--nofork", "--print-address"], env=sandbox.env, text=True,
                           stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    sandbox.env["DBUS_SESSION_BUS_ADDRESS"] = bus.stdout.readline().strip()
    daemon = subprocess.Popen(["gnome-keyring-daemon", "--foreground", "--unlock", "--components=secrets"],
                              env=sandbox.env, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    daemon.stdin.write(b"test")
    daemon.stdin.close()
    yield sandbox.base / "data/keyrings"
    for process in (daemon, bus):
        process.terminate()
        process.wait(20)
    bus.stdout.close()


def in_keyring(sandbox, entra):
    """The refresh token in the keyring; "" when it has none."""
    return subprocess.run(["secret-tool", "lookup", "authority", entra.url], env=sandbox.env, text=True,
                          capture_output=True, check=False).stdout.strip()


def test_login_is_kept_in_the_keyring(sandbox, person, entra, doctor, keyring):
    """libsecret and a real keyring: the file has no secret, mounts find it, logout clears it."""
    wait_until(lambda: keyring.is_dir(), 20, "the keyring")
    assert "kept in the desktop's keyring" in person("--keep", "keyring").stdout
    kept = json.loads(login_file(sandbox).read_text())
    assert kept["kept_in"] == "keyring" and "refresh_token" not in kept
    assert in_keyring(sandbox, entra) == entra.refresh
    assert signed_in_by(doctor({"PATH": str(sandbox.base)})) == "login"
    sandbox.cli("logout")
    assert doctor({}).returncode == 1


def test_a_login_in_the_file_leaves_none_in_the_keyring(sandbox, person, entra, keyring):
    wait_until(lambda: keyring.is_dir(), 20, "the keyring")
    person("--keep", "keyring")
    assert in_keyring(sandbox, entra)
    person("--keep", "file")
    assert json.loads(login_file(sandbox).read_text())["refresh_token"] == entra.refresh
    assert not in_keyring(sandbox, entra)


def test_login_without_a_keyring(sandbox, person):
    """A session bus on which nobody keeps secrets: the file does, unless the keyring was demanded."""
    sandbox.env["DBUS_SESSION_BUS_ADDRESS"] = "unix:path=/nonexistent"
    done = person("--keep", "keyring", check=False)
    assert done.returncode == 1 and "the desktop's keyring" in done.stderr
    assert not login_file(sandbox).exists()
    assert "login.json" in person().stdout


# ---- doctor ----


def test_doctor_finds_everything_in_order(doctor, entra):
    done = doctor(with_secret(entra))
    assert done.returncode == 0, done.stdout
    checked = {line.split()[1] for line in done.stdout.splitlines() if line.startswith("ok")}
    assert {"settings", "tls", "connection", "token", "workspace", "storage", "mount"} <= checked


def test_doctor_on_a_name_that_nobody_knows(sandbox):
    sandbox.env.update(AZURE_AUTHORITY_HOST="https://login.invalid", AZURE_TENANT_ID="t", AZURE_CLIENT_ID="c",
                       AZURE_CLIENT_SECRET="s3cret-value")
    done = sandbox.cli("doctor", "-o", "credential=environment,arm_endpoint=https://arm.invalid,timeout=5", SOURCE,
                       check=False)
    assert done.returncode == 1
    assert "fail  name          login.invalid is not known" in done.stdout
    assert "fail  name          arm.invalid is not known" in done.stdout
    assert "what to do" in done.stdout and "s3cret-value" not in done.stdout


def test_doctor_on_a_server_that_is_not_there(sandbox, service, entra, authority):
    sandbox.env.update(with_secret(entra))
    service.down()
    done = sandbox.cli("doctor", "-o", f"arm_endpoint={service.url},cafile={authority.ca},timeout=5", SOURCE,
                       check=False)
    service.start(service.port)
    assert done.returncode == 1 and "fail  connection" in done.stdout and "a firewall" in done.stdout


def test_doctor_on_a_wrong_workspace(doctor, entra):
    done = doctor(with_secret(entra), source=f"{SOURCE}/resourceGroups/local/workspaces/nonexistent")
    assert done.returncode == 1
    assert "fail  workspace" in done.stdout and "check the names of the workspace" in done.stdout


def test_doctor_on_storage_that_is_closed(doctor, entra, service):
    service.set_faults({"path": "/mlenvfslocal/*", "status": 403})
    done = doctor(with_secret(entra))
    assert done.returncode == 1
    assert "fail  storage" in done.stdout and "Storage Blob Data Reader" in done.stdout


def test_doctor_on_a_wrong_clock(doctor, entra):
    entra.date = "Tue, 15 Nov 1994 08:12:31 GMT"
    done = doctor(with_secret(entra))
    assert done.returncode == 0
    assert "warn  clock" in done.stdout and "ahead of 127.0.0.1" in done.stdout


def test_doctor_on_the_embedded_service(sandbox):
    done = sandbox.cli("doctor", "embedded")
    assert "embedded service" in done.stdout and "Everything works" in done.stdout


# ---- no secret anywhere ----


def files_below(base):
    """Every readable file, but never one of a mount."""
    for folder, folders, names in os.walk(base):
        folders[:] = [name for name in folders if not os.path.ismount(os.path.join(folder, name))]
        for name in names:
            path = Path(folder, name)
            if path.is_file() and not path.is_symlink():
                yield path


def leaks(text, secrets):
    return [secret for secret in secrets if secret.encode() in text]


def test_no_secret_in_logs_files_process_lists_or_errors(azure, entra, service, application):
    """Debug logs, status, doctor, /proc: none of them has a token, a secret or an assertion."""
    service.put_version("env", "1")
    secrets = [service.token, entra.secret, f"storage-{service.token}", PASSWORD]
    entra.expires_in = SHORT
    mount = azure(with_secret(entra))
    os.listdir(mount.path / "local")
    out = [Path(f"/proc/{mount.pid}/{name}").read_bytes().decode(errors="replace") for name in ("cmdline", "environ")]
    assert "AZURE_CLIENT_ID" in out[1] and "AZURE_CLIENT_SECRET" not in out[1].replace("AZURE_CLIENT_SECRET=\0", "")
    entra.script = [refusal("invalid_client", 7000999, f"No {entra.secret} and {service.token} here.")] * 9
    assert error_of(mount.path / "local/env") == "EACCES"
    out += [mount.cli("status", "--json", mount.path).stdout, mount.log()]
    assert "AADSTS7000999" in mount.log(), "the refusal is not in the log at all"
    entra.script, options = [], f"arm_endpoint={service.url},cafile={mount.options['cafile']},log_level=debug"
    for env in (with_secret(entra), entra.env(AZURE_CLIENT_CERTIFICATE_PATH=str(application[1]),
                                              AZURE_CLIENT_CERTIFICATE_PASSWORD=PASSWORD)):
        mount.env.update(env)
        done = mount.cli("doctor", "-o", options, SOURCE)
        out += [done.stdout, done.stderr]
        mount.env.pop("AZURE_CLIENT_SECRET", None)
    assert entra.assertions
    files = {path: leaks(path.read_bytes(), secrets) for path in files_below(mount.base)}
    assert files and not any(files.values())
    assert not leaks("\n".join(out).encode(), secrets + entra.assertions)


def abort_with_core(process):
    """Ends a process as a crash would; whether it left a core dump."""
    os.kill(process.pid, signal.SIGABRT)
    _pid, status = os.waitpid(process.pid, 0)
    process.returncode = -signal.SIGABRT
    return os.WCOREDUMP(status)


def test_no_core_dump_has_a_secret(azure, entra, tmp_path):
    """A process that knows a secret leaves no core dump, where another one does."""
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    if resource.getrlimit(resource.RLIMIT_CORE)[1] != resource.RLIM_INFINITY:
        pytest.skip("NOT TESTED: core dumps are limited here")
    control = subprocess.Popen(["sleep", "60"], cwd=tmp_path,
                               preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, unlimited))
    wait_until(lambda: os.readlink(f"/proc/{control.pid}/exe").endswith("sleep"), 20, "the control")
    if not abort_with_core(control):
        pytest.skip("NOT TESTED: this machine makes no core dumps")
    mount = azure(with_secret(entra))
    resource.prlimit(mount.pid, resource.RLIMIT_CORE, unlimited)
    os.listdir(mount.path)
    assert not abort_with_core(mount.process)
    mount.kill()
