"""What is listed and read: environments like those of a team, the same in every run."""
import json
import os
import random
import subprocess
from pathlib import Path

PACKAGES = ("numpy", "scipy", "pandas", "scikit-learn", "lightgbm", "xgboost", "matplotlib", "requests", "pyyaml", "tqdm",
            "joblib", "pillow", "opencv", "mlflow", "azureml-core", "azureml-mlflow", "pyarrow", "fastparquet", "dask", "numba")


def conda(rng):
    chosen = rng.sample(PACKAGES, 12)
    pins = [f"{name}={rng.randint(0, 9)}.{rng.randint(0, 30)}.{rng.randint(0, 9)}" for name in chosen[:8]]
    pips = [f"{name}=={rng.randint(0, 9)}.{rng.randint(0, 30)}.{rng.randint(0, 9)}" for name in chosen[8:]]
    return {"name": "env", "channels": ["conda-forge", "defaults"], "dependencies": [f"python=3.{rng.randint(8, 12)}", *pins, "pip", {"pip": pips}]}


def properties(rng, number):
    return {
        "image": f"mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04:{20240101 + number}",
        "osType": "Linux",
        "condaFile": json.dumps(conda(rng)),
        "description": f"Trains model {number} on CPU nodes, with what the team uses.",
        "tags": {"team": rng.choice(("growth", "search", "ads")), "kind": "training", "number": str(number)},
    }


def publish(service, environments, versions):
    """Image and conda file, three tags and a description each."""
    rng = random.Random(20240229)
    for i in range(environments):
        for version in range(1, versions + 1):
            service.put_version(f"training-{i:05}", str(version), properties(rng, i))


def publish_contexts(service, environments, base):
    """Environments of two versions with a Docker build context of four small files."""
    rng = random.Random(20240301)
    for i in range(environments):
        for version in ("1", "2"):
            context = Path(base) / f"context-{i}-{version}"
            (context / "app").mkdir(parents=True)
            (context / "Dockerfile").write_text(f"FROM python:3.11\nCOPY . /app\nRUN pip install -r /app/requirements.txt # {i}.{version}\n")
            (context / "requirements.txt").write_text("\n".join(f"{name}=={rng.randint(0, 99)}" for name in PACKAGES) + "\n")
            for name in ("main.py", "model.py"):
                (context / "app" / name).write_text(f"# {name} {i} {version}\n" + "".join(f"print({rng.random()})\n" for _ in range(60)))
            uri = service.upload_context(context, f"serving-{i:05}", version)
            service.put_version(f"serving-{i:05}", version, {"build": {"contextUri": uri, "dockerfilePath": "Dockerfile"}, "osType": "Linux"})


def copy(tree, to):
    """A copy with times, links and attributes, as backups have it."""
    os.makedirs(to)
    subprocess.run(["cp", "-a", f"{tree}/.", to], check=True, stderr=subprocess.DEVNULL)


def size(tree):
    """(directories, files, bytes) below a directory."""
    found = subprocess.run(["find", ".", "-printf", "%y %s\n"], cwd=tree, capture_output=True, text=True, check=True).stdout.splitlines()
    kinds = [line.split()[0] for line in found]
    return kinds.count("d"), len(found) - kinds.count("d"), sum(int(line.split()[1]) for line in found if line[0] == "f")
