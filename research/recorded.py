"""Recorded traces: spot instances of the Bamboo project, public load traces, and users' CSV files."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Final

from controller.policy.availability import SLACK
from research.traces import TICK_S, Trace, sampled

DATA: Final = Path(__file__).parents[2] / "shared" / "data"
"""Beside the checkout, not part of the project (see docs/research/evaluation.md)."""

BAMBOO: Final = {
    "bamboo_spot_g4dn_us-east-1c.csv": 1.0,
    "bamboo_spot_g4dn_us-east-1d.csv": 1.0,
    "bamboo_spot_p2_3d_hours.csv": 3_600.0,
}
"""Seconds per unit of each file's first column. The g4dn files are in seconds, despite their description: their origin (Bamboo's doc/data)
has the same rows in hours, with 5.980 for 21529, and names them after a day (2020-11-20 19:30 to 11-21 22:00)."""


class BadTrace(ValueError):
    """A file is not a valid trace; the message names the line."""


def bamboo(name: str) -> Trace:
    """A trace of availability from a file of instance counts.

    The unit has capacity while the count is at least three quarters (`SLACK`, production's limit for a short unit) of the largest count.
    Rows before the first instance are left out, because it is unknown whether instances were requested.

    Raises:
        BadTrace: The file does not match its description.
    """
    rows = list(_counts(DATA / name, BAMBOO[name]))
    needed = SLACK * max(count for _, count in rows)
    started = next(at for at, count in rows if count > 0)
    changes = [(at - started, count >= needed) for at, count in rows if at >= started]
    return sampled(name.removesuffix(".csv"), changes, rows[-1][0] - started)


def _counts(path: Path, unit_s: float) -> Iterator[tuple[float, float]]:
    """Time in seconds and count, from two columns without a header."""
    with path.open(newline="") as file:
        for line, row in enumerate(csv.reader(file), 1):
            if len(row) != 2:
                raise BadTrace(f"{path.name}:{line}: found {len(row)} column(s), wanted 2")
            yield _number(row[0], path.name, line, "time") * unit_s, _number(row[1], path.name, line, "count")


def read_csv(path: Path, need: float = 1.0, tick_s: float = TICK_S) -> list[Trace]:
    """Reads a user's traces.

    The first line names the columns: `time`, and one for each zone (or unit). Each further line holds until the next one: the time in
    seconds or as ISO 8601, and for each column a count of instances, or 1 for capacity and 0 for none. Lines are in order of time; the
    last one ends the trace.

    Args:
        path: The file.
        need: A zone has capacity while its value is at least this.
        tick_s: Seconds per tick.

    Returns:
        A trace for each column.

    Raises:
        BadTrace: The file does not have this form; the message names the line.
    """
    with path.open(newline="") as file:
        lines = list(csv.reader(file))
    header = [cell.strip() for cell in lines[0]] if lines else []
    if len(header) < 2 or header[0] != "time" or len(set(header)) < len(header):
        raise BadTrace(f"{path.name}:1: found {','.join(header)!r}; wanted: time, and a different name for every zone")
    rows = [_row(row, header, path.name, line) for line, row in enumerate(lines[1:], 2)]
    for line, (earlier, later) in enumerate(pairwise(rows), 3):
        if later[0] < earlier[0]:
            raise BadTrace(f"{path.name}:{line}: its time is before that of the line above")
    if len(rows) < 2 or rows[-1][0] - rows[0][0] < tick_s:
        raise BadTrace(f"{path.name}:{len(lines)}: the trace is shorter than a tick of {tick_s:g} s")
    start = rows[0][0]
    return [
        sampled(zone, ((row[0] - start, row[column] >= need) for row in rows), rows[-1][0] - start, tick_s)
        for column, zone in enumerate(header)
        if column
    ]


def _row(row: Sequence[str], header: Sequence[str], file: str, line: int) -> list[float]:
    if len(row) != len(header):
        raise BadTrace(f"{file}:{line}: found {len(row)} column(s), wanted {len(header)}")
    return [_time(row[0], file, line), *(_number(cell, file, line, name) for cell, name in zip(row[1:], header[1:], strict=True))]


def _time(cell: str, file: str, line: int) -> float:
    try:
        return datetime.fromisoformat(cell.strip()).timestamp() if "-" in cell.strip()[1:] else _number(cell, file, line, "time")
    except ValueError as error:
        raise BadTrace(f"{file}:{line}: time: found {cell!r}; wanted seconds or ISO 8601") from error


def _number(cell: str, file: str, line: int, what: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise BadTrace(f"{file}:{line}: {what}: found {cell!r}; wanted a number that is not negative")
    return value


PEAK: Final = 2_960.0
"""Peak of the AWS sample's wave, requests per period (docs/aws-sample.md)."""


def wave(ticks: int, tick_s: float) -> list[float]:
    """The AWS sample's day-long cosine wave, from 0 to `PEAK` and back, requests per period."""
    return [PEAK / 2 * (1 - math.cos(2 * math.pi * tick * tick_s / 86_400)) for tick in range(ticks)]


LOADS: Final = ("nab_elb_request_count.csv", "azure_llm_2023_conv_per_10s.csv", "gentd26_sd_qps_per_60s.csv")
"""Files with a header and columns of times or seconds and of requests, with a line every five minutes, ten seconds or minute."""


def load(name: str, together: int) -> list[float]:
    """A recorded load, scaled so that its highest value is `PEAK`, requests per period.

    Args:
        name: One of `LOADS`.
        together: Lines per step; a step is their mean.

    Raises:
        BadTrace: The file does not match its description.
    """
    with (DATA / name).open(newline="") as file:
        values = [_number(row[1], name, line, "requests") for line, row in enumerate(csv.reader(file), 1) if line > 1]
    steps = [sum(values[at : at + together]) / together for at in range(0, len(values) - together + 1, together)]
    return [PEAK * value / max(steps) for value in steps]
