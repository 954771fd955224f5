"""
The embedded service's image builds, through the API that clients use: by buildah where it is
installed, and with programs that pretend to build for what is about queues, ends and logs.
"""
import hashlib
import os
import re
import shutil
import signal
from pathlib import Path
from urllib.parse import quote

import pytest

from lib.blobs import Blobs
from lib.builds import FINAL, details, image_path, is_running, pretender, start, static_program, without_times
from lib.mount import wait_until

GONE_SECONDS = 30


@pytest.fixture
def shell():
    """A static shell, for RUN steps; they need root, or a range of ids in /etc/subuid."""
    busybox = shutil.which("busybox")
    # The name of a dynamic linker is in what comes first.
    if not busybox or b"/ld-" in Path(busybox).read_bytes()[:4096]:
        pytest.skip("NOT TESTED: there is no static busybox (scripts/setup test)")
    if os.geteuid():
        pytest.skip("NOT TESTED: RUN steps in a chroot are tested as root only")
    return busybox


@pytest.fixture
def pretend(serve, tmp_path):
    """Makes a service whose builder pretends; takes the lines of the script."""

    def make(*script, options=(), **how):
        return serve("--builder", pretender(tmp_path, *script), *options, **how)

    return make


def context(directory, dockerfile, **files):
    """A build context of these files: texts, or paths of what is to be copied."""
    directory.mkdir()
    (directory / "Dockerfile").write_text(dockerfile)
    for name, content in files.items():
        if isinstance(content, Path):
            shutil.copy(content, directory / name)
        else:
            (directory / name).write_text(content)
    return directory


def put_context(service, directory, name="env", version="1", dockerfile=None):
    uri = service.upload_context(directory, name, version)
    build = {"contextUri": uri} if dockerfile is None else {"contextUri": uri,
                                                            "dockerfilePath": dockerfile}
    service.put_version(name, version, {"build": build})


def last_line(build):
    return build.text().splitlines()[-1]


# ---- with a real builder ----


def test_a_real_build(engine, serve, tmp_path):
    """It goes through the states, its log has the steps, and the image runs."""
    service = serve("--builder", "buildah", env=engine.env)
    if not static_program(tmp_path, "hello", "hello from the image"):
        pytest.skip("NOT TESTED: nothing can be linked with -static here (on Fedora: glibc-static)")
    made = context(tmp_path / "ctx", "FROM scratch\nCOPY hello /hello\nCMD [\"/hello\"]\n",
                   hello=tmp_path / "hello")
    (made / "sub").mkdir()
    (made / "sub" / "ignored").write_text("x")
    put_context(service, made)

    before = details(service, "env", "1")
    assert before["imageExistsInRegistry"] is False and before["dockerImage"] is None

    build = start(service, "env", "1")
    assert build.wait() == "Succeeded", build.text()
    lines = build.text().splitlines()
    assert "STEP 1/3: FROM scratch" in lines
    assert "Build context: 3 files" in build.text()

    after = details(service, "env", "1")
    image = after["dockerImage"]["registry"]["address"] + "/" + after["dockerImage"]["name"]
    assert after["imageExistsInRegistry"] is True
    assert after["dockerImage"]["registry"]["password"] is None
    assert after["ingredients"]["dockerfile"] == (made / "Dockerfile").read_text()
    assert lines[-1] == f"Succeeded: the image is {image}, in the storage of buildah."
    assert any(line.startswith(f"Building image with name {image}") for line in lines)
    assert engine.output_of(image, "/hello") == "hello from the image\n"

    # The same definition again, and as another environment: nothing is built, the log is the same.
    log = build.read()
    again = start(service, "env", "1")
    assert again.id != build.id
    assert again.state == "Succeeded", "an unchanged definition is there at once"
    put_context(service, made, name="other", version="7")
    other = start(service, "other", "7")
    assert other.wait() == "Succeeded"
    assert again.read() == other.read() == build.read() == log
    assert details(service, "other", "7")["dockerImage"] == after["dockerImage"]

    # Once the image is gone it is built again.
    engine.run("rmi", image)
    anew = start(service, "env", "1")
    assert anew.wait() == "Succeeded"
    assert anew.read() != log and "STEP 1/3" in anew.text()
    assert engine.output_of(image, "/hello") == "hello from the image\n"
    assert not list(Path(f"{service.store}.builds").glob("*"))


