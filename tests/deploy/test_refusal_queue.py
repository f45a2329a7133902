"""The queue of `deploy/iam/refusal-queue.*` gets the answers to one cluster's Karpenter from one rule, and the controller reads it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import boto3
import hcl2
import pytest
import yaml

from controller.clients.aws import AwsClients
from controller.settings import AwsSettings
from controller.signals.fleet_answers import FleetAnswer
from controller.signals.refusal_queue import RefusalQueue
from failover_testbed.clocks import ManualClock
from tests.clients.test_iam import allowed
from tests.signals.samples import ACCOUNT, REGION, fleet_record, moment
from tests.support.aws import emulated_account
from tools.permissions import ROOT

IAM: Final = ROOT / "deploy" / "iam"
ROLE: Final = f"arn:aws:iam::{ACCOUNT}:role/KarpenterController"
NAME: Final = "failoverctl-refusals"
QUEUE: Final = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{NAME}"
RULE: Final = f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{NAME}"
T0: Final = moment("2026-08-25T10:00:00Z")
OFFERING: Final = ("inf2.xlarge", "us-west-2a")


class Stack(NamedTuple):
    """What a template makes."""

    queue: dict[str, Any]  # retention in seconds, encryption
    pattern: dict[str, Any]
    target: str
    sends: dict[str, Any]
    reads: dict[str, Any]


# --- CloudFormation ---


class _Template(yaml.SafeLoader):
    """YAML with the short forms of CloudFormation's functions."""


def _function(name: str) -> Callable[[_Template, yaml.ScalarNode], dict[str, Any]]:
    return lambda loader, node: {name: loader.construct_scalar(node)}


_Template.add_constructor("!Ref", _function("Ref"))
_Template.add_constructor("!GetAtt", _function("Fn::GetAtt"))


def _filled(value: Any, values: Mapping[tuple[str, str], str]) -> Any:
    """A part of a template with its functions replaced by what they return."""
    if isinstance(value, dict):
        (name, argument), *more = value.items() or [("", "")]
        if not more and name in {"Ref", "Fn::GetAtt"}:
            return values[name, argument]
        return {key: _filled(one, values) for key, one in value.items()}
    return [_filled(one, values) for one in value] if isinstance(value, list) else value


def cloudformation() -> Stack:
    """The stack of the template, with the default name of the queue."""
    template = yaml.load((IAM / "refusal-queue.yaml").read_text(), _Template)
    values = {
        ("Ref", "KarpenterRoleArn"): ROLE,
        ("Ref", "ControllerRoleName"): "failoverctl",
        ("Ref", "QueueName"): template["Parameters"]["QueueName"]["Default"],
        ("Ref", "Queue"): f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{NAME}",
        ("Fn::GetAtt", "Queue.Arn"): QUEUE,
        ("Fn::GetAtt", "Rule.Arn"): RULE,
    }
    made = {one["Type"]: _filled(one["Properties"], values) for one in template["Resources"].values()}
    queue, rule = made["AWS::SQS::Queue"], made["AWS::Events::Rule"]
    (target,) = rule["Targets"]
    assert made["AWS::SQS::QueuePolicy"]["Queues"] == [_filled(template["Outputs"]["QueueUrl"]["Value"], values)]
    assert made["AWS::IAM::RolePolicy"]["RoleName"] == "failoverctl"
    assert queue.pop("QueueName") == rule["Name"] == NAME
    assert queue.pop("SqsManagedSseEnabled") is True
    sends, reads = (made[kind]["PolicyDocument"] for kind in ("AWS::SQS::QueuePolicy", "AWS::IAM::RolePolicy"))
    return Stack(queue, rule["EventPattern"], target["Arn"], sends, reads)


# --- Terraform ---


_REFERENCES: Final = {
    "var.queue_name": NAME,
    "var.karpenter_role_arn": ROLE,
    "var.controller_role_name": "failoverctl",
    "aws_sqs_queue.refusals.arn": QUEUE,
    "aws_sqs_queue.refusals.url": f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{NAME}",
    "aws_cloudwatch_event_rule.refusals.arn": RULE,
    "aws_cloudwatch_event_rule.refusals.name": NAME,
}


def _evaluated(value: Any) -> Any:
    """A value with references, strings and `jsonencode` evaluated, as the parser leaves them to others."""
    if isinstance(value, dict):
        return {json.loads(key) if key.startswith('"') else key: _evaluated(one) for key, one in value.items() if not key.startswith("__")}
    if isinstance(value, list):
        return [_evaluated(one) for one in value]
    if not isinstance(value, str):
        return value
    if value.startswith('"'):
        return json.loads(value)
    expression = value.removeprefix("${").removesuffix("}")
    if encoded := re.fullmatch(r"jsonencode\((.+)\)", expression, re.DOTALL):
        return _evaluated(hcl2.loads(f"value = {encoded[1]}\n")["value"])
    return _REFERENCES[expression]


