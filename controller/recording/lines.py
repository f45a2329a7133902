"""One recorded decision as one line of JSON: its inputs and its outcome.

The application is the larger part of the inputs and rarely changes. So each file defines it once, and its decisions refer to it.
`failoverctl replay` reads the lines (``failover_analysis.replay.decoder``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from pydantic import BaseModel, ConfigDict

from controller import __version__
from controller.policy.model import Action, Application, Memory, Plan, Snapshot, Target

FORMAT: Final = 1
MAX_LINE: Final = 512 * 1024
"""Longest line, bytes. A line of an application with five units has about 5,000."""


class LineError(ValueError):
    """A line cannot be written, or not be read by this version."""


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


class DefinitionLine(_Line):
    """The line that defines an application, written before the first decision about it."""

    recording: int
    kind: str
    at: float
    program: str
    ref: str
    application: Application


class DecisionLine(_Line):
    """The line of one decision."""

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
    line = DefinitionLine.model_construct(recording=FORMAT, kind="application", at=at, program=__version__, ref="", application=application)
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
    line = DecisionLine.model_construct(
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
