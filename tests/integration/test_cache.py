"""
The cache on the disk: what the next mount knows without a request, work without a network, what damaged and
interrupted writes come to, and the commands that look after it.
"""
import errno
import json
import os
import pty
import random
import shutil
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

from conftest import FLAVOUR
from lib.killpoint import KillPoint, MortalMount
from lib.mount import force_unmount, wait_until

PATIENCE = 20
BIG = 2_500_000
IMAGE = "registry.example/base:1"


class World:
    """A service with a few environments, and mounts of it that share one cache."""

    def __init__(self, service, make_mount, tmp_path):
        self.service, self.make_mount = service, make_mount
        self.cache = tmp_path / "cache"
        self.port, self.token = service.port, service.token
        self.context = tmp_path / "context"
        (self.context / "app").mkdir(parents=True)
        (self.context / "Dockerfile").write_text("FROM scratch\n")
        (self.context / "app/data.bin").write_bytes(random.Random(1).randbytes(BIG))
        (self.context / "app/empty").touch()
        for env in ("alpha", "beta"):
            for version in ("1", "2"):
                service.put_version(env, version, {"image": IMAGE, "description": f"{env} {version}",
                                                   "condaFile": "name: x\ndependencies: [python=3.10]\n"})
        uri = service.upload_context(self.context, "built", "1")
        service.put_version("built", "1", {"build": {"contextUri": uri}, "tags": {"team": "ml"}})

    def options(self, more=None):
        return {"arm_endpoint": f"http://127.0.0.1:{self.port}", "cache_dir": self.cache, "settle": 0.2, **(more or {})}

    def mount(self, make=None, **more):
        return (make or self.make_mount)(options=self.options(more), env={"AZURE_ACCESS_TOKEN": self.token})

    def down(self):
        self.service.down()

    def up(self):
        self.service.start(self.port)


@pytest.fixture
def world(service, make_mount, tmp_path):
    return World(service, make_mount, tmp_path)


def tree(top):
    """Everything that is shown below a directory: {path: content, or where a link leads, or None}."""
    found = {}
    for base, directories, files in os.walk(top):
        for name in directories + files:
            path = Path(base) / name
            shown = str(path.relative_to(top))
            if path.is_symlink():
                found[shown] = os.readlink(path)
            else:
                found[shown] = path.read_bytes() if path.is_file() else None
    return found


def stat_tree(top):
    return {str(path.relative_to(top)): (os.lstat(path).st_mtime_ns, os.lstat(path).st_size, os.lstat(path).st_ino)
            for path in Path(top).rglob("*")}


def status(mount):
    return json.loads(os.getxattr(mount.path, "user.mlenvfs.status"))


def confirmed(mount):
    """All lists that were read have been asked for."""
    return status(mount)["catalog"]["unconfirmed"] == 0


def cli_json(mount, *words, check=True):
    return [json.loads(line) for line in mount.cli(*words, check=check).stdout.splitlines()]


def learn(world, **options):
    """A first mount that reads everything; gives what it showed."""
    first = world.mount(**options)
    known = tree(first.local)
    first.stop()
    return known


# ---- remounting ----


def test_a_remount_lists_and_reads_what_was_known_without_a_request(world):
    first = world.mount()
    known, stats = tree(first.local), stat_tree(first.local)
    first.stop()
    assert len(known) > 20 and known["built/1/context/app/data.bin"] == (world.context / "app/data.bin").read_bytes()
    world.down()    # no request can be answered
    again = world.mount()
    assert tree(again.local) == known
    assert stat_tree(again.local) == stats
    catalog = status(again)["catalog"]
    assert catalog["recalled"] > 0 and catalog["unconfirmed"] > 0
    assert f"lists are from an earlier mount" in again.cli("status", again.path).stdout


def test_what_is_remembered_is_asked_for_once_and_behind(world):
    known = learn(world)
    world.service.reset_counters()
    again = world.mount()
    assert tree(again.local) == known
    wait_until(lambda: confirmed(again), PATIENCE, "the refresh")
    assert tree(again.local) == known
    routes = world.service.counters()["routes"]
    # One list of scopes and of environments, one of versions each; of contexts nothing. Who reads a build.log of which
    # nothing is known has the logs of builds listed, once.
    assert routes["GET environments"] == 1 and routes["GET versions"] == 3, routes
    assert routes.get("GET blobs", 0) <= 1 and "GET blob" not in routes, routes


