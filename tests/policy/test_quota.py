"""A quota is a ceiling: what it allows is enough as soon as the demand fits under it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controller.policy.decide import decide
from controller.policy.demand import capacity_floors, total_demand
from controller.policy.model import Cause, Mode, PendingPod, Return, Sample, Snapshot, UnitEvidence
from tests.policy.support import INF2, change, judge, pods, proven, refused, scaler, shortage, with_scalers
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


@pytest.mark.parametrize(
    ("found", "remembered"),
    [
        pytest.param(made(400.0), {}, id="the demand asks for more"),
        pytest.param(made(20.0, waiting=pods(1)), {}, id="a pod waits"),
        pytest.param(made(None), {}, id="the demand is not known"),
        pytest.param(made(20.0, cause=Cause.CAPACITY), {}, id="EC2 was out of it as well"),
        pytest.param(made(20.0), {"cause": Cause.CAPACITY}, id="it was an outage"),
    ],
)
def test_it_is_not_over(found: Snapshot, remembered: dict[str, Any]) -> None:
    """Nothing proves that cost mode would do."""
    assert judged(found, **remembered).returned is Return.NONE


def test_nothing_is_probed_beyond_what_is_needed() -> None:
    """The probe would wait for what the quota forbids, and be the demand that keeps the unit short."""
    quiet = made(100.0)
    evidence, floors = decide(memory(Mode.CAPACITY, units=UNITS), quiet)[1].evidence, {}
    for cause in (Cause.QUOTA, Cause.CAPACITY):
        full = replace(evidence[INF2], cause=cause, returned=Return.NONE, ready=3, needed=3)
        floors[cause] = capacity_floors(quiet, {**evidence, INF2: full}, total_demand(quiet), entering=False)[INF2]
    assert floors == {Cause.QUOTA: 3, Cause.CAPACITY: 4}


def test_people_hear_code_value_use_and_where_to_raise_it() -> None:
    """All that a person needs to act."""
    note = "On-Demand vCPU quota L-1945791B 64, 60 in use: 4 left"
    found = change(shortage(**QUOTA), notes=(note,), scaler=scaler())
    (alert,) = decide(memory(), found)[1].alerts
    assert alert.key == "cause/sd21-inf2/quota"
    for words in ("VcpuLimitExceeded", note, "Service Quotas > Amazon EC2 > Running On-Demand instances", "2 of the"):
        assert words in alert.text


def test_a_limit_of_a_node_pool_is_raised_on_the_node_pool() -> None:
    """Not in Service Quotas."""
    found = change(snapshot(), pool_at_limit="limit of cpu reached: 32 of 32", pending=pods(), desired=4)
    (alert,) = decide(memory(), found)[1].alerts
    assert "limit of cpu reached: 32 of 32" in alert.text
    assert "spec.limits of NodePool inf2" in alert.text
    assert "Service Quotas" not in alert.text
