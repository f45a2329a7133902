"""How close the found breaking point is to the true one, and a run on the project's model server. See docs/laboratory/breaking-point.md.

``make bench-breaking-point`` measures queues in virtual time (every method on the same steps, many seeds), some of them as real servers
through vegeta, and the model server on the CPU if its environment exists. It writes benchmarks/results/breaking-point.json, the tables of
docs/laboratory/breaking-point.md and the plots. ``ARGS="--quick"`` uses a few seeds and two real servers, and writes no docs.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks.breaking_point.methods import methods
from benchmarks.breaking_point.paths import DOCS, IMAGES
from benchmarks.markdown import markdown, put
from benchmarks.report import ROOT
from controller.clock import SystemClock
from failover_harness.control_plane.binaries import VEGETA, tool
from failover_harness.model_servers.measuring import measure
from failover_harness.model_servers.queue_server import Spec, VirtualLoad, serving, true_knee
from failover_setup.breaking_point import plot
from failover_setup.breaking_point.model import Bounds, Limits
from failover_setup.breaking_point.run import Settings
from failover_setup.breaking_point.target import make_target
from failover_setup.breaking_point.vegeta import Vegeta
from failover_testbed.clocks import ManualClock

RESULT: Final = ROOT / "benchmarks" / "results" / "breaking-point.json"
BEGIN: Final = "<!-- breaking-point: written by `make bench-breaking-point` -->"
END: Final = "<!-- end of breaking-point -->"

GOAL: Final = 0.05

SERVERS: Final[Mapping[str, tuple[Spec, float]]] = {
    "1 worker, 20 ms": (Spec(1, 0.020), 0.9),
    "4 workers, 20 ms, spread 20 %": (Spec(4, 0.020, 0.2), 0.9),
    "8 workers, 100 ms, spread 30 %": (Spec(8, 0.100, 0.3), 0.9),
    "1 worker, 500 ms, spread 5 %": (Spec(1, 0.500, 0.05), 0.9),
    "16 workers, 670 ms, spread 5 %": (Spec(16, 0.670, 0.05), 0.9),
    "4 workers, 50 ms, spread 50 %, limit 0.2 s": (Spec(4, 0.050, 0.5), 0.2),
    "4 workers, 50 ms, exponential": (Spec(4, 0.050, 1.0), 0.9),
    "4 workers, 20 ms, sheds at 8": (Spec(4, 0.020, 0.2, line=8), 0.9),
    "1 worker, 200 ms, sheds at 3": (Spec(1, 0.200, 0.1, line=3), 0.9),
    "32 workers, 400 ms, sheds at 32": (Spec(32, 0.400, 0.3, line=32), 0.9),
    "2 workers, 50 ms, exponential, sheds at 4": (Spec(2, 0.050, 1.0, line=4), 0.9),
}
"""Name, server and latency limit in seconds."""

REAL: Final = (
    "4 workers, 20 ms, spread 20 %",
    "4 workers, 20 ms, sheds at 8",
    "8 workers, 100 ms, spread 30 %",
    "32 workers, 400 ms, sheds at 32",
)
STEP_S: Final = 6.0  # of the real ones


def virtual(seeds: int) -> list[dict[str, Any]]:
    """Measures every server and seed in virtual time."""
    rows = []
    for name, (spec, limit_s) in SERVERS.items():
        truth = true_knee(spec, limit_s)
        errors: dict[str, list[float]] = {}
        minutes, steps = [], []
        for seed in range(1, seeds + 1):
            clock = ManualClock(0.0)
            outcome = measure(VirtualLoad(replace(spec, seed=seed), clock), clock, Settings(Limits(latency_s=limit_s), Bounds()))
            for method, value in methods(outcome).items():
                errors.setdefault(method, []).append(value / truth - 1)
            minutes.append(clock.monotonic() / 60)
            steps.append(len(outcome.steps))
        rows.append({
            "server": name, "true": truth, "errors": errors, "minutes": statistics.fmean(minutes), "steps": statistics.fmean(steps)
        })  # fmt: skip
        print(f"{name}: true {truth:.4g}/s, largest error {100 * largest(errors['held and confirmed (ours)']):.1f} %", flush=True)
    return rows


def real(names: Sequence[str], seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Measures the same servers as processes, loaded by vegeta over HTTP."""
    program, rows = tool(VEGETA), []
    for name in names:
        spec, limit_s = SERVERS[name]
        for seed in seeds:
            clock = SystemClock()
            begin = clock.monotonic()
            with serving(replace(spec, seed=seed)) as url:
                load = Vegeta(program, make_target(url, "", [], None), timeout_s=5.0)
                outcome = measure(load, clock, Settings(Limits(latency_s=limit_s), Bounds(), step_s=STEP_S))
            found, truth = methods(outcome)["held and confirmed (ours)"], true_knee(spec, limit_s)
            row: dict[str, Any] = {"server": name, "seed": seed, "true": truth, "found": found, "error": found / truth - 1}
            rows.append(row | {"steps": len(outcome.steps), "minutes": (clock.monotonic() - begin) / 60, "limited": outcome.limited_by})
            print(f"{name}, seed {seed}: found {found:.4g}/s of {truth:.4g}, {100 * row['error']:+.1f} %", flush=True)
            if name == names[0] and seed == seeds[0]:
                plot.draw(
                    IMAGES / "breaking-point.svg", outcome, Limits(latency_s=limit_s), f"Synthetic server: {name}; true {truth:.4g}/s"
                )
    return rows