def test_changes_since_the_last_mount_are_told_to_the_kernel(world):
    learn(world)
    world.service.put_version("gamma", "1")
    world.service.put_version("alpha", "3", {"image": IMAGE})
    world.service.request("DELETE", world.service.workspace_path("local", "environments", "beta", "versions", "1"),
                          expect=(200, 204))
    world.service.set_faults({"delay_ms": 700})
    again = world.mount(refresh=3600)
    # The old state first: what the kernel remembers of it has to go by itself.
    assert sorted(os.listdir(again.local)) == ["alpha", "beta", "built"]
    assert not (again.local / "gamma").exists() and not (again.local / "alpha/3").exists()
    assert (again.local / "beta/1").is_dir() and os.readlink(again.local / "alpha/latest") == "2"
    wait_until(lambda: sorted(os.listdir(again.local)) == ["alpha", "beta", "built", "gamma"], PATIENCE, "gamma")
    wait_until((again.local / "gamma").exists, PATIENCE, "gamma by its name")
    wait_until((again.local / "alpha/3/spec.yml").exists, PATIENCE, "the new version")
    wait_until(lambda: not (again.local / "beta/1").exists(), PATIENCE, "the end of a version")
    wait_until(lambda: os.readlink(again.local / "alpha/latest") == "3", PATIENCE, "latest")
    assert "3" in os.listdir(again.local / "alpha")


def test_a_refresh_that_was_asked_for_waits_for_the_service(world):
    learn(world)
    world.service.put_version("gamma", "1")
    for force in (lambda mount: os.setxattr(mount.path, "user.mlenvfs.refresh", b""), lambda mount: mount.refresh()):
        again = world.mount(refresh=3600)
        force(again)
        wait_until(lambda: "gamma" in os.listdir(again.local), PATIENCE, "gamma")
        again.stop()
        world.service.request("DELETE", world.service.workspace_path("local", "environments", "gamma"), expect=(200, 204))
        other = world.mount()
        wait_until(lambda: "gamma" not in os.listdir(other.local), PATIENCE, "the end of gamma")
        other.stop()
        world.service.put_version("gamma", "1")


def test_times_of_noticed_changes_stay(world):
    """The service does not move lastModifiedAt when tags change: when it was noticed is kept, for rsync."""
    mount = world.mount(refresh=0)
    before = os.stat(mount.local / "alpha/1/spec.yml").st_mtime_ns
    world.service.raw("alpha", "1", {"image": IMAGE, "description": "changed"})
    wait_until(lambda: b"changed" in (mount.local / "alpha/1/spec.yml").read_bytes(), PATIENCE, "the change")
    after = os.stat(mount.local / "alpha/1/spec.yml").st_mtime_ns
    mount.stop()
    again = world.mount()
    assert os.stat(again.local / "alpha/1/spec.yml").st_mtime_ns == after > before


def test_other_views_of_the_service_have_lists_of_scopes_of_their_own(world):
    world.service.make_registry("extra")
    first = world.mount(registry="extra")
    assert "@extra" in os.listdir(first.path)
    first.stop()
    again = world.make_mount(options=world.options({"refresh": 3600}), env={"AZURE_ACCESS_TOKEN": world.token},
                             source="azureml://subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/local")
    assert "@extra" not in os.listdir(again.path)


# ---- without a network ----


def test_without_the_service_what_is_known_is_served_and_the_rest_says_so(world):
    first = world.mount()
    known = {name: data for name, data in tree(first.local).items() if name.startswith("alpha")}
    first.stop()
    shutil.rmtree(world.cache)
    first = world.mount()
    assert {f"alpha/{name}": data for name, data in tree(first.local / "alpha").items()}.items() <= known.items()
    first.stop()
    world.down()
    mount = world.mount(refresh=1, timeout=5)
    assert sorted(os.listdir(mount.local)) == ["alpha", "beta", "built"]
    for round_ in range(2):
        assert tree(mount.local / "alpha") == {name.removeprefix("alpha/"): data for name, data in known.items()
                                               if name != "alpha"}
        with pytest.raises(OSError) as problem:
            os.listdir(mount.local / "beta")
        assert problem.value.errno == errno.EHOSTUNREACH
        wait_until(lambda: status(mount)["catalog"]["away"], PATIENCE, "the end of hope")
    with pytest.raises(OSError) as problem:
        os.setxattr(mount.local / "alpha/1", "user.tag.x", b"y")
    assert problem.value.errno == errno.EHOSTUNREACH
    assert "beta" in mount.log() and "Failed to connect" in mount.log()
    told = mount.cli("status", mount.path).stdout
    assert "offline" in told and "last error" in told
    assert os.listdir(mount.local / "alpha")
    world.up()
    wait_until(lambda: "1" in os.listdir(mount.local / "beta") if reachable(mount.local / "beta") else False, PATIENCE,
               "the service")
    wait_until(lambda: os.listdir(mount.local) and not status(mount)["catalog"]["away"], PATIENCE, "the end of the outage")


