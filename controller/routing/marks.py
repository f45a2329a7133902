"""The controller's own annotations on a routing object of any kind: the mode, a fallback's step, a nudge, and an operator's override."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from controller.clock import parse_rfc3339
from controller.foreign import shown
from controller.objects import Object, field_owners, mapping, text
from controller.policy import text as words
from controller.policy.model import Decision, Mode, Override, RoutingObservation, Snapshot, Verb
from controller.policy.plan import FIELD_MANAGER
from controller.routing.annotations import (
    MARKER,
    NUDGED_AT,
    PAUSE_REASON,
    PAUSED_BY,
    PAUSED_UNTIL,
    PIN_REASON,
    PINNED_BY,
    PINNED_MODE,
    PINNED_UNTIL,
    WRITTEN_BY,
)

_MAX_REASON: Final = 500  # characters: an operator's sentence or two
FOREVER: Final = "forever"


def marked(obj: Object) -> RoutingObservation:
    """What a routing object says of itself and through our annotations; all that depends on its kind keeps the defaults."""
    annotations = mapping(obj, "metadata", "annotations")
    markers = field_owners(obj, "metadata", "annotations", MARKER)
    return RoutingObservation(
        exists=True,
        resource_version=text(obj, "metadata", "resourceVersion"),
        uid=text(obj, "metadata", "uid"),
        marker=shown(text(annotations, MARKER)),
        marked_by=shown(markers[-1]) if markers and FIELD_MANAGER not in markers else "",
        written_by=shown(text(annotations, WRITTEN_BY)),
        override=_override(annotations),
    )


def written(decision: Decision, snapshot: Snapshot) -> dict[str, str]:
    """The annotations beside a routing action. A write removes those that it does not name, so the next change ends a nudge."""
    found = {MARKER: str(decision.mode)}
    if snapshot.installation:
        found[WRITTEN_BY] = snapshot.installation
    if decision.verb is Verb.NUDGE:
        found[NUDGED_AT] = words.number(snapshot.now)
    return found


def _override(annotations: Mapping[str, Any]) -> Override:
    paused, pinned, until = (shown(text(annotations, key)) for key in (PAUSED_UNTIL, PINNED_MODE, PINNED_UNTIL))
    problems = []
    paused_until = _moment(paused)
    if paused and paused_until is None:
        problems.append(f"{PAUSED_UNTIL}: found {paused!r}, allowed: a time such as 2026-01-31T18:00:00Z, or {FOREVER}")
    mode = {str(mode): mode for mode in Mode}.get(pinned)
    if pinned and mode is None:
        problems.append(f"{PINNED_MODE}: found {pinned!r}, allowed: {', '.join(Mode)}")
    pinned_until = _moment(until)
    if until and pinned_until is None:
        problems.append(f"{PINNED_UNTIL}: found {until!r}, allowed: a time such as 2026-01-31T18:00:00Z, or {FOREVER}")
    return Override(
        paused_until=paused_until,
        paused_why=shown(text(annotations, PAUSE_REASON), _MAX_REASON),
        paused_by=shown(text(annotations, PAUSED_BY)),
        pinned_mode=mode,
        pinned_until=pinned_until,
        pinned_why=shown(text(annotations, PIN_REASON), _MAX_REASON),
        pinned_by=shown(text(annotations, PINNED_BY)),
        problem="; ".join(problems),
    )


def _moment(value: str) -> float | None:
    return math.inf if value == FOREVER else parse_rfc3339(value)
