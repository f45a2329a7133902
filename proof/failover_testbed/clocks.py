"""Clocks of the demo, of simulations and of tests: `AcceleratedClock` runs fast, `ManualClock` moves only when it is advanced."""

from __future__ import annotations

import threading

from controller.clock import Clock, SystemClock


class AcceleratedClock:
    """A clock that runs `factor` times as fast as the machine's, for the demo: policies keep their production constants.

    Args:
        factor: How many seconds of this clock pass in one real second; at least 1.
        start: Its wall-clock time at construction, seconds since the Unix epoch; None for the machine's own.
        machine: The machine's clock; None: `SystemClock`.
    """

    def __init__(self, factor: float, start: float | None = None, machine: Clock | None = None) -> None:
        if factor < 1:
            raise ValueError(f"factor must be at least 1, got {factor}")
        self._factor, self._machine = factor, SystemClock() if machine is None else machine
        self._real_start = self._machine.monotonic()
        self._start = self._machine.now() if start is None else start

    def now(self) -> float:
        """See `Clock.now`."""
        return self._start + self.monotonic()

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return (self._machine.monotonic() - self._real_start) * self._factor

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """See `Clock.wait`."""
        return event.wait(self.real(max(0.0, seconds)))

    def real(self, seconds: float) -> float:
        """See `Clock.real`."""
        return seconds / self._factor


class ManualClock:
    """A clock that moves only when advanced, for tests, replay and simulation.

    Args:
        start: Its first wall-clock time, seconds since the Unix epoch.
    """

    def __init__(self, start: float) -> None:
        self._now = start
        self._elapsed = 0.0

    def now(self) -> float:
        """See `Clock.now`."""
        return self._now

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return self._elapsed

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Advances the clock by `seconds` unless the event is set already; never blocks."""
        if not event.is_set():
            self.advance(max(0.0, seconds))
        return event.is_set()

    def real(self, seconds: float) -> float:
        """Zero: this clock never waits."""
        del seconds
        return 0.0

    def advance(self, seconds: float) -> None:
        """Advances the clock.

        Args:
            seconds: How far; not negative.

        Raises:
            ValueError: If `seconds` is negative.
        """
        if seconds < 0:
            raise ValueError(f"time cannot go backwards: {seconds}")
        self._now += seconds
        self._elapsed += seconds

    def set(self, now: float) -> None:
        """Advances the clock to wall-clock time `now`, which must not be in its past."""
        self.advance(now - self._now)

    def step(self, seconds: float) -> None:
        """Sets the wall clock ahead, or back where `seconds` is negative, as a correction does: no time passes."""
        self._now += seconds
