"""Runs the passes over all applications: hands those that are due to workers, and reports each pass to people, metrics and recordings.

`controller.service.application_pass` has the steps of a pass. A pass waits only for the Kubernetes API, whose requests have time-outs; the
other workers go on meanwhile. AWS and the notifiers have threads of their own.
"""

from __future__ import annotations

import functools
import math
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import structlog

from controller.clients.calls import CallMeter, on_behalf_of
from controller.clock import Clock
from controller.errors import RemoteError, StateError, Unavailable
from controller.notifiers.dispatcher import Dispatcher
from controller.policy.account import Ledger, booked, counted
from controller.policy.decision import Conclusion
from controller.policy.memory import standing_mode
from controller.policy.model import Application, Decision, Memory, Mode, Override, Plan, Snapshot
from controller.policy.plan import describe
from controller.ports import Leadership, Message, StateStore
from controller.service.application_pass import Acted, ApplicationPass
from controller.service.executor import Executor, Outcome
from controller.service.explanation import next_step
from controller.service.fair_lock import FairLock
from controller.service.known_alerts import KnownAlerts
from controller.service.messages import (
    Raised,
    adopted,
    alert_changes,
    alerts_of_removed,
    override_changes,
    raised_before,
    raised_floors_of_removed,
    readable_override,
    routed,
    short_pods,
)
from controller.service.recorder import Recorder
from controller.service.retries import Backoff
from controller.service.takeover import Takeover
from controller.service.telemetry import Telemetry
from controller.service.terms import TermRecord
from controller.service.work_queue import WorkQueue
from controller.signals.cluster import ClusterView
from controller.signals.observer import ClusterObserver

