"""What is done while no counter says anything: the replicas are held for a while.

A scaler takes silence for no demand: KEDA's aws-cloudwatch scaler reports ``minMetricValue`` for a metric without a value, and every unit
sinks to its floor (facts on KEDA). Where CloudWatch is late for all counters at once, that takes away every replica in the middle of the
day, and each takes a cold start to come back. Silence after a demand that was known is unknown demand, not none.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from controller.policy.demand import ceiling, total_demand
from controller.policy.model import Memory, Snapshot

HELD_S: Final = 7200.0
"""How long replicas are held, seconds. Bounded, because an application that nobody asks anything is silent as well: then it costs what it
had for so long. A CloudWatch that says nothing for longer is for people."""


def noticed(memory: Memory, snapshot: Snapshot) -> Memory:
    """Notes when the demand ceased to be known; the same memory where nothing changed. A demand that never was known cannot cease."""
    known = total_demand(snapshot) is not None
    if known == memory.counted:
        return memory
    return replace(memory, counted=known, silent_since=None if known else snapshot.now)


def held_for(snapshot: Snapshot, memory: Memory) -> float:
    """How much longer replicas are held, seconds; 0 where the demand is known, never was, or has been silent for `HELD_S`."""
    return 0.0 if memory.silent_since is None else max(0.0, memory.silent_since + HELD_S - snapshot.now)


def silent_for_long(snapshot: Snapshot, memory: Memory) -> bool:
    """Whether replicas were held for as long as they may be: floors that were raised hold them no longer, either."""
    return memory.silent_since is not None and held_for(snapshot, memory) <= 0


def held_replicas(snapshot: Snapshot, memory: Memory) -> dict[str, int]:
    """Replicas that no unit may have fewer of, because nobody knows whether they are needed.

    Args:
        snapshot: What is observed.
        memory: Since when there is silence.

    Returns:
        What its Deployment asks for now, by unit that a scaler could take them from; empty where nothing is held (`held_for`).
    """
    if held_for(snapshot, memory) <= 0:
        return {}
    observed = snapshot.units
    return {
        unit.name: min(observed[unit.name].desired or 0, ceiling(unit, observed[unit.name]))
        for unit in snapshot.application.units
        if observed[unit.name].scaler is not None
    }
