"""Replica floors that a person set, and what became of them: the controller may raise one, and never leaves less behind."""

from __future__ import annotations

from controller.policy.decision import Conclusion
from controller.policy.model import Action, ActionKind, Snapshot


class OthersFloors:
    """Remembers the floors of others for the controller, so that it notices one that the controller forgets."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, float]] = {}  # by unit, with when it was seen last; a simulated time

    def passed(self, conclusion: Conclusion, now: float) -> None:
        """Notes the floors of others that a pass of the leader saw. It is over, so the memory has them, too."""
        if conclusion.snapshot.leader:
            self._known |= {name: (floor, now) for name, floor in _theirs(conclusion.snapshot).items()}

    def problem(self, snapshot: Snapshot, action: Action, memory_lost_at: float) -> str:
        """What is wrong with an action on a ScaledObject; "" if nothing is.

        Args:
            snapshot: What it was decided from.
            action: It.
            memory_lost_at: When somebody deleted the controller's memory last: what it knew before is lost.
        """
        if action.kind is not ActionKind.LOWER_FLOOR:
            return ""
        if action.unit in _theirs(snapshot):
            return f"the floor of {action.unit} was set by somebody else"
        floor, at = self._known.get(action.unit, (0, memory_lost_at))
        if at > memory_lost_at and int(action.after) < floor:
            return f"the floor of {action.unit} sinks to {action.after}, below the {floor} that somebody else set"
        return ""


def _theirs(snapshot: Snapshot) -> dict[str, int]:
    """The present floors that somebody else set."""
    scalers = {name: seen.scaler for name, seen in snapshot.units.items()}
    return {name: one.min_replicas for name, one in scalers.items() if one is not None and not one.floor_ours}
