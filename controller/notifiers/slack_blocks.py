"""The layout of a message in Slack's Block Kit, within Slack's limits. Nothing in it can mention people or make links."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from controller.notifiers.endpoint import is_url
from controller.notifiers.render import ELLIPSIS, View, plain

MAX_HEADER: Final = 150
MAX_SECTION: Final = 3000
MAX_FIELD: Final = 2000
MAX_FIELDS: Final = 10  # a section
MAX_BLOCKS: Final = 50
MAX_FALLBACK: Final = 3000

_ENTITIES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def fallback_text(shown: View) -> str:
    """Plain text for notifications and clients that show no blocks."""
    return fit(plain(shown), MAX_FALLBACK)


def blocks(shown: View) -> list[dict[str, Any]]:
    """The message in Block Kit, within Slack's limits: Slack refuses a message that exceeds one."""
    header = {"type": "plain_text", "text": fit(shown.headline, MAX_HEADER), "emoji": False}
    made: list[dict[str, Any]] = [{"type": "header", "text": header}]
    made += [{"type": "section", "text": _labelled(label, text, MAX_SECTION)} for label, text in shown.points]
    if shown.runbook:
        made.append({"type": "section", "text": _runbook(shown.runbook)})
    for start in range(0, len(shown.facts), MAX_FIELDS):
        facts: Sequence[tuple[str, str]] = shown.facts[start : start + MAX_FIELDS]
        made.append({"type": "section", "fields": [_labelled(label, text, MAX_FIELD) for label, text in facts]})
    return made[:MAX_BLOCKS]


def fit(text: str, limit: int) -> str:
    """Escapes a text for Slack and cuts it to `limit` UTF-16 units, never within an entity or a character."""
    used, made, room = 0, "", 0
    for char in text:
        escaped = _ENTITIES.get(char, char)
        used += len(escaped) + (ord(char) > 0xFFFF)  # noqa: PLR2004 - beyond it a character is two UTF-16 units
        if used > limit:
            return made[:room] + ELLIPSIS
        made += escaped
        if used < limit:
            room = len(made)
    return made


def _runbook(where: str) -> dict[str, Any]:
    """A link where the runbook is a URL. It comes from the configuration, never from what is observed."""
    escaped = fit(where, MAX_FIELD)
    text = f"<{escaped}|What to do>" if is_url(where) and "|" not in where else escaped
    return {"type": "mrkdwn", "text": f"*Runbook*\n{text}", "verbatim": True}


def _labelled(label: str, text: str, limit: int) -> dict[str, Any]:
    head = f"*{fit(label, MAX_HEADER)}*\n"
    # verbatim: Slack makes no links, mentions or channels of it.
    return {"type": "mrkdwn", "text": head + fit(text, limit - len(head)), "verbatim": True}
