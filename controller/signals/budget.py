"""Limits how often another system is called.

AWS throttles by account and region, and the AWS Load Balancer Controller and Karpenter draw from the same buckets: our calls reduce
theirs. So one budget covers all applications.
"""

from __future__ import annotations

import threading
from typing import Final

from controller.clock import Clock

_MAX_ROUNDS: Final = 1000  # of one wait: a clock that stands still must not hang a pass


class CallBudget:
    """A token bucket, safe to share between threads.

    A request for more than the bucket holds is granted when the bucket is full, and leaves it in debt. So a check that needs more calls
    than `burst` is possible, and the long-run rate still holds.

    Args:
        per_second: Long-run rate, calls a second; positive.
        burst: Most calls at once after a quiet time; at least 1.
        clock: Measures the time in which the bucket refills.
    """

    def __init__(self, per_second: float, burst: float, clock: Clock) -> None:
        if not 0 < per_second < float("inf"):
            raise ValueError(f"per_second must be positive and finite, got {per_second}")
        if not 1 <= burst < float("inf"):
            raise ValueError(f"burst must be at least 1 and finite, got {burst}")
        self._per_second = float(per_second)
        self._burst = float(burst)
        self._clock = clock
        self._lock = threading.Lock()
        self._tokens = float(burst)
        self._at = clock.monotonic()

    @property
    def per_second(self) -> float:
        """The long-run rate, calls a second."""
        return self._per_second

    @property
    def burst(self) -> float:
        """The most calls that may be made at once."""
        return self._burst

    def available(self) -> float:
        """Number of calls that could be made now; negative while in debt."""
        with self._lock:
            self._refill()
            return self._tokens

    def take(self, n: float = 1, *, keep: float = 0) -> bool:
        """Takes `n` calls if they are available; never blocks.

        Args:
            n: How many calls; not negative.
            keep: How many must remain for more urgent calls.

        Returns:
            Whether they were granted. If not, nothing was taken.
        """
        if n < 0 or keep < 0:
            raise ValueError(f"calls cannot be negative: n={n}, keep={keep}")
        with self._lock:
            self._refill()
            if self._tokens < min(n + keep, self._burst):
                return False
            self._tokens -= n
            return True

    def charge(self, n: float) -> None:
        """Accounts for calls that were made without asking: further pages, botocore's own retries.

        Args:
            n: How many; a negative number returns what was taken and not used.
        """
        with self._lock:
            self._refill()
            self._tokens = min(self._burst, self._tokens - n)

    def wait(self, n: float = 1, *, timeout_s: float, stop: threading.Event | None = None) -> bool:
        """Takes `n` calls and waits for them if necessary. Not for use within a pass.

        Args:
            n: How many calls.
            timeout_s: Longest wait, seconds.
            stop: Ends the wait early when set.

        Returns:
            Whether they were granted.
        """
        stop = stop or threading.Event()
        deadline = self._clock.monotonic() + max(0.0, timeout_s)
        for _ in range(_MAX_ROUNDS):
            if stop.is_set():
                return False
            if self.take(n):
                return True
            left = deadline - self._clock.monotonic()
            missing = max(0.0, min(n, self._burst) - self.available()) / self._per_second
            if left <= 0 or missing > left:
                return False  # certain already, so the caller need not wait in vain
            # A little more than is missing, because rounding could repeat the same instant for ever.
            self._clock.wait(stop, missing + 1e-6)
        return False

    def _refill(self) -> None:
        now = self._clock.monotonic()
        self._tokens = min(self._burst, self._tokens + max(0.0, now - self._at) * self._per_second)
        self._at = now
