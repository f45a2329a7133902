"""Recorded bodies of earlier versions."""

from __future__ import annotations

import pytest

from controller.policy.model import ActionKind
from controller.recording.lines import Request
from failover_analysis.replay.bodies import present_body

APPLIED = (
    '{"apiVersion":"keda.sh/v1alpha1","kind":"ScaledObject","metadata":{"name":"a","namespace":"shop","uid":"u","resourceVersion":"5"},'
    '"spec":{"minReplicaCount":3}}'
)
PATCHED = (
    '[{"op":"test","path":"/metadata/uid","value":"u"},{"op":"test","path":"/metadata/resourceVersion","value":"5"},'
    '{"op":"add","path":"/spec/minReplicaCount","value":3}]'
)


def request(kind: ActionKind, body: str) -> Request:
    """A recorded request."""
    return Request(str(kind), "scaledobjects.keda.sh", "shop", "a", body)


@pytest.mark.parametrize("kind", [ActionKind.RAISE_FLOOR, ActionKind.LOWER_FLOOR])
def test_an_applied_floor_is_read_as_the_patch_that_a_plan_makes_now(kind: ActionKind) -> None:
    assert present_body(request(kind, APPLIED)) == PATCHED


@pytest.mark.parametrize("body", [PATCHED, "", "[", "null", '{"metadata":null}', '{"spec":{}}', "[" * 100_000])
def test_any_other_body_of_a_floor_stays(body: str) -> None:
    assert present_body(request(ActionKind.RAISE_FLOOR, body)) == body


@pytest.mark.parametrize("kind", [ActionKind.ROUTE, ActionKind.SET_TARGET])
def test_other_requests_stay(kind: ActionKind) -> None:
    assert present_body(request(kind, APPLIED)) == APPLIED
