"""Says what comes next and when, and what holds it.

The same words in `failoverctl explain`, `status`, messages and on the page. The times are those of `controller.policy.decision.forecast`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from controller.policy import text
from controller.policy.decision import Forecast, forecast, observed_mode
from controller.policy.model import Decision, Memory, Proof, Snapshot, Verb
from controller.policy.reasons import ClaimReason, Reason

WORDS: Final = {
    Verb.FAILOVER: "fail over to capacity mode",
    Verb.FALLBACK: "fall back to cost mode",
    Verb.ROLLBACK: "roll the last mode change back",
    Verb.PREPARE: "fall back to cost mode",
}
"""What each change is called before it is made."""
_PROOFS = {
    Proof.SATURATED: "Karpenter finds nothing that it may launch",
    Proof.NAMED: "everything that it may launch is refused",
    Proof.AGE: "the demand is then older than a cycle of Karpenter's cache",
}


def floors_text(decision: Decision) -> Iterator[str]:
    """The floors that are not the application file's, each with its unit, replicas and why."""
    return (f"{name} {claim.text}" for name, claim in decision.floors.items() if claim.reason is not ClaimReason.FILE)


def next_step(memory: Memory, snapshot: Snapshot) -> str:
    """What comes next and when, in one sentence."""
    return next_of(forecast(memory, snapshot), memory, snapshot)


def next_of(coming: Forecast, memory: Memory, snapshot: Snapshot) -> str:
    """The sentence of `next_step`, of a forecast that was made already."""
    decision, mode = coming.now, observed_mode(snapshot, memory)[0]
    if coming.in_s is not None:
        when = "now" if coming.in_s < 1 else f"in {text.duration(coming.in_s)}, if nothing changes"
        return f"would {WORDS[coming.decision.verb]} {when}: {_why(coming)}{allowed(coming.decision)}"
    if decision.held_back is not None:
        return f"would {WORDS.get(decision.held_back, str(decision.held_back))}, but {next(_lasting(coming), decision.sentence)}"
    if mode is None or any(not guard.passed for guard in decision.guards):
        return f"changes nothing: {decision.sentence}"
    kept = "" if decision.kept is None else f"; {decision.kept.text}"
    return f"stays in {mode} mode: {decision.sentence}{kept}"


def _why(coming: Forecast) -> str:
    """Why the mode changes at that moment."""
    short = [name for name, judged in coming.decision.evidence.items() if judged.short]
    waited = coming.before is not None and coming.before.reason is Reason.PATIENCE and coming.decision.verb is Verb.FAILOVER
    if coming.proof is not None and coming.decision.reason in {Reason.SHORTAGE_PROVEN, Reason.SLO_BREACHED}:
        return f"{_PROOFS[coming.proof]} for {text.listing(short)}{', and the patience is over' if waited else ''}"
    return coming.decision.sentence


def held(decision: Decision) -> Iterator[str]:
    """What the guards that hold say."""
    return (f"{guard.text} ({guard.guard})" for guard in decision.guards if not guard.passed)


def allowed(decision: Decision) -> str:
    """What a change does to requests because the policy allows it, to follow a sentence; "" where no guard passes for that alone."""
    return "".join(f"; {guard.text}" for guard in decision.guards if guard.allowed)


def _lasting(coming: Forecast) -> Iterator[str]:
    """What the guards that hold say, without those that time alone opens while another one goes on holding."""
    last = (
        {guard.guard for guard in coming.decision.guards if not guard.passed}
        if coming.decision.held_back is coming.now.held_back
        else set()
    )
    lasting = tuple(guard for guard in coming.now.guards if not guard.passed and guard.guard in last)
    return held(replace(coming.now, guards=lasting or coming.now.guards))
