"""Decisions from failover to fallback, and what is done meanwhile."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from controller.policy.account import Figures, break_even_s, level_after_failover
from controller.policy.decision import observed_mode
from controller.policy.memory import adopt, fingerprint, sent_as
from controller.policy.model import (
    ActionKind,
    Application,
    Cause,
    Decision,
    Memory,
    Mode,
    ModeChange,
    Override,
    PendingPod,
    PolicySettings,
    Return,
    RoutingObservation,
    RoutingStyle,
    Sample,
    Shortage,
    Snapshot,
    Source,
    Strategy,
    Target,
    UnitMemory,
    Verb,
    Verdict,
    Verification,
    WeightStrategy,
)
from controller.policy.model.modes import Repeats
from controller.policy.reasons import Reason
from controller.policy.routing import capacity_targets, cost_targets
from controller.routing.ingress.action import format_action
from tests.policy.support import (
    G6,
    INF2,
    TRN1,
    applied,
    change,
    decide,
    launched,
    plan,
    pods,
    proven,
    refused,
    scaler,
    shortage,
    with_scalers,
)
from tests.support.applications import (
    CAPACITY_TARGETS,
    COST_TARGETS,
    COUNTED,
    NOW,
    SERVICES,
    application,
    memory,
    routing,
    seed_units,
    snapshot,
)

FOREIGN = (Target(INF2, 80, 100), Target(TRN1, 80, 0))


def _decision(made: Snapshot, remembered: Memory | None = None) -> Decision:
    decision = decide(remembered or memory(), made)[1]
    assert "?>" not in decision.sentence, "a person reads a placeholder instead of the reason"
    return decision


def _result(made: Snapshot, remembered: Memory | None = None) -> tuple[Verb, Reason]:
    decision = _decision(made, remembered)
    return decision.verb, decision.reason


def _all_short(made: Snapshot) -> Snapshot:
    return replace(made, units={name: shortage(made, name).units[name] for name in SERVICES})


def _policy(**changes: Any) -> Application:
    return application(policy=PolicySettings(**changes))


PROVEN: dict[str, Any] = {"units": proven(NOW - 60)}
FOUR_CHANGES = tuple(ModeChange(NOW - age, Mode.COST, Reason.RETURN_PROVEN) for age in (3000, 2000, 1000, 100))


class TestInCostMode:
    """What is decided while the Ingress forwards by cost."""

    @pytest.mark.parametrize(
        ("made", "remembered", "expected"),
        [
            pytest.param(snapshot(), {}, (Verb.HOLD, Reason.DEMAND_MET), id="nothing is wrong"),
            pytest.param(
                change(snapshot(), pending=pods(), desired=4), {}, (Verb.HOLD, Reason.WAITING_IS_NORMAL), id="pods wait for a node"
            ),
            pytest.param(
                change(snapshot(), pool_failures=(refused(),)),
                {},
                (Verb.HOLD, Reason.EVIDENCE_WITHOUT_DEMAND),
                id="refused, but nobody waits",
            ),
            pytest.param(
                change(shortage(), pool_zones=("a", "b"), pool_failures=(refused(zones=("a",)),), pool_blocked_at=None),
                {},
                (Verb.HOLD, Reason.SHORTAGE_SUSPECTED),
                id="a zone out is not a unit out",
            ),
            pytest.param(shortage(), {}, (Verb.HOLD, Reason.PATIENCE), id="just proven"),
            pytest.param(shortage(), {"units": proven(NOW - 9)}, (Verb.HOLD, Reason.PATIENCE), id="proven 9 s ago"),
            pytest.param(shortage(), {"units": proven(NOW - 10)}, (Verb.FAILOVER, Reason.SHORTAGE_PROVEN), id="proven 10 s ago"),
            pytest.param(
                shortage(snapshot(_policy(patience_s=0.0))), {}, (Verb.FAILOVER, Reason.SHORTAGE_PROVEN), id="an operator without patience"
            ),
            pytest.param(
                shortage(cause=Cause.QUOTA), PROVEN, (Verb.FAILOVER, Reason.SHORTAGE_PROVEN), id="users need serving at a quota too"
            ),
            pytest.param(
                shortage(snapshot(_policy(trip_causes=frozenset({Cause.CAPACITY}))), cause=Cause.QUOTA),
                PROVEN,
                (Verb.HOLD, Reason.CAUSE_NOT_ALLOWED),
                id="a cause that is not allowed",
            ),
            pytest.param(shortage(), {**PROVEN, "mode_since": NOW - 59}, (Verb.HOLD, Reason.DWELL), id="the mode is too young"),
            pytest.param(
                shortage(), {**PROVEN, "mode_changes": FOUR_CHANGES}, (Verb.HOLD, Reason.FLIP_BUDGET_SPENT), id="too many changes"
            ),
            pytest.param(replace(shortage(), routing=routing(standby=())), PROVEN, (Verb.HOLD, Reason.UNSAFE_SWITCH), id="no standby rule"),
            pytest.param(
                replace(shortage(snapshot(_policy(allow_unsafe_switch=True))), routing=routing(standby=())),
                PROVEN,
                (Verb.FAILOVER, Reason.SHORTAGE_PROVEN),
                id="no standby rule, and the operator accepts the gap",
            ),
            pytest.param(
                replace(shortage(), routing=routing(capacity_ready=0)),
                PROVEN,
                (Verb.HOLD, Reason.STANDBY_NOT_READY),
                id="nobody behind the capacity Service",
            ),
            pytest.param(_all_short(snapshot()), PROVEN, (Verb.HOLD, Reason.OTHER_SIDE_SHORT), id="all units are short"),
            pytest.param(
                replace(
                    shortage(cause=Cause.NETWORK),
                    units={
                        name: replace(observed, pool=replace(observed.pool, blocked_at=NOW - 9))
                        for name, observed in shortage(cause=Cause.NETWORK).units.items()
                    },
                ),
                PROVEN,
                (Verb.HOLD, Reason.OTHER_SIDE_SHORT),
                id="full subnets block the other pools too",
            ),
            pytest.param(
                replace(shortage(), routing=routing(override=Override(pinned_mode=Mode.COST))),
                PROVEN,
                (Verb.HOLD, Reason.PINNED),
                id="pinned to cost",
            ),
            pytest.param(
                replace(snapshot(), routing=routing(override=Override(pinned_mode=Mode.CAPACITY, pinned_why="drill"))),
                {"mode_since": NOW, "mode_changes": FOUR_CHANGES},
                (Verb.FAILOVER, Reason.PINNED_TO_MODE),
                id="a pin asks for no patience, dwell or budget",
            ),
            pytest.param(
                replace(snapshot(), routing=routing(override=Override(pinned_mode=Mode.CAPACITY), capacity_ready=0)),
                {},
                (Verb.HOLD, Reason.STANDBY_NOT_READY),
                id="a pin must not cause a 503",
            ),
            pytest.param(
                replace(snapshot(), routing=routing(override=Override(pinned_mode=Mode.CAPACITY, pinned_until=NOW))),
                {},
                (Verb.HOLD, Reason.DEMAND_MET),
                id="an expired pin",
            ),
            pytest.param(
                replace(shortage(), routing=routing(override=Override(paused_until=math.inf))),
                PROVEN,
                (Verb.HOLD, Reason.PAUSED),
                id="paused",
            ),
            pytest.param(
                replace(shortage(), routing=routing(override=Override(problem="unreadable"))),
                PROVEN,
                (Verb.HOLD, Reason.OVERRIDE_UNREADABLE),
                id="malformed",
            ),
            pytest.param(
                replace(shortage(), sources=(Source("karpenter", True, None, 1),)), PROVEN, (Verb.HOLD, Reason.SIGNALS_STALE), id="stale"
            ),
            pytest.param(replace(shortage(), leader=False), PROVEN, (Verb.HOLD, Reason.NOT_LEADER), id="not the leader"),
            pytest.param(
                replace(shortage(), routing=RoutingObservation(exists=False)),
                PROVEN,
                (Verb.HOLD, Reason.ROUTING_OBJECT_MISSING),
                id="no Ingress",
            ),
            pytest.param(
                replace(shortage(), routing=routing(marker="", targets=(Target("other", 80, 1),))),
                PROVEN,
                (Verb.HOLD, Reason.ROUTING_UNKNOWN),
                id="forwards elsewhere",
            ),
        ],
    )
    def test_what_is_decided(self, made: Snapshot, remembered: dict[str, Any], expected: tuple[Verb, Reason]) -> None:
        """Each row is one situation, the verb and the reason."""
        assert _result(made, memory(**remembered)) == expected

    def test_a_failover_asks_for_the_capacity_service_and_more_replicas(self) -> None:
        """The other units must carry the whole demand; the KEDA targets are those of Table 2."""
        made = change(with_scalers(shortage()), TRN1, demand=Sample(2000, NOW))
        decision = _decision(made, memory(**PROVEN))
        assert decision.targets == CAPACITY_TARGETS
        assert decision.mode is Mode.CAPACITY
        assert decision.floors[TRN1].replicas > 2
        assert decision.floors[INF2].replicas == 3, "one pending replica is the free probe for the return"
        assert decision.keda_targets[INF2] == "89.2"
        assert not decision.lowering_allowed
        assert decision.sentence == ("sd21-inf2 cannot get capacity (capacity: InsufficientInstanceCapacity) while 2 pod(s) wait for it")

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            pytest.param({}, (Verb.HOLD, Reason.PATIENCE), id="no latency"),
            pytest.param({"latency": Sample(0.91, NOW - 360)}, (Verb.FAILOVER, Reason.SLO_BREACHED), id="with a latency beyond the limit"),
            pytest.param({"latency": Sample(0.90, NOW)}, (Verb.HOLD, Reason.PATIENCE), id="with a latency at the limit"),
            pytest.param({"latency": Sample(0.91, NOW - 361)}, (Verb.HOLD, Reason.PATIENCE), id="with a latency of long ago"),
            pytest.param({"latency": Sample(math.inf, NOW)}, (Verb.HOLD, Reason.PATIENCE), id="with a latency that is none"),
        ],
    )
    def test_a_breach_ends_the_patience_with_a_shortage(self, changes: dict[str, Any], expected: tuple[Verb, Reason]) -> None:
        """The unit's users suffer already, and EC2 refuses capacity; patience is for shortages without an effect on users."""
        assert _result(change(shortage(), **changes)) == expected

    @pytest.mark.parametrize(
        "made",
        [
            pytest.param(change(shortage(named_zone="a", named_type="inf2.xlarge"), pool_blocked_at=None), id="a suspicion"),
            pytest.param(change(shortage(), pool_blocked_at=None, pending=pods(since=NOW - 240)), id="by age"),
        ],
    )
    def test_a_breach_makes_no_evidence_stronger(self, made: Snapshot) -> None:
        """Pods that wait while latency rises are what scaling up looks like."""
        assert _decision(change(made, latency=Sample(9, NOW))).verb is Verb.HOLD

    def test_the_latency_of_another_unit_changes_nothing(self) -> None:
        """It is not the unit that is short."""
        assert _result(change(shortage(), TRN1, latency=Sample(9, NOW))) == (Verb.HOLD, Reason.PATIENCE)

    def test_errors_end_no_patience(self) -> None:
        """They are of the whole application: nobody knows that they are of the unit that is short."""
        assert _result(replace(shortage(), error_ratio=Sample(0.5, NOW))) == (Verb.HOLD, Reason.PATIENCE)

    def test_a_breach_without_evidence_changes_nothing(self) -> None:
        """A slow model is no shortage: capacity mode would not make it faster."""
        made = replace(change(snapshot(), latency=Sample(9, NOW)), error_ratio=Sample(0.9, NOW))
        assert _result(made) == (Verb.HOLD, Reason.DEMAND_MET)

    def test_a_unit_without_a_ready_replica_gets_no_traffic(self) -> None:
        """Its target group is empty and would answer 503; the others keep their proportion."""
        decision = _decision(change(snapshot(), ready=0))
        assert (decision.verb, decision.reason) == (Verb.REWEIGHT, Reason.AVAILABILITY_CHANGED)
        assert {t.service: t.weight for t in decision.targets} == {INF2: 0, TRN1: 33, "sd21-g5-triton": 25, G6: 17, "sd21-g5-cuda": 25}
        assert "sd21-inf2 40 to 0" in decision.sentence

    def test_a_unit_that_is_partly_ready_keeps_its_share(self) -> None:
        """It only scales up, so its share stays."""
        assert _result(change(snapshot(), ready=1, desired=9)) == (Verb.HOLD, Reason.DEMAND_MET)

    def test_with_nothing_ready_at_all_the_routing_is_left_alone(self) -> None:
        """No unit could take the traffic."""
        made = snapshot()
        made = replace(made, units={name: replace(observed, ready=0, deployment_ready=0) for name, observed in made.units.items()})
        decision = _decision(made)
        assert (decision.verb, decision.targets) == (Verb.HOLD, ())

    def test_a_reweight_names_no_service_that_is_missing(self) -> None:
        """The load-balancer controller would build no rule of such an action, so that no change would reach the traffic."""
        decision = _decision(change(change(snapshot(), ready=0), TRN1, service_exists=False))
        assert (decision.verb, decision.reason) == (Verb.REWEIGHT, Reason.AVAILABILITY_CHANGED)
        assert TRN1 not in {target.service for target in decision.targets}

    def test_weights_follow_while_a_failover_is_held_back_and_its_alert_stays(self) -> None:
        """The reason is that of the re-weight; the alert about the held failover must not come and go with it."""
        made = replace(change(_all_short(snapshot()), ready=0), routing=routing())
        decision = _decision(made, memory(**PROVEN))
        assert (decision.verb, decision.reason, decision.held_back) == (Verb.REWEIGHT, Reason.AVAILABILITY_CHANGED, Verb.FAILOVER)
        assert [alert.key for alert in decision.alerts] == ["held/OtherSideShort"]
        assert "no other deployment unit" in decision.alerts[0].text

    def test_stickiness_that_differs_is_restored(self) -> None:
        """Somebody changed the setting, not the weights."""
        decision = _decision(snapshot(_policy(stickiness_cost_s=200)))
        assert (decision.verb, decision.stickiness_s, decision.details["change"]) == (Verb.REWEIGHT, 200, "stickiness")


