"""What strategy `planned` does now, in one sentence for people."""

from __future__ import annotations

from controller.policy import text
from controller.policy.known_demand import without_counter
from controller.policy.model import Decision, Mode, Snapshot
from controller.policy.planned import planned_verb, planned_words


def planned_sentence(decision: Decision, snapshot: Snapshot) -> str:
    """Whether floors follow the cheapest fleet and if not, why, what the fleet is, and what keeps floors from sinking.

    Args:
        decision: The decision.
        snapshot: What it was made from.

    Returns:
        "" where nothing is planned.
    """
    shown = decision.planned
    if shown is None:
        return ""
    words = planned_words(shown, decision.evidence)
    if shown.followed and decision.mode is not Mode.COST:
        return f"would run in cost mode {words}"
    if shown.followed and not decision.floors:
        return f"changes no floor now; would run {words}"
    missing = without_counter(snapshot) if shown.followed and not decision.verb.changes_mode else ()
    if missing is None:
        words += "; no floor sinks while no counter has a recent value"
    elif missing:
        words += f"; no floor sinks while {text.listing(missing)} has no recent count of its requests"
    return f"{planned_verb(shown)} {words}"
