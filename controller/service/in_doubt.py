"""A routing action that was sent and whose answer never came: the API server may have written it, and only the Ingress can say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from controller.policy.model import Decision, RoutingObservation, Snapshot, Verb
from controller.policy.routing import format_action
from controller.service.executor import Outcome


@dataclass(frozen=True, slots=True)
class Unanswered:
    """What was sent, and over what.

    Attributes:
        decision: What it was to bring about.
        epoch: The term of leadership that it was sent in.
        uid: The Ingress.
        version: Its resourceVersion that the request named: the API server refuses the request once there is another one.
        at: When it was given up, seconds since the Unix epoch.
    """

    decision: Decision
    epoch: int
    uid: str
    version: str
    at: float

    @classmethod
    def of(cls, outcome: Outcome, decision: Decision, snapshot: Snapshot, epoch: int, at: float) -> Self | None:
        """What is unanswered after a plan was carried out, None where nothing is. A nudge is not: if it is in doubt, it is made again."""
        if not outcome.unanswered or decision.verb is Verb.NUDGE:
            return None
        return cls(decision, epoch, snapshot.routing.uid, snapshot.routing.resource_version, at)

    def settled(self, routing: RoutingObservation) -> bool:
        """Whether the Ingress has changed since, so that the request has been carried out or never will be."""
        return (routing.uid, routing.resource_version) != (self.uid, self.version)

    def written(self, routing: RoutingObservation) -> bool:
        """Whether the Ingress shows what was sent: asked once it is settled, since the same may have stood there before."""
        sent = format_action(self.decision.targets, self.decision.stickiness_s)
        return (routing.uid, routing.marker, routing.action) == (self.uid, str(self.decision.mode), sent)
