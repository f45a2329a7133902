"""Checks that every Service stays registered with the load balancer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from controller.policy import text as words
from controller.policy.model import Backend, RoutingStyle
from controller.policy.routing import lacking, needed
from controller.routing.ingress.read import forwarded, group_of, listener_ports, routes
from controller.routing.kinds import routing_port
from controller.routing.names import USE_ANNOTATION
from controller.routing.port import Remedy
from controller.signals.load_balancer.request import target_groups
from failover_setup.doctor import services
from failover_setup.doctor.observe import Observation
from failover_setup.doctor.report import Finding, Level, ok, problem, unknown, warning

MAX_RULES: Final = 100  # AWS: rules per Application Load Balancer without the default rules; adjustable
MAX_GROUPS: Final = 100  # AWS: target groups per Application Load Balancer; not adjustable
MAX_TARGETS: Final = 1000  # AWS: targets per Application Load Balancer; a pod counts once for each target group; adjustable
_ADD: Final = "add the rules printed below"
_CREATE: Final = "create the Service first; then `failoverctl doctor` prints its rule"
_LIST: Final = "allow listing Services: only then is it known which rules may be added"


def standby_rules(observed: Observation) -> Iterator[Finding]:
    """Standby rules or the action keep every receiving Service registered, with the port literal of the application file."""
    application = observed.application
    missing = lacking(application, observed.routing)
    literals = _other_literals(observed)
    for backend in missing:
        if backend.service in literals:
            found = words.listing(repr(port) for port in literals[backend.service])
            yield problem(
                f"the rule of {backend.service} says port {found}, the application file {backend.port!r}: two target groups", _ADD
            )
    level = Level.WARNING if application.policy.allow_unsafe_switch else Level.PROBLEM
    allowed = "; allowed by allowUnsafeSwitch" if application.policy.allow_unsafe_switch else ""
    for fix, exists in ((_ADD, True), (_CREATE, False), (_LIST, None)):
        cold = [one.service for one in missing if one.service not in literals and services.exists(observed, one) is exists]
        if cold:
            yield Finding(level, f"nothing keeps {words.listing(cold)} registered when the mode changes{allowed}", fix)
    if not missing:
        style = application.routing_style
        by = "the action names all units" if style is RoutingStyle.IN_PLACE else f"standby rules for {len(needed(application))} Services"
        yield ok(f"{style}: {by}")


def remedy_of(observed: Observation) -> Remedy:
    """Which standby rules the Ingress lacks, and which of them may be added now."""
    application = observed.application
    exists = {backend: services.exists(observed, backend) for backend in needed(application)}
    return routing_port(application).remedy(application, observed.routing, observed.obj, exists)


def rule_services(observed: Observation) -> Iterator[Finding]:
    """Every Service that a rule of the Ingress names exists."""
    named = {Backend(route.service, route.port) for route in routes(observed.obj) if route.service and route.port != USE_ANNOTATION}
    absent = sorted(f"{backend.service}:{backend.port}" for backend in named if not services.exists(observed, backend))
    if absent:
        yield problem(
            f"rules name {words.listing(absent)}, and there is no such Service with that port",
            "create it, or remove its rules: until then the load-balancer controller changes no rule of the whole IngressGroup",
        )
    else:
        yield ok(f"{len(named)} named by rules, and all exist" if named else "no rule names a Service")


def _other_literals(observed: Observation) -> dict[str, list[int | str]]:
    """The ports that rules forward to and that differ from the application file's, by Service."""
    ports = {backend.service: backend.port for backend in needed(observed.application)}
    found: dict[str, list[int | str]] = {}
    for route in routes(observed.obj):
        if route.service != observed.application.route.part:
            for service, port in forwarded(route, observed.annotations):
                if service in ports and ports[service] != port:
                    found.setdefault(service, []).append(port)
    return found


def target_group_bindings(observed: Observation) -> Iterator[Finding]:
    """The load-balancer controller has created a target group of this Ingress for every Service that its rules name."""
    application = observed.application
    bound = target_groups(observed.bindings, application.namespace, observed.asked.stacks, group_of(observed.obj))
    named = {pair for route in routes(observed.obj) for pair in forwarded(route, observed.annotations)}
    wanted = [backend for backend in needed(application) if (backend.service, backend.port) in named]
    missing = [f"{backend.service}:{backend.port}" for backend in wanted if (backend.service, backend.port) not in bound]
    if missing:
        yield problem(
            f"no TargetGroupBinding of this Ingress for {words.listing(missing)}",
            "check the events of the Ingress; a binding made by hand, or for another Ingress, does not count",
        )
    elif not wanted:
        yield unknown("no rule names a Service of the application")
    else:
        yield ok(f"{len(wanted)} target group(s)")


def quotas(observed: Observation) -> Iterator[Finding]:
    """Rules, target groups and targets stay within AWS's quotas per load balancer."""
    application = observed.application
    listeners = max(1, len(listener_ports(observed.obj)))
    rules = listeners * sum(len(list(routes(one))) for one in (observed.obj, *observed.group))
    groups = {pair for route in routes(observed.obj) for pair in forwarded(route, observed.annotations)}
    now = sum(observed.ready(service) for service in {service for service, _ in groups})
    most = sum(_most(observed, unit.name) for unit in application.units) * (1 if application.routing_style is RoutingStyle.IN_PLACE else 2)
    good = True
    for count, limit, what in ((rules, MAX_RULES, "rules"), (len(groups), MAX_GROUPS, "target groups")):
        if count > limit:
            good = False
            yield problem(f"{count} {what}, AWS allows {limit}", "move other rules to an Ingress with its own load balancer")
    if max(now, most) > MAX_TARGETS:
        good = False
        yield warning(
            f"{now} targets now, up to {most} at the maximum replicas; AWS allows {MAX_TARGETS} and counts a pod in each target group",
            "ask AWS for a higher quota of targets per Application Load Balancer, or lower maxReplicas",
        )
    if good:
        yield ok(f"{rules} rule(s), {len(groups)} target group(s), {now} target(s) now and up to {most}")


def _most(observed: Observation, name: str) -> int:
    """The most replicas that a unit may have: the lower of the application file's and KEDA's limit."""
    unit = observed.application.unit(name)
    scaler = observed.workloads.scaler(observed.application.namespace, unit)
    return unit.max_replicas if scaler is None else min(unit.max_replicas, scaler.max_replicas)
