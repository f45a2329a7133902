"""The time of a scenario: as fast as asked for, and no faster than this machine can play it."""

from __future__ import annotations

import threading
from typing import Final

from controller.clock import Clock, SystemClock

LEAD_S: Final = 2.0
"""How far time goes on after the last step of the player, seconds of the clock: four of its pauses."""

_LEAST_WAIT_S: Final = 0.001


class PacedClock:
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
        if factor < 1:
            raise ValueError(f"factor must be at least 1, got {factor}")
        self._factor, self._machine = factor, SystemClock() if machine is None else machine
        self._start = self._machine.now()
        self._lock = threading.Lock()
        self._at, self._real_at = 0.0, self._machine.monotonic()
        self._limit = float("inf")
        self._held_s = 0.0

    def now(self) -> float:
        """See `Clock.now`."""
        return self._start + self.monotonic()

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        with self._lock:
            return min(self._free(self._machine.monotonic()), self._limit)

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """See `Clock.wait`."""
        end = self.monotonic() + max(0.0, seconds)
        while not event.is_set() and (left := end - self.monotonic()) > 0:
            event.wait(max(_LEAST_WAIT_S, self.real(left)))
        return event.is_set()

    def real(self, seconds: float) -> float:
        """See `Clock.real`: at full speed."""
        return seconds / self._factor

    def stepped(self) -> None:
        """The player has done a step: time may go on until `LEAD_S` from now."""
        with self._lock:
            self._settle()
            self._limit = self._at + LEAD_S

    def release(self) -> None:
        """No step follows: time runs at full speed from now on."""
        with self._lock:
            self._settle()
            self._limit = float("inf")

    @property
    def held_s(self) -> float:
        """How long the clock has waited for the player, real seconds."""
        with self._lock:
            return self._held_s

    def _free(self, real: float) -> float:
        """The time without a limit, seconds since the start."""
        return self._at + (real - self._real_at) * self._factor

    def _settle(self) -> None:
        """Counts from this moment on; what was beyond the limit is forgotten."""
        real = self._machine.monotonic()
        free = self._free(real)
        at = min(free, self._limit)
        self._held_s += (free - at) / self._factor
        self._at, self._real_at = at, real
