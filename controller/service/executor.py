"""Carries out a plan, in order, with leadership checked before each action."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import structlog

from controller.errors import RemoteError
from controller.policy.model import Action, ActionKind, Plan
from controller.policy.plan import describe
from controller.ports import Applier, Leadership

ACTION_S: Final = 2.5
"""Deadline of one action, seconds. With a renewal before it, it fits into the quarter of the lease duration in which a leader may act."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a plan.

    Attributes:
        applied: The actions that were accepted.
        routed: Whether the routing action was among them.
        failed: The action that was not, None where all were.
        error: Why it was not.
        unconfirmed: Whether something was left undone because this replica could not be sure that it still leads.
    """

    applied: tuple[Action, ...] = ()
    routed: bool = False
    failed: Action | None = None
    error: RemoteError | None = None
    unconfirmed: bool = False


class Executor:
    """Applies the due actions of plans.

    Args:
        applier: Who sends them.
        leadership: Who may.
    """

    def __init__(self, applier: Applier, leadership: Leadership) -> None:
        self._applier = applier
        self._leadership = leadership

    def execute(self, plan: Plan, epoch: int) -> Outcome:
        """Applies what is due, as long as this replica leads in the term `epoch` that the plan was made in.

        Replica floors that cannot be raised do not stop the routing action: the guards found the receiving side ready as it is. A routing
        action that fails stops everything after it: nothing may be lowered behind traffic that did not move.
        """
        applied: list[Action] = []
        first_failed: tuple[Action, RemoteError] | None = None
        unconfirmed = False
        for action in plan.due:
            if not self._leadership.confirm(epoch, ACTION_S):
                log.warning("action.not_leading", application=plan.application, action=describe(action))
                unconfirmed = True
                break
            try:
                self._applier.apply(action, deadline_s=ACTION_S)
            except RemoteError as error:
                log.warning("action.failed", application=plan.application, action=describe(action), error=str(error))
                first_failed = first_failed or (action, error)
                if action.kind is ActionKind.ROUTE:
                    break
                continue
            log.info("action.applied", application=plan.application, action=describe(action), unit=action.unit, body=action.body)
            applied.append(action)
        routed = any(action.kind is ActionKind.ROUTE for action in applied)
        failed, error_ = first_failed or (None, None)
        return Outcome(tuple(applied), routed, failed, error_, unconfirmed)
