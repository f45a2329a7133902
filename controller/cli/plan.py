"""`failoverctl plan`: shows what the controller would do now and why, with the exact patches. Reads only."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click

from controller.cli.common import CHANGES, Options, show
from controller.cli.observe import Observation, observed
from controller.cli.remedy import remedy_document, remedy_lines
from controller.cli.words import (
    ICONS,
    Line,
    action_lines,
    credentials_note,
    decision_lines,
    evidence_lines,
    guard_lines,
    mode_word,
    proof_document,
    request_lines,
    scaler_note,
    terminal_width,
    waits_document,
    waits_text,
    wrapped,
)
from controller.clock import SystemClock, format_rfc3339
from controller.policy.account import Figures, effect, next_waiting, spend_per_hour
from controller.policy.decision import observed_mode
from controller.policy.model import Mode, Plan
from controller.policy.plan import body, requests, summary
from controller.policy.strategies import part_of
from controller.routing.kinds import routing_port
from controller.service.application_status import floor_document, price_document
from controller.service.explanation import floors_text, next_step


def show_plan(options: Options, application: str | None, *, as_json: bool, exact: bool) -> int:
    """Observes once and shows the plans; the arguments are those of the command line.

    Returns:
        The exit code.

    Raises:
        FailoverError: The applications cannot be observed.
    """
    seen = observed(options, application, SystemClock())
    for one in seen:
        if as_json:
            click.echo(json.dumps(plan_document(one), sort_keys=True))
        else:
            show(plan_lines(one, terminal_width(), exact=exact))
    return CHANGES if any(one.made.due for one in seen) else 0


def plan_lines(seen: Observation, width: int, *, exact: bool) -> Iterator[Line]:
    """The plan as text for people.

    Args:
        seen: One observation.
        width: Columns after which lines are wrapped; requests never are.
        exact: Whether to show the exact request below the changes that it makes.
    """
    snapshot, decision = seen.snapshot, seen.decision
    application = snapshot.application
    kind = routing_port(application).resource.kind.lower()
    present, _ = observed_mode(snapshot, seen.memory)
    at = format_rfc3339(snapshot.now)
    yield "title", f"Failover plan for {kind} {application.key}"
    yield "dim", f"observed {at} · strategy {application.policy.strategy} · epoch {snapshot.epoch} · mode {mode_word(present)}"
    if seen.unled:
        yield from wrapped("bad", f"{ICONS['bad']} ", seen.unled, width)
    if note := credentials_note(snapshot, seen.published):
        yield from wrapped("unknown", f"{ICONS['unknown']} ", note, width)
    yield "plain", ""
    yield "title", "Evidence"
    yield from evidence_lines(snapshot, decision, width)
    yield "plain", ""
    yield from decision_lines(decision, present, width)
    for alert in decision.alerts:
        yield from wrapped("bad", f"  {ICONS['warn']} ", f"{alert.severity}: {alert.text}", width)
    yield "plain", ""
    yield from _changes(seen.made, width, exact=exact)
    if seen.coming is not None:
        yield "title", f"Next, once the waiting guards have opened: {seen.coming.decision.verb}"
        yield from _changes(seen.coming, width, exact=exact)
    yield "title", "Guards"
    yield from guard_lines(decision.answers, width)
    yield "plain", ""
    yield from wrapped("plain", "Next       ", next_step(seen.memory, snapshot), width)
    yield from wrapped("plain", "Waits      ", waits_text(next_waiting(snapshot, seen.memory)), width)
    if words := part_of(snapshot.application.policy).sentence(decision, snapshot):
        yield from wrapped("plain", "Planned    ", words, width)
    for words in floors_text(decision):
        yield from wrapped("plain", "Floor      ", words, width)
    yield from wrapped("plain", "Cost       ", _cost(seen, present), width)
    yield "plain", ""
    yield from remedy_lines(application, seen.remedy)
    yield from wrapped("title", "", summary(seen.made), width)
    yield "title", "Nothing has been applied."
    yield "plain", ""


def _cost(seen: Observation, present: Mode | None) -> str:
    """What the replicas cost, and what the present demand would in the other mode, for people."""
    snapshot = seen.snapshot
    spend = spend_per_hour(snapshot.application, seen.decision.evidence)
    to = Mode.COST if present is Mode.CAPACITY else Mode.CAPACITY
    change = effect(snapshot, Figures.of(snapshot, seen.memory.units), to)
    return f"the ready replicas cost ${spend:.2f}/h" + (f"; the present demand needs {change} in {to} mode" if change else "")


def _changes(made: Plan, width: int, *, exact: bool) -> Iterator[Line]:
    for together in requests(made.actions):
        for action in together:
            yield from action_lines(action)
        if exact:
            yield from request_lines(together)
    for words in made.refused:
        yield from wrapped("warn", f"  {ICONS['absent']} ", words, width)
    if made.actions or made.refused:
        yield "plain", ""


def plan_document(seen: Observation) -> dict[str, Any]:
    """The plan as a JSON document. `mode` is the one after the plan, `presentMode` the one before it."""
    snapshot, decision = seen.snapshot, seen.decision
    present, _ = observed_mode(snapshot, seen.memory)
    return {
        "application": snapshot.application.key,
        "observedAt": format_rfc3339(snapshot.now),
        "strategy": snapshot.application.policy.strategy,
        "epoch": snapshot.epoch,
        "presentMode": present,
        "noLeader": seen.unled or None,
        "mode": decision.mode,
        "verb": decision.verb,
        "wanted": decision.held_back,
        "reason": decision.reason,
        "why": decision.sentence,
        "evidence": {
            name: {
                "shortage": judged.shortage,
                "cause": judged.cause,
                "codes": list(judged.codes),
                **proof_document(judged),
                "demand": judged.demand,
                "ready": judged.ready,
                "needed": judged.needed,
                "returned": judged.returned,
                "lastRefusal": None if judged.last_refusal_at is None else format_rfc3339(judged.last_refusal_at),
                "facts": list(judged.facts),
                "scaler": scaler_note(snapshot.units[name]) or None,
                "price": price_document(snapshot.units[name].price),
            }
            for name, judged in decision.evidence.items()
        },
        "floors": {name: floor_document(claim) for name, claim in decision.floors.items()},
        "guards": [{"guard": one.guard, "passed": one.passed, "reason": one.reason, "text": one.text} for one in decision.answers],
        "next": next_step(seen.memory, snapshot),
        "waits": waits_document(next_waiting(snapshot, seen.memory)),
        "alerts": [{"severity": alert.severity, "text": alert.text} for alert in decision.alerts],
        "degraded": list(decision.degraded),
        "actions": list(_action_documents(seen.made)),
        "coming": None if seen.coming is None else list(_action_documents(seen.coming)),
        "refused": list(seen.made.refused),
        **remedy_document(seen.remedy),
        **part_of(snapshot.application.policy).document(decision),
        "cost": _cost(seen, present),
        "summary": summary(seen.made),
        "changes": bool(seen.made.due) or decision.verb.changes_mode,
    }


def _action_documents(made: Plan) -> Iterator[dict[str, Any]]:
    """Each action as a JSON document. `body` is that of its request, byte for byte: actions that go out together have the same one."""
    for together in requests(made.actions):
        sent = body(together)
        for action in together:
            yield {
                "kind": action.kind,
                "resource": action.resource,
                "namespace": action.namespace,
                "name": action.name,
                "contentType": action.content_type,
                "query": dict(action.query),
                "body": sent,
                "before": action.before,
                "after": action.after,
                "deferred": action.deferred,
            }
