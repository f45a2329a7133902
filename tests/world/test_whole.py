"""One shortage from the refusal to the return, with every controller that a cluster has."""

from __future__ import annotations

from controller.policy.model import Verdict
from failover_harness.controllers.cloudwatch import Metrics
from failover_harness.waiting import wait_for
from tests.support.applications import COST_TARGETS
from tests.world.balanced import alerts, verdict
from tests.world.whole import WholeStack

COST = {target.service: target.weight for target in COST_TARGETS}
_RETURN_S = 300.0
"""Until Karpenter has requested a node again after a refusal, the node has joined and the replica has passed its health check."""


def test_a_shortage_is_left_and_returned_from(whole: WholeStack, metrics: Metrics) -> None:
    """Demand rises, KEDA scales, EC2 refuses, Karpenter reports it: one change of one rule each way, and no alert at the end."""
    inf2 = whole.instance_type("sd21-inf2")
    with whole.controller() as service:
        wait_for("cost mode is verified", lambda: verdict(service, whole) is Verdict.YES, 60, whole.report)
        before, groups = len(whole.front.writes()), whole.groups()
        whole.capacity.refuse(inf2, whole.zones)
        metrics.values["sd21-inf2-counter"] = 150.0
        wait_for("capacity mode", lambda: whole.mode() == "capacity", 120, whole.report)
        wait_for("capacity mode is verified", lambda: verdict(service, whole) is Verdict.YES, 60, whole.report)
        assert whole.live() == {"sd21-all": 1}
        whole.capacity.restore(inf2)
        wait_for("cost mode", lambda: whole.mode() == "cost", _RETURN_S, whole.report)
        wait_for("cost mode is verified", lambda: verdict(service, whole) is Verdict.YES, 60, whole.report)
        assert whole.live() == COST
        assert whole.changes(before) == ["ModifyRule"] * 2, [(one.action, dict(one.form)) for one in whole.front.writes()[before:]]
        assert whole.groups() == groups
        assert alerts(service) == {}
