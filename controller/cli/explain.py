"""`failoverctl explain`: what would make the controller act, when, what would hold it, and how to force or stop it. Reads only."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import click

from controller.cli.common import Options, show
from controller.cli.explanation import Explanation, explain
from controller.cli.observe import Observation, observed
from controller.cli.words import ICONS, Line, alert_lines, credentials_note, mode_word, terminal_width, wrapped
from controller.clock import SystemClock, format_rfc3339
from controller.policy import text


def show_explanation(options: Options, application: str | None, *, as_json: bool) -> None:
    """Observes once and shows the explanations; the arguments are those of the command line.

    Raises:
        FailoverError: The applications cannot be observed.
    """
    for seen in observed(options, application, SystemClock()):
        explained = explain(seen.memory, seen.snapshot)
        if as_json:
            click.echo(json.dumps(explanation_document(seen, explained), sort_keys=True))
        else:
            show(explanation_lines(seen, explained, terminal_width()))


def explanation_lines(seen: Observation, explained: Explanation, width: int) -> Iterator[Line]:
    """The explanation as text for people.

    Args:
        seen: One observation.
        explained: What follows from it.
        width: Columns after which lines are wrapped.
    """
    snapshot, decision = seen.snapshot, seen.decision
    since = f" for {text.duration(snapshot.now - seen.memory.mode_since)}" if seen.memory.mode_since else ""
    yield "title", f"{snapshot.application.name}  {mode_word(explained.mode)}{since}   {snapshot.application.key}"
    if seen.unled:
        yield from wrapped("bad", f"{ICONS['bad']} ", seen.unled, width)
    if note := credentials_note(snapshot, seen.published):
        yield from wrapped("unknown", f"{ICONS['unknown']} ", note, width)
    yield from alert_lines(seen.alerts, "", width)
    yield from wrapped("plain", "Now     ", f"{decision.reason}: {decision.sentence}", width)
    yield from wrapped("plain", "Next    ", explained.next, width)
    for sentence in explained.blind:
        yield from wrapped("bad", "Blind   ", f"{ICONS['bad']} {sentence}", width)
    for index, words in enumerate(explained.floors):
        yield from wrapped("plain", "Floors  " if index == 0 else "        ", words, width)
    if explained.sooner:
        yield from wrapped("plain", "Sooner  ", explained.sooner, width)
    for index, sentence in enumerate(explained.holding):
        yield from wrapped("warn", "Holds   " if index == 0 else "        ", f"{ICONS['bad']} {sentence}", width)
    if not explained.holding:
        yield "good", f"Holds   {ICONS['good']} nothing"
    for index, one in enumerate(explained.what_if):
        units = "any unit" if len(one.units) == len(snapshot.application.units) else text.listing(one.units)
        words = f"{units} got no capacity from AWS from now on: {one.answer}"
        yield from wrapped("plain", "If      " if index == 0 else "        ", words, width)
    if explained.force:
        yield "plain", f"Force   {explained.force}"
        yield from wrapped("dim", "        ", explained.forced, width)
    yield "plain", f"{'Go on' if explained.overridden else 'Stop':8}{explained.stop}"
    yield "plain", ""


def explanation_document(seen: Observation, explained: Explanation) -> dict[str, Any]:
    """The explanation as a JSON document."""
    snapshot, decision = seen.snapshot, seen.decision
    at = {"application": snapshot.application.key, "observedAt": format_rfc3339(snapshot.now)}
    found = asdict(explained)
    what_if = [{"units": list(one["units"]), "answer": one["answer"]} for one in found.pop("what_if")]
    return {
        **at,
        "noLeader": seen.unled or None,
        "alerts": [alert.text for alert in seen.alerts],
        "reason": decision.reason,
        "why": decision.sentence,
        "whatIf": what_if,
        **found,
        "blind": list(explained.blind),
        "floors": list(explained.floors),
        "holding": list(explained.holding),
    }
