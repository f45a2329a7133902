"""Standby rules: further rules of the Ingress that no request reaches.

They keep the target group of every Service registered and health-checked, so that a mode change is one change of the live rule.
Each Service has one rule, with a host under ``.invalid``, which no DNS name can have.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from controller.policy.model import Application, Backend, RoutingObservation, RoutingStyle, Snapshot
from controller.policy.routing import USE_ANNOTATION

Rule = Mapping[str, Any]
"""One entry of an Ingress's ``spec.rules``."""

HOST_SUFFIX: Final = ".standby.invalid"


def needed(application: Application) -> tuple[Backend, ...]:
    """The Services that receive traffic in some mode. Each must be registered with the load balancer in every mode."""
    units = tuple(unit.backend for unit in application.units)
    return units if application.routing_style is RoutingStyle.IN_PLACE else (application.capacity, *units)


def lacking(application: Application, routing: RoutingObservation) -> tuple[Backend, ...]:
    """The Services that a mode change would leave without a registered target group.

    Args:
        application: Its routing style says what is needed.
        routing: The Ingress. With the in-place style the action itself keeps the units registered, because it always names all of them.
            With the single-service style a mode change drops what the action names now.
    """
    in_place = application.routing_style is RoutingStyle.IN_PLACE
    named = {Backend(target.service, target.port) for target in routing.targets} if in_place else set[Backend]()
    return tuple(backend for backend in needed(application) if backend.service not in routing.standby and backend not in named)


def live_rule(action: str) -> Rule:
    """The rule that sends every request to the action."""
    return _rule(action, {"name": USE_ANNOTATION})


def standby_rule(backend: Backend) -> Rule:
    """The standby rule of one Service, with its port literal: 80 and "http" are two target groups."""
    port = {"number": backend.port} if isinstance(backend.port, int) else {"name": backend.port}
    return {"host": f"{backend.service}{HOST_SUFFIX}", **_rule(backend.service, port)}


def _rule(service: str, port: Mapping[str, int | str]) -> Rule:
    return {"http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": {"service": {"name": service, "port": dict(port)}}}]}}


def completed(action: str, rules: Sequence[Rule], missing: Iterable[Backend]) -> list[Rule]:
    """The whole ``spec.rules`` with the standby rules that are missing.

    Args:
        action: The action's name, for an Ingress without any rule.
        rules: The present rules. Each stays as it is and in its place, except a standby rule of ours with another port literal: it is
            replaced.
        missing: See `lacking`.
    """
    made: list[Rule] = list(rules) or [live_rule(action)]
    for backend in missing:
        rule = standby_rule(backend)
        place = next((index for index, one in enumerate(made) if one.get("host") == rule["host"]), None)
        if place is None:
            made.append(rule)
        else:
            made[place] = rule
    return made


@dataclass(frozen=True, slots=True)
class Remedy:
    """What to do about missing standby rules.

    Attributes:
        rules: The whole ``spec.rules`` with the rules that may be added now.
        patch: The JSON patch that adds them; [] if there is none to add.
        absent: Backends whose rule must wait because there is no such Service with that port.
        unknown: Backends whose rule must wait because the Services cannot be read.
    """

    rules: tuple[Rule, ...] = ()
    patch: tuple[Mapping[str, Any], ...] = ()
    absent: tuple[Backend, ...] = ()
    unknown: tuple[Backend, ...] = ()


def remedy(application: Application, routing: RoutingObservation, rules: Sequence[Rule], exists: Mapping[Backend, bool | None]) -> Remedy:
    """Which standby rules to add.

    A rule for a Service or port that does not exist is never added: the load-balancer controller then cannot build the rules of any
    Ingress of the group, so no mode change reaches the traffic (docs/research/alb.md).

    Args:
        application: The application.
        routing: Its Ingress.
        rules: The present ``spec.rules``.
        exists: Whether each backend exists, see `existence`; None where that is not known.
    """
    missing = lacking(application, routing)
    addable = [backend for backend in missing if exists.get(backend)]
    return Remedy(
        rules=tuple(completed(application.action, rules, addable)),
        patch=tuple(standby_patch(application.action, rules, addable)) if addable else (),
        absent=tuple(backend for backend in missing if exists.get(backend) is False),
        unknown=tuple(backend for backend in missing if exists.get(backend) is None),
    )


def existence(snapshot: Snapshot) -> dict[Backend, bool | None]:
    """Whether each Service of the application exists with its port; None where that is not known."""
    application = snapshot.application
    found = {unit.backend: snapshot.units[unit.name].service_exists for unit in application.units}
    found[application.capacity] = snapshot.routing.capacity_exists
    return found


def standby_patch(action: str, rules: Sequence[Rule], missing: Iterable[Backend]) -> list[dict[str, Any]]:
    """The JSON patch from `rules` to what `completed` returns.

    It appends: a list of rules cannot be merged, and writing all of them would undo what somebody else changed meanwhile.

    Returns:
        Its operations; [] where nothing is missing.
    """
    wanted = completed(action, rules, missing)
    if not rules:
        return [{"op": "add", "path": "/spec/rules", "value": wanted}]
    operations: list[dict[str, Any]] = []
    for index, rule in enumerate(wanted):
        if index >= len(rules):
            operations.append({"op": "add", "path": "/spec/rules/-", "value": rule})
        elif rule != rules[index]:
            operations.append({"op": "test", "path": f"/spec/rules/{index}/host", "value": rule["host"]})
            operations.append({"op": "replace", "path": f"/spec/rules/{index}", "value": rule})
    return operations
