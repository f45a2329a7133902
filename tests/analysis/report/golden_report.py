"""The report of a fixed world and seeds, and the files it must equal: ``python -m tests.analysis.report.golden_report`` writes them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

from controller.policy.model import PolicySettings
from failover_analysis.report.contenders import Contender, contenders, with_baselines
from failover_analysis.report.files import json_text
from failover_analysis.report.html import html
from failover_analysis.report.markdown import markdown
from failover_analysis.report.model import Report
from failover_analysis.report.played import Played
from failover_analysis.report.simulated import Framing, simulation_report
from failover_analysis.simulation.run import Simulation
from failover_analysis.simulation.setup import Setup
from tests.analysis.simulation.support import HOUR, fault, outage, setup, with_limits
from tests.support.applications import application

FOLDER: Final = Path(__file__).parents[1] / "report" / "golden"

FORMS: Final = {"report.html": html, "report.md": markdown, "report.json": json_text}


def world() -> Setup:
    """Four hours in which inf2 runs out and comes back, pods break for a while and a process restarts."""
    made = setup(
        name="golden",
        outages=(outage(0.2, 1.5),),
        faults=(fault("pods-broken", 2.0, 0.1), fault("restart", 2.5)),
        noise=0.02,
        row_s=300.0,
        seconds=4 * HOUR,
    )
    return with_limits(made)


def played(contender: Contender, seed: int, *, shown: bool = True) -> Played:
    """One run."""
    made = contender.applied(world())
    result = Simulation(made, seed, measured=True).run()
    command = f"failoverctl simulate golden.yaml {' '.join(contender.options)} --seed {seed}".replace("  ", " ")
    return Played(contender, result if shown else replace(result, rows=()), command, made.seconds, made.faults if shown else ())


def golden_report(wall_s: float = 0.0) -> Report:
    """Two policies and the baselines, the first one swept, with two seeds; every shortage leads to a failover."""
    base = PolicySettings(failover_utilization=0.0)
    compared = with_baselines(contenders(("two-mode", "always-cost"), (), ("patienceSeconds=120",), base), base)
    runs = [played(one, seed, shown=seed == 1) for one in compared for seed in (1, 2)]
    framing = Framing(
        "golden", "A shortage, and two faults.", world().start, "0.0.0", "", "failoverctl simulate golden.yaml", wall_s, application()
    )
    return simulation_report(runs, framing)


if __name__ == "__main__":
    report = golden_report()
    for name, form in FORMS.items():
        (FOLDER / name).write_text(form(report), encoding="utf-8")
