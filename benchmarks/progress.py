"""Prints what a long benchmark does."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable


def progress() -> Callable[[str], None]:
    """What prints a line to standard error, with the seconds since this call before it."""
    begun = time.monotonic()

    def say(what: str) -> None:
        print(f"[{time.monotonic() - begun:5.0f} s] {what}", file=sys.stderr, flush=True)

    return say
