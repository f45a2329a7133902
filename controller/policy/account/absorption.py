"""Whether the ready rest can serve what short units cannot, so that the traffic need not leave cost mode.

A unit that is short serves what its replicas carry. What is left of its part of the demand goes to the other units, in proportion to the
throughput that each of them has to spare. Nobody is loaded beyond its throughput where that is possible, else up to the policy's limit.
The demand is the larger of the last sample and what the scalers have asked for since: a sample may be from before a rise.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from controller.policy.account.breach import latency_breach
from controller.policy.account.demand import asked_since
from controller.policy.account.figures import Figures
from controller.policy.model import Application, Snapshot, UnitEvidence
from controller.policy.routing import (
    apply_availability,
    availability,
    base_weights,
    carrying,
    follows_ready,
    largest_remainder,
    weight_strategy,
)

_STEPS: Final = 5  # from their throughput to the policy's limit: the least load of these at which the others can serve what is missing


@dataclass(frozen=True, slots=True)
class Absorption:
    """What the short units cannot serve, and what the others have to spare, at the least load at which that is enough.

    That load is between the rated throughput and the policy's `failover_utilization`; where even this is not enough it is the latter.

    Attributes:
        unmet: Requests per metric period that the short units cannot serve of their part of the demand.
        spare: Requests per metric period that the others can serve beyond theirs.
        utilization: The share of their throughput that is in use once those who can serve do so; infinite where nobody can.
        weights: The weights of cost mode by unit that distribute the demand so.
        cut: Short units that get less than their part, but more than nothing.
    """

    unmet: float
    spare: float
    utilization: float
    weights: Mapping[str, int]
    cut: frozenset[str]

    @property
    def fits(self) -> bool:
        """Whether the ready rest can serve what the short units cannot."""
        return self.unmet <= self.spare


def absorption(snapshot: Snapshot, figures: Figures, evidence: Mapping[str, UnitEvidence]) -> Absorption | None:
    """What the units that are short cannot serve, and what the others can.

    Args:
        snapshot: What is observed.
        figures: Demand, serving replicas and weights.
        evidence: What is proven, by unit.

    Returns:
        None where no unit with traffic is short, and where the demand or the serving replicas of a short unit are not known.
    """
    application, demand = snapshot.application, figures.demand
    used = carrying(application)
    short = [name for name, judged in evidence.items() if judged.short and name in used]
    if not short or demand is None or any(name not in figures.serving for name in short):
        return None
    able = [
        name
        for name, judged in evidence.items()
        if judged.can_serve and figures.serving.get(name) and not latency_breach(snapshot, (name,))  # what is too slow has no room
    ]
    since = asked_since(snapshot)
    if follows_ready(application):
        carried, demand = _carried(application, figures), max(demand, sum(since.values()))
        return _of_all(application, figures, demand, [carried[name] for name in (*short, *able)])
    return _spilled(snapshot, figures, demand, (short, able), since)


def _of_all(application: Application, figures: Figures, demand: float, carried: Collection[float]) -> Absorption:
    """With weights that follow the ready replicas: the demand is distributed over all of them."""
    together = sum(carried)
    room = application.policy.failover_utilization * together
    utilization = demand / together if together > 0 else float("inf")
    return Absorption(max(0.0, demand - room), 0.0, utilization, figures.cost, frozenset())


def _carried(application: Application, figures: Figures) -> dict[str, float]:
    """What the serving replicas of each unit carry, of those where anything is known; both sides are such units."""
    return {name: serving * application.unit(name).throughput for name, serving in figures.serving.items()}


def _spilled(
    snapshot: Snapshot, figures: Figures, demand: float, sides: tuple[Collection[str], Collection[str]], since: Mapping[str, float]
) -> Absorption:
    """With weights of their own: what exceeds the room of a short unit goes where there is room left.

    Args:
        snapshot: For the application.
        figures: The serving replicas.
        demand: Requests per metric period over all units.
        sides: The units that are short, and those that could take their traffic.
        since: See `demand.asked_since`.
    """
    application, (short, able) = snapshot.application, sides
    base, carried = base_weights(application.units, weight_strategy(application), None, {}), _carried(application, figures)
    shares = {**availability(application, base, figures.serving, demand), **dict.fromkeys(short, 1.0)}
    whole = sum(base[name] * shares[name] for name in base)
    demand = max(demand, *(least * whole / base[name] for name, least in since.items() if base[name]), 0.0)
    asked = {name: demand * base[name] * shares[name] / whole for name in base}
    highest = application.policy.failover_utilization
    least = min(1.0, highest)
    tried = [
        (
            {name: max(0.0, asked[name] - load * carried[name]) for name in short},
            {name: max(0.0, load * carried[name] - asked[name]) for name in able if base[name]},
        )
        for load in (least + (highest - least) * step / _STEPS for step in range(_STEPS + 1))
    ]
    over, room = next((one for one in tried if sum(one[0].values()) <= sum(one[1].values())), tried[-1])
    unmet, spare = sum(over.values()), sum(room.values())
    used = sum(asked[name] for name, left in room.items() if left) + unmet
    together = sum(carried[name] for name, left in room.items() if left)
    served = {name: asked[name] - over.get(name, 0.0) + (unmet / spare if spare else 0.0) * room.get(name, 0.0) for name in asked}
    weights = largest_remainder(served) if unmet > 0 and any(served.values()) else apply_availability(base, shares)
    cut = frozenset(name for name, left in over.items() if 0 < left < asked[name])
    return Absorption(unmet, spare, used / together if together > 0 else float("inf"), weights, cut)
