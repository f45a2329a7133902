"""From a decision to the exact bytes, in an order in which no user is left without a replica."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from controller.policy.model import (
    Action,
    ActionKind,
    Claim,
    Decision,
    Memory,
    Mode,
    Override,
    Sample,
    ScalerMetric,
    Snapshot,
    Verb,
    Verdict,
    Verification,
)
from controller.policy.plan import body, describe, requests, summary
from controller.policy.reasons import ClaimReason
from controller.routing.ingress.action import format_action
from tests.policy.support import INF2, TRN1, change, decide, plan, proven, scaler, shortage, with_scalers
from tests.support.applications import CAPACITY_TARGETS, COST_TARGETS, NOW, SERVICES, memory, routing, snapshot

KINDS = [ActionKind.RAISE_FLOOR, ActionKind.SET_TARGET, ActionKind.ROUTE, ActionKind.LOWER_FLOOR]


def _plan(made: Snapshot, remembered: Memory | None = None, **changes: Any) -> tuple[Action, ...]:
    decision = replace(decide(remembered or memory(), made)[1], **changes)
    return plan(decision, made).actions


def _failover() -> Snapshot:
    return change(with_scalers(shortage()), TRN1, demand=Sample(2000, NOW))


SHORT = memory(units=proven())


class TestBytes:
    """The requests as they are sent."""

    def test_the_routing_and_its_marker_travel_in_one_patch(self) -> None:
        """A crash between two patches would leave an Ingress whose marker and action disagree."""
        (route,) = _plan(shortage(), SHORT)
        assert (route.kind, route.resource, route.namespace, route.name) == (
            ActionKind.ROUTE,
            "ingresses.networking.k8s.io",
            "shop",
            "sd21",
        )
        assert route.content_type == "application/apply-patch+yaml"
        assert route.query == (("fieldManager", "failoverctl"), ("force", "true"))
        assert route.body == (
            '{"apiVersion":"networking.k8s.io/v1","kind":"Ingress","metadata":{"name":"sd21","namespace":"shop","uid":"uid-1","resourceVersion":"7",'
            '"annotations":{"alb.ingress.kubernetes.io/actions.weighted-routing":'
            '"{\\"type\\":\\"forward\\",\\"forwardConfig\\":{\\"targetGroups\\":[{\\"serviceName\\":\\"sd21-all\\",\\"servicePort\\":80,'
            '\\"weight\\":1}],\\"targetGroupStickinessConfig\\":{\\"enabled\\":false}}}","failoverctl.dev/mode":"capacity"}}}'
        )
        assert (route.before, route.after) == (format_action(COST_TARGETS, 0), format_action(CAPACITY_TARGETS, 0))

    def test_a_floor_is_patched_alone(self) -> None:
        """Nothing else of the ScaledObject becomes ours. `add` replaces the field, or creates it: KEDA's default is not written."""
        raised = next(action for action in _plan(_failover(), SHORT) if action.kind is ActionKind.RAISE_FLOOR)
        assert raised.body == '[{"op":"add","path":"/spec/minReplicaCount","value":3}]'
        assert (raised.unit, raised.before, raised.after) == (INF2, "1", "3")
        assert (raised.resource, raised.namespace, raised.name) == ("scaledobjects.keda.sh", "shop", "sd21-inf2-hpa")
        assert raised.content_type == "application/json-patch+json"
        assert raised.query == (("fieldManager", "failoverctl"),)

    def test_a_target_is_patched_alone(self) -> None:
        """Triggers are an atomic list: an apply of one field would drop all others."""
        target = next(action for action in _plan(_failover(), SHORT) if action.kind is ActionKind.SET_TARGET)
        assert (target.resource, target.namespace, target.name) == ("scaledobjects.keda.sh", "shop", "sd21-inf2-hpa")
        assert target.content_type == "application/json-patch+json"
        assert target.query == (("fieldManager", "failoverctl"),)
        assert target.body == '[{"op":"replace","path":"/spec/triggers/0/metadata/targetMetricValue","value":"89.2"}]'

    def test_a_target_that_is_not_there_is_added(self) -> None:
        """To replace it would be refused, and with it the floor in the same request."""
        made = change(_failover(), scaler=scaler(target=""))
        target = next(one for one in _plan(made, SHORT) if one.kind is ActionKind.SET_TARGET and one.unit == INF2)
        assert json.loads(target.body)[-1] == {"op": "add", "path": "/spec/triggers/0/metadata/targetMetricValue", "value": "89.2"}

    def test_the_second_trigger_is_patched_as_the_second(self) -> None:
        """By its place, as it was observed."""
        made = change(_failover(), scaler=scaler(trigger_index=1))
        target = next(action for action in _plan(made, SHORT) if action.kind is ActionKind.SET_TARGET)
        operations = json.loads(target.body)
        assert [operation["path"] for operation in operations] == ["/spec/triggers/1/metadata/targetMetricValue"]

    def test_equal_inputs_give_equal_bytes(self) -> None:
        """A difference between two plans then always means a difference in the cluster."""
        assert [action.body for action in _plan(_failover(), SHORT)] == [action.body for action in _plan(_failover(), SHORT)]


