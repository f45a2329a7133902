"""The learned waits of `controller.policy.learning`, asked at the beginning of every run."""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks.policy.rules import MAX_HOLD_S, Seen
from benchmarks.policy.two_state import Prices
from controller.policy.learning import CLAMP, Stakes, Waits, learned_waits


@dataclass(slots=True)
class Learned:
    """A rule that learns as it goes: it starts each trace with nothing seen.

    Attributes:
        prices: See `Prices`.
        clamp: See `learned_waits`.
    """

    prices: Prices
    clamp: float = CLAMP
    _known: tuple[tuple[int, int], Waits] | None = field(default=None, init=False)

    def patience_s(self, seen: Seen) -> float:
        """See `Rule`."""
        return self._waits(seen).patience_s

    def hold_s(self, seen: Seen) -> float:
        """See `Rule`; no longer than production's longest hold."""
        return min(MAX_HOLD_S, self._waits(seen).hold_s)

    def _waits(self, seen: Seen) -> Waits:
        key = len(seen.outages_s), len(seen.uptimes_s)
        if self._known is None or self._known[0] != key:
            stakes = Stakes(self.prices.ratio - 1, self.prices.exposed, self.prices.switch_s, seen.tick_s)
            self._known = key, learned_waits(seen.outages_s, seen.uptimes_s, stakes, self.clamp)
        return self._known[1]
