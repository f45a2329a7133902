"""One recorded decision as one line of JSON: its inputs and its outcome.

The application is the larger part of the inputs and rarely changes. So each file defines it once, and its decisions refer to it.
Fields that a later version added are ignored, and fields that an earlier version lacked get their defaults; the rest is checked.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from controller import __version__
from controller.foreign import real_number, whole_number
from controller.policy.model import Action, Application, Memory, Plan, Snapshot, Target
from controller.recording.stored import first_fault

FORMAT: Final = 1
MAX_LINE: Final = 512 * 1024
"""Longest line, bytes. A line of an application with five units has about 5,000."""


class LineError(ValueError):
    """A line cannot be read by this version."""


@dataclass(frozen=True, slots=True)
class Request:
    """An action of a plan. Text instead of enums, here and in `Decided`, keeps the decisions of other versions readable."""

    kind: str
    resource: str
    namespace: str
    name: str
    body: str
    deferred: str = ""
    applied: bool = False  # the API server accepted it


@dataclass(frozen=True, slots=True)
class Decided:
    """The effective part of a decision and its plan. The sentence is for people."""

    verb: str
    mode: str | None
    reason: str
    sentence: str
    wanted: str | None = None
    targets: tuple[Target, ...] = ()
    stickiness_s: int = 0
    floors: Mapping[str, int] = field(default_factory=dict)
    keda_targets: Mapping[str, str] = field(default_factory=dict)
    requests: tuple[Request, ...] = ()


@dataclass(frozen=True, slots=True)
class Recorded:
    """One decision.

    Attributes:
        memory: The memory before the decision.
        snapshot: The snapshot that it was made from.
        decided: The decision and its plan.
        done: When the due actions had been carried out, seconds since the Unix epoch.
        failed: Which action failed, and why; "" if none did, also in a dry run.
        program: The version that decided.
    """

    memory: Memory
    snapshot: Snapshot
    decided: Decided
    done: float
    failed: str = ""
    program: str = __version__


class _Line(BaseModel):
    """Base of both kinds of line. An override without an end has the value infinity; it is written as in Python, as JSON has none."""

    model_config = ConfigDict(strict=True, extra="ignore", ser_json_inf_nan="constants", hide_input_in_errors=True)


class _Definition(_Line):
    recording: int
    kind: str
    at: float
    program: str
    ref: str
    application: Application


class _Decision(_Line):
    recording: int
    kind: str
    at: float
    application: str
    ref: str
    done: float
    failed: str = ""
    decided: Decided
    memory: Memory
    snapshot: Snapshot


class Definition(NamedTuple):
    """The line that defines an application, written before the first decision about it, and its reference."""

    ref: str
    line: bytes


def decided(made: Plan, applied: Collection[Action] = ()) -> Decided:
    """The part of a decision and its plan that is recorded and compared.

    Args:
        made: The plan.
        applied: The actions that the API server accepted.
    """
    decision = made.decision
    return Decided(
        verb=str(decision.verb),
        mode=None if decision.mode is None else str(decision.mode),
        reason=str(decision.reason),
        sentence=decision.sentence,
        wanted=None if decision.held_back is None else str(decision.held_back),
        targets=decision.targets,
        stickiness_s=decision.stickiness_s,
        floors={name: claim.replicas for name, claim in decision.floors.items()},
        keda_targets=decision.keda_targets,
        requests=tuple(
            Request(str(a.kind), a.resource, a.namespace, a.name, a.body, a.deferred, applied=a in applied) for a in made.actions
        ),
    )


def definition(application: Application, at: float) -> Definition:
    """The line that defines an application.

    Args:
        application: The application, as in its file.
        at: Time of the first decision about it, seconds since the Unix epoch.

    Raises:
        LineError: It contains text that JSON cannot represent.
    """
    line = _Definition.model_construct(recording=FORMAT, kind="application", at=at, program=__version__, ref="", application=application)
    ref = hashlib.sha256(_written(line)).hexdigest()[:16]
    return Definition(ref, _written(line.model_copy(update={"ref": ref})))


def encode(recorded: Recorded, ref: str) -> bytes:
    """The line of one decision.

    Args:
        recorded: The decision.
        ref: The `Definition` of its application.

    Raises:
        LineError: It contains text that JSON cannot represent.
    """
    snapshot = recorded.snapshot
    line = _Decision.model_construct(
        recording=FORMAT,
        kind="decision",
        at=snapshot.now,
        application=snapshot.application.key,
        ref=ref,
        done=recorded.done,
        failed=recorded.failed,
        decided=recorded.decided,
        memory=recorded.memory,
        snapshot=snapshot,
    )
    return _written(line, {"snapshot": {"application"}})


def _written(line: _Line, exclude: Any = None) -> bytes:  # noqa: ANN401 - pydantic's own type of it has no public name
    try:
        return line.model_dump_json(exclude=exclude).encode() + b"\n"
    except ValueError as error:  # a lone surrogate; the API server never sends one
        raise LineError(f"cannot be written as JSON: {error}") from error


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
                found = _Definition.model_validate_json(json.dumps(raw))
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
        read = _Decision.model_validate_json(json.dumps({**raw, "snapshot": {**snapshot, "application": application}}))
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
