"""Checks of the Ingress, its rules and its load balancer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from controller.doctor.observe import Seen, group_of
from controller.doctor.report import Finding, ok, problem, unknown, warning
from controller.policy import text as words
from controller.policy.model import CapacityWeights, RoutingStyle
from controller.policy.routing import ALGORITHM, LEAST_OUTSTANDING, PREFIX, USE_ANNOTATION, algorithm_of
from controller.policy.standby import HOST_SUFFIX, needed
from controller.signals.ingress import Route, forwarded, hostnames, routes
from controller.signals.load_balancer.request import live_rules
from controller.signals.objects import Object, items, mapping, name_of, namespace_of, text

_CLASS: Final = "alb"
_CLASS_ANNOTATION: Final = "kubernetes.io/ingress.class"
_ALIVE: Final = frozenset({"/health", "/healthz", "/live", "/livez"})  # answered as soon as the process runs
_EVERY_PATH: Final = frozenset({"", "/*"})
_READINESS: Final = "/readiness"


def ingress(seen: Seen) -> Iterator[Finding]:
    """The Ingress of the application file exists."""
    key = seen.application.key
    if seen.ingress:
        yield ok(f"{key} exists")
    else:
        yield problem(f"{key} does not exist", "create it, or put right metadata.namespace and spec.ingress of the application file")


def ingress_class(seen: Seen) -> Iterator[Finding]:
    """The AWS Load Balancer Controller serves it."""
    name = text(seen.ingress, "spec", "ingressClassName") or text(seen.annotations, _CLASS_ANNOTATION)
    if name == _CLASS:
        yield ok(f"class {name}")
    elif any(stack_of(binding) == (seen.application.namespace, seen.application.ingress) for binding in seen.bindings):
        yield ok(f"{f'class {name}' if name else 'no class'}; the load-balancer controller has made target groups for it")
    elif name:
        yield unknown(f"class {name}", f"make sure that the controller of IngressClass {name} is ingress.k8s.aws/alb")
    else:
        yield unknown("names no class: the cluster's default decides", f"set spec.ingressClassName: {_CLASS}")


def stack_of(binding: Object) -> tuple[str, str]:
    """Namespace and name of the Ingress that a TargetGroupBinding was made for, empty in an explicit IngressGroup."""
    labels = mapping(binding, "metadata", "labels")
    return text(labels, "ingress.k8s.aws/stack-namespace"), text(labels, "ingress.k8s.aws/stack-name")


def live_rule(seen: Seen) -> Iterator[Finding]:
    """A rule forwards to the action, and comes before every rule that would take its requests and before the standby rules."""
    action, all_routes = seen.application.action, list(routes(seen.ingress))
    named = [route for route in all_routes if route.service == action]
    live = [route for route in named if route.port == USE_ANNOTATION and not route.host.endswith(".invalid")]
    if not live:
        backend = f"backend: {{service: {{name: {action}, port: {{name: {USE_ANNOTATION}}}}}}}"
        seen_words = f"its port is {named[0].port!r}, not {USE_ANNOTATION}" if named else f"no rule has the backend {action}"
        yield problem(seen_words, f"let the first rule of spec.rules have {backend}")
        return
    first = live[0]
    before = [route for route in all_routes if route.rule < first.rule]
    taking = [route for route in before if _covers(route, first) and not _conditional(seen, route)]
    standing_by = [route for route in before if route.host.endswith(HOST_SUFFIX)]
    if taking:
        yield problem(
            f"rule {taking[0].rule + 1} ({taking[0].service}) takes all requests before the live rule {first.rule + 1} is asked",
            f"move the rule of {action} before it",
        )
    elif standing_by:
        yield warning(
            f"{len(standing_by)} standby rule(s) stand before the live rule {first.rule + 1}",
            f"move the rule of {action} to the first place",
        )
    else:
        labels = words.listing(rule.label for rule in live_rules(seen.ingress, action))
        conditions = " with conditions of its own" if _conditional(seen, first) else ""
        yield ok(f"rule {first.rule + 1} forwards {labels} to {action}{conditions}")


def _covers(route: Route, other: Route) -> bool:
    """Whether every request that matches `other` matches `route` too."""
    if route.host not in {"", other.host}:
        return False
    if route.path_type == "ImplementationSpecific" and route.path in _EVERY_PATH:
        return True
    if route.path_type == "Prefix":
        prefix = route.path.rstrip("/")
        return other.path.rstrip("/") == prefix or other.path.startswith(f"{prefix}/")
    return (route.path, route.path_type) == (other.path, other.path_type)


def _conditional(seen: Seen, route: Route) -> bool:
    return bool(seen.setting(f"conditions.{route.service}"))


def standby_reach(seen: Seen) -> Iterator[Finding]:
    """No request reaches a Service of the application past the action."""
    application, all_routes = seen.application, list(routes(seen.ingress))
    live = [route for route in all_routes if route.service == application.action and not _conditional(seen, route)]
    services = {application.capacity.service, *(unit.backend.service for unit in application.units)}
    open_ = [
        route
        for route in all_routes
        if route.service != application.action
        and any(service in services for service, _ in forwarded(route, seen.annotations))
        and not route.host.endswith(".invalid")
        and not _conditional(seen, route)
        and not any(one.rule < route.rule and _covers(one, route) for one in live)
    ]
    for route in open_:
        where = f"{route.host or 'any host'}{route.path}"
        yield warning(
            f"rule {route.rule + 1} sends {where} to {route.service} past the action",
            f"fine if it is meant; a standby rule should have a host such as {route.service}{HOST_SUFFIX}",
        )
    if not open_:
        yield ok("all requests go through the action")


def target_type(seen: Seen) -> Iterator[Finding]:
    """Targets are pods: `target-type: ip`."""
    found = {backend.service: seen.setting("target-type", backend.service) for backend in needed(seen.application)}
    others = [service for service, kind in found.items() if kind != "ip"]
    if not others:
        yield ok("ip")
        return
    kinds = words.listing(sorted({found[service] or "not stated (instance by default)" for service in others}))
    yield warning(f"{kinds} for {words.listing(others)}", f'annotate the Ingress with {PREFIX}/target-type: "ip"')


def health_check(seen: Seen) -> Iterator[Finding]:
    """The load balancer asks for the model server's readiness, not for its being alive."""
    probes = {service: paths for service, paths in _probes(seen).items() if paths}
    known = set().union(*probes.values()) - _ALIVE if probes else set()
    advice = f'annotate the Ingress with {PREFIX}/healthcheck-path: "{known.pop() if len(known) == 1 else _READINESS}"'
    by_path: dict[str, list[str]] = {}
    for backend in needed(seen.application):
        by_path.setdefault(seen.setting("healthcheck-path", backend.service), []).append(backend.service)
    good = []
    for path, services in by_path.items():
        other = sorted({probe for service in services for probe in probes.get(service, ()) if probe != path})
        if not path:
            yield warning(f"no path is stated for {words.listing(services)}: / is asked for", advice)
        elif path in _ALIVE:
            yield warning(f"{words.listing(services)}: {path} usually answers 200 while the model still loads", advice)
        elif other:
            yield warning(f"{words.listing(services)}: {path}, but the pods' readinessProbe asks for {words.listing(other)}", advice)
        else:
            good.append(path)
    if len(good) == len(by_path):
        yield ok(f"asks for {words.listing(good)}")


