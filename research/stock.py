"""The replicas of an application in the played worlds: they are paid from their request on, and serve a cold start later."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from controller.policy.model import Unit
from failover_testbed.traffic.autoscaler import Autoscaler

HPA_S: Final = 30.0
"""How often KEDA reads the metric (``pollingInterval``), seconds."""

COLD_START_S: Final = 600.0
"""From the request for a replica to its first request, seconds: the middle of the AWS sample's 5 to 15 minutes."""


class Stock:
    """Ready and starting replicas by unit, beginning with each unit's fewest.

    Attributes:
        ready: Serving replicas by unit.
        starting: Starting replicas by unit: the remaining steps of each.
    """

    def __init__(self, units: Sequence[Unit], step_s: float) -> None:
        self.ready = {unit.name: unit.min_replicas for unit in units}
        self._units, self._step_s = {unit.name: unit for unit in units}, step_s
        self.starting: dict[str, list[int]] = {unit.name: [] for unit in units}
        self._autoscalers = {unit.name: Autoscaler() for unit in units}

    def count(self, name: str) -> int:
        """Replicas of a unit that exist, ready or not."""
        return self.ready[name] + len(self.starting[name])

    def throughput(self) -> dict[str, float]:
        """What the ready replicas of each unit carry, requests per period."""
        return {name: self.ready[name] * unit.throughput for name, unit in self._units.items()}

    def paid(self) -> float:
        """The price of all replicas that exist, $/h."""
        return sum(self.count(name) * unit.price_per_hour for name, unit in self._units.items())

    def late(self, sent: Mapping[str, float]) -> float:
        """Requests per period beyond what the ready replicas of their unit carry."""
        return sum(max(0.0, requests - self.ready[name] * self._units[name].throughput) for name, requests in sent.items())

    def limit(self, most: Mapping[str, int]) -> None:
        """A step begins: replicas become ready, and those beyond the most of their unit are lost."""
        for name, left in self.starting.items():
            self.ready[name] += sum(1 for steps in left if steps <= 1)
            self.ready[name] = min(self.ready[name], most[name])
            self.starting[name] = [steps - 1 for steps in left if steps > 1][: most[name] - self.ready[name]]

    def put(self, name: str, count: int) -> None:
        """Sets how many replicas of a unit exist. Those that are starting go first."""
        present = self.count(name)
        if count > present:
            self.starting[name] += [max(1, math.ceil(COLD_START_S / self._step_s))] * (count - present)
        elif count < present:
            cut = min(present - count, len(self.starting[name]))
            self.starting[name] = self.starting[name][: len(self.starting[name]) - cut]
            self.ready[name] -= present - count - cut

    def scale(self, name: str, now: float, sent: float, target: float, *, least: int, most: int, waits_s: float = 0.0) -> None:
        """A unit's HPA sets its replicas, several times a step.

        Args:
            name: The unit.
            now: Seconds since the first step.
            sent: The requests that its counter shows, per period.
            target: Requests per period and replica.
            least: Fewest replicas.
            most: Most replicas, which bounds `least`.
            waits_s: How long it waits before it adds replicas, seconds.
        """
        asked, times = self.count(name), max(1, round(self._step_s / HPA_S))
        for poll in range(times):
            at = now + poll * self._step_s / times
            asked = self._autoscalers[name].replicas(at, sent, target, asked, least=min(most, least), most=most, scale_out_s=waits_s)
        self.put(name, asked)
