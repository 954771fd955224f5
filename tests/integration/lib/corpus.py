"""Whether a version in a mount says what the corpus's directory of it says; entry is its record in the manifest."""
from lib.saves import load_text


def files_below(top):
    return sorted(p for p in top.rglob("*") if p.is_file() and not p.is_symlink())


def same_context(entry, ours, shown):
    """Compares the build contexts byte for byte; gives the number of files."""
    context = {f for f in entry["files"] if f.startswith("context/")}
    assert {str(p.relative_to(shown)) for p in files_below(shown / "context")} == context, entry["dir"]
    for name in context:
        assert (shown / name).read_bytes() == (ours / name).read_bytes(), f"{entry['dir']}/{name}"
    if entry["kind"] == "build":
        wanted = load_text(ours / "spec.yml")["build"].get("dockerfile_path") or "Dockerfile"
        assert (shown / "Dockerfile").read_bytes() == (ours / "context" / wanted).read_bytes()
    return len(context)


def same_spec(entry, ours, shown):
    """Compares spec.yml and the conda file by what they say."""
    was, now = load_text(ours / "spec.yml"), load_text(shown / "spec.yml")
    assert now["name"] == entry["name"] and now["version"] == entry["version"]
    for key in ("image", "description", "inference_config"):
        assert was.get(key) == now.get(key), f"{entry['dir']}: {key}"
    assert (was.get("tags") or {}) == (now.get("tags") or {}), entry["dir"]
    assert (was.get("os_type") or "linux").lower() == now["os_type"]
    if entry["kind"] == "build":
        assert now["build"]["path"] == "context"
        assert was["build"].get("dockerfile_path", "Dockerfile") == now["build"].get("dockerfile_path", "Dockerfile")
    if entry["kind"] == "image+conda":
        conda = was["conda_file"]
        if isinstance(conda, str):
            conda = load_text(ours / conda)
        assert load_text(shown / now["conda_file"]) == conda, entry["dir"]
