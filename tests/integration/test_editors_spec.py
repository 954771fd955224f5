"""Real editors save spec.yml: each save is one version, and a save that is refused is shown."""
import os
import re

import pytest

from conftest import FLAVOUR
from lib.editing import LEAST, Session, matrix, place_with, three_saves
from lib.editors import EDITORS
from lib.mount import wait_until

NAMES = [f"{editor}-{way}" for editor in EDITORS for way in ("latest", "3", "refused")]
IMAGE = "mcr.microsoft.com/azureml/base"


@pytest.fixture(scope="module")
def place(binary):
    yield from place_with(binary, NAMES)


def numbered(text, version):
    """A spec with another version's number, as that version's directory shows it."""
    return re.sub(r'(?m)^version: .*$', f'version: "{version}"', text)


@pytest.mark.parametrize("make, way", matrix(FLAVOUR))
def test_a_save_of_spec_yml_is_one_version(place, make, way):
    env = f"{make.name}-{way}"
    lines = [f"image: {IMAGE}:first  # why", f"image: {IMAGE}:the-second", f"image: {IMAGE}:3rd  # and the last"]

    def check(version, line):
        assert place.properties(env, version)["image"] == line.split()[1]

    with make() as editor:
        session = Session(place, editor, env, way, "spec.yml")
        texts = three_saves(session, session.number("image:"), lines, check)
    for version, text in texts.items():
        assert (session.top / version / "spec.yml").read_text() == numbered(text, version)
        assert place.properties(env, version)["tags"] == {"team": "ml"}


@pytest.mark.parametrize("make, way", matrix(FLAVOUR, ways=[LEAST]))
def test_a_spec_that_is_refused(place, make, way):
    """The editor shows it, what was typed stays, the reason is there to be read, and the next save is right."""
    env = f"{make.name}-refused"
    with make() as editor:
        session = Session(place, editor, env, way, "spec.yml")
        number = session.number("os_type:")
        session.change(number, "colour: blue")
        editor.save()
        assert not editor.asks(), editor.shown()
        assert editor.shows_error() or not editor.tells_failure, editor.shown()
        check_refused(session, number)
        session.change(number, "os_type: windows")
        editor.save()
        if editor.asks() and editor.unsure:
            editor.confirm()
        assert not editor.asks() and not editor.shows_error(), editor.shown()
        editor.quit()
    assert place.versions(env) == ["1", "2", "3", "4"]
    assert place.properties(env, "4")["osType"] == "Windows"
    wait_until(lambda: session.third.read_text() == session.original, 20, "the content of version 3 in 3/")
    place.check_nothing_else_arrived()


def check_refused(session, number):
    typed = "\n".join(session.lines)
    rejected = session.third.with_name("spec.yml.rejected")
    assert rejected.read_text() == typed
    for path in (session.top / "3", session.top / "3/spec.yml", rejected):
        reason = os.getxattr(path, "user.mlenvfs.error").decode()
        assert f"line {number}, column 1" in reason and "colour" in reason
    assert session.place.versions(session.env) == ["1", "2", "3"]
    assert os.readlink(session.top / "latest") == "3"
