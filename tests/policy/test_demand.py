"""How many replicas the demand takes, in either mode."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import pytest

from controller.policy.account import ceiling, needed_replicas, probing, scaler_replicas, total_demand
from controller.policy.account.demand import assumed_demand
from controller.policy.model import (
    CapacityWeights,
    Cause,
    Mode,
    PolicySettings,
    Return,
    ReturnProbe,
    Sample,
    ScalerMetric,
    Snapshot,
    Unit,
    UnitEvidence,
)
from tests.policy.support import (
    G6,
    INF2,
    TRN1,
    capacity_floors,
    change,
    decide,
    judge,
    launched,
    pods,
    proven,
    replicas,
    scaler,
    shortage,
    with_scalers,
)
from tests.support.applications import NOW, SERVICES, application, memory, probed_by, seed_units, snapshot

WEIGHTS = {INF2: 40, TRN1: 20, "sd21-g5-triton": 15, G6: 10, "sd21-g5-cuda": 15}


def _measured(*samples: Sample | None, made: Snapshot | None = None) -> Snapshot:
    made = made or snapshot()
    for name, sample in zip(SERVICES, samples, strict=False):
        made = change(made, name, demand=sample)
    return made


def _needed(made: Snapshot, weights: Mapping[str, int]) -> dict[str, int]:
    return needed_replicas(made, weights, total_demand(made))


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        pytest.param((), None, id="nobody measures"),
        pytest.param((Sample(10, NOW), Sample(20, NOW - 600)), 30, id="the sum of what is fresh"),
        pytest.param((Sample(10, NOW), Sample(20, NOW - 601)), 10, id="an old sample says nothing"),
        pytest.param((Sample(10, NOW + 601),), None, id="nor does one from the future"),
        pytest.param((Sample(0, NOW),), 0, id="none at all is known"),
        pytest.param((Sample(math.nan, NOW), Sample(5, NOW)), 5, id="not a number"),
        pytest.param((Sample(math.inf, NOW),), None, id="infinite"),
        pytest.param((Sample(-1, NOW),), None, id="negative"),
        pytest.param((Sample(1.8e12, NOW), Sample(5, NOW)), 5, id="a time stamp in milliseconds"),
        pytest.param((Sample(5, math.nan),), None, id="dated by no number"),
        pytest.param((Sample(1.7e308, NOW), Sample(1.7e308, NOW)), None, id="a sum beyond all numbers"),
    ],
)
def test_total_demand(samples: tuple[Sample, ...], expected: float | None) -> None:
    """What is fresh and possible counts; nothing is guessed."""
    assert total_demand(_measured(*samples)) == expected


def test_assumed_demand_is_full_use_of_what_is_ready() -> None:
    """At the throughputs of capacity mode: two replicas each; one that is unknown counts as none."""
    assert assumed_demand(snapshot()) == pytest.approx(2 * (3 * 89.2 + 61 + 60))
    assert assumed_demand(change(snapshot(), ready=None)) == pytest.approx(2 * (2 * 89.2 + 61 + 60))


@pytest.mark.parametrize(
    ("demand", "expected"),
    [
        pytest.param(0, [1, 1, 1, 1, 1], id="nothing to serve: the floors, and one for traffic"),
        pytest.param(1050, [4, 2, 2, 2, 3], id="the proportions of the AWS sample"),
        pytest.param(262.5, [1, 1, 1, 1, 1], id="exactly one replica"),
        pytest.param(262.6, [2, 1, 1, 1, 1], id="a little more than one replica"),
    ],
)
def test_needed_at_a_known_demand(demand: float, expected: list[int]) -> None:
    """Demand times weight share over throughput, rounded up."""
    assert list(_needed(_measured(Sample(demand, NOW)), WEIGHTS).values()) == expected


def test_needed_at_an_unknown_demand_assumes_full_use() -> None:
    """777.2 requests a period, at most: rounded down, because the assumption is an upper bound already."""
    assert list(_needed(with_scalers(snapshot()), WEIGHTS).values()) == [2, 1, 1, 1, 1]


def test_needed_without_a_scaler_is_what_the_deployment_asks_for() -> None:
    """Nobody would ever raise it to the assumption."""
    made = change(snapshot(), desired=1)
    assert _needed(made, {INF2: 100})[INF2] == 1
    assert _needed(change(made, desired=None), {INF2: 100})[INF2] == 7


def test_preparing_at_an_unknown_demand_does_not_feed_on_itself() -> None:
    """Every replica raised for the assumption raises the assumption: rounded up it would scale every unit to its maximum."""
    units = tuple(replace(unit, throughput=100.0, weight=weight) for unit, weight in zip(seed_units()[:3], (33, 33, 34), strict=True))
    app = replace(application(), units=units)
    made = with_scalers(snapshot(app))
    for _ in range(200):
        needed = _needed(made, {unit.name: unit.weight or 0 for unit in units})
        for name, count in needed.items():
            made = change(made, name, ready=max(count, made.units[name].ready or 0))
    assert sum(observed.ready or 0 for observed in made.units.values()) == 6, "an operator pays for replicas that nobody asked for"


@pytest.mark.parametrize(("most", "observed", "expected"), [(100, None, 100), (100, 20, 20), (10, 20, 10)])
def test_ceiling(most: int, observed: int | None, expected: int) -> None:
    """The lower one of the application file's maximum and the ScaledObject's."""
    unit: Unit = replace(seed_units()[0], max_replicas=most)
    made = change(snapshot(), scaler=None if observed is None else scaler(max_replicas=observed))
    assert ceiling(unit, made.units[INF2]) == expected


class TestNeededBeyondTheMaximum:
    """A maximum below the need must neither deadlock a fallback nor stay unnoticed."""

    @staticmethod
    def _made(most: int) -> Snapshot:
        made = _measured(Sample(1050, NOW), made=with_scalers(snapshot(mode=Mode.CAPACITY)))
        made = change(made, scaler=scaler(max_replicas=most), ready=min(most, 4))
        for name in SERVICES[1:]:
            made = change(made, name, ready=9)
        return made

    def test_the_need_is_capped(self) -> None:
        """It would be waited for for ever: capacity mode could never end."""
        judged = judge(self._made(3), memory(Mode.CAPACITY))
        assert (judged.needed, judged.beyond_max) == (3, 1)
        decision = decide(memory(Mode.CAPACITY), self._made(3))[1]
        assert decision.verb.value == "fallback", "the application stays in capacity mode for ever, at its price"

    def test_the_operator_hears_of_it(self) -> None:
        """Only a person can raise a maximum."""
        (alert,) = decide(memory(Mode.CAPACITY), self._made(3))[1].alerts
        assert alert.key == "max/sd21-inf2"
        assert alert.text == (
            "sd21-inf2: cost mode needs 4 replicas at the present demand, and its maximum is 3. Requests beyond that wait: raise "
            "maxReplicas"
        )

    def test_enough_is_no_alert(self) -> None:
        """At its maximum and able to carry its share is fine."""
        assert decide(memory(Mode.CAPACITY), self._made(4))[1].alerts == ()

    def test_an_assumed_demand_is_no_alert(self) -> None:
        """Nobody is woken for an upper bound."""
        made = change(with_scalers(snapshot(mode=Mode.CAPACITY)), scaler=scaler(max_replicas=1))
        made = change(made, TRN1, ready=15)
        judged = judge(made, memory(Mode.CAPACITY))
        assert judged.beyond_max > 0
        assert decide(memory(Mode.CAPACITY), made)[1].alerts == ()


def _floors(made: Snapshot, *, due: Collection[str] = (), **units: Any) -> dict[str, int]:
    evidence = decide(memory(Mode.CAPACITY, units=units.get("units", {})), made)[1].evidence
    return capacity_floors(made, evidence, due)


class TestFloors:
    """The replica floors of capacity mode."""

    def test_are_the_usual_ones_while_the_ready_replicas_carry_the_demand(self) -> None:
        """KEDA scales by its own metric above them."""
        assert set(_floors(_measured(Sample(500, NOW))).values()) == {1}

    @pytest.mark.parametrize(
        ("demand", "ours", "expected"),
        [
            pytest.param(770, True, 3, id="just carried: stays"),
            pytest.param(770, False, 1, id="just carried, but somebody else's: the usual one"),
            pytest.param(690, True, 3, id="hardly any room: stays"),
            pytest.param(460, True, 2, id="a third is room: a third goes"),
            pytest.param(100, True, 1, id="room enough: the usual one"),
        ],
    )
    def test_sink_with_the_room_that_demand_leaves(self, demand: float, ours: bool, expected: int) -> None:
        """Ready replicas carry 777 at the throughputs of capacity mode; floors that went at once would take the room away with them."""
        made = _measured(Sample(demand, NOW), made=with_scalers(snapshot()))
        made = change(made, TRN1, scaler=scaler(TRN1, min_replicas=3, floor_ours=ours), desired=3)
        assert _floors(made)[TRN1] == expected

    def test_sink_no_further_before_replicas_have_gone(self) -> None:
        """Replicas follow a floor after minutes. A second pass with the same replicas must not lower it again."""
        made = change(_measured(Sample(460, NOW), made=with_scalers(snapshot())), TRN1, desired=9)
        seen = [9]
        for _ in range(5):
            made = change(made, TRN1, scaler=scaler(TRN1, min_replicas=seen[-1], floor_ours=True))
            seen.append(_floors(made)[TRN1])
        assert seen == [9, 6, 6, 6, 6, 6]

    @pytest.mark.parametrize(
        ("desired", "expected"),
        [
            pytest.param(None, 9, id="a Deployment that is not known"),
            pytest.param(2, 9, id="a scaler that has not followed yet"),
            pytest.param(30, 9, id="more than the floor asks for"),
        ],
    )
    def test_do_not_sink_while_they_hold_nothing(self, desired: int | None, expected: int) -> None:
        """What a lower floor would leave is not known then, or is more anyway."""
        made = change(_measured(Sample(460, NOW), made=with_scalers(snapshot())), TRN1, desired=desired)
        made = change(made, TRN1, scaler=scaler(TRN1, min_replicas=9, floor_ours=True))
        assert _floors(made)[TRN1] == expected

    def test_spread_what_is_missing_over_the_units_that_can_grow(self) -> None:
        """1,000 requests beyond what 2 replicas each carry, shared by four units, until the scalers' metrics have caught up."""
        made = shortage(_measured(Sample(777.2 - 178.4 + 1000, NOW), made=snapshot(mode=Mode.CAPACITY)), ready=0)
        assert _floors(made, units=proven()) == {INF2: 1, TRN1: 5, "sd21-g5-triton": 5, G6: 7, "sd21-g5-cuda": 7}

    def test_count_what_a_replica_can_where_each_gets_what_it_can(self) -> None:
        """With least outstanding requests the same replicas carry 892, and a fast unit needs fewer more for its part."""
        made = snapshot(application(policy=PolicySettings(capacity_weights=CapacityWeights.READY_THROUGHPUT)), Mode.CAPACITY)
        made = shortage(_measured(Sample(892 - 210 + 1000, NOW), made=made), ready=0)
        assert _floors(made, units=proven()) == {INF2: 1, TRN1: 4, "sd21-g5-triton": 5, G6: 7, "sd21-g5-cuda": 7}

    def test_give_no_part_of_it_to_a_unit_whose_scaler_is_paused(self) -> None:
        """Its floor would be refused: the three that are left share all of it."""
        made = with_scalers(snapshot(mode=Mode.CAPACITY), min_replicas=1)
        made = shortage(_measured(Sample(777.2 - 178.4 + 1000, NOW), made=made), ready=0)
        paused = change(made, TRN1, scaler=scaler(TRN1, paused=True))
        expected = {INF2: 1, TRN1: 1, "sd21-g5-triton": 6, G6: 8, "sd21-g5-cuda": 8}
        assert _floors(paused, units=proven()) == expected
        missing = change(made, TRN1, scaler=None)  # somebody's tool has pruned it
        assert _floors(missing, units=proven()) == expected

    def test_what_is_beyond_one_maximum_goes_to_the_others(self) -> None:
        """Two units that may not grow left a fifth of the demand to metrics that come minutes later."""
        made = with_scalers(snapshot(mode=Mode.CAPACITY), min_replicas=1)
        made = shortage(_measured(Sample(777.2 - 178.4 + 1000, NOW), made=made), ready=0)
        made = change(made, TRN1, scaler=scaler(TRN1, max_replicas=2))
        assert _floors(made, units=proven()) == {INF2: 1, TRN1: 2, "sd21-g5-triton": 6, G6: 8, "sd21-g5-cuda": 8}
        nearly = change(made, TRN1, scaler=scaler(TRN1, max_replicas=3))
        floors = _floors(nearly, units=proven())
        assert floors[TRN1] == 3
        assert floors["sd21-g5-triton"] == 6

    def test_at_an_unknown_demand_make_room_for_the_pods_that_wait(self) -> None:
        """Two pods of inf2, 105 each, over the four others."""
        made = shortage(snapshot(mode=Mode.CAPACITY))
        assert _floors(made, units=proven(), due=made.units) == {INF2: 3, TRN1: 3, "sd21-g5-triton": 3, G6: 3, "sd21-g5-cuda": 3}

    def test_at_an_unknown_demand_do_not_climb_with_what_became_ready(self) -> None:
        """Added to the ready replicas in every pass, what once was missing would end at the maximum, and buy all of it."""
        made = shortage(with_scalers(snapshot(mode=Mode.CAPACITY), min_replicas=3))
        grown = change(made, TRN1, ready=3, desired=3)
        assert _floors(grown, units=proven())[TRN1] == 3

    @pytest.mark.parametrize(
        ("file", "most", "expected"), [pytest.param(100, 4, 4, id="its ScaledObject"), pytest.param(3, 20, 3, id="the application file")]
    )
    def test_never_exceed_the_maximum(self, file: int, most: int, expected: int) -> None:
        """KEDA refuses a minimum above the maximum."""
        app = application()
        app = replace(app, units=tuple(replace(unit, max_replicas=file) for unit in app.units))
        made = _measured(Sample(50_000, NOW), made=with_scalers(snapshot(app, Mode.CAPACITY), max_replicas=most))
        assert set(_floors(made).values()) == {expected}

    def test_of_cost_mode_never_exceed_it_either(self) -> None:
        """A maximum that an operator lowered below the file's floor would be refused at every pass."""
        app = application()
        app = replace(app, units=tuple(replace(unit, min_replicas=5) for unit in app.units))
        made = with_scalers(snapshot(app), max_replicas=2)
        assert set(replicas(decide(memory(), made)[1].floors).values()) == {2}

    @pytest.mark.parametrize(
        ("changes", "remembered", "canary", "expected"),
        [
            pytest.param({}, {}, True, 3, id="one more than is ready: pending, it asks for free"),
            pytest.param({}, {}, False, 1, id="an operator without a canary"),
            pytest.param({"pool_launches": (launched(NOW - 30),)}, {}, True, 3, id="a launch is no return yet"),
            pytest.param({"pool_launches": (launched(NOW - 30, NOW - 5),)}, {}, True, 1, id="a node joined: nothing more to ask"),
            pytest.param({"ready": 3, "desired": 3}, {}, True, 1, id="the canary itself found a place"),
            pytest.param({"ready": 1, "desired": 1}, {"ready_then": 5}, True, 2, id="it climbs until it must ask for a node"),
            pytest.param({"scaler": scaler(max_replicas=2)}, {}, True, 2, id="no room for a canary below the maximum"),
        ],
    )
    def test_the_canary_asks_for_the_return(self, changes: dict[str, Any], remembered: dict[str, Any], canary: bool, expected: int) -> None:
        """Karpenter stops asking when demand leaves; a pending replica makes it ask again every three minutes."""
        made = change(snapshot(probed_by(ReturnProbe.CANARY if canary else ReturnProbe.NONE), Mode.CAPACITY), **changes)
        assert _floors(made, units=proven(**remembered))[INF2] == expected

    def test_the_canary_does_not_forbid_to_scale_in(self) -> None:
        """A quota fits six and the night needs one: a floor of seven would keep its own pod waiting until the morning."""
        made = shortage(with_scalers(snapshot(mode=Mode.CAPACITY)), ready=6, cause=Cause.QUOTA)
        made = change(made, desired=7, pending=pods(1), demand=Sample(200, NOW))
        assert _floors(made, units=proven(ready_then=6, cause=Cause.QUOTA))[INF2] == 2

    def test_the_canary_of_a_healthy_unit_does_not_exist(self) -> None:
        """A pending replica of a unit that was never short would buy a node for nothing."""
        assert set(_floors(snapshot(mode=Mode.CAPACITY)).values()) == {1}


