"""When a shortage is real, and when it was left alone for too long: the same for the fuzz's random worlds and for the simulation.

A unit is short at a moment if pods of it wait, no instance was launched for them, and Karpenter can launch nothing for them: EC2 has no
room in any offering that they may use, or refused it within Karpenter's cache, so that nobody asks for it.
"""

from __future__ import annotations

from typing import Final

OVERDUE_S: Final = 600.0
"""How long a unit may be short, with pods that wait all the time, before a controller that did nothing was wrong."""

NEAR_S: Final = 10.0
"""How long before its proof a unit may have been short last: a refusal stands until Karpenter asks again."""

_MOST: Final = 0.8


class ShortageHistory:
    """Which units were short, and for how long, as far as it was observed. Times are seconds of any one clock.

    Args:
        start: When the observation starts.
    """

    def __init__(self, start: float) -> None:
        self._observed = start
        self._unmet: dict[str, float] = {}  # since when pods of a unit have waited without a break
        self._spent: dict[str, float] = {}  # how long of that the unit was short, and the others could not serve what it cannot
        self._harmed: frozenset[str] = frozenset()  # the units of which that is so now
        self.last: dict[str, float] = {}
        """When each unit was last short."""

    def observe(self, now: float, waiting: dict[str, bool], *, absorbed: bool = False) -> None:
        """Notes the state at this moment; until the next one it counts as lasting.

        Args:
            now: When.
            waiting: The units whose pods wait without an instance, and whether each is short.
            absorbed: Whether the other units can serve what the short ones cannot, so that none of them is overdue.
        """
        for name in [name for name in self._unmet if name not in waiting]:
            del self._unmet[name]
            self._spent.pop(name, None)
        for name, short in waiting.items():
            if name in self._unmet and name in self._harmed:
                self._spent[name] = self._spent.get(name, 0.0) + now - self._observed
            self._unmet.setdefault(name, now)
            if short:
                self.last[name] = now
        self._harmed = frozenset() if absorbed else frozenset(name for name, short in waiting.items() if short)
        self._observed = now

    def overdue(self, after_s: float = OVERDUE_S) -> dict[str, float]:
        """The units whose pods have waited for longer than `after_s`, most of it short, and how long they have waited, seconds."""
        waited = {name: self._observed - since for name, since in self._unmet.items() if self._observed - since > after_s}
        return {name: seconds for name, seconds in waited.items() if self._spent.get(name, 0.0) > _MOST * seconds}
