"""A GitOps tool that puts a replica floor back every few seconds: pauses that double, an alert, and no pause for anything else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from controller.policy.account import FLAP_WINDOW_S
from controller.policy.alert_kinds import AlertKind
from controller.policy.floors import contested
from controller.policy.floors.account import again_s, deferred, written
from controller.policy.model import Action, ActionKind, Alert, FloorMemory, Memory, Mode, Plan, PolicySettings, ScalerWrite, Snapshot
from controller.recording.stored import decode, encode
from controller.routing.conclusion import conclude
from tests.policy.support import INF2, TRN1, change, decide, scaler, shortage
from tests.support.applications import NOW, memory, snapshot

POLICY = PolicySettings()
SCALED = f"{INF2}-hpa"


def raising() -> Plan:
    """A plan that raises floors, as a failover makes it."""
    made = snapshot(mode=Mode.CAPACITY)
    made = shortage(change(made, INF2, scaler=scaler(INF2)))
    return conclude(memory(Mode.CAPACITY), made).plan


def seen(now: float) -> Snapshot:
    """What is observed at a time: the unit's ScaledObject among it."""
    return replace(change(snapshot(mode=Mode.CAPACITY), INF2, scaler=scaler(INF2)), now=now)


def write(kept: Memory, actions: Sequence[Action], now: float) -> Memory:
    """The memory after these were written."""
    return written(kept, seen(now), raising(), actions, now)


def fight(seconds: int, every_s: int = 5) -> tuple[Memory, list[float]]:
    """Somebody puts back what is written before every pass, each of which may be another leader's; the times of our writes."""
    kept, times, plan = memory(Mode.CAPACITY), [], raising()
    for t in range(0, seconds, every_s):
        kept = decode(encode(kept))
        due = deferred(plan, kept, NOW + t).due
        kept = write(kept, due, NOW + t)
        times += [float(t)] * any(action.kind is ActionKind.RAISE_FLOOR for action in due)
    return kept, times


def test_a_floor_that_is_put_back_is_written_after_pauses_that_double() -> None:
    """Every pass, which was up to 720 patches an hour. The next leader keeps the pauses."""
    _, times = fight(3600)
    assert times[:5] == [0, 10, 30, 70, 150]
    assert len(times) < 15


def _alerts(kept: Memory, made: Snapshot) -> list[Alert]:
    return [Alert.of(AlertKind.CONTESTED, one.details, one.subject) for one in contested(kept, made)]


def test_people_are_notified_of_the_other_writer() -> None:
    """With the object, the field and what to do; not of one that put it back once."""
    kept, _ = fight(200)
    (alert,) = [one for one in _alerts(kept, seen(NOW + 200)) if one.key == f"contested/{INF2}/floor"]
    last = kept.floors[SCALED].floor
    assert last is not None
    assert (alert.severity, last.repeats) == ("warning", 4)
    assert alert.text == (
        f"ScaledObject sd21-inf2-hpa minReplicaCount 1 to {last.after} was written 5 times, and each time another writer put it back, so "
        "replicas do not follow the mode: take the field out of what the GitOps tool manages (`failoverctl doctor` names it)"
    )
    shown = decide(kept, replace(snapshot(mode=Mode.CAPACITY), now=NOW + 200))[1].alerts
    assert f"contested/{INF2}/floor" in {one.key for one in shown}
    third = replace(kept, floors={SCALED: FloorMemory(floor=replace(last, repeats=3))})
    assert [one.key for one in _alerts(third, seen(NOW + 200))] == [f"contested/{INF2}/floor"]
    assert not list(_alerts(third, seen(last.at + FLAP_WINDOW_S)))
    assert not list(_alerts(fight(15)[0], seen(NOW + 15)))
    assert not list(_alerts(kept, seen(NOW + 200 + FLAP_WINDOW_S)))


def test_a_write_whose_scaled_object_is_gone_is_named() -> None:
    """A person deleted it since."""
    kept = memory(Mode.CAPACITY, floors={SCALED: FloorMemory(target=ScalerWrite(NOW, "1", "3", repeats=3))})
    (alert,) = _alerts(kept, change(seen(NOW), INF2, scaler=None))
    assert alert.text.startswith(f"ScaledObject {SCALED} targetMetricValue 1 to 3 was written 4 times")


@pytest.mark.parametrize("name", ["removed-hpa", "", "/"])
def test_a_write_to_what_is_no_units_is_forgotten(name: str) -> None:
    """The unit is gone from the application file since, or the stored memory names something else."""
    kept = memory(Mode.CAPACITY, floors={name: FloorMemory(floor=ScalerWrite(NOW, "1", "3", repeats=3))})
    after, decision = decide(kept, seen(NOW))
    assert (after.floors, [one.key for one in decision.alerts]) == ({}, [])


@pytest.mark.parametrize("field", ["before", "after"])
def test_another_value_is_written_at_once(field: str) -> None:
    """The demand has grown, or our own write stands: nobody has put anything back."""
    kept, _ = fight(200)
    plan = raising()

    def other(action: Action) -> Action:
        return replace(action, before="7") if field == "before" else replace(action, after="9")

    changed = replace(plan, actions=tuple(other(action) for action in plan.actions))
    assert deferred(changed, kept, NOW + 201).due == changed.due


