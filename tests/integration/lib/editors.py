"""
Real editors, driven as a person drives them. EDITORS is all of them, by name.

A session: open(path), change(number, text) replaces one line, save(), and so on, quit(). asks(): does it show a
question or a warning about a file that somebody else changed? shows_error(): does it say that the save failed?
"""
import contextlib
import difflib
import errno
import functools
import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

from lib.mount import MountError, wait_until
from lib.terminal import WAIT_SECONDS, Dialogue, Home, ProgramError, Terminal

LIB = Path(__file__).resolve().parent
# What programs say of EBADMSG, EACCES, EROFS, EEXIST, EIO and the other reasons of a save that failed.
REASONS = "(?i:" + "|".join(os.strerror(number) for number in (
    errno.EBADMSG, errno.EACCES, errno.EROFS, errno.EEXIST, errno.EDQUOT, errno.EFBIG, errno.ETIMEDOUT,
    errno.EHOSTUNREACH, errno.EIO, errno.EBUSY)) + ")"


class Editor:
    """
    What all have in common. A subclass is one editor with one configuration:
      program           what must be installed
      group             which of the sequences of calls it makes (A, A', B, C, C', D: how it puts the new text there)
      one_process       one process makes all saves of a session; otherwise each save is a process of its own
      saves_unchanged   a save without a change writes the file again
      tells_failure     a save that fails at close or rename is shown to the user
      notices           asks when another program changed the file
      unsure            asks at the save that follows a failed one, on a local disk too; confirm() says yes
      leaves            what it leaves beside a file on a local disk, {} being the file's name
    """
    name = program = group = None
    one_process = True
    saves_unchanged = True
    tells_failure = True
    notices = True
    unsure = False
    leaves = ()

    def __init__(self):
        self.home = Home()
        self.path = None

    @classmethod
    def installed(cls):
        return shutil.which(cls.program) is not None

    def open(self, path):
        self.path = Path(path)
        self._open()

    def left(self):
        """The names that it leaves beside the file, on a local disk, after quit()."""
        return {pattern.format(self.path.name) for pattern in self.leaves}

    def await_nothing_runs(self):
        """Waits until no process that it started is left."""
        try:
            wait_until(lambda: not self.home.processes(), WAIT_SECONDS, "its processes to end")
        except MountError as problem:
            raise ProgramError(f"{problem}: {self.home.processes()}") from None

    def await_look(self):
        """Waits, for an editor that looks at its file from time to time, until it has done so."""

    def close(self):
        """Ends it, however it is."""
        self._close()
        for pid in self.home.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ProgramError):
            self.await_nothing_runs()
        self.home.remove()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def __repr__(self):
        return self.name


# ---- on a terminal ----


class Asked(Exception):
    """The editor shows a question about the file; what was being done is not gone on with."""


def _until_asked(step):
    """A step of a session that ends early, and is remembered, when the editor asks."""
    @functools.wraps(step)
    def wrapped(self, *args):
        if not self.asks():
            with contextlib.suppress(Asked):
                step(self, *args)
    return wrapped


