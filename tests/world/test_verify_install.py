"""`failoverctl verify-install` with the real load-balancer controller: every check of it in one cluster."""

from __future__ import annotations

from controller.policy.model import Verdict
from controller.routing.annotations import VERIFYING
from failover_harness.waiting import wait_for
from tests.cluster.life import LEADING
from tests.cluster.verifying import Results, verified, verifier_of
from tests.world.balanced import BalancedStack, verdict

_AWS = {"FAILOVERCTL_AWS__APIS": '["elbv2"]'}
_EARLY_S = 90.0
"""In which the API server has taken up policies and roles."""


def test_every_check_passes_and_no_rule_changes(balanced: BalancedStack) -> None:
    """The load-balancer controller reconciles after the write; no rule is written, and nothing of the write is left."""
    with balanced.controller(**LEADING) as service, verifier_of(balanced) as account:
        wait_for("cost mode is verified", lambda: verdict(service, balanced) is Verdict.YES, 40, balanced.report)
        aws = {**balanced.aws.environment(), **_AWS}
        wait_for("what needs no write passes", lambda: _failed(verified(balanced, account, aws=aws)[1]) == set(), _EARLY_S)
        before, routed = len(balanced.front.writes()), balanced.ingress()["metadata"]["annotations"]
        code, results = verified(balanced, account, "--yes", "--strict", aws=aws)
        assert (code, {name for name, (result, _) in results.items() if result != "passed"}) == (0, set()), results
        assert balanced.changes(before) == []
        assert balanced.ingress()["metadata"]["annotations"] == routed
        assert VERIFYING not in routed


def test_a_load_balancer_controller_that_hangs_is_named(balanced: BalancedStack) -> None:
    """The rules are as they were, and the annotation is removed all the same."""
    balanced.withdraw_webhooks()
    with balanced.controller(**LEADING) as service, verifier_of(balanced) as account:
        wait_for("cost mode is verified", lambda: verdict(service, balanced) is Verdict.YES, 40, balanced.report)
        with balanced.lbc.frozen():
            code, results = verified(balanced, account, "--yes", aws={**balanced.aws.environment(), **_AWS})
        assert code in {0, 1}
        assert results["load-balancer-controller-reconciles"][0] in {"failed", "skipped"}
        assert "no event of the load-balancer controller" in results["load-balancer-controller-reconciles"][1]
        assert VERIFYING not in balanced.ingress()["metadata"]["annotations"]


def _failed(results: Results) -> set[str]:
    return {name for name, (result, _) in results.items() if result == "failed"}
