"""What comes if nothing but time passes: the same decision, asked about the future."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from controller.policy.conclusion import conclude
from controller.policy.forecast import HORIZON_S, forecast, later, pinned, refused_everywhere
from controller.policy.model import (
    Cause,
    Mode,
    Override,
    PolicySettings,
    Proof,
    Sample,
    Snapshot,
    Source,
    UnitMemory,
    Verb,
    Verdict,
    Verification,
)
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


def test_what_is_observed_is_as_fresh_later_as_it_is_now() -> None:
    """Samples, sources and counts move with the clock; what was said once gets older, and a create error that stands goes on standing."""
    standing, said = refused(NOW - 60, stood_until=NOW - 5), refused(NOW - 30)
    made = change(
        snapshot(error_ratio=Sample(0.1, NOW - 7)),
        demand=Sample(3.0, NOW - 8),
        latency=Sample(0.5, NOW - 9),
        pool_failures=(standing, said),
    )
    seen = Verification(Verdict.YES, NOW - 4, healthy_at=NOW - 6)
    made = replace(
        made,
        routing=replace(made.routing, verification=seen),
        sources=(Source("karpenter", True, NOW - 3, 180.0), Source("ec2", False, None, 1.0)),
    )
    after = later(made, 100.0)
    unit = after.units[INF2]
    assert after.now == NOW + 100
    assert after.units.keys() == made.units.keys()
    assert (after.error_ratio, unit.demand, unit.latency) == (Sample(0.1, NOW + 93), Sample(3.0, NOW + 92), Sample(0.5, NOW + 91))
    assert unit.pool.failures == (replace(standing, stood_until=NOW + 95), said)
    assert after.routing.verification == replace(seen, at=NOW + 96, healthy_at=NOW + 94)
    assert [one.last_ok for one in after.sources] == [NOW + 97, None]
    bare = later(replace(made, error_ratio=None, routing=replace(made.routing, verification=replace(seen, healthy_at=None))), 100.0)
    assert bare.error_ratio is None
    assert bare.routing.verification == replace(seen, at=NOW + 96, healthy_at=None)
