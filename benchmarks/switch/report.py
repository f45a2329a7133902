"""The tables, the JSON file and the plot of a run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks.report import ROOT, percentile
from benchmarks.switch.history import History, ModeChange
from benchmarks.switch.plan import Lane
from benchmarks.switch.requests import Outcome
from benchmarks.switch.result import Result

RESULT: Final = ROOT / "benchmarks" / "results" / "switch.json"
PLOT: Final = ROOT / "docs" / "images" / "switch.svg"
DOCS: Final = ROOT / "docs" / "laboratory" / "benchmarks.md"
_BEGIN: Final = "<!-- switch: written by `make bench-switch` -->"
_END: Final = "<!-- end of switch -->"

Row = dict[str, Any]


# --- from a result to plain values ------------------------------------------------------------------------------------------------------


def document(result: Result, machine: Mapping[str, Any], took_s: float) -> Row:
    """The whole run as plain JSON values."""
    pinned = [lane for lane in result.plan.lanes if lane.ours]
    changes = [change for lane in pinned for key in lane.keys for change in result.histories[key].mode_changes]
    return {
        "machine": dict(machine),
        "took_s": round(took_s),
        "seconds": result.plan.seconds,
        "goal": result.plan.goal,
        "switches": len(changes),
        "rate": {
            "wanted": sum(one.wanted for one in result.rates),
            "reached": round(sum(one.reached for one in result.rates), 1),
            "late_p99_ms": round(max(one.late_p99_s for one in result.rates) * 1000, 1),
            "unsent": sum(one.unsent for one in result.rates),
            "valid": all(one.valid for one in result.rates),
        },
        "busy_cores": round(result.cpu, 2),
        "problems": result.log.problems[:20],
        "directions": _directions(pinned, result),
        "lanes": [_lane(lane, result) for lane in result.plan.lanes],
        "naive": _naive(result),
        "timeline": _timeline(result),
    }


def _directions(lanes: Iterable[Lane], result: Result) -> list[Row]:
    """Mode changes by style and direction: number, duration, and failed requests until the next mode change."""
    found: dict[tuple[str, str, str], tuple[list[ModeChange], int]] = {}
    for lane in lanes:
        for key in lane.keys:
            changes, outcome = result.histories[key].mode_changes, result.outcomes[key]
            for change in changes:
                label = (lane.budget, lane.style, str(change.mode)) if not _world(lane) else ("worlds", lane.style, str(change.mode))
                known, failed = found.setdefault(label, ([], 0))
                found[label] = ([*known, change], failed + _failed_after(change, changes, outcome))
    return [
        {"budget": budget, "style": style, "direction": f"to {mode}", "failed": failed, **_times(changes)}
        for (budget, style, mode), (changes, failed) in sorted(found.items())
        if budget != "worlds"
    ]


def _world(lane: Lane) -> bool:
    """Whether the load-balancer controller, stickiness or missing standby rules delay a lane's mode changes."""
    return bool(lane.lose or lane.faults.lag_s > 1 or lane.clients or lane.driver == "late-rules")


def _failed_after(change: ModeChange, changes: Sequence[ModeChange], outcome: Outcome) -> int:
    """Unexplained failed requests from a mode change to the next."""
    later = [other.routed_at for other in changes if other.routed_at > change.routed_at]
    until = min(later, default=float("inf"))
    return sum(change.routed_at <= end < until for _, end in outcome.failures)


def _times(changes: Sequence[ModeChange]) -> Row:
    shown = [one.modified_at - one.decided_at for one in changes if one.modified_at is not None]
    verified = [one.verified_at - one.decided_at for one in changes if one.verified_at is not None]
    return {
        "switches": len(changes),
        "verified": len(verified),
        "shown_p50_s": _rounded(percentile(shown, 0.5)),
        "shown_p99_s": _rounded(percentile(shown, 0.99)),
        "verified_p50_s": _rounded(percentile(verified, 0.5)),
        "verified_p99_s": _rounded(percentile(verified, 0.99)),
    }


