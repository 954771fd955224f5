"""Each sanitizer build finds what it is there to find; a quiet sanitizer is not a clean program."""
import os
import subprocess

import pytest

from conftest import FLAVOUR

MISTAKES = [
    ("address", "heap", "heap-buffer-overflow"),
    ("address", "undefined", "signed integer overflow"),
    ("address", "leak", "detected memory leaks"),
    ("thread", "race", "data race"),
]


@pytest.fixture
def canary(binary):
    return binary.parent / "tests/tools/canary"


@pytest.mark.parametrize("mistake, finding", [(what, sign) for build, what, sign in MISTAKES if build == FLAVOUR])
def test_sanitizer_finds(canary, tmp_path, mistake, finding):
    report = tmp_path / "report"
    env = dict(os.environ)
    for name in ("ASAN", "UBSAN", "TSAN"):
        env[f"{name}_OPTIONS"] = env.get(f"{name}_OPTIONS", "") + f":log_path='{report}'"
    done = subprocess.run([canary, mistake], env=env, check=False, timeout=60, capture_output=True)
    found = "".join(path.read_text() for path in tmp_path.iterdir()) + done.stderr.decode()
    assert done.returncode != 0
    assert finding in found


def test_program_itself_carries_the_canarys_sanitizer(canary, binary, flavour):
    library = {"address": "libasan", "thread": "libtsan"}[flavour]
    for program in (canary, binary):
        assert library in subprocess.check_output(["ldd", program], text=True)


def test_quiet_canary_is_no_finding(canary):
    assert subprocess.run([canary], check=False, stderr=subprocess.DEVNULL, timeout=60).returncode == 2
