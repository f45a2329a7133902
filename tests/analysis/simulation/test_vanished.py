"""What the application names is deleted, renamed or written by another: an alert names it, and requests go to what serves."""

from __future__ import annotations

from typing import Any

import pytest

from controller.policy.conclusion import Conclusion
from controller.policy.model import Action, Mode
from controller.policy.reasons import Reason
from failover_analysis.simulation.run import Simulation
from failover_analysis.simulation.traffic import Flow
from tests.analysis.simulation.support import HOUR, INF2, fault, outage, setup


class Watched:
    """One run: when each alert was first raised, the mode changes, and for how many seconds not every request found a target."""

    def __init__(self, **changes: Any) -> None:
        simulation = Simulation(setup(**{"seconds": 3 * HOUR, **changes}), 1)
        self._engine = simulation.engine
        self.alerts: dict[str, float] = {}
        self.texts: set[str] = set()
        self.lost_s = 0.0
        simulation.engine.observers.append(self)
        simulation.engine.traffic.listeners.append(self._flowed)
        result = simulation.run()
        assert not result.violations
        self.changes = [(change.to, change.reason) for change in result.mode_changes]

    def _flowed(self, flow: Flow, seconds: float) -> None:
        self.lost_s += seconds * (flow.own_5xx > 0)

    def decided(self, _replica: object, conclusion: Conclusion) -> None:
        """See `failover_analysis.simulation.replica.ReplicaObserver`."""
        for alert in conclusion.decision.alerts:
            self.alerts.setdefault(alert.key, self._engine.elapsed())
            self.texts.add(alert.text)

    def acted(self, _replica: object, _conclusion: Conclusion, _action: Action, _error: object) -> None:
        """See `failover_analysis.simulation.replica.ReplicaObserver`."""

    def passed(self, _replica: object, _conclusion: Conclusion, _acted: object) -> None:
        """See `failover_analysis.simulation.replica.ReplicaObserver`."""

    def broke(self, error: Exception) -> None:
        """See `failover_analysis.simulation.replica.ReplicaObserver`."""
        raise error


@pytest.mark.parametrize(
    ("name", "kind"), [("node-pool-deleted", "NodePool"), ("deployment-renamed", "Deployment"), ("scaler-missing", "ScaledObject")]
)
@pytest.mark.parametrize("short", [False, True])
def test_an_object_that_is_gone_is_named_at_once(name: str, kind: str, *, short: bool) -> None:
    """Also in capacity mode, where the unit is short: that it is gone is another reason, with another remedy."""
    outages = (outage(0.25, 3),) if short else ()
    run = Watched(outages=outages, faults=(fault(name, 1.0, 0.5),))
    assert HOUR <= run.alerts[f"missing/{INF2}/{kind}"] <= HOUR + 60
    assert run.lost_s < 10  # until the load balancer follows the pods that end with their node or Deployment
    assert [mode for mode, _ in run.changes][:1] == ([Mode.CAPACITY] if short else [])


@pytest.mark.parametrize("short", [False, True])
def test_another_installation_is_named(*, short: bool) -> None:
    """Its mode is adopted like a person's, and the guards decide again from there."""
    run = Watched(outages=(outage(0.25, 3),) if short else (), faults=(fault("second-installation", 1.0),))
    assert HOUR <= run.alerts["rival"] <= HOUR + 60
    assert any("the controller in namespace another wrote the routing action last" in text for text in run.texts)
    shortage, returned = (Mode.CAPACITY, Reason.SHORTAGE_PROVEN), (Mode.COST, Reason.RETURN_PROVEN)
    assert run.changes[:2] == ([shortage, shortage] if short else [returned])
    assert run.lost_s == 0