def test_a_failing_step(engine, shell, serve, tmp_path):
    """Failed, with the step's own words and the reason at the end of the log."""
    service = serve("--builder", "buildah", env=engine.env)
    made = context(tmp_path / "ctx", "FROM scratch\nCOPY busybox /bin/sh\n"
                                     "RUN echo this goes wrong >&2; exit 3\n",
                   busybox=Path(shell))
    put_context(service, made)
    build = start(service, "env", "1")
    assert build.wait() == "Failed"
    text = build.text()
    assert "this goes wrong" in text and "exit status 3" in text
    assert text.splitlines()[-1].startswith("Failed: buildah ended with status ")
    assert details(service, "env", "1")["imageExistsInRegistry"] is False
    assert not engine.run("containers", "-q").stdout, "a working container is left"


def test_image_and_conda_file(engine, shell, serve, tmp_path):
    """The derived Dockerfile is what is built: its base image has a conda that tells."""
    service = serve("--builder", "buildah", env=engine.env)
    made = context(tmp_path / "ctx",
                   "FROM scratch\nCOPY busybox /bin/sh\nCOPY busybox /bin/cat\n"
                   "COPY conda /bin/conda\nCOPY passwd /etc/passwd\n",
                   busybox=Path(shell), passwd="root:x:0:0:root:/root:/bin/sh\n",
                   conda="#!/bin/sh\necho conda \"$@\"\ncat \"$6\"\n")
    put_context(service, made, name="base")
    base = start(service, "base", "1")
    assert base.wait() == "Succeeded", base.text()
    image = "localhost/" + details(service, "base", "1")["dockerImage"]["name"]

    service.put_version("env", "1", {"image": image, "condaFile": "name: x\ndependencies:\n- python=3.10\n"})
    promised = details(service, "env", "1")
    assert promised["ingredients"]["condaSpecification"] == {"name": "x", "dependencies": ["python=3.10"]}
    build = start(service, "env", "1")
    assert build.wait() == "Succeeded", build.text()
    place = promised["pythonEnvironment"]["condaEnvironmentPath"]
    assert f"conda env create -p {place} -f azureml-environment-setup/conda.yml" in build.text()
    assert "- python=3.10" in build.text()
    built = details(service, "env", "1")
    assert built == {**promised, "imageExistsInRegistry": True}
    assert engine.output_of("localhost/" + built["dockerImage"]["name"], "/bin/cat",
                            "/azureml-environment-setup/conda.yml") == \
        "name: x\ndependencies:\n  - python=3.10\n"


def test_a_real_build_that_is_canceled(engine, shell, serve, tmp_path):
    """buildah cleans up after itself, and what the step ran is gone."""
    service = serve("--builder", "buildah", env=engine.env)
    made = context(tmp_path / "ctx", "FROM scratch\nCOPY busybox /bin/sh\n"
                                     "COPY busybox /bin/sleep\nRUN echo begun; sleep 600\n",
                   busybox=Path(shell))
    put_context(service, made)
    build = start(service, "env", "1")
    build.wait_for("\nbegun\n")
    build.cancel()
    assert build.wait() == "Canceled"
    assert last_line(build) == "Canceled."
    assert not engine.run("containers", "-q").stdout, "a working container is left"


# ---- builds that can't be ----


def test_no_builder(serve, tmp_path):
    """None in PATH, none wanted, one that is not there, one that can't be run: Failed, and why."""
    empty = tmp_path / "bin"
    empty.mkdir()
    broken = tmp_path / "broken"
    broken.write_text("#!/nowhere/at/all\n")
    broken.chmod(0o755)
    for options, env, words in (
            ((), {"PATH": str(empty)}, f"neither buildah nor podman nor docker is in {empty}. Install buildah"),
            (("--builder", "podman"), {"PATH": str(empty)}, f"podman is not in {empty}."),
            (("--builder", "none"), None, "--builder none"),
            (("--builder", tmp_path / "no"), None, f"the builder {tmp_path}/no is not there"),
            (("--builder", broken), None, f"{broken} could not be run: No such file or directory")):
        service = serve(*options, env=env)
        service.put_version("env", "1")
        build = start(service, "env", "1")
        assert build.wait() == "Failed"
        assert words in last_line(build), build.text()
        assert last_line(build).startswith("Failed: ")
        # A failure is no reason not to try again.
        assert start(service, "env", "1").wait() == "Failed"


