"""Azurite, Microsoft's emulator of Azure Storage, and a service whose datastores lead to it."""
import base64
import http.client
import json
import os
import re
import secrets
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from lib.blobs import Blobs
from lib.forward import Forwarder
from lib.js import require_packages
from lib.mount import end_with_tests, sandbox_env, wait_until
from lib.service import REQUEST_SECONDS, Response

ACCOUNT = "azuriteaccount"
UP_SECONDS = 90


class Azurite:
    """Azurite's blob service on a free port, with an account, a key and a directory of its own."""

    def __init__(self):
        program = require_packages("Azurite") / "azurite/dist/src/blob/main.js"
        self.base = tempfile.TemporaryDirectory(prefix="mlenvfs-azurite-")
        self.key = base64.b64encode(secrets.token_bytes(64)).decode()
        self.log_path = Path(self.base.name) / "log"
        env = sandbox_env(Path(self.base.name), {"AZURITE_ACCOUNTS": f"{ACCOUNT}:{self.key}"})
        command = ["node", program, "--blobPort", "0", "--disableTelemetry", "--location",
                   self.base.name]
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            start_new_session=True,
                                            preexec_fn=end_with_tests)
        try:
            found = wait_until(self._listening, UP_SECONDS, "Azurite")
        except BaseException:
            self.stop()
            raise
        self.host, self.port = found.group(1), int(found.group(2))

    def _listening(self):
        assert self.process.poll() is None, self.log()
        return re.search(r"successfully listens on http://([\d.]+):(\d+)", self.log())

    def log(self):
        return self.log_path.read_text(errors="replace")

    def requests(self):
        """(method, path, status) of all requests until now."""
        return [(method, path, int(status)) for method, path, status in
                re.findall(r'"([A-Z]+) (\S+) HTTP/1.1" (\d+)', self.log())]

    @property
    def url(self):
        return f"http://{self.host}:{self.port}"

    def exchange(self, method, target, body=None, headers=None):
        connection = http.client.HTTPConnection(self.host, self.port, timeout=REQUEST_SECONDS)
        try:
            connection.request(method, target, body=body, headers=headers or {})
            answer = connection.getresponse()
            return Response(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def container(self):
        """A new container, with the account's key."""
        made = Blobs(self, f"test-{os.urandom(8).hex()}", key=self.key, account=ACCOUNT)
        assert made.create().status == 201
        return made

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.base.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stop()


class Redirected(Forwarder):
    """
    A service as it is, but for its datastores: they lead to a container of Azurite. secret is what
    listSecrets gives, and can be changed.
    """

    def __init__(self, service, container, secret):
        self.container = container
        self.secret = secret
        super().__init__(service)

    def change(self, path, status, data):
        path = urlsplit(path).path.lower()
        if status != 200 or "/datastores" not in path:
            return data
        if path.endswith("/listsecrets"):
            return json.dumps(self.secret).encode()
        answer = json.loads(data)
        for item in answer.get("value", [answer]):
            item["properties"].update(accountName=ACCOUNT, containerName=self.container.container, protocol="http",
                                      endpoint=f"127.0.0.1:{self.container.service.port}",
                                      credentials={"credentialsType": self.secret["secretsType"]})
        return json.dumps(answer).encode()
