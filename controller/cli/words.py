"""How `plan`, `status` and the demo show units, guards and actions: the same words everywhere, and an icon with every colour."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from controller.clients.kube import APPLY_PATCH
from controller.clock import format_rfc3339
from controller.notifiers.runbooks import located
from controller.policy import text
from controller.policy.account import Waiting
from controller.policy.model import (
    Action,
    ActionKind,
    Alert,
    Decision,
    GuardResult,
    Mode,
    Snapshot,
    UnitEvidence,
    UnitObservation,
    Verb,
    Verdict,
)
from controller.policy.plan import FIELD_MANAGER, body
from controller.routing.annotations import MARKER
from controller.routing.kinds import port_of_action
from controller.service.unit_state import unit_state

Line = tuple[str, str]

ICONS: Mapping[str, str] = {"good": "✔", "bad": "✖", "warn": "⚠", "absent": "◌", "unknown": "?", "change": "~", "raise": "~", "lower": "-"}


_WIDEST: Final = 120
_END: Final = "END"
_UNIT: Final = re.compile(r"(?<=\d) (?=(?:s|min|h|%|pod\(s\))(?!\w))")


def terminal_width() -> int:
    """Columns after which lines are wrapped: those of the terminal, 80 where there is none."""
    return min(_WIDEST, shutil.get_terminal_size().columns)


def wrapped(style: str, start: str, words: str, width: int) -> Iterator[Line]:
    """A text with a hanging indent. Names and keys are not broken, nor a number from its unit."""
    indent, kept = " " * len(start), _UNIT.sub("\u00a0", words)
    lines = textwrap.wrap(kept, width, initial_indent=start, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False)
    yield from ((style, line.replace("\u00a0", " ")) for line in lines or [start.rstrip()])


def alert_lines(alerts: Iterable[Alert], start: str, width: int) -> Iterator[Line]:
    """Alerts, each with its page in docs/runbooks."""
    for one in alerts:
        page = located(one.row.runbook)
        yield from wrapped("bad", f"{start}{ICONS['warn']} ", f"{one.text} ({page})" if page else one.text, width)


def credentials_note(snapshot: Snapshot, published: Mapping[str, Any] | None) -> str:
    """That a command does not see the load balancer where the controller perhaps does; "" where it sees it, or no controller has run.

    Args:
        snapshot: What was observed with the credentials of the person who runs the command.
        published: The application's status as the controller stored it; None if there is none.
    """
    seen = snapshot.routing.verification
    if published is None or seen is None or seen.verdict is not Verdict.CANNOT_TELL:
        return ""
    return (
        f"the load balancer cannot be asked from here ({seen.why}). The controller asks with credentials and settings of its own: what it "
        "decides may differ from what is said here"
    )


def mode_word(mode: Mode | None) -> str:
    """A mode as a heading."""
    return str(mode).upper() if mode else "UNKNOWN"


def proof_document(judged: UnitEvidence) -> dict[str, Any]:
    """How far the proof of a shortage is, for machines.

    Returns:
        ``proof``, None where there is none; what is ``refused``, what Karpenter's metrics call ``unavailable`` beside, and what is
        ``missing`` for a proof by name; ``waitingSince``, and ``ageAt``, when age alone proves it, each None where that is not known.
    """
    since, age_at = judged.demand_since, judged.age_at
    return {
        "proof": judged.proof,
        "refused": list(judged.refused),
        "unavailable": list(judged.unavailable),
        "missing": list(judged.missing),
        "waitingSince": None if since is None else format_rfc3339(since),
        "ageAt": None if age_at is None else format_rfc3339(age_at),
    }


def scaler_note(observed: UnitObservation) -> str:
    """What keeps a unit's replicas from following the demand; "" if nothing does or nothing should set them."""
    scaler = observed.scaler
    if scaler is None:
        return ""
    if scaler.paused:
        return f"ScaledObject {scaler.name} is paused by an operator: nothing adds replicas"
    return f"ScaledObject {scaler.name}: {scaler.trouble}" if scaler.trouble else ""


def evidence_lines(snapshot: Snapshot, decision: Decision, width: int) -> Iterator[Line]:
    """The evidence, problems first."""
    rank = {"bad": 0, "warn": 1, "unknown": 2, "good": 3}
    order = sorted(decision.evidence.values(), key=lambda one: rank[unit_state(snapshot, one)[0]])
    for judged in order:
        style, words = unit_state(snapshot, judged)
        observed = snapshot.units[judged.unit]
        desired = "?" if observed.desired is None else str(observed.desired)
        yield from wrapped(style, f"  {ICONS[style]} {judged.unit:<18} ready {f'{judged.ready}/{desired}':<7} ", words, width)
        for fact in judged.facts:
            yield from wrapped("dim", "      ", fact, width)
        if note := scaler_note(observed):
            yield from wrapped("warn", f"      {ICONS['warn']} ", note, width)
    for named in decision.degraded:
        yield from wrapped("warn", f"  {ICONS['absent']} ", named, width)


