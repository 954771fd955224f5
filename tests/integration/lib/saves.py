"""Saving through a mount as programs do it, one call after the other, and what the service has of it then."""
import ast
import errno
import os
import subprocess

import pytest
import yaml

from lib.mount import wait_until

# What a save may say, and nothing else: other numbers mean something else to editors and to the kernel.
SAVE_ERRORS = {errno.EBADMSG, errno.EACCES, errno.EROFS, errno.EEXIST, errno.EDQUOT, errno.EFBIG, errno.ETIMEDOUT,
               errno.EHOSTUNREACH, errno.EIO, errno.EBUSY}
# A file that is away comes back 10 s after it went.
BACK_SECONDS = 20
# What a path showed of a save goes when its program does.
GONE_SECONDS = 10
PYTHON = "/usr/bin/python3"
PROGRAM = """
import ast, ctypes, mmap, os, signal, sys, threading, time
scope = {name: value for name, value in globals().items() if not name.startswith("_")}
for line in sys.stdin:
    code = ast.literal_eval(line)
    try:
        try:
            compiled = compile(code, "program", "eval")
        except SyntaxError:
            exec(compile(code, "program", "exec"), scope)
            answer = ("value", None)
        else:
            answer = ("value", eval(compiled, scope))
    except OSError as problem:
        answer = ("errno", problem.errno, str(problem))
    print(ascii(answer), flush=True)
"""


class TextLoader(yaml.SafeLoader):  # pylint: disable=too-many-ancestors
    """Scalars stay text, as they do in the mount: 2.10 is not 2.1."""


TextLoader.yaml_implicit_resolvers = {}


def load_text(source):
    """YAML (bytes, text or a path) with all scalars as text."""
    return yaml.load(source.read_bytes() if hasattr(source, "read_bytes") else source, TextLoader)


def errno_of(call, *args, **kwargs):
    """The errno that a call fails with; it must fail."""
    with pytest.raises(OSError) as caught:
        call(*args, **kwargs)
    return caught.value.errno


class Program:
    """
    A process that lives as long as an editor: do() has it run an expression or statements, in one namespace,
    and gives the value or raises the OSError. Its working directory is `cwd`.
    """

    def __init__(self, cwd):
        self.process = subprocess.Popen([PYTHON, "-c", PROGRAM], cwd=cwd, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def do(self, code):
        self.process.stdin.write(ascii(code) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"the program ended (status {self.process.wait()}) in: {code}"
        kind, *rest = ast.literal_eval(line)
        if kind == "errno":
            raise OSError(*rest)
        return rest[0]

    def save(self, name, data):
        """Truncates and writes; what close() says is raised."""
        self.do(f"fd = os.open({name!r}, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)")
        self.do(f"os.write(fd, {data!r})")
        self.do("os.close(fd)")

    def kill(self, how):
        self.process.send_signal(how)
        self.process.wait(30)
        self.process.stdin.close()
        self.process.stdout.close()

    def end(self):
        """Ends it as a program ends that is done: what it has open is closed by the kernel."""
        if self.process.poll() is None:
            self.process.stdin.close()
            self.process.wait(60)
            self.process.stdout.close()


def run(*words, **more):
    """Runs a program that must succeed without a word on stderr; gives its stdout."""
    done = subprocess.run([str(word) for word in words], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, **more)
    assert done.returncode == 0 and not done.stderr, f"{words}: status {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def versions(service, name, workspace="local"):
    """The versions that the service has, archived ones included; of an environment that is not there: none."""
    path = service.workspace_path(workspace, "environments", name)
    if service.get(path, expect=(200, 404)).status == 404:
        return set()
    return {item["name"] for item in service.list(path + "/versions", listViewType="All")}


def properties(service, name, version, workspace="local"):
    return service.get_version(name, version, workspace=workspace)["properties"]


def routes(service):
    return service.counters()["routes"]


def writes(service):
    """The requests since the counters were reset that change something, by kind."""
    reading = {"POST listSecrets", "POST dataref"}
    return {kind: count for kind, count in routes(service).items()
            if kind.split()[0] in ("PUT", "POST", "DELETE") and kind not in reading}


def look_again(mount):
    """Makes the mount ask the service for what others changed."""
    os.setxattr(mount.path, "user.mlenvfs.refresh", b"1")


def wait_shown(path, data):
    """Waits until a file shows these bytes, as when the program that saved it has ended."""
    wait_until(lambda: path.exists() and path.read_bytes() == data, GONE_SECONDS, f"{path} to show what is published")


def wait_back(path, data):
    """Waits until a file that was taken away, or emptied, is back by itself."""
    wait_until(lambda: path.exists() and path.read_bytes() == data, BACK_SECONDS, f"{path} to come back")


def xattr(path, name):
    """The text of an extended attribute; None: it has none."""
    try:
        return os.getxattr(path, name).decode()
    except OSError as problem:
        assert problem.errno in (errno.ENODATA, errno.EOPNOTSUPP), problem
        return None


def error_of(path):
    return xattr(path, "user.mlenvfs.error")


def state_of(path):
    return xattr(path, "user.mlenvfs.state")


def put_context(service, name, version, files, **more):
    """Registers a version with a build context of these files ({name: bytes})."""
    prefix = f"contexts/{name}-{version}/"
    blobs = service.blobs()
    for file, data in files.items():
        assert blobs.put(prefix + file, data).status == 201
    build = {"contextUri": f"{blobs.url}/{prefix}", "dockerfilePath": "Dockerfile"}
    service.put_version(name, version, {"build": build, **more})


def context_of(service, name, version):
    """The build context that a version has at the service, {name: bytes}."""
    uri = properties(service, name, version)["build"]["contextUri"]
    blobs = service.blobs()
    prefix = uri[len(blobs.url) + 1:]
    return {file[len(prefix):]: blobs.get(file).body for file in blobs.list(prefix)}
