"""Sends messages to every sink without ever blocking the caller.

`Dispatcher.publish` only queues. Each sink has its own thread, queue and retries (`controller.notifiers.sink`): a sink that hangs delays
only its own messages, and the other sinks report it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import structlog

from controller.clock import Clock
from controller.errors import RemoteError
from controller.notifiers.backlog import Item
from controller.notifiers.redact import DEFAULT, Redactor
from controller.notifiers.sink import Change, Limits, Sink, SinkHealth
from controller.policy.alert_kinds import AlertKind
from controller.policy.model import Alert
from controller.ports import Message, MessageKind, Notifier

__all__ = ["Dispatcher", "SinkHealth"]


_log = structlog.get_logger(__name__)


class Dispatcher:
    """Delivers messages to all sinks, each at its own pace.

    Args:
        sinks: The sinks; their names must differ.
        clock: For waits, ages and time stamps.
        dedup_window_s: A message with the `dedup_key` and kind of another within this many seconds is not sent again.
        queue_size: Most messages that wait for one sink. A full queue drops its oldest, but a failover or fallback only for another one.
        attempts: Most attempts per message, the first one included. Only `Unavailable` and `Forbidden` are
            retried. A mode change is tried further, until `max_age_s`; so is a message that ends an incident, as long as no beginning waits
            behind it.
        retry_base_s: Seconds before the first retry; doubles with each further one, minus up to half at random.
        retry_max_s: Longest such wait, seconds. A ``Retry-After`` may ask for more.
        max_age_s: No retry begins later than this many seconds after the message was published.
        dead_after: Consecutive failed attempts after which a sink counts as dead.
        stuck_after_s: Seconds without an answer after which a sink counts as dead.
        jitter: Returns values in [0, 1).
        redactor: Applied to every message and every error.
        complete: Adds to each message what all have in common.

    Raises:
        ValueError: Two sinks share a name, or a bound is out of range.
    """

    def __init__(
        self,
        sinks: Sequence[Notifier],
        clock: Clock,
        *,
        dedup_window_s: float = 600.0,
        queue_size: int = 100,
        attempts: int = 5,
        retry_base_s: float = 1.0,
        retry_max_s: float = 60.0,
        max_age_s: float = 600.0,
        dead_after: int = 3,
        stuck_after_s: float = 60.0,
        jitter: Callable[[], float] = random.random,
        redactor: Redactor = DEFAULT,
        complete: Callable[[Message], Message] = lambda message: message,
    ) -> None:
        names = [sink.name for sink in sinks]
        if len(set(names)) < len(names):
            raise ValueError(f"two sinks share a name: {names}")
        limits = Limits(
            dedup_window_s=dedup_window_s,
            queue_size=queue_size,
            attempts=attempts,
            retry_base_s=retry_base_s,
            retry_max_s=retry_max_s,
            max_age_s=max_age_s,
            dead_after=dead_after,
            stuck_after_s=stuck_after_s,
        )
        self._clock, self._complete = clock, complete
        self._sinks = tuple(Sink(sink, clock, limits, on_change=self._announce, jitter=jitter, redactor=redactor) for sink in sinks)

    def publish(self, message: Message) -> None:
        """Queues a message for every sink. Never blocks, never raises."""
        try:
            self._offer(Item(self._complete(message), self._clock.monotonic()))
            self._check()
        except Exception as error:  # noqa: BLE001 - a notification must never fail its caller
            _log.error("notifier.publish_failed", error=type(error).__name__)  # no text: it is not redacted yet

    def beside(self, name: str, error: RemoteError | None) -> None:
        """Notes how other work with the receiver of one sink went; see `Sink.beside`."""
        for sink in self._sinks:
            if sink.name == name:
                sink.beside(error)

    def forget(self) -> None:
        """Forgets what was sent lately: another process may have sent something else since, so that nothing repeats it."""
        for sink in self._sinks:
            sink.forget()

    def health(self) -> tuple[SinkHealth, ...]:
        """The health of each sink, in the order of the constructor."""
        self._check()
        return tuple(sink.health() for sink in self._sinks)

    def close(self, timeout_s: float) -> int:
        """Accepts no more messages, lets the queues run empty, and drops what is left after `timeout_s` seconds.

        Does not interrupt an attempt in progress: its thread is a daemon and does not delay the end of the process.

        Returns:
            How many messages were not delivered, summed over the sinks.
        """
        deadline = self._clock.monotonic() + timeout_s
        for sink in self._sinks:
            sink.drain()
        for sink in self._sinks:
            self._clock.wait(sink.finished, max(0.0, deadline - self._clock.monotonic()))
        left = sum(sink.stop() for sink in self._sinks)
        if left:
            _log.warning("notifier.closed_with_messages_left", count=left)
        return left

    def _offer(self, item: Item) -> None:
        for sink in self._sinks:
            if sink.name != item.about:
                sink.offer(item)

    def _check(self) -> None:
        for sink in self._sinks:
            sink.check()

    def _announce(self, name: str, change: Change, error: str) -> None:
        """Notifies the other sinks that one died or recovered."""
        alert = Alert.of(AlertKind.NOTIFIER_DEAD, {"problem": error}, (name,))
        kind, does = (MessageKind.ALERT, "does not deliver") if change is Change.DIED else (MessageKind.RESOLVED, "delivers again")
        message = Message.about(alert, kind, f"notifications: {name} {does}", self._clock.now())
        self._offer(Item(self._complete(message), self._clock.monotonic(), about=name))
