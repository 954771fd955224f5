"""The command line: help, mistakes, start-up errors, background and foreground, status and info."""
import json
import os
import re
import subprocess

import pytest

from lib.mount import Mount, force_unmount, is_mounted, wait_until

COMMANDS = ["mount", "umount", "status", "info", "import", "serve", "login", "logout", "doctor"]


@pytest.fixture
def empty(sandbox):
    """An empty directory to mount at."""
    path = sandbox.base / "mnt"
    path.mkdir()
    return path


def documented_options(root):
    """The options that fs/options.c has a help text for: what users are meant to know."""
    table = (root / "fs/options.c").read_text().split("} table[] = {")[1].split("\n};")[0]
    rows = re.findall(r'\{"(\w+)",\s*(\w+),\s*[^,]+,\s*(NULL|"[^"]*"),\s*(NULL|")', table)
    return {name for name, _kind, _arg, text in rows if text != "NULL"}


def names(path):
    """What `ls` shows: no names with a leading dot (each workspace has .archived)."""
    return sorted(name for name in os.listdir(path) if name[0] != ".")


def process_is_gone(pid):
    """True when it has ended, though nobody may have asked for its exit status yet."""
    try:
        return open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


# ---- help and version ----


def test_version_is_one_line_with_the_makefiles_number(sandbox, root):
    number = re.search(r"^VERSION\s*:= (\S+)", (root / "Makefile").read_text(), re.M).group(1)
    assert sandbox.cli("--version").stdout == f"mlenvfs {number}\n"


def test_help_names_every_command(sandbox):
    text = sandbox.cli("--help").stdout
    for command in COMMANDS:
        assert re.search(rf"^  {command}\b", text, re.M), command
    assert text == sandbox.cli("help").stdout == sandbox.cli("-h").stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help_in_two_ways(sandbox, command):
    text = sandbox.cli("help", command).stdout
    assert text.startswith(f"usage: mlenvfs {command}")
    assert sandbox.cli(command, "--help").stdout == text


def test_help_goes_to_stdout_only_when_asked_for(sandbox):
    done = sandbox.cli(check=False)
    assert done.returncode == 2
    assert done.stdout == "" and "usage:" in done.stderr


# ---- the options are the same in the program, the man page and the README ----


def test_mount_help_names_every_option(sandbox, root):
    documented = documented_options(root)
    assert len(documented) >= 18
    shown = set(re.findall(r"^\s+(?:-o )?(\w+)(?:=\S+)?\s{2,}", sandbox.cli("help", "mount").stdout, re.M))
    assert documented <= shown


def test_man_page_names_every_mount_option(root):
    page = (root / "docs/mlenvfs.1").read_text().split(".Sh OPTIONS")[1].split(".Sh ")[0]
    listed = set(re.findall(r"^\.It Cm (\w+)(?: Ns = Ns Ar .*)?$", page, re.M))
    assert listed == documented_options(root)


@pytest.mark.parametrize("command", COMMANDS)
def test_man_page_names_every_command_line_option(sandbox, root, command):
    page = (root / "docs/mlenvfs.1").read_text()
    assert re.search(rf"^\.Ic {command}\b|^\.It Ic {command}\b|^\.Nm Ic {command}\b", page, re.M), command
    for option in re.findall(r"^ +(?:-\w, )?--([a-z-]+)", sandbox.cli("help", command).stdout, re.M):
        assert f"Fl -{option}" in page.replace("\\-", "-"), f"--{option} of {command}"


def test_readme_table_names_every_option(root):
    table = (root / "README.md").read_text().split("## Options")[1].split("\n## ")[0]
    listed = set(re.findall(r"^\| `(\w+)[=`]", table, re.M))
    assert listed == documented_options(root)


# ---- mistakes ----