class TestBody:
    """The one request for the actions on one object."""

    def test_a_single_action_is_sent_as_it_is(self) -> None:
        """An apply or a patch."""
        for action in _plan(_failover(), SHORT):
            assert body([action]) == action.body

    def test_the_operations_of_several_patches_follow_each_other(self) -> None:
        """The API server makes all changes or none."""
        floor, target = (action for action in _plan(_failover(), SHORT) if action.unit == INF2)
        assert body([floor, target]) == floor.body[:-1] + "," + target.body[1:]
        assert json.loads(body([floor, target])) == [*json.loads(floor.body), *json.loads(target.body)]


class TestRequests:
    """Which actions go out together."""

    def test_those_on_one_object_on_the_same_side_of_the_routing_action(self) -> None:
        """A request after it must not wait for one before it, nor go out with it."""
        kinds = [ActionKind.RAISE_FLOOR, ActionKind.SET_TARGET, ActionKind.ROUTE, ActionKind.LOWER_FLOOR, ActionKind.SET_TARGET]
        one, two, route, three, four = (Action(kind, "shop", "a", "", body=str(place), resource="r") for place, kind in enumerate(kinds))
        route, other = replace(route, resource="ingresses"), replace(one, name="b")
        assert requests([one, other, two, route, three, four]) == [(one, two), (other,), (route,), (three, four)]
        assert requests([one, replace(one, namespace="web"), replace(one, resource="s")]) == [
            (one,),
            (replace(one, namespace="web"),),
            (replace(one, resource="s"),),
        ]
        assert requests([]) == []

    def test_one_that_is_deferred_is_alone(self) -> None:
        """It goes out another time."""
        floor, target = (Action(kind, "shop", "a", "", resource="r") for kind in (ActionKind.LOWER_FLOOR, ActionKind.SET_TARGET))
        later = replace(target, deferred="later")
        assert requests([floor, later]) == [(floor,), (later,)]
        assert requests([replace(floor, deferred="later"), later]) == [(replace(floor, deferred="later"),), (later,)]


