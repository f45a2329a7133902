"""What KEDA and the HorizontalPodAutoscaler behind it make of a metric: pure arithmetic on what is given.

From the Kubernetes documentation of the algorithm (horizontal-pod-autoscale, "Algorithm details" and "Default behavior"): for an external
metric with an ``averageValue`` the wish is ``ceil(total / target)``, nothing is done while ``total / (target * replicas)`` is within the
tolerance of 1, growth is bounded by the larger of four pods and a doubling each period, and shrinking waits until the highest wish of the
stabilisation window is lower.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

SYNC_S: Final = 15.0
"""``--horizontal-pod-autoscaler-sync-period``: how often the controller looks, and the period of the default scaling policies, seconds."""

STABILISATION_S: Final = 300.0
"""Default ``behavior.scaleDown.stabilizationWindowSeconds``."""

TOLERANCE: Final = 0.1
"""``--horizontal-pod-autoscaler-tolerance``."""

SCALE_UP_PODS: Final = 4
"""Default scale-up policy: so many pods a period, or a doubling where that is more."""


class Autoscaler:
    """One HorizontalPodAutoscaler: what it recommended within its stabilisation window, by the metric alone."""

    def __init__(self) -> None:
        self._wishes: deque[tuple[float, int]] = deque()  # of falling wishes: the first is the highest of the window

    def remember(self, now: float, replicas: int) -> None:
        """Notes a wish as if it had been made: nothing sinks below it for the length of the window."""
        while self._wishes and self._wishes[-1][1] <= replicas:
            self._wishes.pop()
        self._wishes.append((now, replicas))

    def replicas(self, now: float, total: float, target: float, present: int, *, least: int, most: int) -> int:
        """The replicas to ask for.

        Args:
            now: Seconds of any clock.
            total: The metric.
            target: What one replica is to get of it; greater than zero.
            present: Replicas that are asked for now.
            least: KEDA's ``minReplicaCount``.
            most: Its ``maxReplicaCount``.
        """
        close = present > 0 and abs(total / (target * present) - 1) <= TOLERANCE
        self.remember(now, present if close else math.ceil(total / target - 1e-9))
        while now - self._wishes[0][0] > STABILISATION_S:
            self._wishes.popleft()
        wanted = self._wishes[-1][1]
        if wanted < present:
            wanted = min(present, self._wishes[0][1])
        elif wanted > present > 0:
            wanted = min(wanted, max(present + SCALE_UP_PODS, 2 * present))
        return min(max(wanted, least), most)
