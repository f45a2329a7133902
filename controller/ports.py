"""The ports of the service: protocols for everything that it needs from other systems.

Production, the testbed and tests implement the same ports. Through them alone the service uses leadership, storage and notifications.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Protocol

from controller.policy.model import Action, Alert, Memory


class MessageKind(StrEnum):
    """The subject of a message."""

    FAILOVER = "failover"
    FALLBACK = "fallback"
    ALERT = "alert"
    RESOLVED = "resolved"
    TEST = "test"  # sent by `failoverctl notify test`
    CONTROL = "control"  # paused, resumed, pinned, configuration reloaded or refused


class Severity(StrEnum):
    """How urgent a message is."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Message:
    """A notification for people: what happened, why, what it costs, what happens next.

    Attributes:
        kind: Its subject.
        severity: How urgent it is.
        application: The application's key, or "" for the controller itself.
        reason: `controller.policy.reasons.Reason` value, or another stable CamelCase name.
        title: One line, e.g. ``sd21: failed over to capacity mode``.
        why: The reason's sentence.
        cost: The effect on cost in words with numbers and units, "" if there is none.
        next: What happens next and when, "" if nothing does.
        at: When it happened, seconds since the Unix epoch.
        dedup_key: Messages with the same key within the dispatcher's window are sent once; "" = always send.
        fields: Further labelled values for sinks that can show them.
        mode: The mode after it (``cost`` or ``capacity``), "" if unknown.
        parts: The messages that this one stands for, the oldest first; () for an ordinary message.
        by: Who did it, in words; "" where nobody did anything.
        incident: What the message is about, the same for all messages about it: an alert and its resolution, a failover and its fallback.
        over: Whether that is over already, so that no other message will resolve it.
        cluster: The cluster's name, "" if none is configured.
        again: Whether it was offered before, in other words perhaps: only a sink that could not deliver that needs it.
        pods: Waiting pods that it concerns as well, by namespace, name and uid: the one that has waited longest of each unit that is proven
            short.
        runbook: Where it is written what to do: a URL, or a path within the documentation; "" if nothing is to be done.
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
    parts: tuple[Message, ...] = ()
    by: str = ""
    incident: str = ""
    over: bool = False
    cluster: str = ""
    again: bool = False
    pods: tuple[tuple[str, str, str], ...] = ()
    runbook: str = ""

    @classmethod
    def about(cls, alert: Alert, kind: MessageKind, title: str, at: float, application: str = "") -> Message:
        """The message that something is so, or that it has ended.

        Args:
            alert: What it is about.
            kind: Its subject. What a person did (`CONTROL`) is always sent.
            title: One line.
            at: When, seconds since the Unix epoch.
            application: ``namespace/name``, or "" for the controller itself.
        """
        ended, key = kind is MessageKind.RESOLVED, f"{application}/{alert.key}" if application else alert.key
        return cls(
            kind=kind,
            severity=Severity.INFO if ended else Severity(alert.severity),
            application=application,
            reason=alert.row.reason,
            title=title,
            why=f"this has ended: {alert.text}" if ended else alert.text,
            at=at,
            dedup_key="" if kind is MessageKind.CONTROL else key,
        )


class Notifier(Protocol):
    """A sink for messages. Called from the sink's own thread, never from a tick."""

    @property
    def name(self) -> str:
        """A short stable name: ``slack``, ``cloudwatch``, ``events``."""

    @property
    def takes_digests(self) -> bool:
        """Whether it takes a digest as one message. If not, it gets the messages of the digest one by one."""

    def send(self, message: Message) -> None:
        """Delivers one message, within the sink's own time-outs.

        Raises:
            RemoteError: It was not delivered. `Unavailable` may be retried, any other subclass may not.
        """


class Applier(Protocol):
    """Applies the actions of a plan."""

    def apply(self, actions: Sequence[Action], *, deadline_s: float) -> None:
        """Sends actions on one object, unchanged and in one request: all of them are applied, or none.

        Args:
            actions: What to send, see `controller.policy.plan.body`.
            deadline_s: Seconds from now after which it must no longer take effect.

        Raises:
            RemoteError: They were not applied, or the outcome is in doubt.
        """


class Leadership(Protocol):
    """Leadership: which replica may act."""

    def epoch(self) -> int:
        """The leadership term in which this replica leads or led last; grows with every change of the leader."""

    def leads(self) -> bool:
        """Whether this replica leads as far as it knows; sufficient for decisions and display, not for effects."""

    def confirm(self, epoch: int, needed_s: float) -> bool:
        """Whether this replica is certain to lead for more than `needed_s` seconds from now, in the term `epoch`.

        Called before every effect. Makes at most one request to the API server, if its knowledge is too old.
        """

    def outrank(self, epoch: int) -> None:
        """Raises the present term above `epoch`, the term of stored state that is later than ours because the Lease was reset."""


@dataclass(frozen=True, slots=True)
class StoredMemory:
    """Memory with the version under which it was read.

    Attributes:
        memory: The policy's memory.
        version: Opaque; "" if nothing was stored yet.
        epoch: The leadership term that wrote it; 0 if nothing was stored yet.
        alerts: The alerts that people knew of when it was written, so that they learn of those that have ended since.
    """

    memory: Memory
    version: str
    epoch: int
    alerts: tuple[Alert, ...] = ()


EMPTY: Final[Mapping[str, str]] = MappingProxyType({})
"""Nothing is stored beside the memory."""


class StateStore(Protocol):
    """Durable memory, one record per application, written with compare-and-swap."""

    def load(self, application: str) -> StoredMemory:
        """Reads the memory of one application; an empty one if none is stored.

        Raises:
            RemoteError: It could not be read.
            StateError: It was read but cannot be parsed.
        """

    def save(self, application: str, memory: Memory, *, over: StoredMemory, epoch: int, beside: Mapping[str, str] = EMPTY) -> StoredMemory:
        """Replaces `over` if that is still stored.

        Args:
            application: Key of the application.
            memory: What to store.
            over: What it replaces, as returned by `load` or `save`.
            epoch: The term of the writer.
            beside: What is stored beside it, by key, from which nothing is decided: the application's status and its alerts.

        Returns:
            What is stored now.

        Raises:
            Conflict: Another writer was first, or `over` is of a later term.
            RemoteError: It could not be written.
        """
