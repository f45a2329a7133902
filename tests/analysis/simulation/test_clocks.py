"""The controller's clock is set while it waits for something: everything happens when it would have happened."""

from __future__ import annotations

from functools import cache

import pytest

from controller.service.application_pass import ApplicationPass
from failover_analysis.simulation.setup import FaultPlan
from tests.analysis.simulation.support import HOUR, START, broken, fault, outage, play

INTERVAL_S = 60.0
"""Longest time between two passes."""


@cache
def changes(*faults: FaultPlan) -> tuple[frozenset[str], list[int]]:
    """What broke, and when the mode changed, in a world with one shortage."""
    result = play(
        outages=(outage(0.1, 0.3),),
        demand=lambda at: 600.0 if at < HOUR / 6 else 1400.0,
        seconds=2 * HOUR,
        interval_s=INTERVAL_S,
        faults=faults,
    )
    return frozenset(broken(result)), [round(one.at - START) for one in result.mode_changes]


def when(moment: str) -> float:
    """A moment of the run without faults, in hours: a few seconds after a mode change, or a share of the way from one to the other."""
    failover, fallback = changes()[1]
    return {"before": failover - 60, "failover": failover + 10, "return": failover + 400, "hold": fallback - 600, "fallback": fallback + 8}[
        moment
    ] / HOUR


@pytest.mark.parametrize("name", ["clock-ahead", "clock-behind"])
@pytest.mark.parametrize("moment", ["before", "failover", "return", "hold", "fallback"])
def test_no_wait_depends_on_it(name: str, moment: str) -> None:
    """Patience, drains, the return of capacity, and the hold last as long as they do."""
    found, times = changes(fault(name, when(moment), 1.0, value=1.0))
    assert found == frozenset()
    assert len(times) == 2
    assert times == pytest.approx(changes()[1], abs=INTERVAL_S)


def test_a_core_that_does_not_follow_its_clock_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that is set an hour ahead ends the drain."""
    at = when("fallback")
    monkeypatch.setattr(ApplicationPass, "_follow_clock", lambda self, application: None)
    assert "drained" in changes(fault("clock-ahead", at, 1.01, value=1.0))[0]
