"""The two-state problem of docs/research/evaluation.md: cost mode or capacity mode in each tick, with a price for every mode change.

Costs are in ticks of the whole fleet's spend in cost mode: a tick in cost mode costs 1 while the cheap unit has capacity and ``1 + P``
while it has none (exposed), a tick in capacity mode costs ``r``, and each mode change, either way, costs ``S``. Every policy starts in cost
mode.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from research.traces import DAY_S, Trace

CHANGE_COST_S: Final = 900.0
"""S: 15 fleet-minutes, one cold start of the whole fleet (docs/research/evaluation.md), seconds."""


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices relative to cost mode.

    Attributes:
        ratio: r, the price of capacity mode; above 1.
        exposed: P, the extra cost of being exposed; above ``r - 1``, otherwise a failover would never pay.
        change_cost_s: S, the cost of a mode change, seconds of the fleet's spend in cost mode.
    """

    ratio: float
    exposed: float
    change_cost_s: float = CHANGE_COST_S

    @property
    def break_even_s(self) -> float:
        """``S / (r - 1)``: when capacity mode's extra cost equals the cost of a mode change, seconds."""
        return self.change_cost_s / (self.ratio - 1)

    def __str__(self) -> str:
        return f"r {self.ratio:g} P {self.exposed:g}"


GRID: Final = (Prices(1.22, 5), Prices(1.22, 20), Prices(2.5, 5), Prices(2.5, 20))
"""The four prices of docs/research/evaluation.md."""


@dataclass(frozen=True, slots=True)
class Figures:
    """A policy's figures on a trace.

    Attributes:
        cost: Cost, in ticks of cost mode's spend.
        changes: Number of mode changes.
        exposed: Ticks in cost mode without capacity.
        needless: Ticks in capacity mode although the unit had capacity.
        ticks: Length of the trace.
        tick_s: Seconds per tick.
    """

    cost: float
    changes: int
    exposed: int
    needless: int
    ticks: int
    tick_s: float

    @property
    def days(self) -> float:
        """Length of the trace."""
        return self.ticks * self.tick_s / DAY_S

    @property
    def changes_a_day(self) -> float:
        """Mode changes a day."""
        return self.changes / self.days

    @property
    def exposed_minutes_a_day(self) -> float:
        """Minutes a day in cost mode without capacity."""
        return self.exposed * self.tick_s / 60 / self.days

    @property
    def needless_hours_a_day(self) -> float:
        """Hours a day in capacity mode although there was capacity."""
        return self.needless * self.tick_s / 3600 / self.days


def account(changes: Sequence[int], trace: Trace, prices: Prices) -> Figures:
    """The figures of a policy.

    Args:
        changes: The ticks at which the mode changes, ascending; the first is a failover, the next a fallback, and so on.
        trace: The trace of the whole unit, even if the policy watched a zone.
        prices: See `Prices`.

    Raises:
        ValueError: The ticks are not ascending, or outside the trace.
    """
    ticks = len(trace.available)
    if any(later <= earlier for earlier, later in pairwise([-1, *changes])) or any(at >= ticks for at in changes):
        raise ValueError("changes must be ascending ticks of the trace")
    exposed = needless = capacity = 0
    edges = [0, *changes, ticks]
    for number, (start, end) in enumerate(pairwise(edges)):
        present = trace.available.count(1, start, end)
        if number % 2:
            capacity += end - start
            needless += present
        else:
            exposed += end - start - present
    change = prices.change_cost_s / trace.tick_s
    cost = (ticks - capacity) + prices.exposed * exposed + prices.ratio * capacity + change * len(changes)
    return Figures(cost, len(changes), exposed, needless, ticks, trace.tick_s)


def optimum(trace: Trace, prices: Prices) -> list[int]:
    """The best mode changes with knowledge of the whole trace and no delay.

    A dynamic program over the runs: costs do not change within a run, so a mode change within one is never better than at its start.

    Returns:
        The ticks, as for `account`. Ties are resolved arbitrarily.
    """
    change = prices.change_cost_s / trace.tick_s
    cheap, expensive = 0.0, change
    came: list[tuple[bool, bool]] = []  # whether cost mode, and capacity mode, of each run was entered at its start
    for run in trace.runs:
        into_cheap, into_expensive = expensive + change < cheap, cheap + change < expensive
        came.append((into_cheap, into_expensive))
        entered_cheap, entered_expensive = min(cheap, expensive + change), min(expensive, cheap + change)
        cheap = entered_cheap + run.length * (1.0 if run.available else 1 + prices.exposed)
        expensive = entered_expensive + run.length * prices.ratio
    in_capacity, found = expensive < cheap, []
    for run, (into_cheap, into_expensive) in zip(reversed(trace.runs), reversed(came), strict=True):
        entered = into_expensive if in_capacity else into_cheap
        if entered or (run.start == 0 and in_capacity):
            found.append(run.start)
            in_capacity = not in_capacity
    return found[::-1]
