"""One pass over one application: load the memory, observe, settle what is in doubt, decide, plan, act, remember, save.

These steps are composed only here. The service runs them, and so does the simulation, with simulated ports. `decide` and `act` are two
calls, so that the caller can show a decision before anything is applied, and the simulation can stop a process between the two.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Final, Protocol

import structlog

from controller.clock import Clock, Steps
from controller.errors import Conflict, RemoteError, StateError
from controller.policy.alert_kinds import AlertKind
from controller.policy.decision import Conclusion
from controller.policy.memory import applied
from controller.policy.model import ActionKind, Alert, Application, Decision, Memory, Offerings, Snapshot, Source, moved
from controller.ports import Leadership
from controller.routing.conclusion import conclude
from controller.service.executor import Executor, Outcome
from controller.service.in_doubt import InDoubt
from controller.service.retries import STATE_RETRY_MAX_S, Backoff, Retries
from controller.service.terms import TermRecord

_UNCONFIRMED_S: Final = 1.0  # until the next pass where leadership could not be confirmed before an action: a sooner one would skip it, too
_LOST_S: Final = 2.0
"""Until the next pass after another writer was first: until then the application has no memory, and `status` and metrics do not show it."""
_CHECK_SLACK_S: Final = 0.01  # so that rounding does not make a pass come before the time that a decision waits for

log = structlog.get_logger(__name__)


class Observer(Protocol):
    """Takes snapshots."""

    def snapshot(self, application: Application, *, leader: bool, epoch: int, further: tuple[Source, ...] = ()) -> Snapshot:
        """Everything that one decision is made from, now.

        Args:
            application: The application to observe.
            leader: Whether this replica may act.
            epoch: The leadership term in which the memory was loaded.
            further: Sources besides those that the observer knows.
        """

    def ask(self, application: str, probes: Mapping[str, Offerings]) -> None:
        """Takes what the decision wants to be asked of EC2, see `Decision.probes`; never blocks."""


@dataclass(frozen=True, slots=True)
class Decided:
    """The first half of a pass: nothing is applied yet.

    Attributes:
        conclusion: Memory, snapshot, decision and plan.
        settled: Earlier decisions whose routing action was written although its answer was lost.
    """

    conclusion: Conclusion
    settled: tuple[Decision, ...]


@dataclass(frozen=True, slots=True)
class Acted:
    """The second half of a pass.

    Attributes:
        outcome: The result of carrying out the plan.
        memory: The memory after it.
        at: When the plan had been carried out, seconds since the Unix epoch.
        written: The decisions whose routing action was accepted now, or found to be written.
        again_s: Seconds after which another pass is due; infinite if only the interval requires one.
    """

    outcome: Outcome
    memory: Memory
    at: float
    written: tuple[Decision, ...]
    again_s: float


class ApplicationPass:
    """Passes over one application, and the state between them.

    Args:
        observer: Takes the snapshots.
        record: The stored memory.
        executor: Carries out plans; None for a dry run, which does not.
        leadership: Whether this replica may act.
        clock: The clock.
        computing: Held while a pass observes and decides, which only computes. Threads that do so at once take the processor from each
            other: [why](../../docs/decisions/0011-work-queue.md).
    """

    def __init__(
        self,
        observer: Observer,
        record: TermRecord,
        executor: Executor | None,
        leadership: Leadership,
        clock: Clock,
        computing: AbstractContextManager[object] | None = None,
    ) -> None:
        self._observer, self._record, self._executor, self._leadership, self._clock = observer, record, executor, leadership, clock
        self._computing = computing or nullcontext()
        self._steps = Steps(clock)
        self.memory: Memory | None = None
        """The memory; None: it must be loaded first."""
        self._state_problem = ""
        self._in_doubt: InDoubt | None = None
        self._retries = Retries()
        self._loading, self._saving, self._save_problem = Backoff(STATE_RETRY_MAX_S), Backoff(STATE_RETRY_MAX_S), ""
        self._behind = False  # whether the leader has changed the mode since this replica, which stands by, loaded the memory

    @property
    def stored_alerts(self) -> tuple[Alert, ...]:
        """The alerts that people knew of when the memory was stored; () once it is saved again."""
        return self._record.alerts

    def decide(self, application: Application) -> Decided:
        """Loads the memory if necessary, observes, settles what is in doubt, decides and plans."""
        self._load(application)
        self._follow_clock(application)
        further = (self._unreadable(),) if self._state_problem else ()
        with self._computing:
            snapshot = self._observer.snapshot(application, leader=self._leadership.leads(), epoch=self._record.epoch, further=further)
            settled = self._settle(snapshot)
            conclusion = conclude(self.memory or Memory(), snapshot, alerts=self._alerts(snapshot.rival))
        if self._retries.failed:
            conclusion = replace(conclusion, plan=self._retries.deferring(conclusion.plan, self._clock.monotonic()))
        self._observer.ask(application.key, conclusion.decision.probes)
        self.memory = conclusion.memory
        self._behind = not snapshot.leader and conclusion.memory.mode is not conclusion.before.mode
        return Decided(conclusion, settled)

    def act(self, decided: Decided, *, others_wait: bool = False) -> Acted:
        """Carries out the plan, remembers what was written, and saves.

        Args:
            decided: The first half of the pass.
            others_wait: Whether many applications wait for a pass. Then a mode change writes its routing action alone, and the next pass,
                which is due at once, does the rest, the save included. A process that dies in between leaves the same state as one that
                dies before its save: the mode is on the routing object, and the floors of all units are due.
        """
        conclusion = decided.conclusion
        outcome = Outcome()
        routing_alone = others_wait and _changes_mode(conclusion)
        if self._executor is not None and conclusion.plan.due:
            outcome = self._executor.execute(conclusion.plan, conclusion.snapshot.epoch, routing_alone=routing_alone)
        at = self._clock.now()
        self._retries.count(outcome, self._clock.monotonic())
        # The request may be sent again. If that one is rejected, the first one is still in doubt.
        self._in_doubt = None if outcome.routed else InDoubt.after(outcome, conclusion, at) or self._in_doubt
        memory = self.memory = conclusion.written(outcome.applied, at)
        written = (*decided.settled, conclusion.decision) if outcome.routed else decided.settled
        if routing_alone and outcome.routed:
            return Acted(outcome, memory, at, written, again_s=0.0)
        lost = self._save(conclusion.snapshot.application, memory)
        now = self._clock.monotonic()
        stored = self._loading if self._state_problem else self._saving  # nothing is saved over what cannot be read
        tried_s = stored.left(now) if stored.times else math.inf
        # A failed action that is due again was skipped as well: without leadership, a pass that its retry asks for would come at once.
        again_s = (
            _UNCONFIRMED_S if outcome.unconfirmed else min(self._retries.again_s(conclusion.plan, now), _checked_s(conclusion.decision))
        )
        return Acted(outcome, memory, at, written, min(again_s, tried_s, _LOST_S if lost else math.inf))

    def leave(self) -> None:
        """Stores the memory and the latest alerts once more: no pass comes after.

        Raises:
            RemoteError: They could not be written.
        """
        if self.memory is not None and not self._state_problem:
            self._record.save(self.memory, with_alerts=True)

    # --- the steps ----------------------------------------------------------------------------------------------------------------------

    def _load(self, application: Application) -> None:
        """Loads the memory once a term, after a conflict, and with growing pauses while it is unreadable.

        A replica that stands by loads it again in the pass after the one in which it found another mode: the leader has saved by then why
        it changed the mode, which the page of this one shows, too.
        """
        if self.memory is not None and not self._state_problem and self._record.current() and not self._behind:
            return
        if self._state_problem and self._loading.left(self._clock.monotonic()):
            return
        try:
            self.memory = self._record.load()
        except (RemoteError, StateError) as error:
            if str(error) != self._state_problem:
                log.warning("state.unreadable", application=application.key, error=str(error))
            self._state_problem = str(error)
            self._loading.failed(self._clock.monotonic(), _retry_after_s(error))
            return
        self._state_problem = ""
        self._loading.succeeded()

    def _follow_clock(self, application: Application) -> None:
        """Moves all that is remembered along with a step of the wall clock: no wait gets shorter or longer because somebody set it."""
        seconds = self._steps.taken()
        if not seconds:
            return
        log.warning("clock.stepped", application=application.key, seconds=round(seconds, 1))
        if self.memory is not None:
            self.memory = moved(self.memory, seconds)
        if self._in_doubt is not None:
            self._in_doubt = replace(self._in_doubt, at=self._in_doubt.at + seconds)

    def _unreadable(self) -> Source:
        """Reports unreadable memory as a stale source, so that the decision holds and alerts instead of guessing."""
        return Source("state", required=True, last_ok=None, budget_s=0.0, problem=self._state_problem)

    def _settle(self, snapshot: Snapshot) -> tuple[Decision, ...]:
        """The decision in doubt, if the routing object shows its routing action. It is remembered like any other.

        If another replica has led since, it may have remembered the action itself, so nothing is added.
        """
        sent = self._in_doubt
        if sent is None or self.memory is None or self._state_problem or not sent.resolved(snapshot.routing):
            return ()  # the stored memory will replace this one, so that anything added here would be lost
        self._in_doubt = None
        if not snapshot.leader or sent.epoch != snapshot.epoch or not sent.written(snapshot.routing):
            return ()
        self.memory = applied(self.memory, sent.decision, sent.at, sent.action)
        verb, reason = str(sent.decision.verb), str(sent.decision.reason)
        log.info("action.found_applied", application=snapshot.application.key, verb=verb, reason=reason)
        return (sent.decision,)

    def _alerts(self, rival: str) -> Iterator[Alert]:
        """Alerts about actions and saves that keep failing."""
        yield from self._retries.alerts(rival)
        if self._saving.lasts:
            yield Alert.of(AlertKind.STATE_UNSAVED, {"problem": self._save_problem})

    def _save(self, application: Application, memory: Memory) -> bool:
        """Saves the memory.

        Returns:
            Whether another writer was first, so that it must be loaded again.
        """
        if self._state_problem or self._saving.left(self._clock.monotonic()):
            return False
        try:
            self._record.save(memory)
            self._saving.succeeded()
        except Conflict as error:
            log.warning("state.conflict", application=application.key, error=str(error))
            self.memory = None  # another writer was first: load its memory before the next decision
            return True
        except (RemoteError, StateError) as error:
            # The routing object has the change; a later pass saves the memory.
            log.warning("state.unsaved", application=application.key, error=str(error))
            self._saving.failed(self._clock.monotonic(), _retry_after_s(error))
            self._save_problem = str(error)
        return False


def _changes_mode(conclusion: Conclusion) -> bool:
    """Whether the plan writes a mode change now."""
    return conclusion.decision.verb.changes_mode and any(action.kind is ActionKind.ROUTE for action in conclusion.plan.due)


def _retry_after_s(error: RemoteError | StateError) -> float | None:
    return error.retry_after_s if isinstance(error, RemoteError) else None


def _checked_s(decision: Decision) -> float:
    """Seconds until the decision is to be made again; infinite if nothing requires it."""
    return math.inf if decision.next_check_s is None else decision.next_check_s + _CHECK_SLACK_S
