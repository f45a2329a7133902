"""What is read of a routing object, the same for every kind: which of its parts forward, which Services it names, their settings."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from controller.clients.kube import SERVICES
from controller.objects import Object, entries, items, mapping, name_of, namespace_of, text
from controller.policy.model import Target
from controller.policy.text import listing
from controller.routing.annotations import MARKER
from controller.routing.gateway import read as gateway
from controller.routing.gateway import settings
from controller.routing.gateway.backends import action_of, read, rules_of, services_of
from controller.routing.gateway.standby import HEADER
from controller.routing.ingress import read as ingress
from controller.routing.kinds import DEFAULT
from controller.routing.names import ATTRIBUTES, UNREACHABLE, USE_ANNOTATION
from controller.routing.port import Beside


@dataclass(frozen=True, slots=True)
class Part:
    """What an application file may name of a routing object: an action of an Ingress, or a rule of a route.

    Attributes:
        name: Its name; of a rule without a name its index.
        live: Whether clients can reach it.
        targets: Its targets; () where it cannot be read.
        stickiness_s: Its stickiness, seconds; 0 for none.
        problem: Why it cannot be read, "" if it can.
        writers: The field managers that own it, the last writer last.
    """

    name: str
    live: bool
    targets: tuple[Target, ...] = ()
    stickiness_s: int = 0
    problem: str = ""
    writers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Routed:
    """A routing object.

    Attributes:
        kind: As `controller.routing.kinds` lists it.
        namespace: Its namespace.
        services_in: The namespace of the Services that it is read for.
        name: Its name.
        marker: Its mode marker, "" for none.
        parts: Its parts, in order, without standby rules.
        ports: The Services that any of its rules names, each with its port as written and with the rule, in words.
        attributes: The attributes of each Service's target group, as `controller.routing.attributes` reads them.
        notes: What a person should know of it.
    """

    kind: str
    namespace: str
    services_in: str
    name: str
    marker: str
    parts: tuple[Part, ...]
    ports: Mapping[str, tuple[int | str, str]]
    attributes: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def is_route(self) -> bool:
        """Whether it is a route of the Gateway API: its parts are rules, and state no stickiness."""
        return self.kind != DEFAULT.resource.kind

    @property
    def part(self) -> str:
        """What a part is called; also the option that names it."""
        return "rule" if self.is_route else "action"

    def fields(self, part: str) -> dict[str, Any]:
        """The fields of ``spec`` that name it and one of its parts."""
        if self.is_route:
            elsewhere = {"namespace": self.namespace} if self.namespace != self.services_in else {}
            return {"route": {"kind": self.kind, "name": self.name, **elsewhere, "rule": part}}
        return {"ingress": self.name, "action": part}

    @property
    def option(self) -> str:
        """The option that names the object."""
        return option_of(self.kind)


def option_of(kind: str) -> str:
    """The option that names an object of a kind."""
    return "--ingress" if kind == DEFAULT.resource.kind else "--route"


def service_namespaces(obj: Object, part: str | None = None) -> tuple[str, ...]:
    """The namespaces of the Services that a route's rules name, each once; of an Ingress none.

    Args:
        obj: The routing object.
        part: The rule that counts; None: all.
    """
    rules = zip(rules_of(obj), items(obj, "spec", "rules"), strict=True)
    named = [one for name, rule in rules if part in {None, name} for one in entries(mapping(rule), "backendRefs")]
    services = [one for one in named if one.get("kind") in {None, SERVICES.kind}]
    return tuple(dict.fromkeys(text(one, "namespace") or namespace_of(obj) for one in services))


def read_routed(kind: str, obj: Object, services: Mapping[str, Object], beside: Beside, services_in: str = "") -> Routed:
    """Reads a routing object.

    Args:
        kind: Its kind.
        obj: The object.
        services: The Services that its rules may name, by name.
        beside: Where the settings of a route are found.
        services_in: The namespace of the Services; "" for the first that its rules name.
    """
    notes: tuple[str, ...] = ()
    home = namespace_of(obj)
    if kind == DEFAULT.resource.kind:
        parts, named = _actions(obj), _named_by_ingress(obj)
        attributes = {name: _annotated(one, obj) for name, one in services.items()}
    else:
        services_in = services_in or next(iter(service_namespaces(obj)), "")
        there = services_in or home
        parts, named, notes = _rules(obj, there, beside), _named_by_route(obj, there), tuple(_unreachable(kind, obj))
        attributes = {name: settings.attributes(settings.target_group(name, there, obj, beside)) for name in services}
    ports: dict[str, tuple[int | str, str]] = {}
    for service, port, where in named:
        ports.setdefault(service, (port, where))
    marker = text(obj, "metadata", "annotations", MARKER)
    return Routed(kind, home, services_in or home, name_of(obj), marker, tuple(parts), ports, attributes, notes)


def forwards(routed: Routed) -> bool:
    """Whether it can be that of an application: an action that clients reach, or a rule of several Services or in capacity mode."""
    return any(one.live and (not routed.is_route or len(one.targets) > 1 or routed.marker) for one in routed.parts)


# --- an Ingress ---------------------------------------------------------------------------------------------------------------------------


def _actions(obj: Object) -> Iterator[Part]:
    """The actions of its rules in order, then those that no rule has."""
    live = [one.service for one in ingress.routes(obj) if one.port == USE_ANNOTATION and not one.host.endswith(UNREACHABLE)]
    for name in dict.fromkeys((*live, *ingress.actions(obj))):
        yield Part(name, name in live, *ingress.read_action(obj, name), tuple(ingress.writers(obj, name)))


def _named_by_ingress(obj: Object) -> Iterator[tuple[str, int | str, str]]:
    annotations = mapping(obj, "metadata", "annotations")
    for route in ingress.routes(obj):
        for service, port in ingress.forwarded(route, annotations):
            yield service, port, f"rule {route.rule + 1} of the Ingress"


def _annotated(service: Object, obj: Object) -> str:
    annotations = [mapping(one, "metadata", "annotations") for one in (service, obj)]
    return ingress.target_group_setting(ATTRIBUTES, *annotations)


# --- a route ------------------------------------------------------------------------------------------------------------------------------

_ANY: Final = [{"path": {"type": "PathPrefix", "value": "/"}}]


def _rules(obj: Object, services_in: str, beside: Beside) -> Iterator[Part]:
    """Its rules without standby rules. Of several rules for the same requests, the first gets them all."""
    namespace, earlier = namespace_of(obj), set[str]()
    owners = tuple(gateway.writers(obj))
    for name, rule in zip(rules_of(obj), map(mapping, items(obj, "spec", "rules")), strict=True):
        if _is_standby(rule):
            continue
        conditions = entries(gateway.configuration(rule, namespace, beside), "spec", "conditions")
        key = json.dumps([entries(rule, "matches") or _ANY, conditions], sort_keys=True)
        action = action_of(rule, namespace, services_in)
        targets, _, problem = read(action) if action else ((), 0, "the rule has no backends")
        yield Part(name, key not in earlier, targets, gateway.stickiness(rule, namespace, beside), problem, owners)
        earlier.add(key)


def _is_standby(rule: Mapping[str, Any]) -> bool:
    matches = entries(rule, "matches")
    return bool(matches) and all(any(text(one, "name").lower() == HEADER for one in entries(match, "headers")) for match in matches)


def _named_by_route(obj: Object, services_in: str) -> Iterator[tuple[str, int | str, str]]:
    for name, rule in zip(rules_of(obj), items(obj, "spec", "rules"), strict=True):
        services = services_of(mapping(rule), namespace_of(obj), services_in)
        yield from ((service, port, f"rule {name}") for service, port in sorted(services))


def _unreachable(kind: str, obj: Object) -> Iterator[str]:
    """What is left of the standby rules of an Ingress: all rules of a route have the same hosts."""
    hosts = [one for one in items(obj, "spec", "hostnames") if isinstance(one, str)]
    idle = [one for one in hosts if one.lower().endswith(UNREACHABLE)]
    if not idle:
        return
    if len(idle) == len(hosts):
        yield f"NO CLIENT REACHES THE {kind}: its hostnames are {listing(idle)} alone, of standby rules of an Ingress. Remove them"
    else:
        yield f"Its hostnames {listing(idle)} are of standby rules of an Ingress, and each makes a listener rule of every rule: remove them"
    yield "Remove the rules of those hosts too. `failoverctl doctor` prints the two standby rules that take their place"
