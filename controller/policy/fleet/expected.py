"""The demand that is expected one cold start ahead, from the demands seen so far.

Additive season and damped trend, as in the methods of Holt (1957), Winters (1960) and Gardner and McKenzie (1985), with a season of a day:
what a sample of the demand is above the season's value of that time of day goes on as it is, plus its trend. How much of a trend lasts is
learned from how much of each lasted so far (least squares, the older the less).

A margin makes it the demand that nine of ten such forecasts are enough for, "such" being the nearest neighbours: a service with few
requests at night is wrong by another share than one with many by day. Four candidates estimate that quantile:

- the share by which those forecasts fell short. It follows a demand that grows beyond all that was seen;
- the demand that came after them. It knows that bursts end;
- simple exponential smoothing (Brown, 1959) with the quantile of its own errors. It does not follow noise;
- the last demand with the quantile of its own errors: smoothing that forgets all but that. Where demand wanders, nothing is better.

One loss judges them, the quantile's own (Koenker and Bassett, 1978), on what each said before the outcome was known (Dawid, 1984). The best
one counts. The last demand without a margin was a candidate as well, and never the best on loads that were made up for the choice.

Without history the present demand is expected. What the ready replicas serve of it is always expected: they go when the demand has gone,
not before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from controller.policy.model import Candidates, Damping, DemandHistory, NotedDemand, Outcome

SLOT_S: Final = 900.0
"""How often a demand is noted, seconds. A quarter of an hour: 96 values describe a day, and the memory is stored no more often for it."""

SLOTS: Final = 96
"""Slots of a day."""

KEPT_OUTCOMES: Final = 64
"""Outcomes of forecasts that are kept: those of 16 hours."""

LEAST_OUTCOMES: Final = 8
"""From that many outcomes on the quantile of their errors counts: two hours."""

ALIKE: Final = 20
"""Of the outcomes kept, those with the most similar forecasts whose errors count: fewer would make the quantile their highest error or
the one below it."""

RECENT: Final = 2
"""Demands that are kept one by one: the newer may be too young for a trend."""

QUANTILE: Final = 0.9
"""How often a forecast with its margin should be enough."""

CANDIDATES: Final = ("the share that it fell short by", "what came after like forecasts", "the smoothed demand", "the last demand")
"""What a forecast with its margin is called, in the order of what is remembered of each."""

_SMOOTHED: Final = 0.5  # of a new demand in the smoothed one

_LASTS: Final = 1 - 1 / KEPT_OUTCOMES  # of what is learned about trends and margins, from slot to slot: as long as outcomes are kept
_WEIGHT: Final = 0.3  # of a new day in the season's value of a slot: the last three days make up two thirds of it
_MOST_ERROR: Final = 1.0  # one doubling without warning says nothing about the next
_DAY_S: Final = SLOT_S * SLOTS


@dataclass(frozen=True, slots=True)
class Expected:
    """An expected demand, requests per metric period.

    Attributes:
        demand: With the margin.
        point: Without it, and at most `demand`.
        shortfall: What lately nine of ten forecasts of a like demand fell short by at most, as a share of them, below 0 where nine of ten
            were too high; None while too few can be judged.
        followed: The candidate that counts, one of `CANDIDATES`; "" while too few outcomes can be judged.
        loss: What it lately lost on average, requests per metric period: nine tenths of what was too little, and one of what was too much.
    """

    demand: float
    point: float
    shortfall: float | None
    followed: str = ""
    loss: float = 0.0


def expected_demand(history: DemandHistory | None, now: float, demand: float, ahead_s: float, served: float | None = None) -> Expected:
    """The demand that is expected some time ahead.

    Args:
        history: The demands noted so far; None before the first.
        now: Seconds since the Unix epoch.
        demand: The present demand, requests per metric period.
        ahead_s: How far ahead, seconds.
        served: What the ready replicas serve of the present demand, which is the least that is expected; None: all of it.
    """
    if history is None:
        return Expected(demand, demand, None)
    point = _point(history, now, demand, ahead_s)
    bounds = _bounds(history.outcomes, point, demand)
    if bounds is None:
        return Expected(point, point, None)
    loss, best = min((lost, place) for place, lost in enumerate(history.candidates.losses))
    with_margin = max(bounds[best], demand if served is None else min(demand, served))
    return Expected(with_margin, min(point, with_margin), bounds[best] / point - 1 if point > 0 else 0.0, CANDIDATES[best], loss)


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
    outcomes, candidates = known.outcomes, known.candidates
    if last is not None and _next(last.at, now):
        candidates = _judged(candidates, demand)
        if (forecast := round(last.forecast, 3)) > 0:
            outcomes = (*outcomes, Outcome(forecast, round(demand, 3)))[-KEPT_OUTCOMES:]
    point = _point(known, now, demand, SLOT_S)
    noted, candidates = (*known.recent, NotedDemand(now, demand, point)), replace(candidates, bounds=_bounds(outcomes, point, demand))
    return DemandHistory(noted[-RECENT:], outcomes, _blended(known.season, noted[:-RECENT]), _learned(known, now, demand), candidates)


def _judged(known: Candidates, demand: float) -> Candidates:
    """What each candidate has lost on average, the older the less, once the demand is known of which it said something."""
    if known.bounds is None:
        return known
    judged = zip(known.losses, known.bounds, strict=True)
    share, after, smoothed, last = (round(_LASTS * lost + (1 - _LASTS) * _loss(demand - bound), 6) for lost, bound in judged)
    return replace(known, losses=(share, after, smoothed, last))


def _loss(lacking: float) -> float:
    """The loss of a quantile: a request too few costs nine times as much as one too many (Koenker and Bassett, 1978)."""
    return max(QUANTILE * lacking, (QUANTILE - 1) * lacking)


def _next(earlier: float, later: float) -> bool:
    """Whether a demand was noted a slot after another one, and none was missed."""
    return 0 < later - earlier < 2 * SLOT_S


def _learned(history: DemandHistory, now: float, demand: float) -> Damping:
    """What is known of how long trends last, after another demand."""
    if len(history.recent) < RECENT:
        return history.damping
    first, second = history.recent[-2:]
    if second.demand <= 0 or not _next(first.at, second.at) or not _next(second.at, now):
        return history.damping
    scale = SLOT_S / second.demand  # shares of the demand a slot: by day and by night they count alike
    before = _bounded(scale * _unusual(history, first.at, first.demand, second.at, second.demand))
    after = _bounded(scale * _unusual(history, second.at, second.demand, now, demand))
    known = history.damping
    return Damping(_LASTS * known.lasted + before * after, _LASTS * known.squares + before * before)


def _bounded(share: float) -> float:
    return max(-_MOST_ERROR, min(_MOST_ERROR, share))


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
        rise += _unusual(history, before.at, before.demand, now, demand) * _lasting_s(history.damping, ahead_s)
    return max(demand, demand + rise)


def _unusual(history: DemandHistory, begin: float, first: float, end: float, last: float) -> float:
    """How fast a demand rose beyond what is usual between two times, requests per period and second."""
    return (last - first - _usual_rise(history, begin, end)) / (end - begin)


def _lasting_s(damping: Damping, ahead_s: float) -> float:
    """For how long the present trend would have to go on undamped to come as far as it comes in that time, seconds.

    Its factor φ is that of a slot: after h slots a damped trend has come as far as an undamped one in φ + φ² + … + φʰ (Gardner and
    McKenzie, 1985, equation 4). Nothing is known of trends at first, and they are taken to end; one doubling counts as much as that.
    """
    factor = min(1.0, max(0.0, damping.lasted / (damping.squares + 1)))
    slots = int(ahead_s // SLOT_S)
    whole = sum(factor**slot for slot in range(1, slots + 1))
    return whole * SLOT_S + factor ** (slots + 1) * (ahead_s - slots * SLOT_S)


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


def _bounds(outcomes: Sequence[Outcome], point: float, demand: float) -> tuple[float, float, float, float] | None:
    """What each candidate says is enough, requests per period; None while too few outcomes can be judged.

    Args:
        outcomes: The newest last.
        point: The forecast without a margin.
        demand: The present demand.
    """
    judged = [one for one in outcomes if one.forecast > 0]  # none else is noted, but anyone may have edited what is stored
    if len(judged) < LEAST_OUTCOMES:
        return None
    share, after = _fell_short(judged, point)
    smoothed, last = (_smoothed([one.demand for one in judged], demand, part) for part in (_SMOOTHED, 1.0))
    return round(point * (1 + share), 3), after, smoothed, last


def _smoothed(demands: Sequence[float], demand: float, part: float) -> float:
    """Demands of one slot after another, smoothed, with the quantile of the errors: at least 0.

    Args:
        demands: The oldest first; at least two.
        demand: The present demand, which takes the place of the newest: they are of about the same time.
        part: What a new demand counts in the smoothed one, 0 to 1.
    """
    level = before = demands[0]
    errors = list[float]()
    for one in demands[1:]:
        before = level
        errors.append(one - before)
        level = before + part * (one - before)
    return max(0.0, round(before + part * (demand - before) + _quantile(errors), 3))


def _fell_short(judged: Sequence[Outcome], point: float) -> tuple[float, float]:
    """What nine of ten forecasts like this one fell short by at most, as a share of them, and the most that came after those nine."""
    near = sorted(judged, key=lambda one: abs(one.forecast - point) / max(one.forecast, point))[:ALIKE]
    share = _quantile([min(_MOST_ERROR, max(0.0, one.demand / one.forecast - 1)) for one in near])
    return share, _quantile([one.demand for one in near])


def _quantile(values: Sequence[float]) -> float:
    """The least of the values that `QUANTILE` of them are not above."""
    return sorted(values)[math.ceil(QUANTILE * len(values)) - 1]
