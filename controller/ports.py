"""What the service needs from the outside world, as protocols.

Production, the embedded environment and tests implement the same ports; the service knows nothing else of Kubernetes, AWS or Slack.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from controller.policy.model import Action, Memory


class MessageKind(StrEnum):
    """What a message is about."""

    FAILOVER = "failover"
    FALLBACK = "fallback"
    ALERT = "alert"
    RESOLVED = "resolved"
    CONTROL = "control"  # paused, resumed, pinned, configuration reloaded or refused


class Severity(StrEnum):
    """How urgent a message is."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Message:
    """One thing to tell people: what, why, what it costs, what happens next.

    Attributes:
        kind: What it is about.
        severity: How urgent it is.
        application: ``namespace/ingress``, or "" for the controller itself.
        reason: `controller.policy.reasons.Reason` value, or another stable CamelCase name.
        title: One line, e.g. ``sd21: failed over to capacity mode``.
        why: The reason's sentence.
        cost: The effect on cost in words with numbers and units, "" where there is none.
        next: What happens next and when, "" where nothing does.
        at: When it happened, seconds since the Unix epoch.
        dedup_key: Messages with the same key within the dispatcher's window are sent once; "" = always send.
        fields: Further labelled values for sinks that can show them.
        mode: The mode after it (``cost`` or ``capacity``), "" where unknown.
    """

    kind: MessageKind
    severity: Severity
    application: str
    reason: str
    title: str
    why: str
    at: float
    cost: str = ""
    next: str = ""
    dedup_key: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    mode: str = ""


class Notifier(Protocol):
    """A sink for messages. Called from the sink's own thread, never from a tick."""

    @property
    def name(self) -> str:
        """A short stable name: ``slack``, ``cloudwatch``, ``events``."""

    def send(self, message: Message) -> None:
        """Delivers one message, within the sink's own time-outs.

        Raises:
            RemoteError: It was not delivered. `Unavailable` may be tried again; every other subclass may not.
        """


class Applier(Protocol):
    """Applies the actions of a plan."""

    def apply(self, action: Action) -> None:
        """Sends one action as it is.

        Raises:
            RemoteError: It was not applied, or it is not known whether it was.
        """


class Leadership(Protocol):
    """Who may act."""

    def epoch(self) -> int:
        """The current leadership term; grows with every change of the leader."""

    def remaining_s(self) -> float:
        """Seconds for which this replica certainly still leads; 0 where it does not. Checked before every effect."""


@dataclass(frozen=True, slots=True)
class StoredMemory:
    """Memory with the version under which it was read.

    Attributes:
        memory: The policy's memory.
        version: Opaque; "" where nothing was stored yet.
        epoch: The leadership term that wrote it.
    """

    memory: Memory
    version: str
    epoch: int


class StateStore(Protocol):
    """Durable memory, one record an application, written with compare-and-swap."""

    def load(self, application: str) -> StoredMemory:
        """Reads the memory of one application; an empty one where none is stored.

        Raises:
            RemoteError: It could not be read.
            StateError: It was read but cannot be understood.
        """

    def save(self, application: str, memory: Memory, *, version: str, epoch: int) -> str:
        """Writes it if it is still at `version` and no later epoch wrote it.

        Returns:
            The new version.

        Raises:
            Conflict: Somebody else wrote first, or a later epoch has.
            RemoteError: It could not be written.
        """
