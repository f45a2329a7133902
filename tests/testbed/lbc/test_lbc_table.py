"""What the fake does with invalid input: each row is a behaviour of the real AWS Load Balancer Controller."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from controller.policy.model import Target
from controller.routing.ingress.action import format_action
from failover_harness.waiting import wait_for
from tests.testbed.lbc.cluster import APP, CAPACITY, COST, KEY, Cluster, cluster, endpoint_slice

BUILD, DEPLOY, DONE = "FailedBuildModel", "FailedDeployModel", "SuccessfullyReconciled"
OLD: dict[str, int] = {unit.backend.service: unit.weight or 0 for unit in APP.units}


def _six() -> str:
    action = json.loads(COST)
    action["forwardConfig"]["targetGroups"].append({"serviceName": "sd21-all", "servicePort": 80, "weight": 1})
    return json.dumps(action)


def _sticky(**config: object) -> str:
    action = json.loads(COST)
    action["forwardConfig"]["targetGroupStickinessConfig"] = config
    return json.dumps(action)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("lbc")) as started:
        yield started


@pytest.fixture
def subject(shared: Cluster) -> Cluster:
    """The cluster in cost mode, reset after the previous row."""
    for name in ("sd21-inf2", "sd21-trn1"):
        if all(service["metadata"]["name"] != name for service in shared.api.store.list("Service")):
            port = {"name": "http", "port": 80, "targetPort": 8000, "protocol": "TCP"}
            shared.create(
                "Service", {"metadata": {"name": name, "namespace": "default"}, "spec": {"ports": [port], "selector": {"app": name}}}
            )
    shared.route(COST)
    assert shared.weights() == OLD
    for event in shared.api.store.list("Event"):
        shared.api.store.delete("Event", event["metadata"]["name"])
    return shared


@pytest.mark.parametrize(
    ("action", "reason", "words"),
    [
        pytest.param("{", BUILD, f"failed to parse json annotation, {KEY}: {{: unexpected end of JSON input", id="invalid JSON"),
        pytest.param('{"type":"forward"}', BUILD, "missing ForwardConfig or TargetGroupARN/TargetGroupName", id="failed validation"),
        pytest.param('{"type":"teleport"}', BUILD, "unknown action type: teleport", id="unknown type"),
        pytest.param(
            format_action([Target("nope", 80, 50), Target("sd21-inf2", 80, 50)], 0),
            BUILD,
            'Service "nope" not found',
            id="one of two missing",
        ),
        pytest.param(
            COST.replace('"servicePort":80', '"servicePort":81'),
            BUILD,
            "unable to find port 81 on service default/sd21-inf2",
            id="port not found",
        ),
        pytest.param(_six(), DEPLOY, "An action may have 5 target groups", id="six target groups"),
        pytest.param(
            COST.replace('"weight":40', '"weight":1000'),
            DEPLOY,
            "The weight for each target group must be between 0 and 999, inclusive",
            id="weight 1000",
        ),
        pytest.param(COST.replace('"weight":40', '"weight":-1'), DEPLOY, "must be between 0 and 999", id="weight -1"),
        pytest.param(COST.replace("sd21-trn1", "sd21-inf2"), DEPLOY, "A target group may be in an action once", id="a Service twice"),
        pytest.param('{"type":"forward","forwardConfig":{}}', DEPLOY, "An action needs a target group", id="no target group"),
        pytest.param(_sticky(enabled=True), DEPLOY, "stickiness duration", id="stickiness without duration"),
    ],
)
def test_what_cannot_be_built_or_deployed_keeps_the_old_rule(subject: Cluster, action: str, reason: str, words: str) -> None:
    """No write, a warning that says why, and the next good action goes through at once."""
    assert subject.route(action) == []
    assert subject.weights() == OLD
    assert any(kind == "Warning" and why == reason and words in text for kind, why, text in subject.events()), subject.events()
    assert DONE not in {why for _, why, _ in subject.events()}
    assert [write.action for write in subject.route(CAPACITY)] == ["ModifyRule"]


@pytest.mark.parametrize(
    ("action", "body"),
    [
        pytest.param(None, "Backend action does not exist", id="action missing"),
        pytest.param(format_action([Target("nope", 80, 1)], 0), "Backend service does not exist", id="single Service missing"),
    ],
)
def test_what_is_missing_is_answered_with_503_and_called_a_success(subject: Cluster, action: str | None, body: str) -> None:
    """Nothing in Kubernetes shows that every request now fails."""
    assert [write.action for write in subject.route(action)] == ["ModifyRule"]
    live = subject.live()
    assert (live["Type"], live["FixedResponseConfig"]["StatusCode"]) == ("fixed-response", "503")
    assert live["FixedResponseConfig"]["MessageBody"] == body
    assert {reason for _, reason, _ in subject.events()} == {DONE}


def test_a_service_without_endpoints_gets_an_empty_target_group(subject: Cluster) -> None:
    """The rule points at it, the load balancer answers 503, and it is called a success."""
    port = {"name": "http", "port": 80, "protocol": "TCP"}
    subject.create("Service", {"metadata": {"name": "empty", "namespace": "default"}, "spec": {"ports": [port]}})
    written = [write.action for write in subject.route(format_action([Target("empty", 80, 1)], 0))]
    assert written == ["CreateTargetGroup", "ModifyRule"]
    assert subject.targets("empty") == {}
    assert {reason for _, reason, _ in subject.events()} == {DONE}
    assert [write.action for write in subject.route(COST)] == ["ModifyRule", "DeleteTargetGroup"]


def test_what_comes_after_a_refusal_by_aws_is_not_done(subject: Cluster) -> None:
    """New target groups stay and unneeded ones are not deleted; the next reconcile finishes both."""
    port = {"name": "http", "port": 80, "protocol": "TCP"}
    for name in ("one", "two"):
        subject.create("Service", {"metadata": {"name": name, "namespace": "default"}, "spec": {"ports": [port]}})
    subject.route(format_action([Target("one", 80, 1)], 0))
    heavy = '{"type":"forward","forwardConfig":{"targetGroups":[{"serviceName":"two","servicePort":80,"weight":1}' + (
        ',{"serviceName":"sd21-inf2","servicePort":80,"weight":1000}]}}'
    )
    assert [(write.action, "two" in write.target_group) for write in subject.route(heavy)] == [("CreateTargetGroup", True)]
    assert subject.weights() == {"one": 1}
    assert all(one["spec"]["serviceRef"]["name"] != "two" for one in subject.api.store.list("TargetGroupBinding"))
    again = subject.route(heavy.replace("1000", "10"))
    assert [write.action for write in again] == ["ModifyRule", "DeleteTargetGroup"]  # neither group ever had a target
    assert subject.weights() == {"two": 1, "sd21-inf2": 10}
    subject.route(COST)


def test_the_service_of_a_live_binding_is_deleted(subject: Cluster) -> None:
    """All its targets are deregistered while the rule keeps sending its share there."""
    name = subject.arn("sd21-inf2").split("/")[1]
    assert len(subject.targets("sd21-inf2")) == 2
    subject.delete("Service", "sd21-inf2")
    wait_for("the targets are deregistered", lambda: subject.targets("sd21-inf2") == {})
    subject.settle()
    assert subject.weights() == OLD
    expected = ("Warning", "BackendNotFound", 'backend not found: Service "sd21-inf2" not found')
    assert expected in subject.events(name, "TargetGroupBinding")
    assert any(reason == BUILD and 'Service "sd21-inf2" not found' in text for _, reason, text in subject.events())


def test_a_changed_selector_deregisters_before_it_registers(subject: Cluster) -> None:
    before = len(subject.lbc.writes())
    wait_for("the targets are there", lambda: len(subject.targets("sd21-trn1")) == 2)
    changed = endpoint_slice("sd21-trn1", ["10.1.1.1", "10.1.1.9"])
    changed["endpoints"].append({"addresses": ["10.1.1.8"], "conditions": {"ready": False}})
    subject.api.store.patch("EndpointSlice", "sd21-trn1-x", {"endpoints": changed["endpoints"]})
    wait_for("both are written", lambda: len(subject.lbc.writes()) >= before + 2)
    assert [write.action for write in subject.lbc.writes()[before:]] == ["DeregisterTargets", "RegisterTargets"]
    assert set(subject.targets("sd21-trn1")) == {"10.1.1.1", "10.1.1.9"}
    original = endpoint_slice("sd21-trn1", ["10.1.1.1", "10.1.1.2"])
    subject.api.store.patch("EndpointSlice", "sd21-trn1-x", {"endpoints": original["endpoints"]})
    wait_for("and back", lambda: set(subject.targets("sd21-trn1")) == {"10.1.1.1", "10.1.1.2"})


def test_two_ports_of_one_address_are_refused_because_moto_would_keep_one(subject: Cluster) -> None:
    wait_for("the targets are there", lambda: set(subject.targets("sd21-g5-cuda")) == {"10.1.4.1", "10.1.4.2"})
    before = len(subject.lbc.writes())
    other = endpoint_slice("sd21-g5-cuda", ["10.1.4.1", "10.1.4.9"], port=9000)
    other["metadata"]["name"] = "sd21-g5-cuda-y"
    subject.api.store.create("EndpointSlice", other)
    wait_for("it is refused", lambda: bool(subject.lbc._targets._queue._failures))
    assert subject.lbc.writes()[before:] == []
    subject.api.store.delete("EndpointSlice", "sd21-g5-cuda-y")
    wait_for("it has recovered", lambda: not subject.lbc._targets._queue._failures and subject.lbc.settled())
    assert subject.lbc.writes()[before:] == []


def test_a_requested_fixed_response_is_no_change_the_second_time(subject: Cluster) -> None:
    action = '{"type":"fixed-response","fixedResponseConfig":{"statusCode":"503","messageBody":"closed"}}'
    assert [write.action for write in subject.route(action)] == ["ModifyRule"]
    assert subject.live()["FixedResponseConfig"]["MessageBody"] == "closed"
    assert subject.route(f" {action}") == []


def test_stickiness_reaches_the_rule_and_leaving_it_out_is_not_off(subject: Cluster) -> None:
    sticky = _sticky(enabled=True, durationSeconds=200)
    assert [write.action for write in subject.route(sticky)] == ["ModifyRule"]
    assert subject.live()["ForwardConfig"]["TargetGroupStickinessConfig"] == {"Enabled": True, "DurationSeconds": 200}
    assert [write.action for write in subject.route(COST)] == ["ModifyRule"]
    unstated = json.loads(sticky)
    del unstated["forwardConfig"]["targetGroupStickinessConfig"]
    assert subject.route(json.dumps(unstated)) == []


def test_the_order_of_the_target_groups_and_the_weight_of_a_single_one_are_no_change(subject: Cluster) -> None:
    action = json.loads(COST)
    action["forwardConfig"]["targetGroups"].reverse()
    assert subject.route(json.dumps(action)) == []
    subject.route(CAPACITY)
    assert subject.route(CAPACITY.replace('"weight":1', '"weight":7')) == []