def test_what_can_not_be_built(pretend, tmp_path):
    """Definitions that nothing can be made of are builds that fail and say why, or no builds."""
    service = pretend("say('built')")
    blobs = service.blobs()
    outside = tmp_path / "outside"

    def failed(words, properties, name="env"):
        failed.n += 1
        service.put_version(name, str(failed.n), properties)
        build = start(service, name, str(failed.n))
        assert build.wait() == "Failed"
        assert words in last_line(build), build.text()

    failed.n = 0

    def at(prefix, *names, dockerfile="Dockerfile"):
        for name in names:
            assert blobs.put(f"{prefix}/{name}", b"FROM scratch\n").status == 201
        return {"build": {"contextUri": f"{blobs.url}/{quote(prefix)}/", "dockerfilePath": dockerfile}}

    failed("has no files", at("empty"))
    failed("has no file other/Dockerfile", at("a", "Dockerfile", dockerfile="other/Dockerfile"))
    failed("leads out of the context", at("b", "Dockerfile", dockerfile="../../log"))
    failed("leads out of the context", at("c", "Dockerfile", dockerfile="/etc/passwd"))
    failed("has no file sub", at("d", "Dockerfile", "sub/x", dockerfile="sub"))
    failed("'x/y' can't be laid out", at("e", "Dockerfile", "x/y", "x"))
    failed("no path of a file", at("f", "Dockerfile", "../" * 9 + str(outside)[1:]))
    failed("no path of a file", at("g", "Dockerfile", "a//b"))
    failed("no path of a file", at("h", "Dockerfile", "n" * 256))
    failed("only contexts that are stored in this service",
           {"build": {"contextUri": "https://github.com/someone/something.git#main"}})
    failed("os_type is windows", {"image": "windows:1", "osType": "Windows"})
    assert not outside.exists()

    build = at("i", "Dockerfile", "sub/other.dockerfile", dockerfile="sub/other.dockerfile")
    service.put_version("good", "1", build)
    assert start(service, "good", "1").wait() == "Succeeded"

    assert start(service, "env", "nope", expect=404).code == "UserError"
    assert service.get(image_path("env", "nope")).status == 404
    service.raw("AzureML-x", "1", {"image": "x"}, curated=True)
    assert start(service, "AzureML-x", "1", expect=400).code == "UserError"
    assert service.get("/environment/v1.0/operations/nope").status == 404
    assert service.request("DELETE", "/environment/v1.0/operations/nope").status == 404


# ---- ends ----


def test_a_builder_that_fails_or_is_killed(pretend):
    """Whatever becomes of it, and of the process that watches over it, the log says it."""
    service = pretend("say('pid', os.getpid(), os.getppid())", "time.sleep(600)")

    def ended(which, how):
        service.put_version("env", which)
        build = start(service, "env", which)
        build.wait_for("pid ")
        pids = [int(pid) for pid in build.text().split("pid ")[1].split()[:2]]
        os.kill(pids[0 if which == "builder" else 1], how)
        assert build.wait() == "Failed"
        wait_until(lambda: not any(map(is_running, pids)), GONE_SECONDS, "both to be gone")
        return last_line(build)

    assert ended("builder", signal.SIGKILL) == "Failed: pretender was ended by signal 9 (Killed)."
    assert "watched over it" in ended("keeper", signal.SIGKILL)


def test_a_builder_that_ends_with_a_status(pretend):
    service = pretend("say('no more')", "return 42")
    service.put_version("env", "1")
    build = start(service, "env", "1")
    assert build.wait() == "Failed"
    assert build.text().splitlines()[-2:] == \
        ["no more", "Failed: pretender ended with status 42. Why is what it wrote above."]


