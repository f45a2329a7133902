"""The health of what stands by, as the load balancer sees it, before anything is switched to it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.policy.decide import decide
from controller.policy.model import Verb
from controller.policy.reasons import Reason
from tests.policy.support import proven, shortage
from tests.support.applications import memory, routing, snapshot


@pytest.mark.parametrize(
    ("healthy", "verb"),
    [
        pytest.param({"sd21-all": 0}, Verb.HOLD, id="none healthy"),
        pytest.param({"sd21-all": 1}, Verb.FAILOVER, id="one healthy"),
        pytest.param({}, Verb.FAILOVER, id="not known"),
    ],
)
def test_a_target_group_without_a_healthy_target_is_not_switched_to(healthy: dict[str, int], verb: Verb) -> None:
    """Pods may be ready while the load balancer's own health check fails: a failover would answer every request with an error."""
    seen = routing().verification
    assert seen is not None
    made = shortage(snapshot(routing=routing(verification=replace(seen, healthy=healthy))))
    decision = decide(memory(units=proven()), made)[1]
    assert decision.verb is verb
    if verb is Verb.HOLD:
        assert decision.reason is Reason.UNSAFE_SWITCH
        assert "no target of sd21-all is healthy" in decision.sentence
