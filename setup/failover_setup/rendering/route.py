"""A route of the Gateway API, its Gateway, and the settings of their load balancer and target groups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from controller.clients.kube import GATEWAYS, LOAD_BALANCER_CONFIGURATIONS, REFERENCE_GRANTS, TARGET_GROUP_CONFIGURATIONS
from controller.policy.model import Backend, Mode, RoutingStyle
from controller.policy.routing import needed, targets_at_rest
from controller.routing.annotations import MARKER
from controller.routing.gateway.backends import backends_of
from controller.routing.gateway.gateways import CONTROLLER
from controller.routing.gateway.grants import grant_spec
from controller.routing.kinds import routing_port
from failover_setup.application import ApplicationFile
from failover_setup.rendering.parts import READINESS, Object, manifest
from failover_setup.rendering.traffic import MARGIN_S, attributes_of, capacity_attributes
from failover_setup.stack import StackFile

_HTTP: Final = {"name": "http", "port": 80, "protocol": "HTTP"}


def route(file: ApplicationFile, stack: StackFile, mode: Mode) -> Iterator[Object]:
    """Everything that routes requests, in the order in which to create it. All but the class has the route's name.

    The Gateway and its settings are in the route's namespace. Where the Services are in another one, a grant lets the route name them.

    Args:
        file: The application file, with a route.
        stack: Its stack.
        mode: The mode of the rule.
    """
    application = file.to_policy()
    name, home, resource = application.route.name, application.routing_namespace, routing_port(application).resource
    name_of_class = f"{file.metadata.name}-alb"  # of the whole cluster: two stacks must not share one
    yield manifest(GATEWAYS.api_version, "GatewayClass", name_of_class, file, namespaced=False, spec={"controllerName": CONTROLLER})
    yield _target_groups(file, name, home, {"targetType": "ip", "healthCheckConfig": _HEALTH}, attributes_of(stack))
    capacity = application.capacity.service
    reference = {"targetReference": {"kind": "Service", "name": capacity}}
    yield _target_groups(file, capacity, application.namespace, {}, capacity_attributes(application, stack), **reference)
    balancer = {
        "scheme": stack.load_balancer.scheme,
        "loadBalancerAttributes": _listed({"idle_timeout.timeout_seconds": f"{stack.request_s + MARGIN_S}"}),
        "defaultTargetGroupConfiguration": {"name": name},
    }
    yield manifest(LOAD_BALANCER_CONFIGURATIONS.api_version, LOAD_BALANCER_CONFIGURATIONS.kind, name, file, namespace=home, spec=balancer)
    parameters = {"group": LOAD_BALANCER_CONFIGURATIONS.group, "kind": LOAD_BALANCER_CONFIGURATIONS.kind, "name": name}
    gateway = {"gatewayClassName": name_of_class, "infrastructure": {"parametersRef": parameters}, "listeners": [_HTTP]}
    yield manifest(GATEWAYS.api_version, GATEWAYS.kind, name, file, namespace=home, spec=gateway)
    if home != application.namespace:
        yield manifest(REFERENCE_GRANTS.api_version, REFERENCE_GRANTS.kind, name, file, spec=grant_spec(application))
    marker = {MARKER: str(mode)} if mode is Mode.CAPACITY else {}
    spec = {"parentRefs": [{"name": name}], "rules": _rules(file, mode)}
    yield manifest(resource.api_version, resource.kind, name, file, namespace=home, annotations=marker, spec=spec)


_HEALTH: Final = {
    "healthCheckPath": READINESS,
    "healthCheckInterval": 10,
    "healthCheckTimeout": 9,
    "healthyThresholdCount": 2,
    "unhealthyThresholdCount": 10,
    "matcher": {"httpCode": "200-301"},
}
"""As the annotations of `failover_setup.rendering.traffic` have them."""


def _rules(file: ApplicationFile, mode: Mode) -> list[Mapping[str, Any]]:
    application = file.to_policy()
    part = application.route.part
    main = {**({} if part.isdigit() else {"name": part}), "backendRefs": backends_of(targets_at_rest(application, mode), application)}
    if application.routing_style is RoutingStyle.IN_PLACE:
        return [main]
    port, bare = routing_port(application), {"spec": {"rules": [main]}}
    every: dict[Backend, bool | None] = dict.fromkeys(needed(application), True)
    return [*port.remedy(application, port.observe(application, bare), bare, every).rules]


def _target_groups(
    file: ApplicationFile,
    name: str,
    namespace: str,
    stated: Mapping[str, Any],
    attributes: Mapping[str, str],
    **reference: Any,  # noqa: ANN401 - a part of a manifest
) -> Object:
    spec = {**reference, "defaultConfiguration": {**stated, "targetGroupAttributes": _listed(attributes)}}
    return manifest(TARGET_GROUP_CONFIGURATIONS.api_version, TARGET_GROUP_CONFIGURATIONS.kind, name, file, namespace=namespace, spec=spec)


def _listed(attributes: Mapping[str, str]) -> list[Mapping[str, str]]:
    return [{"key": key, "value": value} for key, value in attributes.items()]
