"""Faults of the load-balancer controller: deterministic settings that may change while it runs."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from controller.clock import Clock


@dataclass(frozen=True, slots=True)
class Faults:
    """How the load-balancer controller behaves. The defaults are those of a healthy one.

    Attributes:
        lag_s: Seconds between seeing a change of an Ingress or Service and acting on it. A retry does not wait for it.
        targets_lag_s: The same for registering and deregistering pods.
        paused: It sees changes but acts on none. Afterwards it reconciles everything, as after a start.
        throttled: AWS answers ``Throttling`` to all its calls: reconciles fail and are retried with growing pauses.
        lost_modify_rules: How many of the next ModifyRule calls are reported as done but change nothing.
        late_modify_rule_s: Seconds until a ModifyRule that was reported as done takes effect. A newer call for the same rule replaces one
            that has no effect yet.
        sync_period_s: Interval of full reconciles, seconds. Only these, and changes in Kubernetes, detect that something else changed AWS.
    """

    lag_s: float = 0.8
    targets_lag_s: float = 0.0
    paused: bool = False
    throttled: bool = False
    lost_modify_rules: int = 0
    late_modify_rule_s: float = 0.0
    sync_period_s: float = 36_000.0


class Throttle:
    """A token bucket: limits how often the controller calls AWS.

    Args:
        clock: Time.
        rate: Calls per second in the long run.
        burst: Calls without a pause.
    """

    def __init__(self, clock: Clock, rate: float, burst: int) -> None:
        self._clock, self._rate, self._burst = clock, rate, float(burst)
        self._lock = threading.Lock()
        self._tokens, self._at = float(burst), clock.monotonic()

    def take(self) -> float:
        """Takes a token.

        Returns:
            Seconds to wait before the call may be made.
        """
        with self._lock:
            now = self._clock.monotonic()
            self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate) - 1.0
            self._at = now
            return max(0.0, -self._tokens / self._rate)
