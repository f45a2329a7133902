"""The routing action of each mode, computed from what can serve."""

from __future__ import annotations

from collections.abc import Mapping

from controller.policy.model import Application, Mode, RoutingObservation, RoutingStyle, Snapshot, Target
from controller.policy.routing.rounding import least_overload
from controller.policy.routing.weights import base_weights, capacity_shares, weight_strategy


def cost_targets(application: Application, weights: Mapping[str, int]) -> tuple[Target, ...]:
    """The routing action of cost mode, in the application's order."""
    return tuple(Target(unit.backend.service, unit.backend.port, weights.get(unit.name, 0)) for unit in application.units)


def existing(targets: tuple[Target, ...], snapshot: Snapshot) -> tuple[Target, ...]:
    """The targets whose Services exist, as far as is known; all of them where none does.

    Of an action with several Services, one of which is missing, the load-balancer controller builds no rule, whatever the weights
    (docs/research/alb.md).
    """
    exists = {unit.backend.service: snapshot.units[unit.name].service_exists for unit in snapshot.application.units}
    return tuple(target for target in targets if exists.get(target.service) is not False) or targets


def capacity_targets(application: Application, serving: Mapping[str, int]) -> tuple[Target, ...]:
    """The routing action of capacity mode: one Service over all pods, or the units' own Services weighted by what can serve.

    Args:
        application: Its routing style decides which.
        serving: Replicas that can serve, by unit.
    """
    if application.routing_style is RoutingStyle.SINGLE_SERVICE:
        return (Target(application.capacity.service, application.capacity.port, 1),)
    return cost_targets(application, _in_place_weights(application, serving))


def _in_place_weights(application: Application, serving: Mapping[str, int]) -> dict[str, int]:
    shares = capacity_shares(application, serving)
    return least_overload(shares if any(shares.values()) else dict.fromkeys(shares, 1.0))


def targets_at_rest(application: Application, mode: Mode) -> tuple[Target, ...]:
    """The routing action of a mode for a new routing object, where no replicas are known: as if every unit had equally many that serve."""
    if mode is Mode.CAPACITY:
        return capacity_targets(application, {})
    return cost_targets(application, base_weights(application.units, weight_strategy(application), None, {}))


def stickiness(application: Application, mode: Mode, routing: RoutingObservation | None = None) -> int:
    """Target-group stickiness of a mode, seconds. Where another object states it, which nobody writes here, it is what is observed."""
    if routing is not None and routing.settings_elsewhere:
        return routing.stickiness_s
    return application.policy.stickiness_capacity_s if mode is Mode.CAPACITY else application.policy.stickiness_cost_s
