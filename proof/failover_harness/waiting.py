"""Waits for conditions in other threads and processes."""

from __future__ import annotations

import time
from collections.abc import Callable

from controller.errors import NotFound

DEADLINE_S = 40.0  # long enough for a busy machine


def wait_for(what: str, condition: Callable[[], bool], deadline_s: float = DEADLINE_S, state: Callable[[], str] | None = None) -> None:
    """Waits for a condition; fails with a message if it does not become true in time.

    What a condition reads may be made by another process, so an object that does not exist yet is a condition that is not met yet.

    Args:
        what: The condition in words, for the message.
        condition: Called repeatedly until it returns True. It may raise NotFound, which counts as False.
        deadline_s: Longest wait, seconds.
        state: Describes the state for the message; may return several lines.
    """
    end = time.monotonic() + deadline_s
    absent: NotFound | None = None
    while time.monotonic() < end:
        try:
            if condition():
                return
            absent = None
        except NotFound as error:
            absent = error
        time.sleep(0.02)
    raise AssertionError(f"not within {deadline_s:.0f} s: {what}" + (f"\n{state()}" if state is not None else "")) from absent
