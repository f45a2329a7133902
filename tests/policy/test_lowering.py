"""When floors may sink, and how far: not before a change that is not remembered is drained, and not below what the traffic needs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controller.policy.memory import fingerprint
from controller.policy.model import Memory, Mode, Sample, Scaler, Snapshot, Target, Verb, Verdict, Verification
from controller.policy.routing import stickiness
from controller.routing.ingress.action import format_action
from tests.policy.support import applied, decide, plan
from tests.support.applications import COST_TARGETS, COUNTED, NOW, memory, routing, snapshot

LATER = NOW + 1000
OTHER = (*COST_TARGETS[:-1], replace(COST_TARGETS[-1], weight=14))


def scaled(seen: Snapshot, floor: int) -> Snapshot:
    """Every unit with a ScaledObject of ours at a floor, and a demand for two replicas of inf2 and one of every other."""
    units = {
        name: replace(
            observed,
            scaler=Scaler(f"{name}-hpa", "1", floor, 100, "105", 0),
            demand=Sample(100.0, seen.now - 120),
        )
        for name, observed in seen.units.items()
    }
    return replace(seen, units=units)


def showing(targets: tuple[Target, ...], now: float) -> Snapshot:
    """An Ingress with these targets, which the load balancer shows now."""
    action = format_action(targets, 0)
    seen = snapshot(now=now)
    sources = tuple(replace(source, last_ok=now) for source in seen.sources)
    verification = Verification(Verdict.YES, now, "", action, applied=True, counted=COUNTED)
    return replace(seen, sources=sources, routing=routing(action=action, targets=targets, verification=verification))


def lowered(before: Memory, seen: Snapshot) -> tuple[Memory, bool]:
    """The memory after a decision, and whether floors may sink by it."""
    after, decision = decide(before, seen)
    return after, decision.lowering_allowed


def test_a_change_that_is_not_remembered_is_drained_before_anything_sinks() -> None:
    """The answer to our patch was lost, or the process died before it saved: the mode is the same, the action differs."""
    known, _ = decide(memory(), showing(COST_TARGETS, NOW))
    assert known.action == fingerprint(format_action(COST_TARGETS, 0))
    after, allowed = lowered(known, showing(OTHER, LATER))
    assert not allowed
    assert after.changed_at == LATER
    after, allowed = lowered(after, showing(OTHER, LATER + 60))
    assert not allowed
    assert after.verified_at is not None
    _, allowed = lowered(after, showing(OTHER, LATER + 60 + 121))
    assert allowed


def test_the_first_sight_of_an_action_is_no_change() -> None:
    """A memory of an earlier version has no action, and the present one has been there for long."""
    after, allowed = lowered(memory(), showing(COST_TARGETS, NOW))
    assert allowed
    assert after.changed_at is None


@pytest.mark.parametrize(
    ("policy", "sticky_s", "wait_s"),
    [
        ({}, 0, 120.0),
        ({"stickiness_cost_s": 300}, 0, 300.0),
        ({"stickiness_capacity_s": 400}, 0, 400.0),
        ({}, 500, 500.0),
    ],
)
def test_floors_sink_once_the_longest_wait_is_over(policy: dict[str, Any], sticky_s: int, wait_s: float) -> None:
    """The drain, the stickiness of either mode, and that of the routing action before: clients of all of them must have left."""
    seen = showing(COST_TARGETS, NOW)
    app = replace(seen.application, policy=replace(seen.application.policy, **policy))
    seen = replace(seen, application=app, routing=replace(seen.routing, stickiness_s=stickiness(app, Mode.COST)))
    known = replace(decide(memory(), showing(COST_TARGETS, NOW))[0], sticky_s=sticky_s)
    for age, allowed in ((wait_s - 1, False), (wait_s, True)):
        changed = replace(known, changed_at=NOW - age - 5, verified_at=NOW - age)
        assert lowered(changed, seen)[1] is allowed


def test_an_action_that_is_taken_away_is_remembered() -> None:
    """The same action written again is no change; another one is."""
    known, _ = decide(memory(), showing(COST_TARGETS, NOW))
    gone = replace(showing(COST_TARGETS, LATER), routing=routing(action="", targets=(), marker="cost", problem="it is missing"))
    after, _ = decide(known, gone)
    assert after.action == known.action
    back, _ = decide(after, showing(COST_TARGETS, LATER + 10))
    assert back.changed_at is None


def test_an_ingress_that_was_created_anew_is_a_change() -> None:
    """Its rule was gone meanwhile, though the action is the same."""
    known, _ = decide(memory(), showing(COST_TARGETS, NOW))
    seen = showing(COST_TARGETS, LATER)
    after, allowed = lowered(known, replace(seen, routing=replace(seen.routing, uid="uid-2")))
    assert not allowed
    assert after.changed_at == LATER


def test_our_own_change_is_known_as_ours() -> None:
    """The next pass finds the action that was applied."""
    seen = showing(OTHER, NOW)
    before, decision = decide(memory(), replace(seen, routing=replace(seen.routing, writer="kubectl", foreign=True)))
    assert decision.verb is Verb.REWEIGHT
    after = applied(before, decision, NOW)
    later, _ = decide(after, showing(decision.targets, NOW + 5))
    assert later.changed_at == NOW


def test_without_a_memory_the_last_change_may_be_seconds_old() -> None:
    """Somebody deleted the ConfigMap: the present action is drained before anything sinks."""
    after, allowed = lowered(Memory(), showing(COST_TARGETS, NOW))
    assert not allowed
    assert after.unverified_since is None, "an alert would be about a change that may never have been made"
    _, allowed = lowered(after, showing(COST_TARGETS, NOW + 121))
    assert allowed


def test_a_raised_floor_sinks_no_further_than_the_traffic_needs() -> None:
    """The scaler may have no metric, or still that of the traffic before a mode change: then only the floor keeps the replicas."""
    seen = scaled(showing(COST_TARGETS, NOW), floor=5)
    _, decision = decide(memory(), seen)
    assert decision.evidence["sd21-inf2"].needed == 2
    assert decision.floors["sd21-inf2"].replicas == 2
    assert decision.floors["sd21-trn1"].replicas == 1
    after = {action.unit: action.after for action in plan(decision, seen).due}
    assert after["sd21-inf2"] == "2"


def test_a_floor_that_is_low_is_left_low() -> None:
    """Replicas are the scaler's business as long as nobody raised the floor."""
    _, decision = decide(memory(), scaled(showing(COST_TARGETS, NOW), floor=1))
    assert decision.floors["sd21-inf2"].replicas == 1


