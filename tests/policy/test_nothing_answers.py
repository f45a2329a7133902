"""Traffic that goes to a Service with nothing behind it moves at once to the mode that can serve: nothing can be lost by that."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controller.policy.model import (
    Cause,
    Decision,
    GuardResult,
    Mode,
    ModeChange,
    Override,
    RoutingStyle,
    Snapshot,
    Target,
    UnitMemory,
    Verb,
    Verdict,
    Verification,
)
from controller.policy.reasons import Reason
from tests.policy.support import applied, decide
from tests.support.applications import COST_TARGETS, COUNTED, NOW, SERVICES, application, memory, routing, snapshot

ALL = "sd21-all"


def units_with(found: Snapshot, names: tuple[str, ...], **changes: Any) -> Snapshot:
    return replace(found, units={**found.units, **{name: replace(found.units[name], **changes) for name in names}})


def without_capacity_service(**changes: Any) -> Snapshot:
    """Capacity mode, a minute after its Service was deleted: the load balancer answers by itself, the units' targets are healthy."""
    routed = routing(Mode.CAPACITY)
    problem = "critical: HTTP:80 /* answers every request with a fixed 503 (Backend service does not exist)"
    seen = Verification(Verdict.NOT_YET, NOW, problem, routed.action, healthy=dict.fromkeys(SERVICES, 2), counted=COUNTED)
    return snapshot(
        mode=Mode.CAPACITY,
        routing=replace(routed, capacity_exists=False, capacity_ready=None, bound=SERVICES, verification=seen, **changes),
    )


def decided(found: Snapshot, mode: Mode, **remembered: Any) -> Decision:
    return decide(memory(mode, **remembered), found)[1]


def held(decision: Decision) -> GuardResult | None:
    return next((one for one in decision.guards if not one.passed), None)


def test_a_deleted_capacity_service_ends_capacity_mode_without_a_proof_of_return() -> None:
    """The units are short for all that anybody knows, the dwell has just begun and the budget of mode changes is spent."""
    short = {"sd21-inf2": UnitMemory(NOW - 30, Cause.CAPACITY)}
    spent = tuple(ModeChange(NOW - 60 * ago, Mode.CAPACITY, Reason.SHORTAGE_PROVEN, "", "") for ago in (4, 3, 2, 1))
    decision = decided(without_capacity_service(), Mode.CAPACITY, mode_since=NOW - 60, units=short, mode_changes=spent)
    assert (decision.verb, decision.mode, decision.reason) == (Verb.FALLBACK, Mode.COST, Reason.NOTHING_ANSWERS)
    assert decision.targets == COST_TARGETS
    assert "Service sd21-all does not exist" in decision.sentence


def test_the_way_back_to_capacity_mode_is_closed_until_its_service_is_back() -> None:
    """Else the traffic of a short unit would be sent where nothing is."""
    found = snapshot(routing=replace(routing(), capacity_exists=False, capacity_ready=None))
    pinned = replace(found, routing=replace(found.routing, override=Override(pinned_mode=Mode.CAPACITY, pinned_why="a test")))
    decision = decided(pinned, Mode.COST)
    assert decision.verb is Verb.HOLD
    assert decision.reason is Reason.STANDBY_NOT_READY


@pytest.mark.parametrize(
    "changes",
    [
        {"override": Override(paused_until=NOW + 60, paused_why="a test")},
        {"override": Override(pinned_mode=Mode.CAPACITY, pinned_why="a test")},
    ],
)
def test_a_person_who_paused_or_pinned_it_still_decides(changes: dict[str, Any]) -> None:
    """An override is somebody's choice. The alert says what it costs."""
    assert decided(without_capacity_service(**changes), Mode.CAPACITY).verb is Verb.HOLD


def test_nothing_moves_to_a_side_that_cannot_serve_either() -> None:
    """Every target of the units is unhealthy: a change would only be noise."""
    found = without_capacity_service()
    seen = replace(found.routing.verification or Verification(Verdict.YES, NOW), healthy=dict.fromkeys(SERVICES, 0), counted={})
    assert decided(replace(found, routing=replace(found.routing, verification=seen)), Mode.CAPACITY).verb is Verb.HOLD


def test_a_target_group_that_may_still_be_made_is_not_gone() -> None:
    """Right after a mode change without standby rules the controller makes the group: moving back at once would never end."""
    routed = replace(routing(Mode.CAPACITY), standby=SERVICES, bound=SERVICES, capacity_ready=5)
    found = snapshot(mode=Mode.CAPACITY, routing=routed)
    due = memory(Mode.CAPACITY, routed_at=(NOW - 30,), action="", mode_since=NOW - 30)
    assert decide(due, found)[1].reason is not Reason.NOTHING_ANSWERS
    late = decide(replace(due, routed_at=(NOW - 61,), mode_since=NOW - 61), found)[1]
    assert (late.reason, late.details["gone"]) == (Reason.NOTHING_ANSWERS, "Service sd21-all has no target group")


def test_a_target_group_that_a_standby_rule_keeps_is_gone_at_once() -> None:
    """It is never on its way. That the action is no longer shown counts as a change, and starts no wait of its own."""
    found = snapshot(mode=Mode.CAPACITY, routing=replace(routing(Mode.CAPACITY), bound=SERVICES, capacity_ready=5))
    decision = decided(found, Mode.CAPACITY, routed_at=(NOW - 10,), changed_at=NOW)
    assert (decision.reason, decision.details["gone"]) == (Reason.NOTHING_ANSWERS, "Service sd21-all has no target group")


