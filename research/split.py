"""Beyond two modes: the cheapest feasible split of the demand over the units, and the cost of production's weights relative to it.

The cheapest split within the units' capacity is a linear program, whose optimum no controller can beat. Production's weights cost more for
four reasons: each unit has a whole number of replicas, at least one; weights follow *ready* replicas; a new replica serves only after its
cold start; and KEDA's HPA tolerates a tenth, and keeps what it recommended in the last five minutes. The tables show
each effect separately. With planned floors the HPA waits before it adds replicas, as its ScaledObject is rendered
(`failover_setup.rendering.scaling`).

The tables know the demand of the present step at once, but for one: there all that is decided, by the controller and by KEDA, follows the
metrics of `DELAY_S` ago.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Final

from controller.policy.account import Figures
from controller.policy.fleet import families, followed, noted_demand, planned, planned_claims, planned_weights
from controller.policy.model import (
    Application,
    Memory,
    PlannedFleet,
    PlannedMode,
    PolicySettings,
    PoolObservation,
    RoutingObservation,
    Sample,
    Scaler,
    Shortage,
    Snapshot,
    Strategy,
    Target,
    Unit,
    UnitEvidence,
    UnitObservation,
)
from controller.policy.routing import cost_per_request
from controller.policy.strategies import part_of
from controller.policy.text import number
from research.late import Late
from research.stock import COLD_START_S, Stock
from research.traces import Trace

DELAY_S: Final = 180.0
"""How late CloudWatch shows requests, seconds: the minute that is counted, and about two more (docs/research/alb.md: some minutes)."""


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
    """The linear program: the least ``sum(price_i n_i)`` with ``sum(T_i n_i) >= demand`` and ``n_i <= most_i``.

    What even all replicas that may be had do not carry is unserved; the rest of the demand is carried, whatever it costs.

    Args:
        units: The units, with price and throughput T.
        demand: Requests per period.
        most: Most replicas by unit name.
        whole: Whether replicas are whole, and at least one if a unit may have one: a mixed-integer program.

    Raises:
        ArithmeticError: The solver (HiGHS) failed; the program always has a solution.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    served = min(demand, sum(most[unit.name] * unit.throughput for unit in units))
    found = milp(
        [unit.price_per_hour for unit in units],
        integrality=[int(whole)] * len(units),
        bounds=Bounds([min(unit.min_replicas, most[unit.name]) if whole else 0 for unit in units], [most[unit.name] for unit in units]),
        constraints=LinearConstraint([[unit.throughput for unit in units]], served, math.inf),
        options={"mip_rel_gap": 0.0},
    )
    if not found.success:
        raise ArithmeticError(f"no split of {demand:g} requests: {found.message}")
    replicas = {unit.name: float(value) for unit, value in zip(units, found.x, strict=True)}
    filled = _filled(units, replicas, demand)
    cost = sum(unit.price_per_hour * replicas[unit.name] for unit in units)
    return Split(filled, max(0.0, demand - sum(filled.values())), cost, replicas)


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
        target: Requests per period and replica that the HPAs aim at, as a share of the throughput.
        stock: The replicas.
        weights: The weights of the last step, by unit.
        now: Seconds since the first step.
        memory: What strategy `planned` remembers: the demand, and how long its floors wait until they sink.
        floors: What KEDA keeps at least, by unit.
        forecast: Whether strategy `planned` knows the demands of before, which its forecast follows from.
        delay: How many steps late the metrics are. Until there are as many, they show the present step.
        metric: Shows the demand, late.
        counters: Show the requests sent to each unit, likewise.
        spot: The units that have nothing but spot instances, by name.
        carries: The units with what their replicas carry in truth; (): as the application says.
    """

    application: Application
    step_s: float
    target: float = 1.0
    stock: Stock = field(init=False)
    weights: dict[str, int] = field(default_factory=dict)
    now: float = 0.0
    memory: Memory = field(default_factory=Memory)
    floors: dict[str, int] = field(default_factory=dict)
    forecast: bool = True
    delay: int = 0
    spot: frozenset[str] = frozenset()
    carries: Sequence[Unit] = ()
    metric: Late[float] = field(init=False)
    counters: Late[dict[str, float]] = field(init=False)

    def __post_init__(self) -> None:
        self.stock, self.metric = Stock(self.carries or self.application.units, self.step_s), Late(self.delay)
        self.counters = Late(self.delay)
        self.floors = {unit.name: unit.min_replicas for unit in self.application.units}

    @property
    def ready(self) -> dict[str, int]:
        """Serving replicas by unit."""
        return self.stock.ready

    def step(self, demand: float, most: Mapping[str, int]) -> Step:
        """One step: capacity is lost, replicas become ready, traffic is split, replicas are paid for, KEDA scales.

        Args:
            demand: Requests per period.
            most: Most replicas of each unit now.
        """
        self.stock.limit(most)
        known = self.metric.shown(demand)
        seen = self.snapshot(known, most)
        figures = Figures.of(seen)
        shown = self._followed(seen, figures)
        cost = figures.cost if shown is None or not shown.followed else planned_weights(self.application, figures.serving, known, shown)
        self.weights = dict(cost) or self.weights or dict(figures.intended)
        whole = sum(self.weights.values()) or 1
        sent = {name: demand * weight / whole for name, weight in self.weights.items()}
        late, paid = self.stock.late(sent), self.stock.paid()
        counted = self.counters.shown(sent)
        waits_s = float(part_of(self.application.policy).scale_out_s(self.application.policy))
        for unit in self.application.units:
            floor = max(self.floors[unit.name], unit.min_replicas)
            target = self.target * unit.throughput
            self.stock.scale(unit.name, self.now, counted.get(unit.name, 0.0), target, least=floor, most=most[unit.name], waits_s=waits_s)
        self.now += self.step_s
        return Step(paid, late, demand, dict(sent))

    def _followed(self, seen: Snapshot, figures: Figures) -> PlannedFleet | None:
        """What production's strategy `planned` runs, with its floors; None with another strategy."""
        evidence = {name: UnitEvidence(name, Shortage.NONE, ready=count) for name, count in self.ready.items()}
        if figures.demand is not None and self.forecast:
            history = noted_demand(self.memory.demand_history, seen.now, figures.demand)
            self.memory = replace(self.memory, demand_history=history)
        shown = planned(seen, figures, evidence, self.memory)
        self.memory = followed(self.memory, seen, shown)
        self.floors |= {claim.unit: claim.replicas for claim in planned_claims(seen, self.memory, evidence, shown)}
        return shown

    def snapshot(self, demand: float, most: Mapping[str, int]) -> Snapshot:
        """What the controller sees now, see `step`."""
        whole = sum(self.weights.values()) or 1
        units = {}
        for unit in self.application.units:
            ready, name = self.ready[unit.name], unit.name
            scaler = Scaler(name, "1", self.floors[name], most[name], target=number(self.target * unit.throughput))
            sent = demand * self.weights.get(name, 0) / whole if self.weights else demand / len(self.application.units)
            counted = Sample(sent, self.now - self.delay * self.step_s)
            pool = PoolObservation(unit.node_pool, capacity_types=("spot",) if name in self.spot else ())
            units[name] = UnitObservation(name, pool, desired=self.stock.count(name), ready=ready, demand=counted, scaler=scaler)
        targets = tuple(Target(unit.backend.service, unit.backend.port, self.weights.get(unit.name, 0)) for unit in self.application.units)
        return Snapshot(self.now, self.application, RoutingObservation(exists=True, targets=targets), units)


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


