"""The parts of a proof, each at its limits: what a refusal names, whom it is about, and which launch ends it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controller.policy.evidence import ALL_UNAVAILABLE, Ages, created_after
from controller.policy.evidence.proof import RETRY_S, Allowed, Finding, examine, named_offerings
from controller.policy.karpenter_times import HARD_DEMAND_S, ICE_CACHE_S
from controller.policy.model import Cause, PendingPod, PolicySettings, PoolObservation, Proof, Refusal
from tests.policy.support import launched, refused
from tests.support.applications import NOW

A, B = "us-west-2a", "us-west-2b"
SMALL, LARGE = "inf2.xlarge", "inf2.8xlarge"
POLICY = PolicySettings()
ONE = Allowed((SMALL,), ((A, B),))
TWO = Allowed((SMALL, LARGE), ((A, B), (B,)))


@pytest.mark.parametrize(
    ("created", "order", "refusal", "after"),
    [
        pytest.param(NOW + 1, 0, {}, True, id="a second later"),
        pytest.param(NOW, 0, {}, False, id="in the same second"),
        pytest.param(NOW + 1, 0, {"stamp": NOW + 1}, False, id="the cluster's stamp counts, not ours"),
        pytest.param(NOW + 1, 0, {"stamp": NOW - 9}, True, id="and also where it is earlier"),
        pytest.param(NOW, 8, {"order": 7}, True, id="delivered later"),
        pytest.param(NOW + 1, 7, {"order": 7}, False, id="delivered together"),
        pytest.param(NOW + 5, 6, {"order": 7}, False, id="delivered before, and clocks of one cluster may differ"),
        pytest.param(NOW + 6, 6, {"order": 7}, True, id="delivered before, because the events came late"),
        pytest.param(NOW - 5, 8, {"order": 7}, True, id="delivered later, and clocks of one cluster may differ"),
        pytest.param(NOW - 6, 8, {"order": 7}, False, id="delivered later, and too old for that"),
        pytest.param(NOW + 1, 0, {"order": 7}, True, id="only the refusal's order is known"),
        pytest.param(NOW, 8, {}, False, id="only the launch's order is known"),
        pytest.param(NOW + 2, 8, {"order": 7, "created": NOW}, False, id="of one batch with the refused NodeClaim"),
        pytest.param(NOW + 3, 8, {"order": 7, "created": NOW}, True, id="of the next batch"),
        pytest.param(NOW + 3, 0, {"stamp": NOW + 3, "created": NOW}, False, id="of the next batch, before the refusal"),
    ],
)
def test_which_launch_came_after_a_refusal(created: float, order: int, refusal: dict[str, Any], *, after: bool) -> None:
    """A grant of the same batch that ended its refusals would hide a shortage; one that ended none would keep a shortage that is over."""
    assert created_after(launched(created, order=order), refused(NOW, **refusal)) is after


@pytest.mark.parametrize(
    ("refusal", "allowed", "kinds", "named"),
    [
        pytest.param({"named_type": SMALL, "named_zone": A}, ONE, ("spot",), [(SMALL, A, "spot")], id="what its message says"),
        pytest.param({"offerings": ((SMALL, A), (LARGE, B))}, TWO, ("spot",), [(SMALL, A, "spot"), (LARGE, B, "spot")], id="all of it"),
        pytest.param({"named_type": SMALL}, ONE, ("spot",), [], id="a type without a zone"),
        pytest.param({"named_zone": A}, ONE, ("spot",), [], id="a zone without a type"),
        pytest.param({"zones": (A,)}, ONE, ("spot",), [(SMALL, A, "spot")], id="the only thing that its claim left open"),
        pytest.param({"zones": (A, B)}, ONE, ("spot",), [], id="two zones were open"),
        pytest.param(
            {"zones": (A,), "instance_types": (SMALL, LARGE)}, ONE, ("spot",), [], id="a type was open that the unit may not have"
        ),
        pytest.param({"zones": (A,), "instance_types": ()}, TWO, ("spot",), [], id="two types were open"),
        pytest.param({"instance_types": ()}, Allowed((SMALL,), ((A,),)), ("spot",), [(SMALL, A, "spot")], id="nothing else is allowed"),
        pytest.param({"instance_types": (LARGE,)}, TWO, ("spot",), [(LARGE, B, "spot")], id="a type that is sold in one zone"),
        pytest.param({"instance_types": ("g5.xlarge",)}, ONE, ("spot",), [], id="no type that the unit may have was open"),
        pytest.param({"zones": (A,), "requirements_known": False}, ONE, ("spot",), [], id="its claim was never seen"),
        pytest.param({"zones": (A,), "inexact": ("zones",)}, ONE, ("spot",), [], id="its claim does not list all zones"),
        pytest.param({"zones": (A,), "inexact": ("instance_types",)}, ONE, ("spot",), [], id="its claim does not list all types"),
        pytest.param(
            {"offerings": ((SMALL, A),), "capacity_types": ("on-demand", "spot"), "inexact": ("instance_types", "zones")},
            ONE,
            ("spot", "on-demand"),
            [(SMALL, A, "spot")],
            id="its claim lists the capacity types at least",
        ),
        pytest.param(
            {"offerings": ((SMALL, A),), "capacity_types": ("spot",), "inexact": ("capacity_types",)},
            ONE,
            ("spot", "on-demand"),
            [],
            id="its claim does not list all capacity types",
        ),
        pytest.param(
            {"offerings": ((SMALL, A),), "requirements_known": False, "pool_capacity_types": ("spot",)},
            ONE,
            ("spot", "on-demand"),
            [(SMALL, A, "spot")],
            id="its claim was never seen, and its NodePool has one capacity type",
        ),
        pytest.param(
            {"offerings": ((SMALL, A),), "requirements_known": False, "pool_capacity_types": ("on-demand", "spot")},
            ONE,
            ("on-demand",),
            [],
            id="its claim was never seen, and its NodePool has two capacity types",
        ),
        pytest.param({"zones": (A,), "source": "create-error"}, ONE, ("spot",), [], id="a create error names nothing"),
        pytest.param({"zones": (A,)}, ONE, ("spot", "on-demand"), [], id="either capacity type"),
        pytest.param(
            {"zones": (A,), "capacity_types": ("on-demand", "spot")}, ONE, ("spot", "on-demand"), [(SMALL, A, "spot")], id="spot first"
        ),
        pytest.param(
            {"zones": (A,), "capacity_types": ("on-demand", "spot", "reserved")},
            ONE,
            ("spot", "on-demand", "reserved"),
            [(SMALL, A, "reserved")],
            id="a reservation before both",
        ),
        pytest.param(
            {"zones": (A,), "capacity_types": ("on-demand", "reserved")},
            replace(ONE, reserved=frozenset()),
            ("on-demand",),
            [(SMALL, A, "on-demand")],
            id="no reservation has a free instance",
        ),
        pytest.param(
            {"zones": (A,), "capacity_types": ("on-demand", "reserved")}, ONE, ("on-demand",), [(SMALL, A, "reserved")], id="not known"
        ),
        pytest.param(
            {"zones": (A,), "codes": ("ReservationCapacityExceeded",), "capacity_types": ("spot",)},
            ONE,
            ("spot",),
            [(SMALL, A, "reserved")],
            id="a reservation's own code",
        ),
        pytest.param({"zones": (A,), "capacity_types": ("future",)}, ONE, ("spot",), [(SMALL, A, "future")], id="a new capacity type"),
        pytest.param({"zones": (A,), "capacity_types": ("x", "y")}, ONE, ("spot",), [], id="two that nobody knows"),
    ],
)
def test_what_one_refusal_names(
    refusal: dict[str, Any], allowed: Allowed, kinds: tuple[str, ...], named: list[tuple[str, str, str]]
) -> None:
    """An offering that counts as named without having been refused makes a failover that nobody needs."""
    assert list(named_offerings(refused(NOW, **refusal), allowed, kinds)) == named


def test_what_a_unit_may_have() -> None:
    """By type, with the zones in which each is sold; where zones are not known, any may be."""
    assert (TWO.zones_of(SMALL), TWO.zones_of(LARGE), TWO.zones_of("g5.xlarge")) == ((A, B), (B,), ())
    assert TWO.asked_for == ((SMALL, (A, B)), (LARGE, (B,)))
    assert replace(TWO, beyond_limit=(SMALL,)).asked_for == ((LARGE, (B,)),)
    anywhere = Allowed((SMALL,), ((),))
    for types, zones, of_two, of_any in (
        ((), (), True, True),
        ((LARGE,), (A,), False, False),
        ((LARGE,), (B,), True, False),
        ((SMALL,), (A, "us-west-2c"), True, True),
        ((), ("us-west-2c",), False, True),
        (("g5.xlarge",), (), False, False),
    ):
        assert TWO.concerns(types, zones) is of_two
        assert anywhere.concerns(types, zones) is of_any
    assert TWO.suits(launched(NOW))
    assert TWO.suits(launched(NOW, instance_type=SMALL, zone=A))
    assert not TWO.suits(launched(NOW, instance_type=LARGE, zone=A))
    assert TWO.suits(launched(NOW, zone=A))
    assert not TWO.suits(launched(NOW, zone="us-west-2c"))
    on_demand = replace(TWO, capacity_types=("on-demand",))
    assert [on_demand.suits(launched(NOW, capacity_type=kind)) for kind in ("", "on-demand", "spot")] == [True, True, False]
    assert TWO.suits(launched(NOW, capacity_type="spot"))


def _pool(*failures: Refusal, **changes: Any) -> PoolObservation:
    return replace(PoolObservation("inf2", failures=failures), **changes)


def _waiting(ago: float = 90) -> tuple[PendingPod, ...]:
    return (PendingPod("young", NOW - 10), PendingPod("old", NOW - ago))


def _examined(pool: PoolObservation, allowed: Allowed = ONE, ago: float = 90, since: float | None = None) -> Finding:
    return examine(pool, allowed, _waiting(ago), POLICY, Ages(NOW), since)


def test_a_finding_is_whole() -> None:
    """People read how far a proof is; each part of it is of this NodePool and of what the unit may have."""
    first = refused(NOW - 60, named_type=SMALL, named_zone=A)
    hard_at, cached_at = NOW - 90 + HARD_DEMAND_S, NOW - 60 + ICE_CACHE_S + RETRY_S
    required = tuple((SMALL, zone, "on-demand") for zone in (A, B))
    found = _examined(_pool(first))
    assert found == Finding(None, (first,), required[:1], required, max(hard_at, cached_at))
    assert found.missing == required[1:]
    gauge = replace(ONE, unavailable=required)
    assert _examined(_pool(first), gauge) == replace(found, proof=Proof.NAMED, unavailable=required[1:])
    assert _examined(_pool(first), replace(ONE, more=True)) == replace(found, named=(), required=())
    assert _examined(_pool(first), replace(ONE, zones=((),))) == replace(found, named=(), required=())
    both = tuple((SMALL, zone, kind) for zone in (A, B) for kind in ("spot", "on-demand"))
    assert _examined(_pool(first), replace(ONE, capacity_types=("spot", "on-demand"))).required == both
    reserved = replace(ONE, capacity_types=("reserved", "on-demand"), reserved=frozenset({(SMALL, B)}))
    assert _examined(_pool(first), reserved).required == (required[0], (SMALL, B, "reserved"), required[1])
    unseen = replace(reserved, reserved=None)
    assert len(_examined(_pool(first), unseen).required) == 4
    spot = replace(first, capacity_types=("spot",))
    assert _examined(_pool(spot)).required == tuple((SMALL, zone, "spot") for zone in (A, B))


@pytest.mark.parametrize(
    ("first", "ago", "since", "age_at"),
    [
        pytest.param(60, 90, None, NOW + 150, id="demand of four minutes"),
        pytest.param(10, 200, None, NOW + 195, id="a cycle since the first refusal, and the next answer"),
        pytest.param(270, 90, None, NOW + 150, id="a refusal just in the cache when pods began to wait"),
        pytest.param(271, 90, None, NOW + 200, id="one that had left it: the next one counts"),
        pytest.param(60, 90, NOW - 400, NOW + 145, id="pods that were replaced waited before"),
    ],
)
def test_when_age_alone_proves_it(first: float, ago: float, since: float | None, age_at: float) -> None:
    """People plan with that time, and a failover comes at it: neither a second early, nor put off by each new refusal."""
    failures = (refused(NOW - first, claim="first"), refused(NOW - 5, claim="last", zones=(A,)))
    assert _examined(_pool(*failures), ago=ago, since=since).age_at == age_at


@pytest.mark.parametrize(("now", "proof"), [(-0.5, None), (0.0, Proof.AGE)])
def test_age_proves_it_from_that_moment_on(now: float, proof: Proof | None) -> None:
    """Not in the pass before."""
    pods = (PendingPod("a", NOW - HARD_DEMAND_S),)
    failures = (refused(NOW - 300, stood_until=NOW, source="create-error"),)
    assert examine(_pool(*failures), ONE, pods, POLICY, Ages(NOW + now)).proof is proof
    assert examine(_pool(at_limit="full"), ONE, pods, POLICY, Ages(NOW + now)) == Finding(proof, age_at=NOW)
    assert examine(_pool(), ONE, pods, POLICY, Ages(NOW + now)) == Finding(None)
    assert examine(_pool(*failures), ONE, (), POLICY, Ages(NOW + now)).age_at is None


WIDE = replace(ONE, capacity_types=("on-demand",))


@pytest.mark.parametrize(
    ("refusal", "allowed", "saturated"),
    [
        pytest.param({}, WIDE, True, id="of a claim without restrictions"),
        pytest.param({"codes": ("InsufficientInstanceCapacity",)}, WIDE, False, id="one answer of EC2"),
        pytest.param({"requirements_known": False}, WIDE, False, id="its claim was never seen"),
        pytest.param({"inexact": ("zones",)}, WIDE, False, id="its claim does not list all zones"),
        pytest.param({"pool_capacity_types": ("spot",)}, WIDE, False, id="through a NodePool of spot instances"),
        pytest.param({"instance_types": (SMALL, LARGE)}, WIDE, True, id="more types than the unit may have"),
        pytest.param({"instance_types": (SMALL,)}, TWO, False, id="one type of two"),
        pytest.param({"instance_types": (SMALL,)}, replace(TWO, beyond_limit=(LARGE,)), True, id="the other is beyond the limit"),
        pytest.param({"zones": (A, B)}, WIDE, True, id="all zones"),
        pytest.param({"zones": (A,)}, WIDE, False, id="one zone of two"),
        pytest.param({"zones": (A, B)}, replace(WIDE, zones=((),)), False, id="zones that are not known"),
        pytest.param({"capacity_types": ("on-demand", "spot")}, WIDE, True, id="more capacity types than the unit may have"),
        pytest.param({"capacity_types": ("on-demand",)}, WIDE, True, id="just the one that it may have"),
        pytest.param({"capacity_types": ("on-demand",)}, replace(ONE, capacity_types=("on-demand", "spot")), False, id="one of two"),
    ],
)
def test_a_launch_that_asked_for_all_that_a_unit_may_have(refusal: dict[str, Any], allowed: Allowed, *, saturated: bool) -> None:
    """Only then nothing is left to ask for: a part of it proves a part."""
    changes: dict[str, Any] = {"codes": (ALL_UNAVAILABLE,), "instance_types": (), **refusal}
    found = _examined(_pool(refused(NOW - 60, **changes)), allowed)
    assert (found.proof is Proof.SATURATED) is saturated
    error = refused(NOW - 60, **{**changes, "codes": ("VCPULimitExceeded",)}, source="create-error", cause=Cause.QUOTA)
    if "codes" not in refusal:
        assert (_examined(_pool(error), allowed).proof is Proof.SATURATED) is saturated
        assert _examined(_pool(replace(error, cause=Cause.NETWORK)), allowed).proof is None


@pytest.mark.parametrize(
    ("refusal", "allowed", "counts"),
    [
        pytest.param({"capacity_types": ("spot",)}, replace(ONE, capacity_types=("on-demand",)), False, id="only spot"),
        pytest.param({"capacity_types": ("spot",)}, ONE, True, id="spot, and the NodePool's are not known"),
        pytest.param(
            {"capacity_types": ("spot",), "requirements_known": False}, replace(ONE, capacity_types=("on-demand",)), True, id="not seen"
        ),
        pytest.param(
            {"pool_capacity_types": ("spot",), "requirements_known": False},
            replace(ONE, capacity_types=("on-demand",)),
            False,
            id="not seen, through a NodePool of spot instances",
        ),
        pytest.param(
            {"capacity_types": ("spot",), "inexact": ("zones",)},
            replace(ONE, capacity_types=("on-demand",)),
            False,
            id="only spot, and its claim does not list all zones",
        ),
        pytest.param({"offerings": ((SMALL, "us-west-2c"),)}, ONE, False, id="it names another zone"),
        pytest.param({"offerings": ((SMALL, "us-west-2c"), (SMALL, A))}, ONE, True, id="it names one of the zones"),
        pytest.param({"offerings": ((SMALL, "us-west-2c"),), "truncated": True}, ONE, True, id="and perhaps others: it was cut"),
        pytest.param({"instance_types": ("g5.xlarge",)}, ONE, False, id="another type"),
    ],
)
def test_whom_a_refusal_is_about(refusal: dict[str, Any], allowed: Allowed, *, counts: bool) -> None:
    """Capacity that a unit may not use anyway is none that it lacks."""
    made = refused(NOW - 60, **refusal)
    assert _examined(_pool(made), allowed).refusals == ((made,) if counts else ())


def test_refusals_stand_in_the_order_in_which_they_came() -> None:
    """Equal inputs give equal words: the oldest first, those of one second by their claims."""
    late, b, a = refused(NOW - 10, claim="x"), refused(NOW - 60, claim="b"), refused(NOW - 60, claim="a")
    assert _examined(_pool(late, b, a)).refusals == (a, b, late)
    assert _examined(_pool(late, elsewhere=(b,))).refusals == (b, late)
    assert examine(_pool(late, elsewhere=(b,)), ONE, (), POLICY, Ages(NOW)).refusals == (late,)
