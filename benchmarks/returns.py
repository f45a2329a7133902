"""How soon a return of capacity is found, and what finding it costs: the canary and the reservation in the same worlds.

``make bench-returns`` plays days in which one instance type runs out in every zone, again and again, and the simulated month, both over
the same seeds, and writes ``benchmarks/results/returns.json``. docs/laboratory/benchmarks.md has the figures.

A return counts from the moment at which EC2 first has an instance of one of the unit's offerings again, if capacity mode had not proven the
unit's return by then; it is found at the first decision for which it is proven. Left out: returns that a new outage ends before they are
found are counted apart; the calls share no bucket with anybody, and EC2 answers at once.

``--karpenter`` measures the same beside the real Karpenter, in real time; see `benchmarks.returns_beside_karpenter`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import statistics
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final

from controller.errors import RemoteError
from controller.policy.account import probing
from controller.policy.decision import Conclusion
from controller.policy.model import Action, Mode, ReturnProbe
from controller.service.application_pass import Acted
from failover_analysis.simulation.outages import Outage
from failover_analysis.simulation.replica import Replica
from failover_analysis.simulation.run import Simulation
from failover_analysis.simulation.scenario import find, load
from failover_analysis.simulation.setup import Setup
from failover_testbed.capacity.ec2 import Offering, Shortage

RESULTS: Final = Path(__file__).parent / "results" / "returns.json"
FIRST_SEED: Final = 101
_HOUR_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Run:
    """One run.

    Attributes:
        probe: How the units were probed.
        world: ``days`` or ``month``.
        seed: Of the world.
        delays: From each return to its proof, seconds.
        overtaken: Returns that a new outage ended before they were proven.
        mode_changes: Mode changes.
        left: Reservations that nobody cancelled.
        calls: Calls about reservations.
        probe_share: Dollars for replicas and reservations that only probes had, as a share of the spend.
        spend: US dollars of all replicas.
        violations: Violated invariants.
    """

    probe: str
    world: str
    seed: int
    delays: tuple[float, ...]
    overtaken: int
    mode_changes: int
    left: int
    calls: int
    probe_share: float
    spend: float
    violations: int


@dataclass(slots=True)
class _Watch:
    """Notes when each return is proven.

    Attributes:
        ends: By unit, when it has capacity again, and when it has none the next time, seconds since the Unix epoch; the last first.
    """

    ends: dict[str, list[tuple[float, float]]]
    delays: list[float] = field(default_factory=list)
    overtaken: int = 0
    _open: dict[str, tuple[float, float]] = field(default_factory=dict)
    _unproven: set[str] = field(default_factory=set)

    def decided(self, _: Replica, conclusion: Conclusion) -> None:
        """See `failover_analysis.simulation.replica.ReplicaObserver`."""
        now, decision = conclusion.snapshot.now, conclusion.decision
        for name, ends in self.ends.items():
            while ends and ends[-1][0] <= now:
                end = ends.pop()
                if name in self._unproven:
                    self._open[name] = end
            waits = decision.mode is Mode.CAPACITY and probing(decision.evidence[name])
            if name in self._open and now > self._open[name][1]:
                del self._open[name]
                self.overtaken += 1
            elif name in self._open and decision.evidence[name].returned.proven:
                self.delays.append(now - self._open.pop(name)[0])
            (self._unproven.add if waits else self._unproven.discard)(name)

    def acted(self, replica: Replica, conclusion: Conclusion, action: Action, error: RemoteError | None) -> None:
        """See `failover_analysis.simulation.replica.ReplicaObserver`."""

    def passed(self, replica: Replica, conclusion: Conclusion, acted: Acted) -> None:
        """See `failover_analysis.simulation.replica.ReplicaObserver`."""


def returns(outages: Sequence[Outage], offerings: Sequence[Offering]) -> Iterator[tuple[float, float]]:
    """When some of the offerings are to be had again after none was, and when none is the next time, seconds from the start."""
    times = sorted({at for one in outages for at in (one.start_s, one.end_s)})
    none = [at for at in times if all(_out(outages, offering, at) for offering in offerings)]
    some = [at for at in times if at not in set(none)]
    before = 0.0
    for at in some:
        if any(before <= one < at for one in none):
            yield at, min((one for one in none if one > at), default=float("inf"))
        before = at


def _out(outages: Sequence[Outage], offering: Offering, at: float) -> bool:
    return any(one.start_s <= at < one.end_s and one.shortage.concerns(offering) for one in outages)


def _often(setup: Setup, seed: int, days: float) -> Setup:
    """A world in which the first unit's instance type runs out eight times a day, everywhere, for twenty minutes to an hour and a half."""
    chance, found = random.Random(f"{seed}/returns"), []
    for place in range(round(days * 8)):
        start = place * 3 * _HOUR_S + chance.uniform(0.2, 1.0) * _HOUR_S
        found.append(Outage(start, start + chance.uniform(1200.0, 5400.0), Shortage((setup.application.units[0].instance_type,))))
    return replace(setup, seconds=days * 24 * _HOUR_S, outages=tuple(found), demand=lambda at: 2000 + 900 * math.sin(at / 5000))