@pytest.mark.parametrize("typed, meant", [
    ("refesh=5", "refresh"), ("timout=1", "timeout"), ("alow_other", "allow_other"),
    ("regsitry=x", "registry"),
])
def test_unknown_option_suggests_the_nearest(sandbox, empty, typed, meant):
    done = sandbox.cli("mount", "-o", typed, empty, check=False)
    assert done.returncode == 2
    assert f"'{typed.split('=')[0]}'" in done.stderr and f"'{meant}'" in done.stderr
    assert not is_mounted(empty)


def test_unknown_option_unlike_any_other_points_to_the_help(sandbox, empty):
    done = sandbox.cli("mount", "-o", "quetzalcoatl=1", empty, check=False)
    assert done.returncode == 2
    assert "help mount" in done.stderr and "did you mean" not in done.stderr


@pytest.mark.parametrize("value", ["refresh=soon", "refresh=-1", "refresh=nan", "timeout=", "max_requests=many",
                                   "max_requests=-1", "cache_memory=64X", "cache_memory=", "uid=-5",
                                   "log_level=loud", "ro=maybe", "refresh", "store="])
def test_bad_option_value_is_refused_by_name(sandbox, empty, value):
    done = sandbox.cli("mount", "-o", value, empty, check=False)
    assert done.returncode == 2
    assert value.split("=")[0] in done.stderr
    assert not is_mounted(empty)


@pytest.mark.parametrize("typed, meant", [("mont", "mount"), ("unmount", "umount"), ("stats", "status")])
def test_unknown_command_suggests_the_nearest(sandbox, typed, meant):
    done = sandbox.cli(typed, check=False)
    assert done.returncode == 2
    assert f"'{meant}'" in done.stderr


@pytest.mark.parametrize("words", [
    ["mount"], ["mount", "a", "b", "c"], ["mount", "--nonsense", "x"], ["mount", "-o"], ["umount"],
    ["info"], ["import"], ["import", "only-a-mountpoint"], ["status", "--nonsense"], ["help", "nonsense"],
])
def test_wrong_call_is_status_2_and_says_why(sandbox, words):
    done = sandbox.cli(*words, check=False)
    assert done.returncode == 2
    assert done.stdout == "" and done.stderr.startswith("mlenvfs")


@pytest.mark.parametrize("source", [
    "azureml://", "azureml://subscriptions/", "azureml://nonsense/x", "azureml://registries/",
    "azureml://subscriptions/1/resourceGroups/", "https://example.invalid/", "embeded",
])
def test_bad_source_is_refused(sandbox, empty, source):
    done = sandbox.cli("mount", source, empty, check=False)
    assert done.returncode == 2
    assert done.stderr and not is_mounted(empty)


# ---- start-up errors are told by the command that was typed ----


def test_missing_mountpoint_is_reported(sandbox):
    done = sandbox.cli("mount", sandbox.base / "nowhere", check=False)
    assert done.returncode == 1
    assert "nowhere" in done.stderr and "No such file" in done.stderr


def test_file_as_mountpoint_is_reported(sandbox):
    path = sandbox.base / "file"
    path.write_text("")
    done = sandbox.cli("mount", path, check=False)
    assert done.returncode == 1
    assert "not a directory" in done.stderr


@pytest.mark.parametrize("foreground", [[], ["-f"]], ids=["background", "foreground"])
def test_service_that_is_not_there_is_reported(sandbox, empty, foreground):
    # Port 1 of loopback: nothing listens there.
    done = sandbox.cli("mount", *foreground, "-o", "arm_endpoint=http://127.0.0.1:1,timeout=5", empty, check=False)
    assert done.returncode == 1
    assert str(empty) in done.stderr
    assert not is_mounted(empty)


def test_store_that_cannot_be_made_is_reported(sandbox, empty):
    (sandbox.base / "file").write_text("")
    done = sandbox.cli("mount", "-o", f"store={sandbox.base}/file/store.db", empty, check=False)
    assert done.returncode == 1
    assert "store" in done.stderr or "file" in done.stderr
    assert not is_mounted(empty)


