"""The computations: every policy on every seed, and further experiments. Values only; `research.report` shows them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from research.best_online import BestOnline, Law, solve
from research.fit import FITTED
from research.outages import LogNormal, Region, region
from research.policies import BY_RATIO, POLICIES
from research.rules import Fixed, Play, played
from research.traces import TICK_S, Trace, either
from research.two_state import GRID, Figures, Prices, account, optimum

BEST: Final = "best online"
"""Name of the policy of `best_online`, which knows the law of each zone."""


@dataclass(frozen=True, slots=True)
class Tally:
    """A policy's figures over several traces.

    Attributes:
        cost: Cost, in ticks of cost mode's spend.
        optimum: The cost of OPT, in the same unit.
        changes_a_day: Mode changes per day.
        exposed_minutes_a_day: Minutes per day in cost mode without capacity.
        needless_hours_a_day: Hours per day in capacity mode with capacity.
    """

    cost: float
    optimum: float
    changes_a_day: float
    exposed_minutes_a_day: float
    needless_hours_a_day: float

    @property
    def ratio(self) -> float:
        """Cost over OPT."""
        return self.cost / self.optimum

    @staticmethod
    def of(figures: Sequence[Figures], best: Sequence[Figures]) -> Tally:
        """The tally over traces of equal length, and of OPT on them."""
        count = len(figures)
        return Tally(
            sum(one.cost for one in figures),
            sum(one.cost for one in best),
            sum(one.changes_a_day for one in figures) / count,
            sum(one.exposed_minutes_a_day for one in figures) / count,
            sum(one.needless_hours_a_day for one in figures) / count,
        )


def tally(play: Play, traces: Sequence[Trace], prices: Prices) -> Tally:
    """The tally of a policy on traces."""
    return Tally.of([account(play(t, prices), t, prices) for t in traces], [account(optimum(t, prices), t, prices) for t in traces])


@dataclass(frozen=True, slots=True)
class Case:
    """One seed of the main experiment.

    Attributes:
        seed: Seed of the region; each of its zones counts as a unit, as in docs/research/evaluation.md.
        days: Length of the traces.
        names: The policies.
        tick_s: Seconds per tick, which is the detection delay.
        law_days: Length of another life of the same zones, from which their law is learned.
    """

    seed: int
    days: float
    names: tuple[str, ...]
    tick_s: float = TICK_S
    law_days: float = 1_000.0


def one_seed(case: Case) -> Tallies:
    """Tallies of every policy of a case on its zones, for every price."""
    zones = region(case.seed, FITTED, case.days, case.tick_s)
    known: dict[tuple[str, int, float], list[int]] = {}
    laws = _zone_laws(case) if BEST in case.names else []
    found = {}
    for prices in GRID:
        best = [account(optimum(zone, prices), zone, prices) for zone in zones]
        for name in case.names:
            figures = []
            for number, zone in enumerate(zones):
                key = name, number, prices.ratio
                if name == BEST:
                    changes = solve(*laws[number], prices, case.tick_s).play(zone)
                elif name in BY_RATIO and key in known:
                    changes = known[key]
                else:
                    changes = known[key] = POLICIES[name](zone, prices)
                figures.append(account(changes, zone, prices))
            found[name, prices] = Tally.of(figures, best)
    return found


def _zone_laws(case: Case) -> list[tuple[Law, Law]]:
    """The laws of outages and up-times of a region's zones, from another life of them."""
    return [laws(zone) for zone in region(case.seed, FITTED, case.law_days, case.tick_s, life=1)]


def laws(trace: Trace) -> tuple[Law, Law]:
    """The laws of a trace's outages and up-times."""
    return Law.of(_lengths(trace, available=False)), Law.of(_lengths(trace, available=True))


def _lengths(trace: Trace, *, available: bool) -> list[int]:
    return [round(one / trace.tick_s) for one in trace.durations_s(available=available)]


Tallies = dict[tuple[str, Prices], Tally]

Mapper = Callable[[Callable[[Case], Tallies], Iterable[Case]], Iterable[Tallies]]
"""`map`, or the `map` of a process pool."""