class ScreenEditor(Editor):
    """
    An editor on a terminal; a subclass says what it shows:
      READY     takes keys (besides the file's first line)
      SAVED     the save is done
      ASKS      a question or a warning about a changed, locked or vanished file
      ERROR     the save failed
    """
    READY = r"."
    SAVED = ASKS = None
    ERROR = REASONS

    def __init__(self):
        super().__init__()
        self.terminal = None
        self.asked = False

    def command(self):
        return [self.program, str(self.path)]

    @_until_asked
    def _open(self):
        first = self.path.read_text().split("\n", 1)[0]
        self.terminal = Terminal(self.home, self.command())
        self._see(re.escape(first), "the file")
        self._see(f"{self.READY}|{self.ERROR}", "the editor to be ready")

    @_until_asked
    def change(self, number, text):
        """Replaces line `number` (from 1) by text, which must not be on the screen yet."""
        self._dismiss()
        self._begin_change(number)
        self.terminal.type(text)
        self._see(re.escape(text), "the typed text")
        self._end_change()

    @_until_asked
    def save(self):
        """Saves; returns when the editor says that it did, or failed."""
        self._forget_message()
        self._save()
        self._see(f"{self.SAVED}|{self.ERROR}", "the end of the save")

    def _see(self, pattern, what, gone=False):
        """Waits until the screen shows a pattern, or not any more; Asked when it shows a question before."""
        def right(screen):
            self.asked = self.asked or re.search(self.ASKS, screen, re.MULTILINE) is not None
            return self.asked or (re.search(pattern, screen, re.MULTILINE) is None) == gone

        self.terminal.wait(right, what)
        if self.asked:
            raise Asked

    def _see_gone(self, pattern, what):
        self._see(pattern, what, gone=True)

    def _see_confirmed(self):
        """Waits until the question is answered and the save is done."""
        def right(screen):
            return re.search(self.SAVED, screen, re.MULTILINE) and not re.search(self.ASKS, screen, re.MULTILINE)

        self.terminal.wait(right, "the end of the save")
        self.asked = False

    def asks(self):
        if not self.asked and self.terminal is not None:
            self.asked = re.search(self.ASKS, self.terminal.screen(), re.MULTILINE) is not None
        return self.asked

    def shows_error(self):
        return re.search(self.ERROR, self.terminal.screen(), re.MULTILINE) is not None

    def shown(self):
        """What is on the screen, for messages of tests."""
        return "\n".join(line.rstrip() for line in self.terminal.screen().splitlines() if line.strip(" ~"))

    @_until_asked
    def await_look(self):
        self._await_look()

    def quit(self):
        """Ends it as its user does; nothing that it started runs afterwards."""
        self._dismiss()
        self._quit()
        self.terminal.await_end()
        self.terminal.close()
        self.await_nothing_runs()

    def _close(self):
        if self.terminal is not None:
            self.terminal.close()

    def _await_look(self):
        """Waits as await_look() does, where there is anything to wait for."""

    def _dismiss(self):
        """Answers the message of a failed save, where it waits for that."""

    def _end_change(self):
        """Leaves the mode in which text is typed."""

    def _forget_message(self):
        """Makes the message of the last save go."""


class Vim(ScreenEditor):
    """With swap and undo files beside the file, which are its most intrusive ways."""
    program = "vim"
    READY = r"All$"
    SAVED = r"\d+L, \d+B written"
    ASKS = (r"changed since reading it|Do you really want to write|W1[0-6]:|E325|E13\b|swap file|"
            r"no longer available|E211")
    ERROR = r"\bE(?!325|13\b|211)\d+:"
    backupcopy = "auto"
    # By itself it makes no backups below /tmp, where tests have their directories.
    common = "set backupskip= showmode ruler\n"
    leaves = (".{}.un~",)

    def __init__(self):
        super().__init__()
        self.home.file(".vimrc", f"{self.common}set nocompatible swapfile undofile backupcopy={self.backupcopy}\n")

    def _begin_change(self, number):
        self.terminal.type(f"{number}G0C")
        self._see("-- INSERT --", "insert mode")

    def _end_change(self):
        self.terminal.press("Escape")
        self._see_gone("-- INSERT --", "command mode")

    def _forget_message(self):
        self.terminal.type(":echo 'ready to save'\r")
        self._see("^ready to save", "an empty message line")

    def _save(self):
        self.terminal.type(":w\r")

    def _dismiss(self):
        if "Press ENTER" in self.terminal.screen():
            self.terminal.press("Enter")
            self._see_gone("Press ENTER", "the message to go")

    def _quit(self):
        self.terminal.type(":q\r")


class VimAuto(Vim):
    name, group = "vim", "C"


class VimCopies(Vim):
    name, group, backupcopy = "vim-backupcopy-yes", "A'", "yes"
    # It writes the old text back, and when that took more than a second finds the file newer than it thinks.
    unsure = True

    def confirm(self):
        self.terminal.type("y")
        self.terminal.wait(lambda screen: re.search(self.SAVED, screen, re.MULTILINE), "the end of the save")
        self.terminal.press("Enter")
        self.terminal.wait(lambda screen: not re.search(self.ASKS, screen, re.MULTILINE), "the end of the question")
        self.asked = False