def test_what_a_builder_leaves_running_is_ended(pretend):
    """A process in a session of its own, with the builder's output still open."""
    service = pretend("""
done, tell = os.pipe()
pid = os.fork()
if not pid:
    os.setsid()
    if os.fork():
        os._exit(0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    say('left', os.getpid())
    os.write(tell, b'x')
    time.sleep(600)
os.waitpid(pid, 0)
os.read(done, 1)
""")
    service.put_version("env", "1")
    build = start(service, "env", "1")
    assert build.wait() == "Succeeded"
    assert not is_running(int(build.text().split("left ")[1].split()[0]))


def test_time_limit(pretend):
    service = pretend("say('pid', os.getpid())", "time.sleep(600)", options=("--build-timeout", 1))
    service.put_version("env", "1")
    build = start(service, "env", "1")
    assert build.wait() == "Failed"
    assert last_line(build).startswith("Failed: the build took longer than 1 s and was ended.")
    # A machine may be so slow that it did not get to say so much.
    assert not [pid for pid in build.text().split("pid ")[1:] if is_running(int(pid.split()[0]))]


def test_canceling(pretend):
    """One that runs and does not listen, one that waits, and one that is over."""
    service = pretend("signal.signal(signal.SIGTERM, signal.SIG_IGN)", "say('pid', os.getpid())",
                      "time.sleep(600)")
    service.put_version("env", "1")
    service.put_version("env", "2")
    runs, waits = start(service, "env", "1"), start(service, "env", "2")
    assert start(service, "env", "2").id == waits.id, "a build that waits is not queued twice"
    runs.wait_for("pid ")
    assert start(service, "env", "1").id == runs.id
    assert waits.poll() == {"status": "Queued", "logUrl": None}
    assert waits.cancel() == "Canceled"
    assert waits.text() == "Canceled before it was begun.\n"
    assert runs.cancel() in ("Running", "Canceled")
    assert runs.wait() == "Canceled"
    assert last_line(runs) == "Canceled."
    assert not is_running(int(runs.text().split("pid ")[1].split()[0]))
    log = runs.read()
    assert runs.cancel() == "Canceled" and runs.read() == log


# ---- the queue ----


def test_twenty_builds_and_a_service_that_is_killed(pretend, tmp_path):
    """States are honest afterwards, no log is lost, none is stuck, nothing is left running."""
    service = pretend("""
pid = os.fork()
if not pid:
    os.setsid()
    time.sleep(600)
say('pids', os.getpid(), os.getppid(), pid)
for i in range(20):
    say('line', i)
while args[-1] and os.path.exists(%r):
    time.sleep(0.01)
time.sleep(0.02)
""" % str(tmp_path / "hold"))
    builds = {}
    for i in range(20):
        service.put_version("env", str(i), {"image": f"image-{i}"})
    for i in range(20):
        builds[i] = start(service, "env", str(i))
    wait_until(lambda: builds[4].state == "Succeeded", 60, "the fifth")
    (tmp_path / "hold").touch()
    running = next(i for i, b in builds.items() if b.state not in FINAL)
    while builds[running].wait(FINAL + ("Running",)) != "Running":
        running += 1
    builds[running].wait_for("line 19")
    states = {i: b.state for i, b in builds.items()}
    logs = {i: b.read() for i, b in builds.items()}
    assert states[running] == "Running"
    pids = [int(pid) for pid in without_times(logs[running]).split(b"pids ")[1].split()[:3]]
    assert all(map(is_running, pids))
    assert states[19] == "Queued"

    service.restart(crash=True)
    (tmp_path / "hold").unlink()
    wait_until(lambda: not any(map(is_running, pids)), GONE_SECONDS, f"{pids} to be gone")
    for i, build in builds.items():
        end = build.wait()
        assert end == ("Failed" if i == running else "Succeeded")
        if states[i] == "Succeeded":
            assert build.read() == logs[i]
        else:
            assert build.read().startswith(logs[i])
        assert "line 19" in build.text()
    assert last_line(builds[running]) == \
        "Failed: the service was ended while it built this image. Start the build again."
    assert not list(Path(f"{service.store}.builds").glob("*"))
    assert start(service, "env", str(running)).wait() == "Succeeded"


