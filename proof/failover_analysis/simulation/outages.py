"""When EC2 has no capacity: listed in a scenario, drawn from a seed, or read from a trace.

Drawn outages alternate log-normal stretches with and without capacity, independently for each zone of an accelerator family and, more
rarely, for the region as a whole. They go by family: in SkyPilot's traces of 2022, while one v100 could not be had, eight could not either
in 79 to 88 % of the time, against 52 % of all time, and k80 as seldom or often as ever. An offering has room while both have. Medians and
rates come from docs/research/evaluation.md (45 days of nine zones of spot capacity: median outages of 23 to 42 min, 20 to 38 % of them no
longer than 15 min, 4 to 15 transitions a day and zone; 58 to 79 % of them left capacity in another zone). On-demand shortages are rarer and
have longer tails: a scenario chooses `every_h`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from controller.errors import ConfigError
from failover_testbed.capacity.ec2 import Code, Shortage
from failover_testbed.traffic.csv_rows import Line, out_of_order, read_lines

MEDIAN_S: Final = 32 * 60.0
"""Median outage: the middle of 23 to 42 min."""
SIGMA: Final = 1.37
"""Standard deviation of an outage's logarithm: makes 29 % of the outages 15 min or shorter."""
SIBLING_SHARE: Final = 0.69
"""Share of a zone's outages that leave capacity in another zone: the middle of 58 to 79 %."""

_UP_SIGMA: Final = 1.0  # the same for a stretch with capacity; our choice
_DIGITS: Final = 3  # milliseconds
_MOST: Final = 100_000
_FEWEST: Final = 2


@dataclass(frozen=True, slots=True)
class Outage:
    """A stretch in which offerings have no capacity, or little, in seconds from the start of the run.

    Attributes:
        start_s: Its start.
        end_s: Its end.
        shortage: What is short.
        every_s: After how many seconds each offering gives one more instance; 0: never.
        most: How many instances of each offering may run meanwhile, and spot beyond it is taken back; None: as the shortage says.
    """

    start_s: float
    end_s: float
    shortage: Shortage
    every_s: float = 0.0
    most: int | None = None


def family(instance_type: str) -> str:
    """The accelerator family of an instance type: ``g5`` of ``g5.xlarge``. All its sizes have the same accelerator."""
    return instance_type.partition(".")[0]


def drawn(
    instance_types: Iterable[str],
    zones: Iterable[str],
    length_s: float,
    every_h: float,
    seed: str,
    *,
    capacity_types: tuple[str, ...] = (),
    most: int | None = None,
) -> list[Outage]:
    """Draws outages of every accelerator family from a seed.

    Args:
        instance_types: The instance types. Those of one family are out together.
        zones: Zones of the region.
        length_s: Length of the run, seconds.
        every_h: Mean hours between two outages of one zone of a family.
        seed: The same seed gives the same outages, on every machine.
        capacity_types: The capacity types; empty for all.
        most: See `Outage`.

    Returns:
        The outages, in the order of their starts.
    """
    families: dict[str, tuple[str, ...]] = {}
    for instance_type in instance_types:
        families[family(instance_type)] = (*families.get(family(instance_type), ()), instance_type)
    found = []
    for types in families.values():
        # A zone is out together with its region as often as the evaluation found; the rest of its outages are its own.
        regional = every_h / (1 - SIBLING_SHARE)
        for zone, rate in [*((zone, every_h / SIBLING_SHARE) for zone in zones), ("", regional)]:
            chance = random.Random(f"{seed}/{types[0]}/{zone}")
            where = (zone,) if zone else ()
            stretches = _stretches(rate * 3600.0, length_s, chance)
            shortage = Shortage(types, where, Code.CAPACITY, capacity_types)
            found += [Outage(start, end, shortage, most=most) for start, end in stretches]
    return _ordered(found)


def _stretches(mean_up_s: float, length_s: float, chance: random.Random) -> Iterator[tuple[float, float]]:
    at = round(chance.uniform(0.0, 2.0) * mean_up_s * 0.5, _DIGITS)  # somewhere in a stretch with capacity
    for _ in range(_MOST):
        if at >= length_s:
            return
        end = round(at + MEDIAN_S * math.exp(SIGMA * chance.gauss(0.0, 1.0)), _DIGITS)  # see `failover_analysis.simulation.engine._exact`
        yield at, min(end, length_s)
        # The median of a log-normal is its mean over exp(sigma^2 / 2).
        at = round(end + mean_up_s * math.exp(_UP_SIGMA * chance.gauss(0.0, 1.0) - _UP_SIGMA**2 / 2), _DIGITS)


@dataclass(frozen=True, slots=True)
class Trace:
    """How a trace of instances over time is read.

    Attributes:
        path: CSV with a heading or none; a time and one or more counts in each line, in the order of time.
        shortage: What the trace stands for.
        seconds_each: Seconds per time unit of the trace: 0.001 for milliseconds, 3600 for hours.
        scale: Factor on the times, to stretch or shorten the trace.
        column: Heading of the count to read; "": the second column.
        nodes: Whether a count is the most instances that could be had, and the trace's highest count is as many as anybody asked for.
            Otherwise any count above 0 is enough.
    """

    path: Path
    shortage: Shortage
    seconds_each: float
    scale: float = 1.0
    column: str = ""
    nodes: bool = False


def traced(trace: Trace) -> list[Outage]:
    """Reads outages from a trace of instances: none could be had means no capacity.

    Raises:
        ConfigError: The file cannot be read, or is no such trace.
    """
    rows = _rows(trace)
    enough = max((count for _, count in rows), default=0.0) if trace.nodes else 1.0
    found: list[Outage] = []
    since, present = 0.0, enough
    for at, count in [*rows, *((at, enough) for at, _ in rows[-1:])]:
        now = min(count, enough) if trace.nodes else float(count > 0)
        if now == present:
            continue
        if present < enough and at > since:
            found.append(Outage(since, at, trace.shortage, most=int(present) if trace.nodes else None))
        since, present = at, now
    return _ordered(found)


def _rows(trace: Trace) -> list[tuple[float, float]]:
    """Seconds and counts, in the order of time."""
    lines, place = read_lines(trace.path), 1
    if lines and lines[0].is_text(0):
        heading, *lines = lines
        place = _place(heading, trace.column)
    elif trace.column:
        raise ConfigError(f"{trace.path}: found no heading; allowed: a first line that names column {trace.column}")
    rows = [(line.count(0, "time") * trace.seconds_each * trace.scale, line.count(place, trace.column or "count")) for line in lines]
    if line := out_of_order(lines, [at for at, _ in rows]):
        raise line.fault("found a time before that of the line above; allowed: lines in the order of time")
    if len(rows) < _FEWEST:
        raise ConfigError(
            f"{trace.path}: found {len(rows)} line(s) of times and counts; allowed: at least {_FEWEST}, the last one is its end"
        )
    return rows


def _place(heading: Line, column: str) -> int:
    """Where the column with the counts is."""
    names = [cell.strip() for cell in heading.cells]
    if not column:
        return 1
    if column not in names[1:]:
        raise heading.fault(f"found no column {column}; allowed: {', '.join(names[1:])}")
    return names.index(column, 1)


def _ordered(outages: Iterable[Outage]) -> list[Outage]:
    return sorted(outages, key=lambda one: (one.start_s, one.end_s, one.shortage.instance_types, one.shortage.zones))
