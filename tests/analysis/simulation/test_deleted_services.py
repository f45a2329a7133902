"""A Service is deleted while it serves: the traffic moves at once to what can serve, and back once that is proven right again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controller.policy.model import Mode
from controller.policy.reasons import Reason
from failover_analysis.simulation.run import Simulation
from failover_analysis.simulation.traffic import Flow
from tests.analysis.simulation.support import HOUR, fault, outage, setup

TOLERANT, STRICT = 0.75, 0.25
"""Draws of the fault: the load-balancer controller answers 503 for a Service that does not exist, or builds nothing any more."""


def _played(**changes: Any) -> tuple[list[tuple[Mode, str]], float]:
    """The mode changes with their reasons, and for how many seconds no or not every request found a target."""
    simulation = Simulation(replace(setup(seconds=3 * HOUR), **changes), 1)
    lost = [0.0]

    def watch(flow: Flow, seconds: float) -> None:
        lost[0] += seconds * (flow.own_5xx > 0)

    simulation.engine.traffic.listeners.append(watch)
    result = simulation.run()
    assert not result.violations
    return [(change.to, change.reason) for change in result.mode_changes], lost[0]


def test_the_capacity_service_deleted_in_capacity_mode_costs_seconds() -> None:
    """Its units were healthy behind standby rules all the time. Once the Service is back, the shortage that lasts leads there again."""
    changes, lost_s = _played(outages=(outage(0.25, 3),), faults=(fault("capacity-service-deleted", 1.5, 0.5, value=TOLERANT),))
    assert changes[:2] == [(Mode.CAPACITY, Reason.SHORTAGE_PROVEN), (Mode.COST, Reason.NOTHING_ANSWERS)]
    assert [mode for mode, _ in changes[2:]] == [Mode.CAPACITY]
    assert 0 < lost_s < 10


def test_a_strict_load_balancer_controller_needs_the_service_back() -> None:
    """It builds nothing while a standby rule names the Service, whatever the action says. The mode does not go back and forth for that."""
    changes, lost_s = _played(outages=(outage(0.25, 3),), faults=(fault("capacity-service-deleted", 1.5, 0.5, value=STRICT),))
    assert [mode for mode, _ in changes] == [Mode.CAPACITY, Mode.COST, Mode.CAPACITY]
    assert 0.4 * HOUR < lost_s < 0.6 * HOUR


@pytest.mark.parametrize("unit", ["sd21-inf2", "sd21-g6-triton"])
def test_a_units_service_deleted_in_cost_mode_leaves_the_action(unit: str) -> None:
    """The mode stays: the others get its share."""
    changes, lost_s = _played(faults=(fault("unit-service-deleted", 1.0, 0.5, unit, TOLERANT),))
    assert changes == []
    assert 0 < lost_s < 10
