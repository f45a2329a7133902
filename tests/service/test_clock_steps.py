"""The wall clock is set while the service runs: passes stay due when they were."""

from __future__ import annotations

import pytest

from controller.clock import ManualClock, Steps
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


class Stalling(ManualClock):
    """A clock whose thread waits for a minute after it has read the wall clock, while it stalls."""

    stalls = 0

    def now(self) -> float:
        read = super().now()
        if self.stalls:
            self.stalls -= 1
            self.advance(60.0)
        return read


def test_a_thread_that_waits_sees_no_step() -> None:
    """Neither when it begins to watch the clocks nor later."""
    clock = Stalling(NOW)
    clock.stalls = 1
    steps = Steps(clock)
    assert steps.taken() == 0.0
    clock.stalls = 1
    assert [steps.taken(), steps.taken()] == [0.0, 0.0]
    clock.step(-3600.0)
    clock.stalls = 1
    assert [steps.taken(), steps.taken(), steps.taken()] == [0.0, -3600.0, 0.0]


@pytest.mark.parametrize("seconds", [3600.0, -3600.0])
def test_no_pass_waits_for_a_wall_clock(seconds: float) -> None:
    """A clock that was set back an hour stopped the passes for an hour."""
    clock, app = ManualClock(NOW), application()
    view = ClusterView(clock, lambda: None)
    external = ExternalSources(view, verifier=None, metrics=None, capacity=None)
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