class TestAdaptive:
    """The strategy that re-weights first and changes the mode only where that is not enough."""

    @pytest.mark.parametrize(
        ("demand", "verb"),
        [
            pytest.param(Sample(890, NOW), Verb.HOLD, id="the ready replicas carry it"),
            pytest.param(Sample(893, NOW), Verb.FAILOVER, id="they do not"),
            pytest.param(None, Verb.FAILOVER, id="nobody knows"),
        ],
    )
    def test_absorbs_a_shortage_while_ready_replicas_carry_the_demand(self, demand: Sample | None, verb: Verb) -> None:
        """2 replicas of each unit serve 892 requests a period."""
        app = _policy(strategy=Strategy.ADAPTIVE, failover_utilization=1.0)
        made = change(shortage(snapshot(app)), TRN1, demand=demand)
        weights = Figures.of(made).cost
        targets = tuple(Target(name, 80, weight) for name, weight in weights.items())
        made = replace(made, routing=routing(targets=targets, action=format_action(targets, 0)))
        decision = _decision(made, memory(**PROVEN))
        assert decision.verb is verb
        if verb is Verb.HOLD:
            assert decision.sentence == "sd21-inf2 cannot get capacity (cause capacity), but " + (
                "the ready replicas carry the whole demand, at 100 % of their throughput (at most 100 %)"
            )

    def test_a_unit_of_weight_0_is_not_said_to_be_absorbed(self) -> None:
        """Its pods wait: nobody carries them, but cost mode sends them nothing either."""
        app = application(units=tuple(replace(unit, weight=0 if unit.name == INF2 else 1) for unit in seed_units()))
        made = shortage(snapshot(app))
        targets = cost_targets(app, Figures.of(made).cost)
        made = replace(made, routing=routing(targets=targets, action=format_action(targets, made.routing.stickiness_s)))
        decision = _decision(made, memory(**PROVEN))
        assert (decision.reason, decision.verb.changes_mode) == (Reason.SHORTAGE_ABSORBED, False)
        assert decision.sentence == "sd21-inf2 cannot get capacity (cause capacity), but cost mode sends no traffic there"

    def test_nothing_ready_and_no_demand_is_no_infinite_share(self) -> None:
        """It was "at inf % of their throughput"."""
        made = change(shortage(snapshot(_policy(strategy=Strategy.ADAPTIVE))), TRN1, demand=Sample(0, NOW))
        units = {name: replace(one, ready=0, deployment_ready=0, endpoints_ready=0) for name, one in made.units.items()}
        decision = _decision(replace(made, units=units), memory(**PROVEN))
        assert decision.sentence == "sd21-inf2 cannot get capacity (cause capacity), but no replica is ready, and the demand is 0"

    def test_does_not_absorb_with_nobody_else_to_carry_it(self) -> None:
        """Every unit is short: a failover is wanted, and its guard says that it gains nothing."""
        made = change(_all_short(snapshot(_policy(strategy=Strategy.ADAPTIVE))), TRN1, demand=Sample(1, NOW))
        assert _decision(made, memory(**PROVEN)).held_back is Verb.FAILOVER

    def test_fills_the_cheapest_ready_capacity_first(self) -> None:
        """Merit order, whatever weights the file has."""
        app = _policy(strategy=Strategy.ADAPTIVE, weight_strategy=WeightStrategy.EXPLICIT)
        made = snapshot(app)
        for name in made.units:
            made = change(made, name, demand=Sample(105 if name == TRN1 else 0, NOW))
        weights = Figures.of(made).cost
        assert weights == {INF2: 100, TRN1: 0, "sd21-g5-triton": 0, G6: 0, "sd21-g5-cuda": 0}

    def test_gives_nothing_to_units_where_none_is_ready(self) -> None:
        """An empty answer means: leave the routing alone."""
        made = snapshot(_policy(strategy=Strategy.ADAPTIVE))
        assert Figures.of(replace(made, units={n: replace(o, ready=0) for n, o in made.units.items()})).cost == {}


