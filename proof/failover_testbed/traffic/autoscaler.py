"""The arithmetic of the HorizontalPodAutoscaler that KEDA makes for each ScaledObject. Pure.

From the Kubernetes documentation of the algorithm (horizontal-pod-autoscale, "Algorithm details" and "Default behavior"): for an external
metric with an ``averageValue`` the recommendation is ``ceil(total / target)``, nothing changes while ``total / (target * replicas)`` is
within the tolerance of 1, growth is bounded by the larger of four pods and a doubling each period, growing waits until the lowest
recommendation of its stabilisation window is higher, and shrinking until the highest one of its own is lower.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

from controller.policy.model import SCALE_IN_S

TOLERANCE: Final = 0.1
"""``--horizontal-pod-autoscaler-tolerance``."""

SCALE_UP_PODS: Final = 4
"""Default scale-up policy: this many pods a period, or a doubling where that is more."""


class Autoscaler:
    """One HorizontalPodAutoscaler: its recommendations from the metric within the stabilisation windows."""

    def __init__(self) -> None:
        self._recommended: deque[tuple[float, int]] = deque()  # by decreasing replicas: the first is the highest in the window
        self._lowest: deque[tuple[float, int]] = deque()  # by increasing replicas: the first is the lowest in the window

    def remember(self, now: float, replicas: int) -> None:
        """Records a recommendation; replicas stay at or above it for the length of the window."""
        while self._recommended and self._recommended[-1][1] <= replicas:
            self._recommended.pop()
        self._recommended.append((now, replicas))
        while self._lowest and self._lowest[-1][1] >= replicas:
            self._lowest.pop()
        self._lowest.append((now, replicas))

    def replicas(
        self,
        now: float,
        total: float,
        target: float,
        present: int,
        *,
        least: int,
        most: int,
        may_grow: bool = True,
        scale_in_s: float | None = SCALE_IN_S,
        scale_out_s: float = 0.0,
    ) -> int:
        """The replicas to set.

        Args:
            now: Seconds of any clock.
            total: The metric's value.
            target: The metric's target per replica; greater than zero.
            present: Replicas in the Deployment's spec now.
            least: KEDA's ``minReplicaCount``; applies at once, even if growth is forbidden.
            most: KEDA's ``maxReplicaCount``.
            may_grow: False where KEDA's ``paused-scale-out`` forbids growth.
            scale_in_s: The stabilisation window of shrinking; None where ``selectPolicy: Disabled`` keeps replicas from going at all.
            scale_out_s: That of growing. KEDA's ``minReplicaCount`` does not wait for it.
        """
        close = present > 0 and abs(total / (target * present) - 1) <= TOLERANCE
        self.remember(now, present if close else math.ceil(total / target - 1e-9))
        while now - self._recommended[0][0] > (scale_in_s or 0.0):
            self._recommended.popleft()
        while now - self._lowest[0][0] > scale_out_s:
            self._lowest.popleft()
        wanted = self._recommended[-1][1]
        if wanted < present:
            wanted = present if scale_in_s is None else min(present, self._recommended[0][1])
        elif not may_grow:
            wanted = present
        elif wanted > present > 0:
            wanted = min(max(present, self._lowest[0][1]), max(present + SCALE_UP_PODS, 2 * present))
        return min(max(wanted, least), most)
