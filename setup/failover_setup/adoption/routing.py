"""Reads the routing of the Ingress: the live action, its targets, and the units' Services."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from controller.errors import ConfigError
from controller.objects import Object, integer, items, mapping, name_of, text
from controller.policy.model import CapacityWeights, Mode, RoutingStyle, Target
from controller.routing.annotations import MARKER
from controller.routing.attributes import LEAST_OUTSTANDING, algorithm_of
from controller.routing.ingress.read import actions, forwarded, read_action, routes, target_group_setting
from controller.routing.names import ATTRIBUTES, UNREACHABLE, USE_ANNOTATION
from controller.signals.workload_kinds import Owner, is_part
from failover_setup.adoption.facts import Fact, assumed, read
from failover_setup.adoption.observe import Observation


@dataclass(frozen=True, slots=True)
class Routing:
    """The live routing.

    Attributes:
        action: Name of the action.
        why: How it was chosen.
        targets: Its targets.
        stickiness_s: Its stickiness, seconds; 0 for none.
        mode: The mode that it expresses.
        style: The routing style.
        services: The units' Services with their port literals, in order.
        weights: Their weights in cost mode, if an action states them; else {}.
        weights_from: The action that states the weights, in words.
    """

    action: str
    why: str
    targets: tuple[Target, ...]
    stickiness_s: int
    mode: Mode
    style: RoutingStyle
    services: tuple[tuple[str, int | str], ...]
    weights: Mapping[str, int]
    weights_from: str


def read_routing(observed: Observation, wanted: str | None) -> Routing:
    """Reads the live routing.

    Args:
        observed: The objects of the stack.
        wanted: Name of the action; None: the only candidate.

    Raises:
        ConfigError: There is no action, it cannot be read, or there are several candidates.
    """
    name, why = _chosen(observed, wanted)
    targets, stickiness_s, problem = read_action(observed.ingress, name)
    if problem:
        raise ConfigError(f"action {name}: {problem}; fix it first, see docs/routing.md")
    marked = text(observed.annotations, MARKER)
    if len(targets) > 1:
        style = RoutingStyle.IN_PLACE if marked == Mode.CAPACITY else RoutingStyle.SINGLE_SERVICE
        mode = Mode.CAPACITY if marked == Mode.CAPACITY else Mode.COST
        services = tuple((target.service, target.port) for target in targets)
    else:
        style, services = RoutingStyle.SINGLE_SERVICE, _behind(observed, targets[0])
        mode = Mode.COST if services == ((targets[0].service, targets[0].port),) else Mode.CAPACITY
    weights, origin = _weights(observed, name, targets if mode is Mode.COST else (), {service for service, _ in services})
    return Routing(name, why, targets, stickiness_s, mode, style, services, weights, origin)


def forwards(ingress: Object) -> bool:
    """Whether a rule of an Ingress that clients can reach has an action of its annotations."""
    return bool(_live_actions(ingress))


def _live_actions(ingress: Object) -> list[str]:
    """The names of the actions of its rules, each once."""
    live = (route for route in routes(ingress) if route.port == USE_ANNOTATION and not route.host.endswith(UNREACHABLE))
    return list(dict.fromkeys(route.service for route in live))


def _chosen(observed: Observation, wanted: str | None) -> tuple[str, str]:
    """The name of the live action, and how it was chosen."""
    names = _live_actions(observed.ingress)
    if wanted is not None:
        if wanted not in names:
            raise ConfigError(f"no rule has the action {wanted!r}; there are: {', '.join(names) or 'none'}")
        return wanted, "given with --action"
    forwarding = [name for name in names if not read_action(observed.ingress, name)[2]]
    weighted = [name for name in forwarding if len(read_action(observed.ingress, name)[0]) > 1]
    for found, why in (
        (names, "the only action of a rule"),
        (forwarding, "the only action that forwards"),
        (weighted, "the only weighted action"),
    ):
        if len(found) == 1:
            return found[0], why
    if not names:
        raise ConfigError(
            f"no rule of the Ingress has an action as its backend (port name {USE_ANNOTATION}), so the controller could change no routing; "
            "docs/routing.md describes the rule"
        )
    raise ConfigError(f"several actions are candidates: {', '.join(names)}; name one with --action")


def _weights(observed: Observation, live: str, targets: Iterable[Target], services: set[str]) -> tuple[dict[str, int], str]:
    """The weights of cost mode: those of the live action, else of another action on the same Services, such as one kept for standby."""
    weights = {target.service: target.weight for target in targets}
    if weights:
        return weights, f"action {live}"
    for name in actions(observed.ingress):
        if name != live:
            found = {target.service: target.weight for target in read_action(observed.ingress, name)[0]}
            if found.keys() == services and any(found.values()):
                return found, f"action {name}, which names the same Services"
    return {}, ""


def _behind(observed: Observation, target: Target) -> tuple[tuple[str, int | str], ...]:
    """The units' Services behind a single target: each selects exactly one of the workloads that the target's Service selects."""
    behind = selected(observed, target.service)
    if len(behind) <= 1:
        return ((target.service, target.port),)
    registered = {service: port for route in routes(observed.ingress) for service, port in forwarded(route, observed.annotations)}
    found: dict[Owner, tuple[str, int | str]] = {}
    for name in sorted(observed.services, key=lambda name: (name not in registered, name)):
        own = selected(observed, name)
        if name != target.service and len(own) == 1 and own[0] in behind:
            found.setdefault(own[0], (name, registered.get(name) or port_of(observed, name, target.port)))
    return tuple(found[name] for name in behind if name in found) or ((target.service, target.port),)


def selected(observed: Observation, service: str) -> list[Owner]:
    """The workloads whose pods a Service selects."""
    selector = mapping(observed.services.get(service), "spec", "selector")
    if not selector:
        return []
    known = observed.workloads
    return sorted(owner for owner, one in known.items() if selector.items() <= pod_labels(one).items() and not is_part(owner, one, known))


def pod_labels(workload: Object) -> Mapping[str, Any]:
    """The labels of a workload's pods."""
    return mapping(workload, "spec", "template", "metadata", "labels")