class TestDrift:
    """Somebody else wrote the routing action."""

    @staticmethod
    def _drifted(**changes: Any) -> Snapshot:
        made = {"targets": FOREIGN, "action": format_action(FOREIGN, 0), "writer": "argocd", "foreign": True, **changes}
        return snapshot(routing=routing(**made))

    def test_it_is_restored_at_once_the_first_time(self) -> None:
        """The marker shows the mode, whatever the action says now."""
        decision = _decision(self._drifted())
        assert (decision.verb, decision.reason) == (Verb.REWEIGHT, Reason.ROUTING_DRIFTED)
        assert decision.targets == COST_TARGETS
        assert "last written by argocd" in decision.sentence

    @pytest.mark.parametrize(
        ("reasserts", "ago", "verb"),
        [
            (1, 19, Verb.HOLD),
            (1, 20, Verb.REWEIGHT),
            (3, 79, Verb.HOLD),
            (3, 80, Verb.REWEIGHT),
            (60, 599, Verb.HOLD),
            (60, 600, Verb.REWEIGHT),
        ],
    )
    def test_and_after_a_growing_pause_from_then_on(self, reasserts: int, ago: float, verb: Verb) -> None:
        """Two writers that fight must not overload the load balancer's API."""
        decision = _decision(self._drifted(), memory(reasserted=Repeats(reasserts, NOW - ago)))
        assert decision.verb is verb
        assert decision.reason is (Reason.ROUTING_DRIFTED if verb is Verb.REWEIGHT else Reason.REASSERT_BACKOFF)

    def test_an_action_that_was_removed_is_written_again(self) -> None:
        """The Ingress would answer 503 without it."""
        made = self._drifted(targets=(), action="", writer="", foreign=False, problem="no action")
        decision = _decision(made)
        assert (decision.verb, decision.reason) == (Verb.REWEIGHT, Reason.ROUTING_MISSING)
        assert decision.targets == COST_TARGETS

    @pytest.mark.parametrize(("mode", "targets"), [(Mode.COST, COST_TARGETS), (Mode.CAPACITY, CAPACITY_TARGETS)])
    def test_an_action_that_was_removed_with_the_marker_is_that_of_the_remembered_mode(
        self, mode: Mode, targets: tuple[Target, ...]
    ) -> None:
        """Nothing is routed, so nothing can be lost: neither standby rules nor healthy targets are required.

        A writer that fights is not raced.
        """
        made = self._drifted(targets=(), action="", writer="", foreign=False, problem="no action", marker="", standby=(), verification=None)
        remembered, decision = decide(memory(mode, units=proven() if mode is Mode.CAPACITY else {}), made)
        assert (decision.verb, decision.reason, decision.mode, decision.targets) == (
            Verb.REWEIGHT,
            Reason.ROUTING_MISSING,
            mode,
            targets,
        )
        again = decide(applied(remembered, decision, NOW), made)[1]
        assert (again.verb, again.reason, again.next_check_s) == (Verb.HOLD, Reason.REASSERT_BACKOFF, 20)

    def test_a_pin_changes_the_mode_of_an_ingress_without_action(self) -> None:
        """The action of the pinned mode is written at once."""
        override = Override(pinned_mode=Mode.CAPACITY)
        made = self._drifted(targets=(), action="", writer="", foreign=False, problem="no action", marker="", override=override)
        assert _result(made) == (Verb.FAILOVER, Reason.PINNED_TO_MODE)

    def test_nothing_that_serves_is_not_a_demand_that_is_met(self) -> None:
        """All Deployments were scaled to 0."""
        made = snapshot()
        for name in made.units:
            made = change(made, name, ready=0, desired=0, deployment_ready=0, endpoints_ready=0)
        assert _result(made) == (Verb.HOLD, Reason.NOTHING_SERVES)

    def test_the_first_write_is_no_drift(self) -> None:
        """Nobody undid anything, and there is nothing to exempt in a GitOps tool. A second one is."""
        made = self._drifted(marker="")
        remembered, decision = decide(Memory(), made)
        assert (decision.verb, decision.reason) == (Verb.REWEIGHT, Reason.ROUTING_TAKEN_OVER)
        changed = self._drifted(marker="", action=format_action(COST_TARGETS[:1], 0), targets=COST_TARGETS[:1])
        assert decide(remembered, changed)[1].reason is Reason.ROUTING_DRIFTED
        assert decision.sentence.startswith("the controller writes the routing action for the first time: ")
        assert applied(remembered, decision, NOW).reasserted.times == 0

    @pytest.mark.parametrize("style", RoutingStyle)
    @pytest.mark.parametrize("mode", Mode)
    def test_an_ingress_that_was_replaced_as_a_whole_keeps_its_mode(self, mode: Mode, style: RoutingStyle) -> None:
        """By the one in Git, without the mode annotation, as Terraform and `kubectl replace` do it.

        It is restored like any other foreign change, and counts as no mode change: these would soon spend the flip budget.
        """
        made = self._drifted(marker="")
        made = replace(made, application=replace(made.application, routing_style=style))
        remembered = memory(
            mode, sent="a1", action="a1", routed_by="uid-1", units=proven(returned_at=None) if mode is Mode.CAPACITY else {}
        )
        kept, decision = decide(remembered, made)
        assert (decision.verb, decision.reason, decision.mode) == (Verb.REWEIGHT, Reason.ROUTING_DRIFTED, mode)
        assert (kept.mode, kept.mode_changes, kept.units.keys()) == (mode, (), remembered.units.keys())
        later = replace(made, now=NOW + 1)
        assert decide(kept, later)[1].reason is Reason.ROUTING_DRIFTED, "also if it could not be restored at once"
        again = decide(applied(kept, decision, NOW), later)[1]
        assert (again.verb, again.reason, again.mode) == (Verb.HOLD, Reason.REASSERT_BACKOFF, mode)

    @pytest.mark.parametrize("changes", [{"routed_by": "uid-0"}, {"sent": ""}], ids=["another Ingress", "never written"])
    def test_the_action_alone_shows_the_mode_of_an_ingress_that_the_controller_has_not_written(self, changes: dict[str, Any]) -> None:
        """One that was created anew, or that only a dry run has observed."""
        remembered = replace(memory(Mode.CAPACITY, sent="a1", action="a1", routed_by="uid-1"), **changes)
        assert decide(remembered, snapshot(routing=routing(marker="")))[1].mode is Mode.COST

    @pytest.mark.parametrize("style", RoutingStyle)
    @pytest.mark.parametrize(("mode", "other"), [(Mode.COST, Mode.CAPACITY), (Mode.CAPACITY, Mode.COST)])
    def test_a_marker_that_somebody_writes_alone_chooses_no_mode(self, mode: Mode, other: Mode, style: RoutingStyle) -> None:
        """It is in Git, and the tool ignores the action as `doctor` asks it to: the traffic would follow each sync."""
        made = self._marked(mode, style, marker=str(other))
        written = fingerprint(made.routing.action)
        remembered = memory(
            mode, sent=sent_as(made.routing.targets, made.routing.stickiness_s), action=written, routed_by="uid-1", mode_since=NOW - 10
        )
        kept, decision = decide(remembered, made)
        assert (decision.verb, decision.reason, decision.mode) == (Verb.REWEIGHT, Reason.ROUTING_DRIFTED, mode)
        assert (kept.mode, kept.mode_changes) == (mode, ())
        assert "last written by argocd" in decision.sentence
        (action,) = [one for one in plan(decision, made).due if one.kind is ActionKind.ROUTE]
        assert f'"failoverctl.dev/mode":"{mode}"' in action.body
        again = decide(applied(kept, decision, NOW), replace(made, now=NOW + 1))[1]
        assert (again.verb, again.reason) == (Verb.HOLD, Reason.REASSERT_BACKOFF)

    @pytest.mark.parametrize(
        ("changes", "remembers", "expected"),
        [
            pytest.param({"foreign": True}, {}, Mode.COST, id="with an action of the same writer: by hand"),
            pytest.param({"marked_by": ""}, {}, Mode.COST, id="the controller wrote it before it died"),
            pytest.param({"marker": "fast"}, {}, None, id="no mode"),
            pytest.param({}, {"sent": "a1"}, Mode.COST, id="with another action than the controller's last one"),
            pytest.param({}, {"routed_by": "uid-0"}, Mode.COST, id="on an Ingress that was created anew"),
        ],
    )
    def test_any_other_marker_shows_the_mode(self, changes: dict[str, Any], remembers: dict[str, Any], expected: Mode | None) -> None:
        """A person who writes action and mode by hand is obeyed."""
        made = self._marked(Mode.CAPACITY, RoutingStyle.SINGLE_SERVICE, **{"marker": "cost", **changes})
        written = fingerprint(made.routing.action)
        remembered = replace(
            memory(Mode.CAPACITY, sent=sent_as(made.routing.targets, made.routing.stickiness_s), action=written, routed_by="uid-1"),
            **remembers,
        )
        assert decide(remembered, made)[1].mode is expected

    @staticmethod
    def _marked(mode: Mode, style: RoutingStyle, **changes: Any) -> Snapshot:
        """Nothing is wrong, but that argocd has written the mode annotation."""
        made = snapshot(application(routing_style=style), mode)
        targets = capacity_targets(made.application, {name: one.ready or 0 for name, one in made.units.items()})
        targets = COST_TARGETS if mode is Mode.COST else targets
        shown = routing(mode, targets=targets, action=format_action(targets, 0), **{"marked_by": "argocd", **changes})
        return replace(made, routing=shown)

    def test_an_action_that_nobody_can_read_is_left_alone(self) -> None:
        """It may be a person's emergency measure."""
        made = self._drifted(targets=(), problem="the action is not JSON", action="{")
        assert _result(made) == (Verb.HOLD, Reason.ROUTING_UNKNOWN)

    def test_an_action_that_no_rule_uses_is_left_alone(self) -> None:
        """It was mistyped in the application file: to write it would remove the former one, which the rule still uses."""
        made = self._drifted(
            targets=(), problem="the action annotation is missing", action="", unused="no rule of the Ingress uses the action x"
        )
        decision = decide(memory(), made)[1]
        assert (decision.verb, decision.reason, decision.floors) == (Verb.HOLD, Reason.ROUTING_UNKNOWN, {})
        assert decision.sentence == (
            "the routing action of Ingress shop/sd21 is neither cost nor capacity mode: no rule of the Ingress uses the action x"
        )

    def test_an_ingress_without_action_and_marker_is_left_alone(self) -> None:
        """The controller has never routed it."""
        made = self._drifted(targets=(), problem="it has no routing action", action="", marker="")
        assert decide(Memory(), made)[1].reason is Reason.ROUTING_UNKNOWN

    def test_each_reassertion_counts(self) -> None:
        """The pause doubles with each, and the time of the last one is remembered."""
        remembered, decision = decide(memory(reasserted=Repeats(2, NOW - 100)), self._drifted())
        kept = applied(remembered, decision, NOW + 1)
        assert (kept.reasserted.times, kept.reasserted.at, kept.changed_at, kept.verified_at) == (3, NOW + 1, NOW + 1, None)
        assert kept.reasserted.against == self._drifted().routing.writer

    def test_they_are_forgotten_after_two_calm_hours(self) -> None:
        """Otherwise one bad afternoon would slow every later correction and leave its alert on for ever."""
        remembered = memory(reasserted=Repeats(9, NOW - 7199))
        assert decide(remembered, snapshot())[0].reasserted.times == 9
        kept, decision = decide(replace(remembered, reasserted=Repeats(0, NOW - 7200)), snapshot())
        assert (kept.reasserted.times, kept.reasserted.at) == (0, None)
        assert decision.alerts == ()

    def test_capacity_mode_reports_drift_although_a_fallback_is_always_wanted(self) -> None:
        """That users are routed elsewhere is more important than the dwell of the mode."""
        made = snapshot(
            mode=Mode.CAPACITY,
            routing=routing(Mode.CAPACITY, targets=FOREIGN, action=format_action(FOREIGN, 0), foreign=True, writer="argocd"),
        )
        young = memory(Mode.CAPACITY, mode_since=NOW - 10)
        first = _decision(made, young)
        assert (first.verb, first.reason, first.targets) == (Verb.REWEIGHT, Reason.ROUTING_DRIFTED, CAPACITY_TARGETS)
        waiting = _decision(made, replace(young, reasserted=Repeats(1, NOW - 5)))
        assert (waiting.verb, waiting.reason) == (Verb.HOLD, Reason.REASSERT_BACKOFF)
        unsafe = replace(made, routing=replace(made.routing, capacity_ready=0))
        held = _decision(unsafe, young)
        assert (held.verb, held.reason, held.held_back) == (Verb.HOLD, Reason.STANDBY_NOT_READY, Verb.REWEIGHT)
        assert [alert.key for alert in held.alerts] == ["held/StandbyNotReady"]

    def test_a_correction_during_preparation_counts_as_one(self) -> None:
        """Reported as preparation, it would be repeated in every pass, without a pause and without an alert."""
        made = with_scalers(change(snapshot(mode=Mode.CAPACITY), TRN1, demand=Sample(2000, NOW)))
        made = replace(made, routing=routing(Mode.CAPACITY, targets=FOREIGN, action=format_action(FOREIGN, 0), foreign=True))
        decision = _decision(made, memory(Mode.CAPACITY))
        assert (decision.verb, decision.reason, decision.held_back) == (Verb.REWEIGHT, Reason.ROUTING_DRIFTED, Verb.FALLBACK)
        assert decision.floors[INF2].replicas == 8, "the replicas that are being prepared must not be lowered for one pass"


