"""Compares the policies with the optimum that knows the future. See docs/laboratory/policy-evaluation.md.

``make bench-policy``; ``ARGS=--quick`` is a smoke test that writes no docs, ``ARGS="--trace FILE.csv"`` uses your own trace.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from benchmarks.markdown import markdown, put
from controller.catalog.loader import load_application_file
from controller.errors import ConfigError
from controller.policy.model import Application
from research import experiments, made_up, recorded, report
from research.experiments import BEST, Tally
from research.fit import FITTED, over_zones
from research.outages import DAYS, TEST_SEEDS, TRAIN_SEEDS, region
from research.policies import POLICIES
from research.rules import Play
from research.split import Bill, compared, without_a_family
from research.traces import Trace, either
from research.two_state import GRID, Prices

ROOT: Final = Path(__file__).parents[1]
DOCS: Final = ROOT / "docs" / "laboratory" / "policy-evaluation.md"
PLOT: Final = ROOT / "docs" / "images" / "policy.svg"
RESULTS: Final = ROOT / "benchmarks" / "results" / "policy.json"
_BEGIN: Final = "<!-- policy: written by `make bench-policy` -->"
_END: Final = "<!-- end of policy -->"

SHORT_TICK_S: Final = 30.0
"""A shorter detection delay: production's is 3 s to judge a refusal and 30 s of patience."""

TO_THE_TOP: Final = 288 + 145
"""Steps of 300 s up to the top of the second day's wave, the one at the top included."""

_SHOWN: Final = (
    "always capacity",
    "immediate both ways",
    "break-even",
    "break-even, doubled on flap",
    "two-mode",
)

_SLOW: Final = frozenset({"two-mode"})
"""Policies that take a second per trace; left out if there are many traces."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much to compute.

    Attributes:
        test: Seeds of the reported figures.
        train: Seeds for choosing parameters.
        days: Length of each trace.
        names: Policies of the main experiment.
        steps: Most steps of each demand of the multi-unit optimum.
    """

    test: Sequence[int]
    train: Sequence[int]
    days: float
    names: tuple[str, ...]
    steps: int


WHOLE: Final = Size(TEST_SEEDS, TRAIN_SEEDS[:10], DAYS, (*POLICIES, BEST), 1_152)
QUICK: Final = Size(TEST_SEEDS[:2], TRAIN_SEEDS[:1], 6.0, (*POLICIES, BEST), 48)


def main() -> int:
    """Computes and prints the tables; at full size also writes results, plot and docs.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two seeds of six days; writes no docs")
    parser.add_argument("--trace", type=Path, help="your CSV file: time, and a column for each zone with counts or 0 and 1")
    parser.add_argument("--need", type=float, default=1.0, help="with --trace: a zone has capacity while its value is at least this")
    wanted = parser.parse_args()
    console = Console(width=190)
    if wanted.trace is not None:
        return _own(wanted.trace, wanted.need, console)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        tables, found, missing = _computed(QUICK if wanted.quick else WHOLE, pool)
    for table in tables:
        console.print(table)
    for sentence in missing:
        console.print(f"[bold]LEFT OUT:[/bold] {sentence}")
    if not wanted.quick:
        report.plot(experiments.curves(WHOLE.test, WHOLE.days), found, PLOT)
        picture = f"![Cost over OPT by hold and by patience](../{PLOT.relative_to(DOCS.parents[1])})"
        put(DOCS, _BEGIN, _END, [*(markdown(table) for table in tables), *missing, picture])
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(_plain(found), indent=1) + "\n")
    return 0


def _own(path: Path, need: float, console: Console) -> int:
    """Evaluates every policy on a user's trace: on the whole unit and on each zone."""
    try:
        zones = recorded.read_csv(path, need)
    except ConfigError as problem:
        console.print(f"[bold]refused:[/bold] {problem}", markup=True, highlight=False)
        return 2
    traces = [either("any zone", zones), *zones] if len(zones) > 1 else zones
    for trace in traces:
        console.print(
            f"{trace.name}: {trace.days:.1f} days, {100 * trace.short_share:.1f} % without capacity, {len(trace.runs) - 1} changes"
        )
    console.print(report.traces_table(path.name, _on(traces, tuple(POLICIES)), tuple(POLICIES)))
    return 0


def _on(
    traces: Sequence[Trace], names: Sequence[str], more: Mapping[str, Play] | None = None
) -> dict[str, dict[tuple[str, Prices], Tally]]:
    plays = {**{name: POLICIES[name] for name in names}, **(more or {})}
    return {
        trace.name: {(name, prices): experiments.tally(play, [trace], prices) for name, play in plays.items() for prices in GRID}
        for trace in traces
    }


