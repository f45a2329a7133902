"""Holds messages back while many applications wait for a pass."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from controller.clock import Clock
from controller.ports import Message, Notifier

LONGEST_S: Final = 20.0
"""How long messages wait at most, seconds: a thousand mode changes need less."""
_AGAIN_S: Final = 0.25


class AfterModeChanges:
    """A notifier whose messages wait while many mode changes do. For one that shares the API server with them.

    Args:
        notifier: Delivers the messages.
        busy: Whether many applications wait for a pass.
        clock: For the wait.
    """

    def __init__(self, notifier: Notifier, busy: Callable[[], bool], clock: Clock) -> None:
        self._notifier, self._busy, self._clock = notifier, busy, clock
        self._never = threading.Event()
        self._since: float | None = None  # when messages began to wait, monotonic

    @property
    def name(self) -> str:
        """See `Notifier.name`."""
        return self._notifier.name

    @property
    def takes_digests(self) -> bool:
        """See `Notifier.takes_digests`."""
        return self._notifier.takes_digests

    def send(self, message: Message) -> None:
        """Waits until few applications wait, and delivers one message. All messages together wait `LONGEST_S` at most.

        Raises:
            RemoteError: See `Notifier.send`.
        """
        while self._waits():
            self._clock.wait(self._never, _AGAIN_S)
        self._notifier.send(message)

    def _waits(self) -> bool:
        if not self._busy():
            self._since = None
            return False
        now = self._clock.monotonic()
        self._since = now if self._since is None else self._since
        return now - self._since < LONGEST_S