class VimRenames(Vim):
    name, group, backupcopy = "vim-backupcopy-no", "C", "no"


class Neovim(Vim):
    name, program, group = "neovim", "nvim", "C"
    leaves = ()

    def __init__(self):
        super().__init__()
        self.home.file(".config/nvim/init.vim", f"{self.common}filetype indent off\n")


class Nano(ScreenEditor):
    """With the lock files that Debian's nanorc has on."""
    name = program = "nano"
    group = "A"
    READY = r"\[ Read \d+ lines? \]"
    SAVED = r"\[ Wrote \d+ lines? \]"
    ASKS = r"File was modified since you opened it|is being edited|[Oo]pen anyway|continue saving|File on disk"
    # After a failed save it does not take the file's new time for its own.
    unsure = True

    def confirm(self):
        self.terminal.type("y")
        self._see_confirmed()

    def __init__(self):
        super().__init__()
        self.home.file(".nanorc", "set locking\n")

    def _begin_change(self, number):
        self.terminal.press("C-_")
        self._see("Enter line number", "the question for the line")
        self.terminal.type(f"{number},1\r")
        self._see_gone("Enter line number", "the line")
        self.terminal.press("C-k", "Enter", "Up")

    def _forget_message(self):
        self.terminal.press("C-_")
        self._see("Enter line number", "a question")
        self.terminal.press("C-c")
        self._see(r"\[ Cancelled \]", "another message")

    def _save(self):
        self.terminal.press("C-s")

    def _quit(self):
        self.terminal.press("C-x")


class Emacs(ScreenEditor):
    name, program, group = "emacs", "emacs", "C then A"
    READY = r"^-UU-.*All"
    SAVED = r"^Wrote |No changes need to be saved"
    ASKS = r"changed on disk|changed since visited|Save anyway|really edit|locked by|reread from disk|no longer exists"
    saves_unchanged = False
    # It remembers the time of the file that it could not write, and finds the old one.
    unsure = True
    leaves = ("{}~",)

    def confirm(self):
        self.terminal.type("yes\r")
        self._see_confirmed()

    def command(self):
        # By itself it makes no backups below /tmp, where tests have their directories.
        return ["emacs", "-nw", "-Q", "--eval", "(setq backup-enable-predicate (lambda (_) t))", str(self.path)]

    def _begin_change(self, number):
        self.terminal.press("M-g", "g")
        self._see("Goto line", "the question for the line")
        self.terminal.type(f"{number}\r")
        self._see_gone("Goto line", "the line")
        self.terminal.press("C-a", "C-k")

    def _forget_message(self):
        self.terminal.press("C-g")
        self._see("^Quit", "another message")

    def _save(self):
        self.terminal.press("C-x", "C-s")

    def _quit(self):
        self.terminal.press("C-x", "C-c")


class Mcedit(ScreenEditor):
    name = program = "mcedit"
    group = "A"
    READY = "10Quit"
    SAVED = r"^\S+ +\[---"
    ASKS = r"has been modified in the meantime|[Ll]ocked|File was modified|Overwrite"
    # A failed save asks for another name.
    ERROR = rf"Save As|Cannot save|Cannot open|{REASONS}"
    # As nano.
    unsure = True

    def confirm(self):
        self.terminal.type("y")
        self._see_confirmed()

    def _begin_change(self, number):
        self.terminal.press("M-l")
        self._see("Enter line", "the question for the line")
        self.terminal.type(f"{number}\r")
        self._see_gone("Enter line", "the line")
        self.terminal.press("Home", "C-k")

    def _save(self):
        self.terminal.press("F2")
        self._see("Confirm save file", "the question whether to save")
        self.terminal.press("Enter")
        self._see_gone("Confirm save file", "the answer")

    def _dismiss(self):
        if self.shows_error():
            self.terminal.press("F10")
            self._see_gone(self.ERROR, "the question to go")

    def _quit(self):
        self.terminal.press("F10")


