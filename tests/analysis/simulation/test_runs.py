"""Whole runs: what they show, and that they can be repeated."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from controller.policy.model import CapacityWeights, Mode, Override, PolicySettings, Strategy
from controller.policy.routing import adjusted_throughputs
from failover_analysis.simulation.faults import FAULTS
from failover_analysis.simulation.faults import drawn as drawn_faults
from failover_analysis.simulation.outages import drawn
from failover_analysis.simulation.recording import Result
from failover_analysis.simulation.run import Simulation
from failover_analysis.simulation.setup import ZONES, Algorithm, FaultPlan
from tests.analysis.simulation.support import HOUR, INF2, START, broken, fault, outage, play, setup
from tests.support.applications import application

ROOT = Path(__file__).parents[3]


def test_a_quiet_morning_changes_nothing() -> None:
    """No write, no mode change, nothing fails, and the split is that of the weights."""
    result = play()
    assert result.violations == ()
    assert result.totals.writes == {}
    assert result.totals.flow.lost == 0
    served = {name: flow.requests / result.totals.flow.demand for name, flow in result.totals.flow.units.items()}
    assert served == pytest.approx(
        {"sd21-inf2": 0.40, "sd21-trn1": 0.20, "sd21-g5-triton": 0.15, "sd21-g6-triton": 0.10, "sd21-g5-cuda": 0.15}
    )


def test_a_shortage_switches_and_the_return_switches_back() -> None:
    """The AWS sample's story, within a few hours."""
    result = play(outages=(outage(0.2, 1.5),), seconds=6 * HOUR)
    assert broken(result) == set()
    assert [one.to for one in result.mode_changes] == [Mode.CAPACITY, Mode.COST]
    assert not any(one.needless for one in result.mode_changes)
    assert result.totals.exposed_s < 120


def test_one_zone_out_changes_nothing() -> None:
    """Karpenter launches in another, and says nothing."""
    result = play(outages=(outage(0.0, 4.0, zones=("us-west-2a",)),))
    assert result.mode_changes == ()
    assert result.violations == ()


def test_the_same_seed_gives_the_same_run_and_another_one_another() -> None:
    """Byte for byte: decisions, bodies, timeline and sums."""
    world = {"outages": (outage(0.2, 1.5),), "noise": 0.03, "row_s": 60.0, "faults": (fault("restart", 1.0),)}
    assert play(3, **world) == play(3, **world)
    assert play(3, **world).digest != play(4, **world).digest


def test_the_last_bit_of_a_number_does_not_leak_into_a_run() -> None:
    """Cosines and logarithms differ in it from one processor or C library to another: two in three thousand normal values do."""
    exact, other = 2000 / 3, math.nextafter(2000 / 3, math.inf)
    world = {"outages": (outage(0.2, 1.5),), "noise": 0.03, "row_s": 120.0}
    assert play(3, demand=lambda _: exact, **world).digest == play(3, demand=lambda _: other, **world).digest
    plans, outages = drawn_faults(30 * 86_400.0, (INF2,), "1"), drawn(("inf2.xlarge",), ZONES, 30 * 86_400.0, 12.0, "1")
    times = [plan.at_s for plan in plans] + [time for one in outages for time in (one.start_s, one.end_s)]
    assert len(times) > 100
    assert all(time == round(time, 3) for time in times)


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_the_order_of_sets_and_dicts_does_not_leak_into_a_run(hash_seed: str) -> None:
    """A process with another hash seed plays the same run."""
    script = (
        "from tests.analysis.simulation.test_runs import leaky; import sys; "
        "result = leaky(); sys.stdout.write(result.digest); assert not result.violations"
    )
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == leaky().digest


@cache
def leaky() -> Result:
    """A run in which as much happens as possible."""
    names = list(FAULTS)
    plans = tuple(fault(name, 0.05 + 3.9 * place / len(names), 0.1) for place, name in enumerate(names))
    result = play(5, outages=(outage(0.2, 1.5),), noise=0.03, row_s=120.0, faults=plans)
    assert set(result.faults) == set(names)
    return result


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_is_survived(name: str) -> None:
    """In the middle of a shortage: no invariant is broken, and the world goes on."""
    result = play(outages=(outage(0.1, 0.6),), faults=(fault(name, 0.2, 0.3), fault(name, 0.8, 0.2)), seconds=1.5 * HOUR)
    assert broken(result) == set()
    assert result.faults == {name: 2}
    assert result.seconds == 1.5 * HOUR


@pytest.mark.parametrize("name", ["pinned-to-capacity", "paused-by-a-person", "ingress-recreated"])
def test_a_pin_that_was_there_before_is_there_again_after_a_fault(name: str) -> None:
    """A person who overrides it for a while, and an Ingress that is made anew, leave what the world began with."""
    pinned = Override(pinned_mode=Mode.COST, pinned_why="compared")
    result = play(override=pinned, outages=(outage(1.0, 3.0),), faults=(fault(name, 0.2, 0.2),))
    assert result.rows == ()
    assert {one.to for one in result.mode_changes if one.at > START + 0.5 * HOUR} <= {Mode.COST}
    assert result.totals.seconds.get("capacity", 0.0) < 0.5 * HOUR


def test_least_outstanding_requests_uses_fast_replicas_more() -> None:
    """In capacity mode round robin gives all replicas alike; the other algorithm keeps them equally busy."""

    def latencies(algorithm: Algorithm) -> dict[str, float]:
        result = play(mode=Mode.CAPACITY, algorithm=algorithm, demand=lambda _: 700.0)
        return {name: flow.latency / flow.requests for name, flow in result.totals.flow.units.items()}

    even, fast = latencies(Algorithm.ROUND_ROBIN), latencies(Algorithm.LEAST_OUTSTANDING)
    assert fast["sd21-g5-cuda"] < even["sd21-g5-cuda"]
    assert fast["sd21-trn1"] > even["sd21-trn1"]


