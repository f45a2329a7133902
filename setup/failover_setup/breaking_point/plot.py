"""The plot of a measurement: throughput, latency, errors and accelerator use over the offered rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from controller.errors import ConfigError
from failover_setup.breaking_point.model import Limits, Outcome, Step

SUFFIXES: Final = (".svg", ".png", ".pdf")

_HELD: Final = "#0072B2"  # from the Okabe-Ito palette, which colour-blind readers can distinguish
_BROKE: Final = "#D55E00"
_FOUND: Final = "#009E73"
_GREY: Final = "#777777"


def check(path: Path) -> None:
    """Checks before the load that the plot could be written after it.

    Raises:
        ConfigError: matplotlib is not installed, or the file cannot be a plot.
    """
    if path.suffix not in SUFFIXES:
        raise ConfigError(f"--plot: found {path.name}; allowed: a file that ends with {' | '.join(SUFFIXES)}")
    if not path.resolve().parent.is_dir():
        raise ConfigError(f"--plot: {path.parent} is not a folder; allowed: a file in an existing folder")
    _pyplot()


def draw(path: Path, outcome: Outcome, limits: Limits, title: str) -> None:
    """Draws the plot into a file.

    Raises:
        ConfigError: matplotlib is not installed, or the file cannot be written.
    """
    plt = _pyplot()
    figure, axes = plt.subplots(3, 1, sharex=True, figsize=(8, 7.5), height_ratios=(3, 3, 1.6), layout="constrained")
    _throughput(axes[0], outcome)
    _latency(axes[1], outcome.steps, limits)
    _shares(axes[2], outcome.steps, limits)
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.set_xlim(left=0)
        if outcome.found is not None:
            axis.axvline(outcome.found.rate, color=_FOUND, linewidth=1.2, linestyle="--")
    axes[0].set_title(title, fontsize=10)
    axes[2].set_xlabel("offered, requests per second")
    try:
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=110)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error
    finally:
        plt.close(figure)


def _pyplot() -> Any:  # noqa: ANN401 - a module
    try:
        import matplotlib as mpl
    except ImportError as error:
        missing = "matplotlib is not installed; install it with: pip install 'mixed-accelerator-failover[breaking-point]'"
        raise ConfigError(f"{missing}; or use --no-plot") from error
    mpl.use("Agg")  # no display is needed
    mpl.rcParams["svg.hashsalt"] = "failoverctl"
    from matplotlib import pyplot as plt

    return plt


def _throughput(axis: Any, outcome: Outcome) -> None:  # noqa: ANN401 - matplotlib's axes
    steps = outcome.steps
    top = max((step.rate for step in steps), default=1.0)
    axis.plot([0, top], [0, top], color=_GREY, linewidth=0.8, linestyle=":", label="all answered")
    _points(axis, steps, [step.throughput for step in steps])
    if outcome.found is not None:
        found = outcome.found
        label = f"breaking point: {found.throughput:.4g}/s"
        axis.plot([found.rate], [found.throughput], "*", color=_FOUND, markersize=14, label=label)
    axis.set_ylabel("answered, requests per second")
    axis.set_ylim(bottom=0)
    axis.legend(fontsize=8, loc="lower right")


def _latency(axis: Any, steps: Sequence[Step], limits: Limits) -> None:  # noqa: ANN401 - matplotlib's axes
    _points(axis, steps, [step.p95_s for step in steps])
    held = sorted((step for step in steps if step.held), key=lambda step: step.rate)
    axis.plot([step.rate for step in held], [step.p50_s for step in held], color=_HELD, linewidth=0.8, label="p50 where held")
    axis.axhline(limits.latency_s, color=_GREY, linewidth=0.8)
    axis.text(0.995, limits.latency_s, "limit", fontsize=8, color=_GREY, va="bottom", ha="right", transform=axis.get_yaxis_transform())
    axis.margins(y=0.15)
    axis.set_ylabel("latency p95, s")
    known = [limits.latency_s, *(step.p95_s for step in steps if math.isfinite(step.p95_s) and step.p95_s > 0)]
    if max(known) > 20 * min(known):  # too wide a range for a linear axis
        axis.set_yscale("log")
    else:
        axis.set_ylim(bottom=0)
    axis.legend(fontsize=8, loc="center left")


def _shares(axis: Any, steps: Sequence[Step], limits: Limits) -> None:  # noqa: ANN401 - matplotlib's axes
    rates = [step.rate for step in steps]
    known = [step for step in steps if step.accelerator_use is not None]
    axis.plot(
        rates, [100 * step.error_ratio for step in steps], "x", color=_BROKE, label="errors" if known else "errors (accelerator unknown)"
    )
    if known:
        use = [100 * (step.accelerator_use or 0.0) for step in known]
        axis.plot([step.rate for step in known], use, "s", color="#CC79A7", markersize=4, label="accelerator use")
        axis.axhline(100 * limits.accelerator_use, color=_GREY, linewidth=0.8)
    axis.set_ylabel("%")
    axis.set_ylim(0, 100 if known else None)
    axis.legend(fontsize=8, loc="upper left")


def _points(axis: Any, steps: Sequence[Step], values: Sequence[float]) -> None:  # noqa: ANN401 - matplotlib's axes
    """Draws circles for rates that held and crosses for the others, so that the difference is not in colour alone."""
    for held, marker, colour, label in ((True, "o", _HELD, "held"), (False, "X", _BROKE, "not held")):
        chosen = [(step.rate, value) for step, value in zip(steps, values, strict=True) if step.held is held and math.isfinite(value)]
        axis.plot([rate for rate, _ in chosen], [value for _, value in chosen], marker, color=colour, label=label)
