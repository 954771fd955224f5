"""
The client's own sign-in at the token endpoint of `mlenvfs serve`, over TLS: each way, mounted, read, saved with, renewed
and refused. Nothing is changed but the addresses and the CA, as for any other client.
"""
import errno
import os
import re
import subprocess

import pytest

from lib.entra import TENANT, Entra, Key
from lib.mount import MountError, wait_until
from lib.saves import versions
from lib.service import SUBSCRIPTION, Service

SOURCE = f"azureml://subscriptions/{SUBSCRIPTION}"
SECRET = "served.secret~0123456789"
ISSUER = {"issuer": "https://issuer.example/", "subject": "system:serviceaccount:ml:mount"}


@pytest.fixture(scope="module")
def served(binary):
    with Service(binary, tls=True) as running:
        yield running


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """The application's key, and that of whoever vouches for a workload."""
    directory = tmp_path_factory.mktemp("keys")
    return Key(directory, "app"), Key(directory, "issuer")


@pytest.fixture
def entra(served):
    made = Entra(served)
    yield made
    made.settings(tokenSeconds=3599)


@pytest.fixture
def app(entra, keys):
    return entra.register(secrets=[SECRET], certificates=[keys[0].cert.read_text()],
                          federatedCredentials=[{**ISSUER, "publicKey": keys[1].public.read_text()}])


@pytest.fixture
def azure(served, make_mount):
    """Mounts the service as Azure: no token is given to it."""
    def make(env, **options):
        options = {"arm_endpoint": served.url, "cafile": served.ca, "refresh": 0, "timeout": 10, **options}
        return make_mount(source=SOURCE, options=options, env={"AZURE_AUTHORITY_HOST": served.url, "AZURE_TENANT_ID": TENANT, **env})

    return make


def ways(app, keys, entra, tmp_path):
    """The variables of each way in which an application signs in."""
    pem, pfx, token = tmp_path / "app-both.pem", tmp_path / "app.pfx", tmp_path / "federated"
    pem.write_text(keys[0].key.read_text() + keys[0].cert.read_text())
    subprocess.run(["openssl", "pkcs12", "-export", "-in", pem, "-out", pfx, "-passout", f"pass:{SECRET}"], check=True)
    token.write_text(keys[1].sign(entra.claims(app, iss=ISSUER["issuer"], sub=ISSUER["subject"], aud="api://AzureADTokenExchange"),
                                  header={}))
    return {"secret": {"AZURE_CLIENT_SECRET": SECRET}, "certificate": {"AZURE_CLIENT_CERTIFICATE_PATH": str(pem)},
            "pkcs12": {"AZURE_CLIENT_CERTIFICATE_PATH": str(pfx), "AZURE_CLIENT_CERTIFICATE_PASSWORD": SECRET},
            "federated": {"AZURE_FEDERATED_TOKEN_FILE": str(token)}}


@pytest.mark.parametrize("way", ["secret", "certificate", "pkcs12", "federated"])
def test_an_application_signs_in_reads_and_saves(served, azure, entra, app, keys, tmp_path, way):
    env = f"signed-in-by-{way}"
    served.put_version(env, "1", {"image": "registry.example/a:1"})
    mount = azure({"AZURE_CLIENT_ID": app, **ways(app, keys, entra, tmp_path)[way]})
    (mount.local / env / "1/spec.yml").write_text("image: registry.example/a:2\n")
    assert versions(served, env) == {"1", "2"}
    assert SECRET not in mount.log() + served.log()


def test_a_token_that_runs_out_is_renewed(served, azure, entra, app):
    entra.settings(tokenSeconds=7)
    mount = azure({"AZURE_CLIENT_ID": app, "AZURE_CLIENT_SECRET": SECRET})
    served.reset_counters()

    def renewed():
        assert "local" in os.listdir(mount.path)
        return served.counters()["routes"].get("POST token", 0) >= 1

    wait_until(renewed, 60, "another token")


def test_a_token_that_is_taken_back_is_replaced(served, azure, entra, app):
    mount = azure({"AZURE_CLIENT_ID": app, "AZURE_CLIENT_SECRET": SECRET})
    entra.revoke()
    os.listdir(mount.local)


def test_a_wrong_secret_is_refused_in_words(azure, app):
    with pytest.raises(MountError) as caught:
        azure({"AZURE_CLIENT_ID": app, "AZURE_CLIENT_SECRET": "not-the-secret"})
    assert "AADSTS7000215" in str(caught.value) and "not-the-secret" not in str(caught.value)


def test_a_person_signs_in_with_a_device_code(served, entra, sandbox, azure):
    sandbox.env.update(AZURE_AUTHORITY_HOST=served.url, AZURE_TENANT_ID=TENANT)
    command = [str(sandbox.binary), "login", "--keep", "file", "-o", f"cafile={served.ca}"]
    with subprocess.Popen(command, env=sandbox.env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as login:
        said = ""
        while not (code := re.search(r"\b([A-Z0-9]{4,}-?[A-Z0-9]{4,})\b", said.split("devicelogin")[-1] if "devicelogin" in said else "")):
            line = login.stdout.readline()
            assert line, said
            said += line
        assert entra.answer(code.group(1), user="someone@example.com").status == 204
        rest = login.stdout.read()
        assert login.wait(60) == 0, said + rest
    mount = azure({"XDG_STATE_HOME": sandbox.env["XDG_STATE_HOME"]})
    assert "local" in os.listdir(mount.path) and "signed in by login" in mount.log()
    sandbox.cli("logout")
    with pytest.raises(MountError):
        azure({"XDG_STATE_HOME": sandbox.env["XDG_STATE_HOME"]})


def test_contexts_are_written_and_read_by_who_signed_in(azure, app):
    mount = azure({"AZURE_CLIENT_ID": app, "AZURE_CLIENT_SECRET": SECRET})
    draft = mount.local / "with-context/.next"
    (draft / "context").mkdir(parents=True)
    (draft / "spec.yml").write_text("build:\n  path: context\n")
    (draft / "context/Dockerfile").write_text("FROM scratch\n")
    os.rename(draft, draft.parent / "1")
    wait_until(lambda: (draft.parent / "1/context/Dockerfile").read_text() == "FROM scratch\n", 20, "the context")


def test_an_application_that_is_removed_is_locked_out(served, azure, entra):
    app = entra.register(secrets=[SECRET])
    mount = azure({"AZURE_CLIENT_ID": app, "AZURE_CLIENT_SECRET": SECRET}, save_timeout=3)
    served.request("DELETE", f"/__mlenvfs/entra/apps/{app}", expect=(200, 204))
    entra.revoke()
    served.put_version("locked-out", "1", {"image": "registry.example/a:1"})

    def refused():
        try:
            return os.listdir(mount.local / "locked-out") is None
        except OSError as problem:
            return problem.errno == errno.EACCES

    wait_until(refused, 30, "the refusal")
