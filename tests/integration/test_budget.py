"""
The service's budget of requests: a traversal of thousands of environments leaves enough for whoever looks at one file.
"""
import contextlib
import json
import os
import random
import subprocess
import time

import pytest

from lib.many import make_store, name_of
from lib.mount import Mount, wait_until
from lib.service import Service

ENVIRONMENTS = 5000
VERSIONS = 2
BUDGET = 200
LATENCY_MS = 20
LOOKS = 12
# A guard against waiting for the traversal, or for what the service asks of those that it throttles; no measure of speed.
PROMPT_SECONDS = 10

TRAVERSALS = {
    "one process": ["find", ".", "-name", "spec.yml"],
    "a process for each file": ["sh", "-c", "for at in *; do cat $at/latest/spec.yml; done"],
    "several at once": ["sh", "-c", "find . & grep -r nothing . & find . -size +1M & wait"],
}


@pytest.fixture(scope="module")
def store(binary, tmp_path_factory):
    path = tmp_path_factory.mktemp("many") / "store"
    make_store(binary, path, ENVIRONMENTS, VERSIONS)
    return path


@contextlib.contextmanager
def traversal(command, place):
    process = subprocess.Popen(command, cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               start_new_session=True)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait(60)


def said_by_service(mount):
    return json.loads(os.getxattr(mount.path, "user.mlenvfs.status"))["service"]


@pytest.mark.parametrize("command", TRAVERSALS.values(), ids=TRAVERSALS)
def test_a_look_is_prompt_while_a_traversal_runs(binary, store, command):
    pick = random.Random(1)
    with Service(binary, "--budget", BUDGET, "--page-size", 1000, store=store) as service, \
            Mount(binary, service=service, options={"refresh": 3600}) as mount:
        service.set_faults({"path": "/subscriptions/*", "delay_ms": LATENCY_MS})
        with traversal(command, mount.local) as walking:
            # It has taken its share: from here on it has to wait for the bucket to fill.
            wait_until(lambda: said_by_service(mount)["held_back"] > 0, 60, "the traversal to be held back")
            for number in pick.sample(range(ENVIRONMENTS // 2, ENVIRONMENTS), LOOKS):
                started = time.monotonic()
                done = subprocess.run(["cat", mount.local / name_of(number) / "2/spec.yml"], capture_output=True, text=True,
                                      timeout=60, check=True)
                assert f"name: {name_of(number)}\n" in done.stdout and 'version: "2"' in done.stdout
                assert time.monotonic() - started < PROMPT_SECONDS
            assert walking.poll() is None, "it goes on"
            before = service.counters()["routes"]["GET versions"]
            wait_until(lambda: service.counters()["routes"]["GET versions"] > before, 30, "the traversal to go on")
        service.set_faults()
        assert service.counters()["throttled"] == 0
        assert said_by_service(mount)["reads_left"] > 0
        said = mount.cli("status", mount.path).stdout
        assert "held back" in said and " 0 throttled" in said


def test_an_empty_budget_is_waited_for(binary):
    """Somebody else has used it all up: a look waits for as long as the service asks, and is no error."""
    with Service(binary, "--budget", 240) as busy:
        busy.put_version("e", "1")
        with Mount(binary, service=busy, options={"refresh": 0}) as mount:
            assert os.listdir(mount.local / "e")
            while busy.get(busy.workspace_path()).status != 429:
                pass
            assert "1" in os.listdir(mount.local / "e")
            wait_until(lambda: busy.counters()["throttled"] > 0, 10, "the refusal")
