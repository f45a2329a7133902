"""What a replay adds up to: how much was different, which mode changes there were, and how long each mode lasted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from controller.policy.decide import observed_mode
from controller.policy.model import Mode, Verb
from controller.recording.lines import Decided
from controller.replay.rerun import Moment

_MOST_CHANGES: Final = 1000  # of the mode, that are listed; four an hour are the most that the policy makes by default
_SWITCHING: Final = frozenset(str(verb) for verb in Verb if verb.switches)


@dataclass(frozen=True, slots=True)
class ModeChange:
    """A change of the mode.

    Attributes:
        at: When, seconds since the Unix epoch.
        to: The mode after it; None where the routing is not understood any more.
        reason: Of the decision that made it; "" where no decision did.
    """

    at: float
    to: Mode | None
    reason: str


@dataclass(slots=True)
class Course:
    """The modes of one side: as it was recorded, or as it was replayed."""

    mode: Mode | None
    changes: list[ModeChange] = field(default_factory=list)
    seconds: dict[Mode | None, float] = field(default_factory=dict)  # in each mode

    def add(self, passed: float, mode: Mode | None, made: Decided, at: float) -> None:
        """Adds one decision.

        Args:
            passed: Time since the one before, seconds.
            mode: The mode after it.
            made: The decision.
            at: When it was made.
        """
        self.seconds[self.mode] = self.seconds.get(self.mode, 0.0) + passed
        if mode is not self.mode and len(self.changes) < _MOST_CHANGES:
            self.changes.append(ModeChange(at, mode, made.reason if made.verb in _SWITCHING else ""))
        self.mode = mode


class Tally:
    """Adds up the moments of one application.

    Args:
        first: The first one, which still has to be added.
    """

    def __init__(self, first: Moment) -> None:
        self.application = first.snapshot.application.key
        self.begin = self.end = first.snapshot.now
        self.decisions = self.different = 0
        self.longest_gap_s = 0.0
        self.first_difference: Moment | None = None
        self.recorded = Course(observed_mode(first.recorded.snapshot)[0])
        self.replayed = Course(observed_mode(first.snapshot)[0])
        self._last_line = self.begin

    def add(self, moment: Moment) -> None:
        """Adds one moment."""
        now = moment.snapshot.now
        passed = max(0.0, now - self.end)
        if not moment.between:
            self.decisions += 1
            self.longest_gap_s = max(self.longest_gap_s, now - self._last_line)
            self._last_line = now
        self.recorded.add(passed, self.recorded.mode if moment.between else moment.modes[0], moment.recorded.decided, now)
        if moment.differences:
            self.different += 1
            self.first_difference = self.first_difference or moment
        self.replayed.add(passed, moment.modes[1], moment.replayed, now)
        self.end = max(self.end, now)
