"""What a load costs with strategy *planned*, and with every fleet that a buyer would compare it with.

``python -m research.fleets`` prints the table in about a minute (`--loads` and `--fleets` choose some).
`--write` puts it into docs/laboratory/policy-evaluation.md. Metrics are three minutes late for
all. Nothing here was tuned.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol

from rich.console import Console
from rich.table import Table

from benchmarks.markdown import markdown, put
from controller.catalog.loader import load_application_file
from controller.policy.model import Application, PlannedMode, PolicySettings, Strategy, Unit
from controller.policy.routing import cost_per_request
from research import recorded
from research.fit import FITTED
from research.optimum import least
from research.outages import TEST_SEEDS, region
from research.rivals import HEADROOM, Checker, Hourly, PriorityList, Rival, SpotHedge, WithoutController, in_zones, of_file
from research.split import DELAY_S, Fleet, Step
from research.traces import Trace

ROOT: Final = Path(__file__).parents[1]
DOCS: Final = ROOT / "docs" / "laboratory" / "policy-evaluation.md"
_BEGIN: Final = "<!-- fleets: written by `python -m research.fleets --write` -->"
_END: Final = "<!-- end of fleets -->"

MOST: Final = 100
"""Most replicas of a unit."""

ZONES: Final = 3
"""Zones of spot instances."""

STEPS: Final = 1_440
"""How much of each load is played, steps: a day of minutes, or five days of five minutes."""

WAVE: Final = "wave"
"""The AWS sample's wave, which needs no file."""

LOADS: Final[Mapping[str, tuple[str, int, float]]] = {
    "deepseek-r1": ("servegen_deepseek_r1_per_60s.csv", 1, 60.0),
    "twitter": ("nab_twitter_aapl_per_300s.csv", 1, 300.0),
    "elb": ("nab_elb_request_count.csv", 1, 300.0),
    "image": ("gentd26_sd_qps_per_60s.csv", 1, 60.0),
    "azure": ("azure_llm_2023_conv_per_10s.csv", 6, 60.0),
}
"""Recorded loads by name: the file, lines per step, and seconds per step."""


class Player(Protocol):
    """A fleet under a demand."""

    def step(self, demand: float, most: Mapping[str, int], /) -> Step:
        """One step."""


Make = Callable[[Application, float, int], Player]
"""Makes a fleet for an application: seconds per step, and how many steps late its metrics are."""


def ours(policy: PolicySettings, *, target: float = 1.0, at_zero: bool = False, forecast: bool = True, headroom: float = 0.0) -> Make:
    """A fleet that this project's controller runs.

    Args:
        policy: Its policy.
        target: Requests per period and replica that the HPAs aim at, as a share of the throughput.
        at_zero: Whether all units but the cheapest may run nothing.
        forecast: Whether strategy `planned` knows the demands of before.
        headroom: By how much a replica carries more than the application file says.
    """

    def make(application: Application, step_s: float, delay: int) -> Player:
        carries = _at_zero(application.units, 1) if at_zero else application.units
        units = tuple(replace(unit, throughput=unit.throughput / (1 + headroom)) for unit in carries)
        return Fleet(
            replace(application, policy=policy, units=units), step_s, target=target, forecast=forecast, delay=delay, carries=carries
        )

    return make


def _with_spot(policy: PolicySettings) -> Make:
    """As many units as a rule of the load balancer takes: the cheapest one as spot in every zone, and two families on demand."""

    def make(application: Application, step_s: float, delay: int) -> Player:
        listed = sorted(_at_zero(application.units, 0), key=cost_per_request)
        first, second = listed[0], [unit for unit in listed if unit.device != listed[0].device][:1]
        spot = in_zones(first, ZONES)
        units = (replace(spot[0], min_replicas=1), *spot[1:], first, *second)
        names = frozenset(unit.name for unit in spot)
        return Fleet(replace(application, policy=policy, units=units), step_s, delay=delay, spot=names)

    return make