class Micro(ScreenEditor):
    name = program = "micro"
    group = "A"
    READY = r"\(1,1\)"
    SAVED = r"^Saved "
    ASKS = r"changed on disk|file on disk has changed|Reload file|has changed since"

    def _begin_change(self, number):
        # By the arrow keys: at a command it would take its own question about the file for answered.
        self.terminal.press("C-Home", *["Down"] * (number - 1))
        self._see(rf"\({number},1\)", "the line")
        self.terminal.press("S-End")

    def _forget_message(self):
        self.terminal.press("C-Home", "C-End", "C-Home")
        self._see(r"\(1,1\)", "the first line")
        self.terminal.press("C-e")
        self._see("^>", "the command line")
        self.terminal.press("Escape")
        self._see_gone("^>", "the message line")

    def _save(self):
        self.terminal.press("C-s")

    def _quit(self):
        self.terminal.press("C-q")


class Kakoune(ScreenEditor):
    """Never says that a close failed."""
    name, program, group = "kakoune", "kak", "A"
    READY = r"1:1 .*client0"
    SAVED = r"^the end of the save"
    ASKS = r"reload|was modified externally|changed on disk"
    tells_failure = False

    def _await_look(self):
        # It looks twice a second, and shows nothing of that unless it asks.
        time.sleep(0.7)

    def command(self):
        return ["kak", "-n", str(self.path)]

    def _begin_change(self, number):
        self.terminal.type(f"{number}gghGlc")
        self._see(rf" {number}:\d+ .*insert", "insert mode")

    def _end_change(self):
        self.terminal.press("Escape")
        self._see_gone(r"\binsert\b", "normal mode")

    def _forget_message(self):
        self.terminal.type(":echo ready to save\r")
        self._see("^ready to save", "another message")

    def _save(self):
        self.terminal.type(":write; echo the end of the save\r")

    def _quit(self):
        self.terminal.type(":quit\r")


class Joe(ScreenEditor):
    """Never says that a close failed."""
    ERROR = f"Could not make backup|Save anyway|Error writing|{REASONS}"
    name = program = "joe"
    group = "D then A"
    READY = "Joe's Own Editor"
    SAVED = r"^File \S+ saved"
    ASKS = r"File on disk is newer|[Oo]verwrite|Locked|locked|changed on disk|modified by"
    tells_failure = False
    leaves = ("{}~",)

    def _begin_change(self, number):
        self._ask_line()
        self.terminal.type(f"{number}\r")
        self._see_gone("Go to line", "the line")
        self.terminal.press("C-j")
        # It drops keys that come while it deletes.
        self._see(r"\(Modified\)", "the deleted line")

    def _ask_line(self):
        self.terminal.press("C-k", "l")
        self._see("Go to line", "the question for the line")

    def _forget_message(self):
        self._ask_line()
        self.terminal.press("C-c")
        self._see_gone(rf"Go to line|{self.SAVED}", "the question to go")

    def _save(self):
        self.terminal.press("C-k", "d")
        self._see("Name of file to save", "the question for the name")
        self.terminal.press("Enter")

    def _quit(self):
        self.terminal.press("C-k", "q")


# ---- line by line ----


class DialogueEditor(Editor):
    """A program that is told line by line what to do."""

    def __init__(self):
        super().__init__()
        self.dialogue = None
        self.answer = ""

    def asks(self):
        return False

    def shows_error(self):
        return re.search(f"{REASONS}|^failed", self.answer, re.MULTILINE) is not None

    def shown(self):
        return self.answer

    def quit(self):
        self._quit()
        self.dialogue.await_end()
        self.dialogue.close()
        self.await_nothing_runs()

    def _quit(self):
        """Says goodbye, where the end of its input is not enough."""

    def _close(self):
        if self.dialogue is not None:
            self.dialogue.close()


class Ed(DialogueEditor):
    name = program = "ed"
    group = "A"
    notices = False

    def _open(self):
        self.dialogue = Dialogue(self.home, ["ed", self.path])
        self.dialogue.hear(r"^\d+$")

    def change(self, number, text):
        self.dialogue.say(f"{number}c\n{text}\n.\n")

    def save(self):
        self.dialogue.say("w\n1n\n")
        self.answer = "\n".join(self.dialogue.hear(r"^1\t"))

    def _quit(self):
        self.dialogue.say("q\n")


