"""What the real AWS Load Balancer Controller makes of the stack, and of what the controller does to it."""

from __future__ import annotations

from controller.policy.model import Verdict
from tests.support.applications import COST_TARGETS, SERVICES
from tests.support.waiting import wait_for
from tests.world.balanced import CAPACITY, BalancedStack, verification


def test_the_rendered_stack_is_accepted_as_it_is(balanced: BalancedStack) -> None:
    """Its load balancer has the live rule with the weights of cost mode, and a rule that no request reaches for every Service."""
    reasons = {reason for reason, _ in balanced.events()}
    assert reasons == {"SuccessfullyReconciled"}
    assert balanced.live() == {target.service: target.weight for target in COST_TARGETS}
    assert balanced.standby() == {name: f"{name}.standby.invalid" for name in (*SERVICES, CAPACITY)}
    with balanced.controller() as service:
        wait_for("it is verified", lambda: (seen := verification(service)) is not None and seen.verdict is Verdict.YES, 40, balanced.report)
