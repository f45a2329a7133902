"""What can be wrong with the load-balancer controller: settings, without chance, that may be changed while it runs."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from controller.clock import Clock


@dataclass(frozen=True, slots=True)
class Faults:
    """How the load-balancer controller behaves. The defaults are a healthy one's.

    Attributes:
        lag_s: Seconds from seeing a change of an Ingress or a Service to acting on it. A retry does not wait for it.
        targets_lag_s: The same for registering and deregistering pods.
        paused: It is down: it sees changes and acts on none. Afterwards it looks at everything, as after a start.
        throttled: AWS answers ``Throttling`` to each of its calls: reconciles fail, and are tried again with growing pauses.
        lost_modify_rules: So many of the next calls of ModifyRule, counted from when this was set, are reported as done and change
            nothing.
        late_modify_rule_s: Seconds after which a ModifyRule that was reported as done shows in ELBv2. A newer one for the same rule takes
            the place of one that does not show yet.
        sync_period_s: How often it looks at everything without being told, seconds; only then, or when something changes, does it notice
            that AWS is not as it left it.
    """

    lag_s: float = 0.8
    targets_lag_s: float = 0.0
    paused: bool = False
    throttled: bool = False
    lost_modify_rules: int = 0
    late_modify_rule_s: float = 0.0
    sync_period_s: float = 36_000.0


class Throttle:
    """A token bucket: how the controller keeps itself from calling AWS too often.

    Args:
        clock: Time.
        rate: Calls a second in the long run.
        burst: Calls at once.
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
