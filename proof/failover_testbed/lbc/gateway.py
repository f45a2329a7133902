"""Builds the load-balancer controller's model of a Gateway: its listeners, and the rules and target groups of its routes. Pure.

As in the real controller, one backend that cannot be resolved is left out with a condition on its route, and one weight out of range stops
the whole Gateway. Every backend of a rule gets its target group, whatever its weight.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from controller.clients.kube import SERVICES, Resource
from failover_testbed.lbc.annotations import BuildError, Listen, unsupported
from failover_testbed.lbc.elb_limits import MAX_WEIGHT
from failover_testbed.lbc.gateway_kinds import (
    GROUP,
    REFERENCE_GRANTS,
    ROUTES,
    ROUTES_OF,
    RULES,
    Key,
    Seen,
    find,
    key_of,
    parents_of,
    rules_name,
)
from failover_testbed.lbc.gateway_settings import Balancer, RuleSettings, balancer, rule_settings, target_group
from failover_testbed.lbc.model import (
    Condition,
    Fixed,
    Forward,
    ListenerModel,
    RoutePart,
    RuleModel,
    StackModel,
    TargetGroupModel,
    TargetKey,
)

Object = Mapping[str, Any]

_NO_BACKENDS: Final = Fixed("500", "")  # the real one logs that it answers 503
_PATH_TYPES: Final = {"Exact": 3, "PathPrefix": 2}
_REASONS_NOT_ACCEPTED: Final = frozenset({"IncompatibleFilters", "NoMatchingParent", "NotAllowedByListeners", "UnsupportedValue"})
_RULE_FIELDS: Final = frozenset({"name", "matches", "filters", "backendRefs"})
_HTTP_MATCH: Final = frozenset({"path", "headers", "method"})


class LoadError(BuildError):
    """The routes of a Gateway cannot be loaded. Nothing of it is reconciled, and no condition or event says so."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a route, or a part of it, does not work: reason and message of a condition."""

    reason: str
    message: str

    @property
    def accepted(self) -> bool:
        """Whether the condition ``Accepted`` stays True, and ``ResolvedRefs`` does not."""
        return self.reason not in _REASONS_NOT_ACCEPTED


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the controller says about a route below one Gateway.

    Attributes:
        resource: The route's kind.
        route: The route.
        parents: Its references to the Gateway.
        problem: The first problem, None if there is none.
    """

    resource: Resource
    route: Object
    parents: tuple[Object, ...]
    problem: Problem | None


@dataclass(frozen=True, slots=True)
class Loaded:
    """A Gateway's model, the verdicts about its routes, and how many routes each of its listeners has."""

    model: StackModel
    verdicts: tuple[Verdict, ...]
    attached: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Rule:
    """A rule for one match and one host, with its place in the Gateway API's order of precedence."""

    precedence: tuple[Any, ...]
    model: RuleModel


def load(gateway: Object, gateway_class: Object, seen: Seen) -> Loaded:
    """Loads a Gateway.

    Args:
        gateway: The Gateway.
        gateway_class: Its class.
        seen: All objects of the cluster.

    Raises:
        LoadError: A weight is out of range.
        BuildError: Something is invalid, or not emulated.
    """
    _check_gateway(gateway)
    settings = balancer(gateway, gateway_class, seen)
    listeners: Sequence[Object] = gateway["spec"]["listeners"]
    rules: dict[int, list[_Rule]] = {int(one["port"]): [] for one in listeners}
    attached = {str(one["name"]): 0 for one in listeners}
    groups: dict[str, TargetGroupModel] = {}
    verdicts = []
    for resource, route in _routes(gateway, seen):
        parents = tuple(ref for ref, key in zip(route["spec"]["parentRefs"], parents_of(route), strict=True) if key == key_of(gateway))
        chosen, problem = _attachments(gateway, resource, route, parents)
        if chosen:
            loaded = _Route(gateway, resource, route, settings, seen, groups)
            problem = loaded.problems[0] if loaded.problems else None
            for one in chosen:
                attached[str(one["name"])] += 1
            for port in sorted({int(one["port"]) for one in chosen}):
                rules[port] += loaded.rules
        verdicts.append(Verdict(resource, route, parents, problem))
    model = StackModel(
        scheme=settings.scheme,
        listeners=tuple(
            ListenerModel(_listen(listeners, port, settings), tuple(one.model for one in sorted(made, key=lambda one: one.precedence)))
            for port, made in sorted(rules.items())
        ),
        target_groups=tuple(groups[resource] for resource in sorted(groups)),
    )
    return Loaded(model, tuple(verdicts), attached)


