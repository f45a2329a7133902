"""Standby rules: further rules of the Ingress that no request reaches.

They keep the target group of every Service registered and health-checked, so that a mode change is one change of the live rule.
Each Service has one rule, with a host under ``.invalid``, which no DNS name can have.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from controller.objects import Object, items
from controller.policy.model import Application, Backend, RoutingObservation
from controller.policy.routing import lacking
from controller.routing.names import UNREACHABLE, USE_ANNOTATION
from controller.routing.port import Remedy

Rule = Mapping[str, Any]
"""One entry of an Ingress's ``spec.rules``."""

HOST_SUFFIX: Final = f".standby{UNREACHABLE}"


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
        missing: See `controller.policy.routing.standby.lacking`.
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


def remedy(application: Application, routing: RoutingObservation, obj: Object, exists: Mapping[Backend, bool | None]) -> Remedy:
    """Which standby rules to add.

    A rule for a Service or port that does not exist is never added: the load-balancer controller then cannot build the rules of any
    Ingress of the group, so no mode change reaches the traffic (docs/research/alb.md).

    Args:
        application: The application.
        routing: Its Ingress.
        obj: The Ingress as a plain object.
        exists: Whether each backend exists, see `controller.policy.routing.standby.existence`; None where that is not known.
    """
    missing, rules = lacking(application, routing), items(obj, "spec", "rules")
    addable = [backend for backend in missing if exists.get(backend)]
    return Remedy(
        rules=tuple(completed(application.route.part, rules, addable)),
        patch=tuple(standby_patch(application.route.part, rules, addable)) if addable else (),
        absent=tuple(backend for backend in missing if exists.get(backend) is False),
        unknown=tuple(backend for backend in missing if exists.get(backend) is None),
    )


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