def reachable(path):
    try:
        os.listdir(path)
    except OSError:
        return False
    return True


def test_the_age_is_that_of_the_answer(world):
    learn(world)
    time.sleep(1.1)
    world.down()
    again = world.mount()
    os.listdir(again.local)
    assert status(again)["catalog"]["oldest_age_s"] >= 1.1


def test_a_change_that_could_not_be_sent_keeps_what_is_known(world):
    learn(world)
    mount = world.mount()
    os.listdir(mount.local / "alpha")
    wait_until(lambda: confirmed(mount), PATIENCE, "the refresh")
    world.down()
    with pytest.raises(OSError):
        os.setxattr(mount.local / "alpha/1", "user.tag.x", b"y")
    mount.stop()
    again = world.mount()
    assert "image" in (again.local / "alpha/1/spec.yml").read_text()


# ---- several mounts ----


def test_two_mounts_use_one_cache(world):
    one, two = world.mount(), world.mount()
    assert tree(one.local) == tree(two.local)
    os.setxattr(one.local / "alpha/1", "user.tag.mine", b"1")
    os.kill(two.pid, signal.SIGKILL)
    two.process.wait()
    force_unmount(two.path)
    two.kill()
    three = world.mount()
    assert os.getxattr(three.local / "alpha/1", "user.tag.mine") == b"1"
    assert tree(three.local) == tree(one.local)
    report = cli_json(one, "cache", "verify", "--json", "--dir", world.cache)
    assert [line["damaged"] for line in report] == [0, 0]


def test_a_locked_database_is_done_without(world):
    known = learn(world)
    file = next(world.cache.glob("*/lists.db"))
    holder = sqlite3.connect(file, isolation_level=None)
    holder.execute("PRAGMA locking_mode = EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")
    mount = world.mount()
    assert tree(mount.local) == known
    assert "locked" in status(mount)["cache"]["off"] and "locked" in mount.cli("status", mount.path).stdout
    holder.close()
    mount.stop()
    assert "off" not in status(world.mount())["cache"]


# ---- damage ----


def flip(path, rng):
    size = path.stat().st_size
    with open(path, "r+b") as file:
        for _ in range(rng.randint(1, 12)):
            at = rng.randrange(size) if size else 0
            file.seek(at)
            byte = file.read(1) or b"\0"
            file.seek(at)
            file.write(bytes([byte[0] ^ (1 << rng.randrange(8))]))


def cut(path, rng):
    os.truncate(path, rng.randrange(path.stat().st_size + 1))


def grow(path, _rng):
    os.truncate(path, 1 << 34)


def open_up(path, _rng):
    path.chmod(0o666)


def give_away(path, _rng):
    os.chown(path, 1, 1)


def to_link(path, _rng):
    path.unlink()
    path.symlink_to("/etc/passwd")


def to_directory(path, _rng):
    path.unlink()
    path.mkdir()


def to_pipe(path, _rng):
    path.unlink()
    os.mkfifo(path, 0o600)


def to_noise(path, rng):
    path.write_bytes(rng.randbytes(20000))


MANGLES = [flip, flip, cut, grow, open_up, to_link, to_directory, to_pipe, to_noise, *([give_away] if os.geteuid() == 0 else [])]


