"""What all rendered objects have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from controller.catalog.application import ApplicationFile, UnitFile
from controller.catalog.instances import FRAMEWORKS, INSTANCES, Instance, Maker

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
"""Where the model server answers HTTP; the name of the container's port is `PORT_NAME`."""
PORT_NAME: Final = "http"
GRPC_PORT: Final = 50051
HEALTH: Final = "/health"
READINESS: Final = "/readiness"
CACHE: Final = "/var/cache/model-server"
"""Where the containers of a pod keep models and caches."""
PROBE_S: Final = 10
"""Between two probes, seconds."""
RESTRICTED: Final[Mapping[str, Any]] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
"""The security context of every container, beside that of the pod."""


def manifest(api_version: str, kind: str, name: str, file: ApplicationFile, *, namespaced: bool = True, **rest: Any) -> Object:  # noqa: ANN401 - any part of a manifest
    """An object with the labels that all of a stack have.

    Args:
        api_version: ``group/version``.
        kind: Its kind.
        name: Its name.
        file: Whose.
        namespaced: Whether it lives in the application's namespace.
        rest: ``annotations`` and ``labels`` of its metadata, and everything else at the top level of the object.
    """
    metadata: Object = {"name": name}
    if namespaced:
        metadata["namespace"] = file.metadata.namespace
    metadata["labels"] = {PART_OF: file.metadata.name, MANAGED_BY: "failoverctl", **rest.pop("labels", {})}
    if annotations := rest.pop("annotations", None):
        metadata["annotations"] = annotations
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **rest}


def unit_selector(unit: UnitFile) -> Mapping[str, str]:
    """The labels by which a unit's Service, Deployment and budget know its pods."""
    return {APP: unit.deployment}


def maker(unit: UnitFile) -> Maker:
    """Whose accelerator it needs; `controller.rendering.faults` has refused every other framework."""
    return FRAMEWORKS[unit.framework]


def instance(unit: UnitFile) -> Instance | None:
    """What its instance type has, None where that is not known here."""
    return INSTANCES.get(unit.instance_type)


def allowed_types(unit: UnitFile) -> tuple[str, ...]:
    """Every instance type that it may be launched on."""
    return tuple(sorted(unit.instance_types)) or (unit.instance_type,)