class TestModeOfTheIngress:
    """The Ingress is the truth about the mode."""

    @pytest.mark.parametrize(
        ("changes", "style", "expected"),
        [
            pytest.param({}, RoutingStyle.SINGLE_SERVICE, Mode.COST, id="marker and action"),
            pytest.param({"marker": ""}, RoutingStyle.SINGLE_SERVICE, Mode.COST, id="action alone"),
            pytest.param(
                {"marker": "", "targets": CAPACITY_TARGETS}, RoutingStyle.SINGLE_SERVICE, Mode.CAPACITY, id="the capacity Service"
            ),
            pytest.param({"marker": "capacity"}, RoutingStyle.IN_PLACE, Mode.CAPACITY, id="in place, only the marker shows it"),
            pytest.param({"marker": ""}, RoutingStyle.IN_PLACE, Mode.COST, id="in place without a marker"),
            pytest.param({"marker": "", "targets": CAPACITY_TARGETS}, RoutingStyle.IN_PLACE, None, id="in place knows no capacity Service"),
            pytest.param({"marker": "fast"}, RoutingStyle.SINGLE_SERVICE, None, id="an unknown marker"),
            pytest.param({"marker": "", "targets": ()}, RoutingStyle.SINGLE_SERVICE, None, id="no target"),
        ],
    )
    def test_comes_from_the_marker_then_from_the_action(self, changes: dict[str, Any], style: RoutingStyle, expected: Mode | None) -> None:
        """One patch writes both, so the marker is never older than the action that it came with."""
        decision = _decision(snapshot(application(routing_style=style), routing=routing(**changes)))
        assert decision.mode is expected

    def test_adopting_the_first_mode_starts_a_dwell_in_capacity_mode_only(self) -> None:
        """Cost mode may have lasted for years, capacity mode starts its dwell."""
        assert adopt(Memory(), Mode.COST, NOW).mode_since == 0.0
        assert adopt(Memory(), Mode.CAPACITY, NOW) == replace(Memory(), mode=Mode.CAPACITY, mode_since=NOW, changed_at=NOW)

    def test_what_is_unknown_is_not_adopted(self) -> None:
        """An unreadable Ingress must not reset the dwell."""
        assert adopt(memory(), None, NOW) == memory()

    @pytest.mark.parametrize(("before", "found"), [(Mode.COST, Mode.CAPACITY), (Mode.CAPACITY, Mode.COST)])
    def test_another_mode_than_remembered_is_a_change_made_now(self, before: Mode, found: Mode) -> None:
        """The process died between patch and save, or a person changed the mode: either way it is neither verified nor drained."""
        old = memory(before, changed_at=NOW - 500, verified_at=NOW - 400, hold_level=2)
        kept = adopt(old, found, NOW)
        assert (kept.mode, kept.mode_since, kept.changed_at, kept.verified_at) == (found, NOW, NOW, None)
        assert kept.mode_changes[-1] == ModeChange(NOW, found, Reason.ROUTING_DRIFTED, "found so")

    def test_times_in_the_future_become_now(self) -> None:
        """The clock was set back by an hour: a dwell of a minute must not become one of an hour."""
        ahead = NOW + 3600
        old = Memory(
            mode=Mode.COST,
            mode_since=ahead,
            mode_changes=(ModeChange(ahead, Mode.COST, Reason.RETURN_PROVEN), ModeChange(NOW - 5, Mode.COST, Reason.RETURN_PROVEN)),
            units=proven(ahead, returned=Return.REPLICAS_READY, returned_at=ahead),
            changed_at=ahead,
            verified_at=ahead,
            reasserted=Repeats(0, ahead),
        )
        kept = adopt(old, Mode.COST, NOW)
        assert {kept.mode_since, kept.changed_at, kept.verified_at, kept.reasserted.at} == {NOW}
        assert [change.at for change in kept.mode_changes] == [NOW, NOW - 5]
        assert kept.units == proven(NOW, returned=Return.REPLICAS_READY, returned_at=NOW)