class TestOrder:
    """Raise, move, and lower only once the load balancer shows that the traffic has moved."""

    def test_a_failover_raises_before_it_moves(self) -> None:
        """The receiving side must not meet the traffic with yesterday's replicas."""
        kinds = [action.kind for action in _plan(_failover(), SHORT)]
        assert kinds.index(ActionKind.ROUTE) > max(i for i, kind in enumerate(kinds) if kind is ActionKind.RAISE_FLOOR)
        assert ActionKind.LOWER_FLOOR not in kinds

    def test_a_fallback_lowers_nothing_yet(self) -> None:
        """The floors of capacity mode stay until the load balancer shows the cost weights and sticky clients have left."""
        made = with_scalers(snapshot(mode=Mode.CAPACITY), min_replicas=4)
        made = replace(made, units={n: replace(o, scaler=replace(o.scaler, target="50")) for n, o in made.units.items() if o.scaler})
        actions = _plan(made, memory(Mode.CAPACITY))
        assert [action.kind for action in actions if not action.deferred] == [ActionKind.ROUTE]
        assert [action.kind for action in actions] == sorted((action.kind for action in actions), key=_rank)
        assert {action.deferred for action in actions[1:]} == {"after the load balancer shows the new weights and sticky clients have left"}
        assert len(actions) == 11

    @pytest.mark.parametrize(("allowed", "due"), [(False, 0), (True, 10)])
    def test_lowering_is_due_once_it_is_allowed(self, allowed: bool, due: int) -> None:
        """Targets that mean fewer pods wait like floors."""
        made = with_scalers(snapshot(), min_replicas=4)
        made = replace(made, units={n: replace(o, scaler=replace(o.scaler, target="50")) for n, o in made.units.items() if o.scaler})
        decision = replace(decide(memory(), made)[1], lowering_allowed=allowed)
        assert len(plan(decision, made).due) == due

    def test_what_lowers_follows_the_routing_action(self) -> None:
        """The target that means fewer pods as well as the floor: until the traffic moves, it needs them. What raises comes first."""
        made = change(with_scalers(snapshot(), min_replicas=4), scaler=scaler(min_replicas=4, target="50", uid="u"))
        made = change(made, TRN1, scaler=scaler(TRN1, min_replicas=1, target="200", uid="u"))
        floors = {INF2: Claim(INF2, 2, ClaimReason.FILE), TRN1: Claim(TRN1, 3, ClaimReason.MISSING)}
        wanted: dict[str, Any] = {"floors": floors, "keda_targets": {INF2: "105", TRN1: "130"}, "targets": CAPACITY_TARGETS}
        decision = replace(decide(memory(), made)[1], verb=Verb.FAILOVER, mode=Mode.CAPACITY, lowering_allowed=True, **wanted)
        made_plan = plan(decision, made)
        assert made_plan.application == "shop/sd21"
        assert [(action.kind, action.unit) for action in made_plan.actions] == [
            (ActionKind.RAISE_FLOOR, TRN1),
            (ActionKind.SET_TARGET, TRN1),
            (ActionKind.ROUTE, ""),
            (ActionKind.LOWER_FLOOR, INF2),
            (ActionKind.SET_TARGET, INF2),
        ]
        assert [action.mode for action in made_plan.actions] == [None, None, Mode.CAPACITY, None, None]

    @pytest.mark.parametrize(("present", "deferred"), [("200", False), ("50", True), ("", True), ("many", True), ("105", None)], ids=str)
    def test_a_target_waits_where_it_means_fewer_pods(self, present: str, deferred: bool | None) -> None:
        """A present one that is no number might be lower: wait."""
        made = change(snapshot(), scaler=scaler(target=present))
        targets = _plan(made, lowering_allowed=False)
        assert [bool(action.deferred) for action in targets] == ([] if deferred is None else [deferred])

    def test_nothing_to_do_is_the_usual_plan(self) -> None:
        """A steady application is never written to."""
        assert _plan(with_scalers(snapshot())) == ()

    def test_a_mode_change_is_written_even_where_the_weights_are_the_same(self) -> None:
        """In place both modes may weigh alike, and only the marker distinguishes them."""
        made = snapshot()
        decision = replace(decide(memory(), made)[1], verb=Verb.FAILOVER, mode=Mode.CAPACITY)
        assert [action.kind for action in plan(decision, made).actions] == [ActionKind.ROUTE]


def _rank(kind: ActionKind) -> int:
    return 0 if kind is ActionKind.ROUTE else 1


