"""Builds the report of simulated runs: the verdict, a comparison of policies, the course of runs and the worst moments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from controller.policy.model import Application, Mode
from controller.policy.text import duration
from failover_analysis.report import words
from failover_analysis.report.bills import bill_cells, bill_columns
from failover_analysis.report.model import (
    SCHEMA,
    Column,
    Fact,
    Failure,
    Lane,
    Moment,
    Report,
    Row,
    Span,
    Spread,
    Table,
    Timeline,
    Unit,
)
from failover_analysis.report.played import Played, whole
from failover_analysis.report.points import Point, mode_lane, panels, short_lanes
from failover_analysis.report.worth import failed_or_late, gained
from failover_analysis.simulation.invariants import HARMS
from failover_analysis.simulation.measures import MOMENTS, BadMoment, Judgement
from failover_analysis.simulation.recording import Result

_YEAR_S: Final = 365.25 * 86_400
_DAY_S: Final = 86_400.0
_HOUR_S: Final = 3600.0
_MOST_FAILURES: Final = 20


@dataclass(frozen=True, slots=True)
class Framing:
    """What a report says about its own making.

    Attributes:
        scenario: The simulation's name.
        description: What it shows.
        start: Start time, seconds since the Unix epoch.
        version: Version of the program.
        commit: Its commit; "" if unknown.
        command: The command that makes the report again.
        wall_s: How long it took, seconds.
        application: The simulated application.
        partial: What is missing because the command was stopped; "" if nothing is.
    """

    scenario: str
    description: str
    start: float
    version: str
    commit: str
    command: str
    wall_s: float
    application: Application
    partial: str = ""


_Value = Callable[[Played], float]
_Pooled = Callable[[Played], Sequence[float]]


def _served(one: Played) -> float:
    flow = one.result.totals.flow
    return 1 - flow.lost / flow.demand if flow.demand else 1.0


_RESULT: Final[tuple[tuple[Column, _Value], ...]] = (
    (Column("served", "Served", Unit.SHARE, "Share of all requests that were answered."), _served),
    (
        Column(
            "added_latency_p95", "p95 added latency", Unit.SECONDS,
            "95 % of the answers came from replicas whose mean added latency, over their unit's at its rated throughput, was at most this.",
        ),
        lambda one: one.measured.added_p95_s,
    ),
    (
        Column(
            "failed_or_late", "Failed or late", Unit.COUNT,
            "Requests that failed, or whose replicas' mean latency was over their unit's limit.",
        ),
        failed_or_late,
    ),
    (
        Column(
            "exposed_time", "Exposed", Unit.SECONDS,
            "Time in which demand was beyond what is ready: some of what a unit was sent found no target, was shed, or was late.",
        ),
        lambda one: one.measured.exposed_s,
    ),
    (Column("cost", "Cost", Unit.DOLLARS, "The bill: node-hours at the application file's prices."), lambda one: one.result.totals.dollars),
    (Column("flips", "Mode changes", Unit.COUNT, "Number of mode changes."), lambda one: len(one.result.mode_changes)),
    (
        Column("capacity_time", "In capacity mode", Unit.SHARE, "Share of the time."),
        lambda one: one.result.totals.seconds.get(Mode.CAPACITY.value, 0.0) / (sum(one.result.totals.seconds.values()) or 1.0),
    ),
)  # fmt: skip

_EVENTS: Final[tuple[tuple[Column, _Pooled], ...]] = (
    (
        Column(
            "detect", "Time to detect", Unit.SECONDS,
            "From cost mode sending traffic to a starved unit (pods wait, and EC2 has no capacity) to its proven shortage.",
        ),
        lambda one: one.measured.detected_s,
    ),
    (
        Column(
            "verify", "Time to verify", Unit.SECONDS,
            "From an accepted mode change to the check that found the load balancer following it, with healthy targets.",
        ),
        lambda one: one.measured.verified_s,
    ),
)  # fmt: skip

_WORST: Final = Column("worst_minute", "Worst minute", Unit.SHARE, "Share of the requests answered in the minute with the smallest share.")

_ACCOUNT: Final[tuple[tuple[Column, _Value], ...]] = (
    (
        Column("saved", "Saved by cost mode", Unit.DOLLARS, "How much more the requests of cost mode would have cost in capacity mode."),
        lambda one: one.result.ledger.saved,
    ),
    (
        Column("premium", "Spent on failover", Unit.DOLLARS, "How much more the requests of capacity mode cost than in cost mode."),
        lambda one: one.result.ledger.premium,
    ),
    (
        Column("spend", "Spend", Unit.DOLLARS, "Cost of the replicas that have a node, by the controller's own account."),
        lambda one: one.result.ledger.spend,
    ),
    (
        Column("bill", "Bill", Unit.DOLLARS, "The same cost by node-hours, which the controller does not see."),
        lambda one: one.result.totals.dollars,
    ),
    (
        Column("exposed", "Exposed by proof", Unit.SECONDS, "Time in cost mode in which a unit with weight was proven short."),
        lambda one: one.result.ledger.exposed_s,
    ),
    (
        Column("probe_cost", "Kept by probes", Unit.DOLLARS, "Replicas that only a probe keeps, beyond what their scaler would ask for."),
        lambda one: one.result.ledger.probe_dollars,
    ),
    (
        Column("probing", "Probing", Unit.SECONDS, "Time in which replicas waited only to find out whether capacity had returned."),
        lambda one: one.result.ledger.probing_s,
    ),
    (
        Column("calls_kubernetes", "Kubernetes calls", Unit.COUNT, "Writes, and loads of the memory. All applications share the watches."),
        lambda one: one.result.ledger.calls.get("kubernetes", 0),
    ),
    (
        Column(
            "calls_aws", "AWS calls", Unit.COUNT, "ELBv2 and CloudWatch, retries included. The five-minute polls of EC2 are not modelled."
        ),
        lambda one: sum(count for service, count in one.result.ledger.calls.items() if service != "kubernetes"),
    ),
)


def simulation_report(played: Sequence[Played], framing: Framing) -> Report:
    """The report of some runs.

    Args:
        played: The runs of every policy with every seed, in the order of the policies.
        framing: What the report says about its own making.
    """
    groups = by_name(played)
    compared = {name: runs for name, runs in groups.items() if runs[0].contender.swept is None}
    failed = [one for one in played if one.result.violations]
    return Report(
        schema=SCHEMA,
        kind="simulation",
        title=f"Simulation {framing.scenario}",
        ok=not failed,
        verdict=f"{words.partial(framing.partial)}{verdict(compared, played)}",
        facts=tuple(_facts(groups, played, framing)),
        command=framing.command,
        wall_s=framing.wall_s,
        tables=(_results(compared), *_sensitivity(groups), _accounts(compared)),
        timelines=tuple(_timeline(one, framing) for runs in compared.values() for one in runs if one.result.rows),
        moments=tuple(_moments(played)),
        failures=tuple(_failures(failed)),
        appendix=(_faults(played),) if any(one.result.faults for one in played) else (),
        notes=_notes(played, framing),
    )


# --- the result -------------------------------------------------------------------------------------------------------------------------


def by_name(played: Sequence[Played]) -> dict[str, list[Played]]:
    """The runs by the name of their policy, in the order of the policies."""
    groups: dict[str, list[Played]] = {}
    for one in played:
        groups.setdefault(one.contender.name, []).append(one)
    return groups


def verdict(compared: Mapping[str, Sequence[Played]], played: Sequence[Played]) -> str:
    """One line: what was gained against none and sample, what each policy served at what cost, and whether every invariant held.

    Args:
        compared: The measured runs of the compared policies, by name.
        played: All runs, those of sweeps included.
    """
    parts = []
    for name, runs in compared.items():
        kept = whole(runs)
        served, cost = Spread.of(map(_served, kept)), Spread.of(one.result.totals.dollars for one in kept)
        if served is not None and cost is not None:
            parts.append(f"{name} served {words.share(served.median)} at {words.dollars(cost.median)}")
        if len(kept) < len(runs):
            parts.append(f"{name} was ended early in {len(runs) - len(kept)} of {len(runs)} runs")
    ours = [one for one in played if one.contender.ours]
    violations = sum(len(one.result.violations) for one in ours)
    seconds = sum(one.result.seconds for one in ours)
    span = f"{seconds / _YEAR_S:.1f} simulated years" if seconds >= _YEAR_S else f"{seconds / _DAY_S:.3g} simulated days"
    held = f"{violations} invariant violation{'' if violations == 1 else 's'} in {span}"
    gain = gained(compared)
    return f"{f'{gain}. ' if gain else ''}{'; '.join(parts)}; {held}."


def _facts(groups: Mapping[str, Sequence[Played]], played: Sequence[Played], framing: Framing) -> Iterable[Fact]:
    seeds = sorted({one.result.seed for one in played})
    shown = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]} ({len(seeds)})"
    seconds = max(one.planned_s for one in played)
    begin, end = words.time(framing.start), words.time(framing.start + seconds)
    if framing.partial:
        yield Fact("Partial", framing.partial)
    yield Fact("Scenario", f"{framing.scenario}: {framing.description}")
    yield Fact("Version", framing.version + (f", commit {framing.commit}" if framing.commit else ""))
    yield Fact("Seeds", shown)
    yield Fact("Policies", "; ".join(f"{name} ({runs[0].contender.digest})" for name, runs in groups.items()))
    yield Fact("Simulated", f"{_days(seconds)} each, {begin} to {end} UTC; {len(played)} run{'' if len(played) == 1 else 's'}")


def _days(seconds: float) -> str:
    return f"{seconds / _DAY_S:.6g} days" if seconds >= 2 * _DAY_S else duration(seconds)


def _results(compared: Mapping[str, Sequence[Played]]) -> Table:
    columns = (*(column for column, _ in (*_RESULT, *_EVENTS)), _WORST)
    runs = max(len(one) for one in compared.values())
    spread = (
        f"Median over {runs} seeds, and the range from the 5th to the 95th percentile." if runs > 1 else "One seed: no spread over seeds."
    )
    text = f"{spread} Times to detect and to verify cover all events of all seeds."
    return Table("Policies", text, columns, tuple(Row(name, one[0].contender.words, _cells(one)) for name, one in compared.items()))


def _cells(everything: Sequence[Played]) -> dict[str, Spread | None]:
    runs = whole(everything)
    cells = {column.key: Spread.of(map(value, runs)) for column, value in _RESULT}
    cells |= {column.key: Spread.of(one for run in runs for one in value(run)) for column, value in _EVENTS}
    return cells | {_WORST.key: Spread.of(run.measured.worst_minute for run in runs)}


def _sensitivity(groups: Mapping[str, Sequence[Played]]) -> Iterable[Table]:
    """The effect of each value of a swept field on the first policy, which comes first."""
    swept = [runs for runs in groups.values() if runs[0].contender.swept is not None]
    if not swept:
        return
    columns = (*(column for column, _ in _RESULT), _WORST)
    runs = next(iter(groups.values()))
    rows = [Row(runs[0].contender.name, "", _cells(runs))]
    rows += [Row(" ".join(one[0].contender.swept or ()), "", _cells(one)) for one in swept]
    yield Table("Sensitivity", f"{runs[0].contender.name} with other values of one field and the same seeds.", columns, tuple(rows))


def _accounts(compared: Mapping[str, Sequence[Played]]) -> Table:
    ours = {name: whole(runs) for name, runs in compared.items() if runs[0].contender.ours}
    accounts = {name: [one.result.ledger for one in runs] for name, runs in ours.items()}
    columns = bill_columns(one for some in accounts.values() for one in some)
    rows = []
    for name, runs in ours.items():
        cells = {column.key: Spread.of(map(value, runs)) for column, value in _ACCOUNT}
        rows.append(Row(name, "", cells | (bill_cells(accounts[name]) if columns else {})))
    text = "What the controller's own account says, by the same code as in production, next to the bill."
    return Table("Account", text, (*(column for column, _ in _ACCOUNT), *columns), tuple(rows))


# --- how it went ------------------------------------------------------------------------------------------------------------------------


def _timeline(one: Played, framing: Framing) -> Timeline:
    points = _points(one.result, framing)
    steps, charts = panels(points, framing.application)
    changes = tuple(Span(made.at, made.at, f"to {made.to}: {made.sentence}", "switch") for made in one.result.mode_changes)
    begin, end = framing.start, framing.start + one.result.seconds
    faults = tuple(
        Span(begin + plan.at_s, min(end, begin + plan.at_s + plan.seconds), plan.name, "fault")
        for plan in one.faults
        if begin + plan.at_s < end
    )
    lanes = [mode_lane(points), Lane("mode changes", changes), *short_lanes(points, "cannot grow")]
    lanes += [Lane("faults", faults)] if faults else []
    text = f"Seed {one.result.seed}, steps of {duration(steps.step_s)}"
    text += "" if one.result.totals.flow.lost else "; no request failed"
    text += f"; ended after {duration(one.result.seconds)} because of too many violations" if one.cut else ""
    return Timeline(one.contender.name, text, begin, end, steps.step_s, charts, tuple(lane for lane in lanes if lane.spans))


def _points(result: Result, framing: Framing) -> list[Point]:
    """The rows as points. A row covers the time from the row before it up to its own."""
    throughput = {unit.name: unit.throughput for unit in framing.application.units}
    points, since = [], framing.start
    for row in result.rows:
        answered = sum(row.served.values())
        asked = row.demand * (row.at - since) / framing.application.metric_period_s
        points.append(
            Point(
                at=since,
                seconds=row.at - since,
                mode=row.mode,
                demand=row.demand,
                capacity=sum(count * throughput[name] for name, count in row.ready.items()),
                failed=min(1.0, row.failed / asked) if asked > 0 else None,
                latency_s=sum(row.latency_s[name] * served for name, served in row.served.items()) / answered if answered > 0 else None,
                wanted=row.wanted,
                live=row.live,
                dollars_per_hour=row.dollars_per_hour,
                short=row.out,
            )
        )
        since = row.at
    return points


# --- the worst moments ------------------------------------------------------------------------------------------------------------------


def _moments(played: Sequence[Played]) -> Iterable[Moment]:
    for moment, one, others in _distinct(played)[:MOMENTS]:
        decision, evidence = _decision(moment.decision)
        yield Moment(
            at=moment.at,
            name=one.contender.name,
            seed=one.result.seed,
            words=_bad(moment) + (f"; the same or less bad with {', '.join(others)}" if others else ""),
            decision=decision,
            evidence=evidence,
            command=f"{one.command} --at {words.time(moment.at).replace(' ', 'T')}Z",
        )


def _distinct(played: Sequence[Played]) -> list[tuple[BadMoment, Played, list[str]]]:
    """The bad moments of the controller's policies, the worst first, one of each kind, with the names of the other policies that had it.

    Moments of one kind have the same causes of failure, faults, types without capacity and reason of the decision, at whatever time.
    """
    ours = [one for one in played if one.contender.ours and one.contender.swept is None]
    found = [(moment, one) for one in ours for moment in one.measured.moments]
    found.sort(key=lambda pair: (-pair[0].lost, -pair[0].added_s, pair[0].at))
    kinds: dict[tuple[object, ...], tuple[BadMoment, Played, list[str]]] = {}
    for moment, one in found:
        _, worst, others = kinds.setdefault(_kind(moment), (moment, one, []))
        if one.contender.name not in {worst.contender.name, *others}:
            others.append(one.contender.name)
    return list(kinds.values())


def _kind(moment: BadMoment) -> tuple[object, ...]:
    causes = tuple(name for name, count in moment.failed.items() if count >= 1)
    return causes, moment.faults, moment.out, moment.decision.reason if moment.decision else ""


def _bad(moment: BadMoment) -> str:
    parts = []
    if moment.lost:
        why = ", ".join(f"{count:,.0f} at {name}" for name, count in moment.failed.items() if count >= 1) or "less than one request"
        parts.append(f"{words.share(moment.lost / moment.demand)} of {moment.demand:,.0f} requests of the minute failed ({why})")
    if moment.added_s > 0:
        parts.append(f"answers took {moment.added_s:.2f} s longer than at the rated throughput")
    parts.append(f"the worst of {duration(moment.seconds)}")
    if moment.out:
        parts.append(f"{', '.join(moment.out)} could not grow")
    if moment.faults:
        parts.append(f"faults: {', '.join(moment.faults)}")
    return "; ".join(parts)


def _decision(made: Judgement | None) -> tuple[str, tuple[str, ...]]:
    if made is None:
        return "nothing was decided yet", ()
    held = (f"held back: {made.held}",) if made.held else ()
    return f"{made.verb} ({made.mode})  {made.reason}: {made.sentence}", (f"decided at {words.time(made.at)}", *held, *made.evidence)


# --- what did not hold, and what was survived -------------------------------------------------------------------------------------------


def _failures(failed: Sequence[Played]) -> Iterable[Failure]:
    for one in failed[:_MOST_FAILURES]:
        first = one.result.violations[0]
        names = ", ".join(dict.fromkeys(violation.name for violation in one.result.violations))
        text = f"{names}; first {first.name} at {words.time(first.at)}: {first.text}. Harm: {HARMS[first.name]}"
        yield Failure(one.contender.name, one.result.seed, text, one.command)


def _faults(played: Sequence[Played]) -> Table:
    injected: dict[str, int] = {}
    survived: dict[str, int] = {}
    runs: dict[str, int] = {}
    for one in played:
        for name, times in one.result.faults.items():
            injected[name] = injected.get(name, 0) + times
            runs[name] = runs.get(name, 0) + 1
            survived[name] = survived.get(name, 0) + (0 if one.result.violations else times)
    columns = (
        Column("injected", "Injected", Unit.COUNT, "How often, over all policies and seeds."),
        Column("survived", "Survived", Unit.COUNT, "How often in runs in which every invariant held."),
        Column("runs", "Runs", Unit.COUNT, "In how many runs."),
    )
    rows = [
        Row(name, "", {"injected": _single(injected[name]), "survived": _single(survived[name]), "runs": _single(runs[name])})
        for name in sorted(injected)
    ]
    everything = {"injected": _single(sum(injected.values())), "survived": _single(sum(survived.values())), "runs": _single(len(played))}
    return Table("Faults", "docs/simulation.md says what each is.", columns, (*rows, Row("all", "", everything)))


def _single(value: float) -> Spread:
    return Spread(value, value, value, 1)


def _notes(played: Sequence[Played], framing: Framing) -> tuple[str, ...]:
    seed = min(one.result.seed for one in played)
    ours = [one for one in played if one.contender.ours]
    missed = sum(one.measured.undetected for one in ours)
    unverified = sum(one.measured.unverified for one in ours)
    notes = [f"The timelines are those of seed {seed}. Times are UTC. What the model leaves out: docs/laboratory/simulation.md."]
    if any(one.cut for one in played):
        notes.append(
            "A run ends after 20 violations; runs that ended early are left out of the tables, but the table of faults includes theirs."
        )
    if missed:
        notes.append(f"{missed} times a unit starved too briefly for anything to be proven; those have no time to detect.")
    if unverified:
        notes.append(f"{unverified} mode changes were not verified before the next change or the end; those have no time to verify.")
    if not any(one.result.rows for one in played):
        notes.append(f"No timelines: rowSeconds of {framing.scenario} is 0.")
    return tuple(notes)
