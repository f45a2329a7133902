"""A course over time, simulated or recorded, and the charts of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeVar

from controller.policy.model import Application
from failover_analysis.report.model import Lane, Panel, Series, Span, Unit

MOST_STEPS: Final = 480
"""Steps of a chart. More points than a chart has room for are aggregated."""

_DIGITS: Final = 5
_MINUTE_S: Final = 60
_TOUCHING_S: Final = 1e-6

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Point:
    """The state from `at` on, for `seconds`.

    Attributes:
        at: Seconds since the Unix epoch.
        seconds: How long it lasted.
        mode: The mode on the Ingress; "" if unknown.
        demand: Requests per metric period; None if unknown.
        capacity: What the ready replicas can carry at their rated throughput, requests per metric period.
        failed: Share of the requests that failed; None if unknown.
        latency_s: Mean latency over all answers, seconds; None if there were none.
        wanted: Weights that the Ingress asks for, by Service.
        live: Weights of the load balancer, by Service.
        dollars_per_hour: Cost of the replicas.
        short: What is short: instance types, or units.
    """

    at: float
    seconds: float
    mode: str
    demand: float | None
    capacity: float
    failed: float | None
    latency_s: float | None
    wanted: Mapping[str, int] = field(default_factory=dict)
    live: Mapping[str, int] = field(default_factory=dict)
    dollars_per_hour: float = 0.0
    short: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Steps:
    """Points, distributed over steps of equal length.

    Attributes:
        begin: Begin of the first step, seconds since the Unix epoch.
        step_s: Seconds per step.
        parts: For each step, its points, each with its seconds in the step.
    """

    begin: float
    step_s: float
    parts: tuple[tuple[tuple[Point, float], ...], ...]

    @staticmethod
    def of(points: Sequence[Point]) -> Steps:
        """Distributes points, at least one, in the order of their time. A point ends at the latest when the next one begins."""
        begin, end = points[0].at, points[-1].at + points[-1].seconds
        number = max(1, min(MOST_STEPS, len(points)))
        step_s = max((end - begin) / number, 1e-6)
        parts: list[list[tuple[Point, float]]] = [[] for _ in range(number)]
        for place, point in enumerate(points):
            until = point.at + point.seconds
            if place + 1 < len(points):
                until = min(until, points[place + 1].at)
            for step in range(_step(point.at - begin, step_s, number), _step(until - begin, step_s, number) + 1):
                inside = min(until, begin + (step + 1) * step_s) - max(point.at, begin + step * step_s)
                if inside > step_s * 1e-6:
                    parts[step].append((point, inside))
        return Steps(begin, step_s, tuple(tuple(one) for one in parts))

    def mean(self, value: Callable[[Point], float | None]) -> tuple[float | None, ...]:
        """The mean of each step, weighted by time."""
        return tuple(_mean((value(point), inside) for point, inside in part) for part in self.parts)

    def most(self, value: Callable[[Point], float | None]) -> tuple[float | None, ...]:
        """The highest value of each step, because a mean would hide a peak."""
        return tuple(_rounded(max((v for v in (value(p) for p, _ in part) if v is not None), default=None)) for part in self.parts)


def _step(after_s: float, step_s: float, number: int) -> int:
    return min(number - 1, max(0, math.floor(after_s / step_s)))


def _mean(values: Iterable[tuple[float | None, float]]) -> float | None:
    known = [(value, weight) for value, weight in values if value is not None]
    whole = sum(weight for _, weight in known)
    return _rounded(sum(value * weight for value, weight in known) / whole) if whole > 0 else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{_DIGITS}g}")


def panels(points: Sequence[Point], application: Application) -> tuple[Steps, tuple[Panel, ...]]:
    """The charts of a course.

    Args:
        points: The points in the order of their time, at least one.
        application: The application.
    """
    steps = Steps.of(points)
    services = [*(unit.backend.service for unit in application.units), application.capacity.service]
    period = "minute" if application.metric_period_s == _MINUTE_S else f"{application.metric_period_s} s"
    lines = [
        _lines(f"Demand, and what the ready replicas carry at their rated throughput, requests a {period}", Unit.COUNT, {
            "can be carried": steps.mean(lambda point: point.capacity),
            "demand": steps.mean(lambda point: point.demand),
        }),
        _lines("Requests that failed, the worst of each step", Unit.SHARE, {"failed": steps.most(lambda point: point.failed)}),
        _lines("Mean latency of answers, the highest of each step", Unit.SECONDS, {"latency": steps.most(lambda point: point.latency_s)}),
        _stack("Weights set: what the Ingress asks for", steps, services, lambda point: point.wanted),
        _stack("Weights actual: what the load balancer does", steps, services, lambda point: point.live),
        _lines("Spend, $ an hour", Unit.DOLLARS, {"spend": steps.mean(lambda point: point.dollars_per_hour)}),
    ]  # fmt: skip
    return steps, tuple(panel for panel in lines if _says(panel))


def _says(panel: Panel) -> bool:
    """Whether the panel has anything to show: an empty chart of failures would only take up space."""
    return any(value for one in panel.series for value in one.values)


def _lines(title: str, unit: Unit, values: Mapping[str, tuple[float | None, ...]]) -> Panel:
    highest = max((value for one in values.values() for value in one if value is not None), default=0.0)
    series = tuple(Series(name, one) for name, one in values.items())
    return Panel(title, "lines", unit, _edge(highest), series)


def _edge(highest: float) -> float:
    """A round number at or above the highest value: 1, 1.5, 2, 3, 4, 5, 6 or 8 times a power of ten."""
    if highest <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(highest))
    return next(factor * power for factor in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if factor * power >= highest * (1 - 1e-9))


def _stack(title: str, steps: Steps, services: Sequence[str], weights: Callable[[Point], Mapping[str, int]]) -> Panel:
    def part(service: str) -> Callable[[Point], float | None]:
        def of(point: Point) -> float | None:
            whole = sum(weights(point).values())
            return weights(point).get(service, 0) / whole if whole else None

        return of

    series = tuple(Series(service, steps.mean(part(service))) for service in services)
    return Panel(title, "stack", Unit.SHARE, 1.0, tuple(one for one in series if any(one.values)))


def mode_lane(points: Sequence[Point]) -> Lane:
    """The mode of the Ingress over time."""
    kinds: dict[str, Literal["cost", "capacity"]] = {"cost": "cost", "capacity": "capacity"}
    spans = [
        Span(begin, end, f"{mode or 'unknown'} mode", kinds.get(mode, "unknown"))
        for begin, end, mode in _stretches(points, lambda p: p.mode)
    ]
    return Lane("mode", tuple(spans))


def short_lanes(points: Sequence[Point], words: str) -> tuple[Lane, ...]:
    """One lane for each thing that was short.

    Args:
        points: The points in the order of their time.
        words: What being short means, written after the name.
    """
    names = sorted({name for point in points for name in point.short})
    return tuple(_short_lane(points, name, words) for name in names)


def _short_lane(points: Sequence[Point], name: str, words: str) -> Lane:
    stretches = _stretches(points, lambda point: name in point.short)
    return Lane(f"{name} {words}", tuple(Span(begin, end, f"{name} {words}", "short") for begin, end, short in stretches if short))


def _stretches(points: Sequence[Point], value: Callable[[Point], _T]) -> list[tuple[float, float, _T]]:
    """Stretches of equal values. A gap between two points ends a stretch."""
    found: list[tuple[float, float, _T]] = []
    for place, point in enumerate(points):
        until = point.at + point.seconds
        if place + 1 < len(points):
            until = min(until, points[place + 1].at)
        now = value(point)
        if found and found[-1][2] == now and point.at - found[-1][1] < _TOUCHING_S:
            found[-1] = (found[-1][0], until, now)
        else:
            found.append((point.at, until, now))
    return found
