"""Recorded traces: spot instances of the Bamboo project, public load traces, and users' CSV files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from controller.clock import parse_rfc3339
from controller.documents import describe_value
from controller.policy.routing import SLACK
from failover_testbed.traffic.csv_rows import Line, out_of_order, read_lines
from research.traces import DAY_S, TICK_S, Trace, sampled

DATA: Final = Path(__file__).parents[2] / "shared" / "data"
"""Beside the checkout, not part of the project (see docs/research/evaluation.md)."""

BAMBOO: Final = {
    "bamboo_spot_g4dn_us-east-1c.csv": 1.0,
    "bamboo_spot_g4dn_us-east-1d.csv": 1.0,
    "bamboo_spot_p2_3d_hours.csv": 3_600.0,
}
"""Seconds per unit of each file's first column. The g4dn files are in seconds, despite their description: their origin (Bamboo's doc/data)
has the same rows in hours, with 5.980 for 21529, and names them after a day (2020-11-20 19:30 to 11-21 22:00)."""


_LONGEST_S: Final = 3_660 * DAY_S  # ten years, which no trace is: its times are in milliseconds or less, and would fill the memory


def bamboo(name: str) -> Trace:
    """A trace of availability from a file of instance counts.

    The unit has capacity while the count is at least three quarters (`SLACK`, production's limit for a short unit) of the largest count.
    Rows before the first instance are left out, because it is unknown whether instances were requested.

    Raises:
        ConfigError: The file does not match its description.
    """
    lines = read_lines(DATA / name)
    rows = [(line.count(0, "time") * BAMBOO[name], line.count(1, "count")) for line in lines]
    needed = SLACK * max(count for _, count in rows)
    started = next(at for at, count in rows if count > 0)
    changes = [(at - started, count >= needed) for at, count in rows if at >= started]
    return sampled(name.removesuffix(".csv"), changes, rows[-1][0] - started)


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
        ConfigError: The file does not have this form; the message names the line.
    """
    first, *lines = read_lines(path) or [Line(path, 1, ())]
    header = [cell.strip() for cell in first.cells]
    if len(header) < 2 or header[0] != "time" or len(set(header)) < len(header):
        raise first.fault(f"found {','.join(header)!r}; allowed: time, and a different name for every zone")
    rows = [_row(line, header) for line in lines]
    if line := out_of_order(lines, [row[0] for row in rows]):
        raise line.fault("its time is before that of the line above")
    length_s = rows[-1][0] - rows[0][0] if rows else 0.0
    if not tick_s <= length_s <= _LONGEST_S:
        most = _LONGEST_S / DAY_S
        found = f"found {length_s / DAY_S:g} days, if times are in seconds"
        raise (lines or [first])[-1].fault(f"{found}; allowed: a tick of {tick_s:g} s to {most:,.0f} days")
    start = rows[0][0]
    return [
        sampled(zone, ((row[0] - start, row[column] >= need) for row in rows), length_s, tick_s)
        for column, zone in enumerate(header)
        if column
    ]


def _row(line: Line, header: Sequence[str]) -> list[float]:
    if len(line.cells) != len(header):
        raise line.fault(f"found {len(line.cells)} column(s); allowed: {len(header)}")
    return [_time(line), *(line.count(place, header[place]) for place in range(1, len(header)))]


def _time(line: Line) -> float:
    """The time of a line, seconds. One of ISO 8601 without a zone is in UTC, so that it means the same on every machine."""
    if not line.is_text(0):
        return line.count(0, "time")
    moment = parse_rfc3339(line.cells[0].strip())
    if moment is None:
        raise line.fault(f"time: found {describe_value(line.cells[0])}; allowed: seconds, or a time such as 2026-01-01T00:00:00Z")
    return moment


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
        ConfigError: The file does not match its description.
    """
    _, *lines = read_lines(DATA / name)
    values = [line.count(1, "requests") for line in lines]
    steps = [sum(values[at : at + together]) / together for at in range(0, len(values) - together + 1, together)]
    return [PEAK * value / max(steps) for value in steps]
