"""When EC2 has no capacity: listed in a scenario, drawn from a seed, or read from a trace.

Drawn outages alternate log-normal stretches with and without capacity, independently for each zone of a type and, more rarely, for the
region as a whole. An offering has room while both have. Medians and rates come from docs/research/evaluation.md (45 days of nine zones of
spot capacity: median outages of 23 to 42 min, 20 to 38 % of them no longer than 15 min, 4 to 15 transitions a day and zone; 58 to 79 %
of them left capacity in another zone). On-demand shortages are rarer and have longer tails: a scenario chooses `every_h`.
"""

from __future__ import annotations

import csv
import math
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from controller.errors import ConfigError
from failover_testbed.capacity.ec2 import Code, Shortage

MEDIAN_S: Final = 32 * 60.0
"""Median outage: the middle of 23 to 42 min."""
SIGMA: Final = 1.37
"""Standard deviation of an outage's logarithm: makes 29 % of the outages 15 min or shorter."""
SIBLING_SHARE: Final = 0.69
"""Share of a zone's outages that leave capacity in another zone: the middle of 58 to 79 %."""

_UP_SIGMA: Final = 1.0  # the same for a stretch with capacity; our choice
_DIGITS: Final = 3  # milliseconds
_MOST: Final = 100_000
_MOST_BYTES: Final = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Outage:
    """A stretch in which offerings have no capacity, in seconds from the start of the run."""

    start_s: float
    end_s: float
    shortage: Shortage


def drawn(instance_types: Iterable[str], zones: Iterable[str], length_s: float, every_h: float, seed: str) -> list[Outage]:
    """Draws outages of every type from a seed.

    Args:
        instance_types: The instance types.
        zones: Zones of the region.
        length_s: Length of the run, seconds.
        every_h: Mean hours between two outages of one zone of a type.
        seed: The same seed gives the same outages, on every machine.

    Returns:
        The outages, in the order of their starts.
    """
    found = []
    for instance_type in instance_types:
        # A zone is out together with its region as often as the evaluation found; the rest of its outages are its own.
        regional = every_h / (1 - SIBLING_SHARE)
        for zone, rate in [*((zone, every_h / SIBLING_SHARE) for zone in zones), ("", regional)]:
            chance = random.Random(f"{seed}/{instance_type}/{zone}")
            where = (zone,) if zone else ()
            stretches = _stretches(rate * 3600.0, length_s, chance)
            found += [Outage(start, end, Shortage((instance_type,), where, Code.CAPACITY)) for start, end in stretches]
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


def traced(path: Path, instance_types: tuple[str, ...], zones: tuple[str, ...], seconds_each: float, scale: float) -> list[Outage]:
    """Reads outages from a trace of held instances: no instance held means no capacity.

    Args:
        path: CSV with a time and a count per line, as in Bamboo's spot traces.
        instance_types: The types that the trace stands for.
        zones: The zones; empty: all.
        seconds_each: Seconds per time unit of the trace: 0.001 for milliseconds, 3600 for hours.
        scale: Factor on the times, to stretch or shorten the trace.

    Raises:
        ConfigError: The file cannot be read.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ConfigError(f"{path}: larger than {_MOST_BYTES} bytes")
        with path.open(newline="") as file:
            rows = [(float(row[0]) * seconds_each * scale, float(row[1])) for row in csv.reader(file) if row and _numeric(row[0])]
    except (OSError, ValueError, IndexError) as error:
        raise ConfigError(f"{path}: not a trace of times and counts: {error}") from error
    found, since = [], None
    for at, count in rows:
        if count <= 0 and since is None:
            since = at
        elif count > 0 and since is not None:
            found.append(Outage(since, at, Shortage(instance_types, zones, Code.CAPACITY)))
            since = None
    if since is not None and rows:
        found.append(Outage(since, rows[-1][0], Shortage(instance_types, zones, Code.CAPACITY)))
    return _ordered(one for one in found if one.end_s > one.start_s)


def _numeric(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _ordered(outages: Iterable[Outage]) -> list[Outage]:
    return sorted(outages, key=lambda one: (one.start_s, one.end_s, one.shortage.instance_types, one.shortage.zones))
