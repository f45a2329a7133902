"""The Ingress behind the routing port: one server-side apply writes the action and the mode marker.

This module is a `controller.routing.port.RoutingPort`. An action's text is the annotation's value, byte for byte.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

from controller.clients.kube import APPLY_PATCH, INGRESSES, Resource
from controller.objects import Object
from controller.policy.model import Application, Decision, RoutingObservation, Snapshot, Target
from controller.policy.plan import FIELD_MANAGER
from controller.routing import marks
from controller.routing.ingress.action import format_action
from controller.routing.ingress.action import parse_action as read
from controller.routing.ingress.read import asked, hosts, observe
from controller.routing.ingress.read import writers as owners
from controller.routing.ingress.standby import remedy
from controller.routing.names import action_key
from controller.routing.port import Request

__all__ = [
    "asked",
    "field",
    "hosts",
    "observe",
    "owned",
    "read",
    "reads",
    "remedy",
    "request",
    "resource",
    "stack_labels",
    "write",
    "writers",
]

resource: Final = INGRESSES
stack_labels: Final = ("ingress.k8s.aws", "ingress.eks.amazonaws.com")  # the second are those of EKS Auto Mode
reads: Final[tuple[Resource, ...]] = ()


def request(snapshot: Snapshot, decision: Decision) -> Request:
    """See `RoutingPort.request`."""
    application, routing = snapshot.application, snapshot.routing
    action = write(application, decision.targets, decision.stickiness_s)
    body = {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {
            "name": application.route.name,
            "namespace": application.namespace,
            # The version detects other writers, the uid a deleted Ingress: an apply would create it anew.
            "uid": routing.uid,
            "resourceVersion": routing.resource_version,
            "annotations": {**dict(routing.kept), field(application): action, **marks.written(decision, snapshot)},
        },
    }
    query = (("fieldManager", FIELD_MANAGER), ("force", "true"))
    return Request(APPLY_PATCH, query, json.dumps(body, separators=(",", ":")), action)


def write(_application: Application, targets: Iterable[Target], stickiness_s: int) -> str:
    """See `RoutingPort.write`."""
    return format_action(targets, stickiness_s)


def writers(application: Application, obj: Object) -> list[str]:
    """See `RoutingPort.writers`."""
    return owners(obj, application.route.part)


def field(application: Application) -> str:
    """See `RoutingPort.field`."""
    return action_key(application.route.part)


def owned(application: Application, _routing: RoutingObservation) -> str:
    """See `RoutingPort.owned`."""
    return "/metadata/annotations/" + field(application).replace("~", "~0").replace("/", "~1")
