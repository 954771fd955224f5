"""Fixtures of all integration tests: the program, services, mounts, the corpus, and time limits."""
import os
import shutil
import signal
from pathlib import Path

import pytest

from lib.mount import Mount, Sandbox

ROOT = Path(__file__).resolve().parents[2]
FLAVOUR = os.environ.get("MLENVFS_FLAVOUR", "release")
DEADLINE_SECONDS = 120
SANITIZER_SLOWNESS = 4

# A build without sanitizers has no canaries to run.
collect_ignore = ["test_canary.py"] if FLAVOUR == "release" else []


@pytest.fixture(scope="session")
def root():
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def flavour():
    """Which build this is: release, address or thread."""
    return FLAVOUR


@pytest.fixture(scope="session")
def binary():
    path = Path(os.environ.get("MLENVFS_BIN", ROOT / "build/release/mlenvfs")).resolve()
    if not os.access(path, os.X_OK):
        pytest.exit(f"there is no program at {path}: run make first, or make test", 2)
    return path


@pytest.fixture(scope="session")
def examples():
    return ROOT / "examples"


@pytest.fixture(scope="session")
def shared():
    """What this project's developers share beside the checkout: the corpus and API documents."""
    path = Path(os.environ.get("MLENVFS_SHARED", ROOT.parent / "shared"))
    if not path.is_dir():
        pytest.skip(f"NOT TESTED: {path} is missing (set MLENVFS_SHARED)")
    return path


@pytest.fixture(scope="session")
def corpus(shared):
    """270 real environment versions, by other people."""
    path = shared / "corpus"
    if not (path / "manifest.json").is_file():
        pytest.skip(f"NOT TESTED: the corpus {path} is missing (set MLENVFS_SHARED)")
    return path


@pytest.fixture
def sandbox(binary):
    """A private directory and environment, and .cli() to run the program in it."""
    with Sandbox(binary) as box:
        yield box


@pytest.fixture
def service(binary):
    """`mlenvfs serve` on a port of its own."""
    from lib.service import Service  # pylint: disable=import-outside-toplevel

    with Service(binary) as running:
        yield running


@pytest.fixture
def serve(binary):
    """Makes services, Service(binary, ...), that end with the test."""
    from lib.service import Service  # pylint: disable=import-outside-toplevel

    made = []

    def make(*options, **how):
        made.append(Service(binary, *options, **how))
        return made[-1]

    yield make
    for running in made:
        running.stop()


@pytest.fixture
def engine():
    """buildah, with storage of its own."""
    from lib.builds import Engine  # pylint: disable=import-outside-toplevel

    if not shutil.which("buildah"):
        pytest.skip("NOT TESTED: buildah is not installed (scripts/setup test)")
    made = Engine()
    yield made
    made.remove()


@pytest.fixture
def make_mount(binary):
    """Makes mounts, Mount(binary, ...), that end with the test; their end is checked."""
    made = []

    def make(**how):
        mount = Mount(binary, **how)
        made.append(mount)
        return mount

    yield make
    problems = []
    for mount in reversed(made):
        try:
            mount.stop()
        except AssertionError as problem:
            problems.append(str(problem))
    assert not problems, "\n".join(problems)


@pytest.fixture
def mounted(make_mount):
    """A mount of the embedded service, empty."""
    return make_mount()


@pytest.fixture
def loaded(mounted, examples):
    """A mount of the embedded service with the examples in its workspace `local`."""
    mounted.load(examples)
    return mounted


def pytest_collection_modifyitems(items):
    for item in items:
        if "concurren" in item.nodeid or "canary" in item.nodeid:
            item.add_marker(pytest.mark.races)


# ---- time limits: a test that waits for something that never comes fails, and the rest goes on ----


def _limited(item):
    marker = item.get_closest_marker("deadline")
    seconds = marker.args[0] if marker else DEADLINE_SECONDS
    seconds *= 1 if FLAVOUR == "release" else SANITIZER_SLOWNESS

    def expire(_signal, _frame):
        raise TimeoutError(f"the test took longer than its {seconds} s")

    signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds, 5)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_setup(item):
    yield from _limited(item)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    yield from _limited(item)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_teardown(item):
    yield from _limited(item)
