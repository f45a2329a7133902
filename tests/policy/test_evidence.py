"""What one refusal proves, what several prove together, and what only time proves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controller.policy.evidence import allowed_offerings, assess
from controller.policy.model import (
    Cause,
    Memory,
    Mode,
    PendingPod,
    PolicySettings,
    PoolObservation,
    Proof,
    Refusal,
    Return,
    Sample,
    Shortage,
    UnitEvidence,
    UnitMemory,
    UnitObservation,
    Verb,
)
from tests.policy.support import INF2, TRN1, change, decide, judge, launched, pods, proven, refused, shortage
from tests.support.applications import NOW, application, memory, seed_units, snapshot

ZONES = ("us-west-2a", "us-west-2b", "us-west-2c")
A, B, C = ((zone,) for zone in ZONES)
TYPES = ("inf2.xlarge", "inf2.8xlarge")


def _case(
    failures: tuple[Refusal, ...], age: float = 90, policy: PolicySettings | None = None, **unit: Any
) -> tuple[Shortage, Proof | None]:
    made = snapshot(application(policy=policy))
    changes = {"pool_failures": failures, "pending": pods(since=NOW - age), "desired": 4, "ready": 2, **unit}
    judged = judge(change(made, **changes))
    return judged.shortage, judged.proof


SATURATED, NAMED, AGE = ((Shortage.PROVEN, proof) for proof in (Proof.SATURATED, Proof.NAMED, Proof.AGE))
SUSPECTED, NOTHING = (Shortage.SUSPECTED, None), (Shortage.NONE, None)
UNKNOWN: dict[str, Any] = {"requirements_known": False, "instance_types": ()}
IN_ZONES = {"pool_zones": ZONES}
BLOCKED = {"pool_blocked_at": NOW - 50}
PARTLY = {**BLOCKED, "pending": pods(3)}
MIXED = {"pool_capacity_types": ("on-demand", "spot")}
ALL = ("AllOfferingsUnavailable",)
SIX = {"ready": 6, "desired": 6}
OLD: dict[str, Any] = {"pending": pods(since=NOW - 400)}


def named(zone: str, at: float = NOW - 60, instance_type: str = "inf2.xlarge", **changes: Any) -> Refusal:
    """A refusal of a claim that allows every zone, whose message names one of them."""
    where = {"named_type": instance_type, "named_zone": f"us-west-2{zone}", "truncated": True}
    return refused(at, **{**where, "claim": f"inf2-{instance_type}-{zone}", "instance_types": (instance_type,), **changes})


def gauge(zones: str, capacity_type: str = "on-demand", *, kind: str = "inf2.xlarge") -> tuple[tuple[str, str, str], ...]:
    """What Karpenter's metrics call unavailable, by the letters of the zones."""
    return tuple((kind, f"us-west-2{zone}", capacity_type) for zone in zones)


THREE = (named("a"), named("b", NOW - 50), named("c", NOW - 40))
TWO_NEW = (named("b", NOW - 30), named("c", NOW - 20))
EARLIER = (named("a", NOW - 200), named("b", NOW - 190), named("c", NOW - 180))
LATER = (named("a", NOW - 30), named("b", NOW - 20), named("c", NOW - 10))

ON_DEMAND = tuple(replace(one, requirements_known=False, pool_capacity_types=("on-demand",)) for one in THREE)


def kinds(failures: tuple[Refusal, ...], *capacity_types: str) -> tuple[Refusal, ...]:
    """The refusals, of claims that allow these capacity types."""
    return tuple(replace(one, capacity_types=capacity_types) for one in failures)


def said(pool: str, at: float = NOW - 50) -> tuple[PendingPod, ...]:
    """Pods that wait; Karpenter found nothing available in a NodePool for one of them."""
    first, *others = pods()
    return (replace(first, unavailable=((pool, at),)), *others)


NO_PLACE = tuple(replace(pod, unplaced_at=NOW - 4) for pod in pods(1))
"""A pod of which Karpenter said 4 s ago that it has no place."""


def create_error(at: float, **changes: Any) -> Refusal:
    """A launch that failed with a condition on its NodeClaim, and no event."""
    return refused(at, **{"source": "create-error", "cause": Cause.QUOTA, "codes": ("VCPULimitExceeded",), **changes})