DAY = 86_400.0


def _back(**changes: Any) -> Memory:
    """Capacity mode for a day; inf2 has been back for most of it."""
    return memory(Mode.CAPACITY, units=proven(NOW - 80_000, returned=Return.REGISTERED, returned_at=NOW - 79_000), **changes)


class TestFallback:
    """Everything that must be true before traffic moves back."""

    @pytest.mark.parametrize(
        ("made", "remembered", "expected"),
        [
            pytest.param(snapshot(mode=Mode.CAPACITY), _back(), (Verb.FALLBACK, Reason.RETURN_PROVEN), id="everything is there"),
            pytest.param(
                snapshot(mode=Mode.CAPACITY),
                memory(Mode.CAPACITY),
                (Verb.FALLBACK, Reason.RETURN_PROVEN),
                id="nothing is remembered as short",
            ),
            pytest.param(
                snapshot(mode=Mode.CAPACITY),
                memory(Mode.CAPACITY, units=proven(NOW - 80_000)),
                (Verb.HOLD, Reason.RETURN_UNPROVEN),
                id="no signal for a day",
            ),
            pytest.param(
                change(snapshot(mode=Mode.CAPACITY), pool_launches=(launched(NOW - 79_000),)),
                memory(Mode.CAPACITY, units=proven(NOW - 80_000)),
                (Verb.HOLD, Reason.RETURN_UNPROVEN),
                id="a node was launched and never joined",
            ),
            pytest.param(
                change(snapshot(mode=Mode.CAPACITY), pool_failures=(refused(NOW - 300),)),
                _back(),
                (Verb.HOLD, Reason.RETURN_UNPROVEN),
                id="refused again since",
            ),
            pytest.param(
                snapshot(mode=Mode.CAPACITY),
                memory(Mode.CAPACITY, units=proven(NOW - 599, returned=Return.REGISTERED, returned_at=NOW - 500)),
                (Verb.HOLD, Reason.NOT_QUIET),
                id="not quiet for long enough",
            ),
            pytest.param(
                snapshot(mode=Mode.CAPACITY),
                memory(Mode.CAPACITY, units=proven(NOW - 900, returned=Return.REGISTERED, returned_at=NOW - 10)),
                (Verb.HOLD, Reason.HOLD_RUNNING),
                id="the hold counts from the return",
            ),
            pytest.param(snapshot(mode=Mode.CAPACITY), _back(mode_since=NOW - 599), (Verb.HOLD, Reason.DWELL), id="the mode is too young"),
            pytest.param(
                snapshot(mode=Mode.CAPACITY), _back(mode_changes=FOUR_CHANGES), (Verb.HOLD, Reason.FLIP_BUDGET_SPENT), id="too many changes"
            ),
            pytest.param(
                change(snapshot(mode=Mode.CAPACITY), deployment_ready=2, endpoints_ready=0),
                _back(),
                (Verb.HOLD, Reason.SIGNALS_CONTRADICT),
                id="the Service selects nobody",
            ),
            pytest.param(
                change(snapshot(mode=Mode.CAPACITY), ready=0, desired=0),
                _back(),
                (Verb.PREPARE, Reason.WAITING_FOR_READY),
                id="no replica yet, and no ScaledObject that could be raised",
            ),
            pytest.param(
                replace(snapshot(mode=Mode.CAPACITY), routing=routing(Mode.CAPACITY, standby=())),
                _back(),
                (Verb.HOLD, Reason.UNSAFE_SWITCH),
                id="the target groups are not registered",
            ),
            pytest.param(
                replace(
                    snapshot(mode=Mode.CAPACITY),
                    routing=routing(Mode.CAPACITY, verification=Verification(Verdict.NOT_YET, NOW, "rule 7", "old", counted=COUNTED)),
                ),
                _back(changed_at=NOW - 700),
                (Verb.HOLD, Reason.ROUTING_UNVERIFIED),
                id="the failover never reached the load balancer",
            ),
            pytest.param(
                change(snapshot(mode=Mode.CAPACITY), service_exists=False), _back(), (Verb.HOLD, Reason.STANDBY_NOT_READY), id="no Service"
            ),
            pytest.param(
                replace(snapshot(mode=Mode.CAPACITY), routing=routing(Mode.CAPACITY, override=Override(pinned_mode=Mode.CAPACITY))),
                _back(),
                (Verb.HOLD, Reason.PINNED),
                id="pinned to capacity",
            ),
        ],
    )
    def test_what_is_missing(self, made: Snapshot, remembered: Memory, expected: tuple[Verb, Reason]) -> None:
        """Each row takes one thing away."""
        assert _result(made, remembered) == expected

    def test_a_fallback_forgets_what_was_short_and_keeps_the_doubling(self) -> None:
        """The next failover within two hours is a flap."""
        remembered, decision = decide(_back(hold_level=1), snapshot(mode=Mode.CAPACITY))
        kept = applied(remembered, decision, NOW + 1)
        assert (kept.mode, kept.mode_since, kept.units, kept.hold_level) == (Mode.COST, NOW + 1, {}, 1)
        assert kept.mode_changes[-1].to is Mode.COST
        joined = "a node that was requested after the last refusal has joined"
        assert kept.mode_changes[-1].detail == f"back to cost mode with sd21-inf2: {joined}"

    def test_units_that_returned_in_different_ways_are_listed_apart(self) -> None:
        """The sentence says what proves the return, not the name of a state."""
        units = _back().units
        ready = {TRN1: replace(units[INF2], returned=Return.REPLICAS_READY)}
        sentence = decide(memory(Mode.CAPACITY, units={**units, **ready}), snapshot(mode=Mode.CAPACITY))[1].sentence
        assert "sd21-inf2: a node that was requested after the last refusal has joined; " in sentence
        assert "sd21-trn1: the replicas that the present demand needs are ready" in sentence

    def test_replicas_that_are_missing_are_prepared_first(self) -> None:
        """Floors are raised while the traffic stays where it is; then all that is left is to wait."""
        made = change(with_scalers(snapshot(mode=Mode.CAPACITY)), TRN1, demand=Sample(2000, NOW))
        decision = _decision(made, _back())
        assert (decision.verb, decision.reason, decision.held_back) == (Verb.PREPARE, Reason.PREPARING_RETURN, Verb.FALLBACK)
        assert decision.floors[INF2].replicas == math.ceil(2000 * 0.40 / 105)
        assert decision.targets == CAPACITY_TARGETS
        raised = replace(
            made, units={n: replace(o, scaler=scaler(n, min_replicas=decision.floors[n].replicas)) for n, o in made.units.items()}
        )
        waiting = _decision(raised, _back())
        assert (waiting.verb, waiting.reason) == (Verb.PREPARE, Reason.WAITING_FOR_READY)
        assert "sd21-inf2 has 2 of the 8 ready replicas" in waiting.sentence

    def test_nothing_is_prepared_while_the_hold_runs(self) -> None:
        """Replicas for a fallback that is half an hour away would only cost money."""
        made = change(with_scalers(snapshot(mode=Mode.CAPACITY)), TRN1, demand=Sample(2000, NOW))
        back = memory(Mode.CAPACITY, units=proven(NOW - 900, returned=Return.REGISTERED, returned_at=NOW - 10))
        decision = _decision(made, back)
        assert (decision.verb, decision.reason) == (Verb.HOLD, Reason.HOLD_RUNNING)

    def test_a_pin_to_cost_does_not_wait_for_what_is_not_back(self) -> None:
        """The operator takes the units that are there; the missing one gets nothing rather than the answer 503."""
        made = change(snapshot(mode=Mode.CAPACITY), ready=0)
        made = replace(made, routing=routing(Mode.CAPACITY, override=Override(pinned_mode=Mode.COST, pinned_why="budget")))
        decision = _decision(made, memory(Mode.CAPACITY, units=proven(NOW - 60)))
        assert (decision.verb, decision.reason) == (Verb.FALLBACK, Reason.PINNED_TO_MODE)
        assert decision.targets[0] == Target(INF2, 80, 0)
        assert decision.sentence == "an operator pinned mode cost: budget"

    def test_a_pin_to_cost_with_nothing_ready_is_refused(self) -> None:
        """Nobody could serve it."""
        made = snapshot(mode=Mode.CAPACITY)
        made = replace(
            made,
            units={n: replace(o, ready=0) for n, o in made.units.items()},
            routing=routing(Mode.CAPACITY, override=Override(pinned_mode=Mode.COST)),
        )
        assert _result(made, memory(Mode.CAPACITY)) == (Verb.HOLD, Reason.STANDBY_NOT_READY)

    def test_an_idle_unit_needs_one_replica_before_it_gets_traffic(self) -> None:
        """With a floor of 0 and no demand nobody would ever start it, and the fallback would wait for it for ever."""
        app = application()
        app = replace(app, units=tuple(replace(unit, min_replicas=0) for unit in app.units))
        made = change(with_scalers(snapshot(app, Mode.CAPACITY)), TRN1, demand=Sample(0, NOW))
        made = change(made, ready=0, desired=0, scaler=scaler(min_replicas=0))
        decision = _decision(made, _back())
        assert (decision.verb, decision.floors[INF2].replicas) == (Verb.PREPARE, 1)


