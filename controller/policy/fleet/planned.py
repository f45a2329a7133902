"""What strategy `planned` runs, or would run: the cheapest fleet for the expected demand, beside what is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from controller.policy.account import Figures, demand_age_s, needed_replicas, placed
from controller.policy.fleet.expected import expected_demand
from controller.policy.fleet.offers import MAX_ABOVE_SCALER, offered, paid, refused
from controller.policy.fleet.search import cheapest_fleet
from controller.policy.model import Memory, Needs, PlannedFleet, Snapshot, Strategy, Unit, UnitEvidence, WeightStrategy
from controller.policy.routing import base_weights


def planned(snapshot: Snapshot, figures: Figures, evidence: Mapping[str, UnitEvidence], memory: Memory) -> PlannedFleet | None:
    """The fleet that strategy `planned` runs, or would run now.

    Args:
        snapshot: What is observed.
        figures: For the demand.
        evidence: What is proven, by unit.
        memory: For the demands so far, which say what to expect one cold start from now, that of the slowest unit, however old the metrics
            are; and for the floors that others set last.

    Returns:
        None with another strategy, and where the demand is not known: missing metrics plan nothing.
    """
    policy, units = snapshot.application.policy, snapshot.application.units
    if policy.strategy is not Strategy.PLANNED or figures.demand is None:
        return None
    ahead_s = max(unit.cold_start_s for unit in units) + demand_age_s(snapshot)
    served = sum((snapshot.units[unit.name].ready or 0) * unit.throughput for unit in units)
    expected = expected_demand(memory.demand_history, snapshot.now, figures.demand, ahead_s, served)
    most = figures.demand * (1 + MAX_ABOVE_SCALER)
    demand = min(expected.demand, most)
    needs = Needs(demand, demand * policy.resilience_share)
    # The optimum with hindsight: the whole replicas for the demand of now, none of which needs a start.
    unbounded = [replace(offer, start=0.0, stop=0.0) for offer in offered(snapshot, None, evidence, memory)]
    return PlannedFleet(
        expected=demand,
        shortfall=expected.shortfall,
        forecast=expected.followed,
        loss=expected.loss,
        needs=needs,
        fleet=cheapest_fleet(offered(snapshot, figures.demand, evidence, memory), needs),
        present=_bill(units, {unit.name: placed(snapshot.units[unit.name]) for unit in units}, paid(snapshot, free=False)),
        weighted=_bill(units, _weighted(snapshot, figures.demand), paid(snapshot)),
        least=cheapest_fleet(unbounded, Needs(figures.demand, 0.0)).price,
        live=policy.plans_floors,
        missed=_missed(snapshot, figures.demand, evidence, memory, needs) if policy.plans_floors else frozenset(),
    )


def _bill(units: Sequence[Unit], replicas: Mapping[str, int], paid: Mapping[str, int]) -> float:
    """The price of replicas as that of a fleet is counted, US dollars per hour: without what a reservation pays already."""
    return sum(unit.price_per_hour * max(0, replicas[unit.name] - paid[unit.name]) for unit in units)


def _weighted(snapshot: Snapshot, demand: float) -> dict[str, int]:
    """The whole replicas that the weights of the application file need at a demand, by unit.

    Weights that depend on what is ready are those of units that have all their replicas. Where a weight is missing, merit order counts.
    """
    application = snapshot.application
    units, strategy = application.units, application.policy.weight_strategy
    if strategy is WeightStrategy.EXPLICIT and any(unit.weight is None for unit in units):
        strategy = WeightStrategy.MERIT_ORDER
    weights = base_weights(units, strategy, demand, {unit.name: unit.max_replicas for unit in units})
    return needed_replicas(snapshot, weights, demand)


def _missed(snapshot: Snapshot, demand: float, evidence: Mapping[str, UnitEvidence], memory: Memory, needs: Needs) -> frozenset[str]:
    """Units that get no new replica, and of which the cheapest fleet would have more than are ready if they did."""
    short = [name for name, judged in evidence.items() if refused(judged)]
    if not short:
        return frozenset()
    replicas = cheapest_fleet(offered(snapshot, demand, evidence, memory, refusals=False), needs).replicas
    return frozenset(name for name in short if replicas[name] > evidence[name].lasting)
