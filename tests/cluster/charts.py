"""The Helm chart of `deploy/chart`, used with a real helm."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import yaml

from controller.clients.kube import FAILOVER_APPLICATIONS
from failover_harness.control_plane.control_plane import ControlPlane
from tests.cluster.manifests import kubectl
from tools.crd import CRD_FILE

CHART: Final = Path(__file__).parents[2] / "deploy" / "chart"
EXAMPLES: Final = sorted((CHART / "ci").glob("*-values.yaml"))
"""Values files for tests and as examples, like those of chart-testing."""

_OF_HELM: Final = ("helm.sh/chart", "app.kubernetes.io/instance", "app.kubernetes.io/version", "app.kubernetes.io/managed-by")
"""Labels that only mark an object as made by helm."""

Object = dict[str, Any]


class Helm:
    """Runs helm without reading or changing the user's configuration.

    Args:
        program: The helm to run.
        folder: Folder of its caches.
        plane: The cluster; not needed for `lint` and `template`.
    """

    def __init__(self, program: Path, folder: Path, plane: ControlPlane | None = None) -> None:
        self._program, self._folder = program, folder
        self._config = [] if plane is None else [f"--kubeconfig={plane.kubeconfig(folder / 'helm.kubeconfig')}"]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs a command and returns its result, even if it failed."""
        places = {f"HELM_{name}_HOME": str(self._folder / name.lower()) for name in ("CACHE", "CONFIG", "DATA")}
        variables = {"PATH": os.environ["PATH"], "HOME": str(self._folder), **places}
        command = [str(self._program), *arguments, *self._config]
        return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120, check=False)

    def __call__(self, *arguments: str) -> str:
        """Runs a command that must succeed; returns its output."""
        done = self.run(*arguments)
        assert done.returncode == 0, f"helm {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout

    def template(self, *arguments: str, release: str = "failoverctl", namespace: str = "failover-system") -> list[Object]:
        """The objects of ``helm template`` that stay: not the pod of ``helm test``."""
        return documents(self("template", "--no-hooks", release, str(CHART), "-n", namespace, *arguments))


def define(plane: ControlPlane) -> None:
    """Makes the kind of applications known: another test may have deleted it with its release."""
    kubectl(plane, "apply", "--server-side", "--force-conflicts", "-f", str(CHART.parents[1] / CRD_FILE))
    kubectl(plane, "wait", "--for=condition=Established", f"crd/{FAILOVER_APPLICATIONS.name}")


def forget_definition(plane: ControlPlane) -> None:
    """Deletes the definition of applications: helm refuses a definition that another release, or kubectl, has made."""
    kubectl(plane, "delete", "customresourcedefinition", FAILOVER_APPLICATIONS.name, "--ignore-not-found")


def documents(text: str) -> list[Object]:
    """The objects of a YAML stream, read with libyaml if PyYAML has it: charts are long."""
    return [one for one in yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)) if one]


def without_helm(made: Iterable[Object]) -> dict[tuple[str, str, str], Object]:
    """The objects by kind, namespace and name, without helm's own labels and annotations."""
    found = {}
    for one in made:
        metadata = one["metadata"]
        labels = {key: value for key, value in metadata.get("labels", {}).items() if key not in _OF_HELM}
        plain = {key: value for key, value in metadata.items() if key != "labels"} | ({"labels": labels} if labels else {})
        if plain.get("annotations") == {"helm.sh/resource-policy": "keep"}:
            del plain["annotations"]
        found[one["kind"], metadata.get("namespace", ""), metadata["name"]] = {**one, "metadata": plain}
    return found
