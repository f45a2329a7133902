"""What recorded requests of any version write."""

from __future__ import annotations

import pytest

from controller.policy.model import ActionKind
from controller.recording.lines import Request
from failover_analysis.replay.bodies import identity, written

APPLIED = (
    '{"apiVersion":"keda.sh/v1alpha1","kind":"ScaledObject","metadata":{"name":"a","namespace":"shop","uid":"u","resourceVersion":"5"},'
    '"spec":{"minReplicaCount":3}}'
)
FLOOR = '[{"op":"test","path":"/metadata/uid","value":"u"},{"op":"add","path":"/spec/minReplicaCount","value":3}]'
TARGET = (
    '[{"op":"test","path":"/spec/triggers/0/type","value":"aws-cloudwatch"},'
    '{"op":"replace","path":"/spec/triggers/0/metadata/targetMetricValue","value":"89.2"}]'
)


def request(kind: ActionKind, body: str, name: str = "a") -> Request:
    """A recorded request."""
    return Request(str(kind), "scaledobjects.keda.sh", "shop", name, body)


@pytest.mark.parametrize("kind", [ActionKind.RAISE_FLOOR, ActionKind.LOWER_FLOOR])
@pytest.mark.parametrize("body", [APPLIED, FLOOR])
def test_a_floor_is_its_value_whichever_version_wrote_it(kind: ActionKind, body: str) -> None:
    assert written(request(kind, body)) == '{"/spec/minReplicaCount":3}'


def test_a_target_is_its_place_and_its_value() -> None:
    assert written(request(ActionKind.SET_TARGET, TARGET)) == '{"/spec/triggers/0/metadata/targetMetricValue":"89.2"}'


@pytest.mark.parametrize("body", ["", "[", "null", "3", '{"metadata":null}', '{"spec":{}}', "[3]", '[{"op":"add"}]', "[" * 100_000])
def test_a_body_of_an_unknown_version_is_compared_as_it_is(body: str) -> None:
    assert written(request(ActionKind.RAISE_FLOOR, body)) == body


def test_a_routing_action_is_compared_byte_for_byte() -> None:
    assert written(request(ActionKind.ROUTE, APPLIED)) == APPLIED


def test_the_same_floor_of_another_object_is_another_request() -> None:
    one, other = (identity(request(ActionKind.RAISE_FLOOR, FLOOR, name)) for name in "ab")
    assert one != other
    assert one == identity(request(ActionKind.RAISE_FLOOR, APPLIED))