def main_experiment(
    seeds: Sequence[int], days: float, names: Sequence[str], run: Mapper, tick_s: float = TICK_S
) -> dict[tuple[str, Prices], list[Tally]]:
    """Tallies by policy and prices, one for each seed."""
    done = list(run(one_seed, [Case(seed, days, tuple(names), tick_s) for seed in seeds]))
    return {key: [one[key] for one in done] for key in done[0]}


# --- beside it ----------------------------------------------------------------------------------------------------------------------------


def zone_or_unit(seeds: Sequence[int], days: float, prices: Prices, names: Sequence[str]) -> dict[tuple[str, str], Tally]:
    """A policy that watches one zone, and one that watches the whole unit; the unit's state determines the costs of both."""
    found = {}
    for name in names:
        regions = [(zones[0], either("unit", zones)) for zones in (region(seed, FITTED, days) for seed in seeds)]
        best = [account(optimum(unit, prices), unit, prices) for _, unit in regions]
        for watched, number in (("one zone", 0), ("the unit", 1)):
            figures = [account(POLICIES[name](pair[number], prices), pair[1], prices) for pair in regions]
            found[name, watched] = Tally.of(figures, best)
    return found


OTHERS: Final[Mapping[str, Region]] = {
    "brief": Region(LogNormal(14_400, 1.0), LogNormal(300, 0.8), LogNormal(1e9, 0.1), LogNormal(60, 0.1), 0.2, 1),
    "rare and long": Region(LogNormal(259_200, 1.0), LogNormal(10_800, 1.8), LogNormal(1e9, 0.1), LogNormal(60, 0.1), 0.2, 1),
    "restless": Region(LogNormal(1_200, 0.7), LogNormal(1_200, 0.7), LogNormal(1e9, 0.1), LogNormal(60, 0.1), 0.2, 1),
}
"""Outages of other kinds, not fitted to data: mostly minutes, hours apart; hours, days apart, as reported of on-demand shortages; and
frequent changes."""


def others(seeds: Sequence[int], days: float) -> dict[str, list[Trace]]:
    """Traces of `OTHERS`, and one whose kind changes halfway."""
    made = {name: [region(seed, model, days)[0] for seed in seeds] for name, model in OTHERS.items()}
    pairs = zip(made["restless"], made["brief"], strict=True)
    changed = [Trace(f"{one.name}, then {other.name}", one.available + other.available, one.tick_s) for one, other in pairs]
    return {**made, "restless, then brief": changed}


def best_of(traces: Sequence[Trace]) -> Play:
    """The best online policy for the pooled law of traces other than those on which it is played."""
    outages = Law.of([one for trace in traces for one in _lengths(trace, available=False)])
    ups = Law.of([one for trace in traces for one in _lengths(trace, available=True)])
    known: dict[Prices, BestOnline] = {}

    def play(trace: Trace, prices: Prices) -> list[int]:
        if prices not in known:
            known[prices] = solve(outages, ups, prices, trace.tick_s)
        return known[prices].play(trace)

    return play


HOLDS_MIN: Final = (0, 3.25, 6.5, 13, 26, 39, 52, 78, 104, 156, 208, 312, 468, 720)
"""Holds in the plot, minutes."""

PATIENCES_MIN: Final = (0, 3.25, 6.5, 9.75, 13, 19.5, 26, 39, 52, 78)
"""Patiences in the plot, minutes."""


def curves(seeds: Sequence[int], days: float) -> dict[str, dict[Prices, list[tuple[float, float]]]]:
    """Cost over OPT by hold (without patience) and by patience (with the best of those holds), in minutes."""
    traces = [zone for seed in seeds for zone in region(seed, FITTED, days)]
    found: dict[str, dict[Prices, list[tuple[float, float]]]] = {"hold": {}, "patience": {}}
    for prices in GRID:
        best = sum(account(optimum(trace, prices), trace, prices).cost for trace in traces)

        def ratio(patience: float, hold: float, prices: Prices = prices, best: float = best) -> float:
            rule = Fixed(patience * 60, hold * 60)
            return sum(account(played(rule, trace), trace, prices).cost for trace in traces) / best

        by_hold = [(hold, ratio(0, hold)) for hold in HOLDS_MIN]
        hold = min(by_hold, key=lambda point: point[1])[0]
        found["hold"][prices] = by_hold
        found["patience"][prices] = [(patience, ratio(patience, hold)) for patience in PATIENCES_MIN]
    return found
