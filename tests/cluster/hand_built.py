"""A stack built by hand after the AWS sample, on the real control plane."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from controller.clients.kube import DEPLOYMENTS
from failover_harness.waiting import wait_for
from tests.cluster.manifests import kubectl
from tests.cluster.rendered import RenderedStack
from tests.support import hand_built
from tests.support.applications import SERVICES


class HandBuiltStack(RenderedStack):
    """Its Deployments and Services have different names, its Ingress has no standby rules, and there is no application file."""

    @property
    def suffix(self) -> str:
        """Suffix of the NodePools' names, which are cluster-scoped."""
        return f"-{self.namespace.removeprefix('t-')}"

    def written(self) -> dict[str, Any]:
        """The application file that a person who knows the stack would write."""
        return hand_built.application_document(self.namespace, suffix=self.suffix)

    def _fill(self) -> None:
        self.grant()
        for name, unit in self.units.items():
            self.units[name] = replace(unit, node_pool=f"{hand_built.POOLS[name]}{self.suffix}")
        path = self.folder / "hand-built.yaml"
        path.write_text(yaml.safe_dump_all(hand_built.stack(self.namespace, suffix=self.suffix)))
        kubectl(self.plane, "apply", "--validate=strict", "-f", str(path))
        for name in self.units:
            self.launch(name)
        self.make_load_balancer(hand_built.INGRESS, SERVICES)
        wait_for("every unit is ready", lambda: self.endpoints(hand_built.CAPACITY) == len(self.units), deadline_s=60)

    def close(self) -> None:
        """Deletes the Deployments first, because they would create new pods."""
        for name in self.units:
            self._delete(DEPLOYMENTS, hand_built.deployment_name(name))
        super().close()


def keep_aside(folder: Path, namespace: str) -> Path:
    """Writes the second Ingress manifest, of capacity mode."""
    path = folder / "ingress-capacity.yaml"
    path.write_text(yaml.safe_dump(hand_built.ingress(namespace, capacity=True)))
    return path
