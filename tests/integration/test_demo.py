"""make run and make stop: what a newcomer sees, in a copy of the checkout's scripts and examples."""
import os
import shutil
import subprocess

import pytest

from lib.mount import force_unmount, is_mounted


@pytest.fixture(params=["checkout", "my check out\\1"])
def checkout(sandbox, root, request):
    """A directory like the checkout; the second one has a name that scripts trip over."""
    path = sandbox.base / request.param
    path.mkdir()
    shutil.copytree(root / "scripts", path / "scripts")
    shutil.copytree(root / "examples", path / "examples")
    yield path
    force_unmount(path / "mnt")


def demo(sandbox, checkout, action, program=None):
    done = subprocess.run([checkout / "scripts/demo", action, program or sandbox.binary], env=sandbox.env, text=True,
                          capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


def test_start_shows_a_real_listing_and_stop_leaves_nothing(sandbox, checkout):
    text = demo(sandbox, checkout, "start")
    assert is_mounted(checkout / "mnt")
    assert "4 published, 0 failed" in text
    for command in ("$ ls mnt mnt/local", "$ cat mnt/local/churn-training/latest/spec.yml"):
        assert command in text
    assert (checkout / "mnt/local/churn-training/latest/spec.yml").read_text() in text
    demo(sandbox, checkout, "stop")
    assert not is_mounted(checkout / "mnt")
    assert not os.path.exists(checkout / "mnt")
    assert list(sandbox.runtime.iterdir()) == []


def test_start_again_is_no_error_and_loads_nothing_twice(sandbox, checkout):
    demo(sandbox, checkout, "start")
    again = demo(sandbox, checkout, "start")
    assert "mounted already" in again and "published" not in again
    demo(sandbox, checkout, "stop")
    third = demo(sandbox, checkout, "start")
    assert "published" not in third and "churn-training" in third
    demo(sandbox, checkout, "stop")


def test_stop_with_nothing_mounted_is_no_error(sandbox, checkout):
    assert "nothing is mounted" in demo(sandbox, checkout, "stop")


def test_stop_works_when_the_program_is_gone(sandbox, checkout):
    demo(sandbox, checkout, "start")
    demo(sandbox, checkout, "stop", program=checkout / "build/release/mlenvfs")
    assert not is_mounted(checkout / "mnt")