@pytest.mark.parametrize(
    ("failures", "unit", "expected"),
    [
        pytest.param((), {}, NOTHING, id="pods wait and nothing was refused"),
        pytest.param((refused(),), {}, SUSPECTED, id="one refusal, however wide its claim"),
        pytest.param((refused(),), BLOCKED, SATURATED, id="and then nothing of the NodePool is available"),
        pytest.param(
            (refused(NOW - 4),), {"pool_blocked_at": NOW - 5}, SUSPECTED, id="nothing was available before, and it was refused since"
        ),
        pytest.param((refused(NOW - 206),), {"pool_blocked_at": NOW - 10}, SUSPECTED, id="the refusal had left Karpenter's cache"),
        pytest.param((refused(NOW - 204),), {"pool_blocked_at": NOW - 10, **OLD}, SATURATED, id="Karpenter has not swept its cache yet"),
        pytest.param((refused(NOW - 165),), {"pool_blocked_at": NOW - 10}, SATURATED, id="they came when the cache was young"),
        pytest.param((refused(NOW - 166),), {"pool_blocked_at": NOW - 10}, SUSPECTED, id="a cache that is nearly over may be their luck"),
        pytest.param(
            (refused(NOW - 204),), {"pool_blocked_at": NOW - 10}, SUSPECTED, id="the answer to the next request may be on its way"
        ),
        pytest.param((refused(NOW - 205),), {"pool_blocked_at": NOW - 20}, SATURATED, id="nothing has launched by the time it was due"),
        pytest.param(
            (refused(NOW - 210),), {"pool_blocked_at": NOW - 20, "pool_launches": (launched(NOW - 5),)}, NOTHING, id="something has"
        ),
        pytest.param(
            (refused(NOW - 190), refused(NOW - 3)), {"pool_blocked_at": NOW - 1}, SATURATED, id="the next request was refused as well"
        ),
        pytest.param((named("a", NOW - 175), *TWO_NEW), IN_ZONES, NAMED, id="one of three is named by a young cache"),
        pytest.param((named("a", NOW - 176), *TWO_NEW), IN_ZONES, SUSPECTED, id="one of three is named by a cache that is nearly over"),
        pytest.param((), {"pool_blocked_at": NOW - 5}, NOTHING, id="no compatible type alone: it never proves"),
        pytest.param((refused(codes=ALL),), {}, SATURATED, id="everything a launch asked for was in the cache"),
        pytest.param(
            (refused(codes=ALL),), {"pool_instance_types": TYPES}, SUSPECTED, id="everything that one claim of two types asked for"
        ),
        pytest.param((refused(codes=ALL, zones=A),), IN_ZONES, SUSPECTED, id="everything in one zone of three"),
        pytest.param((refused(codes=ALL, **UNKNOWN),), {}, SUSPECTED, id="everything that a claim asked for that was never seen"),
        pytest.param((refused(),), {"pending": said("inf2")}, SATURATED, id="and then nothing is available for the pod"),
        pytest.param((refused(),), {"pending": said("inf2", NOW - 70)}, SUSPECTED, id="nothing was available for the pod before"),
        pytest.param((refused(),), {"pending": said("trn1")}, SUSPECTED, id="nothing is available for the pod in another NodePool"),
        pytest.param((), {"pending": said("inf2")}, NOTHING, id="nothing for the pod, and nothing was refused: a misconfiguration"),
        pytest.param((named("a"),), IN_ZONES, SUSPECTED, id="one zone of three is named"),
        pytest.param((named("a"), named("b", NOW - 50)), IN_ZONES, SUSPECTED, id="two zones of three"),
        pytest.param(THREE, IN_ZONES, NAMED, id="each zone is named"),
        pytest.param(THREE, {}, SUSPECTED, id="three zones, and how many there are is not known"),
        pytest.param(THREE, {"offered_zones": ZONES}, NAMED, id="every zone that EC2 sells the type in"),
        pytest.param((named("a"),), {**IN_ZONES, "offered_zones": A}, NAMED, id="EC2 sells the type in that one zone only"),
        pytest.param((refused(),), {**IN_ZONES, "offered_zones": A}, NAMED, id="the only zone there is need not be named"),
        pytest.param((named("a"),), {**IN_ZONES, "pod_zones": A}, NAMED, id="the Deployment is pinned to that zone"),
        pytest.param((named("a", truncated=False),), {**IN_ZONES, "pod_zones": B}, NOTHING, id="another zone than the Deployment's"),
        pytest.param((named("a"),), {"pool_zones": B, "pod_zones": A}, NAMED, id="a pin that the pool does not list still counts"),
        pytest.param((named("a", NOW - 250), *THREE[1:]), IN_ZONES, SUSPECTED, id="parts that are more than a cache cycle apart"),
        pytest.param(
            (refused(zones=A), refused(NOW - 50, zones=B), refused(NOW - 40, zones=C)),
            IN_ZONES,
            NAMED,
            id="each zone by a claim of its own",
        ),
        pytest.param((refused(zones=ZONES),), IN_ZONES, SUSPECTED, id="one claim that may use each of the zones"),
        pytest.param((refused(offerings=tuple((TYPES[0], zone) for zone in ZONES)),), IN_ZONES, NAMED, id="one message names every zone"),
        pytest.param(THREE, {**IN_ZONES, "pool_instance_types": TYPES}, SUSPECTED, id="each zone of one type of two"),
        pytest.param(
            (*THREE, *(named(zone, NOW - 30, TYPES[1]) for zone in "abc")),
            {**IN_ZONES, "pool_instance_types": TYPES},
            NAMED,
            id="each zone of both types",
        ),
        pytest.param(
            tuple(replace(one, instance_types=TYPES) for one in THREE),
            {**IN_ZONES, "pool_instance_types": ()},
            SUSPECTED,
            id="a type that the NodePool did not name was open",
        ),
        pytest.param(THREE, {**IN_ZONES, **MIXED}, SUSPECTED, id="the requested capacity type is not known"),
        pytest.param(
            kinds(THREE, "spot", "on-demand"), {**IN_ZONES, **MIXED}, SUSPECTED, id="of spot and on-demand, spot is requested first"
        ),
        pytest.param(
            (*kinds(THREE, "spot", "on-demand"), *kinds(LATER, "on-demand")), {**IN_ZONES, **MIXED}, NAMED, id="spot, and on-demand next"
        ),
        pytest.param(kinds(THREE, "on-demand"), {**IN_ZONES, "pool_capacity_types": ("on-demand",)}, NAMED, id="on-demand only"),
        pytest.param((refused(instance_types=("g5.xlarge",)),), BLOCKED, NOTHING, id="another instance type"),
        pytest.param(
            (refused(),), {"pod_instance_types": ("inf2.24xlarge",), **BLOCKED}, NOTHING, id="pods pinned to a type outside the pool"
        ),
        pytest.param((), {**IN_ZONES, "pool_elsewhere": kinds(THREE, "on-demand")}, NAMED, id="through another NodePool"),
        pytest.param((), {**IN_ZONES, "pool_elsewhere": ON_DEMAND}, NAMED, id="through another NodePool of on-demand instances"),
        pytest.param(
            (), {**IN_ZONES, "pool_elsewhere": THREE}, SUSPECTED, id="through another NodePool, and nobody knows of which capacity type"
        ),
        pytest.param(
            (), {**BLOCKED, "pool_elsewhere": THREE[:1]}, SATURATED, id="through another NodePool, and nothing of this is available"
        ),
        pytest.param((), {**BLOCKED, "pool_elsewhere": THREE, "pending": ()}, NOTHING, id="through another NodePool, and nobody waits"),
        pytest.param((refused(replacement=True),), BLOCKED, NOTHING, id="launched by consolidation: the old node still serves"),
        pytest.param(
            (refused(NOW - 1, seen=NOW - 1),), {"pool_blocked_at": NOW}, SATURATED, id="fresh: with waiting pods it counts at once"
        ),
        pytest.param((refused(NOW - 2, seen=NOW - 2),), {"pending": ()}, NOTHING, id="too fresh to know whether consolidation launched it"),
        pytest.param((refused(NOW - 3, seen=NOW - 3),), {"pending": ()}, SUSPECTED, id="old enough to know"),
        pytest.param((refused(NOW - 60, seen=NOW - 2),), {"pending": ()}, NOTHING, id="the event came late: the hold counts from then"),
        pytest.param((create_error(NOW - 30),), {}, NOTHING, id="a create error may yet succeed"),
        pytest.param((create_error(NOW - 60),), {}, SATURATED, id="a quota of the account that stays used up"),
        pytest.param((create_error(NOW - 60, cause=Cause.UNKNOWN),), BLOCKED, SUSPECTED, id="another create error that stays"),
        pytest.param((refused(NOW - 360),), {"pool_blocked_at": NOW - 300, **OLD}, SATURATED, id="at the end of the window"),
        pytest.param((refused(NOW - 181),), {"pool_blocked_at": NOW - 170}, SUSPECTED, id="a cache that has expired since pods wait"),
        pytest.param((refused(NOW - 155),), {"pool_blocked_at": NOW - 140}, SATURATED, id="a cache that has not"),
        pytest.param((refused(NOW - 156),), {"pool_blocked_at": NOW - 140}, SUSPECTED, id="a cache that soon will"),
        pytest.param((refused(NOW - 215),), {"pool_blocked_at": NOW - 205}, SUSPECTED, id="a cache of which nothing was said since"),
        pytest.param(
            (refused(NOW - 181), refused(NOW - 60)), {"pool_blocked_at": NOW - 170}, SUSPECTED, id="an expired cache, and a refusal since"
        ),
        pytest.param(
            (named("a", NOW - 200), named("b", NOW - 160)),
            {"pool_blocked_at": NOW - 150, "pool_launches": (launched(NOW - 190),)},
            SUSPECTED,
            id="an expired cache, whose first refusal a launch elsewhere ended",
        ),
        pytest.param(EARLIER, IN_ZONES, SUSPECTED, id="each zone is named, and the cache has expired since pods wait"),
        pytest.param(EARLIER, {**IN_ZONES, **OLD}, NAMED, id="the same, and pods waited already"),
        pytest.param((refused(NOW - 200, codes=ALL),), {}, SUSPECTED, id="everything was in the cache, which has expired"),
        pytest.param((refused(NOW - 200, codes=ALL),), OLD, SATURATED, id="the same, and pods waited already then"),
        pytest.param((create_error(NOW - 300, stood_until=NOW),), {}, SATURATED, id="a quota that is met again and again"),
        pytest.param((create_error(NOW - 300, stood_until=NOW - 200),), {}, SUSPECTED, id="a quota that was met before pods waited"),
        pytest.param((create_error(NOW - 300, stood_until=NOW - 200),), OLD, SATURATED, id="a quota that was met while pods waited"),
        pytest.param((create_error(NOW - 300, stood_until=NOW - 180),), {}, SATURATED, id="a quota that was met just before"),
        pytest.param((create_error(NOW - 300, stood_until=NOW - 181),), {}, SUSPECTED, id="a quota that was met too long before"),
        pytest.param((refused(NOW - 361),), {"pool_blocked_at": NOW - 300}, NOTHING, id="beyond the window: no signal proves nothing"),
        pytest.param(
            (refused(),), {"pool_launches": (launched(NOW - 50),), **BLOCKED}, NOTHING, id="a launch of a claim that was created later"
        ),
        pytest.param(
            (refused(),), {"pool_launches": (launched(NOW - 60, devices=1),), **PARTLY}, SATURATED, id="a grant of the same batch"
        ),
        pytest.param(
            (refused(order=5, created=NOW - 63),),
            {"pool_launches": (launched(NOW - 62, devices=1, order=6),), **PARTLY},
            SATURATED,
            id="a grant of the same batch, whose NodeClaim was delivered after the event",
        ),
        pytest.param(
            (refused(order=5, created=NOW - 63),),
            {"pool_launches": (launched(NOW - 60, devices=1, order=6),), **PARTLY},
            NOTHING,
            id="a grant of the next batch",
        ),
        pytest.param(
            (refused(),), {"pool_launches": (launched(NOW - 80, NOW - 5),), **PARTLY}, SATURATED, id="a launch before the refusal"
        ),
        pytest.param(
            (refused(order=7),), {"pool_launches": (launched(NOW - 60, order=8),), **PARTLY}, NOTHING, id="created later within the second"
        ),
        pytest.param(
            (refused(order=9),), {"pool_launches": (launched(NOW - 58, order=8),), **PARTLY}, SATURATED, id="delivered before the refusal"
        ),
        pytest.param(
            (refused(),),
            {"pool_launches": (launched(NOW - 50, instance_type="g5.xlarge"),), **BLOCKED},
            SATURATED,
            id="a launch of another type",
        ),
        pytest.param(
            (refused(zones=A),),
            {"pool_launches": (launched(NOW - 50, zone=ZONES[1]),), "pool_zones": ZONES, "pod_zones": A},
            NAMED,
            id="a launch in a zone that the unit may not use",
        ),
        pytest.param(
            (refused(),),
            {"pool_launches": (launched(NOW - 60), launched(NOW - 60, claim="b")), **BLOCKED},
            (Shortage.SUSPECTED, Proof.SATURATED),
            id="a node for every pod is on its way",
        ),
        pytest.param((refused(),), {"pending": (), **BLOCKED}, (Shortage.SUSPECTED, Proof.SATURATED), id="nobody waits for it"),
        pytest.param(
            (refused(),),
            {"ready": 4, **BLOCKED},
            (Shortage.SUSPECTED, Proof.SATURATED),
            id="a surge pod of a rollout waits, no replica is missing",
        ),
        pytest.param(
            (refused(),), {"desired": 0, "ready": 0, **BLOCKED}, (Shortage.SUSPECTED, Proof.SATURATED), id="scaled to nothing by somebody"
        ),
        pytest.param((refused(),), {"desired": None, "ready": None, **BLOCKED}, SATURATED, id="a Deployment that was not seen"),
        pytest.param((refused(cause=Cause.QUOTA),), BLOCKED, SATURATED, id="quota"),
        pytest.param((refused(cause=Cause.NETWORK),), BLOCKED, SATURATED, id="subnets full"),
        pytest.param((refused(cause=Cause.UNKNOWN),), BLOCKED, SATURATED, id="a cause we do not know"),
        pytest.param((refused(cause=Cause.CONFIG),), BLOCKED, SUSPECTED, id="a misconfiguration is no proof"),
        pytest.param((refused(**UNKNOWN),), BLOCKED, SATURATED, id="its NodeClaim was never seen"),
        pytest.param(tuple(replace(one, **UNKNOWN) for one in THREE), IN_ZONES, NAMED, id="named by claims that were never seen"),
        pytest.param(THREE[:2], {**IN_ZONES, "unavailable": gauge("c")}, NAMED, id="Karpenter's metrics complete what refusals name"),
        pytest.param(THREE[:1], {**IN_ZONES, "unavailable": gauge("b")}, SUSPECTED, id="Karpenter's metrics complete it only in part"),
        pytest.param((), {**IN_ZONES, "unavailable": gauge("abc")}, NOTHING, id="Karpenter's metrics alone"),
        pytest.param((refused(),), {**IN_ZONES, "unavailable": gauge("abc")}, SUSPECTED, id="a refusal that names nothing beside them"),
        pytest.param(
            (create_error(NOW - 60, cause=Cause.NETWORK, codes=("InsufficientFreeAddressesInSubnet",)),),
            {**IN_ZONES, "unavailable": gauge("abc")},
            SUSPECTED,
            id="a create error, which names nothing, beside Karpenter's metrics",
        ),
        pytest.param(THREE[:2], {**IN_ZONES, "unavailable": gauge("c", "spot")}, SUSPECTED, id="of another capacity type"),
        pytest.param(THREE[:2], {**IN_ZONES, "unavailable": gauge("c", kind="g5.xlarge")}, SUSPECTED, id="of another instance type"),
        pytest.param(THREE[:2], {"unavailable": gauge("c")}, SUSPECTED, id="where the zones that count are not known"),
        pytest.param(
            THREE[:2],
            {**IN_ZONES, "unavailable": gauge("c"), "pool_launches": (launched(NOW - 30),)},
            NOTHING,
            id="a launch after the refusals, whatever Karpenter's metrics say",
        ),
        pytest.param(THREE, {**IN_ZONES, "unavailable": ()}, NAMED, id="metrics that call nothing unavailable disprove nothing"),
        pytest.param((), {"pool_at_limit": "limit of 8 cpu"}, SUSPECTED, id="the NodePool's own limit"),
        pytest.param((), {"pool_at_limit": "limit of 8 cpu", "pending": ()}, NOTHING, id="a limit that nobody runs into"),
    ],
)
def test_what_a_refusal_proves(failures: tuple[Refusal, ...], unit: dict[str, Any], expected: tuple[Shortage, Proof | None]) -> None:
    """One refusal is a suspicion; what Karpenter says next, or refusals that name everything, prove it."""
    assert _case(failures, **unit) == expected


