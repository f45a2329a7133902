"""The production decision in the two-state world: `controller.policy.conclusion.conclude` itself, shown what its signals would show.

The application has two units. ``cheap`` has the whole weight of cost mode and costs 1 per request; ``dear`` has none and costs 2 r - 1, so
that round robin over both, capacity mode, costs r. A cold start of 900 s makes a switch cost S. How the guards map:

- **shortage**: every tick without capacity, one pod of ``cheap`` waits and one launch finds everything that it may ask for refused
  (Karpenter asks again every three minutes, a tick is 195 s): a proof at once (`Proof.SATURATED`). A tick with capacity is one with a node
  that was asked for since the last refusal and has registered, and no pod waits.
- **patience** (30 s): over within the tick in which the shortage is seen; the failover counts from the next tick on, which is the one tick
  of detection delay. In production itself it takes seconds (docs/benchmarks.md).
- **quiet** (600 s without a refusal), **hold**, **dwell** and the **flip budget** are production's own, in seconds. So is the doubling
  after a flap.
- **ready**, **standby**, **safe**, **verified** and the way of a patch to the load balancer always pass: the world has one fleet and no
  cold start but its price S. `canary` always asks: a return is seen a tick after it.
- The decision is asked where something changed or a wait of its own is over (`next_check_s`), not every tick: nothing else can change it,
  which a test compares.

`adaptive` differs from `two-mode` only where the ready replicas carry the demand without the short unit. In this world they never do (all
that is not in use has been scaled away), so both do the same here; `research.split` compares them where they differ.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from controller.policy.conclusion import Conclusion, conclude
from controller.policy.model import (
    Application,
    Backend,
    Cause,
    Decision,
    Launch,
    LaunchFailure,
    Memory,
    Mode,
    PendingPod,
    PolicySettings,
    PoolObservation,
    RoutingObservation,
    Sample,
    Snapshot,
    Source,
    Unit,
    UnitObservation,
    Verdict,
    Verification,
)
from controller.policy.proof import ALL_UNAVAILABLE
from controller.policy.routing import format_action
from controller.policy.targets import cost_targets, targets_at_rest
from research.traces import Run, Trace
from research.two_state import Prices

_EPOCH: Final = 1_800_000_000.0
"""Where traces begin on production's clock; any time will do."""

_ASKED_AGAIN: Final = 4
"""How often within one tick: patience, dwell, quiet time and hold may each be over in it."""

_THROUGHPUT: Final = 100.0
"""Requests a period that a replica of either unit serves."""

_REPLICAS: Final = 3
"""What the demand takes of the unit that carries it; the other one keeps a single replica."""


def application(prices: Prices, policy: PolicySettings) -> Application:
    """Two units for which production computes the very r and S of `prices`."""

    def unit(name: str, price: float, weight: int) -> Unit:
        return Unit(
            name=name,
            backend=Backend(name, 80),
            deployment=name,
            node_pool=name,
            instance_type=name,
            price_per_hour=price,
            throughput=_THROUGHPUT,
            latency_s=0.5,
            weight=weight,
            cold_start_s=prices.switch_s,
        )

    units = (unit("cheap", 1.0, 1), unit("dear", 2 * prices.ratio - 1, 0))
    return Application("two-state", "bench", "two-state", "forward", Backend("all", 80), units, policy=policy)


