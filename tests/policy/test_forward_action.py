"""The routing action as values: what AWS refuses, which two route alike, and the mode that one shows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.policy.model import Mode, RoutingStyle, Target
from controller.policy.routing import MAX_TARGET_GROUPS, action_problem, mode_of, same_routing
from tests.support.applications import CAPACITY_TARGETS, COST_TARGETS, application


@pytest.mark.parametrize(
    ("made", "problem"),
    [
        pytest.param((), "at least one target group", id="none"),
        pytest.param([Target(str(i), 80, 1) for i in range(MAX_TARGET_GROUPS + 1)], "has 6", id="six"),
        pytest.param((Target("a", 80, 1), Target("a", 80, 2)), "appears twice", id="one twice"),
        pytest.param((Target("a", 80, -1),), "allowed are integers 0 to 999", id="negative"),
        pytest.param((Target("a", 80, 1000),), "allowed are integers 0 to 999", id="too much"),
        pytest.param((Target("a", 80, True),), "allowed are integers 0 to 999", id="a truth"),
        pytest.param((Target("a", 80, 0),), "no target group has a weight above 0", id="nothing for anybody"),
    ],
)
def test_says_what_aws_refuses(made: list[Target], problem: str) -> None:
    """The load-balancer controller would answer 503 for the whole Ingress."""
    assert problem in action_problem(made)
    assert action_problem(COST_TARGETS) == ""


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        pytest.param(COST_TARGETS, tuple(reversed(COST_TARGETS)), True, id="order does not matter"),
        pytest.param((Target("a", 80, 1),), (Target("a", 80, 100),), True, id="nor the weight of a single target"),
        pytest.param((Target("a", 80, 1),), (Target("a", "http", 1),), False, id="another port is another target group"),
        pytest.param(COST_TARGETS, COST_TARGETS[1:], False, id="one is missing"),
        pytest.param((Target("a", 80, 1), Target("b", 80, 1)), (Target("a", 80, 1), Target("b", 80, 2)), False, id="another weight"),
        pytest.param((Target("a", 80, 1), Target("a", 80, 1)), (Target("a", 80, 1),), False, id="one twice"),
        pytest.param((), (), True, id="nothing"),
    ],
)
def test_same_routing(left: tuple[Target, ...], right: tuple[Target, ...], same: bool) -> None:
    """What routes alike is not written again."""
    assert same_routing(left, right) is same
    assert same_routing(right, left) is same


@pytest.mark.parametrize(
    ("made", "style", "mode"),
    [
        (CAPACITY_TARGETS, RoutingStyle.SINGLE_SERVICE, Mode.CAPACITY),
        (CAPACITY_TARGETS, RoutingStyle.IN_PLACE, None),
        (COST_TARGETS, RoutingStyle.SINGLE_SERVICE, Mode.COST),
        (COST_TARGETS[:1], RoutingStyle.SINGLE_SERVICE, Mode.COST),
        ((*COST_TARGETS, *CAPACITY_TARGETS), RoutingStyle.SINGLE_SERVICE, None),
        ((Target("other", 80, 1),), RoutingStyle.SINGLE_SERVICE, None),
        ((), RoutingStyle.SINGLE_SERVICE, None),
    ],
)
def test_the_mode_that_an_action_shows(made: tuple[Target, ...], style: RoutingStyle, mode: Mode | None) -> None:
    """By the Services that it names; an action that mixes them is neither."""
    assert mode_of(replace(application(), routing_style=style), made) is mode
