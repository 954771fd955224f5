"""Many at once: readers beside writers, and a hundred thousand opens."""
import os
import subprocess
import threading

import pytest

from lib.mount import wait_until
from lib.steps import upload_blobs

IMAGE = {"image": "mcr.microsoft.com/azureml/base:1"}
CONDA = {**IMAGE, "condaFile": "dependencies:\n- python=3.10\n- pip:\n  - numpy==1.26.4\n"}
READERS = 8

# Walks the mount again and again until told to stop; every file read must be whole.
READER = """
import os, sys
top, stop = sys.argv[1:]
rounds = 0
while rounds < 3 or not os.path.exists(stop):
    for folder, _, files in os.walk(top):
        for name in files:
            path = os.path.join(folder, name)
            with open(path, 'rb') as file:
                text = file.read()
            if name == 'spec.yml':
                assert text.startswith(b'$schema') and text.endswith(b'\\n'), (path, text)
                version = os.path.basename(folder)
                if version != 'latest':
                    assert b'version: "%s"' % version.encode() in text, (path, text)
            if name == 'conda.yml':
                assert b'numpy==1.26.4' in text, (path, text)
            if name == 'Dockerfile':
                assert text.startswith(b'#') or text.startswith(b'FROM'), (path, text)
    rounds += 1
"""


def resident_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


@pytest.mark.deadline(240)
def test_readers_while_another_adds_versions(service, make_mount, tmp_path, flavour):
    context = upload_blobs(service, "ctx/", {"Dockerfile": b"FROM scratch\n", "sub/data": b"x" * 100000})
    for number in range(8):
        service.put_version(f"env-{number}", "1", CONDA)
        service.put_version(f"ctx-{number}", "1", {"build": {"contextUri": context}})
    mount = make_mount(service=service, options={"refresh": 0.2})
    stop = tmp_path / "stop"
    readers = [subprocess.Popen(["/usr/bin/python3", "-c", READER, mount.local, stop], stderr=subprocess.PIPE)
               for _ in range(READERS)]
    try:
        for number in range(2, 30 if flavour == "release" else 12):
            service.put_version(f"env-{number % 8}", str(number), CONDA)
            service.put_version(f"new-{number}", "1", IMAGE)
            service.put_version("env-0", "1", {**CONDA, "tags": {"round": str(number)}})
    finally:
        stop.touch()
    for reader in readers:
        _, errors = reader.communicate(timeout=200)
        assert reader.returncode == 0, errors.decode()
    wait_until(lambda: (mount.local / "new-11/1/spec.yml").exists(), 20, "the last environment")


@pytest.mark.deadline(240)
def test_descriptors_and_memory_stay_level(loaded, flavour):
    # Without a token: a process that holds one shows its descriptors to root only.
    mount = loaded
    paths = [str(p) for p in mount.local.rglob("*") if p.is_file()]
    opens = 100000 if flavour == "release" else 10000

    def open_many(count):
        for number in range(count):
            fd = os.open(paths[number % len(paths)], os.O_RDONLY)
            os.read(fd, 10)
            os.close(fd)

    def from_eight_threads(count):
        threads = [threading.Thread(target=open_many, args=(count // 8,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    from_eight_threads(opens // 10)
    fds, memory = descriptors(mount.pid), resident_kib(mount.pid)
    from_eight_threads(opens)
    assert descriptors(mount.pid) <= fds + 4
    if flavour == "release":
        assert resident_kib(mount.pid) < memory + 8 * 1024


def test_many_ask_at_once_and_one_request_is_made(service, make_mount):
    service.put_version("e", "1", IMAGE)
    mount = make_mount(service=service, options={"refresh": 3600})
    os.listdir(mount.local)
    service.set_faults({"path": "*/environments/e/versions", "delay_ms": 500})
    service.reset_counters()
    readers = [subprocess.Popen(["cat", mount.local / "e/1/spec.yml"], stdout=subprocess.DEVNULL) for _ in range(20)]
    assert [reader.wait(60) for reader in readers] == [0] * 20
    assert service.counters()["routes"] == {"GET versions": 1}


def test_a_traversal_reads_ahead(service, make_mount):
    """With every list 100 ms away, the lists of a walk are asked for many at once."""
    for number in range(40):
        service.put_version(f"e{number:02}", "1", IMAGE)
    mount = make_mount(service=service, options={"refresh": 3600})
    service.set_faults({"path": "*/versions", "delay_ms": 100})
    service.reset_counters()
    subprocess.run(["find", mount.local], check=True, stdout=subprocess.DEVNULL)
    counters = service.counters()
    assert counters["routes"]["GET versions"] == 40
    status = mount.cli("status", "--json", mount.path).stdout
    assert '"prefetched":' in status and '"prefetched":0' not in status
