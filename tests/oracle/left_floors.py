# ruff: noqa
"""Raised floors of ScaledObjects that no unit names any more: the controller leaves them alone, and says what they were before.

A unit may be removed or renamed, or given another ScaledObject, while its floor is raised. What is not in the application files is not the
controller's to change, and the pods may still serve. But the raised floor costs money until somebody lowers it, and the application file no
longer says to what. So the memory holds what each raised floor was before, by ScaledObject.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from controller.policy.model import Action, ActionKind, FloorBefore, Memory, Snapshot, Unit
from tests.oracle.alert import Alert

PREFIX: Final = "left/"
"""What the key of each alert starts with."""


def found_again(memory: Memory, snapshot: Snapshot) -> Memory:
    """The memory with the floors of somebody else that a unit's former name, or its former time in the file, had replaced.

    Args:
        memory: Without the units that are gone.
        snapshot: What is observed.

    Returns:
        The same object where nothing is found again.
    """
    known = {}
    for unit in snapshot.application.units if memory.floors_before else ():
        scaler = snapshot.units[unit.name].scaler
        before = memory.floors_before.get(scaler.name) if scaler is not None and scaler.floor_ours else None
        if before is not None and before.found and unit.name not in memory.found_floors:
            known[unit.name] = before.found
    return replace(memory, found_floors={**memory.found_floors, **known}) if known else memory


def noted(memory: Memory, snapshot: Snapshot) -> Memory:
    """The memory with what each floor was that is raised now, and without those that are no longer raised.

    Args:
        memory: What is remembered, with the floors of others (`found_floors`).
        snapshot: What is observed.
    """
    kept = {name: before for name, before in memory.floors_before.items() if not _named(name, snapshot) and _stands(name, before, snapshot)}
    for unit in snapshot.application.units:
        scaler, before = snapshot.units[unit.name].scaler, _before(unit, memory)
        if scaler is None:  # perhaps only for a moment
            known = memory.floors_before.get(unit.scaled_object or "")
            kept.update({} if known is None else {unit.scaled_object or "": known})
        elif scaler.floor_ours and scaler.min_replicas > before.floor:
            kept[scaler.name] = before
    return memory if kept == memory.floors_before else replace(memory, floors_before=kept)


def written(memory: Memory, snapshot: Snapshot, done: Iterable[Action]) -> Memory:
    """The memory with what the floors were before that have just been raised: the unit may be gone before the next pass.

    What has just sunk to its former floor is forgotten with the same write, and not by one more after the next pass.

    Args:
        memory: What is remembered.
        snapshot: What the plan was made from.
        done: The actions that were written.
    """
    floors = dict(memory.floors_before)
    for action in done:
        if action.kind in {ActionKind.RAISE_FLOOR, ActionKind.LOWER_FLOOR}:
            before = _before(snapshot.application.unit(action.unit), memory)
            if action.kind is ActionKind.RAISE_FLOOR or int(action.after) > before.floor:
                floors[action.name] = before
            else:
                floors.pop(action.name, None)
    return memory if floors == memory.floors_before else replace(memory, floors_before=floors)


def left(memory: Memory, snapshot: Snapshot) -> Iterator[Alert]:
    """An alert for each raised floor that nothing lowers any more.

    Args:
        memory: What is remembered.
        snapshot: What is observed.
    """
    for name, (present, before) in sorted(_left(memory, snapshot).items()):
        words = f"ScaledObject {name} keeps the minReplicaCount {present} that the controller raised from {before}"
        why = "no unit names it any more, so nothing lowers it"
        fix = f"if its pods are not needed, run: {lowered(snapshot.application.namespace, name, before)}"
        yield Alert(f"{PREFIX}{name}", "warning", f"{words}: {why}; {fix}")


def lowered(namespace: str, name: str, floor: int) -> str:
    """The command that sets a floor. Its writer owns the floor from then on, so the controller reports it no longer."""
    return f'kubectl -n {namespace} patch scaledobject {name} --type merge -p \'{{"spec":{{"minReplicaCount":{floor}}}}}\''


def _left(memory: Memory, snapshot: Snapshot) -> dict[str, tuple[int, int]]:
    """The raised floors that no unit names, and what they were before, by ScaledObject."""
    floors: Mapping[str, int] = snapshot.left or {}
    gone = {name: before for name, before in memory.floors_before.items() if not _named(name, snapshot)}
    return {name: (floors[name], before.floor) for name, before in gone.items() if floors.get(name, 0) > before.floor}


def _named(name: str, snapshot: Snapshot) -> bool:
    return any(unit.scaled_object == name for unit in snapshot.application.units)


def _stands(name: str, before: FloorBefore, snapshot: Snapshot) -> bool:
    """Whether a floor that no unit names is still ours and raised, as far as is known."""
    return snapshot.left is None or snapshot.left.get(name, 0) > before.floor


def _before(unit: Unit, memory: Memory) -> FloorBefore:
    return FloorBefore(unit.min_replicas, memory.found_floors.get(unit.name, 0))
