"""The wall clock is set while the service runs: passes and jobs stay due when they were."""

from __future__ import annotations

import threading
import time
from datetime import datetime, tzinfo
from typing import Self
from unittest.mock import Mock

import pytest

from controller.clients.calls import CallMeter
from controller.clock import Steps, SystemClock
from controller.service.controller import Controller
from controller.service.leadership import SingleReplica
from controller.service.telemetry import Telemetry
from controller.service.wiring import Service
from controller.settings import Settings
from controller.signals.cluster import ClusterView
from controller.signals.external import ExternalSources
from controller.signals.observer import ClusterObserver
from failover_analysis.simulation.api import Store
from failover_analysis.simulation.fault_state import FaultState
from failover_testbed.clocks import ManualClock
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
    external = ExternalSources(view, verifier=None)
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


class _Set(datetime):
    """The machine's wall clock, which somebody sets."""

    ahead_s = 0.0

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return cls.fromtimestamp(time.time() + cls.ahead_s, tz)


@pytest.mark.parametrize("steps", [[-3600.0], [3600.0], [-3600.0, 0.0]], ids=["back", "ahead", "back, and right again"])
def test_no_job_waits_for_a_wall_clock(steps: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """APScheduler runs by it: a clock that was set back an hour stopped every check, poll and reload for an hour."""
    monkeypatch.setattr("apscheduler.schedulers.base.datetime", _Set)
    monkeypatch.setattr(_Set, "ahead_s", 0.0)
    monkeypatch.setattr(SystemClock, "now", lambda _: time.time() + _Set.ahead_s)
    settings = Settings.model_validate({"http": {"host": "127.0.0.1", "port": 0}})
    service, ran = Service(settings, Mock(meter=CallMeter()), SystemClock(), dry_run=True), threading.Event()
    service.controller = Mock(run_due=lambda: 0.02)
    loop = threading.Thread(target=service._loop)
    try:
        service._every("job", 0.02, ran.set)
        service._scheduler.start()
        loop.start()
        assert ran.wait(20)
        for ahead_s in steps:
            _Set.ahead_s = ahead_s
            time.sleep(0.1)  # in which the scheduler finds that nothing is due
            for _ in range(3):
                ran.clear()
                assert ran.wait(20)
    finally:
        service.stop()
        loop.join()
        service._scheduler.shutdown(wait=False)
        service._http.stop()
