"""Since when pods of a unit have waited without a break, whichever pods they are."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

BREAK_S: Final = 30.0
"""How long no pass may see anybody wait before it counts as a break: a pod that is deleted is made again, and called unschedulable, within
seconds."""


class Waits:
    """Keeps the age of demand when the oldest pod is replaced. All times are by the cluster's clock, so that a step of ours changes none.

    A launch ends a wait: what remains waits for the next one, and is as old as its oldest pod.
    """

    def __init__(self) -> None:
        self._since: dict[tuple[str, str], float] = {}
        self._nobody: dict[tuple[str, str], float] = {}  # since when none of its pods waits, as far as passes saw it

    def retain(self, units: Collection[tuple[str, str]]) -> None:
        """Forgets every unit but these: the application, or its unit, was removed."""
        self._since = {unit: at for unit, at in self._since.items() if unit in units}
        self._nobody = {unit: at for unit, at in self._nobody.items() if unit in units}

    def since(self, unit: tuple[str, str], pods: Iterable[float], launched: Iterable[float], now: float) -> float | None:
        """Since when pods of a unit have waited, None where none does.

        Args:
            unit: The application and the unit.
            pods: Since when each of its present pods has.
            launched: When instances for it were launched.
            now: What time it is.
        """
        oldest = min(pods, default=None)
        if oldest is None:
            if unit in self._since:
                self._nobody.setdefault(unit, now)
            return None
        known, nobody = self._since.get(unit), self._nobody.pop(unit, now)
        lasts = known is not None and now - nobody <= BREAK_S and not any(at > known for at in launched)
        self._since[unit] = since = min(oldest, known) if lasts and known is not None else oldest
        return since
