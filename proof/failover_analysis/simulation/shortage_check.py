"""Whether failovers were about real shortages, and whether real shortages were acted upon: the invariant `truth`."""

from __future__ import annotations

import math
from collections.abc import Collection

from controller.policy.karpenter_times import HARD_DEMAND_S
from controller.policy.model import Cause, Decision, Strategy, Verb
from controller.policy.reasons import Reason
from controller.policy.routing import carrying
from failover_analysis.real_shortage import NEAR_S, OVERDUE_S, ShortageHistory
from failover_analysis.simulation.cluster import types_of
from failover_analysis.simulation.engine import Engine
from failover_analysis.simulation.truth import SETTLE_S, Truth

_ABOUT_A_SHORTAGE = frozenset({Reason.SHORTAGE_PROVEN, Reason.SLO_BREACHED})
_SLACK_S = 120.0  # of a proof by age: one interval between two passes at most, less than the benchmark's own


class ShortageCheck:
    """Follows who is really short and what the controller makes of it.

    Args:
        engine: The world and the processes in it.
        truth: The true state of the world.
    """

    def __init__(self, engine: Engine, truth: Truth) -> None:
        self._engine, self._truth = engine, truth
        now = engine.event_queue.now
        self._real, self._ignored = ShortageHistory(now), ShortageHistory(now)
        self._proven: dict[str, float] = {}  # since when each unit has counted as short for the controller

    def observe(self, decision: Decision) -> None:
        """Notes the state of the world, and which units a decision calls short."""
        now = self._engine.event_queue.now
        self._real.observe(now, self._truth.waiting())
        for name, judged in decision.evidence.items():
            if judged.short:
                self._proven.setdefault(name, now)
            else:
                self._proven.pop(name, None)

    def false(self, decision: Decision) -> str:
        """What is wrong with a failover, "" if it is about a unit that was really short when it was proven, or since.

        Of units that use the same NodePool and types nobody can tell whose pod a node is for, so that of these any counts.
        """
        if decision.verb is not Verb.FAILOVER or decision.reason not in _ABOUT_A_SHORTAGE:
            return ""
        now, application = self._engine.event_queue.now, self._engine.application
        units = [name for name, judged in decision.evidence.items() if judged.short]
        uses = {(unit.node_pool, types_of(unit)) for unit in map(application.unit, units)}
        alike = [unit.name for unit in application.units if (unit.node_pool, types_of(unit)) in uses]
        proven = min((self._proven.get(name, now) for name in units), default=now)
        last = max((self._real.last.get(name, -math.inf) for name in alike), default=-math.inf)
        if last >= proven - NEAR_S:
            return ""
        since = f"last {proven - last:.0f} s before it was proven" if last > -math.inf else "never"
        return f"failover for {', '.join(units)}, really short {since}: {decision.sentence}"

    def ignored(self, *, free: bool) -> dict[str, str]:
        """The units that were really short for too long, with what happened in words.

        Args:
            free: Whether the limits on mode changes and the people allow a failover now.
        """
        engine, now = self._engine, self._engine.event_queue.now
        policy = engine.application.policy
        may = free and engine.replica.alive and not engine.replica.paused and policy.strategy is Strategy.TWO_MODE
        may = may and self._truth.undisturbed_s() >= SETTLE_S
        waiting = self._truth.waiting() if may else {}
        serving = {name for name, pods in engine.workloads.units.items() if pods.ready and name not in waiting}
        tripping = {name: short for name, short in waiting.items() if self._taken_over(name, serving) and self._may_trip(name)}
        absorbed = self._truth.absorbed([name for name, short in waiting.items() if short])
        self._ignored.observe(now, tripping, absorbed=absorbed)
        after_s = max(OVERDUE_S, HARD_DEMAND_S + policy.patience_s + _SLACK_S)
        return {
            name: f"{name} was really short for {seconds:.0f} s, {after_s:.0f} s are allowed"
            for name, seconds in self._ignored.overdue(after_s).items()
        }

    def _taken_over(self, unit: str, serving: Collection[str]) -> bool:
        """Whether any of the units that serve could take over: where a unit's subnets are full, only one that can still grow."""
        full = Cause.NETWORK in self._truth.causes(unit)
        return any(not (full and self._truth.exhausted(one)) for one in serving)

    def _may_trip(self, unit: str) -> bool:
        application = self._engine.application
        return unit in carrying(application) and not self._truth.causes(unit).isdisjoint(application.policy.trip_causes)
