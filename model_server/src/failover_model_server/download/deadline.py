"""A bounded time, and a bounded number of tries within it."""

import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import structlog

from failover_model_server.download.source import Transient
from failover_model_server.errors import LoadError

ATTEMPTS = 5
BACKOFF = 1.0
"""Seconds before the second try; doubled each time, half of it at random."""
LONGEST_BACKOFF = 30.0

T = TypeVar("T")
_log = structlog.get_logger("download")


class Deadline:
    """The time that is left for a model to be here."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self.stopped = threading.Event()
        """Set: no further try is begun."""

    def left(self) -> float:
        """Seconds; below 0 when it is over."""
        return self._end - time.monotonic()

    def attempts(self, what: str, action: Callable[[], T]) -> T:
        """Do something, again where a try failed for a reason that may pass.

        Raises:
            LoadError: all tries failed, or the time is over, or it was stopped.
        """
        wait = BACKOFF
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return action()
            except Transient as error:
                pause = wait * random.uniform(0.5, 1.0)  # noqa: S311 - so that the pods of one scale-up do not come back at once
                wait = min(2 * wait, LONGEST_BACKOFF)
                if attempt == ATTEMPTS or pause >= self.left():
                    raise LoadError(f"model: gave up on {what} after {attempt} tries: {error}") from error
                _log.warning("download.retried", what=what, attempt=attempt, cause=str(error), pause_seconds=round(pause, 2))
                if self.stopped.wait(pause):
                    raise LoadError(f"model: {what} was given up") from error
        raise AssertionError("not reached: the last try returns or raises")
