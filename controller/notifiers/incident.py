"""What a message is about: the key that all messages about one thing share, and whether that thing begins, ends, or neither.

The same for every sink: the webhook's ``incident`` is what PagerDuty and Opsgenie call deduplication key and alias, and Slack's threads
hang on it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from controller.ports import Message, MessageKind


class Status(StrEnum):
    """What a message does to its incident."""

    OPEN = "open"  # begins or continues it
    RESOLVED = "resolved"  # ends it
    INFO = "info"  # neither


_STATUS: Final = {
    MessageKind.FAILOVER: Status.OPEN,
    MessageKind.FALLBACK: Status.RESOLVED,
    MessageKind.ALERT: Status.OPEN,
    MessageKind.RESOLVED: Status.RESOLVED,
}


def incident(message: Message) -> str:
    """The key, with the cluster where one is configured: two clusters may run applications of the same name."""
    key = message.incident or message.dedup_key or f"{message.application}/{message.reason}"
    return f"{message.cluster}/{key}" if message.cluster else key


def status(message: Message) -> Status:
    """What the message does to its incident. What is over when it is reported opens none, because nothing would resolve it."""
    return Status.INFO if message.over else _STATUS.get(message.kind, Status.INFO)
