"""Reads what the load-balancer controller adds to the Gateway API: settings of load balancers, target groups and rules. Pure.

As with annotations, the fake refuses what it does not emulate, because the real controller would act on it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from controller.clients.kube import Resource
from failover_testbed.lbc.annotations import HealthCheck, unsupported
from failover_testbed.lbc.gateway_kinds import BALANCERS, HTTP_ROUTES, TARGET_GROUPS, Key, Seen, find
from failover_testbed.lbc.model import Fixed

Props = Mapping[str, Any]
"""Settings of a target group, as a TargetGroupConfiguration has them."""

_CHECK: Final = HealthCheck(healthy=3, unhealthy=3, codes="200-399")  # the defaults differ from those of Ingresses


@dataclass(frozen=True, slots=True)
class Balancer:
    """Settings of a Gateway's load balancer.

    Attributes:
        scheme: ``internal`` or ``internet-facing``.
        certificates: ARN by port of an HTTPS listener.
        defaults: Settings of target groups.
    """

    scheme: str
    certificates: Mapping[int, str]
    defaults: Props


def balancer(gateway: Mapping[str, Any], gateway_class: Mapping[str, Any], seen: Seen) -> Balancer:
    """The settings of a Gateway's load balancer, from its own LoadBalancerConfiguration or that of its class.

    Raises:
        BuildError: It does not exist, or a setting is not emulated.
    """
    own = (gateway["spec"].get("infrastructure") or {}).get("parametersRef")
    of_class = gateway_class["spec"].get("parametersRef")
    if own and of_class:
        raise unsupported("a LoadBalancerConfiguration of the Gateway beside that of its class")
    ref = own or of_class
    if not ref:
        return Balancer("internal", {}, {})
    namespace = str(ref.get("namespace") or gateway["metadata"]["namespace"])
    found = find(seen, BALANCERS, namespace, str(ref["name"]))
    if found is None:
        raise unsupported("a LoadBalancerConfiguration that does not exist")
    spec = found.get("spec") or {}
    _check(spec, ("scheme", "listenerConfigurations", "defaultTargetGroupConfiguration"), BALANCERS.kind)
    certificates = {}
    for one in spec.get("listenerConfigurations") or []:
        _check(one, ("protocolPort", "defaultCertificate", "alpnPolicy"), BALANCERS.kind)
        protocol, _, port = str(one["protocolPort"]).partition(":")
        if protocol == "HTTPS" and "defaultCertificate" in one:
            certificates[int(port)] = str(one["defaultCertificate"])
    name = (spec.get("defaultTargetGroupConfiguration") or {}).get("name")
    defaults = find(seen, TARGET_GROUPS, namespace, str(name)) if name else None
    return Balancer(str(spec.get("scheme", "internal")), certificates, _props(defaults) if defaults else {})


def target_group(service: Key, route: Resource, defaults: Props, seen: Seen) -> tuple[HealthCheck, tuple[tuple[str, str], ...]]:
    """Health check and attributes of a Service's target group. Its own TargetGroupConfiguration takes precedence over the defaults.

    Args:
        service: The Service.
        route: The kind of the route that names it.
        defaults: Settings of the load balancer's target groups.
        seen: All objects.

    Raises:
        BuildError: A setting is not emulated.
    """
    props = {**defaults, **_own(service, seen)}
    if (kind := props.get("targetType", "instance")) != "ip":
        raise unsupported(f"targetType {kind} (which is also the default); only ip")
    check: Mapping[str, Any] = props.get("healthCheckConfig") or {}
    if props.get("protocol", "HTTP") != "HTTP" or check.get("healthCheckProtocol", "HTTP") != "HTTP":
        raise unsupported("a protocol of target groups or health checks other than HTTP")
    if (version := props.get("protocolVersion", "HTTP1" if route is HTTP_ROUTES else "GRPC")) != "HTTP1":
        raise unsupported(f"protocolVersion {version} (the default of a GRPCRoute is GRPC); only HTTP1")
    attributes = {str(one["key"]): str(one["value"]) for one in props.get("targetGroupAttributes") or []}
    made = HealthCheck(
        path=str(check.get("healthCheckPath", _CHECK.path)),
        port=str(check.get("healthCheckPort", _CHECK.port)),
        interval_s=int(check.get("healthCheckInterval", _CHECK.interval_s)),
        timeout_s=int(check.get("healthCheckTimeout", _CHECK.timeout_s)),
        healthy=int(check.get("healthyThresholdCount", _CHECK.healthy)),
        unhealthy=int(check.get("unhealthyThresholdCount", _CHECK.unhealthy)),
        codes=str((check.get("matcher") or {}).get("httpCode", _CHECK.codes)),
    )
    return made, tuple(sorted(attributes.items()))


def _own(service: Key, seen: Seen) -> Props:
    """The settings of the first TargetGroupConfiguration that names the Service."""
    for (namespace, _), one in sorted(seen.get(TARGET_GROUPS.plural, {}).items()):
        target = (one.get("spec") or {}).get("targetReference")
        if target and (namespace, str(target["name"])) == service and target.get("kind", "Service") == "Service":
            return _props(one)
    return {}


def _props(configuration: Mapping[str, Any]) -> Props:
    spec = configuration.get("spec") or {}
    _check(spec, ("targetReference", "defaultConfiguration"), TARGET_GROUPS.kind)
    props: Props = spec.get("defaultConfiguration") or {}
    _check(props, ("targetType", "healthCheckConfig", "protocol", "protocolVersion", "targetGroupAttributes"), TARGET_GROUPS.kind)
    return props


@dataclass(frozen=True, slots=True)
class RuleSettings:
    """Settings of a rule: its stickiness, None where nothing sets it, or the fixed response that takes the place of its backends."""

    stickiness: tuple[bool, int] | None = None
    fixed: Fixed | None = None


def rule_settings(configuration: Mapping[str, Any]) -> RuleSettings:
    """The settings of a ListenerRuleConfiguration.

    Raises:
        BuildError: A setting is not emulated.
    """
    spec, kind = configuration.get("spec") or {}, "ListenerRuleConfiguration"
    _check(spec, ("actions", "tags"), kind)
    found = RuleSettings()
    for action in spec.get("actions") or []:
        if action["type"] == "fixed-response":
            config = action.get("fixedResponseConfig") or {}
            found = RuleSettings(fixed=Fixed(str(config.get("statusCode", "")), str(config.get("messageBody", ""))))
        elif action["type"] == "forward":
            sticky = (action.get("forwardConfig") or {}).get("targetGroupStickinessConfig")
            found = RuleSettings((bool(sticky["enabled"]), int(sticky["durationSeconds"])) if sticky else None)
        else:
            raise unsupported(f"actions of type {action['type']} in a {kind}")
    return found


def _check(fields: Mapping[str, Any], known: Collection[str], kind: str) -> None:
    for name in sorted(fields.keys() - set(known)):
        raise unsupported(f"{name} of a {kind}")
