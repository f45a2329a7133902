"""The drill's own requests: few, at a constant rate, and counted by what came of them."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import urllib3

from controller.clients.deadline import Deadline
from controller.clock import Clock

_AT_ONCE: Final = 32
"""Requests that wait for an answer at the same time. A further one counts as late, and is not sent."""
_WAITED: Final = 2.0
"""How long an answer is waited for, in limits of the latency."""
_LARGEST: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Counts:
    """What came of the requests.

    Attributes:
        good: Answered 2xx in time.
        late: Answered 2xx, but late, or not sent because too many waited.
        failed: Answered otherwise, or not at all.
    """

    good: int = 0
    late: int = 0
    failed: int = 0

    @property
    def sent(self) -> int:
        """All of them."""
        return self.good + self.late + self.failed

    @property
    def bad(self) -> float:
        """The share that was late or failed, 0 to 1."""
        return (self.late + self.failed) / self.sent if self.sent else 0.0


class Load:
    """Sends GET requests on threads of its own while its ``with`` block runs.

    Args:
        url: Where to.
        rate: Requests per second.
        latency_s: From when on an answer is late, seconds.
        clock: Time.
    """

    def __init__(self, url: str, rate: float, latency_s: float, clock: Clock) -> None:
        self._url, self._rate, self._latency_s, self._clock = url, rate, latency_s, clock
        self._stop, self._free, self._lock = threading.Event(), threading.Semaphore(_AT_ONCE), threading.Lock()
        self._counts: Counter[str] = Counter()
        self._http = urllib3.PoolManager(maxsize=_AT_ONCE, retries=False)
        self._pool = ThreadPoolExecutor(_AT_ONCE)
        self._thread = threading.Thread(target=self._send_all, name="drill-load", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
        self._pool.shutdown()  # each request has its deadline
        self._http.clear()

    def counts(self) -> Counts:
        """What came of the requests so far."""
        with self._lock:
            return Counts(**self._counts)

    def _send_all(self) -> None:
        while not self._clock.wait(self._stop, 1 / self._rate):
            if self._free.acquire(blocking=False):
                self._pool.submit(self._send)
            else:
                self._count("late")

    def _send(self) -> None:
        begun = self._clock.monotonic()
        try:
            with Deadline(_WAITED * self._latency_s):
                answer = self._http.request("GET", self._url, timeout=_WAITED * self._latency_s, redirect=False, preload_content=False)
                answer.read(_LARGEST)
                answer.close()
            good = 200 <= answer.status < 300  # noqa: PLR2004
            outcome = "failed" if not good else "good" if self._clock.monotonic() - begun <= self._latency_s else "late"
        except (OSError, urllib3.exceptions.HTTPError):
            outcome = "failed"
        self._free.release()
        self._count(outcome)

    def _count(self, outcome: str) -> None:
        with self._lock:  # many threads count
            self._counts[outcome] += 1
