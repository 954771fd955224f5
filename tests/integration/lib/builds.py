"""Image builds as a client of the API sees them, programs that pretend to build, and real builders."""
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from lib.service import SUBSCRIPTION, GROUP, PROVIDER, WORKSPACE
from lib.mount import wait_until

OPEN = ("Queued", "GettingOrProvisioningACR", "Running")
FINAL = ("Succeeded", "Failed", "Canceled")
BUILD_SECONDS = 60
STAMP = re.compile(rb"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d: ", re.M)


def image_path(name, version, api="v1.0", workspace=WORKSPACE):
    """The data-plane path of a version's image."""
    return (f"/environment/{api}/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/{PROVIDER}"
            f"/workspaces/{workspace}/environments/{name}/versions/{version}/image")


def without_times(log):
    return STAMP.sub(b"", log)


class Build:
    """A build, by its location."""

    def __init__(self, service, location):
        self.service = service
        self.location = location
        self.id = location.rsplit("/", 1)[-1]

    @property
    def path(self):
        return urlsplit(self.location).path

    def poll(self):
        answer = self.service.get(self.path, expect=(200, 202))
        record = answer.json()
        assert (answer.status == 202) == (record["status"] in OPEN), answer
        assert set(record) == {"status", "logUrl"}
        return record

    @property
    def state(self):
        return self.poll()["status"]

    def wait(self, states=FINAL, seconds=BUILD_SECONDS):
        """Until it is in one of the states; gives it."""
        wait_until(lambda: self.state in states, seconds, f"a build to be {states}")
        return self.state

    def read(self, start=None, end=None):
        """The log, or the bytes from start to before end of it, by its SAS URL and nothing else."""
        url = self.poll()["logUrl"]
        if url is None:
            return b""
        parts = urlsplit(url)
        headers = {} if start is None else {"Range": f"bytes={start}-{'' if end is None else end - 1}"}
        answer = self.service.exchange("GET", f"{parts.path}?{parts.query}", headers=headers)
        if answer.status == 416:
            return b""
        assert answer.status == (200 if start is None else 206), answer
        return answer.body

    def text(self):
        """The log without the times."""
        return without_times(self.read()).decode(errors="replace")

    def wait_for(self, words, seconds=BUILD_SECONDS):
        """Until the words are in the log."""
        wait_until(lambda: words in self.text(), seconds, f"{words!r} in the log")

    def cancel(self):
        return self.service.request("DELETE", self.path, expect=(200, 202)).json()["status"]


def start(service, name, version, expect=202):
    """Starts the build of a version. Gives a Build, or the answer when it is another status."""
    answer = service.request("POST", image_path(name, version, "v2.0"), {}, expect=expect)
    return Build(service, answer.json()["location"]) if answer.status == 202 else answer


def details(service, name, version):
    return service.get(image_path(name, version), query={"secrets": "false"}, expect=200).json()


# ---- programs that pretend to build: for what is about queues, ends and logs, not about images ----


def pretender(directory, *script):
    """
    A program that is called as buildah is, has every image that was built with it, and runs the
    lines of the (Python) script to build: they have `args` and say().
    """
    path = Path(directory) / "pretender"
    have = Path(directory) / "images"
    have.mkdir(exist_ok=True)
    lines = "\n".join("    " + line for text in script for line in text.splitlines())
    path.write_text(f"""#!/usr/bin/python3 -S
import os, signal, sys, time
args = sys.argv[1:]
def say(*words):
    print(*words, flush=True)
def image(name):
    return {str(have)!r} + "/" + name.replace("/", "_")
if args[0] == "inspect":
    sys.exit(0 if os.path.exists(image(args[-1])) else 125)
def build():
{lines}
status = build()
if not status:
    open(image(args[args.index("--tag") + 1]), "w").close()
sys.exit(status)
""")
    path.chmod(0o755)
    return path


def is_running(pid):
    """Whether that process is there, and not only waiting to be collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


# ---- real builders ----


class Engine:
    """
    buildah with storage of its own in a private directory, so that nothing is left of a test. As
    an ordinary user it keeps that below $HOME, which is why the service gets the same one.
    """

    def __init__(self):
        self.base = Path(tempfile.mkdtemp(prefix="mlenvfs-engine-"))
        conf = self.base / "storage.conf"
        conf.write_text(f'[storage]\ndriver = "vfs"\ngraphroot = "{self.base}/images"\n'
                        f'runroot = "{self.base}/run"\n')
        self.env = {"CONTAINERS_STORAGE_CONF": str(conf), "BUILDAH_ISOLATION": "chroot",
                    "HOME": str(self.base), "XDG_DATA_HOME": str(self.base / "data"),
                    "XDG_RUNTIME_DIR": str(self.base)}

    def run(self, *words, check=True, **more):
        done = subprocess.run(["buildah", *words], env={"PATH": os.environ["PATH"], "TMPDIR": str(self.base),
                                                        **self.env},
                              capture_output=True, text=True, check=False, timeout=120, **more)
        assert not check or done.returncode == 0, f"buildah {words}: {done.stdout}{done.stderr}"
        return done

    def images(self):
        return set(self.run("images", "--format", "{{.Name}}").stdout.split())

    def output_of(self, image, *command):
        """Runs the command in a container of the image; gives what it writes."""
        script = ('c=$(buildah from "$1"); m=$(buildah mount "$c"); shift; chroot "$m" "$@"; s=$?; '
                  'buildah umount "$c" >/dev/null; buildah rm "$c" >/dev/null; exit $s')
        words = ["sh", "-c", script, "sh", image, *command]
        if os.geteuid() == 0:
            done = subprocess.run(words, env={"PATH": os.environ["PATH"], **self.env}, text=True,
                                  capture_output=True, check=False, timeout=120)
        else:
            done = self.run("unshare", *words)
        assert done.returncode == 0, done
        return done.stdout

    def remove(self):
        if os.geteuid() == 0:
            shutil.rmtree(self.base)
        else:
            # What belongs to other users of a user namespace can only be removed in there.
            self.run("unshare", "sh", "-c", f"rm -rf '{self.base}'/*", check=False)
            shutil.rmtree(self.base, ignore_errors=True)


def static_program(directory, name, text):
    """Compiles a static program that writes the text; False when there is no static C library."""
    source = Path(directory) / f"{name}.c"
    source.write_text(f'#include <stdio.h>\nint main(void) {{ return puts("{text}") < 0; }}\n')
    done = subprocess.run([os.environ.get("CC", "cc"), "-static", "-o", str(Path(directory) / name), str(source)],
                          check=False, capture_output=True, timeout=60)
    source.unlink()
    return done.returncode == 0
