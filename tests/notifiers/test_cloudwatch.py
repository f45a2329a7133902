"""CloudWatch against moto in process."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from controller.clients.aws import AwsClients
from controller.errors import ConfigError, Forbidden, Unavailable
from controller.notifiers.cloudwatch import MAX_ALARM_NAME, CloudWatchNotifier, alarm_name
from controller.notifiers.digest import digest
from controller.policy.model import Mode
from controller.ports import MessageKind
from failover_testbed.clocks import ManualClock
from tests.notifiers.support import START, a_message
from tests.support.aws import emulated_account

NAMESPACE = "MixedAccelerator/Failover"
TOPIC = "arn:aws:sns:eu-west-1:123456789012:ops"


class Calls:
    """Counts the requests by operation."""

    def __init__(self, client: Any) -> None:
        self.seen: list[tuple[str, dict[str, Any]]] = []
        client.meta.events.register("provide-client-params.cloudwatch.*", self._note)

    def _note(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        self.seen.append((model.name, params))

    def take(self, operation: str) -> list[dict[str, Any]]:
        found = [params for name, params in self.seen if name == operation]
        self.seen = [(name, params) for name, params in self.seen if name != operation]
        return found


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> Iterator[AwsClients]:
    with emulated_account(monkeypatch):
        yield AwsClients("eu-west-1")


@pytest.fixture
def calls(clients: AwsClients) -> Calls:
    return Calls(clients.client("cloudwatch"))


@pytest.fixture
def notifier(clients: AwsClients, clock: ManualClock) -> CloudWatchNotifier:
    return CloudWatchNotifier(clients, NAMESPACE, [TOPIC], clock=clock)


def value(metric: str, statistic: str, application: str = "default/sd21") -> float | None:
    answer = boto3.client("cloudwatch", "eu-west-1").get_metric_statistics(
        Namespace=NAMESPACE,
        MetricName=metric,
        Dimensions=[{"Name": "Application", "Value": application}],
        StartTime=datetime.fromtimestamp(START, UTC) - timedelta(minutes=1),
        EndTime=datetime.fromtimestamp(START, UTC) + timedelta(minutes=1),
        Period=600,
        Statistics=[statistic],
    )
    points = answer["Datapoints"]
    return points[0][statistic] if points else None


def alarms() -> dict[str, Any]:
    return {alarm["AlarmName"]: alarm for alarm in boto3.client("cloudwatch", "eu-west-1").describe_alarms()["MetricAlarms"]}


def test_a_failover_sets_the_mode_and_counts(notifier: CloudWatchNotifier) -> None:
    notifier.send(a_message(MessageKind.FAILOVER, mode="capacity"))
    assert (value("CapacityMode", "Maximum"), value("Failovers", "Sum"), value("Fallbacks", "Sum")) == (1.0, 1.0, None)


def test_a_fallback_sets_the_mode_back_and_counts(notifier: CloudWatchNotifier) -> None:
    notifier.send(a_message(MessageKind.FALLBACK, mode="cost"))
    assert (value("CapacityMode", "Maximum"), value("Failovers", "Sum"), value("Fallbacks", "Sum")) == (0.0, None, 1.0)


def test_an_alert_about_the_controller_is_counted_under_its_own_name(notifier: CloudWatchNotifier) -> None:
    notifier.send(a_message(MessageKind.ALERT, application="", mode=""))
    assert value("Alerts", "Sum", "controller") == 1.0


def test_a_digest_counts_for_each_of_its_applications(notifier: CloudWatchNotifier, calls: Calls) -> None:
    """In few calls."""
    notifier.send(digest([a_message(application=f"team/app-{number}") for number in range(30)]))
    assert len(calls.take("PutMetricData")) == 1
    assert [value("Failovers", "Sum", f"team/app-{number}") for number in range(30)] == [1.0] * 30


def test_a_message_that_changes_no_metric_sends_nothing(notifier: CloudWatchNotifier, calls: Calls) -> None:
    notifier.send(a_message(MessageKind.RESOLVED, mode=""))
    assert calls.seen == []


def test_the_heartbeat_publishes_known_modes_only(notifier: CloudWatchNotifier, calls: Calls) -> None:
    notifier.publish_modes({"a/x": Mode.CAPACITY, "a/y": Mode.COST, "a/z": None})
    (sent,) = calls.take("PutMetricData")
    assert [(datum["Dimensions"][0]["Value"], datum["Value"]) for datum in sent["MetricData"]] == [("a/x", 1.0), ("a/y", 0.0)]
    assert sent["MetricData"][0]["Timestamp"] == datetime.fromtimestamp(START, UTC)
    assert [value("CapacityMode", "Maximum", name) for name in ("a/x", "a/y", "a/z")] == [1.0, 0.0, None]
    assert set(alarms()) == {f"failoverctl a/{name} in capacity mode" for name in "xyz"}


def test_a_large_heartbeat_goes_in_batches_that_aws_accepts(clients: AwsClients, clock: ManualClock, calls: Calls) -> None:
    CloudWatchNotifier(clients, NAMESPACE, clock=clock, alarms=False).publish_modes({f"a/{number}": Mode.COST for number in range(2001)})
    assert [len(sent["MetricData"]) for sent in calls.take("PutMetricData")] == [1000, 1000, 1]
    assert calls.seen == [], "without alarms not even DescribeAlarms is needed"


def test_an_alarm_describes_what_it_watches(notifier: CloudWatchNotifier) -> None:
    name = "failoverctl default/sd21 in capacity mode"
    assert notifier.ensure_alarms(["default/sd21"]) == (name,)
    alarm = alarms()[name]
    assert (alarm["Namespace"], alarm["MetricName"], alarm["Threshold"], alarm["TreatMissingData"]) == (
        NAMESPACE,
        "CapacityMode",
        1.0,
        "missing",
    )
    assert alarm["Dimensions"] == [{"Name": "Application", "Value": "default/sd21"}]
    assert alarm["AlarmActions"] == [TOPIC]


def test_an_alarm_that_is_up_to_date_is_not_written_again(
    notifier: CloudWatchNotifier, clients: AwsClients, clock: ManualClock, calls: Calls
) -> None:
    notifier.publish_modes({"default/sd21": Mode.COST})
    assert len(calls.take("PutMetricAlarm")) == 1
    notifier.publish_modes({"default/sd21": Mode.COST})
    assert len(calls.take("DescribeAlarms")) == 1, "described once per process"
    after_a_restart = CloudWatchNotifier(clients, NAMESPACE, [TOPIC], clock=clock)
    after_a_restart.publish_modes({"default/sd21": Mode.CAPACITY})
    assert len(calls.take("DescribeAlarms")) == 1
    assert calls.take("PutMetricAlarm") == []


@pytest.mark.parametrize("changes", [{"Threshold": 2.0}, {"AlarmActions": []}, {"TreatMissingData": "breaching"}])
def test_an_alarm_that_differs_is_corrected_and_keeps_actions_enabled(
    notifier: CloudWatchNotifier, calls: Calls, changes: dict[str, Any]
) -> None:
    foreign = {**notifier._alarm("default/sd21"), **changes, "ActionsEnabled": False}
    boto3.client("cloudwatch", "eu-west-1").put_metric_alarm(**foreign)
    assert notifier.ensure_alarms(["default/sd21"]) == (alarm_name("default/sd21"),)
    assert [sent["ActionsEnabled"] for sent in calls.take("PutMetricAlarm")] == [False]
    assert notifier.ensure_alarms(["default/sd21"]) == ()


def test_the_order_of_an_alarm_s_actions_makes_no_difference(clients: AwsClients, clock: ManualClock) -> None:
    CloudWatchNotifier(clients, NAMESPACE, ["arn:a", "arn:b"], clock=clock).ensure_alarms(["a/x"])
    assert CloudWatchNotifier(clients, NAMESPACE, ["arn:b", "arn:a"], clock=clock).ensure_alarms(["a/x"]) == ()


def test_alarms_are_described_in_batches_that_aws_accepts(notifier: CloudWatchNotifier, calls: Calls) -> None:
    applications = [f"a/{number}" for number in range(101)]
    assert len(notifier.ensure_alarms(applications)) == 101
    assert [len(sent["AlarmNames"]) for sent in calls.take("DescribeAlarms")] == [100, 1]


def test_a_name_that_is_too_long_is_cut_and_stays_unique() -> None:
    names = {alarm_name("n" * 63 + "/" + "i" * 252 + last) for last in "abc"}
    assert len(names) == 3
    assert {len(name) for name in names} == {MAX_ALARM_NAME}


@pytest.mark.parametrize("namespace", ["AWS/ELB", "aws/x", "", "a b", "x" * 256])
def test_a_namespace_that_aws_would_refuse_is_a_configuration_error(clients: AwsClients, clock: ManualClock, namespace: str) -> None:
    with pytest.raises(ConfigError, match="not beginning with AWS/"):
        CloudWatchNotifier(clients, namespace, clock=clock)


@pytest.mark.parametrize("period_s", [0, 30, 90])
def test_a_period_that_aws_would_refuse_is_a_configuration_error(clients: AwsClients, clock: ManualClock, period_s: int) -> None:
    with pytest.raises(ConfigError, match="multiple of 60"):
        CloudWatchNotifier(clients, NAMESPACE, clock=clock, period_s=period_s)


def test_a_refusal_and_throttling_raise_different_errors(notifier: CloudWatchNotifier, clients: AwsClients) -> None:
    with Stubber(clients.client("cloudwatch")) as stub:
        stub.add_client_error("put_metric_data", "AccessDenied", "no", 403)
        with pytest.raises(Forbidden) as caught:
            notifier.send(a_message())
        assert isinstance(caught.value.__cause__, ClientError)
        stub.add_client_error("put_metric_data", "Throttling", "slow", 400)
        with pytest.raises(Unavailable):
            notifier.send(a_message())


def test_modes_are_published_although_alarms_are_forbidden_and_alarms_are_retried(
    notifier: CloudWatchNotifier, clients: AwsClients
) -> None:
    for _ in range(2):
        with Stubber(clients.client("cloudwatch")) as stub:
            stub.add_response("put_metric_data", {})
            stub.add_client_error("describe_alarms", "AccessDenied", "no", 403)
            with pytest.raises(Forbidden):
                notifier.publish_modes({"a/x": Mode.COST})
            stub.assert_no_pending_responses()
