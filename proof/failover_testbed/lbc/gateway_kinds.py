"""The kinds that the load-balancer controller reads for its Gateways, and what it has seen of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from controller.clients.kube import Resource

GROUP: Final = "gateway.networking.k8s.io"
CLASS_CONTROLLER: Final = "gateway.k8s.aws/alb"
RULES_FINALIZER: Final = "gateway.k8s.aws/listenerruleconfigurations"

_OWN: Final = "gateway.k8s.aws"

GATEWAY_CLASSES: Final = Resource(GROUP, "v1", "gatewayclasses", "GatewayClass", namespaced=False)
GATEWAYS: Final = Resource(GROUP, "v1", "gateways", "Gateway")
HTTP_ROUTES: Final = Resource(GROUP, "v1", "httproutes", "HTTPRoute")
GRPC_ROUTES: Final = Resource(GROUP, "v1", "grpcroutes", "GRPCRoute")
REFERENCE_GRANTS: Final = Resource(GROUP, "v1beta1", "referencegrants", "ReferenceGrant")
BALANCERS: Final = Resource(_OWN, "v1", "loadbalancerconfigurations", "LoadBalancerConfiguration")
TARGET_GROUPS: Final = Resource(_OWN, "v1", "targetgroupconfigurations", "TargetGroupConfiguration")
RULES: Final = Resource(_OWN, "v1", "listenerruleconfigurations", "ListenerRuleConfiguration")

ROUTES: Final = (HTTP_ROUTES, GRPC_ROUTES)
ROUTES_OF: Final[Mapping[str, tuple[Resource, ...]]] = {"HTTP": (HTTP_ROUTES,), "HTTPS": ROUTES}
"""The kinds of routes that a listener takes, by its protocol."""
GATEWAY_KINDS: Final = (GATEWAYS, *ROUTES, REFERENCE_GRANTS, BALANCERS, TARGET_GROUPS, RULES)
"""The kinds with a namespace."""

Key = tuple[str, str]
"""Namespace and name; the namespace is "" at the cluster scope."""

Seen = Mapping[str, Mapping[Key, Mapping[str, Any]]]
"""Objects by plural name of their kind, and by key."""


def key_of(obj: Mapping[str, Any]) -> Key:
    """The key of an object."""
    return str(obj["metadata"].get("namespace", "")), str(obj["metadata"]["name"])


def find(seen: Seen, resource: Resource, namespace: str, name: str) -> Mapping[str, Any] | None:
    """One object, None if there is none."""
    return seen.get(resource.plural, {}).get((namespace, name))


def parents_of(route: Mapping[str, Any]) -> list[Key]:
    """The Gateways that a route names, in its order."""
    namespace = str(route["metadata"]["namespace"])
    return [
        (str(ref.get("namespace") or namespace), str(ref["name"]))
        for ref in route["spec"].get("parentRefs") or []
        if (ref.get("group", GROUP), ref.get("kind", "Gateway")) == (GROUP, "Gateway")
    ]


def backends_of(route: Mapping[str, Any]) -> set[Key]:
    """The Services that a route names."""
    namespace = str(route["metadata"]["namespace"])
    refs = [ref for rule in route["spec"].get("rules") or [] for ref in rule.get("backendRefs") or []]
    return {(str(ref.get("namespace") or namespace), str(ref["name"])) for ref in refs}


def rules_named(route: Mapping[str, Any]) -> set[Key]:
    """The ListenerRuleConfigurations that a route names."""
    filters = [one for rule in route["spec"].get("rules") or [] for one in rule.get("filters") or []]
    return {(str(route["metadata"]["namespace"]), name) for one in filters if (name := rules_name(one))}


def rules_name(entry: Mapping[str, Any]) -> str:
    """The ListenerRuleConfiguration that a filter of a rule names, "" if it is another filter."""
    ref = entry.get("extensionRef") or {}
    ours = (entry.get("type"), ref.get("group"), ref.get("kind")) == ("ExtensionRef", RULES.group, RULES.kind)
    return str(ref["name"]) if ours else ""
