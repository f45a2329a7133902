"""When no counter has a value any more, replicas are held for a while: missing metrics do not mean no demand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controller.policy.account import believed_s
from controller.policy.floors import HELD_S, held_claims, held_until, highest, noticed
from controller.policy.floors.metrics import missing_for_long
from controller.policy.model import ActionKind, Decision, Memory, Mode, Sample, Snapshot, Source, Verb
from tests.policy.support import G6, INF2, World, change, decide, pods, refused, replicas, returned, scaler, with_scalers
from tests.support.applications import NOW, SERVICES, memory, snapshot

BELIEVED_S = believed_s(60)


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
    """No unit with a counter, as CloudWatch answers for a window without values."""
    for name in SERVICES:
        made = change(made, name, demand=None)
    return made


def busy(mode: Mode = Mode.COST) -> World:
    """Six replicas of each unit, in a mode, with counters that had values."""
    made = listening(snapshot(mode=mode))
    for name in SERVICES:
        made = change(made, name, desired=6, ready=6, deployment_ready=6, endpoints_ready=6)
    world = World(counted(made), memory(mode, mode_since=NOW - 300))
    world.tick(0)
    world.snapshot = silent(world.snapshot)
    return world


@pytest.mark.parametrize("mode", Mode)
def test_replicas_are_held_once_no_counter_has_a_value(mode: Mode) -> None:
    """In either mode every floor rises to the present replicas, in one pass, and not again."""
    world = busy(mode)
    decision, made = world.tick(60)
    assert set(replicas(decision.floors).values()) == {6}
    assert {action.unit for action in made.due if action.kind is ActionKind.RAISE_FLOOR} == set(SERVICES)
    assert not [action for action in world.tick(60)[1].due if action.kind is ActionKind.RAISE_FLOOR]


def test_a_demand_that_was_never_known_holds_nothing() -> None:
    """An application without CloudWatch, and a controller that has just started."""
    made = change(listening(snapshot()), INF2, desired=6, ready=6)
    after, decision = decide(memory(), made)
    assert (after.demand_known_since, after.demand_missing_since, decision.floors[INF2].replicas) == (None, None, 1)


def test_the_hold_ends_once_the_demand_has_been_known_again_for_ten_minutes() -> None:
    """The floors then sink to what the weights need of it, and no further. Not at once: the first period may be half of one."""
    world = busy()
    world.tick(60)
    world.snapshot = counted(world.snapshot, 200.0)  # 1,000 a minute in all: 400 of them for inf2
    world.tick(60)
    world.snapshot = counted(world.snapshot, 200.0)
    decision, _ = world.tick(BELIEVED_S - 1)
    assert set(replicas(decision.floors).values()) == {6}
    assert not [alert for alert in decision.alerts if alert.key == "counters"]
    assert decision.next_check_s == 1
    world.snapshot = counted(world.snapshot, 200.0)
    decision, _ = world.tick(1)
    assert replicas(decision.floors) == {INF2: 4, "sd21-trn1": 2, "sd21-g5-triton": 2, G6: 2, "sd21-g5-cuda": 3}
    assert world.memory.demand_missing_since is None


def test_metrics_that_are_soon_missing_again_do_not_extend_the_hold() -> None:
    """While the demand is known and unknown by turns, replicas are held no longer than for one gap."""
    world = busy()
    world.tick(60)
    since = world.memory.demand_missing_since
    world.snapshot = counted(world.snapshot)
    world.tick(60)
    world.snapshot = silent(world.snapshot)
    world.tick(60)
    assert since is not None
    assert (world.memory.demand_missing_since, world.memory.demand_known_since) == (since, None)


def test_metrics_that_are_missing_after_a_long_known_demand_begin_a_new_hold() -> None:
    """Also where no pass in between noted the end of the previous hold."""
    world = busy()
    world.tick(60)
    world.snapshot = counted(world.snapshot)
    world.tick(60)
    world.snapshot = silent(world.snapshot)
    world.tick(BELIEVED_S)
    assert world.memory.demand_missing_since == world.snapshot.now


def test_the_hold_is_bounded() -> None:
    """An application without requests has no metrics either: after two hours its floors are those of its file."""
    world = busy()
    world.tick(60)
    assert world.tick(HELD_S - 1)[0].floors[INF2].replicas == 6
    decision, made = world.tick(1)
    assert set(replicas(decision.floors).values()) == {1}
    assert {action.unit for action in made.due if action.kind is ActionKind.LOWER_FLOOR} == set(SERVICES)
    assert not [alert for alert in decision.alerts if alert.key == "counters"]


def test_the_next_check_comes_when_it_ends() -> None:
    """No event announces the end of the hold."""
    world = busy()
    world.tick(60)
    wait = world.tick(HELD_S - 5)[0].next_check_s
    assert wait is not None
    assert wait <= 5


def test_one_counter_with_a_value_makes_the_demand_known() -> None:
    """A unit without traffic publishes nothing."""
    world = busy()
    world.snapshot = change(world.snapshot, INF2, demand=Sample(400.0, NOW + 60))
    decision, _ = world.tick(60)
    assert decision.floors[G6].replicas == 1


def test_an_alert_says_that_replicas_are_held() -> None:
    """It names the bound. An application that is at its floors anyway has none."""

    def raised(decision: Decision) -> list[str]:
        return [alert.text for alert in decision.alerts if alert.key == "counters"]

    world = busy()
    assert raised(world.tick(60)[0]) == [], "the next period may have one"
    words = (
        "no counter of any unit has a value from the last 11 min. KEDA takes that for no demand, so the replicas are held, and paid for,"
    )
    assert raised(world.tick(60)[0]) == [f"{words} for 1 h 59 min: check that CloudWatch answers"]
    idle = listening(snapshot())
    for name in SERVICES:
        idle = change(idle, name, desired=1, ready=1)
    before = Memory(mode=Mode.COST, demand_known_since=NOW - 900)
    assert raised(decide(before, idle)[1]) == []


def test_what_is_held_does_not_exceed_the_maximum() -> None:
    """A unit whose Deployment is not known is left alone."""
    made = change(listening(snapshot()), INF2, scaler=scaler(max_replicas=4), desired=6, ready=6)
    made = change(made, G6, desired=None)
    decision = decide(memory(demand_known_since=NOW - 900), made)[1]
    assert (decision.floors[INF2].replicas, decision.floors[G6].replicas) == (4, 1)


def test_a_fallback_keeps_them_too() -> None:
    """A mode change while the demand is unknown must not remove them."""
    made, remembered = returned()
    made = listening(made)
    there = dict(zip(SERVICES, (16, 9, 9, 9, 11), strict=True))
    for name, count in there.items():
        made = change(made, name, desired=count, ready=count, deployment_ready=count, endpoints_ready=count)
    _, decision = decide(replace(remembered, demand_known_since=NOW - 900), made)
    assert (decision.verb, decision.mode, replicas(decision.floors)) == (Verb.FALLBACK, Mode.COST, there)


def test_a_process_that_has_just_started_does_not_take_metrics_for_missing() -> None:
    """It has not asked CloudWatch yet. Once it has asked and got no value, they are missing."""
    made = change(listening(snapshot()), INF2, desired=6, ready=6)
    unasked = replace(made, sources=(*made.sources[:-1], replace(made.sources[-1], last_ok=None)))
    before = memory(demand_known_since=NOW - 900)
    after, decision = decide(before, unasked)
    assert (after.demand_known_since, after.demand_missing_since, decision.floors[INF2].replicas) == (NOW - 900, None, 1)
    assert decide(after, made)[1].floors[INF2].replicas == 6


ASKED = Source("cloudwatch", False, NOW - 5, 300.0)
LONG_KNOWN, JUST_KNOWN = NOW - BELIEVED_S, NOW - BELIEVED_S + 1


@pytest.mark.parametrize(
    ("known", "missing", "demand", "after"),
    [
        pytest.param(None, None, 5.0, (NOW, None), id="known for the first time"),
        pytest.param(None, None, 0.0, (NOW, None), id="no requests is a demand that is known"),
        pytest.param(None, NOW - 900, 5.0, (NOW, NOW - 900), id="known again"),
        pytest.param(JUST_KNOWN, NOW - 900, 5.0, (JUST_KNOWN, NOW - 900), id="known again for almost ten minutes"),
        pytest.param(LONG_KNOWN, NOW - 900, 5.0, (LONG_KNOWN, None), id="known again for ten minutes"),
        pytest.param(None, None, None, (None, None), id="never known"),
        pytest.param(None, NOW - 900, None, (None, NOW - 900), id="still missing"),
        pytest.param(JUST_KNOWN, NOW - 900, None, (None, NOW - 900), id="missing again too soon: still the same hold"),
        pytest.param(LONG_KNOWN, NOW - 900, None, (None, NOW), id="missing again: a new hold"),
        pytest.param(LONG_KNOWN, None, None, (None, NOW), id="missing"),
    ],
)
def test_each_pass_notes_since_when_the_demand_is_known_or_missing(
    known: float | None, missing: float | None, demand: float | None, after: tuple[float | None, float | None]
) -> None:
    """A hold that begins anew in every pass never ends and is paid for; one that ends too early removes replicas at noon."""
    before = Memory(mode=Mode.COST, demand_known_since=known, demand_missing_since=missing)
    made = replace(snapshot(), sources=(Source("karpenter", True, NOW, 180.0), ASKED))
    kept = noticed(before, made, demand)
    assert (kept.demand_known_since, kept.demand_missing_since) == after
    assert (kept is before) is (after == (known, missing))


@pytest.mark.parametrize("sources", [(), (replace(ASKED, last_ok=None),), (replace(ASKED, name="ec2"),)])
def test_metrics_are_missing_only_where_cloudwatch_was_asked(sources: tuple[Source, ...]) -> None:
    """An answer of another source says nothing about metrics."""
    before = Memory(demand_known_since=NOW - 900)
    assert noticed(before, replace(snapshot(), sources=sources), None) is before


@pytest.mark.parametrize(
    ("known", "missing", "until", "long"),
    [
        (NOW - 50, None, 0.0, False),
        (None, NOW - 50, NOW - 50 + HELD_S, False),
        (None, NOW - HELD_S + 1, NOW + 1, False),
        (None, NOW - HELD_S, NOW, True),
        (NOW - 40, NOW - 50, NOW - 40 + BELIEVED_S, False),
        (NOW - 40, NOW - HELD_S + 1, NOW + 1, False),
        (NOW - 40, NOW - HELD_S - 1, NOW - 1, False),
    ],
)
def test_a_hold_ends_after_two_hours_or_once_the_demand_is_believed_again(
    known: float | None, missing: float | None, until: float, *, long: bool
) -> None:
    """Whichever comes first: no later one may be paid for, and people act only where the metrics never came back."""
    remembered = memory(demand_known_since=known, demand_missing_since=missing)
    made = change(with_scalers(snapshot()), INF2, desired=6)
    assert held_until(made, remembered) == until
    assert missing_for_long(made, remembered) is long
    assert set(replicas(highest(made, held_claims(made, remembered)))) == (set(SERVICES) if until > NOW else set())


@pytest.mark.parametrize(
    ("changes", "held"),
    [
        pytest.param({"desired": 6}, 6, id="all that run"),
        pytest.param({"desired": 25}, 20, id="no more than the scaler's maximum"),
        pytest.param({"desired": None}, 0, id="a Deployment that is not known"),
        pytest.param({"desired": 6, "pending": pods(2)}, 6, id="pods whose nodes are on their way"),
        pytest.param({"desired": 6, "pending": pods(2), "pool_failures": (refused(),)}, 4, id="pods for which there is no capacity"),
        pytest.param({"desired": 6, "pending": pods(2), "pool_at_limit": "full"}, 4, id="a NodePool that is at its limit"),
        pytest.param({"desired": 1, "pending": pods(2), "pool_failures": (refused(),)}, 0, id="more of them than are wanted now"),
    ],
)
def test_the_replicas_that_run_are_held_and_not_the_pods_that_cannot_start(changes: dict[str, Any], held: int) -> None:
    """A floor that counted pods without capacity would be the only reason why they wait, and so a shortage that never ends."""
    made = change(with_scalers(snapshot()), INF2, **changes)
    assert replicas(highest(made, held_claims(made, memory(demand_missing_since=NOW - 50))))[INF2] == held


@pytest.mark.parametrize(("floor", "desired", "held"), [(1, 6, 1), (5, 6, 5), (8, 6, 6), (5, None, 0)])
def test_once_the_demand_is_known_again_floors_stay_and_rise_no_more(floor: int, desired: int | None, held: int) -> None:
    """The scaler adds replicas by its metric again: a floor that followed them up would keep all of a peak."""
    made = change(with_scalers(snapshot()), INF2, desired=desired, scaler=scaler(min_replicas=floor))
    assert replicas(highest(made, held_claims(made, memory(demand_missing_since=NOW - 50, demand_known_since=NOW - 40))))[INF2] == held


def test_a_unit_without_a_scaler_has_no_floor_to_hold() -> None:
    """Nothing would lower it, and there is no floor to raise."""
    made = change(with_scalers(snapshot()), INF2, scaler=None)
    assert set(replicas(highest(made, held_claims(made, memory(demand_missing_since=NOW - 50))))) == set(SERVICES) - {INF2}
