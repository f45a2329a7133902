"""Beyond two modes: the cheapest feasible split of the demand over the units, and what production's weights cost against it.

At any moment the units can carry what their capacity allows; the cheapest split is a linear program. Its optimum is what no controller can
go below; production's weights pay more because replicas are whole and at least one each, because they follow what is *ready*, because a
replica that is asked for serves only after its cold start, and because KEDA's HPA leaves a tenth alone. Each is shown by itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from controller.policy.figures import Figures
from controller.policy.model import (
    Application,
    PoolObservation,
    RoutingObservation,
    Sample,
    Snapshot,
    Strategy,
    Unit,
    UnitObservation,
)
from controller.policy.weights import cost_per_request
from research.traces import Trace

HPA_TOLERANCE: Final = 0.1
"""Kubernetes' horizontal pod autoscaler leaves a ratio within a tenth of 1 alone (its --horizontal-pod-autoscaler-tolerance)."""

COLD_START_S: Final = 600.0
"""From asking for a replica to its first request, seconds: the middle of the source's 5 to 15 minutes."""

UNSERVED: Final = 10.0
"""What a request that nobody can carry counts in the linear program, in units of the dearest unit's price: never worth it."""


@dataclass(frozen=True, slots=True)
class Split:
    """The cheapest split at one moment.

    Attributes:
        served: Requests a period, by unit.
        unserved: Requests a period that no unit can carry.
        cost: $/h of the replicas.
        replicas: By unit; fractions unless they were asked to be whole.
    """

    served: Mapping[str, float]
    unserved: float
    cost: float
    replicas: Mapping[str, float]


def cheapest(units: Sequence[Unit], demand: float, most: Mapping[str, int], *, whole: bool = False) -> Split:
    """The linear program: the least ``sum(price_i n_i)`` with ``x_i <= T_i n_i``, ``sum(x_i) + unserved = demand``, ``n_i <= most_i``.

    Args:
        units: For price and throughput T.
        demand: Requests a period.
        most: Replicas that each unit could have, by name.
        whole: Replicas are whole, and at least one where a unit could have one: a mixed-integer program.

    Raises:
        ArithmeticError: The solver (HiGHS) gave up; the program itself always has a solution.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    count = len(units)
    dearest = max(cost_per_request(unit) for unit in units)
    # One variable a unit (its replicas) and one for what is unserved; what they serve together is the demand or more, never paid twice.
    prices = [*(unit.price_per_hour for unit in units), UNSERVED * dearest]
    serves = [[*(unit.throughput for unit in units), 1.0]]
    least = [*(min(unit.min_replicas, most[unit.name]) if whole else 0 for unit in units), 0.0]
    found = milp(
        prices,
        integrality=[1 if whole else 0] * count + [0],
        bounds=Bounds(least, [*(most[unit.name] for unit in units), math.inf]),
        constraints=LinearConstraint(serves, demand, math.inf),
    )
    if not found.success:
        raise ArithmeticError(f"no split of {demand:g} requests: {found.message}")
    replicas = {unit.name: float(value) for unit, value in zip(units, found.x, strict=False)}
    served = _filled(units, replicas, demand)
    cost = sum(unit.price_per_hour * replicas[unit.name] for unit in units)
    return Split(served, max(0.0, demand - sum(served.values())), cost, replicas)


def _filled(units: Sequence[Unit], replicas: Mapping[str, float], demand: float) -> dict[str, float]:
    """What each unit serves, the cheapest first."""
    served, left = {}, demand
    for unit in sorted(units, key=cost_per_request):
        served[unit.name] = min(left, replicas[unit.name] * unit.throughput)
        left -= served[unit.name]
    return served


@dataclass(slots=True)
class Fleet:
    """Replicas of the units under KEDA, with production's weights in front.

    Attributes:
        application: What is run; its policy's strategy decides the weights.
        step_s: Seconds a step.
        planned: Whether replicas are also asked for as the merit order over all that *could* be had needs them, not only as the counters
            show. Production does not; this is what it would gain.
        ready: Replicas that serve, by unit.
        starting: Replicas on their way: for each, by unit, the steps that are left.
        weights: The weights of the last step, by unit.
    """

    application: Application
    step_s: float
    planned: bool = False
    ready: dict[str, int] = field(default_factory=dict)
    starting: dict[str, list[int]] = field(default_factory=dict)
    weights: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for unit in self.application.units:
            self.ready[unit.name], self.starting[unit.name] = unit.min_replicas, []

    def step(self, demand: float, most: Mapping[str, int]) -> Step:
        """One step: capacity goes, replicas start to serve, traffic is split, replicas are paid for, KEDA asks for others.

        Args:
            demand: Requests a period.
            most: Replicas that each unit can have now.
        """
        self._limit(most)
        seen = self._snapshot(demand)
        figures = Figures.of(seen)
        self.weights = dict(figures.cost) or self.weights or dict(figures.intended)
        whole = sum(self.weights.values()) or 1
        sent = {name: demand * weight / whole for name, weight in self.weights.items()}
        units = {unit.name: unit for unit in self.application.units}
        late = sum(max(0.0, sent[name] - self.ready[name] * units[name].throughput) for name in sent)
        paid = sum((self.ready[name] + len(self.starting[name])) * units[name].price_per_hour for name in units)
        wanted = self._floors(demand, most) if self.planned else {}
        for name, unit in units.items():
            self._scale(unit, sent.get(name, 0.0), most[name], wanted.get(name, 0))
        return Step(paid, late, demand, dict(sent))

    def _floors(self, demand: float, most: Mapping[str, int]) -> dict[str, int]:
        """The cheapest replicas for the demand beside those that every unit keeps anyway, by unit."""
        floors = {unit.name: min(unit.min_replicas, most[unit.name]) for unit in self.application.units}
        left = demand - sum(floors[unit.name] * unit.throughput for unit in self.application.units)
        for unit in sorted(self.application.units, key=cost_per_request):
            more = min(most[unit.name] - floors[unit.name], max(0, math.ceil(left / unit.throughput)))
            floors[unit.name] += more
            left -= more * unit.throughput
        return floors

    def _limit(self, most: Mapping[str, int]) -> None:
        for name, left in self.starting.items():
            self.ready[name] += sum(1 for steps in left if steps <= 1)
            self.starting[name] = [steps - 1 for steps in left if steps > 1]
            self.ready[name] = min(self.ready[name], most[name])
            self.starting[name] = self.starting[name][: most[name] - self.ready[name]]

    def _scale(self, unit: Unit, sent: float, most: int, floor: int) -> None:
        """The HPA's ``ceil(replicas * metric / target)`` for an average value, outside its tolerance, within the limits."""
        present = self.ready[unit.name] + len(self.starting[unit.name])
        used = sent / unit.throughput
        asked = present if present and abs(used / present - 1) <= HPA_TOLERANCE else math.ceil(used - 1e-9)
        asked = min(most, max(asked, floor, unit.min_replicas))
        if asked > present:
            self.starting[unit.name] += [max(1, math.ceil(COLD_START_S / self.step_s))] * (asked - present)
        elif asked < present:
            gone = present - asked
            cut = min(gone, len(self.starting[unit.name]))
            self.starting[unit.name] = self.starting[unit.name][: len(self.starting[unit.name]) - cut]
            self.ready[unit.name] -= gone - cut

    def _snapshot(self, demand: float) -> Snapshot:
        whole = sum(self.weights.values()) or 1
        units = {}
        for unit in self.application.units:
            ready, name = self.ready[unit.name], unit.name
            counted = Sample(demand * self.weights.get(name, 0) / whole if self.weights else demand / len(self.application.units), 0.0)
            units[name] = UnitObservation(name, PoolObservation(unit.node_pool), desired=ready, ready=ready, demand=counted)
        return Snapshot(0.0, self.application, RoutingObservation(exists=True), units)


