"""Reads an Ingress: routing action, standby rules, last writer, and where the load balancer must show the action."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from controller.foreign import shown
from controller.objects import Object, entries, field_owners, integer, items, mapping, text
from controller.policy.model import Application, RoutingObservation, Target
from controller.policy.plan import FIELD_MANAGER
from controller.policy.text import listing
from controller.routing.attributes import keeps_clients
from controller.routing.conditions import Condition, conditions_of, json_of, merged, path_patterns
from controller.routing.ingress.action import parse_action
from controller.routing.marks import marked
from controller.routing.names import ATTRIBUTES, UNREACHABLE, USE_ANNOTATION, action_key, setting
from controller.routing.port import ALONE, Asked, Beside, LiveRule


@dataclass(frozen=True, slots=True)
class Route:
    """One path of a rule of an Ingress.

    Attributes:
        rule: Index of the rule in ``spec.rules``.
        host: The host; "" for any.
        path: As written.
        path_type: ``Exact``, ``Prefix`` or ``ImplementationSpecific``.
        service: Name of the backend's Service, or of the action.
        port: The port as written; `USE_ANNOTATION` if the backend is an action, "" if there is none.
    """

    rule: int
    host: str
    path: str
    path_type: str
    service: str
    port: int | str


def observe(application: Application, obj: Object | None, _beside: Beside = ALONE) -> RoutingObservation:
    """Reads an Ingress. Fields that come from other objects keep their defaults.

    Args:
        application: The application of the Ingress.
        obj: The Ingress; None if it does not exist.
    """
    if obj is None:
        return RoutingObservation(exists=False)
    annotations = mapping(obj, "metadata", "annotations")
    action = text(annotations, action_key(application.route.part))
    targets, stickiness, problem = parse_action(action) if action else ((), 0, "the action annotation is missing")
    managers = writers(obj, application.route.part)
    used = _used(obj)
    return replace(
        marked(obj),
        action=action,
        targets=targets,
        stickiness_s=stickiness,
        problem=problem,
        unused=_unused(application.route.part, used),
        kept=tuple(_kept(obj, annotations, [name for name in used if name != application.route.part])),
        writer=shown(managers[-1]) if managers else "",
        foreign=bool(managers) and FIELD_MANAGER not in managers,
        standby=tuple(sorted(_standby(application, obj, annotations))),
        sticky=application.services if keeps_clients(text(annotations, ATTRIBUTES)) else (),
    )


def actions(obj: Object) -> list[str]:
    """The names of the actions that the annotations of an Ingress hold, in order."""
    keys, prefix = sorted(mapping(obj, "metadata", "annotations")), action_key("")
    return [key.removeprefix(prefix) for key in keys if key.startswith(prefix)]


def read_action(obj: Object, name: str) -> tuple[tuple[Target, ...], int, str]:
    """Reads one of an Ingress's actions, as `parse_action` does."""
    key = action_key(name)
    value = mapping(obj, "metadata", "annotations").get(key)
    return parse_action(value) if isinstance(value, str) else ((), 0, f"annotation {key} is missing")


def writers(obj: Object, action: str) -> list[str]:
    """The field managers that own an action, the last writer last."""
    return field_owners(obj, "metadata", "annotations", action_key(action))


def asked(application: Application, obj: Object, _beside: Beside = ALONE) -> Asked:
    """Where the load balancer must show the action, see `RoutingPort.asked`."""
    space, name = application.namespace, application.route.name
    return Asked(
        hostnames=hostnames(obj),
        rules=live_rules(obj, application.route.part),
        stacks=((space, name),),
        reported=(("Ingress", space, name),),
        ports=listener_ports(obj),
        group=group_of(obj),
    )


def hostnames(obj: Object) -> tuple[str, ...]:
    """The load balancer's DNS names in the status."""
    return tuple(name for entry in items(obj, "status", "loadBalancer", "ingress") if (name := text(entry, "hostname")))


def hosts(obj: Object, _beside: Beside = ALONE) -> tuple[str, ...]:
    """See `RoutingPort.hosts`."""
    return tuple(dict.fromkeys(text(rule, "host") for rule in entries(obj, "spec", "rules")))


def target_group_setting(key: str, service: Mapping[str, Any], ingress: Mapping[str, Any]) -> str:
    """A setting of a target group, "" if it is not stated: the Service's annotation replaces the Ingress's, also where it is empty.

    Args:
        key: The annotation.
        service: The Service's annotations.
        ingress: The Ingress's.
    """
    return text(service if key in service else ingress, key)


