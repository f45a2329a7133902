"""Runs the production decision (`controller.policy.decision.conclude`) on the two-state problem, with the signals that it would have.

The application has two units. ``cheap`` has the whole weight of cost mode and costs 1 per request; ``expensive`` has none and costs
2 r - 1, so that round robin over both, capacity mode, costs r. A cold start of 900 s makes a mode change cost S. How the guards map:

- **shortage**: in every tick without capacity a pod of ``cheap`` is pending and EC2 refuses everything that a NodeClaim allows (Karpenter
  requests again every three minutes; a tick is 195 s), which proves the shortage at once (`Proof.SATURATED`). In a tick with capacity, a
  node requested after the last refusal has registered, and no pod is pending.
- **patience** (10 s): ends within the tick in which the shortage is observed. The failover counts from the next tick on: one tick of
  detection delay. In production it takes seconds (docs/laboratory/benchmarks.md).
- **quiet** (600 s without a refusal), **hold**, **dwell** and the **flip budget** are production's own, in seconds. So is the doubling
  after a flap.
- **ready**, **standby**, **safe**, **verified** and the patch to the load balancer always pass: the problem has one fleet, and a cold start
  is only its price S. The canary is always pending, so a return is observed after a tick.
- `decide` runs when something changed or one of its waits is over (`next_check_s`), not in every tick. Nothing else can change its result,
  which a test checks.

`adaptive` differs from `two-mode` only if the ready replicas carry the demand without the short unit. Here they never do, because unused
replicas have been scaled down, so both act alike; `research.split` compares them where they differ.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from controller.policy.decision import Conclusion
from controller.policy.evidence import ALL_UNAVAILABLE
from controller.policy.karpenter_times import REPLACEMENT_HOLD_S
from controller.policy.model import (
    Application,
    Backend,
    Cause,
    Decision,
    Launch,
    Memory,
    Mode,
    PendingPod,
    PolicySettings,
    PoolObservation,
    Refusal,
    Route,
    RoutingObservation,
    Sample,
    Snapshot,
    Source,
    Unit,
    UnitObservation,
    Verdict,
    Verification,
)
from controller.policy.routing import cost_targets, targets_at_rest
from controller.routing.conclusion import conclude
from controller.routing.ingress.action import format_action
from research.traces import Run, Trace
from research.two_state import Prices

_EPOCH: Final = 1_800_000_000.0
"""Start of the traces on production's clock; arbitrary."""

_ASKED_AGAIN: Final = 4
"""Most decisions within one tick: patience, dwell, quiet time and hold may each end in it."""

_THROUGHPUT: Final = 100.0
"""Requests per period that a replica of either unit serves."""

_REPLICAS: Final = 3
"""Replicas that the demand needs of the unit that carries it; the other unit keeps one replica."""


def application(prices: Prices, policy: PolicySettings) -> Application:
    """An application of two units for which production computes exactly the r and S of `prices`."""

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
            cold_start_s=prices.change_cost_s,
        )

    units = (unit("cheap", 1.0, 1), unit("expensive", 2 * prices.ratio - 1, 0))
    return Application("two-state", "bench", Route("two-state", "forward"), Backend("all", 80), units, policy=policy)