class TestLeftAlone:
    """What is wanted but belongs to somebody else."""

    def _refused(self, changed: Any, **unit: Any) -> tuple[tuple[Action, ...], tuple[str, ...]]:
        made = change(_failover(), scaler=changed, **unit)
        result = plan(decide(SHORT, made)[1], made)
        return tuple(action for action in result.actions if action.unit == INF2), result.refused

    def test_a_paused_scaled_object(self) -> None:
        """A person paused it; the plan says so."""
        actions, refused = self._refused(scaler(paused=True))
        assert actions == ()
        assert refused == ("ScaledObject sd21-inf2-hpa of sd21-inf2 is paused by an operator and left alone",)

    def test_a_missing_scaled_object(self) -> None:
        """Without KEDA somebody else sets the replicas."""
        actions, refused = self._refused(None)
        assert actions == ()
        assert refused == ("ScaledObject sd21-inf2-hpa of sd21-inf2 was not found: its replicas are left alone",)

    def test_a_scaled_object_without_our_trigger(self) -> None:
        """Its floor is ours to raise; the target of a trigger that we do not know is not."""
        actions, refused = self._refused(scaler(trigger_index=None))
        assert [action.kind for action in actions] == [ActionKind.RAISE_FLOOR]
        assert refused == ("ScaledObject sd21-inf2-hpa has no trigger on metric sd21-inf2-counter: its target is left alone",)

    def test_a_scaled_object_with_a_formula(self) -> None:
        """Its HPA has one metric, with a target of its own: what a trigger states changes nothing."""
        actions, refused = self._refused(scaler(formula=True))
        assert [action.kind for action in actions] == [ActionKind.RAISE_FLOOR]
        assert refused == ("ScaledObject sd21-inf2-hpa scales by the target of its formula: those of its triggers are left alone",)

    @pytest.mark.parametrize(("period_s", "kept"), [(300, True), (60, False), (None, False)])
    def test_a_trigger_that_counts_another_period(self, period_s: int | None, kept: bool) -> None:
        """The throughput is per minute: as the target of five minutes' requests it would start five times the replicas."""
        actions, refused = self._refused(scaler(metric=ScalerMetric(period_s, "Sum")))
        assert (ActionKind.SET_TARGET in [action.kind for action in actions]) == (not kept)
        said = "ScaledObject sd21-inf2-hpa counts requests in 300 s, and the application file in 60 s: its target is left alone"
        assert refused == ((said,) if kept else ())

    def test_a_floor_that_somebody_else_set_is_raised_and_never_lowered(self) -> None:
        """An operator who holds ten replicas for a launch day means it."""
        for floor, kinds in ((9, []), (2, [ActionKind.RAISE_FLOOR])):
            made = change(snapshot(), scaler=scaler(min_replicas=floor, floor_ours=False))
            decision = replace(decide(memory(), made)[1], floors={INF2: Claim(INF2, 3, ClaimReason.FILE)}, lowering_allowed=True)
            assert [action.kind for action in plan(decision, made).actions] == kinds

    def test_a_unit_without_a_scaled_object(self) -> None:
        """The application file does not name one: there is nothing to refuse."""
        made = snapshot()
        app = replace(made.application, units=tuple(replace(unit, scaled_object=None) for unit in made.application.units))
        made = replace(made, application=app)
        decision = replace(decide(memory(), made)[1], floors={name: Claim(name, 9, ClaimReason.FILE) for name in SERVICES})
        assert plan(decision, made).refused == ()

    @pytest.mark.parametrize(
        "made",
        [
            pytest.param(replace(_failover(), leader=False), id="not the leader"),
            pytest.param(replace(_failover(), routing=routing(override=Override(problem="?"))), id="paused"),
            pytest.param(replace(_failover(), routing=routing(marker="?")), id="routing unknown"),
        ],
    )
    def test_everything_while_a_guard_that_always_applies_holds(self, made: Snapshot) -> None:
        """No weight, no floor, no target."""
        decision: Decision = decide(SHORT, made)[1]
        result = plan(decision, made)
        assert (result.actions, result.refused) == ((), ())

    def test_a_decision_that_says_nothing_of_a_unit(self) -> None:
        """Only what is wanted is compared."""
        made = with_scalers(snapshot(), min_replicas=4, paused=True)
        decision = replace(decide(memory(), made)[1], floors={INF2: Claim(INF2, 1, ClaimReason.FILE)}, keda_targets={})
        assert len(plan(decision, made).refused) == 1


def test_summary_ends_a_plan_as_people_know_it() -> None:
    """Singular and plural, and a sentence where there is nothing to do."""
    made = with_scalers(snapshot(), min_replicas=4)
    blind = replace(made, routing=replace(made.routing, verification=Verification(Verdict.CANNOT_TELL, NOW)))
    assert summary(plan(decide(memory(), snapshot())[1], snapshot())) == "No changes. No pod of any deployment unit waits for a node."
    assert summary(plan(decide(memory(), made)[1], made)) == "Plan: 5 to scale, 0 traffic changes, 0 deferred."
    assert summary(plan(decide(memory(), blind)[1], blind)) == "Plan: 0 to scale, 0 traffic changes, 5 deferred."
    assert summary(plan(decide(SHORT, shortage())[1], shortage())) == "Plan: 0 to scale, 1 traffic change, 0 deferred."


def test_actions_are_described_in_words() -> None:
    """For logs and the command line."""
    made = change(_failover(), scaler=scaler(target=""))
    words = {describe(action) for action in _plan(made, SHORT) if action.unit in {INF2, ""}}
    assert words == {
        "Ingress sd21 routing action",
        "ScaledObject sd21-inf2-hpa minReplicaCount 1 to 3",
        "ScaledObject sd21-inf2-hpa targetMetricValue nothing to 89.2",
    }


def test_a_write_fails_where_the_scaled_object_is_not_the_one_observed() -> None:
    """Another uid: somebody created it again. Another version: somebody wrote, and perhaps reordered the triggers."""
    known, unknown = ({action.kind: json.loads(action.body) for action in _with_uid(uid)} for uid in ("uid-9", ""))
    uid = {"op": "test", "path": "/metadata/uid", "value": "uid-9"}
    version = {"op": "test", "path": "/metadata/resourceVersion", "value": "5"}
    for kind, operation in ((ActionKind.RAISE_FLOOR, "add"), (ActionKind.SET_TARGET, "replace")):
        assert known[kind][:-1] == [uid, version]
        assert [one["op"] for one in unknown[kind]] == [operation]


def _with_uid(uid: str) -> list[Action]:
    """The writes of a failover to trn1's ScaledObject."""
    made = change(_failover(), TRN1, scaler=scaler(TRN1, uid=uid))
    return [action for action in _plan(made, SHORT) if action.unit == TRN1]
