"""What is done while no unit's counter has a value: the replicas are held for a while.

A scaler takes missing metrics for no demand: KEDA's aws-cloudwatch scaler reports ``minMetricValue`` for a metric without a value, and
every unit sinks to its floor. Where CloudWatch is late for all counters at once, that takes away every replica in the middle of the day,
and each takes a cold start to come back. Where the demand was known before, missing metrics mean a demand that is not known.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from controller.policy.demand import ceiling
from controller.policy.model import Memory, Snapshot

HELD_S: Final = 7200.0
"""How long replicas are held, seconds. Bounded, because an application without requests publishes no metrics either, and pays for what it
has meanwhile. Where CloudWatch has no value for longer, people must act."""

BELIEVED_S: Final = 600.0
"""How long the demand must be known again before replicas go, seconds. The first period with a value may be half of one, and a scaler
follows its highest recommendation of the last five minutes (the autoscaler's stabilization), in which it saw no metrics."""


def noticed(memory: Memory, snapshot: Snapshot, demand: float | None) -> Memory:
    """Notes when the demand ceased to be known, and when it came back; the same memory where nothing changed.

    A demand that never was known cannot cease, and a process that has not asked CloudWatch yet does not know that values are missing.

    Args:
        memory: What is remembered.
        snapshot: For the time and for whether CloudWatch was asked.
        demand: Requests per metric period over all units, None where it is not known.
    """
    now, since = snapshot.now, memory.demand_known_since
    over = since is not None and now - since >= BELIEVED_S
    demand_missing_since = None if over else memory.demand_missing_since
    if demand is not None:
        return _with(memory, now if since is None else since, demand_missing_since)
    asked = any(source.name == "cloudwatch" and source.last_ok is not None for source in snapshot.sources)
    return _with(memory, None, demand_missing_since or now) if asked and since is not None else memory


def _with(memory: Memory, demand_known_since: float | None, demand_missing_since: float | None) -> Memory:
    same = (memory.demand_known_since, memory.demand_missing_since) == (demand_known_since, demand_missing_since)
    return memory if same else replace(memory, demand_known_since=demand_known_since, demand_missing_since=demand_missing_since)


def held_until(memory: Memory) -> float:
    """When replicas are held no longer, seconds since the Unix epoch; 0 where none are."""
    if memory.demand_missing_since is None:
        return 0.0
    longest = memory.demand_missing_since + HELD_S
    return longest if memory.demand_known_since is None else min(longest, memory.demand_known_since + BELIEVED_S)


def missing_for_long(snapshot: Snapshot, memory: Memory) -> bool:
    """Whether replicas were held for as long as they may be: floors that were raised hold them no longer, either."""
    return memory.demand_missing_since is not None and memory.demand_known_since is None and held_until(memory) <= snapshot.now


def held_replicas(snapshot: Snapshot, memory: Memory) -> dict[str, int]:
    """Replicas that no unit may have fewer of, because nobody knows whether they are needed.

    Args:
        snapshot: What is observed.
        memory: Since when the metrics are missing.

    Returns:
        What its Deployment asks for now, by unit that a scaler could take them from; empty where nothing is held (`held_until`).
    """
    if held_until(memory) <= snapshot.now:
        return {}
    observed = snapshot.units
    return {
        unit.name: min(observed[unit.name].desired or 0, ceiling(unit, observed[unit.name]))
        for unit in snapshot.application.units
        if observed[unit.name].scaler is not None
    }
