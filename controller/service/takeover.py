"""How long a takeover takes: from the Lease until every application has had its first pass in the new term."""

from __future__ import annotations

from collections.abc import Iterable

from controller.clock import Clock


class Takeover:
    """Counts the first passes of a leadership term. The caller serialises the calls.

    Args:
        clock: The clock. Only its monotonic time counts.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._left: set[str] = set()
        self._begun = 0.0  # monotonic

    def begin(self, applications: Iterable[str]) -> None:
        """This replica begins to lead: each of these applications, named by key, needs a pass."""
        self._left, self._begun = set(applications), self._clock.monotonic()

    def end(self) -> None:
        """This replica does not lead any more."""
        self._left = set()

    def retain(self, applications: Iterable[str]) -> None:
        """Forgets applications that were removed meanwhile: nothing passes over them any more."""
        self._left &= set(applications)

    def passed(self, application: str) -> float | None:
        """Notes a pass that was made while this replica leads.

        Returns:
            Seconds since the term began, if this was the last application's first pass; None otherwise.
        """
        if application not in self._left:
            return None
        self._left.discard(application)
        return None if self._left else self._clock.monotonic() - self._begun
