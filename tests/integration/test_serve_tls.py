"""`mlenvfs serve` over TLS: its own certificates and given ones, what clients see, and faults below them."""
import json
import os
import re
import signal
import socket
import ssl
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from lib.mount import Mount, MountError, Sandbox, wait_until
from lib.service import REQUEST_SECONDS, Service

IMAGE = {"image": "docker.io/library/busybox:latest"}


@pytest.fixture(scope="module")
def served(binary):
    with Service(binary, tls=True) as running:
        yield running


def connect(service, name, context=None):
    """A TLS connection on which the server is known by that name."""
    context = context or ssl.create_default_context(cafile=service.ca)
    plain = socket.create_connection((service.host, service.port), REQUEST_SECONDS)
    try:
        return context.wrap_socket(plain, server_hostname=name)
    except BaseException:
        plain.close()
        raise


# ---- certificates of its own ----


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1"])
def test_its_own_certificate_is_good_for_this_machine(served, name):
    with connect(served, name) as connection:
        assert connection.version() in ("TLSv1.2", "TLSv1.3")


@pytest.mark.parametrize("name", ["example.com", "mlenvfs.invalid", "127.0.0.2"])
def test_and_for_no_other(served, name):
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        connect(served, name)


def test_nobody_trusts_it_unasked(served):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(served, "localhost", context)


def test_it_passes_the_strict_rules(served):
    context = ssl.create_default_context(cafile=served.ca)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    connect(served, "localhost", context).close()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_no_old_versions_of_tls(served):
    context = ssl.create_default_context(cafile=served.ca)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    with pytest.raises(ssl.SSLError):
        connect(served, "localhost", context)


def test_plain_http_gets_no_answer(served):
    with socket.create_connection((served.host, served.port), REQUEST_SECONDS) as plain:
        plain.sendall(b"GET /discovery HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x\r\n\r\n")
        assert b"HTTP/" not in plain.recv(4096)


def test_the_ca_is_private_and_stays(binary):
    with Service(binary, tls=True) as service:
        first = service.ca.read_bytes()
        assert b"PRIVATE KEY" not in first
        directory = service.ca.parent
        assert oct(directory.stat().st_mode & 0o777) == "0o700"
        assert oct((directory / "ca-key.pem").stat().st_mode & 0o777) == "0o600"
        assert sorted(path.name for path in directory.iterdir()) == ["ca-key.pem", "ca.pem"]
        with connect(service, "localhost") as connection:
            old = connection.getpeercert(binary_form=True)
        service.restart()
        assert service.ca.read_bytes() == first
        with connect(service, "localhost") as connection:
            assert connection.getpeercert(binary_form=True) != old
        service.down()
        service.ca.unlink()
        service.start(service.port)
        assert service.ca.read_bytes() != first
        connect(service, "localhost").close()


def serve(box, *options):
    """`mlenvfs serve` that is expected to end by itself; gives what it said."""
    done = box.cli("serve", "--listen", "0", "--store", box.base / "store", *options, check=False)
    return done.returncode, done.stderr


def make_ca(binary, box):
    """The directory of a CA, made by a service that has ended again."""
    with Service(binary, tls=True, env={"XDG_DATA_HOME": str(box.base / "made")}):
        return box.base / "made/mlenvfs/tls"


def test_a_key_that_others_can_read_is_not_used(binary, sandbox):
    tls = make_ca(binary, sandbox)
    (tls / "ca-key.pem").chmod(0o640)
    sandbox.env["XDG_DATA_HOME"] = str(sandbox.base / "made")
    status, said = serve(sandbox, "--tls")
    assert status == 1 and "ca-key.pem" in said and "remove it" in said


@pytest.mark.parametrize("name", ["ca.pem", "ca-key.pem"])
def test_a_broken_ca_is_named(binary, sandbox, name):
    tls = make_ca(binary, sandbox)
    (tls / name).write_text("-----BEGIN NOTHING-----\n")
    sandbox.env["XDG_DATA_HOME"] = str(sandbox.base / "made")
    status, said = serve(sandbox, "--tls")
    assert status == 1 and "ca.pem" in said and "remove both" in said


