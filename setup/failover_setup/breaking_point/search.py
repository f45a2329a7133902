"""The search for the highest rate that holds: chooses the next rate to offer.

1. **Climb**: the rate grows by a constant factor until a step exceeds a limit.
2. **Bisect**: try the geometric mean of the highest rate that held and the lowest that did not, until they are less than the tolerance
   apart.
3. **Confirm**: one unlucky step (a pause of the garbage collector, a noisy neighbour) must neither end the climb too early nor make a rate
   pass. A step that exceeded a limit although the throughput kept up is repeated at once. At the end the lowest rate that did not hold is
   repeated, and the highest that held is repeated for longer. If two steps at a rate disagree, a third decides.

The result is that of the longer step. Pure: the same steps lead to the same rate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from failover_setup.breaking_point.model import Ending, Limit, Step

_LOWEST: Final = 8.0  # the search for a rate that holds ends at the start divided by this


@dataclass(frozen=True, slots=True)
class Search:
    """Settings of the search.

    Attributes:
        start: The first rate, requests per second.
        highest: The highest rate, requests per second.
        growth: Factor of the climb, above 1. The climb ends with an overload of at most this factor.
        tolerance: Largest relative distance between the highest rate that holds and the lowest that does not, at the end.
    """

    start: float
    highest: float
    growth: float = 1.5
    tolerance: float = 0.03


@dataclass(frozen=True, slots=True)
class Try:
    """A step to run: its rate, requests per second, and whether it is a long one that confirms the rate."""

    rate: float
    long: bool = False


@dataclass(frozen=True, slots=True)
class Bracket:
    """The highest rate that held so far and the lowest above it that did not; None if there is none."""

    held: float | None
    broke: float | None


def next_step(steps: Sequence[Step], search: Search) -> Try | Step | Ending:
    """Chooses what to do after these steps.

    Returns:
        The next step to run, or the step at the breaking point, or why the search ends without one.
    """
    known = bracket(steps)
    undecided = [rate for rate in _rates(steps) if _undecided([step for step in steps if step.rate == rate])]
    if undecided:
        rate = min(undecided)
        return Try(rate, long=any(step.long for step in steps if step.rate == rate))
    if known.broke is None:
        return _climb(known.held, search)
    if known.held is None:
        lower = rounded(known.broke / search.growth)
        return Try(lower) if lower >= search.start / _LOWEST else Ending.NEVER_HELD
    middle = rounded(math.sqrt(known.held * known.broke))
    if known.broke > (1 + search.tolerance) * known.held and known.held < middle < known.broke:
        return Try(middle)
    if sum(step.rate == known.broke for step in steps) == 1:
        return Try(known.broke)
    confirmed = [step for step in steps if step.rate == known.held and step.long and step.held]
    return confirmed[-1] if confirmed else Try(known.held, long=True)


def bracket(steps: Sequence[Step]) -> Bracket:
    """The highest rate that held, by the majority of its steps, and the lowest above it that did not."""
    balances = {rate: _balance(steps, rate) for rate in _rates(steps)}
    broke = min((rate for rate, balance in balances.items() if balance < 0), default=None)
    held = max((rate for rate, balance in balances.items() if balance > 0 and (broke is None or rate < broke)), default=None)
    return Bracket(held, broke)


def limits_at(steps: Sequence[Step], rate: float | None) -> tuple[Limit, ...]:
    """Every limit that a step at this rate exceeded."""
    found = {limit for step in steps if step.rate == rate for limit in step.exceeded}
    return tuple(limit for limit in Limit if limit in found)


def rounded(rate: float) -> float:
    """The rate with four significant digits, for comparisons and for people."""
    return float(f"{rate:.4g}")


def _climb(held: float | None, search: Search) -> Try | Ending:
    if held is None:
        return Try(min(rounded(search.start), search.highest))
    if held >= search.highest:
        return Ending.HIGHEST_RATE
    return Try(min(rounded(held * search.growth), search.highest))


def _rates(steps: Sequence[Step]) -> list[float]:
    return list(dict.fromkeys(step.rate for step in steps))


def _undecided(steps: Sequence[Step]) -> bool:
    """Whether the steps at one rate do not yet decide if it holds."""
    if len(steps) == 1:
        return not steps[0].held and Limit.PLATEAU not in steps[0].exceeded
    return 2 * sum(step.held for step in steps) == len(steps)


def _balance(steps: Sequence[Step], rate: float) -> int:
    """The number of steps that held at a rate minus the number that did not."""
    return sum(1 if step.held else -1 for step in steps if step.rate == rate)
