"""The backends of a rule: reads them as targets, and writes targets as backends.

An action's text is the rule's list of backends as JSON, without what Kubernetes fills in: the same backends always give the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from controller.foreign import shown
from controller.objects import Object, entries, integer, items, mapping, text
from controller.policy.model import Application, Backend, Target
from controller.policy.routing import action_problem

_FILLED_IN: Final[Mapping[str, object]] = {"group": "", "kind": "Service", "weight": 1}
"""The defaults of a backend's fields in the definitions of the Gateway API."""
_MOST_BACKENDS: Final = 16  # of a rule, as the definitions say
_MOST: Final = 2**31


def rule_index(obj: Object, part: str) -> int | None:
    """The place of a rule in ``spec.rules``; None where there is none.

    Args:
        obj: The route.
        part: The rule's name, or its index where no rule has that name.
    """
    rules = items(obj, "spec", "rules")
    named = next((place for place, rule in enumerate(rules) if text(rule, "name") == part), None)
    if named is not None:
        return named
    return int(part) if part.isascii() and part.isdigit() and int(part[:9]) < len(rules) else None


def rules_of(obj: Object) -> tuple[str, ...]:
    """The rules as an application file may name them: by name, else by index."""
    return tuple(text(rule, "name") or str(place) for place, rule in enumerate(items(obj, "spec", "rules")))


def action_of(rule: Mapping[str, Any], home: str, namespace: str) -> str:
    """The action of a rule; "" where it has no backend.

    Args:
        rule: An entry of ``spec.rules``.
        home: The namespace of the route: that of a backend that names none.
        namespace: Of the application's Services, which the action does not name.
    """
    filled_in = {**_FILLED_IN, "namespace": namespace}
    backends = [
        {name: value for name, value in ({"namespace": home} | one).items() if value != filled_in.get(name)}
        for one in entries(rule, "backendRefs")[: _MOST_BACKENDS + 1]
    ]
    return json.dumps(backends, separators=(",", ":"), sort_keys=True) if backends else ""


def read(action: str) -> tuple[tuple[Target, ...], int, str]:
    """See `controller.routing.port.RoutingPort.read`. A rule's stickiness is no part of its backends."""
    try:
        listed = json.loads(action)
    except (ValueError, RecursionError):
        return (), 0, "the backends are not JSON"
    found = []
    for backend in listed if isinstance(listed, list) else [None]:
        target, problem = _target(backend)
        if target is None:
            return (), 0, problem
        found.append(target)
    return tuple(found), 0, ""


def backends_of(targets: Iterable[Target], application: Application) -> Sequence[Mapping[str, Any]]:
    """Targets as a rule's backends.

    Args:
        targets: The targets.
        application: Whose they are.

    Raises:
        ValueError: AWS or the load-balancer controller would refuse them, or a port is no number.
    """
    written = list(targets)
    problem = action_problem(written) or next((f"port of {one.service}: a route takes numbers" for one in written if not _number(one)), "")
    if problem:
        raise ValueError(problem)
    return [reference(Backend(one.service, one.port), application, one.weight) for one in written]


def reference(backend: Backend, application: Application, weight: int = 1) -> Mapping[str, Any]:
    """One of an application's Services as a backend. It names a namespace where the route is in another one."""
    elsewhere = application.routing_namespace != application.namespace
    named = {"name": backend.service, **({"namespace": application.namespace} if elsewhere else {})}
    return {"group": "", "kind": "Service", **named, "port": backend.port, "weight": weight}


def services_of(rule: Mapping[str, Any], home: str, namespace: str) -> frozenset[tuple[str, int]]:
    """The Services of a namespace, with their ports, that a rule keeps a target group for, whatever their weights.

    Args:
        rule: An entry of ``spec.rules``.
        home: The namespace of the route.
        namespace: Of the Services.
    """
    return frozenset(
        (text(one, "name"), port)
        for one in entries(rule, "backendRefs")
        if (port := integer(one, "port")) is not None
        and one.get("kind") in {None, "Service"}
        and (text(one, "namespace") or home) == namespace
    )


def _number(target: Target) -> bool:
    return isinstance(target.port, int)


def _target(backend: object) -> tuple[Target | None, str]:
    """One backend without what is filled in."""
    name, port = text(backend, "name"), integer(backend, "port")
    strange = sorted(mapping(backend).keys() - {"name", "port", "weight"})
    if not name or port is None or not 0 < port < _MOST:
        return None, f"backend {shown(name) or '?'} has no name or no port that can exist"
    if strange:
        said = shown(json.dumps(mapping(backend).get(strange[0])))
        return None, f"backend {shown(name)} has {strange[0]} {said}, which a write by this controller would remove"
    weight = mapping(backend).get("weight", 1)
    if not isinstance(weight, int) or isinstance(weight, bool) or not 0 <= weight < _MOST:
        return None, f"backend {shown(name)} has weight {shown(json.dumps(weight))}, which is no weight"
    return Target(name, port, weight), ""
