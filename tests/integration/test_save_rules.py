"""What a save decides - nothing, new tags, one version - and what the path shows before, while and after."""
import errno
import os
import signal
import threading

import pytest

from lib.mount import wait_until
from lib.saves import (GONE_SECONDS, Program, context_of, errno_of, error_of, load_text, properties, put_context, routes, run,
                       state_of, versions, wait_back, wait_shown, writes)
from lib.service import Service

IMAGE = {"image": "mcr.microsoft.com/azureml/base:1", "description": "The first.", "tags": {"team": "ml"}}
CONDA = "channels:\n- conda-forge\ndependencies:\n- python=3.10\n"
CONTEXT = {"Dockerfile": b"FROM scratch\nCOPY app /app\n", "requirements.txt": b"numpy\n", "app/main.py": b"print('one')\n"}
LONG_AGO = 1_600_000_000_123_456_789


@pytest.fixture
def mount(service, make_mount):
    service.put_version("a", "1", IMAGE)
    service.put_version("c", "1", {**IMAGE, "condaFile": CONDA})
    service.put_version("d", "1", IMAGE)
    put_context(service, "b", "1", CONTEXT)
    return make_mount(service=service, options={"refresh": 3600})


@pytest.fixture
def program(mount):  # pylint: disable=unused-argument # its end comes before the mount's
    """Makes programs that live as long as editors do."""
    made = []

    def make(cwd):
        made.append(Program(cwd))
        return made[-1]

    yield make
    for one in made:
        one.end()


def edit(path, old, new):
    """A save by a program that ends at once."""
    data = path.read_bytes()
    assert old in data
    script = "import sys\nwith open(sys.argv[1], 'w') as file: file.write(sys.argv[2])"
    run("/usr/bin/python3", "-c", script, path, data.replace(old, new).decode())


def shown(path):
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size, path.read_bytes()


# ---- nothing ----


def test_what_is_no_save(service, mount):
    version = mount.local / "a/1"
    spec, data = version / "spec.yml", (version / "spec.yml").read_bytes()
    service.reset_counters()
    os.close(os.open(spec, os.O_WRONLY))
    os.close(os.open(spec, os.O_RDWR | os.O_APPEND))
    fd = os.open(spec, os.O_RDWR)
    os.ftruncate(fd, len(data))
    os.fsync(fd)
    os.close(fd)
    os.truncate(spec, len(data))
    run("touch", spec)
    os.chmod(spec, 0o600)
    os.chown(spec, os.geteuid(), os.getegid())
    os.utime(spec, ns=(LONG_AGO, LONG_AGO))
    assert service.counters()["total"] == 0
    assert spec.read_bytes() == data
    assert spec.stat().st_mtime_ns == LONG_AGO and spec.stat().st_mode & 0o777 == 0o600
    assert versions(service, "a") == {"1"}


def test_mode_and_mtime_are_kept_for_this_machine(service, make_mount, tmp_path):
    service.put_version("a", "1", {**IMAGE, "condaFile": CONDA})
    state = {"XDG_STATE_HOME": str(tmp_path)}
    first = make_mount(service=service, env=state)
    for name in ("spec.yml", "conda.yml"):
        os.utime(first.local / "a/1" / name, ns=(LONG_AGO, LONG_AGO))
        os.chmod(first.local / "a/1" / name, 0o640)
    first.stop()
    again = make_mount(service=service, env=state)
    for name in ("spec.yml", "conda.yml"):
        found = (again.local / "a/1" / name).stat()
        assert found.st_mtime_ns == LONG_AGO and found.st_mode & 0o777 == 0o640


