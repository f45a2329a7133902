"""The best online policy: it knows the true law of the durations, by dynamic programming over the age of a run.

The trace does not depend on the mode, so only the difference between the modes matters in the cost to go. Within a run the state is the
observed age and the mode. At the end of a run the next one begins, and the modes differ there by a constant. The program runs backward over
the ages and repeats with the resulting constants until they converge: the composition of two runs is a contraction, because a long enough
run makes both modes act alike.

For independent runs (an alternating renewal process) no online policy is better on average; this assumes no thresholds. The zones of
`outages` come close: their outages depend on those of their region.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from research.traces import Trace
from research.two_state import Prices

_AGES: Final = 3_000
"""Ticks: six and a half days of 195 s. Older runs count as runs of this age."""

_ROUNDS: Final = 200
_EXACT: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Law:
    """The distribution of a run's length.

    Attributes:
        ends: By age in ticks, from 1: the probability that this tick is the run's last, given that the run reached it.
    """

    ends: tuple[float, ...]

    @staticmethod
    def of(lengths: Sequence[int]) -> Law:
        """The law of a sample. It groups similar ages, because few runs have any one age beyond an hour.

        Args:
            lengths: Lengths of whole runs, ticks.

        Raises:
            ValueError: The sample is empty.
        """
        if not lengths:
            raise ValueError("the sample contains no run")
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


Changes = tuple[tuple[bool, ...], tuple[bool, ...]]
"""By mode (cost, capacity) and age in ticks: whether to change modes."""


@dataclass(frozen=True, slots=True)
class BestOnline:
    """A policy that depends on the age of the present run.

    Attributes:
        outage: When to change modes in an outage.
        up: When to change modes while there is capacity.
    """

    outage: Changes
    up: Changes

    def play(self, trace: Trace) -> list[int]:
        """The mode changes on a trace."""
        changes: list[int] = []
        ticks, mode = len(trace.available), 0
        for run in trace.runs:
            table = self.up if run.available else self.outage
            for age in range(1, run.length + 1):
                if table[mode][min(age, _AGES - 1)] and run.start + age < ticks:
                    changes.append(run.start + age)
                    mode = 1 - mode
        return changes


def solve(outages: Law, ups: Law, prices: Prices, tick_s: float) -> BestOnline:
    """The best policy for independent runs of these laws.

    Args:
        outages: Law of runs without capacity.
        ups: Law of runs with capacity.
        prices: See `Prices`.
        tick_s: Seconds per tick.

    Raises:
        ArithmeticError: The iteration did not converge.
    """
    change = prices.change_cost_s / tick_s
    short, there = (1 + prices.exposed, prices.ratio), (1.0, prices.ratio)
    worse_up = 0.0  # extra cost of capacity mode after one tick of a run with capacity
    for _ in range(_ROUNDS):
        worse_out, outage = _induct(outages, short, there, change, worse_up)
        again, up = _induct(ups, there, short, change, worse_out)
        if abs(again - worse_up) < _EXACT:
            return BestOnline(outage, up)
        worse_up = again
    raise ArithmeticError(f"the best online policy for {prices} was not found in {_ROUNDS} rounds")


def _induct(law: Law, here: tuple[float, float], beyond: tuple[float, float], change: float, difference: float) -> tuple[float, Changes]:
    """Solves one run backward over its ages.

    Args:
        law: Law of its length.
        here: Cost of a tick of this run, by mode.
        beyond: Cost of a tick of the next run, by mode.
        change: Cost of a mode change.
        difference: Extra cost of capacity mode over cost mode after one tick of the next run.

    Returns:
        The same difference after one tick of this run, and when to change modes.
    """
    to_go = (0.0, difference)
    tables: tuple[list[bool], list[bool]] = ([False] * _AGES, [False] * _AGES)
    for age in range(_AGES - 1, 0, -1):
        end = law.ends[age]
        after = [end * (beyond[mode] + (0.0, difference)[mode]) + (1 - end) * (here[mode] + to_go[mode]) for mode in (0, 1)]
        for mode in (0, 1):
            tables[mode][age] = after[1 - mode] + change < after[mode]
        to_go = (min(after[0], after[1] + change), min(after[1], after[0] + change))
    return to_go[1] - to_go[0], (tuple(tables[0]), tuple(tables[1]))
