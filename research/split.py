"""Beyond two modes: the cheapest feasible split of the demand over the units, and the cost of production's weights relative to it.

The cheapest split within the units' capacity is a linear program, whose optimum no controller can beat. Production's weights cost more for
four reasons: each unit has a whole number of replicas, at least one; weights follow *ready* replicas; a new replica serves only after its
cold start; and KEDA's HPA tolerates a tenth. The tables show each effect separately.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from controller.policy.expected_demand import noted_demand
from controller.policy.figures import Figures
from controller.policy.model import (
    Application,
    DemandHistory,
    PlannedFleet,
    PolicySettings,
    PoolObservation,
    RoutingObservation,
    Sample,
    Scaler,
    Shortage,
    Snapshot,
    Strategy,
    Unit,
    UnitEvidence,
    UnitObservation,
)
from controller.policy.planned import planned
from controller.policy.planned_weights import planned_weights
from controller.policy.text import number
from controller.policy.weights import cost_per_request
from research.traces import Trace

HPA_TOLERANCE: Final = 0.1
"""Kubernetes' horizontal pod autoscaler ignores a ratio within a tenth of 1 (--horizontal-pod-autoscaler-tolerance)."""

COLD_START_S: Final = 600.0
"""From the request for a replica to its first request, seconds: the middle of the AWS sample's 5 to 15 minutes."""

UNSERVED: Final = 10.0
"""Cost of an unserved request in the linear program, in units of the most expensive unit's price: always more than serving it."""


@dataclass(frozen=True, slots=True)
class Split:
    """The cheapest split at one moment.

    Attributes:
        served: Requests per period by unit.
        unserved: Requests per period that no unit can carry.
        cost: Cost of the replicas, $/h.
        replicas: Replicas by unit; fractional unless whole ones were requested.
    """

    served: Mapping[str, float]
    unserved: float
    cost: float
    replicas: Mapping[str, float]


def cheapest(units: Sequence[Unit], demand: float, most: Mapping[str, int], *, whole: bool = False) -> Split:
    """The linear program: the least ``sum(price_i n_i)`` with ``x_i <= T_i n_i``, ``sum(x_i) + unserved = demand``, ``n_i <= most_i``.

    Args:
        units: The units, with price and throughput T.
        demand: Requests per period.
        most: Most replicas by unit name.
        whole: Whether replicas are whole, and at least one if a unit may have one: a mixed-integer program.

    Raises:
        ArithmeticError: The solver (HiGHS) failed; the program always has a solution.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    count = len(units)
    most_expensive = max(cost_per_request(unit) for unit in units)
    # Variables: the replicas of each unit, and the unserved requests. Together they cover at least the demand.
    prices = [*(unit.price_per_hour for unit in units), UNSERVED * most_expensive]
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
    """The requests that each unit serves; the cheapest units come first."""
    served, left = {}, demand
    for unit in sorted(units, key=cost_per_request):
        served[unit.name] = min(left, replicas[unit.name] * unit.throughput)
        left -= served[unit.name]
    return served


@dataclass(slots=True)
class Fleet:
    """Replicas of the units under KEDA, with production's weights in front.

    Attributes:
        application: The application; its policy's strategy determines the weights.
        step_s: Seconds per step.
        ready: Serving replicas by unit.
        starting: Starting replicas by unit: the remaining steps of each.
        weights: The weights of the last step, by unit.
        now: Seconds since the first step.
        history: What strategy `planned` remembers of the demand.
    """

    application: Application
    step_s: float
    ready: dict[str, int] = field(default_factory=dict)
    starting: dict[str, list[int]] = field(default_factory=dict)
    weights: dict[str, int] = field(default_factory=dict)
    now: float = 0.0
    history: DemandHistory | None = None

    def __post_init__(self) -> None:
        for unit in self.application.units:
            self.ready[unit.name], self.starting[unit.name] = unit.min_replicas, []

    def step(self, demand: float, most: Mapping[str, int]) -> Step:
        """One step: capacity is lost, replicas become ready, traffic is split, replicas are paid for, KEDA scales.

        Args:
            demand: Requests per period.
            most: Most replicas of each unit now.
        """
        self._limit(most)
        seen = self._snapshot(demand, most)
        figures = Figures.of(seen)
        shown = self._planned(seen, figures)
        cost = figures.cost if shown is None else planned_weights(self.application, figures.serving, demand, shown)
        self.weights = dict(cost) or self.weights or dict(figures.intended)
        whole = sum(self.weights.values()) or 1
        sent = {name: demand * weight / whole for name, weight in self.weights.items()}
        units = {unit.name: unit for unit in self.application.units}
        late = sum(max(0.0, sent[name] - self.ready[name] * units[name].throughput) for name in sent)
        paid = sum((self.ready[name] + len(self.starting[name])) * units[name].price_per_hour for name in units)
        for name, unit in units.items():
            self._scale(unit, sent.get(name, 0.0), most[name], 0 if shown is None else shown.fleet.replicas[name])
        self.now += self.step_s
        return Step(paid, late, demand, dict(sent))

    def _planned(self, seen: Snapshot, figures: Figures) -> PlannedFleet | None:
        """What production's strategy `planned` would run; None with another one."""
        evidence = {name: UnitEvidence(name, Shortage.NONE, ready=count) for name, count in self.ready.items()}
        if figures.demand is not None:
            self.history = noted_demand(self.history, seen.now, figures.demand)
        return planned(seen, figures, evidence, self.history)

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

    def _snapshot(self, demand: float, most: Mapping[str, int]) -> Snapshot:
        whole = sum(self.weights.values()) or 1
        units = {}
        for unit in self.application.units:
            ready, name = self.ready[unit.name], unit.name
            scaler = Scaler(name, "1", unit.min_replicas, most[name], target=number(unit.throughput))
            counted = Sample(demand * self.weights.get(name, 0) / whole if self.weights else demand / len(self.application.units), self.now)
            units[name] = UnitObservation(
                name, PoolObservation(unit.node_pool), desired=ready + len(self.starting[name]), ready=ready, demand=counted, scaler=scaler
            )
        return Snapshot(self.now, self.application, RoutingObservation(exists=True), units)


