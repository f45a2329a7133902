"""``python -m failover_analysis.fuzz.hours``: random worlds of six hours in which the controller acts: was it right, and how late.

EC2 is short of a unit while pods of it wait and EC2 has no instance of anything that they may use. Karpenter has nothing left to ask for
them once all of that is in its cache. See docs/laboratory/simulation.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from controller.clock import SystemClock
from controller.policy.model import Decision, Mode, Verb
from failover_analysis.fuzz.judge import Truth, alike, passes
from failover_analysis.fuzz.world import World, draw_long
from failover_analysis.real_shortage import NEAR_S

LATE_S: Final = (120.0, 300.0)
HOURS: Final = 6


@dataclass(slots=True)
class Hours:
    """What came of one world, or of several. Lists have a text for each, with seed and seconds since the world's start.

    Attributes:
        worlds: How many.
        passes: Passes that were made.
        failovers: Mode changes to capacity mode.
        false_failovers: Those for units of which none was short, at that moment or since its proof.
        proofs: How often a unit was proven short that was not before, by proof.
        false_proofs: Those where Karpenter could have launched something that EC2 had.
        shortages: How often EC2 was short of a unit for so long, by seconds.
        unproven: Those of them that were not proven by then, by seconds.
        fallbacks: Mode changes to cost mode.
        fallbacks_into: Those while EC2 was short of a unit.
        silent: Units that were short for ten minutes in cost mode, and neither proven nor named by an alert.
        delays_s: From when Karpenter had nothing left to ask for the unit's pods to its proof.
    """

    worlds: int = 0
    passes: int = 0
    failovers: int = 0
    false_failovers: list[str] = field(default_factory=list)
    proofs: Counter[str] = field(default_factory=Counter)
    false_proofs: list[str] = field(default_factory=list)
    shortages: Counter[float] = field(default_factory=Counter)
    unproven: dict[float, list[str]] = field(default_factory=lambda: {after: [] for after in LATE_S})
    fallbacks: int = 0
    fallbacks_into: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    delays_s: list[float] = field(default_factory=list)

    def add(self, other: Hours) -> None:
        """Adds what came of other worlds."""
        for name in (
            "worlds",
            "passes",
            "failovers",
            "fallbacks",
            "false_failovers",
            "false_proofs",
            "fallbacks_into",
            "silent",
            "delays_s",
        ):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.proofs.update(other.proofs)
        self.shortages.update(other.shortages)
        for after, found in other.unproven.items():
            self.unproven[after] += found

    def figures(self) -> dict[str, Any]:
        """For a file."""
        delays = sorted(self.delays_s)
        shown = asdict(self)
        shown |= {"shortages": {f"{after:g}": self.shortages[after] for after in LATE_S}}
        shown |= {"unproven": {f"{after:g}": self.unproven[after] for after in LATE_S}, "proofs": dict(sorted(self.proofs.items()))}
        shown["delays_s"] = {f"p{part}": round(delays[len(delays) * part // 100], 1) for part in (50, 90, 99)} if delays else {}
        return shown


@dataclass(slots=True)
class _Seen:
    """A unit while a world is played: since when it has been so, None where it is not."""

    proven: float | None = None
    short: float | None = None
    asked_out: float | None = None
    answered: bool = False
    late: set[float] = field(default_factory=set)
    silent: bool = False


class _Watch:
    """Compares each pass of one world with the truth."""

    def __init__(self, world: World) -> None:
        self.found, self._world = Hours(worlds=1), world
        self._units = {unit.name: _Seen() for unit in world.units}

    def seen(self, t: float, decision: Decision, truth: Truth) -> None:
        """Notes a pass."""
        self.found.passes += 1
        for name, seen in self._units.items():
            judged = decision.evidence[name]
            seen.short = _since(seen.short, t, now=truth.out(name))
            seen.asked_out = _since(seen.asked_out, t, now=truth.asked_out(name))
            if judged.short and seen.proven is None:
                self._proven(name, str(judged.proof), t, truth)
            seen.answered = seen.answered and seen.asked_out is not None
            if judged.short and seen.asked_out is not None and not seen.answered and truth.out(name):
                seen.answered = True
                self.found.delays_s.append(round(t - seen.asked_out, 3))
            seen.proven = _since(seen.proven, t, now=judged.short)
            self._late(name, t)
            self._silent(name, decision, truth)
        if decision.verb is Verb.FAILOVER:
            self._failed_over(t, decision, truth)
        if decision.verb is Verb.FALLBACK:
            self.found.fallbacks += 1
            self.found.fallbacks_into += [self._words(t, name) for name, seen in self._units.items() if seen.short is not None]

    def _proven(self, name: str, proof: str, t: float, truth: Truth) -> None:
        self.found.proofs[proof] += 1
        if not self._was_short((name,), t, truth):
            self.found.false_proofs.append(self._words(t, name, proof))

    def _failed_over(self, t: float, decision: Decision, truth: Truth) -> None:
        self.found.failovers += 1
        proven = [name for name, judged in decision.evidence.items() if judged.short]
        since = min((self._units[name].proven or t for name in proven), default=t)
        if not self._was_short(tuple(proven), since, truth):
            self.found.false_failovers.append(self._words(t, *proven))

    def _was_short(self, names: Sequence[str], since: float, truth: Truth) -> bool:
        return any(truth.history.last.get(name, -1e9) >= since - NEAR_S for name in alike(self._world, names))

    def _late(self, name: str, t: float) -> None:
        seen = self._units[name]
        if seen.short is None:
            seen.late.clear()
            return
        for after in LATE_S:
            if t - seen.short >= after and after not in seen.late:
                seen.late.add(after)
                self.found.shortages[after] += 1
                if seen.proven is None:
                    self.found.unproven[after].append(self._words(t, name))

    def _silent(self, name: str, decision: Decision, truth: Truth) -> None:
        seen, overdue = self._units[name], name in truth.history.overdue()
        known = (
            decision.mode is not Mode.COST or decision.evidence[name].short or any(name in one.key + one.text for one in decision.alerts)
        )
        if overdue and not known and not seen.silent:
            self.found.silent.append(self._words(self._world.length_s, name))
        seen.silent = overdue and not known

    def _words(self, t: float, *more: str) -> str:
        return f"{self._world.seed} at {t:.0f} s: {' '.join(more)}"


def _since(before: float | None, t: float, *, now: bool) -> float | None:
    return (t if before is None else before) if now else None


def play(seed: int, hours: int = HOURS) -> Hours:
    """Plays the world of one seed."""
    world = draw_long(seed, hours)
    watch = _Watch(world)
    for t, decision, truth in passes(world, acting=True):
        watch.seen(t, decision, truth)
    return watch.found


def main(arguments: list[str] | None = None) -> int:
    """Plays worlds, one on each processor; 1 where a failover, a proof or a fallback was false, or a hold silent."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=500)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--hours", type=int, default=HOURS, help="how long each world is")
    parser.add_argument("--minutes", type=float, default=60.0, help="the time after which no further world counts")
    parser.add_argument("--write", type=Path, help="the file that keeps the figures")
    asked = parser.parse_args(arguments)
    clock = SystemClock()
    start, found, figures = clock.monotonic(), Hours(), dict[str, Any]()
    with ProcessPoolExecutor() as pool:
        for world in pool.map(partial(play, hours=asked.hours), range(asked.first, asked.first + asked.worlds)):
            found.add(world)
            figures = {**found.figures(), "hours": asked.hours}
            if asked.write is not None:
                asked.write.write_text(json.dumps(figures, indent=1) + "\n")
            if clock.monotonic() - start > 60.0 * asked.minutes:
                pool.shutdown(wait=False, cancel_futures=True)
                break
    sys.stdout.write(json.dumps(figures, indent=1) + "\n")
    return 1 if found.false_failovers or found.false_proofs or found.fallbacks_into or found.silent else 0


if __name__ == "__main__":
    sys.exit(main())