def _routes(gateway: Object, seen: Seen) -> Iterator[tuple[Resource, Object]]:
    for resource in ROUTES:
        for _, route in sorted(seen.get(resource.plural, {}).items()):
            if key_of(gateway) in parents_of(route) and not route["metadata"].get("deletionTimestamp"):
                yield resource, route


def _check_gateway(gateway: Object) -> None:
    spec = gateway["spec"]
    infrastructure = spec.get("infrastructure") or {}
    for name in (*(spec.keys() - {"gatewayClassName", "listeners", "infrastructure"}), *(infrastructure.keys() - {"parametersRef"})):
        raise unsupported(f"{name} of a Gateway")
    for one in spec["listeners"]:
        allowed = one.get("allowedRoutes") or {}
        if one["protocol"] not in ROUTES_OF:
            raise unsupported(f"listeners of protocol {one['protocol']}")
        if one.get("hostname") or allowed.get("kinds") or (allowed.get("namespaces") or {}).get("from") == "Selector":
            raise unsupported("hostnames of listeners, kinds of routes, and selectors of namespaces")


def _listen(listeners: Sequence[Object], port: int, settings: Balancer) -> Listen:
    """The listener of a port.

    Raises:
        BuildError: Two protocols share the port, or HTTPS has no certificate.
    """
    protocols = {str(one["protocol"]) for one in listeners if int(one["port"]) == port}
    if len(protocols) > 1:
        raise BuildError("invalid listeners on gateway, listeners with same ports cannot have different protocols")
    (protocol,) = protocols
    if protocol == "HTTPS" and port not in settings.certificates:
        raise unsupported("finding a certificate for HTTPS; state defaultCertificate in a LoadBalancerConfiguration")
    return Listen(port, protocol, settings.certificates.get(port, "") if protocol == "HTTPS" else "")


def _attachments(gateway: Object, resource: Resource, route: Object, parents: Sequence[Object]) -> tuple[list[Object], Problem | None]:
    """The Gateway's listeners that take a route, or why none does."""
    named = [
        one
        for one in gateway["spec"]["listeners"]
        if any(ref.get("sectionName") in {None, one["name"]} and ref.get("port") in {None, one["port"]} for ref in parents)
    ]
    if not named:
        return [], Problem("NoMatchingParent", "Route parentRef does not match listener")
    inside = route["metadata"]["namespace"] == gateway["metadata"]["namespace"]
    near = [one for one in named if inside or ((one.get("allowedRoutes") or {}).get("namespaces") or {}).get("from") == "All"]
    chosen = [one for one in near if resource in ROUTES_OF[one["protocol"]]]
    what = "kind" if near else "namespace"
    why = f"Listener does not allow route attachment, {what} does not match between listener and route"
    return chosen, None if chosen else Problem("NotAllowedByListeners", why)


