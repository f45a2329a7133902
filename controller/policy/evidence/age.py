"""How old things are, and when the first answer about that changes: what is concluded from the answers stays as it is until then."""

from __future__ import annotations

import math
from typing import Final

JUST_AFTER_S: Final = 0.01
"""How long after a time something counts as older than it, seconds."""


class Ages:
    """Answers about ages at one moment. Times are seconds since the Unix epoch.

    Attributes:
        now: The moment.
        changes_at: When the first of the answers so far will be another; infinite where none will.
    """

    __slots__ = ("changes_at", "now")

    def __init__(self, now: float) -> None:
        self.now, self.changes_at = now, math.inf

    def reached(self, since: float, seconds: float) -> bool:
        """Whether something that began at `since` is so old, or older."""
        return self.now - since >= seconds or self._later(since + seconds)

    def within(self, since: float, seconds: float) -> bool:
        """Whether something that began at `since` is so old, or younger."""
        return self.now - since <= seconds and not self._later(since + seconds)

    def _later(self, at: float) -> bool:
        """Notes that an answer changes then; never true."""
        self.changes_at = min(self.changes_at, at)
        return False