def test_a_unit_whose_service_is_deleted_leaves_the_action_in_cost_mode() -> None:
    """An action that names a missing Service is never built: with a weight of 0 its traffic would stay lost, and so would all others."""
    found = units_with(snapshot(), ("sd21-inf2",), service_exists=False)
    before = memory()
    after, decision = decide(before, found)
    assert (decision.verb, decision.reason) == (Verb.REWEIGHT, Reason.AVAILABILITY_CHANGED)
    assert {target.service for target in decision.targets} == set(SERVICES) - {"sd21-inf2"}
    written = replace(found, routing=replace(found.routing, targets=decision.targets))
    assert decide(applied(after, decision, NOW), written)[1].verb is Verb.HOLD


def test_it_comes_back_once_its_service_and_healthy_targets_do() -> None:
    """Its target group is made anew: weight before a target was counted would be requests that fail."""
    without = tuple(target for target in COST_TARGETS if target.service != "sd21-inf2")
    counted = {service: count for service, count in COUNTED.items() if service != "sd21-inf2"}
    routed = replace(routing(), targets=without, verification=Verification(Verdict.YES, NOW, "", routing().action, counted=counted))
    assert decided(snapshot(routing=routed), Mode.COST).reason is Reason.UNSAFE_SWITCH
    seen = replace(routed.verification or Verification(Verdict.YES, NOW), healthy={"sd21-inf2": 2})
    assert decided(snapshot(routing=replace(routed, verification=seen)), Mode.COST).targets == COST_TARGETS


def test_all_units_services_deleted_in_cost_mode_lead_to_capacity_mode() -> None:
    """Its Service reaches the same pods by another name."""
    found = units_with(snapshot(), SERVICES, service_exists=False)
    decision = decided(found, Mode.COST)
    assert (decision.verb, decision.mode, decision.reason) == (Verb.FAILOVER, Mode.CAPACITY, Reason.NOTHING_ANSWERS)
    assert decision.targets == (Target(ALL, 80, 1),)


def test_what_is_not_known_is_not_gone() -> None:
    """Before the Services were listed none of them exists for anybody, and nothing moves."""
    found = snapshot(mode=Mode.CAPACITY, routing=replace(routing(Mode.CAPACITY), capacity_exists=None, capacity_ready=None, bound=None))
    assert decided(found, Mode.CAPACITY).reason is not Reason.NOTHING_ANSWERS


def test_with_the_in_place_style_the_weights_follow_instead() -> None:
    """Both modes name the units' own Services: another mode would not help."""
    app = application(routing_style=RoutingStyle.IN_PLACE)
    found = units_with(snapshot(app, mode=Mode.COST), ("sd21-inf2",), service_exists=False)
    decision = decided(found, Mode.COST)
    assert (decision.verb, "sd21-inf2" in {target.service for target in decision.targets}) == (Verb.REWEIGHT, False)


def test_leaving_an_empty_service_is_no_flap() -> None:
    """The next failover follows minutes later, once the Service is back: its hold must not be doubled for that."""
    change = ModeChange(NOW - 60, Mode.COST, Reason.NOTHING_ANSWERS, "", "")
    found = units_with(snapshot(), SERVICES, service_exists=False)
    before = memory(mode_changes=(change,), mode_since=NOW - 60)
    after, decision = decide(before, found)
    assert applied(after, decision, NOW).hold_level == 0


def test_people_are_paged_for_a_service_that_is_missing_under_traffic() -> None:
    """The sentence does not say that the controller "would not route to it": all traffic is there, and what else is missing stays said."""
    pinned = without_capacity_service(override=Override(pinned_mode=Mode.CAPACITY, pinned_why="a test"))
    alerts = {alert.key: alert for alert in decided(pinned, Mode.CAPACITY).alerts}
    assert (alerts["blackhole"].severity, "unprepared/services" in alerts) == ("critical", False)
    assert "unprepared/bindings" in alerts
    partly = units_with(snapshot(), ("sd21-inf2",), service_exists=False)
    (found,) = (alert for alert in decided(partly, Mode.COST).alerts if alert.key == "blackhole")
    assert found.text.startswith("40% of the requests get errors now: there is no Service sd21-inf2")


@pytest.mark.parametrize(("healthy", "moves"), [(0, True), (2, False), (None, False)])
def test_endpoints_that_are_gone_count_once_the_load_balancer_has_no_target_either(healthy: int | None, moves: bool) -> None:
    """A view of the endpoints may be late or wrong, and Deployments with ready replicas contradict it."""
    counted = dict.fromkeys(SERVICES, 2) | ({} if healthy is None else {ALL: healthy})
    routed = replace(routing(Mode.CAPACITY), capacity_ready=0)
    seen = Verification(Verdict.YES, NOW, "", routed.action, healthy=counted, counted=COUNTED)
    decision = decided(snapshot(mode=Mode.CAPACITY, routing=replace(routed, verification=seen)), Mode.CAPACITY)
    assert (decision.reason is Reason.NOTHING_ANSWERS) is moves
