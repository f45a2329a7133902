"""What is done within a mode: whole decisions of what restores, nudges, or re-weights, at the limits of each."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from controller.policy.case import Case
from controller.policy.decision.steady import _change, _steady_reason
from controller.policy.memory import sent_as
from controller.policy.model import ActionKind, Memory, Mode, PolicySettings, Shortage, Snapshot, Target, Verb, Verdict, Verification
from controller.policy.model.modes import Repeats
from controller.policy.modes import guards
from controller.policy.reasons import Reason
from controller.routing.annotations import MARKER
from controller.routing.conclusion import conclude
from controller.routing.ingress.action import format_action
from controller.routing.names import action_key
from tests.policy.guard_cases import guard_case
from tests.policy.support import INF2, change, decide, pods, proven, refused, shortage, with_scalers
from tests.support.applications import (
    CAPACITY_TARGETS,
    COST_TARGETS,
    COUNTED,
    NOW,
    SERVICES,
    application,
    memory,
    routing,
    snapshot,
)

FOREIGN = (Target("elsewhere", 80, 1),)
ALWAYS, REROUTE = ([one.name for one in each] for each in (guards.ALWAYS, guards.REROUTE))


def _drifted(mode: Mode = Mode.COST, app: Any = None, **changes: Any) -> Snapshot:
    changed = {"targets": FOREIGN, "action": format_action(FOREIGN, 0), "writer": "argocd", "foreign": True, **changes}
    return snapshot(app, mode, routing=routing(mode, **changed))


@pytest.mark.parametrize(
    ("reasserts", "ago", "left"),
    [(0, None, 0), (1, 19, 1), (1, 20, 0), (3, 60, 20), (6, 590, 10), (6, 600, 0), (900, 590, 10), (10_000, 590, 10)],
)
def test_what_somebody_else_changed_is_restored_after_a_pause_that_doubles_up_to_ten_minutes(
    reasserts: int, ago: float | None, left: float
) -> None:
    """People read who fights, how long the pause is, and in which mode; a fight of a year must not make a pause without an end."""
    remembered = memory(reasserted=Repeats(reasserts, None if ago is None else NOW - ago))
    decision = decide(remembered, _drifted())[1]
    assert (decision.details["mode"], decision.details["writer"]) == ("cost", "argocd")
    assert [one.guard for one in decision.guards] == [*ALWAYS, *REROUTE]
    if left:
        assert (decision.verb, decision.mode, decision.reason) == (Verb.HOLD, Mode.COST, Reason.REASSERT_BACKOFF)
        assert (decision.targets, decision.next_check_s) == ((), left)
        minutes, seconds = divmod(int(left), 60)
        assert decision.details["remaining"] == (f"{minutes} min {seconds} s" if minutes else f"{seconds} s")
    else:
        assert (decision.verb, decision.mode, decision.reason) == (Verb.REWEIGHT, Mode.COST, Reason.ROUTING_DRIFTED)
        assert (decision.targets, "remaining" in decision.details) == (COST_TARGETS, False)


def test_a_writer_that_is_not_known_is_somebody() -> None:
    """The sentence must not end in nothing."""
    assert decide(memory(), _drifted(writer=""))[1].details["writer"] == "somebody"


def test_what_somebody_else_changed_names_the_mode_that_is_restored() -> None:
    """In capacity mode, too; and a guard that holds it back keeps all as it is."""
    made = _drifted(Mode.CAPACITY)
    decision = decide(memory(Mode.CAPACITY, mode_since=NOW - 10), made)[1]
    assert (decision.verb, decision.targets, decision.details["mode"]) == (Verb.REWEIGHT, CAPACITY_TARGETS, "capacity")
    held = decide(memory(Mode.CAPACITY, mode_since=NOW - 10), replace(made, routing=replace(made.routing, capacity_ready=0)))[1]
    assert (held.verb, held.held_back, held.targets) == (Verb.HOLD, Verb.REWEIGHT, ())


@pytest.mark.parametrize(("ago", "left"), [(100.0, 20.0), (119.0, 1.0), (120.0, None)])
def test_floors_sink_once_sticky_clients_have_left(ago: float, left: float | None) -> None:
    """A drain of two minutes by default; the pass comes when it is over."""
    decision = decide(memory(changed_at=NOW - 400, verified_at=NOW - ago), snapshot())[1]
    assert (decision.lowering_allowed, decision.next_check_s) == (left is None, left)


def test_a_unit_that_may_have_no_replica_keeps_none() -> None:
    """Scaled to zero by its own file: a floor that nobody asked for would be paid for ever."""
    app = application()
    app = replace(app, units=tuple(replace(one, min_replicas=0) for one in app.units))
    made = change(snapshot(app), INF2, ready=0, desired=0, deployment_ready=0, endpoints_ready=0)
    held = memory(demand_known_since=None, demand_missing_since=NOW - 60)
    for remembered in (memory(), held):
        assert decide(remembered, with_scalers(made, min_replicas=0))[1].floors[INF2].replicas == 0
        assert decide(remembered, made)[1].floors[INF2].replicas == 0


WITHOUT_ONE = tuple(target for target in COST_TARGETS if target.service != SERVICES[1])


def _without_one(**changes: Any) -> Snapshot:
    """An action that names all Services but trn1's."""
    return snapshot(routing=routing(targets=WITHOUT_ONE, action=format_action(WITHOUT_ONE, 0), **changes))


