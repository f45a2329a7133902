"""Explains one application: what would make the controller change the mode, what holds it, and how a person forces or stops it.

The sentences are those of `controller.service.explanation`, the times those of `controller.policy.decision.forecast`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from controller.policy import text
from controller.policy.decision import Forecast, forecast, observed_mode, overridden, refused_everywhere
from controller.policy.model import Application, Memory, Mode, Override, Shortage, Snapshot, Source
from controller.service.explanation import WORDS, allowed, floors_text, held, next_of


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
        floors: The floors that are not the application file's, each with its unit, replicas and why.
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
    floors: tuple[str, ...]
    holding: tuple[str, ...]
    what_if: tuple[WhatIf, ...]
    force: str
    forced: str
    stop: str
    overridden: bool


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
        next=next_of(coming, memory, snapshot),
        blind=tuple(f"{source.name} cannot be observed, so no shortage is seen: {source.why}" for source in _unseen(snapshot)),
        sooner=_sooner(memory, snapshot, coming),
        floors=tuple(floors_text(coming.now)),
        holding=tuple(held(coming.now)),
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
    outcome, override = _outcome(overridden(memory, snapshot, Override(pinned_mode=mode))), snapshot.routing.override
    if override.problem or override.pauses(snapshot.now):
        return f"does nothing while paused; without the pause it {outcome}"
    return outcome


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
        return f"would {WORDS[coming.decision.verb]} {_in(coming.in_s)}{allowed(coming.decision)}"
    return f"would not change the mode: {next(held(coming.decision), coming.decision.sentence)}"


def _in(seconds: float) -> str:
    return "at once" if seconds < 1 else f"in {text.duration(seconds)}"
