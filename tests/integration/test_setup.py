"""scripts/setup installs what is missing and only that; make install puts files where they belong."""
import os
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

# What scripts/setup itself runs; what it looks for is in the table.
TOOLS = "sh dash env cat grep sed awk sort tr id dirname basename cc gcc as ld python3 getconf ln cmp cp mv rm mkdir tail timeout".split()
TABLE = Path(__file__).resolve().parents[2] / "scripts/packages.txt"
PROGRAMS = {probe.split(":")[1] for group, probe in (line.split()[:2] for line in TABLE.read_text().splitlines() if line[0] != "#")
            if group in ("run", "test", "want") and probe.startswith(("cmd:", "gnu:"))}
LOCK = Path(__file__).resolve().parents[2] / "tests/js/package-lock.json"
MANAGERS = {"apt-get": "install -y", "dnf": "install -y", "pacman": "-Sy", "apk": "add"}


class Machine:
    """A PATH that holds only what it is given, with package managers that write down what they are asked."""

    def __init__(self, base):
        self.bin = base / "bin"
        self.bin.mkdir()
        self.js = base / "js"
        self.js.mkdir()
        shutil.copy(LOCK, self.js)
        self.log = base / "log"
        self.log.write_text("")
        for tool in PROGRAMS.union(TOOLS):
            real = shutil.which(tool)
            if real:
                (self.bin / tool).symlink_to(real)

    def remove(self, *tools):
        for tool in tools:
            (self.bin / tool).unlink()

    def script(self, name, body):
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def manager(self, name, installs=()):
        """A package manager; `installs` are programs that are there once it ran."""
        made = "".join(f'case "$*" in *"{MANAGERS[name]}"*) ln -sf /bin/true {self.bin}/{tool};; esac\n'
                       for tool in installs)
        self.script(name, f'echo "{name} $*" >>{self.log}\n{made}')

    def npm(self, body):
        """npm, and none of its packages."""
        self.remove("npm")
        self.script("npm", f'echo "npm $*" >>{self.log}\n{body}')
        (self.js / LOCK.name).unlink()

    def user(self, uid=0):
        self.bin.joinpath("id").unlink()
        self.script("id", f"echo {uid}")

    def setup(self, root, use):
        env = {"PATH": str(self.bin), "HOME": "/nonexistent", "MLENVFS_JS": str(self.js)}
        done = subprocess.run([root / "scripts/setup", use], env=env, text=True, capture_output=True, timeout=120,
                              stdin=subprocess.DEVNULL, check=False)
        return done, self.log.read_text()


@pytest.fixture
def machine(tmp_path):
    made = Machine(tmp_path)
    made.user(0)
    return made


@pytest.mark.parametrize("use", ["run", "test"])
def test_nothing_missing_does_nothing(machine, root, use):
    machine.manager("apt-get")
    machine.script("sudo", f"echo sudo >>{machine.log}")
    machine.user(1000)
    done, log = machine.setup(root, use)
    assert (done.returncode, done.stdout, done.stderr, log) == (0, "", "", "")


@pytest.mark.parametrize("manager, package", [("apt-get", "attr"), ("dnf", "attr"), ("pacman", "attr"), ("apk", "attr")])
def test_installs_only_what_is_missing(machine, root, manager, package):
    machine.remove("getfattr")
    machine.manager(manager, installs=["getfattr"])
    done, log = machine.setup(root, "test")
    assert done.returncode == 0, done.stderr
    assert log.splitlines()[-1].split()[-1] == package
    assert "cmd:getfattr" in done.stdout and "all there" in done.stdout


def test_names_differ_between_systems(machine, root):
    machine.remove("pkg-config")
    machine.manager("dnf", installs=["pkg-config"])
    _, log = machine.setup(root, "run")
    for name in ("pkgconf-pkg-config", "fuse3-devel", "libcurl-devel", "sqlite-devel", "openssl-devel"):
        assert name in log
    assert "libfuse3-dev" not in log


def test_run_needs_no_test_packages(machine, root):
    machine.remove("getfattr", "rsync")
    machine.manager("apt-get")
    done, log = machine.setup(root, "run")
    assert done.returncode == 0 and log == ""


def test_sudo_when_not_root(machine, root):
    machine.user(1000)
    machine.remove("rsync")
    machine.manager("apt-get", installs=["rsync"])
    machine.script("sudo", f'echo "sudo" >>{machine.log}; exec "$@"')
    done, log = machine.setup(root, "test")
    assert done.returncode == 0, done.stderr
    assert log.splitlines()[0] == "sudo"
    assert log.splitlines()[-1].endswith("--no-install-recommends rsync")
    assert "DEBIAN_FRONTEND" not in log


