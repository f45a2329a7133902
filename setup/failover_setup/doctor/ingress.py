"""Checks of the Ingress, its rules and its load balancer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from controller.objects import items, name_of, namespace_of, text
from controller.policy import text as words
from controller.policy.model import CapacityWeights, RoutingStyle
from controller.policy.routing import needed
from controller.routing.attributes import ALGORITHM, LEAST_OUTSTANDING, algorithm_of
from controller.routing.conditions import covers_host
from controller.routing.ingress.read import Route, forwarded, group_of, hostnames, live_rules, routes
from controller.routing.ingress.standby import HOST_SUFFIX
from controller.routing.names import ATTRIBUTES, UNREACHABLE, USE_ANNOTATION, setting
from controller.signals.load_balancer.request import is_of_auto_mode, stack_of
from failover_setup.doctor.observe import CLASS_ANNOTATION, Observation, class_of
from failover_setup.doctor.report import Finding, ok, problem, unknown, warning

_CLASS: Final = "alb"
_NOT_IN_AUTO_MODE: Final = (
    CLASS_ANNOTATION,
    *map(setting, ("group.name", "waf-acl-id", "web-acl-id", "shield-advanced-protection")),
)
"""The annotations that the EKS user guide lists as not supported there, and whose absence shows in no other way."""
_ALIVE: Final = frozenset({"/health", "/healthz", "/live", "/livez"})  # answered as soon as the process runs
_EVERY_PATH: Final = frozenset({"", "/*"})
_READINESS: Final = "/readiness"


def ingress(observed: Observation) -> Iterator[Finding]:
    """The Ingress of the application file exists."""
    key = observed.application.key
    if observed.obj:
        yield ok(f"{key} exists")
    else:
        yield problem(f"{key} does not exist", "create it, or correct metadata.namespace and spec.ingress of the application file")


def ingress_class(observed: Observation) -> Iterator[Finding]:
    """The AWS Load Balancer Controller, or EKS Auto Mode, serves it."""
    name = class_of(observed.obj)
    own = (observed.application.namespace, observed.application.route.name)
    makers = {is_of_auto_mode(binding) for binding in observed.bindings if stack_of(binding) == own}
    named = f"class {name}" if name else "no class"
    if True in makers:
        ignored = [key for key in _NOT_IN_AUTO_MODE if text(observed.annotations, key)]
        if ignored:
            yield warning(f"{named}; EKS Auto Mode ignores {words.listing(ignored)}", "see docs/auto-mode.md for what takes their place")
        else:
            yield ok(f"{named}; EKS Auto Mode has made target groups for it")
    elif name == _CLASS:
        yield ok(named)
    elif makers:
        yield ok(f"{named}; the load-balancer controller has made target groups for it")
    elif name:
        yield unknown(named, f"make sure that the controller of IngressClass {name} is ingress.k8s.aws/alb or eks.amazonaws.com/alb")
    else:
        yield unknown("names no class: the cluster's default class applies", f"set spec.ingressClassName: {_CLASS}")


def live_rule(observed: Observation) -> Iterator[Finding]:
    """A rule forwards to the action, and precedes the standby rules and every rule that would take its requests."""
    action, all_routes = observed.application.route.part, list(routes(observed.obj))
    named = [route for route in all_routes if route.service == action]
    live = [route for route in named if route.port == USE_ANNOTATION and not route.host.endswith(UNREACHABLE)]
    if not live:
        backend = f"backend: {{service: {{name: {action}, port: {{name: {USE_ANNOTATION}}}}}}}"
        fault = f"its port is {named[0].port!r}, not {USE_ANNOTATION}" if named else f"no rule has the backend {action}"
        yield problem(fault, f"give the first rule of spec.rules the {backend}")
        return
    first = live[0]
    before = [route for route in all_routes if route.rule < first.rule]
    taking = [route for route in before if _covers(route, first) and not _conditional(observed, route)]
    standing_by = [route for route in before if route.host.endswith(HOST_SUFFIX)]
    if taking:
        yield problem(
            f"rule {taking[0].rule + 1} ({taking[0].service}) takes all requests before the live rule {first.rule + 1}",
            f"move the rule of {action} before it",
        )
    elif standing_by:
        yield warning(
            f"{len(standing_by)} standby rule(s) precede the live rule {first.rule + 1}",
            f"move the rule of {action} to the first place",
        )
    else:
        labels = words.listing(rule.label for rule in live_rules(observed.obj, action))
        conditions = " with conditions of its own" if _conditional(observed, first) else ""
        yield ok(f"rule {first.rule + 1} forwards {labels} to {action}{conditions}")


def _covers(route: Route, other: Route) -> bool:
    """Whether every request that matches `other` matches `route` too."""
    if not covers_host(route.host, other.host):
        return False
    if route.path_type == "ImplementationSpecific" and route.path in _EVERY_PATH:
        return True
    if route.path_type == "Prefix":
        prefix = route.path.rstrip("/")
        return other.path.rstrip("/") == prefix or other.path.startswith(f"{prefix}/")
    return (route.path, route.path_type) == (other.path, other.path_type)


def _conditional(observed: Observation, route: Route) -> bool:
    return bool(observed.setting(f"conditions.{route.service}"))


def standby_reach(observed: Observation) -> Iterator[Finding]:
    """No request reaches a Service of the application without going through the action."""
    application, all_routes = observed.application, list(routes(observed.obj))
    live = [route for route in all_routes if route.service == application.route.part and not _conditional(observed, route)]
    services = set(application.services)
    open_ = [
        route
        for route in all_routes
        if route.service != application.route.part
        and any(service in services for service, _ in forwarded(route, observed.annotations))
        and not route.host.endswith(UNREACHABLE)
        and not _conditional(observed, route)
        and not any(one.rule < route.rule and _covers(one, route) for one in live)
    ]
    for route in open_:
        where = f"{route.host or 'any host'}{route.path}"
        yield warning(
            f"rule {route.rule + 1} sends {where} to {route.service} and bypasses the action",
            f"nothing if it is intended; a standby rule needs a host such as {route.service}{HOST_SUFFIX}",
        )
    if not open_:
        yield ok("all requests go through the action")


def target_type(observed: Observation) -> Iterator[Finding]:
    """Targets are pods: `target-type: ip`."""
    found = {backend.service: observed.target_type(backend.service) for backend in needed(observed.application)}
    others = [service for service, kind in found.items() if kind not in {"ip", ""}]
    silent = [service for service, kind in found.items() if not kind]
    advice = f'annotate the Ingress with {setting("target-type")}: "ip"'
    if others:
        yield warning(f"{words.listing(sorted({found[service] for service in others}))} for {words.listing(others)}", advice)
    if silent:
        yield unknown(f"not stated, and no TargetGroupBinding shows it, for {words.listing(silent)}: instance is the usual default", advice)
    if not others and not silent:
        yield ok("ip")


def health_check(observed: Observation) -> Iterator[Finding]:
    """The load balancer checks the model server's readiness, not its liveness."""
    probes = {service: paths for service, paths in _probes(observed).items() if paths}
    known = set().union(*probes.values()) - _ALIVE if probes else set()
    advice = f'annotate the Ingress with {setting("healthcheck-path")}: "{known.pop() if len(known) == 1 else _READINESS}"'
    by_path: dict[str, list[str]] = {}
    for backend in needed(observed.application):
        by_path.setdefault(observed.setting("healthcheck-path", backend.service), []).append(backend.service)
    good = []
    for path, services in by_path.items():
        other = sorted({probe for service in services for probe in probes.get(service, ()) if probe != path})
        if not path:
            yield warning(f"no path is stated for {words.listing(services)}: the load balancer checks /", advice)
        elif path in _ALIVE:
            yield warning(f"{words.listing(services)}: {path} usually answers 200 while the model still loads", advice)
        elif other:
            yield warning(f"{words.listing(services)}: {path}, but the pods' readinessProbe checks {words.listing(other)}", advice)
        else:
            good.append(path)
    if len(good) == len(by_path):
        yield ok(f"checks {words.listing(good)}")


