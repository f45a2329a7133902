"""CloudWatch, and KEDA, which scales by it.

A period's sums appear a minute or more after its end, and periods appear in their order. The controller leaves out the newest period, as
`controller.signals.cloudwatch` does. KEDA reads the newest value.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from controller.policy.model import Application
from failover_analysis.simulation.api import KubeApi
from failover_analysis.simulation.event_queue import EventQueue
from failover_analysis.simulation.fault_state import FaultState
from failover_analysis.simulation.traffic import Flow, Traffic
from failover_analysis.simulation.workloads import Workloads
from failover_testbed.traffic.autoscaler import Autoscaler

KEDA_S: Final = 30.0
"""``pollingInterval``, KEDA's default, seconds. The autoscaler polls more often, but the metric changes once a minute."""

_LAG_S: Final = (60.0, 150.0)  # facts on the load balancer, section 8: the last complete minute typically appears after 1 to 3 min
_WINDOW_S: Final = 300.0  # KEDA's metricCollectionTime, its default; it must not be shorter than a period


@dataclass(frozen=True, slots=True)
class Period:
    """One metric period: its flow and its end."""

    end: float
    flow: Flow


class CloudWatch:
    """The metrics that CloudWatch has published.

    Args:
        event_queue: Virtual time.
        application: The simulated application.
        traffic: The traffic to count.
        fault_state: The faults in force.
        chance: A random stream of its own.
    """

    def __init__(
        self, event_queue: EventQueue, application: Application, traffic: Traffic, fault_state: FaultState, chance: random.Random
    ) -> None:
        self._event_queue, self._application, self._traffic, self._fault_state, self._chance = (
            event_queue,
            application,
            traffic,
            fault_state,
            chance,
        )
        self._counting = Flow()
        self._shown_until = 0.0
        self.newest: Period | None = None  # that is published
        self.period_s = application.metric_period_s
        traffic.listeners.append(lambda flow, _seconds: self._counting.add(flow))
        event_queue.every(application.metric_period_s, self._publish)

    def warm(self, flow: Flow) -> None:
        """Publishes one past period at the start."""
        self.newest = Period(self._event_queue.now, flow)

    def _publish(self) -> None:
        self._traffic.advance()
        period, self._counting = Period(self._event_queue.now, self._counting), Flow()
        if self._fault_state.cloudwatch_absent:
            return
        due = self._event_queue.now + self._chance.uniform(*_LAG_S) + self._fault_state.cloudwatch_late_s
        self._shown_until = max(self._shown_until, due)  # periods appear in order
        self._event_queue.at(self._shown_until, lambda: self._show(period))

    def _show(self, period: Period) -> None:
        self.newest = period


class Keda:
    """Sets the replicas of every unit that has a ScaledObject.

    Args:
        event_queue: Virtual time.
        api: The ScaledObjects.
        cloudwatch: The counters.
        workloads: The Deployments.
        advanced: Called before replicas change.
    """

    def __init__(
        self, event_queue: EventQueue, api: KubeApi, cloudwatch: CloudWatch, workloads: Workloads, advanced: Callable[[], None]
    ) -> None:
        self._event_queue, self._api, self._cloudwatch, self._workloads, self._advanced = event_queue, api, cloudwatch, workloads, advanced
        self._window_s = max(_WINDOW_S, cloudwatch.period_s)
        self._autoscalers = {name: Autoscaler() for name in api.scalers}
        for name, autoscaler in self._autoscalers.items():
            autoscaler.remember(event_queue.now, workloads.units[name].desired)
        event_queue.every(KEDA_S, self._poll)

    def changed(self, unit: str) -> None:
        """A ScaledObject was written: KEDA updates its autoscaler within a fraction of a second."""
        self._event_queue.after(0.2, lambda: self._scale(unit))

    def _poll(self) -> None:
        for unit in self._autoscalers:
            self._scale(unit)

    def _scale(self, unit: str) -> None:
        scaler = self._api.scalers[unit]
        if scaler.paused or not scaler.exists:
            return
        pods, period = self._workloads.units[unit], self._cloudwatch.newest
        fresh = period is not None and self._event_queue.now - period.end <= self._window_s
        total = period.flow.units[unit].requests if fresh and period is not None and unit in period.flow.units else 0.0
        wanted = self._autoscalers[unit].replicas(
            self._event_queue.now,
            max(total, scaler.least_metric),
            float(scaler.target),
            pods.desired,
            least=scaler.floor,
            most=scaler.most,
            scale_in_s=scaler.scale_in_s,
            scale_out_s=scaler.scale_out_s,
        )
        if wanted != pods.desired:
            self._advanced()
            self._workloads.scale(unit, wanted)
