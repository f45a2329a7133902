"""A priority list of pools as an actor in the simulated world: what a user has who scales one fleet over all types, the cheapest first.

SageMaker AI's instance pools work like this (documentation, "Deploy to multiple instance types with instance pools"): the first pool of an
ordered list gets the instances, and what it cannot have for want of capacity goes to the next. One Service over all ready pods gets the
requests, and one autoscaler the demand. There are no weights, no mode changes and no spare replicas.

Where that leaves something open, the model favours it: the list is in order of the price of a request, each type is filled to its own rated
throughput, a unit without work has no replica, the refused replicas keep asking for free, and nothing goes before its replacement is ready.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from controller.policy.model import Application, Unit
from failover_analysis.simulation.cluster import Pod, UnitPods
from failover_analysis.simulation.event_queue import EventQueue
from failover_analysis.simulation.metrics import KEDA_S, CloudWatch
from failover_analysis.simulation.workloads import Workloads
from failover_testbed.traffic.autoscaler import Autoscaler

PATIENCE_S: Final = 60.0
"""How long a replica waits for a launch before the next type of the list replaces it, seconds: every zone has refused by then."""

_ROUNDING: Final = 1e-9


class PriorityList:
    """Sets the replicas of every unit from the demand of all.

    Args:
        event_queue: Virtual time.
        application: The units.
        cloudwatch: The counters.
        workloads: The Deployments.
        advanced: Called before replicas change.
    """

    def __init__(
        self,
        event_queue: EventQueue,
        application: Application,
        cloudwatch: CloudWatch,
        workloads: Workloads,
        advanced: Callable[[], None],
    ) -> None:
        self._event_queue, self._cloudwatch, self._workloads, self._advanced = event_queue, cloudwatch, workloads, advanced
        self._units = sorted(application.units, key=lambda unit: unit.price_per_hour / unit.throughput)
        self._autoscalers = {unit.name: Autoscaler() for unit in self._units}
        event_queue.every(KEDA_S, self._poll)

    def _poll(self) -> None:
        if self._cloudwatch.newest is None:
            return
        missing = unserved = self._cloudwatch.newest.flow.demand
        for unit in self._units:
            pods = self._workloads.units[unit.name]
            asked, kept = _replicas(missing, unit), min(_replicas(unserved, unit), pods.desired)
            wanted = self._autoscalers[unit.name].replicas(
                self._event_queue.now,
                max(asked, kept) * unit.throughput,
                unit.throughput,
                pods.desired,
                least=0,
                most=unit.max_replicas,
            )
            if wanted != pods.desired:
                self._advanced()
                self._workloads.scale(unit.name, wanted)
            missing -= (min(asked, unit.max_replicas) - self._refused(pods)) * unit.throughput
            unserved -= pods.ready * unit.throughput

    def _refused(self, pods: UnitPods) -> int:
        """How many replicas have waited too long for an instance."""
        since = self._event_queue.now - PATIENCE_S
        return sum(not _launched(pod) and pod.unschedulable_since is not None and pod.unschedulable_since < since for pod in pods.pending())


def _launched(pod: Pod) -> bool:
    return pod.claim is not None and pod.claim.launched is not None and not pod.claim.gone


def _replicas(requests: float, unit: Unit) -> int:
    return max(0, math.ceil(requests / unit.throughput - _ROUNDING))
