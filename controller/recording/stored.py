"""A memory as the text that the state store keeps: one key a field, as in a recorded decision. What has its default is left out.

Fields that a later version added are ignored, and fields that an earlier version lacked get their defaults; the rest is checked: anyone who
may write ConfigMaps may write anything into it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from controller.foreign import shown
from controller.policy.fleet import SLOTS
from controller.policy.model import Memory
from controller.policy.reasons import Reason

VERSION: Final = 1
_MAX_TEXT: Final = 256 * 1024
_MAX_DETAIL: Final = 2000  # the longest sentence of a reason with every name at its longest
_LIMIT: Final = 1e12  # beyond the last time of the calendar, seconds, and far beyond any count
_SIGNED: Final = frozenset({"lasted"})
"""The fields that may be below zero."""
_REASONS: Final = frozenset(str(reason) for reason in Reason)
"""The reasons that this version knows. A mode change with another reason is dropped from the history; the rest of the memory is kept."""
_MEMORY: Final = TypeAdapter(Memory)


class CodecError(ValueError):
    """The text is not a memory that this version can read."""


def encode(memory: Memory) -> str:
    """Writes a memory, without `FloorMemory.sinking`; equal memories give equal text."""
    written = _MEMORY.dump_python(memory, mode="json", exclude_defaults=True, exclude={"floors": {"__all__": {"sinking"}}})
    return json.dumps({"version": VERSION, **written}, sort_keys=True, separators=(",", ":"))


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
        raw = _bounded(json.loads(text))
    except CodecError:
        raise
    except (ValueError, RecursionError) as error:
        raise CodecError("stored state is not JSON") from error
    if not isinstance(raw, dict):
        raise CodecError("stored state is not an object")
    if (version := raw.get("version")) != VERSION:
        raise CodecError(f"stored state has version {shown(ascii(version), 60)}, this program reads {VERSION}")
    try:
        # Validated as JSON: pydantic's strict mode accepts arrays for tuples and text for enums only in JSON.
        return _MEMORY.validate_json(json.dumps(_known(raw)), strict=True)
    except ValidationError as error:
        raise CodecError(f"stored state has an impossible value at {first_fault(error)}") from error


def _bounded(value: Any, name: str = "") -> Any:  # noqa: ANN401 - any JSON
    """A value with each text fit to be shown.

    Raises:
        CodecError: It has a number that is neither a time nor an amount.
    """
    if isinstance(value, dict):
        return {shown(key): _bounded(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [_bounded(item) for item in value]
    if isinstance(value, str):
        return shown(value, _MAX_DETAIL)
    if isinstance(value, int | float) and not (-_LIMIT if name in _SIGNED else 0) <= value < _LIMIT:
        raise CodecError(f"stored state has {shown(ascii(value), 60)} as {shown(name) or 'a number'}")
    return value


def _known(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The fields without what another version alone understands: a reason, another division of the day.

    The version before stored of a ScaledObject only what its raised floor had replaced, and called the routing object by one kind.
    """
    known = dict(raw)
    if isinstance(changes := raw.get("mode_changes"), list):
        known["mode_changes"] = [one for one in changes if not isinstance(one, dict) or str(one.get("reason", "")) in {"", *_REASONS}]
    if isinstance(before := raw.get("floors_before"), dict):
        known.setdefault(
            "floors",
            {name: dict(zip(("raised_from", "found"), one, strict=False)) for name, one in before.items() if isinstance(one, list)},
        )
    if isinstance(uid := raw.get("ingress"), str):
        known.setdefault("routed_by", uid)
    season = history.get("season") if isinstance(history := raw.get("demand_history"), dict) else None
    if isinstance(season, list) and len(season) != SLOTS:
        del known["demand_history"]
    return known


def first_fault(error: ValidationError) -> str:
    """The first fault, and the number of further ones."""
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    place = ".".join(str(step) for step in faults[0]["loc"])
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return f"{place}: {faults[0]['msg']}{more}"
