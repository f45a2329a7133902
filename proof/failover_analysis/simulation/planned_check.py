"""The invariants of floors that follow the cheapest fleet: what the demand needs, how often they change, and the loss of a family."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Final

from controller.policy.account import total_demand
from controller.policy.fleet import spot_pools, vanishing
from controller.policy.floors import HELD_S
from controller.policy.model import Action, ActionKind, Decision, Memory, Mode, Shortage, Snapshot
from failover_analysis.simulation.engine import Engine
from failover_analysis.simulation.truth import SETTLE_S, Truth

_NEAR: Final = 1e-6
_NOISE: Final = 0.1  # how far a sample of the demand may lie below it, as a share
_LASTING_S: Final = 5400.0  # what was needed that long must be carried by now: metrics, a node and a cold start take half of it


class PlannedCheck:
    """Follows the floors that strategy `planned` writes.

    Args:
        engine: The world and the processes in it.
        truth: The true state of the world.
    """

    def __init__(self, engine: Engine, truth: Truth) -> None:
        self._engine, self._truth = engine, truth
        self._written: dict[str, float] = {}  # when each unit's floor was last written
        self._demands: deque[tuple[float, float]] = deque()  # each with its time; without those that a later one is below
        self._exposed_since: float | None = None

    def below_need(self, memory: Memory, snapshot: Snapshot, decision: Decision, actions: Iterable[Action]) -> str:
        """What is wrong with the floors of a plan; "" where the replicas that they keep carry the demand, or as much as all did before.

        A floor may sink to the ready replicas of its unit and lets none go: those that wait for a node carry nothing.
        """
        lowered = {one.unit: int(one.after) for one in actions if one.kind is ActionKind.LOWER_FLOOR}
        if not lowered or not _followed(snapshot, decision):
            return ""
        demand, missing = total_demand(snapshot), memory.demand_missing_since
        if demand is None:
            lasting = missing is not None and snapshot.now - missing >= HELD_S
            return "" if lasting else f"the floor of {', '.join(sorted(lowered))} sinks while the demand is not known"
        kept = before = had = 0.0
        for unit in snapshot.application.units:
            observed = snapshot.units[unit.name]
            ready, scaler = observed.ready or 0, observed.scaler
            floor = lowered.get(unit.name, scaler.min_replicas if scaler is not None else ready)
            had += ready * unit.throughput
            kept += min(ready, max(floor, claim.replicas if (claim := decision.floors.get(unit.name)) is not None else 0)) * unit.throughput
            before += min(ready, scaler.min_replicas if scaler is not None else ready) * unit.throughput
        if kept >= min(demand, had, before) * (1 - _NEAR):
            return ""
        return f"floors keep replicas for {kept:.0f} of {demand:.0f} requests, and {had:.0f} could be served"

    def restless(self, snapshot: Snapshot, decision: Decision, action: Action) -> str:
        """What is wrong with the time of a written floor; "" where it did not sink soon after its last change, or nothing can be had."""
        now, before = self._engine.event_queue.now, self._written.get(action.unit, -math.inf)
        if not _followed(snapshot, decision) or action.kind is ActionKind.SET_TARGET:
            self._written.pop(action.unit, None)
            return ""
        self._written[action.unit] = now
        judged, pool = decision.evidence[action.unit], snapshot.units[action.unit].pool
        refused = judged.shortage is not Shortage.NONE or judged.last_refusal_at is not None or bool(pool.at_limit)
        own_s = self._engine.api.scalers[action.unit].scale_in_s
        settled_s = math.inf if own_s is None else own_s
        if action.kind is not ActionKind.LOWER_FLOOR or refused or now - before >= settled_s - 1:
            return ""
        return f"the floor of {action.unit} sinks {now - before:.0f} s after its last change, {settled_s:.0f} s are required"

    def exposed(self, snapshot: Snapshot, decision: Decision) -> str:
        """What is wrong with what the ready replicas carry without a family; "" where it is enough, or cannot be demanded now."""
        engine, now, policy = self._engine, self._engine.event_queue.now, snapshot.application.policy
        demand = self._least_demand(now)
        cold_s = max(unit.cold_start_s for unit in snapshot.application.units)
        shown, override = decision.planned, engine.api.routing.override
        free = self._truth.calm() and not engine.ec2.shortages and override.paused_until is None and override.pinned_mode is None
        limited = any(pool.limit is not None for pool in engine.karpenter.pools.values())
        if not free or limited or not _followed(snapshot, decision) or shown is None or shown.exposed or shown.fleet.short:
            self._exposed_since = None
            return ""
        need = policy.resilience_share * demand * (1 - _NOISE)
        lacking = {name: left for name, left in self._left(snapshot).items() if left < need * (1 - _NEAR)}
        if not lacking:
            self._exposed_since = None
            return ""
        since = self._exposed_since = now if self._exposed_since is None else self._exposed_since
        if now - since <= 1.5 * cold_s + SETTLE_S:
            return ""
        self._exposed_since = math.inf  # one violation is enough
        words = ", ".join(f"without {name} {left:.0f}" for name, left in lacking.items())
        return f"{words} of {demand:.0f} requests are carried for {now - since:.0f} s, {need:.0f} are required"

    def _least_demand(self, now: float) -> float:
        """The least true demand of the last while, requests per metric period."""
        demand = self._truth.demand()
        while self._demands and self._demands[-1][1] >= demand:
            self._demands.pop()
        self._demands.append((now, demand))
        while now - self._demands[0][0] > _LASTING_S:
            self._demands.popleft()
        return self._demands[0][1]

    def _left(self, snapshot: Snapshot) -> Mapping[str, float]:
        """What the ready replicas carry without each family and spot pool, requests per metric period.

        Where other families may start in time, the loss of one is survived by what is no ready replica: only the pools count.
        """
        carried = {unit.name: self._engine.workloads.units[unit.name].ready * unit.throughput for unit in snapshot.application.units}
        counts = vanishing(snapshot)
        if snapshot.application.policy.resilience_s > 0:
            pools = set(spot_pools(snapshot).values())
            counts = {name: units for name, units in counts.items() if name in pools}
        return {name: sum(carried.values()) - sum(carried[unit] for unit in units) for name, units in counts.items()}


def _followed(snapshot: Snapshot, decision: Decision) -> bool:
    """Whether the decision's floors follow the cheapest fleet, or would if the demand were known."""
    policy, shown = snapshot.application.policy, decision.planned
    return policy.plans_floors and decision.mode is Mode.COST and not decision.verb.changes_mode and (shown is None or shown.followed)