@dataclass(slots=True)
class _Route:
    """One route of a Gateway: its rules, and the problems found on the way.

    Raises:
        LoadError: A weight is out of range.
        BuildError: Something is invalid, or not emulated.
    """

    gateway: Object
    resource: Resource
    route: Object
    settings: Balancer
    seen: Seen
    groups: dict[str, TargetGroupModel]
    problems: list[Problem] = field(default_factory=list)
    rules: list[_Rule] = field(default_factory=list)

    def __post_init__(self) -> None:
        hosts = [str(one) for one in self.route["spec"].get("hostnames") or []] or [""]
        for place, rule in enumerate(self.route["spec"].get("rules") or []):
            for name in sorted(rule.keys() - _RULE_FIELDS):
                raise unsupported(f"{name} of a rule")
            action = self._action(rule)
            for number, match in enumerate(rule.get("matches") or [{}]):
                for host in hosts:
                    self.rules.append(self._rule(host, match, (place, number), action))

    @property
    def _namespace(self) -> str:
        return str(self.route["metadata"]["namespace"])

    # --- actions ------------------------------------------------------------------------------------------------------------------------

    def _action(self, rule: Object) -> Forward | Fixed:
        settings = self._rule_settings(rule)
        targets = [] if settings is None else [one for ref in rule.get("backendRefs") or [] if (one := self._target(ref)) is not None]
        if settings is not None and settings.fixed is not None:
            return settings.fixed
        if not any(weight for _, weight in targets):
            return _NO_BACKENDS
        return Forward(tuple(targets), settings.stickiness if settings else None)

    def _rule_settings(self, rule: Object) -> RuleSettings | None:
        """What a ListenerRuleConfiguration says about a rule; None if it is missing, which takes all backends of the rule away."""
        filters = rule.get("filters") or []
        names = [name for one in filters if (name := rules_name(one))]
        if len(names) < len(filters):
            raise unsupported("filters of a rule other than a ListenerRuleConfiguration")
        if len(names) > 1:
            why = "Only one listener rule config can be referenced per route rule, found multiple"
            self.problems.append(Problem("IncompatibleFilters", why))
            return None
        if not names:
            return RuleSettings()
        found = find(self.seen, RULES, self._namespace, names[0])
        if found is None:
            why = f"ListenerRuleConfiguration [{self._namespace}/{names[0]}] not found)"
            self.problems.append(Problem("IncompatibleFilters", why))
            return None
        return rule_settings(found)

    def _target(self, ref: Object) -> tuple[TargetKey, int] | None:
        """The target group and weight of a backend, None if it is left out."""
        if ref.get("filters"):
            raise unsupported("filters of a backend")
        found = self._service(ref)
        if isinstance(found, Problem):
            self.problems.append(found)
            return None
        service, port = found
        weight = int(ref.get("weight", 1))
        if weight > MAX_WEIGHT:
            raise LoadError(f"Weight [{weight}] must be less than or equal to {MAX_WEIGHT}")
        (namespace, name), (space, owner) = key_of(service), key_of(self.gateway)
        part = RoutePart(f"{space}/{owner}", key_of(self.route), self.resource.kind, port.get("targetPort", port["port"]))
        key = TargetKey(namespace, "", name, int(port["port"]), part)
        if key.resource not in self.groups:
            check, attributes = target_group((namespace, name), self.resource, self.settings.defaults, self.seen)
            self.groups[key.resource] = TargetGroupModel(key, check, attributes)
        return self.groups[key.resource].key, weight

    def _service(self, ref: Object) -> tuple[Object, Object] | Problem:
        """The Service of a backend and the entry of its port, or why there is none."""
        if ref.get("kind", "Service") in {"Gateway", "TargetGroupName"}:
            raise unsupported(f"backends of kind {ref['kind']}")
        if ref.get("kind", "Service") != "Service":
            return Problem("InvalidKind", "Unknown backend reference kind")
        if ref.get("port") is None:
            return Problem("UnsupportedValue", "Port is required")
        key: Key = (str(ref.get("namespace") or self._namespace), str(ref["name"]))
        if key[0] != self._namespace and not self._granted(key):
            return Problem("RefNotPermitted", "No explicit ReferenceGrant exists to allow the reference.")
        service = find(self.seen, SERVICES, *key)
        if service is None:
            return Problem("BackendNotFound", f"Service ({key[0]}:{key[1]}) not found)")
        for port in (service.get("spec") or {}).get("ports") or []:
            if port["port"] == ref["port"]:
                return service, port
        return Problem("BackendNotFound", f"Unable to find service port for port {ref['port']}")

    def _granted(self, service: Key) -> bool:
        """Whether a ReferenceGrant lets the route name a Service of another namespace."""
        source = (GROUP, self.resource.kind, self._namespace)
        for (namespace, _), grant in self.seen.get(REFERENCE_GRANTS.plural, {}).items():
            sources = [(one["group"], one["kind"], one["namespace"]) for one in grant["spec"]["from"]]
            targets = [(one["group"], one["kind"], one.get("name") or service[1]) for one in grant["spec"]["to"]]
            if namespace == service[0] and source in sources and ("", "Service", service[1]) in targets:
                return True
        return False

    # --- conditions and precedence ------------------------------------------------------------------------------------------------------

    def _rule(self, host: str, match: Object, place: tuple[int, int], action: Forward | Fixed) -> _Rule:
        matched, specific = (_http if self.resource.kind == "HTTPRoute" else _grpc)(match)
        headers = [(f"http-header:{one['name']}", _values(one)) for one in match.get("headers") or []]
        conditions: list[Condition] = [("host-header", (host,))] if host else []
        conditions += [matched[0], *headers, *matched[1:]]
        kind, length, second, method = specific
        precedence = (
            *(host == "", host.startswith("*."), -host.count("."), -len(host)),
            *(-kind, -length, -second, not method, -len(headers)),
            *(str(self.route["metadata"].get("creationTimestamp", "")), "/".join(key_of(self.route)), *place, host),
        )
        return _Rule(precedence, RuleModel(tuple(conditions), action))


