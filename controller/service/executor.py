"""Carries out a plan in order and checks leadership before each action."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from controller.clients.calls import on_behalf_of
from controller.errors import Conflict, RemoteError, Unavailable
from controller.policy.model import Action, ActionKind, Plan
from controller.policy.plan import body, describe, requests
from controller.ports import Applier, Leadership
from controller.service.election import EFFECT_S

SIDE_BY_SIDE: Final = 4
"""Requests of one plan at the same time."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Failure:
    """An action that failed, and why."""

    action: Action
    error: RemoteError

    @property
    def in_doubt(self) -> bool:
        """Whether the answer was lost, so that the action may have been carried out."""
        return isinstance(self.error, Unavailable)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of carrying out a plan.

    Attributes:
        applied: The actions that were accepted.
        failures: The actions that failed, in order.
        unconfirmed: Whether actions were skipped because this replica could not be sure that it still leads.
    """

    applied: tuple[Action, ...] = ()
    failures: tuple[Failure, ...] = ()
    unconfirmed: bool = False

    @property
    def routed(self) -> bool:
        """Whether the routing action was accepted."""
        return any(action.kind is ActionKind.ROUTE for action in self.applied)

    @property
    def in_doubt(self) -> bool:
        """Whether the answer to the routing action was lost, so that it may have been carried out."""
        return any(one.action.kind is ActionKind.ROUTE and one.in_doubt for one in self.failures)


@dataclass(frozen=True, slots=True)
class _Result:
    """The result of one action."""

    action: Action
    error: RemoteError | None = None
    unconfirmed: bool = False

    @property
    def applied(self) -> bool:
        return self.error is None and not self.unconfirmed


class Executor:
    """Applies the due actions of plans.

    Args:
        applier: Sends the actions.
        leadership: Says who may act.
        side_by_side: Requests of one plan at the same time, one of them in the caller's thread. 1: one after the other in the plan's order,
            so that a simulated run is repeatable.
        plans: Plans that are carried out at the same time. There are threads enough for all, so that one that hangs delays no other.
    """

    def __init__(self, applier: Applier, leadership: Leadership, *, side_by_side: int = SIDE_BY_SIDE, plans: int = 1) -> None:
        self._applier = applier
        self._leadership = leadership
        self._side_by_side = side_by_side
        others = side_by_side - 1  # besides the caller's thread
        self._pool = ThreadPoolExecutor(others * plans, thread_name_prefix="action") if others else None
        self._stopping = threading.Event()

    def execute(self, plan: Plan, epoch: int, *, routing_alone: bool = False) -> Outcome:
        """Applies the due actions while this replica leads in `epoch`, the term in which the plan was made.

        Actions before the routing action run side by side, then that one, then those after it: most of a mode change is waiting for
        answers. Actions on one object go out in one request. If a floor cannot be raised, the routing action still goes out, because the
        guards found the receiving side ready as it is. A failed routing action stops everything after it: nothing may be lowered behind
        traffic that did not move.

        Args:
            plan: The plan.
            epoch: The term.
            routing_alone: Apply the routing action and nothing else.
        """
        due = [action for action in plan.due if action.kind is ActionKind.ROUTE] if routing_alone else plan.due
        results: list[_Result] = []
        for stage in _stages(requests(due)):
            done = self._together(plan.application, epoch, stage)
            results += done
            moved = not any(one.error for one in done if one.action.kind is ActionKind.ROUTE)
            if not moved or any(one.unconfirmed for one in done):
                break
        applied = tuple(one.action for one in results if one.applied)
        failures = tuple(Failure(one.action, one.error) for one in results if one.error is not None)
        return Outcome(applied, failures, any(one.unconfirmed for one in results))

    def _together(self, application: str, epoch: int, stage: Sequence[Sequence[Action]]) -> list[_Result]:
        """Sends requests for different objects side by side."""
        first, *others = (stage[start :: self._side_by_side] for start in range(min(len(stage), self._side_by_side)))

        def run(lane: Sequence[Sequence[Action]]) -> list[list[_Result]]:
            return [self._one(application, epoch, request) for request in lane]

        waiting = self._pool.map(run, others) if self._pool is not None else ()
        runs = [iter(done) for done in (run(first), *waiting)]
        return [one for place in range(len(stage)) for one in next(runs[place % len(runs)])]

    def _one(self, application: str, epoch: int, actions: Sequence[Action]) -> list[_Result]:
        """Sends the actions of one request."""
        if self._stopping.is_set() or not self._leadership.confirm(epoch, EFFECT_S):
            for action in actions:
                log.warning("action.not_leading", application=application, action=describe(action))
            return [_Result(action, unconfirmed=True) for action in actions]
        try:
            with on_behalf_of(application):  # here, because the threads of the pool do not see the caller's context
                self._applier.apply(actions, deadline_s=EFFECT_S)
        except RemoteError as error:
            # Made from what somebody has changed since: the next pass makes it anew. That is nobody's failure.
            note = partial(log.info, "action.overtaken") if isinstance(error, Conflict) else partial(log.warning, "action.failed")
            for action in actions:
                note(application=application, action=describe(action), error=str(error))
            return [_Result(action, error=error) for action in actions]
        sent = body(actions)
        for action in actions:
            log.info("action.applied", application=application, action=describe(action), unit=action.unit, body=sent)
        return [_Result(action) for action in actions]

    def stop(self) -> None:
        """Sends nothing more: what is under way ends, what is left of a plan counts as unconfirmed."""
        self._stopping.set()

    def close(self) -> None:
        """Ends the threads. They are idle, because `execute` waits for them."""
        if self._pool is not None:
            self._pool.shutdown()


def _stages(due: Sequence[Sequence[Action]]) -> Iterator[Sequence[Sequence[Action]]]:
    """The requests before the routing action, that one, and those after it; all together where there is none."""
    place = next((index for index, request in enumerate(due) if request[0].kind is ActionKind.ROUTE), len(due))
    return (stage for stage in (due[:place], due[place : place + 1], due[place + 1 :]) if stage)
