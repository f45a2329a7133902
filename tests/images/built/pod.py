"""A pod of the manifests as the settings of a container: what the API server, the kubelet and its volumes would give to it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from failover_harness.images.engine import Container, Setting
from tests.cluster.manifests import KUSTOMIZE
from tests.cluster.processes import settings_of
from tests.cluster.stack import Stack

USER: Final = 65532
"""The user of every image, a number."""

_ACCOUNT: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
_MANIFEST: Final = KUSTOMIZE / "base" / "deployment.yaml"


def controller(stack: Stack, folder: Path, settings: Mapping[str, str]) -> tuple[list[str], Setting]:
    """Arguments and setting of the controller's container, from its Deployment.

    Args:
        stack: The application that it serves, and the cluster.
        folder: Where its volumes are.
        settings: Further environment variables.
    """
    pod = yaml.safe_load(_MANIFEST.read_text())["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    memory = {volume["name"]: volume["emptyDir"]["sizeLimit"] for volume in pod["volumes"] if "emptyDir" in volume}
    paths = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    files = {paths["applications"]: _volume(folder / "applications", {"sd21.yaml": stack.application_file().read_text()})}
    account = {
        "token": stack.plane.service_account_token(stack.installation.namespace, stack.installation.account),
        "ca.crt": stack.plane.ca_file.read_text(),
        "namespace": stack.installation.namespace,
    }
    environment = {one["name"]: one["value"] for one in container["env"]}
    cluster = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(stack.plane.port)}
    return container["args"], Setting(
        environment={**environment, **settings_of(stack), **cluster, **settings},
        files={**files, _ACCOUNT: _volume(folder / "account", account)},
        memory={paths[name]: _size(limit) for name, limit in memory.items()},
    )


def owned(folder: Path) -> Path:
    """A folder that the image's user may write to, as the volume of a pod; made here."""
    folder.mkdir(parents=True)
    os.chown(folder, USER, USER)
    return folder


def restrictions(container: Container) -> dict[str, Any]:
    """What the kernel says of a container's first process, and whether it may write to its root file system."""
    status = container.status()
    users = {*status["Uid"].split(), *status["Gid"].split()}
    capabilities = {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
    written = container.execute("touch", "/written")
    return {
        "users": {int(one) for one in users},
        "capabilities": {int(one, 16) for one in capabilities},
        "new privileges": status["NoNewPrivs"] == "0",
        "system calls filtered": status["Seccomp"] == "2",
        "writes": "Read-only file system" not in written.stderr,
    }


RESTRICTED: Final = {
    "users": {USER},
    "capabilities": {0},
    "new privileges": False,
    "system calls filtered": True,
    "writes": False,
}
"""`restrictions` of a container that runs as shipped."""


def _volume(folder: Path, files: Mapping[str, str]) -> Path:
    """A folder of files that the image's user alone may read."""
    owned(folder)
    for name, text in files.items():
        file = folder / name
        file.write_text(text)
        os.chown(file, USER, USER)
        file.chmod(0o400)
    return folder


def _size(limit: str) -> str:
    """Kubernetes' size in podman's words."""
    return re.sub(r"i$", "", limit).lower()
