"""A unit whose return is found out by capacity reservations: when EC2 is asked, what its answer proves, and when the canary waits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controller.policy.model import Cause, Decision, Memory, Mode, Override, ProbeAnswer, Return, ReturnProbe, Snapshot
from controller.policy.reasons import ClaimReason
from tests.policy.support import INF2, change, decide, judge, launched, pods, proven, refused, shortage, with_scalers
from tests.support.applications import NOW, memory, probed_by, snapshot

ZONES = ("us-west-2a", "us-west-2b")
MANY = tuple(f"inf2.{size}xlarge" for size in (8, 24, 48, 96, 192))
GRANT = ProbeAnswer(NOW - 20, "inf2.xlarge", "us-west-2b")
REFUSAL = ProbeAnswer(NOW - 20)


def seen(probe: ReturnProbe = ReturnProbe.RESERVATION, mode: Mode = Mode.CAPACITY, **changes: Any) -> Snapshot:
    """A unit whose demand has left, in capacity mode: nobody asks EC2 for it."""
    made = with_scalers(snapshot(probed_by(probe), mode))
    return change(made, **{"offered_zones": ZONES, "pool_capacity_types": ("on-demand",), **changes})


def decided(made: Snapshot, remembered: Memory | None = None) -> Decision:
    """What follows from it where inf2 was short five minutes ago."""
    return decide(remembered or memory(Mode.CAPACITY, units=proven(NOW - 300)), made)[1]


def canary(decision: Decision) -> bool:
    """Whether a replica is requested to find out."""
    return decision.floors[INF2].reason is ClaimReason.PROBE


def test_every_on_demand_offering_is_named() -> None:
    assert decided(seen()).probes == {INF2: (("inf2.xlarge", "us-west-2a"), ("inf2.xlarge", "us-west-2b"))}


@pytest.mark.parametrize(
    ("made", "remembered"),
    [
        pytest.param(seen(ReturnProbe.CANARY), None, id="the application asks for a canary"),
        pytest.param(seen(ReturnProbe.NONE), None, id="nobody is to ask"),
        pytest.param(seen(mode=Mode.COST), memory(units=proven(NOW - 300)), id="cost mode"),
        pytest.param(seen(), memory(Mode.CAPACITY), id="the unit was never short"),
        pytest.param(seen(), memory(Mode.CAPACITY, units=proven(NOW - 300, cause=Cause.QUOTA)), id="a quota: EC2 would refuse the same"),
        pytest.param(seen(pool_capacity_types=("spot",)), None, id="spot only: a reservation is on-demand"),
        pytest.param(seen(pool_capacity_types=("spot", "on-demand")), None, id="spot as well: nobody would ask for it"),
        pytest.param(seen(offered_zones=()), None, id="the zones are not known"),
        pytest.param(seen(pool_launchable=("inf2.xlarge", "inf2.8xlarge")), None, id="those of one type are not known"),
        pytest.param(seen(pool_launchable=MANY, pool_zones=ZONES), None, id="too many offerings: a refusal of some says little"),
        pytest.param(seen(probed=GRANT), None, id="EC2 has just made one"),
        pytest.param(replace(seen(), leader=False), None, id="another replica leads"),
    ],
)
def test_nothing_is_asked(made: Snapshot, remembered: Memory | None) -> None:
    assert decided(made, remembered).probes == {}


def test_nothing_is_asked_while_an_operator_has_paused_the_application() -> None:
    """A pause stops every write, this one included."""
    made = seen()
    paused = replace(made, routing=replace(made.routing, override=Override(paused_until=NOW + 600, paused_why="w", paused_by="ann")))
    assert decided(paused).probes == {}


@pytest.mark.parametrize(
    ("probe", "answer", "expected"),
    [
        pytest.param(ReturnProbe.RESERVATION, REFUSAL, False, id="EC2 has refused: Karpenter would get nothing"),
        pytest.param(ReturnProbe.RESERVATION, None, True, id="EC2 was never asked"),
        pytest.param(ReturnProbe.RESERVATION, ProbeAnswer(NOW - 181), True, id="EC2 has not answered for three minutes"),
        pytest.param(ReturnProbe.RESERVATION, GRANT, True, id="EC2 has it: Karpenter is to launch it"),
        pytest.param(ReturnProbe.CANARY, REFUSAL, True, id="the setting was changed meanwhile"),
        pytest.param(ReturnProbe.NONE, None, False, id="none"),
    ],
)
def test_a_canary_waits_where_ec2_does_not_answer(probe: ReturnProbe, answer: ProbeAnswer | None, expected: bool) -> None:
    assert canary(decided(seen(probe, probed=answer))) is expected


def test_a_unit_that_ec2_refuses_gets_no_share_of_what_the_others_lack() -> None:
    """Its pods would wait in vain; without a canary nothing else says that it is short."""
    made = with_scalers(seen(probed=REFUSAL, ready=1))
    before = decided(change(made, probed=None))
    after = decided(made)
    assert after.floors[INF2].replicas <= before.floors[INF2].replicas
    assert after.floors[INF2].reason is not ClaimReason.MISSING


def test_a_reservation_proves_the_return() -> None:
    """It is later than every refusal, and none stands."""
    made = seen(probed=GRANT, pool_failures=(refused(NOW - 60),))
    judged = judge(made, memory(Mode.CAPACITY, units=proven(NOW - 60)))
    assert (judged.returned, judged.returned_at, judged.attempts) == (Return.RESERVED, GRANT.at, 0)


@pytest.mark.parametrize(
    ("changes", "remembered", "expected"),
    [
        pytest.param({"probed": GRANT, "pool_failures": (refused(NOW - 5),)}, NOW - 60, Return.NONE, id="a refusal after it"),
        pytest.param({"probed": GRANT, "pool_failures": (refused(float(int(GRANT.at))),)}, NOW - 60, Return.NONE, id="in the same second"),
        pytest.param({"probed": GRANT}, NOW - 10, Return.NONE, id="a later one is remembered"),
        pytest.param({"probed": REFUSAL}, NOW - 60, Return.NONE, id="EC2 refused"),
        pytest.param({"probed": GRANT, "pool_launches": (launched(NOW - 15, NOW - 1),)}, NOW - 60, Return.REGISTERED, id="a node is more"),
    ],
)
def test_what_a_reservation_does_not_prove(changes: dict[str, Any], remembered: float, expected: Return) -> None:
    assert judge(seen(**changes), memory(Mode.CAPACITY, units=proven(remembered))).returned is expected


def test_a_reservation_of_another_offering_proves_nothing() -> None:
    """The NodePool was changed since EC2 answered."""
    other = replace(GRANT, zone="us-west-2c")
    assert (
        judge(seen(probed=other, pool_failures=(refused(NOW - 60),)), memory(Mode.CAPACITY, units=proven(NOW - 60))).returned is Return.NONE
    )


def test_a_refused_probe_is_the_last_refusal() -> None:
    """So a fallback waits ten minutes from then, and what had returned before it is gone again."""
    units = proven(NOW - 300, returned=Return.RESERVED, returned_at=NOW - 100)
    judged = judge(seen(probed=REFUSAL), memory(Mode.CAPACITY, units=units))
    assert (judged.returned, judged.last_refusal_at) == (Return.NONE, REFUSAL.at)
    kept, _ = decide(memory(Mode.CAPACITY, units=units), seen(probed=REFUSAL))
    assert kept.units[INF2].last_failure_at == REFUSAL.at


def test_a_refused_probe_proves_no_shortage_of_a_unit_that_was_not_short() -> None:
    """Only what Karpenter is refused leads to a failover."""
    judged = judge(seen(probed=REFUSAL, mode=Mode.COST, pending=pods(), desired=4, ready=2), memory(Mode.CAPACITY, units={}))
    assert (judged.short, judged.last_refusal_at) == (False, None)


def test_the_proof_is_remembered() -> None:
    """Also by the next leader, who has no answer of its own."""
    kept, _ = decide(memory(Mode.CAPACITY, units=proven(NOW - 300)), seen(probed=GRANT))
    assert (kept.units[INF2].returned, kept.units[INF2].returned_at) == (Return.RESERVED, GRANT.at)
    later = decided(seen(), kept)
    assert later.evidence[INF2].returned is Return.RESERVED
    assert later.probes == {}


def test_what_karpenter_says_from_its_cache_is_no_word_against_ec2() -> None:
    """For three minutes after a refusal Karpenter has no place for the pod, whatever EC2 has."""
    waiting = tuple(replace(one, unplaced_at=NOW - 2) for one in pods(1))
    kept, _ = decide(memory(Mode.CAPACITY, units=proven(NOW - 300)), seen(probed=GRANT, pending=waiting, desired=3, ready=2))
    assert kept.units[INF2].returned is Return.RESERVED


def test_a_shortage_in_cost_mode_asks_nothing() -> None:
    """Its pods wait, so Karpenter asks."""
    made = shortage(seen(mode=Mode.COST))
    assert decide(memory(), made)[1].evidence[INF2].short
    assert decide(memory(), made)[1].probes == {}
    assert decided(shortage(seen()), memory(Mode.CAPACITY, units=proven())).probes != {}
