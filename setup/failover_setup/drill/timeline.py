"""What a drill sees of the cluster: Karpenter's refusals, and the mode changes that the controller remembers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from controller.clients.kube import EVENTS, KubeSession
from controller.foreign import shown
from controller.objects import Object, event_time, text
from controller.policy.model import Memory, ModeChange
from controller.service.store import ConfigMapStore
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
    """Reads one application's memory, and the Events of NodeClaims.

    Args:
        session: The API server.
        state_namespace: Where the controller stores its memory.
        application: The application's key.

    Raises:
        FailoverError: Either cannot be read.
    """

    def __init__(self, session: KubeSession, state_namespace: str, application: str) -> None:
        self._session, self._store, self._application = session, ConfigMapStore(session, state_namespace), application
        self.memory = self._memory()
        self._before = {_identity(one) for one in self._refusals()}
        self._refusal: tuple[float | None, str] = (None, "")

    def read(self) -> Seen:
        """Reads both again.

        Raises:
            FailoverError: Either cannot be read.
        """
        if self._refusal[0] is None:
            new = [(event_time(one) or 0.0, text(one, "message")) for one in self._refusals() if _identity(one) not in self._before]
            if new:
                at, said = min(new)
                self._refusal = at, shown(said, _MAX_TEXT)
        since = self.memory.mode_changes[-1].at if self.memory.mode_changes else 0.0
        return Seen(*self._refusal, tuple(one for one in self._memory().mode_changes if one.at > since))

    def _memory(self) -> Memory:
        return self._store.load(self._application).memory

    def _refusals(self) -> list[Object]:
        return list(list_objects(self._session, EVENTS, None, _REFUSALS)[0])


def _identity(event: Object) -> tuple[str, float | None]:
    return text(event, "metadata", "uid"), event_time(event)
