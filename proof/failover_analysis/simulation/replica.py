"""One process of the controller: the production pass in virtual time.

A pass runs when a watch delivers a change, when the last pass has scheduled it, and after the interval.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from controller.clock import Clock
from controller.errors import RemoteError
from controller.policy.decision import Conclusion
from controller.policy.model import Action, ActionKind, Application
from controller.ports import Applier, Leadership, StateStore
from controller.service.application_pass import Acted, ApplicationPass, Decided
from controller.service.executor import Executor
from controller.service.terms import TermRecord
from failover_analysis.simulation.crash_points import Crash
from failover_analysis.simulation.event_queue import EventQueue
from failover_analysis.simulation.fault_state import FaultState
from failover_analysis.simulation.simulated_view import KEDA, ROUTING, SimulatedView

WATCH_LAG_S: Final = 0.2
"""Time from a change to the pass that sees it, seconds: the reaction benchmark's median is below that."""
OTHERS_S: Final = 10.0
"""The same while many other applications wait for a pass, seconds: the benchmark's goal for the last of a thousand."""


class FaultyApplier:
    """An applier whose process dies at an action if the fault state says so.

    Args:
        applier: Applies the actions.
        fault_state: The faults in force.
    """

    def __init__(self, applier: Applier, fault_state: FaultState) -> None:
        self._applier, self._fault_state = applier, fault_state

    def apply(self, actions: Sequence[Action], *, deadline_s: float) -> None:
        """See `controller.ports.Applier.apply`.

        Raises:
            Crash: The process dies, before or after the actions took effect.
        """
        crash, self._fault_state.crash = self._fault_state.crash, ""
        if crash == "before":
            raise Crash
        self._applier.apply(actions, deadline_s=deadline_s)
        if crash == "after":
            raise Crash


class _AnsweredApplier:
    """An applier that reports every answer.

    Args:
        applier: Applies the actions.
        answered: Called with the action and its error, None if it was accepted.
    """

    def __init__(self, applier: Applier, answered: Callable[[Action, RemoteError | None], None]) -> None:
        self._applier, self._answered = applier, answered

    def apply(self, actions: Sequence[Action], *, deadline_s: float) -> None:
        """See `controller.ports.Applier.apply`."""
        try:
            self._applier.apply(actions, deadline_s=deadline_s)
        except RemoteError as error:
            for action in actions:
                self._answered(action, error)
            raise
        for action in actions:
            self._answered(action, None)


class ReplicaObserver(Protocol):
    """Is notified of everything that a replica does."""

    def decided(self, replica: Replica, conclusion: Conclusion) -> None:
        """A pass has decided and not applied anything yet."""

    def acted(self, replica: Replica, conclusion: Conclusion, action: Action, error: RemoteError | None) -> None:
        """An action was answered."""

    def passed(self, replica: Replica, conclusion: Conclusion, acted: Acted) -> None:
        """A pass is over."""


class Observers(list[ReplicaObserver]):
    """Observers that are notified one after the other."""

    def decided(self, replica: Replica, conclusion: Conclusion) -> None:
        """See `ReplicaObserver.decided`."""
        for one in self:
            one.decided(replica, conclusion)

    def acted(self, replica: Replica, conclusion: Conclusion, action: Action, error: RemoteError | None) -> None:
        """See `ReplicaObserver.acted`."""
        for one in self:
            one.acted(replica, conclusion, action, error)

    def passed(self, replica: Replica, conclusion: Conclusion, acted: Acted) -> None:
        """See `ReplicaObserver.passed`."""
        for one in self:
            one.passed(replica, conclusion, acted)


class Replica:
    """One process.

    Args:
        number: Identifies the process.
        event_queue: Virtual time.
        application: As its file describes it.
        view: What it can observe.
        applier: Applies the actions.
        store: Durable memory.
        leadership: Whether it may act.
        observer: Notified of everything that the process does.
        died: Called when the process has crashed.
        clock: Its wall clock.
        interval_s: Longest time between two passes, seconds.
        fault_state: Says whether other applications wait.
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
        observer: ReplicaObserver,
        died: Callable[[], None],
        clock: Clock,
        interval_s: float,
        fault_state: FaultState,
    ) -> None:
        self.number, self._event_queue, self.application, self._view = number, event_queue, application, view
        self.leadership, self._observer, self._died, self._interval_s = leadership, observer, died, interval_s
        self._fault_state = fault_state
        executor = Executor(_AnsweredApplier(applier, self._answered), leadership, side_by_side=1)
        self._passes = ApplicationPass(view, TermRecord(store, leadership, application.key), executor, leadership, clock)
        self._due = event_queue.now
        self.alive = True
        self.paused = False
        self.froze: Callable[[], None] | None = None
        """If set: called once, and the process is suspended between a decision and its actions."""
        self._frozen: Decided | None = None
        self._acting: Conclusion  # of the actions in progress
        view.woken = self.wake
        self._soon(0.0)

    # --- when -------------------------------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """A watch has delivered a change."""
        lag_s = OTHERS_S if self._fault_state.others_wait else WATCH_LAG_S
        if self.alive and self._due > self._event_queue.now + lag_s:
            self._soon(lag_s)

    def _soon(self, seconds: float) -> None:
        due = self._due = self._event_queue.now + seconds
        self._event_queue.at(due, lambda: self._run(due))

    def _run(self, due: float) -> None:
        if self.alive and not self.paused and due == self._due:
            self._unless_it_dies(self._pass)

    def _unless_it_dies(self, work: Callable[[], float]) -> None:
        """Runs a part of a pass, which returns the seconds until the next one."""
        try:
            wait = work()
        except Crash:
            self.kill()
            self._died()
            return
        self._soon(wait)

    def kill(self) -> None:
        """Ends the process. What it has not saved is lost."""
        self.alive = False
        self._view.stop()

    def resume(self) -> None:
        """Resumes a suspended process with what was due, or with its earlier decision."""
        frozen, self.paused, self._frozen = self._frozen, False, None
        if not self.alive:
            return
        if frozen is not None:
            self._unless_it_dies(lambda: self._act(frozen))
        else:
            self._soon(0.0)

    def reconfigure(self, application: Application) -> None:
        """The application file was reloaded."""
        self.application = self._view.application = application
        self.wake()

    # --- a pass -----------------------------------------------------------------------------------------------------------------------

    def _pass(self) -> float:
        decided = self._passes.decide(self.application)
        self._observer.decided(self, decided.conclusion)
        if self.froze is not None and decided.conclusion.plan.due:
            self.paused, self._frozen = True, decided
            self.froze()
            self.froze = None
            return self._interval_s
        return self._act(decided)

    def _act(self, decided: Decided) -> float:
        self._acting = decided.conclusion
        others_wait = self._fault_state.others_wait
        acted = self._passes.act(decided, others_wait=others_wait)
        self._observer.passed(self, decided.conclusion, acted)
        return max(min(self._interval_s, acted.again_s), OTHERS_S if others_wait else 0.0)

    def _answered(self, action: Action, error: RemoteError | None) -> None:
        if error is None:
            self._view.wrote(ROUTING if action.kind is ActionKind.ROUTE else KEDA)
            if action.kind is ActionKind.ROUTE:
                self._view.check_soon()
        self._observer.acted(self, self._acting, action, error)
