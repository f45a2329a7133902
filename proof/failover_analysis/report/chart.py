"""Computes the paths and boxes of a chart in a field of `WIDTH` by `HEIGHT`, which the page stretches to the available room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from failover_analysis.report.model import Lane, Panel, Series, Timeline

WIDTH: Final = 1000.0
HEIGHT: Final = 100.0

_LEAST_WIDTH: Final = 1.5  # of a box, so that a moment is visible
_TICKS_S: Final = (60, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 345_600, 604_800, 1_209_600, 2_592_000)
_MOST_TICKS: Final = 7
_EDGE: Final = 0.03  # a label closer to an edge than this does not fit
_DAY_S: Final = 86_400
_ROUNDING: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Shape:
    """One path of a chart.

    Attributes:
        name: The name of its series.
        index: The index of its series, which chooses the colour.
        path: SVG path data.
        filled: Whether it is an area.
    """

    name: str
    index: int
    path: str
    filled: bool


@dataclass(frozen=True, slots=True)
class Box:
    """One stretch of a lane."""

    x: str
    width: str
    kind: str
    words: str


@dataclass(frozen=True, slots=True)
class Tick:
    """A label on the time axis and its position in per cent of the width."""

    percent: str
    label: str


def shapes(panel: Panel, colours: Sequence[str]) -> tuple[Shape, ...]:
    """The paths of a panel, the background first.

    Args:
        panel: What to draw.
        colours: Names of series in the order of their colours. Another series gets the colour of its position.
    """
    index = {name: place for place, name in enumerate(colours)}
    if panel.kind == "lines":
        only = len(panel.series) == 1
        return tuple(
            Shape(one.name, place, _area(one, panel.top) if place == 0 else _line(one, panel.top), filled=place == 0)
            for place, one in enumerate(panel.series)
        ) + ((Shape(panel.series[0].name, 0, _line(panel.series[0], panel.top), filled=False),) if only else ())
    return tuple(_stacked(panel, index))


def _stacked(panel: Panel, index: dict[str, int]) -> list[Shape]:
    """Stacked areas, the first one on top, in the order of the legend."""
    length = len(panel.series[0].values) if panel.series else 0
    upper = [0.0] * length
    made = []
    for place, one in enumerate(panel.series):
        lower = [above + (value or 0.0) for above, value in zip(upper, one.values, strict=True)]
        made.append(Shape(one.name, index.get(one.name, place), _band(upper, lower), filled=True))
        upper = lower
    return made


def _x(step: int, steps: int) -> str:
    return _number(step / steps * WIDTH)


def _y(value: float, top: float) -> str:
    return _number(HEIGHT * (1 - min(max(value / top, 0.0), 1.0)))


def _number(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".") or "0"


def _runs(values: Sequence[float | None]) -> list[tuple[int, int]]:
    """Stretches of known values: the first step, and the one after the last."""
    found, begin = [], None
    for step, value in enumerate([*values, None]):
        if value is not None and begin is None:
            begin = step
        elif value is None and begin is not None:
            found.append((begin, step))
            begin = None
    return found


def _steps(values: Sequence[float], begin: int, steps: int, top: float) -> str:
    """A staircase: each value holds for its step. Repeated values write nothing."""
    parts = [f"{_x(begin, steps)},{_y(values[0], top)}"]
    for offset, value in enumerate(values):
        last = offset == len(values) - 1
        if last or _y(values[offset + 1], top) != _y(value, top):
            parts.append(f"H{_x(begin + offset + 1, steps)}")
            if not last:
                parts.append(f"V{_y(values[offset + 1], top)}")
    return "".join(parts)


def _line(series: Series, top: float) -> str:
    steps = len(series.values)
    return "".join(
        f"M{_steps([value or 0.0 for value in series.values[begin:end]], begin, steps, top)}" for begin, end in _runs(series.values)
    )


def _area(series: Series, top: float) -> str:
    steps = len(series.values)
    return "".join(
        f"M{_steps([value or 0.0 for value in series.values[begin:end]], begin, steps, top)}V{_number(HEIGHT)}H{_x(begin, steps)}Z"
        for begin, end in _runs(series.values)
    )


def _band(upper: Sequence[float], lower: Sequence[float]) -> str:
    """The area between two staircases, both measured from the top; empty if the series has no width."""
    steps, thick = len(upper), [below - above > _ROUNDING for above, below in zip(upper, lower, strict=True)]
    path = []
    for begin, end in _runs([1.0 if one else None for one in thick]):
        there = _steps([1 - value for value in upper[begin:end]], begin, steps, 1.0)
        back = _back([1 - value for value in lower[begin:end]], begin, steps)
        path.append(f"M{there}{back}Z")
    return "".join(path)


def _back(values: Sequence[float], begin: int, steps: int) -> str:
    """The staircase from right to left."""
    heights = [_y(value, 1.0) for value in values]
    steps_back = range(len(values) - 1, 0, -1)
    turns = (f"H{_x(begin + place, steps)}V{heights[place - 1]}" for place in steps_back if heights[place - 1] != heights[place])
    return f"V{heights[-1]}{''.join(turns)}H{_x(begin, steps)}"


def boxes(lane: Lane, timeline: Timeline) -> tuple[Box, ...]:
    """The boxes of a lane."""
    whole = timeline.end - timeline.begin
    made = []
    for span in lane.spans:
        begin = max(0.0, (span.begin - timeline.begin) / whole * WIDTH)
        width = max(_LEAST_WIDTH, (min(span.end, timeline.end) - max(span.begin, timeline.begin)) / whole * WIDTH)
        made.append(Box(_number(min(begin, WIDTH - width)), _number(width), span.kind, span.words))
    return tuple(made)


def ticks(timeline: Timeline) -> tuple[Tick, ...]:
    """The labels of the time axis, at round times."""
    whole = timeline.end - timeline.begin
    step = next((one for one in _TICKS_S if whole / one <= _MOST_TICKS), _TICKS_S[-1])
    first = -(-timeline.begin // step) * step
    found = []
    for number in range(_MOST_TICKS + 1):
        at = first + number * step
        place = (at - timeline.begin) / whole
        if _EDGE <= place <= 1 - _EDGE:
            found.append(Tick(_number(place * 100), _label(at, step)))
    return tuple(found)


def _label(at: float, step: float) -> str:
    moment = datetime.fromtimestamp(at, UTC)
    if step >= _DAY_S:
        return f"{moment:%d %b}"
    return f"{moment:%d %b}" if at % _DAY_S == 0 else f"{moment:%H:%M}"
