"""EC2 takes back the spot instances of a zone, and has none for hours, while strategy `planned` runs most of the demand on spot."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.errors import RemoteError
from controller.policy.decision import Conclusion
from controller.policy.model import Action
from controller.service.application_pass import Acted
from failover_analysis.simulation.outages import Outage
from failover_analysis.simulation.replica import Replica
from failover_analysis.simulation.run import Simulation
from failover_analysis.simulation.setup import ZONES
from failover_testbed.capacity.ec2 import Shortage
from tests.analysis.simulation.support import HOUR, setup
from tests.support.spot import bought, with_spot

DEMAND = 1_500.0
WAVE_S = 2 * HOUR


class Carried:
    """What the ready replicas carry in each pass, as a share of the demand."""

    def __init__(self, simulation: Simulation) -> None:
        self._engine, self._shares = simulation.engine, list[tuple[float, float]]()
        self._engine.observers.append(self)

    def decided(self, replica: Replica, conclusion: Conclusion) -> None:
        """See `failover_analysis.simulation.replica.ReplicaObserver`."""
        ready = self._engine.workloads.units
        carried = sum(ready[unit.name].ready * unit.throughput for unit in self._engine.application.units)
        self._shares.append((self._engine.elapsed(), carried / DEMAND))

    def acted(self, replica: Replica, conclusion: Conclusion, action: Action, error: RemoteError | None) -> None:
        """See `failover_analysis.simulation.replica.ReplicaObserver`."""

    def passed(self, replica: Replica, conclusion: Conclusion, acted: Acted) -> None:
        """See `failover_analysis.simulation.replica.ReplicaObserver`."""

    def at(self, at_s: float) -> float:
        """The least share in the minute from then on."""
        return min(share for seconds, share in self._shares if at_s <= seconds < at_s + 60)


def taken_back(share: float, *zones: str) -> tuple[float, float]:
    """Plays a wave that takes every spot instance of some zones.

    Args:
        share: What must be left after a loss, as a share of the demand.
        zones: Where.

    Returns:
        What the ready replicas carry as a share of the demand, in the minutes before and after it.
    """
    made = with_spot(*ZONES)
    made = replace(made, policy=replace(made.policy, resilience_share=share))
    wave = Outage(WAVE_S, WAVE_S + 3 * HOUR, Shortage(("inf2.xlarge",), zones, capacity_types=("spot",)), most=0)
    world = setup(
        application=made, seconds=WAVE_S + HOUR, demand=lambda _: DEMAND, capacity_types=bought(made), outages=(wave,), interval_s=15.0
    )
    simulation = Simulation(world, 1)
    seen = Carried(simulation)
    assert not simulation.run().violations
    return seen.at(WAVE_S - 60), seen.at(WAVE_S)


@pytest.mark.parametrize("share", [0.6, 0.8, 1.0])
@pytest.mark.parametrize("zone", ZONES)
def test_a_wave_in_a_zone_leaves_the_resilience_share(zone: str, share: float) -> None:
    """Whichever zone it is; the on-demand units have no replica, since a family may be lost for a cold start."""
    before, after = taken_back(share, zone)
    assert before >= 1.0
    assert share <= after < before


def test_a_wave_in_all_zones_leaves_nothing_until_the_others_start() -> None:
    """That is the loss of a family, for which `resilienceSeconds` lets nothing run."""
    before, after = taken_back(0.8, *ZONES)
    assert before >= 1.0
    assert after == 0.0
