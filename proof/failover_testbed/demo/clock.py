"""The time of a scenario: as fast as asked for, and no faster than this machine can play it."""

from __future__ import annotations

import math
import threading
from typing import Final

from controller.clock import Clock
from failover_testbed.clocks import AcceleratedClock

LEAD_S: Final = 2.0
"""How far time goes on after the last step of the player, seconds of the clock: four of its pauses."""

_LEAST_WAIT_S: Final = 0.001


class PacedClock(AcceleratedClock):
    """A clock that runs `factor` times as fast as the machine's, unless the player of the scenario is late.

    All parts of a demo share one process. If it needs more processor time than there is, every part is late, and the controller would be
    judged by how slow the machine is. Then this clock waits for the player: to all parts the machine seems fast enough, and the scenario
    takes longer.

    Args:
        factor: How many seconds of this clock pass in one real second at most; at least 1.
        machine: Real time; the machine's own clock with None.

    Raises:
        ValueError: `factor` is less than 1.
    """

    def __init__(self, factor: float, machine: Clock | None = None) -> None:
        super().__init__(factor, machine=machine)
        self._lock = threading.Lock()
        self._limit, self._lost = math.inf, 0.0  # seconds of this clock

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        with self._lock:
            return self._limited(super().monotonic())

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """See `Clock.wait`."""
        end = self.monotonic() + max(0.0, seconds)
        while not event.is_set() and (left := end - self.monotonic()) > 0:
            event.wait(max(_LEAST_WAIT_S, self.real(left)))
        return event.is_set()

    def stepped(self) -> None:
        """The player has done a step: time may go on until `LEAD_S` from now."""
        self._go_on(LEAD_S)

    def release(self) -> None:
        """No step follows: time runs at full speed from now on."""
        self._go_on(math.inf)

    @property
    def held_s(self) -> float:
        """How long the clock has waited for the player, real seconds."""
        with self._lock:
            return self.real(self._lost)

    def _limited(self, free: float) -> float:
        """The time, where it would be `free` had it never waited."""
        return min(free - self._lost, self._limit)

    def _go_on(self, seconds: float) -> None:
        """Lets time go on for that long. What it waited is lost."""
        with self._lock:
            free = super().monotonic()
            now = self._limited(free)
            self._lost, self._limit = free - now, now + seconds
