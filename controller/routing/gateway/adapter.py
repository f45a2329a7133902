"""The routes of the Gateway API behind the routing port: one JSON patch writes the rule's backends and the mode marker.

A server-side apply would own the whole list of rules, other people's among them: lists of a route are atomic (docs/decisions/0037).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from controller.clients.kube import (
    GATEWAYS,
    GRPC_ROUTES,
    HTTP_ROUTES,
    JSON_PATCH,
    LISTENER_RULE_CONFIGURATIONS,
    LOAD_BALANCER_CONFIGURATIONS,
    REFERENCE_GRANTS,
    TARGET_GROUP_CONFIGURATIONS,
    Resource,
)
from controller.objects import Object
from controller.policy.model import Application, Backend, Decision, RoutingObservation, Snapshot, Target
from controller.policy.plan import FIELD_MANAGER
from controller.routing import marks
from controller.routing.annotations import NUDGED_AT
from controller.routing.gateway import backends, matches, standby
from controller.routing.gateway import read as reader
from controller.routing.gateway.gateways import attached
from controller.routing.port import ALONE, Asked, Beside, Remedy, Request


@dataclass(frozen=True, slots=True)
class GatewayRoutes:
    """A `controller.routing.port.RoutingPort` for one kind of route.

    Attributes:
        resource: The kind.
        matcher: Makes conditions of one of its matches.
        paths: Whether its matches have paths.
    """

    resource: Resource
    matcher: reader.Matcher
    paths: bool
    stack_labels: tuple[str, ...] = ("gateway.k8s.aws.alb",)
    reads: tuple[Resource, ...] = (
        GATEWAYS,
        REFERENCE_GRANTS,
        LOAD_BALANCER_CONFIGURATIONS,
        LISTENER_RULE_CONFIGURATIONS,
        TARGET_GROUP_CONFIGURATIONS,
    )

    def observe(self, application: Application, obj: Object | None, beside: Beside = ALONE) -> RoutingObservation:
        """See `RoutingPort.observe`."""
        return reader.observe(application, obj, beside)

    def hosts(self, obj: Object, beside: Beside = ALONE) -> tuple[str, ...]:
        """See `RoutingPort.hosts`."""
        return tuple(dict.fromkeys(host for one in attached(obj, beside) for host in one.hosts))

    def asked(self, application: Application, obj: Object, beside: Beside = ALONE) -> Asked:
        """See `RoutingPort.asked`."""
        return reader.asked(application, obj, beside, self.matcher)

    def request(self, snapshot: Snapshot, decision: Decision) -> Request:
        """See `RoutingPort.request`. A patch that names another version than the object has is refused as a conflict."""
        application, routing, kept = snapshot.application, snapshot.routing, dict(snapshot.routing.kept)
        if reader.RULE not in kept:
            raise ValueError(f"{self.resource.kind} {application.route.name} has no rule {application.route.part}")
        rule = {"backendRefs": backends.backends_of(decision.targets, application)}
        operations = [
            {"op": "replace", "path": "/metadata/resourceVersion", "value": routing.resource_version},
            {"op": "add", "path": f"/spec/rules/{kept[reader.RULE]}/backendRefs", "value": rule["backendRefs"]},
            *_annotated(kept.get(reader.ANNOTATED), marks.written(decision, snapshot)),
        ]
        action = backends.action_of(rule, application.routing_namespace, application.namespace)
        return Request(JSON_PATCH, (("fieldManager", FIELD_MANAGER),), json.dumps(operations, separators=(",", ":")), action)

    def write(self, application: Application, targets: Iterable[Target], _stickiness_s: int) -> str:
        """See `RoutingPort.write`. Another object states the stickiness."""
        rule = {"backendRefs": backends.backends_of(targets, application)}
        return backends.action_of(rule, application.routing_namespace, application.namespace)

    def read(self, action: str) -> tuple[tuple[Target, ...], int, str]:
        """See `RoutingPort.read`."""
        return backends.read(action)

    def writers(self, _application: Application, obj: Object) -> list[str]:
        """See `RoutingPort.writers`. All rules of a route have one owner."""
        return reader.writers(obj)

    def field(self, application: Application) -> str:
        """See `RoutingPort.field`."""
        return f"backendRefs of rule {application.route.part}"

    def owned(self, application: Application, routing: RoutingObservation) -> str:
        """See `RoutingPort.owned`."""
        return f"/spec/rules/{dict(routing.kept).get(reader.RULE, application.route.part)}/backendRefs"

    def remedy(self, application: Application, routing: RoutingObservation, obj: Object, exists: Mapping[Backend, bool | None]) -> Remedy:
        """See `RoutingPort.remedy`."""
        return standby.remedy(application, routing, obj, exists, paths=self.paths)


def _annotated(present: str | None, wanted: Mapping[str, str]) -> list[dict[str, Any]]:
    """The operations that write our annotations, and end a nudge that is not repeated.

    Args:
        present: See `reader.ANNOTATED`; None: the route has no annotations at all.
        wanted: Those to write.
    """
    if present is None:
        return [{"op": "add", "path": "/metadata/annotations", "value": dict(wanted)}]
    ended = [{"op": "remove", "path": _pointer(NUDGED_AT)}] if present and NUDGED_AT not in wanted else []
    return [*({"op": "add", "path": _pointer(key), "value": value} for key, value in wanted.items()), *ended]


def _pointer(annotation: str) -> str:
    return "/metadata/annotations/" + annotation.replace("~", "~0").replace("/", "~1")


http: Final = GatewayRoutes(HTTP_ROUTES, matches.http, paths=True)
grpc: Final = GatewayRoutes(GRPC_ROUTES, matches.grpc, paths=False)