def play(probe: ReturnProbe, world: str, seed: int, days: float) -> Run:
    """Plays one world."""
    made = load(find("month")).setup(seed)
    units = tuple(replace(unit, probe=probe) for unit in made.application.units)
    setup = replace(made, application=replace(made.application, units=units), seconds=days * 24 * _HOUR_S)
    setup = _often(setup, seed, days) if world == "days" else setup
    simulation = Simulation(setup, seed)
    watch = _Watch({unit.name: _ends(setup, unit.instance_type) for unit in units})
    engine = simulation.engine
    engine.observers.append(watch)
    result = simulation.run()
    price = {unit.instance_type: unit.price_per_hour for unit in units}
    reserved = sum(price[name] * seconds / _HOUR_S for name, seconds in engine.reservations.billed_s().items())
    spend = result.ledger.spend
    return Run(
        probe=str(probe),
        world=world,
        seed=seed,
        delays=tuple(round(one, 1) for one in watch.delays),
        overtaken=watch.overtaken,
        mode_changes=len(result.mode_changes),
        left=len(engine.reservations.left),
        calls=engine.reservations.calls,
        probe_share=round((result.ledger.probe_dollars + reserved) / spend, 6),
        spend=round(spend, 2),
        violations=len(result.violations),
    )


def _ends(setup: Setup, instance_type: str) -> list[tuple[float, float]]:
    """The returns of one instance type, the last first, seconds since the Unix epoch."""
    found = returns(setup.outages, [Offering(instance_type, zone) for zone in setup.zones])
    return [(setup.start + at, setup.start + again) for at, again in found][::-1]


def main() -> None:
    """Plays all worlds with both probes and prints the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=4, help="how many worlds of days")
    parser.add_argument("--days", type=float, default=3.0, help="how long each is")
    parser.add_argument("--month", type=float, default=30.0, help="how many days of the simulated month are played; 0: none")
    parser.add_argument("--karpenter", action="store_true", help="beside the real Karpenter, in real time, in place of simulated worlds")
    parser.add_argument("--rounds", type=int, default=1, choices=(1, 2), help="with --karpenter: how often six instance types run out")
    given = parser.parse_args()
    if given.karpenter:
        _beside_karpenter(given.rounds)
        return
    worlds = [("days", FIRST_SEED + place, given.days) for place in range(given.seeds)]
    worlds += [("month", FIRST_SEED, given.month)] * (given.month > 0)
    probes = (ReturnProbe.CANARY, ReturnProbe.RESERVATION)
    with ProcessPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        runs = list(pool.map(_play, [(probe, *world) for world in reversed(worlds) for probe in probes]))
    for world in ("days", "month"):
        for probe in probes:
            print(f"{world}, {probe}: {_words([one for one in runs if (one.world, one.probe) == (world, str(probe))])}")
    _write("simulated", [asdict(one) for one in runs])


def _beside_karpenter(rounds: int) -> None:
    from benchmarks import returns_beside_karpenter as beside  # with the real control plane, which no simulated world needs

    found, reservations = beside.play(rounds, FIRST_SEED)
    for probe in beside.PROBES:
        delays = [one.after_s[probe] for one in found if probe in one.after_s]
        print(f"beside Karpenter, {probe}: {len(found)} returns, {_proven(delays)}, {len(found) - len(delays)} not found")
    print("beside Karpenter: {calls} calls, {made} reservations made, {left} left".format(**reservations))
    _write("beside_karpenter", {"returns": [asdict(one) for one in found], "reservations": reservations})


def _write(part: str, figures: object) -> None:
    """Replaces one part of the results."""
    written = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    RESULTS.write_text(json.dumps({**written, part: figures}, indent=1) + "\n")


def _play(world: tuple[ReturnProbe, str, int, float]) -> Run:
    return play(*world)


def _words(runs: Sequence[Run]) -> str:
    delays = [delay for one in runs for delay in one.delays]
    share = max((one.probe_share for one in runs), default=0.0)
    counts = [sum(getattr(one, name) for one in runs) for name in ("overtaken", "mode_changes", "calls", "left", "violations")]
    return (
        f"{len(delays)} returns, {_proven(delays)}; {{}} overtaken, {{}} mode changes, {{}} calls, {{}} left, {{}} violations; ".format(
            *counts
        )
        + f"probes cost at most {share:.2%} of the spend"
    )


def _proven(delays: Sequence[float]) -> str:
    deciles = statistics.quantiles(delays, n=10) if len(delays) > 1 else [*delays] * 9 or [math.nan]
    return f"proven after {statistics.median(delays or [math.nan]):.0f} s in the median, {deciles[-1]:.0f} s at p90"


if __name__ == "__main__":
    main()
