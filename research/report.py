"""Tables and plot of the results of `research.experiments`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean

from rich.table import Table

from benchmarks.report import percentile
from research.experiments import BEST, Tally
from research.fit import TARGETS
from research.policies import GOAL_CHANGES, GOALS, TABLE
from research.split import DELAY_S, Bill, Played
from research.two_state import GRID, Prices

Found = Mapping[tuple[str, Prices], Sequence[Tally]]


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]], *, text_columns: int = 1) -> Table:
    table = Table(title=title)
    for number, name in enumerate(header):
        table.add_column(name, justify="left" if number < text_columns else "right")
    for row in rows:
        table.add_row(*row)
    return table


def spread(values: Sequence[float], digits: int) -> str:
    """Median, and 5th to 95th percentile."""
    low, middle, high = (f"{percentile(values, share):.{digits}f}" for share in (0.05, 0.5, 0.95))
    return f"{middle} ({low} to {high})" if len(values) > 1 else middle


def fit_table(zones: Sequence[Sequence[float]], seeds: str) -> Table:
    """The model's figures beside those of docs/research/evaluation.md."""
    rows = [
        (target.what, target.given, f"{target.middle:g}", f"{fmean(column):.3g}", spread(column, 2))
        for target, column in zip(TARGETS, zip(*zones, strict=True), strict=True)
    ]
    header = ("figure", "published", "fitted to", "generated: mean", "median (5 to 95 % of the zones)")
    return _table(f"The outage model against its targets, {seeds}", header, rows, text_columns=2)


def ratio_table(found: Found, names: Sequence[str], seeds: str) -> Table:
    """Cost over OPT by policy and prices, with the published figures in brackets."""

    def cell(name: str, number: int) -> str:
        ours = spread([one.ratio for one in found[name, GRID[number]]], 3)
        return f"{ours} [{TABLE[name][number]:.3f}]" if name in TABLE else ours

    rows = [(name, *(cell(name, number) for number in range(len(GRID)))) for name in names]
    rows.append(("goal", *(f"{goal:.2f}" for goal in GOALS)))
    title = f"Cost ÷ OPT: median (5 to 95 % of the seeds), in brackets the published figures; {seeds}"
    return _table(title, ("policy", *(str(prices) for prices in GRID)), rows)


def habits_table(found: Found, names: Sequence[str], seeds: str) -> Table:
    """Mode changes, exposed minutes and needless hours a day; means over the seeds."""
    shown = (GRID[0], GRID[1], GRID[2])

    def mean(name: str, prices: Prices, what: Callable[[Tally], float]) -> str:
        return f"{fmean(what(one) for one in found[name, prices]):.1f}"

    rows = []
    for name in names:
        given = f" [{TABLE[name][4]:.1f}]" if name in TABLE else ""
        changes = [mean(name, prices, lambda one: one.changes_a_day) for prices in shown]
        exposed = [mean(name, prices, lambda one: one.exposed_minutes_a_day) for prices in shown]
        needless = [mean(name, prices, lambda one: one.needless_hours_a_day) for prices in shown]
        rows.append((name, changes[0] + given, *changes[1:], *exposed, *needless))
    rows.append(("goal", f"{GOAL_CHANGES:.1f}", f"{GOAL_CHANGES:.1f}", *[""] * 7))
    header = [f"{what}, {prices}" for what in ("mode changes", "exposed min", "needless h") for prices in shown]
    return _table(f"A day, in brackets the published figures; means, {seeds}", ("policy", *header), rows)


def distance_table(found: Found, quick: Found, delays: tuple[float, float]) -> Table:
    """The goals, the results and the bound: at the delay of one tick, and at a shorter one."""

    def median(of: Found, name: str, prices: Prices) -> str:
        return f"{percentile([one.ratio for one in of[name, prices]], 0.5):.3f}"

    rows = []
    for prices, goal in zip(GRID, GOALS, strict=True):
        each = [median(of, name, prices) for of in (found, quick) for name in ("break-even, doubled on flap", BEST)]
        rows.append((str(prices), f"{goal:.2f}", *each))
    names = [f"{name}, {delay:g} s" for delay in delays for name in ("doubled", BEST)]
    return _table("Cost ÷ OPT (median over the seeds) with a detection delay of one tick", ("prices", "goal", *names), rows)


def unit_table(found: Mapping[tuple[str, str], Tally], prices: Prices, seeds: str) -> Table:
    """Watching a zone against watching the unit."""
    rows = [
        (
            name,
            watched,
            f"{one.needless_hours_a_day:.2f}",
            f"{one.changes_a_day:.1f}",
            f"{one.exposed_minutes_a_day:.1f}",
            f"{one.ratio:.3f}",
        )
        for (name, watched), one in found.items()
    ]
    header = ("policy", "watches", "needless h a day", "mode changes a day", "exposed min a day", "cost ÷ OPT of the unit")
    return _table(f"A zone is not a unit: three zones, {prices}, {seeds}", header, rows, text_columns=2)