def algorithm(observed: Observation) -> Iterator[Finding]:
    """The capacity Service's target group distributes requests as `capacityWeights` states."""
    application = observed.application
    service, wanted = application.capacity.service, application.policy.capacity_weights
    if application.routing_style is RoutingStyle.IN_PLACE:
        yield ok("in-place: the weights of the action distribute the requests")
        return
    found = algorithm_of(observed.setting("target-group-attributes", service))
    fits = CapacityWeights.READY_THROUGHPUT if found == LEAST_OUTSTANDING else CapacityWeights.READY
    if fits is wanted:
        yield ok(f"{found} on {service}, capacityWeights {wanted}")
        return
    other = f", or annotate Service {service} with {ATTRIBUTES}: {ALGORITHM}={LEAST_OUTSTANDING}"
    yield warning(
        f"{found} on {service}, but capacityWeights {wanted}: KEDA's targets assume the other algorithm",
        f"set spec.policy.capacityWeights: {fits}{other if wanted is CapacityWeights.READY_THROUGHPUT else ''}",
    )


def _probes(observed: Observation) -> dict[str, set[str]]:
    """The paths of the HTTP readiness probes of each unit's containers, by Service; the capacity Service has those of all units."""
    found: dict[str, set[str]] = {}
    for unit in observed.application.units:
        containers = items(observed.units.get(unit.name), "spec", "template", "spec", "containers")
        paths = {path for one in containers if (path := text(one, "readinessProbe", "httpGet", "path"))}
        for service in (unit.backend.service, observed.application.capacity.service):
            found.setdefault(service, set()).update(paths)
    return found


def ingress_group(observed: Observation) -> Iterator[Finding]:
    """The load balancer belongs to this Ingress alone."""
    group, by_class = observed.group_name, not group_of(observed.obj)
    if group is None:
        yield unknown(
            "it names no IngressGroup, and no TargetGroupBinding shows whether its IngressClass sets one",
            "check spec.group of the IngressClassParams of its class",
        )
        return
    if not group:
        yield ok("a load balancer of its own")
        return
    names = words.listing(f"{namespace_of(one)}/{name_of(one)}" for one in observed.group)
    partly = "" if observed.group_complete else " (only this namespace may be listed)"
    where = f"IngressGroup {group}{', which the IngressClass sets,' if by_class else ''}"
    leave = "take an IngressClass whose IngressClassParams set no group" if by_class else f"remove {setting('group.name')}"
    if observed.group or not observed.group_complete:
        yield warning(
            f"{where} is shared with {names}{partly}",
            f"{leave}, which creates a new load balancer and DNS name, or watch the others' events",
        )
    else:
        yield ok(f"{where} has no other Ingress")


def load_balancer(observed: Observation) -> Iterator[Finding]:
    """A load balancer exists, and the load-balancer controller's last reconcile of the Ingress or its group did not fail."""
    which, reconciles = (observed.asked.reported, observed.routing.uid, observed.now), observed.reconciles
    blocked = reconciles.blocked(*which) or reconciles.undone(*which)
    if blocked:
        yield problem(f"blocked: {blocked}", "resolve the error; until then no mode change reaches the load balancer")
    elif not hostnames(observed.obj):
        yield problem("the Ingress has no address: no load balancer serves it", "see the log of the load-balancer controller")
    else:
        yield ok("has an address, and no event reports a failure")
