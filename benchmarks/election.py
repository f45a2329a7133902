"""Leader election: 100,000 lease periods in simulated time, and takeovers on a real API server. See docs/laboratory/benchmarks.md.

``make bench-election``; ``ARGS=--quick`` for a tenth of it. Exits with 1 if a replica acted without holding the Lease.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks.markdown import markdown, put
from benchmarks.report import percentile
from controller.service.election import Timing
from failover_harness.control_plane.control_plane import ControlPlane
from failover_harness.election.simulated import ROUGH, Figures, Trouble, World

RESULTS: Final = Path(__file__).parent / "results" / "election.json"
DOCS: Final = Path(__file__).parents[1] / "docs" / "laboratory" / "election.md"
_BEGIN: Final = "<!-- election: written by `make bench-election ARGS=--write` -->"
_END: Final = "<!-- end of election -->"
LEASE_S: Final = Timing().lease_s
GOALS: Final = {"kill": 18.0, "SIGTERM": 2.0}
_GROUPS: Final = 5
_PROCESSES: Final = max(1, os.cpu_count() or 1)

_SKEW: Final = (0.5, 2.0)
WORLDS: Final[dict[str, tuple[Trouble, int]]] = {
    "calm": (Trouble(), 2),
    "kill": (Trouble(kill_every_s=120), 2),
    "SIGTERM": (Trouble(end_every_s=120), 2),
    "partition": (Trouble(partition_every_s=120, lost=0.02, rates=_SKEW), 3),
    "refusal": (Trouble(deny_every_s=120, rates=_SKEW), 3),
    "latency": (Trouble(slow_every_s=240, lost=0.02, rates=_SKEW), 3),
    "pause": (Trouble(pause_every_s=120, rates=_SKEW), 3),
    "deletion": (Trouble(delete_every_s=120, rates=_SKEW), 3),
    "theft": (Trouble(steal_every_s=120, rates=_SKEW), 3),
    "all": (ROUGH, 5),
    "beyond": (replace(ROUGH, late=True, gap=0.05), 3),
}
"""Faults and number of replicas, see docs/laboratory/election.md. No lease can prevent the violations of the last one."""


def main() -> int:
    """Runs both halves and prints the tables; ``--write`` keeps them, and the figures behind them.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the lease periods and fewer takeovers")
    parser.add_argument("--simulated", action="store_true", help="skip the real server")
    parser.add_argument("--write", action="store_true", help=f"keep the tables in {DOCS.name} and the figures in {RESULTS.name}")
    wanted = parser.parse_args()
    console = Console(width=110)
    tables = []
    simulated = _simulate(10_000 if wanted.quick else 110_000)
    tables.append(_simulated_table(simulated))
    good = all(row["stale"] == 0 and (row["beyond a lease"] or row["wrong"] == 0) for row in simulated)
    takeovers: dict[str, list[float]] = {}
    if not wanted.simulated:
        takeovers, violations = _take_over(1 if wanted.quick else 4)
        tables.append(_takeover_table(takeovers, len(violations)))
        good = good and not violations
    for table in tables:
        console.print(table)
    if wanted.write:
        put(DOCS, _BEGIN, _END, [markdown(table) for table in tables])
        RESULTS.write_text(json.dumps({"simulated": simulated, "takeovers": takeovers, "cores": os.cpu_count()}, indent=1) + "\n")
    return 0 if good else 1


def _simulate(periods: int) -> list[dict[str, Any]]:
    """Runs every world for an equal share of the lease periods, each in four parts with separate seeds."""
    parts = 4
    each = periods // len(WORLDS) // parts
    with ProcessPoolExecutor(_PROCESSES) as pool:
        runs = {name: [pool.submit(_world, name, seed, each) for seed in range(parts)] for name in WORLDS}
        return [_row(name, [run.result() for run in them]) for name, them in runs.items()]


def _world(name: str, seed: int, periods: int) -> Figures:
    trouble, replicas = WORLDS[name]
    return World(seed, trouble, replicas=replicas).run(periods * LEASE_S)