def test_neither_root_nor_sudo_says_what_to_run(machine, root):
    machine.user(1000)
    machine.remove("rsync")
    machine.manager("apt-get")
    done, log = machine.setup(root, "test")
    assert done.returncode == 1 and log == ""
    assert "apt-get" in done.stderr and "as root" in done.stderr


def test_no_package_manager_names_what_is_missing(machine, root):
    machine.remove("rsync")
    done, _ = machine.setup(root, "test")
    assert done.returncode == 1
    assert "rsync" in done.stderr


def test_installation_that_did_not_help_is_an_error(machine, root):
    machine.remove("rsync")
    machine.manager("apt-get")
    done, _ = machine.setup(root, "test")
    assert done.returncode == 1
    assert "still missing" in done.stderr and "rsync" in done.stderr


def test_failing_package_manager_is_an_error(machine, root):
    machine.remove("rsync")
    machine.script("apt-get", "exit 100")
    done, _ = machine.setup(root, "test")
    assert done.returncode == 1 and "apt-get" in done.stderr


def test_npm_packages_are_installed_once(machine, root):
    machine.npm("mkdir node_modules; cp package-lock.json node_modules/seen")
    done, log = machine.setup(root, "test")
    assert (done.returncode, done.stderr, log) == (0, "", "npm ci\n")
    assert (machine.js / "node_modules/seen").read_bytes() == LOCK.read_bytes()
    done, log = machine.setup(root, "test")
    assert (done.returncode, done.stdout, done.stderr, log) == (0, "", "", "npm ci\n")


@pytest.mark.parametrize("body", ["echo no network; exit 1", "true"])
def test_npm_that_fails_is_no_failure_but_said(machine, root, body):
    machine.npm(body)
    done, _ = machine.setup(root, "test")
    assert done.returncode == 0
    for word in ("npm", "test_official_js.py", "test_azurite.py", "skipped"):
        assert word in done.stderr
    assert not (machine.js / LOCK.name).exists()


def test_npm_is_installed_where_it_can_be(machine, root):
    machine.remove("npm")
    machine.manager("apt-get", installs=["npm"])
    done, log = machine.setup(root, "test")
    assert done.returncode == 0 and log.splitlines()[-1].endswith("--no-install-recommends npm")


def test_no_npm_is_no_failure_but_said(machine, root):
    machine.remove("npm")
    machine.script("apt-get", "exit 100")
    (machine.js / LOCK.name).unlink()
    done, _ = machine.setup(root, "test")
    assert done.returncode == 0 and "no npm" in done.stderr and "skipped" in done.stderr


def test_the_lock_file_names_no_registry(root):
    """It is to work with whatever registry this machine takes its packages from."""
    lock = LOCK.read_text()
    assert '"resolved"' not in lock and '"integrity"' in lock
    assert "ignore-scripts=true" in (root / "tests/js/.npmrc").read_text()


def test_unknown_use_is_refused(machine, root):
    done, _ = machine.setup(root, "nonsense")
    assert done.returncode == 2 and "usage" in done.stderr


def test_every_need_has_a_package_everywhere(root):
    rows = [line.split() for line in (root / "scripts/packages.txt").read_text().splitlines()
            if not line.startswith("#")]
    assert len(rows) > 25
    for row in rows:
        assert len(row) == 6 and row[0] in ("run", "test", "want", "check", "bench"), row
        assert "-" not in row[2:] or row[1].startswith("san:") or row[0] == "bench", row


def test_makefile_and_setup_agree_on_the_libraries(root):
    makefile = (root / "Makefile").read_text()
    used = next(line for line in makefile.splitlines() if line.startswith("PKGS ")).split(":=")[1].split()
    table = (root / "scripts/packages.txt").read_text()
    needed = {line.split()[1].removeprefix("lib:") for line in table.splitlines() if " lib:" in line and line[0] != "#"}
    assert needed == {*used, "cmocka"}


def test_install_and_uninstall(root, binary, flavour, tmp_path):
    if flavour != "release":
        pytest.skip("what gets installed is the release build")
    where = [f"DESTDIR={tmp_path}", "PREFIX=/usr"]
    subprocess.run(["make", "-s", "-C", root, "install", *where], check=True, timeout=120)
    program = tmp_path / "usr/bin/mlenvfs"
    assert program.read_bytes() == binary.read_bytes() and os.access(program, os.X_OK)
    assert (tmp_path / "usr/share/man/man1/mlenvfs.1").is_file()
    for helper in ("mount.mlenvfs", "mount.fuse.mlenvfs"):
        assert os.readlink(tmp_path / "usr/sbin" / helper) == "/usr/bin/mlenvfs"
    subprocess.run(["make", "-s", "-C", root, "uninstall", *where], check=True, timeout=120)
    assert not [path for path in tmp_path.rglob("*") if not path.is_dir()]
