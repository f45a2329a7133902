"""Plays the AWS sample's three experiments with the production decision core; writes data and plots. See docs/laboratory/experiments.md.

``make experiments`` writes timelines (CSV) and sums (JSON) to benchmarks/results/experiments, and plots to docs/images.
"""

from __future__ import annotations

import csv
import io
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl

mpl.use("Agg")  # no display is needed
import matplotlib.dates as mdates
import matplotlib.pyplot as plt

from failover_analysis.report.contenders import contenders
from failover_analysis.simulation.recording import Result
from failover_analysis.simulation.report import document, json_text, timeline
from failover_analysis.simulation.run import Simulation
from failover_analysis.simulation.scenario import find, load

EXPERIMENTS: Final = ("cost-wave", "l4-limited", "l4-limited-outstanding", "inf2-failover", "inf2-failover-outstanding")
_ROOT: Final = Path(__file__).parents[1]
DATA: Final = _ROOT / "benchmarks" / "results" / "experiments"
IMAGES: Final = _ROOT / "docs" / "images"

_COLOURS: Final = {  # Okabe and Ito's, which colour-blind readers can distinguish
    "sd21-inf2": "#0072B2",
    "sd21-trn1": "#56B4E9",
    "sd21-g5-triton": "#009E73",
    "sd21-g6-triton": "#E69F00",
    "sd21-g5-cuda": "#D55E00",
}
_EVERY: Final = 5  # minutes per point of the stored data


def play(name: str) -> Result:
    """One experiment."""
    world = load(find(name))
    contender = contenders((), ("failoverUtilization=0",), (), world.application.policy)[0]  # the AWS sample fails over for every shortage
    return Simulation(contender.applied(world.setup(world.file.seed)), world.file.seed).run()


def table(result: Result) -> dict[str, list[Any]]:
    """The timeline by column."""
    rows = list(csv.DictReader(io.StringIO(timeline(result.rows))))
    return {name: [row[name] for row in rows] for name in rows[0]}


def plot(name: str, result: Result) -> None:
    """Plots throughput and latency by unit, replicas and failed requests; shades capacity mode."""
    data = table(result)
    times = [datetime.fromisoformat(at) for at in data["time"]]
    figure, axes = plt.subplots(4, 1, sharex=True, figsize=(9, 9), height_ratios=(3, 2, 2, 1.2), layout="constrained")
    for unit, colour in _COLOURS.items():
        axes[0].plot(times, _numbers(data[f"served {unit}"]), color=colour, label=unit.removeprefix("sd21-"), linewidth=1.2)
        axes[1].plot(times, _smoothed(_numbers(data[f"latency_s {unit}"])), color=colour, linewidth=1.0)
        axes[2].step(times, _numbers(data[f"ready {unit}"]), color=colour, linewidth=1.2, where="post")
        axes[2].step(times, _numbers(data[f"desired {unit}"]), color=colour, linewidth=0.8, where="post", linestyle=":")
    demand, failed = _numbers(data["demand"]), _numbers(data["failed"])
    axes[3].plot(times, demand, color="black", linewidth=1.0, label="asked for")
    axes[3].plot(times, failed, color="red", linewidth=1.0, label="failed")
    for axis, words in zip(axes, ("answered a minute", "latency, s", "replicas (dotted: asked for)", "requests a minute"), strict=True):
        axis.set_ylabel(words)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
        _shade(axis, times, data)
    axes[0].legend(ncols=5, loc="upper center", fontsize=8, frameon=False, bbox_to_anchor=(0.5, 1.14))
    axes[3].legend(ncols=2, loc="lower right", fontsize=8, frameon=False)
    axes[3].xaxis.set_major_formatter(mdates.DateFormatter("%H:%M"))
    axes[3].set_xlabel("time of day, UTC" + ("; shaded: capacity mode; hatched: a type cannot grow" if any(data["out"]) else ""))
    IMAGES.mkdir(parents=True, exist_ok=True)
    figure.savefig(IMAGES / f"{name}.png", dpi=110)
    plt.close(figure)


def _shade(axis: plt.Axes, times: list[datetime], data: dict[str, list[Any]]) -> None:
    """Draws bands for capacity mode and for shortages."""
    low, high = axis.get_ylim()
    capacity = [mode == "capacity" for mode in data["mode"]]
    if not all(capacity):
        axis.fill_between(times, low, high, where=capacity, color="#CCCCCC", alpha=0.5, linewidth=0, zorder=0)
    out = [bool(types) for types in data["out"]]
    axis.fill_between(times, low, high, where=out, facecolor="none", hatch="///", edgecolor="#999999", alpha=0.4, linewidth=0, zorder=0)


def _numbers(column: list[Any]) -> list[float]:
    return [float(value) for value in column]


def _smoothed(values: list[float], width: int = 5) -> list[float]:
    """The moving mean of the last values in which anything was served."""
    found = []
    for place in range(len(values)):
        some = [value for value in values[max(0, place - width + 1) : place + 1] if value > 0]
        found.append(sum(some) / len(some) if some else float("nan"))
    return found


def main() -> None:
    """Plays and plots all experiments."""
    DATA.mkdir(parents=True, exist_ok=True)
    documents = []
    for name in EXPERIMENTS:
        result = play(name)
        lines = timeline(result.rows).splitlines(keepends=True)
        (DATA / f"{name}.csv").write_text("".join(lines[:1] + lines[_EVERY::_EVERY]))
        documents.append(document(result, rows=False))
        plot(name, result)
    (DATA / "experiments.json").write_text(json_text(documents) + "\n")


if __name__ == "__main__":
    main()
