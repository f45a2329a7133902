"""The wall clock of the controller's processes: it may step, unlike virtual time."""

from __future__ import annotations

import threading

from failover_analysis.simulation.event_queue import EventQueue


class WallClock:
    """A `controller.clock.Clock` in virtual time.

    Args:
        event_queue: Virtual time, which the cluster's clock shows.
    """

    def __init__(self, event_queue: EventQueue) -> None:
        self._event_queue = event_queue
        self.ahead_s = 0.0
        """How far it is ahead of the cluster's clock, seconds."""

    def now(self) -> float:
        """See `controller.clock.Clock.now`."""
        return self._event_queue.now + self.ahead_s

    def monotonic(self) -> float:
        """See `controller.clock.Clock.monotonic`."""
        return self._event_queue.now

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Never waits: what takes time is an event of the queue."""
        del seconds
        return event.is_set()

    def real(self, seconds: float) -> float:
        """Zero: virtual time takes none."""
        del seconds
        return 0.0

    def step(self, seconds: float) -> None:
        """Sets the clock ahead, or back where `seconds` is negative."""
        self.ahead_s += seconds
