"""What comes if nothing but time passes: the same decision, asked about the future."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from controller.policy.conclusion import conclude
from controller.policy.forecast import HORIZON_S, forecast, later, pinned, refused_everywhere
from controller.policy.model import Cause, Mode, Override, PolicySettings, Proof, Snapshot, UnitMemory, Verb
from controller.policy.reasons import Reason
from tests.policy.support import INF2, change, pods, refused
from tests.support.applications import NOW, application, memory, snapshot

PATIENT = application(policy=PolicySettings(patience_s=30))


def _suspected() -> Snapshot:
    """inf2 was refused in one zone of three, and its pods have waited for 90 s."""
    failure = refused(NOW - 60, named_type="inf2.xlarge", named_zone="us-west-2a")
    zones = ("us-west-2a", "us-west-2b", "us-west-2c")
    return change(snapshot(PATIENT), pool_failures=(failure,), pool_zones=zones, pending=pods(), desired=4)


def test_a_suspected_shortage_becomes_a_failover_when_it_is_old_enough_and_the_patience_is_over() -> None:
    """240 s of demand, 90 s of which are over, and 30 s of patience; not a second earlier."""
    coming = forecast(memory(), _suspected())
    assert coming.in_s == pytest.approx(180, abs=0.1)
    assert (coming.decision.verb, coming.proof, coming.now.reason) == (Verb.FAILOVER, Proof.AGE, Reason.SHORTAGE_SUSPECTED)
    kept = conclude(memory(), later(_suspected(), 150.1)).memory
    assert conclude(kept, later(_suspected(), 179)).decision.verb is Verb.HOLD
    assert conclude(kept, later(_suspected(), 180.2)).decision.verb is Verb.FAILOVER


def test_refused_everywhere_it_comes_after_the_patience() -> None:
    """From a healthy state and from a suspicion alike."""
    for made in (snapshot(PATIENT), _suspected()):
        coming = refused_everywhere(memory(), made, INF2)
        assert coming.in_s == pytest.approx(30, abs=0.1)
        assert coming.proof is Proof.SATURATED


def test_nothing_comes_of_a_healthy_state() -> None:
    """Time alone changes nothing."""
    coming = forecast(memory(), snapshot())
    assert (coming.in_s, coming.decision.reason) == (None, Reason.DEMAND_MET)


def test_a_pause_delays_it_until_it_ends() -> None:
    """The shortage goes on meanwhile; a pause without an end delays it for ever."""
    for until, in_s in ((NOW + 900, pytest.approx(900, abs=0.1)), (math.inf, None)):
        made = snapshot()
        made = replace(made, routing=replace(made.routing, override=Override(paused_until=until, paused_why="drill")))
        assert refused_everywhere(memory(), made, INF2).in_s == in_s


def test_a_hold_ends_in_a_fallback() -> None:
    """Every guard of the fallback is asked again when time may have opened it."""
    back = replace(memory(Mode.CAPACITY), units={INF2: UnitMemory(NOW - 5000, Cause.CAPACITY)})
    coming = forecast(back, snapshot(mode=Mode.CAPACITY))
    assert coming.decision.verb is Verb.FALLBACK
    assert coming.now.reason is Reason.HOLD_RUNNING
    assert 0 < (coming.in_s or 0) < HORIZON_S


def test_a_guard_that_time_does_not_open_holds_what_would_come() -> None:
    """Without standby rules there is no failover, however long one waits, and not for a person either."""
    made = snapshot()
    made = replace(made, routing=replace(made.routing, standby=()))
    for coming in (refused_everywhere(memory(), made, INF2), pinned(memory(), made, Mode.CAPACITY)):
        assert coming.in_s is None
        assert [guard.reason for guard in coming.decision.guards if not guard.passed] == [Reason.UNSAFE_SWITCH]


def test_a_forecast_is_bounded() -> None:
    """A policy whose waits never end is not asked for ever."""
    made = replace(_suspected(), application=application(policy=PolicySettings(patience_s=10 * HORIZON_S)))
    assert forecast(memory(), made).in_s is None
