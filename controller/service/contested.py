"""Replica floors and targets that another writer keeps putting back: written again after pauses that double.

A GitOps tool that owns a ScaledObject restores its own values within seconds. Without a pause the two writers would send hundreds of
patches an hour. The routing action has a pause of its own in the policy, because there users wait.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from controller.policy import text
from controller.policy.model import Action, ActionKind, Alert, Plan, PolicySettings
from controller.policy.plan import describe

_FIGHTING = 3  # writes that were put back, after which people are notified

_Field = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class _Written:
    """A write of ours: what it replaced, when it was accepted, and how often it had been put back before."""

    action: Action
    at: float
    repeats: int = 0


class Contested:
    """What this process wrote to the scalers of one application. It starts anew with every process."""

    def __init__(self) -> None:
        self.written: dict[_Field, _Written] = {}
        """The last write of each field."""

    def deferring(self, plan: Plan, policy: PolicySettings, now: float) -> Plan:
        """The plan without the writes that are not due again yet: these say so.

        Args:
            plan: What would be written.
            policy: For the pauses, the same as those of the routing action.
            now: Seconds since the Unix epoch.
        """
        return replace(plan, actions=tuple(self._deferred(action, policy, now) for action in plan.actions))

    def again_s(self, plan: Plan, policy: PolicySettings, now: float) -> Iterator[float]:
        """Seconds until each write of the plan that waits here is due."""
        for action in plan.actions:
            left = self._left(action, policy, now) if action.deferred else 0.0  # what is written just now is not put back yet
            if left > 0:
                yield left

    def applied(self, actions: Iterable[Action], policy: PolicySettings, now: float) -> None:
        """Notes writes that the API server has accepted.

        Args:
            actions: What was written.
            policy: For how long a repetition counts.
            now: Seconds since the Unix epoch.
        """
        for action in actions:
            if action.kind is ActionKind.ROUTE:
                continue
            known = self._put_back(action)
            repeats = known.repeats + 1 if known is not None and now - known.at < policy.flap_window_s else 0
            self.written[_field(action)] = _Written(action, now, repeats)

    def moved(self, seconds: float) -> None:
        """The clock was set `seconds` ahead, or back where that is negative: each write stays as long ago as it is."""
        self.written = {field: replace(known, at=known.at + seconds) for field, known in self.written.items()}

    def alerts(self, policy: PolicySettings, now: float) -> Iterator[Alert]:
        """Writes that were put back again and again, lately."""
        for known in self.written.values():
            if known.repeats >= _FIGHTING and now - known.at < policy.flap_window_s:
                words = f"{describe(known.action)} was written {known.repeats + 1} times, and each time another writer put it back"
                yield Alert(
                    f"contested/{known.action.unit}/{known.action.kind}",
                    "warning",
                    f"{words}: take the field out of what the GitOps tool manages (`failoverctl doctor` names it)",
                )

    def _deferred(self, action: Action, policy: PolicySettings, now: float) -> Action:
        left = 0.0 if action.deferred else self._left(action, policy, now)
        return replace(action, deferred=f"another writer put it back: written again in {text.duration(left)}") if left > 0 else action

    def _left(self, action: Action, policy: PolicySettings, now: float) -> float:
        known = self._put_back(action)
        if known is None or now < known.at:  # a clock that was set back must not make the pause longer
            return 0.0
        pause = min(policy.reassert_max_s, policy.reassert_base_s * 2.0 ** min(known.repeats, 16))
        return max(0.0, known.at + pause - now)

    def _put_back(self, action: Action) -> _Written | None:
        """Our last write of the same field, where the field shows again what that write replaced."""
        known = self.written.get(_field(action))
        return known if known is not None and known.action.before == action.before and known.action.after == action.after else None


def _field(action: Action) -> _Field:
    target = action.kind is ActionKind.SET_TARGET
    return action.resource, action.namespace, action.name, "target" if target else "floor"