@pytest.mark.parametrize(
    ("failures", "unit"),
    [
        pytest.param((refused(NOW - 210, zones=A), refused(NOW - 20, zones=A)), IN_ZONES, id="part of the zones"),
        pytest.param((refused(NOW - 210, cause=Cause.CONFIG), refused(NOW - 20, cause=Cause.CONFIG)), {}, id="a misconfiguration"),
        pytest.param((refused(NOW - 210, **UNKNOWN), refused(NOW - 20, **UNKNOWN)), {}, id="a claim that was never seen"),
        pytest.param((), {"pool_at_limit": "limit of 8 cpu"}, id="the NodePool's limit"),
    ],
)
@pytest.mark.parametrize(("age", "expected"), [pytest.param(239, SUSPECTED, id="younger"), pytest.param(240, AGE, id="older")])
def test_part_of_a_proof_becomes_one_when_demand_outlives_a_cache_cycle(
    failures: tuple[Refusal, ...], unit: dict[str, Any], age: float, expected: tuple[Shortage, Proof | None]
) -> None:
    """With room in another part, a node would have launched within a cycle of Karpenter's cache."""
    assert _case(failures, age=age, **unit) == expected


@pytest.mark.parametrize(
    ("at", "age", "expected"),
    [
        pytest.param(NOW - 60, 239, NOTHING, id="pods may ask yet"),
        pytest.param(NOW - 60, 240, SATURATED, id="they have waited for longer than a cycle"),
        pytest.param(NOW - 240, 240, SATURATED, id="since they began to wait"),
        pytest.param(NOW - 241, 240, NOTHING, id="before they waited"),
    ],
)
def test_what_replacements_are_refused_counts_once_pods_have_waited_for_a_cycle(
    at: float, age: float, expected: tuple[Shortage, Proof | None]
) -> None:
    """Drift asks first in every cycle, and so nothing was ever refused to the pods that wait for the same: a shortage that nobody saw."""
    assert _case((refused(at, replacement=True),), age=age, pool_blocked_at=NOW - 50) == expected


