"""Constants and helpers common to all rendered objects."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from controller.catalog.instances import FRAMEWORKS, INSTANCES, Instance, Maker
from failover_setup.application import ApplicationFile, UnitFile

Object = dict[str, Any]

POOL: Final = "karpenter.sh/nodepool"
INSTANCE_TYPE: Final = "node.kubernetes.io/instance-type"
ZONE: Final = "topology.kubernetes.io/zone"
CAPACITY_TYPE: Final = "karpenter.sh/capacity-type"
ARCHITECTURE: Final = "kubernetes.io/arch"

PART_OF: Final = "app.kubernetes.io/part-of"
MANAGED_BY: Final = "app.kubernetes.io/managed-by"
APP: Final = "app"

PORT: Final = 8000
"""The model server's HTTP port; the name of the container's port is `PORT_NAME`."""
PORT_NAME: Final = "http"
GRPC_PORT: Final = 50051
HEALTH: Final = "/health"
READINESS: Final = "/readiness"
CACHE: Final = "/var/cache/model-server"
"""The folder of models and caches in the containers of a pod."""
PROBE_S: Final = 10
"""Time between two probes, seconds."""
RESTRICTED: Final[Mapping[str, Any]] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
"""The security context of every container, in addition to that of the pod."""

_CPU_SHARE: Final = 0.5
_MEMORY_SHARE: Final = 0.75
"""Default part of the pod's share of the node; the rest is for kubelet and daemons. 12 of 16 GiB leave room for Container Insights and the
device plugin."""


def manifest(
    api_version: str,
    kind: str,
    name: str,
    file: ApplicationFile,
    *,
    namespaced: bool = True,
    namespace: str = "",
    **rest: Any,  # noqa: ANN401 - any part of a manifest
) -> Object:
    """An object with the labels common to a stack.

    Args:
        api_version: ``group/version``.
        kind: Its kind.
        name: Its name.
        file: The application file.
        namespaced: Whether it is in a namespace.
        namespace: Its namespace; "" for the application's.
        rest: ``annotations`` and ``labels`` of its metadata; any other key goes to the top level of the object.
    """
    metadata: Object = {"name": name}
    if namespaced:
        metadata["namespace"] = namespace or file.metadata.namespace
    metadata["labels"] = {PART_OF: file.metadata.name, MANAGED_BY: "failoverctl", **rest.pop("labels", {})}
    if annotations := rest.pop("annotations", None):
        metadata["annotations"] = annotations
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **rest}


def unit_selector(unit: UnitFile) -> Mapping[str, str]:
    """The labels by which a unit's Service, Deployment and PodDisruptionBudget select its pods."""
    return {APP: unit.runs.name}


def maker(unit: UnitFile) -> Maker:
    """The maker of a unit's accelerator; `failover_setup.rendering.faults` has refused frameworks without one."""
    return FRAMEWORKS[unit.framework]


def instance(unit: UnitFile) -> Instance | None:
    """The size of a unit's instance type, None if it is unknown."""
    return INSTANCES.get(unit.instance_type)


def allowed_types(unit: UnitFile) -> tuple[str, ...]:
    """Every instance type that a unit may run on."""
    return tuple(sorted(unit.instance_types)) or (unit.instance_type,)


def resources(unit: UnitFile) -> Object:
    """Requests and limits. Accelerators are limits, which for extended resources are requests too; memory is limited to its request."""
    known, count = instance(unit), unit.stack.accelerators
    cpu, memory = unit.stack.cpu, unit.stack.memory
    if known is not None:
        share = count / known.accelerators
        cpu = cpu or str(max(1, math.floor(_CPU_SHARE * share * known.vcpus)))
        memory = memory or f"{max(1, math.floor(_MEMORY_SHARE * share * known.memory_gib))}Gi"
    limits = {maker(unit).resource: str(count), "memory": memory}
    return {"requests": {"cpu": cpu, "memory": memory, "ephemeral-storage": unit.stack.disk}, "limits": limits}