def test_store_that_is_something_else_is_reported_and_left_alone(sandbox, empty):
    store = sandbox.base / "notes.txt"
    store.write_text("not a database, and longer than the magic number of one\n" * 20)
    before = store.read_bytes()
    done = sandbox.cli("mount", "-o", f"store={store}", empty, check=False)
    assert done.returncode == 1 and done.stderr
    assert store.read_bytes() == before
    assert not is_mounted(empty)


def test_log_file_that_cannot_be_opened_is_reported(sandbox, empty):
    done = sandbox.cli("mount", "-o", f"log_file={sandbox.base}/no/such/log", empty, check=False)
    assert done.returncode == 1
    assert "log file" in done.stderr and not is_mounted(empty)


def test_failed_start_leaves_no_socket_behind(sandbox, empty):
    sandbox.cli("mount", "-o", "arm_endpoint=http://127.0.0.1:1,timeout=5", empty, check=False)
    assert list(sandbox.runtime.iterdir()) == []


def test_mounting_twice_is_refused(mounted):
    done = mounted.cli("mount", mounted.path, check=False)
    assert done.returncode == 1
    assert "already" in done.stderr


def test_second_mount_of_one_store_is_refused(mounted, sandbox, empty):
    store = next((mounted.base / "data").rglob("store.db"))
    done = sandbox.cli("mount", "-o", f"store={store}", empty, check=False)
    assert done.returncode == 1 and done.stderr
    assert not is_mounted(empty)


# ---- background ----


def test_background_mount_and_umount_leave_nothing(sandbox, empty):
    done = sandbox.cli("mount", empty)
    try:
        assert done.stdout == "" and is_mounted(empty)
        assert names(empty / "local") == []
        pid = json.loads(sandbox.cli("status", "--json", empty).stdout)["pid"]
        assert os.readlink(f"/proc/{pid}/cwd") == "/"
        assert os.getsid(pid) == pid
        sandbox.cli("umount", empty)
        assert not is_mounted(empty)
        assert process_is_gone(pid)
        assert list(sandbox.runtime.iterdir()) == []
    finally:
        force_unmount(empty)


def test_what_was_published_is_there_in_the_next_mount(sandbox, empty, examples):
    try:
        sandbox.cli("mount", empty)
        sandbox.cli("import", empty, examples)
        first = subprocess.check_output(["find", empty, "-printf", "%P %i %s %T@ %l\n"], text=True)
        sandbox.cli("umount", empty)
        sandbox.cli("mount", empty)
        second = subprocess.check_output(["find", empty, "-printf", "%P %i %s %T@ %l\n"], text=True)
        sandbox.cli("umount", empty)
    finally:
        force_unmount(empty)
    tree = [sorted(line for line in text.splitlines() if line.startswith("local/")) for text in (first, second)]
    assert len(tree[0]) > 20
    assert tree[0] == tree[1]


def test_files_under_the_mount_come_back(sandbox, empty):
    (empty / "under").write_text("still here")
    try:
        sandbox.cli("mount", empty)
        assert "under" not in os.listdir(empty)
        sandbox.cli("umount", empty)
    finally:
        force_unmount(empty)
    assert (empty / "under").read_text() == "still here"


def test_relative_paths_mean_the_directory_where_one_stands(sandbox, empty):
    try:
        sandbox.cli("mount", "-o", "store=here.db,log_file=here.log", "mnt", cwd=sandbox.base)
        assert is_mounted(empty)
        sandbox.cli("umount", "mnt", cwd=sandbox.base)
    finally:
        force_unmount(empty)
    assert (sandbox.base / "here.db").is_file() and (sandbox.base / "here.log").is_file()


def all_mounts(sandbox):
    """`status` of every mount of the machine: that of another test may have been killed, which is an error to tell."""
    return sandbox.cli("status", check=False).stdout


