"""The double of the load-balancer controller against the recorded calls of the real one, and against the table of what it refuses."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from controller.clients.kube import KubeSession, connect
from controller.clock import SystemClock
from controller.embedded import world_objects as objects
from controller.embedded.aws import EmulatedAws
from controller.embedded.kube_api import ADMIN_TOKEN, EmulatedKubeApi
from controller.embedded.lbc import LoadBalancerController
from controller.embedded.lbc_calls import Write
from controller.policy.model import Application, Mode, Target
from controller.policy.routing import action_key, format_action
from tests.support.applications import application

CALLS = Path(__file__).parents[3] / "shared" / "data" / "lbc" / "calls.json"
APP = application(namespace="default")
KEY = action_key(APP.action)
COST = format_action([Target(unit.backend.service, 80, unit.weight or 0) for unit in APP.units], 0)
CAPACITY = format_action([Target("sd21-all", 80, 1)], 0)
WITHOUT_INF2 = format_action([Target(unit.backend.service, 80, 0 if unit.device == "inf2" else unit.weight or 0) for unit in APP.units], 0)
CREATED = {"CreateTargetGroup", "CreateRule", "ModifyRule", "RegisterTargets", "DeregisterTargets", "DeleteTargetGroup", "DeleteRule"}


@dataclass
class Cluster:
    api: EmulatedKubeApi
    aws: EmulatedAws
    lbc: LoadBalancerController
    app: Application

    def route(self, action: str | None, **annotations: str | None) -> list[Write]:
        """Patches the action, waits until all is done, and returns what was written meanwhile."""
        before = self.lbc.changes
        self.api.store.patch("Ingress", "sd21", {"metadata": {"annotations": {KEY: action, **annotations}}})
        self.settle()
        return self.lbc.writes()[before:]

    def settle(self) -> None:
        """Waits for the double to see what was written and to finish with it."""
        time.sleep(0.15)
        wait_for(self.lbc.settled)

    def live(self) -> dict[str, Any]:
        """The action of the live rule."""
        rules = self.aws.client("elbv2").describe_rules(ListenerArn=self.lbc.listener("default/sd21"))["Rules"]
        found: dict[str, Any] = next(rule for rule in rules if rule["Priority"] == "1")["Actions"][-1]
        return found

    def weights(self) -> dict[str, int]:
        return {self.lbc.service_of(one["TargetGroupArn"]): one["Weight"] for one in self.live()["ForwardConfig"]["TargetGroups"]}

    def events(self) -> list[tuple[str, str, str]]:
        events = [event for event in self.api.store.list("Event") if event["involvedObject"]["kind"] == "Ingress"]
        return [(event["type"], event["reason"], event["message"]) for event in events]


def wait_for(condition: Callable[[], object], seconds: float = 8.0) -> None:
    pause = threading.Event()
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the double did not get there"
        pause.wait(0.02)


def endpoint_slice(service: str, addresses: list[str]) -> dict[str, Any]:
    return {
        "metadata": {"name": f"{service}-x", "namespace": "default", "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in addresses],
        "ports": [{"name": "http", "port": 8000, "protocol": "TCP"}],
    }


@contextmanager
def cluster(folder: Path, mode: Mode, *, standby: bool) -> Iterator[Cluster]:
    """Two ready pods a unit, an Ingress, and the double at rest."""
    clock = SystemClock()
    with EmulatedKubeApi(clock, bookmark_interval_s=0.2) as api, EmulatedAws() as aws:
        for service in objects.services(APP):
            api.store.create("Service", service)
        everyone = []
        for index, unit in enumerate(APP.units):
            addresses = [f"10.1.{index}.{host}" for host in (1, 2)]
            everyone += addresses
            api.store.create("EndpointSlice", endpoint_slice(unit.backend.service, addresses))
        api.store.create("EndpointSlice", endpoint_slice("sd21-all", everyone))
        api.store.create("Ingress", objects.ingress(APP, mode, {}, standby=standby))
        session: KubeSession = connect(kubeconfig=str(api.kubeconfig(ADMIN_TOKEN, folder / "kubeconfig")))
        lbc = LoadBalancerController(session, clock, aws, ("default",), lag_s=0.05)
        lbc.start()
        try:
            wait_for(lambda: lbc.listener("default/sd21") and lbc.settled())
            yield Cluster(api, aws, lbc, APP)
        finally:
            lbc.stop()
            api.stop()
            session.close()


def recorded(name: str) -> list[dict[str, Any]]:
    """The writes of one recorded scenario."""
    if not CALLS.exists():
        pytest.skip("calls.json is absent: it lives outside the project, in shared/data/lbc")
    scenarios = {one["scenario"]: one for one in json.loads(CALLS.read_text())["scenarios"]}
    found: list[dict[str, Any]] = scenarios[name]["writes"]
    return found


def prefixes(names: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Action and the target group's name without its hash, sorted: the hash depends on uids."""
    return sorted((action, name.rpartition("-")[0]) for action, name in names)


