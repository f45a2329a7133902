"""The text of a message, composed once for all sinks: what happened, why, what it costs, what happens next."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Final

from controller.clock import format_rfc3339
from controller.ports import Message, MessageKind, Severity

ELLIPSIS: Final = "…"

_SEVERITIES: Final = {Severity.INFO: "• Info", Severity.WARNING: "⚠ Warning", Severity.CRITICAL: "✖ Critical"}
RESOLVED: Final = "✔ Resolved"
_TEST: Final = "• Test"


@dataclass(frozen=True, slots=True)
class View:
    """A message ready for layout. Every text is one line.

    Attributes:
        mark: Icon and word, never the icon alone: ``⚠ Warning``.
        title: What happened.
        points: Label and text of why, cost and next, without the empty ones.
        facts: Label and value of the rest: cluster, application, mode, reason, who, time, further fields.
        runbook: Where it is written what to do, a URL or a path; "" if there is nothing to do.
    """

    mark: str
    title: str
    points: tuple[tuple[str, str], ...]
    facts: tuple[tuple[str, str], ...]
    runbook: str = ""

    @property
    def headline(self) -> str:
        """Mark and title."""
        return f"{self.mark} · {self.title}"


def view(message: Message) -> View:
    """Composes the texts of a message, the same for every sink."""
    points = (("Why", message.why), ("Cost", message.cost), ("Next", message.next))
    facts = (
        ("Cluster", message.cluster),
        ("Application", message.application or "the controller itself"),
        ("Mode", message.mode),
        ("Reason", message.reason),
        ("By", message.by),
        ("At", format_rfc3339(message.at)),
        *message.fields.items(),
    )
    return View(
        mark={MessageKind.RESOLVED: RESOLVED, MessageKind.TEST: _TEST}.get(message.kind, _SEVERITIES[message.severity]),
        title=one_line(message.title) or message.kind.value,
        points=_filled(points),
        facts=_filled(facts),
        runbook=one_line(message.runbook),
    )


def plain(shown: View) -> str:
    """Several lines of plain text, for a notification's preview or a sink without markup."""
    runbook = (f"Runbook: {shown.runbook}",) if shown.runbook else ()
    return "\n".join((shown.headline, *(f"{label}: {text}" for label, text in shown.points), *runbook))


def sentence(shown: View) -> str:
    """One line of plain text without the mark, for sinks with their own notion of severity."""
    return " | ".join((shown.title, *(f"{label}: {text}" for label, text in shown.points)))


def one_line(text: str) -> str:
    """The text with every run of white space and control characters replaced by one blank."""
    return " ".join("".join(" " if unicodedata.category(char) == "Cc" else char for char in text).split())


def cut_bytes(text: str, limit: int) -> str:
    """Cuts to `limit` bytes of UTF-8 on a character boundary; ends a cut text with an ellipsis."""
    encoded = text.encode(errors="replace")
    if len(encoded) <= limit:
        return encoded.decode()
    return encoded[: limit - len(ELLIPSIS.encode())].decode(errors="ignore") + ELLIPSIS


def _filled(pairs: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    cleaned = ((one_line(label), one_line(text)) for label, text in pairs)
    return tuple((label, text) for label, text in cleaned if label and text)
