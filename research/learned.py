"""The rules of holdStrategy learned, bare: what was learned alone, and the choice among rules. See also the policy "two-mode, learned"."""

from __future__ import annotations

from dataclasses import dataclass, field

from controller.policy.experts import Bounds, chosen
from controller.policy.learning import CLAMP, KEPT, LEAST_SEEN, Stakes, Waits, learned_waits
from controller.policy.model import OutageHistory
from research.rules import FLAP_S, MAX_HOLD_S, DoubledOnFlap, Seen
from research.two_state import Prices


@dataclass(slots=True)
class Learned:
    """A rule that learns during each trace, starting without observations.

    Attributes:
        prices: See `Prices`.
        clamp: See `learned_waits`.
    """

    prices: Prices
    clamp: float = CLAMP
    _known: tuple[tuple[int, int], Waits | None] | None = field(default=None, init=False)

    def patience_s(self, seen: Seen) -> float:
        """See `Rule`."""
        waits = self._waits(seen)
        return waits.patience_s if waits is not None else 0.0

    def hold_s(self, seen: Seen) -> float:
        """See `Rule`. Like production's hold: the doubled break-even hold until there are enough observations, and never above the cap."""
        waits = self._waits(seen)
        return DoubledOnFlap(self.prices.break_even_s).hold_s(seen) if waits is None else min(MAX_HOLD_S, waits.hold_s)

    def _waits(self, seen: Seen) -> Waits | None:
        key = len(seen.outages_s), len(seen.uptimes_s)
        if self._known is None or self._known[0] != key:
            stakes = Stakes(self.prices.ratio - 1, self.prices.exposed, self.prices.change_cost_s, seen.tick_s)
            self._known = key, learned_waits(seen.outages_s, seen.uptimes_s, stakes, self.clamp)
        return self._known[1]


@dataclass(slots=True)
class Chosen:
    """The rule that `controller.policy.experts` chooses at the beginning of every run, without production's guards.

    Attributes:
        prices: See `Prices`.
    """

    prices: Prices

    def patience_s(self, seen: Seen) -> float:
        """See `Rule`."""
        return self._waits(seen, short=True).patience_s

    def hold_s(self, seen: Seen) -> float:
        """See `Rule`."""
        return self._waits(seen, short=False).hold_s

    def _waits(self, seen: Seen, *, short: bool) -> Waits:
        """As production: the break-even hold, doubled on flap, until there are enough observations."""
        if min(len(seen.outages_s), len(seen.uptimes_s)) < LEAST_SEEN:
            return Waits(0.0, DoubledOnFlap(self.prices.break_even_s).hold_s(seen))
        history = OutageHistory(short, seen.now_s, tuple(seen.outages_s[-KEPT:]), tuple(seen.uptimes_s[-KEPT:]))
        stakes = Stakes(self.prices.ratio - 1, self.prices.exposed, self.prices.change_cost_s, seen.tick_s)
        return chosen(history, stakes, Bounds(0.0, MAX_HOLD_S, FLAP_S)).waits
