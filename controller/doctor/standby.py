"""Checks of what keeps every Service registered with the load balancer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from controller.doctor.observe import Seen
from controller.doctor.report import Finding, Level, ok, problem, unknown, warning
from controller.policy import text as words
from controller.policy.model import RoutingStyle
from controller.policy.standby import lacking, needed
from controller.signals.ingress import forwarded, routes
from controller.signals.load_balancer.request import listener_ports, target_groups

MAX_RULES: Final = 100  # AWS: rules per Application Load Balancer, defaults not counted; adjustable
MAX_GROUPS: Final = 100  # AWS: target groups per Application Load Balancer; not adjustable
MAX_TARGETS: Final = 1000  # AWS: targets per Application Load Balancer, a pod counts once a target group; adjustable
_ADD: Final = "add the rules printed below"


def standby_rules(seen: Seen) -> Iterator[Finding]:
    """What the routing style needs keeps every receiving Service registered, with the port literal of the application file."""
    application = seen.application
    missing = lacking(application, seen.routing)
    literals = _other_literals(seen)
    for backend in missing:
        if backend.service in literals:
            found = words.listing(repr(port) for port in literals[backend.service])
            yield problem(
                f"the rule of {backend.service} says port {found}, the application file {backend.port!r}: two target groups", _ADD
            )
    silent = [backend.service for backend in missing if backend.service not in literals]
    if silent:
        level = Level.WARNING if application.policy.allow_unsafe_switch else Level.PROBLEM
        allowed = "; allowed by allowUnsafeSwitch" if application.policy.allow_unsafe_switch else ""
        yield Finding(level, f"nothing keeps {words.listing(silent)} registered when the mode changes{allowed}", _ADD)
    if not missing:
        style = application.routing_style
        by = "the action names all units" if style is RoutingStyle.IN_PLACE else f"standby rules for {len(needed(application))} Services"
        yield ok(f"{style}: {by}")


def _other_literals(seen: Seen) -> dict[str, list[int | str]]:
    """The ports that rules forward to, by Service, where they are not those of the application file."""
    ports = {backend.service: backend.port for backend in needed(seen.application)}
    found: dict[str, list[int | str]] = {}
    for route in routes(seen.ingress):
        if route.service != seen.application.action:
            for service, port in forwarded(route, seen.annotations):
                if service in ports and ports[service] != port:
                    found.setdefault(service, []).append(port)
    return found


def target_group_bindings(seen: Seen) -> Iterator[Finding]:
    """The load-balancer controller has made a target group of this Ingress for every Service that its rules name."""
    application = seen.application
    bound = target_groups(seen.bindings, application.namespace, application.ingress)
    named = {pair for route in routes(seen.ingress) for pair in forwarded(route, seen.annotations)}
    wanted = [backend for backend in needed(application) if (backend.service, backend.port) in named]
    missing = [f"{backend.service}:{backend.port}" for backend in wanted if (backend.service, backend.port) not in bound]
    if missing:
        yield problem(
            f"no TargetGroupBinding of this Ingress for {words.listing(missing)}",
            "see the events of the Ingress; a binding that somebody made by hand, or for another Ingress, does not count",
        )
    elif not wanted:
        yield unknown("no rule names a Service of the application")
    else:
        yield ok(f"{len(wanted)} target group(s)")


def quotas(seen: Seen) -> Iterator[Finding]:
    """Rules, target groups and targets stay below what AWS allows a load balancer."""
    application = seen.application
    listeners = max(1, len(listener_ports(seen.ingress)))
    rules = listeners * sum(len(list(routes(one))) for one in (seen.ingress, *seen.group))
    groups = {pair for route in routes(seen.ingress) for pair in forwarded(route, seen.annotations)}
    now = sum(seen.ready(service) for service in {service for service, _ in groups})
    most = sum(_most(seen, unit.name) for unit in application.units) * (1 if application.routing_style is RoutingStyle.IN_PLACE else 2)
    good = True
    for count, limit, what in ((rules, MAX_RULES, "rules"), (len(groups), MAX_GROUPS, "target groups")):
        if count > limit:
            good = False
            yield problem(f"{count} {what}, AWS allows {limit}", "move other rules to an Ingress with a load balancer of its own")
    if max(now, most) > MAX_TARGETS:
        good = False
        yield warning(
            f"{now} targets now, up to {most} at the maximum replicas; AWS allows {MAX_TARGETS} and counts a pod in each target group",
            "ask AWS for a higher quota of targets per Application Load Balancer, or lower maxReplicas",
        )
    if good:
        yield ok(f"{rules} rule(s), {len(groups)} target group(s), {now} target(s) now and up to {most}")


def _most(seen: Seen, name: str) -> int:
    """The most replicas that a unit may have: its file's and KEDA's limit."""
    unit = seen.application.unit(name)
    scaler = seen.workloads.scaler(seen.application.namespace, unit)
    return unit.max_replicas if scaler is None else min(unit.max_replicas, scaler.max_replicas)