def test_capacity_mode_is_expensive_where_scalers_do_not_aim_at_what_replicas_get() -> None:
    """Targets that fit what replicas get keep them as they are.

    KEDA grows the units whose replicas get more than their target: the slowest ones with round robin, the fastest one where each gets what
    it can while the targets are those of round robin.
    """

    def dollars(algorithm: Algorithm, by: CapacityWeights) -> float:
        made = application(policy=PolicySettings(capacity_weights=by))
        pinned = Override(pinned_mode=Mode.CAPACITY, pinned_why="compared")
        result = play(application=made, mode=Mode.CAPACITY, override=pinned, algorithm=algorithm, demand=lambda _: 2_000.0)
        assert result.totals.flow.lost == 0
        return result.totals.dollars

    fits = dollars(Algorithm.LEAST_OUTSTANDING, CapacityWeights.READY_THROUGHPUT)
    assert dollars(Algorithm.ROUND_ROBIN, CapacityWeights.READY) > 1.1 * fits
    assert dollars(Algorithm.LEAST_OUTSTANDING, CapacityWeights.READY) > 1.1 * fits


@pytest.mark.parametrize("name", ["cloudwatch-late", "cloudwatch-absent"])
def test_a_cloudwatch_without_values_takes_no_replica_away(name: str) -> None:
    """KEDA calls it no demand, and would leave one replica a unit after ten minutes, in the middle of the day."""
    result = play(demand=lambda _: 2_000.0, faults=(fault(name, 0.5, 1.0),), seconds=2.5 * HOUR, row_s=300.0)
    assert result.totals.flow.lost == 0
    assert all(row.ready == result.rows[0].ready for row in result.rows)
    assert broken(result) == set()


def test_an_application_that_nobody_asks_any_more_shrinks_after_two_hours() -> None:
    """Its counters are silent as those of a CloudWatch without values are: what it had is held for so long, and not longer."""
    result = play(demand=lambda at: 2_000.0 if at < 0.5 * HOUR else 0.0, row_s=300.0)
    ready = {round((row.at - START) / HOUR, 2): sum(row.ready.values()) for row in result.rows}
    assert ready[2.5] == ready[0.5]
    assert ready[3.5] == len(result.rows[0].ready)


def test_adaptive_weights_are_calm_under_a_wave() -> None:
    """A demand that grows and falls, with noise: the rule is not rewritten with every sample, nobody is failed, and it is cheaper."""

    def demand(at: float) -> float:
        return 1_500.0 - 700.0 * math.cos(2 * math.pi * at / (6 * HOUR))

    policies = (PolicySettings(strategy=one) for one in (Strategy.ADAPTIVE, Strategy.TWO_MODE))
    adaptive, two_mode = (play(application=application(policy=one), demand=demand, noise=0.03, seconds=6 * HOUR) for one in policies)
    assert broken(adaptive) == set()
    assert 3 < adaptive.totals.writes["route"] < 6 * 12
    assert adaptive.totals.flow.lost < 0.001 * adaptive.totals.flow.demand
    assert adaptive.totals.dollars < two_mode.totals.dollars


@pytest.mark.parametrize("faults", [pytest.param((), id="accepted"), pytest.param((fault("api-writes-fail", 0.1, 1.0),), id="denied")])
def test_the_account_agrees_with_the_bill(faults: tuple[FaultPlan, ...]) -> None:
    """What the controller would say that it spent is within a twentieth of the node-hours.

    While its writes are denied, the account has the mode that stands, in which the unit is exposed, and not the one that is wanted.
    """
    result = play(outages=(outage(0.2, 1.5),), faults=faults, seconds=8 * HOUR)
    assert result.ledger.spend == pytest.approx(result.totals.dollars, rel=0.05)
    assert result.ledger.mode_changes == len(result.mode_changes)
    assert sum(result.ledger.seconds.values()) == pytest.approx(result.seconds, rel=0.01)
    assert result.ledger.seconds[Mode.CAPACITY] == pytest.approx(result.totals.seconds["capacity"], abs=60)  # which has a step of a minute
    assert result.ledger.exposed_s == pytest.approx(result.totals.exposed_s, abs=30)


def test_what_probes_keep_agrees_with_the_node_hours() -> None:
    """Recomputed minute by minute from the truth: ready replicas of inf2, beyond what its requests ask for, while it cannot grow."""
    made = setup(
        demand=lambda at: 400 + 2000 * max(0.0, 1 - abs(at - 3 * HOUR) / (3 * HOUR)),  # a wave of six hours
        outages=(outage(2.0, 7.5),),
        seconds=8 * HOUR,
        row_s=60.0,
    )
    result = Simulation(made, 1).run()
    unit, asked = made.application.unit(INF2), adjusted_throughputs(made.application.units)[INF2]
    kept = [
        max(0, row.ready[INF2] - max(unit.min_replicas, math.ceil(row.served[INF2] / asked)))
        for row in result.rows
        if row.mode == "capacity" and row.pending[INF2]
    ]
    assert sum(kept) > 60
    assert result.ledger.probe_dollars == pytest.approx(sum(kept) * unit.price_per_hour / 60, rel=0.05)


def test_the_calls_are_those_that_were_made() -> None:
    """Every action, and what is remembered; CloudWatch once a minute."""
    result = play(outages=(outage(0.2, 1.5),), seconds=6 * HOUR)
    calls, writes = result.ledger.calls, sum(result.totals.writes.values())
    assert writes < calls["kubernetes"] < writes + result.totals.passes
    assert calls["cloudwatch"] == 6 * 60 + 1
