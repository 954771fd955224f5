"""
The ways to save, step by step, and what has become of each save: for the tests that stop the daemon
or the service in the middle of one.

Every save has an environment and a token of its own; the token is in all the bytes it writes, and
nowhere else. A save runs in a process of its own, which tells step by step what it was told.
"""
import errno
import json
import os
import select
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lib.steps import upload_blobs

CHILD_SECONDS = 30
AFTER_SECONDS = 3
POLL_SECONDS = 0.01
RECOVERY_SECONDS = 15    # what is in doubt is looked up every few seconds
BASE_IMAGE = "registry.example/base:1"
BASE_CONDA = "name: base\ndependencies:\n- python=3.10\n"
DOCKERFILE = b"FROM registry.example/base:1\nCOPY data.txt /\n"


class Steps:
    """What the process that saves does and is told; it stops where it fails, as programs do."""

    def __init__(self):
        self.told = []

    def do(self, name, call, *args, **more):
        try:
            result = call(*args, **more)
        except OSError as problem:
            self.told.append((name, problem.errno))
            raise
        self.told.append((name, 0))
        return result

    def write_file(self, path, data, flags=os.O_CREAT | os.O_TRUNC, sync=True, name=None):
        """open, write, fsync, close, each of them checked."""
        name = name or path.name
        file = self.do(f"open {name}", os.open, path, os.O_WRONLY | flags, 0o644)
        try:
            self.do(f"write {name}", os.write, file, data)
            if sync:
                self.do(f"fsync {name}", os.fsync, file)
        except OSError:
            os.close(file)
            raise
        self.do(f"close {name}", os.close, file)


@dataclass
class Kind:
    """
    One way to save: run(steps, env directory, files) after before(env directory, files). files are
    the bytes to be saved by their paths in the version, made from its first version and the token.
    done is the step that reports the save; gives is what a save comes to.
    """

    name: str
    base: str                   # of version 1: image, conda or context
    files: callable             # token -> {path: bytes}
    run: callable
    done: str
    before: callable = None
    gives: str = "version"      # or "tags", or "nothing": it is refused
    again: callable = None      # how it is saved once more after it failed; without it, by run
    settles: bool = False       # published by itself, some time after it was written

    def __str__(self):
        return self.name


def spec_files(token):
    """As an editor has it: with the number of the version that was edited."""
    return {"spec.yml": f"image: registry.example/{token}:1\nversion: \"1\"\ntags:\n  team: ml\n".encode()}


def unnumbered_files(token):
    return {"spec.yml": f"image: registry.example/{token}:1\ntags:\n  team: ml\n".encode()}


def invalid_files(token):
    return {"spec.yml": f"image: registry.example/{token}:1\nversion: \"1\"\nimagee: x\n".encode()}


def tag_files(token):
    return {"spec.yml": f"image: {BASE_IMAGE}\nversion: \"1\"\ntags:\n  team: {token}\n".encode()}


def conda_files(token):
    return {"conda.yml": f"name: {token}\ndependencies:\n- python=3.11\n".encode()}


def data_files(token):
    return {"context/data.txt": f"{token}\n".encode() * 50}


def draft_files(token):
    """A version with a build context, the spec first: it names what is not there yet."""
    return {"spec.yml": f"description: {token}\nbuild:\n  path: context\n".encode(),
            "context/Dockerfile": DOCKERFILE + f"# {token}\n".encode(),
            "context/data.txt": f"{token}\n".encode() * 50}


def plain_draft_files(token):
    return {"spec.yml": f"image: {BASE_IMAGE}\nconda_file: conda.yml\ndescription: {token}\n".encode(),
            "conda.yml": f"name: {token}\ndependencies:\n- python=3.12\n".encode()}


# ---- the dances ----


def in_place(steps, env, files):
    for name, data in files.items():
        steps.write_file(env / "1" / name, data, flags=os.O_TRUNC)


def rename_over(steps, env, files):
    for name, data in files.items():
        path = env / "1" / name
        beside = path.parent / f".{path.name}.Xa3q9z"
        steps.write_file(beside, data, flags=os.O_CREAT | os.O_EXCL)
        steps.do("rename", os.rename, beside, path)