def priority_list(target: float) -> Make:
    """A priority list that is filled to a share of its throughput."""

    def make(application: Application, step_s: float, delay: int) -> Player:
        units = _at_zero(application.units, 0)
        return Rival(units, step_s, PriorityList(units, target), delay)

    return make


def _hourly(application: Application, step_s: float, delay: int) -> Player:
    units = _at_zero(application.units, 0)
    return Rival(units, step_s, Hourly(units), delay)


def _spot_hedge(application: Application, step_s: float, delay: int) -> Player:
    listed = sorted(_at_zero(application.units, 0), key=cost_per_request)
    spot = in_zones(listed[0], ZONES)
    return Rival((*spot, *listed), step_s, SpotHedge(spot, listed), delay)


def _at_zero(units: Sequence[Unit], kept: int) -> tuple[Unit, ...]:
    """The units without a replica that they must keep, except that many of the cheapest."""
    keep = {unit.name for unit in sorted(units, key=cost_per_request)[:kept]}
    return tuple(unit if unit.name in keep else replace(unit, min_replicas=0) for unit in units)


_LIVE: Final = PolicySettings(strategy=Strategy.PLANNED, planned_mode=PlannedMode.LIVE)
_NO_LOSS: Final = replace(_LIVE, resilience_share=0.0)
IN_TIME: Final = replace(_LIVE, resilience_s=600.0)
"""A family may be lost for a cold start."""

FLEETS: Final[Mapping[str, Make]] = {
    "planned": ours(_LIVE),
    "planned, no loss": ours(_NO_LOSS),
    "planned, no loss, no forecast": ours(_NO_LOSS, forecast=False),
    "planned, units at zero": ours(_LIVE, at_zero=True),
    "planned, 600 s, units at zero": ours(IN_TIME, at_zero=True),
    **{f"planned, 600 s, spot, {share:.0%}": _with_spot(replace(IN_TIME, resilience_share=share)) for share in (0.7, 0.8, 0.9)},
    "adaptive": ours(PolicySettings(strategy=Strategy.ADAPTIVE)),
    "two-mode, headroom": ours(PolicySettings(strategy=Strategy.TWO_MODE), target=HEADROOM),
    "priority list 0.8": priority_list(HEADROOM),
    "priority list 1": priority_list(1.0),
    "Mélange hourly": _hourly,
    "SpotHedge": _spot_hedge,
    "none": lambda application, step_s, delay: WithoutController(application.units, step_s, of_file(application), delay),
    "sample": lambda application, step_s, delay: WithoutController(application.units, step_s, Checker(application), delay),
}
"""By name: how a fleet is made."""


@dataclass(frozen=True, slots=True)
class World:
    """A demand and what can be had.

    Attributes:
        demands: Requests per period for each step.
        step_s: Seconds per step.
        most: Most replicas of each unit, on-demand and spot, for each step.
    """

    demands: Sequence[float]
    step_s: float
    most: Sequence[Mapping[str, int]]


def world(application: Application, demand: Sequence[float], step_s: float, *, outages: bool) -> World:
    """A demand with spot instances that are taken back, with or without outages of the on-demand families.

    Args:
        application: For the units and their NodePools, each of which is a family here.
        demand: Requests per period for each step.
        step_s: Seconds per step.
        outages: Whether NodePools have outages, each of its own test seed.
    """
    days = len(demand) * step_s / 86_400 + 0.1
    pools = sorted({unit.node_pool for unit in application.units})
    traces = {pool: region(TEST_SEEDS[number], FITTED, days, step_s)[0] for number, pool in enumerate(pools)} if outages else {}
    spot = region(TEST_SEEDS[len(pools)], FITTED, days, step_s)
    zones = {unit.name: trace for first in application.units for unit, trace in zip(in_zones(first, ZONES), spot, strict=True)}

    def most(step: int) -> dict[str, int]:
        ours = {unit.name: _had(traces.get(unit.node_pool), step) for unit in application.units}
        return {**ours, **{name: _had(trace, step) for name, trace in zones.items()}}

    return World(demand, step_s, [most(step) for step in range(len(demand))])


