"""The same scenario with another strategy: what is written for the controller, and what is expected of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.catalog.loader import load_directory
from controller.policy.model import Mode, PlannedMode, Strategy
from failover_testbed.demo.scenario import Scenario, builtin, builtin_names, load_scenario
from failover_testbed.demo.strategies import with_strategy


@pytest.fixture
def seed() -> Scenario:
    """The default scenario: it expects a failover and a fallback."""
    return load_scenario(builtin("seed"))


@pytest.mark.parametrize("strategy", [Strategy.ADAPTIVE, Strategy.PLANNED])
def test_the_applications_have_the_strategy(seed: Scenario, strategy: Strategy, tmp_path: Path) -> None:
    """The controller reads them from files, and `planned` is live there."""
    changed = with_strategy(seed, strategy, tmp_path)
    assert load_directory(changed.applications_path) == changed.applications
    (policy,) = [one.policy for one in changed.applications.values()]
    assert policy.strategy is strategy
    assert policy.plans_floors is (strategy is Strategy.PLANNED)
    assert policy.failover_utilization > 0
    assert policy.patience_s == 10


def test_no_mode_change_is_expected(seed: Scenario, tmp_path: Path) -> None:
    """What else was expected still is."""
    expected = with_strategy(seed, Strategy.PLANNED, tmp_path).file.expect
    assert expected[0].no_mode_change
    assert not any(one.failover or one.fallback for one in expected)
    assert {one.final_mode for one in expected} == {Mode.COST, None}
    assert [one.max_failed_requests for one in expected if one.max_failed_requests is not None] == [0]


def test_its_own_strategy_changes_nothing(seed: Scenario, tmp_path: Path) -> None:
    """Not even where the files are."""
    assert with_strategy(seed, Strategy.TWO_MODE, tmp_path) is seed


@pytest.mark.parametrize("name", builtin_names())
def test_every_built_in_scenario_can_be_played_with_it(name: str, tmp_path: Path) -> None:
    """Its application stays valid."""
    changed = with_strategy(load_scenario(builtin(name)), Strategy.PLANNED, tmp_path)
    assert all(one.policy.planned_mode is PlannedMode.LIVE for one in changed.applications.values())
