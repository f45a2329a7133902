"""One process of the controller: when it decides, and how it carries a plan out.

The order of a pass is that of `controller.service.controller` and `controller.service.executor`: load the memory once a term, snapshot,
`decide`, `plan`, the due actions (what is raised, the routing, what is lowered; a routing that fails ends it), `memory.applied`, save under
compare-and-swap. Passes come when a watch wakes them, when `next_check_s` says so, and after the interval.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from controller.errors import Conflict, RemoteError, StateError
from controller.policy.decide import decide
from controller.policy.memory import applied
from controller.policy.model import Action, ActionKind, Application, Decision, Memory, Plan, Snapshot
from controller.policy.plan import plan
from controller.ports import Applier, Leadership, StateStore, StoredMemory
from failover_analysis.simulation.event_queue import EventQueue
from failover_analysis.simulation.fault_state import FaultState
from failover_analysis.simulation.simulated_view import INGRESS, KEDA, SimulatedView

WATCH_LAG_S: Final = 0.2
"""From a change to the pass that sees it, seconds: the reaction benchmark's median is below that."""

_RETRY_BASE_S: Final = 1.0  # as controller.service.controller
_RETRY_MAX_S: Final = 60.0
_DEADLINE_S: Final = 2.5


class Crash(Exception):
    """The process dies here."""


class MortalApplier:
    """An applier whose process may die at an action, as the fault state says.

    Args:
        applier: Where actions go.
        fault_state: What is wrong.
    """

    def __init__(self, applier: Applier, fault_state: FaultState) -> None:
        self._applier, self._fault_state = applier, fault_state

    def apply(self, action: Action, *, deadline_s: float) -> None:
        """See `controller.ports.Applier.apply`.

        Raises:
            Crash: The process dies, before or after the action took effect.
        """
        crash, self._fault_state.crash = self._fault_state.crash, ""
        if crash == "before":
            raise Crash
        self._applier.apply(action, deadline_s=deadline_s)
        if crash == "after":
            raise Crash


class Observer(Protocol):
    """Is notified of everything that a replica does."""

    def decided(self, replica: Replica, snapshot: Snapshot, decision: Decision, made: Plan) -> None:
        """A pass has decided, and nothing was applied yet."""

    def acted(self, replica: Replica, snapshot: Snapshot, decision: Decision, action: Action, error: RemoteError | None) -> None:
        """An action was answered."""

    def passed(self, replica: Replica, snapshot: Snapshot, decision: Decision, memory: Memory | None) -> None:
        """A pass is over."""


@dataclass(frozen=True, slots=True)
class _Pass:
    """A pass that has decided and has not acted yet."""

    snapshot: Snapshot
    decision: Decision
    made: Plan
    memory: Memory
    epoch: int