class HeldText(DialogueEditor):
    """A program that is given all the text at each save."""

    def _open(self):
        self.lines = self.path.read_text().split("\n")
        self.dialogue = Dialogue(self.home, [*self.words, self.path])
        self.dialogue.hear("^opened")

    def change(self, number, text):
        self.lines[number - 1] = text

    def save(self):
        self.dialogue.say(self._message("\n".join(self.lines)))
        self.answer = self.dialogue.hear("^(saved|conflict|failed)")[-1]


class VsCode(HeldText):
    name, program, group = "vscode", "node", "A"
    words = ("node", LIB / "save_as_vscode.js")
    # It takes what it could not write for a newer file.
    unsure = True

    def confirm(self):
        self.dialogue.say("overwrite\n")
        self.answer = self.dialogue.hear("^(saved|failed)")[-1]

    def _message(self, text):
        return json.dumps(text) + "\n"

    def asks(self):
        return self.answer == "conflict"


class Gedit(HeldText):
    name, program, group = "gedit", "gio", "B"
    words = ("python3", LIB / "save_as_gio.py")

    def _message(self, text):
        return f"save {len(text.encode())}\n{text}"

    def asks(self):
        return "externally modified" in self.answer


# ---- a program for each save ----


class BatchEditor(Editor):
    """A program that is started for each save and changes the file as it is then."""
    one_process = False
    notices = False

    def _open(self):
        self.edit = None
        self.answer, self.status = "", 0

    def change(self, number, text):
        self.edit = number, text

    def save(self):
        words, given = self._command(*self.edit) if self.edit else self._same()
        self.edit = None
        done = subprocess.run([str(word) for word in words], input=given or "", env=self.home.env, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=WAIT_SECONDS, check=False)
        self.answer, self.status = done.stdout, done.returncode

    def asks(self):
        return False

    def shows_error(self):
        # perl ends with status 0 when it could not make its new file.
        return self.status != 0 or self.answer != ""

    def shown(self):
        return f"status {self.status}\n{self.answer}"

    def quit(self):
        self.await_nothing_runs()

    def _changed(self, number, text):
        lines = self.path.read_text().split("\n")
        lines[number - 1] = text
        return "\n".join(lines)

    def _close(self):
        pass


class Sed(BatchEditor):
    name, program, group = "sed", "sed", "B"

    def _command(self, number, text):
        text = re.sub(r"[\\&|]", r"\\\g<0>", text)
        return ["sed", "-i", "-e", f"{number}s|.*|{text}|", self.path], None

    def _same(self):
        return ["sed", "-i", "-e", "", self.path], None


class Perl(BatchEditor):
    name, program, group = "perl", "perl", "B"

    def _command(self, number, text):
        text = re.sub(r"[\\']", r"\\\g<0>", text)
        return ["perl", "-i", "-pe", f"$_ = '{text}' . qq(\\n) if $. == {number}", self.path], None

    def _same(self):
        return ["perl", "-i", "-pe", "", self.path], None


class Patch(BatchEditor):
    name, program, group = "patch", "patch", "B"
    saves_unchanged = False

    def _command(self, number, text):
        now = self.path.read_text()
        change = difflib.unified_diff(now.splitlines(True), self._changed(number, text).splitlines(True), "a", "b")
        return ["patch", "-s", self.path], "".join(change)

    def _same(self):
        return ["patch", "-s", self.path], None


class GioSave(BatchEditor):
    name, program, group = "gio-save", "gio", "B"

    def _command(self, number, text):
        return ["gio", "save", self.path], self._changed(number, text)

    def _same(self):
        return ["gio", "save", self.path], self.path.read_text()


EDITORS = {editor.name: editor for editor in (
    VimAuto, VimCopies, VimRenames, Neovim, Nano, Emacs, Mcedit, Micro, Kakoune, Joe, Ed, VsCode, Gedit, Sed, Perl,
    Patch, GioSave)}
