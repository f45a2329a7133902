"""Builds the AWS Load Balancer Controller's model of a group of Ingresses: listeners, rules and target groups.

Pure: it maps Ingresses and Services to a `StackModel` or a `BuildError`. One error in one Ingress stops the whole group.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from controller.routing.names import PREFIX
from failover_testbed.lbc import go_json as go
from failover_testbed.lbc.annotations import (
    BuildError,
    HealthCheck,
    Listen,
    cannot_decode,
    check_ingress,
    listeners,
    order,
    scheme,
    target_group,
    unsupported,
)

Services = Callable[[str, str], Mapping[str, Any] | None]
"""Finds a Service by namespace and name."""

Condition = tuple[str, tuple[str, ...]]
"""A rule condition: ELBv2's field (for a header: a colon and its name behind it) and the values."""

_KINDS: Final = {"Exact": 0, "Prefix": 1}
_NUMBER: Final = re.compile(r"[+-]?[0-9]+")
_FIELDS: Final = {"host-header": "hostHeaderConfig", "path-pattern": "pathPatternConfig", "source-ip": "sourceIPConfig"}
_MERGED: Final = frozenset({"host-header", "path-pattern"})


@dataclass(frozen=True, slots=True)
class Tolerance:
    """The controller's two flags, with its defaults: whether a rule without its Service or action answers 503, or stops the whole group.

    A forward action with several Services stops the group in any case if one of them does not exist.
    """

    service: bool = True  # --tolerate-non-existent-backend-service
    action: bool = True  # --tolerate-non-existent-backend-action


@dataclass(frozen=True, slots=True)
class RoutePart:
    """The part of a target group's identity that comes from the Gateway API; both names with their namespaces."""

    gateway: str
    route: tuple[str, str]
    kind: str
    target_port: int | str


@dataclass(frozen=True, slots=True)
class TargetKey:
    """Identifies a target group.

    One of an Ingress includes the port as written: 80 and "http" give two target groups. One of a route includes the pods' port instead, so
    two ports of a Service that lead to it share a target group.

    Attributes:
        namespace: The Service's namespace.
        ingress: The Ingress's name, "" if a route names the Service.
        service: The Service's name.
        port: The Service's port.
        part: Set if a route names the Service.
    """

    namespace: str
    ingress: str
    service: str
    port: int | str
    part: RoutePart | None = None

    @property
    def resource(self) -> str:
        """Its name in AWS's tags; target groups are created in the order of these names."""
        if self.part is None:
            return f"{self.namespace}/{self.ingress}-{self.service}:{self.port}"
        (space, name), part = self.part.route, self.part
        return f"{part.gateway}:{space}-{name}:{part.kind}-{self.namespace}-{self.service}:{part.target_port}"

    @property
    def stem(self) -> tuple[str, str]:
        """The names that its own name begins with."""
        return (self.namespace, self.service) if self.part is None else self.part.route


@dataclass(frozen=True, slots=True)
class Forward:
    """A forward action. `stickiness` is None if nothing sets it."""

    targets: tuple[tuple[TargetKey, int | None], ...]
    stickiness: tuple[bool, int] | None = None


@dataclass(frozen=True, slots=True)
class Fixed:
    """A fixed response."""

    status: str
    body: str


@dataclass(frozen=True, slots=True)
class RuleModel:
    """One rule: ELBv2's conditions in the order sent, and the action."""

    conditions: tuple[Condition, ...]
    action: Forward | Fixed


@dataclass(frozen=True, slots=True)
class ListenerModel:
    """One listener, and its rules in the order of their priorities."""

    listen: Listen
    rules: tuple[RuleModel, ...]


@dataclass(frozen=True, slots=True)
class TargetGroupModel:
    """One target group."""

    key: TargetKey
    check: HealthCheck
    attributes: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class StackModel:
    """Everything that a group requires: target groups in order of creation, listeners by port."""

    scheme: str
    listeners: tuple[ListenerModel, ...]
    target_groups: tuple[TargetGroupModel, ...]