def test_a_mangled_cache_is_as_if_it_were_not_there(world):
    """Whatever lies there: the mount works, shows what is true, and the next one has a whole cache again."""
    known = learn(world)
    rng = random.Random(5)
    for number, mangle in enumerate(MANGLES):
        files = sorted(path for path in world.cache.rglob("*") if path.is_file() and path.name != "lock")
        for path in files if number % 2 else [path for path in files if path.name.startswith("lists.db")]:
            if path.exists() and not path.is_symlink():
                mangle(path, rng)
        mount = world.mount()
        assert tree(mount.local) == known, mangle.__name__
        mount.stop()
        damaged = cli_json(mount_for_cli(world), "cache", "verify", "--json", "--dir", world.cache, check=False)
        again = cli_json(mount_for_cli(world), "cache", "verify", "--json", "--dir", world.cache)
        assert [line["damaged"] for line in again] == [0, 0], (mangle.__name__, damaged)


def mount_for_cli(world):
    """Something that runs the program, without a mount."""
    return Cli(world.service)


class Cli:
    def __init__(self, service):
        self.binary, self.env = service.binary, service.env

    def cli(self, *words, check=True):
        done = subprocess.run([self.binary, *map(str, words)], env=self.env, text=True, capture_output=True, timeout=60,
                              check=False)
        assert not check or done.returncode == 0, done
        return done


@pytest.mark.parametrize("spoil", ["file", "link", "mode"])
def test_a_directory_that_can_not_be_used_is_done_without(world, tmp_path, spoil):
    if spoil == "file":
        world.cache.write_text("not a directory")
    elif spoil == "link":
        world.cache.symlink_to(tmp_path / "nowhere")
    else:
        world.cache.mkdir()
        world.cache.chmod(0o777)
    mount = world.mount()
    assert sorted(os.listdir(mount.local)) == ["alpha", "beta", "built"]
    assert status(mount)["cache"]["off"]
    assert "nothing is kept on the disk" in mount.log()


def test_files_are_private_and_hold_no_token(world):
    mount = world.mount()
    tree(mount.local)
    mount.stop()
    for path in world.cache.rglob("*"):
        if path.is_symlink():
            continue
        assert path.stat().st_mode & 0o077 == 0, path
        assert not path.is_file() or world.token.encode() not in path.read_bytes(), path


# ---- kill -9 ----


@pytest.mark.deadline(300)
@pytest.mark.skipif(FLAVOUR != "release", reason="NOT TESTED: nothing can be preloaded before a sanitizer's library")
def test_a_mount_that_is_killed_while_it_writes_leaves_nothing_wrong(world, binary, tmp_path):
    """
    The daemon ends before one of its calls, later each time, while it reads everything and changes a tag. The next one
    shows at once what is true: the tag as the service has it, although lists count as fresh for an hour.
    """
    killpoint = KillPoint(binary.parent / "tests/tools/killpoint.so", tmp_path / "killpoint")
    known = learn(world)
    mount = MortalMount(binary, killpoint, options=world.options({"refresh": 3600}), env={"AZURE_ACCESS_TOKEN": world.token})
    try:
        mount.leave()
        killed = sum(one_kill(world, mount, killpoint, known, point) for point in range(1, 250, 31))
        assert killed >= 4
        mount.start()
        mount.leave()
    finally:
        mount.kill()
    verified = cli_json(mount_for_cli(world), "cache", "verify", "--json", "--dir", world.cache)
    assert [line["damaged"] for line in verified] == [0, 0]


def one_kill(world, mount, killpoint, known, point):
    if point % 2:
        shutil.rmtree(world.cache)
    mount.start()
    assert (mount.local / "alpha/1").is_dir()
    killpoint.arm(point)
    try:
        os.setxattr(mount.local / "alpha/1", "user.tag.n", str(point).encode())
        tree(mount.local)
        os.setxattr(mount.local / "alpha/2", "user.tag.n", str(point).encode())
    except OSError:
        pass
    end = time.monotonic() + 0.3
    while not killpoint.what and time.monotonic() < end:
        time.sleep(0.01)
    killed = killpoint.what
    if not killed:
        killpoint.disarm()
        mount.process.kill()
    mount.died()
    mount.start()
    for version in "12":
        truth = world.service.get_version("alpha", version)["properties"].get("tags", {}).get("n", "")
        assert tag(mount.local / "alpha" / version) == truth, f"killed before call {point}, {killed}"
    shown = tree(mount.local)
    for name, data in known.items():
        if not name.startswith("alpha/") or not name.endswith("spec.yml"):
            assert shown[name] == data, f"{name}, killed before call {point}, {killed}"
    mount.leave()
    return bool(killed)