def away_and_anew(steps, env, files):
    """Emacs and vim, with a backup: the old file gets another name, a new one is made."""
    for name, data in files.items():
        path = env / "1" / name
        steps.do("rename away", os.rename, path, path.parent / f"{path.name}~")
        steps.write_file(path, data, flags=os.O_CREAT | os.O_EXCL)


def unlink_and_anew(steps, env, files):
    """tar, unzip, git, install."""
    for name, data in files.items():
        path = env / "1" / name
        steps.do("unlink", os.unlink, path)
        steps.write_file(path, data, flags=os.O_CREAT | os.O_EXCL, sync=False)


def in_pieces(steps, env, files):
    """A shell's { a; b; } > F: what is written is written bit by bit."""
    for name, data in files.items():
        file = steps.do("open", os.open, env / "1" / name, os.O_WRONLY | os.O_TRUNC)
        try:
            for at in range(0, len(data), 20):
                steps.do(f"piece {at}", os.write, file, data[at:at + 20])
            steps.told.append((f"write {Path(name).name}", 0))
        except OSError:
            os.close(file)
            raise
        steps.do("close", os.close, file)


def fill(steps, directory, files):
    steps.do("mkdir", os.mkdir, directory)
    for name, data in files.items():
        path = directory / name
        if path.parent != directory and not path.parent.is_dir():
            steps.do(f"mkdir {path.parent.name}", os.mkdir, path.parent)
        steps.write_file(path, data, sync=False)


def make_draft(env, files):
    fill(Steps(), env / ".next", files)


def move_draft(steps, env, _files):
    steps.do("rename", os.rename, env / ".next", env / "5")


def fill_and_move(steps, env, files):
    fill(steps, env / ".next", files)
    move_draft(steps, env, files)


def refill_and_move(steps, env, files):
    for name, data in files.items():
        steps.write_file(env / ".next" / name, data)
    move_draft(steps, env, files)


def copy(steps, env, files):
    """cp -r: nothing but the state of the directory says when it is published."""
    fill(steps, env / "6", files)
    until_published(steps, env / "6")


def until_published(steps, directory, before=b""):
    """Or until the directory says why it is not, other than before."""
    end = time.monotonic() + CHILD_SECONDS
    while steps.do("look", os.getxattr, directory, "user.mlenvfs.state") != b"published":
        reason = failure_of(directory)
        if reason not in (b"", before):
            steps.told.append((f"published, not {before.decode()!r} but {reason.decode()!r}", errno.EIO))
            raise OSError(errno.EIO, "it can't be published")
        if time.monotonic() > end:
            raise OSError(errno.ETIME, "it is not published")
        time.sleep(0.01)
    steps.told.append(("published", 0))


def failure_of(directory):
    """Why it could not be published, when it is a draft still: what is published may have something to say as well."""
    try:
        reason = os.getxattr(directory, "user.mlenvfs.error")
    except OSError:
        return b""
    return reason if os.getxattr(directory, "user.mlenvfs.state") != b"published" else b""


def copy_and_sync(steps, env, files):
    """cp -r, then fsync of the directory, which publishes and tells."""
    fill(steps, env / "6", files)
    directory = steps.do("open", os.open, env / "6", os.O_RDONLY | os.O_DIRECTORY)
    try:
        steps.do("fsync", os.fsync, directory)
    finally:
        os.close(directory)


def touch_draft(steps, env, files):
    """A copy that did not become a version is made once more, what is named before what names it."""
    directory = env / "6"
    before = failure_of(directory) if directory.is_dir() else b""
    for name, data in reversed(files.items()):
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        steps.write_file(directory / name, data)
    until_published(steps, directory, before)


def plain_copy(steps, env, files):
    """A version without a build context: it is published by the close that completes it."""
    fill(steps, env / "6", files)


def single_file(steps, env, files):
    steps.write_file(env / "spec.yml", files["spec.yml"], flags=os.O_CREAT)


def correct(steps, env, files):
    """What was refused is corrected and saved again."""
    steps.write_file(env / "1/spec.yml", files["spec.yml"].replace(b"imagee: x\n", b""), flags=os.O_TRUNC)


DRAFT_KINDS = [
    Kind("mv of a draft", "image", draft_files, move_draft, "rename", before=make_draft),
    Kind("a draft and its mv", "image", plain_draft_files, fill_and_move, "rename", again=refill_and_move),
]

