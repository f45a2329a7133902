"""The objects that route an application's requests, of either kind: an Ingress, or a Gateway with an HTTPRoute or a GRPCRoute.

A route has three rules. The main rule carries the application's traffic. The others are permanent: they match a header that nobody sends,
and name the Services of one mode each, so that every target group stays registered and health-checked while the main rule names others. A
mode change is then one change of the main rule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Literal

from controller.policy.model import Application, Backend, Mode, Route
from controller.routing.annotations import MARKER
from failover_testbed.cluster import manifests
from failover_testbed.cluster.world import Object

Routing = Literal["Ingress", "HTTPRoute", "GRPCRoute"]
"""The kind of the object that routes requests."""

GATEWAY_CLASS: Final = "aws-alb"
STANDBY_HEADER: Final = "x-failoverctl-standby"
MAIN: Final = "main"
STANDBY_CAPACITY: Final = "standby-capacity"
STANDBY_UNITS: Final = "standby-units"

CERTIFICATE: Final = "arn:aws:iam::123456789012:server-certificate/emulated"
"""The certificate of HTTPS listeners, which alone take GRPCRoutes. Moto would ask its ACM for any other kind."""

_GATEWAY_API: Final = "gateway.networking.k8s.io"
_OWN: Final = "gateway.k8s.aws"
_PORT: Final = 80
_TLS_PORT: Final = 443


def routed_by(application: Application, routing: Routing | None, namespace: str = "") -> Application:
    """An application with its requests routed by another kind of object.

    Args:
        application: The application.
        routing: The kind; None leaves it as the application's file says.
        namespace: Of the route; "" for the application's.
    """
    if routing is None or routing == application.route.kind:
        return application
    if routing == "Ingress":
        raise ValueError("a route has no name of an action: state the application of an Ingress")
    return replace(application, route=Route(application.route.name, MAIN, routing, namespace))


def gateway_class() -> Object:
    """The class of every Gateway here."""
    return _object(f"{_GATEWAY_API}/v1", "GatewayClass", {"name": GATEWAY_CLASS}, {"controllerName": "gateway.k8s.aws/alb"})


def objects(application: Application, mode: Mode, annotations: Mapping[str, str], *, standby: bool = True) -> list[Object]:
    """Everything that routes an application's requests except the `gateway_class`, in the order of creation.

    All of it has the name of `Application.route`; the last object is the one that the controller writes, of the kind that it names.

    Args:
        application: The application.
        mode: The mode that it shows.
        annotations: Additional annotations of that object, e.g. an operator's override.
        standby: Whether it has standby rules.
    """
    if application.route.kind == "Ingress":
        return [manifests.ingress(application, mode, annotations, standby=standby)]
    grants = [grant(application)] if application.routing_namespace != application.namespace else []
    return [*settings(application), gateway(application), *grants, route(application, mode, annotations, standby=standby)]


def grant(application: Application) -> Object:
    """The ReferenceGrant that lets the route name all Services of the application's namespace."""
    source = {"group": _GATEWAY_API, "kind": application.route.kind, "namespace": application.routing_namespace}
    spec = {"from": [source], "to": [{"group": "", "kind": "Service"}]}
    return _object(f"{_GATEWAY_API}/v1beta1", "ReferenceGrant", {**_metadata(application), "namespace": application.namespace}, spec)


def settings(application: Application) -> list[Object]:
    """The settings of the load balancer and of its target groups, as the annotations of the Ingress have them.

    The stickiness of cost mode is that of the main rule in either mode: to one target group it makes no difference.
    """
    metadata = _metadata(application)
    check = {"healthCheckPath": "/readiness", "healthyThresholdCount": 2, "unhealthyThresholdCount": 2, "matcher": {"httpCode": "200"}}
    target_group: Object = {"targetType": "ip", "healthCheckConfig": check}
    balancer: Object = {"scheme": "internet-facing", "defaultTargetGroupConfiguration": {"name": metadata["name"]}}
    if application.route.kind == "GRPCRoute":
        target_group["protocolVersion"] = "HTTP1"  # the fake's targets are checked as those of an Ingress
        balancer["listenerConfigurations"] = [{"protocolPort": f"HTTPS:{_TLS_PORT}", "defaultCertificate": CERTIFICATE}]
    target_groups = {"defaultConfiguration": target_group}
    made = [
        _object(f"{_OWN}/v1", "TargetGroupConfiguration", metadata, target_groups),
        _object(f"{_OWN}/v1", "LoadBalancerConfiguration", metadata, balancer),
    ]
    if seconds := application.policy.stickiness_cost_s:
        sticky = {"enabled": True, "durationSeconds": seconds}
        action = {"type": "forward", "forwardConfig": {"targetGroupStickinessConfig": sticky}}
        made.append(_object(f"{_OWN}/v1", "ListenerRuleConfiguration", metadata, {"actions": [action]}))
    return made


