"""Real editors save conda.yml: each save is one version."""
import pytest
import yaml

from conftest import FLAVOUR
from lib.editing import WAYS, Session, matrix, place_with, three_saves
from lib.editors import EDITORS


@pytest.fixture(scope="module")
def place(binary):
    yield from place_with(binary, [f"{editor}-{way}" for editor in EDITORS for way in WAYS])


@pytest.mark.parametrize("make, way", matrix(FLAVOUR))
def test_a_save_of_conda_yml_is_one_version(place, make, way):
    env = f"{make.name}-{way}"
    lines = ["  - numpy=1.27  # newer", "  - numpy=2", "  - 'numpy >=2.1'"]

    def check(version, line):
        properties = place.properties(env, version)
        conda = yaml.safe_load(properties["condaFile"])
        assert conda["dependencies"] == ["python=3.3", yaml.safe_load(line)[0]]
        assert properties["image"] == "mcr.microsoft.com/azureml/base:3"

    with make() as editor:
        session = Session(place, editor, env, way, "conda.yml")
        texts = three_saves(session, session.number("  - numpy"), lines, check)
    for version, text in texts.items():
        assert (session.top / version / "conda.yml").read_text() == text, "the very bytes, on the machine that saved"