def tag(path):
    try:
        return os.getxattr(path, "user.tag.n").decode()
    except OSError as problem:
        assert problem.errno == errno.ENODATA
        return ""


# ---- limits ----


def test_content_is_bounded(world):
    for number in range(4):
        (world.context / "app/data.bin").write_bytes(random.Random(number).randbytes(BIG))
        world.service.put_version("large", str(number + 1), {
            "build": {"contextUri": world.service.upload_context(world.context, "large", str(number))}})
    mount = world.mount(cache_size="8M")
    tree(mount.local / "large")
    done = mount.cli("warm", mount.path, check=False)
    assert done.returncode == 1 and "cache_size" in done.stderr
    report = cli_json(mount, "cache", "--json", "--dir", world.cache)
    assert 0 < report[-1]["bytes"] <= 8 << 20


def test_nothing_is_kept_when_that_is_switched_off(world):
    mount = world.mount(cache_size=0)
    tree(mount.local)
    assert not world.cache.exists()
    assert "cache_size" in status(mount)["cache"]["off"]
    done = mount.cli("warm", mount.path, check=False)
    assert done.returncode == 1 and "nothing is kept on the disk" in done.stderr


def test_the_embedded_service_needs_no_cache(loaded):
    tree(loaded.local)
    assert "embedded" in status(loaded)["cache"]["off"]
    assert not (loaded.base / "cache").exists()


# ---- mlenvfs warm ----


def test_warm_fetches_everything(world):
    mount = world.mount()
    done = mount.cli("warm", mount.local)
    assert "5 versions" in done.stdout and "0 failed" in done.stdout and not done.stderr
    mount.stop()
    world.down()
    again = world.mount(timeout=5)
    found = tree(again.local)
    assert found["built/1/context/app/data.bin"] == (world.context / "app/data.bin").read_bytes()
    assert "python=3.10" in found["alpha/2/conda.yml"].decode()
    # All of it is there, but nobody knows whether it is still so.
    done = again.cli("warm", again.local, check=False)
    assert done.returncode == 1 and "can't be reached" in done.stderr


def test_warm_survives_the_end_of_the_process(world):
    mount = world.mount()
    mount.cli("warm", "--quiet", mount.local / "built/1")
    os.kill(mount.pid, signal.SIGKILL)
    mount.process.wait()
    mount.kill()
    world.down()
    again = world.mount(timeout=5)
    assert (again.local / "built/1/context/app/data.bin").read_bytes() == (world.context / "app/data.bin").read_bytes()


def test_warm_of_a_part_of_a_version_fetches_its_content(world):
    (world.context / ".archived").mkdir()
    (world.context / ".archived/note").write_text("kept")
    uri = world.service.upload_context(world.context, "old", "1")
    world.service.put_version("old", "1", {"build": {"contextUri": uri}, "isArchived": True})
    parts = [".archived/old/1/context/app", ".archived/old/1/context/.archived"]
    mount = world.mount()
    for part in parts:
        assert "1 versions" in mount.cli("warm", mount.local / part).stdout
    mount.stop()
    world.down()
    again = world.mount(timeout=5)
    assert [sorted(tree(again.local / part)) for part in parts] == [["data.bin", "empty"], ["note"]]


def test_warm_checks_what_is_there_and_fetches_what_is_not(world):
    mount = world.mount()
    tree(mount.local)
    mount.cli("cache", "clear", "--dir", world.cache)
    for path in [path for path in world.cache.rglob("*") if path.is_file()]:
        assert path.name.startswith("lists.db") or path.name == "lock"
    world.service.reset_counters()
    mount.cli("warm", mount.local)
    assert not [route for route in world.service.counters()["routes"] if "blob" in route]    # memory had it
    for path in (world.cache / "objects/content").rglob("*"):
        if path.is_file():
            path.write_bytes(b"damaged")
    mount.cli("warm", mount.local / "built")
    mount.stop()
    world.down()
    assert (world.mount(timeout=5).local / "built/1/context/app/data.bin").stat().st_size == BIG


def test_warm_tells_what_it_could_not_have(world, tmp_path):
    mount = world.mount(timeout=3)
    os.listdir(mount.local)
    world.service.set_faults({"path": "*/environments/*/versions", "status": 403})
    done = mount.cli("warm", mount.local, check=False)
    assert done.returncode == 1 and "local/alpha: Permission denied" in done.stderr
    assert mount.cli("warm", tmp_path, check=False).returncode == 1
    assert mount.cli("warm", check=False).returncode == 2


