"""Memory as JSON, for the state store: versioned, lenient about fields that a later version added, strict about everything else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from controller.policy.contested import known_field
from controller.policy.expected_demand import KEPT_OUTCOMES, RECENT, SLOTS
from controller.policy.model import (
    NONE_DUE,
    Cause,
    Damping,
    DemandHistory,
    FloorBefore,
    Margins,
    Memory,
    Mode,
    ModeChange,
    NotedDemand,
    OutageHistory,
    Outcome,
    Return,
    ScalerWrite,
    UnitMemory,
)
from controller.policy.reasons import Reason

VERSION: Final = 1
_MAX_TEXT: Final = 256 * 1024
_MAX_DETAIL: Final = 2000  # the longest sentence of a reason with every name at its longest
_MAX_NUMBER: Final = 64  # the longest number that is read off a ScaledObject, where it may be any text
_MAX_SHOWN: Final = 60
_LIMIT: Final = 1e12  # beyond the last time of the calendar, seconds, and far beyond any count
_REASONS: Final = frozenset(str(reason) for reason in Reason)
"""The reasons that this version knows. A mode change with another reason is dropped from the history; the rest of the memory is kept."""


class CodecError(ValueError):
    """The text is not a memory that this version can read."""


def encode(memory: Memory) -> str:
    """Writes a memory, without `Memory.sinking`; equal memories give equal text."""
    return json.dumps(
        {
            "version": VERSION,
            "mode": memory.mode,
            "mode_since": memory.mode_since,
            "flips": [
                {
                    "at": change.at,
                    "to": change.to,
                    "reason": change.reason,
                    "detail": change.detail,
                    "by": change.by,
                    "verified_at": change.verified_at,
                    "dollars_before": change.dollars_before,
                    "dollars_after": change.dollars_after,
                }
                for change in memory.mode_changes
            ],
            "hold_level": memory.hold_level,
            "units": {
                name: {
                    "last_failure_at": unit.last_failure_at,
                    "cause": unit.cause,
                    "ready_then": unit.ready_then,
                    "proven_at": unit.proven_at,
                    "returned": unit.returned,
                    "returned_at": unit.returned_at,
                }
                for name, unit in memory.units.items()
            },
            "spells": {
                "short": memory.outage_history.short,
                "since": memory.outage_history.since,
                "outages_s": memory.outage_history.outages_s,
                "uptimes_s": memory.outage_history.uptimes_s,
            },
            "action": memory.action,
            "ingress": memory.ingress,
            "changed_at": memory.changed_at,
            "verified_at": memory.verified_at,
            "unverified_since": memory.unverified_since,
            "sticky_s": memory.sticky_s,
            "nudges": memory.nudges,
            "nudged_at": memory.nudged_at,
            "reasserts": memory.reasserts,
            "reasserted_at": memory.reasserted_at,
            "reasserted_against": memory.reasserted_against,
            "counted_since": memory.demand_known_since,
            "silent_since": memory.demand_missing_since,
            "scaler_writes": {
                name: {"at": write.at, "before": write.before, "after": write.after, "repeats": write.repeats}
                for name, write in memory.scaler_writes.items()
            },
            **({"found_floors": dict(memory.found_floors)} if memory.found_floors else {}),
            **({"sent": memory.sent} if memory.sent else {}),
            **({"unseen": True} if memory.unseen else {}),
            **({"routed_at": memory.routed_at} if memory.routed_at else {}),
            **({"floors_due": sorted(memory.floors_due)} if memory.floors_due else {}),
            **_floors_before_as_json(memory.floors_before),
            **_demand_history_as_json(memory.demand_history),
        },
        sort_keys=True,
        separators=(",", ":"),
    )


def decode(text: str) -> Memory:
    """Reads a memory.

    Args:
        text: What `encode` wrote, by this version or the one before.

    Raises:
        CodecError: It is not JSON, it is of another version, or a field has an impossible value.
    """
    if len(text) > _MAX_TEXT:
        raise CodecError(f"stored state is longer than {_MAX_TEXT} bytes")
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CodecError("stored state is not JSON") from error
    if not isinstance(raw, Mapping):
        raise CodecError("stored state is not an object")
    version = raw.get("version")
    if version != VERSION:
        raise CodecError(f"stored state has version {_shown(version)}, this program reads {VERSION}")
    try:
        return Memory(
            mode=None if raw.get("mode") is None else Mode(raw["mode"]),
            mode_since=_number(raw.get("mode_since", 0.0)),
            mode_changes=tuple(
                _mode_change(one) for one in raw.get("flips", []) if one.get("reason", "") in _REASONS or not one.get("reason")
            ),
            hold_level=_count(raw.get("hold_level", 0)),
            units={str(name): _unit(unit) for name, unit in dict(raw.get("units", {})).items()},
            outage_history=_outage_history(dict(raw.get("spells", {}))),
            action=str(raw.get("action", "")),
            sent=str(raw.get("sent", "")),
            unseen=bool(raw.get("unseen", False)),
            routed_at=tuple(_number(at) for at in raw.get("routed_at", ())),
            ingress=str(raw.get("ingress", "")),
            changed_at=_optional(raw.get("changed_at")),
            verified_at=_optional(raw.get("verified_at")),
            unverified_since=_optional(raw.get("unverified_since", _unverified_since(raw))),
            sticky_s=_count(raw.get("sticky_s", 0)),
            nudges=_count(raw.get("nudges", 0)),
            nudged_at=_optional(raw.get("nudged_at")),
            reasserts=_count(raw.get("reasserts", 0)),
            reasserted_at=_optional(raw.get("reasserted_at")),
            reasserted_against=str(raw.get("reasserted_against", "")),
            demand_known_since=_optional(raw.get("counted_since")),
            demand_missing_since=_optional(raw.get("silent_since")),
            scaler_writes={
                field: _scaler_write(write) for field, write in dict(raw.get("scaler_writes", {})).items() if known_field(str(field))
            },
            demand_history=_demand_history(raw.get("demands")),
            found_floors={str(name): _count(floor) for name, floor in dict(raw.get("found_floors", {})).items()},
            floors_due=frozenset(str(name) for name in raw.get("floors_due", [])) or NONE_DUE,
            floors_before={str(name): _floor_before(one) for name, one in dict(raw.get("floors_before", {})).items()},
        )
    except CodecError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise CodecError(f"stored state has an impossible value: {_shown(error)}") from error


def _unverified_since(raw: Mapping[str, Any]) -> object:
    """The default for memories of the previous version, which did not store the field: it counted from the last change."""
    return raw.get("changed_at") if raw.get("verified_at") is None else None


def _mode_change(raw: Mapping[str, Any]) -> ModeChange:
    return ModeChange(
        at=_number(raw["at"]),
        to=Mode(raw["to"]),
        reason=Reason(raw["reason"]),
        detail=_text(raw.get("detail", "")),
        by=_text(raw.get("by", "")),
        verified_at=_optional(raw.get("verified_at")),
        dollars_before=_dollars(raw.get("dollars_before")),
        dollars_after=_dollars(raw.get("dollars_after")),
    )


def _dollars(value: object) -> float | None:
    """A price, for people to read: one that is impossible is left out, and stops no application."""
    try:
        return _optional(value)
    except CodecError:
        return None


def _unit(raw: Mapping[str, Any]) -> UnitMemory:
    return UnitMemory(
        last_failure_at=_number(raw["last_failure_at"]),
        cause=Cause(raw["cause"]),
        ready_then=_count(raw.get("ready_then", 0)),
        proven_at=_optional(raw.get("proven_at")),
        returned=Return(raw.get("returned", Return.NONE)),
        returned_at=_optional(raw.get("returned_at")),
    )


def _scaler_write(raw: Mapping[str, Any]) -> ScalerWrite:
    return ScalerWrite(
        at=_number(raw["at"]),
        before=_text(raw["before"])[:_MAX_NUMBER],
        after=_text(raw["after"])[:_MAX_NUMBER],
        repeats=_count(raw.get("repeats", 0)),
    )


def _floor_before(raw: Sequence[object]) -> FloorBefore:
    least, found = raw
    return FloorBefore(_count(least), _count(found))


def _outage_history(raw: Mapping[str, Any]) -> OutageHistory:
    return OutageHistory(
        short=raw.get("short") is True,
        since=_optional(raw.get("since")),
        outages_s=tuple(_duration(one) for one in raw.get("outages_s", [])),
        uptimes_s=tuple(_duration(one) for one in raw.get("uptimes_s", [])),
    )


def _floors_before_as_json(floors: Mapping[str, FloorBefore]) -> dict[str, Any]:
    """The key ``floors_before``; nothing where none is raised."""
    return {"floors_before": {name: [one.least, one.found] for name, one in floors.items()}} if floors else {}


def _demand_history_as_json(history: DemandHistory | None) -> dict[str, Any]:
    """The key ``demands``; nothing without a history."""
    if history is None:
        return {}
    recent = [[one.at, one.demand, one.forecast] for one in history.recent]
    outcomes = [[one.forecast, one.demand] for one in history.outcomes]
    damping = [history.damping.lasted, history.damping.squares]
    margins = [history.margins.losses, history.margins.bounds]
    return {"demands": {"recent": recent, "outcomes": outcomes, "season": history.season, "damping": damping, "margins": margins}}


def _demand_history(raw: object) -> DemandHistory | None:
    """A history of demands. One that does not describe a day as this version does is dropped: the next begins anew."""
    if not isinstance(raw, Mapping) or len(raw.get("season", ())) != SLOTS:
        return None
    return DemandHistory(
        recent=tuple(
            NotedDemand(_number(at), _duration(demand), _duration(forecast)) for at, demand, forecast in raw.get("recent", [])[-RECENT:]
        ),
        outcomes=tuple(Outcome(_above_zero(forecast), _duration(demand)) for forecast, demand in raw.get("outcomes", [])[-KEPT_OUTCOMES:]),
        season=tuple(None if one is None else _duration(one) for one in raw["season"]),
        damping=_damping(raw.get("damping", (0.0, 0.0))),
        margins=_margins(raw.get("margins", ((0.0, 0.0), None))),
    )


def _damping(raw: Sequence[object]) -> Damping:
    lasted, squares = raw
    return Damping(_number(lasted), _duration(squares))


def _margins(raw: Sequence[Sequence[object] | None]) -> Margins:
    losses, bounds = raw
    return Margins(_pair(losses or ()), None if bounds is None else _pair(bounds))


def _pair(raw: Sequence[object]) -> tuple[float, float]:
    first, second = raw
    return _duration(first), _duration(second)


def _above_zero(value: object) -> float:
    number = _duration(value)
    if number == 0:
        raise CodecError("stored state has 0 where a forecast belongs")
    return number


def _duration(value: object) -> float:
    seconds = _number(value)
    if seconds < 0:
        raise CodecError(f"stored state has {_shown(value)} where a duration belongs")
    return seconds


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not -_LIMIT < value < _LIMIT:
        raise CodecError(f"stored state has {_shown(value)} where a time belongs")
    return float(value)


def _text(value: object) -> str:
    """A text of a record that is shown. Anyone who may write ConfigMaps may write anything into it."""
    text = str(value)[:_MAX_DETAIL]
    return text if text.isprintable() else ascii(text)[1:-1]


def _shown(value: object) -> str:
    return ascii(value)[:_MAX_SHOWN]


def _optional(value: object) -> float | None:
    return None if value is None else _number(value)


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _LIMIT:
        raise CodecError(f"stored state has {_shown(value)} where a count belongs")
    return value
