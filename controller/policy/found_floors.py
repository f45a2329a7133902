"""Replica floors that somebody else has set: the controller raises them, and never leaves less behind than it found.

While the controller's own floor is in their place, the memory holds them. Anyone who sets a floor again replaces what is remembered.
"""

from __future__ import annotations

from dataclasses import replace

from controller.policy.model import Memory, Scaler, Snapshot, Unit


def noted(memory: Memory, snapshot: Snapshot) -> Memory:
    """The memory with the floors that others set. One that is not above the application file's `minReplicas` need not be remembered.

    Args:
        memory: What is remembered.
        snapshot: What is observed.
    """
    kept = {}
    for unit in snapshot.application.units:
        scaler, known = snapshot.units[unit.name].scaler, memory.found_floors.get(unit.name)
        if scaler is not None and not scaler.floor_ours:
            known = scaler.min_replicas
        if known is not None and known > unit.min_replicas:
            kept[unit.name] = known
    return memory if kept == memory.found_floors else replace(memory, found_floors=kept)


def least(memory: Memory, snapshot: Snapshot, unit: Unit) -> int:
    """The least replicas that others want of a unit: the floor that is theirs now, or else the one that ours has replaced."""
    scaler, found = snapshot.units[unit.name].scaler, memory.found_floors.get(unit.name, 0)
    if scaler is None:
        return found
    return min(found, scaler.max_replicas) if scaler.floor_ours else scaler.min_replicas


def replaceable(memory: Memory, scaler: Scaler, unit: Unit) -> bool:
    """Whether the present floor would be known after a crash right behind its replacement: it was remembered in an earlier pass."""
    return scaler.floor_ours or memory.found_floors.get(unit.name, min(scaler.min_replicas, unit.min_replicas)) == scaler.min_replicas
