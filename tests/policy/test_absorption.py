"""Proportion: a shortage moves traffic to capacity mode only if the ready rest could not serve what the short units cannot."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.policy.account import Absorption, Figures, absorption, shown_s
from controller.policy.model import Application, Decision, Memory, PolicySettings, Sample, Snapshot, Verb, WeightStrategy
from controller.policy.reasons import Reason
from controller.routing.ingress.action import format_action
from tests.policy.support import G6, INF2, TRN1, World, applied, change, decide, pods, proven, scaler, shortage, with_scalers
from tests.support.applications import NOW, SERVICES, application, memory, seed_units, snapshot

LIMITED = PolicySettings(failover_utilization=1.0)
READY = {INF2: 12, TRN1: 5, "sd21-g5-triton": 6, G6: 6, "sd21-g5-cuda": 8}
"""Enough for 3,000 requests a minute, at 88 to 95 % of their throughput."""


def _short(unit: str, ready: int, demand: float | None, app: Application | None = None, **observed: object) -> Snapshot:
    """One unit is short of what it had, while the others have theirs; the demand is known from trn1's counter."""
    made = snapshot(app or application(policy=LIMITED))
    for name, count in READY.items():
        made = change(made, name, desired=count, ready=count, deployment_ready=count, endpoints_ready=count)
    made = change(shortage(made, unit, ready=ready), unit, pending=pods(READY[unit] - ready), desired=READY[unit], **observed)
    return made if demand is None else change(made, TRN1, demand=Sample(demand, NOW))


def _proven(unit: str) -> Memory:
    return memory(units={unit: proven()[INF2]})


def _decided(made: Snapshot, unit: str) -> Decision:
    return decide(_proven(unit), made)[1]


def _found(made: Snapshot) -> Absorption | None:
    return absorption(made, Figures.of(made), decide(memory(), made)[1].evidence)


@pytest.mark.parametrize(
    ("unit", "ready", "demand", "verb"),
    [
        pytest.param(INF2, 11, 2800, Verb.HOLD, id="one replica of twelve: the others carry its part"),
        pytest.param(INF2, 11, 3000, Verb.HOLD, id="one replica of twelve: 45 requests a minute are not worth other weights"),
        pytest.param(INF2, 9, 2700, Verb.REWEIGHT, id="three replicas of twelve: the rest takes 135 requests a minute"),
        pytest.param(G6, 5, 3000, Verb.HOLD, id="one replica of six of a light unit"),
        pytest.param(G6, 0, 2600, Verb.REWEIGHT, id="all of a light unit at a low demand"),
        pytest.param(G6, 0, 3000, Verb.FAILOVER, id="all of a light unit at a high demand"),
        pytest.param(INF2, 4, 3000, Verb.FAILOVER, id="most of the heaviest unit"),
        pytest.param(INF2, 0, 10, Verb.REWEIGHT, id="all of the heaviest unit at night"),
        pytest.param(INF2, 11, 0, Verb.HOLD, id="no demand"),
        pytest.param(INF2, 11, None, Verb.FAILOVER, id="a demand that nobody knows"),
        pytest.param(INF2, 11, math.nan, Verb.FAILOVER, id="a demand that is no number"),
    ],
)
def test_what_the_rest_can_serve_needs_no_failover(unit: str, ready: int, demand: float | None, verb: Verb) -> None:
    """Unmet requests against the room of the ready rest."""
    decision = _decided(_short(unit, ready, demand), unit)
    assert decision.verb is verb, decision.sentence
    assert (decision.held_back is Verb.FAILOVER) is (verb is not Verb.FAILOVER)


@pytest.mark.parametrize(
    ("age_s", "floor", "paused", "fails_over"),
    [
        pytest.param(60.0, 1, False, True, id="the scaler asked after the sample's period"),
        pytest.param(5.0, 1, False, False, id="before its end: the sample has it all"),
        pytest.param(60.0, 30, False, False, id="a floor asks for the replicas"),
        pytest.param(60.0, 1, True, False, id="the scaler is paused, so that a person asks"),
    ],
)
@pytest.mark.parametrize("strategy", [WeightStrategy.EXPLICIT, WeightStrategy.MERIT_ORDER])
def test_a_demand_from_before_the_rise_absorbs_nothing(
    strategy: WeightStrategy, age_s: float, floor: int, *, paused: bool, fails_over: bool
) -> None:
    """The sample's period is 300 s, the scaler counts each minute: the shortage was held for three minutes on a demand of the past."""
    app = application(policy=replace(LIMITED, weight_strategy=strategy))
    made = _short(INF2, 6, 1500, app, scaler=scaler(min_replicas=floor, paused=paused))
    made = change(change(made, TRN1, demand=Sample(1500, NOW - age_s)), INF2, pending=pods(6, since=NOW - 30), desired=30)
    assert (_decided(made, INF2).verb is Verb.FAILOVER) is fails_over


