"""The objects of a healthy application, as plain values or on an emulated API."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

from controller.clients.kube import DEPLOYMENTS, ENDPOINT_SLICES, EVENTS, SCALED_OBJECTS, SERVICES, TARGET_GROUP_BINDINGS
from controller.clock import format_rfc3339
from controller.policy.model import Application, Mode
from controller.policy.routing import needed
from controller.signals.workload_kinds import WORKLOADS
from failover_setup.doctor.observe import Observation, assemble
from failover_testbed.cluster import manifests
from failover_testbed.kube_api import KubeStore
from tests.support.applications import NOW

HOSTNAME = "k8s-shop-sd21-0123456789-1234567890.us-west-2.elb.amazonaws.com"


@dataclass
class Healthy:
    """One application's objects. Tests change them before they observe them.

    Args:
        app: The application.
        mode: The mode of the Ingress.
        standby: Whether it has standby rules.
    """

    app: Application
    mode: Mode = Mode.COST
    standby: bool = True
    ingress: dict[str, Any] = field(init=False)
    listed: dict[str, list[dict[str, Any]]] = field(init=False)
    group: list[dict[str, Any]] = field(default_factory=list)
    group_complete: bool = True
    unreadable: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        app = self.app
        self.ingress = manifests.ingress(app, self.mode, {}, standby=self.standby)
        self.ingress["status"] = {"loadBalancer": {"ingress": [{"hostname": HOSTNAME}]}}
        manager = {"manager": "kubectl", "operation": "Update", "time": format_rfc3339(NOW - 60)}
        keys: dict[str, Any] = {f"f:{key}": {} for key in self.ingress["metadata"]["annotations"]}
        self.ingress["metadata"]["managedFields"] = [{**manager, "fieldsV1": {"f:metadata": {"f:annotations": keys}}}]
        self.listed = {
            SERVICES.name: manifests.services(app),
            **{
                what.name: [manifests.workload(app, unit, 2) for unit in app.units if unit.workload_kind is kind]
                for kind, what in WORKLOADS.items()
            },
            ENDPOINT_SLICES.name: [_slice(app.namespace, one.service, 10 if one == app.capacity else 2) for one in needed(app)],
            SCALED_OBJECTS.name: [manifests.scaled_object(app, unit, unit.throughput) for unit in app.units if unit.scaled_object],
            TARGET_GROUP_BINDINGS.name: [_binding(app, one.service, one.port) for one in needed(app)],
            EVENTS.name: [],
        }

    # --- what tests change ---

    @property
    def annotations(self) -> dict[str, Any]:
        """The Ingress's annotations."""
        found: dict[str, Any] = self.ingress["metadata"]["annotations"]
        return found

    @property
    def rules(self) -> list[dict[str, Any]]:
        """The Ingress's rules."""
        found: list[dict[str, Any]] = self.ingress["spec"]["rules"]
        return found

    def one(self, kind: str, name: str) -> dict[str, Any]:
        """One listed object."""
        return next(one for one in self.listed[kind] if one["metadata"]["name"] == name)

    def drop(self, kind: str, name: str) -> None:
        """Removes one listed object."""
        self.listed[kind].remove(self.one(kind, name))

    def event(self, reason: str, message: str = "", *, ago: float = 10.0, version: int = 1) -> None:
        """Adds an Event of the load-balancer controller about the Ingress."""
        number = len(self.listed[EVENTS.name])
        self.listed[EVENTS.name].append(
            {
                "metadata": {"name": f"sd21.{number:x}", "namespace": self.app.namespace, "resourceVersion": str(version)},
                "involvedObject": {"kind": "Ingress", "name": self.app.route.name, "namespace": self.app.namespace},
                "reason": reason,
                "message": message,
                "type": "Normal" if reason == "SuccessfullyReconciled" else "Warning",
                "source": {"component": "ingress"},
                "lastTimestamp": format_rfc3339(NOW - ago),
            }
        )

    # --- what is observed ---

    def observed(self) -> Observation:
        """The observation of these objects."""
        return assemble(self.app, NOW, self.ingress, self.listed, self.group, self.unreadable, group_complete=self.group_complete)

    def create(self, store: KubeStore) -> None:
        """Creates the objects on an emulated API."""
        ingress = copy.deepcopy(self.ingress)
        status = ingress.pop("status")
        ingress["metadata"].pop("managedFields")
        store.create("Ingress", ingress, manager="kubectl")
        store.update_status("Ingress", self.app.route.name, status, namespace=self.app.namespace)
        kinds = {
            SERVICES: "Service",
            DEPLOYMENTS: "Deployment",
            ENDPOINT_SLICES: "EndpointSlice",
            SCALED_OBJECTS: "ScaledObject",
            TARGET_GROUP_BINDINGS: "TargetGroupBinding",
        }
        for resource, kind in kinds.items():
            for one in self.listed[resource.name]:
                store.create(kind, one, manager="kubectl")


def _slice(namespace: str, service: str, count: int) -> dict[str, Any]:
    endpoints = [{"addresses": [f"10.{len(service)}.0.{index}"], "conditions": {"ready": True}} for index in range(count)]
    labels = {"kubernetes.io/service-name": service}
    return {
        "metadata": {"name": f"{service}-x", "namespace": namespace, "labels": labels},
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{"name": "http", "port": 8000, "protocol": "TCP"}],
    }


def _binding(app: Application, service: str, port: int | str) -> dict[str, Any]:
    labels = {"ingress.k8s.aws/stack-namespace": app.namespace, "ingress.k8s.aws/stack-name": app.route.name}
    spec = {
        "serviceRef": {"name": service, "port": port},
        "targetGroupARN": f"arn:aws:elasticloadbalancing:us-west-2:123456789012:targetgroup/{service}/0123456789abcdef",
        "targetType": "ip",
    }
    return {"metadata": {"name": f"k8s-{service}", "namespace": app.namespace, "labels": labels}, "spec": spec}
