"""When no counter says anything any more: replicas are held for a while, because silence is not no demand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.policy.decide import decide
from controller.policy.missing_metrics import BELIEVED_S, HELD_S
from controller.policy.model import ActionKind, Decision, Memory, Mode, Sample, Snapshot, Source, Verb
from tests.policy.support import G6, INF2, World, change, returned, scaler, with_scalers
from tests.support.applications import NOW, SERVICES, memory, snapshot


def listening(made: Snapshot) -> Snapshot:
    """Every unit has a ScaledObject, and CloudWatch answers."""
    made = with_scalers(made)
    return replace(made, sources=(*made.sources, Source("cloudwatch", False, made.now, 300.0)))


def counted(made: Snapshot, value: float = 400.0) -> Snapshot:
    """Every unit with a fresh counter."""
    for name in SERVICES:
        made = change(made, name, demand=Sample(value, made.now))
    return made


def silent(made: Snapshot) -> Snapshot:
    """No unit with any counter, as CloudWatch answers about a window in which it has nothing."""
    for name in SERVICES:
        made = change(made, name, demand=None)
    return made


def busy(mode: Mode = Mode.COST) -> World:
    """Six replicas of each unit, in a mode, with counters that were seen."""
    made = listening(snapshot(mode=mode))
    for name in SERVICES:
        made = change(made, name, desired=6, ready=6, deployment_ready=6, endpoints_ready=6)
    world = World(counted(made), memory(mode, mode_since=NOW - 300))
    world.tick(0)
    world.snapshot = silent(world.snapshot)
    return world


@pytest.mark.parametrize("mode", Mode)
def test_replicas_are_held_once_the_counters_are_silent(mode: Mode) -> None:
    """In either mode every floor goes to what there is, in one pass, and is not raised again."""
    world = busy(mode)
    decision, made = world.tick(60)
    assert set(decision.floors.values()) == {6}
    assert {action.unit for action in made.due if action.kind is ActionKind.RAISE_FLOOR} == set(SERVICES)
    assert not [action for action in world.tick(60)[1].due if action.kind is ActionKind.RAISE_FLOOR]


def test_a_demand_that_was_never_known_holds_nothing() -> None:
    """An application without CloudWatch, and a controller that has just started."""
    made = change(listening(snapshot()), INF2, desired=6, ready=6)
    after, decision = decide(memory(), made)
    assert (after.demand_known_since, after.demand_missing_since, decision.floors[INF2]) == (None, None, 1)


def test_the_hold_ends_once_the_demand_has_been_known_again_for_ten_minutes() -> None:
    """The floors then sink to what the weights need of it, and no further. Not at once: the first period may be half of one."""
    world = busy()
    world.tick(60)
    world.snapshot = counted(world.snapshot, 200.0)  # 1,000 a minute in all: 400 of them for inf2
    world.tick(60)
    world.snapshot = counted(world.snapshot, 200.0)
    decision, _ = world.tick(BELIEVED_S - 1)
    assert set(decision.floors.values()) == {6}
    assert not [alert for alert in decision.alerts if alert.key == "silent/counters"]
    assert decision.next_check_s == 1
    world.snapshot = counted(world.snapshot, 200.0)
    decision, _ = world.tick(1)
    assert decision.floors == {INF2: 4, "sd21-trn1": 2, "sd21-g5-triton": 2, G6: 2, "sd21-g5-cuda": 3}
    assert world.memory.demand_missing_since is None


def test_a_silence_that_comes_back_is_the_same_one() -> None:
    """By turns known and unknown, replicas are held no longer than in one silence."""
    world = busy()
    world.tick(60)
    since = world.memory.demand_missing_since
    world.snapshot = counted(world.snapshot)
    world.tick(60)
    world.snapshot = silent(world.snapshot)
    world.tick(60)
    assert since is not None
    assert (world.memory.demand_missing_since, world.memory.demand_known_since) == (since, None)


def test_a_silence_after_the_demand_was_known_for_long_is_a_new_one() -> None:
    """Also where no pass came in between to say that the one before is over."""
    world = busy()
    world.tick(60)
    world.snapshot = counted(world.snapshot)
    world.tick(60)
    world.snapshot = silent(world.snapshot)
    world.tick(BELIEVED_S)
    assert world.memory.demand_missing_since == world.snapshot.now


def test_the_hold_is_bounded() -> None:
    """An application that nobody asks anything is silent as well: after two hours its floors are those of its file."""
    world = busy()
    world.tick(60)
    assert world.tick(HELD_S - 1)[0].floors[INF2] == 6
    decision, made = world.tick(1)
    assert set(decision.floors.values()) == {1}
    assert {action.unit for action in made.due if action.kind is ActionKind.LOWER_FLOOR} == set(SERVICES)
    assert not [alert for alert in decision.alerts if alert.key == "silent/counters"]


def test_somebody_asks_to_be_woken_when_it_ends() -> None:
    """A limit in time that nothing else would tell of."""
    world = busy()
    world.tick(60)
    wait = world.tick(HELD_S - 5)[0].next_check_s
    assert wait is not None
    assert wait <= 5


def test_one_counter_that_speaks_is_a_demand_that_is_known() -> None:
    """A unit without traffic publishes nothing."""
    world = busy()
    world.snapshot = change(world.snapshot, INF2, demand=Sample(400.0, NOW + 60))
    decision, _ = world.tick(60)
    assert decision.floors[G6] == 1


def test_people_are_told_where_there_is_something_to_hold() -> None:
    """With the bound; not of an application that is at its floors anyway."""

    def told(decision: Decision) -> list[str]:
        return [alert.text for alert in decision.alerts if alert.key == "silent/counters"]

    world = busy()
    words = "no counter of any unit has had a value for 0 s; KEDA takes that for no demand, so replicas are held for 2 h"
    assert told(world.tick(60)[0]) == [f"{words}: does CloudWatch answer?"]
    idle = listening(snapshot())
    for name in SERVICES:
        idle = change(idle, name, desired=1, ready=1)
    before = Memory(mode=Mode.COST, demand_known_since=NOW - 900)
    assert told(decide(before, idle)[1]) == []


def test_what_is_held_does_not_exceed_the_maximum() -> None:
    """And a unit whose Deployment is not known is left alone."""
    made = change(listening(snapshot()), INF2, scaler=scaler(max_replicas=4), desired=6, ready=6)
    made = change(made, G6, desired=None)
    decision = decide(memory(demand_known_since=NOW - 900), made)[1]
    assert (decision.floors[INF2], decision.floors[G6]) == (4, 1)


def test_a_fallback_keeps_them_too() -> None:
    """A switch in the dark must not be what lets them go."""
    made, remembered = returned()
    made = listening(made)
    there = dict(zip(SERVICES, (16, 9, 9, 9, 11), strict=True))
    for name, count in there.items():
        made = change(made, name, desired=count, ready=count, deployment_ready=count, endpoints_ready=count)
    _, decision = decide(replace(remembered, demand_known_since=NOW - 900), made)
    assert (decision.verb, decision.mode, decision.floors) == (Verb.FALLBACK, Mode.COST, there)


def test_a_process_that_has_just_started_does_not_call_it_silence() -> None:
    """It has not asked CloudWatch yet; once it has, and there is nothing, it is."""
    made = change(listening(snapshot()), INF2, desired=6, ready=6)
    unasked = replace(made, sources=(*made.sources[:-1], replace(made.sources[-1], last_ok=None)))
    before = memory(demand_known_since=NOW - 900)
    after, decision = decide(before, unasked)
    assert (after.demand_known_since, after.demand_missing_since, decision.floors[INF2]) == (NOW - 900, None, 1)
    assert decide(after, made)[1].floors[INF2] == 6
