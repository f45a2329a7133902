"""The memory cannot be stored or read for a while: passes come with growing pauses, and never without one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from controller.policy.model import Application, Snapshot, Source
from controller.service.application_pass import ApplicationPass
from controller.service.terms import TermRecord
from failover_analysis.simulation.api import Store
from failover_analysis.simulation.fault_state import FaultState
from failover_analysis.simulation.leadership import Lease, SimulatedLeadership
from failover_testbed.clocks import ManualClock
from tests.support.applications import NOW, application, snapshot


class _Observer:
    """Observes the same all the time."""

    def snapshot(self, application: Application, *, leader: bool, epoch: int, further: tuple[Source, ...] = ()) -> Snapshot:
        """See `controller.service.application_pass.Observer.snapshot`."""
        made = snapshot(application)
        return replace(made, sources=(*made.sources, *further))

    def ask(self, application: str, probes: Mapping[str, tuple[tuple[str, str], ...]]) -> None:
        """See `controller.service.application_pass.Observer.ask`: there is no EC2."""


def test_an_unsaved_memory_that_cannot_be_read_either_leaves_a_pause() -> None:
    """A save fails, then a term begins in which the memory cannot be read: nothing is saved meanwhile, however long that save is due."""
    clock, faults, lease, app = ManualClock(NOW), FaultState(), Lease(), application()
    lease.take(1)
    store, leadership = Store(faults), SimulatedLeadership(lease, 1)
    passes = ApplicationPass(_Observer(), TermRecord(store, leadership, app.key), None, leadership, clock)
    faults.writes_fail = "503"
    assert passes.act(passes.decide(app)).again_s > 0
    clock.advance(20)
    faults.state_unreadable = True
    leadership.outrank(lease.epoch)
    for _ in range(3):
        again_s = passes.act(passes.decide(app)).again_s
        assert again_s > 0
        clock.advance(min(again_s, 0.5))


def test_after_another_writer_was_first_the_next_pass_comes_soon() -> None:
    """Until it has loaded the memory, the application is missing in status and metrics."""
    clock, faults, lease, app = ManualClock(NOW), FaultState(), Lease(), application()
    lease.take(1)
    leadership = SimulatedLeadership(lease, 1)
    passes = ApplicationPass(_Observer(), TermRecord(Store(faults), leadership, app.key), None, leadership, clock)
    faults.save_conflicts = 1
    again_s = passes.act(passes.decide(app)).again_s
    assert passes.memory is None
    assert 0 < again_s <= 5
    clock.advance(again_s)
    passes.act(passes.decide(app))
    assert passes.memory is not None
