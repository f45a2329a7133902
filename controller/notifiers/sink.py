"""One sink's queue, thread, retries and health. A sink that hangs blocks only its own queue."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, TypeGuard

import structlog

from controller.clock import Clock
from controller.errors import Forbidden, RemoteError, Unavailable
from controller.notifiers.backlog import PROTECTED, Backlog, Item, Recent
from controller.notifiers.digest import parts
from controller.notifiers.incident import Status, status
from controller.notifiers.redact import Redactor
from controller.notifiers.render import one_line
from controller.ports import Message, Notifier

FURTHER_TRIES: Final = 20
"""Tries beyond `Limits.attempts` of a mode change and of a message that ends an incident, spread over `Limits.max_age_s`. What lasts is
offered again, so that a sink which was down learns of it. These happen once: people would never read of a failover, and without its end the
incident would stay open wherever its beginning was sent."""

_DEDUP_KEYS: Final = 16_384  # several alerts of each of some thousand applications
_MAX_ERROR_TEXT: Final = 200
_MAX_EXPONENT: Final = 30
_NO_PERMISSION: Final = 403

_log = structlog.get_logger(__name__)


class Change(StrEnum):
    """A change of a sink's state that the other sinks report."""

    DIED = "died"
    RECOVERED = "recovered"


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of every sink. Times are in seconds.

    Attributes:
        dedup_window_s: A message that repeats another within this is dropped; also the least time between two alerts about one sink.
        queue_size: Most messages that wait; a digest counts as one.
        attempts: Most attempts per message, the first one included; `FURTHER_TRIES` more for what happens once.
        retry_base_s: Wait after the first failed attempt; doubles with each.
        retry_max_s: Longest such wait.
        max_age_s: No retry begins later than this after a message was published; also the longest ``Retry-After`` that is honoured.
        dead_after: Consecutive failed attempts after which a sink counts as dead, even before it gives up a message.
        stuck_after_s: While an attempt has lasted longer than this, the sink counts as dead.
    """

    dedup_window_s: float
    queue_size: int
    attempts: int
    retry_base_s: float
    retry_max_s: float
    max_age_s: float
    dead_after: int
    stuck_after_s: float

    def __post_init__(self) -> None:
        if min(self.queue_size, self.attempts, self.dead_after) < 1:
            raise ValueError(f"queue_size, attempts and dead_after must be at least 1: {self}")
        if min(self.dedup_window_s, self.retry_base_s, self.retry_max_s, self.max_age_s, self.stuck_after_s) < 0:
            raise ValueError(f"no time may be negative: {self}")


@dataclass(frozen=True, slots=True)
class SinkHealth:
    """The health of one sink, for status and metrics.

    Attributes:
        name: The sink's name.
        ok: Whether its last attempt delivered (or it made none yet), no attempt hangs, and its other work succeeded last.
        dead: Whether it failed too often in a row, gave up a message or hangs, and has delivered nothing since.
        last_ok_at: When it last delivered, seconds since the Unix epoch; None: never.
        last_error: Its last failure, redacted and short; kept after it recovers, "" if it never failed.
        consecutive_failures: Failed attempts since it last delivered.
        queued: Messages that wait, the one in progress included.
        sent: Messages delivered.
        failed: Messages given up after at least one attempt.
        dropped: Messages that left the queue without an attempt: it was full, or closed.
        suppressed: Messages not queued because they repeated one within the window, or were offered again and had been sent.
        retried: Attempts beyond the first of each message.
    """

    name: str
    ok: bool
    dead: bool
    last_ok_at: float | None
    last_error: str
    consecutive_failures: int
    queued: int
    sent: int
    failed: int
    dropped: int
    suppressed: int
    retried: int


class Sink:
    """Runs one notifier in a daemon thread of its own.

    Args:
        notifier: Delivers the messages.
        clock: For waits, ages and time stamps.
        limits: See `Limits`.
        on_change: Called when the sink dies or recovers, with its name and the redacted error; from its own thread or from `check`.
        jitter: Returns values in [0, 1); spreads the retries of several replicas.
        redactor: Applied to every text of a message before it is sent, and to every error before it is shown.
    """

    def __init__(
        self,
        notifier: Notifier,
        clock: Clock,
        limits: Limits,
        *,
        on_change: Callable[[str, Change, str], None],
        jitter: Callable[[], float],
        redactor: Redactor,
    ) -> None:
        self.name: Final = notifier.name
        self.finished: Final = threading.Event()
        self._notifier = notifier
        self._clock = clock
        self._limits = limits
        self._on_change = on_change
        self._jitter = jitter
        self._redactor = redactor
        self._stop = threading.Event()
        self._ready = threading.Condition()  # guards everything below
        self._draining = False
        self._backlog = Backlog(limits.queue_size)
        self._recent = Recent(limits.dedup_window_s, _DEDUP_KEYS)
        self._in_work = 0  # messages in progress
        self._try_since: float | None = None
        self._not_before = 0.0
        self._dead = False
        self._announced = False
        self._announced_at: float | None = None
        self._last_ok_at: float | None = None
        self._last_error = ""
        self._failures = self._sent = self._failed = self._dropped = self._suppressed = self._retried = 0
        self._beside_failures = 0  # in a row, of the receiver's other work
        self._thread = threading.Thread(target=self._run, name=f"notifier-{self.name}", daemon=True)
        self._thread.start()

    # --- called from other threads; each holds the lock for microseconds only ---

    def offer(self, item: Item) -> None:
        """Queues an item unless it repeats another; never blocks."""
        with self._ready:
            if self._draining:
                self._dropped += 1
                return
            if self._recent.repeats(item.message, item.since):
                self._suppressed += 1
                return
            lost = self._backlog.push(item)
            if lost is not None:
                self._lost(lost.message)
            self._ready.notify()

    def _lost(self, message: Message) -> None:
        """Counts messages that left without an attempt. Nothing counts as sent that was not: the next equal one passes."""
        for one in parts(message):
            self._dropped += 1
            self._recent.forget(one)

    def forget(self) -> None:
        """Forgets which messages passed lately: the next equal ones repeat nothing."""
        with self._ready:
            self._recent.clear()

    def health(self) -> SinkHealth:
        """The sink's health as of the last `check`."""
        with self._ready:
            return SinkHealth(
                name=self.name,
                ok=not (self._dead or self._failures or self._beside_failures),
                dead=self._dead,
                last_ok_at=self._last_ok_at,
                last_error=self._last_error,
                consecutive_failures=self._failures,
                queued=self._backlog.messages() + self._in_work,
                sent=self._sent,
                failed=self._failed,
                dropped=self._dropped,
                suppressed=self._suppressed,
                retried=self._retried,
            )

    def check(self) -> None:
        """Reports the sink as dead if an attempt hangs: its own thread cannot."""
        with self._ready:
            hang = self._hang()
            if not hang:
                return
            self._last_error = hang
            self._dead = True
            change = self._to_announce()
        self._report(change)

    def beside(self, error: RemoteError | None) -> None:
        """Notes how other work with the same receiver went, which is no message: publishing the mode of every application.

        Args:
            error: Why it failed; None: it succeeded.
        """
        with self._ready:
            if error is not None:
                self._beside_failures += 1
                self._last_error = self._describe(error)
                lasts = not isinstance(error, Unavailable) or self._beside_failures >= self._limits.dead_after
                change = self._to_announce() if lasts else None
            else:
                failed, self._beside_failures = self._beside_failures, 0
                change = self._recovered() if failed and not self._failures else None
        self._report(change)

    def drain(self) -> None:
        """Accepts no more items; the thread ends when the queue is empty."""
        with self._ready:
            self._draining = True
            self._ready.notify()

    def stop(self) -> int:
        """Ends the thread after the attempt in progress and drops all messages that wait.

        Returns:
            How many messages it did not deliver.
        """
        with self._ready:
            self._draining = True
            self._stop.set()
            left = self._backlog.messages()
            while (item := self._backlog.pop()) is not None:
                self._lost(item.message)
            self._ready.notify()
            return left + self._in_work

    # --- this sink's own thread ---

    def _run(self) -> None:
        while self._deliver_next():
            pass
        self.finished.set()

    def _deliver_next(self) -> bool:
        """Waits for an item and delivers it. Nothing keeps it afterwards: a digest may stand for a thousand messages.

        Returns:
            False once there will be no other.
        """
        item = self._take()
        if item is None:
            return False
        try:
            self._deliver(item)
        except BaseException as error:  # noqa: BLE001 - a bug of ours must not end the thread for good
            with self._ready:
                self._failed += len(parts(item.message))
                self._failures += 1
                self._last_error = self._describe(error)
        finally:
            with self._ready:
                self._in_work = 0
        return True

    def _take(self) -> Item | None:
        with self._ready:
            while not self._backlog and not self._draining:
                self._ready.wait()
            item = self._backlog.pop()  # `stop` has emptied it
            self._in_work = len(parts(item.message)) if item is not None else 0
            return item

    def _deliver(self, item: Item) -> None:
        """Delivers an item, or each message of a digest where the notifier takes none; the rest of them waits for no dead receiver."""
        if self._notifier.takes_digests or not item.message.parts:
            self._deliver_one(item)
            return
        for number, part in enumerate(item.message.parts):
            if not self._deliver_one(replace(item, message=part)):
                self._give_up_unsent(item.message.parts[number + 1 :])
                return
            with self._ready:
                self._in_work -= 1

    def _deliver_one(self, item: Item) -> bool:
        """Delivers one message.

        Returns:
            Whether the receiver answers: it took the message, or refused it.
        """
        attempt, usual = 0, self._limits.attempts
        protected = item.message.kind in PROTECTED
        most = usual + (FURTHER_TRIES if protected or status(item.message) is Status.RESOLVED else 0)
        # A Retry-After in answer to the last message applies to this one too.
        if self._pause(self._not_before - self._clock.monotonic()):
            self._give_up(item, attempt)
            return False
        while True:
            attempt += 1
            error = self._try(item.message)
            if error is None:
                self._delivered(item)
                return True
            self._failed_once(item, error)
            gives_way = attempt >= usual and not protected and self._begins()
            if not _passing(error) or attempt >= most or gives_way:
                break
            delay = max(self._delay(attempt, error), self._limits.max_age_s / FURTHER_TRIES if attempt >= usual else 0.0)
            if self._clock.monotonic() - item.since + delay > self._limits.max_age_s or self._pause(delay):
                break
            with self._ready:
                self._retried += 1
        self._give_up(item, attempt)
        return not _passing(error)

    def _begins(self) -> bool:
        """Whether a beginning waits: a receiver that cannot take one end must not keep a failover from people."""
        with self._ready:
            return self._backlog.begins()

    def _try(self, message: Message) -> BaseException | None:
        with self._ready:
            self._try_since = self._clock.monotonic()
        try:
            self._notifier.send(_redacted(message, self._redactor))
        except BaseException as error:  # noqa: BLE001 - anything a sink raises, SystemExit included, is that sink's failure only
            return error
        else:
            return None
        finally:
            with self._ready:
                self._try_since = None

    def _delay(self, attempt: int, error: RemoteError) -> float:
        """Seconds to wait before the next try; remembers a Retry-After for the messages behind this one."""
        backoff = min(self._limits.retry_max_s, self._limits.retry_base_s * float(1 << min(attempt - 1, _MAX_EXPONENT)))
        spread = backoff * (0.5 + 0.5 * self._jitter())
        return max(spread, self._asked(error))

    def _asked(self, error: BaseException) -> float:
        asked = error.retry_after_s if isinstance(error, Unavailable) else None
        # Capped: a receiver that asks for a year would stop the sink. NaN compares false.
        return min(asked, self._limits.max_age_s) if asked is not None and asked > 0 else 0.0

    def _pause(self, seconds: float) -> bool:
        """Waits; returns whether it was interrupted by `stop`."""
        return self._clock.wait(self._stop, max(0.0, seconds))

    def _delivered(self, item: Item) -> None:
        with self._ready:
            self._sent += len(parts(item.message))
            self._failures = 0
            self._dead = False
            self._last_ok_at = self._clock.now()
            change = None if self._beside_failures else self._recovered()
        self._report(change)

    def _failed_once(self, item: Item, error: BaseException) -> None:
        text = self._describe(error)
        with self._ready:
            self._failures += 1
            self._last_error = text
            self._not_before = self._clock.monotonic() + self._asked(error)
            self._dead = self._dead or self._failures >= self._limits.dead_after
            # A dispatcher's message about another sink raises no further alert: two dead sinks would alert about each other for ever.
            change = self._to_announce() if self._dead and not item.about else None
        self._report(change)

    def _give_up_unsent(self, messages: Sequence[Message]) -> None:
        with self._ready:
            for one in messages:
                self._lost(one)

    def _give_up(self, item: Item, attempts: int) -> None:
        with self._ready:
            if attempts == 0:
                self._lost(item.message)
                return
            for one in parts(item.message):
                self._recent.forget(one)
                self._failed += 1
            self._dead = True
            error, change = self._last_error, None if item.about else self._to_announce()
        _log.warning("notifier.gave_up", sink=self.name, kind=item.message.kind.value, attempts=attempts, error=error)
        self._report(change)

    # --- helpers; the first three are called with the lock held ---

    def _hang(self) -> str:
        lasts = 0.0 if self._try_since is None else self._clock.monotonic() - self._try_since
        return f"no answer for {lasts:.0f} s" if lasts > self._limits.stuck_after_s else ""

    def _to_announce(self) -> Change | None:
        now = self._clock.monotonic()
        if self._announced or (self._announced_at is not None and now - self._announced_at < self._limits.dedup_window_s):
            return None
        self._announced = True
        self._announced_at = now
        return Change.DIED

    def _recovered(self) -> Change | None:
        announced, self._announced = self._announced, False
        return Change.RECOVERED if announced else None

    def _report(self, change: Change | None) -> None:
        """Logs and announces a change. Call it without the lock: it takes the locks of the other sinks in turn."""
        if change is not None:
            if change is Change.DIED:
                _log.error("notifier.died", sink=self.name, error=self._last_error)
            else:
                _log.info("notifier.recovered", sink=self.name, last_error=self._last_error)
            self._on_change(self.name, change, self._last_error)

    def _describe(self, error: BaseException) -> str:
        text = one_line(self._redactor(f"{type(error).__name__}: {error}"))
        if isinstance(error, RemoteError):  # this project wrote its text, which says what happened
            text = text.removeprefix(f"{type(error).__name__}: ")
        return text if len(text) <= _MAX_ERROR_TEXT else text[: _MAX_ERROR_TEXT - 1] + "…"


def _redacted(message: Message, redactor: Redactor) -> Message:
    return replace(
        message,
        title=redactor(message.title),
        why=redactor(message.why),
        cost=redactor(message.cost),
        next=redactor(message.next),
        by=redactor(message.by),
        fields={redactor(name): redactor(value) for name, value in message.fields.items()},
        parts=tuple(_redacted(part, redactor) for part in message.parts),
    )


def _passing(error: BaseException) -> TypeGuard[Unavailable | Forbidden]:
    """Whether another try may get over it: credentials are read anew for each, but a permission that is missing stays so."""
    return isinstance(error, Unavailable) or (isinstance(error, Forbidden) and error.status != _NO_PERMISSION)