def test_new_weights_say_what_changes() -> None:
    """Of a Service that the action does not name, from 0; the rest is left out."""
    decision = decide(memory(), _without_one())[1]
    assert (decision.verb, decision.mode, decision.reason) == (Verb.REWEIGHT, Mode.COST, Reason.AVAILABILITY_CHANGED)
    assert dict(decision.details) == {"change": "sd21-trn1 0 to 20"}
    assert [one.guard for one in decision.guards] == [*ALWAYS, *REROUTE]
    heavier = application()
    heavier = replace(heavier, units=tuple(replace(one, weight=90) if one.name == INF2 else one for one in heavier.units))
    changed = decide(memory(), snapshot(heavier, routing=routing(targets=COST_TARGETS)))[1]
    assert dict(changed.details) == {"change": "sd21-inf2 40 to 90"}


@pytest.mark.parametrize(
    ("present", "wanted", "said"),
    [
        ("a:1 b:2", "a:1 b:0", "b 2 to 0"),
        ("a:1", "a:1 b:0", "b added with weight 0"),
        ("a:1 b:0", "a:1", "b removed"),
        ("a:1 b:3", "a:4", "a 1 to 4, b removed"),
        ("a:1", "a:1", "stickiness"),
    ],
)
def test_a_change_names_each_service_that_comes_or_goes(present: str, wanted: str, said: str) -> None:
    """Also one without a weight, of which the message used to say that the stickiness changes."""
    old, new = (tuple(Target(one[0], 80, int(one[2:])) for one in text.split()) for text in (present, wanted))
    assert _change(old, new) == said


def test_new_weights_that_a_guard_holds_leave_the_mode_and_its_routing() -> None:
    """What is held back is said, and nothing else is wanted."""
    decision = decide(memory(), _without_one(standby=()))[1]
    assert (decision.verb, decision.mode, decision.reason) == (Verb.HOLD, Mode.COST, Reason.UNSAFE_SWITCH)
    assert (decision.held_back, decision.targets) == (Verb.REWEIGHT, ())


def test_the_first_write_of_an_ingress_is_of_its_mode() -> None:
    """Nobody undid anything; the guards of a change were asked."""
    others = tuple(replace(target, weight=target.weight + 5) for target in COST_TARGETS)
    decision = decide(Memory(), _drifted(marker="", targets=others, action=format_action(others, 0)))[1]
    assert (decision.verb, decision.mode, decision.reason) == (Verb.REWEIGHT, Mode.COST, Reason.ROUTING_TAKEN_OVER)
    assert [one.guard for one in decision.guards] == [*ALWAYS, *REROUTE]


