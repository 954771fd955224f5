#!/usr/bin/python3
"""
Measures mlenvfs beside the kernel's own file systems and its peers, in one run, and writes
docs/benchmark.md and docs/benchmark.svg. `make bench` builds what is needed and calls it.

    bench.py [--quick] [--out DIRECTORY] [--only PART[,PART...]]

Parts: warm, options, cold, save, scale. What is not installed here is left out, and said so. Nothing asks
for root but the rows that need caches emptied: those are left out otherwise.
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "tests/integration"))

import report  # noqa: E402
import systems  # noqa: E402
import trees  # noqa: E402
from lib.mount import Mount, wait_until  # noqa: E402
from lib.service import Service  # noqa: E402

BINARY = ROOT / "build/release/mlenvfs"
LOOPS = ROOT / "build/release/tests/bench/loops"
FAR_MS = 20
SLOW_SECONDS = 0.5
RELEASE_SECONDS = 30
ENVS, VERSIONS, CONTEXTS = 90, 4, 5
FAR_ENVS, FAR_VERSIONS = 25, 2
MANY_ENVS, MANY_VERSIONS = 10000, 10

WARM = {
    "find": "find .",
    "ls -lR": "ls -lR .",
    "grep -r": "grep -r zebra . || true",
    "cat": "find . -type f -exec cat {} +",
    "getfattr -R": "getfattr -R -d -P .",
    "rsync -a, nothing changed": "rsync -a ./ {to}/",
}
ONE = "cat of one spec.yml, in a new process"
WITHOUT = (("opendir", False, "find"), ("readdirplus", False, "a first find"), ("symlinks", False, "ls -lR"), ("flush", False, "cat"),
           ("noopen", True, "cat"), ("noopen", True, "grep -r"), ("store", True, "grep -r after a find"))
WITHOUT_WORDS = {"opendir": "with opendir", "readdirplus": "without readdirplus", "symlinks": "symlinks not cached",
                 "flush": "with flush", "noopen": "with open", "store": "nothing given unasked"}
LOOPED = {"stat": "stat", "open-read-close": "read"}


class Bench:
    """One run: what is measured goes into .results[row][system], a list of seconds (or of operations a second)."""

    def __init__(self, base, quick):
        self.base, self.quick = Path(base), quick
        self.results, self.counts, self.facts, self.options, self.notes = {}, {}, {}, {}, []
        self.rounds = 3 if quick else 9
        self.patience = 1.0 if quick else 3.0  # seconds for one row of one system
        self.loop_seconds = 0.1 if quick else 0.17

    def add(self, row, system, value):
        self.results.setdefault(row, {}).setdefault(system, []).append(value)

    def note(self, text):
        print(f"bench: {text}", file=sys.stderr, flush=True)
        self.notes.append(text)

    def directory(self, name, parent=None):
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=parent or self.base))

    def in_memory(self):
        """A directory that is removed by who asked for it."""
        return self.directory("mlenvfs-bench", "/dev/shm") if os.access("/dev/shm", os.W_OK) else self.directory("memory")


def say(text):
    print(f"bench: {text}", flush=True)


def first_line(text):
    return text.strip().split("\n", maxsplit=1)[0]


def timed(command, cwd):
    """Seconds that a shell command takes. It must succeed."""
    began = time.perf_counter()
    done = subprocess.run(["/bin/sh", "-c", command], cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, check=False, env={**os.environ, "LC_ALL": "C"})
    took = time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(f"{command}: status {done.returncode}: {first_line(done.stderr.decode())}")
    return took


class Ours(systems.System):
    """A mount by mlenvfs; .path is the workspace in it."""

    def __init__(self, name, service, env=None, **options):
        self.name = name
        # A read-only mount is not told of opens, but where that is left out.
        self.told = not options.get("ro") or "noopen" in (env or {}).get("MLENVFS_WITHOUT", "")
        self.mounted = Mount(BINARY, service=service, options={"refresh": 3600, **options}, env=env, start=False)
        self.path = self.mounted.local

    def start(self):
        self.mounted.start()
        self.daemon = self.mounted.process

    def stop(self):
        self.mounted.stop()

    def again(self):
        """Unmounts and mounts once more, with what was kept of the first time."""
        subprocess.run(["fusermount3", "-u", self.mounted.path], check=True)
        self.mounted.process.wait(60)
        self.start()

    def asked(self):
        """All that the kernel has asked so far. Releases come after the close: they are waited for."""
        def settled():
            counts = json.loads(os.getxattr(self.mounted.path, "user.mlenvfs.status"))["upcalls"]
            closed = counts.get("open", 0) + counts.get("create", 0) == counts.get("release", 0)
            return counts if closed or not self.told else None

        counts = wait_until(settled, RELEASE_SECONDS, "the releases of all files")
        return {name: n for name, n in counts.items() if name != "forget"}


@contextmanager
def peers(bench, kinds, source, delay_ms=0):
    """The peers that work here, mounted; the others are named in a note."""
    up = []
    try:
        for kind in kinds:
            system = kind(bench.directory(kind.name), source, delay_ms)
            try:
                system.start()
                up.append(system)
            except systems.Missing as why:
                system.stop()
                bench.note(f"left out: {kind.name}: {why}")
        yield up
    finally:
        for system in reversed(up):
            system.stop()


# ---- everything known ----


def warm_rounds(bench, all_systems, row, command):
    """In turn, so that what else the machine does meets all of them; slow ones less often."""
    spent, able = {system.name: 0.0 for system in all_systems}, []
    for system in all_systems:
        try:
            took = timed(command.replace("{to}", str(system.copy)), system.path)
            if took > bench.patience:
                bench.add(row, system.name, took)  # once has to do
                continue
            if took < SLOW_SECONDS:
                timed(command.replace("{to}", str(system.copy)), system.path)
            able.append(system)
        except RuntimeError as why:
            bench.note(f"left out: {row} on {system.name}: {why}")
    for _ in range(bench.rounds):
        for system in able:
            if spent[system.name] > bench.patience:
                continue
            took = timed(command.replace("{to}", str(system.copy)), system.path)
            spent[system.name] += took
            bench.add(row, system.name, took)


def count_upcalls(bench, system, row, command):
    """The least of three times: a machine that is short of memory takes pages back, listings among them."""
    times = []
    for _ in range(3):
        before = system.asked()
        timed(command.replace("{to}", str(system.copy)), system.path)
        times.append({name: n - before.get(name, 0) for name, n in system.asked().items() if n > before.get(name, 0)})
    bench.counts.setdefault(row, {})[system.name] = min(times, key=lambda counts: sum(counts.values()))


def loops(bench, all_systems, row, how, threads):
    able = [system for system in all_systems if not system.broken]
    for _ in range(bench.rounds):
        for system in able:
            if system.broken:
                continue
            done = subprocess.run([LOOPS, how, str(threads), str(bench.loop_seconds)], input=system.paths, text=True,
                                  capture_output=True, check=False)
            if done.returncode:
                bench.note(f"left out: random files on {system.name}: {done.stderr.strip()}")
                system.broken = True
            else:
                bench.add(row, system.name, float(done.stdout))


def warm(bench):
    say("the warm rows")
    with Service(BINARY) as service:
        trees.publish(service, ENVS - CONTEXTS, VERSIONS)
        trees.publish_contexts(service, CONTEXTS, bench.directory("contexts"))
        ours = [Ours("mlenvfs", service), Ours("mlenvfs -o ro", service, ro=True)]
        memory = bench.in_memory()
        try:
            with ours[0], ours[1]:
                trees.copy(ours[0].path, bench.base / "disk")
                trees.copy(ours[0].path, memory / "tree")
                bench.facts["tree"] = trees.size(bench.base / "disk")
                plain = [systems.Plain("ext4", bench.base / "disk"), systems.Plain("tmpfs", memory / "tree")]
                bench.facts["disk"] = file_system(bench.base)
                bench.facts["memory fs"] = file_system(memory)
                with peers(bench, systems.PEERS, bench.base / "disk") as others:
                    measure_warm(bench, plain + ours + others, memory)
                    for system in ours + others:
                        bench.facts.setdefault("daemons", {})[system.name] = (system.memory(), system.cpu())
        finally:
            shutil.rmtree(memory, ignore_errors=True)


def file_system(path):
    return subprocess.run(["findmnt", "-no", "FSTYPE", "-T", path], capture_output=True, text=True, check=True).stdout.split()[-1]


def measure_warm(bench, all_systems, memory):
    for system in list(all_systems):
        system.copy = memory / f"copy-{system.name.replace(' ', '')}"
        system.copy.mkdir()
        files = subprocess.run(["find", system.path, "-name", "spec.yml", "-o", "-name", "conda.yml"], capture_output=True, text=True, check=True)
        system.paths = files.stdout
        try:
            bench.add("rsync -a, the first", system.name, timed(f"rsync -a ./ {system.copy}/", system.path))
        except RuntimeError as why:
            bench.note(f"left out: {system.name}: {why}")
            all_systems.remove(system)
    for row, command in WARM.items():
        warm_rounds(bench, all_systems, row, command)
        for system in all_systems:
            if isinstance(system, Ours):
                count_upcalls(bench, system, row, command)
    for _ in range(2 * bench.rounds):
        for system in all_systems[:4]:
            path = system.path / "training-00000/1/spec.yml"
            began = time.perf_counter()
            subprocess.run(["cat", path], stdout=subprocess.DEVNULL, check=True)
            bench.add(ONE, system.name, time.perf_counter() - began)
    for row, how in LOOPED.items():
        for threads in (1, 8):
            loops(bench, all_systems, f"{row}, {threads} thread{'s' if threads > 1 else ''}", how, threads)


# ---- what each way of using the kernel is worth ----


def without(bench):
    """Two mounts that differ in one thing, in turn."""
    say("what each option is worth")
    with Service(BINARY) as service:
        trees.publish(service, 40, 4)
        trees.publish_contexts(service, 5, bench.directory("contexts"))
        for what, ro, row in WITHOUT:
            for _ in range(2 if bench.quick else 3):
                for left_out in (False, True):
                    found = measure_without(bench, service, what if left_out else "", ro, row)
                    bench.options.setdefault((f"{row}{', ro' if ro else ''}", what), {}).setdefault(left_out, []).append(found)


def measure_without(bench, service, what, ro, row):
    """(seconds, requests of the kernel) of one run of a row, without one thing."""
    with Ours("", service, env={"MLENVFS_WITHOUT": what}, ro=ro) as system:
        if row == "grep -r after a find":
            timed("find .", system.path)
            before = system.asked()
            took = timed(WARM["grep -r"], system.path)
        elif row == "a first find":
            before = system.asked()
            took = timed("find .", system.path)
        else:
            command = "cat */*/*.yml" if row == "cat" else WARM[row]
            times = [timed(command, system.path) for _ in range(5 if bench.quick else 9)]
            before = system.asked()
            times.append(timed(command, system.path))
            took = statistics.median(times[2:])
        asked = sum(n - before.get(name, 0) for name, n in system.asked().items())
    return took, asked


# ---- nothing known ----


@contextmanager
def cold_disk(bench, tree):
    """A file system of its own on a disk image: unmounting it forgets all of it. None without root."""
    image, at = bench.base / "disk.img", bench.directory("cold")
    words = [["truncate", "-s", "512M", image], ["mkfs.ext4", "-q", "-F", image], ["mount", "-o", "loop", image, at]]
    mounted = os.geteuid() == 0 and shutil.which("mkfs.ext4") and all(
        subprocess.run(step, check=False, capture_output=True).returncode == 0 for step in words)
    if not mounted:
        bench.note("left out: cold ext4: that needs root, mkfs.ext4 and loop devices")
        yield None
        return

    def forget():
        subprocess.run(["umount", at], check=True)
        subprocess.run(["mount", "-o", "loop", image, at], check=True)

    try:
        trees.copy(tree, at / "tree")
        yield at / "tree", forget
    finally:
        subprocess.run(["umount", at], check=False)
        image.unlink()


COLD = {"find": "find .", "grep -r": "grep -r zebra . || true", "rsync -a, nothing changed": "rsync -a ./ {to}/"}


def cold_ours(bench, service, tag, copy):
    """A process that has never seen the tree, and one that is started again over what that one kept."""
    rows = {what: f"cold {what}, {tag}" for what in COLD}
    for _ in range(3 if bench.quick else 5):
        for what in ("find", "grep -r"):
            with Ours("mlenvfs", service) as system:
                service.reset_counters()
                bench.add(rows[what], "mlenvfs", timed(COLD[what], system.path))
                bench.counts.setdefault(rows[what], {})["requests"] = service.counters()["total"]
                if what == "find":
                    system.again()
                    service.reset_counters()
                    bench.add(f"find after a remount, {tag}", "mlenvfs", timed(COLD["find"], system.path))
                    bench.counts.setdefault(f"find after a remount, {tag}", {})["requests"] = service.counters()["total"]
                    system.again()
                    row = f"rsync -a, nothing changed, after a remount, {tag}"
                    bench.add(row, "mlenvfs", timed(COLD["rsync -a, nothing changed"].replace("{to}", str(copy)), system.path))


def grep_after_find(bench, service):
    """Read-only and writable in turn."""
    for _ in range(3 if bench.quick else 7):
        for name, ro in (("mlenvfs", False), ("mlenvfs -o ro", True)):
            with Ours(name, service, ro=ro) as system:
                timed("find .", system.path)
                before = system.asked()
                row = "grep -r right after the first find, no delay"
                bench.add(row, name, timed(COLD["grep -r"], system.path))
                bench.counts.setdefault(row, {})[name] = {what: n - before.get(what, 0) for what, n in system.asked().items() if n > before.get(what, 0)}


def cold_native(bench, tree, copy):
    with cold_disk(bench, tree) as disk:
        if not disk:
            return
        path, forget = disk
        for _ in range(3 if bench.quick else 5):
            for what, command in COLD.items():
                forget()
                row = "rsync -a, nothing changed, after a remount, no delay" if "rsync" in what else f"cold {what}, no delay"
                bench.add(row, "ext4", timed(command.replace("{to}", str(copy)), path))
                if what == "find":
                    bench.add("find after a remount, no delay", "ext4", bench.results[row]["ext4"][-1])


def cold_peers(bench, tree):
    """Each is mounted anew for each row, the server as far away as ours."""
    for kind in systems.PEERS[1:]:
        for what in ("find", "grep -r"):
            for _ in range(1 if bench.quick else 2):
                with peers(bench, [kind], tree, FAR_MS) as up:
                    for system in up:
                        bench.add(f"cold {what}, {FAR_MS} ms", system.name, timed(COLD[what], system.path))
                    if not up:
                        return


def cold(bench):
    say("the cold rows")
    with Service(BINARY) as service:
        trees.publish(service, FAR_ENVS, FAR_VERSIONS)
        memory = bench.in_memory()
        try:
            with Ours("mlenvfs", service) as system:
                trees.copy(system.path, bench.base / "far")
                trees.copy(system.path, memory / "tree")
                timed(f"rsync -a ./ {memory / 'copy'}/", system.path)
            for _ in range(bench.rounds):
                for what in ("find", "grep -r"):
                    bench.add(f"cold {what}, no delay", "tmpfs", timed(COLD[what], memory / "tree"))
                bench.add("grep -r right after the first find, no delay", "tmpfs", timed(COLD["grep -r"], memory / "tree"))
            cold_native(bench, bench.base / "far", memory / "copy")
            cold_ours(bench, service, "no delay", memory / "copy")
            grep_after_find(bench, service)
            service.set_faults({"delay_ms": FAR_MS})
            cold_ours(bench, service, f"{FAR_MS} ms", memory / "copy")
            service.set_faults()
        finally:
            shutil.rmtree(memory, ignore_errors=True)
    cold_peers(bench, bench.base / "far")


# ---- saving ----


def save(bench):
    say("the saving row")
    text = "dependencies:\n- python=3.11\n- pandas=2.{}\n"
    with Service(BINARY) as service:
        trees.publish(service, 1, 1)
        with Ours("mlenvfs", service) as system:
            path = system.path / "training-00000/latest/conda.yml"
            path.read_text()
            for i in range(5 if bench.quick else 25):
                began = time.perf_counter()
                path.write_text(text.format(i))
                bench.add("saving one line", "mlenvfs", time.perf_counter() - began)
                body = service.get_version("training-00000", "1")["properties"]
                began = time.perf_counter()
                service.put_version("by-hand", str(i), {"image": body["image"], "condaFile": text.format(i)})
                bench.add("saving one line", "the service's PUT", time.perf_counter() - began)
                service.get("/__mlenvfs/counters")


# ---- very many ----


def scale(bench):
    environments = MANY_ENVS // 20 if bench.quick else MANY_ENVS
    say(f"{environments} environments of {MANY_VERSIONS} versions")
    memory = bench.in_memory()  # the service's store: making so many versions is not what is measured
    try:
        with Service(BINARY, store=memory / "store") as service:
            trees.publish(service, environments, MANY_VERSIONS)
            measure_scale(bench, service, environments)
    finally:
        shutil.rmtree(memory, ignore_errors=True)


def measure_scale(bench, service, environments):
    with Ours("mlenvfs", service) as system:
        bench.add("first ls of a workspace", "mlenvfs", timed("ls", system.path))
        timed("find . -maxdepth 2", system.path)
        bench.facts["memory"] = (environments * MANY_VERSIONS, system.memory())
        system.again()
        service.reset_counters()
        bench.add("first ls after a remount", "mlenvfs", timed("ls", system.path))
        bench.counts["first ls after a remount"] = {"requests": service.counters()["total"]}


PARTS = {"warm": warm, "options": without, "cold": cold, "save": save, "scale": scale}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--quick", action="store_true", help="a look, not a measurement")
    parser.add_argument("--out", type=Path, default=ROOT / "docs")
    parser.add_argument("--only", default=",".join(PARTS))
    args = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mlenvfs-bench-", dir=os.environ.get("TMPDIR", "/var/tmp")) as base:
        bench = Bench(base, args.quick)
        for part in args.only.split(","):
            PARTS[part](bench)
    bench.facts["seconds"] = time.monotonic() - began
    report.write(bench, args.out)
    say(f"{args.out}/benchmark.md and benchmark.svg are written ({bench.facts['seconds']:.0f} s)")


if __name__ == "__main__":
    main()
