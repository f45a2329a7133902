"""Replica floors that somebody else has set: the controller raises them, and never leaves less behind than it found.

While the controller's own floor is in their place, the memory holds them. Anyone who sets a floor again replaces what is remembered.
"""

from __future__ import annotations

from dataclasses import replace

from controller.policy.demand import ceiling
from controller.policy.model import Memory, Scaler, Snapshot, Unit


def noted(memory: Memory, snapshot: Snapshot) -> Memory:
    """The memory with the floors that others set.

    Args:
        memory: What is remembered.
        snapshot: What is observed.
    """
    kept = {}
    for name, observed in snapshot.units.items():
        scaler, known = observed.scaler, memory.found_floors.get(name)
        if scaler is not None and not scaler.floor_ours:
            known = scaler.min_replicas
        if known:
            kept[name] = known
    return memory if kept == memory.found_floors else replace(memory, found_floors=kept)


def least(memory: Memory, snapshot: Snapshot, unit: Unit) -> int:
    """The least replicas that others want of a unit: the floor that is theirs now, or else the one that ours has replaced.

    The application file's maximum bounds what the controller writes, and not what others have written.
    """
    observed = snapshot.units[unit.name]
    if observed.scaler is not None and not observed.scaler.floor_ours:
        return observed.scaler.min_replicas
    return min(memory.found_floors.get(unit.name, 0), ceiling(unit, observed))


def replaceable(memory: Memory, scaler: Scaler, unit: Unit) -> bool:
    """Whether the present floor would be known after a crash right behind its replacement: it was remembered in an earlier pass."""
    return scaler.floor_ours or memory.found_floors.get(unit.name, 0) == scaler.min_replicas


def standing(memory: Memory, snapshot: Snapshot) -> dict[str, int]:
    """By unit the floors of others that ours has replaced and that are above those of the application file: nothing else shows them."""
    found = {}
    for unit in snapshot.application.units:
        scaler, floor = snapshot.units[unit.name].scaler, memory.found_floors.get(unit.name, 0)
        if scaler is not None and scaler.floor_ours and floor > unit.min_replicas:
            found[unit.name] = floor
    return found
