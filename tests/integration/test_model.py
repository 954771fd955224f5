"""The reference model (tests/model) against a real mount: the same operations, made by real processes through system calls."""
import os
import subprocess

import pytest

pytestmark = pytest.mark.long

SEQUENCES = 24


@pytest.fixture
def model(root, flavour):
    path = root / f"build/{flavour}/tests/model/test_model"
    if not os.access(path, os.X_OK):
        pytest.skip(f"NOT TESTED: there is no program at {path}: make model-bin")
    return path


@pytest.mark.deadline(300)
def test_sequences_of_operations_do_what_the_model_says(service, make_mount, model):
    # The model does not know how long an operation takes here: no draft becomes quiet, and no list old, while it runs.
    mount = make_mount(service=service, options={"refresh": 3600, "settle": 3600})
    settings = {"MODEL_MOUNT": str(mount.path), "MODEL_URL": service.url, "MODEL_TOKEN": service.token}
    settings.setdefault("MODEL_RUNS", os.environ.get("MODEL_RUNS", str(SEQUENCES)))
    done = subprocess.run([str(model)], env={**os.environ, **settings}, text=True, capture_output=True, check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\n{mount.log()}"
    assert f"{settings['MODEL_RUNS']} sequences" in done.stderr + done.stdout
