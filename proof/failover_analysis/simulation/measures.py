"""What a report shows of a run beyond its sums: the worst minutes, added latency, and the times to detect and to verify.

It only observes: a run that is measured is the same run, byte for byte.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from controller.policy.model import Action, ActionKind, Decision, Mode, Snapshot, Verb, Verdict
from failover_analysis.simulation.engine import Engine
from failover_analysis.simulation.traffic import EMPTY, SHED, Flow
from failover_analysis.simulation.truth import Truth

MOMENTS: Final = 5
"""How many moments of a run are kept: the worst ones."""

APART_S: Final = 900.0
"""Bad minutes that are closer together than this are one moment, seconds."""

MINUTE_S: Final = 60.0
_SLOW_S: Final = 0.1  # mean added latency that makes a minute bad even if nothing failed, seconds
_LEAST: Final = 1e-6  # share of failed requests: less is floating-point noise
_BIN_S: Final = 0.01
_BINS: Final = 2_000  # 20 s: a full replica sheds long before that
_MOST_TIMES: Final = 10_000  # how many detections, and how many verifications, are kept
_KNOWN: Final = 8  # how many decisions are kept, to find the one in force when a minute ended


@dataclass(frozen=True, slots=True)
class Judgement:
    """A decision, rendered as text.

    Attributes:
        at: When it was made, seconds since the Unix epoch.
        verb: What was decided.
        mode: The mode after it; "unknown" if the routing is not understood.
        reason: The reason code.
        sentence: The reason as a sentence.
        held: What the guards held back and why; "" if nothing.
        evidence: What the signals proved of the units that were short or not yet served.
    """

    at: float
    verb: str
    mode: str
    reason: str
    sentence: str
    held: str
    evidence: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BadMoment:
    """The worst minute of a stretch of bad minutes.

    Attributes:
        at: Its end, seconds since the Unix epoch.
        seconds: How long the stretch of bad minutes lasted.
        demand: Requests in the minute.
        failed: Failed requests by cause.
        added_s: Mean added latency over the units' latency at rated throughput, seconds.
        decision: The decision in force at its end; None before the first.
        faults: Active faults besides capacity.
        out: Instance types without capacity in EC2.
    """

    at: float
    seconds: float
    demand: float
    failed: Mapping[str, float]
    added_s: float
    decision: Judgement | None
    faults: tuple[str, ...]
    out: tuple[str, ...]

    @property
    def lost(self) -> float:
        """Number of failed requests."""
        return sum(self.failed.values())

    @property
    def badness(self) -> tuple[float, float]:
        """Sort key of moments: failed requests, then added latency."""
        return self.lost, self.added_s


@dataclass(frozen=True, slots=True)
class Measured:
    """The measurements of a run.

    Attributes:
        added_p95_s: 95 % of the answers came from replicas with at most this added latency over their rated throughput's, seconds.
        worst_minute: Share of the requests of the worst minute that were served; 1 if there were no requests.
        worst_minute_at: Its end, seconds since the Unix epoch; None if every minute served everything.
        detected_s: Each time from cost mode starting to send traffic to a starved unit until its shortage was proven, seconds.
        undetected: How often that ended before anything was proven.
        verified_s: Each time from an accepted mode change to the check that found the load balancer following it, seconds.
        unverified: Mode changes without such a check before the next change or the end.
        needless_s: Time in capacity mode while no unit was short in truth, or after a failover that the ready rest could have absorbed at
            its rated throughput, seconds.
        late: Answers whose mean latency was over their unit's limit, in requests.
        exposed_s: Time in which demand was beyond what is ready: some of what a unit was sent found no target, was shed, or was late.
        moments: The worst moments, the worst one first.
    """

    added_p95_s: float
    worst_minute: float
    worst_minute_at: float | None
    detected_s: tuple[float, ...]
    undetected: int
    verified_s: tuple[float, ...]
    unverified: int
    needless_s: float
    late: float
    exposed_s: float
    moments: tuple[BadMoment, ...]


@dataclass(slots=True)
class _Minute:
    """Sums over the current minute."""

    demand: float = 0.0
    answered: float = 0.0
    added: float = 0.0
    failed: dict[str, float] = field(default_factory=dict)


class Measures:
    """Measures one run.

    Args:
        engine: The world and the processes in it, before the run begins.
        truth: The true state of the world.
    """

    def __init__(self, engine: Engine, truth: Truth) -> None:
        self._engine, self._truth = engine, truth
        self._rated = {unit.name: unit.latency_s for unit in engine.application.units}
        self._limit = {unit.name: unit.latency_limit_s for unit in engine.application.units}
        self._late = self._exposed_s = 0.0
        self._histogram = [0.0] * (_BINS + 1)
        self._minute, self._minute_end = _Minute(), engine.event_queue.now + MINUTE_S
        self._worst, self._worst_at = 1.0, math.nan
        self._moments = _Worst()
        self._decisions: deque[tuple[float, Decision]] = deque(maxlen=_KNOWN)
        self._detections, self._verifications = _Detections(), _Verifications()
        self._needless_s, self._absorbable = 0.0, False
        engine.traffic.listeners.append(self._flowed)

    # --- events -------------------------------------------------------------------------------------------------------------------------

    def decided(self, snapshot: Snapshot, decision: Decision) -> None:
        """Takes note of a decision."""
        now = self._engine.event_queue.now
        self._decisions.append((now, decision))
        self._detections.seen(now, exposed=self._truth.exposed())
        self._detections.decided(now, proven=any(judged.short for judged in decision.evidence.values()))
        self._verifications.passed(now, snapshot)

    def acted(self, decision: Decision, action: Action) -> None:
        """Takes note of an accepted action."""
        if action.kind is ActionKind.ROUTE:
            if decision.verb is Verb.FAILOVER:
                self.failed_over()
            self._verifications.routed(self._engine.event_queue.now, action.after, mode_change=decision.verb.changes_mode)

    def failed_over(self) -> None:
        """Takes note of a failover."""
        self._absorbable = self._truth.absorbable(self._truth.lacking(), self._truth.demand())

    def _flowed(self, flow: Flow, seconds: float) -> None:
        self._judge(flow, seconds)
        now = self._engine.event_queue.now
        self._detections.seen(now - seconds, exposed=self._truth.exposed())
        if self._truth.mode() is not Mode.CAPACITY:
            self._absorbable = False
        elif self._absorbable or not self._truth.lacking():
            self._needless_s += seconds
        begin = now - seconds
        while now >= self._minute_end:
            part = max(0.0, self._minute_end - begin)
            self._count(flow, part / seconds)
            self._close()
            begin = self._minute_end
            self._minute_end += MINUTE_S
        self._count(flow, (now - begin) / seconds)

    def _judge(self, flow: Flow, seconds: float) -> None:
        """Adds what came late, and the time in which more was sent than what is ready answers in time."""
        late = sum(one.requests for name, one in flow.units.items() if one.latency > self._limit[name] * one.requests * (1 + _LEAST))
        self._late += late
        beyond = late + flow.failed.get(SHED, 0.0) + flow.failed.get(EMPTY, 0.0)
        if beyond > _LEAST * flow.demand:
            self._exposed_s += seconds

    def _count(self, flow: Flow, share: float) -> None:
        if share <= 0:
            return
        minute, histogram = self._minute, self._histogram
        minute.demand += flow.demand * share
        for name, served in flow.units.items():
            if served.requests <= 0:
                continue
            added = max(0.0, served.latency / served.requests - self._rated[name])
            minute.answered += served.requests * share
            minute.added += added * served.requests * share
            histogram[min(_BINS, math.ceil(added / _BIN_S - 1e-9))] += served.requests * share
        for why, count in flow.failed.items():
            minute.failed[why] = minute.failed.get(why, 0.0) + count * share

    def _close(self) -> None:
        """Ends the minute."""
        minute, self._minute = self._minute, _Minute()
        lost = sum(minute.failed.values())
        added = minute.added / minute.answered if minute.answered > 0 else 0.0
        if minute.demand <= 0:
            return
        served = 1 - lost / minute.demand
        if served < self._worst - _LEAST:
            self._worst, self._worst_at = served, self._minute_end
        if lost > _LEAST * minute.demand or added >= _SLOW_S:
            self._moments.add(self._bad(minute, added), self._minute_end)

    def _bad(self, minute: _Minute, added_s: float) -> BadMoment:
        engine, at = self._engine, self._minute_end
        known = next(((when, made) for when, made in reversed(self._decisions) if when <= at), None)
        return BadMoment(
            at=at,
            seconds=MINUTE_S,
            demand=minute.demand,
            failed=dict(sorted(minute.failed.items())),
            added_s=added_s,
            decision=None if known is None else judgement(*known),
            faults=tuple(plan.name for plan in engine.active.values()),
            out=self._truth.stuck_types(),
        )

    # --- the end ------------------------------------------------------------------------------------------------------------------------

    def measured(self) -> Measured:
        """The measurements, after the run."""
        return Measured(
            added_p95_s=quantile_of(self._histogram, 0.95) * _BIN_S,
            worst_minute=self._worst,
            worst_minute_at=None if math.isnan(self._worst_at) else self._worst_at,
            detected_s=tuple(self._detections.seconds),
            undetected=self._detections.missed,
            verified_s=tuple(self._verifications.seconds),
            unverified=self._verifications.missed + self._verifications.waiting,
            needless_s=self._needless_s,
            late=self._late,
            exposed_s=self._exposed_s,
            moments=self._moments.ordered(),
        )


def judgement(at: float, decision: Decision) -> Judgement:
    """Renders a decision as text, leaving out units that are simply well.

    Args:
        at: When it was made, seconds since the Unix epoch.
        decision: What was decided.
    """
    first = next((result.text for result in decision.guards if not result.passed), "")
    held = f"{decision.held_back}: {first}" if decision.held_back is not None and decision.held_back is not decision.verb else ""
    evidence = [
        f"{name}: shortage {judged.shortage}, {judged.demand} waiting, ready {judged.ready}, needed {judged.needed}"
        for name, judged in decision.evidence.items()
        if judged.demand or judged.last_refusal_at is not None or judged.ready < judged.needed
    ]
    return Judgement(
        at, str(decision.verb), str(decision.mode or "unknown"), str(decision.reason), decision.sentence, held, tuple(evidence)
    )


def quantile_of(counts: Sequence[float], share: float) -> int:
    """The first bin at which the cumulative count reaches the share; 0 if there are no counts."""
    wanted, total = sum(counts) * share, 0.0
    for place, count in enumerate(counts):
        total += count
        if count > 0 and total >= wanted - 1e-9:
            return place
    return 0


class _Worst:
    """Collects the worst moments, one of each stretch of bad minutes."""

    def __init__(self) -> None:
        self._kept: list[tuple[tuple[float, float], float, BadMoment]] = []
        self._present: BadMoment | None = None
        self._begin = self._last = -math.inf

    def add(self, moment: BadMoment, end: float) -> None:
        """Adds a bad minute that ended at `end`."""
        if self._present is not None and end - MINUTE_S - self._last <= APART_S:
            if moment.badness > self._present.badness:
                self._present = moment
        else:
            self._keep()
            self._present, self._begin = moment, end - MINUTE_S
        self._last = end

    def _keep(self) -> None:
        if self._present is None:
            return
        one = replace(self._present, seconds=self._last - self._begin)
        heapq.heappush(self._kept, (one.badness, -one.at, one))
        if len(self._kept) > MOMENTS:
            heapq.heappop(self._kept)

    def ordered(self) -> tuple[BadMoment, ...]:
        """The moments, the worst one first."""
        self._keep()
        self._present = None
        return tuple(worst(one for _, _, one in self._kept))


def worst(moments: Iterable[BadMoment]) -> list[BadMoment]:
    """The worst moments, the worst one first; of equals the earlier one first."""
    return sorted(moments, key=lambda one: (-one.lost, -one.added_s, one.at))[:MOMENTS]


class _Detections:
    """Measures how soon a harmful shortage is proven."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.missed = 0
        self._since: float | None = None
        self._exposed = self._proven = False

    def seen(self, now: float, *, exposed: bool) -> None:
        """Notes whether cost mode sends traffic to a starved unit. If a shortage is proven already, there is nothing to detect."""
        if exposed and not self._exposed and not self._proven:
            self._since = now
        elif not exposed and self._since is not None:
            self._since = None
            self.missed += 1
        self._exposed = exposed

    def decided(self, now: float, *, proven: bool) -> None:
        """Notes whether a unit's shortage is proven now."""
        self._proven = proven
        if proven and self._since is not None:
            if len(self.seconds) < _MOST_TIMES:
                self.seconds.append(now - self._since)
            self._since = None


class _Verifications:
    """Measures how soon the load balancer is found to follow a mode change."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.missed = 0
        self._since: float | None = None
        self._action = ""

    @property
    def waiting(self) -> bool:
        """Whether a mode change awaits verification."""
        return self._since is not None

    def routed(self, now: float, action: str, *, mode_change: bool) -> None:
        """Notes an accepted routing action. One that is no mode change replaces the action to verify."""
        if mode_change:
            self.missed += self.waiting
            self._since = now
        self._action = action

    def passed(self, now: float, snapshot: Snapshot) -> None:
        """Notes a pass. The time of the pass counts, because the verification carries the controller's clock."""
        seen = snapshot.routing.verification
        if self._since is None or seen is None or seen.verdict is not Verdict.YES or seen.action != self._action:
            return
        if len(self.seconds) < _MOST_TIMES:
            self.seconds.append(now - self._since)
        self._since = None
