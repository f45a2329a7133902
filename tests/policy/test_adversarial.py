"""Attempts to break the policy, by bad clocks, bad numbers, bad luck and well-meant settings. Each failure text says who suffers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any

import pytest

from controller.policy import text
from controller.policy.evidence import proof
from controller.policy.model import (
    Action,
    ActionKind,
    Cause,
    Decision,
    FloorMemory,
    Launch,
    Memory,
    Mode,
    ModeChange,
    Override,
    PlannedMode,
    PolicySettings,
    Refusal,
    Return,
    Sample,
    ScalerWrite,
    SinkingFloor,
    Snapshot,
    Strategy,
    Verb,
    Verdict,
    Verification,
    WeightStrategy,
)
from controller.policy.reasons import Reason
from controller.routing.conclusion import conclude
from tests.policy.support import (
    INF2,
    TRN1,
    World,
    change,
    decide,
    launched,
    plan,
    pods,
    proven,
    refused,
    scaler,
    shortage,
    verbs,
    with_scalers,
)
from tests.support.applications import NOW, SERVICES, application, memory, routing, snapshot

HOUR = 3600.0
TRITON, CUDA = "sd21-g5-triton", "sd21-g5-cuda"


def _run(world: World, ticks: int, seconds: float, each: Callable[[World, int], None] = lambda world, i: None) -> list[Decision]:
    """Ticks, with a change of the world before each."""
    decisions = []
    for i in range(ticks):
        each(world, i)
        decisions.append(world.tick(seconds)[0])
    return decisions


class TestClocks:
    """Clocks that disagree, jump, or were wrong when something was stored."""

    def test_a_memory_from_the_future_does_not_delay_a_failover(self) -> None:
        """The clock was set back by an hour; users must not wait for it to catch up."""
        ahead = NOW + HOUR
        remembered = memory(mode_since=ahead, units=proven(ahead), changed_at=ahead, verified_at=ahead)
        world = World(shortage(), remembered)
        decisions = _run(world, 70, 1)
        assert Verb.FAILOVER in verbs(decisions), "users wait an hour for a dwell that exists only in a wrong clock"
        assert verbs(decisions).index(Verb.FAILOVER) <= 61

    def test_a_memory_from_the_future_does_not_delay_a_fallback(self) -> None:
        """Capacity mode must not be paid for that long, either."""
        ahead = NOW + 10 * HOUR
        units = proven(ahead, returned=Return.REPLICAS_READY, returned_at=ahead)
        world = World(snapshot(mode=Mode.CAPACITY), memory(Mode.CAPACITY, mode_since=ahead, units=units))
        world.unit(INF2, ready=4, desired=4)
        assert Verb.FALLBACK in verbs(_run(world, 40, 60)), "capacity mode is paid for until a wrong clock has come true"

    def test_a_source_that_was_heard_in_the_future_is_not_fresh(self) -> None:
        """After a jump back a dead source would seem alive for as long as the jump was."""
        made = shortage()
        ahead = replace(made, sources=tuple(replace(source, last_ok=NOW + HOUR) for source in made.sources))
        decision = decide(memory(units=proven()), ahead)[1]
        assert decision.reason is Reason.SIGNALS_STALE, "traffic is moved on evidence whose age nobody knows"

    @pytest.mark.parametrize("at", [pytest.param(NOW + 5, id="seconds ahead"), pytest.param(NOW + HOUR, id="an hour ahead")])
    def test_a_refusal_from_the_future_still_counts(self, at: float) -> None:
        """The API server's clock is ahead of ours: the shortage is real, and its text must make sense."""
        judged = decide(memory(), shortage(at=at, seen=NOW - 10))[1].evidence[INF2]
        assert judged.short, "users wait because two clocks differ"
        assert "last 0 s ago" in judged.facts[0]

    def test_a_refusal_of_yesterday_proves_nothing_today(self) -> None:
        """The API server lists an hour of events after a restart."""
        assert not decide(memory(), shortage(at=NOW - 86_400))[1].evidence[INF2].short

    def test_pods_that_wait_since_tomorrow_are_young(self) -> None:
        """A wrong clock must not prove an age."""
        made = change(shortage(zones=("a",)), pool_zones=("a", "b"), pool_blocked_at=None, pending=pods(since=NOW + 86_400))
        assert not decide(memory(), made)[1].evidence[INF2].short

    def test_a_verification_from_the_future_is_not_drained_early(self) -> None:
        """Sticky clients do not leave earlier because a clock is wrong."""
        made = snapshot(routing=replace(routing(), verification=Verification(Verdict.YES, NOW + 500, "", routing().action)))
        kept, decision = decide(memory(changed_at=NOW - 5), made)
        assert not decision.lowering_allowed, "replicas are taken from clients that are still on them"
        kept, decision = decide(kept, replace(made, now=NOW + 1))
        assert not decision.lowering_allowed

    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    def test_a_broken_time_is_shown_as_unknown(self, bad: float) -> None:
        """A text must never stop a mode change."""
        assert text.duration(bad) == "an unknown time"
        made = change(shortage(), demand=Sample(1.0, bad), latency=Sample(1.0, bad))
        assert decide(memory(units=proven()), made)[1].verb is Verb.FAILOVER, "a metric without a time keeps users waiting"


