"""The same scenario with another strategy: the application files are written anew, and no mode change is expected any more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import yaml

from controller.catalog.loader import load_directory
from controller.documents import read_documents, read_limited
from controller.policy.model import PlannedMode, Strategy
from failover_testbed.demo.scenario import Expectation, Scenario


def with_strategy(scenario: Scenario, strategy: Strategy, folder: Path) -> Scenario:
    """A scenario whose applications have another strategy.

    Args:
        scenario: The scenario.
        strategy: The strategy. `planned` is live.
        folder: Where the application files are written, an empty folder.

    Returns:
        The same scenario where all its applications have the strategy already. Else failovers and fallbacks that it expects become the
        expectation that there is none, and `failoverUtilization` its default: a strategy that gives the others what one cannot carry is of
        no use where every shortage must lead to a failover.
    """
    if all(one.policy.strategy is strategy for one in scenario.applications.values()):
        return scenario
    paths = sorted(scenario.applications_path.glob("*.yaml")) if scenario.applications_path.is_dir() else [scenario.applications_path]
    for path in paths:
        documents = [document.data for document in read_documents(read_limited(path), str(path))]
        for data in documents:
            _change(data, strategy)
        (folder / path.name).write_text(yaml.safe_dump_all(documents, sort_keys=False))
    kept = [one for one in scenario.file.expect if one.failover is None and one.fallback is None and not one.no_mode_change]
    none = Expectation.model_validate({"noModeChange": True})
    return replace(
        scenario,
        file=scenario.file.model_copy(update={"expect": (none, *kept)}),
        applications=load_directory(folder),
        applications_path=folder,
    )


def _change(data: dict[str, dict[str, dict[str, object]]], strategy: Strategy) -> None:
    policy = data["spec"].setdefault("policy", {})
    policy.pop("failoverUtilization", None)
    policy["strategy"] = strategy.value
    if strategy is Strategy.PLANNED:
        policy["plannedMode"] = PlannedMode.LIVE.value
