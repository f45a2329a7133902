"""Writes what `tools.captures` kept as docs/what-you-see.md."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

PAGE: Final = Path(__file__).parents[1] / "docs" / "what-you-see.md"
IMAGES: Final = PAGE.parent / "images"

_HEAD: Final = """# What you see of a failover

One failover of the demo's scenario `seed`, as people and programs see it: EC2 runs out of `inf2.xlarge` for six minutes. The production
controller ran on emulated servers, with every sink at a receiver that speaks the real protocol. `python -m tools.captures` plays it again
and writes this page.
"""
_HOW: Final = "[more](notifications.md#what-each-sink-shows)"
_WATCH_LINES: Final = 40


@dataclass(slots=True)
class Captured:
    """What was seen.

    Attributes:
        slack: The calls of Slack's Web API, with what the channel shows in the end.
        channel: The channel's messages in the end.
        webhook: The documents that the webhook received.
        events: The events that a rule of EventBridge delivered.
        commands: Command line and output, by the name of the moment.
        watch: The lines of ``status --watch`` without a terminal.
    """

    slack: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    channel: list[dict[str, Any]] = field(default_factory=list)
    webhook: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    commands: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    watch: str = ""


def written(captured: Captured) -> str:
    """The page."""
    return "\n".join(_parts(captured)) + "\n"


def _parts(captured: Captured) -> Iterator[str]:
    commands, webhook = captured.commands, captured.webhook
    yield _HEAD
    yield "## Before\n"
    yield from _commands(commands["before"])
    yield _image("before", "The page in cost mode")
    yield "## EC2 refuses the first nodes\n"
    yield "`explain` says when the controller would act, why then, and what would bring it forward.\n"
    yield from _commands(commands["suspected"])
    yield "## The failover\n"
    yield from _commands(commands["during"])
    yield _image("during", "The page in capacity mode")
    yield "## Slack\n"
    yield f"The channel in the end, by a bot ({_HOW}). What is indented is in the thread of the message above it.\n"
    yield _block("", "\n".join(_channel(captured.channel)))
    yield "What was sent for the failover, its end, and the message that then shows that it is over:\n"
    for method, body in _about_the_failover(captured.slack):
        yield f"`{method}`\n"
        yield _block("json", _json(body))
    yield "## Webhook\n"
    yield f"Failover and fallback are one `incident`, which the first opens and the second resolves ({_HOW}).\n"
    for kind in ("failover", "fallback"):
        yield _block("json", _json(next(one for one in webhook if one["kind"] == kind)))
    yield "An alert that fires, and is resolved:\n"
    for document in _an_alert(webhook):
        yield _block("json", _json(document))
    yield "## EventBridge\n"
    yield "The event of the failover, as a rule delivers it; its `detail` is the webhook's document.\n"
    event = next(one for one in captured.events if one["detail"]["kind"] == "failover")
    yield _block("json", _json({**event, "detail": {**event["detail"], "text": "…", "fields": "…"}}))
    yield "## After\n"
    yield from _commands(commands["after"])
    yield _image("after", "The page in cost mode again, with the day's modes")
    yield "## `status --watch` without a terminal\n"
    yield "One line for each change. On a terminal the same command redraws the table above in place.\n"
    yield _block("", "\n".join(captured.watch.splitlines()[:_WATCH_LINES]))


def _commands(ran: Sequence[tuple[str, str]]) -> Iterator[str]:
    for line, output in ran:
        yield _block("", f"$ {line}\n{output.strip()}")


def _channel(messages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The messages as a channel shows them, each with its replies."""
    for head in messages:
        if "thread_ts" in head:
            continue
        yield from _message(head, "")
        for reply in messages:
            if reply.get("thread_ts") == head["ts"]:
                yield from _message(reply, "    ↳ " if not reply.get("reply_broadcast") else "    ↳ (shown in the channel too) ")


def _message(message: Mapping[str, Any], indent: str) -> Iterator[str]:
    lines = _plain(message["text"]).splitlines()
    yield f"{indent}{lines[0]}"
    yield from (f"{' ' * len(indent)}{line}" for line in lines[1:] if not indent)


def _plain(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _about_the_failover(calls: Sequence[tuple[str, Mapping[str, Any]]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The call that begins the thread of the failover, that of the fallback, and the update of the first."""
    first = next(body for _, body in calls if "failed over" in body["text"])
    yield "chat.postMessage", first
    for method, body in calls:
        if "fell back" in body["text"] and "thread_ts" in body:
            yield method, body
        if method == "chat.update" and "failed over" in body["text"]:
            yield method, {**body, "blocks": "… as above, with *Over since*"}


def _an_alert(webhook: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """The first alert that was resolved, and its resolution."""
    resolved = next(one for one in webhook if one["kind"] == "resolved")
    yield next(one for one in webhook if one["kind"] == "alert" and one["incident"] == resolved["incident"])
    yield resolved


def _image(moment: str, words: str) -> str:
    return f"![{words}](images/page-{moment}.png)\n"


def _block(language: str, text: str) -> str:
    return f"```{language}\n{re.sub(r'[ ]+$', '', text, flags=re.MULTILINE)}\n```\n"


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