def _had(trace: Trace | None, step: int) -> int:
    return MOST if trace is None or trace.available[step] else 0


def demands(load: str) -> tuple[list[float], float]:
    """The beginning of a load, requests per period with a highest value of `recorded.PEAK`, and seconds per step.

    Args:
        load: One of `LOADS`, or `WAVE`.
    """
    if load == WAVE:
        return recorded.wave(STEPS // 5, 300.0), 300.0
    file, together, step_s = LOADS[load]
    first = recorded.load(file, together)[:STEPS]
    return [value * recorded.PEAK / max(first) for value in first], step_s


@dataclass(frozen=True, slots=True)
class Played:
    """What a fleet cost.

    Attributes:
        bill: As a multiple of the cheapest whole replicas for the demand of each moment.
        late: Share of the requests beyond what is ready, 0 to 1.
    """

    bill: float
    late: float


def played(application: Application, make: Make, in_world: World) -> Played:
    """Plays a fleet in a world."""
    delay = math.ceil(DELAY_S / in_world.step_s)
    player = make(application, in_world.step_s, delay)
    steps = [player.step(demand, most) for demand, most in zip(in_world.demands, in_world.most, strict=True)]
    best = sum(least(application.units, demand, most).price for demand, most in zip(in_world.demands, in_world.most, strict=True))
    return Played(sum(step.paid for step in steps) / best, sum(step.late for step in steps) / sum(in_world.demands))


def table(application: Application, loads: Sequence[str], fleets: Sequence[str]) -> Table:
    """Every fleet on every load, with and without outages.

    Args:
        application: The application.
        loads: Names of `LOADS` whose files are there, or `WAVE`.
        fleets: Names of `FLEETS`.
    """
    found = Table("load", *fleets, title="Bill ÷ the cheapest whole replicas for the demand of each moment / requests beyond what is ready")
    for name, one in worlds(application, loads):
        days = [played(application, FLEETS[fleet], one) for fleet in fleets]
        found.add_row(name, *(f"{day.bill:.2f} / {day.late:.1%}" for day in days))
    return found


def worlds(application: Application, loads: Sequence[str]) -> Iterator[tuple[str, World]]:
    """Each load without outages and with them, after its name.

    Args:
        application: The application.
        loads: Names of `LOADS` whose files are there, or `WAVE`.
    """
    for load in loads:
        for outages in (False, True):
            yield f"{load}, outages" if outages else load, world(application, *demands(load), outages=outages)


def known_loads() -> list[str]:
    """The loads that can be played: those whose files are there, and the wave."""
    return [WAVE, *(name for name, (file, *_) in LOADS.items() if (recorded.DATA / file).exists())]


def main() -> int:
    """Prints the table.

    Returns:
        The exit code.
    """
    known = known_loads()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loads", nargs="*", choices=known, default=known)
    parser.add_argument("--fleets", nargs="*", choices=FLEETS, default=list(FLEETS))
    parser.add_argument("--write", action="store_true", help="puts the table into the documentation")
    wanted = parser.parse_args()
    (application,) = load_application_file(ROOT / "config" / "sd21.yaml")
    made = table(application, wanted.loads, wanted.fleets)
    Console(width=200).print(made)
    missing = [f"{file} is not in {recorded.DATA.parent.name}/data" for file, *_ in LOADS.values() if not (recorded.DATA / file).exists()]
    for sentence in missing:
        print(f"LEFT OUT: {sentence}")
    if wanted.write:
        put(DOCS, _BEGIN, _END, [markdown(made), *missing])
    return 0


if __name__ == "__main__":
    sys.exit(main())
