"""Standby rules: further rules of the route, for a header that nobody sends.

A route has one target group for each Service that any of its rules names, whatever the weight there. One rule with the capacity Service and
one with all units keep them registered in both modes, so that a mode change is one change of the live rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from controller.objects import Object, entries, items, text
from controller.policy.model import Application, Backend, RoutingObservation
from controller.policy.routing import lacking
from controller.routing.gateway.backends import reference
from controller.routing.port import Remedy

HEADER: Final = "x-failoverctl-standby"
"""The header that the standby rules match. Who sends it gets an answer of the application, as everybody else."""

Rule = Mapping[str, Any]
"""One entry of a route's ``spec.rules``."""


def standby_rule(application: Application, kept: str, backends: Iterable[Backend], *, paths: bool) -> Rule:
    """A standby rule.

    Args:
        application: Whose it is.
        kept: What it keeps registered, ``capacity`` or ``units``: its name ends so, and the header's value is that.
        backends: The Services.
        paths: Whether matches have paths, as those of an HTTPRoute; a method of a GRPCRoute is left out.
    """
    header = {"type": "Exact", "name": HEADER, "value": kept}
    match = {**({"path": {"type": "PathPrefix", "value": "/"}} if paths else {}), "headers": [header]}
    return {"name": f"standby-{kept}", "matches": [match], "backendRefs": [reference(one, application) for one in backends]}


def remedy(
    application: Application, routing: RoutingObservation, obj: Object, exists: Mapping[Backend, bool | None], *, paths: bool
) -> Remedy:
    """Which standby rules to add, see `controller.routing.port.RoutingPort.remedy`. A port that is no number cannot be in a route."""
    missing, rules = lacking(application, routing), items(obj, "spec", "rules")
    addable = [backend for backend in missing if exists.get(backend) and isinstance(backend.port, int)]
    wanted = list(_wanted(application, rules, addable, paths=paths))
    made = [*rules]
    for place, rule in wanted:
        made[place : place + 1] = [rule]
    return Remedy(
        rules=tuple(made),
        patch=tuple(operation for place, rule in wanted for operation in _operations(place, rule, len(rules))),
        absent=tuple(backend for backend in missing if exists.get(backend) is False),
        unknown=tuple(backend for backend in missing if exists.get(backend) is None),
    )


def _wanted(application: Application, rules: Sequence[Rule], addable: Sequence[Backend], *, paths: bool) -> Iterator[tuple[int, Rule]]:
    """The standby rules that are not as they should be, each with its place; a new one comes last."""
    end = len(rules)
    for kept, backends in (
        ("capacity", [one for one in addable if one == application.capacity]),
        ("units", [one for one in addable if one != application.capacity]),
    ):
        if not backends:
            continue
        place = next((index for index, rule in enumerate(rules) if text(rule, "name") == f"standby-{kept}"), end)
        again = {one.service for one in backends}
        known = [one for one in entries(rules[place], "backendRefs") if text(one, "name") not in again] if place != end else []
        rule = standby_rule(application, kept, backends, paths=paths)
        yield place, {**rule, "backendRefs": [*known, *rule["backendRefs"]]}
        end += place == end


def _operations(place: int, rule: Rule, count: int) -> Iterator[dict[str, Any]]:
    """JSON patch operations: a new rule is appended, and a rule is replaced only where it still is."""
    if place >= count:
        yield {"op": "add", "path": "/spec/rules/-", "value": rule}
        return
    yield {"op": "test", "path": f"/spec/rules/{place}/name", "value": rule["name"]}
    yield {"op": "replace", "path": f"/spec/rules/{place}", "value": rule}