def compare(writes: list[Write], expected: list[dict[str, Any]]) -> None:
    """The same calls about the same target groups, in an order that differs only where the real one's workers run side by side."""
    mine = [(write.action, write.target_group) for write in writes if write.action in CREATED]
    theirs = [(write["action"], write["target_group"] or "") for write in expected]
    assert prefixes(mine) == prefixes(theirs)
    creating = ("CreateTargetGroup", "CreateRule", "ModifyRule")
    assert [action for action, _ in mine if action in creating] == [action for action, _ in theirs if action in creating]
    assert [n.rpartition("-")[0] for a, n in mine if a == "CreateTargetGroup"] == [
        n.rpartition("-")[0] for a, n in theirs if a == "CreateTargetGroup"
    ]
    actions = [action for action, _ in mine]
    order = ["CreateTargetGroup", "CreateRule", "ModifyRule", "RegisterTargets", "DeleteTargetGroup"]
    present = [action for action in order if action in actions]
    for earlier, later in pairwise(present):
        assert max(i for i, one in enumerate(actions) if one == earlier) < min(i for i, one in enumerate(actions) if one == later)
    if "DeregisterTargets" in actions:
        assert actions.index("DeregisterTargets") > actions.index("ModifyRule")
        assert max(i for i, one in enumerate(actions) if one == "DeregisterTargets") < actions.index("DeleteTargetGroup")
    # Rules are compared without their order: the recorded Ingress lists its standby rules in another one.
    mine_forward = [sorted((name.replace("-", "")[:8], weight) for name, weight in write.forward) for write in writes if write.forward]
    their_forward = [
        sorted((one["target_group_prefix"].rstrip("-"), one["weight"]) for one in write["forward"])
        for write in expected
        if write.get("forward")
    ]
    assert sorted(map(str, mine_forward)) == sorted(map(str, their_forward))


def as_recorded(expected: list[dict[str, Any]]) -> str:
    """The action that makes the recorded forward: the recording's weights differ from ours."""
    forward = next(write["forward"] for write in expected if write["action"] == "ModifyRule")
    services = {unit.backend.service.replace("-", "")[:8]: unit.backend.service for unit in APP.units} | {"sd21all": "sd21-all"}
    return format_action([Target(services[one["target_group_prefix"].rstrip("-")], 80, one["weight"]) for one in forward], 0)


@pytest.mark.slow
def test_naive_switches_have_the_recorded_sequence(tmp_path: Path) -> None:
    """Without standby rules the rule moves to empty target groups, and the old ones go last."""
    to_cost, to_capacity = recorded("naive capacity->cost"), recorded("naive cost->capacity")
    with cluster(tmp_path, Mode.CAPACITY, standby=False) as subject:
        compare(subject.route(as_recorded(to_cost)), to_cost)
        compare(subject.route(CAPACITY), to_capacity)
        names = {binding["spec"]["serviceRef"]["name"] for binding in subject.api.store.list("TargetGroupBinding")}
        assert names == {"sd21-all"}


@pytest.mark.slow
def test_standby_rules_are_added_without_touching_the_live_one(tmp_path: Path) -> None:
    expected = recorded("add standby rules (one per unit + the capacity service) while in capacity mode")
    with cluster(tmp_path, Mode.CAPACITY, standby=False) as subject:
        before = subject.lbc.changes
        rules = objects.ingress(APP, Mode.CAPACITY, {})["spec"]["rules"]
        subject.api.store.patch("Ingress", "sd21", {"spec": {"rules": rules}})
        subject.settle()
        compare(subject.lbc.writes()[before:], expected)
        assert subject.weights() == {"sd21-all": 1}


@pytest.mark.slow
def test_with_standby_rules_a_switch_is_one_modified_rule(tmp_path: Path) -> None:
    with cluster(tmp_path, Mode.CAPACITY, standby=True) as subject:
        for name in (
            "with standby: capacity->cost",
            "with standby: in-place weights",
            "with standby: cost->capacity",
            "back to cost",
        ):
            expected = recorded(name)
            writes = subject.route(as_recorded(expected))
            assert [write.action for write in writes] == ["ModifyRule"], name
            compare(writes, expected)
            assert writes[0].after_s < 2


@pytest.mark.slow
def test_stickiness_reaches_the_rule(tmp_path: Path) -> None:
    with cluster(tmp_path, Mode.COST, standby=True) as subject:
        sticky = format_action([Target(unit.backend.service, 80, unit.weight or 0) for unit in APP.units], 200)
        assert [write.action for write in subject.route(sticky)] == ["ModifyRule"]
        assert subject.live()["ForwardConfig"]["TargetGroupStickinessConfig"] == {"Enabled": True, "DurationSeconds": 200}
        assert [write.action for write in subject.route(COST)] == ["ModifyRule"]
        unstated = json.loads(sticky)
        del unstated["forwardConfig"]["targetGroupStickinessConfig"]
        assert subject.route(json.dumps(unstated)) == []  # leaving it out is not "off": the diff ignores it


MISSING = format_action([Target("nope", 80, 50), Target("sd21-inf2", 80, 50)], 0)
SIX = {
    "type": "forward",
    "forwardConfig": {
        "targetGroups": [{"serviceName": u.backend.service, "servicePort": 80, "weight": u.weight} for u in APP.units]
        + [{"serviceName": "sd21-all", "servicePort": 80, "weight": 1}]
    },
}
HEAVY = COST.replace('"weight":40', '"weight":1000')


