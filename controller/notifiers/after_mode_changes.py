"""Holds messages back while many applications wait for a pass."""

from __future__ import annotations

from collections.abc import Callable

from controller.ports import Message, Notifier


class AfterModeChanges:
    """A notifier whose messages wait while many mode changes do. For one that shares the API server with them.

    Args:
        notifier: Delivers the messages.
        wait: Waits, for a bounded time, until few applications wait for a pass.
    """

    def __init__(self, notifier: Notifier, wait: Callable[[], None]) -> None:
        self._notifier, self._wait = notifier, wait
        self.name, self.takes_digests = notifier.name, notifier.takes_digests

    def send(self, message: Message) -> None:
        """Waits until few applications wait, and delivers one message.

        Raises:
            RemoteError: See `Notifier.send`.
        """
        self._wait()
        self._notifier.send(message)
