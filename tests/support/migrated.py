"""The stack of `hand_built` behind a Gateway, as `lbc-migrate` translates its Ingress: the shape was read in that tool's source.

The tool gives no rule a name, and each object the first eight letters of a name, a suffix and a hash. Every path of the Ingress becomes a
rule; the hosts of all its rules become the hostnames of the whole route. A port is a number, and stickiness a ListenerRuleConfiguration.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from controller.policy.model import Target
from tests.support import hand_built
from tests.support.applications import COST_TARGETS, SERVICES
from tests.support.hand_built import Object

ROUTE: Final = "gradio-m-route-5c0ffee123"
GATEWAY: Final = "gradio-m-gateway-5c0ffee456"
_RULE_CONFIGURATION: Final = "gradio-m-lr-confi-5c0ffee789"
_BALANCER: Final = "gradio-m-lb-confi-5c0ffeeabc"
_OWN: Final = "gateway.k8s.aws"
_TAGS: Final = {f"{_OWN}/migrated-from": f"ingress/shop/{hand_built.INGRESS}"}


def stack(namespace: str, *, capacity: bool = False, standby: bool = False, host: str = "", name: str = ROUTE) -> list[Object]:
    """The objects of `hand_built.stack` with the tool's in the place of the Ingress.

    Args:
        namespace: Their namespace.
        capacity: Whether the Ingress was in capacity mode.
        standby: Whether it had standby rules, a host each, behind its live rule.
        host: The host of its live rule.
        name: The route's name.
    """
    kept = [one for one in hand_built.stack(namespace) if one["kind"] != "Ingress"]
    return [*kept, *settings(namespace), gateway(namespace), route(namespace, capacity=capacity, standby=standby, host=host, name=name)]


def settings(namespace: str) -> list[Object]:
    """A TargetGroupConfiguration for each Service, and what the rule and the load balancer had as annotations."""
    sticky = {"enabled": True, "durationSeconds": hand_built.STICKY_S}
    actions = [{"type": "forward", "forwardConfig": {"targetGroupStickinessConfig": sticky}}]
    check = {"healthCheckPath": "/health", "healthCheckInterval": 10, "healthCheckTimeout": 9, "matcher": {"httpCode": "200-301"}}
    default = {"targetType": "ip", "healthCheckConfig": check, "tags": _TAGS}
    return [
        _object(
            "TargetGroupConfiguration", namespace, f"{service}-tg", {"targetReference": {"name": service}, "defaultConfiguration": default}
        )
        for service in (*SERVICES, hand_built.CAPACITY)
    ] + [
        _object("ListenerRuleConfiguration", namespace, _RULE_CONFIGURATION, {"actions": actions, "tags": _TAGS}),
        _object("LoadBalancerConfiguration", namespace, _BALANCER, {"scheme": "internet-facing", "tags": _TAGS}),
    ]


def gateway(namespace: str) -> Object:
    """The Gateway, with the Ingress's default listener."""
    reference = {"group": _OWN, "kind": "LoadBalancerConfiguration", "name": _BALANCER}
    listeners = [{"name": "http-80", "port": 80, "protocol": "HTTP"}]
    spec = {"gatewayClassName": "aws-alb", "infrastructure": {"parametersRef": reference}, "listeners": listeners}
    return _object("Gateway", namespace, GATEWAY, spec)


def route(namespace: str, *, capacity: bool = False, standby: bool = False, host: str = "", name: str = ROUTE) -> Object:
    """The HTTPRoute; arguments as those of `stack`."""
    sticky = [{"type": "ExtensionRef", "extensionRef": {"group": _OWN, "kind": "ListenerRuleConfiguration", "name": _RULE_CONFIGURATION}}]
    live = [Target(hand_built.CAPACITY, 80, 1)] if capacity else COST_TARGETS
    rules = [{**_rule(live), "filters": sticky}]
    aside = (hand_built.CAPACITY, *SERVICES) if standby else ()
    for service in aside:
        (reference,) = (rule := _rule([Target(service, 80, 1)]))["backendRefs"]
        del reference["weight"]
        rules.append(rule)
    hosts = [*([host] if host else []), *(f"{service}.standby.invalid" for service in aside)]
    spec = {
        "parentRefs": [{"name": GATEWAY, "sectionName": "http-80"}],
        **({"hostnames": hosts} if hosts else {}),
        "rules": rules,
    }
    return _object("HTTPRoute", namespace, name, spec)


def _rule(targets: Sequence[Target]) -> Object:
    backends: list[dict[str, Any]] = [{"name": one.service, "port": one.port, "weight": one.weight} for one in targets]
    return {"matches": [{"path": {"type": "PathPrefix", "value": "/"}}], "backendRefs": backends}


def _object(kind: str, namespace: str, name: str, spec: Object) -> Object:
    version = f"{_OWN}/v1" if kind.endswith("Configuration") else "gateway.networking.k8s.io/v1"
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec}
