"""The figures that one decision rests on, computed once from its snapshot."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Self

from controller.policy.account.demand import needed_replicas, total_demand
from controller.policy.account.known_demand import known_in_part
from controller.policy.model import Application, Snapshot
from controller.policy.routing import (
    apply_availability,
    availability,
    base_weights,
    carrying,
    follows_ready,
    healthy_targets,
    least_overload,
    leaving,
    ready_shares,
    serving_replicas,
    weight_strategy,
)


@dataclass(frozen=True, slots=True)
class Figures:
    """How much there is to serve, what can serve it, and the weights of cost mode that follow.

    Attributes:
        demand: Requests per metric period over all units; None where it is not known. See `demand.total_demand`.
        healthy: Healthy targets by Service, as far as the load balancer was observed lately.
        serving: Replicas that can serve, by unit, of those where anything is known.
        intended: The weights of cost mode by unit that the replicas are planned for. A unit without a serving replica whose capacity does
            not come back gets 0: the others must be able to carry its share.
        cost: The weights of cost mode by unit, following each unit's availability; empty where no unit that carries weight can serve.
        ending: Units some of whose replicas a Capacity Block takes away soon: the others are planned to carry their part.
        cut: Units that get less than their base weight, but more than 0, because too few of their replicas can serve.
        needed: The ready replicas that the intended weights need at the present demand, by unit; before rounding, where they follow ready
            replicas.
        whole_demand: The demand; None also where a counter without a value may hide a part of it. See `known_demand.known_in_part`.
    """

    demand: float | None
    healthy: Mapping[str, int]
    serving: Mapping[str, int]
    intended: Mapping[str, int]
    cost: Mapping[str, int]
    cut: frozenset[str]
    needed: Mapping[str, int]
    ending: frozenset[str] = frozenset()
    whole_demand: float | None = None

    @classmethod
    def of(cls, snapshot: Snapshot, returning: Iterable[str] = ()) -> Self:
        """The figures of a snapshot.

        Args:
            snapshot: What is observed.
            returning: Units whose capacity comes back: replicas are planned as if theirs were ready.

        Raises:
            ValueError: The units' weights, prices or throughputs are impossible; see `weights.base_weights`.
        """
        application, demand, healthy = snapshot.application, total_demand(snapshot), healthy_targets(snapshot)
        whole = None if demand is None or known_in_part(snapshot) else demand
        serving, back = serving_replicas(snapshot, healthy), frozenset(returning)
        carried = carrying(application)
        gone = {name: leaving(snapshot, name, planned=True) if name in carried else 0 for name in serving}
        lasting = {name: max(0, count + leaving(snapshot, name) - gone[name]) if gone[name] else count for name, count in serving.items()}
        ending = frozenset(name for name, count in gone.items() if count)
        if follows_ready(application):
            known = _known_replicas(application, serving)
            shares = _intended_shares(application, demand, known, lasting, back - ending)
            cost = _following_ready(application, whole, known)
            needed, cut = needed_replicas(snapshot, shares, demand), frozenset[str]()
            return cls(demand, healthy, serving, least_overload(shares), cost, cut, needed, ending, whole)
        intended, cost, cut = _following_availability(application, demand, serving, back - ending)
        intended = _without_ending(application, demand, lasting, intended, ending)
        return cls(demand, healthy, serving, intended, cost, cut, needed_replicas(snapshot, intended, demand), ending, whole)


_Weights = tuple[Mapping[str, int], Mapping[str, int], frozenset[str]]
"""The intended weights, those of cost mode, and the units that are cut."""


def _known_replicas(application: Application, serving: Mapping[str, int]) -> dict[str, int]:
    """The replicas that can serve; a unit of which nothing is known counts as one replica."""
    return {unit.name: serving.get(unit.name, 1) for unit in application.units}


def _intended_shares(
    application: Application, demand: float | None, known: Mapping[str, int], lasting: Mapping[str, int], back: Collection[str]
) -> Mapping[str, Fraction]:
    """The intended shares where they follow the ready replicas, so that no unit is cut; not rounded, see `weights.ready_shares`."""
    planned = {name: max(lasting.get(name, count), 1 if name in back else 0) for name, count in known.items()}
    return ready_shares(application.units, weight_strategy(application), demand, planned)


def _following_ready(application: Application, demand: float | None, known: Mapping[str, int]) -> Mapping[str, int]:
    """The weights of cost mode where they follow the ready replicas.

    Args:
        application: The application.
        demand: Requests per metric period; None where they may be more than is known: else the cheapest replicas for a part would get all.
        known: See `_known_replicas`.
    """
    return base_weights(application.units, weight_strategy(application), demand, known) if any(known.values()) else {}


def _without_ending(
    application: Application, demand: float | None, lasting: Mapping[str, int], intended: Mapping[str, int], ending: Collection[str]
) -> Mapping[str, int]:
    """The intended weights where units lose replicas soon: theirs is scaled by what they will be able to serve.

    The others are then planned for the rest before any traffic moves. The weights stay as they are where nothing would be left.
    """
    if not ending:
        return intended
    shares = availability(application, intended, lasting, demand)
    return apply_availability(intended, {name: shares[name] if name in ending else 1.0 for name in intended}) or intended


def _following_availability(application: Application, demand: float | None, serving: Mapping[str, int], back: Collection[str]) -> _Weights:
    """Base weights, scaled by how much of each unit can serve."""
    base = base_weights(application.units, weight_strategy(application), None, {})
    present = {name: 0.0 if serving.get(name) == 0 and name not in back else 1.0 for name in base}
    shares = availability(application, base, serving, demand)
    cut = frozenset(name for name, share in shares.items() if 0 < share < 1 and base[name])
    return apply_availability(base, present) or base, apply_availability(base, shares), cut
