"""A mode change while many other applications wait for a pass of the same process."""

from __future__ import annotations

import pytest

from controller.errors import RemoteError
from controller.policy.decision import Conclusion
from controller.policy.model import Action, ActionKind, Mode
from controller.service.application_pass import Acted
from failover_analysis.simulation.replica import OTHERS_S, Replica
from failover_analysis.simulation.run import Simulation
from tests.analysis.simulation.crash_runs import SCENARIOS


class Kept:
    """What a process wrote, in order, and the mode in its stored memory after each pass."""

    def __init__(self, simulation: Simulation) -> None:
        self._engine = simulation.engine
        self.written: list[tuple[float, str, str]] = []  # at, kind, name
        self.stored: list[tuple[float, Mode | None]] = []

    def decided(self, replica: Replica, conclusion: Conclusion) -> None:
        """See `ReplicaObserver`."""

    def acted(self, replica: Replica, conclusion: Conclusion, action: Action, error: RemoteError | None) -> None:
        """See `ReplicaObserver`."""
        assert error is None
        self.written.append((self._engine.event_queue.now, action.kind, action.name))

    def passed(self, replica: Replica, conclusion: Conclusion, acted: Acted) -> None:
        """See `ReplicaObserver`."""
        stored = self._engine.store.load(replica.application.key)
        self.stored.append((self._engine.event_queue.now, stored.memory.mode))

    @property
    def moved(self) -> float:
        """When the last routing action was written, which is that of the mode change."""
        return max(at for at, kind, _ in self.written if kind == ActionKind.ROUTE)

    def until(self, at: float) -> set[tuple[str, str]]:
        """Kind and name of all that was written in the minute before, and then."""
        return {(kind, name) for when, kind, name in self.written if at - 60.0 < when <= at + 0.01}

    def beside(self, at: float) -> list[tuple[str, str]]:
        """Kind and name of all that was written then."""
        return [(kind, name) for when, kind, name in self.written if when == pytest.approx(at, abs=0.01)]


def played(name: str) -> Kept:
    """What was written in a scenario."""
    simulation = SCENARIOS[name].simulation()
    kept = Kept(simulation)
    simulation.engine.observers.append(kept)
    assert simulation.run().violations == ()
    return kept


def test_the_next_pass_writes_what_the_mode_change_left() -> None:
    """The traffic moves first; then the same floors are raised as otherwise, and the memory is saved."""
    alone, among = played("failover"), played("failover-among-others")
    *floors, route = alone.beside(alone.moved)
    assert len(floors) == 7
    assert among.beside(among.moved) == [route]
    later = among.beside(among.moved + OTHERS_S)
    assert later
    assert set(later) < set(floors) <= among.until(among.moved + OTHERS_S), "an earlier pass raised the others"
    assert next(at for at, mode in among.stored if mode is Mode.CAPACITY) == pytest.approx(among.moved + OTHERS_S, abs=0.01)