PASSES_PER_S: Final = 1000 / 59
"""Most passes a second without a change: the waiting of a thousand applications must not keep a core busy. Each of them still has a pass in
every metric period of CloudWatch, a minute: twelve rounds."""
ROUND_S: Final = 5.0
"""Time between two rounds over a large fleet in which nothing changes, seconds: 83 passes in each. A pass that comes alone, every 60 ms,
finds the processor's caches cold and takes twice as long (2.7 ms; 1.3 ms in rounds of 100)."""
_NEAR: Final = 1e-6  # of a round: a pass that is due at its beginning belongs to it, whatever binary fractions leave
WORKERS: Final = 8
"""Passes at the same time. A worker mostly waits for answers: [why eight](../../docs/decisions/0011-work-queue.md)."""
MANY: Final = 32
"""Applications that wait for a pass because something changed. While more do, mode changes come before everything else:
[why](../../docs/decisions/0027-mode-changes-first.md)."""
STUCK_PASS_S: Final = 300.0
"""A pass that lasts longer does not wait for an answer any more, because each has a deadline: the process must be restarted."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Last:
    """What is kept of the last pass over an application."""

    snapshot: Snapshot
    decision: Decision
    mode: Mode | None  # that stands after it, as far as it was carried out by now
    plan: Plan  # see `View.plan`


@dataclass(slots=True)
class _Record:
    """The state of one application between passes."""

    passes: ApplicationPass
    known: KnownAlerts
    last: _Last | None = None  # None: no pass yet
    alerts: dict[str, Raised] = field(default_factory=dict)  # guarded by the controller's lock: a removal resolves them
    term: int | None = None  # the leadership term of the alerts; None before the first
    at: float = 0.0  # when the last pass decided, monotonic
    failures: Backoff = field(default_factory=Backoff)  # passes that ended in a bug
    passing: bool = False  # a pass is under way; guarded by the controller's lock
    override: Override | None = None  # that stood when it was readable last; None: not observed yet
    ledger: Ledger = field(default_factory=Ledger)


def _found(conclusion: Conclusion) -> Iterator[Message]:
    """The message if the routing object shows another mode than the memory."""
    before, after = conclusion.before, conclusion.memory
    if before.mode is not None and after.mode is not before.mode:
        yield adopted(conclusion.snapshot, after.mode_changes[-1])


def _book(record: _Record, now: float) -> None:
    """Accounts for the time since the last pass. Only the leader does: two replicas would count everything twice.

    Args:
        record: The application's.
        now: Seconds of the monotonic clock.
    """
    last = record.last
    if last is not None and last.snapshot.leader:
        record.ledger = booked(record.ledger, last.snapshot, last.decision, last.mode, now - record.at)
    record.at = now


@dataclass(frozen=True, slots=True)
class View:
    """The result of the last pass over one application, for status and tests."""

    snapshot: Snapshot
    decision: Decision
    plan: Plan  # without its actions once the pass is over, unless it is a dry run, which carries none out; `tap` sees them
    memory: Memory
    ledger: Ledger

    @property
    def application(self) -> Application:
        """The application as the pass found it. Until the next pass its file may have other units already."""
        return self.snapshot.application

    @property
    def mode(self) -> Mode | None:
        """The mode that the application is in; None where its routing is not understood."""
        return standing_mode(self.memory, self.decision)


class Controller:
    """Decides for all applications.

    Args:
        view: The view of the cluster.
        observer: Takes the snapshots.
        store: Durable memory.
        executor: Carries plans out; None: a dry run.
        leadership: Whether this replica may act.
        dispatcher: Notifies people; None: nobody is notified.
        telemetry: Metrics.
        clock: The clock.
        interval_s: Longest time between two passes over an application, seconds.
        recorder: Keeps decisions for `failoverctl replay`; None: they are not kept.
        meter: Counts the API calls of each application; None: a new meter.
        workers: Passes at the same time, over different applications. 0: `run_due` runs them itself, one after the other.
        wake: Called when `run_due` is to be called before the time that it named; must not block.
        tap: Called after every pass, by one thread at a time; must not block.
    """

    def __init__(
        self,
        view: ClusterView,
        observer: ClusterObserver,
        store: StateStore,
        executor: Executor | None,
        leadership: Leadership,
        dispatcher: Dispatcher | None,
        telemetry: Telemetry,
        clock: Clock,
        *,
        interval_s: float,
        recorder: Recorder | None = None,
        meter: CallMeter | None = None,
        workers: int = 0,
        wake: Callable[[], None] = lambda: None,
        tap: Callable[[Controller], None] | None = None,
    ) -> None:
        self._view, self._observer, self._store, self._executor = view, observer, store, executor
        self._leadership, self._dispatcher, self._telemetry, self._clock = leadership, dispatcher, telemetry, clock
        self._interval_s, self._recorder = interval_s, recorder
        telemetry.tick_interval.set(interval_s)
        self._meter = meter or CallMeter()
        self._lock, self._computing = threading.Lock(), FairLock()
        self._applications: Mapping[str, Application] = {}
        self._all: tuple[Application, ...] = ()
        self._records: Mapping[str, _Record] = {}  # same keys and order as `_applications`; both are replaced, never changed in place
        self._leaving: dict[str, _Record] = {}  # of those that were removed during a pass; guarded by the lock
        self._queue, self._tap, self._tapping = WorkQueue(clock, wake), tap, threading.Lock()
        self._takeover = Takeover(clock)
        self._written_in: dict[str, int] = {}  # see `TermRecord`; of every application that there was, which is a name each
        self._workers = [threading.Thread(target=self._work, name=f"pass-{n}", daemon=True) for n in range(workers)]
        self._last_round = clock.monotonic()
        self._term: int | None = None  # the last term in which this replica led; guarded by the lock

    def configure(self, applications: Mapping[str, Application]) -> None:
        """Replaces the applications. Those that stay keep their state.

        The alerts of those that go are resolved, at once or when the pass that is under way has ended: until then it may raise floors.
        """
        with self._lock:
            gone = [record for key, record in self._records.items() if key not in applications]
            before, self._applications = self._applications, dict(applications)
            self._all = tuple(self._applications.values())
            known = {**self._leaving, **self._records}
            self._records = {key: known.get(key) or self._new_record(key) for key in applications}
            self._leaving = {key: record for key, record in known.items() if record.passing and key not in applications}
            ended = [record for record in gone if not record.passing and self._resolve(record)]
            self._queue.retain(applications)
            self._takeover.retain(applications)
            self._observer.configure(self._applications.values())
            for key, old in before.items():
                if key in applications and applications[key].units != old.units:
                    self._telemetry.forget(key)  # the series of a removed unit would keep an alert firing for ever
            self._telemetry.retain(applications)
        self._meter.retain(applications)
        self._view.dirty.mark(everything=True)
        self._forget_alerts(ended)

    def _resolve(self, record: _Record) -> bool:
        """Resolves the alerts of an application that was removed, and names its floors that stay raised.

        Call it with the lock held and no pass over the application under way, so that none adds another.

        Returns:
            Whether a message about the end of an alert was published.
        """
        leads = record.last is not None and self._leadership.leads()
        if record.last is not None and leads:
            last, at, namespace = record.last, self._clock.now(), record.last.snapshot.application.namespace
            self.publish(alerts_of_removed(last.snapshot, record.alerts.values(), last.mode, at))
            units = (unit for one in self._all if one.namespace == namespace for unit in one.units)
            named = {unit.scaled_object for unit in units if unit.scaled_object}
            self.publish(raised_floors_of_removed(last.snapshot.application, record.passes.memory or Memory(), named, at))
        ended, record.alerts = leads and bool(record.alerts), {}
        return ended

    def _forget_alerts(self, removed: Iterable[_Record]) -> None:
        """Stores that the alerts of removed applications have ended. Otherwise they would be resolved again once one is added again."""
        for record in removed:
            if (last := record.last) is None:
                continue
            record.known.know(())
            try:
                record.passes.leave()
            except (RemoteError, StateError) as error:
                log.warning("state.unsaved", application=last.snapshot.application.key, error=str(error))
                if isinstance(error, Unavailable):
                    return  # the next one would wait as long

    def applications(self) -> tuple[Application, ...]:
        """All applications; the same tuple until they are configured anew."""
        return self._all

    def views(self) -> list[View]:
        """The results of the last passes."""
        with self._lock:
            return [
                View(last.snapshot, last.decision, last.plan, memory, record.ledger)
                for key in self._applications
                if (record := self._records.get(key)) is not None
                and (last := record.last) is not None
                and (memory := record.passes.memory) is not None
            ]

    def start(self) -> None:
        """Starts the workers, if there are any."""
        for worker in self._workers:
            worker.start()

    def lead(self, *, leads: bool) -> None:
        """Notes that this replica begins or ceases to lead, and lets every application have a pass."""
        with self._lock:
            if leads:
                self._takeover.begin(self._applications)
            else:
                self._takeover.end()
        self._view.dirty.mark(everything=True)

    def run_due(self) -> float:
        """Hands the applications that are due to the workers. Without workers it runs these passes, and returns after the last.

        Returns:
            Seconds until it must be called again even if nothing changes: at most one interval, so that its calls show that it is alive.
        """
        touched = self._view.dirty.take(self.applications())
        self._queue.add(application.key for application in touched)
        wait = self._queue.promote()
        if not self._workers:
            self._work(self._queue.take)
            wait = self._queue.promote()
        self._last_round = self._clock.monotonic()
        self._telemetry.last_tick.set(self._clock.now())
        self._telemetry.unparsed.set(self._view.karpenter.unparsed)
        self._telemetry.queued.set(self._queue.waiting())
        return min(wait, self._interval_s)

    def others_wait(self) -> bool:
        """Whether more than `MANY` applications wait for a pass because something changed."""
        return self._queue.waiting() > MANY and self._queue.changes() > MANY

    def round_age_s(self) -> float:
        """Seconds since the last round over the due applications ended."""
        return self._clock.monotonic() - self._last_round

    def problem(self, limit_s: float) -> str:
        """Why this process should be restarted, "" if it should not.

        Args:
            limit_s: How long ago `run_due` may have returned last, seconds.
        """
        age, longest = self.round_age_s(), self._queue.longest_s()
        if age > limit_s:
            return f"the last round ended {age:.0f} s ago, limit {limit_s:.0f} s"
        return f"a pass has lasted {longest:.0f} s, limit {STUCK_PASS_S:.0f} s" if longest > STUCK_PASS_S else ""

    def close(self, timeout_s: float) -> bool:
        """Starts no more passes, and waits for those that are under way.

        Args:
            timeout_s: How long to wait at most, seconds.

        Returns:
            Whether all have ended.
        """
        self._queue.close()
        end = self._clock.monotonic() + timeout_s
        for worker in self._workers:
            if worker.is_alive():
                worker.join(self._clock.real(max(0.0, end - self._clock.monotonic())))
        return not any(worker.is_alive() for worker in self._workers)

    def _work(self, take: Callable[[], str | None] | None = None) -> None:
        """Runs passes over the keys that the queue hands out, until there is none; a worker waits for the next.

        An unexpected error is logged and counted and does not stop the other applications; the pass is retried after a pause that doubles.
        """
        take = take or self._queue.get
        while (key := take()) is not None:
            with self._lock:
                application, record = self._applications.get(key), self._records.get(key)
                if application is not None and record is not None:
                    record.passing = True
            again_s, gate_s = self._interval_s, 0.0
            if application is not None and record is not None:
                try:
                    try:
                        with on_behalf_of(key), self._telemetry.pass_seconds.time():
                            again_s = self._pass(application, record)
                    finally:
                        self._passed(key, record)
                    record.failures.succeeded()
                except Exception:
                    log.exception("pass.failed", application=key)
                    self._telemetry.pass_errors.count(key)
                    record.failures.failed(self._clock.monotonic())
                    gate_s = record.failures.left(self._clock.monotonic())
            self._queue.done(key, again_s, gate_s)

    def _passed(self, key: str, record: _Record) -> None:
        """Notes that a pass is over, and does what `configure` left to its end if the application was removed meanwhile."""
        with self._lock:
            record.passing = False
            leaves = self._leaving.pop(key, None) is not None and self._resolve(record)
        if leaves:
            self._forget_alerts([record])

    def _new_record(self, key: str) -> _Record:
        known = KnownAlerts(key, self._clock, lambda: len(self._applications))
        stored = TermRecord(self._store, self._leadership, key, known, self._written_in)
        passes = ApplicationPass(self._observer, stored, self._executor, self._leadership, self._clock, self._computing)
        return _Record(passes, known)

    def _pass(self, application: Application, record: _Record) -> float:
        """Runs a pass.

        Returns:
            Seconds until the next one is due even if nothing changes.
        """
        decided = record.passes.decide(application)
        conclusion = decided.conclusion
        _book(record, self._clock.monotonic())
        self._log_change(record.last, conclusion)
        before = standing_mode(conclusion.memory, conclusion.decision)
        with self._lock:
            record.last = last = _Last(conclusion.snapshot, conclusion.decision, before, conclusion.plan)
            if self._applications.get(application.key) is not application:
                return 0.0  # it was removed or changed meanwhile: nothing is done by its old definition
            self._recall(record, conclusion.snapshot)
        record.known.know((*(one.alert for one in record.alerts.values()), *conclusion.decision.alerts))
        acted = record.passes.act(decided, others_wait=self.others_wait())
        record.last = last = replace(last, mode=standing_mode(acted.memory, conclusion.decision))
        self._count_actions(conclusion.plan, acted.outcome)
        if self._recorder is not None:
            self._recorder.offer(conclusion.before, conclusion.snapshot, conclusion.plan, acted.outcome, acted.memory, acted.at)
        self._account(record, conclusion, acted)
        self._notify(record, conclusion, acted)
        self._count_takeover(conclusion.snapshot)
        with self._lock:
            if application.key in self._applications:  # otherwise its series have been dropped for good
                self._telemetry.decided(conclusion.snapshot, conclusion.decision, acted.memory, record.ledger)
        if self._tap is not None:
            with self._tapping:
                self._tap(self)
        if self._executor is not None and last.plan.actions:  # the requests of a mode change are 5 KiB
            with self._lock:
                record.last = replace(last, plan=replace(last.plan, actions=()))
        return min(self._periodic_s(application.key), acted.again_s)

    def _recall(self, record: _Record, snapshot: Snapshot) -> None:
        """Takes over the alerts that an earlier leader reported, once a term: it cannot report any more that one has ended.

        What this process reported in an earlier term counts no longer, pauses and pins included: another leader may have reported something
        else since.
        """
        if not snapshot.leader or record.term == snapshot.epoch:
            return
        record.alerts, record.term, record.override = raised_before(record.passes.stored_alerts), snapshot.epoch, None
        if self._term != snapshot.epoch and self._dispatcher is not None:
            self._dispatcher.forget()
        self._term = snapshot.epoch

    def _count_takeover(self, snapshot: Snapshot) -> None:
        if not snapshot.leader:
            return
        with self._lock:
            took_s = self._takeover.passed(snapshot.application.key)
        if took_s is not None:
            self._telemetry.takeover.set(took_s)
            log.info("takeover.finished", applications=len(self._applications), seconds=round(took_s, 3))

    def _periodic_s(self, key: str) -> float:
        """Seconds until the next pass if nothing requires one sooner.

        In a large fleet the applications take turns in rounds, each always in the same one: after a change to all of them their passes
        would be due together for ever.
        """
        spread_s = len(self._applications) / PASSES_PER_S
        if spread_s <= self._interval_s:
            return self._interval_s
        now, rounds = self._clock.monotonic(), math.ceil(spread_s / ROUND_S)
        present = math.floor(now / ROUND_S + _NEAR)
        ahead = (zlib.crc32(key.encode()) - present) % rounds or rounds
        return (present + ahead) * ROUND_S - now

    def _count_actions(self, made: Plan, outcome: Outcome) -> None:
        for action in outcome.applied:
            self._telemetry.actions.count(made.application, action.kind.value, "applied")
        for failure in outcome.failures:
            self._telemetry.actions.count(made.application, failure.action.kind.value, "failed")

    def _account(self, record: _Record, conclusion: Conclusion, acted: Acted) -> None:
        calls = self._meter.take(conclusion.snapshot.application.key)
        if conclusion.snapshot.leader:
            record.ledger = counted(record.ledger, mode_changes=sum(one.verb.changes_mode for one in acted.written), calls=calls)

    def _written(self, snapshot: Snapshot, decisions: Iterable[Decision]) -> Iterator[Message]:
        """Counts the routing actions that were written, and yields the messages about them."""
        for one in decisions:
            if one.verb.changes_mode and one.mode is not None:
                self._telemetry.mode_changes.count(snapshot.application.key, one.mode.value, one.reason.value)
            message = routed(snapshot, one)
            if message is not None:
                yield message

    def _notify(self, record: _Record, conclusion: Conclusion, acted: Acted) -> None:
        snapshot, decision, mode = conclusion.snapshot, conclusion.decision, standing_mode(acted.memory, conclusion.decision)
        news = [*_found(conclusion), *self._written(snapshot, acted.written)]
        if not snapshot.leader:
            return  # only the leader notifies; where nobody else could lead meanwhile, it goes on with what it reported
        coming = functools.partial(next_step, conclusion.memory, snapshot)
        with self._lock:
            if self._records.get(snapshot.application.key) is record:  # otherwise it was removed, and nothing would resolve its alerts
                pods = short_pods(snapshot, decision.evidence)
                record.alerts, messages = alert_changes(snapshot, record.alerts, decision.alerts, mode, coming, pods)
                self.publish(messages)
        override = readable_override(snapshot)
        if override is not None:
            if record.override is not None:
                news += override_changes(snapshot, record.override, override, mode)
            record.override = override
        self.publish(news)

    def publish(self, messages: Iterable[Message]) -> None:
        """Passes messages to the dispatcher, if there is one. Never blocks."""
        if self._dispatcher is not None:
            for message in messages:
                self._dispatcher.publish(message)

    def _log_change(self, last: _Last | None, conclusion: Conclusion) -> None:
        """Logs a decision when its verb, reason or mode has changed."""
        decision, key = conclusion.decision, conclusion.snapshot.application.key
        dry_run = self._executor is None
        if last is not None and _same(last.decision, decision) and not (dry_run and last.plan.actions != conclusion.plan.actions):
            return  # a dry run logs every new plan as well, because nothing else shows it
        log.info(
            "decision.changed",
            application=key,
            verb=str(decision.verb),
            mode=str(decision.mode or "unknown"),
            reason=str(decision.reason),
            why=decision.sentence,
            wanted=str(decision.held_back or ""),
            short=[name for name, judged in decision.evidence.items() if judged.short],
            actions=[describe(action) for action in conclusion.plan.due],
            dry_run=dry_run,
        )
        for action in conclusion.plan.actions if dry_run else ():
            log.info(
                "action.planned",
                application=key,
                action=describe(action),
                unit=action.unit,
                deferred=action.deferred,
                content_type=action.content_type,
                body=action.body,
            )


def _same(one: Decision, other: Decision) -> bool:
    return (one.verb, one.reason, one.mode, one.held_back) == (other.verb, other.reason, other.mode, other.held_back)
