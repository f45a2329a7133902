"""A report as plain values: the input of every renderer, and the content of the JSON form.

`SCHEMA` changes whenever a reader of the JSON must change: a field disappears, gets another name or another meaning.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

SCHEMA: Final = "failoverctl.dev/report/v1"


class Unit(StrEnum):
    """The unit of a number, which decides how it is written."""

    SHARE = "share"  # 0 to 1
    SECONDS = "seconds"
    DOLLARS = "dollars"
    COUNT = "count"


@dataclass(frozen=True, slots=True)
class Spread:
    """One number, or the spread over several runs or events.

    Attributes:
        median: Half of the values are at most this.
        p5: 5 % of the values are at most this.
        p95: 5 % of the values are at least this.
        count: Number of values.
    """

    median: float
    p5: float
    p95: float
    count: int

    @staticmethod
    def of(values: Iterable[float]) -> Spread | None:
        """The spread of some values, interpolated between them; None if there are none."""
        ordered = sorted(values)
        if not ordered:
            return None
        return Spread(quantile(ordered, 0.5), quantile(ordered, 0.05), quantile(ordered, 0.95), len(ordered))


def quantile(ordered: Sequence[float], share: float) -> float:
    """The quantile of some values, with linear interpolation.

    Args:
        ordered: The values, ascending, at least one.
        share: 0 to 1.
    """
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        key: Its key in the JSON.
        title: Its heading.
        unit: The unit of its numbers.
        words: What exactly it means.
    """

    key: str
    title: str
    unit: Unit
    words: str


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table.

    Attributes:
        name: What the row is about.
        words: A description of that.
        cells: Values by column key; None if unknown.
    """

    name: str
    words: str
    cells: Mapping[str, Spread | None]


@dataclass(frozen=True, slots=True)
class Table:
    """A table.

    Attributes:
        title: Its heading.
        words: What the table shows.
        columns: The columns from left to right.
        rows: The rows from top to bottom.
    """

    title: str
    words: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Series:
    """One value over time.

    Attributes:
        name: What the values are.
        values: One value per step; None if unknown.
    """

    name: str
    values: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Panel:
    """One small chart.

    Attributes:
        title: What it shows, with the unit.
        kind: Lines, or stacked shares that add up to 1.
        unit: The unit of its numbers.
        top: The value at the upper edge.
        series: The series to show. The first one of a line chart is in the background.
    """

    title: str
    kind: Literal["lines", "stack"]
    unit: Unit
    top: float
    series: tuple[Series, ...]


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time in a lane. If `end` equals `begin`, it is a moment.

    Attributes:
        begin: Seconds since the Unix epoch.
        end: Seconds since the Unix epoch.
        words: A description.
        kind: How to draw it.
    """

    begin: float
    end: float
    words: str
    kind: Literal["cost", "capacity", "unknown", "short", "fault", "switch"]


@dataclass(frozen=True, slots=True)
class Lane:
    """A row of time stretches below the charts."""

    name: str
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Timeline:
    """The course of one run.

    Attributes:
        name: The policy or application.
        words: Which run it is, and what its charts leave out.
        begin: Seconds since the Unix epoch.
        end: Seconds since the Unix epoch.
        step_s: Seconds per step.
        panels: Charts over the whole time.
        lanes: Events over the same time.
    """

    name: str
    words: str
    begin: float
    end: float
    step_s: float
    panels: tuple[Panel, ...]
    lanes: tuple[Lane, ...]


@dataclass(frozen=True, slots=True)
class Moment:
    """A notable moment.

    Attributes:
        at: Seconds since the Unix epoch.
        name: The policy or application.
        seed: Seed of the run; None if there is none.
        words: Why it is notable.
        decision: The verb, the reason and its sentence.
        evidence: The evidence of the decision, and what held it back.
        command: The command that shows the moment in full.
    """

    at: float
    name: str
    seed: int | None
    words: str
    decision: str
    evidence: tuple[str, ...]
    command: str


@dataclass(frozen=True, slots=True)
class Failure:
    """A run that violated an invariant."""

    name: str
    seed: int
    words: str
    command: str


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of the header."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Report:
    """A report.

    Attributes:
        schema: `SCHEMA`.
        kind: What the report is about.
        title: Its heading.
        ok: Whether every invariant held, or no decision differed.
        verdict: The result in one line.
        facts: What was run, with which inputs, and how long it took.
        command: The command that makes the report again.
        wall_s: How long it took, seconds: the only value that differs next time.
        tables: The tables. The first one is the result.
        timelines: The courses of runs.
        moments: The worst moments, the worst one first.
        failures: Runs that violated an invariant.
        appendix: Further tables.
        notes: Hints for the reader.
    """

    schema: str
    kind: Literal["simulation", "replay"]
    title: str
    ok: bool
    verdict: str
    facts: tuple[Fact, ...]
    command: str
    wall_s: float
    tables: tuple[Table, ...]
    timelines: tuple[Timeline, ...]
    moments: tuple[Moment, ...]
    failures: tuple[Failure, ...]
    appendix: tuple[Table, ...]
    notes: tuple[str, ...]