KINDS = DRAFT_KINDS + [
    Kind("spec.yml in place", "image", spec_files, in_place, "close spec.yml"),
    Kind("spec.yml in pieces", "image", spec_files, in_pieces, "close"),
    Kind("spec.yml renamed over", "image", spec_files, rename_over, "rename"),
    Kind("spec.yml moved away and made anew", "image", spec_files, away_and_anew, "close spec.yml"),
    Kind("spec.yml removed and made anew", "image", spec_files, unlink_and_anew, "close spec.yml"),
    Kind("context file in place", "context", data_files, in_place, "close data.txt"),
    Kind("context file renamed over", "context", data_files, rename_over, "rename"),
    Kind("conda.yml in place", "conda", conda_files, in_place, "close conda.yml"),
    Kind("tags only", "image", tag_files, in_place, "close spec.yml", gives="tags"),
    Kind("a copy", "image", draft_files, copy, "published", again=touch_draft, settles=True),
    Kind("a copy and fsync", "image", draft_files, copy_and_sync, "fsync", again=touch_draft, settles=True),
    Kind("a copy without context", "image", plain_draft_files, plain_copy, "close conda.yml", again=touch_draft),
    Kind("spec.yml of the environment", "image", unnumbered_files, single_file, "close spec.yml"),
    Kind("a spec.yml that is refused", "image", invalid_files, in_place, "close spec.yml", gives="nothing",
         again=correct),
]


# ---- one save ----


@dataclass
class Save:
    """One save of a kind in an environment of its own."""

    kind: Kind
    env: str
    token: str
    told: list = field(default_factory=list)    # (step, errno) in order
    what: str = ""                              # what was done to it meanwhile
    state: object = None                        # what became of it: a State

    @classmethod
    def new(cls, kind, number):
        word = "".join(part[0] for part in kind.name.split())
        return cls(kind, f"{word}-{number}", f"saved-{word}-{number}-")

    @property
    def files(self):
        return self.kind.files(self.token)

    @property
    def reported(self):
        """The program was told that it is saved."""
        return (self.kind.done, 0) in self.told

    @property
    def error(self):
        """The errno of the step that failed; 0 when none did."""
        return next((number for _, number in self.told if number), 0)

    @property
    def written(self):
        """The files that the daemon took whole, before the save or in it."""
        if self.kind.before:
            return set(self.files)
        return {name for name in self.files if (f"write {Path(name).name}", 0) in self.told}

    def __str__(self):
        told = ", ".join(f"{step}: {errno.errorcode.get(number, number)}" for step, number in self.told[-4:])
        return f"{self.env} ({self.what or 'unhurt'}; told ... {told or 'nothing'})"

    # ---- its environment ----

    def prepare(self, service):
        """Puts version 1, before the mount looks."""
        properties = {"image": BASE_IMAGE, "tags": {"team": "ml"}}
        if self.kind.base == "conda":
            properties["condaFile"] = BASE_CONDA
        if self.kind.base == "context":
            files = {"Dockerfile": DOCKERFILE, "data.txt": b"of the first version\n"}
            uri = upload_blobs(service, f"base/{self.env}/", files)
            properties = {"build": {"contextUri": uri, "dockerfilePath": "Dockerfile"}}
        service.put_version(self.env, "1", properties)

    def warm(self, workspace):
        """Looks as an editor has before it saves, so that nothing but the save is left to do."""
        for path in sorted((workspace / self.env / "1").rglob("*")):
            if path.is_file():
                path.read_bytes()
        if self.kind.before:
            self.kind.before(workspace / self.env, self.files)

    def run(self, workspace, how=None, rescue=lambda: None, meanwhile=lambda: False):
        """
        Saves, in a process of its own; gives whether that hung: it took longer than any deadline, or
        meanwhile(), which is called over and over, says so. rescue() then has to let it go.
        """
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            self._in_child(writing, how or self.kind.run, workspace)
        os.close(writing)
        hung = not _await(reading, meanwhile)
        if hung:
            rescue()
            if not _readable(reading, AFTER_SECONDS):
                os.kill(child, signal.SIGKILL)
        with open(reading, "rb") as pipe:
            self.told = [tuple(step) for step in json.loads(pipe.read() or b"[]")]
        os.waitpid(child, 0)
        return hung

    def _in_child(self, writing, how, workspace):
        steps = Steps()
        try:
            how(steps, workspace / self.env, self.files)
        except OSError:
            pass    # told
        finally:
            os.write(writing, json.dumps(steps.told).encode())
            os._exit(0)    # pylint: disable=protected-access


