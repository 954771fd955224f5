"""Real editors save a file of a build context, and the Dockerfile by its link: each save is one version."""
import os

import pytest

from conftest import FLAVOUR
from lib.editing import CONTEXT, LEAST, WAYS, Session, matrix, place_with, three_saves
from lib.editors import EDITORS

LINK_EDITORS = ("vim", "vim-backupcopy-yes", "emacs", "nano", "gedit", "sed")
NAMES = ([f"{editor}-{way}" for editor in EDITORS for way in WAYS] + [f"{editor}-link" for editor in LINK_EDITORS])


@pytest.fixture(scope="module")
def place(binary):
    yield from place_with(binary, NAMES, context=True)


@pytest.mark.parametrize("make, way", matrix(FLAVOUR))
def test_a_save_in_a_context_is_one_version(place, make, way):
    env = f"{make.name}-{way}"
    edit(place, make, env, way, "context/requirements.txt", "pandas", [
        "pandas==2.2", "pandas>=2.2,<3  # not the next", "pandas"])


@pytest.mark.parametrize("make, way", matrix(FLAVOUR, ways=[LEAST], editors=LINK_EDITORS))
def test_a_save_of_the_dockerfile_by_its_link_is_one_version(place, make, way):
    env = f"{make.name}-link"
    edit(place, make, env, way, "Dockerfile", "RUN", ["RUN true", "RUN pip install numpy pandas", "RUN false"])
    for version in ("3", "6"):
        assert os.readlink(place.mount.local / env / version / "Dockerfile") == "context/Dockerfile"


def edit(place, make, env, way, file, begin, lines):
    name = file.removeprefix("context/")

    with make() as editor:
        session = Session(place, editor, env, way, file)

        def check(version, _line):
            assert place.context_of(env, version) == {**CONTEXT, name: session.text}
            assert place.properties(env, version)["tags"] == {"team": "ml"}

        texts = three_saves(session, session.number(begin), lines, check)
    for version, text in texts.items():
        assert (session.top / version / file).read_text() == text
        for other in CONTEXT.keys() - {name}:
            assert (session.top / version / "context" / other).read_text() == CONTEXT[other]
