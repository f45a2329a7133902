"""What the real AWS Load Balancer Controller makes of the stack, and of what the controller does to it."""

from __future__ import annotations

import pytest

from controller.policy.model import Verdict
from tests.cluster.objects import CAPACITY
from tests.support.applications import COST_TARGETS, SERVICES
from tests.support.waiting import wait_for
from tests.world.balanced import BalancedStack, verdict

COST = {target.service: target.weight for target in COST_TARGETS}
_RETURN_S = 120.0
"""Until the replica on the new node has passed its first health check, and the load balancer shows what follows."""


def test_the_rendered_stack_is_accepted_as_it_is(balanced: BalancedStack) -> None:
    """Its load balancer has the live rule with the weights of cost mode, and a rule that no request reaches for every Service."""
    assert {reason for reason, _ in balanced.events()} == {"SuccessfullyReconciled"}
    assert balanced.live() == COST
    assert balanced.standby() == {name: f"{name}.standby.invalid" for name in (*SERVICES, CAPACITY)}
    with balanced.controller() as service:
        wait_for("it is verified", lambda: verdict(service, balanced) is Verdict.YES, 40, balanced.report)


@pytest.mark.parametrize("balanced", ["single-service", "in-place"], indirect=True)
def test_a_switch_is_one_change_of_one_rule_each_way(balanced: BalancedStack) -> None:
    """And nothing else: no target group is made or deleted. The load balancer shows it, and goes back by one change as well."""
    before, groups = len(balanced.front.writes()), balanced.groups()
    with balanced.controller() as service:
        wait_for("cost mode is verified", lambda: verdict(service, balanced) is Verdict.YES, 40, balanced.report)
        assert balanced.changes(before) == []
        balanced.shortage("sd21-inf2")
        wait_for("capacity mode", lambda: balanced.mode() == "capacity", 40, balanced.report)
        wait_for("capacity mode is verified", lambda: verdict(service, balanced) is Verdict.YES, 40, balanced.report)
        assert balanced.changes(before) == ["ModifyRule"]
        assert list(balanced.live()) == balanced.targets()
        balanced.launch("sd21-inf2")
        wait_for("cost mode", lambda: balanced.mode() == "cost", _RETURN_S, balanced.report)
        wait_for("cost mode is verified", lambda: verdict(service, balanced) is Verdict.YES, 40, balanced.report)
    assert balanced.live() == COST
    assert balanced.changes(before) == ["ModifyRule"] * 2
    assert balanced.groups() == groups
