"""A run as text, JSON and tables, the verdict first."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from controller.clock import format_rfc3339
from controller.policy.account import Ledger
from controller.policy.text import duration
from failover_analysis.simulation.invariants import HARMS
from failover_analysis.simulation.recording import Result, Row

_DAY_S: Final = 86_400.0
_SHOWN: Final = 12


def text(result: Result, replay: str) -> str:
    """One run as text for people.

    Args:
        result: The run.
        replay: The command that runs it again.
    """
    totals, days = result.totals, result.seconds / _DAY_S
    lost = totals.flow.lost
    share = lost / totals.flow.demand if totals.flow.demand else 0.0
    failed = ", ".join(f"{count:,.0f} at {why}" for why, count in sorted(totals.flow.failed.items())) or "none"
    modes = ", ".join(f"{name} {duration(seconds)}" for name, seconds in sorted(totals.seconds.items()))
    writes = ", ".join(f"{count} {kind}" for kind, count in sorted(totals.writes.items())) or "none"
    lines = [
        verdict(result),
        f"  {days:g} days, {totals.passes} passes, digest {result.digest[:16]}",
        f"  requests   {totals.flow.demand:,.0f}, failed {share:.3%} ({failed})",
        f"  latency    {', '.join(f'{name} {value:.2f} s' for name, value in latencies(result).items())}",
        f"  time       {modes}; exposed {duration(totals.exposed_s)}",
        f"  cost       ${totals.dollars:,.2f} of instances; cost mode saved ${result.ledger.saved:,.2f}, "
        f"capacity mode cost ${result.ledger.premium:,.2f} more (by the controller's own account, spend ${result.ledger.spend:,.2f})",
        f"  account    {_account(result.ledger)}",
        *_bills(result.ledger),
        f"  changes    {len(result.mode_changes)} ({len(result.mode_changes) / days:.2f} a day), "
        f"{sum(one.needless for one in result.mode_changes)} needless",
        f"  writes     {writes}; {totals.refused} refused",
        f"  our harm   {totals.harm:,.0f} requests failed after a change and would have been served without it",
    ]
    lines += [f"    {format_rfc3339(one.at)} to {one.to}: {one.sentence}" for one in result.mode_changes[:_SHOWN]]
    if len(result.mode_changes) > _SHOWN:
        lines.append(f"    and {len(result.mode_changes) - _SHOWN} more")
    if result.faults:
        lines.append(f"  faults     {', '.join(f'{name} {count}' for name, count in result.faults.items())}")
    for one in result.violations:
        lines += [f"  ✖ {one.name} at {format_rfc3339(one.at)}: {one.text}", f"    harm: {HARMS[one.name]}"]
    if result.violations:
        lines.append(f"  again      {replay}")
    return "\n".join(lines)


def _account(ledger: Ledger) -> str:
    calls = ", ".join(f"{count:,.0f} {service}" for service, count in sorted(ledger.calls.items())) or "none"
    probes = f"probes waited {duration(ledger.probing_s)} and kept replicas for ${ledger.probe_dollars:,.2f}"
    return f"exposed {duration(ledger.exposed_s)}; {probes}; calls {calls}"


def _bills(ledger: Ledger) -> list[str]:
    """The bill beside two others, in a line; none where the policy compares nothing."""
    if not ledger.compared_s:
        return []
    weights, best = f"${ledger.weights_spend:,.2f} for the weights of the application file", f"${ledger.least_spend:,.2f} for the optimum"
    spent = f"${ledger.compared_spend:,.2f} in {duration(ledger.compared_s)} with known demand"
    return [f"  bills      {spent}; {weights}, {best} with hindsight"]


def verdict(result: Result) -> str:
    """The verdict in one line."""
    if result.violations:
        names = ", ".join(dict.fromkeys(one.name for one in result.violations))
        return f"✖ {result.name}, seed {result.seed}: {len(result.violations)} invariant violation(s): {names}"
    return f"✔ {result.name}, seed {result.seed}: every invariant held"


def latencies(result: Result) -> dict[str, float]:
    """Mean latency by unit, seconds, of the units that served."""
    return {name: flow.latency / flow.requests for name, flow in result.totals.flow.units.items() if flow.requests > 0}


def document(result: Result, *, rows: bool) -> dict[str, Any]:
    """One run as a JSON document.

    Args:
        result: The run.
        rows: Whether to include the timeline.
    """
    made = asdict(result)
    made["days"] = result.seconds / _DAY_S
    made["switches"] = [{**asdict(one), "at": format_rfc3339(one.at)} for one in result.mode_changes]
    made["violations"] = [{**asdict(one), "at": format_rfc3339(one.at), "harm": HARMS[one.name]} for one in result.violations]
    made["latency_s"] = latencies(result)
    if not rows:
        del made["rows"]
    return made


def json_text(documents: Sequence[Mapping[str, Any]]) -> str:
    """Several runs as one JSON document."""
    return json.dumps(list(documents), indent=1, sort_keys=True)


_BY_UNIT: Final = ("served", "latency_s", "ready", "desired", "pending")
_BY_SERVICE: Final = ("wanted", "live")


def timeline(rows: Iterable[Row]) -> str:
    """The timeline as CSV."""
    rows = list(rows)
    if not rows:
        return ""
    services = list(dict.fromkeys(name for row in rows for name in (*row.wanted, *row.live)))
    units = list(rows[0].served)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    by_unit = [f"{what} {name}" for what in _BY_UNIT for name in units]
    by_service = [f"{what} {name}" for what in _BY_SERVICE for name in services]
    writer.writerow(["time", "mode", "demand", "failed", *by_unit, *by_service, "dollars_per_hour", "out", "faults"])
    for row in rows:
        unit_values = [_number(getattr(row, what)[name]) for what in _BY_UNIT for name in units]
        weights = [getattr(row, what).get(name, "") for what in _BY_SERVICE for name in services]
        head = [format_rfc3339(row.at), row.mode, _number(row.demand), _number(row.failed)]
        writer.writerow([*head, *unit_values, *weights, _number(row.dollars_per_hour), " ".join(row.out), " ".join(row.faults)])
    return out.getvalue()


def _number(value: float) -> str:
    return f"{value:.4f}".rstrip("0").rstrip(".")