def _row(name: str, runs: list[Figures]) -> dict[str, Any]:
    trouble, replicas = WORLDS[name]
    return {
        "world": name,
        "beyond a lease": trouble.late or trouble.gap > 0,
        "replicas": replicas,
        "periods": round(sum(run.seconds for run in runs) / LEASE_S),
        "epochs": sum(run.epochs for run in runs),
        "effects": sum(run.actions for run in runs),
        "undone": sum(run.unconfirmed for run in runs),
        "wrong": sum(run.foreign_actions for run in runs),
        "robbed": sum(run.robbed_actions for run in runs),
        "state": sum(run.state_writes for run in runs),
        "stale": sum(run.stale_state for run in runs),
        "after a kill, s": [one for run in runs for one in run.after_kill_s] if name == "kill" else [],
        "after SIGTERM, s": [one for run in runs for one in run.after_end_s] if name == "SIGTERM" else [],
    }


def _simulated_table(rows: list[dict[str, Any]]) -> Table:
    table = Table(title=f"Simulated: {sum(row['periods'] for row in rows):,} lease periods of {LEASE_S:.0f} s")
    names = [name for name in rows[0] if name not in {"beyond a lease", "after a kill, s", "after SIGTERM, s"}]
    for name in (*names, "p50/p99/max s"):
        table.add_column(name, justify="left" if name == "world" else "right")
    for row in rows:
        times = row["after a kill, s"] or row["after SIGTERM, s"]
        table.add_row(*(f"{row[name]:,}" if isinstance(row[name], int) else row[name] for name in names), _spread(times))
    return table


def _spread(times: list[float]) -> str:
    if not times:
        return ""
    return f"{percentile(times, 0.5):.1f} / {percentile(times, 0.99):.1f} / {max(times):.1f}"


# --- the real server ----------------------------------------------------------------------------------------------------------------------


def _take_over(rounds: int) -> tuple[dict[str, list[float]], list[str]]:
    """Runs several groups of two replicas in parallel; in each round every leader is killed, then every leader gets SIGTERM.

    Returns:
        Seconds from the signal to the next holder of the Lease, by signal; and all writes by replicas that did not hold it.
    """
    from failover_harness.election.group import Group

    times: dict[str, list[float]] = {"kill": [], "SIGTERM": []}
    chance = random.Random(1)
    with ControlPlane(controllers=False) as plane:
        session = plane.session()
        names = [f"group-{number}" for number in range(_GROUPS)]
        for name in names:
            session.request("POST", "/api/v1/namespaces", body=json.dumps({"metadata": {"name": name}}))
        groups = [Group(plane, name) for name in names]
        try:
            for group in groups:
                group.start()
                group.start()
            for _ in range(rounds):
                for label, number in (("kill", signal.SIGKILL), ("SIGTERM", signal.SIGTERM)):
                    times[label] += _one_round(groups, number, chance)
        finally:
            violations = [one for group in groups for one in group.close()]
    return times, violations


def _one_round(groups: list[Any], number: signal.Signals, chance: random.Random) -> list[float]:
    for group in groups:
        group.await_standby()
    since: dict[str, tuple[str, float]] = {}
    for group in groups:
        time.sleep(chance.random())  # at a random time between two renewals
        leader = group.holder()
        since[group.namespace] = (leader, time.monotonic())
        group.send(leader, number)
    for group in groups:
        group.await_holder(since[group.namespace][0])
    times = [_taken_over(group.recorder.record.seen, *since[group.namespace]) for group in groups]
    for group in groups:
        group.start()
    return times


def _taken_over(seen: list[tuple[float, str]], former: str, since: float) -> float:
    """Seconds from the signal until a watch showed another holder."""
    return next(at for at, holder in seen if at > since and holder not in {"", former}) - since


def _takeover_table(times: dict[str, list[float]], violations: int) -> Table:
    table = Table(title=f"Takeovers on a real kube-apiserver, separate processes; writes by a non-holder: {violations}")
    for name in ("after", "takeovers", "p50 / p99 / max, s", "goal p99, s"):
        table.add_column(name, justify="left" if name == "after" else "right")
    for label, them in times.items():
        table.add_row(label, str(len(them)), _spread(them), f"{GOALS[label]:.0f}")
    return table


if __name__ == "__main__":
    sys.exit(main())
