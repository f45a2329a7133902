"""Waits learned from past outages and up-times: before a failover (patience), and before a fallback once capacity is back (hold).

The question is that of docs/research/evaluation.md: cost mode costs 1, capacity mode ``1 + e`` (``e = r - 1``), cost mode without capacity
``1 + P``, a mode change ``S``, each way. The answer is the pair of waits that would have been cheapest on average over the observed outages
and up-times, with no assumption about their distribution. It has a closed form, because capacity comes and goes whatever the mode is, so
only the difference between the modes counts. Let D be the extra cost of being in capacity mode, not in cost mode, when capacity returns,
and F the extra cost of being in cost mode, not in capacity mode, when it leaves; each until both have become the same.
With L, how late a mode change comes:

- an outage of length o that is observed for w costs ``(P - e) o - D`` where o <= w, else ``(P - e) min(o, w + L) + S``; F is the least mean
  of it;
- an up-time of length u in which the return is held back for h costs ``e u - F`` where u <= h, else ``e min(u, h + L) + S``; D is the
  least mean of it.

Each is computed from the other until both converge (at most `_ROUNDS` times). Both least means are reached at 0 or at an observed
duration: between two of those, waiting longer only costs more.

**What a wrong forecast costs.** The hold h is kept within `CLAMP` times and one `CLAMP`-th of the break-even time ``b = S / e``.
Compare one return with that of an oracle, which knows that capacity stays for u and pays the cheaper of staying and returning at once,
``min(e u, S)``. With ``h = k b``, so ``e h = k S``:

- u <= h: the hold pays ``e u``, that is at most ``max(1, k)`` times as much;
- u > h: it pays ``k S + S``, and the oracle pays at least ``min(k, 1) S``: at most ``1 + max(k, 1 / k)`` times as much.

So however wrong a learned wait is, a return costs at most ``1 + CLAMP`` times what it costs the oracle; the break-even hold itself, k = 1,
has the factor 2 (ski rental: Karlin, Manasse, Rudolph, Sleator, "Competitive snoopy caching", 1988). The patience is kept within 0 and
`CLAMP` times its own break-even time ``S / (P - e)``: waiting in vain costs at most ``1 + CLAMP`` times what a failover at once, S, would
have cost. (L comes on top of both; no online algorithm can avoid it.) Learned thresholds with such a clamp: Purohit, Svitkina, Kumar,
"Improving online algorithms via ML predictions", 2018.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

CLAMP: Final = 4.0
"""The factor by which a learned wait may differ from its break-even time; chosen on the training seeds of `make bench-policy`, see
docs/policy-evaluation.md."""

LEAST_SEEN: Final = 8
"""Outages, and as many up-times, that must have been observed before waits are learned from them."""

KEPT: Final = 64
"""How many of the newest outages, and of the newest up-times, the memory keeps: two weeks of the busiest zones of
docs/research/evaluation.md."""

_ROUNDS: Final = 64
_SAME_S: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Stakes:
    """What is at stake, in units of the fleet's spend in cost mode.

    Attributes:
        extra: e, the extra cost of capacity mode per unit of time; positive.
        exposed: P, the extra cost of a unit of time in cost mode without capacity; above `extra`, or a failover never pays.
        change_s: S, the price of one mode change, seconds of spend; positive.
        late_s: L, how long a mode change takes from the decision until it has an effect, seconds.
    """

    extra: float
    exposed: float
    change_s: float
    late_s: float

    def __post_init__(self) -> None:
        if not (0 < self.extra < self.exposed and self.change_s > 0 and self.late_s >= 0):
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
    """The waits that would have been cheapest for the observed durations, within their clamps.

    Args:
        outages_s: How long past shortages lasted, seconds, oldest first; only the last `KEPT` count.
        uptimes_s: How long capacity stayed between them, likewise.
        stakes: See `Stakes`.
        clamp: The factor by which a wait may differ from its break-even time, at least 1.

    Returns:
        None where fewer than `LEAST_SEEN` of either were observed.
    """
    break_even = stakes.change_s / stakes.extra
    if min(len(outages_s), len(uptimes_s)) < LEAST_SEEN:
        return None
    outages = _Durations.of(outages_s[-KEPT:], 0.0, clamp * stakes.change_s / (stakes.exposed - stakes.extra))
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
    """Observed durations.

    Attributes:
        ordered: Ascending, seconds.
        sums: The sum of the first n of them, for n from 0.
        candidates: The waits that are compared, ascending, seconds.
    """

    ordered: tuple[float, ...]
    sums: tuple[float, ...]
    candidates: tuple[float, ...]

    @staticmethod
    def of(durations: Sequence[float], least: float, most: float) -> _Durations:
        ordered = tuple(sorted(durations))
        candidates = {least, most, *(min(most, max(least, one)) for one in ordered)}
        return _Durations(ordered, (0.0, *accumulate(ordered)), tuple(sorted(candidates)))

    def least(self, rate: float, saved_s: float, stakes: Stakes) -> tuple[float, float]:
        """The least mean cost of a wait, and that wait; the shortest of equally cheap ones.

        Args:
            rate: What a unit of time costs until the mode changes.
            saved_s: What it saves not to have changed the mode when the next run begins, seconds of spend.
            stakes: For S and L.
        """
        costs = [self._cost(wait, rate, saved_s, stakes) for wait in self.candidates]
        least = min(costs)
        return next((cost, wait) for cost, wait in zip(costs, self.candidates, strict=True) if cost <= least + _SAME_S)

    def _cost(self, wait: float, rate: float, saved_s: float, stakes: Stakes) -> float:
        """The mean cost of a wait; arguments as those of `least`."""
        count = len(self.ordered)
        over, late = bisect_right(self.ordered, wait), bisect_right(self.ordered, wait + stakes.late_s)
        waited = rate * (self.sums[late] + (count - late) * (wait + stakes.late_s))
        return (waited - over * saved_s + (count - over) * stakes.change_s) / count
