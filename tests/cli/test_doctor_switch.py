"""What `doctor` prints, run against the fake of the load-balancer controller: afterwards a mode change is one changed rule."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from controller.clients.kube import INGRESSES, JSON_PATCH, SERVICES, TARGET_GROUP_BINDINGS, KubeSession, connect
from controller.clock import SystemClock
from controller.policy.model import Target
from controller.routing.ingress.action import format_action
from controller.routing.ingress.standby import standby_rule
from controller.routing.names import action_key
from failover_harness.waiting import wait_for
from failover_testbed.aws.server import EmulatedAws
from failover_testbed.kube_api import ADMIN_TOKEN, READ_ONLY, EmulatedKubeApi, Identity
from failover_testbed.lbc.controller import LoadBalancerController
from failover_testbed.lbc.model import Tolerance
from tests.cli.test_doctor import of_application, printed_patch, run
from tests.support.applications import COST_TARGETS, application
from tests.support.healthy import Healthy

KEY = action_key("weighted-routing")
COST, CAPACITY = format_action(COST_TARGETS, 0), format_action([Target("sd21-all", 80, 1)], 0)


def test_after_the_printed_command_a_mode_change_is_one_modified_rule(tmp_path: Path) -> None:
    """Before it, the same switch makes target groups, fills them after the rule points at them, and deletes the others."""
    tokens = {ADMIN_TOKEN: Identity("admin"), "reader": Identity("reader", READ_ONLY)}
    with EmulatedKubeApi(SystemClock(), tokens=tokens, bookmark_interval_s=0.2) as api, EmulatedAws() as aws:
        session, lbc = _cluster(api, aws, tmp_path, Healthy(application(), standby=False))

        def writes(change: Callable[[], object]) -> list[str]:
            """What is written to AWS because of a change."""
            before = lbc.changes
            change()
            _settle(lbc)
            return [write.action for write in lbc.writes()[before:]]

        def route(action: str) -> list[str]:
            return writes(lambda: api.store.patch("Ingress", "sd21", {"metadata": {"annotations": {KEY: action}}}, namespace="shop"))

        try:
            naive = route(CAPACITY)
            assert {"CreateTargetGroup", "ModifyRule", "DeleteTargetGroup"} <= {*naive}
            route(COST)
            result = run(api, tmp_path, *of_application("doctor"))
            assert result.exit_code == 2
            body = json.dumps(printed_patch(result.output))
            path = INGRESSES.path("shop", "sd21")
            added = writes(lambda: session.request("PATCH", path, body=body, content_type=JSON_PATCH))
            assert {*added} == {"CreateTargetGroup", "CreateRule", "RegisterTargets"}
            after = run(api, tmp_path, *of_application("doctor"))
            assert (after.exit_code, "25 ok" in after.output) == (0, True), after.output
            assert [route(CAPACITY), route(COST)] == [["ModifyRule"], ["ModifyRule"]]
            after = run(api, tmp_path, *of_application("doctor"))
            assert after.exit_code == 0, after.output
        finally:
            lbc.stop()
            api.stop()
            session.close()


def test_a_missing_service_gets_no_rule_and_the_ingress_group_stays_able_to_change(tmp_path: Path) -> None:
    """With the flags of our install guide a rule for it would stop every change of the group; `plan` and `doctor` print the others."""
    tokens = {ADMIN_TOKEN: Identity("admin"), "reader": Identity("reader", READ_ONLY)}
    with EmulatedKubeApi(SystemClock(), tokens=tokens, bookmark_interval_s=0.2) as api, EmulatedAws() as aws:
        made = Healthy(application(), standby=False)
        made.drop(SERVICES.name, "sd21-all")
        session, lbc = _cluster(api, aws, tmp_path, made)
        try:
            result = run(api, tmp_path, *of_application("doctor"))
            planned = run(api, tmp_path, "plan", "--json")
            patch = printed_patch(result.output)
            assert json.loads(planned.stdout)["standbyPatch"] == patch
            assert json.loads(planned.stdout)["standbyWaits"] == ["sd21-all"]
            assert "there is no such Service with port 80; create it first" in result.output
            session.request("PATCH", INGRESSES.path("shop", "sd21"), body=json.dumps(patch), content_type=JSON_PATCH)
            _settle(lbc)
            before = lbc.changes
            moved = format_action([Target(one.service, one.port, 1) for one in COST_TARGETS], 0)
            api.store.patch("Ingress", "sd21", {"metadata": {"annotations": {KEY: moved}}}, namespace="shop")
            _settle(lbc)
            assert [write.action for write in lbc.writes()[before:]] == ["ModifyRule"]
            frozen = [*api.store.get("Ingress", "sd21", namespace="shop")["spec"]["rules"], standby_rule(application().capacity)]
            api.store.patch("Ingress", "sd21", {"spec": {"rules": frozen}, "metadata": {"annotations": {KEY: COST}}}, namespace="shop")
            _settle(lbc)
            assert [write.action for write in lbc.writes()[before:]] == ["ModifyRule"], "the fake does not model the flag"
            assert "rules name sd21-all:80, and there is no" in " ".join(run(api, tmp_path, *of_application("doctor")).output.split())
        finally:
            lbc.stop()
            api.stop()
            session.close()


def _cluster(api: EmulatedKubeApi, aws: EmulatedAws, folder: Path, made: Healthy) -> tuple[KubeSession, LoadBalancerController]:
    """The application on an API server, with a load-balancer controller that tolerates nothing that is missing."""
    made.ingress["status"] = {}  # status and target group bindings are the fake's
    made.listed[TARGET_GROUP_BINDINGS.name] = []
    made.create(api.store)
    session = connect(kubeconfig=str(api.kubeconfig(ADMIN_TOKEN, folder / "lbc")))
    lbc = LoadBalancerController(session, SystemClock(), aws, ("shop",), lag_s=0.05, tolerance=Tolerance(service=False, action=False))
    lbc.start()
    wait_for("the load balancer", lambda: bool(lbc.listener("shop/sd21")) and lbc.settled())
    return session, lbc


def _settle(lbc: LoadBalancerController) -> None:
    """Waits for the fake to see what was written and to finish with it."""
    time.sleep(0.15)
    wait_for("the fake", lbc.settled)
