"""Steps that several tests take with a Service: whole environments, and contexts by their blobs."""
from urllib.parse import quote

from lib.service import GROUP


def archive(service, name, archived=True):
    """Archives an environment with everything in it, as `az ml environment archive` does; or brings it back."""
    path = service.workspace_path("local", "environments", name)
    container = service.get(path, expect=200).json()
    properties = {**container["properties"], "isArchived": archived}
    service.request("PUT", path, {"properties": properties}, expect=(200, 201))


def delete(service, name):
    service.request("DELETE", service.workspace_path("local", "environments", name), expect=(200, 204))


def upload_blobs(service, prefix, files):
    """Puts files ({name: bytes}) below a prefix of the workspace's container; gives the contextUri."""
    blobs = service.blobs()
    for name, data in files.items():
        put = blobs.put(prefix + name, data)
        assert put.status == 201, put
    return f"{blobs.url}/{quote(prefix)}"


def account_key(service):
    path = service.workspace_path("local", "datastores", "workspaceblobstore", "listSecrets")
    return service.request("POST", path, expect=200).json()["key"]


def put_in_group(service, group, workspace, name, version, properties):
    """Registers a version in a workspace of another resource group."""
    path = service.workspace_path(workspace, "environments", name, "versions", version)
    path = path.replace(f"/resourceGroups/{GROUP}/", f"/resourceGroups/{group}/")
    service.request("PUT", path, {"properties": properties}, expect=(200, 201))


def make_workspace(service, name, group):
    service.request("POST", f"/__mlenvfs/workspaces/{name}", query={"resourceGroup": group}, expect=(200, 201))


