"""
What the kernel asks, counted exactly: nothing for what it has in its caches; and that it never
shows from them what is not so any more.
"""
import errno
import json
import os
import subprocess
from contextlib import contextmanager

import pytest

from lib.mount import wait_until
from lib.service import Service
from lib.steps import upload_blobs

CONDA = "channels:\n- conda-forge\ndependencies:\n- python=3.11\n"
ENVS = ("plain", "with-conda")


@pytest.fixture(scope="module")
def shelf(binary, examples):
    """A service that no test here changes: the examples."""
    with Service(binary) as running:
        for path in sorted(examples.glob("*/*/spec.yml")):
            running.load_asset_dir(path.parent, name=path.parent.parent.name, version=path.parent.name)
        yield running


@pytest.fixture(params=["rw", "ro"])
def shelved(request, shelf, make_mount):
    mount = make_mount(service=shelf, options={"refresh": 3600, "ro": request.param == "ro"})
    mount.ro = request.param == "ro"
    return mount


@pytest.fixture
def fresh(service, make_mount):
    """A small workspace that is written to; its lists stay fresh unless a test says otherwise."""
    for env in ENVS:
        for version in ("1", "2"):
            properties = {"image": "docker.io/library/busybox:latest"}
            if env != "plain":
                properties["condaFile"] = json.dumps({"dependencies": ["python=3.11"]})
            service.put_version(env, version, properties)
    return service, make_mount(service=service, options={"refresh": 3600})


def status(mount):
    return json.loads(os.getxattr(mount.path, "user.mlenvfs.status"))


def totals(mount):
    """All that was asked and told so far, once every file that was opened is closed."""
    def settled():
        now = status(mount)
        asked = now["upcalls"]
        closed = asked.get("open", 0) + asked.get("create", 0) == asked.get("release", 0)
        return now if mount.ro or closed else None

    now = wait_until(settled, 30, "the releases of all files")
    return {**now["upcalls"], **now["notices"]}


@contextmanager
def counted(mount):
    """What is asked meanwhile: {request: how often}, but for what the kernel forgets by itself."""
    mount.ro = getattr(mount, "ro", False)
    before, asked = totals(mount), {}
    yield asked
    for name, n in totals(mount).items():
        if n > before.get(name, 0) and name != "forget":
            asked[name] = n - before.get(name, 0)


def run(mount, *words):
    done = subprocess.run(words, cwd=mount.path, capture_output=True, text=True, check=False,
                          env={"LC_ALL": "C", "PATH": os.environ["PATH"]}, timeout=60)
    assert not done.stderr, done.stderr
    return done.stdout


def walk(mount):
    """Every directory and file, with a stat of each; twice, since reading a directory sets its access time."""
    for _ in range(2):
        found = run(mount, "find", ".", "-printf", "%y %s %p\n").splitlines()
    return found


def names(path):
    return sorted(os.listdir(path))


def settle(mount):
    """
    Without an open, the kernel must ask before it reads a log, until it is known what logs others have left: that is
    asked for when the first one is read.
    """
    if mount.ro:
        assert next(mount.local.glob("*/[0-9]*/build.log")).read_bytes() == b""
        wait_until(lambda: not asked_by_a_walk(mount), 30, "the list of logs")


def asked_by_a_walk(mount):
    with counted(mount) as asked:
        walk(mount)
    return asked


# ---- nothing is asked for what is known ----


def test_a_first_find_asks_twice_for_each_directory(shelved):
    with counted(shelved) as asked:
        found = run(shelved, "find", ".", "-type", "d").splitlines()
    asked.pop("getattr", None)  # the root's
    stored = asked.pop("store")
    assert asked == {"opendir": 1, "readdirplus": len(found), "readdir": len(found)}
    assert stored >= 10


def test_a_second_find_asks_nothing(shelved):
    first = walk(shelved)
    settle(shelved)
    with counted(shelved) as asked:
        assert walk(shelved) == first
        assert run(shelved, "ls", "-R").count("spec.yml") > 4
    assert not asked


