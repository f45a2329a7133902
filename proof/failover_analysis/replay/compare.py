"""Compares two decisions about the same moment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from controller.policy import text
from controller.policy.model import ActionKind, Target
from controller.recording.lines import Decided, Request
from failover_analysis.replay.bodies import written

NOTHING: Final = "nothing"


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference between two decisions, as text.

    Attributes:
        what: What differs, such as ``verb`` or ``actions``.
        before: The recorded side; actions one per line, with what they write after a tab.
        after: The side decided now.
    """

    what: str
    before: str
    after: str


def differences(recorded: Decided, replayed: Decided) -> tuple[Difference, ...]:
    """Every difference that matters. Sentences do not: their wording may change."""
    return tuple(_differences(recorded, replayed))


def _differences(recorded: Decided, replayed: Decided) -> Iterator[Difference]:
    pairs = (
        ("verb", recorded.verb, replayed.verb),
        ("mode", recorded.mode or "unknown", replayed.mode or "unknown"),
        ("reason", recorded.reason, replayed.reason),
        ("held back", recorded.wanted or "nothing", replayed.wanted or "nothing"),
        ("targets", _targets(recorded.targets), _targets(replayed.targets)),
        ("stickiness", f"{recorded.stickiness_s} s", f"{replayed.stickiness_s} s"),
        ("floors", *_changed(recorded.floors, replayed.floors)),
        ("KEDA targets", *_changed(recorded.keda_targets, replayed.keda_targets)),
        ("actions", *_only(recorded.requests, replayed.requests)),
    )
    for what, before, after in pairs:
        if before != after:
            yield Difference(what, before, after)


def _targets(targets: Iterable[Target]) -> str:
    return text.listing(f"{target.service}:{target.port} {target.weight}" for target in targets)


def _changed(before: Mapping[str, object], after: Mapping[str, object]) -> tuple[str, str]:
    """The units whose values differ, on both sides."""
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return _values(names, before), _values(names, after)


def _values(names: Iterable[str], values: Mapping[str, object]) -> str:
    return text.listing(f"{name} {values.get(name, 'left alone')}" for name in names)


def _only(before: tuple[Request, ...], after: tuple[Request, ...]) -> tuple[str, str]:
    """The requests that only one side makes."""
    asked, asks = [_essence(one) for one in before], [_essence(one) for one in after]
    if sorted(asked) == sorted(asks):
        return ("", "") if _stages(before) == _stages(after) else (_requests(asked), _requests(asks))  # the order counts, too
    return _requests(one for one in asked if one not in asks), _requests(one for one in asks if one not in asked)


def _essence(request: Request) -> tuple[str, str]:
    """What identifies a request, and what it writes."""
    later = " (deferred)" if request.deferred else ""
    return f"{request.kind} {request.resource} {request.namespace}/{request.name}{later}", written(request)


def _stages(requests: tuple[Request, ...]) -> tuple[list[tuple[str, str]], ...]:
    """The requests up to the routing action, and those after it: within these their order means nothing."""
    place = next((index for index, one in enumerate(requests, start=1) if one.kind == ActionKind.ROUTE), len(requests))
    return sorted(map(_essence, requests[:place])), sorted(map(_essence, requests[place:]))


def _requests(essences: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"{where}\t{body}" for where, body in essences) or NOTHING