class TestHold:
    """The break-even time of a mode change."""

    WEIGHTS = {INF2: 40, TRN1: 20, "sd21-g5-triton": 15, G6: 10, "sd21-g5-cuda": 15}  # noqa: RUF012 - read only

    def test_is_the_extra_spend_of_a_cold_start_over_the_extra_price(self) -> None:
        """inf2 is 27.6 % of the spend and takes 600 s; capacity mode costs 12.2 % more."""
        assert break_even_s(application(), self.WEIGHTS, (INF2,), 0) == pytest.approx(0.2758 * 600 / 0.1216, rel=0.01)

    @pytest.mark.parametrize(("level", "factor"), [(0, 1), (1, 2), (2, 4)])
    def test_doubles_with_every_flap(self, level: int, factor: int) -> None:
        """Each one shows that the last hold was too short."""
        once = break_even_s(application(), self.WEIGHTS, (INF2,), 0)
        assert break_even_s(application(), self.WEIGHTS, (INF2,), level) == pytest.approx(once * factor)

    def test_keeps_within_its_bounds(self) -> None:
        """Not below five minutes, not above four hours, however often it was doubled."""
        assert break_even_s(application(), self.WEIGHTS, (), 0) == 300
        assert break_even_s(application(), self.WEIGHTS, (INF2,), 10_000) == 14_400

    @pytest.mark.parametrize(
        "weights", [pytest.param({}, id="no weights"), pytest.param(dict.fromkeys(WEIGHTS, 20), id="capacity mode costs the same")]
    )
    def test_is_longest_where_a_return_saves_nothing(self, weights: dict[str, int]) -> None:
        """A fallback that never pays off waits as long as allowed."""
        assert break_even_s(application(), weights, (INF2,), 0) == 14_400

    @pytest.mark.parametrize(
        ("changes", "level"),
        [
            pytest.param((), 0, id="no fallback yet"),
            pytest.param((ModeChange(NOW - 7199, Mode.COST, Reason.RETURN_PROVEN),), 3, id="within two hours"),
            pytest.param((ModeChange(NOW - 7200, Mode.COST, Reason.RETURN_PROVEN),), 0, id="two hours ago"),
            pytest.param((ModeChange(NOW - 5, Mode.CAPACITY, Reason.SHORTAGE_PROVEN),), 0, id="a failover is no fallback"),
        ],
    )
    def test_a_failover_soon_after_a_fallback_is_a_flap(self, changes: tuple[ModeChange, ...], level: int) -> None:
        """The level starts again after two calm hours."""
        assert level_after_failover(memory(mode_changes=changes, hold_level=2), NOW) == level

    def test_the_level_is_noted_with_the_failover(self) -> None:
        """From the decision alone, as the service applies it."""
        remembered = memory(mode_changes=(ModeChange(NOW - 100, Mode.COST, Reason.RETURN_PROVEN),), **PROVEN)
        kept, decision = decide(remembered, shortage())
        assert applied(kept, decision, NOW).hold_level == 1


