"""Checks of the Services, the units' workloads and endpoints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from controller.clients.kube import SERVICES
from controller.objects import Object, integer, items, mapping, pinned_values, text
from controller.policy import text as words
from controller.policy.model import Backend, RoutingStyle, Unit
from controller.policy.routing import needed
from controller.signals.node_labels import POOL_LABEL
from failover_setup.doctor.observe import Observation
from failover_setup.doctor.report import Finding, ok, problem, warning
from failover_setup.matrix import case_of_pod, remarks


def services(observed: Observation) -> Iterator[Finding]:
    """Every Service exists and has the port that the application file states."""
    good = True
    for backend in needed(observed.application):
        service = observed.services.get(backend.service)
        if service is None:
            good = False
            yield problem(f"Service {backend.service} does not exist", "create it, or correct the application file")
            continue
        ports = _ports(service)
        if backend.port not in ports:
            good = False
            there = words.listing(repr(port) for port in ports)
            yield problem(
                f"Service {backend.service} has no port {backend.port!r}; it has {there}",
                "correct the port in the Service or in the application file",
            )
    if good:
        yield ok(words.listing(f"{backend.service}:{backend.port}" for backend in needed(observed.application)))


def known_to_work(observed: Observation) -> Iterator[Finding]:
    """No unit runs what is known not to work, not known to work, or no longer patched, and each model fits in memory."""
    found: list[Finding] = []
    for unit in observed.application.units:
        template = mapping(observed.units.get(unit.name), "spec", "template", "spec")
        case = case_of_pod(unit.framework, (unit.instance_type, *unit.instance_types), template)
        found += ((problem if bad else warning)(f"{unit.name}: {said}", fix) for bad, said, fix in remarks(case))
    yield from found or [ok("no unit is known not to work")]


def _ports(service: Object) -> list[int | str]:
    """The numbers and names under which a Service's ports can be named."""
    return [value for port in items(service, "spec", "ports") for value in (integer(port, "port"), text(port, "name")) if value]


def exists(observed: Observation, backend: Backend) -> bool | None:
    """Whether a Service exists with that port; None if the Services could not be listed."""
    if SERVICES.name in observed.unreadable:
        return None
    return backend.port in _ports(observed.services.get(backend.service, {}))


def workloads(observed: Observation) -> Iterator[Finding]:
    """Every unit's workload exists and runs on the unit's NodePool."""
    good = True
    for unit in observed.application.units:
        workload = observed.units.get(unit.name)
        if workload is None:
            good = False
            yield problem(f"{unit.workload} of {unit.name} does not exist", "create it, or correct the application file")
            continue
        pools = pinned_values(mapping(workload, "spec", "template", "spec"), POOL_LABEL)
        if not pools:
            good = False
            yield warning(
                f"{unit.workload} names no NodePool: what Karpenter launches for it through others than {unit.node_pool} is "
                f"not observed, and disproves no shortage of {unit.name}",
                f"add the nodeSelector {POOL_LABEL}: {unit.node_pool}",
            )
        elif pools != (unit.node_pool,):
            good = False
            yield warning(
                f"{unit.workload} is pinned to {words.listing(pools)}, the unit's nodePool is {unit.node_pool}",
                "correct nodePool in the application file, or the nodeSelector of its pods",
            )
    if good:
        yield ok(words.listing(unit.deployment for unit in observed.application.units))


def selectors(observed: Observation) -> Iterator[Finding]:
    """Each unit's Service selects only the pods of that unit, and the capacity Service those of all units."""
    application = observed.application
    labels = {unit.name: _labels(observed, unit) for unit in application.units if unit.name in observed.units}
    findings: list[Finding] = []
    for unit in application.units:
        if unit.backend.service in observed.services:
            findings += _of_unit(unit, _selector(observed, unit.backend.service), labels)
    capacity = application.capacity.service
    if application.routing_style is RoutingStyle.SINGLE_SERVICE and capacity in observed.services:
        selector = _selector(observed, capacity)
        left_out = [name for name, own in labels.items() if not _selects(selector, own)]
        if left_out:
            findings.append(
                problem(
                    f"the capacity Service {capacity} ({_shown(selector)}) does not select the pods of {words.listing(left_out)}",
                    "give the pods of all units a common label and select that",
                )
            )
    yield from findings or [ok("each unit's Service selects its own pods, the capacity Service those of all units")]


def _of_unit(unit: Unit, selector: Mapping[str, Any], labels: Mapping[str, Mapping[str, Any]]) -> Iterator[Finding]:
    service = unit.backend.service
    if unit.name in labels and not _selects(selector, labels[unit.name]):
        yield problem(f"Service {service} ({_shown(selector)}) does not select the pods of {unit.deployment}", "correct its selector")
    others = [name for name, own in labels.items() if name != unit.name and _selects(selector, own)]
    if others:
        yield warning(f"Service {service} ({_shown(selector)}) selects the pods of {words.listing(others)} too", "narrow its selector")


def _labels(observed: Observation, unit: Unit) -> Mapping[str, Any]:
    return mapping(observed.units[unit.name], "spec", "template", "metadata", "labels")


def _selector(observed: Observation, service: str) -> Mapping[str, Any]:
    return mapping(observed.services[service], "spec", "selector")


def _selects(selector: Mapping[str, Any], labels: Mapping[str, Any]) -> bool:
    """Whether a Service selects pods with these labels; without a selector it selects none."""
    return bool(selector) and selector.items() <= labels.items()


def _shown(selector: Mapping[str, Any]) -> str:
    return words.listing(f"{key}={value}" for key, value in selector.items()) if selector else "no selector"


def endpoints(observed: Observation) -> Iterator[Finding]:
    """Every Service that gets traffic now, or would get it after a failover, has ready endpoints."""
    application = observed.application
    live = {target.service for target in observed.routing.targets if target.weight > 0}
    empty = [backend.service for backend in needed(application) if not observed.ready(backend.service)]
    now = [service for service in empty if service in live]
    waiting = [service for service in empty if service == application.capacity.service and service not in live]
    later = [service for service in empty if service not in {*now, *waiting}]
    if now:
        yield problem(f"{words.listing(now)} gets traffic and has no ready endpoint: 503", "check its pods")
    if waiting:
        yield problem(f"{words.listing(waiting)} has no ready endpoint: a failover is refused", "check its selector and its pods")
    if later:
        yield warning(f"{words.listing(later)} has no ready endpoint", "nothing if the unit is short or scaled to 0; else check its pods")
    if not empty:
        yield ok(words.listing(f"{backend.service} {observed.ready(backend.service)}" for backend in needed(application)))