def largest(errors: Sequence[float]) -> float:
    """The largest absolute error; infinite if a run found nothing."""
    return max(math.inf if math.isnan(error) else abs(error) for error in errors)


def _percent(share: float, sign: str = "") -> str:
    return "none found" if not math.isfinite(share) else f"{100 * share:{sign}.1f} %"


def tables(made: Mapping[str, Any]) -> list[Table]:
    """The tables to print and write to the document."""
    errors = Table(title=f"Error of the knee in virtual time, {made['seeds']} seeds each")
    for column in ("server", "true knee", "mean error", "largest", "steps", "minutes"):
        errors.add_column(column, justify="left" if column == "server" else "right")
    for row in made["virtual"]:
        ours = row["errors"]["held and confirmed (ours)"]
        figures = (f"{row['true']:.4g}/s", _percent(statistics.fmean(ours), "+"), _percent(largest(ours)))
        errors.add_row(row["server"], *figures, f"{row['steps']:.0f}", f"{row['minutes']:.1f}")
    compared = Table(title="Methods on the same steps: error over all servers and seeds")
    for column in ("method", "median error", "90 % below", "largest", "within 5 %"):
        compared.add_column(column, justify="left" if column == "method" else "right")
    for method in made["virtual"][0]["errors"]:
        sizes = sorted(math.inf if math.isnan(error) else abs(error) for row in made["virtual"] for error in row["errors"][method])
        within = sum(size <= GOAL for size in sizes) / len(sizes)
        cells = (_percent(sizes[len(sizes) // 2]), _percent(sizes[int(0.9 * len(sizes))]), _percent(sizes[-1]), f"{100 * within:.0f} %")
        compared.add_row(method, *cells)
    through = Table(title=f"Real servers through vegeta, steps of {STEP_S:g} s")
    for column in ("server", "seed", "true knee", "found", "error", "limited by", "steps", "minutes"):
        through.add_column(column, justify="left" if column in {"server", "limited by"} else "right")
    for row in made["real"]:
        shares = (f"{row['true']:.4g}/s", f"{row['found']:.4g}/s", _percent(row["error"], "+"), ", ".join(row["limited"]))
        through.add_row(row["server"], str(row["seed"]), *shares, str(row["steps"]), f"{row['minutes']:.1f}")
    return [errors, compared, through]


def main() -> None:
    """Runs the benchmark; fails if the error on a real server exceeds five percent."""
    quick = "--quick" in sys.argv[1:]
    seeds = 3 if quick else 20
    made: dict[str, Any] = {"seeds": seeds, "servers": {name: asdict(spec) for name, (spec, _) in SERVERS.items()}}
    made["virtual"] = virtual(seeds)
    made["real"] = real(REAL[:2] if quick else REAL, (1,) if quick else (1, 2))
    console = Console(width=140)
    shown = tables(made)
    for table in shown:
        console.print(table)
    if not quick:
        RESULT.write_text(json.dumps(made, indent=1) + "\n")
        put(DOCS, BEGIN, END, [markdown(table) for table in shown])
    missed = [row for row in made["real"] if not abs(row["error"]) <= GOAL]
    if missed:
        sys.exit(f"missed by more than {100 * GOAL:.0f} %: {missed}")


if __name__ == "__main__":
    main()
