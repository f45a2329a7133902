"""One message in the place of many about the same: what happened, to how many applications, and to which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from controller.ports import Message, MessageKind, Severity

NAMED_CHARS: Final = 1500
"""How long the list of applications may be, characters: within what a field of a Slack message shows. The count is always whole."""

Subject = tuple[MessageKind, Severity, str, str]
"""What messages that may be summed up have in common: kind, severity, reason, mode."""


def subject(message: Message) -> Subject:
    """What a message is about, apart from its application."""
    return message.kind, message.severity, message.reason, message.mode


def parts(message: Message) -> tuple[Message, ...]:
    """The messages that a digest stands for; any other message alone."""
    return message.parts or (message,)


def digest(messages: Sequence[Message]) -> Message:
    """Sums up messages with one subject.

    Args:
        messages: At least one, the oldest first; digests among them are taken apart.

    Returns:
        A message in the words of the newest one, with the number of applications and their names.
    """
    every = tuple(part for message in messages for part in parts(message))
    newest = every[-1]
    names = list(dict.fromkeys(one.application for one in every))
    events = {one.title.partition(": ")[2] for one in every}
    what = events.pop() if len(events) == 1 else ""
    who = f"{len(names)} applications" if len(names) > 1 else f"{names[0] or 'the controller'}, {len(every)} times"
    shown = _list(names)
    return replace(
        newest,
        application="",
        title=f"{who}: {what or newest.reason}",
        why=f"{newest.why} (the newest of {len(every)} messages: {newest.title})" if newest.why else "",
        cost="",
        dedup_key="",
        fields={"Applications": shown} if len(names) > 1 else {},
        parts=every,
    )


def _list(names: Sequence[str]) -> str:
    shown: list[str] = []
    length = 0
    for name in names:
        length += len(name) + 2
        if length > NAMED_CHARS:
            return f"{', '.join(shown)} and {len(names) - len(shown)} more"
        shown.append(name)
    return ", ".join(shown)
