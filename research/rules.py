"""Policies that depend on the age of the present run: they fail over after a patience and return after a hold.

The detection delay is one tick: a policy decides about tick t from the ticks up to t - 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from controller.policy.account import level_after_failover
from controller.policy.model import Memory, Mode, ModeChange
from controller.policy.reasons import Reason
from research.traces import DAY_S, Trace
from research.two_state import Prices

NEVER = float("inf")


@dataclass(slots=True)
class Seen:
    """A policy's observations at the beginning of a run.

    Attributes:
        now_s: Start of the run, seconds.
        outages_s: Durations of past outages, seconds, the oldest first.
        uptimes_s: Durations of past runs with capacity, seconds.
        changes: Ticks of its own mode changes so far.
        tick_s: Seconds per tick.
    """

    tick_s: float
    now_s: float = 0.0
    outages_s: list[float] = field(default_factory=list)
    uptimes_s: list[float] = field(default_factory=list)
    changes: list[int] = field(default_factory=list)


class Rule(Protocol):
    """How long to wait in a run that begins."""

    def patience_s(self, seen: Seen, /) -> float:
        """Wait before the failover, from the tick in which the outage was observed; infinite for never."""

    def hold_s(self, seen: Seen, /) -> float:
        """Wait before the fallback, from the tick in which the return was observed; infinite for never."""


Play = Callable[[Trace, Prices], list[int]]
"""A policy: the mode changes on a trace, see `two_state.account`."""


def played(rule: Rule, trace: Trace) -> list[int]:
    """The mode changes of a rule.

    After w + 1 observed ticks of a run, the rule acts in the next tick, even if the run has ended: that is the detection delay.
    """
    seen = Seen(trace.tick_s)
    changes, ticks = seen.changes, len(trace.available)
    for number, run in enumerate(trace.runs):
        seen.now_s = run.start * trace.tick_s
        in_capacity = len(changes) % 2 == 1
        if in_capacity is run.available:
            wait_s = rule.hold_s(seen) if in_capacity else rule.patience_s(seen)
            wait = NEVER if wait_s == NEVER else -int(-wait_s // trace.tick_s)
            if run.length > wait and run.start + wait + 1 < ticks:
                changes.append(run.start + int(wait) + 1)
        if number:  # the beginning of the first run is unknown
            (seen.uptimes_s if run.available else seen.outages_s).append(run.length * trace.tick_s)
    return changes


@dataclass(frozen=True, slots=True)
class Fixed:
    """Constant patience and hold, seconds."""

    patience: float
    hold: float

    def patience_s(self, _seen: Seen) -> float:
        """See `Rule`."""
        return self.patience

    def hold_s(self, _seen: Seen) -> float:
        """See `Rule`."""
        return self.hold


MAX_HOLD_S = 14_400.0
"""The cap of the doubled hold: the default of `holdMaxSeconds`, seconds."""


@dataclass(frozen=True, slots=True)
class DoubledOnFlap:
    """A hold that doubles with every flap, as production counts them."""

    base_s: float

    def patience_s(self, _seen: Seen) -> float:
        """See `Rule`."""
        return 0.0

    def hold_s(self, seen: Seen) -> float:
        """See `Rule`."""
        return min(MAX_HOLD_S, self.base_s * 2.0 ** flap_level(seen.changes, seen.tick_s))


def flap_level(changes: Sequence[int], tick_s: float) -> int:
    """Production's doubling level after these mode changes, the last of which is a failover."""
    memory = Memory()
    for number, tick in enumerate(changes):
        at = tick * tick_s
        mode = Mode.COST if number % 2 else Mode.CAPACITY
        level = memory.hold_level if mode is Mode.COST else level_after_failover(memory, at)
        memory = Memory(mode=mode, mode_changes=(ModeChange(at, mode, Reason.SHORTAGE_PROVEN),), hold_level=level)
    return memory.hold_level


def always_cost(_trace: Trace, _prices: Prices) -> list[int]:
    """Never fails over."""
    return []


def always_capacity(_trace: Trace, _prices: Prices) -> list[int]:
    """Capacity mode from the first tick."""
    return [0]


CHECK_S = 300.0
"""Pause of the AWS sample's checker between two checks, seconds (see `benchmarks.aws_sample`)."""


def checker(every_s: float = DAY_S) -> Play:
    """The AWS sample's checker: checks every five minutes, fails over if it finds a refusal, and returns at a fixed time without a check.

    Args:
        every_s: From one return to the next, seconds. The AWS sample describes one wave per day and returns at its start.
    """

    def play(trace: Trace, _prices: Prices) -> list[int]:
        changes: list[int] = []
        ticks, tick_s = len(trace.available), trace.tick_s
        checks = [(number * CHECK_S, 1) for number in range(1, int(ticks * tick_s // CHECK_S) + 1)]
        returns = [(number * every_s, 0) for number in range(1, int(ticks * tick_s // every_s) + 1)]
        for at, check in sorted(checks + returns):
            tick = int(at // tick_s) + 1  # acts in the tick after the checked one
            if tick >= ticks or (changes and tick <= changes[-1]):
                continue
            in_capacity = len(changes) % 2 == 1
            if (check and not in_capacity and not trace.available[tick - 1]) or (not check and in_capacity):
                changes.append(tick)
        return changes

    return play