def test_warm_shows_a_bar_on_a_terminal(world):
    mount = world.mount()
    master, slave = pty.openpty()
    with subprocess.Popen([str(mount.binary), "warm", str(mount.path)], env=mount.env, stdout=slave, stderr=slave) as process:
        os.close(slave)
        shown = b""
        while True:
            try:
                piece = os.read(master, 4096)
            except OSError:
                break
            if not piece:
                break
            shown += piece
        assert process.wait(PATIENCE) == 0
    os.close(master)
    assert b"\r\x1b[K" in shown and shown.rstrip().endswith(b"0 failed")


# ---- mlenvfs cache ----


def test_cache_shows_prunes_and_clears(world):
    cli = mount_for_cli(world)
    assert "nothing" in cli.cli("cache", "--dir", world.cache / "none").stdout
    learn(world)
    shown = cli.cli("cache", "show", "--dir", world.cache).stdout
    assert f"http://127.0.0.1:{world.port}" in shown and "oldest" in shown and "2.4 MiB" in shown
    report = cli_json(cli, "cache", "--json", "--dir", world.cache)
    assert report[0]["lists"] == 5 and report[0]["items"] >= 8 and report[1]["objects"] == 4
    assert cli_json(cli, "cache", "prune", "--size", "1M", "--json", "--dir", world.cache)[-1]["removed"] > 0
    assert cli_json(cli, "cache", "--json", "--dir", world.cache)[-1]["bytes"] <= 1 << 20
    cli.cli("cache", "clear", "--dir", world.cache)
    assert [path.name for path in world.cache.iterdir()] == ["objects"]
    assert not [path for path in world.cache.rglob("*") if path.is_file() or path.is_symlink()]
    for words in (["empty"], ["show", "show"], ["--size", "big"], ["--dir"]):
        assert cli.cli("cache", *words, check=False).returncode == 2


def test_cache_verify_says_what_was_damaged(world):
    cli = mount_for_cli(world)
    learn(world)
    connection = sqlite3.connect(next(world.cache.glob("*/lists.db")))
    connection.execute("UPDATE items SET body = body || x'00' WHERE id = (SELECT MIN(id) FROM items)")
    connection.commit()
    connection.close()
    done = cli.cli("cache", "verify", "--dir", world.cache, check=False)
    assert done.returncode == 1 and "damaged     1, removed" in done.stdout
    assert cli.cli("cache", "verify", "--dir", world.cache).returncode == 0
    for file in world.cache.glob("*/lists.db"):
        file.write_bytes(b"SQLite format 3\0" + b"x" * 8000)
    assert cli.cli("cache", "--dir", world.cache).returncode == 0


def test_what_is_no_cache_is_left_alone(world, tmp_path):
    """Who mistypes a directory loses nothing there; and what others put into a cache stays theirs."""
    cli = mount_for_cli(world)
    other = tmp_path / "other"
    (other / "folder/lock").mkdir(parents=True)
    (other / "file").write_text("mine")
    (other / "folder/file").write_text("mine")
    for path in (other, other / "folder"):
        path.chmod(0o755)
    before = {path: path.lstat().st_mode for path in [other, *other.rglob("*")]}
    for operation in ("show", "verify", "prune", "clear"):
        done = cli.cli("cache", operation, "--dir", other, check=False)
        assert done.returncode == 1 and "no cache" in done.stderr
    assert {path: path.lstat().st_mode for path in [other, *other.rglob("*")]} == before
    learn(world)
    shutil.copytree(other, world.cache, dirs_exist_ok=True)
    cli.cli("cache", "verify", "--dir", world.cache)
    cli.cli("cache", "clear", "--dir", world.cache)
    assert sorted(path.name for path in world.cache.iterdir()) == ["file", "folder", "objects"]
    assert (world.cache / "folder/file").read_text() == "mine"


def test_a_mount_goes_on_while_its_cache_is_cleared(world):
    mount = world.mount()
    known = tree(mount.local)
    mount.cli("cache", "clear", "--dir", world.cache)
    assert tree(mount.local) == known
    mount.refresh()
    wait_until(lambda: tree(mount.local) == known, PATIENCE, "the lists")
    mount.stop()
    assert tree(world.mount().local) == known