def _await(pipe, meanwhile):
    """Waits for the process at the other end of the pipe; gives whether it ended in time."""
    end = time.monotonic() + CHILD_SECONDS
    while not _readable(pipe, POLL_SECONDS):
        if meanwhile() or time.monotonic() > end:
            return False
    return True


def _readable(pipe, seconds):
    return bool(select.select([pipe], [], [], seconds)[0])


# ---- what has become of it ----


@dataclass
class State:
    """Where the bytes of a save are: versions that hold them, tags that do, and files of the user that do."""

    versions: dict      # all versions of the environment: whether they hold the token
    tagged: bool        # the tags of version 1 hold it
    kept: dict          # path below the environment: bytes, for all local files that hold the token
    states: dict        # user.mlenvfs.state of these files, and of the directories that are versions or drafts
    complete: bool      # every version that holds the token holds all of the save

    @property
    def published(self):
        return [name for name, holds in self.versions.items() if holds]

    def __str__(self):
        shown = {name: len(data) for name, data in self.kept.items()}
        return f"versions {self.versions}, tagged {self.tagged}, kept {shown}, states {self.states}"

    def same(self, other):
        return (self.versions, self.tagged, self.kept) == (other.versions, other.tagged, other.kept)


def look(service, workspace, save):
    """What the service has, and what the mount shows."""
    path = service.workspace_path("local", "environments", save.env, "versions")
    records = {item["name"]: item["properties"] for item in service.list(path, listViewType="All")}
    tagged = save.token in json.dumps(records.get("1", {}).get("tags") or {})
    holding, complete = {}, True
    for name, record in records.items():
        texts = _texts(service, record)
        holding[name] = name != "1" and any(save.token.encode() in text for text in texts.values())
        complete = complete and (not holding[name] or _complete(save, texts))
    try:
        return State(holding, tagged, *_local(workspace / save.env, save.token, holding, tagged), complete)
    except FileNotFoundError:    # what is found at the service goes here, and has just gone
        return look(service, workspace, save)


def _texts(service, record):
    """The texts that a record comes to: {"": the record, "conda.yml": ..., "context/...": ...}."""
    texts = {"": json.dumps({name: value for name, value in record.items() if name != "condaFile"}).encode()}
    if record.get("condaFile"):
        texts["conda.yml"] = record["condaFile"].encode()
    uri = (record.get("build") or {}).get("contextUri")
    if uri:
        blobs = service.blobs()
        prefix = uri.removeprefix(blobs.url + "/")
        for name in blobs.list(prefix):
            texts[f"context/{name.removeprefix(prefix)}"] = blobs.get(name).body
    return texts


def _complete(save, texts):
    """The version holds every file of the save: contexts byte for byte, conda.yml and the record by the token."""
    for name, data in save.files.items():
        if name.startswith("context/"):
            whole = texts.get(name) == data
        else:
            whole = save.token.encode() in texts.get("" if name == "spec.yml" else name, b"")
        if not whole:
            return False
    return True


def _local(env, token, holding, tagged):
    """The local files that hold the token, and the states of the directories."""
    kept, states = {}, {}
    if not env.is_dir():
        return kept, states
    for name in sorted(os.listdir(env)):
        path = env / name
        if path.is_symlink():
            continue
        if path.is_dir():
            states[name] = os.getxattr(path, "user.mlenvfs.state").decode()
        for file in [path] if path.is_file() else sorted(path.rglob("*")):
            if file.is_symlink() or not file.is_file():
                continue
            data = file.read_bytes()
            if token.encode() in data and not _is_published(file.relative_to(env), holding, tagged):
                kept[str(file.relative_to(env))] = data
                states[str(file.relative_to(env))] = os.getxattr(file, "user.mlenvfs.state").decode()
    return kept, states


