"""Availability over time: one bit per tick, and the runs of equal bits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, pairwise
from typing import Final

TICK_S: Final = 195.0
"""The tick of docs/research/evaluation.md, seconds: about Karpenter's three-minute cache plus a launch, so one refusal per tick."""

DAY_S: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Run:
    """A series of ticks with the same availability.

    Attributes:
        start: The first tick.
        length: Ticks, at least 1.
        available: Whether there was capacity.
    """

    start: int
    length: int
    available: bool

    @property
    def end(self) -> int:
        """The first tick after the run."""
        return self.start + self.length


@dataclass(frozen=True)
class Trace:
    """Whether a unit (or one zone of it) could get capacity.

    Attributes:
        name: Name, for people.
        available: One byte per tick, 1 with capacity and 0 without.
        tick_s: Seconds per tick.
    """

    name: str
    available: bytes
    tick_s: float = TICK_S

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """The runs of the trace, in order; availability alternates."""
        found, at = [], 0
        for bit, same in groupby(self.available):
            length = sum(1 for _ in same)
            found.append(Run(at, length, bool(bit)))
            at += length
        return tuple(found)

    @cached_property
    def days(self) -> float:
        """The length in days."""
        return len(self.available) * self.tick_s / DAY_S

    @property
    def short_share(self) -> float:
        """The share of the time without capacity, 0 to 1."""
        return 1 - sum(self.available) / len(self.available)

    def durations_s(self, *, available: bool) -> list[float]:
        """Durations of whole runs, seconds; without the first and last, which the trace cuts off."""
        return [run.length * self.tick_s for run in self.runs[1:-1] if run.available is available]


def either(name: str, zones: Sequence[Trace]) -> Trace:
    """The trace of a whole unit, which has capacity while any of its zones has.

    Raises:
        ValueError: There are no zones, or they differ in length or tick.
    """
    if len({(len(zone.available), zone.tick_s) for zone in zones}) != 1:
        raise ValueError(f"the zones of {name} must have the same ticks")
    bits = bytes(map(max, *(zone.available for zone in zones))) if len(zones) > 1 else zones[0].available
    return Trace(name, bits, zones[0].tick_s)


def sampled(name: str, changes: Iterable[tuple[float, bool]], end_s: float, tick_s: float = TICK_S) -> Trace:
    """A trace from times of change, sampled at the start of every tick: shorter changes may be missed.

    Args:
        name: Name, for people.
        changes: Seconds and availability from then on, in order; the first also holds for all earlier times.
        end_s: End of the trace, seconds.
        tick_s: Seconds per tick.

    Raises:
        ValueError: There are no changes, they are not in order, or the trace would be shorter than a tick.
    """
    steps = list(changes)
    if not steps or any(later[0] < earlier[0] for earlier, later in pairwise(steps)):
        raise ValueError(f"{name}: there must be changes, in order of time")
    ticks = int(end_s // tick_s)
    if ticks < 1:
        raise ValueError(f"{name}: {end_s:g} s are shorter than a tick of {tick_s:g} s")
    bits = bytearray()
    present = steps[0][1]
    for at, available in [*steps, (end_s, True)]:
        until = min(ticks, max(0, -int(-at // tick_s)))  # the first tick that starts at `at` or later
        bits += bytes([present]) * (until - len(bits))
        present = available
    bits += bytes([steps[-1][1]]) * (ticks - len(bits))
    return Trace(name, bytes(bits), tick_s)
