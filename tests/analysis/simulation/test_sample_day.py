"""A day of the AWS sample's application with KEDA's default metric period of 300 s, left alone."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import pytest

from controller.errors import RemoteError
from controller.policy.decision import Conclusion
from controller.policy.model import Action, Application, Backend, Mode, PolicySettings
from controller.service.application_pass import Acted
from failover_analysis.simulation.replica import Replica
from failover_analysis.simulation.run import Simulation
from failover_analysis.simulation.variety import in_pools
from tests.analysis.simulation.support import HOUR, broken, fault, outage, setup
from tests.support.applications import application

WAVE_S = 6 * HOUR
PEAK_S = 2 * HOUR  # the first one's time
DAY_S = 24 * HOUR
SETTLED_S = HOUR
"""How long after a wave the floors may need: the scaler's window, and metrics that are up to seven minutes old."""


def waves(at_s: float) -> float:
    """Requests per period: two hours around each peak, and a low plateau of four hours between them."""
    beside = (at_s - PEAK_S + WAVE_S / 2) % WAVE_S - WAVE_S / 2
    return 400.0 + 3600.0 * max(0.0, math.cos(math.pi * beside / (2 * HOUR))) ** 2 if abs(beside) < HOUR else 400.0


class Day:
    """What the passes of a day decided.

    Attributes:
        alerts: How many passes had an alert, by key.
        most_over: By unit, by how many replicas the controller's floors were above the need on a plateau, an hour after a wave.
    """

    def __init__(self, simulation: Simulation) -> None:
        self.alerts: Counter[str] = Counter()
        self.most_over: Counter[str] = Counter()
        self._engine = simulation.engine
        self._engine.observers.append(self)

    def decided(self, replica: Replica, conclusion: Conclusion) -> None:
        """See `failover_analysis.simulation.replica.ReplicaObserver`."""
        decision, at_s = conclusion.decision, self._engine.elapsed()
        self.alerts.update(alert.key for alert in decision.alerts)
        beside = (at_s - PEAK_S + WAVE_S / 2) % WAVE_S - WAVE_S / 2
        if beside >= HOUR + SETTLED_S and at_s > PEAK_S:
            for name, scaler in self._engine.api.scalers.items():
                over = scaler.floor - max(decision.evidence[name].needed, self._engine.application.unit(name).min_replicas)
                self.most_over[name] = max(self.most_over[name], over)

    def acted(self, replica: Replica, conclusion: Conclusion, action: Action, error: RemoteError | None) -> None:
        """See `failover_analysis.simulation.replica.ReplicaObserver`."""

    def passed(self, replica: Replica, conclusion: Conclusion, acted: Acted) -> None:
        """See `failover_analysis.simulation.replica.ReplicaObserver`."""


SHARED_BY = {"sd21-g5-triton": "nvidia", "sd21-g6-triton": "nvidia", "sd21-g5-cuda": "nvidia"}
SIZES = {"inf2": ("inf2.xlarge", "inf2.8xlarge"), "g5": ("g5.xlarge", "g5.2xlarge"), "g6": ("g6.xlarge", "g6.2xlarge")}
IRREGULAR = (
    *(fault("cloudwatch-absent", at, 0.05) for at in (1.55, 6.3, 8.05, 13.55, 20.3)),  # a single period is left out
    *(fault("cloudwatch-late", at, 0.6, value=0.6) for at in (4.0, 11.5, 17.0)),  # periods come four minutes later than usual
)
"""What CloudWatch does to one or two periods now and then, on plateaus and in waves."""


def shaped() -> Application:
    """The AWS sample's application: A10G and L4 share a NodePool, and each NodePool has several sizes of its families."""
    policy = PolicySettings(stickiness_cost_s=200)
    made = in_pools(application(policy=policy, metric_period_s=300, capacity=Backend("sd21", 80)), SHARED_BY)
    units = tuple(replace(unit, instance_types=SIZES.get(unit.instance_type.partition(".")[0], ())) for unit in made.units)
    return replace(made, units=units)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("out", [False, True], ids=["all is well", "inf2 out for a wave"])
@pytest.mark.parametrize("irregular", [False, True], ids=["regular", "periods late or left out"])
def test_a_day_with_long_metric_periods(seed: int, out: bool, irregular: bool) -> None:
    """No false alert, no floor that stays, and no request lost to a mode change."""
    outages = (outage(7.0, 9.5, *SIZES["inf2"]),) if out else ()
    faults = IRREGULAR if irregular else ()
    made = setup(application=shaped(), seconds=DAY_S, demand=waves, noise=0.03, outages=outages, faults=faults)
    simulation = Simulation(made, seed)
    day = Day(simulation)
    result = simulation.run()
    assert broken(result) == set()
    # The simulated load-balancer controller loses or delays a change now and then: that alert is true.
    assert set(day.alerts) <= {"unverified"}
    assert result.totals.flow.lost == 0
    assert max(day.most_over.values()) <= 1
    assert [change.to for change in result.mode_changes] == ([Mode.CAPACITY, Mode.COST] if out else [])
