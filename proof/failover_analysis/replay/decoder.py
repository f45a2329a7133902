"""Reads the lines of a recording.

Fields that a later version added are ignored, and fields that an earlier version lacked get their defaults; the rest is checked.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from controller.foreign import real_number, whole_number
from controller.recording.lines import FORMAT, DecisionLine, DefinitionLine, LineError, Recorded
from controller.recording.stored import first_fault


class Decoder:
    """Reads lines, and remembers the applications that earlier lines defined."""

    def __init__(self) -> None:
        self._definitions: dict[str, tuple[str, Any]] = {}  # version of the program and application, by reference

    def decode(self, line: bytes) -> Recorded | None:
        """Reads one line.

        Returns:
            The decision; None for the definition of an application.

        Raises:
            LineError: It cannot be read; the text states the reason.
        """
        raw = _object(line)
        version, kind = raw.get("recording"), raw.get("kind")
        if version != FORMAT:
            raise LineError(f"found recording format {version!r}; this version reads {FORMAT}")
        try:
            if kind == "application":
                raw["application"] = _routed(raw.get("application"))
                found = DefinitionLine.model_validate_json(json.dumps(raw))
                self._definitions[found.ref] = found.program, raw["application"]
                return None
            if kind == "decision":
                return self._decision(raw)
        except ValidationError as error:
            raise LineError(first_fault(error)) from error
        raise LineError(f"found a line of kind {kind!r}; this version reads application and decision")

    def _decision(self, raw: dict[str, Any]) -> Recorded:
        ref, snapshot = raw.get("ref"), raw.get("snapshot")
        if not isinstance(ref, str) or ref not in self._definitions:
            raise LineError(f"refers to application {ref!r}, which no line before it defines")
        if not isinstance(snapshot, dict):
            raise LineError("has no snapshot")
        program, application = self._definitions[ref]
        # Validated as JSON with the application inserted: pydantic's strict mode accepts arrays for tuples and text for enums only in JSON.
        read = DecisionLine.model_validate_json(json.dumps({**raw, "snapshot": {**snapshot, "application": application}}))
        missing = [unit.name for unit in read.snapshot.application.units if unit.name not in read.snapshot.units]
        if missing:
            raise LineError(f"snapshot.units: no observation of {', '.join(missing)}")
        return Recorded(read.memory, read.snapshot, read.decided, read.done, read.failed, program)


def _routed(application: Any) -> Any:  # noqa: ANN401 - any JSON
    """A recorded application with its route. A version that knew Ingresses alone wrote the name and the action as two fields."""
    if not isinstance(application, dict) or "ingress" not in application:
        return application
    rest = {name: value for name, value in application.items() if name not in {"ingress", "action"}}
    return {**rest, "route": {"name": application["ingress"], "part": application.get("action")}}


def _object(line: bytes) -> dict[str, Any]:
    numbers = _Numbers()
    try:
        raw = json.loads(line, parse_int=numbers.whole, parse_float=numbers.real, parse_constant=numbers.constant)
    except LineError:
        raise
    except (ValueError, RecursionError) as error:
        raise LineError(
            "is not JSON; the last line of a file may have been cut off" if not line.endswith(b"\n") else "is not JSON"
        ) from error
    if not isinstance(raw, dict):
        raise LineError("is not a JSON object")
    if numbers.endless != _endless(raw):
        raise LineError("has an infinite number elsewhere than as the end of an override")
    return raw


class _Numbers:
    """Reads the numbers of a line, and refuses what no version wrote: whatever computes with them would fail far from here.

    Attributes:
        endless: How many were infinite.
    """

    def __init__(self) -> None:
        self.endless = 0

    def whole(self, text: str) -> int:
        """An integer of 64 bits."""
        value = whole_number(text)
        if value is None:
            raise LineError(f"has an integer of {len(text)} digits")
        return value

    def real(self, text: str) -> float:
        """A finite number."""
        value = real_number(text)
        if value is None:
            raise LineError("has a number that is too large")
        return value

    def constant(self, text: str) -> float:
        """Infinity, which the end of an override may be, and nothing else that JSON does not have."""
        if text != "Infinity":
            raise LineError(f"has {text} where a number belongs")
        self.endless += 1
        return math.inf


def _endless(raw: Mapping[str, Any]) -> int:
    """How many ends of overrides are infinite."""
    value: object = raw
    for step in ("snapshot", "routing", "override"):
        value = value.get(step) if isinstance(value, Mapping) else None
    return sum(value.get(name) == math.inf for name in ("paused_until", "pinned_until")) if isinstance(value, Mapping) else 0