def test_services_that_start_at_once_share_one_ca(binary):
    with Sandbox(binary) as box:
        def start(_):
            return Service(binary, tls=True, env={"XDG_DATA_HOME": str(box.base / "data")})

        # They end with the thread that started them.
        with ThreadPoolExecutor(4) as pool:
            for service in list(pool.map(start, range(4))):
                connect(service, "localhost").close()
                service.stop()


def test_it_says_what_to_trust(binary, sandbox):
    """The lines that it prints work as they are."""
    command = [binary, "serve", "--tls", "--listen", "0", "--store", sandbox.base / "store"]
    with subprocess.Popen(command, env=sandbox.env, stdout=subprocess.PIPE, text=True) as process:
        try:
            said = ""
            while "token:" not in said:
                line = process.stdout.readline()
                assert line, said
                said += line
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
    ca = sandbox.base / "data/mlenvfs/tls/ca.pem"
    assert f"CA to trust: {ca}\n" in said
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"):
        shell = subprocess.run(["sh", "-c", f'{said[said.index("  export"):said.index("store:")]} echo "${name}"'],
                               text=True, capture_output=True, check=True, timeout=60)
        assert shell.stdout == f"{ca}\n"


# ---- given certificates ----


@pytest.mark.parametrize("kind", ["rsa:2048", "ec"])
def test_a_given_certificate_is_used(binary, tmp_path, kind):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    curve = ["-pkeyopt", "ec_paramgen_curve:P-256"] if kind == "ec" else []
    subprocess.run(["openssl", "req", "-x509", "-newkey", kind, *curve, "-nodes", "-keyout", key, "-out", cert,
                    "-days", "2", "-subj", "/CN=emulator.example", "-addext",
                    "subjectAltName=DNS:emulator.example,IP:127.0.0.1"], check=True, capture_output=True, timeout=60)
    with Service(binary, "--tls-cert", cert, "--tls-key", key, ca=cert) as service:
        with connect(service, "emulator.example") as connection:
            assert connection.getpeercert(binary_form=True) == ssl.PEM_cert_to_DER_cert(cert.read_text())
        service.get("/discovery", expect=200)
        assert not (service.base / "data/mlenvfs/tls").exists()


def test_given_files_that_are_wrong(binary, sandbox):
    tls = make_ca(binary, sandbox)
    (sandbox.base / "text").write_text("this is not PEM\n")
    with Service(binary, tls=True) as other:
        foreign = other.ca.read_text()
    (sandbox.base / "foreign.pem").write_text(foreign)
    for cert, key, words in (
            (tls / "ca.pem", sandbox.base / "none", ["none", "No such file"]),
            (sandbox.base / "none", tls / "ca-key.pem", ["none", "No such file"]),
            (sandbox.base / "text", tls / "ca-key.pem", ["text", "no certificate"]),
            (tls / "ca.pem", sandbox.base / "text", ["text", "no private key"]),
            (sandbox.base / "foreign.pem", tls / "ca-key.pem", ["ca-key.pem", "is not that of"])):
        status, said = serve(sandbox, "--tls-cert", cert, "--tls-key", key)
        assert status == 1, said
        for word in words:
            assert word in said


@pytest.mark.parametrize("options, words", [
    (["--tls-cert", "a"], "belong together"),
    (["--tls-key", "a"], "belong together"),
    (["--tls", "--tls-cert", "a", "--tls-key", "b"], "either"),
])
def test_wrong_words(sandbox, options, words):
    status, said = serve(sandbox, *options)
    assert status == 2 and words in said


def test_a_unix_socket_stays_plain(sandbox):
    done = sandbox.cli("serve", "--unix", sandbox.base / "socket", "--tls", check=False)
    assert done.returncode == 2 and "--listen" in done.stderr


# ---- what clients see ----


def test_links_are_of_the_same_scheme(binary):
    with Service(binary, "--page-size", "1", tls=True) as service:
        for version in ("1", "2", "3"):
            service.put_version("env", version, IMAGE)
        path = service.workspace_path("local", "environments", "env", "versions")
        assert [item["name"] for item in service.list(path)] == ["3", "2", "1"]
        store = service.datastore()
        assert (store["protocol"], store["endpoint"]) == ("https", f"{service.host}:{service.port}")
        assert service.get("/discovery", expect=200).json()["api"] == service.url
        unauthorized = service.get("/discovery", token="wrong")
        assert service.url in unauthorized.headers["WWW-Authenticate"]


