"""`failoverctl explain`: what would make the controller act, when, what would hold it, and how to force or stop it. Reads only."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import click

from controller.cli.common import Options, choose, common_options, fail_cleanly, load_applications, open_session, show
from controller.cli.observe import ApplicationObserver, Observation
from controller.cli.words import ICONS, Line, mode_word, terminal_width, wrapped
from controller.clock import SystemClock, format_rfc3339
from controller.errors import FailoverError
from controller.policy import text
from controller.service.explanation import Explanation, explain


@click.command("explain")
@click.argument("application", required=False)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON document per application, one per line.")
@common_options
def explain_command(options: Options, application: str | None, *, as_json: bool) -> None:
    """Show what would make the controller change the mode, when, and what would hold it.

    Observes once, and asks the controller's own decision about the future: if nothing but time passed, and if a unit got no capacity from
    AWS from now on. Prints the commands that force a mode change or stop the controller. Writes nothing; a read-only identity suffices.
    """
    try:
        settings = options.settings()
        applications = load_applications(settings)
        chosen = choose(applications, application)
        observations = ApplicationObserver(settings, open_session(settings), SystemClock(), applications).observe(chosen)
    except FailoverError as error:
        raise fail_cleanly(error) from error
    for one in chosen:
        seen = observations[one.key]
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
    yield from wrapped("plain", "Now     ", f"{decision.reason}: {decision.sentence}", width)
    yield from wrapped("plain", "Next    ", explained.next, width)
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
    yield "plain", f"Stop    {explained.stop}" if "pause" in explained.stop else f"Go on   {explained.stop}"
    yield "plain", ""


def explanation_document(seen: Observation, explained: Explanation) -> dict[str, Any]:
    """The explanation as a JSON document."""
    snapshot, decision = seen.snapshot, seen.decision
    at = {"application": snapshot.application.key, "observedAt": format_rfc3339(snapshot.now)}
    found = asdict(explained)
    what_if = [{"units": list(one["units"]), "answer": one["answer"]} for one in found.pop("what_if")]
    return {**at, "reason": decision.reason, "why": decision.sentence, "whatIf": what_if, **found, "holding": list(explained.holding)}
