"""Says what would make the controller change the mode, when, what would hold it, and how a person forces or stops it.

The same words in `failoverctl explain`, `status`, messages and on the page. The times are those of `controller.policy.forecast`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from controller.policy import text
from controller.policy.decide import observed_mode
from controller.policy.forecast import Forecast, forecast, pinned, refused_everywhere
from controller.policy.model import Application, Decision, Memory, Mode, Proof, Shortage, Snapshot, Source, Verb
from controller.policy.reasons import Reason

_WORDS = {
    Verb.FAILOVER: "fail over to capacity mode",
    Verb.FALLBACK: "fall back to cost mode",
    Verb.ROLLBACK: "roll the last mode change back",
    Verb.PREPARE: "fall back to cost mode",
}
_PROOFS = {
    Proof.SATURATED: "Karpenter finds nothing that it may launch",
    Proof.NAMED: "everything that it may launch is refused",
    Proof.AGE: "the demand is then older than a cycle of Karpenter's cache",
}


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What would come if some units got no capacity from AWS from now on.

    Attributes:
        units: The units, all with the same answer.
        answer: In words.
    """

    units: tuple[str, ...]
    answer: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why the controller does what it does, and what would change that.

    Attributes:
        mode: The present mode; None where it is not known.
        next: What comes next and when, in one sentence.
        blind: What cannot be observed at all, so that no shortage is seen, each a sentence.
        sooner: What would bring it forward; "" where nothing is known to.
        holding: What holds a mode change now, each a sentence.
        what_if: What would come if a unit got no capacity.
        force: The command that asks for the other mode; "" where the mode is not known.
        forced: What would come of that command.
        stop: The command that stops the controller, or lets it act again where it is overridden.
        overridden: Whether a pause or a pin holds now, or an override that cannot be read.
    """

    mode: Mode | None
    next: str
    blind: tuple[str, ...]
    sooner: str
    holding: tuple[str, ...]
    what_if: tuple[WhatIf, ...]
    force: str
    forced: str
    stop: str
    overridden: bool


def next_step(memory: Memory, snapshot: Snapshot) -> str:
    """What comes next and when, in one sentence."""
    return _next(forecast(memory, snapshot), memory, snapshot)


def explain(memory: Memory, snapshot: Snapshot) -> Explanation:
    """Explains one application.

    Args:
        memory: What is remembered.
        snapshot: What is observed.
    """
    application = snapshot.application
    mode, _ = observed_mode(snapshot, memory)
    coming = forecast(memory, snapshot)
    other = Mode.COST if mode is Mode.CAPACITY else Mode.CAPACITY
    override = snapshot.routing.override
    overridden = bool(override.problem) or override.pauses(snapshot.now) or override.pin(snapshot.now) is not None
    return Explanation(
        mode=mode,
        next=_next(coming, memory, snapshot),
        blind=tuple(f"{source.name} cannot be observed, so no shortage is seen: {source.why}" for source in _unseen(snapshot)),
        sooner=_sooner(memory, snapshot, coming),
        holding=tuple(_held(coming.now)),
        what_if=tuple(_what_if(memory, snapshot)) if mode is Mode.COST else (),
        force=_command(f"pin {other}", application) if mode is not None else "",
        forced=_forced(memory, snapshot, other) if mode is not None else "",
        stop=f"failoverctl resume {application.key}" if overridden else _command("pause", application),
        overridden=overridden,
    )


def _command(verb: str, application: Application) -> str:
    return f'failoverctl {verb} {application.key} --for 1h --why "…"'


def _forced(memory: Memory, snapshot: Snapshot, mode: Mode) -> str:
    """What would come of a pin to a mode. A pause beside it stays."""
    outcome, override = _outcome(pinned(memory, snapshot, mode)), snapshot.routing.override
    if override.problem or override.pauses(snapshot.now):
        return f"does nothing while paused; without the pause it {outcome}"
    return outcome


def _next(coming: Forecast, memory: Memory, snapshot: Snapshot) -> str:
    decision, mode = coming.now, observed_mode(snapshot, memory)[0]
    if coming.in_s is not None:
        when = "now" if coming.in_s < 1 else f"in {text.duration(coming.in_s)}, if nothing changes"
        return f"would {_WORDS[coming.decision.verb]} {when}: {_why(coming)}"
    if decision.held_back is not None:
        return f"would {_WORDS.get(decision.held_back, str(decision.held_back))}, but {_first(_lasting(coming), decision.sentence)}"
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


def _sooner(memory: Memory, snapshot: Snapshot, coming: Forecast) -> str:
    """What would prove a shortage at once that is only suspected."""
    for judged in coming.now.evidence.values():
        if judged.shortage is not Shortage.SUSPECTED or not judged.demand:
            continue
        at_once = refused_everywhere(memory, snapshot, judged.unit)
        if at_once.in_s is None or (coming.in_s is not None and at_once.in_s >= coming.in_s):
            continue
        refused = f"AWS also refuses {text.listing(judged.missing)}" if judged.missing else "Karpenter finds nothing that it may launch"
        return f"{_in(at_once.in_s)} if {refused} for {judged.unit}"
    return ""


def _unseen(snapshot: Snapshot) -> list[Source]:
    """The sources without which no shortage can be proven, and that do not exist here."""
    return [source for source in snapshot.sources if source.required and source.absent]


def _what_if(memory: Memory, snapshot: Snapshot) -> Iterator[WhatIf]:
    if unseen := _unseen(snapshot):
        every = tuple(unit.name for unit in snapshot.application.units)
        yield WhatIf(every, f"would not be noticed, because {text.listing(source.name for source in unseen)} cannot be observed")
        return
    answers: dict[str, dict[str, str]] = {}  # of units whose answers differ in their names alone
    for unit in snapshot.application.units:
        answer = _outcome(refused_everywhere(memory, snapshot, unit.name))
        nameless = re.sub(rf"(?<![\w-]){re.escape(unit.name)}(?![\w-])", "it", answer)
        answers.setdefault(nameless, {})[unit.name] = answer
    for nameless, units in answers.items():
        yield WhatIf(tuple(units), nameless if len(units) > 1 else next(iter(units.values())))


def _outcome(coming: Forecast) -> str:
    """What a forecast comes to: a mode change and when, or what holds it."""
    if coming.in_s is not None:
        return f"would {_WORDS[coming.decision.verb]} {_in(coming.in_s)}"
    return f"would not change the mode: {_first(_held(coming.decision), coming.decision.sentence)}"


def _in(seconds: float) -> str:
    return "at once" if seconds < 1 else f"in {text.duration(seconds)}"


def _held(decision: Decision) -> Iterator[str]:
    """What the guards that hold say."""
    return (f"{guard.text} ({guard.guard})" for guard in decision.guards if not guard.passed)


def _lasting(coming: Forecast) -> Iterator[str]:
    """What the guards that hold say, without those that time alone opens while another one goes on holding."""
    last = (
        {guard.guard for guard in coming.decision.guards if not guard.passed}
        if coming.decision.held_back is coming.now.held_back
        else set()
    )
    lasting = tuple(guard for guard in coming.now.guards if not guard.passed and guard.guard in last)
    return _held(replace(coming.now, guards=lasting or coming.now.guards))


def _first(sentences: Iterable[str], otherwise: str) -> str:
    return next(iter(sentences), otherwise)
