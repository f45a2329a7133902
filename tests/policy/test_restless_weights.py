"""Weights that follow ready replicas and demand do not follow every sample: urgent changes come at once, savings later."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.policy.account import shown_s
from controller.policy.model import Decision, PolicySettings, Sample, Snapshot, Strategy, Target, Verb
from controller.routing.ingress.action import format_action
from tests.policy.support import INF2, TRN1, change, decide
from tests.support.applications import NOW, SERVICES, application, memory, snapshot


def world(requests: float | None, *weights: int, ready: int = 2) -> Snapshot:
    """The adaptive strategy with two replicas of each unit (210 of inf2, 260 of trn1, 180, 122 and 120), these weights and a demand."""
    made = snapshot(application(policy=PolicySettings(strategy=Strategy.ADAPTIVE)))
    targets = tuple(Target(name, 80, weight) for name, weight in zip(SERVICES, weights, strict=True))
    made = replace(made, routing=replace(made.routing, targets=targets, action=format_action(targets, 0)))
    made = change(made, INF2, ready=ready)
    if requests is None:
        return made
    for name, weight in zip(SERVICES, weights, strict=True):
        made = change(made, name, demand=Sample(requests * weight / sum(weights), NOW))
    return made


def decided(made: Snapshot, changed_s: float = 60) -> Decision:
    """The decision this many seconds after the last change."""
    return decide(memory(changed_at=NOW - changed_s, verified_at=NOW - changed_s), made)[1]


def test_the_rest_of_the_demand_does_not_come_and_go_with_every_sample() -> None:
    """480 are 10 more than inf2 and trn1 can serve: g5-triton would get 2 % in one pass and nothing in the next."""
    for requests in (465, 475, 480):
        assert decided(world(requests, 45, 55, 0, 0, 0)).verb is Verb.HOLD
        assert decided(world(requests, 44, 54, 2, 0, 0)).verb is Verb.HOLD


def test_what_overloads_a_unit_is_urgent() -> None:
    """More than a tenth beyond what its replicas can serve."""
    decision = decided(world(530, 45, 55, 0, 0, 0))
    assert decision.verb is Verb.REWEIGHT
    assert [target.weight for target in decision.targets] == [40, 49, 11, 0, 0]


def test_weights_that_are_close_and_overload_a_light_unit_are_not_kept() -> None:
    """20 replicas of inf2 and one of each other unit, all full: 4 instead of 3 % send g5-cuda a fifth too much."""
    made = world(2_441, 84, 6, 4, 3, 3, ready=20)
    for name, (ready, sent) in {INF2: (20, 2_050), TRN1: (1, 147), "sd21-g5-triton": (1, 98), "sd21-g6-triton": (1, 73)}.items():
        made = change(made, name, ready=ready, demand=Sample(sent, NOW))
    made = change(made, "sd21-g5-cuda", ready=1, demand=Sample(73, NOW))
    decision = decided(made)
    assert (decision.verb, [target.weight for target in decision.targets]) == (Verb.REWEIGHT, [88, 5, 3, 2, 2])


def test_a_unit_that_ceased_to_serve_is_urgent() -> None:
    """Its target group would answer 503."""
    decision = decided(world(200, 45, 55, 0, 0, 0, ready=0))
    assert (decision.verb, decision.targets[0].weight) == (Verb.REWEIGHT, 0)


@pytest.mark.parametrize(
    ("requests", "changed_s", "verb"),
    [
        pytest.param(300, shown_s(60) - 1, Verb.HOLD, id="a tenth cheaper, but the effect of the last change is not known yet"),
        pytest.param(300, shown_s(60), Verb.REWEIGHT, id="a tenth cheaper"),
        pytest.param(440, shown_s(60), Verb.HOLD, id="hardly cheaper"),
    ],
)
def test_what_only_saves_money_waits_and_must_be_worth_it(requests: float, changed_s: float, verb: Verb) -> None:
    """Less demand: all of it could go to cheaper units."""
    assert decided(world(requests, 45, 55, 0, 0, 0), changed_s).verb is verb


def test_a_pass_comes_when_the_wait_is_over() -> None:
    """No event announces it."""
    assert decided(world(300, 45, 55, 0, 0, 0), shown_s(60) - 10).next_check_s == 10


def test_foreign_weights_are_replaced_at_once() -> None:
    """Even where they carry the demand."""
    made = world(480, 45, 53, 2, 0, 0)
    assert decided(made).verb is Verb.HOLD
    assert decided(replace(made, routing=replace(made.routing, foreign=True))).verb is Verb.REWEIGHT


def test_another_port_is_another_target() -> None:
    """The application file names it; the present weights carry the demand, but to a port that may be gone."""
    made = world(300, 45, 55, 0, 0, 0)
    units = tuple(replace(unit, backend=replace(unit.backend, port=8080)) for unit in made.application.units)
    decision = decided(replace(made, application=replace(made.application, units=units)))
    assert decision.verb is Verb.REWEIGHT
    assert {target.port for target in decision.targets} == {8080}
