"""The best that can be done online: the policy that knows the true law of the durations, by dynamic programming over the age of a run.

The trace does what it does whatever the mode, so of the cost to go only the difference between the modes matters. Within a run the state is
the age that was seen and the mode; where the run ends, the next begins, and the modes differ there by a constant. Backward over the ages,
and again with the constants that this gives, until they stay: the composition of the two runs is a contraction, because a run that is long
enough makes both modes do the same.

For runs that are independent of each other (an alternating renewal process) no online policy is better on average; nothing about thresholds
is assumed. The zones of `outages` are nearly that: the outages of their region are not independent of their own.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from research.traces import Trace
from research.two_state import Prices

_AGES: Final = 3_000
"""Ticks; six and a half days of 195 s. Older runs are treated like ones of that age."""

_ROUNDS: Final = 200
_EXACT: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Law:
    """How likely a run is to end.

    Attributes:
        ends: By age in ticks, from 1: the probability that it was the run's last tick, given that it was reached.
    """

    ends: tuple[float, ...]

    @staticmethod
    def of(lengths: Sequence[int]) -> Law:
        """The law of a sample, with ages of similar size taken together: single ages beyond an hour have few runs.

        Args:
            lengths: Of whole runs, ticks.

        Raises:
            ValueError: There is none.
        """
        if not lengths:
            raise ValueError("no run has been seen")
        ordered, ends, low = sorted(lengths), [0.0], 1
        while low < _AGES:
            high = min(_AGES, max(low + 1, int(low * 1.1)))  # ages from `low` up to, not including, `high`
            reached = _at_least(ordered, low)
            ended = reached - _at_least(ordered, high)
            exposure = sum(_at_least(ordered, age) for age in range(low, high))
            ends += [ended / exposure if exposure else ends[-1]] * (high - low)
            low = high
        return Law(tuple(ends))


def _at_least(ordered: Sequence[int], length: int) -> int:
    return len(ordered) - bisect_right(ordered, length - 1)


Switches = tuple[tuple[bool, ...], tuple[bool, ...]]
"""By mode (cost, capacity) and age in ticks: whether to switch."""


@dataclass(frozen=True, slots=True)
class BestOnline:
    """A policy of the age of the present run.

    Attributes:
        outage: When to switch in an outage.
        up: When to switch while there is capacity.
    """

    outage: Switches
    up: Switches

    def play(self, trace: Trace) -> list[int]:
        """The switches on a trace."""
        switches: list[int] = []
        ticks, mode = len(trace.available), 0
        for run in trace.runs:
            table = self.up if run.available else self.outage
            for age in range(1, run.length + 1):
                if table[mode][min(age, _AGES - 1)] and run.start + age < ticks:
                    switches.append(run.start + age)
                    mode = 1 - mode
        return switches


def solve(outages: Law, ups: Law, prices: Prices, tick_s: float) -> BestOnline:
    """The best policy for independent runs of these laws.

    Args:
        outages: Of runs without capacity.
        ups: Of runs with capacity.
        prices: See `Prices`.
        tick_s: Seconds a tick.

    Raises:
        ArithmeticError: It did not converge.
    """
    switch = prices.switch_s / tick_s
    short, there = (1 + prices.exposed, prices.ratio), (1.0, prices.ratio)
    worse_up = 0.0  # what capacity mode is worse by once one tick of a run with capacity was seen
    for _ in range(_ROUNDS):
        worse_out, outage = _induct(outages, short, there, switch, worse_up)
        again, up = _induct(ups, there, short, switch, worse_out)
        if abs(again - worse_up) < _EXACT:
            return BestOnline(outage, up)
        worse_up = again
    raise ArithmeticError(f"the best online policy for {prices} was not found in {_ROUNDS} rounds")


def _induct(law: Law, here: tuple[float, float], beyond: tuple[float, float], switch: float, difference: float) -> tuple[float, Switches]:
    """Backward over the ages of one run.

    Args:
        law: Of its length.
        here: Cost of a tick of this run, by mode.
        beyond: Cost of a tick of the next run, by mode.
        switch: Cost of a switch.
        difference: What being in capacity mode is worse than cost mode by, once one tick of the next run was seen.

    Returns:
        The same difference once one tick of this run was seen, and when to switch.
    """
    to_go = (0.0, difference)
    tables: tuple[list[bool], list[bool]] = ([False] * _AGES, [False] * _AGES)
    for age in range(_AGES - 1, 0, -1):
        end = law.ends[age]
        after = [end * (beyond[mode] + (0.0, difference)[mode]) + (1 - end) * (here[mode] + to_go[mode]) for mode in (0, 1)]
        for mode in (0, 1):
            tables[mode][age] = after[1 - mode] + switch < after[mode]
        to_go = (min(after[0], after[1] + switch), min(after[1], after[0] + switch))
    return to_go[1] - to_go[0], (tuple(tables[0]), tuple(tables[1]))
