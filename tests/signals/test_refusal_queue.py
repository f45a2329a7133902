"""The leader receives records from the queue, takes each in before it deletes it, and nothing that the queue does stops it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from controller.clients.aws import READ_S, AwsClients
from controller.policy.model import QUEUE_SOURCE, Memory, Proof, Shortage
from controller.routing.conclusion import conclude
from controller.service.pollers import make_external
from controller.settings import Settings
from controller.signals import refusal_queue
from controller.signals.cluster import ClusterView
from controller.signals.fleet_answers import FleetAnswer
from controller.signals.refusal_queue import RECEIVES, RefusalQueue
from failover_testbed.clocks import ManualClock
from tests.signals.samples import REGION, fleet_record
from tests.signals.test_fleet_answers import ALL, APP, POOL, T0, Cluster
from tests.support.applications import NOW, application, snapshot
from tests.support.aws import emulated_account

OFFERING = ("inf2.xlarge", "us-west-2a")


class CrashError(BaseException):
    """The process ends here."""


class Queue:
    """A queue of an emulated account, and a leader that reads it."""

    def __init__(self) -> None:
        self.sqs = boto3.client("sqs", region_name=REGION)
        self.url: str = self.sqs.create_queue(QueueName="failoverctl-refusals")["QueueUrl"]
        self.clock = ManualClock(NOW)
        self.taken: list[FleetAnswer | None] = []
        self.reader = RefusalQueue(AwsClients(REGION), self.clock, self.url, self.taken.append)

    def record(self, at: float = NOW) -> str:
        """A record of the queue's account."""
        return json.dumps(fleet_record(at, "inf2", OFFERING, account=self.url.split("/")[3]))

    def send(self, *bodies: str) -> None:
        """Puts messages on it."""
        for body in bodies:
            self.sqs.send_message(QueueUrl=self.url, MessageBody=body)

    @property
    def left(self) -> int:
        """How many messages it has, those that somebody takes in now among them."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        return sum(map(int, self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)["Attributes"].values()))


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
    monkeypatch.setattr(refusal_queue, "_WAIT_S", 0)
    with emulated_account(monkeypatch):
        yield Queue()


def test_a_receive_waits_for_less_than_the_client_does() -> None:
    """Else an empty queue would look as if it did not answer."""
    assert refusal_queue._WAIT_S < READ_S


def test_a_record_is_taken_in_and_deleted(queue: Queue) -> None:
    """With what EC2 refused."""
    queue.send(queue.record())
    queue.reader.poll()
    (found,) = queue.taken
    assert found is not None
    assert (found.pool, found.at, found.offerings.pairs) == ("inf2", NOW, (OFFERING,))
    assert queue.left == 0


def test_a_shortage_is_proven_by_what_comes_through_the_queue(queue: Queue) -> None:
    """From the message to the proof: the real client, view and policy."""
    cluster = Cluster()
    cluster.refused()
    settings = Settings.model_validate({"aws": {"region": REGION, "apis": [], "refusal_queue_url": queue.url}})
    external = make_external(settings, cluster.view, cluster.clock, AwsClients(REGION), installation="failover-system")
    external.poll(QUEUE_SOURCE, [APP])
    assert cluster.evidence().shortage is Shortage.SUSPECTED
    record = json.dumps(fleet_record(T0, POOL, *ALL, account=queue.url.split("/")[3]))
    queue.send(record, record)
    external.poll(QUEUE_SOURCE, [APP])
    assert cluster.evidence().proof is Proof.NAMED
    assert queue.left == 0


def test_an_empty_queue_was_read(queue: Queue) -> None:
    """It says nothing of capacity."""
    queue.reader.poll()
    assert (queue.taken, queue.reader.source().stale(NOW), queue.reader.source().problem) == ([], False, "")


def test_what_is_too_much_for_one_poll_comes_in_the_next(queue: Queue) -> None:
    """A flood must not hold the job, nor AWS's bill."""
    bodies = [queue.record(NOW - number) for number in range(10 * RECEIVES + 5)]
    queue.send(*bodies)
    queue.reader.poll()
    assert (len(queue.taken), queue.left) == (10 * RECEIVES, 5)
    queue.clock.advance(10.0)
    queue.reader.poll()
    assert (len(queue.taken), queue.left) == (len(bodies), 0)


def test_no_more_is_called_than_the_budget_has(queue: Queue) -> None:
    """However often `poll` is called."""
    queue.send(*(queue.record() for _ in range(10 * RECEIVES + 5)))
    queue.reader.poll()
    queue.reader.poll()
    assert queue.left == 5