def test_a_service_that_is_ended(pretend):
    """In an orderly way: the same, and it does not wait for the build."""
    service = pretend("say('pid', os.getpid())", "time.sleep(600)")
    service.put_version("env", "1")
    service.put_version("env", "2")
    runs, waits = start(service, "env", "1"), start(service, "env", "2")
    runs.wait_for("pid ")
    pid = int(runs.text().split("pid ")[1].split()[0])
    service.restart()
    assert not is_running(pid)
    assert runs.state == "Failed"
    assert last_line(runs).startswith("Failed: the service was ended")
    waits.wait(("Running",))
    waits.cancel()
    assert waits.wait() == "Canceled"


def test_several_at_a_time(pretend, tmp_path):
    """Two that wait for each other."""
    service = pretend("""
mine, other = [%r + name for name in (('a', 'b') if 'first' in open(args[args.index('--file') + 1]).read() else ('b', 'a'))]
open(mine, 'w').close()
while not os.path.exists(other):
    time.sleep(0.01)
""" % f"{tmp_path}/", options=("--builds", 2))
    service.put_version("env", "1", {"image": "first"})
    service.put_version("env", "2", {"image": "second"})
    builds = start(service, "env", "1"), start(service, "env", "2")
    assert [build.wait() for build in builds] == ["Succeeded", "Succeeded"]


# ---- logs ----


def test_a_log_is_read_as_it_grows(pretend, tmp_path):
    """Every byte that was seen stays where it was, line by line and without line ends."""
    service = pretend("""
for i in range(30):
    sys.stdout.write(f'part {i}' + (' of one line ' if i < 15 else '\\n'))
    sys.stdout.flush()
    while not os.path.exists(%r + f'/seen{i}'):
        time.sleep(0.005)
""" % str(tmp_path))
    service.put_version("env", "1")
    build = start(service, "env", "1")
    seen = b""
    for i in range(30):
        build.wait_for(f"part {i}")
        more = build.read(len(seen))
        assert more and build.read(0, len(seen) + len(more)) == seen + more
        seen += more
        assert build.read(len(seen)) == b""
        (tmp_path / f"seen{i}").touch()
    assert build.wait() == "Succeeded"
    assert build.read().startswith(seen)


def test_large_logs(pretend, flavour):
    """50 MB of lines, and 50 MB in one line: all of it is there, byte for byte."""
    pieces = 50 if flavour == "release" else 5
    service = pretend("""
piece = (b'x' * 99 + b'\\n' if 'lines' in open(args[args.index('--file') + 1]).read() else b'y' * 100) * 10000
for i in range(%d):
    sys.stdout.buffer.write(piece)
sys.stdout.flush()
""" % pieces)
    for name, piece in (("lines", b"x" * 99 + b"\n"), ("one", b"y" * 100)):
        service.put_version("env", name, {"image": name})
        build = start(service, "env", name)
        assert build.wait() == "Succeeded"
        size, log = 0, []
        while part := build.read(size, size + 8_000_000):
            log.append(part)
            size += len(part)
        # Every line has its time in front: 21 bytes. The first two and the last are the service's,
        # which begins a line of its own behind the one that has no end.
        lines = b"".join(log).split(b"\n")
        output = b"\n".join(line[21:] for line in lines[2:-2])
        expected = piece * 10_000 * pieces
        expected = expected if name == "one" else expected[:-1]
        assert hashlib.sha256(output).digest() == hashlib.sha256(expected).digest()