def test_mountpoint_with_blanks_and_other_letters(sandbox):
    path = sandbox.base / "my models\\ü,ü"
    path.mkdir()
    try:
        sandbox.cli("mount", path)
        assert names(path / "local") == []
        assert str(path) in all_mounts(sandbox)
        sandbox.cli("umount", path)
        assert not is_mounted(path)
    finally:
        force_unmount(path)


def test_umount_of_what_is_not_mounted_is_reported(sandbox, empty):
    done = sandbox.cli("umount", empty, check=False)
    assert done.returncode == 1
    assert str(empty) in done.stderr and "not mounted" in done.stderr


def test_umount_in_use_is_refused_and_lazy_works(sandbox, empty):
    try:
        sandbox.cli("mount", empty)
        pid = json.loads(sandbox.cli("status", "--json", empty).stdout)["pid"]
        fd = os.open(empty / "local", os.O_RDONLY)
        try:
            done = sandbox.cli("umount", empty, check=False)
            assert done.returncode == 1 and is_mounted(empty)
            sandbox.cli("umount", "-z", empty)
            assert not is_mounted(empty)
        finally:
            os.close(fd)
        wait_until(lambda: process_is_gone(pid), 20, "the process of a lazily unmounted mount")
    finally:
        force_unmount(empty)


def test_killed_process_leaves_a_mount_that_umount_and_mount_clean_up(sandbox, empty):
    def mount_and_kill():
        sandbox.cli("mount", empty)
        pid = json.loads(sandbox.cli("status", "--json", empty).stdout)["pid"]
        os.kill(pid, 9)
        wait_until(lambda: process_is_gone(pid), 20, "a killed process")
        with pytest.raises(OSError):
            os.listdir(empty)

    try:
        mount_and_kill()
        done = sandbox.cli("status", empty, check=False)
        assert done.returncode == 1 and "umount" in done.stderr
        sandbox.cli("umount", empty)
        assert not is_mounted(empty)

        mount_and_kill()
        sandbox.cli("mount", empty)
        assert names(empty / "local") == []
        sandbox.cli("umount", empty)
    finally:
        force_unmount(empty)


@pytest.mark.parametrize("number", [2, 15], ids=["SIGINT", "SIGTERM"])
def test_signal_unmounts_a_foreground_mount(make_mount, number):
    mount = make_mount()
    process = mount.process
    os.kill(mount.pid, number)
    assert process.wait(20) == 0
    assert not is_mounted(mount.path)
    mount.kill()


# ---- as a helper of mount(8) ----


@pytest.mark.parametrize("name", ["mount.mlenvfs", "mount.fuse.mlenvfs"])
@pytest.mark.parametrize("source", ["none", "embedded", "mlenvfs"])
def test_helper_of_mount(sandbox, empty, name, source):
    helper = sandbox.base / name
    helper.symlink_to(sandbox.binary)
    try:
        subprocess.run([helper, source, empty, "-o", "rw,nosuid,nodev,noauto,user=bob,relatime,refresh=5"], env=sandbox.env,
                       check=True, timeout=60)
        assert is_mounted(empty)
        options = next(line.split()[3] for line in open("/proc/mounts") if f" {empty} " in line)
        assert {"nosuid", "nodev"} <= set(options.split(","))
        sandbox.cli("umount", empty)
    finally:
        force_unmount(empty)


def test_helper_of_mount_takes_its_switches(sandbox, empty):
    helper = sandbox.base / "mount.fuse.mlenvfs"
    helper.symlink_to(sandbox.binary)
    try:
        subprocess.run([helper, "embedded", empty, "-s", "-n", "-v", "-o", "ro"], env=sandbox.env, check=True,
                       timeout=60)
        options = next(line.split()[3] for line in open("/proc/mounts") if f" {empty} " in line)
        assert "ro" in options.split(",")
        sandbox.cli("umount", empty)
        # mount -f tries everything but the mounting; it does not mean the foreground.
        subprocess.run([helper, "embedded", empty, "-f", "-o", "rw"], env=sandbox.env, check=True, timeout=60)
        assert not is_mounted(empty)
    finally:
        force_unmount(empty)