_LIVE: Final = PolicySettings(strategy=Strategy.PLANNED, planned_mode=PlannedMode.LIVE)

STRATEGIES: Final[Mapping[str, PolicySettings]] = {
    "two-mode": PolicySettings(strategy=Strategy.TWO_MODE),
    "adaptive": PolicySettings(strategy=Strategy.ADAPTIVE),
    "planned, no loss, no forecast": replace(_LIVE, resilience_share=0.0),
    "planned, no loss": replace(_LIVE, resilience_share=0.0),
    "planned": _LIVE,
}
"""By name: what production decides with."""

FORECASTLESS: Final = frozenset({"planned, no loss, no forecast"})
"""Strategies that do not know the demands of before."""

RESILIENT: Final[Mapping[str, PolicySettings]] = {
    "two-mode": STRATEGIES["two-mode"],
    "adaptive": STRATEGIES["adaptive"],
    **{f"planned, {share:.0%}": replace(_LIVE, resilience_share=share) for share in (0.0, 0.5, 0.8, 1.0)},
}
"""By name: what is tried by the loss of a family; the share is what must be left of the demand."""


@dataclass(frozen=True, slots=True)
class Played:
    """What a strategy costs.

    Attributes:
        paid: Cost, $.
        late: Share of requests beyond the capacity of their unit's ready replicas, 0 to 1.
    """

    paid: float
    late: float


