"""Through a front as Azure has one: TLS, HTTP/2 on few connections that are kept, compressed answers."""
import json
import os
import ssl
import subprocess
import urllib.request
from pathlib import Path

import pytest

ENVIRONMENTS = 40
LIB = Path(__file__).parent / "lib"


class Front:
    """The front as a child process; .url, and .seen() for what it has counted."""

    token = None

    def __init__(self, service, base):
        self.certificate, key = base / "cert.pem", base / "key.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                        "-subj", "/CN=front", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", self.certificate],
                       check=True, capture_output=True)
        self.token = service.token
        self.process = subprocess.Popen(["node", LIB / "h2front.js", str(service.port), key, self.certificate],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.url = f"https://127.0.0.1:{int(self.process.stdout.readline())}"

    def seen(self):
        trust = ssl.create_default_context(cafile=self.certificate)
        with urllib.request.urlopen(self.url + "/__front", context=trust, timeout=60) as answer:
            return json.load(answer)

    def stop(self):
        self.process.terminate()
        self.process.wait(30)


@pytest.fixture
def front(service, tmp_path):
    running = Front(service, tmp_path)
    yield running
    running.stop()


def test_many_requests_share_a_connection_and_come_compressed(service, front, make_mount):
    for i in range(ENVIRONMENTS):
        service.put_version(f"env-{i:02}", "1", {"image": "busybox", "description": "the same words again and again " * 20})
    service.set_faults({"path": "*/versions", "delay_ms": 20})
    mount = make_mount(service=front, env={"CURL_CA_BUNDLE": str(front.certificate)}, options={"refresh": 3600})
    found = subprocess.run(["find", mount.local, "-name", "spec.yml"], capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(found) == ENVIRONMENTS
    seen = front.seen()
    assert list(seen["requests"]) == ["2.0"], seen
    assert seen["requests"]["2.0"] >= ENVIRONMENTS
    # its own, and the one that asks for these counts
    assert seen["sessions"] <= 3, seen
    assert seen["at_once"] > 4, "requests wait for each other on the shared connection"
    assert seen["sent"] * 2 < seen["plain"], "answers are not compressed"
    (mount.local / "env-00/latest/spec.yml").write_text("image: busybox\ndescription: saved through the front\n")
    assert os.getxattr(mount.local / "env-00/latest", "user.description") == b"saved through the front"
