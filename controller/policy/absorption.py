"""Whether the ready rest can serve what short units cannot, so that the traffic need not leave cost mode.

A unit that is short serves what its replicas carry. What is left of its part of the demand goes to the other units, in proportion to the
throughput that each of them has to spare. Nobody is loaded beyond its throughput where that is possible, else up to the policy's limit.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from controller.policy.availability import availability
from controller.policy.breach import latency_breach
from controller.policy.figures import Figures
from controller.policy.model import Application, Snapshot, UnitEvidence
from controller.policy.rounding import largest_remainder
from controller.policy.weights import apply_availability, base_weights, carries, follows_ready, weight_strategy

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
        most: The share of the demand that each short unit can serve, from 0 to 1.
    """

    unmet: float
    spare: float
    utilization: float
    weights: Mapping[str, int]
    cut: frozenset[str]
    most: Mapping[str, float]

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
    short = [name for name, judged in evidence.items() if judged.short and carries(application, name)]
    if not short or demand is None or any(name not in figures.serving for name in short):
        return None
    able = [
        name
        for name, judged in evidence.items()
        if judged.can_serve and figures.serving.get(name) and not latency_breach(snapshot, (name,))  # what is too slow has no room
    ]
    if follows_ready(application):
        carried = _carried(application, figures)
        return _of_all(application, figures, demand, [carried[name] for name in (*short, *able)])
    sides, highest = _sides(snapshot, figures, demand, short, able), application.policy.failover_utilization
    least = min(1.0, highest)
    loads = (least + (highest - least) * step / _STEPS for step in range(_STEPS + 1))
    load = next((load for load in loads if sides.unmet(load) <= sides.spare(load)), highest)
    return _spilled(sides, demand, load)


def _of_all(application: Application, figures: Figures, demand: float, carried: Collection[float]) -> Absorption:
    """With weights that follow the ready replicas: the demand is distributed over all of them."""
    together = sum(carried)
    room = application.policy.failover_utilization * together
    utilization = demand / together if together > 0 else float("inf")
    return Absorption(max(0.0, demand - room), 0.0, utilization, figures.cost, frozenset(), {})


@dataclass(frozen=True, slots=True)
class _Sides:
    """The demand of each unit in cost mode and what the units carry; neither depends on how far they are loaded.

    Attributes:
        short: The units that are short.
        able: The units with weight that can take their traffic.
        carried: What the serving replicas of each unit carry at their rated throughput, requests per metric period.
        asked: Each unit's part of the demand, requests per metric period.
        written: The weights of cost mode by unit while nothing is moved.
    """

    short: Collection[str]
    able: Collection[str]
    carried: Mapping[str, float]
    asked: Mapping[str, float]
    written: Mapping[str, int]

    def over(self, load: float) -> dict[str, float]:
        """What each short unit cannot serve of its part at a load, a share of the throughput."""
        return {name: max(0.0, self.asked[name] - load * self.carried[name]) for name in self.short}

    def room(self, load: float) -> dict[str, float]:
        """What each other unit can serve beyond its part at a load."""
        return {name: max(0.0, load * self.carried[name] - self.asked[name]) for name in self.able}

    def unmet(self, load: float) -> float:
        """The sum of `over`."""
        return sum(self.over(load).values())

    def spare(self, load: float) -> float:
        """The sum of `room`."""
        return sum(self.room(load).values())


def _sides(snapshot: Snapshot, figures: Figures, demand: float, short: Collection[str], able: Collection[str]) -> _Sides:
    """With weights of their own."""
    application = snapshot.application
    base = base_weights(application.units, weight_strategy(application), None, {})
    shares = {**availability(application, base, figures.serving, demand), **dict.fromkeys(short, 1.0)}
    whole = sum(base[name] * shares[name] for name in base)
    asked = {name: demand * base[name] * shares[name] / whole for name in base}
    carried = _carried(application, figures)
    return _Sides(short, [name for name in able if base[name]], carried, asked, apply_availability(base, shares))


def _carried(application: Application, figures: Figures) -> dict[str, float]:
    """What the serving replicas of each unit carry, of those where anything is known; both sides are such units."""
    return {name: serving * application.unit(name).throughput for name, serving in figures.serving.items()}


def _spilled(sides: _Sides, demand: float, load: float) -> Absorption:
    """What exceeds the room of a short unit goes where there is room left."""
    carried, asked, over, room = sides.carried, sides.asked, sides.over(load), sides.room(load)
    unmet, spare = sum(over.values()), sum(room.values())
    used = sum(asked[name] for name, left in room.items() if left) + unmet
    together = sum(carried[name] for name, left in room.items() if left)
    moved = unmet / spare if spare > 0 else 0.0
    served = {name: asked[name] - over.get(name, 0.0) + moved * room.get(name, 0.0) for name in asked}
    weights = largest_remainder(served) if unmet > 0 and any(served.values()) else sides.written
    cut = frozenset(name for name, left in over.items() if 0 < left < asked[name])
    most = {name: min(1.0, load * carried[name] / demand) if demand > 0 else 1.0 for name in sides.short}
    return Absorption(unmet, spare, used / together if together > 0 else float("inf"), weights, cut, most)
