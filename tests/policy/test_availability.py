"""A unit's weight follows the replicas that can serve according to Kubernetes and the load balancer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controller.policy.account import Figures
from controller.policy.alerts.unit_alerts import UNHEALTHY_AFTER_S
from controller.policy.model import (
    CapacityWeights,
    Mode,
    PolicySettings,
    RoutingStyle,
    Sample,
    Snapshot,
    Strategy,
    Target,
    Verb,
    Verdict,
    Verification,
)
from controller.policy.reasons import Reason
from controller.policy.routing import HEALTH_FRESH_S, availability, capacity_targets, close
from tests.policy.support import INF2, TRN1, change, decide, plan, scaler, with_scalers
from tests.support.applications import NOW, SERVICES, application, memory, routing, snapshot

BASE = dict(zip(SERVICES, (40, 20, 15, 10, 15), strict=True))


def observed(made: Snapshot, at: float = NOW, **healthy: int) -> Snapshot:
    """The snapshot with this many healthy targets by Service; the names have _ for -."""
    counts = {name.replace("_", "-"): count for name, count in healthy.items()}
    ill = {service: at - UNHEALTHY_AFTER_S for service, count in counts.items() if count == 0}
    seen = Verification(Verdict.YES, at, "", made.routing.action, applied=True, healthy=counts, ill_since=ill)
    return replace(made, routing=replace(made.routing, verification=seen))


def asked(made: Snapshot, requests: float) -> Snapshot:
    """The snapshot with this many requests a period in all."""
    return change(made, INF2, demand=Sample(requests, NOW))


def test_the_smaller_of_ready_and_healthy_serves() -> None:
    """A pod may be ready while the load balancer cannot reach it, and a target healthy while its pod was just marked not ready."""
    made = observed(change(snapshot(), ready=3), sd21_inf2=1, sd21_trn1=9)
    assert Figures.of(made).serving == {INF2: 1, TRN1: 2, "sd21-g5-triton": 2, "sd21-g6-triton": 2, "sd21-g5-cuda": 2}


def test_an_old_verification_does_not_count() -> None:
    """An audit of many applications may be minutes old: readiness alone counts then."""
    made = observed(snapshot(), NOW - HEALTH_FRESH_S - 1, sd21_inf2=0)
    assert Figures.of(made).serving[INF2] == 2


@pytest.mark.parametrize(
    ("ready", "requests", "share"),
    [
        pytest.param(0, None, 0.0, id="nothing serves"),
        pytest.param(1, None, 1.0, id="demand is not known"),
        pytest.param(0, 0.0, 0.0, id="nothing serves, and there is no demand"),
        pytest.param(2, 525.0, 1.0, id="exactly enough: 40 % of 525 is two replicas"),
        pytest.param(2, 700.0, 1.0, id="a third more than it is made for"),
        pytest.param(2, 1400.0, 0.5, id="half of what keeps the weight"),
        pytest.param(1, 2800.0, 0.125, id="an eighth"),
    ],
)
def test_the_availability_of_a_unit(ready: int, requests: float | None, share: float) -> None:
    """A_i in w_i ~ base_i * A_i."""
    made = change(snapshot(), ready=ready)
    made = asked(made, requests) if requests is not None else made
    figures = Figures.of(made)
    assert availability(made.application, BASE, figures.serving, figures.demand)[INF2] == pytest.approx(share)


def test_units_that_cannot_carry_their_parts_end_up_equally_loaded() -> None:
    """Two units short: their replicas get the same share of their throughput."""
    made = asked(change(change(snapshot(), ready=1), TRN1, ready=1), 3000)
    made = replace(made, units={n: replace(o, ready=o.ready if n in {INF2, TRN1} else 40) for n, o in made.units.items()})
    weights = Figures.of(made).cost
    load = {name: weights[name] / (1 * made.application.unit(name).throughput) for name in (INF2, TRN1)}
    assert load[INF2] == pytest.approx(load[TRN1], rel=0.15), "of whole numbers"
    assert sum(weights.values()) == 100


def test_a_target_group_without_a_healthy_target_gets_nothing() -> None:
    """It would answer 503, or fail open to targets that fail; no mode has to change for that."""
    decision = decide(memory(), observed(snapshot(), sd21_inf2=0))[1]
    assert (decision.verb, decision.reason, decision.mode) == (Verb.REWEIGHT, Reason.AVAILABILITY_CHANGED, Mode.COST)
    assert {target.service: target.weight for target in decision.targets}[INF2] == 0
    assert decision.sentence == "the weights follow what can serve: sd21-inf2 40 to 0, sd21-trn1 20 to 33, " + (
        "sd21-g5-triton 15 to 25, sd21-g6-triton 10 to 17, sd21-g5-cuda 15 to 25"
    )
    (alert,) = decision.alerts
    assert (alert.key, alert.severity) == ("unhealthy/sd21-inf2", "warning"), "its replicas are paid for"


def test_new_replicas_raise_no_alert() -> None:
    """The load balancer registers them and checks their health first. Their unit has no weight until then."""
    made = observed(snapshot(), sd21_inf2=0)
    seen = made.routing.verification
    assert seen is not None
    young = replace(made, routing=replace(made.routing, verification=replace(seen, ill_since={INF2: NOW - UNHEALTHY_AFTER_S + 1})))
    decision = decide(memory(), young)[1]
    assert decision.verb is Verb.REWEIGHT
    assert decision.alerts == ()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({"trouble": "why", "lasting": True}, ["scaler/sd21-inf2"], id="for long"),
        pytest.param({"trouble": "why", "lasting": False}, [], id="a single failed query"),
        pytest.param({"trouble": "why", "lasting": True, "paused": True}, [], id="an operator paused it, and knows"),
    ],
)
def test_replicas_that_do_not_follow_the_demand_raise_an_alert(changes: dict[str, Any], expected: list[str]) -> None:
    """KEDA says so; no decision depends on it."""
    decision = decide(memory(), change(with_scalers(snapshot()), scaler=scaler(**changes)))[1]
    assert [one.key for one in decision.alerts] == expected
    assert decision.verb is Verb.HOLD


def test_a_unit_whose_weight_was_cut_keeps_the_floor_of_its_full_weight() -> None:
    """Its own counter shrinks with its weight: with that alone its scaler would add no replica, and the unit would never come back."""
    made = with_scalers(asked(change(snapshot(), ready=2, desired=2), 2100))
    made = replace(made, units={n: o if n == INF2 else replace(o, ready=9, desired=9) for n, o in made.units.items()})
    decision = decide(memory(), made)[1]
    assert decision.evidence[INF2].needed == 8
    assert decision.floors[INF2].replicas == 8
    assert all(floor.replicas == 1 for name, floor in decision.floors.items() if name != INF2)
    raised = [action for action in plan(decision, made).due if action.unit == INF2]
    assert [(action.before, action.after) for action in raised] == [("1", "8")]


def test_small_differences_are_not_worth_a_change_of_the_rule() -> None:
    """Every change costs the load-balancer controller a full reconcile, so the weights must not follow every sample."""
    made = asked(change(snapshot(), ready=2), 1400)  # half of what keeps the weight: 40 becomes 25
    first = decide(memory(), made)[1]
    assert first.verb is Verb.REWEIGHT
    settled = replace(made, routing=replace(made.routing, targets=first.targets))
    for requests in (1350.0, 1450.0):
        assert decide(memory(), asked(settled, requests))[1].verb is Verb.HOLD
    assert decide(memory(), asked(settled, 2100))[1].verb is Verb.REWEIGHT
    back = decide(memory(), asked(settled, 700))[1]
    assert [target.weight for target in back.targets] == [40, 20, 15, 10, 15], "what a person wrote comes back exactly"


def test_a_unit_that_was_taken_out_stays_out_until_its_targets_are_counted_again() -> None:
    """Found by simulation: while the rule was late, no target was counted, and the weight came and went ten times a minute."""
    first = decide(memory(), observed(snapshot(), sd21_inf2=0))[1]
    late = observed(snapshot())
    seen = Verification(Verdict.NOT_YET, NOW, "80 /* forwards to sd21-inf2 40", "written")
    late = replace(late, routing=replace(late.routing, targets=first.targets, action="written", verification=seen))
    assert decide(memory(), late)[1].verb is Verb.HOLD
    shown = replace(seen, verdict=Verdict.YES, applied=True, healthy={INF2: 2})
    back = decide(memory(), replace(late, routing=replace(late.routing, verification=shown)))[1]
    assert [target.weight for target in back.targets] == [40, 20, 15, 10, 15]


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ((40, 60), (41, 59), True),
        ((40, 60), (45, 55), False),
        ((0, 100), (1, 99), False),
        ((1, 99), (0, 100), False),
        ((4, 6), (40, 60), True),
    ],
)
def test_what_is_close(old: tuple[int, int], new: tuple[int, int], same: bool) -> None:
    """A tenth of a share, or one point; all or nothing is never close."""
    left, right = (tuple(Target(name, 80, weight) for name, weight in zip("ab", some, strict=True)) for some in (old, new))
    assert close(left, right) is same
    assert not close(left, right[:1])


@pytest.mark.parametrize(
    ("by", "weights", "target"),
    [
        pytest.param(CapacityWeights.READY, [20, 20, 20, 20, 20], "89.2", id="as round robin over all pods"),
        pytest.param(CapacityWeights.READY_THROUGHPUT, [24, 29, 20, 14, 13], "105", id="every replica used alike"),
    ],
)
def test_in_place_capacity_weights(by: CapacityWeights, weights: list[int], target: str) -> None:
    """What each unit's replicas get, and what their scalers aim at, go together."""
    app = application(routing_style=RoutingStyle.IN_PLACE, policy=PolicySettings(capacity_weights=by))
    made = with_scalers(snapshot(app, routing=routing(Mode.CAPACITY)))
    assert [one.weight for one in capacity_targets(made.application, Figures.of(made).serving)] == weights
    assert decide(memory(Mode.CAPACITY, mode_since=NOW), made)[1].keda_targets[INF2] == target


@pytest.mark.parametrize(("by", "target"), [(CapacityWeights.READY, "89.2"), (CapacityWeights.READY_THROUGHPUT, "105")])
def test_what_scalers_aim_at_in_capacity_mode_behind_one_service(by: CapacityWeights, target: str) -> None:
    """The target group's algorithm shares the requests, and what a replica gets of them is what its scaler must aim at."""
    made = with_scalers(snapshot(application(policy=PolicySettings(capacity_weights=by)), Mode.CAPACITY))
    assert decide(memory(Mode.CAPACITY, mode_since=NOW), made)[1].keda_targets[INF2] == target


def test_strategies_that_follow_what_is_ready_do_not_count_it_twice() -> None:
    """Merit order includes availability; a unit without healthy targets gets nothing from it, either."""
    app = application(policy=PolicySettings(strategy=Strategy.ADAPTIVE))
    made = observed(asked(snapshot(app), 300), sd21_inf2=0)
    weights = Figures.of(made).cost
    assert weights[INF2] == 0
    assert sum(weights.values()) == 100
    assert decide(memory(), made)[1].floors[INF2].replicas == 1
