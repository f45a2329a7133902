"""What a user has without the controller: static weights alone, the AWS sample's checker, or a priority list of instance types."""

from __future__ import annotations

from typing import Any

import pytest

from controller.policy.model import Mode
from failover_analysis.simulation.aws_sample import QUERY_WAIT_S, RETURN_S, SLEEP_S, WINDOW_S
from failover_analysis.simulation.recording import Result
from failover_analysis.simulation.run import Simulation
from failover_analysis.simulation.setup import Installed
from failover_testbed.capacity.ec2 import FleetAnswer
from tests.analysis.simulation.support import HOUR, INF2, START, fault, outage, setup, with_limits

OUTAGE = (outage(0.2, 3.5),)


def run(installed: Installed, seed: int = 1, **changes: Any) -> Simulation:
    """A run to its end."""
    simulation = Simulation(with_limits(setup(installed=installed, row_s=300.0, **changes)), seed, measured=True)
    simulation.run()
    return simulation


def result(installed: Installed, seed: int = 1, **changes: Any) -> Result:
    """Its result."""
    return Simulation(with_limits(setup(installed=installed, row_s=300.0, **changes)), seed, measured=True).run()


def test_with_nothing_installed_nothing_is_decided_or_written() -> None:
    """No mode change, no new weights, no floors; KEDA still scales."""
    made = run(Installed.NOTHING, outages=OUTAGE, faults=(fault("restart", 1.0), fault("memory-lost", 1.1), fault("lease-taken", 1.2)))
    totals = made.recorder.totals
    assert (totals.passes, totals.writes, made.recorder.mode_changes) == (0, {}, [])
    assert made.engine.api.calls == made.engine.store.calls == 0
    assert {row.mode for row in made.recorder.rows} == {"cost"}
    assert len({tuple(row.wanted.items()) for row in made.recorder.rows}) == 1
    assert max(row.desired[INF2] for row in made.recorder.rows) > made.recorder.rows[0].desired[INF2]


def test_nobody_repairs_what_others_write_where_nothing_is_installed() -> None:
    """Not even a day later; the checker's next return applies its own Ingress again."""
    edited = (fault("action-edited", 1.0),)
    wanted = [one.rows[-1].wanted for one in (result(who, faults=edited, seconds=25 * HOUR, demand=lambda _at: 600) for who in Installed)]
    controller, sample, _listed, nothing = wanted
    assert controller == sample
    assert nothing != sample


def test_the_checker_fails_over_within_a_round_of_the_refusal_and_returns_only_with_the_next_day() -> None:
    """Although capacity is back after an hour, and nothing tells whether it is when it returns."""
    first, second = result(Installed.AWS_SAMPLE, outages=(outage(0.2, 1.0),), seconds=30 * HOUR, demand=_morning).mode_changes
    assert (first.to, first.verb) == (Mode.CAPACITY, "failover")
    assert 0.2 * HOUR < first.at - START < 1.0 * HOUR + SLEEP_S + QUERY_WAIT_S
    assert (second.to, second.at) == (Mode.COST, START + RETURN_S)


def _morning(at: float) -> float:
    return min(2000.0, 600 + 700 * at / HOUR)


def test_the_checker_returns_to_a_unit_that_is_still_short() -> None:
    """And fails over again a round later: there is no proof of return."""
    changes = result(Installed.AWS_SAMPLE, outages=(outage(0.2, 30.0),), seconds=30 * HOUR, demand=_morning).mode_changes
    assert [one.to for one in changes] == [Mode.CAPACITY, Mode.COST, Mode.CAPACITY]
    assert changes[2].at - changes[1].at < 2 * (SLEEP_S + QUERY_WAIT_S) + WINDOW_S


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_checker_sets_the_targets_of_its_mode_and_no_floor(seed: int) -> None:
    """Table 2 in capacity mode; what a person or the API server stops is not applied."""
    made = run(Installed.AWS_SAMPLE, seed, outages=OUTAGE, fleet=FleetAnswer.ALL_ZONES)
    assert made.truth.mode() is Mode.CAPACITY
    assert {name: one.target for name, one in made.engine.api.scalers.items()}[INF2] == "89.2"
    assert {one.floor for one in made.engine.api.scalers.values()} == {1}
    failing = run(Installed.AWS_SAMPLE, seed, outages=OUTAGE, faults=(fault("api-writes-fail", 0.0, 4.0),))
    assert failing.recorder.mode_changes == []


@pytest.mark.parametrize("installed", list(Installed))
def test_the_world_is_the_same_for_all_of_them(installed: Installed) -> None:
    """Equal seeds give equal runs, and the same demand with every contender."""
    one, other = (result(installed, outages=OUTAGE, noise=0.0) for _ in range(2))
    assert one.digest == other.digest
    assert one.totals.flow.demand == pytest.approx(result(Installed.CONTROLLER, outages=OUTAGE).totals.flow.demand, rel=1e-3)
    assert installed is Installed.CONTROLLER or not one.violations


def test_demand_beyond_what_is_ready_is_counted_as_time_and_as_requests() -> None:
    """Static weights send inf2 its share while it cannot grow: its answers come late, then it sheds."""
    nothing, controller = (result(who, outages=OUTAGE) for who in (Installed.NOTHING, Installed.CONTROLLER))
    assert nothing.measured is not None
    assert controller.measured is not None
    assert nothing.measured.exposed_s > 2 * HOUR > controller.measured.exposed_s
    assert nothing.measured.late > controller.measured.late
    assert nothing.totals.flow.lost > controller.totals.flow.lost


def test_a_priority_list_fills_the_cheapest_type_first_and_the_next_where_it_is_refused() -> None:
    """The refused replicas go on waiting; once they have come, the more expensive ones go."""
    rows = run(Installed.PRIORITY_LIST, outages=(outage(0.5, 1.5),), seconds=4 * HOUR, demand=_morning).recorder.rows
    others = {at: {name: count for name, count in row.ready.items() if name != INF2} for at, row in ((row.at - START, row) for row in rows)}
    assert any(count for at, ready in others.items() if HOUR < at < 2 * HOUR for count in ready.values())
    waiting = [row.pending[INF2] for row in rows if 0.8 * HOUR < row.at - START < 1.5 * HOUR]
    assert waiting
    assert min(waiting) > 0
    assert sum(others[max(others)].values()) <= 1  # what the autoscaler's tolerance leaves
    assert rows[-1].ready[INF2] >= 2000 / 105 - 1
