"""What the policies cost and serve in the simulated month, over held-out seeds. See docs/laboratory/simulation.md.

``make bench-month`` writes the tables to the page and the figures to ``benchmarks/results/month.json``; ``ARGS=--quick`` plays one day of
one seed and writes nothing. ``ARGS="--only planned"`` plays one policy anew, after a change that concerns no other, and takes the runs of
the others from the file. Exits with 1 if an invariant did not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from statistics import median
from typing import Final

from rich.console import Console
from rich.table import Table

from benchmarks.markdown import markdown, put
from failover_analysis.report.contenders import contenders
from failover_analysis.simulation.run import Simulation
from failover_analysis.simulation.scenario import find, load

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs" / "laboratory" / "simulation.md"
RESULTS: Final = Path(__file__).parent / "results" / "month.json"
BEGIN, END = "<!-- month: written by `make bench-month` -->", "<!-- end of month -->"

SEEDS: Final = range(100, 110)
"""Held out: fixes and parameters were chosen on seeds 0 to 9."""
DAYS, INTERVAL_S = 10.0, 240.0
"""At most four minutes between passes, as in `benchmarks.simulation`; every change that a watch delivers starts one at once."""

POLICIES: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "two-mode": ("two-mode", ()),
    "two-mode, every shortage": ("two-mode", ("failoverUtilization=0",)),
    "adaptive": ("adaptive", ()),
    "planned": ("planned", ()),
    "always-cost": ("always-cost", ()),
    "always-capacity": ("always-capacity", ()),
}
"""By name: a built-in policy and what is changed in it."""

BY_PEOPLE: Final = frozenset(
    {
        "rule-replaced",
        "action-edited",
        "action-broken",
        "ingress-recreated",
        "standby-rules-removed",
        "scaler-paused",
        "scaler-missing",
        "scaler-at-maximum",
        "floor-raised-by-a-person",
        "paused-by-a-person",
        "pinned-to-cost",
        "pinned-to-capacity",
        "configuration-changed",
    }
)
"""Faults that people cause: on the Ingress, a ScaledObject, the rule or the application file."""

WORLDS: Final = {"capacity": "outages alone", "no people": "and all faults but those by people", "all": "and all faults"}
STACKS: Final = {
    "month": ("round robin", ()),
    "month-outstanding": ("least outstanding requests, `capacityWeights: ready-throughput`", ("capacityWeights=ready-throughput",)),
}


@dataclass(frozen=True, slots=True)
class Job:
    """One run: which of `STACKS`, `WORLDS` and `POLICIES`, and the seed."""

    stack: str
    world: str
    policy: str
    seed: int
    days: float


@dataclass(frozen=True, slots=True)
class Figures:
    """The results of a run.

    Attributes:
        served: Share of the requests that were served.
        dollars: Cost of the instances, US dollars per day.
        capacity: Share of the time in capacity mode.
        mode_changes: Mode changes per day.
        needless: Hours per day in capacity mode in vain, see `Measured.needless_s`.
        violations: Invariants that did not hold.
    """

    served: float
    dollars: float
    capacity: float
    mode_changes: float
    needless: float
    violations: int


def play(job: Job) -> Figures:
    """One run."""
    scenario = load(find(job.stack))
    policy, changes = POLICIES[job.policy]
    contender = contenders((policy,), (*STACKS[job.stack][1], *changes), (), scenario.application.policy)[0]
    setup = scenario.setup(job.seed, days=job.days, random_faults=job.world != "capacity", interval_s=INTERVAL_S)
    if job.world == "no people":
        setup = replace(setup, faults=tuple(fault for fault in setup.faults if fault.name not in BY_PEOPLE))
    result = Simulation(contender.applied(replace(setup, row_s=0.0)), job.seed, measured=True).run()
    totals, days = result.totals, result.seconds / 86_400
    needless_s = result.measured.needless_s if result.measured is not None else 0.0
    return Figures(
        served=1 - totals.flow.lost / totals.flow.demand,
        dollars=totals.dollars / days,
        capacity=totals.seconds.get("capacity", 0.0) / result.seconds,
        mode_changes=len(result.mode_changes) / days,
        needless=needless_s / 3600 / days,
        violations=len(result.violations),
    )


def table(stack: str, jobs: Sequence[Job], played: Sequence[Figures]) -> Table:
    """One stack's figures: median, minimum and maximum over the seeds."""
    of = dict(zip(jobs, played, strict=True))
    made = Table(title=f"{STACKS[stack][0][0].upper()}{STACKS[stack][0][1:]}")
    made.add_column("what goes wrong")
    made.add_column("policy")
    for name in (
        "served, %",
        "$ a day",
        "more expensive than always-cost, %",
        "in capacity mode, %",
        "mode changes a day",
        "needless failover hours a day",
        "seeds: serves more / less",
    ):
        made.add_column(name, justify="right")
    for world, words in WORLDS.items():
        base = [of[job] for job in jobs if (job.stack, job.world, job.policy) == (stack, world, "always-cost")]
        for policy in POLICIES:
            mine = [of[job] for job in jobs if (job.stack, job.world, job.policy) == (stack, world, policy)]
            more = [one.dollars / other.dollars - 1 for one, other in zip(mine, base, strict=True)]
            apart = [one.served - other.served for one, other in zip(mine, base, strict=True)]
            made.add_row(
                words,
                policy,
                _spread([100 * one.served for one in mine], 3),
                _spread([one.dollars for one in mine], 0),
                "-" if policy == "always-cost" else _spread([100 * one for one in more], 1),
                _spread([100 * one.capacity for one in mine], 1),
                _spread([one.mode_changes for one in mine], 1),
                _spread([one.needless for one in mine], 1),
                "-" if policy == "always-cost" else f"{sum(one > 0 for one in apart)} / {sum(one < 0 for one in apart)}",
            )
    return made


