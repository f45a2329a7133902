"""The knee that each method finds in the same steps: ours and others for comparison."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from kneed import KneeLocator

from failover_setup.breaking_point.model import Outcome, Step


def methods(outcome: Outcome) -> dict[str, float]:
    """The knee by method, requests per second; NaN if a method finds none."""
    short = [step for step in outcome.steps if not step.long]
    climb = _climb(short)
    return {
        "held and confirmed (ours)": outcome.found.throughput if outcome.found is not None else math.nan,
        "middle of the bracket": math.sqrt(outcome.held * outcome.broke) if outcome.held and outcome.broke else math.nan,
        "two segments, all steps": two_segments(short),
        "two segments, climb only": two_segments(climb),
        "Kneedle, all steps": kneedle(short),
        "Kneedle, climb only": kneedle(climb),
        "highest throughput": max((step.throughput for step in outcome.steps), default=math.nan),
    }


def _climb(steps: Sequence[Step]) -> list[Step]:
    """The steps before the first that did not hold."""
    first = next((place for place, step in enumerate(steps) if not step.held), len(steps) - 1)
    return list(steps[: first + 1])


def two_segments(steps: Sequence[Step]) -> float:
    """Least squares of ``min(rate, knee)`` to the throughput: a line through the origin with slope one, then a plateau."""
    rates = sorted({step.rate for step in steps})

    def error(knee: float) -> float:
        return sum((step.throughput - min(step.rate, knee)) ** 2 for step in steps)

    best = math.nan
    for low, high in zip([0.0, *rates], [*rates, math.inf], strict=True):
        above = [step.throughput for step in steps if step.rate > low]
        candidates = [low, *([min(max(statistics.fmean(above), low), high)] if above else [])]
        for knee in candidates:
            if knee > 0 and (math.isnan(best) or error(knee) < error(best)):
                best = knee
    return best


def kneedle(steps: Sequence[Step]) -> float:
    """The knee of throughput over offered rate by Kneedle (Satopaa et al. 2011), from the library kneed."""
    mean = {rate: statistics.fmean(step.throughput for step in steps if step.rate == rate) for rate in sorted({one.rate for one in steps})}
    if len(mean) < 3:
        return math.nan
    found = KneeLocator(list(mean), list(mean.values()), S=1.0, curve="concave", direction="increasing").knee
    return math.nan if found is None else float(found)
