"""SNS and EventBridge against moto in process: what a queue behind topic and rule receives."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import boto3
import pytest

from controller.clients.aws import AwsClients
from controller.errors import RemoteError
from controller.notifiers.document import message_document
from controller.notifiers.topics import DETAIL_TYPE, SOURCE, EventBridgeNotifier, SnsNotifier
from controller.ports import MessageKind
from tests.notifiers.support import a_message
from tests.notifiers.test_webhook import FAILOVER
from tests.support.aws import emulated_account

REGION = "eu-west-1"


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> Iterator[AwsClients]:
    """An emulated account."""
    with emulated_account(monkeypatch):
        yield AwsClients(REGION)


@pytest.fixture
def queue(clients: AwsClients) -> tuple[str, str]:
    """URL and ARN of an empty queue."""
    del clients  # the account must be emulated first
    sqs = boto3.client("sqs", REGION)
    url = sqs.create_queue(QueueName="incidents")["QueueUrl"]
    return url, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def _received(url: str) -> dict[str, Any]:
    (message,) = boto3.client("sqs", REGION).receive_message(QueueUrl=url)["Messages"]
    body: dict[str, Any] = json.loads(message["Body"])
    return body


def _topic(queue: tuple[str, str]) -> str:
    sns = boto3.client("sns", REGION)
    topic: str = sns.create_topic(Name="ops")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue[1])
    return topic


def test_sns_delivers_text_for_people_with_attributes_to_filter_by(clients: AwsClients, queue: tuple[str, str]) -> None:
    """The subject is ASCII on one line, as SNS requires."""
    SnsNotifier(clients, _topic(queue)).send(FAILOVER)
    body = _received(queue[0])
    assert body["Subject"] == "Warning sd21: failed over to capacity mode"
    assert "Cost: $3.10/h → $4.85/h (+56 %)" in body["Message"]
    assert "Application: shop/sd21" in body["Message"]
    attributes = {name: one["Value"] for name, one in body["MessageAttributes"].items()}
    assert attributes == {
        "kind": "failover",
        "severity": "warning",
        "status": "open",
        "incident": "prod/shop/sd21/mode",
        "application": "shop/sd21",
        "cluster": "prod",
    }


def test_a_fifo_topic_keeps_the_order_of_an_incident_and_drops_what_is_sent_again(clients: AwsClients) -> None:
    """The messages about one incident are one group."""
    sqs, sns = boto3.client("sqs", REGION), boto3.client("sns", REGION)
    url = sqs.create_queue(QueueName="incidents.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    topic = sns.create_topic(Name="ops.fifo", Attributes={"FifoTopic": "true"})["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    notifier = SnsNotifier(clients, topic)
    fallback = replace(FAILOVER, kind=MessageKind.FALLBACK, title="sd21: fell back to cost mode", at=FAILOVER.at + 60)
    for message in (FAILOVER, FAILOVER, fallback):
        notifier.send(message)
    received = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, MessageSystemAttributeNames=["MessageGroupId"])["Messages"]
    assert len({one["Attributes"]["MessageGroupId"] for one in received}) == 1
    attributes = [json.loads(one["Body"])["MessageAttributes"] for one in received]
    said = [(one["incident"]["Value"], one["status"]["Value"]) for one in attributes]
    assert said == [("prod/shop/sd21/mode", "open"), ("prod/shop/sd21/mode", "resolved")]


def test_eventbridge_delivers_the_document_as_detail(clients: AwsClients, queue: tuple[str, str]) -> None:
    """A rule selects by source and detail type."""
    events = boto3.client("events", REGION)
    events.put_rule(Name="failover", EventPattern=json.dumps({"source": [SOURCE], "detail": {"kind": ["failover"]}}))
    events.put_targets(Rule="failover", Targets=[{"Id": "queue", "Arn": queue[1]}])
    notifier = EventBridgeNotifier(clients, "default")
    notifier.send(a_message(kind=MessageKind.ALERT))
    notifier.send(FAILOVER)
    body = _received(queue[0])
    assert (body["source"], body["detail-type"]) == (SOURCE, DETAIL_TYPE)
    assert body["detail"] == message_document(FAILOVER)


def test_a_topic_or_bus_that_does_not_exist_is_an_error(clients: AwsClients) -> None:
    """And never a delivered message."""
    with pytest.raises(RemoteError):
        SnsNotifier(clients, "arn:aws:sns:eu-west-1:123456789012:absent").send(FAILOVER)
    with pytest.raises(RemoteError):
        EventBridgeNotifier(clients, "absent").send(FAILOVER)
