"""A routing action whose answer was lost: the API server may have written it, and only the routing object shows whether it did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from controller.policy.decision import Conclusion
from controller.policy.model import Decision, RoutingObservation, Verb
from controller.service.executor import Outcome


@dataclass(frozen=True, slots=True)
class InDoubt:
    """The action that was sent, and the routing object that it was sent for.

    Attributes:
        decision: The decision behind the action.
        epoch: The term of leadership in which it was sent.
        uid: The object's uid.
        version: The resourceVersion in the request. The API server rejects the request once the object has another one.
        action: The routing action as it was sent.
        at: When the wait for an answer ended, seconds since the Unix epoch.
    """

    decision: Decision
    epoch: int
    uid: str
    version: str
    action: str
    at: float

    @classmethod
    def after(cls, outcome: Outcome, conclusion: Conclusion, at: float) -> Self | None:
        """The action in doubt after a plan was carried out.

        Args:
            outcome: The result of carrying it out.
            conclusion: The plan and its decision.
            at: When, seconds since the Unix epoch.

        Returns:
            None if nothing is in doubt. A nudge never is: the next pass sends it again.
        """
        decision, snapshot, sent = conclusion.decision, conclusion.snapshot, conclusion.plan.routing
        if not outcome.in_doubt or decision.verb is Verb.NUDGE or sent is None:
            return None
        return cls(decision, snapshot.epoch, snapshot.routing.uid, snapshot.routing.resource_version, sent.after, at)

    def resolved(self, routing: RoutingObservation) -> bool:
        """Whether the object has changed since. By then the request has been carried out, or never will be."""
        return (routing.uid, routing.resource_version) != (self.uid, self.version)

    def written(self, routing: RoutingObservation) -> bool:
        """Whether the object shows the action. Valid only once it is resolved: the same action may have been there before."""
        return (routing.uid, routing.marker, routing.action) == (self.uid, str(self.decision.mode), self.action)
