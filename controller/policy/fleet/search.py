"""The cheapest whole replicas that carry a demand, also after the loss of any one accelerator family.

An integer program: the least price of the replicas, so that all together carry the demand with its headroom, and so that without the
replicas of any one family the rest carries a share of it. A family is left out of that where what the others may have in time would carry
the share, or where its loss cannot be survived; its spot pools are not, each of which vanishes more often than a family does. It is solved
exactly by branch and bound (Land and Doig, 1960). The bound is the program with fractions of replicas. For a given sum of throughput X that
program is a greedy choice, the cheapest throughput first, where no family may have more than X less what must be left without it. Its price
is convex and piecewise linear in X, so tangents find the best X in a few steps (Kelley's cutting planes in one dimension).
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from controller.policy.model import Fleet, Needs

MOST_NODES: Final = 300
"""Most nodes of one search. Where they do not suffice, the cheapest fleet found is returned, and `Fleet.least_cost` says how far from the
best it may be."""

_NEAR: Final = 1e-9  # relative: what binary fractions leave of equal numbers
_STEP: Final = 1e-6  # of all throughput: how far apart the two sums are whose costs give a slope
_MOST_TANGENTS: Final = 40  # of one bound; more would only tighten it


@dataclass(frozen=True, slots=True)
class Offer:
    """What a unit offers to a fleet.

    Attributes:
        name: The unit.
        family: What vanishes with it. Units of one family vanish together.
        throughput: Requests per metric period that a replica carries within the latency limit; positive.
        price: US dollars per hour of a replica; positive.
        least: Fewest replicas.
        most: Most replicas that may be had.
        present: Replicas that exist. They need no start.
        paid: Replicas that are paid already, in a reservation: they cost nothing.
        start: The price of the start of a replica, as a share of its price per hour: 0.5 where half an hour is paid before it pays off.
        stop: Likewise what a replica that exists costs after it is needed no more: 0.25 where a quarter of an hour passes before it goes.
            At most 1.
        soon: Replicas that may be had, started or not, within the time that the loss of a family may last.
        pool: The part of its family that EC2 may take back at once; "" where it takes nothing back.
    """

    name: str
    family: str
    throughput: float
    price: float
    least: int
    most: int
    present: int = 0
    paid: int = 0
    start: float = 0.0
    stop: float = 0.0
    soon: int = 0
    pool: str = ""

    def cost(self, count: int) -> float:
        """US dollars per hour of that many replicas, with the starts of new ones and the stops of those that go."""
        gone = max(0, self.present - max(count, self.paid))
        return self.price * (max(0, count - self.paid) + self.start * max(0, count - self.present) + self.stop * gone)

    def steps(self) -> Iterator[tuple[float, int, int]]:
        """What each further replica costs from one count to another, up to `most`. It never falls from step to step."""
        low = 0
        for high in sorted({min(end, self.most) for end in (self.paid, self.present, self.most)}):
            if high > low:
                yield (self.cost(high) - self.cost(low)) / (high - low), low, high
                low = high


def cheapest_fleet(offers: Sequence[Offer], needs: Needs, *, nodes: int = MOST_NODES) -> Fleet:
    """The cheapest fleet that meets the needs.

    A need that all replicas that may be had do not meet is lowered to what they carry: then every fleet that carries as much counts.
    Of equally cheap fleets the first found is returned, which depends on the arguments only.

    Args:
        offers: What each unit offers, with different names; `least` is at most `most`.
        needs: What must be carried.
        nodes: Most nodes of the search.

    Raises:
        ValueError: A number is impossible: negative, not finite, or `least` above `most`.
    """
    return _found(tuple(offers), needs, nodes)


@lru_cache(maxsize=4096)
def _found(offers: tuple[Offer, ...], needs: Needs, nodes: int) -> Fleet:
    """`cheapest_fleet`, cached: in a quiet application the arguments are the same in every decision."""
    _check(offers, needs)
    return _Search(offers, needs).run(nodes)


def _check(offers: Sequence[Offer], needs: Needs) -> None:
    for offer in offers:
        numbers = (offer.throughput, offer.price, offer.start, offer.stop, offer.least, offer.present, offer.paid)
        if not all(0 <= number < math.inf for number in numbers) or offer.throughput == 0 or offer.price == 0 or offer.stop > 1:
            raise ValueError(f"impossible offer of {offer.name}: {offer}")
        if offer.least > offer.most:
            raise ValueError(f"{offer.name} has at least {offer.least} and at most {offer.most} replicas")
    if not (0 <= needs.demand < math.inf and 0 <= needs.without_any < math.inf):
        raise ValueError(f"impossible needs: {needs}")


def _without(names: Sequence[str], carried: Sequence[float]) -> dict[str, float]:
    """What is carried without all offers of a name, by name."""
    total, own = sum(carried), dict.fromkeys(names, 0.0)
    for name, part in zip(names, carried, strict=True):
        own[name] += part
    return {name: total - part for name, part in own.items()}


Bounds = tuple[tuple[int, int], ...]
"""The fewest and the most replicas of each offer, in their order."""


class _Search:
    """One branch and bound. The needs are lowered to what may be had, so that the fleet of all `most` meets them."""

    def __init__(self, offers: Sequence[Offer], needs: Needs) -> None:
        self.offers = tuple(offers)
        everything, of_families = [offer.most for offer in offers], [offer.family for offer in offers]
        soon = _without(of_families, [offer.soon * offer.throughput for offer in offers])
        rest = _without(of_families, [offer.most * offer.throughput for offer in offers])
        self._made_good = {name: left for name, left in soon.items() if 0 < needs.without_any <= left * (1 + _NEAR)}
        fatal = {name for name, left in rest.items() if needs.without_any > left * (1 + _NEAR)} - self._made_good.keys()
        # What vanishes together: where the loss of a family need not be survived, or cannot be, that of each of its spot pools.
        apart = {offer.family for offer in offers if offer.pool} & (self._made_good.keys() | fatal)
        lost = [offer.pool if offer.pool and offer.family in apart else offer.family for offer in offers]
        self._groups = list(dict.fromkeys(lost))
        self.group = [self._groups.index(name) for name in lost]
        total, left = self._carried(everything)
        self._demand = min(needs.demand, total)
        needed = [0.0 if name in self._made_good or name in apart else needs.without_any for name in self._groups]
        self.without = [min(need, more) for need, more in zip(needed, left, strict=True)]
        lacking = needs.demand > total * (1 + _NEAR) or any(n > more * (1 + _NEAR) for n, more in zip(needed, left, strict=True))
        self._short = lacking or bool(fatal)
        self.slack = _NEAR * max(1.0, total)
        steps = [
            (price / offer.throughput, index, low, high) for index, offer in enumerate(self.offers) for price, low, high in offer.steps()
        ]
        self.steps = sorted(steps)
        self.throughputs = [offer.throughput for offer in self.offers]
        self._expensive_first = sorted(range(len(self.offers)), key=lambda index: -self.offers[index].price)
        self._costs: list[dict[int, float]] = [{} for _ in self.offers]
        self._best, self._cost = everything, self._price(everything)

    def run(self, nodes: int) -> Fleet:
        """Searches, the lowest bound first, until no node can be cheaper than the best fleet or there were too many nodes."""
        root: Bounds = tuple((offer.least, offer.most) for offer in self.offers)
        bound, point = _Relaxed(self, root).solve(self._demand)
        self._try(point, root)
        queue, number = [(bound, 0, root, point)], 0
        while queue and number < nodes and queue[0][0] < self._cost - _NEAR * max(1.0, self._cost):
            _, _, bounds, point = heapq.heappop(queue)
            apart = [abs(count - round(count)) for count in point]
            at = apart.index(max(apart))
            if apart[at] < _NEAR * max(1.0, point[at]):
                continue  # whole already: `_try` has counted it
            for low, high in ((bounds[at][0], math.floor(point[at])), (math.ceil(point[at]), bounds[at][1])):
                narrower = (*bounds[:at], (low, high), *bounds[at + 1 :])
                number += 1
                bound, found = _Relaxed(self, narrower).solve(self._demand)
                if bound < self._cost:
                    self._try(found, narrower)
                    heapq.heappush(queue, (bound, number, narrower, found))
        least = min(self._cost, queue[0][0]) if queue and queue[0][0] < self._cost - _NEAR * max(1.0, self._cost) else self._cost
        return self._fleet(least)

    def _fleet(self, least: float) -> Fleet:
        served = [count * offer.throughput for offer, count in zip(self.offers, self._best, strict=True)]
        paid = sum(offer.price * max(0, count - offer.paid) for offer, count in zip(self.offers, self._best, strict=True))
        named = {offer.name: count for offer, count in zip(self.offers, self._best, strict=True)}
        pools = _without([self._groups[group] for group in self.group], served)
        rest = pools | _without([offer.family for offer in self.offers], served)
        return Fleet(named, paid, self._cost, least, sum(served), rest, self._short, self._made_good)

    def cost(self, index: int, count: int) -> float:
        """`Offer.cost` of one offer, remembered: most nodes share most of their bounds."""
        known = self._costs[index].get(count)
        if known is None:
            known = self._costs[index][count] = self.offers[index].cost(count)
        return known

    def _price(self, counts: Sequence[int]) -> float:
        return sum(self.cost(index, count) for index, count in enumerate(counts))

    def _carried(self, counts: Sequence[float]) -> tuple[float, list[float]]:
        """What replicas carry, and what is left of it without each group of offers that vanish together."""
        by_group = [0.0] * len(self._groups)
        for index, count in enumerate(counts):
            by_group[self.group[index]] += count * self.offers[index].throughput
        total = sum(by_group)
        return total, [total - part for part in by_group]

    def _try(self, point: Sequence[float], bounds: Bounds) -> None:
        """Rounds up, which breaks no need, and takes away what is not needed, the most expensive first. Keeps it where it is the best."""
        counts = [math.ceil(value - 1e-7) for value in point]
        total, left = self._carried(counts)
        spare = total - self._demand + self.slack
        spares = [rest - need + self.slack for rest, need in zip(left, self.without, strict=True)]
        if min([spare, *spares]) < 0:
            return  # it misses by what the 1e-7 took away: that unit is not whole, and the branches at it follow
        for index in self._expensive_first:
            free, throughput, own = spare, self.throughputs[index], self.group[index]
            for group, some in enumerate(spares):
                if some < free and group != own:  # without a group its own replicas are not missed
                    free = some
            gone = counts[index] - bounds[index][0]
            if free < gone * throughput:
                gone = int(free / throughput)
            if gone:
                taken = gone * throughput
                counts[index] -= gone
                spare -= taken
                spares = [some if group == own else some - taken for group, some in enumerate(spares)]
        cost = self._price(counts)
        if cost < self._cost - _NEAR * max(1.0, self._cost):
            self._best, self._cost = counts, cost


class _Relaxed:
    """The program with fractions of replicas within bounds, as a function of the sum of throughput."""

    def __init__(self, search: _Search, bounds: Bounds) -> None:
        self._group, self._slack = search.group, search.slack
        lows, highs = [0.0] * len(search.without), [0.0] * len(search.without)
        throughputs, fixed = search.throughputs, 0.0
        for index, group in enumerate(self._group):
            low, high = bounds[index]
            lows[group] += low * throughputs[index]
            highs[group] += high * throughputs[index]
            fixed += search.cost(index, low)
        self._counts: list[float] = [low for low, _ in bounds]
        self._fixed = fixed
        self._steps = []
        for price, index, begin, end in search.steps:
            low, high = bounds[index]
            first, last = begin if begin > low else low, end if end < high else high  # noqa: FURB136 - as in `_at`
            if first < last:
                self._steps.append((price, index, self._group[index], throughputs[index], (last - first) * throughputs[index]))
        self._least, self._whole = sum(lows), sum(highs)
        self._limits = [*zip(highs, search.without, lows, strict=True)]
        self._step = _STEP * max(1.0, self._whole)

    def solve(self, demand: float) -> tuple[float, list[float]]:
        """The least cost over all sums of at least `demand`, and the replicas; infinite without any."""
        first = self._first(demand)
        if first is None:
            return math.inf, []
        low = self._tangent(first, min(first + self._step, self._whole))
        if low.slope >= 0:
            return low.cost, low.counts
        high = self._tangent(self._whole, self._whole - self._step)
        bound = min(high.cost, low.cost)
        for _ in range(_MOST_TANGENTS):
            if high.slope <= low.slope:
                return bound, high.counts
            at = (high.cost - low.cost + low.slope * low.at - high.slope * high.at) / (low.slope - high.slope)
            bound = low.cost + low.slope * (at - low.at)
            middle = self._tangent(at, min(at + self._step, self._whole))
            if not low.at < at < high.at or middle.cost <= bound + _NEAR * max(1.0, bound):
                return bound, middle.counts
            low, high = (middle, high) if middle.slope < 0 else (low, middle)
        return bound, high.counts

    def _first(self, demand: float) -> float | None:
        """The smallest sum, at least `demand`, that the groups can have together; None without any.

        The groups' most, each at most the sum less what must be left without it, less the sum itself, is concave in the sum: Newton's
        steps from below reach its first zero without passing it.
        """
        at = max(demand, self._least)
        for high, need, low in self._limits:
            if self._whole - high < need - self._slack:
                return None
            at = max(at, low + need)
        for _ in range(len(self._limits) + 2):
            if at > self._whole + self._slack:
                return None
            room, growing = 0.0, 0
            for high, need, _ in self._limits:
                if at - need < high:
                    room += at - need
                    growing += 1
                else:
                    room += high
            if room >= at - self._slack:
                return min(at, self._whole)
            if growing <= 1:
                return None
            at += (at - room) / (growing - 1)
        return None

    def _tangent(self, whole: float, beside: float) -> _Tangent:
        """A line below the cost, except between the two sums, where it is the chord."""
        cost, counts = self._at(whole)
        slope = (self._at(beside)[0] - cost) / (beside - whole) if beside != whole else 0.0
        return _Tangent(whole, cost, slope, counts)

    def _at(self, whole: float) -> tuple[float, list[float]]:
        """The least cost at a sum of throughput, and the replicas: the cheapest throughput first, as far as the groups may."""
        # Conditions instead of `min`, which would make the whole search a fifth slower.
        room = [(high if high < whole - need else whole - need) - low for high, need, low in self._limits]  # noqa: FURB136
        left, counts, cost = whole - self._least, [*self._counts], self._fixed
        for price, index, group, throughput, width in self._steps:
            free = room[group]
            take = width if width < free else free  # noqa: FURB136
            take = left if left < take else take  # noqa: FURB136
            if take > 0:
                counts[index] += take / throughput
                cost += take * price
                left -= take
                room[group] = free - take
        return cost, counts


@dataclass(frozen=True, slots=True)
class _Tangent:
    """A line below the convex cost: its value and slope at a sum of throughput, and the replicas there."""

    at: float
    cost: float
    slope: float
    counts: list[float]
