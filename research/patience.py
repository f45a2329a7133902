"""How long a proven shortage should be observed before a failover: ``make research-patience``, docs/research/patience.md.

Each random world of the fuzz is played once, without a failover, so that what would have come of each patience is known. Half of the worlds
have fleets that try one zone a call, as EC2 mostly answers, and half have fleets that try all.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from rich.table import Table

from benchmarks.markdown import markdown, put
from controller.policy.model import Decision, Proof
from failover_analysis.fuzz.judge import Truth, alike, passes
from failover_analysis.fuzz.world import LENGTH_S, World, draw
from failover_analysis.real_shortage import NEAR_S

DOCS: Final = Path(__file__).parents[1] / "docs" / "research" / "patience.md"
_BEGIN: Final = "<!-- patience: written by `make research-patience` -->"
_END: Final = "<!-- end of patience -->"

PATIENCE_S: Final = (0.0, 5.0, 10.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0, 180.0)
COLD_START_S: Final = 300.0
"""A failover for a shortage that ends within this time gained little: the replicas that it was for come up about then."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time in which a unit counted as short without a break, in a played world.

    Attributes:
        start: When it was proven, seconds since the world's start.
        end: When that ended, or the world did.
        proofs: When each kind of proof first held.
        units: Which unit, and those that use the same NodePools and types.
    """

    start: float
    end: float
    proofs: tuple[tuple[float, Proof], ...]
    units: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Played:
    """One world.

    Attributes:
        one_zone: Whether its fleets try one zone a call.
        stretches: When units counted as short.
        short: By unit, the times in which it was really short, seconds since the world's start.
    """

    one_zone: bool
    stretches: tuple[Stretch, ...]
    short: dict[str, tuple[tuple[float, float], ...]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one patience leads to in one world.

    Attributes:
        proof: How the unit of the failover was proven short; None without a failover.
        false: Whether no unit was really short, then or since the proof.
        over: Whether the shortage was over when the traffic moved.
        brief: Whether it was over `COLD_START_S` later.
        exposed_s: How long units were really short in cost mode, seconds.
    """

    proof: Proof | None
    false: bool
    over: bool
    brief: bool
    exposed_s: float


class _Watch:
    """Collects what a played world shows."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._open: dict[str, tuple[float, dict[Proof, float]]] = {}
        self._short_since: dict[str, float] = {}
        self.stretches: list[Stretch] = []
        self.short: dict[str, list[tuple[float, float]]] = {}

    def see(self, t: float, decision: Decision, truth: Truth) -> None:
        """Takes one pass."""
        for name, judged in decision.evidence.items():
            if judged.short and judged.proof is not None:
                self._open.setdefault(name, (t, {}))[1].setdefault(judged.proof, t)
            else:
                self._close(name, t)
        for name in {*self._short_since, *truth.waiting}:
            if truth.waiting.get(name):
                self._short_since.setdefault(name, t)
            elif name in self._short_since:
                self.short.setdefault(name, []).append((self._short_since.pop(name), t))

    def _close(self, name: str, t: float) -> None:
        if name in self._open:
            start, proofs = self._open.pop(name)
            kinds = tuple(sorted((at, proof) for proof, at in proofs.items()))
            self.stretches.append(Stretch(start, t, kinds, alike(self._world, (name,))))

    def end(self) -> Played:
        """The world is over."""
        for name in tuple(self._open):
            self._close(name, LENGTH_S)
        for name, since in self._short_since.items():
            self.short.setdefault(name, []).append((since, LENGTH_S))
        stretches = tuple(sorted(self.stretches, key=lambda one: one.start))
        return Played(self._world.one_zone, stretches, {name: tuple(times) for name, times in self.short.items()})


def played(job: tuple[int, bool]) -> Played:
    """Plays the world of a seed, with a kind of answers."""
    seed, one_zone = job
    world = replace(draw(seed), one_zone=one_zone)
    watch = _Watch(world)
    for t, decision, truth in passes(world):
        watch.see(t, decision, truth)
    return watch.end()


def outcome(world: Played, patience_s: dict[Proof, float]) -> Outcome:
    """What comes of a patience for each kind of proof.

    Args:
        world: What happened.
        patience_s: By the kinds of proof, seconds.
    """
    found = [(max(at, one.start) + patience_s[proof], proof, one) for one in world.stretches for at, proof in one.proofs]
    due = min(((t, proof, one) for t, proof, one in found if t < one.end), key=lambda each: each[0], default=None)
    moved = LENGTH_S if due is None else due[0]
    exposed = sum(max(0.0, min(end, moved) - start) for times in world.short.values() for start, end in times)
    if due is None:
        return Outcome(None, false=False, over=False, brief=False, exposed_s=exposed)
    t, proof, stretch = due
    times = [one for name in stretch.units for one in world.short.get(name, ())]
    false = not any(start <= t and end >= stretch.start - NEAR_S for start, end in times)
    over = not any(start <= t <= end + NEAR_S for start, end in times)
    brief = t + COLD_START_S <= LENGTH_S and not any(start <= t + COLD_START_S <= end for start, end in times)
    return Outcome(proof, false, over, brief, exposed)


def rows(worlds: Sequence[Played], kind: Proof | None) -> list[tuple[str, ...]]:
    """One row for each patience.

    Args:
        worlds: The played worlds.
        kind: The kind of proof whose patience varies while the others keep 30 s; None: all of them.
    """
    found = []
    for seconds in PATIENCE_S:
        patience = {proof: seconds if kind in {None, proof} else 30.0 for proof in Proof}
        each = [outcome(world, patience) for world in worlds]
        moved = [one for one in each if one.proof is not None and kind in {None, one.proof}]
        counts = (len(moved), sum(one.false for one in moved), sum(one.over for one in moved), sum(one.brief for one in moved))
        exposed = sum(one.exposed_s for one in each) / 60 / max(1, sum(bool(one.short) for one in worlds))
        found.append((f"{seconds:g}", *(str(count) for count in counts), f"{exposed:.2f}"))
    return found


HEADER: Final = ("patience, s", "failovers", "false", "shortage over by then", "over 5 min later", "exposed min a world with a shortage")


def tables(worlds: Iterable[Played]) -> list[str]:
    """All tables, as Markdown."""
    parts = []
    whole = list(worlds)
    for one_zone, answers in ((True, "Fleets that try one zone a call"), (False, "Fleets that try all zones")):
        some = [world for world in whole if world.one_zone is one_zone]
        for kind in (None, *Proof):
            title = "one patience for every proof" if kind is None else f"the patience after a proof by *{kind}*, 30 s after the others"
            table = Table(title=f"{answers}, {len(some)} worlds, {sum(bool(one.short) for one in some)} with a shortage; {title}")
            for name in HEADER:
                table.add_column(name, justify="right")
            for row in rows(some, kind):
                table.add_row(*row)
            parts.append(markdown(table))
    return parts


def main(arguments: list[str] | None = None) -> int:
    """Plays the worlds and writes the tables into docs/research/patience.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=300, help="seeds; each is played with both kinds of answers")
    parser.add_argument("--first", type=int, default=10_000, help="the first seed: others than the fuzz's")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--write", action="store_true", help=f"put the tables into {DOCS.name}")
    asked = parser.parse_args(arguments)
    jobs = [(seed, one_zone) for seed in range(asked.first, asked.first + asked.worlds) for one_zone in (True, False)]
    with ProcessPoolExecutor(asked.processes) as pool:
        found = tables(pool.map(played, jobs, chunksize=8))
    if asked.write:
        put(DOCS, _BEGIN, _END, found)
    sys.stdout.write("\n\n".join(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