def test_what_replacements_are_refused_proves_nothing_by_age() -> None:
    """Consolidation is refused in one zone now and then, and a pod waits for a volume: neither is a shortage, nor are both."""
    made = change(snapshot(), pool_failures=(named("a", NOW - 300, replacement=True),), pending=pods(since=NOW - 900), desired=4, ready=2)
    judged = judge(change(made, pool_zones=ZONES))
    assert (judged.shortage, judged.proof, judged.age_at) == (Shortage.SUSPECTED, None, None)
    assert judged.facts[1] == "1 of 3 zones refused (us-west-2a); proven at once if us-west-2b, us-west-2c refuse"
    assert _case(tuple(replace(one, replacement=True) for one in THREE), age=900, pool_zones=ZONES) == NAMED
    both = (named("a", NOW - 300, replacement=True), named("b", NOW - 220), named("b", NOW - 30))
    assert _case(both, age=900, pool_zones=ZONES) == AGE


def test_a_capacity_type_that_the_unit_cannot_have_says_nothing() -> None:
    """Another team's spot instances are refused for hours; this NodePool has on-demand ones, and waits for something else."""
    elsewhere = kinds((refused(NOW - 250, pool="other"), refused(NOW - 60, pool="other")), "spot")
    assert _case((), age=300, pool_elsewhere=elsewhere, pool_capacity_types=("on-demand",)) == NOTHING
    assert _case((), age=300, pool_elsewhere=elsewhere, pool_capacity_types=("on-demand", "spot")) == AGE


@pytest.mark.parametrize(("refused_for", "expected"), [pytest.param(204, SUSPECTED, id="less"), pytest.param(205, AGE, id="a cycle")])
def test_old_demand_is_no_proof_before_a_cycle_of_refusals(refused_for: float, expected: tuple[Shortage, Proof | None]) -> None:
    """Karpenter did not run, or was throttled: then it asks for one offering every ten seconds, and the last of many may be had."""
    assert _case((named("a", NOW - refused_for), named("b", NOW - 20)), age=600, pool_zones=ZONES) == expected


def test_a_proof_by_age_lasts_while_refusals_go_on() -> None:
    """The first refusal leaves the window: the one that follows it is not the first."""
    assert _case((named("a", NOW - 361), named("a", NOW - 171)), age=363, pool_zones=ZONES) == AGE


FAILED = create_error(NOW - 290, cause=Cause.UNKNOWN, codes=("LaunchFailed",), stood_until=NOW)
"""A create error that stands."""


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        pytest.param({}, SUSPECTED, id="nothing"),
        pytest.param({"pool_failures": (named("a", NOW - 235), named("b", NOW - 56))}, SUSPECTED, id="asked for another before"),
        pytest.param({"pool_failures": (named("a", NOW - 235), named("a", NOW - 55))}, AGE, id="asked again"),
        pytest.param({"pool_failures": (named("a", NOW - 235), refused(NOW - 40, source="unlaunched"))}, AGE, id="its event is lost"),
        pytest.param({"pool_at_limit": "limit of 8 cpu"}, AGE, id="a limit needs no word of it"),
        pytest.param({"pool_failures": (named("a", NOW - 235), FAILED)}, AGE, id="a create error stands"),
    ],
)
def test_while_karpenter_says_nothing_age_proves_nothing(unit: dict[str, Any], expected: tuple[Shortage, Proof | None]) -> None:
    """It does not run, and nobody has asked EC2 again for what was refused."""
    failures = unit.pop("pool_failures", (named("a", NOW - 235),))
    assert _case(failures, age=300, pool_zones=ZONES, **unit) == expected


def test_a_silent_karpenter_is_named() -> None:
    """In the unit's facts, and by the alert."""
    made = change(snapshot(), pool_failures=(named("a", NOW - 235),), pool_zones=ZONES, pending=pods(since=NOW - 300), desired=4, ready=2)
    judged = judge(made)
    assert judged.age_at is None
    assert judged.facts[1] == "1 of 3 zones refused (us-west-2a); not proven while Karpenter says nothing: check that it runs"
    assert any(alert.key == f"silent/{INF2}" for alert in decide(memory(), made)[1].alerts)


def test_age_alone_is_never_a_proof() -> None:
    """Pods that wait for hours without a refusal prove nothing: Karpenter may be down."""
    assert _case((), age=36_000) == NOTHING


def test_a_misconfiguration_is_a_proof_where_the_operator_says_so() -> None:
    """`tripCauses` may name config: then it counts like the rest."""
    policy = PolicySettings(trip_causes=frozenset({Cause.CONFIG}))
    assert _case((refused(cause=Cause.CONFIG),), policy=policy, **BLOCKED) == SATURATED


@pytest.mark.parametrize(
    ("unit", "pool", "observed", "types", "zones"),
    [
        pytest.param({}, {}, {}, ("inf2.xlarge",), (), id="nothing said: the priced type"),
        pytest.param({}, {"instance_types": TYPES, "zones": A}, {}, TYPES, A, id="the NodePool says"),
        pytest.param(
            {"instance_types": TYPES[1:], "zones": B}, {"instance_types": TYPES, "zones": A}, {}, TYPES[1:], B, id="the file says"
        ),
        pytest.param(
            {}, {"instance_types": TYPES, "zones": ZONES}, {"pod_instance_types": TYPES[1:], "pod_zones": B}, TYPES[1:], B, id="pins"
        ),
        pytest.param({}, {"zones": A}, {"offered_zones": ZONES}, ("inf2.xlarge",), A, id="EC2's zones only where nobody else names any"),
        pytest.param({}, {}, {"offered_zones": ZONES}, ("inf2.xlarge",), ZONES, id="EC2's zones"),
    ],
)
def test_allowed_offerings(
    unit: dict[str, Any], pool: dict[str, Any], observed: dict[str, Any], types: tuple[str, ...], zones: tuple[str, ...]
) -> None:
    """The application file counts first, then the NodePool; the Deployment's own pins narrow both."""
    allowed = allowed_offerings(replace(seed_units()[0], **unit), UnitObservation(INF2, PoolObservation("inf2", **pool), **observed))
    assert (allowed.instance_types, allowed.zones_of(types[0])) == (types, zones)


def test_two_claims_of_one_batch_are_one_attempt() -> None:
    """They share one fleet call; counted as two they would seem to be two independent proofs."""
    batch = (refused(claim="a", attempt="1"), refused(claim="b", attempt="1"), refused(NOW - 30, claim="c", attempt="2"))
    judged = judge(change(snapshot(), pool_failures=batch, pending=pods(), desired=4))
    assert judged.attempts == 2
    assert judged.facts[0].startswith("2 refused attempt(s), last 30 s ago: InsufficientInstanceCapacity")


def test_the_reported_cause_is_the_one_that_passes_by_waiting() -> None:
    """Of several causes the one that may pass by waiting comes first, and every code is listed."""
    both = (
        refused(cause=Cause.NETWORK, codes=("InsufficientFreeAddressesInSubnet",)),
        refused(NOW - 50, codes=("InsufficientInstanceCapacity",), truncated=True),
    )
    judged = judge(change(snapshot(), pool_failures=both, pending=pods(), desired=4))
    assert judged.cause is Cause.CAPACITY
    assert judged.codes == ("InsufficientFreeAddressesInSubnet", "InsufficientInstanceCapacity")
    assert judged.truncated


def test_evidence_is_whole() -> None:
    """Everything that guards, alerts and people read of a unit: a part that got lost would show only in the night it is needed."""
    failure = named("a", codes=("InsufficientInstanceCapacity",))
    network = refused(NOW - 50, cause=Cause.NETWORK, codes=("InsufficientFreeAddressesInSubnet",), claim="x")
    made = change(snapshot(), pool_zones=ZONES, pool_failures=(failure, network), pending=pods(), desired=4, ready=2)
    suspected = UnitEvidence(
        INF2,
        Shortage.SUSPECTED,
        demand=2,
        demand_since=NOW - 90,
        cause=Cause.CAPACITY,
        codes=("InsufficientInstanceCapacity", "InsufficientFreeAddressesInSubnet"),
        truncated=True,
        refused=A,
        missing=ZONES[1:],
        age_at=NOW + 150,
        since=NOW - 60,
        attempts=2,
        can_serve=True,
        ready=2,
        needed=2,
    )
    judged = judge(made)
    assert replace(judged, facts=()) == suspected
    blocked = judge(change(made, pool_blocked_at=NOW - 40))
    assert replace(blocked, facts=()) == replace(
        suspected, shortage=Shortage.PROVEN, proof=Proof.SATURATED, last_refusal_at=NOW - 50, can_serve=False
    )
    later = assess(made, memory(units=proven(NOW - 30)), {INF2: 2})[INF2]
    assert replace(later, facts=()) == replace(suspected, last_refusal_at=NOW - 30)