def gateway(application: Application, name: str = "") -> Object:
    """The Gateway, with one listener: HTTP, or HTTPS for a GRPCRoute, which no other takes.

    Args:
        application: The application.
        name: Its name; that of the route where "".
    """
    metadata = _metadata(application)
    listener = {"name": "http", "port": _PORT, "protocol": "HTTP"}
    if application.route.kind == "GRPCRoute":
        listener = {"name": "https", "port": _TLS_PORT, "protocol": "HTTPS"}
    spec = {
        "gatewayClassName": GATEWAY_CLASS,
        "infrastructure": {"parametersRef": {"group": _OWN, "kind": "LoadBalancerConfiguration", "name": metadata["name"]}},
        "listeners": [listener],
    }
    return _object(f"{_GATEWAY_API}/v1", "Gateway", metadata | {"name": name or metadata["name"]}, spec)


def route(
    application: Application,
    mode: Mode,
    annotations: Mapping[str, str],
    *,
    standby: bool = True,
    gateways: Sequence[str] = (),
) -> Object:
    """The route, with its rules in the order main, capacity, units.

    Args:
        application: The application; its route names the kind and the main rule.
        mode: The mode that the main rule shows.
        annotations: Additional annotations.
        standby: Whether it has the two permanent rules.
        gateways: The names of its Gateways; the one with its own name where empty.
    """
    metadata = _metadata(application)
    marker = {MARKER: str(mode)} if mode is Mode.CAPACITY else {}
    main: Object = {"name": application.route.part, "backendRefs": backends(application, mode)}
    if application.policy.stickiness_cost_s:
        reference = {"group": _OWN, "kind": "ListenerRuleConfiguration", "name": metadata["name"]}
        main["filters"] = [{"type": "ExtensionRef", "extensionRef": reference}]
    rules = [main]
    if standby:
        rules.append(_standby(STANDBY_CAPACITY, "capacity", [reference_to(application, application.capacity)]))
        rules.append(_standby(STANDBY_UNITS, "units", [reference_to(application, unit.backend) for unit in application.units]))
    parents = [{"name": name} for name in gateways or (metadata["name"],)]
    spec = {"parentRefs": parents, "rules": rules}
    return _object(f"{_GATEWAY_API}/v1", application.route.kind, metadata | {"annotations": {**marker, **annotations}}, spec)


def backends(application: Application, mode: Mode) -> list[Object]:
    """The backends of the main rule in a mode, without the fields that the API server adds."""
    if mode is Mode.CAPACITY:
        return [reference_to(application, application.capacity)]
    return [reference_to(application, unit.backend, unit.weight or 0) for unit in application.units]


def reference_to(application: Application, backend: Backend, weight: int = 1) -> Object:
    """A reference to a Service. A route names ports by number: a named port is `_PORT`, as `manifests.services` makes it."""
    namespace = {"namespace": application.namespace} if application.routing_namespace != application.namespace else {}
    return {"name": backend.service, **namespace, "port": backend.port if isinstance(backend.port, int) else _PORT, "weight": weight}


def _standby(name: str, value: str, refs: list[Object]) -> Object:
    return {"name": name, "matches": [{"headers": [{"name": STANDBY_HEADER, "value": value}]}], "backendRefs": refs}


def _metadata(application: Application) -> dict[str, Any]:
    return {"name": application.route.name, "namespace": application.routing_namespace}


def _object(version: str, kind: str, metadata: Mapping[str, Any], spec: Mapping[str, Any]) -> Object:
    return {"apiVersion": version, "kind": kind, "metadata": dict(metadata), "spec": dict(spec)}
