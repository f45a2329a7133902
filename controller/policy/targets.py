"""Which routing action each mode wants, from what is ready."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from controller.policy.demand import total_demand
from controller.policy.model import (
    Application,
    Mode,
    RoutingStyle,
    Snapshot,
    Strategy,
    Target,
    WeightStrategy,
)
from controller.policy.weights import apply_availability, base_weights

_FOLLOW_READY: Final = frozenset({WeightStrategy.MERIT_ORDER, WeightStrategy.READY_PROPORTIONAL})


def weight_strategy(application: Application) -> WeightStrategy:
    """The strategy of cost mode's weights: `adaptive` is merit order over ready capacity, whatever the file's base weights are."""
    return WeightStrategy.MERIT_ORDER if application.policy.strategy is Strategy.ADAPTIVE else application.policy.weight_strategy


def ready_replicas(snapshot: Snapshot) -> dict[str, int]:
    """Ready replicas by unit, of those where they are known."""
    return {name: observed.ready for name, observed in snapshot.units.items() if observed.ready is not None}


def intended_weights(snapshot: Snapshot, returning: Iterable[str] = ()) -> dict[str, int]:
    """The weights of cost mode that the replicas are planned for.

    Args:
        snapshot: What is observed.
        returning: Units whose capacity comes back: they count as if they were ready.

    Returns:
        By unit. A unit that is known to have nothing ready and is not coming back gets 0: the others must be able to carry its share.
    """
    application, ready, back = snapshot.application, ready_replicas(snapshot), set(returning)
    strategy = weight_strategy(application)
    if strategy in _FOLLOW_READY:
        planned = {unit.name: max(ready.get(unit.name, 1), 1 if unit.name in back else 0) for unit in application.units}
        return base_weights(application.units, strategy, total_demand(snapshot), planned)
    base = base_weights(application.units, strategy, None, ready)
    availability = {name: 0.0 if ready.get(name) == 0 and name not in back else 1.0 for name in base}
    return apply_availability(base, availability) or base


def cost_weights(snapshot: Snapshot) -> dict[str, int]:
    """The weights of cost mode, following each unit's availability.

    Returns:
        By unit; empty where no unit that carries weight can serve. Availability is 0 with no ready replica: its target group is empty and
        would answer 503. Otherwise it is 1: a unit that is only partly short, or merely scales up, keeps its share.
    """
    application = snapshot.application
    ready = ready_replicas(snapshot)
    strategy = weight_strategy(application)
    if strategy in _FOLLOW_READY:
        known = {unit.name: ready.get(unit.name, 1) for unit in application.units}
        return base_weights(application.units, strategy, total_demand(snapshot), known) if any(known.values()) else {}
    base = base_weights(application.units, strategy, None, ready)
    return apply_availability(base, {name: 0.0 if ready.get(name) == 0 else 1.0 for name in base})


def cost_targets(application: Application, weights: Mapping[str, int]) -> tuple[Target, ...]:
    """The routing action of cost mode, in the application's order."""
    return tuple(Target(unit.backend.service, unit.backend.port, weights.get(unit.name, 0)) for unit in application.units)


def capacity_targets(snapshot: Snapshot) -> tuple[Target, ...]:
    """The routing action of capacity mode: one Service over all pods, or the units' own weighted by their ready replicas."""
    application = snapshot.application
    if application.routing_style is RoutingStyle.SINGLE_SERVICE:
        return (Target(application.capacity.service, application.capacity.port, 1),)
    weights = base_weights(application.units, WeightStrategy.READY_PROPORTIONAL, None, ready_replicas(snapshot))
    return cost_targets(application, weights)


def stickiness(application: Application, mode: Mode) -> int:
    """Target-group stickiness of a mode, seconds."""
    return application.policy.stickiness_capacity_s if mode is Mode.CAPACITY else application.policy.stickiness_cost_s
