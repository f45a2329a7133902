"""Reads an Ingress: routing action, mode marker, standby rules, overrides, last writer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from controller.clock import parse_rfc3339
from controller.foreign import shown
from controller.policy.annotations import (
    MARKER,
    PAUSE_REASON,
    PAUSED_BY,
    PAUSED_UNTIL,
    PIN_REASON,
    PINNED_BY,
    PINNED_MODE,
    PINNED_UNTIL,
)
from controller.policy.model import Application, Mode, Override, RoutingObservation
from controller.policy.plan import FIELD_MANAGER
from controller.policy.routing import ATTRIBUTES, USE_ANNOTATION, action_key, keeps_clients, parse_action
from controller.signals.objects import Object, field_owners, integer, items, mapping, text

_MAX_REASON: Final = 500  # characters: an operator's sentence or two
FOREVER: Final = "forever"


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


def observe_ingress(application: Application, obj: Object | None) -> RoutingObservation:
    """Reads an Ingress. Fields that come from other objects keep their defaults.

    Args:
        application: The application of the Ingress.
        obj: The Ingress; None if it does not exist.
    """
    if obj is None:
        return RoutingObservation(exists=False)
    annotations = mapping(obj, "metadata", "annotations")
    raw = annotations.get(action_key(application.action))
    action = raw if isinstance(raw, str) else ""
    targets, stickiness, problem = parse_action(action) if action else ((), 0, "the action annotation is missing")
    managers = field_owners(obj, "metadata", "annotations", action_key(application.action))
    marker, markers = annotations.get(MARKER), field_owners(obj, "metadata", "annotations", MARKER)
    return RoutingObservation(
        exists=True,
        resource_version=text(obj, "metadata", "resourceVersion"),
        uid=text(obj, "metadata", "uid"),
        marker=shown(marker) if isinstance(marker, str) else "",
        action=action,
        targets=targets,
        stickiness_s=stickiness,
        problem=problem,
        instead=() if application.action in (used := _used(obj)) else tuple(map(shown, used)),
        kept=tuple(_kept(obj, annotations, [name for name in used if name != application.action])),
        writer=shown(managers[-1]) if managers else "",
        foreign=bool(managers) and FIELD_MANAGER not in managers,
        marked_by=shown(markers[-1]) if markers and FIELD_MANAGER not in markers else "",
        override=_override(annotations),
        standby=tuple(sorted(_standby(application, obj, annotations))),
        sticky=application.services if keeps_clients(_string(annotations, ATTRIBUTES)) else (),
    )


def hostnames(obj: Object) -> tuple[str, ...]:
    """The load balancer's DNS names in the status."""
    return tuple(name for entry in items(obj, "status", "loadBalancer", "ingress") if (name := text(entry, "hostname")))


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


def _kept(obj: Object, annotations: Mapping[str, Any], used: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The annotations of those actions that we wrote: the application file named another one then."""
    for key in map(action_key, used):
        if FIELD_MANAGER in field_owners(obj, "metadata", "annotations", key):
            value = _string(annotations, key)
            if value.isprintable() and parse_action(value)[0]:
                yield key, value


def _standby(application: Application, obj: Object, annotations: Mapping[str, Any]) -> Iterator[str]:
    """Services that other rules of this Ingress forward to with the same port as written: another form makes another target group."""
    ports = application.ports
    for route in routes(obj):
        if route.service != application.action:
            yield from (service for service, port in forwarded(route, annotations) if ports.get(service) == port)


def _override(annotations: Mapping[str, Any]) -> Override:
    paused, pinned, until = (shown(_string(annotations, key)) for key in (PAUSED_UNTIL, PINNED_MODE, PINNED_UNTIL))
    problems = []
    paused_until = _moment(paused)
    if paused and paused_until is None:
        problems.append(f"{PAUSED_UNTIL}: found {paused!r}, allowed: a time such as 2026-01-31T18:00:00Z, or {FOREVER}")
    mode = {str(mode): mode for mode in Mode}.get(pinned)
    if pinned and mode is None:
        problems.append(f"{PINNED_MODE}: found {pinned!r}, allowed: {', '.join(Mode)}")
    pinned_until = _moment(until)
    if until and pinned_until is None:
        problems.append(f"{PINNED_UNTIL}: found {until!r}, allowed: a time such as 2026-01-31T18:00:00Z, or {FOREVER}")
    return Override(
        paused_until=paused_until,
        paused_why=shown(_string(annotations, PAUSE_REASON), _MAX_REASON),
        paused_by=shown(_string(annotations, PAUSED_BY)),
        pinned_mode=mode,
        pinned_until=pinned_until,
        pinned_why=shown(_string(annotations, PIN_REASON), _MAX_REASON),
        pinned_by=shown(_string(annotations, PINNED_BY)),
        problem="; ".join(problems),
    )


def _string(annotations: Mapping[str, Any], key: str) -> str:
    value = annotations.get(key)
    return value if isinstance(value, str) else ""


def _moment(value: str) -> float | None:
    return math.inf if value == FOREVER else parse_rfc3339(value)