def test_a_second_stat_asks_nothing(shelved):
    paths = [line.split(" ", 2)[2] for line in walk(shelved)]
    settle(shelved)
    with counted(shelved) as asked:
        for _ in range(3):
            for path in paths:
                os.lstat(shelved.path / path)
    assert not asked


def test_long_listings_ask_once_for_attributes_that_no_file_has(shelved):
    walk(shelved)
    settle(shelved)
    run(shelved, "ls", "-lR")
    with counted(shelved) as asked:
        listed = run(shelved, "ls", "-lR").splitlines()
    assert len(listed) > 50
    assert set(asked) <= {"getxattr"} and asked.get("getxattr", 0) <= 3, asked


def test_other_namespaces_are_not_supported_rather_than_empty(shelved):
    path = shelved.local / "churn-training/1/spec.yml"
    for name in ("security.selinux", "system.posix_acl_access", "trusted.x", "security.capability"):
        with pytest.raises(OSError) as caught:
            os.getxattr(path, name)
        # trusted.* is hidden from ordinary users by the kernel itself
        assert caught.value.errno in (errno.EOPNOTSUPP, errno.ENODATA if name == "trusted.x" else errno.EOPNOTSUPP)
    assert "user.description" in os.listxattr(path)


def test_what_is_grepped_right_after_the_first_find_is_not_read_again(shelved):
    run(shelved, "find", ".")
    texts = [path for path in shelved.local.rglob("*") if path.name in ("spec.yml", "conda.yml")]
    with counted(shelved) as asked:
        for path in texts:
            assert path.read_text()
    assert "read" not in asked and "lookup" not in asked, asked


def test_open_read_close(shelved):
    path = shelved.local / "churn-training/1/conda.yml"
    text = path.read_text()
    with counted(shelved) as asked:
        for _ in range(10):
            assert path.read_text() == text
    assert asked.pop("getattr", 0) <= 1, "the access time, after the first reading"
    assert asked == ({} if shelved.ro else {"open": 10, "release": 10})


def test_files_of_a_build_context_are_read_once(shelved):
    path = shelved.local / "invoice-ocr/1/context/requirements.txt"
    text = path.read_text()
    path.read_text()
    with counted(shelved) as asked:
        assert path.read_text() == text
    assert "read" not in asked, asked


def test_links_are_read_once(shelved):
    link, dockerfile = shelved.local / "churn-training/latest", shelved.local / "invoice-ocr/1/Dockerfile"
    targets = os.readlink(link), os.readlink(dockerfile)
    assert targets == ("2", "context/Dockerfile")
    with counted(shelved) as asked:
        assert (os.readlink(link), os.readlink(dockerfile)) == targets
        os.stat(link / "spec.yml")
        os.stat(link / "spec.yml")
    assert not asked.get("readlink"), asked


def test_a_text_larger_than_one_request_is_whole_without_open(service, make_mount):
    packages = [f"package-{i:06}=1.{i}" for i in range(30000)]
    service.put_version("large", "1", {"image": "busybox", "condaFile": json.dumps({"dependencies": packages})})
    texts = [(make_mount(service=service, options={"ro": ro}).local / "large/1/conda.yml").read_text() for ro in (True, False)]
    assert texts[0] == texts[1]
    assert len(texts[0]) > 500000 and "package-029999=1.29999" in texts[0]


# ---- and what is shown is what is so ----


def test_a_saved_version_is_listed_at_once(fresh):
    _, mount = fresh
    env = mount.local / "with-conda"
    walk(mount)
    for number in range(3, 8):
        (env / "latest/conda.yml").write_text(CONDA + f"- pandas={number}\n")
        assert os.readlink(env / "latest") == str(number)
        assert str(number) in names(env)
        assert f"pandas={number}" in (env / str(number) / "conda.yml").read_text()


def test_scratch_made_in_one_version_is_listed_in_the_others(fresh):
    _, mount = fresh
    env = mount.local / "plain"
    walk(mount)
    (env / "1/notes.txt").write_text("x")
    assert "notes.txt" in names(env / "2") and "notes.txt" in names(env / "1")
    os.rename(env / "2/notes.txt", env / "2/other.txt")
    assert "other.txt" in names(env / "1") and "notes.txt" not in names(env / "1")
    os.unlink(env / "1/other.txt")
    assert "other.txt" not in names(env / "2")