@dataclass(slots=True)
class _World:
    """What production would observe at a tick, and the mode that it chose."""

    application: Application
    tick_s: float
    mode: Mode = Mode.COST

    def snapshot(self, now: float, outage_since: float | None, registered: float | None) -> Snapshot:
        """A snapshot in which only the capacity of the cheap unit may be missing.

        Args:
            now: Time on production's clock, seconds.
            outage_since: Since when there is no capacity; None if there is.
            registered: When a node joined after the last outage; None if there was no outage.
        """
        return Snapshot(
            now=now,
            application=self.application,
            routing=self._routing(now),
            units={"cheap": self._cheap(now, outage_since, registered), "expensive": self._expensive(now)},
            sources=(Source("karpenter", required=True, last_ok=now, budget_s=self.tick_s),),
        )

    def _routing(self, now: float) -> RoutingObservation:
        at_rest = targets_at_rest(self.application, Mode.CAPACITY)
        targets = at_rest if self.mode is Mode.CAPACITY else cost_targets(self.application, {"cheap": 1})
        action = format_action(targets, 0)
        services = ("cheap", "expensive", "all")
        return RoutingObservation(
            exists=True,
            marker=str(self.mode),
            action=action,
            targets=targets,
            standby=services,
            bound=services,
            capacity_ready=_REPLICAS,
            capacity_exists=True,
            verification=Verification(Verdict.YES, now, "", action, counted=dict.fromkeys(services, _REPLICAS)),
        )

    def _expensive(self, now: float) -> UnitObservation:
        ready = _REPLICAS if self.mode is Mode.CAPACITY else 1
        return _unit("expensive", ready=ready, now=now, demand=_REPLICAS * _THROUGHPUT)

    def _cheap(self, now: float, outage_since: float | None, registered: float | None) -> UnitObservation:
        if outage_since is None:
            joined = (
                () if registered is None else (Launch("claim", "cheap", created=registered, launched=registered, registered=registered),)
            )
            return _unit("cheap", ready=_REPLICAS, now=now, demand=0.0, launches=joined)
        refused = Refusal(
            claim="claim",
            pool="cheap",
            at=now - 2 * REPLACEMENT_HOLD_S,  # long enough ago to be judged
            cause=Cause.CAPACITY,
            attempt=f"{now:.0f}",
            seen=now - 2 * REPLACEMENT_HOLD_S,
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
    failures: tuple[Refusal, ...] = (),
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
        policy: Its settings.
        every_tick: Whether to decide at every tick instead of only when the result may change; for the test that compares both.
    """

    policy: PolicySettings = field(default_factory=PolicySettings)
    every_tick: bool = False

    def __call__(self, trace: Trace, prices: Prices) -> list[int]:
        """The mode changes on a trace; see `rules.Play`."""
        subject = application(prices, self.policy)
        world, memory = _World(subject, trace.tick_s), Memory(mode=Mode.COST, mode_since=_EPOCH - 86_400)
        changes: list[int] = []
        ticks, joined = len(trace.available), None
        for run in trace.runs:
            if run.available and run.start:
                joined = _EPOCH + run.start * trace.tick_s
            since = None if run.available else _EPOCH + run.start * trace.tick_s
            due = run.start
            for tick in range(run.start, run.end):
                if tick < due and tick != run.end - 1 and not self.every_tick:
                    continue
                now = _EPOCH + tick * trace.tick_s
                made = _asked(memory, partial(world.snapshot, outage_since=since, registered=joined), now, trace.tick_s)
                memory, decision = made.memory, made.decision
                due = _due(decision, tick, run, trace.tick_s)
                if decision.verb.changes_mode and decision.mode is not None and tick + 1 < ticks:
                    changes.append(tick + 1)
                    memory, world.mode, due = made.routed(now), decision.mode, tick + 1
        return changes


def _due(decision: Decision, tick: int, run: Run, tick_s: float) -> int:
    """The next tick at which the decision may differ; at most the last tick of the run.

    In capacity mode an outage is a series of refusals, of which only the last counts for the quiet time and the hold.
    """
    if decision.next_check_s is None or (decision.mode is Mode.CAPACITY and not run.available):
        return run.end
    return tick + max(1, int(decision.next_check_s // tick_s))


def _asked(memory: Memory, observed: Callable[[float], Snapshot], now: float, tick_s: float) -> Conclusion:
    """The decision of one tick. It observes and decides again for every wait that ends within the tick: EC2 refuses again by then."""
    end = now + tick_s
    made = conclude(memory, observed(now))
    for _ in range(_ASKED_AGAIN):
        wait = made.decision.next_check_s
        if made.decision.verb.changes_mode or wait is None or made.snapshot.now + wait >= end:
            break
        made = conclude(made.memory, observed(made.snapshot.now + wait))
    return made
