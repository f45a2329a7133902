"""Groups of Ingresses on one load balancer: names, priorities, several listeners, members that break, join and leave, and a new process."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from controller.clock import SystemClock
from controller.routing.names import PREFIX
from failover_harness.waiting import wait_for
from failover_testbed.lbc.controller import LoadBalancerController
from tests.testbed.lbc.cluster import APP, CAPACITY, COST, KEY, Cluster, cluster, ingress

GROUP = {f"{PREFIX}/group.name": "shared"}
FIRST = {**GROUP, f"{PREFIX}/group.order": "-1"}
SERVICES = [*(unit.backend.service for unit in APP.units), "sd21-all"]


def tags(subject: Cluster, arn: str) -> dict[str, str]:
    described = subject.elb.describe_tags(ResourceArns=[arn])["TagDescriptions"][0]["Tags"]
    return {tag["Key"]: tag["Value"] for tag in described}


def actions(subject: Cluster, before: int) -> Counter[str]:
    return Counter(write.action for write in subject.lbc.writes()[before:])


def owners(subject: Cluster) -> list[str]:
    """The Ingress that each rule of the group comes from, in the order of the priorities."""
    found: list[str] = []
    for rule in subject.rules():
        arn = rule["Actions"][-1]["ForwardConfig"]["TargetGroups"][0]["TargetGroupArn"]
        found.append(tags(subject, arn)["ingress.k8s.aws/resource"].split("/")[1].split("-sd21-")[0])
    return found


def test_names_tags_and_labels_of_an_ingress_of_its_own(tmp_path: Path) -> None:
    with cluster(tmp_path) as subject:
        binding = next(b for b in subject.api.store.list("TargetGroupBinding") if b["spec"]["serviceRef"]["name"] == "sd21-inf2")
        assert binding["metadata"]["name"].startswith("k8s-default-sd21inf2-")
        assert binding["metadata"]["labels"] == {"ingress.k8s.aws/stack-namespace": "default", "ingress.k8s.aws/stack-name": "sd21"}
        found = tags(subject, binding["spec"]["targetGroupARN"])
        assert found["ingress.k8s.aws/resource"] == "default/sd21-sd21-inf2:80"
        assert found["ingress.k8s.aws/stack"] == "default/sd21"
        balancer = subject.elb.describe_load_balancers()["LoadBalancers"][0]
        assert subject.lbc.load_balancer("default/sd21") == balancer["LoadBalancerArn"]
        made = subject.api.store.get("Ingress", "sd21")
        assert made["status"]["loadBalancer"]["ingress"][0]["hostname"] == balancer["DNSName"].lower()
        assert made["metadata"]["finalizers"] == ["ingress.k8s.aws/resources"]
        hosts = [rule["Conditions"][0]["HostHeaderConfig"]["Values"][0] for rule in subject.rules()[1:]]
        assert hosts == [f"{service}.standby.invalid" for service in SERVICES]


def test_a_group_is_one_load_balancer_and_one_that_joins_in_front_moves_the_rules(tmp_path: Path) -> None:
    """Priorities run from 1 over the whole group, so they change when other Ingresses do; the target groups stay apart."""
    with cluster(tmp_path, annotations=GROUP) as subject:
        before = len(subject.lbc.writes())
        subject.create("Ingress", ingress("alpha", action=CAPACITY, annotations=FIRST))
        subject.settle()
        written = [write.action for write in subject.lbc.writes()[before:] if write.action != "RegisterTargets"]
        assert written == ["CreateTargetGroup"] * 6 + ["SetRulePriorities"] + ["CreateRule"] * 7
        assert owners(subject) == ["alpha"] * 7 + ["sd21"] * 7
        assert [int(rule["Priority"]) for rule in subject.rules()] == list(range(1, 15))
        assert len(subject.elb.describe_load_balancers()["LoadBalancers"]) == 1
        assert tags(subject, subject.lbc.load_balancer("default/alpha"))["ingress.k8s.aws/stack"] == "shared"
        assert subject.lbc.listener("default/alpha") == subject.lbc.listener("default/sd21")
        bindings = subject.api.store.list("TargetGroupBinding")
        assert len(bindings) == 12
        assert all(one["metadata"]["labels"] == {"ingress.k8s.aws/stack": "shared"} for one in bindings)
        assert {"SuccessfullyReconciled"} == {reason for _, reason, _ in subject.events("alpha")}
        assert subject.api.store.get("Ingress", "alpha")["metadata"]["finalizers"] == ["group.ingress.k8s.aws/shared"]


def test_one_broken_member_blocks_every_change_and_is_reported_on_each_member(tmp_path: Path) -> None:
    with cluster(tmp_path, annotations=GROUP) as subject:
        subject.create("Ingress", ingress("alpha", annotations=FIRST))
        subject.settle()
        assert subject.route("{", name="alpha") == []
        assert subject.route(CAPACITY) == []
        text = f"Failed build model due to ingress: default/alpha: failed to parse json annotation, {KEY}: {{: unexpected end of JSON input"
        for name in ("alpha", "sd21"):
            assert ("Warning", "FailedBuildModel", text) in subject.events(name)
        # Once it is fixed, one reconcile does everything that was pending.
        assert [write.action for write in subject.route(COST, name="alpha")] == ["ModifyRule"]
        assert [one["Weight"] for one in subject.rules()[7]["Actions"][-1]["ForwardConfig"]["TargetGroups"]] == [1]


def test_a_member_that_leaves_gets_a_load_balancer_of_its_own(tmp_path: Path) -> None:
    with cluster(tmp_path, annotations=GROUP) as subject:
        subject.create("Ingress", ingress("alpha", annotations=FIRST))
        subject.settle()
        before = len(subject.lbc.writes())
        subject.annotate("alpha", {f"{PREFIX}/group.name": None})
        subject.settle()
        assert owners(subject) == ["sd21"] * 7
        assert [int(rule["Priority"]) for rule in subject.rules()] == list(range(1, 8))
        assert subject.lbc.load_balancer("default/alpha") != subject.lbc.load_balancer("default/sd21")
        written = actions(subject, before)
        assert (written["DeleteRule"], written["DeleteTargetGroup"], written["CreateLoadBalancer"]) == (7, 6, 1)
        assert subject.api.store.get("Ingress", "alpha")["metadata"]["finalizers"] == ["ingress.k8s.aws/resources"]


def test_the_last_one_that_is_deleted_takes_the_load_balancer_along(tmp_path: Path) -> None:
    with cluster(tmp_path) as subject:
        subject.delete("Ingress", "sd21")
        wait_for("it is gone", lambda: subject.api.store.list("Ingress") == [])
        assert subject.elb.describe_load_balancers()["LoadBalancers"] == []
        assert subject.elb.describe_target_groups()["TargetGroups"] == []
        wait_for("the bindings are gone", lambda: subject.api.store.list("TargetGroupBinding") == [])


def test_a_group_without_a_proper_name_is_reported_and_left_alone(tmp_path: Path) -> None:
    with cluster(tmp_path) as subject:
        before = len(subject.lbc.writes())
        subject.create("Ingress", ingress("alpha", annotations={f"{PREFIX}/group.name": "No Name"}))
        wait_for("it is reported", lambda: bool(subject.events("alpha")))
        assert [(kind, reason) for kind, reason, _ in subject.events("alpha")] == [("Warning", "FailedLoadGroupID")]
        assert subject.lbc.load_balancer("default/alpha") == ""
        assert len(subject.lbc.writes()) == before


PORTS = '[{"HTTP": 80}, {"HTTP": 8080}, {"HTTPS": 443}]'
CERTIFICATE = "arn:aws:iam::123456789012:server-certificate/emulated"  # moto would ask its ACM for any other kind


def test_each_listener_has_the_rules_and_they_are_modified_one_after_the_other(tmp_path: Path) -> None:
    with cluster(tmp_path, annotations={f"{PREFIX}/listen-ports": PORTS, f"{PREFIX}/certificate-arn": CERTIFICATE}) as subject:
        assert list(subject.lbc.listeners("default/sd21")) == [80, 443, 8080]
        assert subject.lbc.listener("default/sd21") == subject.lbc.listeners("default/sd21")[80]
        assert {len(subject.rules(port=port)) for port in (80, 443, 8080)} == {7}
        assert tags(subject, subject.rules(port=8080)[2]["RuleArn"])["ingress.k8s.aws/resource"] == "8080:3"
        assert [write.action for write in subject.route(CAPACITY)] == ["ModifyRule"] * 3
        ports = subject.api.store.get("Ingress", "sd21")["status"]["loadBalancer"]["ingress"][0]["ports"]
        assert [entry["port"] for entry in ports] == [80, 443, 8080]
        # A listener that is no longer required is deleted with its rules.
        subject.annotate("sd21", {f"{PREFIX}/listen-ports": '[{"HTTP": 80}]'})
        subject.settle()
        assert list(subject.lbc.listeners("default/sd21")) == [80]
        assert len(subject.elb.describe_listeners(LoadBalancerArn=subject.lbc.load_balancer("default/sd21"))["Listeners"]) == 1


def test_a_listener_can_be_behind_the_others(tmp_path: Path) -> None:
    """A mode change is not atomic over listeners, so verification must check each."""
    with cluster(tmp_path, annotations={f"{PREFIX}/listen-ports": '[{"HTTP": 80}, {"HTTP": 81}]'}) as subject:
        subject.lbc.faults = type(subject.lbc.faults)(lag_s=0.05, lost_modify_rules=1)
        subject.route(CAPACITY)
        counts = [len(subject.rules(port=port)[0]["Actions"][-1]["ForwardConfig"]["TargetGroups"]) for port in (80, 81)]
        assert counts == [5, 1]


def test_health_checks_and_attributes_reach_the_target_groups_and_follow_changes(tmp_path: Path) -> None:
    algorithm = "load_balancing.algorithm.type"
    attributes = f"{algorithm}=least_outstanding_requests,deregistration_delay.timeout_seconds=30,stickiness.type=lb_cookie"
    started = {"healthcheck-path": "/health", "healthcheck-interval-seconds": "10", "target-group-attributes": attributes}
    with cluster(tmp_path, annotations={f"{PREFIX}/{name}": value for name, value in started.items()}) as subject:

        def group(service: str) -> tuple[dict[str, Any], dict[str, str]]:
            arn = subject.arn(service)
            described = subject.elb.describe_target_groups(TargetGroupArns=[arn])["TargetGroups"][0]
            entries = subject.elb.describe_target_group_attributes(TargetGroupArn=arn)["Attributes"]
            return described, {entry["Key"]: entry["Value"] for entry in entries}

        described, found = group("sd21-trn1")
        assert (described["HealthCheckPath"], described["HealthCheckIntervalSeconds"]) == ("/health", 10)
        assert (described["HealthCheckTimeoutSeconds"], described["HealthyThresholdCount"], described["UnhealthyThresholdCount"]) == (
            5,
            2,
            2,
        )
        assert described["Matcher"] == {"HttpCode": "200"}
        assert (found[algorithm], found["stickiness.type"]) == ("least_outstanding_requests", "lb_cookie")
        assert found["deregistration_delay.timeout_seconds"] == "30"
        before = len(subject.lbc.writes())
        changed = {f"{PREFIX}/healthcheck-interval-seconds": "6", f"{PREFIX}/target-group-attributes": f"{algorithm}=round_robin"}
        subject.change("Service", "sd21-trn1", {"metadata": {"annotations": changed}})
        subject.settle()
        assert [write.action for write in subject.lbc.writes()[before:]] == ["ModifyTargetGroup", "ModifyTargetGroupAttributes"]
        described, found = group("sd21-trn1")
        assert (described["HealthCheckIntervalSeconds"], found[algorithm]) == (6, "round_robin")
        assert found["deregistration_delay.timeout_seconds"] == "30"  # an attribute whose annotation was removed keeps its value
        assert group("sd21-inf2")[0]["HealthCheckIntervalSeconds"] == 10


def test_sticky_target_groups_need_rules_with_stickiness(tmp_path: Path) -> None:
    """Issue 2734 of the load-balancer controller, in both orders: the attribute comes to the rule, and the rule to the attribute."""
    sticky = {f"{PREFIX}/target-group-attributes": "stickiness.enabled=true"}

    def refused(subject: Cluster) -> bool:
        return any(reason == "FailedDeployModel" and "rule with group stickiness disabled" in text for _, reason, text in subject.events())

    with cluster(tmp_path) as subject:
        subject.annotate("sd21", sticky)
        subject.settle()
        assert refused(subject)
    with cluster(tmp_path) as subject:
        subject.route(CAPACITY)
        subject.change("Service", "sd21-all", {"metadata": {"annotations": sticky}})
        subject.settle()
        assert not refused(subject)  # one target group: nothing is weighted
        subject.change("Service", "sd21-trn1", {"metadata": {"annotations": sticky}})
        subject.settle()
        subject.route(COST)
        assert refused(subject)


@pytest.mark.parametrize(
    ("annotations", "words"),
    [
        ({"scheme": "internal"}, "does not replace a load balancer to change its scheme"),
        ({"listen-ports": '[{"HTTPS": 80}]', "certificate-arn": CERTIFICATE}, "does not change the protocol of a listener"),
    ],
)
def test_what_would_need_a_replacement_is_refused_by_name(tmp_path: Path, annotations: dict[str, str], words: str) -> None:
    with cluster(tmp_path) as subject:
        before = len(subject.lbc.writes())
        subject.annotate("sd21", {f"{PREFIX}/{name}": value for name, value in annotations.items()})
        subject.settle()
        assert any(reason == "FailedDeployModel" and words in text for _, reason, text in subject.events())
        assert subject.lbc.writes()[before:] == []


def test_a_new_process_finds_everything_as_it_was(tmp_path: Path) -> None:
    """A new process reads the state from ELBv2, and does not count objects as deleted that it has not seen yet."""
    with cluster(tmp_path) as subject:
        wait_for("the targets are there", lambda: all(subject.targets(service) for service in SERVICES))
        subject.lbc.stop()
        second = LoadBalancerController(subject.session, SystemClock(), subject.aws, ("default",), lag_s=0.0)
        second.start()
        try:
            wait_for("it has reconciled", lambda: bool(second.listener("default/sd21")) and second.settled())
            assert second.writes() == []
            subject.lbc = second
            assert [write.action for write in subject.route(CAPACITY)] == ["ModifyRule"]
        finally:
            second.stop()


def test_a_target_group_goes_although_somebody_deleted_its_binding(tmp_path: Path) -> None:
    """What belongs to the group is found by the bindings' labels; one that is gone has nothing to release."""
    with cluster(tmp_path, standby=False) as subject:
        name = next(one["metadata"]["name"] for one in subject.api.store.list("TargetGroupBinding"))
        subject.api.store.patch("TargetGroupBinding", name, {"metadata": {"finalizers": None}})
        subject.api.store.delete("TargetGroupBinding", name)
        written = [write.action for write in subject.route(CAPACITY)]
        assert written.count("DeleteTargetGroup") == len(APP.units)
        assert [one["spec"]["serviceRef"]["name"] for one in subject.api.store.list("TargetGroupBinding")] == ["sd21-all"]