@pytest.mark.slow
def test_what_cannot_be_built_or_deployed_keeps_the_old_rule(tmp_path: Path) -> None:
    """The table of what the real one does with wrong input, first half: no write, a warning, and the next good action goes through."""
    cases = (
        (
            "{",
            "FailedBuildModel",
            f"Failed build model due to ingress: default/sd21: failed to parse json annotation, {KEY}: {{: unexpected end",
        ),
        (MISSING, "FailedBuildModel", 'Failed build model due to ingress: default/sd21: Service "nope" not found'),
        ('{"type":"forward"}', "FailedBuildModel", "missing ForwardConfig"),
        ('{"type":"teleport"}', "FailedBuildModel", "unknown action type: teleport"),
        (COST.replace('"weight":40', '"weight":40.0'), "FailedBuildModel", "failed to parse json annotation"),
        (COST.replace(',"weight":40', ""), "FailedBuildModel", "weight must be set when route to multiple target groups"),
        (COST.replace('"servicePort":80', '"servicePort":81'), "FailedBuildModel", "unable to find port 81 on service default/sd21-inf2"),
        (json.dumps(SIX), "FailedDeployModel", "target groups"),
        (HEAVY, "FailedDeployModel", "The weight for each target group must be between 0 and 999, inclusive"),
    )
    with cluster(tmp_path, Mode.COST, standby=True) as subject:
        good = subject.weights()
        for action, reason, words in cases:
            assert subject.route(action) == [], action
            assert subject.weights() == good
            assert any(kind == "Warning" and why == reason and words in text for kind, why, text in subject.events()), (
                action,
                subject.events(),
            )
        assert [write.action for write in subject.route(CAPACITY)] == ["ModifyRule"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("action", "body"),
    [
        (None, "Backend action does not exist"),
        (format_action([Target("nope", 80, 1)], 0), "Backend service does not exist"),
    ],
)
def test_what_is_missing_is_answered_with_503_and_called_a_success(tmp_path: Path, action: str | None, body: str) -> None:
    """The second half: nothing in Kubernetes shows that every request now fails."""
    with cluster(tmp_path, Mode.COST, standby=True) as subject:
        assert [write.action for write in subject.route(action)] == ["ModifyRule"]
        live = subject.live()
        assert (live["Type"], live["FixedResponseConfig"]["StatusCode"]) == ("fixed-response", "503")
        assert live["FixedResponseConfig"]["MessageBody"] == body
        assert {reason for _, reason, _ in subject.events()} == {"SuccessfullyReconciled"}


@pytest.mark.slow
def test_targets_follow_the_ready_endpoints_and_names_tags_and_labels_are_the_real_ones(tmp_path: Path) -> None:
    with cluster(tmp_path, Mode.COST, standby=True) as subject:
        before = subject.lbc.changes
        changed = endpoint_slice("sd21-inf2", ["10.1.0.1", "10.1.0.9"])
        changed["endpoints"].append({"addresses": ["10.1.0.8"], "conditions": {"ready": False}})
        subject.api.store.patch("EndpointSlice", "sd21-inf2-x", {"endpoints": changed["endpoints"]})
        wait_for(lambda: subject.lbc.changes >= before + 2)
        assert [write.action for write in subject.lbc.writes()[before:]] == ["DeregisterTargets", "RegisterTargets"]
        elb = subject.aws.client("elbv2")
        binding = next(b for b in subject.api.store.list("TargetGroupBinding") if b["spec"]["serviceRef"]["name"] == "sd21-inf2")
        assert binding["metadata"]["name"].startswith("k8s-default-sd21inf2-")
        assert binding["metadata"]["labels"] == {"ingress.k8s.aws/stack-namespace": "default", "ingress.k8s.aws/stack-name": "sd21"}
        arn = binding["spec"]["targetGroupARN"]
        health = elb.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
        assert {entry["Target"]["Id"] for entry in health} == {"10.1.0.1", "10.1.0.9"}
        tags = {tag["Key"]: tag["Value"] for tag in elb.describe_tags(ResourceArns=[arn])["TagDescriptions"][0]["Tags"]}
        assert tags["ingress.k8s.aws/resource"] == "default/sd21-sd21-inf2:80"
        ingress = subject.api.store.get("Ingress", "sd21")
        balancer = elb.describe_load_balancers()["LoadBalancers"][0]
        assert ingress["status"]["loadBalancer"]["ingress"][0]["hostname"] == balancer["DNSName"].lower()
        hosts = [
            rule["Conditions"][0]["HostHeaderConfig"]["Values"][0]
            for rule in rules_of(elb, subject)
            if rule["Priority"] not in {"1", "default"}
        ]
        assert hosts == [f"{service}.standby.invalid" for service in [*(u.backend.service for u in APP.units), "sd21-all"]]


def rules_of(elb: Any, subject: Cluster) -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = elb.describe_rules(ListenerArn=subject.lbc.listener("default/sd21"))["Rules"]
    return rules
