"""npm's packages that tests run against, where scripts/setup has put them, and tests/js/clients.js."""
import json
import os
import queue
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from lib.mount import sandbox_env

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = Path(os.environ.get("MLENVFS_JS", ROOT / "build/js"))
CALL_SECONDS = 90


class JsError(Exception):
    """What a client threw: name, status, code, message."""

    def __init__(self, error):
        super().__init__(f"{error.get('name')}: {error.get('message')}")
        self.name, self.status, self.code = (error.get(name) for name in ("name", "statusCode", "code"))


def require_packages(what):
    """Skips the test, and says so, where npm's packages are not there."""
    if not shutil.which("node") or not (PACKAGES / "node_modules").is_dir():
        pytest.skip(f"NOT TESTED: {what}: npm's packages are not in {PACKAGES} (scripts/setup test puts them there)",
                    allow_module_level=True)
    return PACKAGES / "node_modules"


class Clients:
    """Microsoft's JavaScript clients in a process of their own, told nothing but an address and a CA."""

    def __init__(self, service, base, **given):
        env = sandbox_env(base, {"NODE_PATH": str(require_packages("Microsoft's JavaScript clients")),
                                 "NODE_EXTRA_CA_CERTS": str(service.ca)})
        given = {"endpoint": service.url, **given}
        self.process = subprocess.Popen(["node", ROOT / "tests/js/clients.js", json.dumps(given)], env=env, text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.lines = queue.Queue()
        self.answers = {}
        self.calls = 0
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(json.loads(line))
        self.lines.put(None)

    def start(self, on, call, *args, **more):
        """Begins a call, whose answer wait() gives."""
        self.calls += 1
        request = {"id": self.calls, "on": on, "call": call, "args": args, **more}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self.calls

    def wait(self, number):
        while number not in self.answers:
            answer = self.lines.get(timeout=CALL_SECONDS)
            assert answer is not None, "clients.js has ended"
            self.answers[answer["id"]] = answer
        answer = self.answers.pop(number)
        if "error" in answer:
            raise JsError(answer["error"])
        return answer["result"]

    def call(self, on, call, *args, **more):
        return self.wait(self.start(on, call, *args, **more))

    def arm(self, call, *args):
        return self.call("arm", call, *args)

    def stop(self):
        self.process.stdin.close()
        try:
            assert self.process.wait(30) == 0
        finally:
            self.process.kill()
            self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if exc[0]:
            self.process.kill()
            self.process.wait()
        else:
            self.stop()