def test_a_unit_that_is_short_and_absorbed_is_named() -> None:
    """In the reason where nothing changes, in an alert always."""
    decision = _decided(_short(INF2, 11, 2800), INF2)
    assert decision.reason is Reason.SHORTAGE_ABSORBED
    assert decision.sentence == "sd21-inf2 cannot get capacity (cause capacity), but 11 of 12 replicas carry their part of the demand"
    assert [(alert.key, alert.severity) for alert in decision.alerts] == [("held/ShortageAbsorbed", "warning")]
    moved = _decided(_short(INF2, 9, 2700), INF2)
    words = "sd21-inf2 cannot get capacity (cause capacity), but the rest can serve the 2.2 requests/s that 9 of 12 replicas cannot, at "
    assert moved.reason is Reason.AVAILABILITY_CHANGED
    assert [alert.text for alert in moved.alerts] == [f"{words}86 % of its throughput (at most 100 %)"]


def test_the_weights_move_what_the_unit_cannot_serve_and_nobody_is_loaded_beyond_the_limit() -> None:
    """All of it, to those with room; the rounding of weights to percent may add half a percent of the demand to a unit."""
    made = _short(G6, 0, 2600)
    decision = _decided(made, G6)
    weights = {target.service: target.weight for target in decision.targets}
    assert weights[G6] == 0
    for unit in seed_units():
        assert 2600 * weights[unit.name] / 100 <= READY[unit.name] * unit.throughput + 13


def test_the_unit_keeps_asking_for_its_replicas() -> None:
    """Its floor stays at what its full weight needs: else its scaler would let the pods go that find out when capacity returns."""
    made = with_scalers(_short(INF2, 9, 2700))
    assert _decided(made, INF2).floors[INF2].replicas == 11


def test_the_noise_of_the_demand_does_not_rewrite_the_routing() -> None:
    """Month, seed 10: two replicas of six of a light unit were short for hours, and the weights followed every sample, 25 times an hour."""
    made, remembered, changes, noise = _short(G6, 4, 2800), _proven(G6), [], random.Random(1)
    for minute in range(120):
        now = NOW + 60.0 * minute
        demand = Sample(2800 * noise.uniform(0.95, 1.05), now)
        made = replace(change(made, TRN1, demand=demand), now=now, sources=())
        remembered, decision = decide(remembered, made)
        assert decision.verb in {Verb.HOLD, Verb.REWEIGHT}, decision.sentence
        if decision.verb is Verb.REWEIGHT:
            changes.append(minute)
            remembered = applied(remembered, decision, now)
            made = replace(
                made, routing=replace(made.routing, targets=decision.targets, action=format_action(decision.targets, decision.stickiness_s))
            )
    assert changes
    assert all(later - earlier >= shown_s(60) / 60 for earlier, later in itertools.pairwise(changes))


def test_a_growing_demand_fails_over_at_once_and_a_falling_one_does_not_bring_it_back() -> None:
    """The patience has passed while it was absorbed; the way back is that of every failover."""
    made = replace(_short(G6, 0, 2600), now=NOW)
    world = World(made, _proven(G6))
    assert world.tick(1)[0].verb is Verb.REWEIGHT
    assert world.tick(60)[0].held_back is Verb.FAILOVER
    world.unit(TRN1, demand=Sample(3000, world.snapshot.now))
    world.snapshot = shortage(world.snapshot, G6, at=world.snapshot.now - 60, ready=0)
    assert world.tick(1)[0].verb is Verb.FAILOVER
    world.unit(TRN1, demand=Sample(2600, world.snapshot.now))
    decision = world.tick(1)[0]
    assert (decision.mode, decision.verb.changes_mode) == ("capacity", False)


def test_a_short_unit_beyond_its_latency_is_not_absorbed() -> None:
    """Its users suffer already."""
    made = change(_short(INF2, 11, 2800), INF2, latency=Sample(2.0, NOW))
    assert _decided(made, INF2).verb is Verb.FAILOVER


