"""Whether the floors that rise once after a change to capacity mode do rise, where the demand is not known: the invariant `lost-floors`."""

from __future__ import annotations

from controller.policy.account import total_demand
from controller.policy.decision import Conclusion
from controller.policy.floors import asked, capacity_claims, highest
from controller.policy.model import Action, ActionKind, Mode


class FloorsCheck:
    """Follows the floors that a change to capacity mode makes due."""

    def __init__(self) -> None:
        self._due: set[str] = set()
        self._written: tuple[Conclusion | None, set[str]] = None, set()  # floors raised with the last plan that raised any

    def acted(self, conclusion: Conclusion, action: Action) -> None:
        """Notes an action that took effect.

        Args:
            conclusion: Whose plan it is part of.
            action: What was written.
        """
        if action.kind is ActionKind.RAISE_FLOOR:
            if self._written[0] is not conclusion:
                self._written = conclusion, set()
            self._written[1].add(action.unit)
            self._due.discard(action.unit)
        elif action.kind is ActionKind.ROUTE and conclusion.decision.verb.changes_mode:
            before = self._written[1] if self._written[0] is conclusion else set()
            unknown = conclusion.decision.mode is Mode.CAPACITY and total_demand(conclusion.snapshot) is None
            self._due = (_raised(conclusion) | _absent(conclusion)) - before if unknown else set()

    def lost(self, conclusion: Conclusion) -> str:
        """What is wrong with a plan of the leader: it does not raise a floor that is due. "" where it does, or where none is due.

        None is due any longer once the demand is known, the mode has changed again, or the memory was lost; nor one that is high enough,
        or that nobody but its operator may change. One whose ScaledObject is not there is due once it is.
        """
        snapshot, decision = conclusion.snapshot, conclusion.decision
        if not self._due or not snapshot.leader or not decision.floors:
            return ""
        if decision.mode is not Mode.CAPACITY or total_demand(snapshot) is not None or conclusion.before.mode is None:
            self._due.clear()
            return ""
        claims = capacity_claims(snapshot, decision.evidence, None, due=snapshot.units.keys())
        wanted = highest(snapshot, (*asked(snapshot.application), *claims))
        scalers = {name: seen.scaler for name, seen in snapshot.units.items() if seen.scaler is not None}
        self._due -= {name for name, one in scalers.items() if one.paused or one.min_replicas >= wanted[name].replicas}
        lost = sorted(self._due & scalers.keys() - _raised(conclusion))
        self._due.difference_update(lost)  # one violation of each is enough
        words = ", ".join(f"{name} at {scalers[name].min_replicas} instead of {wanted[name].replicas}" for name in lost)
        return f"floors that no later pass raises: {words}" if lost else ""


def _absent(conclusion: Conclusion) -> set[str]:
    """The units whose ScaledObject is not there now, although they have one."""
    snapshot = conclusion.snapshot
    return {one.name for one in snapshot.application.units if one.scaled_object is not None and snapshot.units[one.name].scaler is None}


def _raised(conclusion: Conclusion) -> set[str]:
    """The units whose floor a plan raises."""
    return {action.unit for action in conclusion.plan.actions if action.kind is ActionKind.RAISE_FLOOR}
