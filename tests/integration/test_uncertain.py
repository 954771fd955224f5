"""Where it is not certain how Azure answers: a mount of a service that does it one way, and of one that does it the other."""
import json
import os

import pytest

from lib.mount import Mount, MountError, wait_until
from lib.service import Service

IMAGE = {"image": "mcr.microsoft.com/azureml/base:1"}


def said_by_service(mount):
    return json.loads(os.getxattr(mount.path, "user.mlenvfs.status"))["service"]


@pytest.mark.parametrize("numbers", [[], ["--timestamp-versions"]], ids=["counts on", "names by time"])
@pytest.mark.parametrize("first", ["1", "2022-09-14-20-33-51-5820890", "stable"])
def test_the_next_version_is_a_number_or_a_time(binary, numbers, first):
    with Service(binary, *numbers) as service:
        service.put_version("e", first, IMAGE)
        with Mount(binary, service=service) as mount:
            for count in (2, 3):
                spec = mount.local / "e/latest/spec.yml"
                spec.write_text(spec.read_text().replace("base:1", f"base:{count}").replace("base:2", f"base:{count}"))
                path = service.workspace_path("local", "environments", "e", "versions")
                names = {item["name"] for item in service.list(path)}
                assert len(names) == count
                wait_until(lambda n=names, c=count: os.readlink(mount.local / "e/latest") in n
                           and f"base:{c}" in (mount.local / "e/latest/spec.yml").read_text(), 20, "the new latest")


@pytest.mark.parametrize("refused", [False, True], ids=["taken", "refused"])
def test_a_name_with_a_dot(service, make_mount, refused):
    """Azure's registry of curated environments has such names; whether a workspace takes them today is not known."""
    service.put_version("other", "1", IMAGE)
    mount = make_mount(service=service)
    text = (mount.local / "other/1/spec.yml").read_text()
    if refused:
        service.set_faults({"method": "PUT", "path": "*/environments/some.name/*", "status": 400, "code": "UserError",
                            "body": '{"error":{"code":"UserError","message":"Resource name is invalid."}}'})
    draft = mount.local / "some.name/.next"
    draft.mkdir(parents=True)
    (draft / "spec.yml").write_text(text)
    if refused:
        with pytest.raises(OSError):
            os.rename(draft, mount.local / "some.name/1")
        assert "Resource name is invalid" in os.getxattr(draft, "user.mlenvfs.error").decode()
    else:
        os.rename(draft, mount.local / "some.name/1")
        assert service.get_version("some.name", "1")["properties"]["image"] == IMAGE["image"]


@pytest.mark.parametrize("listed", [True, False])
def test_anonymous_environments_in_lists_or_not(service, make_mount, listed):
    service.put_version("e", "1", IMAGE)
    if listed:
        service.put_version("CliV2AnonymousEnvironment", "0" * 32, {**IMAGE, "isAnonymous": True})
    hidden, shown = make_mount(service=service), make_mount(service=service, options={"anonymous": True})
    assert os.listdir(hidden.local) == ["e"]
    assert ("CliV2AnonymousEnvironment" in os.listdir(shown.local)) == listed


# ---- api-versions ----


def test_an_api_version_that_the_service_does_not_have(binary):
    with Service(binary, "--api-versions", "2024-04-01,2024-10-01,2024-10-01-preview,2031-01-01") as service:
        query = {"api-version": "2024-10-01"}
        path = service.workspace_path("local", "environments", "e", "versions", "1")
        service.request("PUT", path, {"properties": IMAGE}, query=query, expect=201)
        with Mount(binary, service=service) as mount:
            spec = mount.local / "e/1/spec.yml"
            spec.write_text(spec.read_text().replace("base:1", "base:2"))
            assert os.readlink(mount.local / "e/latest") == "2"
            assert said_by_service(mount)["api_version"] == "2024-10-01"
            assert mount.log().count("op=api-version") == 1
            assert "2024-10-01" in mount.cli("status", mount.path).stdout
        with pytest.raises(MountError) as caught:
            Mount(binary, service=service, options={"api_version": "2026-05-01", "timeout": 5})
        assert "NoRegisteredProviderFound" in str(caught.value) and "-o api_version=DATE" in str(caught.value)