def _is_published(path, holding, tagged):
    """A file that shows what the service has, for the token is there as well."""
    version, _, inside = str(path).partition("/")
    of_version = inside in ("spec.yml", "conda.yml", "Dockerfile") or (
        inside.startswith("context/") and not inside.endswith(".rejected"))
    return of_version and (holding.get(version) or (tagged and version == "1" and inside == "spec.yml"))


def verdict(save, state):
    """What is wrong with the state of a save after a restart; "" when nothing is."""
    problems = []
    saved = state.tagged if save.kind.gives == "tags" else len(state.published) == 1
    kept = {name: data for name, data in state.kept.items() if not _is_scratch(save, name)}
    if len(state.published) > (1 if save.kind.gives == "version" else 0):
        problems.append(f"versions {state.published} hold it")
    if set(state.versions) - set(state.published) != {"1"}:
        problems.append(f"a version that nobody made, among {sorted(state.versions)}")
    if not state.complete:
        problems.append("the version holds only a part of it")
    if saved and kept:
        problems.append(f"it is published and {sorted(kept)} are there as well")
    if save.reported and not saved:
        problems.append("it was reported done and is not published")
    if not saved:
        problems += _missing(save, state.kept)
    problems += [f"{name} says that it is {state.states[name]}" for name in kept
                 if name.endswith(".rejected") and state.states[name] != "rejected"]
    return "; ".join(problems)


def _is_scratch(save, name):
    """The file that was to be renamed: it has not gone where the rename was not reported."""
    return not save.reported and Path(name).name.endswith(".Xa3q9z")


def _missing(save, kept):
    """Files that were written whole and are nowhere."""
    lost = []
    for name in save.written:
        data, last = save.files[name], Path(name).name
        places = (last, f"{last}.rejected", f".{last}.Xa3q9z")
        if not any(Path(path).name in places and found == data for path, found in kept.items()):
            lost.append(f"{name} was written and is neither published nor kept")
    return lost


class Judge:
    """Saves of one service and one mount, and what is wrong with them."""

    def __init__(self, service, mount):
        self.service, self.mount = service, mount
        self.saves, self.problems = [], []

    def problem(self, save, text):
        self.problems.append(f"{save}: {text}")

    def report(self, title):
        print(f"{title}: {len(self.saves)} points")
        if self.problems:
            pytest.fail(f"{title}: {len(self.problems)} problems with {len(self.saves)} saves:\n" +
                        "\n".join(self.problems), pytrace=False)

    def look(self, save):
        return look(self.service, self.mount.local, save)

    def expect_unhurt(self, save):
        if save.kind.gives == "nothing":
            if save.error != errno.EBADMSG:
                self.problem(save, "it was not refused")
        elif not save.reported:
            self.problem(save, "it failed though nothing was done to it")

    def judge_last(self):
        """What became of the last save, once the daemon or the service is there again."""
        if self.saves:
            self.judge(self.saves[-1])

    def judge(self, save):
        save.state = self.settled(save)
        text = verdict(save, save.state)
        if text:
            self.problem(save, f"{text} [{save.state}]")

    def settled(self, save):
        """The daemon may take a moment to ask the service what came of a publication."""
        end = time.monotonic() + RECOVERY_SECONDS
        while True:
            state = self.look(save)
            if not verdict(save, state) or time.monotonic() > end:
                return state
            time.sleep(0.02)

    def all_stay(self, when):
        for save in self.saves:
            state = self.look(save)
            if not state.same(save.state):
                self.problem(save, f"{when}: was {save.state}, is {state}")

    def save_again(self):
        """What was not saved can be, and is one version then."""
        for save in self.saves:
            if save.state.published or save.state.tagged or save.reported or not save.written:
                continue
            again = Save(save.kind, save.env, save.token)
            again.run(self.mount.local, how=save.kind.again)
            state = self.published_now(again)
            if again.error or len(state.published) + state.tagged != 1:
                self.problem(again, f"saved again after ({save}): {state}")

    def published_now(self, save):
        end = time.monotonic() + RECOVERY_SECONDS
        while True:
            state = self.look(save)
            if state.published or state.tagged or save.error or time.monotonic() > end:
                return state
            time.sleep(0.02)