def test_floors_that_follow_the_demand_are_put_back_like_any_other() -> None:
    """Each is another one, but the fight is the same: more is written at once, and the rest after pauses that grow, with an alert."""
    kept, times, plan = memory(Mode.CAPACITY), [], raising()
    for t in range(0, 3600, 30):
        asked = str(7 + (t // 60) % 3)
        changed = replace(plan, actions=tuple(replace(one, after=asked) for one in plan.actions if one.kind is ActionKind.RAISE_FLOOR))
        due = deferred(changed, kept, NOW + t).due
        kept = write(kept, due, NOW + t)
        times += [t] * bool(due)
    assert times[:4] == [0, 30, 60, 120]
    assert len(times) < 20
    assert f"contested/{INF2}/floor" in {one.key for one in _alerts(kept, seen(NOW + 3600))}


def test_a_stored_write_that_is_no_number_makes_nothing_wait() -> None:
    """Anyone may edit what is stored."""
    kept = memory(Mode.CAPACITY, floors={SCALED: FloorMemory(floor=ScalerWrite(NOW, "1", "many", repeats=5))})
    plan = raising()
    assert deferred(plan, kept, NOW + 1).due == plan.due


def test_a_write_that_waits_says_so_and_when_it_is_due() -> None:
    """In the plan that people see, and for the next pass."""
    kept, times = fight(200)
    waiting = deferred(raising(), kept, NOW + 200)
    words = [one.deferred for one in waiting.actions if one.kind is ActionKind.RAISE_FLOOR]
    assert words
    assert all("another writer put it back" in one for one in words)
    assert min(again_s(waiting, kept, NOW + 200)) == pytest.approx(times[-1] + 160 - 200)


def test_a_conclusion_waits_for_it() -> None:
    """`plan` and `status` show it, with the memory of the replica that leads."""
    made = shortage(change(snapshot(mode=Mode.CAPACITY), INF2, scaler=scaler(INF2)))
    first = conclude(memory(Mode.CAPACITY), made)
    assert [action.unit for action in first.plan.due if action.kind is ActionKind.RAISE_FLOOR] == [INF2]
    again = conclude(first.written(first.plan.due, NOW), replace(made, now=NOW + 4))
    assert not [action for action in again.plan.due if action.kind is ActionKind.RAISE_FLOOR]
    assert again.decision.next_check_s == pytest.approx(6)
    assert again.plan.decision is again.decision


def test_what_was_written_just_now_asks_for_no_further_pass() -> None:
    """Nobody has put it back yet."""
    plan = raising()
    kept = write(memory(Mode.CAPACITY), plan.due, NOW)
    assert not list(again_s(plan, kept, NOW))


def test_the_last_half_second_of_a_pause_counts() -> None:
    """And the moment of the write itself: somebody may put it back at once."""
    kept = write(memory(Mode.CAPACITY), raising().due, NOW)
    for passed, left in ((0.0, 10.0), (9.5, 0.5)):
        waiting = deferred(raising(), kept, NOW + passed)
        assert all(action.deferred for action in waiting.actions if action.kind is ActionKind.RAISE_FLOOR)
        assert min(again_s(waiting, kept, NOW + passed)) == pytest.approx(left)


def test_what_waits_for_another_reason_keeps_it() -> None:
    """A floor that waits for the load balancer is not said to be another writer's."""
    kept, _ = fight(200)
    plan = raising()
    drained = replace(plan, actions=tuple(replace(action, deferred="the load balancer drains") for action in plan.actions))
    assert {action.deferred for action in deferred(drained, kept, NOW + 200).actions} == {"the load balancer drains"}


def test_one_write_does_not_forget_another() -> None:
    """Each field has a pause of its own."""
    kept = write(memory(Mode.CAPACITY), raising().due, NOW)
    later = replace(raising().actions[0], unit=TRN1, name=f"{TRN1}-hpa", before="1", after="2")
    assert kept.floors.keys() == {SCALED}
    both = write(kept, [later], NOW + FLAP_WINDOW_S - 1).floors
    assert [one.floor is not None for one in both.values()] == [True, True]


def test_what_is_long_past_is_forgotten() -> None:
    """The memory holds no more than what may still be put back."""
    kept = write(memory(Mode.CAPACITY), raising().due, NOW)
    later = replace(raising().actions[0], unit=TRN1, name=f"{TRN1}-hpa", before="1", after="2")
    late = write(kept, [later], NOW + FLAP_WINDOW_S).floors
    assert {name: one.floor is not None for name, one in late.items()} == {SCALED: False, f"{TRN1}-hpa": True}


def test_a_clock_that_was_set_back_makes_no_pause_longer() -> None:
    """The pause would last until the clock has caught up."""
    kept, _ = fight(200)
    assert deferred(raising(), kept, NOW - 3600).due


def test_the_action_of_the_ingress_is_none_of_a_scaled_object() -> None:
    """Its unit and field are not those of a floor, whatever was written before."""
    kept, _ = fight(200)
    (floor,) = {action.unit: action for action in raising().actions if action.unit == INF2}.values()
    route = replace(floor, kind=ActionKind.ROUTE)
    assert deferred(replace(raising(), actions=(floor,)), kept, NOW + 200).due == ()
    assert deferred(replace(raising(), actions=(route,)), kept, NOW + 200).due == (route,)
