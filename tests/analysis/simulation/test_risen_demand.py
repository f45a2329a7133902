"""A shortage is proven while the controller knows only the demand from before a rise: the scalers have found the rise already."""

from __future__ import annotations

import pytest

from controller.policy.model import PolicySettings
from failover_analysis.simulation.run import Simulation
from tests.analysis.simulation.support import HOUR, START, fault, outage, setup
from tests.support.applications import application

_RISE_S = 2520.0


@pytest.mark.parametrize("rise", [(600, 1600), (1500, 2500)])
def test_a_shortage_is_not_absorbed_on_the_demand_of_the_past(rise: tuple[float, float]) -> None:
    """CloudWatch does not answer the controller from before the rise on. It was held until the sample was too old to be used."""
    before, after = rise
    made = setup(
        application=application(policy=PolicySettings()),
        seconds=1.2 * HOUR,
        demand=lambda at: before if at < _RISE_S else after,
        outages=(outage(0.5, 3),),
        faults=(fault("cloudwatch-throttled", (_RISE_S - 30) / HOUR, 0.3),),
    )
    result = Simulation(made, 1).run()
    assert not result.violations
    (change,) = result.mode_changes
    assert change.at - START - _RISE_S < 240
