"""What the controller is worth, against what a user has without it: requests, minutes and dollars of one day. See docs/worth.md.

``make bench-worth`` plays all runs, keeps them in ``benchmarks/results/worth.json`` and writes the tables; ``make docs`` writes the tables
from that file. Tests play runs of the file again and compare.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from failover_analysis.report.contenders import contenders
from failover_analysis.report.worth_table import HEADINGS, cells
from failover_analysis.report.worth_table import ROWS as WITHOUT
from failover_analysis.simulation.figures import Figures, figures
from failover_analysis.simulation.outages import Outage
from failover_analysis.simulation.run import Simulation
from failover_analysis.simulation.scenario import find, load
from failover_analysis.simulation.setup import Algorithm, Setup
from failover_testbed.capacity.ec2 import Shortage
from tools.generated import replaced

ROOT: Final = Path(__file__).parents[1]
RESULTS: Final = Path(__file__).parent / "results" / "worth.json"
PAGES: Final[Mapping[str, Sequence[str]]] = {"README.md": ("outage",), "docs/worth.md": ("outage", "quiet", "reclaimed")}
"""The pages with a table, and the days that each shows."""

SEEDS: Final = (1, 2, 3)
INTERVAL_S: Final = 240.0
"""The longest time between two passes; every change that a watch delivers starts a pass at once."""

ROWS: Final[Mapping[str, str]] = {
    **WITHOUT,
    "two-mode": "failoverctl, `two-mode`",
    "cheapest": "failoverctl, `two-mode`, 92 % of the weight on the cheapest type",
    "adaptive": "failoverctl, `adaptive`",
    "planned": "failoverctl, `planned` (survives the loss of a family)",
}
"""By policy: its row."""


CHEAPEST: Final = (92, 2, 2, 2, 2)
"""The weights of the row `cheapest`, in the order of the application file. All others have those of the AWS sample: 40, 20, 15, 10, 15."""


def _reclaimed(setup: Setup) -> Setup:
    inf2 = setup.application.units[0]
    outage = Outage(25_200.0, 36_000.0, Shortage((inf2.instance_type,)), most=0)
    return replace(setup, capacity_types={inf2.node_pool: ("spot",)}, outages=(outage,))


DAYS: Final[Mapping[str, Callable[[Setup], Setup]]] = {
    "outage": lambda setup: setup,
    "quiet": lambda setup: replace(setup, outages=()),
    "reclaimed": _reclaimed,
}
"""By name: what a day changes in the simulation's world `day`."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run and its results.

    Attributes:
        day: Which of `DAYS`.
        policy: Which of `ROWS`.
        seed: The seed.
        figures: What came of it.
    """

    day: str
    policy: str
    seed: int
    figures: Figures


def world(day: str, policy: str, seed: int) -> Setup:
    """The setup of a run. All have least outstanding requests, as `render` writes it: round robin would add late requests to each."""
    scenario = load(find("day"))
    contender = contenders(
        ("two-mode" if policy == "cheapest" else policy,), ("capacityWeights=ready-throughput",), (), scenario.application.policy
    )[0]
    made = replace(DAYS[day](scenario.setup(seed, interval_s=INTERVAL_S)), algorithm=Algorithm.LEAST_OUTSTANDING, row_s=0.0)
    if policy == "cheapest":
        units = zip(made.application.units, CHEAPEST, strict=True)
        made = replace(made, application=replace(made.application, units=tuple(replace(unit, weight=one) for unit, one in units)))
    return contender.applied(made)


def play(job: tuple[str, str, int]) -> Run:
    """One run: a day, a policy and a seed.

    Raises:
        ValueError: An invariant did not hold.
    """
    day, policy, seed = job
    result = Simulation(world(day, policy, seed), seed, measured=True).run()
    if result.violations:
        raise ValueError(f"{day}, {policy}, seed {seed}: {result.violations}")
    return Run(day, policy, seed, figures(result))


def kept() -> list[Run]:
    """The runs of the results file."""
    return [Run(run.pop("day"), run.pop("policy"), run.pop("seed"), Figures(**run)) for run in json.loads(RESULTS.read_text())]


def page(name: str, present: str, runs: Sequence[Run]) -> str:
    """A page with its tables replaced.

    Raises:
        ValueError: The markers of a table are missing.
    """
    for day in PAGES[name]:
        present = replaced(name, present, f"worth, {day}", "\n".join(_table([one for one in runs if one.day == day])))
    return present


def _table(runs: Sequence[Run]) -> Iterator[str]:
    yield f"| | {' | '.join(HEADINGS)} |"
    yield "|---|---:|---:|---:|---:|"
    for policy, words in ROWS.items():
        yield f"| {words} | {' | '.join(cells([one.figures for one in runs if one.policy == policy]))} |"


def main() -> None:
    """Writes the pages; with ``--play`` after it has played all runs."""
    if "--play" in sys.argv[1:]:
        jobs = [(day, policy, seed) for day in DAYS for policy in ROWS for seed in SEEDS]
        with ProcessPoolExecutor(max(1, os.cpu_count() or 1)) as pool:
            made = list(pool.map(play, jobs))
        rows = ({"day": run.day, "policy": run.policy, "seed": run.seed, **asdict(run.figures)} for run in made)
        RESULTS.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n")
    for name in PAGES:
        (ROOT / name).write_text(page(name, (ROOT / name).read_text(), kept()))


if __name__ == "__main__":
    main()
