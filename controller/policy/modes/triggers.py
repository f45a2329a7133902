"""What triggers a mode change, before any guard is asked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from controller.policy import text
from controller.policy.account import latency_breach, nothing_answers
from controller.policy.case import Case
from controller.policy.model import Mode, Proof, Return, Verdict
from controller.policy.modes import guards
from controller.policy.modes.modes import Trigger
from controller.policy.reasons import Reason
from controller.policy.routing import carrying

_NEVER_UNDONE: Final = frozenset({Reason.PINNED_TO_MODE, Reason.ROUTING_DRIFTED, Reason.ROLLED_BACK})
"""Reasons of mode changes that are never rolled back: a person made them, or they are roll-backs themselves."""

_PROOFS: Final[Mapping[Return, str]] = {
    Return.NONE: "nothing is known",
    Return.LAUNCHED: "an instance was launched",
    Return.RESERVED: "EC2 made a capacity reservation for it, which was cancelled",
    Return.REGISTERED: "a node that was requested after the last refusal has joined",
    Return.REPLICAS_READY: "the replicas that the present demand needs are ready",
}


@dataclass(frozen=True, slots=True)
class Triggered:
    """A trigger that applies now.

    Attributes:
        trigger: Which, as the table of modes knows it.
        reason: Why.
        subject: The units that it is about.
        details: For the reason's sentence.
        guards: Which guards must let it pass.
    """

    trigger: Trigger
    reason: Reason
    subject: tuple[str, ...]
    details: Mapping[str, str]
    guards: tuple[guards.Guard, ...]


def triggered(mode: Mode, case: Case) -> Triggered | None:
    """The trigger that applies now, the most urgent one; None where none does."""
    pin = case.snapshot.routing.override.pin(case.snapshot.now)
    if pin is not None and pin is not mode:
        return _pin(pin, case)
    if gone := nothing_answers(mode, case.snapshot, case.figures, case.memory.last_routed):
        details = {"gone": gone, "mode": str(mode)}
        return Triggered(Trigger.NOTHING_BEHIND, Reason.NOTHING_ANSWERS, (), details, tuple(guards.NOTHING_BEHIND))
    if rollback_in_s(mode, case) == 0:
        return _rollback(mode, case)
    return _shortage(case) if mode is Mode.COST else _return(case)


def _pin(pin: Mode, case: Case) -> Triggered:
    trigger = Trigger.PIN_CAPACITY if pin is Mode.CAPACITY else Trigger.PIN_COST
    override = case.snapshot.routing.override
    why = guards.reason_text(override.pinned_why, override.pinned_by)
    return Triggered(
        trigger, Reason.PINNED_TO_MODE, (), {"mode": str(pin), "why": why, "units": "", "by": override.pinned_by}, tuple(guards.MODE_CHANGE)
    )


def rollback_in_s(mode: Mode, case: Case) -> float:
    """How long the load balancer still has to show the last mode change before it is rolled back, seconds.

    Returns:
        0 where its time is over; infinite where no roll-back is due. A change that cannot be verified is never rolled back.
    """
    policy, memory, snapshot = case.snapshot.application.policy, case.memory, case.snapshot
    seen, last = snapshot.routing.verification, memory.mode_changes[-1] if memory.mode_changes else None
    if policy.rollback_s <= 0 or memory.unverified_since is None or last is None or last.to is not mode:
        return math.inf
    ours = last.at >= memory.unverified_since and last.reason not in _NEVER_UNDONE
    if not ours or seen is None or seen.verdict is not Verdict.NOT_YET or seen.action != snapshot.routing.action:
        return math.inf
    return case.remaining(memory.unverified_since + policy.rollback_s)


def _rollback(mode: Mode, case: Case) -> Triggered:
    seen, snapshot = case.snapshot.routing.verification, case.snapshot
    waited = text.duration(snapshot.now - (case.memory.unverified_since or snapshot.now))
    details = {"mode": str(mode), "waited": waited, "problem": seen.why if seen is not None else "it was not observed since"}
    return Triggered(Trigger.UNVERIFIED, Reason.ROLLED_BACK, (), details, tuple(guards.ROLLBACK))


def _shortage(case: Case) -> Triggered | None:
    carried = carrying(case.snapshot.application)
    short = tuple(name for name, judged in case.evidence.items() if judged.short and name in carried)
    if not short:
        return None
    # The cause and the patience of a unit that may cause no failover do not count for the others.
    short = tuple(name for name in short if guards.could_trip(case, name)) or short
    details = shortage_details(case, short)
    found = _suffering(case, short)
    if found:
        hurried = tuple(guard for guard in guards.FAILOVER if guard is not guards.patience)
        return Triggered(Trigger.SHORTAGE, Reason.SLO_BREACHED, short, {**details, "breach": found}, hurried)
    return Triggered(Trigger.SHORTAGE, Reason.SHORTAGE_PROVEN, short, details, tuple(guards.FAILOVER))


def _suffering(case: Case, short: tuple[str, ...]) -> str:
    """How a shortage harms the users of a short unit, in words; "" where it is not known to.

    Neither latency nor errors make a suspicion stronger: latency passes its limit in every scale-up, and errors are of the whole
    application. A latency beyond its limit only ends the patience, and only with a unit that is proven short as saturated or named.
    """
    sure = tuple(name for name in short if case.evidence[name].proof in {Proof.SATURATED, Proof.NAMED})
    return latency_breach(case.snapshot, sure)


def _return(case: Case) -> Triggered:
    """The trigger that always applies in capacity mode; its guards say what a fallback still lacks."""
    subject = tuple(name for name in case.memory.units if name in case.evidence and guards.could_trip(case, name))
    proofs = {name: _PROOFS[case.evidence[name].returned] for name in subject}
    each = proofs.values() if len(set(proofs.values())) == 1 else (f"{name}: {proof}" for name, proof in proofs.items())
    proof = "; ".join(dict.fromkeys(each)) or "no unit is remembered as short, and none waits that was refused"
    details = {"units": text.listing(subject) if subject else "every unit", "proof": proof}
    return Triggered(Trigger.RETURN, Reason.RETURN_PROVEN, subject, details, tuple(guards.FALLBACK))


def shortage_details(case: Case, names: tuple[str, ...]) -> dict[str, str]:
    """What a sentence about short units contains: names, causes, codes, and the number of waiting pods."""
    judged = [case.evidence[name] for name in names]
    codes = dict.fromkeys(code for one in judged for code in one.codes)
    return {
        "units": text.listing(names),
        "cause": text.listing(dict.fromkeys(str(one.cause) for one in judged)),
        "codes": text.listing(codes),
        "pending": str(sum(one.demand for one in judged)),
    }
