"""A case for one guard."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from controller.policy.account import Figures
from controller.policy.case import Case
from controller.policy.model import Mode, Snapshot, UnitEvidence
from tests.policy.support import INF2, decide
from tests.support.applications import memory, snapshot


def guard_case(made: Snapshot | None = None, mode: Mode | None = Mode.COST, **changes: Any) -> Case:
    """The case of a snapshot, about inf2.

    Args:
        made: The snapshot; None for a healthy application's.
        mode: The present mode.
        changes: Fields of the case; `evidence` has fields of the evidence by unit.
    """
    made = made or snapshot(mode=mode or Mode.COST)
    remembered = changes.pop("memory", memory(mode or Mode.COST))
    evidence: dict[str, UnitEvidence] = dict(decide(remembered, made)[1].evidence)
    for name, altered in changes.pop("evidence", {}).items():
        evidence[name] = replace(evidence[name], **altered)
    case = Case(made, remembered, mode, "it forwards to elsewhere", evidence, Figures.of(made), subject=(INF2,), details={"units": INF2})
    return replace(case, **changes)