BAD = [math.nan, math.inf, -math.inf, -1.0, 1e308, 5e-324, 2.0**63]


class TestNumbers:
    """Numbers that no sane metric gives."""

    @pytest.mark.parametrize("bad", BAD)
    @pytest.mark.parametrize("strategy", list(WeightStrategy))
    @pytest.mark.parametrize("mode", list(Mode))
    def test_no_sample_breaks_a_decision(self, bad: float, strategy: WeightStrategy, mode: Mode) -> None:
        """Demand, latency and errors come from CloudWatch."""
        app = application(policy=PolicySettings(weight_strategy=strategy))
        made = with_scalers(shortage(snapshot(app, mode)))
        for name in SERVICES:
            made = change(made, name, demand=Sample(bad, NOW), latency=Sample(bad, NOW))
        made = replace(made, error_ratio=Sample(bad, NOW))
        decision = decide(memory(mode, units=proven()), made)[1]
        assert "?>" not in decision.sentence
        for action in plan(decision, made).actions:
            assert "nan" not in action.body.lower(), "the API server is sent a number that is none"
            assert "infinity" not in action.body.lower()
        assert all(0 <= floor.replicas <= 20 for floor in decision.floors.values()), "a broken metric buys every node of the region"

    @pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0])
    def test_a_broken_sample_is_no_breach(self, bad: float) -> None:
        """An impossible latency must not move traffic."""
        made = change(shortage(), latency=Sample(bad, NOW))
        made = replace(made, error_ratio=Sample(bad, NOW))
        assert decide(memory(), made)[1].verb is Verb.HOLD, "traffic moves because a dashboard was broken"

    def test_the_adaptive_strategy_survives_them_too(self) -> None:
        """Merit order divides by demand."""
        made = change(shortage(snapshot(application(policy=PolicySettings(strategy=Strategy.ADAPTIVE)))), demand=Sample(math.nan, NOW))
        assert decide(memory(units=proven()), made)[1].verb is Verb.FAILOVER