def build(members: Sequence[Mapping[str, Any]], services: Services, tolerance: Tolerance = Tolerance()) -> StackModel:
    """Builds the model of a group.

    Args:
        members: The group's Ingresses.
        services: Finds Services.
        tolerance: What is answered with 503 instead of being an error.

    Raises:
        BuildError: An Ingress is invalid; the message names it.
    """
    made = []
    for ingress in sorted(members, key=_key):
        try:
            made.append(_Member(ingress, services, tolerance))
        except BuildError as error:
            raise BuildError(f"ingress: {_key(ingress)}: {error}") from None
        except go.DecodeError as error:  # a bug: every decoding names its annotation
            raise BuildError(f"ingress: {_key(ingress)}: {error}") from error
    made.sort(key=lambda member: member.order)  # stable: Ingresses of equal order stay sorted by name
    schemes = {member.scheme for member in made if member.scheme}
    if len(schemes) > 1:
        raise BuildError(f"conflicting scheme: {sorted(schemes)}")
    groups = {group.key: group for member in made for group in member.groups.values()}
    return StackModel(
        scheme=next(iter(schemes), "internal"),
        listeners=tuple(_listeners(made)),
        target_groups=tuple(groups[key] for key in sorted(groups, key=lambda key: key.resource)),
    )


def _key(ingress: Mapping[str, Any]) -> str:
    return f"{ingress['metadata']['namespace']}/{ingress['metadata']['name']}"


def _listeners(members: Sequence[_Member]) -> Iterator[ListenerModel]:
    """A listener for each port of any member, with the rules of the members that use the port."""
    ports: dict[int, Listen] = {}
    for member in members:
        for listen in member.listens:
            if ports.setdefault(listen.port, listen) != listen:
                raise BuildError(f"conflicting listeners on port {listen.port}")
    for _, listen in sorted(ports.items()):
        yield ListenerModel(listen, tuple(rule for member in members if listen in member.listens for rule in member.rules))


def references(ingress: Mapping[str, Any]) -> frozenset[str]:
    """The names of the Services that an Ingress refers to; unreadable parts are ignored."""
    found = {str(service.get("name")) for _, _, service in _backends(ingress)}
    for key, raw in (ingress["metadata"].get("annotations") or {}).items():
        if key.startswith(f"{PREFIX}/actions."):
            try:
                groups = go.array(go.substruct(go.struct(go.decode(raw), ""), "forwardConfig") or {}, "targetGroups")
                found |= {str(go.struct(group, "").get("servicename")) for group in groups}
            except go.DecodeError:
                continue
    return frozenset(found)


