"""Mode changes, what operators ask for, and what guards answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from controller.policy.names import MOMENT, Mode
from controller.policy.reasons import Reason, fill


@dataclass(frozen=True, slots=True)
class Override:
    """A pause, a pin or both, which operators asked for by annotations on the routing object. The controller reads it and never writes it.

    Each has an end, a reason and an author of its own, "" where none is stated. The author is who the annotation says.
    """

    paused_until: float | None = None
    paused_why: str = ""
    paused_by: str = ""
    pinned_mode: Mode | None = None
    pinned_until: float | None = None
    pinned_why: str = ""
    pinned_by: str = ""
    problem: str = ""  # an annotation that cannot be read: counts as paused

    def pauses(self, now: float) -> bool:
        """Whether a pause that can be read has not ended, at `now` (seconds since the Unix epoch)."""
        return self.paused_until is not None and now < self.paused_until

    def pin(self, now: float) -> Mode | None:
        """The mode that a pin asks for at `now` (seconds since the Unix epoch); None without one, or after its end."""
        return None if self.pinned_until is not None and now >= self.pinned_until else self.pinned_mode

    def standing(self, now: float) -> Override:
        """The same without a pause and a pin that have ended at `now` (seconds since the Unix epoch): their annotations may stay."""
        left = self if self.pauses(now) else replace(self, paused_until=None, paused_why="", paused_by="")
        if self.pin(now) is None:
            left = replace(left, pinned_mode=None, pinned_until=None, pinned_why="", pinned_by="")
        return left


@dataclass(frozen=True, slots=True)
class ModeChange:
    """A mode change that was made."""

    at: float = field(metadata=MOMENT)
    to: Mode
    reason: Reason
    detail: str = ""
    by: str = ""  # who made it, in words: the controller, a person with a name, or the writer that was found; "" where not known
    verified_at: float | None = field(default=None, metadata=MOMENT)  # when the load balancer first showed it
    dollars_before: float | None = None  # per hour for the demand of that moment, in the mode before and in the mode after
    dollars_after: float | None = None


@dataclass(frozen=True, slots=True)
class Repeats:
    """How often the controller has done the same again lately: `at` is when it did so last, `against` who had undone it before."""

    times: int = 0
    at: float | None = field(default=None, metadata=MOMENT)
    against: str = ""

    def again(self, now: float, against: str = "") -> Repeats:
        """With once more at `now` (seconds since the Unix epoch)."""
        return Repeats(self.times + 1, now, against)


NEVER: Final = Repeats()
"""Not lately."""


@dataclass(frozen=True, slots=True)
class GuardResult:
    """One guard's answer. `reason` is why it holds, None where it passes.

    `known` is false where it passes for want of an answer, `allowed` true where it passes only because the application's policy says so.
    """

    guard: str
    reason: Reason | None
    passes: str = ""  # why it passes, in words; "" of one that holds
    details: Mapping[str, str] = field(default_factory=dict)  # of the reason
    reopens_s: float | None = None  # of a guard that holds: when time alone may open it, seconds from now; None: time alone never does
    known: bool = True
    allowed: bool = False

    @property
    def passed(self) -> bool:
        """Whether the guard passes."""
        return self.reason is None

    @property
    def plain(self) -> bool:
        """Whether it passes, and people need not read why: it was answered, and the policy overrules nothing."""
        return self.passed and self.known and not self.allowed

    @property
    def text(self) -> str:
        """Why it passes, or the reason's sentence, filled in."""
        return self.passes if self.reason is None else fill(self.reason, self.details)


class Verb(StrEnum):
    """What a decision asks for."""

    HOLD = "hold"
    FAILOVER = "failover"
    FALLBACK = "fallback"
    PREPARE = "prepare"  # raise the cost side before a fallback
    ROLLBACK = "rollback"  # undo a mode change that the load balancer did not show
    REWEIGHT = "reweight"  # same mode: other weights, or the right ones again
    NUDGE = "nudge"  # the same action once more, so that the load-balancer controller reconciles

    @property
    def changes_mode(self) -> bool:
        """Whether it changes the mode."""
        return self in {Verb.FAILOVER, Verb.FALLBACK, Verb.ROLLBACK}
