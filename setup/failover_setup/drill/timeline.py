"""What a drill sees of the cluster: refusals as Karpenter reports them, and the mode changes that the controller remembers.

Karpenter reports a refusal as an Event of the NodeClaim, or as a create error in its condition `Launched`: that of FIS has been seen as one
(aws/karpenter-provider-aws#6168).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from controller.clients.kube import EVENTS, NODE_CLAIMS, KubeSession
from controller.clock import parse_rfc3339
from controller.foreign import shown
from controller.objects import condition, event_time, text
from controller.policy.model import Memory, ModeChange
from controller.service.store import ConfigMapStore
from controller.signals.classify import classify_create_error
from controller.signals.watch import list_objects

_REFUSALS: Final = (("fieldSelector", "involvedObject.kind=NodeClaim,reason=InsufficientCapacityError"),)
_MAX_TEXT: Final = 300


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen since the drill began.

    Attributes:
        refused_at: When EC2 first refused Karpenter an instance, seconds since the Unix epoch; None: not yet.
        refusal: What it said then.
        changes: The mode changes, the oldest first.
    """

    refused_at: float | None = None
    refusal: str = ""
    changes: tuple[ModeChange, ...] = ()


class Observer:
    """Reads one application's memory, the NodeClaims and their Events.

    Args:
        session: The API server.
        state_namespace: Where the controller stores its memory.
        application: The application's key.

    Attributes:
        memory: What the controller remembered when the drill began.
        seen: What was last read.

    Raises:
        FailoverError: One of them cannot be read.
    """

    def __init__(self, session: KubeSession, state_namespace: str, application: str) -> None:
        self._session, self._store, self._application = session, ConfigMapStore(session, state_namespace), application
        self.memory = self._memory()
        self._before = self._refusals()
        self.seen = Seen()

    def read(self) -> Seen:
        """Reads them again.

        Raises:
            FailoverError: One of them cannot be read.
        """
        at, said = self.seen.refused_at, self.seen.refusal
        if at is None and (new := self._refusals() - self._before):
            at, _, said = min(new)
        since = self.memory.mode_changes[-1].at if self.memory.mode_changes else 0.0
        self.seen = Seen(at, shown(said, _MAX_TEXT), tuple(one for one in self._memory().mode_changes if one.at > since))
        return self.seen

    def _memory(self) -> Memory:
        return self._store.load(self._application).memory

    def _refusals(self) -> set[tuple[float, str, str]]:
        """The refusals that there are: when, of which object by its UID, and what was said."""
        events = list_objects(self._session, EVENTS, None, _REFUSALS)[0]
        found = {(event_time(one) or 0.0, text(one, "metadata", "uid"), text(one, "message")) for one in events}
        for claim in list_objects(self._session, NODE_CLAIMS, None)[0]:
            launched = condition(claim, "Launched")
            reason, at = text(launched, "reason"), parse_rfc3339(text(launched, "lastTransitionTime"))
            if text(launched, "status") == "Unknown" and at is not None and classify_create_error(reason) is not None:
                found.add((at, text(claim, "metadata", "uid"), f"{reason}: {text(launched, 'message')}"))
        return found
