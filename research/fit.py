"""Measures the model's outages against the figures of docs/research/evaluation.md, and fits the model to them.

``python -m research.fit`` repeats the search on the training seeds and prints the parameters, which are the constants in `FITTED`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Final

from research.outages import TRAIN_SEEDS, LogNormal, Region, region
from research.traces import Trace, either

FITTED: Final = Region(
    zone_up=LogNormal(1_330, 2.07),
    zone_out=LogNormal(1_740, 1.58),
    region_up=LogNormal(28_700, 1.56),
    region_out=LogNormal(766, 1.24),
    spread=0.2,
)
"""The result of the search, rounded."""


@dataclass(frozen=True, slots=True)
class Target:
    """A target figure of the model.

    Attributes:
        what: The figure in words.
        middle: Target of the mean over all zones.
        given: The figure in docs/research/evaluation.md.
    """

    what: str
    middle: float
    given: str


TARGETS: Final = (
    Target("median outage, min", 32.5, "23 to 42"),
    Target("outages of at most 15 min", 0.29, "0.20 to 0.38"),
    Target("transitions a day and zone", 9.2, "4 to 15; 'immediate' changes modes 9.2 times"),
    Target("zone outages with capacity in a sibling", 0.685, "0.58 to 0.79"),
    Target("share of time without capacity", 0.356, "from 'always cost': ratio x OPT = 1 + P x share"),
    Target("up-times over 15 min", 0.72, "from 'hold 15 min': 6.6 of 9.2 mode changes"),
    Target("up-times over 60 min", 0.38, "from 'hold 60 min': 3.5 of 9.2"),
    Target("up-times over 2 h", 0.25, "from 'hold 2 h': 2.3 of 9.2"),
    Target("hours a day in which only a sibling has capacity", 7.2, "needless failover 7.4 h against 0.2 h"),
)
"""Figures of docs/research/evaluation.md; the last ones follow from its table."""


def measured(zones: Sequence[Trace]) -> tuple[tuple[float, ...], ...]:
    """The figures of `TARGETS`, for each zone of one region."""
    unit = either("unit", zones)
    return tuple(_of_zone(zone, unit) for zone in zones)


def _of_zone(zone: Trace, unit: Trace) -> tuple[float, ...]:
    outages, ups = zone.durations_s(available=False), zone.durations_s(available=True)
    starts = [run.start for run in zone.runs if not run.available]
    elsewhere = sum(whole > own for own, whole in zip(zone.available, unit.available, strict=True))
    return (
        median(outages) / 60,
        _share(one <= 900 for one in outages),
        (len(zone.runs) - 1) / zone.days,
        _share(unit.available[start] == 1 for start in starts),
        zone.short_share,
        *(_share(one > least for one in ups) for least in (900, 3_600, 7_200)),
        elsewhere * zone.tick_s / 3600 / zone.days,
    )


def _share(hits: Iterable[bool]) -> float:
    return fmean(1.0 if hit else 0.0 for hit in hits)


def over_zones(model: Region, seeds: Iterable[int]) -> list[tuple[float, ...]]:
    """The figures of every zone of every seed."""
    return [zone for seed in seeds for zone in measured(region(seed, model))]


def _model(logs: Sequence[float]) -> Region:
    up, up_s, out, out_s, all_up, all_up_s, all_out, all_out_s = (math.exp(value) for value in logs)
    return Region(LogNormal(up, up_s), LogNormal(out, out_s), LogNormal(all_up, all_up_s), LogNormal(all_out, all_out_s), FITTED.spread)


def distance(model: Region, seeds: Iterable[int]) -> float:
    """Distance of the means over all zones from the targets: the sum of the squared logarithms of their ratios."""
    means = [fmean(column) for column in zip(*over_zones(model, seeds), strict=True)]
    return sum(math.log(mean / target.middle) ** 2 for mean, target in zip(means, TARGETS, strict=True))


def search() -> Region:
    """Fits the model to the targets on the training seeds, by Nelder-Mead over the logarithms of the parameters."""
    from scipy.optimize import minimize

    start = [
        math.log(value)
        for part in (FITTED.zone_up, FITTED.zone_out, FITTED.region_up, FITTED.region_out)
        for value in (part.median_s, part.sigma)
    ]
    found = minimize(lambda logs: distance(_model(logs), TRAIN_SEEDS), start, method="Nelder-Mead", options={"maxfev": 250})
    print(f"distance {distance(_model(start), TRAIN_SEEDS):.4f} before, {found.fun:.4f} after {found.nfev} evaluations")
    return _model(found.x)


if __name__ == "__main__":
    print(search())
