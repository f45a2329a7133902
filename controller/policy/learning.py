"""What past outages and up-times say of how long to wait: before a failover (patience), and before a fallback once capacity is back (hold).

The question is that of docs/research/evaluation.md: cost mode costs 1, capacity mode ``1 + e`` (``e = r - 1``), cost mode without capacity
``1 + P``, a switch ``S``, each way. The answer is the pair of waits that would have been cheapest on average over the outages and up-times
that were seen, with no assumption about their distribution. It has a closed form, because capacity comes and goes whatever the mode is:
only what the modes differ by counts. Be D what being in capacity mode costs more than being in cost mode when capacity returns, and F what
being in cost mode costs more than being in capacity mode when it leaves, each up to where both have become the same. With L, how late a
switch comes:

- an outage of length o that is watched for w costs ``(P - e) o - D`` where o <= w, else ``(P - e) min(o, w + L) + S``; F is the least mean
  of it;
- an up-time of length u after which to return is held back for h costs ``e u - F`` where u <= h, else ``e min(u, h + L) + S``; D is the
  least mean of it.

Each is computed from the other until both stay (`_ROUNDS` at the most). Both least means are reached at 0 or at a duration that was seen:
between two of those, waiting longer only costs more.

**What a wrong forecast costs.** The hold h is kept within `CLAMP` times and one `CLAMP`-th of the break-even time ``b = S / e``. Take one
return, and somebody who knows that capacity stays for u and pays the cheaper of staying and returning at once, ``min(e u, S)``. With
``h = k b``, so ``e h = k S``:

- u <= h: the hold pays ``e u``, that is at most ``max(1, k)`` times as much;
- u > h: it pays ``k S + S``, and who knows pays at least ``min(k, 1) S``: at most ``1 + max(k, 1 / k)`` times as much.

So whatever is learned, and however wrong it is, a return costs at most ``1 + CLAMP`` times what it costs who knows the future; the
break-even hold itself, k = 1, has 2 (ski rental: Karlin, Manasse, Rudolph, Sleator, "Competitive snoopy caching", 1988). The patience is
kept within 0 and `CLAMP` times its own break-even time ``S / (P - e)``: waiting for nothing costs at most ``1 + CLAMP`` times what a
failover at once, S, would have cost. (L comes on top of both; nobody online can avoid it.) Learned thresholds with such a clamp: Purohit,
Svitkina, Kumar, "Improving online algorithms via ML predictions", 2018.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

CLAMP: Final = 4.0
"""How far from its break-even time a wait may be learned; chosen on the training seeds of `make bench-policy`, see
docs/policy-evaluation.md."""

LEAST_SEEN: Final = 8
"""Outages, and up-times, that must have been seen before they say anything."""

KEPT: Final = 64
"""Outages, and up-times, that are worth remembering: the newest. Two weeks of the busiest zones of docs/research/evaluation.md."""

_ROUNDS: Final = 64
_SAME_S: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Stakes:
    """What is at stake, in units of the fleet's spend in cost mode.

    Attributes:
        extra: e, what capacity mode costs more per unit of time; positive.
        exposed: P, what a unit of time in cost mode without capacity costs more; above `extra`, or a failover never pays.
        switch_s: S, the price of one switch, seconds of spend; positive.
        late_s: L, how long after it was decided for (or could have been) a switch takes effect, seconds.
    """

    extra: float
    exposed: float
    switch_s: float
    late_s: float

    def __post_init__(self) -> None:
        if not (0 < self.extra < self.exposed and self.switch_s > 0 and self.late_s >= 0):
            raise ValueError(f"a failover and a return must both be able to pay: {self}")


@dataclass(frozen=True, slots=True)
class Waits:
    """How long to wait.

    Attributes:
        patience_s: From a proven shortage to the failover, seconds.
        hold_s: From the return of capacity to the fallback, seconds.
    """

    patience_s: float
    hold_s: float


def learned_waits(outages_s: Sequence[float], uptimes_s: Sequence[float], stakes: Stakes, clamp: float = CLAMP) -> Waits | None:
    """The waits that would have been cheapest for what was seen, within their clamps.

    Args:
        outages_s: How long past shortages lasted, seconds, in any order; of more than `KEPT` the last ones count.
        uptimes_s: How long capacity stayed between them, likewise.
        stakes: See `Stakes`.
        clamp: How far from its break-even time a wait may be, at least 1.

    Returns:
        None where fewer than `LEAST_SEEN` of either were seen: that says nothing yet.
    """
    break_even = stakes.switch_s / stakes.extra
    if min(len(outages_s), len(uptimes_s)) < LEAST_SEEN:
        return None
    outages = _Durations.of(outages_s[-KEPT:], 0.0, clamp * stakes.switch_s / (stakes.exposed - stakes.extra))
    uptimes = _Durations.of(uptimes_s[-KEPT:], break_even / clamp, break_even * clamp)
    returning = leaving = patience = hold = 0.0
    for _ in range(_ROUNDS):
        before = returning, leaving
        leaving, patience = outages.least(stakes.exposed - stakes.extra, returning, stakes)
        returning, hold = uptimes.least(stakes.extra, leaving, stakes)
        if abs(returning - before[0]) + abs(leaving - before[1]) < _SAME_S:
            break
    return Waits(patience, hold)


@dataclass(frozen=True, slots=True)
class _Durations:
    """Durations that were seen.

    Attributes:
        ordered: Ascending, seconds.
        sums: Of the first n of them, for n from 0.
        candidates: Waits among which the best is, ascending, seconds.
    """

    ordered: tuple[float, ...]
    sums: tuple[float, ...]
    candidates: tuple[float, ...]

    @staticmethod
    def of(durations: Sequence[float], least: float, most: float) -> _Durations:
        ordered = tuple(sorted(durations))
        inside = dict.fromkeys(one for one in ordered if least < one < most)
        return _Durations(ordered, (0.0, *accumulate(ordered)), (least, *inside, most))

    def least(self, rate: float, saved_s: float, stakes: Stakes) -> tuple[float, float]:
        """The least mean cost of a wait, and that wait; the shortest of equally cheap ones.

        Args:
            rate: What a unit of time costs until it is switched.
            saved_s: What it saves not to have switched when the other kind of run begins, seconds of spend.
            stakes: For S and L.
        """
        count = len(self.ordered)
        best = (0.0, -1.0)
        for wait in self.candidates:
            over, late = bisect_right(self.ordered, wait), bisect_right(self.ordered, wait + stakes.late_s)
            waited = rate * (self.sums[late] + (count - late) * (wait + stakes.late_s))
            cost = (waited - over * saved_s + (count - over) * stakes.switch_s) / count
            if best[1] < 0 or cost < best[0] - _SAME_S:
                best = (cost, wait)
        return best
