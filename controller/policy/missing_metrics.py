"""Holds the replicas for a while when no unit's counter has a value.

A scaler takes missing metrics for no demand: KEDA's aws-cloudwatch scaler reports ``minMetricValue`` for a metric without a value, and
every unit sinks to its floor. When CloudWatch is late for all counters at once, that removes replicas in the middle of the day, and each
needs a cold start to come back. So where the demand was known before, missing metrics mean an unknown demand, not none.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from controller.policy.demand import ceiling
from controller.policy.model import Memory, Snapshot

HELD_S: Final = 7200.0
"""How long replicas are held, seconds. Bounded, because an application without requests publishes no metrics either, and pays for the held
replicas. When CloudWatch has no value for longer, people must act."""

BELIEVED_S: Final = 600.0
"""How long the demand must be known again before the hold ends, seconds. The first period with a value may be incomplete, and a scaler
follows its highest recommendation of the last five minutes (the stabilization window), in which it saw no metrics."""


def noticed(memory: Memory, snapshot: Snapshot, demand: float | None) -> Memory:
    """Notes when the demand became unknown, and when it became known again; returns the same memory where nothing changed.

    It notes nothing where the demand was never known, or where this process has not asked CloudWatch yet.

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
    """When the hold of the replicas ends, seconds since the Unix epoch; 0 without a hold."""
    if memory.demand_missing_since is None:
        return 0.0
    longest = memory.demand_missing_since + HELD_S
    return longest if memory.demand_known_since is None else min(longest, memory.demand_known_since + BELIEVED_S)


def missing_for_long(snapshot: Snapshot, memory: Memory) -> bool:
    """Whether replicas were held for the longest time allowed: then raised floors hold them no longer, either."""
    return memory.demand_missing_since is not None and memory.demand_known_since is None and held_until(memory) <= snapshot.now


def held_replicas(snapshot: Snapshot, memory: Memory) -> dict[str, int]:
    """The fewest replicas that each unit must keep while the demand is unknown.

    Args:
        snapshot: What is observed.
        memory: Since when the metrics are missing.

    Returns:
        The Deployment's spec.replicas by unit, for units with a scaler; empty without a hold (`held_until`).
    """
    if held_until(memory) <= snapshot.now:
        return {}
    observed = snapshot.units
    return {
        unit.name: min(observed[unit.name].desired or 0, ceiling(unit, observed[unit.name]))
        for unit in snapshot.application.units
        if observed[unit.name].scaler is not None
    }
