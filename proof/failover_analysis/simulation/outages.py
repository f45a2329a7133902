"""When EC2 has no room: written down, drawn, or read from a trace.

Drawn outages alternate log-normal stretches with and without capacity, each zone of a type for itself and the region as a whole more
rarely; an offering has room while both have. Medians and rates are those of docs/research/evaluation.md (45 days of nine zones of spot
capacity: outages of 23 to 42 min in the median, 20 to 38 % of them no longer than 15 min, 4 to 15 transitions a day and zone; 58 to 79 %
of them left capacity in a sibling zone). On-demand shortages are rarer and have longer tails: `every_h` is what a scenario chooses.
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
"""Of the logarithm of an outage: makes 29 % of them 15 min or shorter."""
SIBLING_SHARE: Final = 0.69
"""Share of a zone's outages that leave capacity in another zone: the middle of 58 to 79 %."""

_UP_SIGMA: Final = 1.0  # of the logarithm of a stretch with capacity; our choice
_DIGITS: Final = 3  # milliseconds
_MOST: Final = 100_000
_MOST_BYTES: Final = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Outage:
    """A stretch in which offerings have no room, in seconds from the start of the run."""

    start_s: float
    end_s: float
    shortage: Shortage


def drawn(instance_types: Iterable[str], zones: Iterable[str], length_s: float, every_h: float, seed: str) -> list[Outage]:
    """Outages of every type, drawn from a seed.

    Args:
        instance_types: Whose.
        zones: Of the region.
        length_s: Until when, seconds.
        every_h: Mean hours between two outages of one zone of a type.
        seed: The same seed gives the same outages, on every machine.

    Returns:
        In the order of their starts.
    """
    found = []
    for instance_type in instance_types:
        # A zone is out with its region as often as the evaluation found it; the rest of its outages are its own.
        regional = every_h / (1 - SIBLING_SHARE)
        for zone, rate in [*((zone, every_h / SIBLING_SHARE) for zone in zones), ("", regional)]:
            chance = random.Random(f"{seed}/{instance_type}/{zone}")
            where = (zone,) if zone else ()
            stretches = _stretches(rate * 3600.0, length_s, chance)
            found += [Outage(start, end, Shortage((instance_type,), where, Code.CAPACITY)) for start, end in stretches]
    return _ordered(found)


def _stretches(mean_up_s: float, length_s: float, chance: random.Random) -> Iterator[tuple[float, float]]:
    at = round(chance.uniform(0.0, 2.0) * mean_up_s * 0.5, _DIGITS)  # somewhere within a stretch with capacity
    for _ in range(_MOST):
        if at >= length_s:
            return
        end = round(at + MEDIAN_S * math.exp(SIGMA * chance.gauss(0.0, 1.0)), _DIGITS)  # see `failover_analysis.simulation.engine._exact`
        yield at, min(end, length_s)
        # A log-normal of this mean: its median is the mean over exp(sigma^2 / 2).
        at = round(end + mean_up_s * math.exp(_UP_SIGMA * chance.gauss(0.0, 1.0) - _UP_SIGMA**2 / 2), _DIGITS)


def traced(path: Path, instance_types: tuple[str, ...], zones: tuple[str, ...], seconds_each: float, scale: float) -> list[Outage]:
    """Outages from a trace of instances held: none held means no capacity.

    Args:
        path: CSV of a time and a count a line, as the spot traces of Bamboo are.
        instance_types: Which types it stands for.
        zones: Which zones; empty: all.
        seconds_each: Seconds of one unit of its times: 0.001 where they are milliseconds, 3600 where they are hours.
        scale: Factor on its times, to stretch or shorten it.

    Raises:
        ConfigError: It cannot be read.
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
