"""Counts the calls of this process to other systems, by application.

Code that calls for an application wraps the call in `on_behalf_of`; all other calls (watches, the Lease, the status) are the process's own.
A call for several applications, such as one request for the metrics of all, counts for each in equal shares.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

_FOR: Final[ContextVar[tuple[str, ...]]] = ContextVar("applications", default=())


@contextmanager
def on_behalf_of(*applications: str) -> Iterator[None]:
    """Attributes the calls within its block to these applications, in this thread.

    Args:
        applications: Their keys; none: the process's own calls.
    """
    token = _FOR.set(applications)
    try:
        yield
    finally:
        _FOR.reset(token)


class CallMeter:
    """Counts calls. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._totals: dict[str, int] = {}
        self._taken: dict[str, dict[str, float]] = {}

    def count(self, service: str) -> None:
        """Counts one call. A retry is a call too, as for the other side.

        Args:
            service: The called service, such as ``kubernetes`` or ``elbv2``.
        """
        applications = _FOR.get()
        with self._lock:
            self._totals[service] = self._totals.get(service, 0) + 1
            for key in applications:
                calls = self._taken.setdefault(key, {})
                calls[service] = calls.get(service, 0.0) + 1 / len(applications)

    def take(self, application: str) -> dict[str, float]:
        """Returns the calls for an application by service, and resets them."""
        with self._lock:
            return self._taken.pop(application, {})

    def retain(self, applications: Iterable[str]) -> None:
        """Forgets all other applications, whose counts are no longer needed."""
        keep = set(applications)
        with self._lock:
            self._taken = {key: calls for key, calls in self._taken.items() if key in keep}

    def totals(self) -> dict[str, int]:
        """All calls since the start, by service."""
        with self._lock:
            return dict(sorted(self._totals.items()))
