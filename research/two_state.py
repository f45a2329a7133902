"""The two-state problem of docs/research/evaluation.md: cost mode or capacity mode, tick by tick, with a price for every switch.

Costs are in ticks of the whole fleet's spend in cost mode: a tick in cost mode costs 1 while the cheap unit has capacity and ``1 + P``
while it has none (exposed), a tick in capacity mode costs ``r``, and each switch, either way, costs ``S``. Every policy starts in cost
mode.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from research.traces import DAY_S, Trace

SWITCH_S: Final = 900.0
"""S: 15 fleet-minutes, one cold start of everything (docs/research/evaluation.md), seconds."""


@dataclass(frozen=True, slots=True)
class Prices:
    """What things cost, relative to an hour of cost mode.

    Attributes:
        ratio: r, the price of capacity mode; above 1.
        exposed: P, what being exposed costs on top; above ``r - 1``, or nobody would ever fail over.
        switch_s: S, seconds of the fleet's spend in cost mode.
    """

    ratio: float
    exposed: float
    switch_s: float = SWITCH_S

    @property
    def break_even_s(self) -> float:
        """``S / (r - 1)``: when capacity mode's extra price has added up to one switch, seconds."""
        return self.switch_s / (self.ratio - 1)

    def __str__(self) -> str:
        return f"r {self.ratio:g} P {self.exposed:g}"


GRID: Final = (Prices(1.22, 5), Prices(1.22, 20), Prices(2.5, 5), Prices(2.5, 20))
"""The four of docs/research/evaluation.md."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What a policy did on a trace.

    Attributes:
        cost: In ticks of cost mode's spend.
        switches: Mode changes.
        exposed: Ticks in cost mode without capacity.
        needless: Ticks in capacity mode although the unit had capacity.
        ticks: Length of the trace.
        tick_s: Seconds a tick.
    """

    cost: float
    switches: int
    exposed: int
    needless: int
    ticks: int
    tick_s: float

    @property
    def days(self) -> float:
        """Length of the trace."""
        return self.ticks * self.tick_s / DAY_S

    @property
    def switches_a_day(self) -> float:
        """Mode changes a day."""
        return self.switches / self.days

    @property
    def exposed_minutes_a_day(self) -> float:
        """Minutes a day in cost mode without capacity."""
        return self.exposed * self.tick_s / 60 / self.days

    @property
    def needless_hours_a_day(self) -> float:
        """Hours a day in capacity mode although there was capacity."""
        return self.needless * self.tick_s / 3600 / self.days


def account(switches: Sequence[int], trace: Trace, prices: Prices) -> Figures:
    """The bill of a policy.

    Args:
        switches: The ticks at which the mode changes, ascending; the first is a failover, the next a fallback, and so on.
        trace: Of the unit as a whole, whatever the policy looked at.
        prices: See `Prices`.

    Raises:
        ValueError: The ticks are not ascending or outside the trace.
    """
    ticks = len(trace.available)
    if any(later <= earlier for earlier, later in pairwise([-1, *switches])) or any(at >= ticks for at in switches):
        raise ValueError("switches must be ascending ticks of the trace")
    exposed = needless = capacity = 0
    edges = [0, *switches, ticks]
    for number, (start, end) in enumerate(pairwise(edges)):
        present = trace.available.count(1, start, end)
        if number % 2:
            capacity += end - start
            needless += present
        else:
            exposed += end - start - present
    switch = prices.switch_s / trace.tick_s
    cost = (ticks - capacity) + prices.exposed * exposed + prices.ratio * capacity + switch * len(switches)
    return Figures(cost, len(switches), exposed, needless, ticks, trace.tick_s)


def optimum(trace: Trace, prices: Prices) -> list[int]:
    """The switches of somebody who knows the whole trace and acts without delay.

    A dynamic program over the runs: costs do not change within a run, so a switch within one is never better than at its start.

    Returns:
        As `account` takes them. Of equally cheap ones any.
    """
    switch = prices.switch_s / trace.tick_s
    cheap, dear = 0.0, switch
    came: list[tuple[bool, bool]] = []  # whether cost mode, and capacity mode, of each run was entered at its start
    for run in trace.runs:
        into_cheap, into_dear = dear + switch < cheap, cheap + switch < dear
        came.append((into_cheap, into_dear))
        entered_cheap, entered_dear = min(cheap, dear + switch), min(dear, cheap + switch)
        cheap = entered_cheap + run.length * (1.0 if run.available else 1 + prices.exposed)
        dear = entered_dear + run.length * prices.ratio
    in_capacity, found = dear < cheap, []
    for run, (into_cheap, into_dear) in zip(reversed(trace.runs), reversed(came), strict=True):
        entered = into_dear if in_capacity else into_cheap
        if entered or (run.start == 0 and in_capacity):
            found.append(run.start)
            in_capacity = not in_capacity
    return found[::-1]