@pytest.mark.parametrize(
    ("causes", "reported"),
    [
        ((Cause.CONFIG, Cause.QUOTA), Cause.QUOTA),
        ((Cause.CONFIG, Cause.NETWORK), Cause.NETWORK),
        ((Cause.QUOTA, Cause.UNKNOWN), Cause.UNKNOWN),
        ((Cause.NETWORK, Cause.QUOTA), Cause.QUOTA),
    ],
)
def test_of_two_causes_the_one_that_passes_first_is_reported(causes: tuple[Cause, Cause], reported: Cause) -> None:
    """It decides whether a failover is allowed: a misconfiguration that is reported for an outage would hold it back."""
    failures = tuple(refused(NOW - 60 + place, cause=one, claim=f"{place}") for place, one in enumerate(causes))
    assert judge(change(snapshot(), pool_failures=failures, pending=pods(), desired=4)).cause is reported


def test_a_unit_whose_need_is_not_known_needs_its_minimum() -> None:
    """Nothing less may be taken for enough."""
    app = application()
    app = replace(app, units=tuple(replace(one, min_replicas=3) for one in app.units))
    found = assess(snapshot(app), memory(), {TRN1: 5})
    assert (found[INF2].needed, found[TRN1].needed) == (3, 5)


def test_a_pool_at_its_limit_says_so_as_a_code() -> None:
    """The limit is a quota that only a person can raise."""
    judged = judge(change(snapshot(), pool_at_limit="limit of 8 cpu", pending=pods(), desired=4))
    assert (judged.cause, judged.codes) == (Cause.QUOTA, ("NodePoolLimit",))


class TestMemoryOfAProof:
    """Events outlive the NodeClaims that explain them; memory bridges a restart."""

    def test_a_proof_stands_after_a_restart_although_its_claim_is_gone(self) -> None:
        """The events are listed again after a restart, the deleted NodeClaims are not: the events alone prove the same."""
        assert judge(shortage(requirements_known=False, instance_types=())).proof is Proof.SATURATED

    def test_a_shortage_that_ends_before_anything_was_done_is_forgotten(self) -> None:
        """Otherwise it would count against a later fallback."""
        assert decide(memory(units=proven()), snapshot())[0].units == {}

    def test_a_pod_that_is_replaced_does_not_begin_the_patience_anew(self) -> None:
        """Between the deletion of a pod and the next verdict of the scheduler no pod waits, and capacity is still refused."""
        gap = change(shortage(), pending=())
        kept = decide(memory(units=proven(NOW - 20)), gap)[0]
        assert kept.units[INF2].proven_at == NOW - 20
        assert decide(kept, replace(shortage(), now=NOW + 10))[1].verb is Verb.FAILOVER

    def test_what_was_short_is_kept_in_capacity_mode(self) -> None:
        """The return of its capacity is still to be proven."""
        remembered = memory(Mode.CAPACITY, units=proven())
        assert decide(remembered, snapshot(mode=Mode.CAPACITY))[0].units == proven()

    def test_a_later_refusal_moves_the_date_without_demand(self) -> None:
        """A refused canary proves that capacity is still missing, although the demand does not need the replica."""
        made = change(snapshot(mode=Mode.CAPACITY), pool_failures=(refused(NOW - 10, cause=Cause.QUOTA),), pool_blocked_at=NOW - 9)
        kept = decide(memory(Mode.CAPACITY, units=proven(NOW - 600)), made)[0].units[INF2]
        assert (kept.last_failure_at, kept.cause, kept.proven_at) == (NOW - 10, Cause.QUOTA, NOW - 600)

    def test_the_proof_keeps_its_first_date_and_replicas(self) -> None:
        """Patience counts from the first proof, and a return without a new node is measured against the replicas of that time."""
        made = shortage(at=NOW - 10)
        kept = decide(memory(units=proven(NOW - 100, ready_then=7)), made)[0].units[INF2]
        assert (kept.proven_at, kept.ready_then, kept.last_failure_at) == (NOW - 100, 7, NOW - 10)

    def test_a_proof_replaces_what_was_only_suspected(self) -> None:
        """The remembered replicas are those at the time of the proof."""
        kept = decide(memory(units=proven(NOW - 100, ready_then=7, proven_at=None)), shortage())[0].units[INF2]
        assert (kept.proven_at, kept.ready_then) == (NOW, 2)

    @pytest.mark.parametrize("known", [pytest.param(False, id="new"), pytest.param(True, id="known before")])
    def test_a_shortage_by_a_limit_alone_is_dated_now(self, known: bool) -> None:
        """There is no refusal to date it by, but its return must be proven all the same."""
        made = change(snapshot(), pool_at_limit="limit of 8 cpu", pending=pods(since=NOW - 300), desired=4)
        before = {INF2: UnitMemory(NOW - 900, Cause.QUOTA, 1, NOW - 900)} if known else {}
        kept = decide(memory(units=before), made)[0].units[INF2]
        assert (kept.last_failure_at, kept.cause) == (NOW, Cause.QUOTA)
        assert (kept.proven_at, kept.ready_then) == ((NOW - 900, 1) if known else (NOW, 2))

    def test_a_unit_that_left_the_application_file_is_forgotten(self) -> None:
        """A renamed unit must not stop every later decision."""
        remembered = memory(Mode.CAPACITY, units={"renamed": proven()[INF2], **proven()})
        kept, decision = decide(remembered, snapshot(mode=Mode.CAPACITY))
        assert list(kept.units) == [INF2]
        assert "renamed" not in decision.sentence