def test_what_was_taken_away_or_emptied_comes_back(service, mount):
    spec = {name: mount.local / name / "1/spec.yml" for name in "abcd"}
    data = {name: path.read_bytes() for name, path in spec.items()}
    conda, main = mount.local / "c/1/conda.yml", mount.local / "b/1/context/app/main.py"
    conda_data, main_data = conda.read_bytes(), main.read_bytes()
    service.reset_counters()
    os.unlink(spec["a"])
    os.rename(spec["b"], mount.local / "b/1/spec.yml~")
    run("bash", "-c", ": > spec.yml", cwd=spec["c"].parent)
    # truncate(2) has no close that could save or fail; what follows counts.
    os.truncate(spec["d"], 0)
    os.unlink(conda)
    os.rename(main, main.parent / "main.py~")
    assert errno_of(os.stat, spec["a"]) == errno.ENOENT and errno_of(os.stat, spec["b"]) == errno.ENOENT
    assert spec["c"].stat().st_size == 0 and spec["d"].read_bytes() == b""
    assert errno_of(os.stat, conda) == errno.ENOENT and "main.py" not in os.listdir(main.parent)
    for name, path in spec.items():
        wait_back(path, data[name])
    wait_back(conda, conda_data)
    wait_back(main, main_data)
    assert (mount.local / "b/1/spec.yml~").read_bytes() == data["b"], "what it was renamed to stays"
    assert writes(service) == {}
    assert all(versions(service, name) == {"1"} for name in "abcd")
    assert not list(mount.local.rglob("*.rejected"))


