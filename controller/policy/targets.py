"""Which routing action each mode wants, from what can serve."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from controller.policy import text
from controller.policy.availability import availability, serving_replicas
from controller.policy.demand import capacity_throughputs, total_demand
from controller.policy.model import (
    Application,
    CapacityWeights,
    Mode,
    RoutingStyle,
    Snapshot,
    Strategy,
    Target,
    WeightStrategy,
)
from controller.policy.routing import MAX_TARGET_GROUPS
from controller.policy.weights import apply_availability, base_weights, largest_remainder

_FOLLOW_READY: Final = frozenset({WeightStrategy.MERIT_ORDER, WeightStrategy.READY_PROPORTIONAL})


def weight_strategy(application: Application) -> WeightStrategy:
    """The strategy of cost mode's weights: `adaptive` is merit order over ready capacity, whatever the file's base weights are."""
    return WeightStrategy.MERIT_ORDER if application.policy.strategy is Strategy.ADAPTIVE else application.policy.weight_strategy


def carries(application: Application, name: str) -> bool:
    """Whether cost mode sends traffic to the unit at all: the shortage of one with an explicit weight of 0 harms nobody."""
    return weight_strategy(application) is not WeightStrategy.EXPLICIT or application.unit(name).weight != 0


def follows_ready(application: Application) -> bool:
    """Whether the weights of cost mode follow the ready replicas by themselves, and with merit order the demand."""
    return weight_strategy(application) in _FOLLOW_READY


def intended_weights(snapshot: Snapshot, returning: Iterable[str] = ()) -> dict[str, int]:
    """The weights of cost mode that the replicas are planned for.

    Args:
        snapshot: What is observed.
        returning: Units whose capacity comes back: they count as if they were ready.

    Returns:
        By unit. A unit that is known to have nothing that serves and is not coming back gets 0: the others must be able to carry its share.
    """
    application, serving, back = snapshot.application, serving_replicas(snapshot), set(returning)
    strategy = weight_strategy(application)
    if strategy in _FOLLOW_READY:
        planned = {unit.name: max(serving.get(unit.name, 1), 1 if unit.name in back else 0) for unit in application.units}
        return base_weights(application.units, strategy, total_demand(snapshot), planned)
    base = base_weights(application.units, strategy, None, serving)
    present = {name: 0.0 if serving.get(name) == 0 and name not in back else 1.0 for name in base}
    return apply_availability(base, present) or base


def cost_weights(snapshot: Snapshot) -> dict[str, int]:
    """The weights of cost mode, following each unit's availability.

    Returns:
        By unit; empty where no unit that carries weight can serve.
    """
    application = snapshot.application
    serving = serving_replicas(snapshot)
    strategy = weight_strategy(application)
    if strategy in _FOLLOW_READY:
        known = {unit.name: serving.get(unit.name, 1) for unit in application.units}
        return base_weights(application.units, strategy, total_demand(snapshot), known) if any(known.values()) else {}
    base = base_weights(application.units, strategy, None, serving)
    return apply_availability(base, availability(snapshot, base))


def cut_units(snapshot: Snapshot) -> frozenset[str]:
    """Units that get less than their base weight because too few of their replicas can serve, but some."""
    application = snapshot.application
    strategy = weight_strategy(application)
    if strategy in _FOLLOW_READY:
        return frozenset()
    base = base_weights(application.units, strategy, None, {})
    return frozenset(name for name, share in availability(snapshot, base).items() if 0 < share < 1 and base[name])


def uncut(snapshot: Snapshot) -> bool:
    """Whether every unit that serves at all has its full weight, where weights do not follow the ready replicas anyway."""
    return not follows_ready(snapshot.application) and not cut_units(snapshot)


def cost_targets(application: Application, weights: Mapping[str, int]) -> tuple[Target, ...]:
    """The routing action of cost mode, in the application's order."""
    return tuple(Target(unit.backend.service, unit.backend.port, weights.get(unit.name, 0)) for unit in application.units)


def capacity_targets(snapshot: Snapshot) -> tuple[Target, ...]:
    """The routing action of capacity mode: one Service over all pods, or the units' own weighted by what can serve."""
    return _capacity_targets(snapshot.application, serving_replicas(snapshot))


def _capacity_targets(application: Application, serving: Mapping[str, int]) -> tuple[Target, ...]:
    if application.routing_style is RoutingStyle.SINGLE_SERVICE:
        return (Target(application.capacity.service, application.capacity.port, 1),)
    return cost_targets(application, _in_place_weights(application, serving))


def _in_place_weights(application: Application, serving: Mapping[str, int]) -> dict[str, int]:
    if application.policy.capacity_weights is CapacityWeights.READY or not any(serving.values()):
        return base_weights(application.units, WeightStrategy.READY_PROPORTIONAL, None, serving)
    return largest_remainder({unit.name: serving.get(unit.name, 0) * unit.throughput for unit in application.units})


def targets_at_rest(application: Application, mode: Mode) -> tuple[Target, ...]:
    """The routing action of a mode while nothing is known of replicas: as many of every unit, each able to serve. For a new Ingress."""
    if mode is Mode.CAPACITY:
        return _capacity_targets(application, {})
    return cost_targets(application, base_weights(application.units, weight_strategy(application), None, {}))


def keda_targets(application: Application, mode: Mode) -> dict[str, str]:
    """Requests a replica and period that each scaler aims at: in cost mode what it can serve, in capacity mode `capacity_throughputs`."""
    if mode is Mode.CAPACITY:
        return {name: text.number(value) for name, value in capacity_throughputs(application).items()}
    return {unit.name: text.number(unit.throughput) for unit in application.units}


def return_targets(snapshot: Snapshot, step: int) -> tuple[Target, ...]:
    """The routing action of one step of a gradual fallback.

    With the single-service style the capacity Service keeps what the units do not get yet. AWS allows five target groups an action, so the
    four units of the most weight are stepped up, and a fifth keeps getting its traffic through the capacity Service until the last step.

    Args:
        snapshot: What is observed.
        step: From 1 to the policy's `return_steps` less 1; the last step is `cost_targets`.

    Returns:
        Targets whose weights add up to 100; those of capacity mode where no unit that carries weight can serve.
    """
    application = snapshot.application
    weights, share = cost_weights(snapshot), step / application.policy.return_steps
    whole = sum(weights.values())
    if whole == 0:
        return capacity_targets(snapshot)
    direct = {name: share * weight / whole for name, weight in weights.items()}
    if application.routing_style is RoutingStyle.IN_PLACE:
        present = _in_place_weights(application, serving_replicas(snapshot))
        total = sum(present.values())
        mixed = {name: direct[name] + (1 - share) * present[name] / total for name in direct}
        return cost_targets(application, largest_remainder(mixed))
    heaviest = sorted(direct, key=lambda name: -direct[name])[: MAX_TARGET_GROUPS - 1]
    stepped = {name: direct[name] for name in direct if name in heaviest and direct[name] > 0}
    rounded = largest_remainder({"": 1 - sum(stepped.values()), **stepped})
    units = [Target(one.backend.service, one.backend.port, rounded[one.name]) for one in application.units if one.name in stepped]
    return (Target(application.capacity.service, application.capacity.port, rounded[""]), *units)


def stickiness(application: Application, mode: Mode) -> int:
    """Target-group stickiness of a mode, seconds."""
    return application.policy.stickiness_capacity_s if mode is Mode.CAPACITY else application.policy.stickiness_cost_s