class TestReturn:
    """Capacity has returned when a node that was requested later has joined, or when the missing replicas run."""

    @pytest.mark.parametrize(
        ("changes", "remembered", "expected"),
        [
            pytest.param({}, {}, Return.NONE, id="no signal proves nothing"),
            pytest.param({"pool_launches": (launched(NOW - 30),)}, {}, Return.LAUNCHED, id="launched only"),
            pytest.param({"pool_launches": (launched(NOW - 30, NOW - 5),)}, {}, Return.REGISTERED, id="registered"),
            pytest.param({"pool_launches": (launched(NOW - 61, NOW - 5),)}, {}, Return.NONE, id="requested before the refusal"),
            pytest.param(
                {"pool_launches": (launched(NOW - 30, NOW - 5),), "desired": 4, "pending": NO_PLACE},
                {},
                Return.LAUNCHED,
                id="no place since",
            ),
            pytest.param(
                {"pool_launches": (launched(NOW - 30, NOW - 3),), "desired": 4, "pending": NO_PLACE},
                {},
                Return.REGISTERED,
                id="no place before",
            ),
            pytest.param(
                {"pool_launches": (launched(NOW - 30, NOW - 5),), "desired": 2, "pending": NO_PLACE},
                {},
                Return.REGISTERED,
                id="for a surge pod",
            ),
            pytest.param(
                {"desired": 4, "pending": NO_PLACE},
                {"returned": Return.REGISTERED, "returned_at": NOW - 10},
                Return.NONE,
                id="remembered, but no place since",
            ),
            pytest.param(
                {"pool_launches": (launched(NOW - 30, NOW - 5, instance_type="inf1.xlarge"),)}, {}, Return.NONE, id="another instance type"
            ),
            pytest.param({"ready": 4, "desired": 4}, {}, Return.REPLICAS_READY, id="the missing replicas run"),
            pytest.param({"ready": 3, "desired": 4}, {}, Return.NONE, id="some of the missing replicas run"),
            pytest.param({"ready": 1, "desired": 1}, {}, Return.NONE, id="fewer are desired now: that is no return"),
            pytest.param(
                {**SIX, "demand": Sample(200, NOW)}, {"ready_then": 6}, Return.REPLICAS_READY, id="more run than the demand needs"
            ),
            pytest.param({**SIX, "demand": Sample(2000, NOW)}, {"ready_then": 6}, Return.NONE, id="the demand needs more than run"),
            pytest.param(
                {**SIX, "demand": Sample(200, NOW), "pool_failures": (refused(NOW - 10),)},
                {"ready_then": 6},
                Return.NONE,
                id="more run than the demand needs, and the canary was refused",
            ),
            pytest.param({"ready": 4, "desired": 4, "pending": pods(1)}, {}, Return.NONE, id="a pod still waits"),
            pytest.param(
                {"pool_failures": (refused(),), "alternatives": (PoolObservation("spare", launches=(launched(NOW - 30, pool="spare"),)),)},
                {},
                Return.LAUNCHED,
                id="launched through another NodePool, while this one refuses",
            ),
            pytest.param({"ready": 4, "desired": None}, {}, Return.NONE, id="the Deployment is not known"),
            pytest.param({"ready": None, "desired": 4}, {}, Return.NONE, id="the replicas are not known"),
            pytest.param({}, {"returned": Return.REGISTERED, "returned_at": NOW - 10}, Return.REGISTERED, id="remembered"),
            pytest.param({}, {"returned": Return.REGISTERED, "returned_at": NOW - 70}, Return.NONE, id="remembered, but refused since"),
        ],
    )
    def test_what_proves_it(self, changes: dict[str, Any], remembered: dict[str, Any], expected: Return) -> None:
        """Each row is one sign of a return and what it is worth."""
        made = change(snapshot(mode=Mode.CAPACITY), **changes)
        assert judge(made, memory(Mode.CAPACITY, units=proven(**remembered))).returned is expected

    def test_a_unit_that_was_never_short_has_nothing_to_return(self) -> None:
        """Otherwise every launch would count as a return."""
        made = change(snapshot(), pool_launches=(launched(NOW - 30, NOW - 5),))
        assert judge(made).returned is Return.NONE

    def test_it_is_dated_by_the_first_node_and_remembered(self) -> None:
        """The hold counts from the first proof, and the launches are gone from the cluster long before it is over."""
        made = change(snapshot(mode=Mode.CAPACITY), pool_launches=(launched(NOW - 30, NOW - 5), launched(NOW - 40, NOW - 9)))
        kept, _ = decide(memory(Mode.CAPACITY, units=proven()), made)
        assert (kept.units[INF2].returned, kept.units[INF2].returned_at) == (Return.REGISTERED, NOW - 9)
        later = replace(snapshot(mode=Mode.CAPACITY), now=NOW + 4000)
        assert judge(later, kept).returned_at == NOW - 9

    def test_a_new_proof_of_shortage_cancels_it(self) -> None:
        """A unit whose capacity came back and was refused again is short."""
        made = shortage(snapshot(mode=Mode.CAPACITY), at=NOW - 10)
        kept, decision = decide(memory(Mode.CAPACITY, units=proven(NOW - 900, returned=Return.REPLICAS_READY, returned_at=NOW - 500)), made)
        assert decision.evidence[INF2].returned is Return.NONE
        assert kept.units[INF2].returned is Return.NONE


class TestAbility:
    """Which units could take the traffic of others."""

    @pytest.mark.parametrize(
        ("changes", "able"),
        [
            pytest.param({}, True, id="ready"),
            pytest.param({"ready": 0}, False, id="nothing ready"),
            pytest.param({"ready": None}, False, id="not known"),
            pytest.param({"pool_blocked_at": NOW - 10}, True, id="blocked pool without a network shortage elsewhere"),
        ],
    )
    def test_a_unit_needs_ready_replicas(self, changes: dict[str, Any], able: bool) -> None:
        """A unit without any would answer its requests with 503."""
        assert judge(change(snapshot(), TRN1, **changes), unit=TRN1).can_serve is able

    @pytest.mark.parametrize(("blocked", "able"), [(NOW - 10, False), (NOW - 360, False), (NOW - 361, True), (None, True)])
    def test_full_subnets_stop_the_blocked_pools_too(self, blocked: float | None, able: bool) -> None:
        """With no address left in the subnets they share, the other side cannot grow either."""
        made = change(shortage(cause=Cause.NETWORK), TRN1, pool_blocked_at=blocked)
        assert judge(made, unit=TRN1).can_serve is able

    def test_a_short_unit_cannot_take_more(self) -> None:
        """It has ready replicas, but no node for another one."""
        assert not judge(shortage()).can_serve


def test_facts_list_everything_that_was_observed() -> None:
    """An operator may read only these lines."""
    made = change(
        shortage(named_type="inf2.xlarge", named_zone="us-west-2a", truncated=True, requirements_known=False),
        pool_blocked_at=NOW - 20,
        pool_at_limit="limit of 8 cpu",
        pool_problem="NodeClass not ready",
        demand=Sample(1234.0, NOW - 60),
        latency=Sample(1.25, NOW - 60),
        notes=("quota: 10 of 64 vCPU free",),
    )
    assert judge(made).facts == (
        "1 refused attempt(s), last 1 min ago: InsufficientInstanceCapacity inf2.xlarge in us-west-2a "
        "(and perhaps others: the message was cut); its NodeClaim was never seen",
        "inf2.xlarge in us-west-2a refused, the zones that count are not known; proven: saturated",
        "NodePool inf2: no compatible instance type, 20 s ago",
        "NodePool inf2: limit of 8 cpu",
        "NodePool inf2: NodeClass not ready",
        "2 pod(s) unschedulable, the oldest for 1 min 30 s",
        "1234 requests in the period that ended 1 min ago",
        "latency 1.25 s, limit 0.90 s",
        "quota: 10 of 64 vCPU free",
    )


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ({}, ""),
        ({"named_type": "inf2.xlarge"}, ""),
        ({"named_zone": "us-west-2a"}, ""),
        ({"named_type": "inf2.xlarge", "named_zone": "us-west-2a"}, " inf2.xlarge in us-west-2a"),
        ({"truncated": True}, " (and perhaps others: the message was cut)"),
        ({"requirements_known": False}, "; its NodeClaim was never seen"),
        ({"inexact": ("instance_types", "zones")}, "; its NodeClaim does not list all its instance types, zones"),
    ],
)
def test_a_fact_about_a_refusal_says_what_it_names(named: dict[str, Any], words: str) -> None:
    """And nothing where it names nothing."""
    assert judge(shortage(**named)).facts[0] == f"1 refused attempt(s), last 1 min ago: InsufficientInstanceCapacity{words}"


@pytest.mark.parametrize(
    ("launch", "words"),
    [
        pytest.param(launched(NOW - 62), ("NodeClaim inf2-new launched 1 min ago",), id="launched"),
        pytest.param(launched(NOW - 62, NOW - 9), ("NodeClaim inf2-new registered, launched 1 min ago",), id="registered"),
        pytest.param(
            launched(NOW - 62, NOW - 9, initialized=NOW - 5), ("NodeClaim inf2-new initialized, launched 1 min ago",), id="usable"
        ),
        pytest.param(launched(NOW - 3602), ("NodeClaim inf2-new launched 1 h ago",), id="an hour ago"),
        pytest.param(launched(NOW - 3603), (), id="longer ago"),
    ],
)
def test_facts_list_recent_launches(launch: Any, words: tuple[str, ...]) -> None:
    """They are the first sign of a return."""
    assert judge(change(snapshot(), pool_launches=(launch,))).facts == words


