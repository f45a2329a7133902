"""Builds the report of a replay: how a recorded application went, and how it would have gone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from controller.policy.account import Ledger, placed, total_demand
from controller.policy.model import ActionKind, Application, Decision, Mode, Snapshot, Verdict
from controller.policy.text import duration
from controller.recording.lines import Recorded
from controller.routing.conclusion import conclude
from failover_analysis.replay.rerun import Moment as Replayed
from failover_analysis.replay.tally import Course, Tally
from failover_analysis.report import words
from failover_analysis.report.bills import bill_cells, bill_columns
from failover_analysis.report.model import SCHEMA, Column, Fact, Lane, Moment, Report, Row, Span, Spread, Table, Timeline, Unit
from failover_analysis.report.points import Point, mode_lane, panels, short_lanes

_LONGEST_S: Final = 300.0  # that one line accounts for, as in `controller.policy.account.ledger`
_MOST_POINTS: Final = 100_000
_MOST_MOMENTS: Final = 5
_APART_S: Final = 60.0  # notable moments closer together count as one
_RECORDED, _WHAT_IF = "recorded", "what if"


@dataclass(frozen=True, slots=True)
class Framing:
    """What a report says about its own making.

    Attributes:
        files: The replayed files.
        question: The question that the replay answers.
        version: Version of the program that decides now.
        commit: Its commit; "" if unknown.
        command: The command that makes the report again.
        wall_s: How long it took, seconds.
        partial: What is missing because the command was stopped; "" if nothing is.
    """

    files: tuple[str, ...]
    question: str
    version: str
    commit: str
    command: str
    wall_s: float
    partial: str = ""


@dataclass(slots=True)
class _Side:
    """One course of an application over time."""

    points: list[Point] = field(default_factory=list)
    thinned: int = 1
    _skipped: int = 0

    def add(self, snapshot: Snapshot, decision: Decision, mode: Mode | None) -> None:
        """Adds one decision. Of very long recordings only every second, fourth, … point is kept."""
        self._skipped += 1
        if self._skipped < self.thinned:
            return
        self._skipped = 0
        self.points.append(_point(snapshot, decision, mode))
        if len(self.points) >= _MOST_POINTS:
            self.points, self.thinned = self.points[::2], self.thinned * 2


@dataclass(slots=True)
class _Verifications:
    """How soon the load balancer was seen to follow a recorded mode change."""

    seconds: list[float] = field(default_factory=list)
    _since: float | None = None

    def add(self, recorded: Recorded) -> None:
        """Adds one recorded decision."""
        routing = recorded.snapshot.routing
        seen = routing.verification
        known = seen is not None and seen.verdict is Verdict.YES and seen.action == routing.action
        if self._since is not None and known and seen is not None and seen.at >= self._since:
            self.seconds.append(seen.at - self._since)
            self._since = None
        routed = any(one.applied and one.kind == ActionKind.ROUTE for one in recorded.decided.requests)
        if routed and recorded.decided.verb in {"failover", "fallback", "rollback"}:
            self._since = recorded.done


@dataclass(slots=True)
class _Candidates:
    """Notable moments: of each kind the worst ones that are far enough apart."""

    found: list[tuple[float, Moment]] = field(default_factory=list)

    def offer(self, badness: float, moment: Moment) -> None:
        """Offers one more moment. Of two close to each other the worse one stays."""
        near = next((place for place, (_, one) in enumerate(self.found) if abs(one.at - moment.at) < _APART_S), None)
        if near is not None:
            if badness > self.found[near][0]:
                self.found[near] = (badness, moment)
        elif len(self.found) < _MOST_MOMENTS:
            self.found.append((badness, moment))
        else:
            least = min(range(len(self.found)), key=lambda place: self.found[place][0])
            if badness > self.found[least][0]:
                self.found[least] = (badness, moment)


class _Application:
    """One application of a replay."""

    def __init__(self, first: Replayed) -> None:
        self.application: Application = first.snapshot.application
        self.tally = Tally(first)
        self.recorded, self.replayed, self.verifications = _Side(), _Side(), _Verifications()
        self.errors = self.known_s = 0.0
        self.programs: set[str] = set()
        self.different, self.erring, self.changing = _Candidates(), _Candidates(), _Candidates()
        self._essence: tuple[tuple[str, str], ...] = ()
        self._last: tuple[float, float | None] | None = None

    def add(self, moment: Replayed, command: Callable[[Replayed], str]) -> None:
        """Adds one moment."""
        self.tally.add(moment)
        self.replayed.add(moment.snapshot, moment.decision, moment.modes[1])
        self._compare(moment, command)
        if moment.between:
            return
        recorded = moment.recorded
        self.programs.add(recorded.program)
        self.recorded.add(recorded.snapshot, conclude(recorded.memory, recorded.snapshot).decision, moment.modes[0])
        self.verifications.add(recorded)
        self._err(moment, command)
        if recorded.decided.verb in {"failover", "fallback", "rollback"}:
            text = f"recorded: {recorded.decided.verb} to {recorded.decided.mode} mode"
            self.changing.offer(-recorded.snapshot.now, _moment(moment, text, command))

    def _compare(self, moment: Replayed, command: Callable[[Replayed], str]) -> None:
        """Notes where a difference begins or changes."""
        essence = tuple((one.what, one.after.partition("\t")[0]) for one in moment.differences if one.what != "actions")
        if moment.differences and essence != self._essence:
            text = f"decided differently ({', '.join(one.what for one in moment.differences)}); recorded: {_decided(moment)}"
            self.different.offer(-moment.snapshot.now, _moment(moment, text, command))
        self._essence = essence

    def _err(self, moment: Replayed, command: Callable[[Replayed], str]) -> None:
        snapshot = moment.recorded.snapshot
        ratio = snapshot.error_ratio.value if snapshot.error_ratio is not None else None
        if self._last is not None and self._last[1] is not None:
            seconds = min(_LONGEST_S, snapshot.now - self._last[0])
            self.errors, self.known_s = self.errors + self._last[1] * seconds, self.known_s + seconds
        self._last = (snapshot.now, ratio)
        if ratio:
            self.erring.offer(ratio, _moment(moment, f"{words.share(ratio)} of the requests failed", command))

    def moments(self) -> list[Moment]:
        """The most notable ones, in the order of their time: differences first, then failures, then mode changes."""
        found = [one for part in (self.different, self.erring, self.changing) for _, one in sorted(part.found, key=lambda two: -two[0])]
        seen: dict[float, Moment] = {}
        for one in found:
            if len(seen) < _MOST_MOMENTS and one.at not in seen:
                seen[one.at] = one
        return sorted(seen.values(), key=lambda one: one.at)


class ReplayReport:
    """Collects a report's content one moment at a time.

    Args:
        what_if: Whether the replayed decisions led to a course of their own.
        command: Makes the command that shows one moment in full.
    """

    def __init__(self, *, what_if: bool, command: Callable[[Replayed], str]) -> None:
        self._what_if, self._command = what_if, command
        self._applications: dict[str, _Application] = {}

    def add(self, moment: Replayed) -> None:
        """Adds one moment."""
        key = moment.snapshot.application.key
        found = self._applications.get(key)
        if found is None:
            found = self._applications[key] = _Application(moment)
        found.add(moment, self._command)

    def report(self, framing: Framing) -> Report:
        """The report of everything added, which is at least one moment."""
        everything = list(self._applications.values())
        different = sum(one.tally.different for one in everything)
        return Report(
            schema=SCHEMA,
            kind="replay",
            title=f"Replay of {', '.join(self._applications)}",
            ok=not different,
            verdict=words.partial(framing.partial) + "; ".join(self._verdict(one) for one in everything) + ".",
            facts=tuple(_facts(everything, framing)),
            command=framing.command,
            wall_s=framing.wall_s,
            tables=(self._table(everything),),
            timelines=tuple(timeline for one in everything for timeline in self._timelines(one)),
            moments=tuple(moment for one in everything for moment in one.moments()),
            failures=(),
            appendix=(),
            notes=_notes(everything, what_if=self._what_if),
        )

    def _sides(self, one: _Application) -> list[tuple[str, Course, _Side]]:
        recorded = [(_RECORDED, one.tally.recorded, one.recorded)]
        return [*recorded, (_WHAT_IF, one.tally.replayed, one.replayed)] if self._what_if else recorded

    def _verdict(self, one: _Application) -> str:
        tally = one.tally
        result = "no difference" if not tally.different else f"{tally.different} decided differently"
        sides = [f"{name}: {_summary(course)}" for name, course, _ in self._sides(one)]
        return f"{tally.application}: {tally.decisions:,} decisions replayed, {result}; {'; '.join(sides)}"

    def _table(self, everything: Sequence[_Application]) -> Table:
        columns = bill_columns(course.ledger for one in everything for _, course, _ in self._sides(one))
        rows = []
        for one in everything:
            for name, course, _ in self._sides(one):
                title = name if len(everything) == 1 else f"{one.application.key}, {name}"
                bills = bill_cells([course.ledger]) if columns else {}
                rows.append(Row(title, "", _cells(one, course, recorded=name == _RECORDED) | bills))
        text = "By the controller's own account, the same code as in production. A gap counts for at most five minutes."
        return Table("Courses", text, (*_COLUMNS, *columns), tuple(rows))

    def _timelines(self, one: _Application) -> Iterable[Timeline]:
        for name, course, side in self._sides(one):
            points = _lasting(side.points, one.tally.end)
            steps, charts = panels(points, one.application)
            begin, end = points[0].at, max(points[-1].at + points[-1].seconds, points[0].at + 1)
            changes = tuple(Span(made.at, made.at, f"to {made.to or 'unknown'} {made.reason}".strip(), "switch") for made in course.changes)
            lanes = [mode_lane(points), Lane("mode changes", changes), *short_lanes(points, "is short")]
            text = f"{one.application.key}, steps of {duration(steps.step_s)}"
            yield Timeline(name, text, begin, end, steps.step_s, charts, tuple(lane for lane in lanes if lane.spans))


def _summary(course: Course) -> str:
    account = course.ledger
    changes = f"{len(course.changes)} mode change{'' if len(course.changes) == 1 else 's'}"
    capacity = account.seconds.get(Mode.CAPACITY, 0.0)
    return (
        f"{changes}, {duration(capacity)} in capacity mode, exposed {duration(account.exposed_s)}, "
        f"saved {words.dollars(account.saved)}, failover cost {words.dollars(account.premium)}"
    )


# --- the table --------------------------------------------------------------------------------------------------------------------------

_ACCOUNT: Final[tuple[tuple[Column, Callable[[Ledger], float]], ...]] = (
    (
        Column("saved", "Saved by cost mode", Unit.DOLLARS, "How much more its requests would have cost in capacity mode."),
        lambda one: one.saved,
    ),
    (
        Column("premium", "Spent on failover", Unit.DOLLARS, "How much more the requests of capacity mode cost than in cost mode."),
        lambda one: one.premium,
    ),
    (
        Column("spend", "Spend", Unit.DOLLARS, "Cost of the replicas that had a node. A replay with another policy does not change it."),
        lambda one: one.spend,
    ),
    (
        Column("exposed", "Exposed", Unit.SECONDS, "Time in cost mode in which a unit with weight was proven short."),
        lambda one: one.exposed_s,
    ),
    (
        Column("probe_cost", "Kept by probes", Unit.DOLLARS, "Replicas that only a probe keeps, beyond what their scaler would ask for."),
        lambda one: one.probe_dollars,
    ),
)

_CHANGES: Final = Column("flips", "Mode changes", Unit.COUNT, "Number of mode changes.")
_CAPACITY: Final = Column("capacity_time", "In capacity mode", Unit.SHARE, "Share of the observed time.")
_SERVED: Final = Column("served", "Served", Unit.SHARE, "By the load balancer's own counts, where known; for the recorded course only.")
_VERIFY: Final = Column(
    "verify", "Time to verify", Unit.SECONDS, "From a mode change to the check that found the load balancer following it."
)
_COLUMNS: Final = (_SERVED, _CHANGES, _CAPACITY, *(column for column, _ in _ACCOUNT), _VERIFY)


def _cells(one: _Application, course: Course, *, recorded: bool) -> dict[str, Spread | None]:
    account = course.ledger
    observed = sum(account.seconds.values())
    served = Spread.of([1 - one.errors / one.known_s]) if recorded and one.known_s > 0 else None
    cells: dict[str, Spread | None] = {column.key: Spread.of([value(account)]) for column, value in _ACCOUNT}
    return cells | {
        _SERVED.key: served,
        _CHANGES.key: Spread.of([float(len(course.changes))]),
        _CAPACITY.key: Spread.of([account.seconds.get(Mode.CAPACITY, 0.0) / observed]) if observed else None,
        _VERIFY.key: Spread.of(one.verifications.seconds) if recorded else None,
    }


def _facts(everything: Sequence[_Application], framing: Framing) -> Iterable[Fact]:
    begin, end = min(one.tally.begin for one in everything), max(one.tally.end for one in everything)
    programs = sorted({program for one in everything for program in one.programs})
    if framing.partial:
        yield Fact("Partial", framing.partial)
    yield Fact("Question", framing.question)
    yield Fact("Files", ", ".join(framing.files))
    yield Fact(
        "Version", framing.version + (f", commit {framing.commit}" if framing.commit else "") + f"; recorded by {', '.join(programs)}"
    )
    yield Fact("Recorded", f"{words.time(begin)} to {words.time(end)} UTC ({duration(end - begin)})")
    gap = max(one.tally.longest_gap_s for one in everything)
    yield Fact("Decisions", f"{sum(one.tally.decisions for one in everything):,}, longest gap {duration(gap)}")


def _notes(everything: Sequence[_Application], *, what_if: bool) -> tuple[str, ...]:
    notes = ["Times are UTC. Demand and latency are those that CloudWatch had published by then."]
    if what_if:
        notes.append(
            "The replay changes only what the controller writes: no pod starts or leaves because of a decision that was never made."
        )
    thinned = max(side.thinned for one in everything for side in (one.recorded, one.replayed))
    if thinned > 1:
        notes.append(f"The timelines show one in {thinned} decisions.")
    return tuple(notes)


# --- over time --------------------------------------------------------------------------------------------------------------------------


def _point(snapshot: Snapshot, decision: Decision, mode: Mode | None) -> Point:
    units, seen = snapshot.application.units, snapshot.routing.verification
    latencies = [
        (observed.latency.value, observed.demand.value)
        for observed in snapshot.units.values()
        if observed.latency is not None and observed.demand is not None and observed.demand.value > 0
    ]
    answers = sum(weight for _, weight in latencies)
    return Point(
        at=snapshot.now,
        seconds=_LONGEST_S,
        mode=str(mode or ""),
        demand=total_demand(snapshot),
        capacity=sum((snapshot.units[unit.name].ready or 0) * unit.throughput for unit in units),
        failed=snapshot.error_ratio.value if snapshot.error_ratio is not None else None,
        latency_s=sum(value * weight for value, weight in latencies) / answers if answers > 0 else None,
        wanted={target.service: target.weight for target in snapshot.routing.targets},
        live=seen.weights if seen is not None else {},
        dollars_per_hour=sum(unit.price_per_hour * placed(snapshot.units[unit.name]) for unit in units),
        short=tuple(name for name, judged in decision.evidence.items() if judged.short),
    )


def _lasting(points: Sequence[Point], end: float) -> list[Point]:
    """Each point lasts until the next one, for at most five minutes: after that, the state is unknown."""
    following = [*(point.at for point in points[1:]), end]
    return [replace(point, seconds=max(0.0, min(_LONGEST_S, until - point.at))) for point, until in zip(points, following, strict=True)]


# --- moments ----------------------------------------------------------------------------------------------------------------------------


def _decided(moment: Replayed) -> str:
    made = moment.recorded.decided
    return f"{made.verb} ({made.mode or 'unknown'})  {made.reason}: {made.sentence}"


def _moment(moment: Replayed, text: str, command: Callable[[Replayed], str]) -> Moment:
    made = moment.replayed
    held = (f"holds back {made.wanted}",) if made.wanted and made.wanted != made.verb else ()
    evidence = [
        f"{name}: shortage {judged.shortage}, {judged.demand} waiting, ready {judged.ready}, needed {judged.needed}"
        for name, judged in moment.decision.evidence.items()
        if judged.demand or judged.last_refusal_at is not None or judged.ready < judged.needed
    ]
    return Moment(
        at=moment.snapshot.now,
        name=moment.snapshot.application.key,
        seed=None,
        words=text,
        decision=f"{made.verb} ({made.mode or 'unknown'})  {made.reason}: {made.sentence}",
        evidence=(*held, *evidence),
        command=command(moment),
    )
