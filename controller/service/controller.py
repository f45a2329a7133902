"""The tick: the only place where observing, deciding, acting, remembering and telling meet.

One pass takes the applications that something changed for (or whose time has come), and for each: snapshot, `decide`, `plan`, execute,
save, tell. It never waits for anything but the Kubernetes API, whose requests have time-outs; AWS and the notifiers have their own threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import structlog

from controller.clients.calls import CallMeter, on_behalf_of
from controller.clock import Clock
from controller.errors import Conflict, RemoteError, StateError
from controller.notifiers.dispatcher import Dispatcher
from controller.policy.decide import decide
from controller.policy.ledger import Ledger, booked, counted
from controller.policy.memory import applied
from controller.policy.model import Alert, Application, Decision, Memory, Plan, Snapshot, Source
from controller.policy.plan import describe, plan
from controller.ports import Leadership, Message, StateStore
from controller.service.executor import Executor, Outcome
from controller.service.in_doubt import Unanswered
from controller.service.messages import adopted, alert_changes, control, routed
from controller.service.recorder import Recorder
from controller.service.telemetry import Telemetry
from controller.service.terms import TermRecord
from controller.signals.cluster import ClusterView
from controller.signals.external import ExternalSources
from controller.signals.snapshots import SnapshotBuilder

PASSES_PER_S: Final = 20.0
"""Passes over which nothing has changed, at most: a thousand applications must not keep a core busy with waiting."""

_RETRY_BASE_S: Final = 1.0
_RETRY_MAX_S: Final = 60.0
_ALERT_AFTER: Final = 3  # failures in a row: a conflict or a lost connection mends itself

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Record:
    """What is kept of one application between passes."""

    term: TermRecord
    memory: Memory | None = None  # None: not loaded yet
    state_problem: str = ""
    alerts: dict[str, Alert] = field(default_factory=dict)
    decision: Decision | None = None
    plan: Plan | None = None
    snapshot: Snapshot | None = None
    due: float = 0.0  # when time alone asks for another pass
    failures: int = 0
    failed: str = ""  # the last action that failed, and why
    unanswered: Unanswered | None = None  # a routing action that may have been written
    unsaved: int = 0
    save_problem: str = ""
    override: str = ""
    ledger: Ledger = field(default_factory=Ledger)


def _hint(outcome: Outcome) -> str:
    """What a silent API server does not say of itself: its error names a webhook that refuses, not one that hangs."""
    if not outcome.unanswered or "webhook" in str(outcome.error):
        return ""
    return " (where it answers everything else, a webhook hangs: the load-balancer controller's is asked before every change of an Ingress)"


def _own_alerts(record: _Record) -> Iterator[Alert]:
    """What the service itself could not do in its last passes, again and again."""
    if record.failures >= _ALERT_AFTER:
        yield Alert("action-failed", "critical", f"tried {record.failures} times without success: {record.failed}")
    if record.unsaved >= _ALERT_AFTER:
        yield Alert("state-unsaved", "warning", f"what is remembered would be lost at a restart: {record.save_problem}")


def _unanswered(record: _Record, decision: Decision, snapshot: Snapshot, outcome: Outcome, now: float) -> Unanswered | None:
    """The routing action that is in doubt after a plan was carried out. A refusal of the same one, sent again, does not end the doubt."""
    if outcome.routed:
        return None
    return Unanswered.of(outcome, decision, snapshot, record.term.epoch, now) or record.unanswered


def _settle(record: _Record, snapshot: Snapshot) -> tuple[Decision, ...]:
    """The decision whose routing action turns out to have been written although no answer came; it is remembered as any other.

    Once another replica has led it may have found the action and remembered it as it saw fit: nothing is added to that.
    """
    sent = record.unanswered
    if sent is None or record.memory is None or not sent.settled(snapshot.routing):
        return ()
    record.unanswered = None
    if not snapshot.leader or sent.epoch != snapshot.epoch or not sent.written(snapshot.routing):
        return ()
    record.memory = applied(record.memory, sent.decision, sent.at)
    log.info("action.found_applied", application=snapshot.application.key, verb=str(sent.decision.verb), reason=str(sent.decision.reason))
    return (sent.decision,)


def _found(before: Memory, after: Memory, snapshot: Snapshot) -> Iterator[Message]:
    """What people are told where the Ingress shows another mode than is remembered."""
    if before.mode is not None and after.mode is not before.mode:
        yield adopted(snapshot, after.flips[-1])


def _book(record: _Record, now: float) -> None:
    """Books the time since the last pass. Only whoever leads keeps accounts: two replicas would count everything twice."""
    if record.snapshot is not None and record.decision is not None and record.snapshot.leader:
        record.ledger = booked(record.ledger, record.snapshot, record.decision, now - record.snapshot.now)


@dataclass(frozen=True, slots=True)
class View:
    """What a pass left of one application, for status and tests."""

    application: Application
    snapshot: Snapshot
    decision: Decision
    plan: Plan
    memory: Memory
    ledger: Ledger


class Controller:
    """Decides for all applications.

    Args:
        view: The cluster.
        external: CloudWatch, EC2 and the load balancer.
        store: Durable memory.
        executor: Who carries plans out; None: nobody does (a dry run).
        leadership: Whether this replica may act.
        dispatcher: Who tells people; None: nobody is told.
        telemetry: Metrics.
        clock: Time.
        sources: How fresh the watches are, for one application.
        interval_s: Longest time between two passes over an application, seconds.
        recorder: Who keeps decisions for `failoverctl replay`; None: nobody does.
        meter: Counts the API calls for each application; None: nobody does.
    """

    def __init__(
        self,
        view: ClusterView,
        external: ExternalSources,
        store: StateStore,
        executor: Executor | None,
        leadership: Leadership,
        dispatcher: Dispatcher | None,
        telemetry: Telemetry,
        clock: Clock,
        *,
        sources: Callable[[Application], tuple[Source, ...]],
        interval_s: float,
        recorder: Recorder | None = None,
        meter: CallMeter | None = None,
    ) -> None:
        self._view, self._external, self._store, self._executor = view, external, store, executor
        self._leadership, self._dispatcher, self._telemetry, self._clock = leadership, dispatcher, telemetry, clock
        self._sources, self._interval_s, self._recorder = sources, interval_s, recorder
        self._meter = meter or CallMeter()
        self._lock = threading.Lock()
        self._applications: Mapping[str, Application] = {}
        self._records: Mapping[str, _Record] = {}  # of the same keys in the same order; both are replaced, never changed
        self._builder = SnapshotBuilder(view, ())
        self.last_pass = clock.monotonic()

    def configure(self, applications: Mapping[str, Application]) -> None:
        """Replaces the applications. Memory of those that stay is kept."""
        with self._lock:
            before, self._applications = self._applications, dict(applications)
            self._records = {key: self._records.get(key) or self._new_record(key) for key in applications}
            self._builder = SnapshotBuilder(self._view, self._applications.values())
            for key, old in before.items():
                if key not in applications or applications[key].units != old.units:
                    self._telemetry.forget(key)  # a series of a unit that is gone would page for ever
        self._meter.retain(applications)
        self._view.dirty.mark(everything=True)

    def applications(self) -> list[Application]:
        """All applications."""
        with self._lock:
            return list(self._applications.values())

    def views(self) -> list[View]:
        """What the last passes left."""
        with self._lock:
            return [
                View(application, record.snapshot, record.decision, record.plan, record.memory, record.ledger)
                for key, application in self._applications.items()
                if (record := self._records.get(key)) is not None
                and record.snapshot is not None
                and record.decision is not None
                and record.plan is not None
                and record.memory is not None
            ]

    def run_due(self, stopping: Callable[[], bool] = lambda: False) -> float:
        """Passes over every application that needs it.

        Args:
            stopping: Asked between two applications; True ends the round early.

        Returns:
            Seconds of the clock until the next one is due, 0 where one is.
        """
        with self._lock:  # both stay with this round, whatever is configured meanwhile
            applications, records = list(self._applications.values()), self._records
        touched = self._view.dirty.take(applications)
        for application in touched:
            if stopping():
                break
            self._pass_safely(application, records[application.key])
        self._pass_over_time(applications, records, stopping)
        self.last_pass = self._clock.monotonic()
        self._telemetry.last_tick.set(self._clock.now())
        self._telemetry.unparsed.set(self._view.karpenter.unparsed)
        if not records:
            return self._interval_s
        return max(0.0, min(record.due for record in records.values()) - self._clock.now())

    def _pass_over_time(self, applications: list[Application], records: Mapping[str, _Record], stopping: Callable[[], bool]) -> None:
        """Those whose time has come, the longest overdue first, until something changes: that is more urgent. One at least each round."""
        now = self._clock.now()
        overdue = sorted((record.due, place) for place, record in enumerate(records.values()) if record.due <= now)
        for _, place in overdue:
            if stopping():
                break
            self._pass_safely(applications[place], records[applications[place].key])
            if self._view.dirty.pending():
                break

    def _new_record(self, key: str) -> _Record:
        return _Record(TermRecord(self._store, self._leadership, key))

    def _pass_safely(self, application: Application, record: _Record) -> None:
        """One application's trouble must not stop the others: what was not foreseen is logged, counted and tried again later."""
        try:
            with on_behalf_of(application.key):
                self._pass(application, record)
        except Exception:
            log.exception("pass.failed", application=application.key)
            self._telemetry.pass_errors.labels(application.key).inc()
            record.due = self._clock.now() + self._interval_s
        self.last_pass = self._clock.monotonic()  # after each: many applications and a slow API are no reason to be restarted

    def _pass(self, application: Application, record: _Record) -> None:
        self._load(application, record)
        snapshot = self._snapshot(application, record)
        _book(record, snapshot.now)
        settled = _settle(record, snapshot)
        before = record.memory or Memory()
        memory, decision = decide(before, snapshot)
        decision = replace(decision, alerts=(*decision.alerts, *_own_alerts(record)))
        made = plan(decision, snapshot)
        self._log_change(application, record, decision, made)
        with self._lock:
            record.snapshot, record.decision, record.plan = snapshot, decision, made
        record.memory = memory
        outcome = self._execute(record, made)
        done = self._clock.now()
        record.unanswered = _unanswered(record, decision, snapshot, outcome, done)
        if outcome.routed:
            record.memory = applied(memory, decision, done)
        if self._recorder is not None:
            self._recorder.offer(before, snapshot, made, outcome, record.memory, done)
        self._save(application, record)
        written = (*settled, decision) if outcome.routed else settled
        calls = self._meter.take(application.key)
        if snapshot.leader:
            record.ledger = counted(record.ledger, switches=sum(one.verb.switches for one in written), calls=calls)
        self._tell(application, record, snapshot, decision, [*_found(before, memory, snapshot), *self._written(snapshot, written)])
        with self._lock:
            if application.key in self._applications:  # else its series were forgotten meanwhile, and for good
                self._telemetry.decided(snapshot, decision, record.ledger)
        self._schedule(record, decision, outcome)

    def _load(self, application: Application, record: _Record) -> None:
        if record.memory is not None and not record.state_problem and record.term.current():
            return
        try:
            record.memory = record.term.load()
        except (RemoteError, StateError) as error:
            if str(error) != record.state_problem:
                log.warning("state.unreadable", application=application.key, error=str(error))
            record.state_problem = str(error)
            return
        record.state_problem = ""

    def _snapshot(self, application: Application, record: _Record) -> Snapshot:
        now = self._clock.now()
        sources = (*self._sources(application), *self._external.sources())
        if record.state_problem:
            # Stored state that cannot be read is unknown state: hold and alert, never guess.
            sources = (*sources, Source("state", required=True, last_ok=None, budget_s=0.0, problem=record.state_problem))
        return self._builder.build(
            application,
            now,
            sources,
            self._external.of(application),
            leader=self._leadership.leads(),
            epoch=record.term.epoch,
        )

    def _execute(self, record: _Record, made: Plan) -> Outcome:
        if self._executor is None or not made.due:
            return Outcome()
        outcome = self._executor.execute(made, record.term.epoch)
        for action in outcome.applied:
            self._telemetry.actions.labels(made.application, action.kind.value, "applied").inc()
        if outcome.failed is not None:
            self._telemetry.actions.labels(made.application, outcome.failed.kind.value, "failed").inc()
            record.failures += 1
            record.failed = f"{describe(outcome.failed)}: {outcome.error}" + _hint(outcome)
        elif not outcome.unconfirmed:
            record.failures = 0
        return outcome

    def _save(self, application: Application, record: _Record) -> None:
        if record.memory is None or record.state_problem:
            return
        try:
            record.term.save(record.memory)
            record.unsaved = 0
        except Conflict as error:
            log.warning("state.conflict", application=application.key, error=str(error))
            record.memory = None  # somebody else wrote it: read it again before the next decision
        except (RemoteError, StateError) as error:
            # What was done stands on the Ingress; the memory is saved with the next pass.
            log.warning("state.unsaved", application=application.key, error=str(error))
            record.unsaved, record.save_problem = record.unsaved + 1, str(error)

    def _written(self, snapshot: Snapshot, decisions: Iterable[Decision]) -> Iterator[Message]:
        """Counts the routing actions that were written to the Ingress, and says what people are told of them."""
        for one in decisions:
            if one.verb.switches and one.mode is not None:
                self._telemetry.switches.labels(snapshot.application.key, one.mode.value, one.reason.value).inc()
            message = routed(snapshot, one)
            if message is not None:
                yield message

    def _tell(self, application: Application, record: _Record, snapshot: Snapshot, decision: Decision, news: list[Message]) -> None:
        if not snapshot.leader:
            record.alerts = {}  # whoever leads tells; what is still on when this replica begins to lead, it tells then
            return
        record.alerts, messages = alert_changes(snapshot, record.alerts, decision.alerts, decision.mode)
        messages += news
        override = snapshot.routing.override
        shown = f"{override.paused_until} {override.pinned_mode} {override.pinned_until} {override.why} {override.problem}"
        if record.override and shown != record.override:
            what = override.problem or decision.sentence
            messages.append(control(application.key, "Override", f"{application.name}: override changed", what, snapshot.now))
        record.override = shown
        self.publish(messages)

    def publish(self, messages: Iterable[Message]) -> None:
        """Hands messages to the dispatcher, if there is one."""
        if self._dispatcher is not None:
            for message in messages:
                self._dispatcher.publish(message)

    def _schedule(self, record: _Record, decision: Decision, outcome: Outcome) -> None:
        wait = max(self._interval_s, len(self._applications) / PASSES_PER_S)
        if decision.next_check_s is not None:
            wait = min(wait, decision.next_check_s + 0.01)
        if outcome.unconfirmed:
            wait = min(wait, _RETRY_BASE_S)
        if outcome.failed is not None:
            wait = min(wait, _RETRY_MAX_S, _RETRY_BASE_S * 2.0 ** min(record.failures - 1, 10))
        record.due = self._clock.now() + wait

    def _log_change(self, application: Application, record: _Record, decision: Decision, made: Plan) -> None:
        """Logs what is new: the decision when its verb, reason or mode changes, never the same again and again."""
        before = record.decision
        same = before is not None and (before.verb, before.reason, before.mode, before.wanted) == (
            decision.verb,
            decision.reason,
            decision.mode,
            decision.wanted,
        )
        planned = record.plan.actions if record.plan is not None else ()
        if same and (self._executor is not None or planned == made.actions):
            return  # a dry run tells every other plan as well: nobody applies it, so it is not seen otherwise
        log.info(
            "decision.changed",
            application=application.key,
            verb=str(decision.verb),
            mode=str(decision.mode or "unknown"),
            reason=str(decision.reason),
            why=decision.sentence,
            wanted=str(decision.wanted or ""),
            short=[name for name, judged in decision.evidence.items() if judged.short],
            actions=[describe(action) for action in made.due],
            dry_run=self._executor is None,
        )
        if self._executor is None:
            for action in made.actions:
                log.info(
                    "action.planned",
                    application=application.key,
                    action=describe(action),
                    unit=action.unit,
                    deferred=action.deferred,
                    content_type=action.content_type,
                    body=action.body,
                )
