"""Everything that an application names, deleted, renamed or replaced at each moment of a failover and of the way back."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from controller.policy.decision import Conclusion
from controller.policy.model import Action
from failover_analysis.simulation.run import Simulation
from failover_analysis.simulation.traffic import Flow
from tests.analysis.simulation.support import HOUR, fault, outage, setup
from tests.support.applications import SERVICES

GONE_S: Final = 600.0
"""How long an object is gone, seconds; then it is there again as Git has it."""

REPLACED_S: Final = 5.0
"""How long it is gone where somebody deletes it and applies it again, as ``kubectl replace --force`` does, seconds."""


@dataclass(frozen=True, slots=True)
class Loss:
    """How an object vanishes.

    Attributes:
        fault: The fault of the simulated world.
        draw: Its draw.
        seconds: How long it is gone.
    """

    fault: str
    draw: float = 0.5
    seconds: float = GONE_S


LOSSES: Final = {
    "Ingress": Loss("ingress-recreated"),
    "Ingress, replaced": Loss("ingress-recreated", seconds=REPLACED_S),
    "routing action, made invalid": Loss("action-broken", 0.25),
    "routing action, removed": Loss("action-broken", 0.75),
    "routing action, replaced": Loss("second-installation"),
    "standby rules": Loss("standby-rules-removed"),
    "capacity Service": Loss("capacity-service-deleted", 0.75),
    "capacity Service, replaced": Loss("capacity-service-deleted", 0.75, REPLACED_S),
    "a unit's Service": Loss("unit-service-deleted", 0.75),
    "a unit's Service, replaced": Loss("unit-service-deleted", 0.75, REPLACED_S),
    "a unit's Deployment": Loss("deployment-deleted"),
    "a unit's Deployment, replaced": Loss("deployment-deleted", seconds=REPLACED_S),
    "a unit's Deployment, renamed": Loss("deployment-renamed"),
    "a unit's ScaledObject": Loss("scaler-deleted"),
    "a unit's ScaledObject, replaced": Loss("scaler-deleted", seconds=REPLACED_S),
    "a unit's NodePool": Loss("node-pool-deleted"),
    "a unit's NodePool, replaced": Loss("node-pool-deleted", seconds=REPLACED_S),
    "a unit's node class": Loss("node-class-deleted"),
    "the capacity Service's TargetGroupBinding": Loss("binding-deleted", 0.25),
    "a unit's TargetGroupBinding": Loss("binding-deleted", 0.75),
    "the capacity Service's target group in AWS": Loss("target-group-deleted", 0.25),
    "a unit's target group in AWS": Loss("target-group-deleted", 0.75),
    "load balancer": Loss("load-balancer-deleted"),
    "namespace": Loss("namespace-deleted"),
}
"""What is gone, and how. A unit is the one that is short."""

UNITS: Final = frozenset(SERVICES)

WORLD: Final[dict[str, Any]] = {"seconds": 2.6 * HOUR, "outages": (outage(0.5, 1.5),)}
"""The unit is out of capacity for an hour: the application fails over and comes back."""


class Watched:
    """One run: when each alert was raised, the mode changes, and for how many seconds not every request found a target."""

    def __init__(self, **changes: Any) -> None:
        simulation = Simulation(setup(**{"seconds": 3 * HOUR, **changes}), 1)
        self._engine = simulation.engine
        self.alerts: dict[str, float] = {}
        self.spans: dict[str, list[tuple[float, float]]] = {}  # of each alert: from when until when it was active
        self._passed = 0.0
        self.texts: set[str] = set()
        self.lost_s = 0.0
        simulation.engine.observers.append(self)
        simulation.engine.traffic.listeners.append(self._flowed)
        result = simulation.run()
        self.violations = result.violations
        self.changes = [(change.to, change.reason) for change in result.mode_changes]
        self.changed_s = [change.at - self._engine.setup.start for change in result.mode_changes]
        del self._engine  # what is left can be sent to another process

    def _flowed(self, flow: Flow, seconds: float) -> None:
        self.lost_s += seconds * (flow.own_5xx > 0)

    def decided(self, _replica: object, conclusion: Conclusion) -> None:
        """See `failover_analysis.simulation.replica.ReplicaObserver`."""
        now = self._engine.elapsed()
        for alert in conclusion.decision.alerts:
            self.alerts.setdefault(alert.key, now)
            spans = self.spans.setdefault(alert.key, [])
            lasts = bool(spans) and spans[-1][1] >= self._passed
            spans[-1:] = [(spans[-1][0], now)] if lasts else [*spans[-1:], (now, now)]
            self.texts.add(alert.text)
        self._passed = now

    def acted(self, _replica: object, _conclusion: Conclusion, _action: Action, _error: object) -> None:
        """See `failover_analysis.simulation.replica.ReplicaObserver`."""

    def passed(self, _replica: object, _conclusion: Conclusion, _acted: object) -> None:
        """See `failover_analysis.simulation.replica.ReplicaObserver`."""

    def broke(self, error: Exception) -> None:
        """See `failover_analysis.simulation.replica.ReplicaObserver`."""
        raise error


@dataclass(frozen=True, slots=True)
class Case:
    """One loss at one moment.

    Attributes:
        gone: What.
        moment: When, in words.
        run: What happened.
        back_s: When it was there again, seconds since the run began.
        beside: The same world in which nothing is gone.
    """

    gone: str
    moment: str
    run: Watched
    back_s: float
    beside: Watched

    @property
    def raised(self) -> frozenset[str]:
        """The alerts that only the loss raises, until ten minutes after its end: later ones are of what else happens in the run."""
        late = self.back_s + GONE_S
        return frozenset(key for key, at in self.run.alerts.items() if at <= late and key not in self.beside.alerts)

    @property
    def settles_s(self) -> float:
        """Seconds from when it was there again until the last of those alerts was over."""
        late = self.back_s + GONE_S
        return max((end - self.back_s for key in self.raised for begin, end in self.run.spans[key] if begin <= late), default=0.0)

    @property
    def modes(self) -> int:
        """How many mode changes more it takes than the world in which nothing is gone."""
        return len(self.run.changes) - len(self.beside.changes)


@cache
def _calm() -> Watched:
    return Watched(**WORLD)


def moments() -> dict[str, float]:
    """The moments of the undisturbed world in hours, by their names."""
    over, back, *_ = (seconds / HOUR for seconds in _calm().changed_s)
    second = 1 / HOUR
    return {
        "cost mode": 0.3,
        "1 s before the failover": over - second,
        "1 s after it": over + second,
        "10 s after it": over + 10 * second,
        "capacity mode": 1.2,
        "1 s after the fallback": back + second,
    }


def played(gone: str, moment: str) -> Case:
    """One loss at one moment."""
    loss, hour = LOSSES[gone], moments()[moment]
    run = Watched(**WORLD, faults=(fault(loss.fault, hour, loss.seconds / HOUR, value=loss.draw),))
    return Case(gone, moment, run, hour * HOUR + loss.seconds, _calm())


def table(cases: Iterable[Case]) -> str:
    """A row for each loss: at how many moments it was played, the worst of them, which alerts it raises, and what its end brings."""
    rows: dict[str, list[Case]] = {}
    for one in cases:
        rows.setdefault(one.gone, []).append(one)
    lines = [
        "| gone | moments | most seconds in which not every request found a target | alerts | when it comes back |",
        "|---|---|---|---|---|",
    ]
    for gone, found in rows.items():
        worst = max(found, key=lambda one: one.run.lost_s)
        raised = ", ".join(f"`{key}`" for key in sorted(frozenset().union(*map(alerts, found)))) or "none"
        lines.append(f"| {gone} | {len(found)} | {lost(worst)} | {raised} | {_back(found)} |")
    return "\n".join(lines)


def alerts(case: Case) -> frozenset[str]:
    """The alerts that only the loss raises, with UNIT for the name of a unit."""
    return frozenset("/".join("UNIT" if part in UNITS else part for part in key.split("/")) for key in case.raised)


def lost(worst: Case) -> str:
    """The seconds of the worst moment, and which it is."""
    return f"{math.ceil(worst.run.lost_s)} s" + (f" ({worst.moment})" if worst.run.lost_s else "")


def _back(found: list[Case]) -> str:
    """Until when the last of its alerts is over, and how often the mode changes more often than it would have."""
    settles, more = max(one.settles_s for one in found), max(one.modes for one in found)
    alerts = f"alerts over within {math.ceil(settles)} s" if settles > 0 else "alerts were over before"
    parts = [alerts] * any(one.raised for one in found) + [f"up to {more} more mode changes"] * (more > 0)
    return "; ".join(parts) or "nothing changes"