def terraform() -> Stack:
    """The stack of the configuration."""
    parsed = hcl2.loads((IAM / "refusal-queue.tf").read_text())
    made = {json.loads(kind): _evaluated(named)["refusals"] for one in parsed["resource"] for kind, named in one.items()}
    queue, rule, target = (made[kind] for kind in ("aws_sqs_queue", "aws_cloudwatch_event_rule", "aws_cloudwatch_event_target"))
    assert queue.pop("sqs_managed_sse_enabled") is True
    assert queue.pop("name") == rule["name"] == target["rule"] == NAME
    assert made["aws_sqs_queue_policy"]["queue_url"] == _REFERENCES["aws_sqs_queue.refusals.url"]
    assert made["aws_iam_role_policy"]["role"] == "failoverctl"
    retention = {"MessageRetentionPeriod": queue.pop("message_retention_seconds"), **queue}
    return Stack(
        retention, rule["event_pattern"], target["arn"], made["aws_sqs_queue_policy"]["policy"], made["aws_iam_role_policy"]["policy"]
    )


@pytest.fixture(params=[cloudformation, terraform])
def stack(request: pytest.FixtureRequest) -> Stack:
    """What each of the two makes."""
    make: Callable[[], Stack] = request.param
    return make()


def test_both_templates_make_the_same() -> None:
    """A change of one must not forget the other."""
    assert cloudformation() == terraform()


def test_the_controller_may_read_that_queue_and_nothing_else(stack: Stack) -> None:
    """The same actions as in the policy of all calls, whose names the queue's name matches."""
    (statement,) = stack.reads["Statement"]
    (general,) = (one for one in json.loads((IAM / "policy.json").read_text())["Statement"] if one["Sid"] == statement["Sid"])
    assert (statement["Effect"], statement["Action"], statement["Resource"]) == ("Allow", general["Action"], QUEUE)
    assert set(statement["Action"]) == {one for one in allowed() if one.startswith("sqs:")}
    assert re.fullmatch(general["Resource"].replace("*", ".*"), QUEUE)


def test_only_the_rule_may_send(stack: Stack) -> None:
    """A denial counts also for those whose own policy allows it."""
    allow, deny = stack.sends["Statement"]
    assert (allow["Effect"], allow["Principal"]) == ("Allow", {"Service": "events.amazonaws.com"})
    assert (deny["Effect"], deny["Principal"]) == ("Deny", "*")
    assert (allow["Condition"], deny["Condition"]) == (
        {"ArnEquals": {"aws:SourceArn": RULE}},
        {"ArnNotEquals": {"aws:SourceArn": RULE}},
    )
    assert {(one["Action"], one["Resource"]) for one in (allow, deny)} == {("sqs:SendMessage", QUEUE)}


def test_a_record_stays_for_as_long_as_it_may_change_anything(stack: Stack) -> None:
    assert stack.queue == {"MessageRetentionPeriod": 3600}


# --- in an emulated account ---


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("controller.signals.refusal_queue._WAIT_S", 0)
    with emulated_account(monkeypatch):
        yield


def _made(stack: Stack) -> str:
    """Makes the queue and the rule; returns the queue's URL."""
    sqs, events = (boto3.client(name, region_name=REGION) for name in ("sqs", "events"))
    attributes = {**{name: str(value) for name, value in stack.queue.items()}, "Policy": json.dumps(stack.sends)}
    url: str = sqs.create_queue(QueueName=NAME, Attributes=attributes)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    assert arn.rpartition(":")[2] == stack.target.rpartition(":")[2]
    events.put_rule(Name=NAME, EventPattern=json.dumps(stack.pattern))
    events.put_targets(Rule=NAME, Targets=[{"Id": "queue", "Arn": arn}])
    return url


def _happens(record: dict[str, Any]) -> None:
    entry = {"Source": record["source"], "DetailType": record["detail-type"], "Detail": json.dumps(record["detail"])}
    boto3.client("events", region_name=REGION).put_events(Entries=[entry])


def _waiting(url: str) -> int:
    attributes = boto3.client("sqs", region_name=REGION).get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    return int(attributes["ApproximateNumberOfMessages"])


def _other(**changes: str) -> dict[str, Any]:
    record = fleet_record(T0, "inf2", OFFERING)
    return {**record, "detail": {**record["detail"], **changes}}


@pytest.mark.usefixtures("aws")
def test_the_rule_sends_the_answers_to_karpenter_alone(stack: Stack) -> None:
    """Another call, another service, and another role, such as that of another cluster's Karpenter, stay out."""
    url = _made(stack)
    for record in (
        _other(eventName="RunInstances"),
        _other(eventSource="ecs.amazonaws.com"),
        fleet_record(T0, "inf2", account="444455556666"),
    ):
        _happens(record)
    assert _waiting(url) == 0
    _happens(fleet_record(T0, "inf2", OFFERING))
    assert _waiting(url) == 1


@pytest.mark.usefixtures("aws")
def test_the_controller_reads_what_the_rule_sends(stack: Stack) -> None:
    """The emulated EventBridge leaves the account out: the record is put on the queue as AWS would put it."""
    url = AwsSettings(region=REGION, refusal_queue_url=_made(stack)).refusal_queue_url
    assert url is not None
    record = fleet_record(T0, "inf2", OFFERING, account=url.split("/")[3])
    boto3.client("sqs", region_name=REGION).send_message(QueueUrl=url, MessageBody=json.dumps(record))
    taken: list[FleetAnswer | None] = []
    RefusalQueue(AwsClients(REGION), ManualClock(T0), url, taken.append).poll()
    assert [one.offerings.pairs for one in taken if one is not None] == [(OFFERING,)]
    assert _waiting(url) == 0
