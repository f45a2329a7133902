"""Mode changes that would drop requests, or that could not be carried out, are held back with a reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from controller.policy.model import (
    Backend,
    Mode,
    Override,
    PolicySettings,
    Return,
    RoutingStyle,
    Snapshot,
    Target,
    Verb,
    Verdict,
    Verification,
)
from controller.policy.modes.guards import may_fix
from controller.policy.reasons import Reason
from tests.policy.support import INF2, change, decide, plan, proven, returned, shortage
from tests.support.applications import COST_TARGETS, COUNTED, application, memory, routing, seed_units, snapshot

OTHER = "Failed build model due to ingress: other/broken: failed to parse json annotation"
MISSING = 'Failed build model due to ingress: shop/sd21: Service "{}" not found'


def failover(made: Snapshot) -> Snapshot:
    """A shortage that asks for a failover."""
    return shortage(made)


def pinned(made: Snapshot) -> Snapshot:
    """An operator's pin that asks for one."""
    return replace(made, routing=replace(made.routing, override=Override(pinned_mode=Mode.CAPACITY)))


@pytest.mark.parametrize("asked", [failover, pinned])
@pytest.mark.parametrize(
    ("changes", "reason", "words"),
    [
        pytest.param({"capacity_exists": False}, Reason.STANDBY_NOT_READY, "Service sd21-all (port 80) does not exist", id="no Service"),
        pytest.param({"capacity_ready": 0}, Reason.STANDBY_NOT_READY, "Service sd21-all has no ready endpoint", id="no ready endpoint"),
        pytest.param({"capacity_ready": None}, Reason.STANDBY_NOT_READY, "endpoints of sd21-all are not known", id="unknown"),
        pytest.param({"standby": ()}, Reason.UNSAFE_SWITCH, "no standby rule keeps sd21-all registered", id="no standby rule"),
        pytest.param({"standby": ("sd21-all",)}, Reason.UNSAFE_SWITCH, "requests in flight would be cut", id="the old side is let go"),
        pytest.param({"bound": ()}, Reason.UNSAFE_SWITCH, "has no target group for sd21-all yet", id="no target group"),
        pytest.param({"blocked": OTHER}, Reason.ROUTING_BLOCKED, "due to ingress: other/broken", id="a broken Ingress of the group"),
        pytest.param({"blocked": MISSING.format("x")}, Reason.ROUTING_BLOCKED, '"x" not found', id="a standby rule without a Service"),
    ],
)
def test_a_failover_is_refused(asked: Callable[[Snapshot], Snapshot], changes: dict[str, Any], reason: Reason, words: str) -> None:
    """In the decision, and so in the log and `plan`; and as an alert, and so as an Event. A pin makes no difference."""
    made = asked(snapshot(routing=routing(**changes)))
    decision = decide(memory(units=proven()), made)[1]
    assert (decision.verb, decision.held_back, decision.reason) == (Verb.HOLD, Verb.FAILOVER, reason)
    assert words in decision.sentence
    assert [alert.severity for alert in decision.alerts if alert.key == f"held/{reason}"] == ["critical"]
    assert plan(decision, made).due == ()


def test_six_target_groups_are_refused() -> None:
    """AWS takes five an action. The application file allows no more, and no action with more is ever written."""
    extra = replace(seed_units()[0], name="sixth", backend=Backend("sixth", 80), deployment="sixth", scaled_object=None)
    app = application(units=(*seed_units(), extra), routing_style=RoutingStyle.IN_PLACE)
    made = snapshot(app)
    made = replace(made, routing=replace(made.routing, override=Override(pinned_mode=Mode.CAPACITY)))
    decision = decide(memory(), made)[1]
    assert (decision.verb, decision.reason) == (Verb.HOLD, Reason.ACTION_REFUSED)
    assert "may have 5 target groups, this one has 6" in decision.sentence
    assert [alert.severity for alert in decision.alerts if alert.key == "held/ActionRefused"] == ["critical"]


@pytest.mark.parametrize(
    ("said", "fixed"),
    [
        pytest.param(OTHER, False, id="another Ingress"),
        pytest.param(MISSING.format("sd21-trn1"), True, id="a Service that only the present action names"),
        pytest.param(MISSING.format("sd21-all"), False, id="a Service of the other action"),
        pytest.param("Failed build model due to ingress: shop/sd21: unable to find port 80 on service shop/sd21-inf2", True, id="a port"),
        pytest.param(
            "Failed build model due to ingress: shop/sd21: failed to parse json annotation, "
            "alb.ingress.kubernetes.io/actions.weighted-routing: {: unexpected end of JSON input",
            True,
            id="the present action itself",
        ),
        pytest.param(
            "Failed build model due to ingress: shop/sd21: missing actions.weighted-routing configuration", True, id="no action at all"
        ),
        pytest.param("Failed build model due to ingress: shop/sd21: missing actions.other configuration", False, id="no other action"),
        pytest.param("Failed build model due to ingress: shop/sd21: no certificate found for host", False, id="something else of ours"),
        pytest.param("Failed build model due to no subnets", False, id="in words that name no Ingress"),
    ],
)
def test_a_mode_change_may_fix_what_blocks(said: str, fixed: bool) -> None:
    """A unit's Service was deleted. The present action then blocks every change, and an action without that Service fixes it."""
    made = shortage(snapshot(routing=routing(blocked=said)))
    assert may_fix(said, made, (Target("sd21-all", 80, 1),)) is fixed
    decision = decide(memory(units=proven()), made)[1]
    assert (decision.verb is Verb.FAILOVER) is fixed
    assert any(alert.key == "blocked" for alert in decision.alerts)