def traces_table(title: str, found: Mapping[str, Mapping[tuple[str, Prices], Tally]], names: Sequence[str]) -> Table:
    """Cost over OPT and mode changes a day on single traces."""
    rows = []
    for trace, tallies in found.items():
        for name in names:
            cells = [tallies[name, prices] for prices in GRID]
            rows.append((trace, name, *(f"{one.ratio:.3f} / {one.changes_a_day:.1f}" for one in cells)))
    return _table(f"{title}: cost ÷ OPT / mode changes a day", ("trace", "policy", *(str(prices) for prices in GRID)), rows, text_columns=2)


def split_table(bills: Mapping[str, Bill], seeds: str) -> Table:
    """What the strategies cost relative to the cheapest whole replicas of each moment."""
    names = list(next(iter(bills.values())).at_once)
    rows = []
    for case, bill in bills.items():
        known = (f"{bill.linear:,.0f}", f"{bill.whole:,.0f}", f"{100 * bill.unserved:.1f} %", f"{100 * bill.unforeseen:.2f} %")
        rows.append((case, *known, *_beside(bill.whole, bill.at_once)))
    header = ("demand, capacity", "linear program, $", "whole replicas, $", "unserved", "whole replicas, late without hindsight", *names)
    return _table(f"Cost ÷ whole replicas / requests beyond what is ready, {seeds}", header, rows)


def delay_table(bills: Mapping[str, Bill]) -> Table:
    """The strategies' costs where the metrics are late, relative to the same optimum."""
    names = list(next(iter(bills.values())).delayed)
    rows = [(case, *_beside(bill.whole, bill.delayed)) for case, bill in bills.items()]
    title = f"The same where the controller and KEDA know the requests of {DELAY_S:.0f} s ago, or of the step before where that is longer"
    return _table(title, ("demand, capacity", *names), rows)


def _beside(whole: float, played: Mapping[str, Played]) -> list[str]:
    """What each strategy costs as a multiple of the whole replicas, and its late requests."""
    return [f"{one.paid / whole:.3f} / {100 * one.late:.2f} %" for one in played.values()]


def loss_table(found: Mapping[str, Mapping[str, float]]) -> Table:
    """What the loss of a family costs, see `split.without_a_family`."""
    bills = found[""]
    rows = []
    for name, bill in bills.items():
        late = [f"{100 * found[family][name]:.1f} %" for family in found if family]
        rows.append((name, f"{bill / bills['planned, 0%']:.3f}", *late))
    header = ("policy, what must be left", "bill ÷ that of no loss planned for", *(f"without {family}" for family in found if family))
    title = "A family vanishes at the top of the second day's wave: requests beyond what is ready in the next 10 minutes"
    return _table(title, header, rows)


def plot(curves: Mapping[str, Mapping[Prices, Sequence[tuple[float, float]]]], found: Found, path: Path) -> None:
    """Plots cost over OPT by hold and by patience, with each policy's result as a line.

    Args:
        curves: See `experiments.curves`.
        found: The main experiment.
        path: SVG file; equal values give equal bytes.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "failoverctl"
    from matplotlib import pyplot as plt

    lines = (("break-even, doubled on flap", "tab:orange", "--"), (BEST, "tab:red", ":"))
    figure, grid = plt.subplots(2, len(GRID), figsize=(13, 6.6), sharey="col", layout="constrained")
    for column, prices in enumerate(GRID):
        for row, what in enumerate(("hold", "patience")):
            axes, points = grid[row][column], curves[what][prices]
            axes.plot([x for x, _ in points], [y for _, y in points], "o-", color="tab:blue", markersize=3, label="fixed hold, or patience")
            for name, colour, style in lines:
                middle = percentile([one.ratio for one in found[name, prices]], 0.5)
                axes.axhline(middle, color=colour, linestyle=style, linewidth=1.2, label=name)
            axes.axhline(GOALS[column], color="black", linewidth=0.8, alpha=0.5, label="goal")
            axes.set_xscale("symlog", linthresh=10, linscale=0.6)
            axes.set_xlim(-0.5, points[-1][0] * 1.1)
            ticks = (0, 5, 10, 30, 60, 240, 720) if what == "hold" else (0, 5, 10, 30, 60)
            axes.set_xticks(ticks, [str(tick) for tick in ticks])
            axes.set_xlabel(f"{what}, minutes" + ("" if what == "hold" else " (with the best hold above)"), fontsize=8)
            axes.grid(visible=True, alpha=0.25)
            axes.tick_params(labelsize=8)
            if what == "hold":
                axes.axvline(prices.break_even_s / 60, color="grey", linewidth=0.8)
                axes.set_title(f"{prices} (grey: S/(r-1))", fontsize=9)
        top = max(y for _, y in curves["hold"][prices])
        grid[0][column].set_ylim(1.0, top + 0.01)
    grid[0][0].set_ylabel("cost ÷ OPT", fontsize=9)
    grid[1][0].set_ylabel("cost ÷ OPT", fontsize=9)
    figure.legend(*grid[1][0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=8)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
