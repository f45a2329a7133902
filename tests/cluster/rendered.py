"""The stack that `failoverctl render` makes from an application file, applied with a real kubectl, in a working cluster."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from click.testing import CliRunner

from controller.cli.main import main
from controller.clients.kube import INGRESSES, TARGET_GROUP_BINDINGS
from controller.routing.annotations import MARKER, WRITTEN_BY
from controller.routing.names import PREFIX
from failover_harness.waiting import wait_for
from tests.cluster import objects
from tests.cluster.manifests import kubectl
from tests.cluster.objects import CAPACITY
from tests.cluster.stack import QUICK, Stack
from tests.support.applications import SERVICES
from tests.support.stacks import document

HOSTNAME: Final = "k8s-sd21-0123456789-1234567890.us-west-2.elb.amazonaws.com"
_CAPACITY: Final = {"cpu": "8", "memory": "32Gi", "pods": "10", "ephemeral-storage": "100Gi"}


class RenderedStack(Stack):
    """The AWS sample's stack, rendered. It also creates what is not rendered: nodes, bindings, the load balancer's address."""

    def application_file(self, **policy: Any) -> Path:
        """The AWS sample's application file in this namespace, with separate NodePools and the shortest waits in the policy."""
        values = self.written()
        values["spec"]["policy"] |= {**QUICK, "allowUnsafeSwitch": self.BLIND, **policy}
        path = self.folder / "sd21.yaml"
        path.write_text(yaml.safe_dump(values, sort_keys=False))
        return path

    def written(self) -> dict[str, Any]:
        """The application file as plain values."""
        values = document()
        values["metadata"]["namespace"] = self.namespace
        for unit in values["spec"]["units"]:
            unit["nodePool"] = self.units[unit["name"]].node_pool
        return values

    def apply(self, folder: Path) -> None:
        """Renders into a folder and applies it, as in docs/render.md."""
        result = CliRunner().invoke(main, ["render", str(self.application_file()), "--out", str(folder)])
        assert result.exit_code == 0, result.output
        kubectl(self.plane, "apply", "--server-side", "--validate=strict", "-f", str(folder))

    def node(self, unit: str, labels: Mapping[str, str] | None = None) -> str:
        """Registers a node of a unit's NodePool, with the NodePool's accelerator and taint."""
        self._nodes += 1
        made = self.units[unit]
        name = f"ip-10-0-{self._nodes}-{self.namespace}"
        neuron = made.instance_type.startswith(("inf", "trn"))
        resource = "aws.amazon.com/neuron" if neuron else "nvidia.com/gpu"
        known = {
            "karpenter.sh/nodepool": made.node_pool,
            "karpenter.sh/capacity-type": "on-demand",
            "node.kubernetes.io/instance-type": made.instance_type,
            "topology.kubernetes.io/zone": objects.ZONE,
            "kubernetes.io/arch": "amd64",
            **(labels or {}),
        }
        taint = {"key": resource, "value": "true", "effect": "NoSchedule"}
        self.kubelet.register(name, known, {**_CAPACITY, resource: "1"}, taints=(taint,))
        return name

    def _fill(self) -> None:
        self.grant()
        self.apply(self.folder / "rendered")
        for unit in self.units:
            self.node(unit)
        self.make_load_balancer()
        wait_for("every unit is ready", lambda: self.endpoints(CAPACITY) == len(self.units), deadline_s=60)

    def make_load_balancer(self, ingress: str = "sd21", services: tuple[str, ...] = (*SERVICES, CAPACITY)) -> None:
        """Creates a TargetGroupBinding for every Service in the rules, and sets the Ingress' address."""
        for name in services:
            binding = objects.binding(name, self.namespace)
            binding["metadata"]["labels"]["ingress.k8s.aws/stack-name"] = ingress
            self._create(TARGET_GROUP_BINDINGS, binding)
        status = {"status": {"loadBalancer": {"ingress": [{"hostname": HOSTNAME}]}}}
        self._patch(INGRESSES, ingress, status, status=True)

    def close(self) -> None:
        """Also deletes the node classes."""
        kubectl(self.plane, "delete", "ec2nodeclasses.karpenter.k8s.aws", "--ignore-not-found", "-l", "app.kubernetes.io/part-of=sd21")
        super().close()


def without_mode(ingress: dict[str, Any]) -> str:
    """Everything in an Ingress that a mode change must not touch, as text."""
    metadata = {key: value for key, value in ingress["metadata"].items() if key not in {"resourceVersion", "managedFields", "annotations"}}
    written = {objects.ACTION, MARKER, WRITTEN_BY}
    annotations = {key: value for key, value in ingress["metadata"]["annotations"].items() if key not in written}
    assert any(key.startswith(PREFIX) for key in annotations)
    rest = {key: value for key, value in ingress.items() if key != "metadata"}
    return json.dumps([metadata, annotations, rest], sort_keys=True)
