"""Routes of the Gateway API on the real API server: objects, and what the controller writes to them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import pytest

from controller.clients.kube import GATEWAYS, HTTP_ROUTES, KubeSession
from controller.policy.model import Application, Backend, Decision, Mode, Route, Verb
from controller.policy.reasons import Reason
from controller.routing.gateway.adapter import GatewayRoutes, http
from controller.routing.gateway.backends import reference
from controller.routing.gateway.standby import standby_rule
from controller.routing.port import ALONE, Request
from failover_harness.control_plane import crds
from failover_harness.control_plane.control_plane import ControlPlane
from tests.cluster.objects import Object
from tests.cluster.stack import Stack
from tests.conftest import skip_loudly
from tests.support.applications import CAPACITY_TARGETS, COST_TARGETS, application, snapshot

_REFERENCE: Final[Mapping[str, Any]] = {"group": "gateway.k8s.aws", "kind": "ListenerRuleConfiguration", "name": "sticks"}
_HEADER: Final[Mapping[str, Any]] = {"type": "RequestHeaderModifier", "requestHeaderModifier": {"add": [{"name": "x-a", "value": "b"}]}}


@dataclass(frozen=True, slots=True)
class Routed:
    """An application with one route.

    Attributes:
        port: The kind's adapter.
        namespace: The route's.
        services: The application's; "" for the route's.
    """

    port: GatewayRoutes
    namespace: str
    services: str = ""

    @property
    def app(self) -> Application:
        """The application, whose rule has a name."""
        route = Route("sd21", "main", self.port.resource.kind, self.namespace if self.services else "")
        return application(namespace=self.services or self.namespace, route=route)

    def create(self, session: KubeSession, *more: Object) -> Object:
        """The route in cost mode, with standby rules and those of other people.

        Args:
            session: A person's.
            more: Further rules.
        """
        return session.create(self.port.resource, self.namespace, self.body(*more), field_manager="kubectl")

    def read(self, session: KubeSession) -> Object:
        """The route as it is."""
        return session.get(self.port.resource, self.namespace, "sd21")

    def request(self, seen: Object, mode: Mode) -> Request:
        """What the controller sends to change the mode of a route that it has seen."""
        targets = COST_TARGETS if mode is Mode.COST else CAPACITY_TARGETS
        decision = Decision(Verb.REWEIGHT, mode, Reason.AVAILABILITY_CHANGED, {}, {}, (), targets=targets)
        now = replace(snapshot(self.app), routing=self.port.observe(self.app, seen, ALONE), installation="failover-system/failoverctl")
        return self.port.request(now, decision)

    def send(self, session: KubeSession, request: Request) -> Object:
        """Sends it as the controller does."""
        path = self.port.resource.path(self.namespace, "sd21")
        return session.request("PATCH", path, query=request.query, body=request.body, content_type=request.content_type)

    def body(self, *more: Object) -> Object:
        """See `create`."""
        paths, units = self.port is http, [Backend(one.service, one.port) for one in COST_TARGETS]
        kept = {"capacity": [self.app.capacity], "units": units}
        standby = [standby_rule(self.app, name, backends, paths=paths) for name, backends in kept.items()]
        return {
            "apiVersion": self.port.resource.api_version,
            "kind": self.port.resource.kind,
            "metadata": {"name": "sd21", "annotations": {"example.org/team": "a"}, "labels": {"team": "a"}},
            "spec": {
                "hostnames": ["a.example.org"],
                "parentRefs": [{"name": "edge"}],
                "rules": [self._live(), *map(dict, standby), *self._of_others(), *more],
            },
        }

    def _live(self) -> Object:
        refs = [reference(Backend(one.service, one.port), self.app, one.weight) for one in COST_TARGETS]
        return {"name": "main", "filters": [_HEADER, {"type": "ExtensionRef", "extensionRef": _REFERENCE}], "backendRefs": refs}

    def _of_others(self) -> list[Object]:
        match = {"headers": [{"name": "x-version", "value": "2"}]}
        literal = {"group": "gateway.k8s.aws", "kind": "TargetGroupName", "name": "tg", "port": 80}
        return [
            {
                "name": "other",
                "matches": [match],
                "backendRefs": [{"name": "next", "port": 8080}, {"name": "sd21-inf2", "port": 80, "weight": 0}],
            },
            {"name": "far", "matches": [match], "backendRefs": [{"name": "shared", "namespace": "elsewhere", "port": 80}]},
            {"name": "closed", "matches": [match]},
            {"name": "filtered", "matches": [match], "backendRefs": [{"name": "sd21-inf2", "port": 80, "filters": [_HEADER]}]},
            {"name": "arn", "matches": [match], "backendRefs": [literal]},
        ]


def serve_gateways(config: pytest.Config, plane: ControlPlane) -> None:
    """Installs the definitions of the Gateway API, or skips the test where there are none."""
    if not crds.GATEWAY.is_dir():
        skip_loudly(config, "THE GATEWAY API ON A REAL CONTROL PLANE", "it needs its definitions; see shared/crds-gateway")
    session = plane.session()
    crds.install(session, crds.upstream(crds.GATEWAY))
    session.close()


class RoutedStack(Stack):
    """One application whose HTTPRoute has the place of the Ingress."""

    ROUTING = HTTP_ROUTES

    def _route(self) -> None:
        listeners = [{"name": "http", "port": 80, "protocol": "HTTP"}]
        self._create(GATEWAYS, {
            "apiVersion": GATEWAYS.api_version,
            "kind": GATEWAYS.kind,
            "metadata": {"name": "edge"},
            "spec": {"gatewayClassName": "alb", "listeners": listeners},
        })  # fmt: skip
        self._create(HTTP_ROUTES, Routed(http, self.namespace).body())

    def _routed(self) -> Object:
        return {"ingress": None, "action": None, "route": {"kind": HTTP_ROUTES.kind, "name": "sd21", "rule": "main"}}


def without_backends(obj: Object, rule: str) -> str:
    """The bytes of a route's spec without the backends of one rule."""
    rules = [{key: value for key, value in one.items() if (one.get("name"), key) != (rule, "backendRefs")} for one in obj["spec"]["rules"]]
    return json.dumps({**obj["spec"], "rules": rules})
