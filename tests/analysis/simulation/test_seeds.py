"""Runs that once found a bug: they hold now, and break again without the fix."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from controller.policy import memory
from controller.policy.decision import decide, gate
from controller.policy.floors import metrics
from controller.policy.model import Memory, Snapshot
from controller.policy.modes import guards
from controller.service.terms import TermRecord
from failover_analysis.simulation import simulated_view
from failover_analysis.simulation.run import Simulation
from failover_analysis.simulation.scenario import load
from tests.analysis.simulation.support import breaks

FOLDER = Path(__file__).parent / "seeds"
SEEDS = sorted(FOLDER.glob("*.yaml"))


def found(path: Path) -> Simulation:
    """The run of a file, not begun. All were found when every shortage led to a failover."""
    world = load(path)
    setup = world.setup(world.file.seed)
    policy = replace(setup.application.policy, failover_utilization=0.0)
    return Simulation(replace(setup, application=replace(setup.application, policy=policy)), world.file.seed)


@pytest.mark.parametrize("path", SEEDS, ids=lambda path: path.stem)
def test_what_once_broke_holds(path: Path) -> None:
    """Each file says in its description what it found."""
    assert load(path).file.description.startswith("Found: ")
    assert [f"{one.name}: {one.text}" for one in found(path).run().violations] == []


def _not_noticed(patch: pytest.MonkeyPatch) -> None:
    """What the memory lost goes unnoticed; and it is lost where somebody touches its object, as it was when the seed was found."""
    patch.setattr(memory, "_noticed", lambda before, routing, now: before)
    patch.setattr(TermRecord, "_touched", lambda self, stored: None)


def _not_missed(patch: pytest.MonkeyPatch) -> None:
    """What the load balancer ceased to show is as good as shown."""
    original = memory._verified

    def verified(before: Memory, snapshot: Snapshot) -> Memory:
        after = original(before, snapshot)
        return before if before.unverified_since is None and after.unverified_since is not None else after

    patch.setattr(memory, "_verified", verified)


def _health_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(import_module("controller.policy.routing.availability"), "_taken_out", lambda snapshot: frozenset())
    patch.setattr(simulated_view, "with_known_health", lambda seen, before: seen)


def _health_is_not_asked_for(patch: pytest.MonkeyPatch) -> None:
    _health_is_forgotten(patch)
    patch.setattr(guards, "known_targets", lambda snapshot, healthy: dict.fromkeys(snapshot.application.services, 1000))
    patch.setattr(gate, "_paused", lambda *_, **__: None)  # the bound on changes hides it


def _never_too_soon(patch: pytest.MonkeyPatch) -> None:
    """No change waits until the last one can be judged, for another writer, or because there were many."""
    patch.setattr(gate, "_young_s", lambda case: 0.0)
    patch.setattr(gate, "_paused", lambda *_, **__: None)


def _missing_metrics_are_no_demand(patch: pytest.MonkeyPatch) -> None:
    """As it was when some were found: CloudWatch answered with a value of any age, and without one nothing was held."""
    patch.setattr(simulated_view, "PERIODS", 100)
    patch.setattr(metrics, "claims", lambda snapshot, memory: ())


def _follows_every_sample(patch: pytest.MonkeyPatch) -> None:
    _missing_metrics_are_no_demand(patch)
    _never_too_soon(patch)


def _both_forgotten(patch: pytest.MonkeyPatch) -> None:
    _health_is_forgotten(patch)
    _follows_every_sample(patch)


def _as_if_nothing_was_changed(patch: pytest.MonkeyPatch) -> None:
    def adopt(before: Memory, *rest: Any) -> Memory:
        after = memory.adopt(before, *rest)
        return replace(after, changed_at=None) if before.mode is None else after

    patch.setattr(decide, "adopt", adopt)


@pytest.mark.parametrize(
    ("name", "unfix", "broken"),
    [
        ("lost-answer", _not_noticed, "drained"),
        ("rule-replaced", _not_missed, "drained"),
        ("memory-lost", _as_if_nothing_was_changed, "drained"),
        ("unhealthy-targets", _health_is_not_asked_for, "restless"),
        ("partly-healthy", _both_forgotten, "restless"),
        ("restless-weights", _follows_every_sample, "restless"),
    ],
)
def test_it_breaks_again_without_the_fix(
    name: str, unfix: Callable[[pytest.MonkeyPatch], None], broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A seed that would pass anyway protects nothing."""
    unfix(monkeypatch)
    assert breaks(found(FOLDER / f"{name}.yaml"), broken)