def routes(obj: Object) -> Iterator[Route]:
    """The paths of all rules in order."""
    for index, rule in enumerate(items(obj, "spec", "rules")):
        for path in items(rule, "http", "paths"):
            service = mapping(path, "backend", "service")
            port = text(service, "port", "name") or integer(service, "port", "number") or ""
            yield Route(index, text(rule, "host"), text(path, "path"), text(path, "pathType"), text(service, "name"), port)


def forwarded(route: Route, annotations: Mapping[str, Any]) -> Iterator[tuple[str, int | str]]:
    """The Services that a route forwards to, each with its port as written; none if its action is unreadable."""
    if route.port != USE_ANNOTATION:
        yield route.service, route.port
        return
    value = annotations.get(action_key(route.service))
    for target in parse_action(value)[0] if isinstance(value, str) else ():
        yield target.service, target.port


def _used(obj: Object) -> tuple[str, ...]:
    """The actions that the rules of an Ingress and its default backend use."""
    default = mapping(obj, "spec", "defaultBackend", "service")
    named = [route.service for route in routes(obj) if route.port == USE_ANNOTATION]
    named += [text(default, "name")] if text(default, "port", "name") == USE_ANNOTATION else []
    return tuple(dict.fromkeys(named))


def _unused(action: str, used: Collection[str]) -> str:
    """See `RoutingObservation.unused`. Where no rule uses any action, nothing says that another one was meant."""
    if not used or action in used:
        return ""
    named = listing(shown(one) for one in used)
    fix = "correct spec.action of the application file, or the backend of the rule"
    return f"no rule of the Ingress uses the action {action}, its rules use {named}: {fix}"


def _kept(obj: Object, annotations: Mapping[str, Any], used: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The annotations of those actions that we wrote: the application file named another one then."""
    for name in used:
        value = text(annotations, action_key(name))
        if FIELD_MANAGER in writers(obj, name) and value.isprintable() and parse_action(value)[0]:
            yield action_key(name), value


def _standby(application: Application, obj: Object, annotations: Mapping[str, Any]) -> Iterator[str]:
    """Services that other rules of this Ingress forward to with the same port as written: another form makes another target group."""
    ports = application.ports
    for route in routes(obj):
        if route.service != application.route.part:
            yield from (service for service, port in forwarded(route, annotations) if ports.get(service) == port)


def live_rules(ingress: Object, action: str) -> tuple[LiveRule, ...]:
    """The rules that the load-balancer controller makes for one action of an Ingress.

    Paths become patterns as there: ``Prefix /a`` is ``/a`` and ``/a/*``, ``Prefix /`` is ``/*``, other types stay as written. Hosts under
    ``.invalid`` are standby rules, which no request can reach.

    Args:
        ingress: The Ingress as a plain object.
        action: The action's name, which the Ingress has in place of a Service's.

    Returns:
        One for each host and path that uses the action, without duplicates.
    """
    annotations = mapping(ingress, "metadata", "annotations")
    extra = conditions_of(json_of(annotations.get(setting(f"conditions.{action}"))))
    regex = text(annotations, setting("use-regex-path-match")).lower() == "true"
    found: dict[frozenset[Condition], LiveRule] = {}
    for route in routes(ingress):
        host = route.host.lower()
        if (route.service, route.port) != (action, USE_ANNOTATION) or host.endswith(UNREACHABLE):
            continue
        patterns = path_patterns(route.path, route.path_type, regex=regex)
        conditions = merged([*extra, ("host-header", frozenset({host} if host else ())), ("path-pattern", patterns)])
        conditions = conditions or frozenset({("path-pattern", frozenset({"/*"}))})
        found[conditions] = LiveRule(conditions, " ".join(filter(None, (host, *sorted(patterns)))) or "/*")
    return tuple(found.values())


def listener_ports(ingress: Object) -> frozenset[int]:
    """The listeners that must have the rules of an Ingress, as far as the Ingress itself says.

    Returns:
        The ports of ``listen-ports``, without the plain HTTP ones if ``ssl-redirect`` turns those into mere redirects. Empty if the
        annotation is absent or unreadable: then the IngressClass or the certificates decide.
    """
    annotations = mapping(ingress, "metadata", "annotations")
    redirect = bool(text(annotations, setting("ssl-redirect")))
    ports: set[int] = set()
    for entry in entries(json_of(annotations.get(setting("listen-ports")))):
        for protocol, port in entry.items():
            if (number := integer(port)) is not None and (protocol == "HTTPS" or (protocol == "HTTP" and not redirect)):
                ports.add(number)
    return frozenset(ports)


def group_of(ingress: Object) -> str:
    """The explicit IngressGroup that an Ingress names itself; "" where it names none, or its IngressClass does."""
    return text(ingress, "metadata", "annotations", setting("group.name"))
