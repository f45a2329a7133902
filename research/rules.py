"""Policies that watch how long the present run lasts: fail over after some patience, return after some hold.

Everything is causal by one tick of detection delay: what is done at tick t was decided from ticks up to t - 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from controller.policy.hold import level_after_failover
from controller.policy.model import Memory, Mode, ModeChange
from controller.policy.reasons import Reason
from research.traces import DAY_S, Trace
from research.two_state import Prices

NEVER = float("inf")


@dataclass(slots=True)
class Seen:
    """What a policy has seen when a run begins.

    Attributes:
        now_s: The start of the run, seconds.
        outages_s: Whole outages that are over, seconds, the oldest first.
        uptimes_s: Whole stretches with capacity that are over, seconds.
        switches: Ticks of its own switches so far.
        tick_s: Seconds a tick.
    """

    tick_s: float
    now_s: float = 0.0
    outages_s: list[float] = field(default_factory=list)
    uptimes_s: list[float] = field(default_factory=list)
    switches: list[int] = field(default_factory=list)


class Rule(Protocol):
    """How long to wait in the run that begins."""

    def patience_s(self, seen: Seen, /) -> float:
        """How long an outage is watched, counted from the tick in which it was seen, before the failover; infinite: for ever."""

    def hold_s(self, seen: Seen, /) -> float:
        """How long capacity must have been back, counted likewise, before the fallback; infinite: for ever."""


Play = Callable[[Trace, Prices], list[int]]
"""A policy: the switches on a trace, see `two_state.account`."""


def played(rule: Rule, trace: Trace) -> list[int]:
    """The switches of a rule.

    A run of which w + 1 ticks were seen is acted upon in the tick after, whether it still lasts or not: that is the detection delay.
    """
    seen = Seen(trace.tick_s)
    switches, ticks = seen.switches, len(trace.available)
    for number, run in enumerate(trace.runs):
        seen.now_s = run.start * trace.tick_s
        in_capacity = len(switches) % 2 == 1
        if in_capacity is run.available:
            wait_s = rule.hold_s(seen) if in_capacity else rule.patience_s(seen)
            wait = NEVER if wait_s == NEVER else -int(-wait_s // trace.tick_s)
            if run.length > wait and run.start + wait + 1 < ticks:
                switches.append(run.start + int(wait) + 1)
        if number:  # when the first run began is not known
            (seen.uptimes_s if run.available else seen.outages_s).append(run.length * trace.tick_s)
    return switches


@dataclass(frozen=True, slots=True)
class Fixed:
    """The same patience and hold for ever, seconds."""

    patience: float
    hold: float

    def patience_s(self, _seen: Seen) -> float:
        """See `Rule`."""
        return self.patience

    def hold_s(self, _seen: Seen) -> float:
        """See `Rule`."""
        return self.hold


FLAP_S = 7_200.0
"""A failover within this time of the last fallback is a flap (docs/research/evaluation.md), seconds."""

MAX_HOLD_S = 14_400.0
"""The cap of the doubled hold: the default of `holdMaxSeconds`, seconds."""


@dataclass(frozen=True, slots=True)
class DoubledOnFlap:
    """A hold that doubles with every flap, by production's own count of them."""

    base_s: float

    def patience_s(self, _seen: Seen) -> float:
        """See `Rule`."""
        return 0.0

    def hold_s(self, seen: Seen) -> float:
        """See `Rule`."""
        return min(MAX_HOLD_S, self.base_s * 2.0 ** flap_level(seen.switches, seen.tick_s))


def flap_level(switches: Sequence[int], tick_s: float) -> int:
    """Production's doubling level after these switches, the last of which is a failover."""
    memory = Memory()
    for number, tick in enumerate(switches):
        at = tick * tick_s
        mode = Mode.COST if number % 2 else Mode.CAPACITY
        level = memory.hold_level if mode is Mode.COST else level_after_failover(memory, at, FLAP_S)
        memory = Memory(mode=mode, mode_changes=(ModeChange(at, mode, Reason.SHORTAGE_PROVEN),), hold_level=level)
    return memory.hold_level


def always_cost(_trace: Trace, _prices: Prices) -> list[int]:
    """Never fails over."""
    return []


def always_capacity(_trace: Trace, _prices: Prices) -> list[int]:
    """Capacity mode from the first tick."""
    return [0]


CHECK_S = 300.0
"""The source's checker sleeps five minutes between two looks (see `benchmarks.source`), seconds."""


def checker(every_s: float = DAY_S) -> Play:
    """The source's checker: looks every five minutes, fails over on what it sees, and returns at a fixed time, unchecked.

    Args:
        every_s: From one return to the next, seconds; the source describes a load wave a day, at the start of which it returns.
    """

    def play(trace: Trace, _prices: Prices) -> list[int]:
        switches: list[int] = []
        ticks, tick_s = len(trace.available), trace.tick_s
        looks = [(number * CHECK_S, 1) for number in range(1, int(ticks * tick_s // CHECK_S) + 1)]
        returns = [(number * every_s, 0) for number in range(1, int(ticks * tick_s // every_s) + 1)]
        for at, look in sorted(looks + returns):
            tick = int(at // tick_s) + 1  # done in the tick after the one that was looked at
            if tick >= ticks or (switches and tick <= switches[-1]):
                continue
            in_capacity = len(switches) % 2 == 1
            if (look and not in_capacity and not trace.available[tick - 1]) or (not look and in_capacity):
                switches.append(tick)
        return switches

    return play