@pytest.mark.parametrize(
    ("failures", "unit", "words"),
    [
        pytest.param(
            THREE[:2],
            IN_ZONES,
            "2 of 3 zones refused (us-west-2a, us-west-2b); proven at once if us-west-2c refuses, else at 08:02:30 UTC",
            id="two zones of three",
        ),
        pytest.param(
            THREE[:1],
            {**IN_ZONES, "pool_instance_types": TYPES},
            "1 of 6 offerings refused (inf2.xlarge us-west-2a); proven at once if inf2.xlarge us-west-2b, inf2.xlarge us-west-2c, "
            "inf2.8xlarge us-west-2a, inf2.8xlarge us-west-2b, inf2.8xlarge us-west-2c refuse, else at 08:02:30 UTC",
            id="offerings of two types",
        ),
        pytest.param(
            THREE[:1],
            {},
            "inf2.xlarge in us-west-2a refused, the zones that count are not known; proven at once if Karpenter finds nothing available in "
            "NodePool inf2, else at 08:02:30 UTC",
            id="zones that are not known",
        ),
        pytest.param(THREE, IN_ZONES, "3 of 3 zones refused (us-west-2a, us-west-2b, us-west-2c); proven: named", id="proven"),
        pytest.param(
            THREE[:1],
            {**IN_ZONES, "unavailable": gauge("b")},
            "1 of 3 zones refused (us-west-2a), 1 unavailable as Karpenter's metrics say (us-west-2b); "
            "proven at once if us-west-2c refuses, else at 08:02:30 UTC",
            id="Karpenter's metrics in part",
        ),
        pytest.param(
            THREE[:2],
            {**IN_ZONES, "unavailable": gauge("c")},
            "2 of 3 zones refused (us-west-2a, us-west-2b), 1 unavailable as Karpenter's metrics say (us-west-2c); proven: named",
            id="proven with Karpenter's metrics",
        ),
        pytest.param(THREE[:1], {**IN_ZONES, "pending": ()}, "1 of 3 zones refused (us-west-2a); no pod waits for it", id="nobody waits"),
        pytest.param(
            (refused(),),
            {},
            "an offering that is not named refused, the zones that count are not known; "
            "proven at once if Karpenter finds nothing available in NodePool inf2, else at 08:02:30 UTC",
            id="a message that names no zone, and zones that are not known",
        ),
        pytest.param(
            (refused(),),
            IN_ZONES,
            "0 of 3 zones refused; proven at once if us-west-2a, us-west-2b, us-west-2c refuse, else at 08:02:30 UTC",
            id="a message that names no zone",
        ),
    ],
)
def test_facts_say_what_is_missing_for_a_proof(failures: tuple[Refusal, ...], unit: dict[str, Any], words: str) -> None:
    """An operator sees how far the proof is, and when it completes at the latest."""
    changes = {"pool_failures": failures, "pending": pods(), "desired": 4, "ready": 2, **unit}
    assert judge(change(snapshot(), **changes)).facts[1] == words


def test_what_only_karpenters_metrics_say_is_kept_apart() -> None:
    """Beside what is refused and what is missing."""
    changes: dict[str, Any] = {"pool_failures": THREE[:1], "pending": pods(), "desired": 4, "ready": 2, **IN_ZONES}
    judged = judge(change(snapshot(), **changes, unavailable=gauge("ab")))
    assert (judged.refused, judged.unavailable, judged.missing) == (A, B, ZONES[2:])


def test_facts_list_many_launches_in_one_line() -> None:
    """A scale-up launches dozens; the newest and their number are enough."""
    made = change(snapshot(), pool_launches=(launched(NOW - 900), launched(NOW - 62)))
    assert judge(made).facts == ("NodeClaim inf2-new launched 1 min ago (2 launches in the last hour)",)


def test_the_evidence_of_an_empty_memory_is_the_same() -> None:
    """A controller that was just installed sees the same shortage."""
    assert judge(shortage(), Memory()).short


def test_a_pod_that_is_replaced_does_not_make_the_demand_younger() -> None:
    """Age counted from the oldest pod, and began anew with each rollout or eviction."""
    first = (named("a", NOW - 210), named("a", NOW - 20))
    young = change(snapshot(), pool_failures=first, pool_zones=ZONES, pending=pods(since=NOW - 20), desired=4, ready=2)
    assert judge(young).proof is None
    assert judge(change(young, waiting_since=NOW - 300)).proof is Proof.AGE
    assert judge(change(young, waiting_since=NOW - 300, pending=(), desired=2)).demand_since is None


def spare(failures: tuple[Refusal, ...] = (), *, blocked_at: float | None = None, zones: tuple[str, ...] = ZONES) -> PoolObservation:
    """A second NodePool of the same type."""
    return PoolObservation("spare", failures=failures, blocked_at=blocked_at, zones=zones, instance_types=("inf2.xlarge",))


def through_spare(failures: tuple[Refusal, ...]) -> tuple[Refusal, ...]:
    """The same refusals, of claims of the second NodePool."""
    return tuple(replace(one, pool="spare", claim=f"spare-{one.claim}", attempt=f"spare-{one.attempt}") for one in failures)


EITHER = tuple(replace(pod, pools=("inf2", "spare")) for pod in pods())
ONLY_OWN = (replace(EITHER[0], pools=("inf2",)), *EITHER[1:])
OLD_EITHER = tuple(replace(pod, since=NOW - 400) for pod in EITHER)


@pytest.mark.parametrize(
    ("own", "other", "waiting", "expected"),
    [
        pytest.param({"pool_failures": THREE}, spare(through_spare(THREE)), EITHER, NAMED, id="both by name"),
        pytest.param({"pool_failures": THREE, **BLOCKED}, spare(through_spare(THREE)), EITHER, NAMED, id="no more than the weaker"),
        pytest.param({"pool_failures": THREE}, spare(through_spare(THREE), blocked_at=NOW - 5), EITHER, NAMED, id="nor the first"),
        pytest.param({"pool_failures": THREE, **BLOCKED}, spare(), EITHER, SUSPECTED, id="the other has refused nothing"),
        pytest.param({}, spare(through_spare(THREE), blocked_at=NOW - 5), EITHER, SUSPECTED, id="its own has refused nothing"),
        pytest.param({"pool_failures": THREE}, spare(through_spare(THREE[:2])), EITHER, SUSPECTED, id="the other in part"),
        pytest.param(
            {"pool_failures": (named("a", NOW - 300), *THREE), "desired": 4},
            spare(through_spare((named("a", NOW - 300),))),
            OLD_EITHER,
            AGE,
            id="the other by age",
        ),
        pytest.param({"pool_failures": THREE, **BLOCKED}, spare(), ONLY_OWN, SATURATED, id="a pod that may use only the first"),
        pytest.param(
            {"pool_failures": THREE}, spare(through_spare(THREE), blocked_at=NOW - 5), ONLY_OWN, NAMED, id="the stronger of two pods"
        ),
        pytest.param(
            {"pool_failures": THREE, **BLOCKED},
            spare(),
            tuple(replace(pod, pools=("unknown", "inf2")) for pod in pods()),
            SATURATED,
            id="a NodePool that nobody knows",
        ),
    ],
)
def test_pods_that_may_use_several_node_pools_are_short_where_each_is(
    own: dict[str, Any], other: PoolObservation, waiting: tuple[PendingPod, ...], expected: tuple[Shortage, Proof | None]
) -> None:
    """A failover while the second NodePool could still launch would cost money for nothing; one pod that nothing can serve is enough."""
    changes: dict[str, Any] = {"pool_failures": (), "desired": 4, "ready": 2, **IN_ZONES, **own}
    judged = judge(change(snapshot(), **changes, pending=waiting, alternatives=(other,)))
    assert (judged.shortage, judged.proof) == expected


GONE = replace(spare(), exists=False, problem="does not exist")
NOT_READY = replace(spare(), ready=False, problem="not ready: NodeClassNotReady")
UNSUITABLE = spare(blocked_at=NOW - 50)
LAUNCHED = launched(NOW - 900, NOW - 850, claim="spare-old", pool="spare")


