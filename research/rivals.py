"""The fleets that a buyer would compare with, as small rules over the same replicas as `research.split`.

What each leaves open favours it, and that is said with it. All of them know the price and the throughput of every unit, send every request
to where replicas are ready (one Service with the throughput as weights), keep no replica of a unit that has no work, and tolerate nothing:
the HPA's tenth is left out. `without_controller` is what the AWS sample's users have: weights by unit, an HPA each.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from controller.policy.model import SCALE_IN_S, Application, Backend, Unit
from controller.policy.routing import cost_per_request
from research.late import Late
from research.optimum import least
from research.split import Step
from research.stock import Stock

HEADROOM: Final = 0.8
"""Target of a fleet with a fifth of headroom, as a share of the throughput."""

PATIENCE_S: Final = 60.0
"""How long a priority list waits for a type before it asks for the next one, seconds: every zone has refused by then."""

HOUR_S: Final = 3600.0
"""How often Mélange's allocation is made anew, seconds."""

SPOT: Final = 0.4
"""Price of a spot instance as a share of the on-demand price."""

EXTRA: Final = 2
"""Spot replicas that SpotHedge runs beyond the demand."""

CHECK_S: Final = 300.0
"""How often the AWS sample's checker asks, seconds."""

DAY_S: Final = 86_400.0

_NEAR: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Seen:
    """What a rule knows in a step.

    Attributes:
        now: Seconds since the first step.
        demand: The demand that the metrics show, requests per period.
        most: Most replicas of each unit now.
        stock: The replicas.
    """

    now: float
    demand: float
    most: Mapping[str, int]
    stock: Stock


class Rule(Protocol):
    """What sets the replicas of a fleet."""

    def replicas(self, seen: Seen, /) -> Mapping[str, int]:
        """By unit; those of an absent unit stay."""


@dataclass(slots=True)
class Rival:
    """A fleet whose replicas a rule sets.

    Attributes:
        units: What it may start.
        step_s: Seconds per step.
        rule: What sets the replicas.
        delay: How many steps late the metrics are. Until there are as many, they show the present step.
        stock: The replicas.
    """

    units: Sequence[Unit]
    step_s: float
    rule: Rule
    delay: int = 0
    stock: Stock = field(init=False)
    _now: float = 0.0
    _metric: Late[float] = field(init=False)

    def __post_init__(self) -> None:
        self.stock, self._metric = Stock(self.units, self.step_s), Late(self.delay)

    def step(self, demand: float, most: Mapping[str, int]) -> Step:
        """One step, as in `research.split.Fleet`."""
        self.stock.limit(most)
        carried = self.stock.throughput()
        whole = sum(carried.values())
        sent = {name: demand * part / whole for name, part in carried.items()} if whole else {}
        late = self.stock.late(sent) if whole else demand
        paid = self.stock.paid()
        known = self._metric.shown(demand)
        for name, count in self.rule.replicas(Seen(self._now, known, most, self.stock)).items():
            self.stock.put(name, min(count, most[name]))
        self._now += self.step_s
        return Step(paid, late, demand, sent)


@dataclass(slots=True)
class PriorityList:
    """One fleet over all types, the cheapest first, as in SageMaker AI's instance pools.

    In its favour: the list is in order of the price of a request, a type that refused is asked again for free, a refusal costs its patience
    once in an outage, and the most expensive replicas go first.

    Attributes:
        units: In any order.
        target: The share of their throughput that replicas are filled to.
    """

    units: Sequence[Unit]
    target: float = 1.0
    _needed: deque[tuple[float, float]] = field(default_factory=deque)
    _refused: dict[str, float] = field(default_factory=dict)

    def replicas(self, seen: Seen) -> Mapping[str, int]:
        """See `Rule`."""
        needed = max(seen.demand / self.target, _NEAR)
        listed = sorted(self.units, key=cost_per_request)
        counts = {unit.name: seen.stock.count(unit.name) for unit in listed}
        self._refused = {name: at for name, at in self._refused.items() if counts[name] >= seen.most[name]}
        have = sum(unit.throughput * counts[unit.name] for unit in listed)
        for unit in listed:
            asked = max(0, math.ceil((needed - have) / unit.throughput - _NEAR))
            granted = min(asked, seen.most[unit.name] - counts[unit.name])
            counts[unit.name] += granted
            have += granted * unit.throughput
            if granted < asked and seen.now - self._refused.setdefault(unit.name, seen.now) < PATIENCE_S:
                break
        return _shrunk(counts, listed[::-1], _highest(self._needed, seen.now, needed))


