"""The controller's clock is set while it waits for something: everything happens when it would have happened."""

from __future__ import annotations

from functools import cache

import pytest

from controller.service.application_pass import ApplicationPass
from failover_analysis.simulation.setup import FaultPlan
from tests.analysis.simulation.support import HOUR, START, broken, fault, outage, play

FAILOVER_S, FALLBACK_S = 841, 3383
"""When the mode changes, from the start of the run."""


@cache
def changes(*faults: FaultPlan) -> tuple[frozenset[str], list[int]]:
    """What broke, and when the mode changed, in a world with one shortage."""
    result = play(
        outages=(outage(0.1, 0.3),), demand=lambda at: 600.0 if at < HOUR / 6 else 1400.0, seconds=2 * HOUR, interval_s=60.0, faults=faults
    )
    return frozenset(broken(result)), [round(one.at - START) for one in result.mode_changes]


@pytest.mark.parametrize("name", ["clock-ahead", "clock-behind"])
@pytest.mark.parametrize("at_h", [0.22, 0.237, 0.35, 0.5, 0.942])
def test_no_wait_depends_on_it(name: str, at_h: float) -> None:
    """Before the failover, during its drain, while capacity returns, during the hold, and during the drain of the fallback."""
    assert changes() == (frozenset(), [FAILOVER_S, FALLBACK_S])
    assert changes(fault(name, at_h, 1.0, value=1.0)) == (frozenset(), [FAILOVER_S, FALLBACK_S])


def test_a_core_that_does_not_follow_its_clock_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that is set an hour ahead ends the hold, and the drain."""
    monkeypatch.setattr(ApplicationPass, "_follow_clock", lambda self, application: None)
    held, drained = fault("clock-ahead", 0.35, 1.01, value=1.0), fault("clock-ahead", 0.942, 1.01, value=1.0)
    assert changes(held)[1][1] < FALLBACK_S - 600
    assert "drained" in changes(drained)[0]