def algorithm(seen: Seen) -> Iterator[Finding]:
    """The capacity Service's target group shares requests as `capacityWeights` says."""
    application = seen.application
    service, wanted = application.capacity.service, application.policy.capacity_weights
    if application.routing_style is RoutingStyle.IN_PLACE:
        yield ok("in-place: the weights of the action say so")
        return
    found = algorithm_of(seen.setting("target-group-attributes", service))
    fits = CapacityWeights.READY_THROUGHPUT if found == LEAST_OUTSTANDING else CapacityWeights.READY
    if fits is wanted:
        yield ok(f"{found} on {service}, capacityWeights {wanted}")
        return
    other = f", or annotate Service {service} with {PREFIX}/target-group-attributes: {ALGORITHM}={LEAST_OUTSTANDING}"
    yield warning(
        f"{found} on {service}, but capacityWeights {wanted}: KEDA's targets are for the other one",
        f"set spec.policy.capacityWeights: {fits}{other if wanted is CapacityWeights.READY_THROUGHPUT else ''}",
    )


def _probes(seen: Seen) -> dict[str, set[str]]:
    """The paths of the HTTP readiness probes of each unit's containers, by its Service; the capacity Service has those of all."""
    found: dict[str, set[str]] = {}
    for unit in seen.application.units:
        containers = items(seen.deployments.get(unit.deployment), "spec", "template", "spec", "containers")
        paths = {path for one in containers if (path := text(one, "readinessProbe", "httpGet", "path"))}
        for service in (unit.backend.service, seen.application.capacity.service):
            found.setdefault(service, set()).update(paths)
    return found


def ingress_group(seen: Seen) -> Iterator[Finding]:
    """The load balancer belongs to this Ingress alone."""
    group = group_of(seen.ingress)
    if not group:
        yield ok("a load balancer of its own")
        return
    names = words.listing(f"{namespace_of(one)}/{name_of(one)}" for one in seen.group)
    partly = "" if seen.group_complete else " (only this namespace could be looked at)"
    if seen.group or not seen.group_complete:
        yield warning(
            f"IngressGroup {group} is shared with {names}{partly}",
            f"take {PREFIX}/group.name away, which makes a new load balancer and DNS name, or watch the others' events",
        )
    else:
        yield ok(f"IngressGroup {group} has no other Ingress")


def load_balancer(seen: Seen) -> Iterator[Finding]:
    """There is a load balancer, and the load-balancer controller's last attempt at the Ingress or its group did not fail."""
    which = (seen.application.namespace, seen.application.ingress, seen.routing.uid, seen.now)
    blocked = seen.reconciles.blocked(*which) or seen.reconciles.undone(*which)
    if blocked:
        yield problem(f"blocked: {blocked}", "mend what it names; until then no switch reaches the load balancer")
    elif not hostnames(seen.ingress):
        yield problem("the Ingress has no address: no load balancer serves it", "see the log of the load-balancer controller")
    else:
        yield ok("has an address; no event tells of trouble")
