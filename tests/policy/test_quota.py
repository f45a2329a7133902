"""A quota is a ceiling: what it allows is enough as soon as the demand fits under it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controller.policy.evidence import only_spot, quota_words
from controller.policy.evidence.quota import fits
from controller.policy.model import Cause, Mode, PendingPod, Return, Sample, Shortage, Snapshot, UnitEvidence
from tests.policy.support import INF2, capacity_floors, change, decide, judge, pods, proven, refused, scaler, shortage, with_scalers
from tests.support.applications import NOW, memory, snapshot

QUOTA: dict[str, Any] = {"cause": Cause.QUOTA, "codes": ("VcpuLimitExceeded",)}
UNITS = {INF2: replace(proven(NOW - 7200)[INF2], cause=Cause.QUOTA, ready_then=2)}


def made(demand: float | None, ready: int = 2, waiting: tuple[PendingPod, ...] = (), **refusal: Any) -> Snapshot:
    """Capacity mode after a quota: `ready` replicas run, and each unit gets `demand` requests a period."""
    found = with_scalers(snapshot(mode=Mode.CAPACITY))
    for name in found.units:
        found = change(found, name, demand=None if demand is None else Sample(demand, NOW))
    failures = (refused(NOW - 60, **{**QUOTA, **refusal}),)
    return change(found, pool_failures=failures, ready=ready, desired=ready + len(waiting), pending=waiting)


def judged(found: Snapshot, **remembered: Any) -> UnitEvidence:
    units = {INF2: replace(UNITS[INF2], **remembered)}
    return judge(found, memory(Mode.CAPACITY, units=units))


def test_it_is_over_as_soon_as_the_demand_fits() -> None:
    """Although the last refusal is a minute old: it says only that there is no more."""
    found = judged(made(20.0))
    assert (found.needed, found.ready, found.returned, found.returned_at) == (1, 2, Return.REPLICAS_READY, NOW)
    assert judged(made(20.0), returned=Return.REPLICAS_READY, returned_at=NOW - 30).returned_at == NOW - 30
    assert judged(made(20.0), returned=Return.REPLICAS_READY, returned_at=NOW - 8000).returned_at == NOW, "it was refused again since"


@pytest.mark.parametrize(
    ("found", "remembered"),
    [
        pytest.param(made(400.0), {}, id="the demand asks for more"),
        pytest.param(made(20.0, waiting=pods(1)), {}, id="a pod waits"),
        pytest.param(change(made(20.0), desired=3), {}, id="a replica is still to come"),
        pytest.param(made(None), {}, id="the demand is not known"),
        pytest.param(made(20.0, cause=Cause.CAPACITY), {}, id="EC2 was out of it as well"),
        pytest.param(made(20.0), {"cause": Cause.CAPACITY}, id="it was an outage"),
    ],
)
def test_it_is_not_over(found: Snapshot, remembered: dict[str, Any]) -> None:
    """Nothing proves that cost mode would do."""
    assert judged(found, **remembered).returned is Return.NONE


@pytest.mark.parametrize(
    ("ready", "desired", "needed", "expected"),
    [(0, None, 0, True), (2, None, 2, True), (2, 2, 3, False), (2, 3, 2, False), (3, 3, 2, True), (None, 2, 2, False)],
)
def test_a_unit_has_enough_only_with_all_that_are_wanted(ready: int | None, desired: int | None, needed: int, *, expected: bool) -> None:
    """Both by the weights and by the Deployment; a unit that is not asked for anything has enough, and what is not known is not enough."""
    found = change(made(20.0), ready=ready, desired=desired)
    assert fits(found.units[INF2], UNITS[INF2], found.units[INF2].pool.failures, needed, found) is expected


def test_nothing_is_probed_beyond_what_is_needed() -> None:
    """The probe would wait for what the quota forbids, and be the demand that keeps the unit short."""
    quiet = made(100.0)
    evidence, floors = decide(memory(Mode.CAPACITY, units=UNITS), quiet)[1].evidence, {}
    for cause in (Cause.QUOTA, Cause.CAPACITY):
        full = replace(evidence[INF2], cause=cause, returned=Return.NONE, ready=3, needed=3)
        floors[cause] = capacity_floors(quiet, {**evidence, INF2: full})[INF2]
    assert floors == {Cause.QUOTA: 3, Cause.CAPACITY: 4}


def test_people_hear_code_value_use_and_where_to_raise_it() -> None:
    """All that a person needs to act."""
    note = "On-Demand vCPU quota L-1945791B 64, 60 in use: 4 left"
    found = change(shortage(**QUOTA), notes=(note,), scaler=scaler())
    (alert,) = decide(memory(), found)[1].alerts
    assert alert.key == "cause/sd21-inf2/quota"
    for words in ("VcpuLimitExceeded", note, "Service Quotas > Amazon EC2 > Running On-Demand instances", "2 of the"):
        assert words in alert.text


_NOTE = "On-Demand vCPU quota L-1945791B 64, 60 in use: 4 left"
_VCPUS = "Service Quotas > Amazon EC2 > Running On-Demand instances of the family (vCPUs)"
_LIMIT = "limit of cpu reached: 32 of 32"
_POOL = "spec.limits of NodePool inf2"
_UNKNOWN = "its value and use are not known"


@pytest.mark.parametrize(
    ("codes", "truncated", "at_limit", "said", "where"),
    [
        pytest.param(("VcpuLimitExceeded",), False, "", f"VcpuLimitExceeded: {_NOTE}", _VCPUS, id="one"),
        pytest.param(("VcpuLimitExceeded",), True, "", f"at least VcpuLimitExceeded: {_NOTE}", _VCPUS, id="a message that was cut"),
        pytest.param(("SomeNewQuota",), False, "", f"SomeNewQuota: {_UNKNOWN}", "Service Quotas", id="a code that is not known"),
        pytest.param(
            ("VcpuLimitExceeded", "InstanceLimitExceeded"),
            False,
            "",
            f"VcpuLimitExceeded, InstanceLimitExceeded: {_NOTE}",
            _VCPUS,
            id="two of one place",
        ),
        pytest.param(("NodePoolLimit",), False, _LIMIT, f"NodePoolLimit: {_LIMIT}", _POOL, id="the NodePool's own"),
        pytest.param(("VcpuLimitExceeded",), False, _LIMIT, f"VcpuLimitExceeded: {_NOTE}", _VCPUS, id="the NodePool's is not in its way"),
        pytest.param(("NodePoolLimit",), False, "", f"NodePoolLimit: {_UNKNOWN}", "Service Quotas", id="the NodePool's no longer"),
        pytest.param(
            ("VcpuLimitExceeded", "NodePoolLimit"),
            False,
            _LIMIT,
            f"VcpuLimitExceeded, NodePoolLimit: {_NOTE}; {_LIMIT}",
            f"{_VCPUS}, {_POOL}",
            id="both",
        ),
    ],
)
def test_a_person_reads_what_is_full_and_raises_it_in_the_right_place(
    codes: tuple[str, ...], *, truncated: bool, at_limit: str, said: str, where: str
) -> None:
    """A figure of a quota that is not full, or the wrong console page, costs an hour of an outage."""
    found = change(shortage(**QUOTA), notes=("a reservation ends soon", _NOTE), pool_at_limit=at_limit)
    evidence = replace(judge(found), codes=codes, truncated=truncated, ready=2, needed=5)
    assert quota_words(evidence, found.units[INF2]) == (
        f"a quota or limit is reached ({said}), and waiting does not help. 2 of the 5 replicas that cost mode needs are ready. "
        f"Raise it: {where}; or the demand fits under it again"
    )


@pytest.mark.parametrize(
    ("codes", "spot"),
    [
        (("MaxSpotInstanceCountExceeded",), True),
        (("SpotQuotaExceeded", "MaxSpotInstanceCountExceeded"), True),
        (("SpotQuotaExceeded", "VcpuLimitExceeded"), False),
        (("SomeNewQuota",), False),
    ],
)
def test_a_quota_of_spot_instances_alone_wakes_nobody(codes: tuple[str, ...], *, spot: bool) -> None:
    """Karpenter asks for on-demand instances next; once the unit is proven short, that did not help either."""
    found = judge(shortage(**QUOTA))
    assert found.short
    assert only_spot(replace(found, codes=codes, shortage=Shortage.SUSPECTED)) is spot
    assert not only_spot(replace(found, codes=codes))


def test_a_limit_of_a_node_pool_is_raised_on_the_node_pool() -> None:
    """Not in Service Quotas."""
    found = change(snapshot(), pool_at_limit="limit of cpu reached: 32 of 32", pending=pods(), desired=4)
    (alert,) = decide(memory(), found)[1].alerts
    assert "limit of cpu reached: 32 of 32" in alert.text
    assert "spec.limits of NodePool inf2" in alert.text
    assert "Service Quotas" not in alert.text
