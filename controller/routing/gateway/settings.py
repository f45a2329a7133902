"""The settings of a route's target groups: objects of the load-balancer controller state them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from controller.clients.kube import GATEWAYS, LOAD_BALANCER_CONFIGURATIONS, TARGET_GROUP_CONFIGURATIONS
from controller.objects import Object, entries, mapping, text
from controller.routing.gateway.gateways import gateways_of
from controller.routing.port import Beside


def target_group(service: str, namespace: str, route: Object, beside: Beside) -> Mapping[str, Any]:
    """The settings of a Service's target group: of its own TargetGroupConfiguration, else the Gateway's default.

    Args:
        service: The Service.
        namespace: Its namespace.
        route: The route that names it.
        beside: Where the configurations are found. What they say for single routes (``routeConfigurations``) is not read.
    """
    own = next((one for one in beside.all(TARGET_GROUP_CONFIGURATIONS, namespace) if _reference(one) == service), None)
    defaults = (_default(gateway, beside) for gateway in gateways_of(route))
    return {**next((one for one in defaults if one), {}), **mapping(own, "spec", "defaultConfiguration")}


def attributes(stated: Mapping[str, Any]) -> str:
    """The attributes of a target group in the form that `controller.routing.attributes` reads."""
    return ",".join(f"{text(one, 'key')}={text(one, 'value')}" for one in entries(stated, "targetGroupAttributes"))


def _default(gateway: tuple[str, str], beside: Beside) -> Mapping[str, Any]:
    """The settings that a Gateway's LoadBalancerConfiguration has for all target groups."""
    namespace, name = gateway
    named = text(beside.one(GATEWAYS, namespace, name), "spec", "infrastructure", "parametersRef", "name")
    balancer = beside.one(LOAD_BALANCER_CONFIGURATIONS, namespace, named) if named else None
    default = text(balancer, "spec", "defaultTargetGroupConfiguration", "name")
    return mapping(beside.one(TARGET_GROUP_CONFIGURATIONS, namespace, default), "spec", "defaultConfiguration") if default else {}


def _reference(configuration: Object) -> str:
    return text(configuration, "spec", "targetReference", "name")
