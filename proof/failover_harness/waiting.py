"""Waiting for what happens elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable

DEADLINE_S = 40.0  # a busy machine is slow; what never happens fails all the same


def wait_for(what: str, condition: Callable[[], bool], deadline_s: float = DEADLINE_S, state: Callable[[], str] | None = None) -> None:
    """Waits for a condition; a test that never sees it fails with words, not with a hang.

    Args:
        what: Is waited for.
        condition: Asked again and again.
        deadline_s: Seconds after which it is given up.
        state: Says how things stand then; may return several lines.
    """
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError(f"not within {deadline_s:.0f} s: {what}" + (f"\n{state()}" if state is not None else ""))
