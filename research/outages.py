"""Synthetic outages: seeded zones of one region, fitted to docs/research/evaluation.md.

The model: each zone alternates between capacity and none, with log-normal durations, and so does the whole region, more rarely. A zone has
capacity while both it and the region have. So outages of a region's zones are correlated, but a zone is not a unit: during most of its
outages a sibling has capacity. Zones differ: each scales its durations by its own random factors.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import merge
from typing import Final

from research.traces import DAY_S, TICK_S, Trace, sampled

TRAIN_SEEDS: Final = range(1, 41)
"""Seeds for fitting the model and for choosing parameters from results."""

TEST_SEEDS: Final = range(1_001, 1_021)
"""For reporting only."""

DAYS: Final = 45.0
"""The length of the trace in docs/research/evaluation.md, days."""

_WARM_UP_S: Final = 20 * DAY_S
"""How long every process runs before its trace begins, so that the trace does not begin with a new run."""


@dataclass(frozen=True, slots=True)
class LogNormal:
    """Durations: ``median * exp(sigma * N(0, 1))``.

    Attributes:
        median_s: Median, seconds.
        sigma: Standard deviation of the logarithm.
    """

    median_s: float
    sigma: float

    def draw(self, chance: random.Random) -> float:
        """One duration, seconds."""
        return self.median_s * math.exp(self.sigma * chance.gauss(0.0, 1.0))

    def scaled(self, factor: float) -> LogNormal:
        """The same shape, durations `factor` times as long."""
        return LogNormal(self.median_s * factor, self.sigma)


@dataclass(frozen=True, slots=True)
class Region:
    """The parameters of the model.

    Attributes:
        zone_up: How long a zone has capacity.
        zone_out: How long it has none.
        region_up: How long the region has capacity.
        region_out: How long it has none.
        spread: How much zones differ: sigma of the logarithm of a zone's two factors.
        zones: Number of zones.
    """

    zone_up: LogNormal
    zone_out: LogNormal
    region_up: LogNormal
    region_out: LogNormal
    spread: float = 0.2
    zones: int = 3


def _changes(up: LogNormal, out: LogNormal, end_s: float, chance: random.Random) -> Iterator[tuple[float, bool]]:
    """Alternating renewal: yields times of change and the availability from then on, until `end_s`."""
    at, available = -_WARM_UP_S, True
    while at < end_s:  # ends, because log-normal durations are positive
        yield at, available
        at += (up if available else out).draw(chance)
        available = not available


def _both(one: Iterator[tuple[float, bool]], other: Iterator[tuple[float, bool]]) -> Iterator[tuple[float, bool]]:
    """The availability of both together."""
    states = [True, True]
    for at, which, available in merge(((at, 0, on) for at, on in one), ((at, 1, on) for at, on in other)):
        states[which] = available
        yield at, all(states)


def region(seed: int, model: Region, days: float = DAYS, tick_s: float = TICK_S, *, life: int = 0) -> list[Trace]:
    """The zones of one region.

    Args:
        seed: The same seed gives the same traces, on every machine.
        model: See `Region`.
        days: Length of the traces, days.
        tick_s: Seconds per tick. The same seed with another tick gives the same region, sampled more or less often.
        life: Another life is another history of the same zones, from which their law can be learned.
    """
    end_s = days * DAY_S
    whole = list(_changes(model.region_up, model.region_out, end_s, random.Random(f"{seed} region, life {life}")))
    traces = []
    for zone in range(model.zones):
        nature, chance = random.Random(f"{seed} zone {zone}"), random.Random(f"{seed} zone {zone}, life {life}")
        up = model.zone_up.scaled(math.exp(model.spread * nature.gauss(0.0, 1.0)))
        out = model.zone_out.scaled(math.exp(model.spread * nature.gauss(0.0, 1.0)))
        changes = _both(_changes(up, out, end_s, chance), iter(whole))
        traces.append(sampled(f"seed {seed} zone {zone}", changes, end_s, tick_s))
    return traces
