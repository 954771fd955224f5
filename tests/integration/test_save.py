"""Every way in which programs save a file, call by call: one save is one version, and the same content again is none."""
import os
import shutil
import subprocess

import pytest

from lib.mount import wait_until
from lib.saves import PYTHON, context_of, load_text, properties, put_context, routes, versions, wait_shown, writes

IMAGE = {"image": "mcr.microsoft.com/azureml/base:1", "description": "The first.", "tags": {"team": "ml"}}
CONDA = "channels:\n- conda-forge\ndependencies:\n- python=3.10\n- pip\n"
CONTEXT = {"Dockerfile": b"FROM scratch\nLABEL n=1\nCOPY app /app\n", "requirements.txt": b"numpy\n",
           "app/main.py": b"print('one')\n# 1\n# 2\n"}
LONG_AGO = 1_600_000_000

# Each saves the text of the file $NEW (bytes `new`) as $F (path `F`) in the working directory; $T (`T`) is a directory elsewhere.
SHELL = {
    "cat > F": 'cat "$NEW" > "$F"',
    "sh -c 'cat > F'": 'dash -c \'cat "$NEW" > "$F"\'',
    "{ head; tail; } > F": '{ head -2 "$NEW"; tail -n +3 "$NEW"; } > "$F"',
    "( head; tail ) > F": '(head -2 "$NEW"; tail -n +3 "$NEW") > "$F"',
    "while read; do echo; done > F": 'while IFS= read -r line; do printf "%s\\n" "$line"; done < "$NEW" > "$F"',
    "exec > F": 'exec > "$F"; head -2 "$NEW"; tail -n +3 "$NEW"',
    "cat >| tee": 'cat "$NEW" | tee "$F" > /dev/null',
}
TOOLS = {
    "cp": 'cp "$NEW" "$F"',
    "cp -a": 'cp -a "$NEW" "$F"',
    "cp --sparse": 'cp --sparse=always "$NEW" "$F"',
    "cp --remove-destination": 'cp --remove-destination "$NEW" "$F"',
    "cp -b": 'cp -b "$NEW" "$F" && rm "$F~"',
    "cp inside the mount": 'cp "$NEW" other && cp --reflink=never other "$F" && rm other',
    "mv from elsewhere": 'cp "$NEW" "$T/moved" && mv "$T/moved" "$F"',
    "mv from here": 'cp "$NEW" other && mv other "$F"',
    "mv -b": 'cp "$NEW" other && mv -b other "$F" && rm "$F~"',
    "install": 'install -m 644 "$NEW" "$F"',
    "ln -f": 'cp "$NEW" other && ln -f other "$F" && rm other',
    "dd": 'dd if="$NEW" of="$F" bs=7 status=none',
    "dd conv=fsync": 'dd if="$NEW" of="$F" conv=fsync status=none',
    "dd conv=notrunc,fsync": 'dd if="$NEW" of="$F" conv=notrunc,fsync status=none',
    "dd oflag=sync": 'dd if="$NEW" of="$F" bs=16 oflag=sync status=none',
    "dd oflag=direct": 'dd if="$NEW" of="$F" bs=4096 oflag=direct status=none',
    "rsync": 'cp "$NEW" "$T/$(basename "$F")" && rsync -aXI "$T/$(basename "$F")" "$F"',
    "rsync --inplace": 'cp "$NEW" "$T/$(basename "$F")" && rsync -aI --inplace "$T/$(basename "$F")" "$F"',
    "rsync --temp-dir": 'cp "$NEW" "$T/$(basename "$F")" && rsync -aI --temp-dir="$T" "$T/$(basename "$F")" "$F"',
    "tar x": 'cp "$NEW" "$T/$(basename "$F")" && tar cf "$T/x.tar" -C "$T" "$(basename "$F")" '
             '&& tar xf "$T/x.tar" -C "$(dirname "$F")" --no-same-owner',
    "tar x --overwrite": 'cp "$NEW" "$T/$(basename "$F")" && tar cf "$T/x.tar" -C "$T" "$(basename "$F")" '
                         '&& tar xf "$T/x.tar" -C "$(dirname "$F")" --no-same-owner --overwrite',
    "unzip -o": 'cp "$NEW" "$T/$(basename "$F")" && (cd "$T" && zip -q x.zip "$(basename "$F")") '
                '&& unzip -qo "$T/x.zip" -d "$(dirname "$F")"',
    "patch": 'diff -u "$F" "$NEW" > "$T/p"; patch -s --no-backup-if-mismatch "$F" "$T/p"',
}
CALLS = {
    "open with O_TRUNC": "fd = os.open(F, os.O_WRONLY | os.O_TRUNC); os.write(fd, new); os.close(fd)",
    "in many writes": "fd = os.open(F, os.O_WRONLY | os.O_TRUNC)\nfor c in new: os.write(fd, bytes([c]))\nos.close(fd)",
    "backwards": """
fd = os.open(F, os.O_WRONLY | os.O_TRUNC)
for at in reversed(range(0, len(new), 16)): os.pwrite(fd, new[at:at + 16], at)
os.close(fd)""",
    "without O_TRUNC": "fd = os.open(F, os.O_WRONLY); os.write(fd, new); os.ftruncate(fd, len(new)); os.close(fd)",
    "truncate(0) after open": "fd = os.open(F, os.O_WRONLY); os.ftruncate(fd, 0); os.write(fd, new); os.close(fd)",
    "truncate by name": "os.truncate(F, 0); fd = os.open(F, os.O_WRONLY); os.write(fd, new); os.close(fd)",
    "r+": "f = open(F, 'r+b'); f.read(); f.seek(0); f.write(new); f.truncate(); f.close()",
    "O_APPEND": "fd = os.open(F, os.O_WRONLY | os.O_TRUNC | os.O_APPEND); os.write(fd, new[:20]); os.write(fd, new[20:]); os.close(fd)",
    "writev, fsync, fdatasync": "fd = os.open(F, os.O_WRONLY | os.O_TRUNC); os.writev(fd, [new[:9], new[9:]]); os.fsync(fd); "
                                "os.fdatasync(fd); os.close(fd)",
    "fallocate": "fd = os.open(F, os.O_WRONLY | os.O_TRUNC); os.posix_fallocate(fd, 0, len(new)); os.pwrite(fd, new, 0); os.close(fd)",
    "sendfile": "fd = os.open(F, os.O_WRONLY | os.O_TRUNC); s = os.open(NEW, os.O_RDONLY)\n"
                "while os.sendfile(fd, s, None, 4096): pass\nos.close(fd)",
    "copy_file_range": """
open('other', 'wb').write(new)
fd = os.open(F, os.O_WRONLY | os.O_TRUNC); s = os.open('other', os.O_RDONLY)
while os.copy_file_range(s, fd, 4096): pass
os.close(fd); os.unlink('other')""",
    "O_SYNC, in parts": "fd = os.open(F, os.O_WRONLY | os.O_TRUNC | os.O_SYNC); os.write(fd, new[:20]); os.fsync(fd); "
                        "os.write(fd, new[20:]); os.fsync(fd); os.close(fd)",
    "no close": "fd = os.open(F, os.O_WRONLY | os.O_TRUNC); os.write(fd, new); os._exit(0)",
    "opened in one thread, closed in another": """
fds = []
def save(): fds.append(os.open(F, os.O_WRONLY | os.O_TRUNC)); os.write(fds[0], new)
for step in (save, lambda: os.close(fds[0])):
    t = threading.Thread(target=step); t.start(); t.join()""",
    "a child with the descriptor, in between": """
fd = os.open(F, os.O_WRONLY | os.O_TRUNC); os.write(fd, new[:20])
if os.fork() == 0: os._exit(0)
os.wait(); os.write(fd, new[20:]); os.close(fd)""",
    "a child that writes": """
fd = os.open(F, os.O_WRONLY | os.O_TRUNC)
if os.fork() == 0: os.write(fd, new); os._exit(0)
os.wait(); os.close(fd)""",
    "mmap and msync": "fd = os.open(F, os.O_RDWR); os.ftruncate(fd, len(new)); m = mmap.mmap(fd, len(new)); m[:] = new; m.flush(); "
                      "m.close(); os.close(fd)",
    "mmap without msync": "fd = os.open(F, os.O_RDWR); os.ftruncate(fd, len(new)); m = mmap.mmap(fd, len(new)); m[:] = new; "
                          "m.close(); os.close(fd)",
    "unlink and O_EXCL": "os.unlink(F); fd = os.open(F, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600); os.write(fd, new); os.close(fd); "
                         "os.chmod(F, 0o644)",
    "os.replace": "open('tmp1', 'wb').write(new); os.replace('tmp1', F)",
    "a temporary file in a directory": "os.mkdir('.~tmp~'); open('.~tmp~/t', 'wb').write(new); os.rename('.~tmp~/t', F); "
                                       "os.rmdir('.~tmp~')",
    "link(2) after unlink": "open('tmp1', 'wb').write(new); os.unlink(F); os.link('tmp1', F); os.unlink('tmp1')",
    "rename, fsync of the directory": "open('tmp1', 'wb').write(new); os.rename('tmp1', F); d = os.open('.', os.O_RDONLY); os.fsync(d); "
                                      "os.close(d); os.chmod(F, 0o644); os.utime(F)",
    "vim": """
try: os.getxattr(F, 'system.posix_acl_access')
except OSError: pass
os.close(os.open('4913', os.O_WRONLY | os.O_CREAT | os.O_EXCL)); os.unlink('4913')
os.rename(F, F + '~'); fd = os.open(F, os.O_WRONLY | os.O_CREAT); os.ftruncate(fd, 0); os.write(fd, new); os.fsync(fd)
os.chmod(F, 0o644); os.close(fd); os.unlink(F + '~')""",
    "emacs": """
os.symlink('me@host.1', '.#lock'); os.rename(F, F + '~'); fd = os.open(F, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
os.write(fd, new[:20]); os.write(fd, new[20:]); os.fsync(fd); os.close(fd); os.close(os.open(F, os.O_WRONLY))
os.unlink('.#lock'); os.chmod(F, 0o644); os.unlink(F + '~')""",
    "GLib, which renames before it closes": """
f = os.open(F, os.O_WRONLY); fd = os.open('.goutputstream-AAAAAA', os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
os.chmod('.goutputstream-AAAAAA', 0o644); os.close(f); os.write(fd, new); os.fsync(fd); os.rename('.goutputstream-AAAAAA', F); os.close(fd)""",
    "a backup by link": "os.link(F, F + '.bak'); open('tmp1', 'wb').write(new); os.rename('tmp1', F); os.unlink(F + '.bak')",
    "truncated first, in a second program": "os.close(os.open(F, os.O_WRONLY | os.O_TRUNC)); fd = os.open(F, os.O_WRONLY); "
                                            "os.write(fd, new); os.close(fd)",
}
# Here nobody waits for the save: it is made when the last reference is gone.
LATE = {
    "mmap, written after close": """
libc = ctypes.CDLL(None, use_errno=True); libc.mmap.restype = ctypes.c_void_p
fd = os.open(F, os.O_RDWR); at = libc.mmap(None, ctypes.c_size_t(len(new)), 3, 1, fd, ctypes.c_long(0)); os.close(fd)
ctypes.memmove(at, new, len(new)); assert libc.munmap(ctypes.c_void_p(at), ctypes.c_size_t(len(new))) == 0""",
    "a child that closes last": """
fd = os.open(F, os.O_WRONLY | os.O_TRUNC)
go, gone = os.pipe()
if os.fork() == 0: os.close(gone); os.read(go, 1); os.write(fd, new); os._exit(0)
os.close(fd); os.close(gone)""",
}
PRELUDE = "import ctypes, mmap, os, sys, threading\nF, NEW = os.environ['F'], os.environ['NEW']; new = open(NEW, 'rb').read()\n"
WAYS = {**{f"bash: {name}": ["bash", "-c", text] for name, text in SHELL.items()},
        **{f"dash: {name}": ["dash", "-c", text] for name, text in SHELL.items()},
        **{name: ["bash", "-c", text] for name, text in TOOLS.items()},
        **{name: [PYTHON, "-c", PRELUDE + text] for name, text in {**CALLS, **LATE}.items()}}
