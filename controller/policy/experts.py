"""Which of several rules the waits follow: the one that would have cost least so far, with a bound on how much that can cost.

Four rules advise on the waits: to return at once, the break-even hold, the same doubled after each flap, and the learned waits of
`controller.policy.learning`. Because capacity comes and goes whatever the mode is, it is known of every past outage and up-time what each
rule would have paid, also where another one was followed. So the choice is that of *prediction with expert advice* (Cesa-Bianchi and
Lugosi, "Prediction, Learning, and Games", 2006). The weights are those of AdaHedge (de Rooij, van Erven, Grünwald and Koolen, "Follow the
leader if you can, hedge if you must", Journal of Machine Learning Research 15, 2014), which has no parameter to tune: what it is expected
to pay above the best of K rules is at most ``2 sqrt(V ln K) + s (4/3 ln K + 2)``, where s is the widest range of a round's costs and V the
sum of their variances under the weights. Where one rule leads clearly it is followed at once; where they are equal little is lost.

A round is an up-time and the outage after it. The newest `learning.KEPT` of them are replayed with each decision at the present prices, so
nothing of it is stored, and the choice follows when the kind of outages changes.

The weights are chances. The draw is a hash of when the present run of capacity began: the same all through the wait, and in every
replay of the decision, and unrelated to how long the run will last.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from itertools import accumulate
from operator import add, mul
from typing import Final

from controller.policy.learning import KEPT, LEAST_SEEN, Stakes, Waits, learned_waits
from controller.policy.model import OutageHistory

_MOST_DOUBLINGS: Final = 16
_HASHED: Final = 8  # bytes of the draw


class Expert(StrEnum):
    """A rule that advises on the waits."""

    DOUBLED = "break-even, doubled on flap"
    LEARNED = "learned"
    BREAK_EVEN = "break-even"
    IMMEDIATE = "immediate"


@dataclass(frozen=True, slots=True)
class Bounds:
    """What holds for every rule.

    Attributes:
        least_s: Shortest hold, seconds.
        most_s: Longest hold, seconds.
        flap_s: A failover within this time of a fallback is a flap, seconds.
    """

    least_s: float
    most_s: float
    flap_s: float

    def held(self, hold_s: float) -> float:
        """A hold within the bounds."""
        return min(self.most_s, max(self.least_s, hold_s))


@dataclass(frozen=True, slots=True)
class Choice:
    """The rule that is followed.

    Attributes:
        expert: Which.
        waits: Its waits.
        weights: The chance of each rule.
        costs: What each would have paid in the rounds that are remembered, seconds of the fleet's spend in cost mode.
        rounds: How many these are.
    """

    expert: Expert
    waits: Waits
    weights: tuple[float, ...]
    costs: tuple[float, ...]
    rounds: int


@lru_cache(maxsize=128)
def chosen(history: OutageHistory, stakes: Stakes, bounds: Bounds) -> Choice:
    """The rule to follow now.

    Args:
        history: The past outages and up-times.
        stakes: The prices.
        bounds: Of every rule.
    """
    rounds = _rounds(history)
    replay = _Replay(stakes, bounds)
    costs = [replay.paid(uptime_s, outage_s) for uptime_s, outage_s in rounds]
    weights, total = adahedge(costs, len(Expert))
    advised = replay.advised(history.outages_s, history.uptimes_s)
    number = min(bisect_right(list(accumulate(weights)), _draw(history.since)), len(Expert) - 1)
    return Choice(list(Expert)[number], advised[number], weights, total, len(rounds))


def _rounds(history: OutageHistory) -> list[tuple[float, float]]:
    """The up-times with the outage after each, oldest first. They alternate, and the last that is over was not of the present kind."""
    uptimes = history.uptimes_s[:-1] if history.short else history.uptimes_s
    count = min(len(uptimes), len(history.outages_s), KEPT)
    return list(zip(uptimes[len(uptimes) - count :], history.outages_s[len(history.outages_s) - count :], strict=True))


def _draw(since: float | None) -> float:
    """A number from 0 to less than 1 that follows from when the present run began."""
    digest = hashlib.sha256(repr(since).encode()).digest()[:_HASHED]
    return int.from_bytes(digest) / 2.0 ** (8 * _HASHED)


class _Replay:
    """What each rule would have done and paid, round by round. Each begins in capacity mode, where the first outage left it."""

    def __init__(self, stakes: Stakes, bounds: Bounds) -> None:
        self._stakes, self._bounds = stakes, bounds
        self._outages: list[float] = []
        self._uptimes: list[float] = []
        self._in_capacity = [True] * len(Expert)
        self._level, self._returned_s = 0, math.inf  # of the rule that doubles, and how long before the outage it returned
        self._learned: Waits | None

    def advised(self, outages_s: Sequence[float], uptimes_s: Sequence[float]) -> tuple[Waits, ...]:
        """The waits of each rule after some outages and up-times, in the order of `Expert`."""
        self._learned = learned_waits(outages_s, uptimes_s, self._stakes)
        return self._advised()

    def _advised(self) -> tuple[Waits, ...]:
        break_even = self._stakes.change_s / self._stakes.extra
        doubled = Waits(0.0, self._bounds.held(max(self._bounds.least_s, break_even) * 2.0 ** min(self._level, _MOST_DOUBLINGS)))
        found = self._learned
        learned = doubled if found is None else Waits(found.patience_s, self._bounds.held(found.hold_s))
        return doubled, learned, Waits(0.0, self._bounds.held(break_even)), Waits(0.0, self._bounds.held(0.0))

    def paid(self, uptime_s: float, outage_s: float) -> tuple[float, ...]:
        """What each rule pays in a round, seconds of spend beyond cost mode with capacity, in the order of `Expert`."""
        if len(self._uptimes) % LEAST_SEEN == 0:  # a decision may take a millisecond, and learning in each of 64 rounds takes seven
            self._learned = learned_waits(self._outages, self._uptimes, self._stakes)
        advised = self._advised()
        costs = tuple(self._of(number, waits, uptime_s, outage_s) for number, waits in enumerate(advised))
        self._uptimes, self._outages = [*self._uptimes, uptime_s], [*self._outages, outage_s]
        return costs

    def _of(self, number: int, waits: Waits, uptime_s: float, outage_s: float) -> float:
        stakes, cost = self._stakes, 0.0
        if self._in_capacity[number]:
            returns = uptime_s > waits.hold_s
            cost += stakes.extra * (min(uptime_s, waits.hold_s + stakes.late_s) if returns else uptime_s) + stakes.change_s * returns
            self._in_capacity[number] = not returns
            if number == 0 and returns:
                self._returned_s = uptime_s - waits.hold_s
        if self._in_capacity[number]:
            return cost + stakes.extra * outage_s
        exposed = min(outage_s, waits.patience_s + stakes.late_s)
        cost += stakes.exposed * exposed
        if outage_s <= waits.patience_s:
            return cost
        self._in_capacity[number] = True
        if number == 0:
            self._level = self._level + 1 if self._returned_s < self._bounds.flap_s else 0
        return cost + stakes.extra * (outage_s - exposed) + stakes.change_s


def adahedge(costs: Sequence[Sequence[float]], count: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The weights of AdaHedge after some rounds.

    Args:
        costs: What each rule paid in each round.
        count: How many rules there are.

    Returns:
        The weights, which add up to 1, and what each rule paid in all.
    """
    total, gap = [0.0] * count, 0.0
    weights = (1.0 / count,) * count
    for paid in costs:
        gap += max(0.0, sum(map(mul, weights, paid)) - _mixed(weights, paid, gap))
        total = [*map(add, total, paid)]
        weights = _weights(total, gap)
    return weights, tuple(total)


def _weights(total: Sequence[float], gap: float) -> tuple[float, ...]:
    """By the costs so far and the mixability gap, on which the learning rate ``ln K / gap`` depends; 0: the leaders alone."""
    least = min(total)
    raw = [_decayed(one - least, gap, len(total)) for one in total]
    return tuple(one / sum(raw) for one in raw)


def _mixed(weights: Sequence[float], paid: Sequence[float], gap: float) -> float:
    """The mix loss of a round: what the best of the rules with a weight paid, where the learning rate has no bound."""
    least = min(cost for weight, cost in zip(weights, paid, strict=True) if weight > 0)
    if gap <= 0:
        return least
    mixed = sum(map(mul, weights, (_decayed(cost - least, gap, len(paid)) for cost in paid)))
    return least - math.log(mixed) * gap / math.log(len(paid))


def _decayed(behind: float, gap: float, count: int) -> float:
    """``exp(-eta behind)``."""
    if behind <= 0:
        return 1.0
    return math.exp(-math.log(count) / gap * behind) if gap > 0 else 0.0
