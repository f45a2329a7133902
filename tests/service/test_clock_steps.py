"""The wall clock is set while the service runs: passes stay due when they were."""

from __future__ import annotations

import pytest

from controller.clock import ManualClock
from controller.service.controller import Controller
from controller.service.leadership import SingleReplica
from controller.service.telemetry import Telemetry
from controller.signals.cluster import ClusterView
from controller.signals.external import ExternalSources
from controller.signals.observer import ClusterObserver
from failover_analysis.simulation.api import Store
from failover_analysis.simulation.fault_state import FaultState
from tests.support.applications import NOW, application

INTERVAL_S = 15.0


@pytest.mark.parametrize("seconds", [3600.0, -3600.0])
def test_no_pass_waits_for_a_wall_clock(seconds: float) -> None:
    """A clock that was set back an hour stopped the passes for an hour."""
    clock, app = ManualClock(NOW), application()
    view = ClusterView(clock, lambda: None)
    external = ExternalSources(view, verifier=None, metrics=None, capacity=None, changed=lambda _: None)
    observer = ClusterObserver(view, external, lambda: (), clock, watch_budget_s=180.0)
    controller = Controller(
        view, observer, Store(FaultState()), None, SingleReplica(clock), None, Telemetry(), clock, interval_s=INTERVAL_S
    )
    controller.configure({app.key: app})
    assert controller.run_due() <= INTERVAL_S
    clock.step(seconds)
    clock.advance(1.0)
    assert controller.run_due() <= INTERVAL_S
    assert controller.views()[0].snapshot.now == NOW  # nothing is due yet
    clock.advance(INTERVAL_S)
    controller.run_due()
    assert controller.views()[0].snapshot.now == NOW + seconds + INTERVAL_S + 1.0