def _rounded(value: float) -> float | None:
    """Rounds for JSON, which has no NaN."""
    return round(value, 2) if value == value else None  # noqa: PLR0124 - NaN differs from itself


def _lane(lane: Lane, result: Result) -> Row:
    seen = [result.histories[key] for key in lane.keys]
    requests = [result.outcomes[key] for key in lane.keys]
    kinds: Counter[str] = Counter()
    for one in requests:
        kinds.update(one.kinds)
    return {
        "lane": lane.name,
        "style": lane.style,
        "driver": lane.driver,
        "world": _world(lane),
        "applications": lane.count,
        "reweights": sum(one.reweights for one in seen),
        "requests": sum(one.requests for one in requests),
        "failed": sum(one.failed for one in requests),
        "by_death": sum(one.by_death for one in requests),
        "unexplained": sum(one.unexplained for one in requests),
        "in_flight": sum(one.in_flight for one in requests),
        "kinds": dict(kinds),
        "deaths": sum(death.key in lane.keys for death in result.log.deaths),
        **_times([change for one in seen for change in one.mode_changes]),
        **_care(seen),
    }


def _care(seen: Sequence[History]) -> Row:
    """Alerts, nudges and lowered floors, and their delays."""
    changes = [change for one in seen for change in one.mode_changes]
    lowered = [low for one in seen for low in one.lowered]
    waited = [low.after_s for low in lowered if low.after_s is not None]
    return {
        "alerts_s": [_rounded(alert - _last(alert, changes)) for one in seen for alert in one.alerts],
        "nudges_s": [_rounded(nudge - _last(nudge, changes)) for one in seen for nudge in one.nudges],
        "lowered": len(lowered),
        "early": sum(low.early for low in lowered),
        "soonest_s": _rounded(min(waited)) if waited else None,
    }


def _last(at: float, changes: Iterable[ModeChange]) -> float:
    """When the last mode change before a moment was written."""
    return max((one.routed_at for one in changes if one.routed_at <= at), default=at)


def _naive(result: Result) -> Row:
    keys = [key for lane in result.plan.lanes if lane.driver == "patch" for key in lane.keys]
    lengths = [window.length_s for window in result.windows]
    return {
        "switches": len(result.windows),
        "requests": sum(result.outcomes[key].requests for key in keys),
        "failed": sum(result.outcomes[key].failed for key in keys),
        "cut": sum(window.cut for window in result.windows),
        "window_p50_s": _rounded(percentile(lengths, 0.5)),
        "window_max_s": _rounded(max(lengths, default=float("nan"))),
        "windows_s": [round(length, 2) for length in lengths],
    }


def _timeline(result: Result) -> Row:
    """Failed requests per second and times of mode changes, in seconds since the load began."""
    naive = [key for lane in result.plan.lanes if lane.driver == "patch" for key in lane.keys]
    ours = [key for lane in result.plan.lanes if lane.ours and not lane.crashes for key in lane.keys]

    def by_second(keys: Iterable[str]) -> dict[str, int]:
        ends = [int(end - result.began) for key in keys for _, end in result.outcomes[key].failures]
        return {str(second): count for second, count in sorted(Counter(ends).items())}

    return {
        "naive": by_second(naive),
        "ours": by_second(ours),
        "naive_switches": [round(window.at - result.began, 1) for window in result.windows],
        "our_switches": sorted(round(s.routed_at - result.began, 1) for key in ours for s in result.histories[key].mode_changes),
    }


# --- what it says -----------------------------------------------------------------------------------------------------------------------