def test_another_unit_beyond_its_latency_has_nothing_to_spare() -> None:
    """What is too slow already gets nothing on top; the others may have enough."""
    made = _short(INF2, 9, 2700)
    slow = change(made, TRN1, latency=Sample(2.0, NOW))
    room, less = _found(made), _found(slow)
    assert room is not None
    assert less is not None
    assert room.spare - less.spare == pytest.approx(110)
    assert (less.fits, less.weights[TRN1]) == (True, 20)
    assert _decided(_all_slow(made), INF2).verb is Verb.FAILOVER


def _all_slow(made: Snapshot) -> Snapshot:
    for name in SERVICES:
        made = made if name == INF2 else change(made, name, latency=Sample(2.0, NOW))
    return made


def test_errors_are_not_absorbed() -> None:
    """They may be those of the short unit: what was done before is done."""
    made = replace(_short(INF2, 11, 2800), error_ratio=Sample(0.05, NOW))
    assert _decided(made, INF2).verb is Verb.FAILOVER


def test_serving_replicas_that_are_not_known_absorb_nothing() -> None:
    """Neither Deployment nor EndpointSlices of the short unit are seen: nobody knows what it lacks."""
    made = _short(INF2, 11, 100)
    figures = Figures.of(made)
    unknown = replace(figures, serving={name: count for name, count in figures.serving.items() if name != INF2})
    assert absorption(made, unknown, decide(memory(), made)[1].evidence) is None


def test_zero_fails_over_for_every_shortage() -> None:
    """As the AWS sample does."""
    made = _short(INF2, 11, 100, application(policy=PolicySettings(failover_utilization=0)))
    assert _decided(made, INF2).verb is Verb.FAILOVER


def test_units_without_weight_have_no_room() -> None:
    """Cost mode would not send them anything."""
    units = tuple(replace(unit, weight=1 if unit.name in {INF2, G6} else 0) for unit in seed_units())
    found = _found(_short(G6, 0, 1400, application(units=units, policy=LIMITED)))
    assert found is not None
    assert (found.unmet, found.spare) == (700.0, 560.0)


@pytest.mark.parametrize("strategy", [WeightStrategy.MERIT_ORDER, WeightStrategy.READY_PROPORTIONAL])
def test_weights_that_follow_the_ready_replicas_are_left_to_their_strategy(strategy: WeightStrategy) -> None:
    """They distribute the demand over what is ready by themselves; only the sum counts."""
    made = _short(G6, 0, 3000, application(policy=replace(LIMITED, weight_strategy=strategy)))
    found = _found(made)
    assert found is not None
    assert found.weights == Figures.of(made).cost
    assert found.fits == (sum(READY[unit.name] * unit.throughput for unit in seed_units() if unit.name != G6) >= 3000)


counts = st.integers(0, 12)


@settings(deadline=None)
@given(
    ready=st.tuples(*[counts] * 5),
    short=st.sets(st.sampled_from(SERVICES), min_size=1, max_size=4),
    demand=st.floats(0, 5000),
    limit=st.floats(0, 2),
    less=st.floats(0, 1),
)
def test_never_absorbed_beyond_what_is_ready_and_monotone_in_the_demand(
    ready: tuple[int, ...], short: set[str], demand: float, limit: float, less: float
) -> None:
    """Whatever is absorbed fits into the ready replicas; a lower demand is absorbed too."""
    app = application(policy=PolicySettings(failover_utilization=limit))
    made = change(snapshot(app), TRN1, demand=Sample(demand, NOW))
    for name, count in zip(SERVICES, ready, strict=True):
        made = change(made, name, desired=count, ready=count, deployment_ready=count, endpoints_ready=count)
    whole = made
    for name in short:
        whole, made = change(whole, name, ready=1000), shortage(made, name, ready=made.units[name].ready or 0)
    found = _found(made)
    assert found is not None
    without, weights = Figures.of(whole).cost, found.weights
    carried = {unit.name: count * unit.throughput for unit, count in zip(seed_units(), ready, strict=True)}
    if found.fits and demand > 0:
        for name, weight in weights.items():
            unharmed = demand * without[name] / 100 if name not in short else 0.0  # a load without the shortage is none of its effects
            assert demand * weight / sum(weights.values()) <= max(limit * carried[name], unharmed) + demand / 100 + 1e-6
        fewer = _found(change(made, TRN1, demand=Sample(demand * less, NOW)))
        assert fewer is not None
        assert fewer.fits
