"""Which share of the requests each unit gets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.policy.model import Mode, Target, Verdict, Verification
from controller.policy.routing import asked_shares, shown_shares
from tests.policy.support import INF2, TRN1, change
from tests.support.applications import NOW, SERVICES, routing, snapshot

SHARES = {"sd21-inf2": 0.4, "sd21-trn1": 0.2, "sd21-g5-triton": 0.15, "sd21-g6-triton": 0.1, "sd21-g5-cuda": 0.15}


def shown(weights: dict[str, int], healthy: dict[str, int], mode: Mode = Mode.CAPACITY) -> dict[str, float | None]:
    """The shares where the load balancer shows these weights, and these healthy targets by Service."""
    seen = Verification(Verdict.YES, NOW, "", "", applied=True, weights=weights, healthy=healthy)
    return shown_shares(snapshot(mode=mode, routing=routing(mode, verification=seen)))


def test_in_cost_mode_the_weights_are_the_shares() -> None:
    assert asked_shares(snapshot()) == pytest.approx(SHARES)


def test_in_capacity_mode_each_ready_replica_gets_as_much() -> None:
    made = change(snapshot(mode=Mode.CAPACITY), INF2, ready=8)
    assert asked_shares(made) == pytest.approx({INF2: 0.5, **dict.fromkeys(SERVICES[1:], 0.125)})


def test_a_step_of_a_gradual_return_is_the_sum_of_both() -> None:
    """Half of the requests go to the capacity Service, whose ten replicas get as much each, and half to trn1's own Service."""
    targets = (Target("sd21-all", 80, 3), Target(TRN1, 80, 3))
    made = snapshot(mode=Mode.CAPACITY, routing=routing(Mode.CAPACITY, targets=targets))
    assert asked_shares(made) == pytest.approx({name: 0.6 if name == TRN1 else 0.1 for name in SERVICES})


def test_without_weights_or_replicas_no_share_is_known() -> None:
    nothing = dict.fromkeys(SERVICES)
    assert asked_shares(snapshot(routing=routing(targets=()))) == nothing
    empty = snapshot(mode=Mode.CAPACITY)
    empty = replace(empty, units={name: replace(one, ready=0) for name, one in empty.units.items()})
    assert asked_shares(empty) == nothing
    assert asked_shares(change(snapshot(mode=Mode.CAPACITY), INF2, ready=None)) == nothing, "one that is not known changes those of all"


def test_what_the_load_balancer_shows_counts_its_own_weights_and_targets() -> None:
    assert shown({INF2: 1, TRN1: 3}, {}) == {INF2: 0.25, TRN1: 0.75, **dict.fromkeys(SERVICES[2:], 0.0)}
    pooled = shown({"sd21-all": 1}, {INF2: 3, **dict.fromkeys(SERVICES[1:], 1)})
    assert pooled == pytest.approx({INF2: 3 / 7, **dict.fromkeys(SERVICES[1:], 1 / 7)})


def test_a_load_balancer_that_was_not_asked_shows_nothing() -> None:
    assert shown_shares(snapshot(routing=routing(verification=None))) == dict.fromkeys(SERVICES)
