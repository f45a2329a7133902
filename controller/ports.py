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

    def apply(self, action: Action, *, deadline_s: float) -> None:
        """Sends one action as it is.

        Args:
            action: What to send.
            deadline_s: Seconds from now after which it must not take effect any more.

        Raises:
            RemoteError: It was not applied, or it is not known whether it was.
        """


class Leadership(Protocol):
    """Who may act."""

    def epoch(self) -> int:
        """The leadership term in which this replica leads or led last; grows with every change of the leader."""

    def leads(self) -> bool:
        """Whether this replica leads, as far as it knows: enough for deciding and showing."""

    def confirm(self, epoch: int, needed_s: float) -> bool:
        """Whether this replica certainly leads for more than `needed_s` seconds from now, still in the term `epoch`.

        Asked before every effect. Asks the API server where what is known is too old; at most one request.
        """

    def outrank(self, epoch: int) -> None:
        """Makes the present term a later one than `epoch`, which state was found to be written in: the Lease was set back."""


@dataclass(frozen=True, slots=True)
class StoredMemory:
    """Memory with the version under which it was read.

    Attributes:
        memory: The policy's memory.
        version: Opaque; "" where nothing was stored yet.
        epoch: The leadership term that wrote it; 0 where nothing was stored yet.
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

    def save(self, application: str, memory: Memory, *, over: StoredMemory, epoch: int) -> StoredMemory:
        """Writes it in place of `over`, if that is still what is stored.

        Args:
            application: Whose.
            memory: What to store.
            over: What it replaces, as `load` or `save` gave it.
            epoch: The term of the writer.

        Returns:
            What is stored now.

        Raises:
            Conflict: Somebody else wrote first, or `over` is of a later term.
            RemoteError: It could not be written.
        """
