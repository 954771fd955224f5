"""The file systems that are compared: how each shows a tree, and how it is taken down again."""
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
UP_SECONDS = 30
SFTP_SERVERS = ("/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/lib/ssh/sftp-server")
EXAMPLES = ("/usr/share/doc/libfuse3-dev/examples/passthrough_ll.c",)
PAGES = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")


class Missing(Exception):
    """A peer that is not installed here, and what brings it."""


def need(program, package):
    if not shutil.which(program):
        raise Missing(f"{program} is not installed (Debian: {package})")


def await_(condition, what):
    end = time.monotonic() + UP_SECONDS
    while not condition():
        if time.monotonic() > end:
            raise Missing(f"{what} did not come up")
        time.sleep(0.02)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class System:
    """Something that shows the tree at .path. Peers show a copy that lies at `source`."""

    name = ""
    broken = False  # could not do what others could

    def __init__(self, base, source=None, delay_ms=0):
        self.base, self.source, self.delay_ms = Path(base), source, delay_ms
        self.path = self.base / "mnt"
        self.processes = []
        self.daemon = None
        self.path.mkdir(parents=True)

    def start(self):
        raise NotImplementedError

    def run(self, *words, **more):
        log = open(self.base / "log", "ab")
        process = subprocess.Popen([str(word) for word in words], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                   start_new_session=True, **more)
        self.processes.append(process)
        return process

    def mount(self, *words):
        """Runs the program that mounts and stays in the foreground."""
        self.daemon = self.run(*words)
        await_(lambda: os.path.ismount(self.path) or self.daemon.poll() is not None, self.name)
        if not os.path.ismount(self.path):
            raise Missing(f"{self.name} does not mount here: {(self.base / 'log').read_text()[-300:].strip()}")

    def far(self, port):
        """A port that leads to `port`, as far away as is wanted."""
        if not self.delay_ms:
            return port
        process = subprocess.Popen([sys.executable, HERE / "delay.py", str(self.delay_ms), "--tcp", str(port)],
                                   stdout=subprocess.PIPE, text=True, start_new_session=True)
        self.processes.append(process)
        return int(process.stdout.readline())

    def stop(self):
        if os.path.ismount(self.path):
            subprocess.run(["fusermount3", "-uz", self.path], check=False, capture_output=True)
        for process in reversed(self.processes):
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.base, ignore_errors=True)

    def memory(self):
        """Bytes of the daemon in memory."""
        return int(Path(f"/proc/{self.daemon.pid}/statm").read_text().split()[1]) * PAGES if self.daemon else 0

    def cpu(self):
        """Seconds that the daemon has computed."""
        if not self.daemon:
            return 0.0
        fields = Path(f"/proc/{self.daemon.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()


class Plain(System):
    """A directory of a file system that the kernel has itself."""

    def __init__(self, name, directory):
        self.name, self.path, self.daemon, self.base = name, Path(directory), None, None

    def start(self):
        pass

    def stop(self):
        pass


class Passthrough(System):
    """libfuse's own example of a fast file system, over the same tree."""

    name = "passthrough_ll"

    def start(self):
        example = next((path for path in EXAMPLES if os.path.exists(path)), None)
        if not example:
            raise Missing("libfuse's examples are not here (Debian: libfuse3-dev)")
        flags = subprocess.run(["pkg-config", "--cflags", "--libs", "fuse3"], capture_output=True, text=True, check=True).stdout.split()
        built = subprocess.run(["cc", "-O2", "-o", self.base / "passthrough_ll", example, *flags], capture_output=True, text=True, check=False)
        if built.returncode:
            raise Missing(f"libfuse's passthrough_ll can't be built: {built.stderr[-300:]}")
        self.mount(self.base / "passthrough_ll", "-f", "-o", f"source={self.source},cache=always,timeout=86400", self.path)


class Sshfs(System):
    """Without ssh's own cost: sshfs talks to the SFTP server through a pipe."""

    name = "sshfs"

    def start(self):
        need("sshfs", "sshfs")
        server = next((path for path in SFTP_SERVERS if os.path.exists(path)), None)
        if not server:
            raise Missing("there is no SFTP server here (Debian: openssh-sftp-server)")
        script = self.base / "connect"
        words = f"{sys.executable} {HERE / 'delay.py'} {self.delay_ms} {server}" if self.delay_ms else server
        script.write_text(f"#!/bin/sh\nexec {words}\n")
        script.chmod(0o700)
        self.mount("sshfs", "-f", "-o", f"ssh_command={script},auto_cache,kernel_cache", f"bench:{self.source}", self.path)


class Rclone(System):
    """rclone serve webdav, and rclone mount of it."""

    name = "rclone"

    def start(self):
        need("rclone", "rclone")
        port = free_port()
        env = {**os.environ, "HOME": str(self.base), "XDG_CONFIG_HOME": str(self.base), "XDG_CACHE_HOME": str(self.base / "cache")}
        self.run("rclone", "serve", "webdav", "--addr", f"127.0.0.1:{port}", self.source, env=env)
        await_(lambda: answers(port), "rclone serve")
        self.daemon = self.run("rclone", "mount", ":webdav:", self.path, "--webdav-url", f"http://127.0.0.1:{self.far(port)}",
                               "--read-only", "--dir-cache-time", "1h", "--vfs-cache-mode", "full", "--attr-timeout", "1h", env=env)
        await_(lambda: os.path.ismount(self.path) or self.daemon.poll() is not None, "rclone mount")
        if not os.path.ismount(self.path):
            raise Missing(f"rclone does not mount here: {(self.base / 'log').read_text()[-300:].strip()}")


class Httpdirfs(System):
    """rclone serve http, and httpdirfs of it (links are shown as what they lead to)."""

    name = "httpdirfs"

    def start(self):
        need("httpdirfs", "httpdirfs")
        need("rclone", "rclone")
        port = free_port()
        env = {**os.environ, "HOME": str(self.base), "XDG_CONFIG_HOME": str(self.base), "XDG_CACHE_HOME": str(self.base / "cache")}
        self.run("rclone", "serve", "http", "--addr", f"127.0.0.1:{port}", "--copy-links", self.source, env=env)
        await_(lambda: answers(port), "rclone serve")
        self.daemon = self.run("httpdirfs", "-f", "--cache", f"http://127.0.0.1:{self.far(port)}/", self.path, env=env)
        await_(lambda: os.path.ismount(self.path) or self.daemon.poll() is not None, "httpdirfs")
        if not os.path.ismount(self.path):
            raise Missing(f"httpdirfs does not mount here: {(self.base / 'log').read_text()[-300:].strip()}")


PEERS = (Passthrough, Sshfs, Rclone, Httpdirfs)
