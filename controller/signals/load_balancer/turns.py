"""In which order applications are verified, and how many the budget of calls can serve.

The application whose check has been due for longest comes first. Where the budget does not reach it, nobody overtakes it: otherwise those
at the front of a list would use every call, and those behind would never be checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from controller.policy.model import Application

AGE_S: Final = 600.0
"""How old the verification of an application without changes may be, seconds: within it a foreign change of a rule is noticed."""
AUDITS_SHARE: Final = 0.25
"""The least part of the calls that goes to applications without changes while changes wait, too."""

_NEAR: Final = 0.9  # of `AGE_S`
_REMEMBERED: Final = 1000.0  # calls; older ones count half


@dataclass(frozen=True, slots=True)
class Load:
    """How the calls that verifications need compare with the budget.

    Attributes:
        applications: How many are verified.
        calls_each: Calls of one check, the mean over the applications.
        per_second: The budget, calls a second.
    """

    applications: int
    calls_each: float
    per_second: float

    @property
    def cycle_s(self) -> float:
        """Seconds in which the budget serves all applications once."""
        return self.applications * self.calls_each / self.per_second

    @property
    def servable(self) -> int:
        """How many applications the budget can verify every `AGE_S` seconds."""
        return int(AGE_S * self.per_second / max(1.0, self.calls_each))

    @property
    def needed_per_s(self) -> float:
        """The budget that would serve all of them, calls a second."""
        return self.applications * self.calls_each / AGE_S

    @property
    def change_s(self) -> float:
        """Seconds within which the budget reaches an application that changed, even where all others changed with it.

        At most what it takes in the largest fleet that the budget can serve: beyond that, `too_much` says so.
        """
        return min(self.cycle_s, AGE_S) / (1 - AUDITS_SHARE)

    @property
    def too_much(self) -> bool:
        """Whether the budget cannot serve them."""
        return self.cycle_s > AGE_S

    @property
    def too_near(self) -> bool:
        """Whether the budget hardly serves them. `too_much` changes with each check there, because each takes another number of calls."""
        return self.cycle_s > _NEAR * AGE_S

    def remedy(self) -> str:
        """How to make the budget serve them, for people."""
        return f"set polls.elbv2_calls_per_s (FAILOVERCTL_POLLS__ELBV2_CALLS_PER_S) to {self.needed_per_s:.1f} or more"

    def words(self) -> str:
        """What the budget can serve, for people."""
        return (
            f"{self.applications} applications need about {self.calls_each:.1f} ELBv2 calls each; polls.elbv2_calls_per_s allows "
            f"{self.per_second:g} a second, which is enough for {self.servable} every {AGE_S / 60:.0f} min"
        )


def expected_load(applications: Iterable[Application], per_second: float) -> Load:
    """The load before anything was verified, for one listener each: its rules, a refresh of the listeners, and each target group.

    Args:
        applications: Those that will be verified.
        per_second: The budget, calls a second.
    """
    calls = [2 + 1 + len(one.units) for one in applications]
    return Load(len(calls), sum(calls) / len(calls) if calls else 0.0, per_second)


@dataclass(frozen=True, slots=True)
class Waiting:
    """An application whose check is due.

    Attributes:
        application: Its key.
        since: When it became due, monotonic; minus infinity if it was never checked.
        changed: Whether its routing action is another than the one that was verified, or is not there yet.
    """

    application: str
    since: float
    changed: bool


class Turns:
    """Shares the calls between applications that changed and those that did not, each in the order in which they became due."""

    def __init__(self) -> None:
        self._spent = {True: 0.0, False: 0.0}
        self._lines: dict[bool, list[Waiting]] = {}

    def order(self, waiting: Iterable[Waiting]) -> Iterator[Waiting]:
        """Yields the applications in their turn; between two, `spent` and `skip` may be called.

        Args:
            waiting: Those that are due.
        """
        lines = self._lines = {True: [], False: []}
        for one in sorted(waiting, key=lambda one: one.since, reverse=True):
            lines[one.changed].append(one)
        while any(lines.values()):
            owed = self._spent[False] < AUDITS_SHARE * sum(self._spent.values())
            changed = bool(lines[True]) and not (owed and lines[False])
            yield lines[changed].pop()

    def spent(self, one: Waiting, calls: float) -> None:
        """Accounts for the calls of a check."""
        self._spent[one.changed] += calls
        if sum(self._spent.values()) > _REMEMBERED:
            self._spent = {changed: calls / 2 for changed, calls in self._spent.items()}

    def skip(self, one: Waiting) -> None:
        """Notes that the budget does not reach an application: nobody behind it in its line gets a turn now."""
        self._lines[one.changed].clear()