@dataclass(frozen=True, slots=True)
class Step:
    """What happened in one step.

    Attributes:
        paid: $/h.
        late: Requests a period beyond what their unit's ready replicas carry: they wait or fail.
        demand: Requests a period.
        sent: Requests a period, by unit.
    """

    paid: float
    late: float
    demand: float
    sent: Mapping[str, float]


def most_replicas(application: Application, pools: Mapping[str, Trace], tick: int, limit: int) -> dict[str, int]:
    """Replicas that each unit can have: none while its NodePool has no capacity (spot: they are taken away), else `limit`."""
    return {unit.name: min(limit, unit.max_replicas) if pools[unit.node_pool].available[tick] else 0 for unit in application.units}


STRATEGIES: Final[Mapping[str, tuple[Strategy, bool]]] = {
    "two-mode": (Strategy.TWO_MODE, False),
    "adaptive": (Strategy.ADAPTIVE, False),
    "adaptive, planned": (Strategy.ADAPTIVE, True),
}
"""By name: production's strategy, and whether replicas are planned (see `Fleet`)."""


@dataclass(frozen=True, slots=True)
class Bill:
    """What one demand cost.

    Attributes:
        linear: $ of the linear program.
        whole: $ of the program of whole replicas, at least one each.
        paid: $ by strategy.
        late: Share of the requests that were sent to a unit beyond what its ready replicas carry, by strategy, 0 to 1.
        unserved: Share of the requests that not even the linear program could serve, 0 to 1.
    """

    linear: float
    whole: float
    paid: Mapping[str, float]
    late: Mapping[str, float]
    unserved: float


def compared(application: Application, demands: Sequence[float], pools: Mapping[str, Trace], limit: int) -> Bill:
    """Every strategy's bill on one demand, beside the optimum's.

    Args:
        application: For the units; its strategy is replaced.
        demands: Requests a period, one a tick.
        pools: Availability by NodePool.
        limit: Replicas that a unit may have at most.

    Raises:
        ValueError: The demand is longer than the availability.
    """
    step_s = next(iter(pools.values())).tick_s
    if any(len(trace.available) < len(demands) for trace in pools.values()):
        raise ValueError("the demand is longer than the availability")
    bounds = [most_replicas(application, pools, tick, limit) for tick in range(len(demands))]
    moments, hours, total = list(zip(demands, bounds, strict=True)), step_s / 3600, sum(demands)
    linear = [cheapest(application.units, demand, most) for demand, most in moments]
    whole = [cheapest(application.units, demand, most, whole=True) for demand, most in moments]
    paid, late = {}, {}
    for name, (strategy, planned) in STRATEGIES.items():
        fleet = Fleet(replace(application, policy=replace(application.policy, strategy=strategy)), step_s, planned)
        steps = [fleet.step(demand, most) for demand, most in moments]
        paid[name] = sum(step.paid for step in steps) * hours
        late[name] = sum(step.late for step in steps) / total
    return Bill(
        linear=sum(split.cost for split in linear) * hours,
        whole=sum(split.cost for split in whole) * hours,
        paid=paid,
        late=late,
        unserved=sum(split.unserved for split in linear) / total,
    )
