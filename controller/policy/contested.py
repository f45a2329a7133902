"""Replica floors and targets that another writer keeps putting back: written again after pauses that double.

A GitOps tool that owns a ScaledObject restores its own values within seconds. Without a pause the two writers would send hundreds of
patches an hour. The routing action has a pause of its own, because there users wait. The last write of each field is remembered, so that
the next leader keeps the pause.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from controller.policy import text
from controller.policy.hold import FLAP_WINDOW_S, reassert_pause_s
from controller.policy.model import Action, ActionKind, Alert, Memory, Plan, ScalerWrite, Snapshot
from controller.policy.plan import scaler_change

_FLOOR: Final = "floor"
_TARGET: Final = "target"
_FIGHTING: Final = 3  # writes that were put back, after which people are notified


def deferred(plan: Plan, memory: Memory, now: float) -> Plan:
    """The plan without the writes that are not due again yet: these say so.

    Args:
        plan: What would be written.
        memory: What was written before.
        now: Seconds since the Unix epoch.
    """
    return replace(plan, actions=tuple(_deferred(action, memory, now) for action in plan.actions))


def again_s(plan: Plan, memory: Memory, now: float) -> Iterator[float]:
    """Seconds until each write of the plan that waits here is due; arguments as those of `deferred`."""
    for action in plan.actions:
        left = _left(action, memory, now) if action.deferred else 0.0  # what is written just now is not put back yet
        if left > 0:
            yield left


def written(memory: Memory, actions: Iterable[Action], now: float) -> Memory:
    """Notes writes of floors and targets that the API server has accepted.

    Args:
        memory: What was written before.
        actions: What was written; a routing action is none of these.
        now: Seconds since the Unix epoch.
    """
    scaling = [action for action in actions if action.kind is not ActionKind.ROUTE]
    if not scaling:
        return memory
    writes = {field: write for field, write in memory.scaler_writes.items() if now - write.at < FLAP_WINDOW_S}
    for action in scaling:
        known = _put_back(action, memory)
        repeats = known.repeats + 1 if known is not None and now - known.at < FLAP_WINDOW_S else 0
        writes[_field(action)] = ScalerWrite(now, action.before, action.after, repeats)
    return replace(memory, scaler_writes=writes)


def contested(memory: Memory, snapshot: Snapshot) -> Iterator[Alert]:
    """Writes that were put back again and again, lately.

    Args:
        memory: What was written before.
        snapshot: What is observed.
    """
    for field, write in memory.scaler_writes.items():
        if write.repeats >= _FIGHTING and snapshot.now - write.at < FLAP_WINDOW_S:
            words = f"{_change(field, write, snapshot)} was written {write.repeats + 1} times, and each time another writer put it back"
            hint = "take the field out of what the GitOps tool manages (`failoverctl doctor` names it)"
            yield Alert(f"contested/{field}", "warning", f"{words}: {hint}")


def known_field(field: str) -> bool:
    """Whether a key of `Memory.scaler_writes` is one of this version's: anyone may have edited what is stored."""
    return field.rpartition("/")[2] in {_FLOOR, _TARGET}


def unit_of(field: str) -> str:
    """The unit that a key of `Memory.scaler_writes` belongs to."""
    return field.rpartition("/")[0]


def _change(field: str, write: ScalerWrite, snapshot: Snapshot) -> str:
    unit, _, kind = field.rpartition("/")
    scaler = snapshot.units[unit].scaler
    name = scaler.name if scaler is not None else f"of {unit}"
    return scaler_change(name, "targetMetricValue" if kind == _TARGET else "minReplicaCount", write.before, write.after)


def _deferred(action: Action, memory: Memory, now: float) -> Action:
    left = 0.0 if action.deferred else _left(action, memory, now)
    return replace(action, deferred=f"another writer put it back: written again in {text.duration(left)}") if left > 0 else action


def _left(action: Action, memory: Memory, now: float) -> float:
    known = _put_back(action, memory)
    if known is None or now < known.at or _urgent(action, known):  # a clock that was set back must not make the pause longer
        return 0.0
    return max(0.0, known.at + reassert_pause_s(known.repeats) - now)


def _put_back(action: Action, memory: Memory) -> ScalerWrite | None:
    """Our last write of the same field, where the field shows again what that write replaced.

    What is to be written now may differ: floors follow the demand, and another writer puts each of them back.
    """
    known = memory.scaler_writes.get(_field(action)) if action.kind is not ActionKind.ROUTE else None
    return known if known is not None and known.before == action.before else None


def _urgent(action: Action, known: ScalerWrite) -> bool:
    """Whether it asks for more replicas than our last write, or for another target: that waits for no other writer."""
    if action.kind is ActionKind.SET_TARGET:
        return action.after != known.after
    try:
        return int(action.after) > int(known.after)
    except ValueError:  # anyone may have edited what is stored
        return True


def _field(action: Action) -> str:
    return f"{action.unit}/{_TARGET if action.kind is ActionKind.SET_TARGET else _FLOOR}"
