"""Decides recorded moments again, with the service's `conclude`.

It answers two questions. *Same inputs*: does this version, or this policy, decide the same about each recorded moment? The memory comes
from the recording. *What if*: what would it have led to? Each replayed decision passes its memory, and what it wrote, on to the
next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from controller.policy.decision import Conclusion, observed_mode
from controller.policy.model import ActionKind, Application, Decision, Memory, Mode, Plan, Snapshot, Verification
from controller.recording.lines import Decided, Recorded, decided
from controller.routing.conclusion import conclude
from failover_analysis.replay.compare import Difference, differences
from failover_analysis.replay.imagined import Imagined

Change = Callable[[Application], Application]

_LASTS_S: Final = 300.0
"""How long a recorded state counts as lasting if the next line comes later. After that, the state is unknown."""

_SLACK_S: Final = 2.0
"""A moment this shortly before a recorded one is skipped: the recorded controller needed some time for its pass, too."""

_SHOWN_S: Final = 0.001  # times are shown to the millisecond: a copied one must find its moment
_MOST_BETWEEN: Final = 100


@dataclass(frozen=True, slots=True)
class Moment:
    """One decision, made again.

    Attributes:
        recorded: The recorded decision; if `between`, the one before this moment.
        memory: The memory used now.
        snapshot: The snapshot used now.
        decision: The decision made now.
        replayed: The same decision with its plan, in the form for comparison.
        differences: The differences.
        modes: The modes after it: recorded and replayed. None if the routing is not understood.
        between: Whether nothing was recorded here and only time has passed since the last recorded decision.
    """

    recorded: Recorded
    memory: Memory
    snapshot: Snapshot
    decision: Decision
    replayed: Decided
    differences: tuple[Difference, ...]
    modes: tuple[Mode | None, Mode | None]
    between: bool = False


def same_inputs(recordings: Iterable[Recorded], change: Change | None = None) -> Iterator[Moment]:
    """Decides every recorded moment by itself.

    Args:
        recordings: The recordings in the order of time.
        change: Replaces the recorded application; None: keeps it.
    """
    for recorded in recordings:
        snapshot = _changed(recorded.snapshot, change)
        conclusion = conclude(recorded.memory, snapshot)
        yield _moment(recorded, conclusion, routed=_routes(conclusion.plan))


def what_if(recordings: Iterable[Recorded], change: Change | None = None, *, at: float | None = None) -> Iterator[Moment]:
    """Decides every recorded moment after the replayed decisions before it.

    With another policy, the passing of time may change a decision where the recorded controller had nothing to write. Such moments are
    decided as well, from the last recorded state.

    Args:
        recordings: The recordings in the order of time. Those of standbys are left out.
        change: See `same_inputs`.
        at: Until when to go on after the last recorded moment, seconds since the Unix epoch; None: not at all.
    """
    courses: dict[str, _Course] = {}
    for recorded in recordings:
        if not recorded.snapshot.leader:
            continue  # another replica decided then, and these files may contain its recording
        snapshot = _changed(recorded.snapshot, change)
        course = courses.get(snapshot.application.key)
        if course is None:
            course = courses[snapshot.application.key] = _Course(recorded, snapshot)
        elif change is not None:
            yield from course.until(snapshot.now)
        yield course.at(recorded, snapshot)
    if at is not None and change is not None:
        for course in courses.values():
            yield from course.until(at + _SLACK_S + _SHOWN_S)


class _Course:
    """The course of one application in the replay.

    Args:
        first: The first recorded decision. The replay starts with its memory.
        snapshot: The snapshot of that decision.
    """

    def __init__(self, first: Recorded, snapshot: Snapshot) -> None:
        self._memory, self._world = first.memory, Imagined()
        self._recorded, self._snapshot = first, snapshot
        self._due: float | None = None
        self._decided: Decided | None = None

    def at(self, recorded: Recorded, snapshot: Snapshot) -> Moment:
        """Decides a recorded moment."""
        self._recorded, self._snapshot = recorded, snapshot
        return self._decide(snapshot, between=False)

    def until(self, end: float) -> Iterator[Moment]:
        """Decides the moments before `end` for which nothing was recorded. Moments without a new decision are left out."""
        last = min(end - _SLACK_S, self._snapshot.now + _LASTS_S)
        for _ in range(_MOST_BETWEEN):
            if self._due is None or self._due >= last:
                return
            before = self._decided
            moment = self._decide(_later(self._snapshot, self._due), between=True)
            if moment.replayed != before:
                yield moment

    def _decide(self, snapshot: Snapshot, *, between: bool) -> Moment:
        seen = self._world.seen(snapshot)
        conclusion = conclude(self._memory, seen)
        done, at = self._world.carry_out(conclusion.plan, seen, None if between else self._recorded)
        self._memory = conclusion.written(done, at)
        wait = conclusion.decision.next_check_s
        self._due = None if wait is None else seen.now + wait
        moment = _moment(self._recorded, conclusion, routed=any(one.kind is ActionKind.ROUTE for one in done), between=between)
        self._decided = moment.replayed
        return moment


def _changed(snapshot: Snapshot, change: Change | None) -> Snapshot:
    return snapshot if change is None else replace(snapshot, application=change(snapshot.application))


def _later(snapshot: Snapshot, now: float) -> Snapshot:
    """The same world later: nothing has changed, and every source has been fresh."""
    passed = now - snapshot.now
    sources = tuple(s if s.last_ok is None else replace(s, last_ok=s.last_ok + passed) for s in snapshot.sources)
    seen: Verification | None = snapshot.routing.verification
    if seen is not None:
        seen = replace(seen, at=seen.at + passed)
    return replace(snapshot, now=now, sources=sources, routing=replace(snapshot.routing, verification=seen))


def _routes(made: Plan) -> bool:
    return any(action.kind is ActionKind.ROUTE for action in made.due)


def _moment(recorded: Recorded, made: Conclusion, *, routed: bool, between: bool = False) -> Moment:
    replayed = decided(made.plan)
    before, _ = observed_mode(recorded.snapshot, None)
    route = any(one.applied and one.kind == ActionKind.ROUTE for one in recorded.decided.requests)
    modes = (
        {str(mode): mode for mode in Mode}.get(recorded.decided.mode or "") if route else before,
        made.decision.mode if routed else observed_mode(made.snapshot, None)[0],
    )
    found = differences(recorded.decided, replayed)
    return Moment(recorded, made.before, made.snapshot, made.decision, replayed, found, modes, between)