@pytest.mark.parametrize(
    ("other", "counts"),
    [
        pytest.param(spare(), True, id="it may launch"),
        pytest.param(GONE, False, id="it does not exist"),
        pytest.param(NOT_READY, False, id="it is not ready"),
        pytest.param(UNSUITABLE, False, id="no type suits it"),
        pytest.param(spare(blocked_at=NOW - 361), True, id="no type suited it, long ago"),
        pytest.param(replace(UNSUITABLE, launches=(LAUNCHED,)), True, id="it launched something"),
        pytest.param(replace(UNSUITABLE, failures=through_spare((named("a", NOW - 900),))), True, id="something was refused through it"),
        pytest.param(
            replace(UNSUITABLE, elsewhere=(named("a", NOW - 900, "g5.xlarge"),)),
            True,
            id="what it may launch was refused through another one",
        ),
    ],
)
def test_a_node_pool_that_can_launch_nothing_disproves_nothing(other: PoolObservation, counts: bool) -> None:
    """Karpenter passes it over, so nothing is ever refused through it: pods that name it were short for ever without a proof."""
    made = change(snapshot(), pool_failures=THREE, pool_zones=ZONES, pending=EITHER, desired=4, ready=2, alternatives=(other,))
    judged = judge(made)
    assert judged.proof is (None if counts else Proof.NAMED)
    assert any("can launch nothing and does not count" in fact for fact in judged.facts) is not counts
    assert any("not proven while nothing is refused through NodePool spare" in fact for fact in judged.facts) is counts
    assert not any("no pod waits for it" in fact for fact in judged.facts)


@pytest.mark.parametrize(
    ("said", "other", "counts"),
    [
        pytest.param(("spare", NOW - 360), spare(), False, id="none of its types suits them"),
        pytest.param(("spare", NOW - 361), spare(), True, id="said long ago"),
        pytest.param(("inf2", NOW - 50), spare(), True, id="said of the other NodePool"),
        pytest.param(
            ("spare", NOW - 50),
            replace(spare(), launches=(replace(LAUNCHED, instance_type="g6.xlarge"),)),
            False,
            id="it launched what others run on",
        ),
        pytest.param(("spare", NOW - 50), replace(spare(), launches=(LAUNCHED,)), True, id="they could run on what it launched"),
        pytest.param(("spare", NOW - 50), spare(through_spare((named("a", NOW - 900),))), True, id="what they could have was refused"),
        pytest.param(
            ("spare", NOW - 50), spare(through_spare((named("a", NOW - 900, "g6.xlarge"),))), False, id="what others could have was refused"
        ),
    ],
)
def test_a_node_pool_that_suits_none_of_the_pods_disproves_nothing(said: tuple[str, float], other: PoolObservation, counts: bool) -> None:
    """Other pods may use it, so Karpenter does not call it empty; of these pods it says that none of its types suits them."""
    waiting = tuple(replace(pod, unavailable=(said,)) for pod in EITHER)
    made = change(snapshot(), pool_failures=THREE, pool_zones=ZONES, pending=waiting, desired=4, ready=2, alternatives=(other,))
    judged = judge(change(made, pod_instance_types=("inf2.xlarge",)))
    assert judged.proof is (None if counts else Proof.NAMED)
    unable = [fact for fact in judged.facts if "can launch nothing and does not count: no instance type that suits the pods" in fact]
    assert bool(unable) is not counts


@pytest.mark.parametrize("own", [{"pool_exists": False}, {"pool_ready": False}, {"pool_blocked_at": NOW - 50}], ids=str)
@pytest.mark.parametrize(("other", "proof"), [(spare(through_spare(THREE)), Proof.NAMED), (GONE, None)], ids=["short", "unable too"])
def test_the_unit_s_own_node_pool_may_be_the_one_that_launches_nothing(
    own: dict[str, Any], other: PoolObservation, proof: Proof | None
) -> None:
    """What else launches for the pods decides. Where nothing does, nothing is refused, and that is no shortage."""
    judged = judge(change(snapshot(), **own, pending=EITHER, desired=4, ready=2, alternatives=(other,)))
    assert judged.proof is proof


@pytest.mark.parametrize(
    ("zones", "words"),
    [
        pytest.param(
            ZONES,
            "2 of 3 zones refused (us-west-2a, us-west-2c), 1 unavailable as Karpenter's metrics say (us-west-2b); "
            "proven at once if Karpenter finds nothing available in NodePool inf2, else at 08:02:35 UTC",
            id="zones of both",
        ),
        pytest.param(
            (),
            "inf2.xlarge in us-west-2a, inf2.xlarge in us-west-2c refused, the zones that count are not known; "
            "proven at once if Karpenter finds nothing available in NodePool inf2, else at 08:02:35 UTC",
            id="zones of one are not known",
        ),
    ],
)
def test_what_several_node_pools_lack_is_said_together(zones: tuple[str, ...], words: str) -> None:
    """A person reads one line for the unit: what was refused through any of them, and when age proves the last."""
    other = spare(through_spare((named("a", NOW - 50), named("c", NOW - 40))), zones=zones)
    made = change(snapshot(), pool_zones=ZONES, pool_failures=(named("a"),), pending=EITHER, desired=4, ready=2, alternatives=(other,))
    judged = judge(change(made, unavailable=gauge("b")))
    assert judged.attempts == 3
    assert judged.facts[1] == words


@pytest.mark.parametrize(("after_s", "back"), [(0, Return.NONE), (1, Return.REGISTERED)])
def test_what_is_of_the_second_of_the_last_refusal_proves_no_return(after_s: float, back: Return) -> None:
    """Kubernetes cuts times to whole seconds, so nobody knows which came first. Neither a launch nor what is remembered counts then."""
    made, at = snapshot(mode=Mode.CAPACITY), NOW - 600 + after_s
    launch = change(made, pool_launches=(launched(at, NOW - 300),))
    assert judge(launch, memory(Mode.CAPACITY, units=proven(NOW - 600))).returned is back
    kept = proven(NOW - 600, returned=Return.REGISTERED, returned_at=at)
    assert judge(made, memory(Mode.CAPACITY, units=kept)).returned is back


@pytest.mark.parametrize(
    ("own", "other", "expected"),
    [
        pytest.param((FAILED,), {}, AGE, id="Karpenter never asks the second"),
        pytest.param((replace(FAILED, at=NOW - 200),), {}, SUSPECTED, id="for less than a cycle"),
        pytest.param((create_error(NOW - 61),), {}, SATURATED, id="a quota"),
        pytest.param((create_error(NOW - 59),), {}, NOTHING, id="it may yet succeed"),
        pytest.param((FAILED,), {"launches": (launched(NOW - 100, pool="other", instance_type="x"),)}, SUSPECTED, id="the second launched"),
        pytest.param(
            (FAILED,), {"launches": (launched(NOW - 900, pool="other", instance_type="x"),)}, AGE, id="the second launched before"
        ),
        pytest.param((FAILED,), {"failures": (refused(NOW - 205, pool="other"),)}, AGE, id="the second refused: it is short by itself"),
        pytest.param((FAILED,), {"failures": (refused(NOW - 204, pool="other"),)}, SUSPECTED, id="the second refused a moment later"),
        pytest.param((refused(NOW - 290),), {}, SUSPECTED, id="after an answer of EC2 Karpenter asks the second"),
        pytest.param(
            (replace(FAILED, at=NOW - 640, stood_until=NOW - 361),),
            {},
            NOTHING,
            id="an error that is over: Karpenter has had the time to ask the second",
        ),
    ],
)
def test_while_launches_fail_through_one_nodepool_karpenter_asks_for_nothing_through_another(
    own: tuple[Refusal, ...], other: dict[str, Any], expected: tuple[Shortage, Proof | None]
) -> None:
    """Karpenter counts on a NodeClaim whose launch fails with another error than a refusal, until it gives up on it, and begins anew."""
    second = PoolObservation("other", instance_types=("inf2.xlarge",), zones=ZONES, **other)
    waiting = tuple(replace(pod, pools=("inf2", "other")) for pod in pods(since=NOW - 300))
    assert _case(own, pending=waiting, alternatives=(second,)) == expected
