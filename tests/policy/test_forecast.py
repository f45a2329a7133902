"""What comes if nothing but time passes: the same decision, asked about the future."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from controller.policy.decision import forecast, overridden, refused_everywhere
from controller.policy.decision.forecast import HORIZON_S, _refused, later
from controller.policy.karpenter_times import REPLACEMENT_HOLD_S
from controller.policy.model import (
    Cause,
    Mode,
    Override,
    PendingPod,
    PolicySettings,
    PoolObservation,
    Proof,
    Refusal,
    Sample,
    Snapshot,
    Source,
    UnitMemory,
    Verb,
    Verdict,
    Verification,
)
from controller.policy.reasons import Reason
from controller.routing.conclusion import conclude
from tests.policy.support import INF2, change, launched, pods, refused, returned
from tests.support.applications import NOW, application, memory, snapshot

PATIENT = application(policy=PolicySettings(patience_s=30))


def _suspected() -> Snapshot:
    """inf2 was refused in one zone of three, and its pods have waited for 90 s."""
    failure = refused(NOW - 60, named_type="inf2.xlarge", named_zone="us-west-2a")
    zones = ("us-west-2a", "us-west-2b", "us-west-2c")
    return change(snapshot(PATIENT), pool_failures=(failure,), pool_zones=zones, pending=pods(), desired=4)


def _asked_again(seconds: float) -> Snapshot:
    """The same some seconds later; Karpenter asked once more when the refusal had left its cache."""
    made = later(_suspected(), seconds)
    first = made.units[INF2].pool.failures[0]
    return change(made, pool_failures=(first, replace(first, at=NOW + 120, seen=NOW + 120)))


def test_a_suspected_shortage_becomes_a_failover_when_it_is_old_enough_and_the_patience_is_over() -> None:
    """240 s of demand, 90 s of which are over, and 30 s of patience; not a second earlier."""
    coming = forecast(memory(), _suspected())
    assert coming.in_s == pytest.approx(180, abs=0.1)
    assert (coming.decision.verb, coming.proof, coming.now.reason) == (Verb.FAILOVER, Proof.AGE, Reason.SHORTAGE_SUSPECTED)
    kept = conclude(memory(), _asked_again(150.1)).memory
    assert conclude(kept, _asked_again(179)).decision.verb is Verb.HOLD
    assert conclude(kept, _asked_again(180.2)).decision.verb is Verb.FAILOVER


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
    for coming in (refused_everywhere(memory(), made, INF2), overridden(memory(), made, Override(pinned_mode=Mode.CAPACITY))):
        assert coming.in_s is None
        assert [guard.reason for guard in coming.decision.guards if not guard.passed] == [Reason.UNSAFE_SWITCH]


def test_a_forecast_is_bounded() -> None:
    """A policy whose waits never end is not asked for ever."""
    made = replace(_suspected(), application=application(policy=PolicySettings(patience_s=10 * HORIZON_S)))
    assert forecast(memory(), made).in_s is None


@pytest.mark.parametrize(
    ("in_s", "paused_for_s", "comes"),
    [
        pytest.param(HORIZON_S, None, True, id="one wait"),
        pytest.param(HORIZON_S + 1, None, False, id="one that is too long"),
        pytest.param(HORIZON_S - 1, 4 * 3600.0, True, id="two waits"),
        pytest.param(HORIZON_S + 1, 4 * 3600.0, False, id="two that are too long together"),
    ],
)
def test_a_forecast_reaches_six_hours(in_s: float, paused_for_s: float | None, *, comes: bool) -> None:
    """People plan with it: what comes within the horizon must be there, and nothing may be promised beyond it."""
    made, remembered = returned()
    made = replace(made, application=application(policy=PolicySettings(dwell_capacity_s=86_400 + in_s)))
    if paused_for_s is not None:
        made = replace(made, routing=replace(made.routing, override=Override(paused_until=NOW + paused_for_s)))
    coming = forecast(remembered, made)
    assert (coming.in_s, coming.decision.verb is Verb.FALLBACK) == (pytest.approx(in_s, abs=0.1) if comes else None, comes)


def test_a_forecast_names_what_holds_the_mode_change_until_then() -> None:
    """`failoverctl explain` says what one waits for: the last wait, not the first one, and nothing where nothing changes by itself."""
    made = replace(_suspected(), routing=replace(_suspected().routing, override=Override(paused_until=NOW + 100)))
    coming = forecast(memory(), made)
    assert coming.before is not None
    assert (coming.now.reason, coming.before.reason, coming.decision.verb) == (Reason.PAUSED, Reason.PATIENCE, Verb.FAILOVER)
    for_ever = forecast(memory(), replace(made, application=application(policy=PolicySettings(patience_s=10 * HORIZON_S))))
    assert for_ever.in_s is None
    assert for_ever.now == coming.now
    assert for_ever.before is not None
    assert for_ever.before.reason is Reason.PATIENCE
    assert forecast(memory(), snapshot()).before is None
    assert overridden(memory(), snapshot(), Override(pinned_mode=Mode.CAPACITY)).before is None


def _hypothetical(made: Snapshot) -> Refusal:
    """Every type of the NodePool, in every zone, out of stock for as long as a replaced pod may take to be marked."""
    at = made.now - REPLACEMENT_HOLD_S
    types = made.units[INF2].pool.instance_types
    return refused(at, claim="hypothetical", attempt="hypothetical", instance_types=types)


@pytest.mark.parametrize(("ready", "desired", "wanted"), [(2, 2, 3), (2, 9, 9), (0, 0, 1), (None, None, 1)])
def test_refused_everywhere_a_healthy_unit_misses_one_pod_more_than_it_has(ready: int | None, desired: int | None, wanted: int) -> None:
    """The question is asked of a unit at its floor, or scaled to zero, too: without a pod that waits there would be no shortage."""
    made = change(snapshot(PATIENT), ready=ready, desired=desired, pool_instance_types=("inf2.xlarge", "inf2.8xlarge"))
    since = NOW - REPLACEMENT_HOLD_S
    after = _refused(made, INF2, since)
    pod = PendingPod("sd21-inf2-hypothetical", since, unavailable=(("inf2", NOW),))
    expected = change(
        made,
        pool_failures=(_hypothetical(made),),
        pool_blocked_at=NOW,
        pending=(pod,),
        waiting_since=since,
        desired=wanted,
    )
    assert after == expected


def test_refused_everywhere_a_unit_that_waits_keeps_its_pods_and_loses_every_way_out() -> None:
    """A launch, another NodePool or a limit that was reached would answer another question than the one that was asked."""
    real, since = refused(NOW - 30), NOW - REPLACEMENT_HOLD_S
    waits = (PendingPod("a", NOW - 90, pools=("inf2", "spare"), devices=2), PendingPod("b", NOW - 40, unavailable=(("spare", NOW - 5),)))
    made = change(
        snapshot(PATIENT),
        pool_failures=(real,),
        pool_launches=(launched(NOW - 20),),
        pool_at_limit="limit of cpu reached: 32 of 32",
        pending=waits,
        waiting_since=NOW - 700,
        ready=3,
        desired=4,
        alternatives=(PoolObservation("spare"),),
    )
    expected = change(
        made,
        pool_failures=(real, _hypothetical(made)),
        pool_launches=(),
        pool_blocked_at=NOW,
        pool_at_limit="",
        pending=tuple(replace(pod, pools=(), unavailable=(("inf2", NOW),)) for pod in waits),
        desired=5,
        alternatives=(),
    )
    assert _refused(made, INF2, since) == expected
    assert refused_everywhere(memory(), made, INF2).proof is Proof.SATURATED


def test_pods_that_are_asked_about_have_waited_long_enough_to_count() -> None:
    """A pod that has waited for less might be one that is being replaced: the answer would be a minute late."""
    judged = refused_everywhere(memory(), snapshot(PATIENT), INF2).decision.evidence[INF2]
    assert (judged.demand, judged.demand_since) == (1, NOW - REPLACEMENT_HOLD_S)
    assert (judged.cause, judged.codes, judged.attempts) == (Cause.CAPACITY, ("InsufficientInstanceCapacity",), 1)


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
    assert later(replace(made, routing=replace(made.routing, verification=None)), 100.0).routing.verification is None
    (other,) = later(change(made, alternatives=(PoolObservation("spare", failures=(standing, said)),)), 100.0).units[INF2].alternatives
    assert other == PoolObservation("spare", failures=(replace(standing, stood_until=NOW + 95), said))
    assert bare.routing.verification == replace(seen, at=NOW + 96, healthy_at=None)