class TestVerification:
    """The load balancer's word counts only for the action it was asked about."""

    @pytest.mark.parametrize(
        ("seen", "verified"),
        [
            pytest.param({}, True, id="it shows it"),
            pytest.param({"verdict": Verdict.NOT_YET}, False, id="not yet"),
            pytest.param({"verdict": Verdict.CANNOT_TELL}, False, id="cannot tell"),
            pytest.param({"action": "old"}, False, id="an older action"),
            pytest.param({"at": NOW - 31}, False, id="observed before the change"),
        ],
    )
    def test_is_noted_once(self, seen: dict[str, Any], verified: bool) -> None:
        """Drain and fallback count from the first sight."""
        made = snapshot()
        word = replace(Verification(Verdict.YES, NOW - 5, "", made.routing.action), **seen)
        made = replace(made, routing=replace(made.routing, verification=word))
        kept, _ = decide(memory(changed_at=NOW - 30), made)
        assert kept.verified_at == (NOW - 5 if verified else None)

    @pytest.mark.parametrize(
        ("remembered", "seen", "allowed"),
        [
            pytest.param({}, {}, True, id="nothing was changed"),
            pytest.param({"changed_at": NOW - 500, "verified_at": NOW - 120}, {}, True, id="verified and drained"),
            pytest.param({"changed_at": NOW - 500, "verified_at": NOW - 119}, {}, False, id="not drained"),
            pytest.param({"changed_at": NOW - 500}, {"verdict": Verdict.NOT_YET}, False, id="not verified"),
            pytest.param({"changed_at": NOW - 500, "verified_at": NOW - 400}, {"action": "old"}, False, id="about another action"),
            pytest.param(
                {"changed_at": NOW - 500, "verified_at": NOW - 400}, {"verdict": Verdict.CANNOT_TELL}, False, id="cannot tell now"
            ),
        ],
    )
    def test_nothing_is_lowered_before_it(self, remembered: dict[str, Any], seen: dict[str, Any], allowed: bool) -> None:
        """Lowering behind traffic that has not moved takes replicas from users."""
        made = snapshot()
        word = replace(Verification(Verdict.YES, NOW, "", made.routing.action), **seen)
        made = replace(made, routing=replace(made.routing, verification=word))
        assert _decision(made, memory(**remembered)).lowering_allowed is allowed

    def test_sticky_clients_are_waited_for(self) -> None:
        """The sample's stickiness of 200 s keeps clients on the old target groups."""
        made = snapshot(_policy(stickiness_capacity_s=200))
        remembered = memory(changed_at=NOW - 500, verified_at=NOW - 199)
        assert not _decision(made, remembered).lowering_allowed
        assert _decision(made, replace(remembered, verified_at=NOW - 200)).lowering_allowed


