"""Reads the live routing: which action or rule carries the traffic, its targets, and the units' Services."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from controller.errors import ConfigError
from controller.objects import Object, integer, items, mapping, text
from controller.policy.model import CapacityWeights, Mode, RoutingStyle, Target
from controller.routing.attributes import LEAST_OUTSTANDING, algorithm_of
from controller.routing.names import USE_ANNOTATION
from controller.signals.workload_kinds import Owner, is_part
from failover_setup.adoption.facts import Fact, assumed, read
from failover_setup.adoption.observe import Observation
from failover_setup.adoption.routed import Part, Routed

_MAIN: Final = "main"
"""The name of the rule with the traffic in docs/routing.md."""


@dataclass(frozen=True, slots=True)
class Routing:
    """The live routing.

    Attributes:
        routed: The routing object.
        part: Its action or rule that carries the traffic.
        why: How that was chosen.
        mode: The mode that it expresses.
        style: The routing style.
        services: The units' Services with their port literals, in order.
        weights: Their weights in cost mode, if an action or a rule states them; else {}.
        weights_from: What states the weights, in words.
    """

    routed: Routed
    part: Part
    why: str
    mode: Mode
    style: RoutingStyle
    services: tuple[tuple[str, int | str], ...]
    weights: Mapping[str, int]
    weights_from: str

    @property
    def label(self) -> str:
        """The action or rule, in words."""
        return f"{self.routed.part} {self.part.name}"


def read_routing(observed: Observation, wanted: str | None) -> Routing:
    """Reads the live routing.

    Args:
        observed: The objects of the stack.
        wanted: Name of the action or rule; None: the only candidate.

    Raises:
        ConfigError: There is none, it cannot be read, or there are several candidates.
    """
    routed = observed.routed()
    part, why = _chosen(routed, wanted)
    if part.problem:
        raise ConfigError(f"{routed.part} {part.name}: {part.problem}; fix it first, see docs/routing.md")
    targets, marked = part.targets, routed.marker
    if len(targets) > 1:
        style = RoutingStyle.IN_PLACE if marked == Mode.CAPACITY else RoutingStyle.SINGLE_SERVICE
        mode = Mode.CAPACITY if marked == Mode.CAPACITY else Mode.COST
        services = tuple((target.service, target.port) for target in targets)
    else:
        style, services = RoutingStyle.SINGLE_SERVICE, _behind(observed, routed, targets[0])
        mode = Mode.COST if services == ((targets[0].service, targets[0].port),) else Mode.CAPACITY
    weights, origin = _weights(routed, part, targets if mode is Mode.COST else (), {service for service, _ in services})
    return Routing(routed, part, why, mode, style, services, weights, origin)


def _chosen(routed: Routed, wanted: str | None) -> tuple[Part, str]:
    """The live action or rule, and how it was chosen."""
    live, word = [one for one in routed.parts if one.live], routed.part
    names = ", ".join(one.name for one in live)
    if wanted is not None:
        found = next((one for one in live if one.name == wanted), None)
        if found is None:
            raise ConfigError(f"the {routed.kind} has no {word} {wanted!r} that clients reach; there are: {names or 'none'}")
        return found, f"given with --{word}"
    forwarding = [one for one in live if not one.problem]
    for candidates, why in (
        (live, f"the only {word} that clients reach"),
        (forwarding, f"the only {word} that forwards to Services"),
        ([one for one in forwarding if len(one.targets) > 1], f"the only weighted {word}"),
        ([one for one in forwarding if one.name == _MAIN], f"of several candidates the {word} of that name"),
    ):
        if len(candidates) == 1:
            return candidates[0], why
    if not live:
        lacks = "has backends" if routed.is_route else f"has an action as its backend (port name {USE_ANNOTATION})"
        raise ConfigError(
            f"no rule of the {routed.kind} {lacks}, so the controller could change no routing; docs/routing.md describes the rule"
        )
    raise ConfigError(f"several {word}s are candidates: {names}; name one with --{word}")


def _weights(routed: Routed, live: Part, targets: Iterable[Target], services: set[str]) -> tuple[dict[str, int], str]:
    """The weights of cost mode: those of the live action, else of another action on the same Services, such as one kept for standby."""
    weights = {target.service: target.weight for target in targets}
    if weights:
        return weights, f"{routed.part} {live.name}"
    for one in routed.parts:
        if one is not live:
            found = {target.service: target.weight for target in one.targets}
            if found.keys() == services and any(found.values()):
                return found, f"{routed.part} {one.name}, which names the same Services"
    return {}, ""


def _behind(observed: Observation, routed: Routed, target: Target) -> tuple[tuple[str, int | str], ...]:
    """The units' Services behind a single target: each selects exactly one of the workloads that the target's Service selects."""
    behind = selected(observed, target.service)
    if len(behind) <= 1:
        return ((target.service, target.port),)
    registered = {service: port for service, (port, _) in routed.ports.items()}
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
        (live,), word = routing.part.targets, f"the live {routing.routed.part}"
        return {"name": read(live.service, f"{word} forwards only to it"), "port": read(live.port, word)}
    wanted = set(workloads)
    taken = {service for service, _ in routing.services}
    over_all = [
        (name not in routing.routed.ports, len(found), name)
        for name in observed.services
        if name not in taken and wanted <= set(found := selected(observed, name)) and found
    ]
    if wanted and over_all:
        _, number, name = min(over_all)
        others = sorted(other for _, _, other in over_all if other != name)
        beside = f"; so do {', '.join(others)}" if others else ""
        more = f"; it also selects {number - len(wanted)} workload(s) that are not units" if number > len(wanted) else ""
        return {
            "name": read(name, f"it selects the pods of every unit{beside}{more}"),
            "port": _capacity_port(observed, routing, name, port),
        }
    return {
        "name": assumed(f"{routing.routed.name}-all", f"no Service selects the pods of all units: {_how_to_make(observed, wanted)}"),
        "port": assumed(port, "the port of the units' Services"),
    }


def _capacity_port(observed: Observation, routing: Routing, service: str, like: int | str) -> Fact:
    if service in routing.routed.ports:
        return read(*routing.routed.ports[service])
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
    routed, part = routing.routed, routing.part.name
    better = "; a name would be better: a rule that somebody adds moves the index" if routed.is_route and part.isdigit() else ""
    given = {name: f"given with {routed.option}" for name, value in routed.fields(part).items() if value == routed.name}
    facts = {name: read(value, given.get(name, f"{routing.why}{better}")) for name, value in routed.fields(part).items()}
    if routing.style is RoutingStyle.IN_PLACE:
        facts["routingStyle"] = read(str(routing.style), "capacity mode forwards to the units' own Services")
    return facts


def policy_facts(routing: Routing, units: int, capacity: str) -> dict[str, Fact]:
    """The facts of ``spec.policy`` that differ from the defaults.

    Args:
        routing: The live routing.
        units: The number of units.
        capacity: The capacity Service.
    """
    facts: dict[str, Fact] = {}
    if len(routing.weights) < units:
        facts["weightStrategy"] = assumed(
            "inverse-cost", f"no {routing.routed.part} of the {routing.routed.kind} states weights of cost mode for every unit"
        )
    sticky_s = routing.part.stickiness_s
    if routing.routed.is_route:
        pass  # the file of a route states no stickiness
    elif routing.mode is Mode.COST and len(routing.part.targets) > 1:
        facts["stickinessCostSeconds"] = read(sticky_s, "the live action")
    elif routing.mode is Mode.CAPACITY:
        facts["stickinessCapacitySeconds"] = read(sticky_s, f"the live action{'; 0 is better' if sticky_s else ''}")
    if routing.style is RoutingStyle.SINGLE_SERVICE and algorithm_of(routing.routed.attributes.get(capacity, "")) == LEAST_OUTSTANDING:
        facts["capacityWeights"] = read(str(CapacityWeights.READY_THROUGHPUT), f"the target group of {capacity}: {LEAST_OUTSTANDING}")
    return facts


def unit_weight(routing: Routing, service: str) -> Fact | None:
    """A unit's weight in cost mode, None if none is stated."""
    if service in routing.weights:
        return read(routing.weights[service], routing.weights_from)
    return None