def decision_lines(decision: Decision, present: Mode | None, width: int) -> Iterator[Line]:
    """The decision and its reason."""
    style = "good" if decision.verb is Verb.HOLD and decision.held_back is None else "warn"
    arrow = mode_word(decision.mode)
    if decision.verb.changes_mode:
        arrow = f"{mode_word(present)} → {mode_word(decision.mode)}"
    held = f" (holds back: {decision.held_back})" if decision.held_back and decision.verb is not decision.held_back else ""
    yield from wrapped(style, "Decision   ", f"{arrow} · {decision.verb}{held} · {decision.reason}: {decision.sentence}", width)


def guard_lines(results: tuple[GuardResult, ...], width: int) -> Iterator[Line]:
    """The guards: those that hold, that could not be answered, or that the policy overrules, with their text, the others by name."""
    passed = [result.guard for result in results if result.plain]
    for result in results:
        if not result.passed:
            yield from wrapped("warn", f"  {ICONS['bad']} ", f"{result.guard}: {result.text}", width)
        elif result.allowed:
            yield from wrapped("warn", f"  {ICONS['warn']} ", f"{result.guard}: {result.text}", width)
        elif not result.known:
            yield from wrapped("unknown", f"  {ICONS['unknown']} ", f"{result.guard}: {result.text}", width)
    if passed:
        yield from wrapped("good", f"  {ICONS['good']} ", ", ".join(passed), width)


def waits_text(waiting: Waiting) -> str:
    """The waits before the next mode change."""
    return f"patience {text.duration(waiting.patience_s)}, hold {text.duration(waiting.hold_s)} ({text.listing(waiting.units)})"


def waits_document(waiting: Waiting) -> dict[str, Any]:
    """The same as a JSON document."""
    return {
        "units": list(waiting.units),
        "patienceSeconds": waiting.patience_s,
        "holdSeconds": waiting.hold_s,
    }


def request_lines(actions: Sequence[Action]) -> Iterator[Line]:
    """The one request that carries out some actions, exactly as it is sent, and the command that sends it."""
    action = actions[0]
    query = "&".join(f"{key}={value}" for key, value in action.query)
    yield "dim", f"      PATCH {action.resource} {action.namespace}/{action.name}?{query}"
    yield "dim", f"      Content-Type: {action.content_type}"
    yield "plain", f"      {body(actions)}"
    yield from (("plain", line) for line in request_command(actions).split("\n"))


def request_command(actions: Sequence[Action]) -> str:
    """The shell command with which a person sends the one request of some actions, without quoting.

    It fails where the object has changed since: its version is a part of the request.
    """
    action = actions[0]
    if action.content_type == APPLY_PATCH:
        call = f"kubectl -n {action.namespace} apply --server-side --force-conflicts --field-manager {FIELD_MANAGER} -f -"
    else:
        what = f"patch {action.resource} {action.name} --type json --field-manager {FIELD_MANAGER}"
        call = f"kubectl -n {action.namespace} {what} --patch-file /dev/stdin"
    return piped(call, body(actions))


def piped(call: str, *lines: str) -> str:
    """A shell command that reads lines from its standard input, without quoting."""
    return "\n".join([f"{call} <<'{_END}'", *lines, _END])


def action_lines(action: Action) -> Iterator[Line]:
    """One action as a diff."""
    where = f"{action.namespace}/{action.name}"
    sign, later = ("-", f"   deferred: {action.deferred}") if action.deferred else ("~", "")
    match action.kind:
        case ActionKind.ROUTE:
            yield "change", f"  {sign} {action.object_kind} {where}   routing action{later}"
            yield from _route_diff(action)
        case ActionKind.SET_TARGET:
            yield "change", f"  {sign} ScaledObject {where}   targetMetricValue {action.before or '(none)'} → {action.after}{later}"
        case _:
            yield "change", f"  {sign} ScaledObject {where}   minReplicaCount {action.before} → {action.after}{later}"


def _route_diff(action: Action) -> Iterator[Line]:
    read = port_of_action(action).read
    before, sticky_before, problem = read(action.before) if action.before else ((), 0, "")
    after, sticky_after, _ = read(action.after)
    old = {(t.service, t.port): t.weight for t in before}
    new = {(t.service, t.port): t.weight for t in after}
    if problem:
        yield "remove", f"      - {problem}"
    for key in [*old, *[key for key in new if key not in old]]:
        name = f"{key[0]}:{key[1]}"
        if key not in new:
            yield "remove", f"      - {name:<28} {old[key]}"
        elif key not in old:
            yield "add", f"      + {name:<28} {new[key]}"
        elif old[key] != new[key]:
            yield "change", f"      ~ {name:<28} {old[key]} → {new[key]}"
    if sticky_before != sticky_after:
        yield "change", f"      ~ stickiness                   {sticky_before} s → {sticky_after} s"
    yield "change", f"      ~ {MARKER}         {action.mode}"


def age(at: float | None, now: float) -> str:
    """How long ago that was, as text."""
    return "never" if at is None else f"{text.duration(now - at)} ago"
