"""The demand that is expected one cold start ahead, from the demands seen so far.

Additive season and trend, as in the method of Holt (1957) and Winters (1960), with a season of a day: what a sample of the demand is above
the season's value of that time of day goes on as it is, plus its trend. On top comes what the forecasts lately fell short by. Without
history it is the present demand. It is never below the present demand: replicas go when the demand has gone, not before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from controller.policy.model import DemandHistory, NotedDemand

SLOT_S: Final = 900.0
"""How often a demand is noted, seconds. A quarter of an hour: 96 values describe a day, and the memory is stored no more often for it."""

SLOTS: Final = 96
"""Slots of a day."""

KEPT_ERRORS: Final = 64
"""Errors of forecasts that are kept: those of 16 hours."""

LEAST_ERRORS: Final = 8
"""From that many errors on their quantile counts: two hours."""

RECENT: Final = 2
"""Demands that are kept one by one: the newer may be too young for a trend."""

QUANTILE: Final = 0.9
"""How often a forecast with the margin for its own errors should be enough."""

_WEIGHT: Final = 0.3  # of a new day in the season's value of a slot: the last three days make up two thirds of it
_MOST_ERROR: Final = 1.0  # one doubling without warning says nothing about the next
_DAY_S: Final = SLOT_S * SLOTS


@dataclass(frozen=True, slots=True)
class Expected:
    """An expected demand, requests per metric period.

    Attributes:
        demand: With the margin.
        point: Without it.
        shortfall: What lately nine forecasts of ten fell short by at most, as a share of them; None while too few can be judged.
    """

    demand: float
    point: float
    shortfall: float | None


def expected_demand(history: DemandHistory | None, now: float, demand: float, ahead_s: float) -> Expected:
    """The demand that is expected some time ahead.

    Args:
        history: The demands noted so far; None before the first.
        now: Seconds since the Unix epoch.
        demand: The present demand, requests per metric period.
        ahead_s: How far ahead, seconds.
    """
    if history is None:
        return Expected(demand, demand, None)
    point, shortfall = _point(history, now, demand, ahead_s), _shortfall(history.errors)
    return Expected(point * (1 + (shortfall or 0.0)), point, shortfall)


def noted_demand(history: DemandHistory | None, now: float, demand: float) -> DemandHistory:
    """The history after a demand was seen; the same object unless a slot has begun since the last one was noted.

    Args:
        history: Before it.
        now: Seconds since the Unix epoch.
        demand: Requests per metric period.
    """
    known = history or DemandHistory(season=(None,) * SLOTS)
    last = known.recent[-1] if known.recent else None
    if last is not None and last.at // SLOT_S == now // SLOT_S:
        return known
    errors = known.errors
    if last is not None and last.forecast > 0 and 0 < now - last.at < 2 * SLOT_S:
        errors = (*errors, min(_MOST_ERROR, max(0.0, demand / last.forecast - 1)))[-KEPT_ERRORS:]
    noted = (*known.recent, NotedDemand(now, demand, _point(known, now, demand, SLOT_S)))
    return DemandHistory(noted[-RECENT:], errors, _blended(known.season, noted[:-RECENT]))


def _blended(season: tuple[float | None, ...], left: Sequence[NotedDemand]) -> tuple[float | None, ...]:
    """The season with the demands that are recent no more. Those of the present hour would blur what is usual for it."""
    for one in left:
        slot = _slot(one.at)
        before = season[slot]
        value = one.demand if before is None else before + _WEIGHT * (one.demand - before)
        season = (*season[:slot], round(value, 3), *season[slot + 1 :])
    return season


def _slot(at: float) -> int:
    return int(at % _DAY_S // SLOT_S)


def _point(history: DemandHistory, now: float, demand: float, ahead_s: float) -> float:
    """The expected demand without a margin."""
    rise = _usual_rise(history, now, now + ahead_s)
    before = next((one for one in reversed(history.recent) if SLOT_S / 2 <= now - one.at < 2 * SLOT_S), None)
    if before is not None:
        unusual = demand - before.demand - _usual_rise(history, before.at, now)
        rise += unusual / (now - before.at) * ahead_s
    return max(demand, demand + rise)


def _usual_rise(history: DemandHistory, begin: float, end: float) -> float:
    """How much the demand usually rises between two times; 0 where that is not known."""
    first, last = _usual(history.season, begin), _usual(history.season, end)
    return 0.0 if first is None or last is None else last - first


def _usual(season: Sequence[float | None], at: float) -> float | None:
    """The usual demand of a time of day, between those of two slots; None where one of them is not known."""
    slot = _slot(at)
    first, second = season[slot], season[(slot + 1) % SLOTS]
    if first is None or second is None:
        return None
    return first + (second - first) * (at % SLOT_S) / SLOT_S


def _shortfall(errors: Sequence[float]) -> float | None:
    if len(errors) < LEAST_ERRORS:
        return None
    return sorted(errors)[math.ceil(QUANTILE * len(errors)) - 1]
