"""Everything that an application names, deleted, renamed or replaced at each moment of a failover and of the way back."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from controller.policy.decision import Conclusion
from controller.policy.model import Action
from failover_analysis.simulation.run import Simulation
from failover_analysis.simulation.traffic import Flow
from tests.analysis.simulation.support import HOUR, fault, outage, setup

LASTS_S: Final = 600.0
"""How long an object is gone, seconds; then it is there again as before."""

OBJECTS: Final = {
    "Ingress": ("ingress-recreated", 0.5),
    "routing action, made invalid": ("action-broken", 0.25),
    "routing action, removed": ("action-broken", 0.75),
    "routing action, replaced": ("second-installation", 0.5),
    "standby rules": ("standby-rules-removed", 0.5),
    "capacity Service": ("capacity-service-deleted", 0.75),
    "a unit's Service": ("unit-service-deleted", 0.75),
    "a unit's Deployment, renamed": ("deployment-renamed", 0.5),
    "a unit's ScaledObject": ("scaler-missing", 0.5),
    "a unit's NodePool": ("node-pool-deleted", 0.5),
}
"""What is gone, with the fault and its draw; a unit is the one that is short."""

WORLD: Final[dict[str, Any]] = {"seconds": 4 * HOUR, "outages": (outage(0.5, 1.5),)}
"""The unit is out of capacity for an hour: the application fails over and comes back."""


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
        self.violations = result.violations
        self.changes = [(change.to, change.reason) for change in result.mode_changes]
        self.changed_s = [change.at - self._engine.setup.start for change in result.mode_changes]

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


@dataclass(frozen=True, slots=True)
class Case:
    """One object gone at one moment.

    Attributes:
        gone: What.
        moment: When, in words.
        run: What happened.
        beside: The alerts of the same world in which nothing is gone.
    """

    gone: str
    moment: str
    run: Watched
    beside: frozenset[str]


def moments() -> tuple[dict[str, float], frozenset[str]]:
    """The moments of the undisturbed world in hours, by their names, and its alerts."""
    calm = Watched(**WORLD)
    over, back, *_ = (seconds / HOUR for seconds in calm.changed_s)
    second = 1 / HOUR
    return {
        "cost mode": 0.3,
        "1 s before the failover": over - second,
        "1 s after it": over + second,
        "10 s after it": over + 10 * second,
        "capacity mode": 1.2,
        "1 s after the fallback": back + second,
    }, frozenset(calm.alerts)


def cases() -> Iterator[Case]:
    """Every object at every moment."""
    at, beside = moments()
    for gone, (name, value) in OBJECTS.items():
        for moment, hour in at.items():
            run = Watched(**WORLD, faults=(fault(name, hour, LASTS_S / HOUR, value=value),))
            yield Case(gone, moment, run, beside)


def table(played: Iterator[Case]) -> str:
    """A row for each object: at how many moments it was gone, the worst of them, and which alerts it raises."""
    rows: dict[str, list[Case]] = {}
    for one in played:
        rows.setdefault(one.gone, []).append(one)
    lines = ["| gone for 10 min | moments | most seconds in which not every request found a target | alerts |", "|---|---|---|---|"]
    for gone, found in rows.items():
        worst = max(found, key=lambda one: one.run.lost_s)
        raised = sorted({key for one in found for key in one.run.alerts.keys() - one.beside})
        when = f" ({worst.moment})" if worst.run.lost_s else ""
        alerts = ", ".join(f"`{key}`" for key in raised) or "none"
        lines.append(f"| {gone} | {len(found)} | {math.ceil(worst.run.lost_s)} s{when} | {alerts} |")
    return "\n".join(lines)
