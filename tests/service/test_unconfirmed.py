"""Leadership cannot be confirmed before an action: nothing is sent, and the next pass leaves a pause."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from controller.errors import Unavailable
from controller.policy.model import Action, Application, Mode, Override, Snapshot, Source
from controller.service.application_pass import ApplicationPass
from controller.service.executor import Executor
from controller.service.terms import TermRecord
from failover_analysis.simulation.api import Store
from failover_analysis.simulation.fault_state import FaultState
from failover_testbed.clocks import ManualClock
from tests.support.applications import NOW, application, snapshot


class _World:
    """An application that is pinned to the other mode, an API server that refuses every change, and a Lease."""

    def __init__(self) -> None:
        self.clock, self.application, self.confirms, self.sent = ManualClock(NOW), application(), True, 0
        record = TermRecord(Store(FaultState()), self, self.application.key)
        self.passes = ApplicationPass(self, record, Executor(self, self, side_by_side=1), self, self.clock)

    def snapshot(self, application: Application, *, leader: bool, epoch: int, further: tuple[Source, ...] = ()) -> Snapshot:
        """See `controller.service.application_pass.Observer.snapshot`."""
        made = snapshot(application)
        return replace(made, leader=leader, epoch=epoch, routing=replace(made.routing, override=Override(pinned_mode=Mode.CAPACITY)))

    def ask(self, application: str, probes: Mapping[str, tuple[tuple[str, str], ...]]) -> None:
        """See `controller.service.application_pass.Observer.ask`: there is no EC2."""

    def apply(self, actions: Sequence[Action], *, deadline_s: float) -> None:
        """See `controller.ports.Applier.apply`."""
        self.sent += 1
        raise Unavailable("connection refused")

    def epoch(self) -> int:
        """See `controller.ports.Leadership`."""
        return 1

    def leads(self) -> bool:
        """See `controller.ports.Leadership`."""
        return True

    def confirm(self, epoch: int, needed_s: float) -> bool:
        """See `controller.ports.Leadership`."""
        return self.confirms

    def outrank(self, epoch: int) -> None:
        """See `controller.ports.Leadership`."""


@pytest.mark.parametrize("failed_before", [False, True])
def test_a_pass_whose_actions_were_skipped_leaves_a_pause(failed_before: bool) -> None:
    """Also where an action had failed before and is due again. Being skipped is no failure, so nothing else would hold up its next try."""
    world = _World()
    if failed_before:
        again_s = world.passes.act(world.passes.decide(world.application)).again_s
        assert 0 < again_s <= 1
        world.clock.advance(again_s)
    sent, world.confirms = world.sent, False
    for _ in range(3):
        acted = world.passes.act(world.passes.decide(world.application))
        assert (acted.outcome.unconfirmed, acted.again_s, world.sent) == (True, 1.0, sent)
        world.clock.advance(acted.again_s)