@pytest.mark.parametrize(
    ("failed", "returned", "expected"),
    [
        (None, Return.NONE, False),
        (NOW, Return.NONE, True),
        (NOW, Return.LAUNCHED, True),
        (NOW, Return.REGISTERED, False),
        (NOW, Return.REPLICAS_READY, False),
    ],
)
def test_probing(failed: float | None, returned: Return, expected: bool) -> None:
    """A return is still to be proven where there was a refusal and no proof since."""
    some = judge(snapshot())
    assert probing(replace(some, last_refusal_at=failed, returned=returned)) is expected


def test_pods_that_wait_for_a_healthy_unit_raise_nothing() -> None:
    """They have a node on its way."""
    made = change(snapshot(mode=Mode.CAPACITY), pending=pods(), desired=4)
    evidence: dict[str, UnitEvidence] = dict(decide(memory(Mode.CAPACITY), made)[1].evidence)
    assert set(capacity_floors(made, evidence, made.units).values()) == {1}


@pytest.mark.parametrize(
    ("sample", "target", "replicas"),
    [
        pytest.param(Sample(210.0, NOW), "105", 2, id="just two"),
        pytest.param(Sample(210.1, NOW), "105", 3, id="a little more"),
        pytest.param(Sample(0.5, NOW), "0.5", 1, id="small numbers"),
        pytest.param(Sample(0.0, NOW), "105", 0, id="nothing is asked"),
        pytest.param(Sample(210.0, NOW - 600), "105", 2, id="the oldest that is fresh"),
        pytest.param(Sample(210.0, NOW - 601), "105", 0, id="not fresh"),
        pytest.param(None, "105", 0, id="no sample"),
        pytest.param(Sample(-1.0, NOW), "105", 0, id="no count"),
        pytest.param(Sample(math.inf, NOW), "105", 0, id="infinite"),
        pytest.param(Sample(math.nan, NOW), "105", 0, id="not a number"),
        pytest.param(Sample(210.0, NOW), "many", 0, id="a target in words"),
        pytest.param(Sample(210.0, NOW), "0", 0, id="a target of 0"),
        pytest.param(Sample(210.0, NOW), "inf", 0, id="an infinite target"),
        pytest.param(Sample(210.0, NOW), "5e-324", 0, id="a target of almost nothing"),
        pytest.param(Sample(210.0, NOW), None, 0, id="no ScaledObject"),
    ],
)
def test_what_a_scaler_asks_for(sample: Sample | None, target: str | None, replicas: int) -> None:
    """Planned fleets are bounded by it, and the cost of canaries is measured by it: a wrong one is paid, or holds a fleet too small."""
    made = change(snapshot(), demand=sample, scaler=None if target is None else scaler(target=target))
    assert scaler_replicas(made, seed_units()[0]) == replicas


@pytest.mark.parametrize(("period_s", "target"), [(None, "105"), (60, "105"), (300, "525"), (30, "52.5")])
def test_what_a_scaler_asks_for_by_a_trigger_with_another_period(period_s: int | None, target: str) -> None:
    """Its target is one for that period. Read as requests a minute, 525 would be a fifth of the replicas that KEDA asks for."""
    metric = ScalerMetric(period_s, "Sum", "", "")
    made = change(snapshot(), demand=Sample(1_000.0, NOW), scaler=scaler(target=target, metric=metric))
    assert scaler_replicas(made, seed_units()[0]) == 10


def test_only_a_unit_with_a_share_needs_an_endpoint() -> None:
    """One that may have no replica costs nothing while nothing is sent to it, and answers 503 where something is."""
    app = application(units=tuple(replace(unit, min_replicas=0) for unit in seed_units()))
    made = _measured(Sample(0.0, NOW), made=snapshot(app))
    assert _needed(made, {INF2: 40, TRN1: 0}) == {INF2: 1, **dict.fromkeys(SERVICES[1:], 0)}
    assert _needed(made, {}) == dict.fromkeys(SERVICES, 0)
