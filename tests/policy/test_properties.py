"""An adversary plays the cluster, the operator and the load balancer; the invariants hold."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from controller.policy.account import ceiling, scaler_replicas, total_demand
from controller.policy.decision import DRAIN_S
from controller.policy.fleet.offers import MAX_ABOVE_SCALER
from controller.policy.floors import HELD_S
from controller.policy.karpenter_times import ICE_WINDOW_S
from controller.policy.model import (
    ActionKind,
    Cause,
    Decision,
    Memory,
    Mode,
    Override,
    Plan,
    PlannedMode,
    PolicySettings,
    RoutingStyle,
    Sample,
    Snapshot,
    Strategy,
    Target,
    Verb,
    Verdict,
)
from controller.policy.modes import DWELL_COST_S
from controller.policy.reasons import Reason
from controller.recording.stored import encode
from controller.routing.ingress.action import format_action
from tests.policy.support import INF2, World, decide, launched, plan, pods, refused, with_scalers
from tests.support.applications import NOW, SERVICES, application, memory, snapshot

# Short times, so that a few dozen steps contain several mode changes.
POLICY = PolicySettings(patience_s=5, dwell_capacity_s=120, quiet_s=60, hold_min_s=30, hold_max_s=60, flips_per_hour=3)

units = st.sampled_from(SERVICES)
steps = st.one_of(
    st.tuples(st.just("wait"), st.sampled_from([1.0, 7.0, 65.0, 130.0, 900.0])),
    st.tuples(st.sampled_from(["refuse", "refuse-zone", "limit", "calm", "launch", "return", "gone", "scale-out"]), units),
    st.tuples(st.just("ready"), units, st.integers(0, 6)),
    st.tuples(st.just("demand"), units, st.sampled_from([0.0, 300.0, 5000.0, math.nan, math.inf, -1.0])),
    st.tuples(st.just("override"), st.sampled_from(["none", "pause", "pin-cost", "pin-capacity", "broken"])),
    st.tuples(st.sampled_from(["blind", "seeing", "drift", "no-standby", "standby"])),
)


@dataclass(frozen=True)
class _Tick:
    """One tick: what was known before, and what was done."""

    before: Memory
    snapshot: Snapshot
    decision: Decision
    plan: Plan


def _apply(world: World, step: tuple[object, ...]) -> float:
    """Changes the world; returns the seconds that pass with it."""
    kind = str(step[0])
    if kind == "wait":
        return float(str(step[1]))
    if len(step) == 1:
        _routing_step(world, kind)
    elif kind == "override":
        override = {
            "none": Override(),
            "pause": Override(paused_until=world.snapshot.now + 100),
            "pin-cost": Override(pinned_mode=Mode.COST, pinned_until=world.snapshot.now + 100),
            "pin-capacity": Override(pinned_mode=Mode.CAPACITY, pinned_until=world.snapshot.now + 100),
            "broken": Override(problem="cannot be read"),
        }[str(step[1])]
        world.snapshot = replace(world.snapshot, routing=replace(world.snapshot.routing, override=override))
    else:
        _unit_step(world, kind, str(step[1]), step[2] if len(step) > 2 else None)
    return 1.0


def _routing_step(world: World, kind: str) -> None:
    routing = world.snapshot.routing
    if kind in {"blind", "seeing"}:
        world.verify = kind == "seeing"
    elif kind == "drift":
        targets = (Target(INF2, 80, 1),)
        routing = replace(routing, targets=targets, action=format_action(targets, 0), foreign=True, writer="argocd")
    else:
        routing = replace(routing, standby=() if kind == "no-standby" else (*SERVICES, "sd21-all"))
    world.snapshot = replace(world.snapshot, routing=routing)


def _unit_step(world: World, kind: str, name: str, value: object) -> None:
    now, observed, unit = world.snapshot.now, world.snapshot.units[name], world.snapshot.application.unit(name)
    ready = observed.ready or 0
    failure = refused(now, pool=unit.node_pool, instance_types=(unit.instance_type,), cause=Cause.CAPACITY, attempt=f"{now}")
    launch = launched(now, now + 1, pool=unit.node_pool)
    match kind:
        case "refuse":
            world.unit(name, pool_failures=(*observed.pool.failures, failure), pending=pods(since=now - 90), desired=ready + 2)
        case "refuse-zone":
            narrowed = replace(failure, zones=("a",))
            world.unit(name, pool_failures=(*observed.pool.failures, narrowed), pool_zones=("a", "b"), pending=pods(since=now - 300))
        case "limit":
            world.unit(name, pool_at_limit="8 cpu", pending=pods(since=now - 300), desired=ready + 2)
        case "calm":
            world.unit(name, pending=(), pool_at_limit="", desired=ready)
        case "launch":
            world.unit(name, pool_launches=(*observed.pool.launches, replace(launch, registered=None)))
        case "return":
            world.unit(name, pool_launches=(*observed.pool.launches, launch), pending=(), ready=ready + 2, desired=ready + 2)
        case "gone":
            world.unit(name, ready=0, endpoints_ready=0)
        case "scale-out":
            world.unit(name, desired=ready + 1, pending=pods(1, now))
        case "ready":
            world.unit(name, ready=value, endpoints_ready=value, deployment_ready=value)
        case _:
            world.unit(name, demand=Sample(float(str(value)), now))


def _play(script: list[tuple[object, ...]], policy: PolicySettings, style: RoutingStyle) -> list[_Tick]:
    app = application(policy=policy, routing_style=style)
    world = World(with_scalers(snapshot(app)), memory(mode_since=NOW - 1000))
    seen = []
    for step in script:
        seconds = _apply(world, step)
        before = world.memory
        decision, made = world.tick(seconds)
        seen.append(_Tick(before, world.seen, decision, made))
    return seen


adversary = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
scripts = st.lists(steps, min_size=10, max_size=40)
LIVE = replace(POLICY, strategy=Strategy.PLANNED, planned_mode=PlannedMode.LIVE)
policies = st.sampled_from([*(replace(POLICY, strategy=strategy) for strategy in Strategy), LIVE])


@adversary
@given(scripts, policies, st.sampled_from(RoutingStyle))
def test_whatever_happens_the_promises_hold(script: list[tuple[object, ...]], policy: PolicySettings, style: RoutingStyle) -> None:
    """Budget, dwell, evidence, empty target groups, early lowering and pauses, over random scripts."""
    for tick in _play(script, policy, style):
        _no_needless_change(tick, policy)
        _no_traffic_to_nobody(tick)
        _nothing_lowered_early(tick)
        _planned_floors_are_bounded(tick, policy)
        assert "?>" not in tick.decision.sentence


def _no_needless_change(tick: _Tick, policy: PolicySettings) -> None:
    decision, now = tick.decision, tick.snapshot.now
    if decision.verb not in {Verb.FAILOVER, Verb.FALLBACK} or decision.reason is Reason.PINNED_TO_MODE:
        return
    hour = [made for made in tick.before.mode_changes if now - made.at < 3600]
    assert len(hour) < policy.flips_per_hour, f"{len(hour) + 1} mode changes within an hour: clients are moved too often"
    least = DWELL_COST_S if decision.verb is Verb.FAILOVER else policy.dwell_capacity_s
    assert now - tick.before.mode_since >= least, "the mode changed before its dwell was over"
    if decision.verb is Verb.FAILOVER:
        causes = [
            name
            for name, observed in tick.snapshot.units.items()
            if observed.pending and (observed.pool.at_limit or any(now - failure.at <= ICE_WINDOW_S for failure in observed.pool.failures))
        ]
        assert causes, "the more expensive mode was chosen although no unit was refused capacity"


def _no_traffic_to_nobody(tick: _Tick) -> None:
    if not any(action.kind is ActionKind.ROUTE for action in tick.plan.due):
        return
    for target in tick.decision.targets:
        if target.weight > 0 and target.service in tick.snapshot.units:
            assert tick.snapshot.units[target.service].ready != 0, f"{target.weight} % of the users get a 503 from {target.service}"


def _nothing_lowered_early(tick: _Tick) -> None:
    override, due = tick.decision.guards[3], tick.plan.due
    if override.guard == "paused" and not override.passed:
        assert not tick.plan.actions, "something was changed although an operator paused the controller"
    lowered = [action for action in due if action.kind is ActionKind.LOWER_FLOOR]
    if lowered:
        verification = tick.snapshot.routing.verification
        assert verification is not None
        assert verification.verdict is Verdict.YES, "replicas were taken away before the load balancer showed the new weights"
        assert tick.decision.verb not in {Verb.FAILOVER, Verb.FALLBACK}
        changed = tick.before.changed_at
        assert changed is None or tick.snapshot.now - changed >= DRAIN_S, "sticky clients had no time to leave"


def _planned_floors_are_bounded(tick: _Tick, policy: PolicySettings) -> None:
    """Also where a counter says nonsense, pods wait for ever or units vanish."""
    if not policy.plans_floors or tick.decision.mode is not Mode.COST:
        return
    known = total_demand(tick.snapshot)
    for action in tick.plan.due:
        if action.kind is ActionKind.LOWER_FLOOR:
            missing = tick.before.demand_missing_since
            assert known is not None or (missing is not None and tick.snapshot.now - missing >= HELD_S), (
                "missing metrics took replicas away"
            )
        if action.kind is ActionKind.RAISE_FLOOR:
            unit, observed = tick.snapshot.application.unit(action.unit), tick.snapshot.units[action.unit]
            assert int(action.after) <= ceiling(unit, observed), "KEDA refuses a floor above its maximum"
            if known is not None and not tick.decision.verb.changes_mode and not tick.before.demand_missing_since:
                most = max(unit.min_replicas, scaler_replicas(tick.snapshot, unit), observed.ready or 0) + 1
                most += math.ceil(MAX_ABOVE_SCALER * known / unit.throughput)
                assert int(action.after) <= most, "a floor is further above what KEDA asks for than allowed"


@settings(deadline=None, max_examples=8)
@given(scripts)
def test_equal_inputs_give_equal_bytes(script: list[tuple[object, ...]]) -> None:
    """A decision can be replayed from what was stored, on any machine."""

    def trace() -> list[tuple[str, str, tuple[str, ...]]]:
        played = _play(script, POLICY, RoutingStyle.SINGLE_SERVICE)
        return [(encode(tick.before), tick.decision.sentence, tuple(action.body for action in tick.plan.actions)) for tick in played]

    assert trace() == trace()


@settings(deadline=None, max_examples=15)
@example(  # a launch lets a unit be forgotten: the replicas that the weights are planned for change in the same pass
    [
        *[("gone", "sd21-inf2"), ("gone", "sd21-g5-triton"), ("refuse", "sd21-g6-triton"), ("wait", 65.0)],
        *[("refuse-zone", "sd21-g5-triton"), ("wait", 65.0), ("wait", 7.0), ("wait", 7.0), ("gone", "sd21-g6-triton")],
        *[("demand", "sd21-trn1", math.nan), ("override", "pin-cost"), ("launch", "sd21-g5-triton")],
    ]
)
@given(scripts)
def test_deciding_twice_changes_nothing(script: list[tuple[object, ...]]) -> None:
    """A pass that is repeated, after a crash before anything was sent, decides the same."""
    last = _play(script, POLICY, RoutingStyle.SINGLE_SERVICE)[-1]
    once, first = decide(last.before, last.snapshot)
    twice, second = decide(once, last.snapshot)
    assert twice == once
    assert (second.verb, second.reason, second.targets, second.floors) == (first.verb, first.reason, first.targets, first.floors)
    assert plan(second, last.snapshot) == plan(second, last.snapshot)