def test_drafts_and_new_environments_are_listed_at_once(fresh):
    _, mount = fresh
    walk(mount)
    os.mkdir(mount.local / "new")
    assert "new" in names(mount.local)
    os.mkdir(mount.local / "new/.next")
    assert names(mount.local / "new") == [".next"]
    (mount.local / "new/.next/spec.yml").write_text("image: busybox\n")
    assert names(mount.local / "new/.next") == ["spec.yml"]
    os.rename(mount.local / "new/.next", mount.local / "new/1")
    assert names(mount.local / "new") == ["1", "latest"]
    assert "spec.yml" in names(mount.local / "new/1")


def test_removed_versions_are_not_listed(fresh):
    _, mount = fresh
    walk(mount)
    subprocess.run(["rm", "-r", mount.local / "plain/1"], check=True)
    assert names(mount.local / "plain") == ["2", "latest"]
    assert names(mount.local / ".archived/plain") == ["1"]
    os.rename(mount.local / ".archived/plain/1", mount.local / "plain/1")
    assert names(mount.local / "plain") == ["1", "2", "latest"]


def test_a_refused_save_leaves_its_text_in_the_listing(fresh):
    _, mount = fresh
    version = mount.local / "plain/2"
    walk(mount)
    with pytest.raises(OSError):
        (version / "spec.yml").write_text("image: [\n")
    assert "spec.yml.rejected" in names(version)


def test_changes_by_others_reach_what_is_cached(fresh):
    service, mount = fresh
    env = mount.local / "plain"
    walk(mount)
    service.put_version("plain", "3")
    service.put_version("another", "1")
    os.setxattr(mount.path, "user.mlenvfs.refresh", b"1")
    assert names(env) == ["1", "2", "3", "latest"]
    assert "another" in names(mount.local)
    assert os.readlink(env / "latest") == "3"
    assert 'version: "3"' in (env / "latest/spec.yml").read_text()


def test_what_is_cached_ends_with_the_freshness_of_its_list(service, make_mount):
    service.put_version("plain", "1")
    mount = make_mount(service=service, options={"refresh": 1})
    assert names(mount.local / "plain") == ["1", "latest"]
    service.put_version("plain", "2")
    wait_until(lambda: names(mount.local / "plain") == ["1", "2", "latest"], 30, "version 2")
    assert os.readlink(mount.local / "plain/latest") == "2"


def test_caching_begins_again_when_it_is_quiet(fresh):
    _, mount = fresh
    env = mount.local / "plain"
    (env / "1/notes.txt").write_text("x")
    os.unlink(env / "1/notes.txt")

    def is_cached():
        names(env / "2")
        with counted(mount) as asked:
            names(env / "2")
        return not asked

    assert not is_cached()
    wait_until(is_cached, 60, "the kernel to keep the listing")


def test_a_listing_that_changes_while_it_is_read_is_not_kept(service, make_mount):
    many = [f"environment-with-a-long-name-so-that-they-do-not-fit-one-answer-{i:04}" for i in range(250)]
    for name in many:
        service.put_version(name, "1")
    mount = make_mount(service=service, options={"refresh": 3600})
    with os.scandir(mount.local) as entries:
        seen = [next(entries).name]
        service.put_version("a-new-one", "1")
        os.setxattr(mount.path, "user.mlenvfs.refresh", b"1")
        assert "a-new-one" in names(mount.local)
        seen += [entry.name for entry in entries]
    assert sorted(seen) == many, "who began before sees what was there"
    assert names(mount.local) == ["a-new-one", *many]
    names(mount.local)
    with counted(mount) as asked:
        assert names(mount.local) == ["a-new-one", *many]
    assert not asked.get("lookup"), asked


