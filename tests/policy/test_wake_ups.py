"""When a pass is due although nothing has happened: evidence gets older, and what it proves changes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from controller.policy.decision.decide import decide
from controller.policy.decision.forecast import later
from controller.policy.evidence import JUST_AFTER_S
from controller.policy.karpenter_times import CREATE_ERROR_S, HARD_DEMAND_S, REPLACEMENT_HOLD_S
from controller.policy.model import Cause, Decision, Launch, Memory, Mode, PendingPod, PoolObservation, Refusal, Snapshot, UnitMemory
from tests.policy.support import INF2, TRN1, change, launched, pods, proven, refused
from tests.support.applications import NOW, memory, snapshot

ZONES = ("us-west-2a", "us-west-2b")
LENGTH_S = 420


def test_a_pass_is_due_when_demand_is_old_enough_to_prove_a_shortage() -> None:
    """Age alone proves it then, and no event would start one."""
    made = change(snapshot(), pending=pods(since=NOW - 200), waiting_since=NOW - 200, desired=4, pool_failures=(refused(NOW - 180),))
    decision = decide(memory(), made)[1]
    assert decision.evidence[INF2].age_at == NOW - 200 + HARD_DEMAND_S
    assert decision.next_check_s == pytest.approx(HARD_DEMAND_S - 200)


@pytest.mark.parametrize(
    ("refusal", "due_s"),
    [
        pytest.param(refused(NOW - 1, seen=NOW - 1), REPLACEMENT_HOLD_S - 1, id="of a replacement, perhaps"),
        pytest.param(refused(NOW - 20, source="create-error"), CREATE_ERROR_S - 20, id="create error"),
    ],
)
def test_a_pass_is_due_when_a_refusal_begins_to_count(refusal: Refusal, due_s: float) -> None:
    """A refusal counts once the mark of a replacement would have come, and a create error once it has lasted."""
    decision = decide(memory(), change(snapshot(), pool_failures=(refusal,)))[1]
    assert decision.next_check_s == pytest.approx(due_s)


def test_no_pass_is_due_for_each_refusal_of_a_shortage_that_lasts() -> None:
    """One each ten seconds, and pods wait: what is proven stays so, and each refusal starts a pass anyway."""
    failures = tuple(refused(NOW - 10 * i, named_type="inf2.xlarge", named_zone=ZONES[i % 2]) for i in range(60))
    made = change(snapshot(), pending=pods(since=NOW - 900), waiting_since=NOW - 900, desired=4)
    made = change(made, pool_failures=failures, pool_zones=ZONES, pool_blocked_at=NOW - 5)
    kept = memory(Mode.CAPACITY, mode_since=NOW - 86_400, units=proven(NOW - 800))
    decision = decide(kept, replace(made, routing=snapshot(mode=Mode.CAPACITY).routing))[1]
    assert decision.evidence[INF2].short
    assert decision.next_check_s is None or decision.next_check_s > 5 * REPLACEMENT_HOLD_S


@pytest.mark.parametrize("seed", range(16))
def test_between_two_passes_that_are_due_nothing_else_would_be_decided(seed: int) -> None:
    """Of random situations: the last decision is what would be decided at any time until the next."""
    chance = Random(f"situation {seed}")
    kept, made = _drawn(chance)
    decision, due = None, 0.0
    for at in sorted(chance.uniform(0.0, LENGTH_S) for _ in range(120)):
        while decision is None or due <= at:
            kept, decision = decide(kept, later(made, due))
            due = due + decision.next_check_s + JUST_AFTER_S if decision.next_check_s is not None else math.inf
        assert _said(decide(kept, later(made, at))[1]) == _said(decision), f"{at} s, the next pass is due at {due} s"


def test_the_situations_change_by_age() -> None:
    """Else nothing would be due."""
    said = []
    for seed in range(16):
        kept, made = _drawn(Random(f"situation {seed}"))
        said.append({_said(decide(kept, later(made, float(second)))[1]) for second in range(0, LENGTH_S, 40)})
    assert sum(len(one) > 1 for one in said) >= 12


def _said(decision: Decision) -> tuple[object, ...]:
    """What is decided, and what is proven of each unit."""
    return (
        decision.verb,
        decision.mode,
        decision.reason,
        decision.targets,
        *((one.shortage, one.proof, one.demand, one.cause, one.missing, one.age_at, one.returned) for one in decision.evidence.values()),
    )


def _drawn(chance: Random) -> tuple[Memory, Snapshot]:
    """What two units may have met within ten minutes."""
    mode = chance.choice((Mode.COST, Mode.COST, Mode.CAPACITY))
    made = snapshot(mode=mode)
    units: dict[str, UnitMemory] = {}
    for name, pool in ((INF2, "inf2"), (TRN1, "trn1")):
        observed = made.units[name]
        waiting = tuple(_waiting(chance, pool)) if chance.random() < 0.8 else ()
        seen = replace(observed.pool, **_pool(chance, observed.pool, made.application.unit(name).instance_type))
        ready = chance.randint(1, 4)
        made = change(made, name, pending=waiting, desired=ready + len(waiting), ready=ready)
        made = replace(made, units={**made.units, name: replace(made.units[name], pool=seen)})
        if mode is Mode.CAPACITY and chance.random() < 0.7:
            units |= {name: proven(NOW - chance.uniform(60.0, 1200.0))[INF2]}
    return memory(mode, mode_since=NOW - chance.uniform(0.0, 4000.0), units=units), made


def _waiting(chance: Random, pool: str) -> Iterator[PendingPod]:
    for number in range(chance.randint(1, 3)):
        since = NOW - chance.choice((5.0, 40.0, 150.0, 500.0)) * chance.uniform(0.5, 1.0)
        said = ((pool, NOW - chance.uniform(0.0, 300.0)),) if chance.random() < 0.3 else ()
        yield PendingPod(f"{pool}-pod-{number}", since, unavailable=said, unplaced_at=said[0][1] if said else None)


def _pool(chance: Random, pool: PoolObservation, instance_type: str) -> dict[str, Any]:
    failures = tuple(_refused(chance, pool.name, instance_type, i) for i in range(chance.choice((0, 1, 2, 6))))
    launches = tuple(_launched(chance, pool.name, instance_type, i) for i in range(chance.choice((0, 0, 1, 2))))
    blocked_at = NOW - chance.uniform(0.0, 400.0) if chance.random() < 0.4 else None
    return {"failures": failures, "launches": launches, "blocked_at": blocked_at, "zones": ZONES}


def _refused(chance: Random, pool: str, instance_type: str, number: int) -> Refusal:
    at = NOW - chance.choice((10.0, 100.0, 200.0, 400.0)) * chance.uniform(0.2, 1.0)
    kind = chance.choice(("event", "event", "event", "create-error", "interrupted", "unlaunched"))
    stood = NOW - chance.uniform(0.0, NOW - at) if kind == "create-error" else None
    named: dict[str, Any] = {"named_type": instance_type, "named_zone": chance.choice(ZONES)} if kind == "event" else {}
    return refused(
        at,
        claim=f"{pool}-{number}",
        pool=pool,
        cause=chance.choice((Cause.CAPACITY, Cause.CAPACITY, Cause.QUOTA, Cause.NETWORK, Cause.CONFIG)),
        instance_types=(instance_type,),
        seen=at + chance.uniform(0.0, 1.0),
        replacement=chance.random() < 0.1,
        source=kind,
        stood_until=stood,
        **named,
    )


def _launched(chance: Random, pool: str, instance_type: str, number: int) -> Launch:
    created = NOW - chance.choice((100.0, 300.0, 880.0)) * chance.uniform(0.3, 1.0)
    return launched(
        created, created + 10.0, claim=f"{pool}-new-{number}", pool=pool, instance_type=instance_type, initialized=created + 15.0
    )