def _highest(window: deque[tuple[float, float]], now: float, value: float) -> float:
    """The highest value within the HPA's window, after another one."""
    while window and window[-1][1] <= value:
        window.pop()
    window.append((now, value))
    while now - window[0][0] > SCALE_IN_S:
        window.popleft()
    return window[0][1]


def _shrunk(counts: dict[str, int], order: Sequence[Unit], needed: float) -> dict[str, int]:
    """Without the replicas that are not needed for the throughput, those of the first unit first."""
    spare = sum(unit.throughput * counts[unit.name] for unit in order) - needed
    for unit in order:
        gone = min(counts[unit.name], max(0, math.floor(spare / unit.throughput + _NEAR)))
        counts[unit.name] -= gone
        spare -= gone * unit.throughput
    return counts


@dataclass(slots=True)
class Hourly:
    """Mélange's allocation, made anew each hour: the cheapest whole replicas for the last hour's peak.

    In its favour: the allocation is the exact optimum, it knows at once which types can be had, what it lost comes back as soon as that can
    be had, and nothing goes before the replicas that take its place are ready.

    Attributes:
        units: In any order.
    """

    units: Sequence[Unit]
    _peak: float = 0.0
    _allocated: Mapping[str, int] | None = None
    _next: float = 0.0

    def replicas(self, seen: Seen) -> Mapping[str, int]:
        """See `Rule`."""
        self._peak = max(self._peak, seen.demand)
        if seen.now >= self._next:
            self._allocated = least(self.units, max(self._peak, _NEAR), seen.most).replicas
            self._next, self._peak = seen.now + HOUR_S, seen.demand
        assert self._allocated is not None
        if all(seen.stock.ready[name] >= min(count, seen.most[name]) for name, count in self._allocated.items()):
            return self._allocated
        return {name: max(count, seen.stock.count(name)) for name, count in self._allocated.items()}


@dataclass(slots=True)
class SpotHedge:
    """SkyServe's SpotHedge: one type of instance, spot in every zone, some more than needed, on-demand for those that are not ready.

    A new spot replica goes to the active zone with the fewest. A zone that refuses or takes back is active no more; with fewer than two
    active zones all are active again (`DynamicFallbackSpotPlacer` of SkyPilot). On-demand instances are of the same type; where they cannot
    be had, of the next one of the list, which SkyServe does not have.

    In its favour: a refusal is known at once, and on-demand instances go as soon as spot ones are ready.

    Attributes:
        spot: The same unit in each zone, at the price of spot.
        on_demand: The on-demand units, the type of `spot` first.
        target: The share of its throughput that a replica is filled to.
    """

    spot: Sequence[Unit]
    on_demand: Sequence[Unit]
    target: float = HEADROOM
    _needed: deque[tuple[float, float]] = field(default_factory=deque)
    _had: dict[str, int] = field(default_factory=dict)
    _active: set[str] = field(default_factory=set)

    def replicas(self, seen: Seen) -> Mapping[str, int]:
        """See `Rule`."""
        needed = max(1, math.ceil(_highest(self._needed, seen.now, seen.demand) / (self.target * self.spot[0].throughput) - _NEAR))
        zones = {unit.name: seen.stock.count(unit.name) for unit in self.spot}
        self._active -= {name for name, count in zones.items() if count < self._had.get(name, 0)}
        while sum(zones.values()) < needed + EXTRA and (zone := self._zone(zones, seen.most)):
            zones[zone] += 1
        while sum(zones.values()) > needed + EXTRA:
            zones[max(zones, key=lambda name: zones[name])] -= 1
        self._had = dict(zones)
        ready = sum(min(seen.stock.ready[name], count) for name, count in zones.items())
        missing, counts = max(0, min(needed, needed + EXTRA - ready)) * self.spot[0].throughput, dict[str, int]()
        for unit in self.on_demand:
            counts[unit.name] = min(seen.most[unit.name], max(0, math.ceil(missing / unit.throughput - _NEAR)))
            missing -= counts[unit.name] * unit.throughput
        return {**zones, **counts}

    def _zone(self, zones: Mapping[str, int], most: Mapping[str, int]) -> str | None:
        """The zone of a new spot replica; None where none has one."""
        for _ in range(len(zones) + 1):
            if len(self._active) < min(2, len(zones)):
                self._active = set(zones)
            zone = min(self._active, key=lambda name: (zones[name], name))
            if zones[zone] < most[zone]:
                return zone
            self._active.discard(zone)
        return None


