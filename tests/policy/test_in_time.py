"""The loss of a family that may last for a while: what may start in that time counts, and nothing has to run for it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.policy.account import Figures
from controller.policy.fleet import Offer, cheapest_fleet, planned
from controller.policy.fleet.words import document, planned_words
from controller.policy.model import Memory, Needs, PlannedFleet, PlannedMode, PolicySettings, Scaler, Shortage, Strategy, UnitEvidence
from tests.policy.support import change
from tests.support.applications import application, snapshot

CHEAP = Offer("cheap", "inf2", 100.0, 1.0, 0, 10)
COSTLY = Offer("costly", "g5", 100.0, 2.0, 0, 10)


@pytest.mark.parametrize(
    ("cheap", "costly", "replicas", "made_good"),
    [
        pytest.param(0, 0, {"cheap": 2, "costly": 3}, set(), id="nothing starts in time: both run"),
        pytest.param(0, 3, {"cheap": 5, "costly": 0}, {"inf2"}, id="the other family does, just enough"),
        pytest.param(0, 2, {"cheap": 2, "costly": 3}, set(), id="too little does"),
        pytest.param(9, 9, {"cheap": 5, "costly": 0}, {"inf2", "g5"}, id="each does"),
    ],
)
def test_what_starts_in_time_does_not_have_to_run(cheap: int, costly: int, replicas: dict[str, int], made_good: set[str]) -> None:
    """Of 500 requests 300 must be carried without either family; without g5 two of the cheap ones would be missing otherwise."""
    found = cheapest_fleet((replace(CHEAP, soon=cheap), replace(COSTLY, soon=costly)), Needs(500.0, 300.0))
    assert set(found.made_good) == made_good
    if made_good or not (cheap or costly):
        assert found.carried >= 500.0
    if made_good:
        assert dict(found.replicas) == replicas
    else:
        assert min(found.left.values()) >= min(300.0, found.carried)


def shown(resilience_s: float, cold_start_s: float = 600.0, *, short: bool = False, paused: bool = False) -> PlannedFleet:
    """The fleet for a demand that two replicas of each unit are ready for."""
    policy = PolicySettings(strategy=Strategy.PLANNED, planned_mode=PlannedMode.LIVE, resilience_s=resilience_s)
    made = application(policy=policy)
    made = replace(made, units=tuple(replace(unit, min_replicas=0, cold_start_s=cold_start_s) for unit in made.units))
    seen = snapshot(made)
    for unit in made.units:
        seen = change(seen, unit.name, ready=2, desired=2, scaler=Scaler(f"{unit.name}-hpa", "1", 0, 100, "100", 0, paused=paused))
    judged = Shortage.PROVEN if short else Shortage.NONE
    evidence = {unit.name: UnitEvidence(unit.name, judged, ready=2) for unit in made.units}
    found = planned(seen, replace(Figures.of(seen), demand=500.0), evidence, Memory())
    assert found is not None
    return found


def test_by_default_only_what_runs_counts() -> None:
    """Whatever starts, and however fast."""
    found = shown(0.0, cold_start_s=0.0)
    assert not found.fleet.made_good
    assert min(found.fleet.left.values()) >= 400.0


def test_the_time_is_at_least_a_cold_start() -> None:
    """A replica that is ready a second too late does not count."""
    assert not shown(599.0).fleet.made_good
    waits = shown(600.0)
    assert set(waits.fleet.made_good) == {"inf2", "trn1", "g5", "g6"}
    assert waits.fleet.price < shown(599.0).fleet.price
    assert waits.exposed == {}
    evidence = {name: UnitEvidence(name, Shortage.NONE, ready=2) for name in waits.fleet.replicas}
    assert "what may start in time makes up for the loss of inf2" in planned_words(waits, evidence)
    assert document(waits)["planned"]["startedInTimeWithout"].keys() == waits.fleet.made_good.keys()


def test_what_is_refused_or_paused_starts_in_no_time() -> None:
    """EC2 has refused it, or a person keeps it as it is."""
    assert not shown(600.0, short=True).fleet.made_good
    assert not shown(600.0, paused=True).fleet.made_good