def test_a_backup_renamed_back_is_no_version(service, mount):
    spec = mount.local / "a/1/spec.yml"
    before, data = spec.stat(), spec.read_bytes()
    service.reset_counters()
    os.rename(spec, mount.local / "a/1/spec.yml~")
    fd = os.open(spec, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    os.write(fd, b"image: x\nimagee: y\n")
    assert errno_of(os.close, fd) == errno.EBADMSG
    os.rename(mount.local / "a/1/spec.yml~", spec)
    assert spec.read_bytes() == data and spec.stat().st_mtime_ns == before.st_mtime_ns
    assert (mount.local / "a/1/spec.yml.rejected").read_bytes() == b"image: x\nimagee: y\n"
    assert writes(service) == {} and versions(service, "a") == {"1"}


def test_the_old_bytes_written_back_after_a_failed_save_are_no_version(service, mount, program):
    vim, data = program(mount.local / "a/1"), (mount.local / "a/1/spec.yml").read_bytes()
    with pytest.raises(OSError) as caught:
        vim.save("spec.yml", b"imagee: x\n")
    assert caught.value.errno == errno.EBADMSG
    vim.save("spec.yml", data)
    assert (mount.local / "a/1/spec.yml").read_bytes() == data
    assert versions(service, "a") == {"1"}


def test_comments_and_layout_are_no_version_and_are_kept(service, make_mount, tmp_path):
    service.put_version("a", "1", {**IMAGE, "condaFile": CONDA})
    state = {"XDG_STATE_HOME": str(tmp_path)}
    mount = make_mount(service=service, env=state)
    version = mount.local / "a/1"
    service.reset_counters()
    texts = {name: b"# mine\n" + (version / name).read_bytes() + b"\n# and this\n" for name in ("spec.yml", "conda.yml")}
    for name, text in texts.items():
        (version / name).write_bytes(text)
    assert writes(service) == {}
    times = {name: (version / name).stat().st_mtime_ns for name in texts}
    mount.stop()
    again = make_mount(service=service, env=state)
    for name, text in texts.items():
        found = again.local / "a/1" / name
        assert found.read_bytes() == text and found.stat().st_size == len(text) and found.stat().st_mtime_ns == times[name]
    assert versions(service, "a") == {"1"}
    # What another wrote since is not hidden behind them.
    service.put_version("a", "1", {**service.get_version("a", "1")["properties"], "tags": {"team": "other"}})
    os.setxattr(again.path, "user.mlenvfs.refresh", b"1")
    wait_until(lambda: b"team: other" in (again.local / "a/1/spec.yml").read_bytes(), 10, "the tag of somebody else")
    assert (again.local / "a/1/conda.yml").read_bytes() == texts["conda.yml"]


@pytest.mark.parametrize("left_out", [b"name: a\n", b'version: "1"\n', b"os_type: linux\n"])
def test_a_text_that_leaves_out_what_the_path_says_keeps_its_comments(service, mount, left_out):
    spec = mount.local / "a/1/spec.yml"
    data = spec.read_bytes()
    edit(spec, left_out, b"# mine\n")
    assert data != spec.read_bytes() and b"# mine\n" in spec.read_bytes()
    assert versions(service, "a") == {"1"}


# ---- tags and description ----


def test_tags_and_description_in_spec_yml_are_changed_in_place(service, mount):
    spec = mount.local / "a/1/spec.yml"
    service.put_version("a", "1", {**IMAGE, "stage": "Development"})
    edit(spec, b"team: ml", b"team: platform\n  owner: grace")
    assert versions(service, "a") == {"1"}
    assert properties(service, "a", "1")["tags"] == {"team": "platform", "owner": "grace"}
    assert properties(service, "a", "1")["stage"] == "Development", "what is not in spec.yml is kept"
    assert os.getxattr(spec, "user.tag.owner") == b"grace"
    edit(spec, b"The first.", b"Another text.")
    assert properties(service, "a", "1")["description"] == "Another text."
    edit(spec, b"description: Another text.\n", b"")
    assert not properties(service, "a", "1").get("description")
    assert versions(service, "a") == {"1"} and os.readlink(mount.local / "a/latest") == "1"
    service.reset_counters()
    edit(spec, b"owner: grace", b"owner: ada")
    assert routes(service) == {"GET version": 1, "PUT version": 1}
    assert load_text(spec)["tags"] == {"team": "platform", "owner": "ada"}


def test_tags_of_a_record_that_leaves_the_os_to_its_default(service, mount):
    """What the change does not name is sent back as it was read."""
    service.raw("a", "1", IMAGE)
    edit(mount.local / "a/1/spec.yml", b"team: ml", b"team: platform")
    assert properties(service, "a", "1")["tags"] == {"team": "platform"}
    assert "osType" not in properties(service, "a", "1")


def test_tags_and_content_together_are_one_version(service, mount):
    spec = mount.local / "a/1/spec.yml"
    data = spec.read_bytes().replace(b"base:1", b"base:2").replace(b"team: ml", b"team: platform")
    spec.write_bytes(data)
    assert versions(service, "a") == {"1", "2"}
    assert properties(service, "a", "1")["tags"] == {"team": "ml"}
    assert properties(service, "a", "2")["tags"] == {"team": "platform"}


def test_setfattr_after_the_save_is_no_version(service, mount, program):
    vis = program(mount.local / "a/1")
    vis.save("spec.yml", (mount.local / "a/1/spec.yml").read_bytes().replace(b"base:1", b"base:2"))
    vis.do("os.chmod('spec.yml', 0o644); os.utime('spec.yml')")
    vis.do("""
try: os.setxattr('spec.yml', 'user.note', b'mine')
except OSError as problem: assert problem.errno == 95, problem""")
    assert versions(service, "a") == {"1", "2"}


# ---- which version ----


def test_spec_yml_names_a_free_version(service, mount):
    edit(mount.local / "a/1/spec.yml", b'version: "1"\nimage: mcr.microsoft.com/azureml/base:1',
         b'version: "7"\nimage: mcr.microsoft.com/azureml/base:7')
    assert versions(service, "a") == {"1", "7"} and os.readlink(mount.local / "a/latest") == "7"
    edit(mount.local / "a/7/spec.yml", b'version: "7"', b"version: rc-1.0")
    assert versions(service, "a") == {"1", "7", "rc-1.0"}, "the same content under another version"
    assert properties(service, "a", "rc-1.0")["image"] == properties(service, "a", "7")["image"]


def test_spec_yml_names_a_version_that_exists(service, mount, program):
    service.put_version("a", "2", {"image": "mcr.microsoft.com/azureml/base:2"})
    editor, spec = program(mount.local / "a/1"), mount.local / "a/1/spec.yml"
    text = spec.read_bytes().replace(b'version: "1"', b'version: "2"').replace(b"base:1", b"base:9")
    with pytest.raises(OSError) as caught:
        editor.save("spec.yml", text)
    assert caught.value.errno == errno.EEXIST
    assert (mount.local / "a/1/spec.yml.rejected").read_bytes() == text
    assert "2" in error_of(mount.local / "a/1")
    assert versions(service, "a") == {"1", "2"} and properties(service, "a", "2")["image"][-1] == "2"


def test_another_name_is_refused(service, mount, program):
    editor, spec = program(mount.local / "a/1"), mount.local / "a/1/spec.yml"
    with pytest.raises(OSError) as caught:
        editor.save("spec.yml", spec.read_bytes().replace(b"name: a", b"name: other"))
    assert caught.value.errno == errno.EBADMSG
    assert "cp" in error_of(spec) or "copy" in error_of(spec), error_of(spec)
    assert versions(service, "a") == {"1"} and versions(service, "other") == set()


def test_the_base_changed_while_it_was_edited(service, mount, program):
    editor, spec = program(mount.local / "a/1"), mount.local / "a/1/spec.yml"
    data = spec.read_bytes()
    service.put_version("a", "2", {"image": "mcr.microsoft.com/azureml/base:2"})
    editor.save("spec.yml", data.replace(b"base:1", b"base:3"))
    assert versions(service, "a") == {"1", "2", "3"}
    assert [properties(service, "a", v)["image"][-1] for v in "123"] == ["1", "2", "3"]
    assert os.readlink(mount.local / "a/latest") == "3"


@pytest.mark.parametrize("machines", ["one machine", "two machines"])
def test_two_mounts_that_save_at_the_same_moment_make_two_versions(service, mount, make_mount, machines):
    env = {"XDG_RUNTIME_DIR": str(mount.runtime)} if machines == "one machine" else {}
    other = make_mount(service=service, options={"refresh": 3600}, env=env)
    service.set_faults({"path": "*/versions/*", "delay_ms": 50})
    rounds, images = 5, {IMAGE["image"]}
    for number in range(rounds):
        barrier, failures = threading.Barrier(2), []

        def save(where, text):
            fd = os.open(where / "spec.yml", os.O_WRONLY | os.O_TRUNC)
            os.write(fd, text)
            barrier.wait(30)  # pylint: disable=cell-var-from-loop
            try:
                os.close(fd)
            except OSError as problem:
                failures.append(problem)  # pylint: disable=cell-var-from-loop

        saving = []
        for who, each in (("one", mount), ("two", other)):
            image = f"mcr.microsoft.com/azureml/{who}:{number}"
            images.add(image)
            text = f"name: a\nimage: {image}\ntags: {{team: ml}}\ndescription: The first.\n".encode()
            saving.append(threading.Thread(target=save, args=(each.local / "a/1", text)))
        for one in saving:
            one.start()
        for one in saving:
            one.join()
        assert not failures
    service.set_faults()
    assert versions(service, "a") == {str(number) for number in range(1, 2 * rounds + 2)}
    assert {properties(service, "a", version)["image"] for version in versions(service, "a")} == images


def test_lists_that_lag_do_not_hide_what_was_saved(binary, make_mount):
    with Service(binary, "--list-lag", "4") as slow:
        slow.put_version("a", "1", IMAGE)
        mount = make_mount(service=slow, options={"refresh": 0})
        wait_until(lambda: (mount.local / "a/1/spec.yml").exists(), 60, "the first version in the list")
        for number in (2, 3):
            text = (mount.local / "a/latest/spec.yml").read_bytes()
            edit(mount.local / f"a/{number - 1}/spec.yml", b"base:%d" % (number - 1), b"base:%d" % number)
            assert os.readlink(mount.local / "a/latest") == str(number) and str(number) in os.listdir(mount.local / "a")
            assert text != (mount.local / f"a/{number}/spec.yml").read_bytes()
        assert {slow.get_version("a", v)["properties"]["image"][-1] for v in "123"} == {"1", "2", "3"}
        mount.stop()


# ---- what is shown ----


@pytest.mark.parametrize("how", ["in place", "renamed"])
def test_the_path_shows_what_was_saved_while_its_program_lives(service, mount, program, how):
    editor, spec = program(mount.local / "a/1"), mount.local / "a/1/spec.yml"
    old = shown(spec)
    for image in (b"base:2", b"base:3"):
        new = old[3].replace(b"base:1", image)
        if how == "in place":
            editor.save("spec.yml", new)
        else:
            editor.do(f"open('tmp1', 'wb').write({new!r}); os.rename('tmp1', 'spec.yml')")
        saved = shown(spec)
        assert saved[3] == new
        if how == "in place":
            assert saved[0] == old[0], "the file is the same one"
        assert (mount.local / "a" / image[-1:].decode() / "spec.yml").stat().st_mtime_ns == saved[1]
        os.setxattr(mount.path, "user.mlenvfs.refresh", b"1")
        os.listdir(mount.local / "a")
        assert shown(spec) == saved
        assert editor.do("os.stat('spec.yml').st_mtime_ns") == saved[1]
        assert state_of(mount.local / "a/1") == "published"
    assert versions(service, "a") == {"1", "2", "3"}
    editor.end()
    wait_shown(spec, old[3])
    assert shown(spec) == old, "the published file again, inode and time included"


def test_a_save_that_says_nothing_new_is_shown_by_itself(service, mount, program):
    editor, spec = program(mount.local / "a/1"), mount.local / "a/1/spec.yml"
    text = spec.read_bytes() + b"# later\n"
    editor.save("spec.yml", text)
    before = shown(spec)
    editor.end()
    assert shown(spec) == before and before[3] == text
    assert versions(service, "a") == {"1"}


def test_unsaved_bytes_are_seen_by_others(service, mount, program):
    editor, spec = program(mount.local / "a/1"), mount.local / "a/1/spec.yml"
    editor.do("fd = os.open('spec.yml', os.O_WRONLY | os.O_TRUNC); os.write(fd, b'image: half')")
    assert spec.read_bytes() == b"image: half" and spec.stat().st_size == 11
    assert versions(service, "a") == {"1"} and os.listdir(mount.local / "a/1").count("spec.yml") == 1


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_a_killed_program_publishes_nothing_and_loses_nothing(service, mount, program, how):
    editor, spec = program(mount.local / "a/1"), mount.local / "a/1/spec.yml"
    old = spec.read_bytes()
    torso = old.replace(b"base:1", b"base:2")
    editor.do(f"fd = os.open('spec.yml', os.O_WRONLY | os.O_TRUNC); os.write(fd, {torso!r})")
    service.reset_counters()
    editor.kill(how)
    rejected = mount.local / "a/1/spec.yml.rejected"
    wait_until(rejected.exists, 20, "what the killed program wrote")
    assert rejected.read_bytes() == torso
    wait_shown(spec, old)
    assert writes(service) == {} and versions(service, "a") == {"1"}


def test_cat_that_is_killed(service, mount, tmp_path):
    """The text so far is a valid spec: only the signal says that it is not all."""
    old = (mount.local / "a/1/spec.yml").read_bytes()
    os.mkfifo(tmp_path / "pipe")
    shell = Program(mount.local / "a/1")
    shell.do(f"import subprocess; cat = subprocess.Popen(['bash', '-c', 'exec cat {tmp_path}/pipe > spec.yml'])")
    pipe = os.open(tmp_path / "pipe", os.O_WRONLY)
    torso = old.replace(b"base:1", b"base:2")
    os.write(pipe, torso)
    wait_until(lambda: (mount.local / "a/1/spec.yml").stat().st_size == len(torso), 20, "cat")
    assert shell.do("cat.kill() or cat.wait()") == -signal.SIGKILL
    os.close(pipe)
    shell.end()
    wait_until((mount.local / "a/1/spec.yml.rejected").exists, 20, "what cat wrote")
    wait_shown(mount.local / "a/1/spec.yml", old)
    assert versions(service, "a") == {"1"}


def test_two_programs_that_save_one_file(service, mount, program):
    """The last one that closes has its text saved; each save is a version."""
    one, two = program(mount.local / "a/1"), program(mount.local / "a/1")
    old = (mount.local / "a/1/spec.yml").read_bytes()
    one.save("spec.yml", old.replace(b"base:1", b"base:2"))
    two.save("spec.yml", old.replace(b"base:1", b"base:3"))
    assert (mount.local / "a/1/spec.yml").read_bytes() == old.replace(b"base:1", b"base:3")
    two.end()
    one.end()
    wait_shown(mount.local / "a/1/spec.yml", old)
    assert [properties(service, "a", v)["image"][-1] for v in sorted(versions(service, "a"))] == ["1", "2", "3"]


# ---- other files ----


def test_a_file_added_to_a_context_and_one_removed(service, mount):
    context = mount.local / "b/1/context"
    run("bash", "-c", "echo new > new.txt", cwd=context)
    assert versions(service, "b") == {"1", "2"}
    assert context_of(service, "b", "2") == {**CONTEXT, "new.txt": b"new\n"}
    wait_until(lambda: not (context / "new.txt").exists(), GONE_SECONDS, "the context as it is published")

    second = mount.local / "b/2/context"
    os.unlink(second / "app/main.py")
    os.unlink(second / "new.txt")
    edit(second / "requirements.txt", b"numpy", b"scipy")
    left = {"Dockerfile": CONTEXT["Dockerfile"], "requirements.txt": b"scipy\n"}
    assert versions(service, "b") == {"1", "2", "3"} and context_of(service, "b", "3") == left
    third = mount.local / "b/3/context"
    assert {str(p.relative_to(third)) for p in third.rglob("*") if p.is_file()} == set(left)


def test_a_directory_made_in_a_context(service, mount):
    context = mount.local / "b/1/context"
    os.mkdir(context / "lib")
    assert versions(service, "b") == {"1"}
    run("bash", "-c", "echo 'x = 1' > lib/util.py", cwd=context)
    assert versions(service, "b") == {"1", "2"}
    assert context_of(service, "b", "2") == {**CONTEXT, "lib/util.py": b"x = 1\n"}


def test_a_file_moved_in_a_context(service, mount):
    context = mount.local / "b/1/context"
    os.rename(context / "app/main.py", context / "app/start.py")
    moved = {**CONTEXT, "app/start.py": CONTEXT["app/main.py"]}
    del moved["app/main.py"]
    assert versions(service, "b") == {"1", "2"} and context_of(service, "b", "2") == moved


def test_the_dockerfile_link_replaced_by_a_file(service, mount):
    version = mount.local / "b/1"
    run("sed", "-i", "s/scratch/busybox/", version / "Dockerfile")
    assert versions(service, "b") == {"1", "2"}
    assert context_of(service, "b", "2") == {**CONTEXT, "Dockerfile": CONTEXT["Dockerfile"].replace(b"scratch", b"busybox")}
    assert os.readlink(mount.local / "b/2/Dockerfile") == "context/Dockerfile"


def test_a_conda_file_is_added_and_removed(service, mount):
    version = mount.local / "a/1"
    (version / "conda.yml").write_text(CONDA)
    assert versions(service, "a") == {"1"}, "nothing names it yet"
    edit(version / "spec.yml", b"base:1\n", b"base:1\nconda_file: conda.yml\n")
    assert versions(service, "a") == {"1", "2"}
    assert load_text(mount.local / "a/2/conda.yml") == load_text(CONDA)
    second = mount.local / "a/2"
    wait_until(lambda: load_text(second / "spec.yml")["version"] == "2", GONE_SECONDS, "the new version")
    os.unlink(second / "conda.yml")
    edit(second / "spec.yml", b"conda_file: conda.yml\n", b"")
    assert versions(service, "a") == {"1", "2", "3"} and not (mount.local / "a/3/conda.yml").exists()
    assert not properties(service, "a", "3").get("condaFile")


def test_a_spec_written_directly_in_the_environment(service, mount, program):
    editor, env = program(mount.local / "a"), mount.local / "a"
    text = b"# one file\nimage: mcr.microsoft.com/azureml/base:5\ntags: {team: x}\n"
    editor.save("spec.yml", text)
    assert versions(service, "a") == {"1", "2"} and os.readlink(env / "latest") == "2"
    assert properties(service, "a", "2")["tags"] == {"team": "x"}
    before = shown(env / "spec.yml")
    assert before[3] == text
    editor.save("spec.yml", text.replace(b"base:5", b"base:6"))
    assert versions(service, "a") == {"1", "2", "3"}
    assert shown(env / "spec.yml")[0] == before[0]
    editor.end()
    wait_until(lambda: not (env / "spec.yml").exists(), GONE_SECONDS, "the file to become the version")
    assert sorted(os.listdir(env)) == ["1", "2", "3", "latest"]
    assert load_text(env / "3/spec.yml")["version"] == "3"


def test_the_single_file_way_to_a_new_environment(service, mount):
    env = mount.local / "new"
    env.mkdir()
    run("bash", "-c", "echo 'dependencies: [python=3.12]' > conda.yml && echo 'image: x' > .s && echo 'conda_file: conda.yml' >> .s "
        "&& mv .s spec.yml", cwd=env)
    assert versions(service, "new") == {"1"}
    assert load_text(env / "1/conda.yml") == {"dependencies": ["python=3.12"]}
    with pytest.raises(OSError):
        (env / "spec.yml").write_text("image: x\nbuild: {path: y}\n")
    assert "build" in error_of(env / "spec.yml")
    assert (env / "spec.yml.rejected").read_text() == "image: x\nbuild: {path: y}\n"
    assert versions(service, "new") == {"1"}


def test_calls_that_are_not_offered(service, mount):
    for directory in (mount.local / "a/1", mount.local / "b/1/context", mount.local / "a"):
        assert errno_of(os.open, directory, os.O_TMPFILE | os.O_RDWR) in (errno.EOPNOTSUPP, errno.EISDIR)
    spec = mount.local / "a/1/spec.yml"
    assert errno_of(os.open, spec, os.O_CREAT | os.O_EXCL | os.O_WRONLY) == errno.EEXIST
    assert errno_of(os.link, mount.local / "a/1/Dockerfile", spec) == errno.EEXIST
    assert errno_of(os.mkdir, spec) == errno.EEXIST
    assert errno_of(os.rmdir, spec) == errno.ENOTDIR
    assert errno_of(os.rename, mount.local / "a/1", mount.local / "a/9") == errno.EXDEV
    assert versions(service, "a") == {"1"}


def test_a_lock_on_spec_yml(mount, program):
    le, second = program(mount.local / "a/1"), program(mount.local / "a/1")
    le.do("import fcntl; fd = os.open('spec.yml', os.O_RDWR); fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)")
    second.do("import fcntl; fd = os.open('spec.yml', os.O_RDWR)")
    with pytest.raises(OSError) as caught:
        second.do("fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)")
    assert caught.value.errno in (errno.EACCES, errno.EAGAIN)
    le.end()
    second.do("fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)")
