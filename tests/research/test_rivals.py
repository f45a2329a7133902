"""The fleets that strategy *planned* is compared with: each does what its makers say, and no fleet is cheaper than the optimum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from controller.policy.model import Unit
from controller.policy.routing import cost_per_request
from research.fleets import FLEETS, played, world
from research.optimum import least
from research.rivals import EXTRA, SPOT, Checker, Hourly, PriorityList, Rival, SpotHedge, WithoutController, in_zones, of_file
from tests.support.applications import application, seed_units

UNITS = tuple(sorted(seed_units(), key=cost_per_request))
FIRST, SECOND = UNITS[0], UNITS[1]
ALL = dict.fromkeys((unit.name for unit in UNITS), 100)
STEP_S = 60.0


def bare(units: tuple[Unit, ...] = UNITS) -> tuple[Unit, ...]:
    return tuple(replace(unit, min_replicas=0) for unit in units)


def steps(player: Rival, demand: float, most: Mapping[str, int], count: int) -> None:
    for _ in range(count):
        player.step(demand, most)


def test_a_priority_list_fills_the_cheapest_type_to_its_target() -> None:
    player = Rival(bare(), STEP_S, PriorityList(bare(), 0.8))
    steps(player, 8 * FIRST.throughput, ALL, 12)
    assert {name: count for name, count in player.stock.ready.items() if count} == {FIRST.name: 10}


def test_a_priority_list_asks_the_next_type_after_its_patience_only() -> None:
    player, without = Rival(bare(), STEP_S, PriorityList(bare())), {**ALL, FIRST.name: 0}
    steps(player, SECOND.throughput, without, 1)
    assert not any(map(player.stock.count, ALL)), "the cheapest type may still come"
    steps(player, SECOND.throughput, without, 2)
    assert player.stock.count(SECOND.name) == 1
    steps(player, 4 * SECOND.throughput, without, 1)
    assert player.stock.count(SECOND.name) == 4, "the patience is paid once in an outage"


def test_a_priority_list_lets_the_most_expensive_go_after_the_window() -> None:
    player = Rival(bare(), STEP_S, PriorityList(bare()))
    steps(player, SECOND.throughput, {**ALL, FIRST.name: 0}, 14)
    steps(player, SECOND.throughput + FIRST.throughput, ALL, 14)
    steps(player, FIRST.throughput / 2, ALL, 3)
    assert player.stock.count(FIRST.name) == 1
    assert player.stock.count(SECOND.name) == 1
    steps(player, FIRST.throughput / 2, ALL, 4)
    assert player.stock.count(SECOND.name) == 0


def test_an_hourly_allocation_follows_the_last_hours_peak() -> None:
    player = Rival(bare(), STEP_S, Hourly(bare()))
    steps(player, FIRST.throughput, ALL, 30)
    steps(player, 5 * FIRST.throughput, ALL, 5)
    steps(player, FIRST.throughput, ALL, 24)
    wanted = least(bare(), FIRST.throughput, ALL).replicas
    assert {name: player.stock.count(name) for name in ALL} == wanted
    steps(player, FIRST.throughput, ALL, 12)
    assert {name: player.stock.ready[name] for name in ALL} == least(bare(), 5 * FIRST.throughput, ALL).replicas


def test_an_hourly_allocation_keeps_what_serves_until_its_replacement_is_ready() -> None:
    player = Rival(bare(), STEP_S, Hourly(bare()))
    steps(player, FIRST.throughput, {**ALL, FIRST.name: 0}, 59)
    before = sum(player.stock.throughput().values())
    steps(player, FIRST.throughput, ALL, 9)
    assert sum(player.stock.throughput().values()) >= before


SPOTS = tuple(in_zones(FIRST, 3))


def hedged() -> Rival:
    return Rival((*SPOTS, *bare()), STEP_S, SpotHedge(SPOTS, bare(), 1.0))


def zones(count: int) -> dict[str, int]:
    return {**ALL, **{unit.name: 100 if number < count else 0 for number, unit in enumerate(SPOTS)}}


def test_spot_is_spread_over_the_zones_and_on_demand_goes_when_it_is_ready() -> None:
    player = hedged()
    steps(player, 4 * FIRST.throughput, zones(3), 1)
    assert player.stock.count(FIRST.name) == 4, "nothing is ready"
    steps(player, 4 * FIRST.throughput, zones(3), 14)
    assert [player.stock.ready[unit.name] for unit in SPOTS] == [(4 + EXTRA) // 3] * 3
    assert player.stock.count(FIRST.name) == 0
    assert player.stock.paid() == pytest.approx((4 + EXTRA) * SPOT * FIRST.price_per_hour)


def test_what_a_zone_takes_back_comes_from_the_others_and_from_on_demand() -> None:
    player = hedged()
    steps(player, 7 * FIRST.throughput, zones(3), 15)
    steps(player, 7 * FIRST.throughput, zones(2), 1)
    assert player.stock.count(FIRST.name) == 7 + EXTRA - 6
    assert sum(player.stock.count(unit.name) for unit in SPOTS) == 7 + EXTRA
    steps(player, 7 * FIRST.throughput, zones(0), 1)
    assert player.stock.count(FIRST.name) == 7


def test_without_the_controller_requests_go_where_nothing_is_ready() -> None:
    made = application()
    player = WithoutController(made.units, STEP_S, of_file(made))
    lost = {**{unit.name: 100 for unit in made.units}, made.units[0].name: 0}
    share = (made.units[0].weight or 0) / sum(unit.weight or 0 for unit in made.units)
    assert player.step(100.0, lost).late == pytest.approx(100.0 * share)


def test_the_checker_returns_once_a_day() -> None:
    made = application()
    checker, stock = Checker(made), WithoutController(made.units, STEP_S, of_file(made)).stock
    file, every = of_file(made)(0.0, stock, ALL), dict.fromkeys(ALL, 1.0)
    assert checker(60.0, stock, {**ALL, FIRST.name: 0}) == file, "it did not ask"
    assert checker(300.0, stock, {**ALL, FIRST.name: 0}) == every
    assert checker(360.0, stock, ALL) == every
    assert checker(86_460.0, stock, ALL) == file


@pytest.mark.parametrize("name", FLEETS)
def test_who_is_late_with_nothing_pays_no_less_than_the_optimum(name: str) -> None:
    """At a steady demand: the optimum is a bound for everybody, at the prices of what may be bought."""
    made = application()
    found = played(made, FLEETS[name], world(made, [1_000.0] * 60, STEP_S, outages=False))
    assert found.bill >= (SPOT if name == "SpotHedge" else (SPOT if "spot" in name else 1) * (1 - found.late))
    assert found.late < 0.5
