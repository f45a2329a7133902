"""Time as a port.

Everything that needs the time gets a `Clock`; nothing else in `controller` may call `time.time`, `time.monotonic`, `time.sleep` or
`datetime.now` (a test checks it). The policy gets no clock: its only time is ``Snapshot.now``.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import Final, Protocol

LATEST: Final = 253_402_300_799.0
"""The latest time that can be read and written, 9999-12-31T23:59:59Z, seconds since the Unix epoch."""


class Clock(Protocol):
    """A source of time. All values are in seconds."""

    def now(self) -> float:
        """Wall-clock time, seconds since the Unix epoch (UTC)."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never goes backwards."""

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Blocks until `event` is set or `seconds` of this clock's time have passed.

        Returns:
            Whether the event was set.
        """

    def real(self, seconds: float) -> float:
        """Converts `seconds` of this clock to seconds of the machine's clock, for a scheduler that uses the latter."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        """See `Clock.now`."""
        return time.time()

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return time.monotonic()

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """See `Clock.wait`."""
        return event.wait(max(0.0, seconds))

    def real(self, seconds: float) -> float:
        """See `Clock.real`."""
        return seconds


class Steps:
    """Notices that a wall clock was set: against the monotonic one, which never is.

    Args:
        clock: The clock.
    """

    LEAST_S: Final = 5.0
    """More than the two drift apart between two calls, seconds."""

    _TRIES: Final = 10

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        for _ in range(self._TRIES):
            self._base, within_s = self._read()
            if within_s <= self.LEAST_S:
                break

    def taken(self) -> float:
        """By how much the clock was set ahead since the last step was reported, seconds; negative: back; 0.0: not at all.

        A thread that waits between reading the two clocks would see a step that is none: the next call tells.
        """
        base, within_s = self._read()
        stepped = base - self._base
        if within_s > self.LEAST_S or abs(stepped) <= self.LEAST_S:
            return 0.0
        self._base = base
        return stepped

    def _read(self) -> tuple[float, float]:
        """How far the wall clock is ahead of the monotonic one, and within which time both were read, seconds."""
        before = self._clock.monotonic()
        now = self._clock.now()
        return now - before, self._clock.monotonic() - before


def parse_rfc3339(text: str | None) -> float | None:
    """Reads a Kubernetes timestamp.

    Args:
        text: RFC 3339, with or without fractional seconds (``2026-08-25T10:00:03Z``, ``2026-08-25T09:59:58.123456Z``), or None.

    Returns:
        Seconds since the Unix epoch; None if there is no timestamp, it cannot be parsed, or it is outside of 0 to `LATEST`: a stranger
        wrote it, and whatever computes with it must be able to.
    """
    if not text:
        return None
    try:
        parsed = datetime.fromisoformat(text)
        if parsed.tzinfo is None:
            parsed = parsed.replace(tzinfo=UTC)
        seconds = parsed.timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds if 0.0 <= seconds <= LATEST else None


def format_rfc3339(seconds: float, *, fraction: bool = False) -> str:
    """Writes a Kubernetes timestamp.

    Args:
        seconds: Seconds since the Unix epoch.
        fraction: Whether to keep microseconds, as ``MicroTime`` fields do.

    Returns:
        RFC 3339 in UTC with a trailing ``Z``. A time beyond 0 to `LATEST` is written as the nearest one within: a time that was read may
        have been moved by the difference of two clocks.
    """
    moment = datetime.fromtimestamp(min(max(seconds, 0.0), LATEST), UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ" if fraction else "%Y-%m-%dT%H:%M:%SZ")
