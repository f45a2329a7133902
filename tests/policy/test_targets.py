"""The routing actions of the modes, where the usual case is not the whole of it."""

from __future__ import annotations

import json

import pytest

from controller.policy.model import CapacityWeights, Mode, PolicySettings, RoutingStyle
from controller.policy.routing import capacity_targets, cost_targets, stickiness
from controller.policy.routing.weights import capacity_shares
from controller.routing.ingress.action import format_action, parse_action, states_stickiness
from tests.support.applications import CAPACITY_TARGETS, COST_TARGETS, SERVICES, application

POLICY = PolicySettings(stickiness_cost_s=200, stickiness_capacity_s=20)


def test_each_mode_has_a_stickiness_of_its_own() -> None:
    made = application(policy=POLICY)
    assert (stickiness(made, Mode.COST), stickiness(made, Mode.CAPACITY)) == (200, 20)


def test_capacity_mode_is_the_service_over_all_pods_whatever_serves() -> None:
    assert capacity_targets(application(policy=POLICY), {}) == CAPACITY_TARGETS


@pytest.mark.parametrize("by", CapacityWeights)
def test_in_place_without_replicas_all_units_count_alike(by: CapacityWeights) -> None:
    """Weights that are all 0 would be refused by AWS."""
    made = application(policy=PolicySettings(capacity_weights=by), routing_style=RoutingStyle.IN_PLACE)
    found = capacity_targets(made, dict.fromkeys(SERVICES, 0))
    assert [target.service for target in found] == list(SERVICES)
    assert {target.weight for target in found} == {20}


@pytest.mark.parametrize("by", CapacityWeights)
def test_in_place_no_unit_gets_a_tenth_beyond_its_share(by: CapacityWeights) -> None:
    """Scalers tolerate a tenth. Rounded to the nearest part, a unit with one replica of many got up to 45 % too much."""
    app = application(routing_style=RoutingStyle.IN_PLACE, policy=PolicySettings(capacity_weights=by))
    for replicas in range(5, 41):
        serving = {unit.name: replicas if number == 0 else 1 for number, unit in enumerate(app.units)}
        shares = capacity_shares(app, serving)
        for target in capacity_targets(app, serving):
            name = next(unit.name for unit in app.units if unit.backend.service == target.service)
            assert target.weight / 100 <= 1.1 * shares[name] / sum(shares.values())


def test_in_place_a_unit_that_is_not_known_gets_nothing() -> None:
    """Where others are known to serve: by what each of their replicas can carry, 105 and 130 requests."""
    made = application(policy=PolicySettings(capacity_weights=CapacityWeights.READY_THROUGHPUT), routing_style=RoutingStyle.IN_PLACE)
    found = capacity_targets(made, {"sd21-inf2": 2, "sd21-trn1": 1})
    assert {target.service: target.weight for target in found} == {**dict.fromkeys(SERVICES, 0), "sd21-inf2": 62, "sd21-trn1": 38}


def test_a_unit_without_a_weight_is_named_with_none() -> None:
    """It stays registered."""
    weights = {target.service: target.weight for target in COST_TARGETS if target.service != "sd21-inf2"}
    assert [target.weight for target in cost_targets(application(), weights)] == [0, 20, 15, 10, 15]


def test_whether_an_action_states_its_stickiness() -> None:
    """Without a statement the target group's own attribute counts."""
    stated = format_action(COST_TARGETS, 0)
    assert states_stickiness(stated)
    config = json.loads(stated)
    del config["forwardConfig"]["targetGroupStickinessConfig"]
    assert not states_stickiness(json.dumps(config))
    config["forwardConfig"]["targetGroupStickinessConfig"] = None
    assert not states_stickiness(json.dumps(config))


@pytest.mark.parametrize(
    ("service", "port", "weight", "read"),
    [
        pytest.param("a" * 253, 80, 1, True, id="the longest name"),
        pytest.param("a" * 254, 80, 1, False, id="a longer one"),
        pytest.param("a", 80, 2**31 - 1, True, id="the largest weight that the controller reads"),
        pytest.param("a", 80, 2**31, False, id="a larger one"),
    ],
)
def test_names_and_numbers_have_bounds(service: str, port: int, weight: int, *, read: bool) -> None:
    """Of what anybody may write into the annotation. Whether AWS takes the weight is another question."""
    group = {"serviceName": service, "servicePort": port, "weight": weight}
    other = {"serviceName": "b", "servicePort": 80, "weight": 1}
    found, _, problem = parse_action(json.dumps({"type": "forward", "forwardConfig": {"targetGroups": [group, other]}}))
    assert bool(found) is read, problem