class Replica:
    """A process.

    Args:
        number: Its name.
        event_queue: Time.
        application: As its file describes it.
        view: What it sees.
        applier: Where actions go.
        store: Durable memory.
        leadership: Whether it may act.
        observer: Notified of everything that the process does.
        died: Called when it crashed.
        interval_s: Longest time between two passes, seconds.
    """

    def __init__(
        self,
        number: int,
        event_queue: EventQueue,
        application: Application,
        view: SimulatedView,
        applier: Applier,
        store: StateStore,
        leadership: Leadership,
        observer: Observer,
        died: Callable[[], None],
        interval_s: float,
    ) -> None:
        self.number, self._event_queue, self.application, self._view = number, event_queue, application, view
        self._applier, self._store, self.leadership, self._observer, self._died = applier, store, leadership, observer, died
        self._interval_s = interval_s
        self._memory: Memory | None = None
        self._stored: StoredMemory | None = None
        self._loaded_in = -1
        self._problem = ""
        self._failures = 0
        self._due = event_queue.now
        self.alive = True
        self.paused = False
        self.froze: Callable[[], None] | None = None
        """Called once, when the process stands still between a decision and its actions; None: it does not."""
        self._frozen: _Pass | None = None
        view.woken = self.wake
        self._soon(0.0)

    @property
    def memory(self) -> Memory:
        """What is remembered: while a pass decides, what it decides with."""
        return self._memory or Memory()

    # --- when -------------------------------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Something changed that a watch delivers."""
        if self.alive and self._due > self._event_queue.now + WATCH_LAG_S:
            self._soon(WATCH_LAG_S)

    def _soon(self, seconds: float) -> None:
        due = self._due = self._event_queue.now + seconds
        self._event_queue.at(due, lambda: self._run(due))

    def _run(self, due: float) -> None:
        if not self.alive or self.paused or due != self._due:
            return
        try:
            wait = self._pass()
        except Crash:
            self.kill()
            self._died()
            return
        self._soon(wait)

    def kill(self) -> None:
        """The process is gone, with all that it had not saved."""
        self.alive = False
        self._view.stop()

    def resume(self) -> None:
        """It goes on after a pause, with what was due, or with what it had decided before."""
        frozen, self.paused, self._frozen = self._frozen, False, None
        if not self.alive:
            return
        if frozen is not None:
            self._soon(self._carried_out(frozen))
        else:
            self._soon(0.0)

    def reconfigure(self, application: Application) -> None:
        """The application file was reloaded."""
        self.application = self._view.application = application
        self.wake()

    # --- a pass -------------------------------------------------------------------------------------------------------------------------

    def _pass(self) -> float:
        """One pass.

        Returns:
            Seconds until the next one.
        """
        self._load()
        epoch = self._loaded_in
        snapshot = self._view.snapshot(leader=self.leadership.leads(), epoch=epoch, state_problem=self._problem)
        memory, decision = decide(self.memory, snapshot)
        made = plan(decision, snapshot)
        self._observer.decided(self, snapshot, decision, made)
        self._memory = memory
        under_way = _Pass(snapshot, decision, made, memory, epoch)
        if self.froze is not None and made.due:
            self.paused, self._frozen = True, under_way
            self.froze()
            self.froze = None
            return self._interval_s
        return self._carried_out(under_way)

    def _carried_out(self, under_way: _Pass) -> float:
        """The second half of a pass; arguments and result as of `_pass`."""
        snapshot, decision, epoch = under_way.snapshot, under_way.decision, under_way.epoch
        routed, failed, unconfirmed = self._execute(snapshot, decision, under_way.made, epoch)
        if routed:
            self._memory = applied(under_way.memory, decision, snapshot.now)
        self._save(epoch)
        self._observer.passed(self, snapshot, decision, self._memory)
        wait = self._interval_s
        if decision.next_check_s is not None:
            wait = min(wait, decision.next_check_s + 0.01)
        if unconfirmed:
            wait = min(wait, _RETRY_BASE_S)
        if failed:
            wait = min(wait, _RETRY_MAX_S, _RETRY_BASE_S * 2.0 ** min(self._failures - 1, 10))
        return wait

    def _load(self) -> None:
        """Once a term, and again after a conflict."""
        if self._memory is not None and not self._problem and self._loaded_in == self.leadership.epoch():
            return
        try:
            self._stored = self._store.load(self.application.key)
        except (RemoteError, StateError) as error:
            self._problem, self._loaded_in = str(error), self.leadership.epoch()
            return
        if self._stored.epoch > self.leadership.epoch():
            self.leadership.outrank(self._stored.epoch)
        self._memory, self._problem, self._loaded_in = self._stored.memory, "", self.leadership.epoch()

    def _execute(self, snapshot: Snapshot, decision: Decision, made: Plan, epoch: int) -> tuple[bool, bool, bool]:
        """Applies what is due.

        Returns:
            Whether the routing action was accepted, whether an action failed, and whether one was left undone for want of leadership.
        """
        routed = failed = False
        for action in made.due:
            routing = action.kind is ActionKind.ROUTE
            if not self.leadership.confirm(epoch, _DEADLINE_S):
                return routed, failed, True
            error = self._apply(action)
            self._observer.acted(self, snapshot, decision, action, error)
            failed = failed or error is not None
            routed = routed or (routing and error is None)
            if routing and error is not None:
                break  # nothing may be lowered behind traffic that did not move
        self._failures = self._failures + 1 if failed else 0
        return routed, failed, False

    def _apply(self, action: Action) -> RemoteError | None:
        try:
            self._applier.apply(action, deadline_s=_DEADLINE_S)
        except RemoteError as error:
            return error
        self._view.wrote(INGRESS if action.kind is ActionKind.ROUTE else KEDA)
        if action.kind is ActionKind.ROUTE:
            self._view.look_soon()
        return None

    def _save(self, epoch: int) -> None:
        if self._memory is None or self._stored is None or self._problem:
            return
        same = self._stored.epoch == epoch and self._memory == self._stored.memory
        if same or not self.leadership.confirm(epoch, _DEADLINE_S):
            return
        try:
            self._stored = self._store.save(self.application.key, self._memory, over=self._stored, epoch=epoch)
        except Conflict:
            self._memory = None  # somebody else wrote it: read it again before the next decision
        except RemoteError:
            pass  # what was done stands on the Ingress; the memory is saved with the next pass
