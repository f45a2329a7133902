"""A message as versioned JSON, the same for the webhook, SNS and EventBridge. docs/notifications.md describes it."""

from __future__ import annotations

import hashlib
from typing import Any, Final

from controller.clock import format_rfc3339
from controller.notifiers.incident import incident, status
from controller.notifiers.render import plain, view
from controller.ports import Message

SCHEMA: Final = "failoverctl.message/v1"
"""Changes with the first change that an existing receiver could not read: a field that is removed, renamed or means something else."""
_DIGEST: Final = 32


def message_document(message: Message) -> dict[str, Any]:
    """The message as JSON values.

    Returns:
        ``schema``; ``id``, the same when a message is sent again; ``kind`` and ``severity`` as in `controller.ports`; ``incident`` and its
        ``status`` as in `controller.notifiers.incident`; ``at``, RFC 3339; then the texts, "" where there is none; ``fields``, further
        labelled values; ``text``, all in several lines for receivers that show only that.
    """
    return {
        "schema": SCHEMA,
        "id": _identity(message),
        "kind": str(message.kind),
        "severity": str(message.severity),
        "incident": incident(message),
        "status": str(status(message)),
        "at": format_rfc3339(message.at),
        "cluster": message.cluster,
        "application": message.application,
        "mode": message.mode,
        "reason": message.reason,
        "title": message.title,
        "why": message.why,
        "cost": message.cost,
        "by": message.by,
        "next": message.next,
        "runbook": message.runbook,
        "fields": dict(message.fields),
        "text": plain(view(message)),
    }


def _identity(message: Message) -> str:
    parts = (message.cluster, message.application, message.kind, message.reason, message.title, repr(message.at))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:_DIGEST]