# One of each kind, for the files that are not spec.yml.
FEW = ["bash: { head; tail; } > F", "cp", "mv from elsewhere", "mv from here", "rsync", "unzip -o", "mmap and msync", "unlink and O_EXCL",
       "os.replace", "vim"]
# In a context, where a name with random characters is content when they happen to be a word.
FEW_IN_CONTEXT = [name.replace("rsync", "rsync --inplace") for name in FEW]


@pytest.fixture
def mount(service, make_mount):
    service.put_version("a", "1", IMAGE)
    service.put_version("c", "1", {**IMAGE, "condaFile": CONDA})
    put_context(service, "b", "1", CONTEXT)
    return make_mount(service=service, options={"refresh": 3600})


def save(how, directory, file, data, elsewhere):
    """Saves the bytes as a program does; it must succeed without a word."""
    shutil.rmtree(elsewhere, ignore_errors=True)
    elsewhere.mkdir()
    new = elsewhere / "new text"
    new.write_bytes(data)
    env = {**os.environ, "F": file, "NEW": str(new), "T": str(elsewhere), "TMPDIR": str(elsewhere)}
    done = subprocess.run(WAYS[how], cwd=directory, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    # head closes half a text, which is checked and not saved; it may say so, and the shell goes on.
    said = done.stderr.replace("head: write error: Bad message\n", "") if "head" in how or "exec" in how else done.stderr
    assert done.returncode == 0 and not said and not done.stdout, f"{how}: status {done.returncode}\n{done.stdout}{done.stderr}"


def saved(service, name, how):
    """Waits for a version, where the program does not."""
    if how in LATE:
        wait_until(lambda: len(versions(service, name)) > 1, 20, "the version that nobody waits for")
    return versions(service, name)


@pytest.mark.parametrize("how", WAYS)
def test_the_same_spec_is_no_version_and_another_is_one(service, mount, tmp_path, how):
    env = mount.local / "a"
    old = (env / "1/spec.yml").read_bytes()
    new = old.replace(b"base:1", b"base:2")
    service.reset_counters()
    save(how, env / "1", "spec.yml", old, tmp_path / "t")
    assert routes(service) == {}, "the same again"
    assert (env / "1/spec.yml").read_bytes() == old and os.readlink(env / "latest") == "1"

    save(how, env / "1", "spec.yml", new, tmp_path / "t")
    if how not in LATE:
        assert os.readlink(env / "latest") == "2", "when the program is told that it is saved, latest is the new one"
    assert saved(service, "a", how) == {"1", "2"}
    assert properties(service, "a", "2")["image"] == "mcr.microsoft.com/azureml/base:2"
    assert properties(service, "a", "2")["tags"] == {"team": "ml"}
    assert properties(service, "a", "1")["image"] == IMAGE["image"]
    wait_until(lambda: os.readlink(env / "latest") == "2", 10, "latest")
    wait_shown(env / "1/spec.yml", old)
    assert load_text(env / "2/spec.yml") == {**load_text(new), "version": "2"}
    assert sorted(os.listdir(env / "1")) == ["Dockerfile", "build.log", "spec.yml"], "nothing is left behind"
    mount.stop()
    assert versions(service, "a") == {"1", "2"}, "not one more at the unmount"


@pytest.mark.parametrize("how", FEW)
def test_a_conda_file(service, mount, tmp_path, how):
    env = mount.local / "c"
    old = (env / "1/conda.yml").read_bytes()
    service.reset_counters()
    save(how, env / "1", "conda.yml", old, tmp_path / "t")
    # head's half is another text, and whether that could be saved is asked for when head closes it.
    assert writes(service) == {} if "head" in how else routes(service) == {}
    save(how, env / "1", "conda.yml", old.replace(b"3.10", b"3.11"), tmp_path / "t")
    assert saved(service, "c", how) == {"1", "2"} and os.readlink(env / "latest") == "2"
    assert load_text(env / "2/conda.yml")["dependencies"] == ["python=3.11", "pip"]
    assert properties(service, "c", "2")["image"] == IMAGE["image"]
    wait_shown(env / "1/conda.yml", old)
    mount.stop()
    assert versions(service, "c") == {"1", "2"}


@pytest.mark.parametrize("file", ["context/app/main.py", "context/Dockerfile"])
@pytest.mark.parametrize("how", FEW_IN_CONTEXT)
def test_a_file_of_a_build_context(service, mount, tmp_path, how, file):
    env, name = mount.local / "b", file.removeprefix("context/")
    old = (env / "1" / file).read_bytes()
    new = old.replace(b"1", b"7")
    service.reset_counters()
    save(how, env / "1", file, old, tmp_path / "t")
    assert writes(service) == {} and versions(service, "b") == {"1"}
    save(how, env / "1", file, new, tmp_path / "t")
    assert saved(service, "b", how) == {"1", "2"} and os.readlink(env / "latest") == "2"
    assert context_of(service, "b", "2") == {**CONTEXT, name: new}
    assert context_of(service, "b", "1") == CONTEXT
    assert (env / "2" / file).read_bytes() == new
    wait_shown(env / "1" / file, old)
    mount.stop()
    assert versions(service, "b") == {"1", "2"}


@pytest.mark.parametrize("how", ["cp", "open with O_TRUNC", "r+", "mmap and msync"])
def test_the_dockerfile_of_a_context_by_its_link(service, mount, tmp_path, how):
    env = mount.local / "b"
    save(how, env / "1", "Dockerfile", CONTEXT["Dockerfile"] + b"USER 7\n", tmp_path / "t")
    assert saved(service, "b", how) == {"1", "2"}
    assert context_of(service, "b", "2") == {**CONTEXT, "Dockerfile": CONTEXT["Dockerfile"] + b"USER 7\n"}
    assert os.readlink(env / "1/Dockerfile") == "context/Dockerfile"


@pytest.mark.parametrize("how", FEW)
def test_two_saves_through_latest(service, mount, tmp_path, how):
    """The second one finds what the first one made."""
    latest = mount.local / "a/latest"
    for number in (2, 3):
        text = (latest / "spec.yml").read_bytes()
        save(how, latest, "spec.yml", text.replace(b"base:%d" % (number - 1), b"base:%d" % number), tmp_path / "t")
        assert os.readlink(latest) == str(number)
        assert b"base:%d" % number in (latest / "spec.yml").read_bytes()
    assert versions(service, "a") == {"1", "2", "3"}
    assert properties(service, "a", "3")["image"] == "mcr.microsoft.com/azureml/base:3"


def test_an_older_version_is_edited_into_the_newest(service, mount, tmp_path):
    old = (mount.local / "a/1/spec.yml").read_bytes()
    for number in (b"7", b"8"):
        save("cp", mount.local / "a/1", "spec.yml", old.replace(b"base:1", b"base:" + number), tmp_path / "t")
        wait_until(lambda: b"base:1" in (mount.local / "a/1/spec.yml").read_bytes(), 10, "the published text")
    assert versions(service, "a") == {"1", "2", "3"}
    assert [properties(service, "a", v)["image"][-1] for v in ("1", "2", "3")] == ["1", "7", "8"]
    assert os.readlink(mount.local / "a/latest") == "3"


def test_every_append_is_a_save_of_its_own(service, mount):
    version = mount.local / "a/1"
    with_conda = 'printf "conda_file:\\n  dependencies: [python=3.11]\\n" >> spec.yml'
    subprocess.run(["bash", "-ec", with_conda], cwd=version, check=True)
    assert versions(service, "a") == {"1", "2"}
    wait_until(lambda: "conda_file" not in (version / "spec.yml").read_text(), 10, "the published text")
    assert load_text(mount.local / "a/2/conda.yml") == {"dependencies": ["python=3.11"]}
    subprocess.run(["bash", "-ec", 'echo "# one"  >> spec.yml; echo "# two" >> spec.yml'], cwd=version, check=True)
    assert versions(service, "a") == {"1", "2"}, "comments say nothing new"


def test_a_save_asks_once_and_writes_once(service, mount, tmp_path):
    """A one-line change costs two requests: is the number free, and the version itself."""
    spec = mount.local / "a/1/spec.yml"
    old = spec.read_bytes()
    service.reset_counters()
    save("cp", mount.local / "a/1", "spec.yml", old.replace(b"base:1", b"base:2"), tmp_path / "t")
    assert routes(service) == {"GET version": 1, "PUT version": 1}
    assert os.readlink(mount.local / "a/latest") == "2" and b"base:2" in (mount.local / "a/2/spec.yml").read_bytes()
    assert service.counters()["total"] == 2, "and looking at it costs nothing"
    wait_shown(spec, old)

    service.reset_counters()
    save("cp", mount.local / "a/1", "spec.yml", old.replace(b"team: ml", b"team: platform"), tmp_path / "t")
    assert routes(service) == {"GET version": 1, "PUT version": 1}, "tags: read, and sent back with the change"
    assert versions(service, "a") == {"1", "2"}


def test_a_line_of_a_context_costs_no_more_than_its_files(service, mount, tmp_path):
    assert (mount.local / "b/1/context/app/main.py").read_bytes() == CONTEXT["app/main.py"]
    save("cp", mount.local / "b/1", "context/app/main.py", b"print('warm')\n", tmp_path / "t")
    service.reset_counters()
    save("cp", mount.local / "b/2", "context/app/main.py", b"print('two')\n", tmp_path / "t")
    made = routes(service)
    assert made["GET version"] == 1 and made["PUT version"] == 1, made
    # Storage has no copies inside a container that a client may rely on: each file goes up, and a mark that it is complete.
    assert made.get("PUT blob", 0) <= len(CONTEXT) + 1, made
    assert service.counters()["total"] <= 2 + len(CONTEXT) + 1 + 4, made


def test_a_save_takes_one_round_trip_more_than_the_put(service, mount, tmp_path):
    old = (mount.local / "a/1/spec.yml").read_bytes()
    trip = 0.4
    service.set_faults({"delay_ms": int(trip * 1000)})
    fd = os.open(mount.local / "a/1/spec.yml", os.O_WRONLY | os.O_TRUNC)
    os.write(fd, old.replace(b"base:1", b"base:2"))
    began = os.times().elapsed
    os.close(fd)
    took = os.times().elapsed - began
    service.set_faults()
    assert 2 * trip <= took < 3 * trip, took
    assert versions(service, "a") == {"1", "2"}


def test_mtime_and_bytes_of_the_new_version_are_those_that_were_saved(service, mount, tmp_path):
    text = (mount.local / "a/1/spec.yml").read_bytes().replace(b"base:1", b"base:2 # newer")
    source = tmp_path / "spec.yml"
    source.write_bytes(text)
    os.utime(source, (LONG_AGO, LONG_AGO))
    subprocess.run(["rsync", "-a", source, mount.local / "a/1/spec.yml"], check=True)
    made = mount.local / "a/2/spec.yml"
    assert made.stat().st_mtime == LONG_AGO
    wait_until(lambda: b'version: "2"' in made.read_bytes(), 10, "the version's own number in its spec")
    assert made.read_bytes() == text.replace(b'version: "1"', b'version: "2"'), "the comment stays"
    assert made.stat().st_mtime == LONG_AGO and made.stat().st_size == len(made.read_bytes())
    assert versions(service, "a") == {"1", "2"}