def port_of(observed: Observation, service: str, like: int | str) -> int | str:
    """A Service's port: the literal `like` if the Service has that port, else its first port."""
    ports = items(observed.services.get(service), "spec", "ports")
    literals = [value for port in ports for value in (integer(port, "port"), text(port, "name")) if value]
    return like if like in literals or not literals else literals[0]


# --- the capacity Service -----------------------------------------------------------------------------------------------------------------


def capacity_service(observed: Observation, routing: Routing, workloads: Iterable[Owner]) -> dict[str, Fact]:
    """Name and port of the Service over the pods of all units.

    Args:
        observed: The objects of the stack.
        routing: The live routing.
        workloads: The units' workloads.
    """
    port = routing.services[0][1]
    if routing.mode is Mode.CAPACITY and routing.style is RoutingStyle.SINGLE_SERVICE:
        live = routing.targets[0]
        return {"name": read(live.service, "the live action forwards only to it"), "port": read(live.port, "the live action")}
    wanted = set(workloads)
    taken = {service for service, _ in routing.services}
    over_all = [
        (len(found), name) for name in observed.services if name not in taken and wanted <= set(found := selected(observed, name)) and found
    ]
    if wanted and over_all:
        number, name = min(over_all)
        others = sorted(other for _, other in over_all if other != name)
        beside = f"; so do {', '.join(others)}" if others else ""
        more = f"; it also selects {number - len(wanted)} workload(s) that are not units" if number > len(wanted) else ""
        return {"name": read(name, f"it selects the pods of every unit{beside}{more}"), "port": _capacity_port(observed, name, port)}
    return {
        "name": assumed(f"{name_of(observed.ingress)}-all", f"no Service selects the pods of all units: {_how_to_make(observed, wanted)}"),
        "port": assumed(port, "the port of the units' Services"),
    }


def _capacity_port(observed: Observation, service: str, like: int | str) -> Fact:
    for route in routes(observed.ingress):
        for name, port in forwarded(route, observed.annotations):
            if name == service:
                return read(port, f"rule {route.rule + 1} of the Ingress")
    return read(port_of(observed, service, like), "the Service")


def _how_to_make(observed: Observation, workloads: set[Owner]) -> str:
    """How to create the missing capacity Service."""
    labels = [pod_labels(observed.workloads[one]) for one in sorted(workloads)]
    common = dict(set.intersection(*(set(_plain(one)) for one in labels))) if labels else {}
    if common:
        selector = ", ".join(f"{key}: {value}" for key, value in sorted(common.items()))
        return f"create one with the selector {{{selector}}}, which the pods of all units have in common"
    return "give the pods of all units a common label, and create a Service that selects it"


def _plain(labels: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield from ((key, value) for key, value in labels.items() if isinstance(value, str))


def explained(routing: Routing) -> dict[str, Fact]:
    """The facts of ``spec`` that follow from the routing."""
    facts = {"action": read(routing.action, routing.why)}
    if routing.style is RoutingStyle.IN_PLACE:
        facts["routingStyle"] = read(str(routing.style), "capacity mode forwards to the units' own Services")
    return facts


def policy_facts(observed: Observation, routing: Routing, units: int, capacity: str) -> dict[str, Fact]:
    """The facts of ``spec.policy`` that differ from the defaults.

    Args:
        observed: The objects of the stack.
        routing: The live routing.
        units: The number of units.
        capacity: The capacity Service.
    """
    facts: dict[str, Fact] = {}
    if len(routing.weights) < units:
        facts["weightStrategy"] = assumed("inverse-cost", "no action of the Ingress states weights of cost mode for every unit")
    if routing.mode is Mode.COST and len(routing.targets) > 1:
        facts["stickinessCostSeconds"] = read(routing.stickiness_s, "the live action")
    elif routing.mode is Mode.CAPACITY:
        facts["stickinessCapacitySeconds"] = read(routing.stickiness_s, f"the live action{'; 0 is better' if routing.stickiness_s else ''}")
    if routing.style is RoutingStyle.SINGLE_SERVICE and _algorithm(observed, capacity) == LEAST_OUTSTANDING:
        facts["capacityWeights"] = read(str(CapacityWeights.READY_THROUGHPUT), f"the target group of {capacity}: {LEAST_OUTSTANDING}")
    return facts


def _algorithm(observed: Observation, service: str) -> str:
    """The algorithm of a Service's target group."""
    own = mapping(observed.services.get(service), "metadata", "annotations")
    return algorithm_of(target_group_setting(ATTRIBUTES, own, observed.annotations))


def unit_weight(routing: Routing, service: str) -> Fact | None:
    """A unit's weight in cost mode, None if no action states one."""
    if service in routing.weights:
        return read(routing.weights[service], routing.weights_from)
    return None
