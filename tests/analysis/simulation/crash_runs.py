"""Kills the process before and after each external call of a mode change, one case each, and judges what the next leader makes of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from controller.policy.model import Mode, PolicySettings
from failover_analysis.simulation.crash_points import Call
from failover_analysis.simulation.recording import Result
from failover_analysis.simulation.replica import Replica
from failover_analysis.simulation.run import Simulation
from tests.analysis.simulation.support import HOUR, fault, outage, setup
from tests.support.applications import application

PASSES: Final = 2
"""Within how many passes of the next leader the application must be where it would be without the crash."""
_AFTERWARDS_S: Final = 300.0  # in which the next leader has its passes
_LATE_S: Final = 180.0  # how much later a mode change may be than without the crash: the takeover, and a wait that began anew with it

_POLICY: Final = PolicySettings(failover_utilization=0.0, hold_min_s=300.0, hold_max_s=300.0)
_BACK: Final[dict[str, Any]] = {"outages": (outage(0.0, 0.15),), "mode": Mode.CAPACITY, "demand": lambda _: 700.0}
_ROLLED: Final = (Mode.CAPACITY, Mode.COST, Mode.CAPACITY)
_SHORT: Final[dict[str, Any]] = {"outages": (outage(0.1, 9.0),), "demand": lambda at: 600 + 3000 * at / HOUR}
_UNCOUNTED: Final = (fault("cloudwatch-throttled", 0.0, 0.45), fault("other-applications-wait", 0.19, 0.26))


@dataclass(frozen=True)
class Scenario:
    """What happens in a run.

    Attributes:
        changes: The world, as `tests.analysis.simulation.support.setup` takes it.
        to: The modes that are changed to without a crash.
        policy: Changes of the policy.
        or_else: What is right as well: a process that dies before it remembers its mode change leaves one that the next leader finds,
            counts as a person's, and does not roll back.
    """

    changes: Mapping[str, Any]
    to: tuple[Mode, ...]
    policy: Mapping[str, Any] = field(default_factory=dict)
    or_else: tuple[tuple[Mode, ...], ...] = ()

    def simulation(self) -> Simulation:
        """One run, before it begins."""
        made = setup(**{"application": application(policy=replace(_POLICY, **self.policy)), **self.changes})
        return Simulation(replace(made, seconds=made.seconds + _AFTERWARDS_S), 1)

    def play(self, dies_at: int | None = None, side: str = "") -> tuple[Simulation, Result, Watched]:
        """One run, in which the process dies at a call."""
        simulation = self.simulation()
        made = simulation.setup
        simulation.engine.calls.dies_at, simulation.engine.calls.side = dies_at, side
        watched = Watched(simulation)
        simulation.engine.observers.append(watched)
        simulation.run(until=made.start + made.seconds - _AFTERWARDS_S)
        watched.calls = len(simulation.engine.calls.made)
        return simulation, simulation.run(), watched


SCENARIOS: Final[Mapping[str, Scenario]] = {
    "failover": Scenario({**_SHORT, "seconds": 0.3 * HOUR}, (Mode.CAPACITY,)),
    "failover-among-others": Scenario(
        {**_SHORT, "seconds": 0.3 * HOUR, "faults": (fault("other-applications-wait", 0.0, 0.3),)}, (Mode.CAPACITY,)
    ),
    "failover-at-unknown-demand": Scenario(
        {**_SHORT, "demand": lambda at: 700 if at < HOUR / 6 else 1400, "seconds": 0.36 * HOUR, "faults": _UNCOUNTED}, (Mode.CAPACITY,)
    ),
    "fallback": Scenario({**_BACK, "seconds": 1.0 * HOUR}, (Mode.COST,)),
    "roll-back": Scenario(
        {**_SHORT, "seconds": 0.23 * HOUR, "faults": (fault("lbc-stopped", 0.1358, 0.9),)},
        _ROLLED,
        {"rollback_s": 300.0},
        (_ROLLED[:1], _ROLLED[:2]),
    ),
    "pin": Scenario({"seconds": 0.4 * HOUR, "faults": (fault("pinned-to-capacity", 0.1, 0.6),)}, (Mode.CAPACITY,)),
    "reload": Scenario({**_SHORT, "seconds": 0.3 * HOUR, "faults": (fault("configuration-changed", 0.13, 0.1),)}, (Mode.CAPACITY,)),
    "takeover": Scenario(
        {**_SHORT, "seconds": 0.3 * HOUR, "faults": tuple(fault("lease-taken", at) for at in (0.1411, 0.2))}, (Mode.CAPACITY,)
    ),
}


class Watched:
    """What the processes did, pass by pass.

    Args:
        simulation: The run.
    """

    def __init__(self, simulation: Simulation) -> None:
        self._engine = simulation.engine
        self.calls = 0  # before the time in which nothing dies any more
        self.passes: Counter[int] = Counter()  # by process
        self.modes: list[tuple[str, float]] = [(str(simulation.setup.mode), simulation.setup.start)]  # that the Ingress showed, since when
        self.marked: dict[int, tuple[float, str]] = {}  # by process: when its second pass was over, and the marker then

    def decided(self, replica: Replica, *_: object) -> None:
        """See `ReplicaObserver`."""
        self.passes[replica.number] += 1

        self._note()

    def acted(self, *_: object) -> None:
        """See `ReplicaObserver`."""
        self._note()

    def passed(self, replica: Replica, *_: object) -> None:
        """See `ReplicaObserver`."""
        if self.passes[replica.number] == PASSES:
            self.marked[replica.number] = self._engine.event_queue.now, self.modes[-1][0]

    def mode_at(self, at: float) -> str:
        """The mode that the Ingress showed then."""
        return next(mode for mode, since in reversed(self.modes) if since <= max(at, self.modes[0][1]))

    def _note(self) -> None:
        mode = self._engine.api.routing.observed.marker or self.modes[-1][0]
        if mode != self.modes[-1][0]:
            self.modes.append((mode, self._engine.event_queue.now))


@dataclass(frozen=True)
class Case:
    """One place at which the process was killed, and what was wrong afterwards ("" if nothing was)."""

    call: str
    number: int
    side: str
    problem: str


def cases(scenario: Scenario, only: str = "") -> tuple[list[Call], list[Case]]:
    """All calls of the run without a crash, and both cases of each.

    A process that dies after a call, or before its next one in the same pass, does the same, so that these two cases are played once.

    Args:
        scenario: The run.
        only: The name of the calls at which the process dies; "": of any name.
    """
    simulation, _, watched = scenario.play()
    calls, whole = simulation.engine.calls.made[: watched.calls], (simulation, watched)
    found: dict[tuple[int, str], str] = {}
    for number, call in reversed([*enumerate(calls)]):
        if only in {"", call.name}:
            next_one, before_it = calls[number + 1 : number + 2], found.get((number + 1, "before"))
            again = before_it if next_one and (next_one[0].process, next_one[0].at) == (call.process, call.at) else None
            found[number, "after"] = _problem(scenario, whole, number, "after") if again is None else again
            found[number, "before"] = _problem(scenario, whole, number, "before")
    return calls, [Case(calls[number].name, number, side, problem) for (number, side), problem in reversed(found.items())]


def _problem(scenario: Scenario, without: tuple[Simulation, Watched], number: int, side: str) -> str:
    whole, undisturbed = without
    simulation, result, watched = scenario.play(number, side)
    if not simulation.engine.replica.alive:
        return "nobody leads"
    if result.violations:
        return f"invariant {result.violations[0]}"
    changes, wanted = watched.modes, undisturbed.modes
    if tuple(to for to, _ in changes[1:]) in scenario.or_else:
        return ""
    if [to for to, _ in changes] != [to for to, _ in wanted]:
        return f"mode changes {changes}, without the crash {wanted}"
    late = [at - due for (_, at), (_, due) in zip(changes, wanted, strict=True) if not at - due <= _LATE_S]
    if late:
        return f"a mode change came {late[0]:.0f} s later"
    at, mode = watched.marked[max(watched.marked)] if watched.marked else (0.0, "")
    if at and mode not in {undisturbed.mode_at(at), undisturbed.mode_at(at - _LATE_S)}:
        return f"after {PASSES} passes of the next leader the mode is {mode}"
    ours, theirs = simulation.engine.api, whole.engine.api
    if ours.routing.annotations.keys() != theirs.routing.annotations.keys():
        return f"the routing object has {ours.routing.annotations}, without the crash {theirs.routing.annotations}"
    left = {name: one.floor for name, one in ours.scalers.items() if one.floor > theirs.scalers[name].floor + 1}
    return f"floors are left raised: {left}" if left else ""