def _computed(size: Size, pool: Executor) -> tuple[list[Table], report.Found, list[str]]:
    """All tables, the main experiment's values, and the parts that were left out."""
    test = f"test seeds {size.test[0]} to {size.test[-1]}"
    found = experiments.main_experiment(size.test, size.days, size.names, pool.map)
    few = ("break-even, doubled on flap", BEST)
    soon = experiments.main_experiment(size.test[:6], size.days, few, pool.map, SHORT_TICK_S)
    tables = [
        report.fit_table(over_zones(FITTED, size.test), test),
        report.ratio_table(found, size.names, f"{test}, {size.days:g} days, 3 zones each"),
        report.habits_table(found, size.names, test),
        report.distance_table(found, soon, (195.0, SHORT_TICK_S)),
    ]
    watching = experiments.zone_or_unit(size.test, size.days, GRID[0], ("immediate both ways", "break-even, doubled on flap"))
    tables.append(report.unit_table(watching, GRID[0], test))
    tables.append(_other_kinds(size, test))
    files = [name for name in recorded.BAMBOO if (recorded.DATA / name).exists()]
    missing = [f"{name} is not in {recorded.DATA.parent.name}/data" for name in recorded.BAMBOO if name not in files]
    if files:
        seen = _on([recorded.bamboo(name) for name in files], _SHOWN)
        tables.append(report.traces_table("Spot instances of the Bamboo project", seen, _SHOWN))
    bills, absent = _bills(size)
    tables.append(report.split_table(bills, f"outages of {test}"))
    tables.append(report.delay_table(bills))
    tables.append(report.loss_table(without_a_family(_application(), recorded.wave(min(size.steps, TO_THE_TOP), 300.0), 300.0)))
    return tables, found, missing + absent


def _other_kinds(size: Size, test: str) -> Table:
    """Other kinds of outages, with the best online policy for the law of other seeds of the same kind."""
    apart = experiments.others(size.train, 4 * size.days)
    found: dict[str, dict[tuple[str, Prices], Tally]] = {}
    for name, traces in experiments.others(size.test, size.days).items():
        plays = {one: POLICIES[one] for one in _SHOWN if one not in _SLOW} | {BEST: experiments.best_of(apart[name])}
        found[name] = {(one, prices): experiments.tally(play, traces, prices) for one, play in plays.items() for prices in GRID}
    names = [name for name in (*_SHOWN, BEST) if name not in _SLOW]
    return report.traces_table(f"Other kinds of outages, {test}", found, names)


def _bills(size: Size) -> tuple[dict[str, Bill], list[str]]:
    """The multi-unit optimum for every demand, with and without outages and with a limit."""
    application = _application()
    demands = {"wave": (recorded.wave(size.steps, 300.0), 300.0)}
    missing = []
    for name, together, tick_s in zip(recorded.LOADS, (1, 6, 1), (300.0, 60.0, 60.0), strict=True):
        if (recorded.DATA / name).exists():
            demands[name.split("_")[0]] = (recorded.load(name, together)[: size.steps], tick_s)
        else:
            missing.append(f"{name} is not in {recorded.DATA.parent.name}/data")
    pools = sorted({unit.node_pool for unit in application.units})
    bills = {}
    for name, (demand, tick_s) in demands.items():
        days = len(demand) * tick_s / 86_400 + 0.1
        out = {pool: region(TEST_SEEDS[number], FITTED, days, tick_s)[0] for number, pool in enumerate(pools)}
        well = {pool: Trace(pool, bytes([1]) * len(demand), tick_s) for pool in pools}
        bills[f"{name}, no outages"] = compared(application, demand, well, 100)
        bills[f"{name}, outages"] = compared(application, demand, out, 100)
        bills[f"{name}, outages, 12 replicas a unit"] = compared(application, demand, out, 12)
    for name, demand in made_up.loads(size.steps).items():
        well = {pool: Trace(pool, bytes([1]) * len(demand), made_up.STEP_S) for pool in pools}
        bills[f"made up: {name}"] = compared(application, demand, well, 100)
    return bills, missing


def _application() -> Application:
    (application,) = load_application_file(ROOT / "config" / "sd21.yaml")
    return application


def _plain(found: report.Found) -> dict[str, dict[str, list[dict[str, float]]]]:
    """The main experiment as plain JSON values, rounded: the same seeds give the same bytes."""
    plain: dict[str, dict[str, list[dict[str, float]]]] = {}
    for (name, prices), tallies in found.items():
        plain.setdefault(name, {})[str(prices)] = [
            {
                "ratio": round(one.ratio, 5),
                "switches_a_day": round(one.changes_a_day, 3),
                "exposed_minutes_a_day": round(one.exposed_minutes_a_day, 2),
                "needless_hours_a_day": round(one.needless_hours_a_day, 3),
            }
            for one in tallies
        ]
    return plain


if __name__ == "__main__":
    sys.exit(main())
