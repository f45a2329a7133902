"""Holds the replicas for a while when no unit's counter has a value.

A scaler takes missing metrics for no demand: KEDA's aws-cloudwatch scaler reports ``minMetricValue`` for a metric without a value, and
every unit sinks to its floor. When CloudWatch is late for all counters at once, that removes replicas in the middle of the day, and each
needs a cold start to come back. So where the demand was known before, missing metrics mean an unknown demand, not none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from controller.policy.account import believed_s
from controller.policy.model import Claim, Memory, Snapshot
from controller.policy.reasons import ClaimReason

HELD_S: Final = 7200.0
"""How long replicas are held, seconds. Bounded, because an application without requests publishes no metrics either, and pays for the held
replicas. When CloudWatch has no value for longer, people must act."""


def noticed(memory: Memory, snapshot: Snapshot, demand: float | None) -> Memory:
    """Notes when the demand became unknown, and when it became known again; returns the same memory where nothing changed.

    It notes nothing where the demand was never known, or where this process has not asked CloudWatch yet.

    Args:
        memory: What is remembered.
        snapshot: For the time and for whether CloudWatch was asked.
        demand: Requests per metric period over all units, None where it is not known.
    """
    now, since = snapshot.now, memory.demand_known_since
    over = since is not None and now - since >= believed_s(snapshot.application.metric_period_s)
    demand_missing_since = None if over else memory.demand_missing_since
    if demand is not None:
        return _with(memory, now if since is None else since, demand_missing_since)
    asked = any(source.name == "cloudwatch" and source.last_ok is not None for source in snapshot.sources)
    return _with(memory, None, demand_missing_since or now) if asked and since is not None else memory


def _with(memory: Memory, demand_known_since: float | None, demand_missing_since: float | None) -> Memory:
    same = (memory.demand_known_since, memory.demand_missing_since) == (demand_known_since, demand_missing_since)
    return memory if same else replace(memory, demand_known_since=demand_known_since, demand_missing_since=demand_missing_since)


def held_until(snapshot: Snapshot, memory: Memory) -> float:
    """When the hold of the replicas ends, seconds since the Unix epoch; 0 without a hold."""
    if memory.demand_missing_since is None:
        return 0.0
    longest, known = memory.demand_missing_since + HELD_S, memory.demand_known_since
    return longest if known is None else min(longest, known + believed_s(snapshot.application.metric_period_s))


def missing_for_long(snapshot: Snapshot, memory: Memory) -> bool:
    """Whether replicas were held for the longest time allowed: then raised floors hold them no longer, either."""
    since = memory.demand_missing_since
    return since is not None and memory.demand_known_since is None and since + HELD_S <= snapshot.now


def claims(snapshot: Snapshot, memory: Memory) -> Iterator[Claim]:
    """The replicas that each unit with a scaler must keep while the demand is unknown; none without a hold (`held_until`).

    It is the workload's spec.replicas, less the replicas for which there is no capacity: a floor that counted them would be the only
    reason why they wait. Once the demand is known again, the floor that was raised stays and rises no more: the scaler adds replicas by its
    metric again, and they need no floor.

    Args:
        snapshot: What is observed.
        memory: Since when the metrics are missing.
    """
    until = held_until(snapshot, memory)
    for name, observed in snapshot.units.items() if until > snapshot.now else ():
        desired, scaler = observed.desired or 0, observed.scaler
        if scaler is None:
            continue
        if memory.demand_known_since is not None:
            desired = min(desired, scaler.min_replicas)
        elif observed.pool.failures or observed.pool.at_limit:
            desired = max(0, desired - observed.unplaced)
        yield Claim(name, desired, ClaimReason.HELD, until)
