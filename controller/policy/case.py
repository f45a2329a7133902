"""What guards, triggers and the steady state judge. A case is frozen: a guard returns what it finds, and never writes it here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from controller.policy.account import Absorption, Figures
from controller.policy.model import Memory, Mode, PlannedFleet, Snapshot, Target, UnitEvidence


@dataclass(frozen=True, slots=True)
class Case:
    """Everything that one decision may consider.

    Attributes:
        snapshot: What is observed.
        memory: What is remembered.
        mode: The present mode; None where the routing is unknown.
        mode_problem: Why it is unknown.
        evidence: What is proven, by unit.
        figures: Demand, serving replicas and weights, computed from the snapshot.
        absorption: What the short units cannot serve and the others could, in cost mode; None where nothing is short, or it is not known.
        planned: What strategy `planned` runs, or would run; None with another one, and where the demand is not known.
        preview: Whether to leave out guards that only wait.
        subject: The units that the trigger is about.
        receiving: The routing action that the change leads to.
        sticks_s: The target-group stickiness of that action, seconds.
        hold_s: The hold before a fallback, seconds.
        details: Of the trigger: what fills the placeholders of its sentence.
        saves: Whether the change is one towards cost mode that nothing urges: a fallback, a pin.
    """

    snapshot: Snapshot
    memory: Memory
    mode: Mode | None
    mode_problem: str
    evidence: Mapping[str, UnitEvidence]
    figures: Figures
    absorption: Absorption | None = None
    planned: PlannedFleet | None = None
    preview: bool = False
    subject: tuple[str, ...] = ()
    receiving: tuple[Target, ...] = ()
    sticks_s: int = 0
    hold_s: float = 0.0
    details: Mapping[str, str] = field(default_factory=dict)
    saves: bool = False

    def remaining(self, until: float) -> float:
        """Seconds until a time, 0 once it has passed."""
        return max(0.0, until - self.snapshot.now)


def soonest(*seconds: float | None) -> float | None:
    """The shortest of some waits.

    Args:
        seconds: Waits. One that is over (0), never ends (infinite) or is not known (None) does not count.

    Returns:
        None where none counts.
    """
    return min((wait for wait in seconds if wait is not None and 0 < wait < math.inf), default=None)