# ---- status, info, import ----


def test_status_lists_mounts_and_says_where_they_come_from(mounted):
    assert f"{mounted.path}\n" in all_mounts(mounted)
    assert "embedded" in mounted.cli("status", mounted.path).stdout
    status = json.loads(mounted.cli("status", "--json", mounted.path).stdout)
    assert status["mountpoint"] == str(mounted.path)
    assert status["pid"] == mounted.pid
    assert status["source"] == "embedded"


def test_status_of_something_else_is_an_error(sandbox):
    done = sandbox.cli("status", sandbox.base, check=False)
    assert done.returncode == 1 and str(sandbox.base) in done.stderr


def test_info_shows_facts_and_tags(loaded):
    path = loaded.local / "churn-training/2"
    info = json.loads(loaded.cli("info", "--json", path).stdout)
    assert info["tag.team"] == "growth"
    assert info["azureml.reference"] == "azureml:churn-training:2"
    assert "gradient boosting" in info["description"]
    text = loaded.cli("info", path).stdout
    for value in ("growth", "azureml:churn-training:2"):
        assert value in text
    by_latest = json.loads(loaded.cli("info", "--json", loaded.local / "churn-training/latest/spec.yml").stdout)
    assert by_latest["azureml.id"] == info["azureml.id"]


def test_info_of_something_else_is_an_error(sandbox):
    done = sandbox.cli("info", sandbox.base / "nothing", check=False)
    assert done.returncode == 1 and "nothing" in done.stderr


def test_import_shows_at_once_and_a_second_time_changes_nothing(loaded, examples):
    assert names(loaded.local) == sorted(path.name for path in examples.iterdir() if path.is_dir())
    before = subprocess.check_output(["ls", "-lR", "--full-time", loaded.local])
    loaded.load(examples)
    assert subprocess.check_output(["ls", "-lR", "--full-time", loaded.local]) == before


def test_import_of_one_version_and_of_one_environment(mounted, examples):
    mounted.load(examples / "churn-training/2")
    assert names(mounted.local / "churn-training") == ["2", "latest"]
    mounted.load(examples / "churn-training")
    assert names(mounted.local / "churn-training") == ["1", "2", "latest"]


def test_import_names_what_is_wrong_and_goes_on(mounted, examples, tmp_path):
    bad = tmp_path / "broken/1"
    bad.mkdir(parents=True)
    (bad / "spec.yml").write_text("image: [\n")
    done = mounted.cli("import", mounted.path, tmp_path, examples, check=False)
    assert done.returncode == 1
    assert "broken/1" in done.stderr and "line" in done.stderr
    assert os.path.exists(mounted.local / "tf-serving/1/spec.yml")
    assert not os.path.exists(mounted.local / "broken")


def test_import_into_a_workspace_that_is_not_there(mounted, examples):
    done = mounted.cli("import", "--workspace", "nowhere", mounted.path, examples, check=False)
    assert done.returncode == 1 and "nowhere" in done.stderr


# ---- secrets ----


def test_token_is_not_in_the_environment_of_the_mount_nor_in_its_log(binary, service):
    mount = Mount(binary, service=service, options={"log_level": "debug", "debug": True})
    token = mount.env["AZURE_ACCESS_TOKEN"]
    try:
        os.listdir(mount.path / "local")
        status = mount.cli("status", "--json", mount.path).stdout
        log = mount.log()
        command = open(f"/proc/{mount.pid}/cmdline", "rb").read().decode()
        try:
            environment = open(f"/proc/{mount.pid}/environ", "rb").read().decode()
        except PermissionError:
            environment = ""
    finally:
        mount.stop()
    for text in (status, log, command, environment):
        assert token not in text
