"""The health of what stands by, as the load balancer sees it, before anything is switched to it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.policy.model import OpenGates, PolicySettings, Verb, Verdict, Verification
from controller.policy.reasons import Reason
from tests.policy.support import change, decide, proven, shortage
from tests.support.applications import NOW, application, memory, routing, snapshot


@pytest.mark.parametrize(
    ("healthy", "verb"),
    [
        pytest.param({"sd21-all": 0}, Verb.HOLD, id="none healthy"),
        pytest.param({"sd21-all": 1}, Verb.FAILOVER, id="one healthy"),
        pytest.param({}, Verb.HOLD, id="never counted"),
    ],
)
def test_a_target_group_without_a_healthy_target_is_not_switched_to(healthy: dict[str, int], verb: Verb) -> None:
    """Pods may be ready while the load balancer's own health check fails: a failover would answer every request with an error."""
    seen = routing().verification
    assert seen is not None
    made = shortage(snapshot(routing=routing(verification=replace(seen, healthy=healthy, counted=healthy))))
    decision = decide(memory(units=proven()), made)[1]
    assert decision.verb is verb
    if verb is Verb.HOLD:
        assert decision.reason is Reason.UNSAFE_SWITCH
        words = "no target of sd21-all is healthy" if healthy else "no target of sd21-all has been seen healthy at the load balancer yet"
        assert words in decision.sentence


@pytest.mark.parametrize("seen", [None, Verification(Verdict.CANNOT_TELL, NOW, "IAM does not allow it")])
@pytest.mark.parametrize(
    ("gates", "policy", "verb"),
    [
        pytest.param({}, PolicySettings(), Verb.HOLD, id="nothing is known"),
        pytest.param({"sd21-all": OpenGates(1)}, PolicySettings(), Verb.FAILOVER, id="a readiness gate is open"),
        pytest.param({}, PolicySettings(allow_unsafe_switch=True), Verb.FAILOVER, id="allowed"),
    ],
)
def test_where_the_load_balancer_cannot_be_asked(
    seen: Verification | None, gates: dict[str, OpenGates], policy: PolicySettings, verb: Verb
) -> None:
    """Unknown is not healthy. The reason says what would do."""
    made = shortage(snapshot(application(policy=policy), routing=routing(verification=seen, gates=gates)))
    decision = decide(memory(units=proven()), made)[1]
    assert decision.verb is verb
    if verb is Verb.HOLD:
        assert decision.reason is Reason.UNSAFE_SWITCH
        assert ("(IAM does not allow it): without ELBv2, pods need readiness gates" in decision.sentence) is (seen is not None)


def test_weights_may_change_among_what_has_traffic() -> None:
    """Whatever the health of a Service is: it has traffic now."""
    made = change(snapshot(routing=routing(verification=None)), ready=0, endpoints_ready=0)
    assert decide(memory(), made)[1].verb is Verb.REWEIGHT