def test_a_decision_says_when_time_alone_may_change_it() -> None:
    """The service waits that long and need not poll."""
    assert _decision(snapshot()).next_check_s is None
    assert _decision(shortage(), memory(units=proven(NOW - 6))).next_check_s == 4.0
    fresh = change(snapshot(), pool_failures=(refused(NOW - 1, seen=NOW - 1), refused(NOW - 20, source="create-error")))
    assert _decision(fresh).next_check_s == 2.0
    assert _decision(replace(snapshot(), routing=routing(override=Override(paused_until=NOW + 45)))).next_check_s == 45.0
    pinned = replace(shortage(), routing=routing(override=Override(pinned_mode=Mode.COST, pinned_until=NOW + 3)))
    assert _decision(pinned).next_check_s == 3.0


def test_degradations_are_named() -> None:
    """An optional source that is gone changes no decision, but a person should know what we are blind to."""
    sources = (
        Source("karpenter", True, NOW, 180),
        Source("cloudwatch", False, NOW - 999, 180, problem="denied"),
        Source("ec2", False, None, 180, absent=True),
        Source("elbv2", False, NOW, 180),
    )
    assert _decision(replace(snapshot(), sources=sources)).degraded == ("cloudwatch stale: denied", "ec2 absent")


def test_stale_signals_leave_the_memory_alone() -> None:
    """What is stale must not be remembered as fact."""
    made = replace(shortage(), sources=(Source("karpenter", True, NOW - 999, 180),))
    assert decide(memory(), made)[0] == memory()


def test_in_place_follows_the_ready_replicas() -> None:
    """The same five target groups in both modes; capacity mode weighs them by what is ready."""
    app = application(routing_style=RoutingStyle.IN_PLACE)
    made = replace(shortage(snapshot(app), ready=0), routing=routing())
    decision = _decision(made, memory(**PROVEN))
    assert (decision.verb, decision.mode) == (Verb.FAILOVER, Mode.CAPACITY)
    assert [t.weight for t in decision.targets] == [0, 25, 25, 25, 25]


def test_the_applications_units_are_found_by_name() -> None:
    """Asking for one that is not there is a mistake of ours."""
    assert application().unit(G6) is not None
    with pytest.raises(KeyError):
        application().unit("other")
    assert application().key == "shop/sd21"
    assert {unit.name for unit in seed_units()} == set(SERVICES)
    assert {judged.shortage for judged in _decision(snapshot()).evidence.values()} == {Shortage.NONE}


class TestWhoHoldsAFallback:
    """A unit that could have caused the failover, and nobody else."""

    def _back(self, made: Snapshot, units: dict[str, UnitMemory]) -> Decision:
        return _decision(made, memory(Mode.CAPACITY, units=units))

    def test_refused_pods_hold_it_although_nothing_is_remembered(self) -> None:
        """A ConfigMap was deleted, or the failover was by hand: what is refused while pods wait has not returned."""
        made = change(snapshot(mode=Mode.CAPACITY), pool_failures=(refused(),), pending=pods(), desired=4)
        decision = self._back(made, {})
        assert (decision.verb, decision.reason) == (Verb.HOLD, Reason.RETURN_UNPROVEN)

    def test_a_unit_without_weight_does_not(self) -> None:
        """Cost mode sends it nothing."""
        app = application()
        app = replace(app, units=tuple(replace(unit, weight=0) if unit.name == INF2 else unit for unit in app.units))
        made = shortage(snapshot(app, Mode.CAPACITY))
        assert self._back(made, proven(NOW - 60)).verb is Verb.FALLBACK

    def test_a_cause_that_may_not_switch_does_not(self) -> None:
        """It could not have brought the application there."""
        policy = PolicySettings(trip_causes=frozenset({Cause.CAPACITY}))
        made = shortage(snapshot(application(policy=policy), Mode.CAPACITY), cause=Cause.QUOTA)
        units = {INF2: replace(proven(NOW - 60)[INF2], cause=Cause.QUOTA)}
        assert self._back(made, units).verb is Verb.FALLBACK

    @pytest.mark.parametrize(
        ("proven_at", "waiting", "verb"),
        [
            pytest.param(NOW - 3600, (), Verb.FALLBACK, id="it came later, and nobody waits for it"),
            pytest.param(NOW - 3600, pods(since=NOW - 90), Verb.FALLBACK, id="it came later, and pods have waited for a moment"),
            pytest.param(NOW - 3600, pods(since=NOW - 300), Verb.HOLD, id="pods have waited for a cycle: it would fail over again"),
            pytest.param(NOW - 2 * 86_400, (), Verb.HOLD, id="it may have caused the failover"),
        ],
    )
    def test_an_old_misconfiguration_only_holds_it_where_it_could_fail_over(
        self, proven_at: float, waiting: tuple[PendingPod, ...], verb: Verb
    ) -> None:
        """It held a fallback for good: nobody would have launched anything for it."""
        made = change(snapshot(mode=Mode.CAPACITY), pending=waiting, desired=2 + len(waiting))
        units = {INF2: replace(proven(proven_at)[INF2], cause=Cause.CONFIG)}
        assert self._back(made, units).verb is verb


@pytest.mark.parametrize(
    ("changes", "remembered", "expected"),
    [
        ({}, None, (Mode.COST, "")),
        ({"exists": False}, Mode.COST, (None, "the routing object does not exist")),
        ({"problem": "not JSON", "action": "{"}, Mode.COST, (None, "not JSON")),
        ({"marker": "capacity"}, None, (Mode.CAPACITY, "")),
        ({"marker": "fast"}, Mode.COST, (None, "the mode annotation says 'fast'")),
        ({"problem": "no action", "action": ""}, Mode.CAPACITY, (Mode.CAPACITY, "")),
        ({"problem": "no action", "action": ""}, None, (None, "no action")),
        ({"targets": (Target("elsewhere", 80, 1),)}, Mode.COST, (None, "it forwards to elsewhere")),
    ],
)
def test_the_mode_and_why_it_is_unknown(changes: dict[str, Any], remembered: Mode | None, expected: tuple[Mode | None, str]) -> None:
    """The marker goes before the action, and memory counts only where nothing is routed."""
    made = snapshot()
    shown = replace(made.routing, **{"marker": "", **changes})
    assert observed_mode(replace(made, routing=shown), memory(remembered) if remembered else None) == expected
