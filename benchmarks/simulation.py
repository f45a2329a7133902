"""Deterministic simulation testing: years of random faults, with every invariant checked at every step. See docs/laboratory/simulation.md.

``make bench-simulation``; ``ARGS=--quick`` for a twentieth of it. If an invariant does not hold, it exits with 1 and prints the seed and
the command that plays it again.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from controller.policy.model import Strategy
from failover_analysis.report.contenders import contenders
from failover_analysis.simulation.faults import FAULTS
from failover_analysis.simulation.recording import Result
from failover_analysis.simulation.report import text
from failover_analysis.simulation.run import Simulation
from failover_analysis.simulation.scenario import find, load

RESULTS: Final = Path(__file__).parent / "results" / "simulation.json"
SEEDS, DAYS, INTERVAL_S = 200, 9.2, 240.0
"""200 seeds of 9.2 days are 5.04 years. Passes are at most four minutes apart, and every change that a watch delivers starts one at once:
the policy's timers must request their own wake-ups."""

IN_TURN: Final = "in-turn"
"""Each seed plays the strategy after that of the seed before it, so that each strategy has a third of the years."""

WORLD: Final = "month"
"""Its outages are drawn by seed: what `failoverctl simulate` plays by default has one, and the same in every seed."""

_YEAR_DAYS: Final = 365.0
_AGAIN: Final = 5  # every fifth seed is played twice


@dataclass(frozen=True, slots=True)
class Played:
    """A run and its cost.

    Attributes:
        strategy: The policy's.
        kind: Of the routing object.
        result: Its result.
        cpu_s: CPU seconds.
        repeated: Whether a second run had the same digest; None if there was none.
    """

    strategy: str
    kind: str
    result: Result
    cpu_s: float
    repeated: bool | None


def play(job: tuple[int, float, str]) -> Played:
    """One seed, for some days, with a strategy."""
    seed, days, strategy = job
    world = load(find(WORLD))
    (contender,) = contenders((strategy,), (), (), world.application.policy)
    setup = contender.applied(world.setup(seed, days=days, random_faults=True, policy=contender.policy, interval_s=INTERVAL_S))
    start = time.process_time()
    result = Simulation(setup, seed).run()
    cpu_s = time.process_time() - start
    repeated = None
    if seed % _AGAIN == 0:
        short = contender.applied(
            world.setup(seed, days=min(days, 1.0), random_faults=True, policy=contender.policy, interval_s=INTERVAL_S)
        )
        repeated = Simulation(short, seed).run().digest == Simulation(short, seed).run().digest
    return Played(strategy, setup.application.route.kind, result, cpu_s, repeated)


def strategy_of(wanted: str, seed: int) -> str:
    """The strategy of a seed."""
    every = [one.value for one in Strategy]
    return every[seed % len(every)] if wanted == IN_TURN else wanted


def figures(played: list[Played], wall_s: float) -> dict[str, Any]:
    """Totals over all runs."""
    results = [one.result for one in played]
    days = sum(one.seconds for one in results) / 86_400.0
    cpu_s = sum(one.cpu_s for one in played)
    faults = Counter[str]()
    for one in results:
        faults.update(one.faults)
    demand, lost = sum(one.totals.flow.demand for one in results), sum(one.totals.flow.lost for one in results)
    return {
        "seeds": len(results),
        "strategies": dict(sorted(Counter(one.strategy for one in played).items())),
        "kinds_of_routing_objects": dict(sorted(Counter(one.kind for one in played).items())),
        "simulated_years": days / _YEAR_DAYS,
        "cpu_minutes": cpu_s / 60,
        "years_per_core_minute": days / _YEAR_DAYS / (cpu_s / 60),
        "wall_minutes": wall_s / 60,
        "processes": os.cpu_count(),
        "passes": sum(one.totals.passes for one in results),
        "writes": sum(sum(one.totals.writes.values()) for one in results),
        "switches": sum(len(one.mode_changes) for one in results),
        "needless_failovers": sum(change.needless for one in results for change in one.mode_changes),
        "faults_injected": sum(faults.values()),
        "kinds_of_faults": len(faults),
        "kinds_there_are": len(FAULTS),
        "requests_lost": lost / demand if demand else 0.0,
        "requests_lost_by_our_changes": sum(one.totals.harm for one in results) / demand if demand else 0.0,
        "account_over_bill": sum(one.ledger.spend for one in results) / (sum(one.totals.dollars for one in results) or 1.0),
        "repeated": sum(one.repeated is not None for one in played),
        "repeated_with_another_digest": sum(one.repeated is False for one in played),
        "violations": sum(len(one.violations) for one in results),
        "faults": dict(sorted(faults.items())),
    }


def main() -> None:
    """Plays all seeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--days", type=float, default=DAYS)
    parser.add_argument("--quick", action="store_true", help="20 seeds of 4.6 days")
    parser.add_argument("--strategy", choices=[IN_TURN, *(one.value for one in Strategy)], default=IN_TURN)
    parser.add_argument("--write", action="store_true", help=f"keep the figures in {RESULTS.name}")
    given = parser.parse_args()
    seeds, days = (20, DAYS / 2) if given.quick else (given.seeds, given.days)
    console, start, played = Console(), time.monotonic(), list[Played]()
    jobs = [(seed, days, strategy_of(given.strategy, seed)) for seed in range(given.first, given.first + seeds)]
    with ProcessPoolExecutor(max(1, os.cpu_count() or 1)) as pool:
        for one in pool.map(play, jobs):
            played.append(one)
            if one.result.violations or one.repeated is False:
                seed = one.result.seed
                again = f"failoverctl simulate {WORLD} --policy {one.strategy} --seed {seed} --days {days:g} --faults random"
                again += f" --interval {INTERVAL_S:g}"
                console.print(text(one.result, again), markup=False)
    found = figures(played, time.monotonic() - start)
    table = Table(title="Simulation", show_header=False)
    for name, value in found.items():
        if name in {"strategies", "kinds_of_routing_objects"}:
            table.add_row(name.replace("_", " "), ", ".join(f"{one} {count}" for one, count in value.items()))
        elif not isinstance(value, dict):
            table.add_row(name.replace("_", " "), f"{value:,.4g}" if isinstance(value, float) else f"{value:,}")
    console.print(table)
    if given.write:
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    sys.exit(1 if found["violations"] or found["repeated_with_another_digest"] else 0)


if __name__ == "__main__":
    main()
