"""`failoverctl history`: the mode changes that the controller remembers. Reads only."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Final

import click

from controller.cli.common import Options, show
from controller.cli.selection import select
from controller.cli.words import Line, terminal_width, wrapped
from controller.clock import SystemClock, format_rfc3339
from controller.errors import StateError
from controller.policy import text
from controller.policy.account import dollars
from controller.policy.memory import KEPT_MODE_CHANGES
from controller.policy.model import Memory, Mode, ModeChange
from controller.service.store import ConfigMapStore

NEWS_S: Final = 60.0
"""How long a mode change is news, seconds: the controller stores within a minute that the load balancer shows it."""


def show_history(options: Options, application: str | None, since_s: float | None, *, as_json: bool) -> None:
    """Reads the stored memories and shows their mode changes.

    Args:
        options: The common options.
        application: An application's key or name; None for all.
        since_s: How old a mode change may be, seconds; None: any age.
        as_json: Whether to write JSON.

    Raises:
        FailoverError: A memory cannot be read.
    """
    selection = select(options, application)
    store = ConfigMapStore(selection.session, selection.settings.kubernetes.state_namespace)
    try:
        memories = {one.key: store.load(one.key).memory for one in selection.chosen}
    except StateError as error:
        raise StateError(f"the controller's memory cannot be read: {error}") from error
    now = SystemClock().now()
    begin = None if since_s is None else now - since_s
    for key, memory in memories.items():
        if as_json:
            click.echo(json.dumps(history_document(key, memory, now, begin), sort_keys=True))
        else:
            show(history_lines(key, memory, now, begin, terminal_width()))


def history_lines(key: str, memory: Memory, now: float, begin: float | None, width: int) -> Iterator[Line]:
    """The mode changes as text for people, the newest first.

    Args:
        key: The application's key.
        memory: What the controller remembers of it.
        now: Seconds since the Unix epoch.
        begin: Only changes since then, seconds since the Unix epoch; None: all.
        width: Columns after which lines are wrapped.
    """
    found = _since(memory, begin)
    kept = f", the last {KEPT_MODE_CHANGES} are kept" if len(memory.mode_changes) >= KEPT_MODE_CHANGES else ""
    yield "title", f"{key}  {len(found)} mode change(s){kept}"
    lasted = _lasted(memory.mode_changes, now)
    for change in reversed(found):
        going = " so far" if change is memory.mode_changes[-1] else ""
        by = f"  by {change.by}" if change.by else ""
        words = f"{format_rfc3339(change.at)}  {_from(change)} → {change.to}  for {text.duration(lasted[change])}{going}{by}"
        yield from wrapped("good" if change.to is Mode.COST else "warn", "", words, width)
        yield from wrapped("plain", "    ", f"{change.reason}: {change.detail}", width)
        yield from wrapped("dim", "    ", "; ".join(_effects(change, now)), width)
    yield "plain", ""


def _since(memory: Memory, begin: float | None) -> list[ModeChange]:
    return [change for change in memory.mode_changes if begin is None or change.at >= begin]


def _from(change: ModeChange) -> Mode:
    """The mode before: there are two."""
    return Mode.COST if change.to is Mode.CAPACITY else Mode.CAPACITY


def _lasted(changes: Sequence[ModeChange], now: float) -> dict[ModeChange, float]:
    """How long the mode of each change lasted, seconds."""
    ends = {before: after.at for before, after in pairwise(changes)}
    return {change: max(0.0, ends.get(change, now) - change.at) for change in changes}


def _effects(change: ModeChange, now: float) -> Iterator[str]:
    """How soon the change was shown, and what it does to the price, as far as they are remembered."""
    if change.verified_at is None and now - change.at < NEWS_S:
        yield "the load balancer has not shown it yet"
    elif change.verified_at is None:
        yield "the load balancer was not seen to show it"
    else:
        yield f"the load balancer showed it after {text.duration(change.verified_at - change.at)}"
    if change.dollars_before is not None and change.dollars_after is not None:
        yield dollars(change.dollars_before, change.dollars_after)


def history_document(key: str, memory: Memory, now: float, begin: float | None) -> dict[str, Any]:
    """The mode changes as a JSON document, the oldest first; arguments as those of `history_lines`."""
    lasted = _lasted(memory.mode_changes, now)
    return {
        "application": key,
        "mode": memory.mode,
        "modeChanges": [
            {
                "at": format_rfc3339(change.at),
                "from": _from(change),
                "to": change.to,
                "reason": change.reason,
                "why": change.detail,
                "by": change.by or None,
                "verifiedAt": None if change.verified_at is None else format_rfc3339(change.verified_at),
                "secondsToVerify": None if change.verified_at is None else round(change.verified_at - change.at, 1),
                "lastedSeconds": round(lasted[change], 1),
                "dollarsPerHourBefore": change.dollars_before,
                "dollarsPerHourAfter": change.dollars_after,
            }
            for change in _since(memory, begin)
        ],
    }
