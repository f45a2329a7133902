"""The AWS sample's three experiments show what docs/laboratory/experiments.md says of them."""

from __future__ import annotations

import pytest

from controller.policy.model import Mode
from failover_analysis.report.contenders import contenders
from failover_analysis.simulation.recording import Result, Row
from failover_analysis.simulation.run import Simulation
from failover_analysis.simulation.scenario import find, load


def play(name: str) -> Result:
    """One experiment, with passes a minute apart: it is the same story in a third of the time."""
    world = load(find(name))
    contender = contenders((), ("failoverUtilization=0",), (), world.application.policy)[0]  # the AWS sample fails over for every shortage
    return Simulation(contender.applied(world.setup(world.file.seed, interval_s=60.0)), world.file.seed).run()


def at(result: Result, hours: float) -> Row:
    """The row of a time, hours since the start."""
    return min(result.rows, key=lambda row: abs(row.at - result.rows[0].at - hours * 3600))


def test_cost_mode_keeps_its_split_under_the_wave() -> None:
    """Figures 6 and 7."""
    result = play("cost-wave")
    assert (result.violations, result.mode_changes, result.totals.writes, result.totals.flow.failed) == ((), (), {}, {})
    peak = {name: max(row.served[name] for row in result.rows) for name in result.rows[0].served}
    assert peak == pytest.approx(
        {"sd21-inf2": 1150, "sd21-trn1": 600, "sd21-g5-triton": 450, "sd21-g6-triton": 300, "sd21-g5-cuda": 450}, rel=0.1
    )
    means = {name: flow.latency / flow.requests for name, flow in result.totals.flow.units.items()}
    assert means == pytest.approx(
        {"sd21-inf2": 0.65, "sd21-trn1": 0.45, "sd21-g5-triton": 0.65, "sd21-g6-triton": 0.9, "sd21-g5-cuda": 0.9}, rel=0.1
    )


@pytest.mark.parametrize(("name", "grows"), [("l4-limited", "sd21-g5-cuda"), ("l4-limited-outstanding", "sd21-trn1")])
def test_a_limited_pool_stagnates_and_another_unit_takes_the_growth(name: str, grows: str) -> None:
    """Figures 8 and 9: 21:20 is three hours and a third from the start."""
    result = play(name)
    assert (result.violations, result.mode_changes, result.totals.flow.failed) == ((), (), {})
    before, end, after = at(result, 3.2), at(result, 5.25), at(result, 7.5)
    assert end.ready["sd21-g6-triton"] == before.ready["sd21-g6-triton"] < after.ready["sd21-g6-triton"]
    assert max(end.ready, key=lambda unit: end.ready[unit] - before.ready[unit]) == grows


@pytest.mark.parametrize(("name", "worst"), [("inf2-failover", 2.5), ("inf2-failover-outstanding", 1.5)])
def test_inf2_runs_out_and_is_back_for_the_next_wave(name: str, worst: float) -> None:
    """Figures 10 and 11."""
    result = play(name)
    assert (result.violations, result.totals.flow.failed) == ((), {})
    assert [one.to for one in result.mode_changes] == [Mode.CAPACITY, Mode.COST]
    over, back = ((one.at - result.rows[0].at) / 3600 for one in result.mode_changes)
    assert 10 < over < 10.7
    assert 20 < back < 25  # as soon as the ready replicas carry the present demand: at night, before EC2 has room again at 24
    top = at(result, 36)
    assert top.served["sd21-inf2"] / sum(top.served.values()) == pytest.approx(0.4, abs=0.01)
    assert worst - 1 < max(max(row.latency_s.values()) for row in result.rows) < worst


def test_a_mixed_fleet_outlives_a_shortage_of_trainium2() -> None:
    """Inferentia2, Trainium2, L4 and L40S: the others take over until a node of Trainium2 proves the return."""
    result = play("mixed")
    assert (result.violations, result.totals.flow.failed) == ((), {})
    assert [one.to for one in result.mode_changes] == [Mode.CAPACITY, Mode.COST]
    before, short = at(result, 10.5), at(result, 12)
    assert short.ready["llama8b-trn2"] <= before.ready["llama8b-trn2"]
    assert all(short.served[name] > 0 for name in short.served)
