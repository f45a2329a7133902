"""Waits for conditions in other threads and processes."""

from __future__ import annotations

import time
from collections.abc import Callable

DEADLINE_S = 40.0  # long enough for a busy machine


def wait_for(what: str, condition: Callable[[], bool], deadline_s: float = DEADLINE_S, state: Callable[[], str] | None = None) -> None:
    """Waits for a condition; fails with a message if it does not become true in time.

    Args:
        what: The condition in words, for the message.
        condition: Called repeatedly until it returns True.
        deadline_s: Longest wait, seconds.
        state: Describes the state for the message; may return several lines.
    """
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError(f"not within {deadline_s:.0f} s: {what}" + (f"\n{state()}" if state is not None else ""))