def _backends(ingress: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
    """Host, path and Service of every backend, in the order of the rules' priorities."""
    for rule in (ingress.get("spec") or {}).get("rules") or []:
        paths = (rule.get("http") or {}).get("paths") or []
        for path in sorted(paths, key=_path_order):
            yield str(rule.get("host") or ""), path, (path.get("backend") or {}).get("service") or {}


def _path_order(path: Mapping[str, Any]) -> tuple[int, int]:
    kind = _KINDS.get(str(path.get("pathType")), 2)
    return kind, -len(str(path.get("path") or "")) if kind == 1 else 0


class _Member:
    """One Ingress of the group.

    Args:
        ingress: The object.
        services: Finds Services.
        tolerance: See `build`.

    Raises:
        BuildError: The Ingress is invalid.
    """

    def __init__(self, ingress: Mapping[str, Any], services: Services, tolerance: Tolerance) -> None:
        metadata, spec = ingress["metadata"], ingress.get("spec") or {}
        self._namespace, self._name, self._services = str(metadata["namespace"]), str(metadata["name"]), services
        self._annotations: Mapping[str, Any] = metadata.get("annotations") or {}
        self._tolerance = tolerance
        check_ingress(self._annotations)
        for field in ("defaultBackend", "tls"):
            if spec.get(field):
                raise unsupported(f"spec.{field}")
        self.groups: dict[TargetKey, TargetGroupModel] = {}
        self.order = order(self._annotations)
        self.scheme = scheme(self._annotations)
        self.listens = listeners(self._annotations)
        self.rules = tuple(self._rule(host, path, service) for host, path, service in _backends(ingress))

    def _rule(self, host: str, path: Mapping[str, Any], service: Mapping[str, Any]) -> RuleModel:
        name, port = str(service.get("name") or ""), service.get("port") or {}
        if not name:
            raise unsupported("backends other than Services")
        if port.get("name") == "use-annotation":
            return RuleModel(_matching(host, path, self._conditions(name)), self._action(name))
        target = self._target(name, port.get("name") or port.get("number") or 0)
        action = self._missing(name) if target is None else Forward(((target, None),))
        return RuleModel(_matching(host, path, ()), action)

    def _missing(self, service: str) -> Fixed:
        """What takes the place of forwarding to one Service that does not exist."""
        if not self._tolerance.service:
            raise BuildError(f'Service "{service}" not found')
        return Fixed("503", "Backend service does not exist")

    def _target(self, service: str, port: int | str) -> TargetKey | None:
        """The target group of a Service, None if the Service does not exist."""
        found = self._services(self._namespace, service)
        if found is None:
            return None
        service_port(found, port)
        key = TargetKey(self._namespace, self._name, service, port)
        if key not in self.groups:
            check, attributes = target_group(self._annotations, found["metadata"].get("annotations") or {})
            self.groups[key] = TargetGroupModel(key, check, attributes)
        return key

    def _conditions(self, name: str) -> tuple[Condition, ...]:
        key = f"{PREFIX}/conditions.{name}"
        if key not in self._annotations:
            return ()
        raw = str(self._annotations[key])
        try:
            entries = go.decode(raw)
            if not isinstance(entries, list):
                raise go.DecodeError("json: cannot unmarshal object into Go value of type []ingress.RuleCondition")  # noqa: TRY301
            return tuple(self._condition(go.struct(entry, "value of type ingress.RuleCondition")) for entry in entries)
        except go.DecodeError as error:
            raise cannot_decode(key, raw, error) from None

    @staticmethod
    def _condition(entry: Mapping[str, Any]) -> Condition:
        field = go.text(entry, "field") or ""
        if field not in _FIELDS:
            raise unsupported(f"conditions of {field!r}")
        config = go.substruct(entry, _FIELDS[field]) or {}
        if config.keys() - {"values"}:
            raise unsupported(f"{', '.join(sorted(config.keys() - {'values'}))} of a {field} condition")
        return field, tuple(str(value) for value in go.array(config, "values"))

    # --- actions ------------------------------------------------------------------------------------------------------------------------

    def _action(self, name: str) -> Forward | Fixed:
        key = f"{PREFIX}/actions.{name}"
        if key not in self._annotations:
            if not self._tolerance.action:
                raise BuildError(f"missing actions.{name} configuration")
            return Fixed("503", "Backend action does not exist")
        raw = str(self._annotations[key])
        try:
            action = go.struct(go.decode(raw), "value of type ingress.Action")
            kind = go.text(action, "type") or ""
            if kind == "forward":
                return self._forward(action)
            if kind == "fixed-response":
                config = go.substruct(action, "fixedResponseConfig")
                if config is None:
                    raise BuildError("missing FixedResponseConfig")
                return Fixed(go.text(config, "statusCode") or "", go.text(config, "messageBody") or "")
        except go.DecodeError as error:
            raise cannot_decode(key, raw, error) from None
        raise unsupported("redirect actions") if kind == "redirect" else BuildError(f"unknown action type: {kind}")

    def _forward(self, action: Mapping[str, Any]) -> Forward | Fixed:
        config = go.substruct(action, "forwardConfig")
        external = go.text(action, "targetGroupARN") or go.text(action, "targetGroupName")
        if config is not None and external:
            raise BuildError("either ForwardConfig or TargetGroupARN/TargetGroupName can be specified")
        if external:
            raise unsupported("target groups by ARN or name")
        if config is None:
            raise BuildError("missing ForwardConfig or TargetGroupARN/TargetGroupName")
        tuples = [_tuple(go.struct(entry, "value of type ingress.TargetGroupTuple")) for entry in go.array(config, "targetGroups")]
        stickiness = _stickiness(config)
        if len(tuples) > 1 and any(weight is None for _, _, weight in tuples):
            raise BuildError("invalid ForwardConfig: weight must be set when route to multiple target groups")
        targets = []
        for service, port, weight in tuples:
            target = self._target(service, port)
            if target is None and len(tuples) == 1:
                return self._missing(service)
            if target is None:
                raise BuildError(f'Service "{service}" not found')
            targets.append((target, weight))
        return Forward(tuple(targets), stickiness)


def _tuple(group: Mapping[str, Any]) -> tuple[str, int | str, int | None]:
    """Service, port and weight of one entry of a forward action."""
    name, port, weight = go.text(group, "serviceName"), go.integer_or_text(group, "servicePort"), go.integer(group, "weight", 32)
    external = go.text(group, "targetGroupARN") or go.text(group, "targetGroupName")
    if name and external:
        raise BuildError(
            "invalid ForwardConfig: invalid TargetGroupTuple: either serviceName or targetGroupARN/targetGroupName can be specified"
        )
    if external:
        raise unsupported("target groups by ARN or name")
    if not name:
        raise BuildError("invalid ForwardConfig: invalid TargetGroupTuple: missing serviceName or targetGroupARN/targetGroupName")
    if port is None or port == "":
        raise BuildError("invalid ForwardConfig: invalid TargetGroupTuple: missing servicePort")
    return name, int(port) if isinstance(port, str) and _NUMBER.fullmatch(port) else port, weight


def _stickiness(config: Mapping[str, Any]) -> tuple[bool, int] | None:
    sticky = go.substruct(config, "targetGroupStickinessConfig")
    return None if sticky is None else (bool(go.boolean(sticky, "enabled")), go.integer(sticky, "durationSeconds", 64) or 0)


def _matching(host: str, path: Mapping[str, Any], extra: Sequence[Condition]) -> tuple[Condition, ...]:
    found: list[Condition] = [("host-header", (host,))] if host else []
    patterns = _patterns(str(path.get("path") or ""), str(path.get("pathType")))
    if patterns:
        found.append(("path-pattern", patterns))
    for name, values in extra:
        known = next((index for index, (other, _) in enumerate(found) if other == name and name in _MERGED), None)
        if known is None:
            found.append((name, values))
        else:
            found[known] = (name, found[known][1] + values)
    return tuple(found) or (("path-pattern", ("/*",)),)


def _patterns(path: str, kind: str) -> tuple[str, ...]:
    if kind in _KINDS and re.search(r"[*?]", path):
        raise BuildError(f"{kind.lower()} path shouldn't contain wildcards: {path}")
    if kind == "Prefix":
        base = path.removesuffix("/")
        return (base, f"{base}/*") if base else ("/*",)
    return (path,) if path else ()


def service_port(service: Mapping[str, Any], port: int | str) -> Mapping[str, Any]:
    """The entry of a Service's ports with this number or name.

    Raises:
        BuildError: There is no such port.
    """
    for entry in service.get("spec", {}).get("ports") or []:
        if port == (entry.get("port") if isinstance(port, int) else entry.get("name")):
            found: Mapping[str, Any] = entry
            return found
    metadata = service["metadata"]
    raise BuildError(f"unable to find port {port} on service {metadata['namespace']}/{metadata['name']}")


def fingerprint(obj: Mapping[str, Any]) -> str:
    """The parts of an object whose change starts a reconcile. The status is the controller's own and does not count."""
    metadata = obj["metadata"]
    return json.dumps([metadata.get("annotations"), metadata.get("deletionTimestamp"), obj.get("spec")], sort_keys=True)
