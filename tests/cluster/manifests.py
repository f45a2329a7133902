"""The manifests of `deploy/`, applied with a real kubectl."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from failover_harness.control_plane.control_plane import ControlPlane

KUSTOMIZE: Final = Path(__file__).parents[2] / "deploy" / "kustomize"
SYSTEM: Final = "failover-system"
ACCOUNT: Final = "failoverctl"


@dataclass(frozen=True, slots=True)
class Installation:
    """An installation of the controller.

    Attributes:
        namespace: The controller's namespace.
        account: The controller's ServiceAccount.
    """

    namespace: str = SYSTEM
    account: str = ACCOUNT

    @property
    def user(self) -> str:
        """The controller's user in the audit log."""
        return f"system:serviceaccount:{self.namespace}:{self.account}"


KUSTOMIZED: Final = Installation()
"""The installation from the manifests of `deploy/kustomize`."""


def kubectl(plane: ControlPlane, *arguments: str, stdin: str | None = None) -> str:
    """Runs kubectl as the administrator and returns its output."""
    program = Path(sys.executable).parent / "kubectl"
    config = plane.folder / "kubectl.kubeconfig"
    if not config.exists():
        plane.kubeconfig(config)
    command = [str(program), f"--kubeconfig={config}", f"--cache-dir={plane.folder / 'kubectl-cache'}", *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
    return done.stdout


def apply_folder(plane: ControlPlane, folder: Path) -> str:
    """``kubectl apply -k``."""
    return kubectl(plane, "apply", "-k", str(folder))


def rendered(plane: ControlPlane, folder: Path) -> list[dict[str, Any]]:
    """The objects of ``kubectl kustomize``."""
    return [document for document in yaml.safe_load_all(kubectl(plane, "kustomize", str(folder))) if document]


def overlay(folder: Path, base: str, namespace: str = "", *components: str) -> Path:
    """Writes a user's overlay: one of our folders with another namespace, or with some of our components.

    Args:
        folder: Folder to create it in.
        base: The folder in `deploy/kustomize`.
        namespace: The application's namespace; "" leaves every object where it is.
        components: Further folders there.
    """
    made = folder / "-".join(filter(None, ("overlay", base, namespace, *components)))
    made.mkdir(exist_ok=True)
    resource, *others = (
        os.path.relpath(KUSTOMIZE / one, made.resolve()) for one in (base, *components)
    )  # kustomize accepts no absolute path
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        **({"namespace": namespace} if namespace else {}),
        "resources": [resource],
        "components": others,
    }
    (made / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return made
