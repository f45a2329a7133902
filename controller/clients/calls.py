"""How many calls other systems get from this process, and for which application.

Whoever makes a call for an application says so around it; what nobody says so of (watches, the Lease, the status) is the process's own. A
call that serves several applications, such as one request for the metrics of all, is shared out evenly among them.
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
    """What is called within it is called for these applications, in this thread.

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
        """One call is made now; a retry is a call too, as the other side counts it.

        Args:
            service: Of what, such as ``kubernetes`` or ``elbv2``.
        """
        applications = _FOR.get()
        with self._lock:
            self._totals[service] = self._totals.get(service, 0) + 1
            for key in applications:
                calls = self._taken.setdefault(key, {})
                calls[service] = calls.get(service, 0.0) + 1 / len(applications)

    def take(self, application: str) -> dict[str, float]:
        """The calls for an application since this was last asked for, by service."""
        with self._lock:
            return self._taken.pop(application, {})

    def retain(self, applications: Iterable[str]) -> None:
        """Forgets all other applications: nobody will ask for theirs any more."""
        keep = set(applications)
        with self._lock:
            self._taken = {key: calls for key, calls in self._taken.items() if key in keep}

    def totals(self) -> dict[str, int]:
        """All calls since the start, by service."""
        with self._lock:
            return dict(sorted(self._totals.items()))