def _spread(values: Sequence[float], digits: int) -> str:
    return f"{median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def written_out(jobs: Sequence[Job], played: Sequence[Figures]) -> str:
    """The figures of a benchmark as JSON, a run a line."""
    runs = [{**asdict(job), **asdict(one)} for job, one in zip(jobs, played, strict=True)]
    return "[\n" + ",\n".join(json.dumps(run) for run in runs) + "\n]\n"


def known_runs(path: Path) -> dict[Job, Figures]:
    """The figures of an earlier benchmark, by run."""
    return {
        Job(**{one.name: run[one.name] for one in fields(Job)}): Figures(**{one.name: run[one.name] for one in fields(Figures)})
        for run in json.loads(path.read_text())
    }


def main() -> None:
    """Plays all runs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one seed of one day; writes nothing")
    parser.add_argument(
        "--seeds", type=int, choices=range(1, len(SEEDS) + 1), default=len(SEEDS), metavar="N", help="the first N seeds (%(default)s)"
    )
    parser.add_argument("--only", choices=tuple(POLICIES), help="play this policy alone; the other runs are those of the results file")
    given = parser.parse_args()
    seeds, days = (SEEDS[:1], 1.0) if given.quick else (SEEDS[: given.seeds], DAYS)
    jobs = [Job(stack, world, policy, seed, days) for stack in STACKS for world in WORLDS for policy in POLICIES for seed in seeds]
    with ProcessPoolExecutor(max(1, os.cpu_count() or 1)) as pool:
        known = {job: run for job, run in known_runs(RESULTS).items() if job.policy != given.only} if given.only else {}
        anew = [job for job in jobs if job not in known]
        known |= zip(anew, pool.map(play, anew), strict=True)
    played = [known[job] for job in jobs]
    tables = [table(stack, jobs, played) for stack in STACKS]
    console = Console(width=200)
    for one in tables:
        console.print(one)
    broken = [job for job, one in zip(jobs, played, strict=True) if one.violations]
    for job in broken:
        console.print(f"an invariant did not hold: {job}")
    if not given.quick:
        RESULTS.write_text(written_out(jobs, played))
        put(PAGE, BEGIN, END, [f"Seeds {seeds[0]} to {seeds[-1]}.", *(markdown(one) for one in tables)])
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