_Specific = tuple[int, int, int, bool]
"""How specific a match is: its type, the length of path or service, the length of a gRPC method, and whether it names an HTTP method."""


def _http(match: Object) -> tuple[list[Condition], _Specific]:
    """The conditions of an HTTP match but its headers."""
    for name in sorted(match.keys() - _HTTP_MATCH):
        raise unsupported(f"{name} of a match")
    path = match.get("path") or {}
    kind, value = str(path.get("type", "PathPrefix")), str(path.get("value", "/"))
    if kind not in _PATH_TYPES:
        raise unsupported(f"paths of type {kind}")
    patterns: tuple[str, ...] = (value,)
    if kind == "PathPrefix":
        if re.search(r"[*?]", value):
            raise BuildError(f"prefix path shouldn't contain wildcards: {value}")
        base = value.removesuffix("/")
        patterns = (base, f"{base}/*") if base else ("/*",)
    method = [("http-request-method", (str(match["method"]),))] if match.get("method") else []
    return [("path-pattern", patterns), *method], (_PATH_TYPES[kind], len(value), 0, bool(method))


def _grpc(match: Object) -> tuple[list[Condition], _Specific]:
    """The conditions of a gRPC match but its headers."""
    method = match.get("method")
    if not method:
        return [("path-pattern", ("/*",))], (0, 0, 0, False)
    if method.get("type", "Exact") != "Exact":
        raise unsupported(f"methods of type {method['type']}")
    service, name = str(method.get("service") or "*"), str(method.get("method") or "*")
    lengths = len(method.get("service") or ""), len(method.get("method") or "")
    return [("path-pattern", (f"/{service}/{name}",))], (3, *lengths, False)


def _values(header: Object) -> tuple[str, ...]:
    """The values of a header match: commas separate them unless they are escaped."""
    if header.get("type", "Exact") != "Exact":
        raise unsupported(f"headers of type {header['type']}")
    values, escaped = [""], False
    for letter in str(header["value"]):
        if letter == "," and not escaped:
            values.append("")
        elif letter != "\\" or escaped:
            values[-1] += letter
        escaped = letter == "\\" and not escaped
    return tuple(values)