def test_a_mount_over_tls(served, make_mount, tmp_path):
    """A version with a context is written through one mount and read through another."""
    (tmp_path / "ctx").mkdir()
    (tmp_path / "ctx/Dockerfile").write_text("FROM scratch\nCOPY data /data\n")
    (tmp_path / "ctx/data").write_bytes(os.urandom(300_000))
    mount = make_mount(service=served)
    draft = mount.local / "over-tls/1"
    draft.mkdir(parents=True)
    (draft / "spec.yml").write_text("build:\n  path: context\n")
    (draft / "context").mkdir()
    for path in (tmp_path / "ctx").iterdir():
        (draft / "context" / path.name).write_bytes(path.read_bytes())
    other = make_mount(service=served)
    shown = other.local / "over-tls/1"
    path = served.workspace_path("local", "environments", "over-tls", "versions", "1")
    wait_until(lambda: served.get(path).status == 200, 60, "the publication")
    for path in (tmp_path / "ctx").iterdir():
        assert (shown / "context" / path.name).read_bytes() == path.read_bytes()
    uri = served.get_version("over-tls", "1")["properties"]["build"]["contextUri"]
    assert uri.startswith(served.url + "/")


def test_large_bodies_on_many_connections(served):
    data = [os.urandom(4_000_000 + number) for number in range(6)]

    def there_and_back(number):
        blobs = served.blobs()
        assert blobs.put(f"large/{number}", data[number]).status == 201
        return blobs.get(f"large/{number}").body == data[number]

    with ThreadPoolExecutor(len(data)) as pool:
        assert all(pool.map(there_and_back, range(len(data))))


def test_a_mount_that_does_not_trust_it(served, binary):
    with Mount(binary, service=served, start=False) as mount:
        mount.env["CURL_CA_BUNDLE"] = "/etc/ssl/certs/ca-certificates.crt"
        with pytest.raises(MountError, match="certificate"):
            mount.start()
        mount.process = None


# ---- faults, which are below libmicrohttpd's own answers ----


def raw_answer(service, path="/discovery"):
    """All bytes of an answer, and whether the connection was ended in an orderly way."""
    with connect(service, "localhost") as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost:{service.port}\r\n"
                           f"Authorization: Bearer {service.token}\r\nConnection: close\r\n\r\n".encode())
        got = b""
        while True:
            try:
                piece = connection.recv(65536)
            except (ConnectionResetError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
                return got
            if not piece:
                return got
            got += piece


@pytest.fixture
def faulty(served):
    yield served
    served.set_faults()


def parts(answer):
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(re.search(rb"Content-Length: (\d+)", head).group(1)), body


def test_a_truncated_answer(faulty):
    whole = faulty.get("/discovery", expect=200).body
    faulty.set_faults({"truncate": 11})
    length, body = parts(raw_answer(faulty))
    assert length > 11 and body == whole.replace(b"127.0.0.1", b"localhost")[:11]


def test_a_wrong_length(faulty):
    faulty.set_faults({"wrong_length": 7})
    length, body = parts(raw_answer(faulty))
    assert length == len(body) + 7 and json.loads(body)["api"].startswith("https://localhost:")


def test_a_huge_answer(faulty):
    faulty.set_faults({"huge": 5_000_000})
    length, body = parts(raw_answer(faulty))
    assert length == 5_000_000 == len(body)


def test_bytes_that_are_not_http(faulty):
    faulty.set_faults({"garbage": True})
    answer = raw_answer(faulty)
    assert b"this is not HTTP" in answer and not answer.startswith(b"HTTP/")


@pytest.mark.parametrize("fault", [{"reset": True}, {"close": True}, {"lost": True}])
def test_no_answer_at_all(faulty, fault):
    faulty.set_faults(fault)
    assert raw_answer(faulty) == b""
    faulty.set_faults()
    assert raw_answer(faulty).startswith(b"HTTP/1.1 200")


def test_a_slow_answer_arrives(faulty):
    faulty.set_faults({"delay_ms": 50, "body_delay_ms": 50, "wrong_length": 0})
    length, body = parts(raw_answer(faulty))
    assert length == len(body)
