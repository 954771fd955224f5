"""The drivers of the editors, on a plain directory: what they type arrives, and they see what they should see."""
import os

import pytest

from conftest import FLAVOUR
from lib.editors import EDITORS
from lib.mount import wait_until

pytestmark = pytest.mark.skipif(FLAVOUR != "release", reason="NOT TESTED under sanitizers: the program takes no part in it")
TEXT = "# numbers\none: 1\ntwo: 2\nthree: 3\nfour: 4\n"


@pytest.fixture(params=EDITORS.values(), ids=EDITORS)
def editor(request):
    if not request.param.installed():
        pytest.skip(f"NOT TESTED: {request.param.program} is not installed")
    with request.param() as made:
        yield made


def changed(text, number, line):
    lines = text.split("\n")
    lines[number - 1] = line
    return "\n".join(lines)


def await_another_time(directory, time):
    """Waits until a file that is written now has another time than this: the clock of files is coarse."""
    def differs():
        path = directory / "clock"
        path.write_text("tick")
        return path.stat().st_mtime_ns != time

    wait_until(differs, 10, "the clock")


def test_a_session_on_a_local_disk(editor, tmp_path):
    file = tmp_path / "spec.yml"
    file.write_text(TEXT)
    text = TEXT
    editor.open(file)
    for number, line in ((3, "two: two & a half  # 'it' is \\ |"), (4, "  three: [1, 2, 3]"), (4, "  - 3")):
        editor.change(number, line)
        assert not editor.asks(), editor.shown()
        editor.save()
        text = changed(text, number, line)
        assert not editor.asks() and not editor.shows_error(), editor.shown()
        assert file.read_text() == text
    before = file.stat()
    await_another_time(tmp_path.parent, before.st_mtime_ns)
    editor.save()
    assert not editor.asks() and not editor.shows_error(), editor.shown()
    assert (file.stat().st_mtime_ns != before.st_mtime_ns) == editor.saves_unchanged
    editor.quit()
    assert file.read_text() == text
    assert set(os.listdir(tmp_path)) == {"spec.yml"} | editor.left()


def test_it_asks_about_a_file_that_somebody_else_changed(editor, tmp_path):
    """Otherwise a test that sees no question would say nothing."""
    file = tmp_path / "spec.yml"
    file.write_text(TEXT)
    editor.open(file)
    editor.change(3, "two: two")
    editor.save()
    file.write_text(TEXT + "five: 5\n")
    now = file.stat().st_mtime + 5
    os.utime(file, (now, now))
    editor.await_look()
    editor.change(4, "three: three")
    if not editor.asks():
        editor.save()
    assert editor.asks() == editor.notices, editor.shown()