@dataclass(frozen=True, slots=True)
class Step:
    """The results of one step.

    Attributes:
        paid: Cost, $/h.
        late: Requests per period beyond the capacity of their unit's ready replicas, which wait or fail.
        demand: Requests per period.
        sent: Requests per period by unit.
    """

    paid: float
    late: float
    demand: float
    sent: Mapping[str, float]


def most_replicas(application: Application, pools: Mapping[str, Trace], tick: int, limit: int) -> dict[str, int]:
    """Most replicas of each unit: 0 while its NodePool has no capacity (spot instances are reclaimed), else `limit`."""
    return {unit.name: min(limit, unit.max_replicas) if pools[unit.node_pool].available[tick] else 0 for unit in application.units}


STRATEGIES: Final[Mapping[str, PolicySettings]] = {
    "two-mode": PolicySettings(strategy=Strategy.TWO_MODE),
    "adaptive": PolicySettings(strategy=Strategy.ADAPTIVE),
    "planned, no loss": PolicySettings(strategy=Strategy.PLANNED, resilience_share=0.0),
    "planned": PolicySettings(strategy=Strategy.PLANNED),
}
"""By name: what production decides with. Here floors and weights follow the fleet at once, up and down."""


@dataclass(frozen=True, slots=True)
class Bill:
    """The costs of one demand.

    Attributes:
        linear: Cost of the linear program, $.
        whole: Cost of the program with whole replicas, at least one each, $.
        paid: Cost by strategy, $.
        late: Share of requests beyond the capacity of their unit's ready replicas, by strategy, 0 to 1.
        unserved: Share of requests that even the linear program could not serve, 0 to 1.
    """

    linear: float
    whole: float
    paid: Mapping[str, float]
    late: Mapping[str, float]
    unserved: float


def compared(application: Application, demands: Sequence[float], pools: Mapping[str, Trace], limit: int) -> Bill:
    """The costs of every strategy and of the optimum for one demand.

    Args:
        application: The application with the units; its policy is replaced.
        demands: Requests per period for each tick.
        pools: Availability by NodePool.
        limit: Most replicas of a unit.

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
    for name, policy in STRATEGIES.items():
        fleet = Fleet(replace(application, policy=policy), step_s)
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