def test_where_logs_are(pretend):
    """In the account's container azureml, for who has its key; the SAS of a log is for that one."""
    service = pretend("say('built')")
    service.put_version("env", "1")
    build = start(service, "env", "1")
    assert build.wait() == "Succeeded"
    account = Blobs(service, "azureml", key=service.blobs().key)
    assert list(account.list("ImageLogs/")) == [f"ImageLogs/{build.id}/build.log"]
    assert details(service, "env", "1")["dockerImage"]["name"] in build.text()

    service.put_version("env", "2", {"image": "other"})
    other = start(service, "env", "2")
    other.wait()
    url = build.poll()["logUrl"][len(service.url):]
    assert service.exchange("GET", url).status == 200
    assert service.exchange("GET", url.replace(build.id, other.id)).status == 403
    assert service.exchange("PUT", url, b"", {"x-ms-blob-type": "BlockBlob"}).status == 403
    assert service.request("GET", build.path, token="").status == 401
    assert service.request("POST", image_path("env", "1", "v2.0"), {}, token="").status == 401

    # It outlives the version.
    service.request("DELETE", service.workspace_path("local", "environments", "env", "versions", "1"), expect=200)
    assert build.state == "Succeeded" and "built" in build.text()


def test_a_version_that_is_deleted_while_it_waits(pretend, tmp_path):
    service = pretend("while not os.path.exists(%r):\n    time.sleep(0.01)" % str(tmp_path / "go"))
    service.put_version("env", "1")
    service.put_version("env", "2")
    builds = start(service, "env", "1"), start(service, "env", "2")
    builds[0].wait(("Running",))
    service.request("DELETE", service.workspace_path("local", "environments", "env", "versions", "2"), expect=200)
    (tmp_path / "go").touch()
    assert [build.wait() for build in builds] == ["Succeeded", "Failed"]
    assert last_line(builds[1]) == "Failed: the version was deleted before it was built"


def test_registries(pretend):
    """Their images are asked for by asset id."""
    service = pretend("say('built')")
    service.make_registry("team")
    service.put_version("env", "1", {"image": "x"}, registry="team", expect=(200, 201, 202))
    service.put_version("env", "1", {"image": "x"})

    def consume(asset, expect=200):
        return service.request("POST", "/environment/v1.0/consume/imageDetails", {"assetId": asset}, expect=expect)

    asset = "azureml://registries/team/environments/env/versions/1"
    assert consume(asset).json()["imageExistsInRegistry"] is False
    assert start(service, "env", "1").wait() == "Succeeded"
    assert consume(asset).json() == details(service, "env", "1")
    consume(asset + "0", expect=404)
    consume(asset.replace("team", "nope"), expect=404)
    consume("azureml:env:1", expect=400)


# ---- what the builder gets to see ----


def test_the_builder_sees_nothing_of_ours(pretend):
    """No secrets in its environment, no descriptors, nothing to read, a session of its own."""
    service = pretend("""
for name in sorted(os.environ):
    say('env', name)
say('fds', *sorted(os.listdir('/proc/self/fd')))
say('stdin', repr(sys.stdin.read()), os.readlink('/proc/self/fd/0'))
say('session', os.getsid(0) != %d)
say('blocked', open('/proc/self/status').read().split('SigBlk:')[1].split()[0])
say('ignored', open('/proc/self/status').read().split('SigIgn:')[1].split()[0])
""" % os.getsid(0), env={"AZURE_CLIENT_SECRET": "geheim", "MY_TOKEN": "geheim", "https_proxy": "http://me:geheim@proxy",
                        "http_proxy": "http://proxy:3128", "STORAGE_DRIVER": "vfs"})
    service.put_version("env", "1")
    build = start(service, "env", "1")
    assert build.wait() == "Succeeded", build.text()
    text = build.text()
    names = {line.split()[1] for line in text.splitlines() if line.startswith("env ")}
    assert {"HOME", "PATH", "LANG", "TMPDIR", "STORAGE_DRIVER", "http_proxy"} <= names
    assert not names & {"AZURE_CLIENT_SECRET", "MY_TOKEN", "https_proxy"}
    # The fourth is that of listdir itself.
    assert "fds 0 1 2 3\n" in text
    assert "stdin '' /dev/null\n" in text
    assert "session True" in text
    assert f"blocked {0:016x}\n" in text
    # Python itself ignores SIGPIPE and SIGXFSZ. 32 and 33 belong to the C library, which lets nobody touch them: they
    # are as whoever started the tests left them.
    ignored = int(re.search(r"^ignored ([0-9a-f]+)$", text, re.M)[1], 16)
    assert not ignored & ~(1 << 12 | 1 << 24 | 1 << 31 | 1 << 32), f"{ignored:016x}"