def test_a_reader_that_stops_early_spoils_nothing(service, make_mount):
    many = [f"environment-with-a-long-name-so-that-they-do-not-fit-one-answer-{i:04}" for i in range(250)]
    for name in many:
        service.put_version(name, "1")
    mount = make_mount(service=service, options={"refresh": 3600})
    with os.scandir(mount.local) as entries:
        next(entries)
    service.request("DELETE", service.workspace_path("local", "environments", many[0]), expect=(200, 202, 204))
    os.setxattr(mount.path, "user.mlenvfs.refresh", b"1")
    for _ in range(3):
        assert names(mount.local) == many[1:]


def test_own_writes_are_read_although_the_file_was_given_to_the_kernel(fresh):
    _, mount = fresh
    path = mount.local / "with-conda/2/conda.yml"
    run(mount, "find", ".")
    with open(path, "r+") as file:
        before = file.read()
        file.seek(0)
        file.truncate()
        file.write(CONDA)
        file.flush()
        assert path.read_text() == CONDA
        run(mount, "find", ".")
        assert path.read_text() == CONDA
    assert path.read_text() == CONDA, "as long as the process that saved it lives"
    assert before != CONDA


def test_reading_everything_after_a_walk_makes_no_request(fresh):
    service, mount = fresh
    walk(mount)
    service.reset_counters()
    assert run(mount, "grep", "-rl", "--exclude=build.log", "image", "local").count("spec.yml") == 2 * len(ENVS)
    assert service.counters()["total"] == 0
    assert run(mount, "grep", "-rl", "image", "local").count("spec.yml") == 2 * len(ENVS)
    assert service.counters()["routes"] == {"GET datastores": 1, "GET blobs": 1}, "whose logs are there"


def test_who_goes_through_many_environments_has_the_list_of_logs_fetched(service, make_mount):
    for number in range(20):
        service.put_version(f"env-{number:02}", "1", {"image": "busybox"})
    mount = make_mount(service=service, options={"refresh": 3600})
    run(mount, "find", "local")
    wait_until(lambda: service.counters()["routes"].get("GET blobs"), 30, "the list of logs")
    service.reset_counters()
    assert run(mount, "grep", "-rl", "busybox", "local").count("spec.yml") == 20
    assert service.counters()["total"] == 0


# ---- requests that somebody who goes through everything will make are made ahead ----


def contexts(service, environments=6, versions=2, files=5):
    """Environments with build contexts of some files each."""
    for i in range(environments):
        for version in range(1, versions + 1):
            content = {f"file-{n}": f"{i} {version} {n}\n".encode() for n in range(files - 1)}
            uri = upload_blobs(service, f"context-{i}-{version}/", {"Dockerfile": b"FROM busybox\n", **content})
            service.put_version(f"env-{i}", str(version), {"build": {"contextUri": uri, "dockerfilePath": "Dockerfile"}})
    return environments * versions


def test_a_walk_through_build_contexts_asks_for_several_at_once(service, make_mount):
    number = contexts(service)
    service.set_faults({"delay_ms": 20})
    mount = make_mount(service=service, options={"refresh": 3600, "ro": True})
    service.reset_counters()
    found = run(mount, "find", "local", "-name", "file-0").splitlines()
    counters = service.counters()
    assert len(found) == number
    assert counters["routes"]["GET blobs"] == number, "each is listed once"
    assert counters["at_once"] > 2
    assert "GET blob" not in counters["routes"], "no file is fetched by a find"
    service.reset_counters()
    assert run(mount, "grep", "-rc", "busybox", "local").count("Dockerfile:1") == number
    counters = service.counters()
    assert counters["routes"] == {"GET blob": 5 * number, "GET blobs": 1}, "each file is fetched once; whose logs are there"
    assert counters["at_once"] > 2


def test_a_single_look_fetches_nothing_more(service, make_mount):
    contexts(service, environments=3)
    mount = make_mount(service=service, options={"refresh": 3600})
    os.listdir(mount.local / "env-1")
    service.reset_counters()
    assert (mount.local / "env-1/1/context/file-2").read_bytes() == b"1 1 2\n"
    routes = service.counters()["routes"]
    assert routes["GET blobs"] == 1 and routes["GET blob"] == 1, routes
