"""A report as plain values: what every renderer shows, and what the JSON form is.

`SCHEMA` changes whenever a reader of the JSON would have to: a field that is gone, renamed or means something else.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

SCHEMA: Final = "failoverctl.dev/report/v1"


class Unit(StrEnum):
    """What a number is of, and so how it is written."""

    SHARE = "share"  # 0 to 1
    SECONDS = "seconds"
    DOLLARS = "dollars"
    COUNT = "count"


@dataclass(frozen=True, slots=True)
class Spread:
    """One number, or how it spreads over several runs or events.

    Attributes:
        median: Half are at most this.
        p5: One in twenty is at most this.
        p95: One in twenty is at least this.
        count: How many there are.
    """

    median: float
    p5: float
    p95: float
    count: int

    @staticmethod
    def of(values: Iterable[float]) -> Spread | None:
        """The spread of some values, between which is interpolated; None where there are none."""
        ordered = sorted(values)
        if not ordered:
            return None
        return Spread(quantile(ordered, 0.5), quantile(ordered, 0.05), quantile(ordered, 0.95), len(ordered))


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value below which a share of some values lies, between two of them in proportion.

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
        key: Its name for machines.
        title: Its name for people.
        unit: What its numbers are of.
        words: What exactly it says.
    """

    key: str
    title: str
    unit: Unit
    words: str


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table.

    Attributes:
        name: What it is about.
        words: More about that.
        cells: By the columns' keys; None where nothing is known.
    """

    name: str
    words: str
    cells: Mapping[str, Spread | None]


@dataclass(frozen=True, slots=True)
class Table:
    """A table.

    Attributes:
        title: Its heading.
        words: What it shows.
        columns: From the left.
        rows: From the top.
    """

    title: str
    words: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Series:
    """One value over time.

    Attributes:
        name: What it is.
        values: One a step; None where nothing is known.
    """

    name: str
    values: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Panel:
    """One small chart.

    Attributes:
        title: What it shows, with its unit.
        kind: Lines, or shares that are stacked and add up to 1.
        unit: What its numbers are of.
        top: The value at its upper edge.
        series: What it shows; of lines the first is the one in the background.
    """

    title: str
    kind: Literal["lines", "stack"]
    unit: Unit
    top: float
    series: tuple[Series, ...]


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time in a lane; `end` equals `begin` where it is a moment.

    Attributes:
        begin: Seconds since the Unix epoch.
        end: Likewise.
        words: What it is.
        kind: How it is drawn.
    """

    begin: float
    end: float
    words: str
    kind: Literal["cost", "capacity", "unknown", "short", "fault", "switch"]


@dataclass(frozen=True, slots=True)
class Lane:
    """A row of stretches below the charts."""

    name: str
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Timeline:
    """How one run went.

    Attributes:
        name: Whose.
        words: Which run it is, and what its charts leave out.
        begin: Seconds since the Unix epoch.
        end: Likewise.
        step_s: Seconds of one step.
        panels: Charts, all over the same time.
        lanes: What happened, over the same time.
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
    """A moment that is worth a look.

    Attributes:
        at: Seconds since the Unix epoch.
        name: Whose.
        seed: Of the run; None where there is none.
        words: What made it one.
        decision: What was decided, the reason and its sentence.
        evidence: What the decision was made from, and what held it back.
        command: What shows it in full.
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
    """A run in which an invariant did not hold."""

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
        kind: What it is of.
        title: Its heading.
        ok: Whether every invariant held, or no decision differed.
        verdict: What came of it, in one line.
        facts: What was played, with what, and how long it took.
        command: What makes it again.
        wall_s: How long it took, seconds: the one thing that is not the same the next time.
        tables: The first one is the result.
        timelines: How runs went.
        moments: The worst, the worst one first.
        failures: Runs that broke an invariant, and what they broke.
        appendix: Further tables.
        notes: What to know when reading it.
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
