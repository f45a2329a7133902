"""How much of each offering EC2 has, over time, and how it answers a fleet request."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from controller.policy.proof import Offering


@dataclass(frozen=True, slots=True)
class Closed:
    """A time in which an offering has `left` instances to give, and one more every `every_s`; seconds since the world's start."""

    start: float
    end: float
    left: int = 0
    every_s: float = math.inf


@dataclass(slots=True)
class Ec2:
    """EC2.

    Attributes:
        closed: When each offering is out; an offering that is missing never is.
        one_zone: Whether a call tries one offering and answers with its error alone, as EC2 mostly does.
        given: Instances that were given while an offering was closed, by offering and the closing's start.
    """

    closed: Mapping[Offering, Sequence[Closed]]
    one_zone: bool
    given: dict[tuple[Offering, float], int] = field(default_factory=dict)

    def room(self, offering: Offering, t: float) -> int:
        """How many instances there are to have now."""
        now = self._closing(offering, t)
        if now is None:
            return 1_000_000
        return now.left + int((t - now.start) / now.every_s) - self.given.get((offering, now.start), 0)

    def fleet(self, offerings: Sequence[Offering], count: int, t: float, chance: Random) -> tuple[list[Offering], list[Offering]]:
        """Asks for instances.

        Args:
            offerings: What may be given, of one capacity type.
            count: How many instances.
            t: When.
            chance: Decides which offering is tried first.

        Returns:
            What was given, one entry an instance, and which offerings were refused.
        """
        tried = list(offerings)
        chance.shuffle(tried)
        given: list[Offering] = []
        refused: list[Offering] = []
        for offering in tried[:1] if self.one_zone else tried:
            while len(given) < count and self.room(offering, t) > 0:
                given.append(offering)
                closing = self._closing(offering, t)
                if closing is not None:
                    self.given[offering, closing.start] = self.given.get((offering, closing.start), 0) + 1
            if len(given) == count:
                break
            refused.append(offering)
        return given, refused

    def _closing(self, offering: Offering, t: float) -> Closed | None:
        return next((one for one in self.closed.get(offering, ()) if one.start <= t < one.end), None)
