"""A light unit's outage: the others have room for its part, so nothing but that part moves."""

from __future__ import annotations

from dataclasses import replace

from failover_analysis.simulation.recording import Result
from failover_analysis.simulation.run import Simulation
from failover_analysis.simulation.scenario import find, load
from tests.analysis.simulation.support import HOUR, outage, setup


def _played(utilization: float) -> Result:
    """A morning on the AWS sample's application; g6, with a tenth of the traffic, cannot grow for two hours."""
    sample = load(find("month")).application
    application = replace(sample, policy=replace(sample.policy, failover_utilization=utilization))
    world = setup(
        application=application,
        demand=lambda at: 900 + 350 * at / HOUR,
        seconds=3.5 * HOUR,
        noise=0.02,
        outages=(outage(0.5, 2.5, "g6.xlarge"),),
        interval_s=120.0,
    )
    return Simulation(world, 1, measured=True).run()


def test_a_light_unit_that_cannot_grow_moves_nothing_else() -> None:
    """Cheaper than the failover, no slower, and nothing fails."""
    always, absorbed = _played(0.0), _played(1.1)
    assert (always.violations, absorbed.violations) == ((), ())
    assert len(always.mode_changes) == 2
    assert absorbed.mode_changes == ()
    assert absorbed.totals.flow.lost == 0
    assert absorbed.totals.dollars < 0.9 * always.totals.dollars
    assert always.measured is not None
    assert absorbed.measured is not None
    assert absorbed.measured.added_p95_s <= always.measured.added_p95_s
    assert always.measured.needless_s > absorbed.measured.needless_s == 0.0
