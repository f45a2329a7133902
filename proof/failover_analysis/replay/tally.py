"""Adds up a replay: the number of differences, the mode changes, and what the modes cost and saved."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from controller.policy.account import Ledger, booked
from controller.policy.decision import observed_mode
from controller.policy.model import Decision, Mode, Snapshot
from controller.routing.conclusion import conclude
from failover_analysis.replay.rerun import Moment

_MOST_CHANGES: Final = 1000  # mode changes in the list; by default the policy makes at most four an hour


@dataclass(frozen=True, slots=True)
class ModeChange:
    """A mode change.

    Attributes:
        at: When, seconds since the Unix epoch.
        to: The mode after it; None if the routing is no longer understood.
        reason: The reason code of the decision; "" if no decision made it.
    """

    at: float
    to: Mode | None
    reason: str


@dataclass(slots=True)
class Course:
    """The recorded or the replayed course of an application.

    Attributes:
        mode: The current mode.
        changes: The mode changes.
        ledger: What the modes cost and saved, by the same account as the service's.
    """

    mode: Mode | None
    changes: list[ModeChange] = field(default_factory=list)
    ledger: Ledger = field(default_factory=Ledger)
    _last: tuple[Snapshot, Decision] | None = None

    def add(self, snapshot: Snapshot, decision: Decision, mode: Mode | None) -> None:
        """Adds one decision.

        Args:
            snapshot: The snapshot of the decision.
            decision: What was decided.
            mode: The actual mode after it: some of the decision may not have been carried out.
        """
        self.until(snapshot.now)
        if mode is not self.mode and len(self.changes) < _MOST_CHANGES:
            self.changes.append(ModeChange(snapshot.now, mode, str(decision.reason) if decision.verb.changes_mode else ""))
        self.mode, self._last = mode, (snapshot, decision)

    def until(self, now: float) -> None:
        """Accounts for the time since the last decision."""
        if self._last is not None:
            snapshot, decision = self._last
            self.ledger = booked(self.ledger, snapshot, decision, self.mode, now - snapshot.now)


class Tally:
    """Adds up the moments of one application.

    Args:
        first: The first moment, which still has to be added.
        courses: Whether to add up the two courses. If every moment is decided by itself, there is only one.
    """

    def __init__(self, first: Moment, *, courses: bool = True) -> None:
        self.application = first.snapshot.application.key
        self.begin = self.end = first.snapshot.now
        self.decisions = self.different = 0
        self.longest_gap_s = 0.0
        self.first_difference: Moment | None = None
        self.recorded = Course(observed_mode(first.recorded.snapshot, None)[0])
        self.replayed = Course(observed_mode(first.snapshot, None)[0])
        self._courses = courses
        self._last_line = self.begin

    def add(self, moment: Moment) -> None:
        """Adds one moment."""
        now = moment.snapshot.now
        if moment.differences:
            self.different += 1
            self.first_difference = self.first_difference or moment
        if not moment.between:
            self.decisions += 1
            self.longest_gap_s = max(self.longest_gap_s, now - self._last_line)
            self._last_line = now
        self.end = max(self.end, now)
        if not self._courses:
            return
        self.replayed.add(moment.snapshot, moment.decision, moment.modes[1])
        if not moment.between:
            # Evidence is not recorded: it is derived again from the snapshot.
            recorded = moment.recorded
            self.recorded.add(recorded.snapshot, conclude(recorded.memory, recorded.snapshot).decision, moment.modes[0])
