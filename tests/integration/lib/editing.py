"""What the tests of editors share: environments to be edited in a mount, sessions, and what must hold after them."""
import os
import tempfile
from pathlib import Path

import pytest

from lib.editors import EDITORS
from lib.mount import Mount, wait_until
from lib.service import Service

WAYS = ("latest", "3")
LEAST = "latest"
BACK_SECONDS = 20
CONTEXT = {"Dockerfile": "FROM mcr.microsoft.com/azureml/base:1\nCOPY . /work\nRUN pip install -r requirements.txt\n",
           "requirements.txt": "# what it needs\nnumpy==1.26\npandas==2.1\nscipy==1.11\n",
           "app/main.py": "print('hello')\n"}
SKIPPED = ("NOT TESTED under sanitizers, which make it slow: there one editor of each group of call sequences runs, "
           f"through {LEAST}/")


# ---- which editors, which ways ----


def _one_of_each_group():
    first = {}
    for editor in EDITORS.values():
        first.setdefault(editor.group, editor)
    return set(first.values())


def _param(editor, way, full):
    marks = [pytest.mark.skipif(not editor.installed(), reason=f"NOT TESTED: {editor.program} is not installed")]
    if not full and (editor not in _one_of_each_group() or way != LEAST):
        marks.append(pytest.mark.skip(reason=SKIPPED))
    return pytest.param(editor, way, marks=marks, id=f"{editor.name}-{way}")


def matrix(flavour, ways=WAYS, editors=EDITORS):
    """The parameters (editor, way) of a test: all of them, or the few that a sanitizer build runs."""
    return [_param(EDITORS[name], way, flavour == "release") for name in editors for way in ways]


# ---- where it is done ----


class Place:
    """A service and a mount of it, with environments of three versions each, one for each test of a module."""

    def __init__(self, service, mount, names):
        self.service = service
        self.mount = mount
        self.names = names
        self._blobs = set(service.blobs().list())

    def versions(self, env):
        path = self.service.workspace_path("local", "environments", env, "versions")
        return [item["name"] for item in sorted(self.service.list(path, listViewType="All"),
                                                key=lambda item: int(item["name"]))]

    def properties(self, env, version):
        return self.service.get_version(env, version)["properties"]

    def context_of(self, env, version):
        """What the service holds as the version's build context: {relative path: text}."""
        blobs = self.service.blobs()
        prefix = self.properties(env, version)["build"]["contextUri"].removeprefix(blobs.url + "/")
        prefix = prefix.rstrip("/") + "/"
        return {name.removeprefix(prefix): blobs.get(name).body.decode() for name in blobs.list(prefix)}

    def check_nothing_else_arrived(self):
        """The service has no more environments, and since the last call got no file that is not part of a context."""
        environments = self.service.list(self.service.workspace_path("local", "environments"), listViewType="All")
        assert {item["name"] for item in environments} == set(self.names)
        new = set(self.service.blobs().list()) - self._blobs
        self._blobs |= new
        assert not [name for name in new if not name.endswith(tuple(f"/{path}" for path in CONTEXT))]


def _plain(version):
    return {"image": f"mcr.microsoft.com/azureml/base:{version}", "description": "What it is for",
            "tags": {"team": "ml"},
            "condaFile": f"name: x\nchannels:\n  - conda-forge\ndependencies:\n  - python=3.{version}\n  - numpy=1.26\n"}


def _with_context(service):
    with tempfile.TemporaryDirectory() as base:
        top = Path(base, "context")
        for name, text in CONTEXT.items():
            (top / name).parent.mkdir(parents=True, exist_ok=True)
            (top / name).write_text(text)
        uri = service.upload_context(top, "context", "1")
    return lambda version: {"description": f"Number {version}", "tags": {"team": "ml"},
                            "build": {"contextUri": uri, "dockerfilePath": "Dockerfile"}}


def place_with(binary, names, context=False):
    """A generator for a fixture: a Place with environments of these names, ended and checked afterwards."""
    with Service(binary) as service:
        properties = _with_context(service) if context else _plain
        for name in names:
            for version in ("1", "2", "3"):
                service.put_version(name, version, properties(version))
        with Mount(binary, service=service, options={"refresh": 3600}) as mount:
            yield Place(service, mount, names)


# ---- a session ----


class Session:
    """One session of an editor with a file of env/way; `text` is what the file held at its last save."""

    def __init__(self, place, editor, env, way, file):
        self.place = place
        self.editor = editor
        self.env = env
        self.top = place.mount.local / env
        self.path = self.top / way / file
        self.third = self.top / "3" / file
        self.text = self.original = self.third.read_text()
        # Where the file really lies, for the Dockerfile is a link.
        self.folder = Path(os.path.realpath(self.third)).relative_to(os.path.realpath(self.top / "3")).parent
        self.names = self._names("3")
        self.lines = self.text.split("\n")
        editor.open(self.path)
        self._check()

    def number(self, begin):
        """The number of the line that begins so."""
        return next(number for number, line in enumerate(self.lines, 1) if line.startswith(begin))

    def change(self, number, line):
        """Types a line in place of another."""
        if not self.editor.one_process:
            self.lines = self.path.read_text().split("\n")
        self.editor.change(number, line)
        self.lines[number - 1] = line
        assert not self.editor.asks(), self.editor.shown()

    def save(self):
        """Saves; it must work, and without a question."""
        self.editor.save()
        self.text = "\n".join(self.lines)
        self._check()

    def await_look(self):
        self.editor.await_look()
        self._check()

    def _check(self):
        assert not self.editor.asks(), self.editor.shown()
        assert not self.editor.shows_error(), self.editor.shown()

    def end(self):
        """Quits; the published content is at its path again, and nothing lies there that would not on a local disk."""
        self.editor.quit()
        wait_until(lambda: self.third.exists() and self.third.read_text() == self.original, BACK_SECONDS,
                   "the content of version 3 in 3/")
        for version in ("3", "latest"):
            assert self._names(version) == self.names | self.editor.left()

    def _names(self, version):
        return set(os.listdir(self.top / version / self.folder))


def three_saves(session, number, lines, check):
    """
    A session of two saves, one without a change, and one more. Each of the three lines makes exactly one version,
    for which check(version, line) is called at once, and PUTs no more often than that.
    """
    place, env = session.place, session.env
    place.service.reset_counters()
    texts = {}
    for version, line in zip(("4", "5", "6"), lines):
        session.change(number, line)
        session.save()
        assert place.versions(env) == [str(one) for one in range(1, int(version) + 1)]
        assert os.readlink(session.top / "latest") == version
        check(version, line)
        texts[version] = session.text
        if version == "5":
            session.editor.save()
            session.await_look()
            assert place.versions(env) == ["1", "2", "3", "4", "5"], "nothing was changed"
    session.await_look()
    session.end()
    assert place.versions(env) == ["1", "2", "3", "4", "5", "6"]
    assert place.service.counters()["routes"]["PUT version"] == 3
    place.check_nothing_else_arrived()
    return texts