@pytest.mark.parametrize(("mode", "own", "other"), [(Mode.COST, 100, 200), (Mode.CAPACITY, 200, 100)])
def test_each_mode_has_a_stickiness_of_its_own(mode: Mode, own: int, other: int) -> None:
    """The present one is remembered by the decision: clients stick to it for that long after a change."""
    app = application(policy=PolicySettings(stickiness_cost_s=100, stickiness_capacity_s=200))
    targets = COST_TARGETS if mode is Mode.COST else CAPACITY_TARGETS
    remembered = memory(mode, units=proven() if mode is Mode.CAPACITY else {})
    for present, verb in ((own, Verb.HOLD), (other, Verb.REWEIGHT)):
        made = snapshot(app, mode, routing=routing(mode, targets=targets, stickiness_s=present, action=format_action(targets, present)))
        made = shortage(made) if mode is Mode.CAPACITY else made
        decision = decide(remembered, made)[1]
        assert (decision.verb, decision.stickiness_s, decision.sticky_s) == (verb, own, present)


@pytest.mark.parametrize(
    ("unit", "part"),
    [
        ({"pool_failures": (refused(),)}, "refused"),
        ({"pool_at_limit": "limit of 8 cpu"}, "beyond the limit of its NodePool"),
    ],
)
def test_a_suspicion_says_what_it_rests_on(unit: dict[str, Any], part: str) -> None:
    """A person acts on a limit, and waits for EC2."""
    case = _case_of(change(snapshot(), pending=pods(), desired=4, **unit))
    suspected = {name: replace(one, shortage=Shortage.SUSPECTED if name == INF2 else one.shortage) for name, one in case.evidence.items()}
    assert _steady_reason(replace(case, evidence=suspected)) == (Reason.SHORTAGE_SUSPECTED, {"units": INF2, "part": part})


def _case_of(made: Snapshot) -> Case:
    return guard_case(made, details={})


@pytest.mark.parametrize(("nudges", "ago", "left"), [(0, 119, 1), (1, 239, 1), (2, 479, 1), (3, 960, 0)])
def test_the_pause_before_a_nudge_doubles(nudges: int, ago: float, left: float) -> None:
    """From the last nudge on; before the first, from the change. Until then everything is held as it is."""
    made = snapshot(mode=Mode.CAPACITY)
    seen = Verification(Verdict.NOT_YET, NOW, "another rule", made.routing.action, counted=COUNTED)
    made = shortage(replace(made, routing=replace(made.routing, verification=seen)))
    remembered = memory(
        Mode.CAPACITY,
        units=proven(),
        changed_at=NOW - ago,
        unverified_since=NOW - ago,
        mode_since=NOW - ago,
        nudged=Repeats(nudges, NOW - ago if nudges else None),
    )
    decision = decide(remembered, made)[1]
    assert (decision.verb, decision.mode) == (Verb.HOLD if left else Verb.NUDGE, Mode.CAPACITY)
    assert decision.targets == CAPACITY_TARGETS
    if left:
        assert decision.next_check_s == left


def test_a_step_of_a_gradual_fallback_of_an_earlier_version_is_capacity_mode() -> None:
    """The Ingress is marked with it, and its action sends half of the traffic to the units: all of it goes back behind one Service."""
    targets = (Target("sd21-all", 80, 50), Target(INF2, 80, 50))
    shown = routing(Mode.CAPACITY, targets=targets, action=format_action(targets, 0))
    made = shortage(snapshot(mode=Mode.CAPACITY, routing=shown))
    concluded = conclude(memory(Mode.CAPACITY, units=proven()), made)
    assert (concluded.decision.verb, concluded.decision.mode) == (Verb.REWEIGHT, Mode.CAPACITY)
    assert concluded.decision.targets == CAPACITY_TARGETS
    (action,) = [one for one in concluded.plan.actions if one.kind is ActionKind.ROUTE]
    assert set(json.loads(action.body)["metadata"]["annotations"]) == {action_key(made.application.route.part), MARKER}, "the step goes"


def test_who_edits_another_rule_of_a_route_is_not_the_writer_of_our_action() -> None:
    """All rules of a route have one owner. A later change of the weights is neither a repair nor the first write."""
    shown = replace(snapshot().routing, settings_elsewhere=True, foreign=True, writer="somebody")
    sent = memory(sent=sent_as(shown.targets, shown.stickiness_s), action=shown.action)
    made = change(replace(snapshot(), routing=shown), ready=0, endpoints_ready=0, deployment_ready=0)
    after, decision = decide(sent, made)
    assert decision.verb is Verb.REWEIGHT
    assert decision.reason is Reason.AVAILABILITY_CHANGED
    assert after.reasserted == sent.reasserted
