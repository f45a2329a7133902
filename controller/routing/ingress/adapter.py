"""The Ingress behind the routing port: one server-side apply writes the action and the mode marker."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from controller.clients.kube import APPLY_PATCH, INGRESSES, Resource
from controller.objects import Object, items
from controller.policy.model import Application, Backend, RouteChange, RoutingObservation, Target
from controller.policy.plan import FIELD_MANAGER
from controller.routing import marks
from controller.routing.ingress.action import format_action, parse_action
from controller.routing.ingress.read import group_of, hostnames, listener_ports, live_rules, observe_ingress
from controller.routing.ingress.standby import remedy
from controller.routing.names import action_key
from controller.routing.port import Asked, Remedy, Request


class IngressPort:
    """See `controller.routing.port.RoutingPort`. An action's text is the annotation's value, byte for byte."""

    resource: Final[Resource] = INGRESSES

    def observe(self, application: Application, obj: Object | None) -> RoutingObservation:
        """See `RoutingPort.observe`."""
        return observe_ingress(application, obj)

    def hostnames(self, obj: Object) -> tuple[str, ...]:
        """See `RoutingPort.hostnames`."""
        return hostnames(obj)

    def asked(self, application: Application, obj: Object) -> Asked:
        """See `RoutingPort.asked`."""
        return Asked(hostnames(obj), live_rules(obj, application.action), listener_ports(obj), group_of(obj))

    def request(self, application: Application, routing: RoutingObservation, change: RouteChange) -> Request:
        """See `RoutingPort.request`."""
        action = format_action(change.targets, change.stickiness_s)
        body = {
            "apiVersion": INGRESSES.api_version,
            "kind": INGRESSES.kind,
            "metadata": {
                "name": application.ingress,
                "namespace": application.namespace,
                # The version detects other writers, the uid a deleted Ingress: an apply would create it anew.
                "uid": routing.uid,
                "resourceVersion": routing.resource_version,
                "annotations": {**dict(routing.kept), action_key(application.action): action, **marks.written(change)},
            },
        }
        query = (("fieldManager", FIELD_MANAGER), ("force", "true"))
        return Request(APPLY_PATCH, query, json.dumps(body, separators=(",", ":")), action)

    def read(self, action: str) -> tuple[tuple[Target, ...], int, str]:
        """See `RoutingPort.read`."""
        return parse_action(action)

    def owned(self, application: Application) -> str:
        """See `RoutingPort.owned`."""
        return "/metadata/annotations/" + action_key(application.action).replace("~", "~0").replace("/", "~1")

    def remedy(self, application: Application, routing: RoutingObservation, obj: Object, exists: Mapping[Backend, bool | None]) -> Remedy:
        """See `RoutingPort.remedy`."""
        return remedy(application, routing, items(obj, "spec", "rules"), exists)
