"""The tables, the JSON file and the plot of `benchmarks.react`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from failover_setup.breaking_point import measure

ROOT: Final = Path(__file__).parents[1]
RESULT: Final = ROOT / "benchmarks" / "results" / "react.json"
PLOT: Final = ROOT / "docs" / "images" / "react.svg"
DOCS: Final = ROOT / "docs" / "laboratory" / "benchmarks.md"
_BEGIN: Final = "<!-- react: written by `make bench-react` -->"
_END: Final = "<!-- end of react -->"

GOALS: Final = {"p50_trips": 10.0, "p99_ms": 250.0, "rss_mib": 128.0, "idle_cpu": 0.05}
AWS_GOALS: Final = {**GOALS, "rss_mib": 160.0, "idle_cpu": 0.10}
"""With AWS on."""
MASS_S: Final = 10.0
"""Goal for the p99 of a refusal that concerns all applications, seconds."""

Row = Mapping[str, Any]


def percentile(values: Sequence[float], share: float) -> float:
    """The percentile by nearest rank of values in any order; NaN if there are none."""
    return measure.percentile(sorted(values), share)


def document(results: Sequence[Row], machine: Row, source: Row, noise: float, took_s: float) -> dict[str, Any]:
    """The whole run as plain JSON values."""
    return {
        "machine": dict(machine),
        "noise_per_minute": noise,
        "took_s": round(took_s),
        "goals": GOALS,
        "goals_with_aws": AWS_GOALS,
        "source": dict(source),
        "rows": [_row(result) for result in results if not result["mass"]],
        "mass": [_mass(result) for result in results if result["mass"]],
    }


def replaced(made: Row, kept: Row) -> dict[str, Any]:
    """The rows of a run in place of those of the kept result that measured the same, or after all of them; they are marked.

    Args:
        made: See `document`.
        kept: Likewise, of the last complete run.
    """
    new = {key: {_what(row): {**row, "alone": True} for row in made[key]} for key in ("rows", "mass")}
    return {**kept, **{key: list(({_what(row): row for row in kept[key]} | new[key]).values()) for key in new}}


def _what(row: Row) -> tuple[Any, ...]:
    """What a row measured."""
    return row["applications"], bool(row.get("aws")), bool(row.get("churn")), bool(row.get("each"))


def _mass(result: Row) -> dict[str, Any]:
    """A refusal of the NodePool that all applications share, or one for each."""
    times = [ms / 1000 for ms in result["mass"]]
    summary = {
        "first_s": times[0],
        "p50_s": percentile(times, 0.5),
        "p99_s": percentile(times, 0.99),
        "last_s": times[-1],
        "rest_s": result["rest_s"],
        **{f"{name}_cpu_s": seconds for name, seconds in result["cpu_s"].items()},
        "rss_mib": result["busy"]["rss_mib"],
    }
    counts = {
        "applications": result["scenario"]["applications"],
        "aws": result["aws"],
        "each": result["scenario"]["each"],
        "patched": len(times),
        "failed": result["failed"],
        "rest": result["rest"],
    }
    return {**counts, **{key: round(value, 3) for key, value in summary.items()}}


def _row(result: Row) -> dict[str, Any]:
    samples = result["samples"]
    trips = [one["trip"] for one in samples]
    trip = percentile(trips, 0.5)
    ms = {name: [one[name] for one in samples] for name in ("reaction", "first_call", "seen")}
    summary = {
        "applications": result["scenario"]["applications"],
        "aws": result["aws"],
        "churn": result["scenario"]["churn"],
        "samples": len(samples),
        "failed": result["failed"],
        "start_s": round(result["start_s"], 1),
        "noise_per_minute": result["noise"].get("per_minute", 0),
        "reaction_p50_ms": percentile(ms["reaction"], 0.5),
        "reaction_p99_ms": percentile(ms["reaction"], 0.99),
        "reaction_max_ms": max(ms["reaction"], default=math.nan),
        "first_call_p50_ms": percentile(ms["first_call"], 0.5),
        "first_call_p99_ms": percentile(ms["first_call"], 0.99),
        "seen_p50_ms": percentile(ms["seen"], 0.5),
        "seen_p99_ms": percentile(ms["seen"], 0.99),
        "writes_p50": percentile([float(one["writes"]) for one in samples], 0.5),
        "trip_p50_ms": trip,
        "trip_p99_ms": percentile(trips, 0.99),
        "quiet_trip_p50_ms": percentile(result["quiet_trips"], 0.5),
        "quiet_trip_p99_ms": percentile(result["quiet_trips"], 0.99),
        "reaction_p50_trips": percentile(ms["reaction"], 0.5) / trip,
        "rss_mib": max(usage["rss_mib"] for usage in _usages(result).values()),
        "rss_idle_mib": result["idle"]["rss_mib"],
        **{f"{name}_cpu": usage["cpu"] for name, usage in _usages(result).items()},
        **{f"{name}_calls_per_s": rate for name, rate in result["calls"].items()},
    }
    rounded = {key: round(value, 4) if isinstance(value, float) else value for key, value in summary.items()}
    return {**rounded, "reactions_ms": [round(value, 2) for value in ms["reaction"]], "trips_ms": [round(value, 2) for value in trips]}


def _usages(result: Row) -> dict[str, Row]:
    return {name: result[name] for name in ("idle", "noisy", "busy")}


def _goals(row: Row) -> dict[str, float]:
    """The goals of a row; an old result of a refusal for all does not say that AWS was off."""
    return AWS_GOALS if row.get("aws") else GOALS


def reached(row: Row) -> dict[str, bool]:
    """The goals, and whether a row reaches each."""
    goals = _goals(row)
    return {
        "p50_trips": row["reaction_p50_trips"] <= goals["p50_trips"],
        "p99_ms": row["reaction_p99_ms"] <= goals["p99_ms"],
        "rss_mib": row["rss_mib"] <= goals["rss_mib"],
        "idle_cpu": row["idle_cpu"] <= goals["idle_cpu"],
    }


def _label(row: Row) -> str:
    kinds = [words for key, words in (("aws", "AWS on"), ("churn", "churn"), ("each", "a refusal each")) if row.get(key)]
    return ", ".join((f"{row['applications']:,}", *kinds)) + (" *" if row.get("alone") else "")


_TIMES: Final = ("applications", "samples", "p50", "p99", "in patches", "writes", "bare patch p50", "p99", "without noise p50")
_USES: Final = ("applications", "memory", "CPU idle", "CPU noise", "CPU refusals", "calls/s idle", "noise", "refusals")


def _mark(row: Row, goal: str, text: str) -> str:
    """Adds an exclamation mark to a figure that misses its goal."""
    return text if reached(row)[goal] else f"{text} !"


def times(row: Row) -> tuple[str, ...]:
    """A row of the first table."""
    return (
        _label(row),
        f"{row['samples']}" + (f" ({len(row['failed'])} failed)" if row["failed"] else ""),
        f"{row['reaction_p50_ms']:.1f} ms",
        _mark(row, "p99_ms", f"{row['reaction_p99_ms']:.1f} ms"),
        _mark(row, "p50_trips", f"{row['reaction_p50_trips']:.1f}"),
        f"{row['writes_p50']:.0f}",
        f"{row['trip_p50_ms']:.1f} ms",
        f"{row['trip_p99_ms']:.1f} ms",
        f"{row['quiet_trip_p50_ms']:.1f} ms",
    )


def uses(row: Row) -> tuple[str, ...]:
    """A row of the second table."""
    return (
        _label(row),
        _mark(row, "rss_mib", f"{row['rss_mib']:.0f} MiB"),
        _mark(row, "idle_cpu", f"{row['idle_cpu'] * 100:.1f} %"),
        f"{row['noisy_cpu'] * 100:.1f} %",
        f"{row['busy_cpu'] * 100:.1f} %",
        f"{row['idle_calls_per_s']:.2f}",
        f"{row['noisy_calls_per_s']:.2f}",
        f"{row['busy_calls_per_s']:.2f}",
    )


_AWS: Final = (
    "applications",
    "verified",
    "first within",
    "longest gap",
    "metrics",
    "first within",
    "longest gap",
    "ELBv2",
    "CloudWatch",
    "EC2, quotas",
)


def aws_uses(row: Row) -> tuple[str, ...]:
    """A row of the third table: what was asked of AWS."""
    use = row["aws"]
    rates = {"elbv2": 0.0, "cloudwatch": 0.0, "others": 0.0}
    for operation, rate in use["calls_per_s"].items():
        rates["cloudwatch" if "Metric" in operation else "elbv2" if operation in _ELBV2 else "others"] += rate
    return (
        _label(row),
        f"{use['verified']:,}",
        f"{use['verified_first_s']:.0f} s",
        f"{use['verified_gap_s']:.0f} s",
        f"{use['measured']:,}",
        f"{use['measured_first_s']:.0f} s",
        f"{use['measured_gap_s']:.0f} s",
        *(f"{rate:.2f} calls/s" for rate in rates.values()),
    )


_ELBV2: Final = frozenset({"DescribeLoadBalancers", "DescribeListeners", "DescribeRules", "DescribeTargetHealth"})

_MASS: Final = (
    "applications",
    "first",
    "median",
    "p99",
    "last",
    "floors, memory, Events",
    "CPU a failover: controller",
    "API server",
    "etcd",
    "memory",
)


def mass(row: Row) -> tuple[str, ...]:
    """A row of the fourth table: one refusal for all."""
    each = {name: 1000 * row[f"{name}_cpu_s"] / max(1, row["patched"]) for name in ("controller", "kube-apiserver", "etcd")}
    return (
        _label(row) + (f" ({len(row['failed'])} failed)" if row["failed"] else ""),
        f"{row['first_s']:.2f} s",
        f"{row['p50_s']:.1f} s",
        f"{row['p99_s']:.1f} s" + ("" if row["p99_s"] <= MASS_S else " !"),
        f"{row['last_s']:.1f} s",
        f"{row['rest_s']:.1f} s",
        *(f"{ms:.0f} ms" for ms in each.values()),
        f"{row['rss_mib']:.0f} MiB" + ("" if row["rss_mib"] <= _goals(row)["rss_mib"] else " !"),
    )


_Table = tuple[str, Sequence[str], list[tuple[str, ...]]]


def _tables(made: Mapping[str, Any]) -> list[_Table]:
    """Title, header and cells of each table that has rows."""
    rows = made["rows"]
    tables: list[_Table] = [
        ("From InsufficientCapacityError to the patched Ingress", _TIMES, [times(row) for row in rows]),
        ("Resource usage of the controller (CPU: share of one core)", _USES, [uses(row) for row in rows]),
        ("What it asks of AWS", _AWS, [aws_uses(row) for row in rows if row["aws"]]),
        ("One refusal of a NodePool that all share, to the patched Ingresses", _MASS, [mass(row) for row in made["mass"]]),
    ]
    return [one for one in tables if one[2]]


def _sample_sentence(source: Row) -> str:
    return (
        f"The AWS sample's checker, computed: p50 {source['p50_s']:.0f} s, p99 {source['p99_s']:.0f} s for refusals that it detects; "
        f"it misses {source['missed'] * 100:.1f} %."
    )


def write(made: Mapping[str, Any], *, docs: bool, replace: bool = False) -> None:
    """Prints the table; writes the JSON file, and with `docs` the plot and the table of docs/laboratory/benchmarks.md.

    Args:
        made: See `document`.
        docs: Whether the run was complete.
        replace: Whether its rows take the place of those in the result and the docs of the last complete run.
    """
    console = Console()
    for title, header, rows in _tables(made):
        table = Table(title=title)
        for name in header:
            table.add_column(name, justify="right")
        for cells in rows:
            table.add_row(*cells)
        console.print(table)
    console.print(_sample_sentence(made["source"]))
    if replace:
        made, docs = replaced(made, json.loads(RESULT.read_text())), True
    path = RESULT if docs else RESULT.with_name("react-partial.json")
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(made, indent=1) + "\n")
    print(f"written: {path.relative_to(ROOT)}")
    if docs:
        _plot(made)
        _document(made)


def _document(made: Mapping[str, Any]) -> None:
    size = made["machine"]
    alone = any(row.get("alone") for row in (*made["rows"], *made["mass"]))
    lines: list[str] = []
    for title, header, rows in _tables(made):
        lines += ["", f"{title}:", "", "| " + " | ".join(header) + " |", "|" + "---:|" * len(header)]
        lines += ["| " + " | ".join(cells) + " |" for cells in rows]
    lines += [
        "",
        *(["\\* Measured later, in a run of its own; the rest is of one run.", ""] if alone else []),
        f"{size['cores']} cores, {size['memory_gib']:.0f} GiB of memory, Python {size['python']}; everything on one machine; "
        f"{made['took_s'] / 60:.0f} minutes. {_sample_sentence(made['source'])}",
        "",
        f"![Distribution of the reaction and of the bare patch](../{PLOT.relative_to(DOCS.parents[1])})",
        "",
    ]
    before, _, rest = DOCS.read_text().partition(_BEGIN)
    _, _, after = rest.partition(_END)
    DOCS.write_text(f"{before}{_BEGIN}\n" + "\n".join(lines) + f"\n{_END}{after}")


def _plot(made: Mapping[str, Any]) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "failoverctl"
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4.2))
    for row, style in zip(made["rows"], ("-", "--", ":", "-."), strict=False):
        for key, colour, what in (("reactions_ms", "tab:blue", "reaction"), ("trips_ms", "tab:gray", "bare patch")):
            values = sorted(row[key])
            shares = [(index + 1) / len(values) for index in range(len(values))]
            axes.step(values, shares, style, color=colour, where="post", label=f"{what}, {_label(row)} application(s)")
    axes.axvline(GOALS["p99_ms"], color="tab:red", linewidth=0.8)
    axes.text(GOALS["p99_ms"], 0.02, " goal for p99", color="tab:red", fontsize=8)
    axes.set(xscale="log", xlabel="milliseconds", ylabel="share of samples", ylim=(0, 1))
    axes.set_title(f"From the event to the patched Ingress, under {made['noise_per_minute']:,.0f} events/min", fontsize=10)
    axes.legend(fontsize=7, loc="center right")
    axes.grid(visible=True, which="both", alpha=0.2)
    PLOT.parent.mkdir(exist_ok=True)
    figure.tight_layout()
    figure.savefig(PLOT, metadata={"Date": None})
    plt.close(figure)
    print(f"written: {PLOT.relative_to(ROOT)}")