def in_zones(unit: Unit, zones: int) -> list[Unit]:
    """A unit's spot instances in each zone, each with a NodePool and objects for itself."""
    price, names = SPOT * unit.price_per_hour, [f"{unit.name} spot {zone}" for zone in range(zones)]
    return [
        replace(
            unit,
            name=name,
            price_per_hour=price,
            min_replicas=0,
            zones=(f"zone {zone}",),
            node_pool=name,
            backend=Backend(name, 80),
            deployment=name,
            scaled_object=name,
        )
        for zone, name in enumerate(names)
    ]


Weights = Callable[[float, Stock, Mapping[str, int]], Mapping[str, float]]
"""The weights of a moment (seconds since the first step), for replicas and the most of each unit."""


def of_file(application: Application) -> Weights:
    """Nothing is installed: the weights of the application file, whatever is ready."""
    weights = {unit.name: float(unit.weight or 0) for unit in application.units}
    return lambda _now, _stock, _most: weights


class Checker:
    """The AWS sample's checker: on a refusal in the last five minutes all pods get the same, and a day later the file's weights return.

    In its favour: a unit that cannot be had refuses at once, also where it wants no replica.

    Args:
        application: For the weights of cost mode.
    """

    def __init__(self, application: Application) -> None:
        self._cost, self._failed_over, self._day = of_file(application), False, 0.0

    def __call__(self, now: float, stock: Stock, most: Mapping[str, int]) -> Mapping[str, float]:
        """See `Weights`."""
        if now // DAY_S > self._day:
            self._day, self._failed_over = now // DAY_S, False
        if now % CHECK_S == 0 and not all(most.values()):
            self._failed_over = True
        ready = {name: float(count) for name, count in stock.ready.items()}
        return ready if self._failed_over and any(ready.values()) else self._cost(now, stock, most)


@dataclass(slots=True)
class WithoutController:
    """Weights by unit and an HPA each, as the AWS sample has them.

    Attributes:
        units: The units.
        step_s: Seconds per step.
        weights: Of the load balancer.
        delay: How many steps late the metrics are.
        stock: The replicas.
    """

    units: Sequence[Unit]
    step_s: float
    weights: Weights
    delay: int = 0
    stock: Stock = field(init=False)
    _now: float = 0.0
    _counters: Late[dict[str, float]] = field(init=False)

    def __post_init__(self) -> None:
        self.stock, self._counters = Stock(self.units, self.step_s), Late(self.delay)

    def step(self, demand: float, most: Mapping[str, int]) -> Step:
        """One step, as in `research.split.Fleet`."""
        self.stock.limit(most)
        weights = self.weights(self._now, self.stock, most)
        whole = sum(weights.values())
        sent = {name: demand * weight / whole for name, weight in weights.items()}
        late, paid = self.stock.late(sent), self.stock.paid()
        counted = self._counters.shown(sent)
        for unit in self.units:
            name, fewest = unit.name, unit.min_replicas
            self.stock.scale(name, self._now, counted[name], unit.throughput, least=fewest, most=most[name])
        self._now += self.step_s
        return Step(paid, late, demand, sent)
