"""The session on the README's first screen, run as it stands there: same commands, same output."""
import os
import subprocess

import pytest

from lib.mount import force_unmount


def session(readme):
    """The commands of the first console block, each with the output that is shown for it."""
    block = readme.read_text().split("```console\n", 1)[1].split("```", 1)[0]
    assert block.startswith("$ ")
    for part in ("\n" + block).split("\n$ ")[1:]:
        command, _, output = part.partition("\n")
        yield command, output + "\n" if output and not output.endswith("\n") else output


def test_first_screen_is_a_real_session(sandbox, root, binary, examples):
    (sandbox.base / "bin").mkdir()
    (sandbox.base / "bin/mlenvfs").symlink_to(binary)
    (sandbox.base / "examples").symlink_to(examples)
    env = dict(sandbox.env, PATH=f"{sandbox.base}/bin:{os.environ['PATH']}")
    steps = list(session(root / "README.md"))
    assert len(steps) >= 8
    try:
        for command, expected in steps:
            done = subprocess.run(["sh", "-c", command], cwd=sandbox.base, env=env, text=True, timeout=60,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
            assert f"$ {command}\n{done.stdout}" == f"$ {command}\n{expected}"
    finally:
        force_unmount(sandbox.base / "ml")


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md", "SECURITY.md", "examples/README.md"])
def test_links_lead_somewhere(root, name):
    text = (root / name).read_text()
    for target in [part.split(")")[0] for part in text.split("](")[1:]]:
        assert target.startswith("https://") or (root / name).parent.joinpath(target).exists(), target