def test_weights_still_follow_while_the_controller_is_blocked() -> None:
    """The Ingress keeps the right weights: they are carried out as soon as somebody fixes the other Ingress."""
    made = change(snapshot(routing=routing(blocked=OTHER)), ready=0, endpoints_ready=0)
    assert decide(memory(), made)[1].verb is Verb.REWEIGHT


@pytest.mark.parametrize(
    ("healthy", "allowed"),
    [pytest.param(1, True, id="half of two"), pytest.param(0, False, id="none"), pytest.param(None, True, id="not known")],
)
def test_a_fallback_waits_for_healthy_targets(healthy: int | None, allowed: bool) -> None:
    """Ready is not yet healthy: the load balancer's own check comes later."""
    made, remembered = returned(returned=Return.REGISTERED)
    counts = {} if healthy is None else {INF2: healthy}
    seen = Verification(Verdict.YES, made.now, "", made.routing.action, applied=True, healthy=counts, counted=COUNTED)
    made = replace(made, routing=replace(made.routing, verification=seen))
    decision = decide(remembered, made)[1]
    assert (decision.verb is Verb.FALLBACK) is allowed
    if not allowed:
        assert decision.reason is Reason.UNSAFE_SWITCH
        held = [alert.severity for alert in decision.alerts if alert.key.startswith("held/")]
        assert held == ["warning"], "it costs money and fails nobody"


def test_a_fallback_waits_for_most_of_them() -> None:
    """One healthy target of four would take the traffic of four."""
    made, remembered = returned()
    seen = Verification(Verdict.YES, made.now, "", made.routing.action, applied=True, healthy={INF2: 1}, counted=COUNTED)
    made = change(replace(made, routing=replace(made.routing, verification=seen)), ready=4)
    decision = decide(remembered, made)[1]
    assert (decision.verb, decision.reason) == (Verb.HOLD, Reason.UNSAFE_SWITCH)
    assert "1 target(s) of sd21-inf2 are healthy at the load balancer, 2 are needed" in decision.sentence


def test_an_unsafe_switch_can_be_allowed() -> None:
    """5 to 30 s of 503 may be better than a shortage without end; that is for people to decide, in the application file."""
    app = application(policy=PolicySettings(allow_unsafe_switch=True))
    made = shortage(snapshot(app, routing=routing(standby=())))
    decision = decide(memory(units=proven()), made)[1]
    assert decision.verb is Verb.FAILOVER
    assert any("allowed by allowUnsafeSwitch" in result.text for result in decision.guards)
    assert not any(alert.key == "unprepared" for alert in decision.alerts)
    assert [target.weight for target in COST_TARGETS] == [40, 20, 15, 10, 15]


@pytest.mark.parametrize(
    ("sticky", "seconds", "refused"),
    [
        pytest.param(("sd21-all",), (0, 0), False, id="only the target group of capacity mode, which is alone in its action"),
        pytest.param(("sd21-inf2",), (0, 0), True, id="one of several"),
        pytest.param(("sd21-inf2",), (60, 0), False, id="an action with stickiness"),
    ],
)
def test_sticky_target_groups_need_an_action_with_stickiness(sticky: tuple[str, ...], seconds: tuple[int, int], *, refused: bool) -> None:
    """ELBv2 refuses several target groups of which one has stickiness, and the load-balancer controller would retry for ever."""
    policy = PolicySettings(stickiness_cost_s=seconds[0], stickiness_capacity_s=seconds[1])
    made, remembered = returned(returned=Return.REGISTERED)
    made = replace(made, application=application(policy=policy), routing=replace(made.routing, sticky=sticky, stickiness_s=seconds[1]))
    decision = decide(remembered, made)[1]
    if refused:
        assert (decision.verb, decision.reason) == (Verb.HOLD, Reason.ACTION_REFUSED)
        assert f"the target group of {sticky[0]} has stickiness.enabled=true" in decision.sentence
    else:
        assert decision.verb is Verb.FALLBACK


def test_a_failover_away_from_sticky_target_groups_is_free() -> None:
    made = shortage(snapshot(routing=routing(sticky=("sd21-inf2", "sd21-all"))))
    assert decide(memory(units=proven()), made)[1].verb is Verb.FAILOVER