@dataclass(slots=True)
class _World:
    """What production would see at a tick, and the mode that it asked for."""

    application: Application
    tick_s: float
    mode: Mode = Mode.COST

    def snapshot(self, now: float, outage_since: float | None, registered: float | None) -> Snapshot:
        """Everything is well, but for the capacity of the cheap unit.

        Args:
            now: On production's clock.
            outage_since: Since when there is none; None where there is.
            registered: When a node joined after the last outage; None where there never was one.
        """
        return Snapshot(
            now=now,
            application=self.application,
            routing=self._routing(now),
            units={"cheap": self._cheap(now, outage_since, registered), "dear": self._dear(now)},
            sources=(Source("karpenter", required=True, last_ok=now, budget_s=self.tick_s),),
        )

    def _routing(self, now: float) -> RoutingObservation:
        at_rest = targets_at_rest(self.application, Mode.CAPACITY)
        targets = at_rest if self.mode is Mode.CAPACITY else cost_targets(self.application, {"cheap": 1})
        action = format_action(targets, 0)
        services = ("cheap", "dear", "all")
        return RoutingObservation(
            exists=True,
            marker=str(self.mode),
            action=action,
            targets=targets,
            standby=services,
            bound=services,
            capacity_ready=_REPLICAS,
            capacity_exists=True,
            verification=Verification(Verdict.YES, now, "", action),
        )

    def _dear(self, now: float) -> UnitObservation:
        ready = _REPLICAS if self.mode is Mode.CAPACITY else 1
        return _unit("dear", ready=ready, now=now, demand=_REPLICAS * _THROUGHPUT)

    def _cheap(self, now: float, outage_since: float | None, registered: float | None) -> UnitObservation:
        if outage_since is None:
            joined = (
                () if registered is None else (Launch("claim", "cheap", created=registered, launched=registered, registered=registered),)
            )
            return _unit("cheap", ready=_REPLICAS, now=now, demand=0.0, launches=joined)
        refused = LaunchFailure(
            claim="claim",
            pool="cheap",
            at=now - 2 * self.application.policy.replacement_hold_s,  # long enough ago to be judged
            cause=Cause.CAPACITY,
            attempt=f"{now:.0f}",
            seen=now - 2 * self.application.policy.replacement_hold_s,
            instance_types=("cheap",),
            codes=(ALL_UNAVAILABLE,),
        )
        waiting = (PendingPod("cheap-pod", outage_since),)
        return replace(_unit("cheap", ready=0, now=now, demand=0.0, failures=(refused,)), pending=waiting, desired=_REPLICAS)


def _unit(
    name: str,
    *,
    ready: int,
    now: float,
    demand: float,
    failures: tuple[LaunchFailure, ...] = (),
    launches: tuple[Launch, ...] = (),
) -> UnitObservation:
    return UnitObservation(
        unit=name,
        pool=PoolObservation(name, failures=failures, launches=launches, instance_types=(name,)),
        desired=ready,
        ready=ready,
        deployment_ready=ready,
        endpoints_ready=ready,
        service_exists=True,
        demand=Sample(demand, now),
    )


@dataclass(frozen=True, slots=True)
class Production:
    """A policy of `PolicySettings`.

    Attributes:
        policy: Its settings; `exposed_cost` becomes the P of the prices. Only the learned hold looks at it.
        every_tick: Whether it is asked at every tick, instead of where the answer may have changed: for the test that both are the same.
    """

    policy: PolicySettings = field(default_factory=PolicySettings)
    every_tick: bool = False

    def __call__(self, trace: Trace, prices: Prices) -> list[int]:
        """The switches on a trace; see `rules.Play`."""
        subject = application(prices, replace(self.policy, exposed_cost=prices.exposed))
        world, memory = _World(subject, trace.tick_s), Memory(mode=Mode.COST, mode_since=_EPOCH - 86_400)
        switches: list[int] = []
        ticks, joined = len(trace.available), None
        for run in trace.runs:
            if run.available and run.start:
                joined = _EPOCH + run.start * trace.tick_s
            since = None if run.available else _EPOCH + run.start * trace.tick_s
            due = run.start
            for tick in range(run.start, run.end):
                if tick < due and tick != run.end - 1 and not self.every_tick:
                    continue
                seen = world.snapshot(_EPOCH + tick * trace.tick_s, since, joined)
                made = _asked(memory, seen, trace.tick_s)
                memory, decision = made.memory, made.decision
                due = _due(decision, tick, run, trace.tick_s)
                if decision.verb.switches and decision.mode is not None and tick + 1 < ticks:
                    switches.append(tick + 1)
                    memory, world.mode, due = made.routed(seen.now), decision.mode, tick + 1
        return switches


def _due(decision: Decision, tick: int, run: Run, tick_s: float) -> int:
    """The next tick at which the answer may differ; the last tick of a run is asked in any case.

    In capacity mode an outage is one refusal after the other: only the last counts, for the quiet time and the hold.
    """
    if decision.next_check_s is None or (decision.mode is Mode.CAPACITY and not run.available):
        return run.end
    return tick + max(1, int(decision.next_check_s // tick_s))


def _asked(memory: Memory, seen: Snapshot, tick_s: float) -> Conclusion:
    """The decision of one tick: asked again within it, of the same observation, as soon as a wait is over that ends in it."""
    end = seen.now + tick_s
    made = conclude(memory, seen)
    for _ in range(_ASKED_AGAIN):
        wait = made.decision.next_check_s
        if made.decision.verb.switches or wait is None or made.snapshot.now + wait >= end:
            break
        made = conclude(made.memory, replace(made.snapshot, now=made.snapshot.now + wait))
    return made