def test_what_a_crash_leaves_comes_again(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that is taken in twice is one: see `tests/signals/test_fleet_answers.py`."""
    monkeypatch.setattr(refusal_queue, "_HIDDEN_S", 0)
    queue.send(queue.record())

    def crash(_: object) -> None:
        raise CrashError

    with pytest.raises(CrashError):
        RefusalQueue(AwsClients(REGION), queue.clock, queue.url, crash).poll()
    assert queue.left == 1
    queue.reader.poll()
    assert (len(queue.taken), queue.left) == (1, 0)


def test_a_message_of_any_form_is_deleted(queue: Queue) -> None:
    """What should be a record and cannot be read is counted; what is another event is not."""
    other = json.dumps({"source": "aws.health", "detail-type": "AWS Health Event", "detail": {}})
    queue.send("{", other, "null", "[" * 100_000, queue.record())
    queue.reader.poll()
    assert queue.left == 0
    assert sorted(one is None for one in queue.taken) == [False, True, True]


def test_a_record_of_another_account_or_region_is_no_news(queue: Queue) -> None:
    """The queue's own are those of the cluster."""
    queue.send(json.dumps(fleet_record(NOW, "inf2", OFFERING)), queue.record().replace(REGION, "us-east-1"))
    queue.reader.poll()
    assert (queue.taken, queue.left) == ([], 0)


class _Failing:
    """A client of which a call fails, or has an answer of any form."""

    def __init__(self, error: Exception | None = None, answer: Any = None, at: str = "receive_message") -> None:
        self.error, self.answer, self.at = error, answer, at
        self.calls: list[dict[str, Any]] = []

    def client(self, _: str) -> Any:
        return self

    def __getattr__(self, name: str) -> Any:
        def call(**arguments: Any) -> Any:
            self.calls.append(arguments)
            if name == self.at and self.error is not None:
                raise self.error
            return self.answer

        return call


MESSAGE = {"Messages": [{"Body": "{}", "ReceiptHandle": "handle"}]}
DENIED = ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "ReceiveMessage")
GONE = ClientError({"Error": {"Code": "AWS.SimpleQueueService.NonExistentQueue", "Message": "It does not exist."}}, "ReceiveMessage")


@pytest.mark.parametrize(
    ("client", "words"),
    [
        pytest.param(_Failing(DENIED), "IAM does not allow sqs:ReceiveMessage and sqs:DeleteMessage", id="not allowed"),
        pytest.param(_Failing(DENIED, MESSAGE, "delete_message_batch"), "sqs:DeleteMessage", id="may read and not delete"),
        pytest.param(_Failing(GONE), "It does not exist.", id="no such queue"),
        pytest.param(_Failing(EndpointConnectionError(endpoint_url="https://sqs")), "EndpointConnectionError", id="no way to it"),
    ],
)
def test_a_queue_that_cannot_be_read_alerts_and_holds_nothing(client: _Failing, words: str) -> None:
    """As for Karpenter's metrics: a proof takes longer, and somebody should know why."""
    reader = RefusalQueue(client, ManualClock(NOW), "https://sqs.us-west-2.amazonaws.com/123456789012/failoverctl", lambda _: None)
    reader.poll()
    source = reader.source()
    assert words in source.problem
    decision, without = (conclude(Memory(), one).decision for one in (replace(snapshot(), sources=(source,)), snapshot()))
    (alert,) = (one for one in decision.alerts if one.key == QUEUE_SOURCE)
    assert (alert.severity, words in alert.text) == ("warning", True)
    assert any(one.startswith(QUEUE_SOURCE) for one in decision.degraded)
    assert [one.reason for one in decision.guards] == [one.reason for one in without.guards]
    assert replace(decision, alerts=without.alerts, degraded=without.degraded, guards=without.guards) == without


def test_a_problem_stays_until_the_queue_was_read_again() -> None:
    """A poll for which no calls are left says nothing of the queue."""
    client, clock = _Failing(GONE, {}), ManualClock(NOW)
    reader = RefusalQueue(client, clock, "https://sqs.us-west-2.amazonaws.com/123456789012/failoverctl", lambda _: None)
    for _ in range(2 * RECEIVES):
        reader.poll()
    assert len(client.calls) < 2 * RECEIVES, "the budget is spent"
    assert reader.source().problem
    client.error = None
    clock.advance(10.0)
    reader.poll()
    assert (reader.source().problem, reader.source().last_ok) == ("", NOW + 10)


@pytest.mark.parametrize("answer", [None, [], {"Messages": "x"}, {"Messages": [None, 1]}, {"Messages": [{}] * 30}])
def test_an_answer_of_any_form_is_bounded(answer: Any) -> None:
    """What an endpoint answers that is none of AWS's."""
    client = _Failing(answer=answer)
    RefusalQueue(client, ManualClock(NOW), "https://sqs.us-west-2.amazonaws.com/123456789012/failoverctl", lambda _: None).poll()
    assert 0 < len(client.calls) <= 2 * RECEIVES
    assert all(len(one.get("Entries", ())) <= 10 for one in client.calls)


@pytest.mark.parametrize(("installation", "read"), [("failover-system", True), ("", False)])
def test_a_dry_run_leaves_the_messages_to_the_leader(queue: Queue, installation: str, *, read: bool) -> None:
    """Nor does a command that observes once take any; and without the setting nothing is read."""
    clients, view = AwsClients(REGION), ClusterView(queue.clock, lambda: None)
    settings = Settings.model_validate({"aws": {"region": REGION, "apis": [], "refusal_queue_url": queue.url}})
    external = make_external(settings, view, queue.clock, clients, installation=installation)
    assert (QUEUE_SOURCE in external.polls) is read
    off = Settings.model_validate({"aws": {"region": REGION, "apis": []}})
    assert QUEUE_SOURCE not in make_external(off, view, queue.clock, clients, installation="failover-system").polls
    queue.send("{")
    for name in external.polls:
        external.poll(name, [application()])
    assert (queue.left, view.karpenter.unparsed) == ((0, 1) if read else (1, 0))