@dataclass(frozen=True, slots=True)
class Bill:
    """The costs of one demand.

    Attributes:
        linear: Cost of the linear program, $.
        whole: Cost of the program with whole replicas, at least one each, $.
        unforeseen: Share of requests beyond the capacity of these replicas where each is requested only when it is needed, 0 to 1.
        at_once: What each strategy costs where the metrics show the present step.
        delayed: Likewise where they are late.
        unserved: Share of requests that even the linear program could not serve, 0 to 1.
    """

    linear: float
    whole: float
    unforeseen: float
    at_once: Mapping[str, Played]
    delayed: Mapping[str, Played]
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
    return Bill(
        linear=sum(split.cost for split in linear) * hours,
        whole=sum(split.cost for split in whole) * hours,
        unforeseen=_unforeseen(application.units, whole, demands, step_s) / total,
        at_once={name: _played(name, application, moments, step_s) for name in STRATEGIES},
        delayed={name: _played(name, application, moments, step_s, delay=math.ceil(DELAY_S / step_s)) for name in STRATEGIES},
        unserved=sum(split.unserved for split in linear) / total,
    )


def _played(
    name: str, application: Application, moments: Sequence[tuple[float, Mapping[str, int]]], step_s: float, *, delay: int = 0
) -> Played:
    """What a strategy costs for demands, each with the most replicas of the units then."""
    fleet = Fleet(replace(application, policy=STRATEGIES[name]), step_s, forecast=name not in FORECASTLESS, delay=delay)
    steps = [fleet.step(demand, most) for demand, most in moments]
    return Played(sum(step.paid for step in steps) * step_s / 3600, sum(step.late for step in steps) / sum(step.demand for step in steps))


def _unforeseen(units: Sequence[Unit], splits: Sequence[Split], demands: Sequence[float], step_s: float) -> float:
    """Requests per period, summed over the steps, that optimal replicas come too late for if nobody knows the demand ahead.

    A replica is paid from its request on, so the bill is the same. Ready are those that were requested for as long as a start takes.
    """
    late, starts = 0.0, math.ceil(COLD_START_S / step_s)
    for at, demand in enumerate(demands):
        since = splits[max(0, at - starts) : at + 1]
        late += max(0.0, demand - sum(unit.throughput * min(split.replicas[unit.name] for split in since) for unit in units))
    return late


def without_a_family(application: Application, demands: Sequence[float], step_s: float) -> dict[str, dict[str, float]]:
    """What the loss of each accelerator family costs while its replacement starts.

    Args:
        application: The application with the units; its policy is replaced.
        demands: Requests per period for each step; the families vanish after the last one, and its demand goes on.
        step_s: Seconds per step.

    Returns:
        The share of the requests beyond what is ready in the time of a cold start, 0 to 1, by family and strategy. Under "" is the bill up
        to then, $.
    """
    most, found = {unit.name: unit.max_replicas for unit in application.units}, dict[str, dict[str, float]]()
    for name, policy in RESILIENT.items():
        fleet = Fleet(replace(application, policy=policy), step_s)
        found.setdefault("", {})[name] = sum(fleet.step(demand, most).paid for demand in demands) * step_s / 3600
        grouped = families(fleet.snapshot(demands[-1], most))
        for family in sorted(set(grouped.values())):
            rest, left = deepcopy(fleet), {unit: 0 if grouped[unit] == family else count for unit, count in most.items()}
            steps = [rest.step(demands[-1], left) for _ in range(math.ceil(COLD_START_S / step_s))]
            found.setdefault(family, {})[name] = sum(step.late for step in steps) / sum(step.demand for step in steps)
    return found