def faults(made: Mapping[str, Any]) -> list[str]:
    """Why a run is invalid or failed its goals; empty if it did neither."""
    found = []
    if not made["rate"]["valid"]:
        found.append(
            f"invalid: {made['rate']['reached']} of {made['rate']['wanted']:.0f} requests/s, late p99 {made['rate']['late_p99_ms']} ms"
        )
    if made["switches"] < max(1, made["goal"]):
        found.append(f"only {made['switches']} switches")
    found += [
        f"{row['lane']}: {row['unexplained']} failed requests"
        for row in made["lanes"]
        if row["driver"] in {"pins", "late-rules"} and row["unexplained"]
    ]
    found += [f"{row['lane']}: lowered early, {row['early']} times" for row in made["lanes"] if row["early"]]
    if not made["naive"]["failed"]:
        found.append("the naive mode change shows no failed request, so the benchmark would not detect any")
    return found


def verdict(made: Mapping[str, Any]) -> int:
    """The exit code."""
    return 1 if faults(made) else 0


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"


_DIRECTIONS: Final = (
    "style",
    "direction",
    "ELBv2 calls/s",
    "mode changes",
    "failed requests",
    "in ELBv2 p50",
    "p99",
    "verified p50",
    "p99",
)
_LANES: Final = (
    "applications",
    "",
    "changed by",
    "mode changes",
    "re-weighted",
    "requests",
    "failed",
    "by a crashed pod",
    "others",
    "of those in flight",
)
_NAIVE: Final = ("mode changes", "requests", "failed", "cut in flight", "503 window p50", "longest")
_WORLDS: Final = (
    "conditions",
    "mode changes",
    "verified",
    "requests",
    "failed",
    "in ELBv2 after",
    "verified after",
    "alert after",
    "nudged after",
    "lowered",
    "early",
    "soonest after ELBv2 showed it",
)


def _direction(row: Mapping[str, Any]) -> tuple[str, ...]:
    calls = "1 (as shipped)" if row["budget"] == "shipped" else "20"
    times = [_seconds(row[name]) for name in ("shown_p50_s", "shown_p99_s", "verified_p50_s", "verified_p99_s")]
    return (row["style"], row["direction"], calls, f"{row['switches']:,}", f"{row['failed']}", *times)


def _lane_cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    who = {"pins": "our controller", "late-rules": "our controller", "patch": "one patch", "": "nobody"}[row["driver"]]
    counts = (f"{row['switches']:,}", f"{row['reweights']:,}", f"{row['requests']:,}", f"{row['failed']:,}", f"{row['by_death']:,}")
    name = f"{row['lane']} ({row['deaths']} pods crash)" if row["deaths"] else row["lane"]
    return (name, f"{row['applications']}", who, *counts, f"{row['unexplained']:,}", f"{row['in_flight']:,}")


def _naive_cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    counts = tuple(f"{row[name]:,}" for name in ("switches", "requests", "failed", "cut"))
    return (*counts, _seconds(row["window_p50_s"]), _seconds(row["window_max_s"]))


def _world_cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    alerts, nudges = (", ".join(f"{value:.0f} s" for value in row[name]) or "-" for name in ("alerts_s", "nudges_s"))
    return (
        row["lane"],
        f"{row['switches']}",
        f"{row['verified']}",
        f"{row['requests']:,}",
        f"{row['failed']}",
        _seconds(row["shown_p50_s"]),
        _seconds(row["verified_p50_s"]),
        alerts,
        nudges,
        f"{row['lowered']}",
        f"{row['early']}",
        _seconds(row["soonest_s"]),
    )


