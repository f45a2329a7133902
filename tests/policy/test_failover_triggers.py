"""What asks for a failover, and what does not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.policy.model import Cause, Mode, PolicySettings, Proof, Sample, UnitMemory, Verb
from controller.policy.reasons import Reason
from controller.routing.ingress.action import format_action
from tests.policy.support import INF2, TRN1, change, decide, launched, pods, refused, shortage
from tests.support.applications import COST_TARGETS, NOW, application, memory, routing, snapshot


def test_a_breach_ends_the_patience_with_a_proven_shortage() -> None:
    """Users suffer already; waiting out the patience would only make them wait."""
    made = change(shortage(), latency=Sample(2.0, NOW - 60))
    decision = decide(memory(), made)[1]
    assert (decision.verb, decision.reason) == (Verb.FAILOVER, Reason.SLO_BREACHED)


def test_the_shortage_of_a_unit_without_weight_changes_nothing() -> None:
    """Cost mode sends it no traffic, so nobody misses its capacity."""
    app = application()
    app = replace(app, units=tuple(replace(unit, weight=0 if unit.name == INF2 else unit.weight) for unit in app.units))
    targets = tuple(replace(target, weight=0) if target.service == INF2 else target for target in COST_TARGETS)
    made = shortage(snapshot(app, routing=routing(targets=targets, action=format_action(targets, 0))))
    decision = decide(memory(), made)[1]
    assert decision.evidence[INF2].short
    assert (decision.verb, decision.held_back) == (Verb.HOLD, None)


ONLY_CAPACITY = PolicySettings(trip_causes=frozenset({Cause.CAPACITY}))


def test_a_unit_that_may_cause_no_failover_lends_no_patience() -> None:
    """It was proven short an hour ago, of a cause that may not lead to a failover; the other was proven short just now."""
    made = shortage(shortage(snapshot(application(policy=ONLY_CAPACITY)), TRN1, cause=Cause.QUOTA))
    units = {TRN1: UnitMemory(NOW - 60, Cause.QUOTA, proven_at=NOW - 3600)}
    decision = decide(memory(units=units), made)[1]
    assert (decision.verb, decision.reason) == (Verb.HOLD, Reason.PATIENCE)
    assert decision.details["units"] == INF2


@pytest.mark.parametrize(("causes", "verb"), [(ONLY_CAPACITY, Verb.FALLBACK), (PolicySettings(), Verb.HOLD)])
def test_a_fallback_does_not_wait_for_a_unit_that_may_cause_no_failover(causes: PolicySettings, verb: Verb) -> None:
    """It has one of four replicas at its quota, and gets the weight of that one."""
    made = shortage(snapshot(application(policy=causes), Mode.CAPACITY), TRN1, cause=Cause.QUOTA, ready=1)
    made = change(made, TRN1, demand=Sample(1500, NOW))
    made = replace(made, units={name: one if name == TRN1 else replace(one, ready=9, desired=9) for name, one in made.units.items()})
    decision = decide(memory(Mode.CAPACITY), made)[1]
    assert decision.verb is verb
    if verb is Verb.FALLBACK:
        assert 0 < next(one.weight for one in decision.targets if one.service == TRN1) < 20


@pytest.mark.parametrize(("since_usable", "waits"), [(9, 0), (11, 1)])
def test_a_node_that_has_just_become_usable_is_still_for_its_pod(since_usable: float, waits: int) -> None:
    """The scheduler binds the pod a moment later; until then it is no unmet demand."""
    usable = launched(NOW - 300, NOW - 60, initialized=NOW - since_usable, instance_type="inf2.xlarge")
    made = change(snapshot(), pending=pods(1, NOW - 300), desired=3, pool_launches=(usable,))
    decision = decide(memory(), made)[1]
    assert decision.evidence[INF2].demand == waits
    assert (decision.reason, decision.details["pending"]) == (Reason.WAITING_IS_NORMAL, "1")


@pytest.mark.parametrize(("code", "alerts"), [("MaxSpotInstanceCountExceeded", []), ("VcpuLimitExceeded", ["cause/sd21-inf2/quota"])])
def test_a_quota_of_spot_instances_is_no_alert_while_on_demand_is_untried(code: str, alerts: list[str]) -> None:
    """Karpenter asks for on-demand instances ten seconds later."""
    made = change(shortage(cause=Cause.QUOTA, codes=(code,)), pool_blocked_at=None)
    assert [alert.key for alert in decide(memory(), made)[1].alerts] == alerts


@pytest.mark.parametrize(("gone", "proof"), [(NOW - 300, Proof.AGE), (NOW - 400, None)])
def test_a_create_error_stands_as_long_as_its_claim(gone: float, proof: Proof | None) -> None:
    """The next NodeClaim's own error counts only after a minute."""
    error = refused(NOW - 600, source="create-error", cause=Cause.NETWORK, stood_until=gone)
    made = change(snapshot(), pool_failures=(error,), pending=pods(since=NOW - 600), desired=4)
    assert decide(memory(), made)[1].evidence[INF2].proof is proof
