"""The weights that share the demand among the fleet's replicas, as exact numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from controller.policy.fleet import planned_weights
from controller.policy.fleet.weights import beyond
from controller.policy.model import Application, Fleet, Needs, PlannedFleet, PolicySettings, Strategy, WeightStrategy
from controller.policy.routing import base_weights
from failover_testbed.traffic.autoscaler import Autoscaler
from tests.support.applications import application, seed_units

FAST, SLOW, OTHER = "fast", "slow", "other"
UNITS = {FAST: (60.0, 2.0), SLOW: (20.0, 1.0), OTHER: (40.0, 4.0)}  # requests per metric period, US dollars per hour


def _application(scale: float = 1.0) -> Application:
    units = tuple(
        replace(seed, name=name, throughput=scale * throughput, price_per_hour=price)
        for seed, (name, (throughput, price)) in zip(seed_units(), UNITS.items(), strict=False)
    )
    return application(units=units)


def _fleet(*replicas: int) -> PlannedFleet:
    fleet = Fleet(dict(zip(UNITS, replicas, strict=True)), 0.0, 0.0, 0.0, 0.0, {}, short=False)
    return PlannedFleet(0.0, None, Needs(0.0, 0.0), fleet, 0.0, live=True)


@pytest.mark.parametrize(
    ("serving", "fleet", "demand", "weights"),
    [
        pytest.param({FAST: 1, SLOW: 1, OTHER: 3}, (1, 1, 3), 200.0, (30, 10, 60), id="all of the fleet, by throughput"),
        pytest.param({FAST: 1, SLOW: 1, OTHER: 3}, (1, 1, 3), 900.0, (30, 10, 60), id="however much is asked"),
        pytest.param({FAST: 5, SLOW: 9, OTHER: 3}, (1, 1, 3), 200.0, (30, 10, 60), id="others stay idle where the fleet carries it"),
        pytest.param({FAST: 5, SLOW: 9, OTHER: 3}, (0, 2, 1), 0.0, (0, 50, 50), id="also without demand"),
        pytest.param({FAST: 1, SLOW: 7, OTHER: 0}, (1, 1, 3), 90.0, (67, 33, 0), id="a twelfth of what others can, for what is missing"),
        pytest.param({FAST: 1, SLOW: 4, OTHER: 0}, (1, 1, 3), 110.0, (55, 45, 0), id="half of it"),
        pytest.param({FAST: 1, SLOW: 4, OTHER: 0}, (1, 1, 3), 999.0, (43, 57, 0), id="all of it where even that is too little"),
        pytest.param({SLOW: 2, OTHER: 1}, (4, 2, 1), 80.0, (0, 50, 50), id="what is not known does not serve"),
        pytest.param({FAST: 1, SLOW: 3}, (0, 0, 4), 0.0, (50, 50, 0), id="none of the fleet is ready, and nothing is asked"),
        pytest.param({FAST: 1, SLOW: 3}, (0, 0, 4), 7.0, (50, 50, 0), id="none of the fleet is ready, and something is asked"),
    ],
)
def test_weights(serving: Mapping[str, int], fleet: tuple[int, ...], demand: float, weights: tuple[int, ...]) -> None:
    """A replica with more than its share is slow and makes its scaler add others; one with less is paid for nothing. At any throughput."""
    for scale in (0.001, 1.0, 100.0):
        found = planned_weights(_application(scale), serving, scale * demand, _fleet(*fleet))
        assert found == dict(zip(UNITS, weights, strict=True))


def test_a_full_fleet_makes_no_scaler_start_a_replica() -> None:
    """A weight is a hundredth of the demand: rounded up it may be a sixth more than the one replica of a small unit carries."""
    app = application(policy=PolicySettings(strategy=Strategy.PLANNED))
    for inf2 in range(1, 60):
        counts = {unit.name: inf2 if unit is app.units[0] else 1 for unit in app.units}
        demand = sum(counts[unit.name] * unit.throughput for unit in app.units)
        fleet = replace(_fleet(0, 0, 0), fleet=replace(_fleet(0, 0, 0).fleet, replicas=counts))
        for weights in (planned_weights(app, counts, demand, fleet), base_weights(app.units, WeightStrategy.MERIT_ORDER, demand, counts)):
            for unit in app.units:
                sent = demand * weights[unit.name] / 100
                wanted = Autoscaler().replicas(0.0, sent, unit.throughput, counts[unit.name], least=1, most=100)
                assert wanted <= counts[unit.name], (inf2, unit.name, weights)


def test_nothing_that_can_serve_gets_no_weights() -> None:
    """Weights for replicas that are not ready would answer users with 503."""
    for serving in ({}, dict.fromkeys(UNITS, 0)):
        assert planned_weights(_application(), serving, 100.0, _fleet(1, 1, 1)) == {}


@pytest.mark.parametrize(
    ("weights", "demand", "price"),
    [
        pytest.param((60, 20, 20), 200.0, 0.0, id="each replica full to the last request"),
        pytest.param((60, 20, 20), 201.0, 7.0, id="a request more: one replica more of each unit"),
        pytest.param((80, 0, 20), 200.0, 2.0, id="one too many of the fast ones, none of the slow"),
        pytest.param((4, 1, 0), 200.0, 2.0, id="any sum of weights"),
        pytest.param((0, 0, 100), 200.0, 16.0, id="four of the expensive ones"),
        pytest.param((0, 0, 0), 200.0, 0.0, id="nothing gets anything"),
        pytest.param((60, 20, 20), 0.0, 0.0, id="nothing is asked"),
    ],
)
def test_the_price_of_what_scalers_keep_beyond_the_fleet(weights: tuple[int, ...], demand: float, price: float) -> None:
    """Too low a price leaves weights that fill the cheapest units, for hours; too high a one changes the load balancer in every pass."""
    assert beyond(_application(), dict(zip(UNITS, weights, strict=True)), demand, _fleet(2, 2, 1)) == pytest.approx(price)