def _tables(made: Mapping[str, Any]) -> list[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
    return [
        ("Mode changes under load", _DIRECTIONS, [_direction(row) for row in made["directions"]]),
        ("Requests", _LANES, [_lane_cells(row) for row in made["lanes"]]),
        ("The naive mode change: one patch, no standby rules", _NAIVE, [_naive_cells(made["naive"])]),
        ("When the load balancer lags, loses or sticks", _WORLDS, [_world_cells(row) for row in made["lanes"] if row["world"]]),
    ]


def _closing(made: Mapping[str, Any]) -> str:
    load, size = made["rate"], made["machine"]
    return (
        f"{made['switches']:,} mode changes in {made['seconds']:.0f} s at {load['reached']:.0f} requests/s, sent at most "
        f"{load['late_p99_ms']:.0f} ms late (p99), none left out. {size['cores']} cores, of which {made['busy_cores']:.1f} were busy; "
        f"Python {size['python']}; everything on one machine."
    )


def write(made: Mapping[str, Any], *, docs: bool) -> None:
    """Prints the tables; writes the JSON file, and with `docs` the plot and the tables of docs/laboratory/benchmarks.md.

    Args:
        made: See `document`.
        docs: Whether the run was complete.
    """
    console = Console(width=170)
    for title, header, rows in _tables(made):
        table = Table(title=title)
        for name in header:
            table.add_column(name, justify="left" if name == header[0] else "right")
        for row in rows:
            table.add_row(*row)
        console.print(table)
    console.print(_closing(made))
    for row in made["lanes"]:
        if row["kinds"]:
            console.print(f"{row['lane']}: {row['kinds']}")
    for problem in (*made["problems"], *faults(made)):
        console.print(f"! {problem}")
    path = RESULT if docs else RESULT.with_name("switch-partial.json")
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(made, indent=1) + "\n")
    if docs:
        _plot(made, PLOT)
        _document(made)


def _document(made: Mapping[str, Any]) -> None:
    lines: list[str] = []
    for title, header, rows in _tables(made):
        lines += ["", f"{title}:", "", "| " + " | ".join(header) + " |", "|---|" + "---:|" * (len(header) - 1)]
        lines += ["| " + " | ".join(row) + " |" for row in rows]
    lines += ["", _closing(made), "", f"![Failed requests over time](../{PLOT.relative_to(DOCS.parents[1])})", ""]
    before, _, rest = DOCS.read_text().partition(_BEGIN)
    _, _, after = rest.partition(_END)
    DOCS.write_text(f"{before}{_BEGIN}\n" + "\n".join(lines) + f"\n{_END}{after}")


def _plot(made: Mapping[str, Any], path: Path) -> None:
    """Plots the whole run, and below it one naive mode change in detail."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "failoverctl"
    from matplotlib import pyplot as plt

    line, seconds = made["timeline"], int(made["seconds"])
    figure, panels = plt.subplots(2, 1, figsize=(9, 5.6))
    for panel in panels:
        for name, colour, what in (("naive", "tab:red", "one patch, no standby rules"), ("ours", "tab:blue", "failoverctl")):
            counts = [line[name].get(str(second), 0) for second in range(seconds + 1)]
            times = line["naive_switches" if name == "naive" else "our_switches"]
            total = f"{what}: {sum(counts):,} failed requests in {len(times):,} mode changes"
            panel.step(range(seconds + 1), counts, where="post", color=colour, linewidth=1.2, label=total)
        panel.plot(line["our_switches"], [-1.5] * len(line["our_switches"]), "|", color="tab:blue", markersize=5)
        panel.plot(line["naive_switches"], [-3.0] * len(line["naive_switches"]), "|", color="tab:red", markersize=7)
        panel.set(ylabel="failed requests/s")
        panel.grid(visible=True, alpha=0.2)
    lengths = made["naive"]["windows_s"]
    at = line["naive_switches"][lengths.index(max(lengths))] if lengths else 0.0
    most = max([*line["naive"].values(), *line["ours"].values(), 10])
    panels[0].set(xlim=(0, seconds), ylim=(-5, 1.4 * most), title="Failed requests under load; ticks below: mode changes")
    panels[0].legend(fontsize=8, loc="upper left", ncols=2)
    panels[1].set(xlim=(at - 3, at + 27), xlabel="seconds since the load began", title="The longest window of a naive mode change")
    path.parent.mkdir(exist_ok=True)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