def test_a_rule_that_somebody_else_changed_is_a_change() -> None:
    """The load balancer no longer shows the action, which did not change: a nudge restores the rule, and it is drained again."""
    known, _ = decide(memory(), showing(COST_TARGETS, NOW))
    seen = showing(COST_TARGETS, LATER)
    tampered = Verification(Verdict.NOT_YET, LATER, "HTTP:80 /* has other weights", seen.routing.action)
    after, decision = decide(known, replace(seen, routing=replace(seen.routing, verification=tampered)))
    assert after.unverified_since == LATER
    assert decision.verb is Verb.HOLD
    late = showing(COST_TARGETS, LATER + 121)
    still = replace(tampered, at=LATER + 120)
    after, decision = decide(after, replace(late, routing=replace(late.routing, verification=still)))
    assert after.changed_at == LATER
    assert decision.verb is Verb.NUDGE
    assert [alert.key for alert in decision.alerts] == ["unverified"]
    after, allowed = lowered(after, showing(COST_TARGETS, LATER + 200))
    assert not allowed
    _, allowed = lowered(after, showing(COST_TARGETS, LATER + 200 + 121))
    assert allowed


def test_targets_that_fall_ill_are_no_change_of_the_rule() -> None:
    """The rule is right, so a nudge of its controller would fix nothing."""
    known, _ = decide(memory(), showing(COST_TARGETS, NOW))
    seen = showing(COST_TARGETS, LATER)
    ill = Verification(Verdict.NOT_YET, LATER, "too few healthy targets", seen.routing.action, applied=True)
    after, _ = decide(known, replace(seen, routing=replace(seen.routing, verification=ill)))
    assert after.unverified_since is None


def test_weight_that_was_taken_is_given_back_only_once_its_effect_can_be_known() -> None:
    """Otherwise weights follow every sample of a demand that is close to a limit: less weight is urgent, more is not."""
    cut = (replace(COST_TARGETS[0], weight=30), *COST_TARGETS[1:])
    before = memory(changed_at=NOW - 200, verified_at=NOW - 190, action=fingerprint(format_action(cut, 0)))
    _, decision = decide(before, showing(cut, NOW))
    assert decision.verb is Verb.HOLD
    assert decision.next_check_s == 100
    _, decision = decide(before, showing(cut, NOW + 100))
    assert decision.verb is Verb.REWEIGHT
    assert decision.targets == COST_TARGETS


def test_a_unit_that_serves_again_gets_its_weight_at_once() -> None:
    """Weight for a unit that had none does not depend on samples."""
    gone = (replace(COST_TARGETS[0], weight=0), *COST_TARGETS[1:])
    before = memory(changed_at=NOW - 100, verified_at=NOW - 90, action=fingerprint(format_action(gone, 0)))
    _, decision = decide(before, showing(gone, NOW))
    assert decision.verb is Verb.REWEIGHT


def test_it_is_the_same_where_another_unit_serves_nobody() -> None:
    """Then full weights for all that serve differ from those of the file, and the samples of the others change as much."""
    cut = (replace(COST_TARGETS[0], weight=0), replace(COST_TARGETS[1], weight=38), *COST_TARGETS[2:])
    before = memory(changed_at=NOW - 200, verified_at=NOW - 190, action=fingerprint(format_action(cut, 0)))
    gone = showing(cut, NOW)
    units = {**gone.units, "sd21-inf2": replace(gone.units["sd21-inf2"], ready=0, deployment_ready=0, endpoints_ready=0)}
    _, decision = decide(before, replace(gone, units=units))
    assert decision.verb is Verb.HOLD