class TestOutages:
    """Outages as they happen in real regions."""

    def test_one_zone_out_for_hours_while_others_have_room_changes_nothing(self) -> None:
        """Soft spreading: every refused claim is followed by a launch in another zone."""

        def zone_out(world: World, i: int) -> None:
            now = world.snapshot.now
            if i % 20 == 0:
                refusal = refused(now, zones=("us-west-2a",), seen=now)
                world.unit(INF2, pool_failures=(refusal,), pool_launches=(launched(now + 8, now + 30, zone="us-west-2b"),))
            world.unit(INF2, pending=pods(1, since=now - 10) if i % 20 < 4 else (), desired=3 if i % 20 < 4 else 2)

        made = change(snapshot(), pool_zones=("us-west-2a", "us-west-2b", "us-west-2c"))
        decisions = _run(World(made, memory()), 300, 10, zone_out)
        assert set(verbs(decisions)) == {Verb.HOLD}, "one zone out is not a unit out: everybody pays for capacity mode"

    def test_pods_that_may_only_run_in_the_zone_that_is_out_cause_one_failover(self) -> None:
        """Hard spreading: no other zone can take those replicas, demand is not met, and the mode then stays until a proof of return."""

        def zone_out(world: World, i: int) -> None:
            if i % 20 == 0:
                before = world.snapshot.units[INF2].pool.failures
                world.unit(INF2, pool_failures=(*before, refused(world.snapshot.now, zones=("us-west-2a",))))

        made = change(snapshot(), pool_zones=("us-west-2a", "us-west-2b"), pending=pods(since=NOW), desired=4)
        decisions = _run(World(made, memory()), 300, 10, zone_out)
        found = verbs(decisions)
        assert found.count(Verb.FAILOVER) == 1
        assert found.count(Verb.FALLBACK) == 0, "traffic goes back to a unit whose replicas still have no place"
        assert 240 <= 10 * found.index(Verb.FAILOVER) <= 300, "not before a whole cache cycle has shown that nothing else has room"

    def test_capacity_that_comes_and_goes_does_not_move_clients_every_hour(self) -> None:
        """Eight hours in which inf2 is out for the first twenty minutes of each: the hold doubles until a fallback is not worth it."""

        def flapping(world: World, i: int) -> None:
            now, out = world.snapshot.now, i % 60 < 20
            if out:
                refusals = {"pool_failures": (refused(now - 10),), "pool_blocked_at": now - 9, "pool_launches": ()}
                world.unit(INF2, **refusals, pending=pods(since=now - 90), desired=4, ready=2)
            else:
                since = now - 60 * (i % 60 - 20)
                world.unit(INF2, pool_launches=(launched(since, since + 30),), pending=(), desired=4, ready=4)

        world = World(snapshot(), memory())
        decisions = _run(world, 480, 60, flapping)
        made = sum(verb in {Verb.FAILOVER, Verb.FALLBACK} for verb in verbs(decisions))
        assert 3 <= made <= 5, f"{made} mode changes in eight hours: each one moves every client"
        assert world.memory.hold_level >= 1, "every hour looks like the first"

    def test_demand_that_flickers_causes_one_failover(self) -> None:
        """Pods wait for 45 s, are gone for 15 s, and wait again. Patience begins anew each time and ends before they go."""

        def flicker(world: World, i: int) -> None:
            now, waits = world.snapshot.now, i % 12 < 9
            refusals = {"pool_failures": (refused(now - 20),), "pool_blocked_at": now - 19}
            world.unit(INF2, **refusals, pending=pods(since=now - 20) if waits else (), desired=4 if waits else 2)

        decisions = _run(World(snapshot(), memory()), 300, 5, flicker)
        assert verbs(decisions).count(Verb.FAILOVER) == 1, "users wait three quarters of the time and nothing is done"
        assert verbs(decisions).count(Verb.FALLBACK) == 0

    def test_of_two_units_that_share_a_pool_only_the_one_with_demand_is_short(self) -> None:
        """Both run on g5 and the refusal concerns both, but only one of them lacks a replica."""
        shared = (refused(pool="g5", instance_types=("g5.xlarge",)),)
        made = change(snapshot(), TRITON, pool_failures=shared, pool_blocked_at=NOW - 50, pending=pods(), desired=4)
        made = change(made, CUDA, pool_failures=shared, pool_blocked_at=NOW - 50)
        decision = decide(memory(units={TRITON: proven()[INF2]}), made)[1]
        assert decision.verb is Verb.FAILOVER
        assert [name for name, judged in decision.evidence.items() if judged.short] == [TRITON]
        assert decision.evidence[CUDA].can_serve, "a unit with ready replicas is written off because of its neighbour"

    def test_all_units_short_moves_nothing_and_alerts(self) -> None:
        """No mode would help; a mode change would only add risk."""
        made = snapshot()
        made = replace(made, units={name: shortage(made, name).units[name] for name in SERVICES})
        world = World(made, memory(units=proven()))
        decision, made_plan = world.tick(1)
        assert (decision.verb, decision.reason, made_plan.due) == (Verb.HOLD, Reason.OTHER_SIDE_SHORT, ())
        assert ("held/OtherSideShort", "critical") in [(alert.key, alert.severity) for alert in decision.alerts]

    def test_a_unit_that_a_person_scaled_to_nothing_is_no_shortage(self) -> None:
        """Its traffic goes to the others, and no refusal of the past makes it short."""
        world = World(change(snapshot(), pool_failures=(refused(NOW - 20),), desired=0, ready=0), memory())
        first, _ = world.tick(1)
        assert (first.verb, first.targets[0].weight) == (Verb.REWEIGHT, 0)
        assert set(verbs(_run(world, 60, 10))) == {Verb.HOLD}

    def test_a_unit_scaled_to_nothing_after_it_was_short_can_be_left_by_a_pin(self) -> None:
        """Its return cannot be proven any more, which the reason says; the pin leads out, without traffic to it."""
        made = change(snapshot(mode=Mode.CAPACITY), desired=0, ready=0)
        remembered = memory(Mode.CAPACITY, units=proven(NOW - 9000))
        decision = decide(remembered, made)[1]
        assert decision.reason is Reason.RETURN_UNPROVEN
        assert INF2 in decision.sentence, "capacity mode is paid for and no reason names the unit that it waits for"
        pinned = replace(made, routing=routing(Mode.CAPACITY, override=Override(pinned_mode=Mode.COST)))
        out = decide(remembered, pinned)[1]
        assert (out.verb, out.targets[0].weight) == (Verb.FALLBACK, 0)

    def test_thousands_of_refused_claims_are_judged_once_each(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """2,700 claims refused within half a minute: comparing each with each would take seconds, and users would wait for the count."""
        judged = 0
        created_after = proof.created_after

        def counting(launch: Launch, failure: Refusal) -> bool:
            nonlocal judged
            judged += 1
            return created_after(launch, failure)

        monkeypatch.setattr(proof, "created_after", counting)
        claims = tuple(refused(NOW - 60 + i / 100, claim=str(i), attempt=str(i // 100), zones=("a",)) for i in range(2700))
        made = change(snapshot(), pool_failures=claims, pool_launches=tuple(launched(NOW - 90 + i / 100) for i in range(2700)))
        made = change(made, pending=pods(), desired=9, pool_zones=("a", "b"), pool_launches=made.units[INF2].pool.launches)
        result = decide(memory(), made)[1].evidence[INF2]
        assert (result.attempts, result.short) == (27, False)
        assert judged <= 2 * 2700, f"2,700 refusals were compared with launches {judged} times"


class TestDeadlocks:
    """Situations that must not keep an application in a mode for an unknown reason."""

    def test_capacity_mode_with_an_empty_memory_ends(self) -> None:
        """The stored memory was lost: dwell and hold start now, and then the ready replicas decide."""
        world = World(snapshot(mode=Mode.CAPACITY), Memory())
        found = verbs(_run(world, 30, 60))
        assert Verb.FALLBACK in found, "capacity mode is paid for ever because a ConfigMap was deleted"
        assert 60 * found.index(Verb.FALLBACK) >= 540, "traffic went back before the dwell that was just begun"

    def test_a_maximum_below_the_need_ends_capacity_mode_with_an_alert(self) -> None:
        """KEDA never scales beyond 3, so the fallback must not wait for a fourth replica."""
        made = change(with_scalers(snapshot(mode=Mode.CAPACITY)), TRN1, demand=Sample(1050, NOW), ready=9, desired=9)
        made = change(made, scaler=scaler(max_replicas=3, target="89.2"), ready=3, desired=3)
        made = change(change(made, TRITON, ready=9), CUDA, ready=9)
        decision = decide(memory(Mode.CAPACITY, units=proven(NOW - 9000, returned=Return.REPLICAS_READY, returned_at=NOW - 8000)), made)[1]
        assert decision.verb is Verb.FALLBACK, "capacity mode never ends, at its price, because of a maximum"
        assert [alert.key for alert in decision.alerts] == ["max/sd21-inf2"], "the operator never hears that the maximum is too low"

    def test_a_scaler_at_its_maximum_is_not_written_to_again_and_again(self) -> None:
        """In capacity mode, with more demand than all maxima carry: raised once, and not written again."""
        made = change(with_scalers(snapshot(mode=Mode.CAPACITY), max_replicas=4), TRN1, demand=Sample(90_000, NOW))
        world = World(made, memory(Mode.CAPACITY))
        _, first = world.tick(1)
        assert {action.after for action in first.due if action.kind is ActionKind.RAISE_FLOOR} == {"4"}
        later: list[Action] = []
        for _ in range(20):
            later += world.tick(5)[1].actions
        assert later == [], "KEDA and the API server are written to at every pass"

    def test_preparing_is_visible_while_pods_do_not_become_ready(self) -> None:
        """The image is broken: the reason names the unit, its ready replicas and those that it needs."""
        made = change(with_scalers(snapshot(mode=Mode.CAPACITY)), TRN1, demand=Sample(2000, NOW))
        world = World(made, memory(Mode.CAPACITY))
        decisions = _run(world, 20, 60, lambda world, i: world.unit(TRN1, demand=Sample(2000, world.snapshot.now)))
        assert decisions[-1].sentence == "sd21-inf2 has 2 of the 8 ready replicas that cost mode needs at the present demand"
        assert decisions[-1].held_back is Verb.FALLBACK

    @pytest.mark.parametrize("strategy", Strategy)
    @pytest.mark.parametrize("mode", Mode)
    @pytest.mark.parametrize("observing", ["leader", "standby", "stale"])
    def test_a_unit_renamed_in_the_file_does_not_stop_every_decision(self, strategy: Strategy, mode: Mode, observing: str) -> None:
        """The memory still knows the old name, wherever it is keyed by one; also of a replica that may note nothing."""
        policy = PolicySettings(strategy=strategy, planned_mode=PlannedMode.LIVE)
        made = replace(snapshot(application(policy=policy), mode), leader=observing != "standby")
        if observing == "stale":
            made = replace(made, sources=tuple(replace(source, last_ok=NOW - 9000) for source in made.sources))
        # Of a ScaledObject it remembers what a raised floor was before: the ScaledObject may be still there.
        plain, old = memory(mode, floors={"sd21-old-hpa": FloorMemory(found=2, raised_from=1)}), "sd21-old"
        remembered = replace(
            plain,
            units={old: proven(NOW - 9000)[INF2]},
            floors={
                f"{old}-hpa": FloorMemory(
                    found=2, raised_from=1, due=True, floor=ScalerWrite(NOW - 5, "1", "3", 5), sinking=(SinkingFloor(NOW - 60, 1),)
                )
            },
        )
        keyed = [one.name for one in fields(plain) if isinstance(getattr(plain, one.name), Mapping | frozenset)]
        assert all(getattr(remembered, name) for name in keyed), "a new field of the memory that may name a unit of before"
        found, without = conclude(remembered, made), conclude(plain, made)
        assert (found.decision, found.plan) == (without.decision, without.plan)
        assert found.memory == without.memory or observing != "leader", "the leader forgets it"

    def test_the_flip_budget_opens_again(self) -> None:
        """It holds a failover for an hour at most, and raises an alert."""
        changes = tuple(ModeChange(NOW - age, Mode.COST, Reason.RETURN_PROVEN) for age in (3000.0, 2000.0, 1000.0, 100.0))
        world = World(shortage(), memory(mode_changes=changes, units=proven()))
        first, _ = world.tick(1)
        assert [alert.key for alert in first.alerts] == ["held/FlipBudgetSpent"], "users wait and nobody is called"
        assert first.next_check_s is not None

        def still(world: World, i: int) -> None:
            world.unit(INF2, pool_failures=(refused(world.snapshot.now - 30),), pool_blocked_at=world.snapshot.now - 29)

        assert Verb.FAILOVER in verbs(_run(world, 62, 10, still))


class TestPeople:
    """Operators, other writers, and mode changes that overtake each other."""

    def test_a_shortage_soon_after_a_fallback_that_nobody_verified(self) -> None:
        """The failover does not wait for the load balancer, and nothing was lowered in between."""
        made = with_scalers(snapshot(mode=Mode.CAPACITY), min_replicas=4)
        world = World(made, memory(Mode.CAPACITY), verify=False)
        fallback, done = world.tick(1)
        assert fallback.verb is Verb.FALLBACK
        world.unit(INF2, pool_failures=(refused(NOW + 5),), pool_blocked_at=NOW + 6, pending=pods(since=NOW), desired=4)
        actions = list(done.due)
        decisions = []
        for _ in range(70):
            decision, made_plan = world.tick(1)
            decisions.append(decision)
            actions += made_plan.due
        assert Verb.FAILOVER in verbs(decisions), "users wait for the verification of a change that is being undone"
        assert verbs(decisions).index(Verb.FAILOVER) >= 58, "the dwell of cost mode is kept"
        lowered = [action for action in actions if action.kind is ActionKind.LOWER_FLOOR]
        assert lowered == [], "replicas were taken away behind traffic that never moved"

    def test_a_change_by_hand_is_drained_like_our_own(self) -> None:
        """Somebody fell back by hand, or the process died between patch and save: the floors of capacity mode wait for the drain anyway."""
        made = with_scalers(snapshot(), min_replicas=4)
        old = memory(Mode.CAPACITY, changed_at=NOW - 9000, verified_at=NOW - 8990)
        world = World(made, old)
        due = [bool(world.tick(10)[1].due) for _ in range(20)]
        assert due[0] is False, "replicas are taken from clients that stick to them"
        assert due.index(True) == 12, "after the drain of 120 s, counted from the first sight"

    def test_a_pin_that_expires_hands_back_to_the_rules(self) -> None:
        """Capacity mode by a pin ends like any other: once dwell, hold and readiness allow it."""
        pin = Override(pinned_mode=Mode.CAPACITY, pinned_until=NOW + 900, pinned_why="load test")
        world = World(replace(snapshot(), routing=routing(override=pin)), memory())
        decisions = _run(world, 40, 60)
        found = verbs(decisions)
        assert found[0] is Verb.FAILOVER
        assert found.count(Verb.FAILOVER) == 1, "the pin is followed more than once"
        assert found.index(Verb.FALLBACK) == 14, "at the first pass after the pin is over"
        assert decisions[5].reason is Reason.PINNED

    def test_a_pin_to_cost_that_expires_during_a_shortage(self) -> None:
        """The shortage was observed meanwhile, so its patience is over."""
        pin = Override(pinned_mode=Mode.COST, pinned_until=NOW + 100)
        world = World(replace(shortage(at=NOW - 1), routing=routing(override=pin)), memory())
        decisions = _run(world, 12, 10)
        assert {decision.reason for decision in decisions[4:9]} == {Reason.PINNED}
        assert verbs(decisions).index(Verb.FAILOVER) == 9, "users wait longer than the operator asked for"

    def test_a_pause_that_ends_during_a_shortage(self) -> None:
        """What was observed during the pause still counts."""
        paused = Override(paused_until=NOW + 100)
        world = World(replace(shortage(at=NOW - 1), routing=routing(override=paused)), memory())
        decisions = _run(world, 12, 10)
        assert verbs(decisions)[:9] == [Verb.HOLD] * 9
        assert verbs(decisions)[9] is Verb.FAILOVER, "users wait for a patience that began only after the pause"

    def test_two_writers_that_fight_slow_down_and_alert(self) -> None:
        """A GitOps tool writes its own action back at once, every time."""
        world = World(snapshot(), memory())

        def fight(world: World, i: int) -> None:
            world.snapshot = replace(world.snapshot, routing=replace(routing(stickiness_s=9), foreign=True, writer="argocd"))

        decisions = _run(world, 360, 10, fight)
        writes = verbs(decisions).count(Verb.REWEIGHT)
        assert 5 <= writes <= 12, f"{writes} corrections in an hour wear out the load-balancer controller"
        assert "fighting" in {alert.key for alert in decisions[-1].alerts}, "two programs fight over the users and nobody knows"

    def test_a_quota_causes_a_failover_and_an_alert(self) -> None:
        """Users must be served, and waiting never helps."""
        decision = decide(memory(units=proven()), shortage(cause=Cause.QUOTA, codes=("VcpuLimitExceeded",)))[1]
        assert decision.verb is Verb.FAILOVER
        assert any("VcpuLimitExceeded" in alert.text and "Raise it: Service Quotas" in alert.text for alert in decision.alerts)


def _empty(made: Snapshot, **changes: Any) -> Snapshot:
    """Nothing is known of any unit."""
    blank = {"desired": None, "ready": None, "deployment_ready": None, "endpoints_ready": None, "service_exists": None, **changes}
    for name in SERVICES:
        made = change(made, name, **blank)
    return made


@pytest.mark.parametrize("mode", list(Mode))
def test_nothing_known_moves_nothing(mode: Mode) -> None:
    """A view of the cluster that is empty although its sources are fresh."""
    made = _empty(snapshot(mode=mode))
    decision = decide(memory(mode), made)[1]
    assert plan(decision, made).due == (), "traffic is moved by somebody who sees nothing"
    assert decision.mode is mode
