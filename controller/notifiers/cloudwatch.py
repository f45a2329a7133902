"""CloudWatch: one metric that says which mode each application is in, counters, and an alarm for each application.

Dashboards and alarms of a whole organisation can use the metric without knowing this project.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final, TypeVar

from controller.clients.aws import AwsClients, translated
from controller.clock import Clock
from controller.errors import ConfigError
from controller.notifiers.digest import parts
from controller.policy.model import Mode
from controller.ports import Message, MessageKind

DIMENSION: Final = "Application"
CONTROLLER: Final = "controller"  # the dimension's value for messages about the controller itself; AWS allows no empty one
MODE_METRIC: Final = "CapacityMode"
MAX_DATA: Final = 1000  # metrics a PutMetricData call
MAX_NAMES: Final = 100  # alarms a DescribeAlarms call
MAX_ALARM_NAME: Final = 255

_SERVICE: Final = "cloudwatch"
_MAX_NAMESPACE: Final = 255
_NAMESPACE: Final = re.compile(r"[A-Za-z0-9._/#:-]+")
_DIGEST: Final = 8
_COUNTERS: Final = {
    MessageKind.FAILOVER: "Failovers",
    MessageKind.FALLBACK: "Fallbacks",
    MessageKind.ALERT: "Alerts",
    MessageKind.TEST: "Tests",
}
_UNORDERED: Final = frozenset({"AlarmActions", "OKActions"})

_T = TypeVar("_T")


class CloudWatchNotifier:
    """Publishes metrics and keeps the alarms up to date.

    Args:
        clients: AWS clients.
        namespace: CloudWatch namespace of the metrics; must not begin with ``AWS/``.
        alarm_actions: ARNs (e.g. of SNS topics) to notify when an application enters capacity mode.
        clock: For the time stamps of `publish_modes`.
        ok_actions: ARNs to notify when it leaves capacity mode.
        period_s: The alarm's period, seconds; a multiple of 60. Call `publish_modes` at least this often.
        alarms: Whether to create alarms. Without them no permission for alarms is needed.

    Raises:
        ConfigError: AWS would refuse the namespace or the period.
    """

    def __init__(
        self,
        clients: AwsClients,
        namespace: str,
        alarm_actions: Sequence[str] = (),
        *,
        clock: Clock,
        ok_actions: Sequence[str] = (),
        period_s: int = 60,
        alarms: bool = True,
    ) -> None:
        if namespace.lower().startswith("aws/") or len(namespace) > _MAX_NAMESPACE or not _NAMESPACE.fullmatch(namespace):
            raise ConfigError(
                f"CloudWatch namespace {namespace!r}: 1 to {_MAX_NAMESPACE} letters, digits or . _ / # : -, and not beginning with AWS/"
            )
        if period_s < 60 or period_s % 60:  # noqa: PLR2004
            raise ConfigError(f"CloudWatch alarm period {period_s} s: must be a multiple of 60 s")
        self._clients = clients
        self._namespace = namespace
        self._alarm_actions = tuple(alarm_actions)
        self._ok_actions = tuple(ok_actions)
        self._clock = clock
        self._period_s = period_s
        self._alarms = alarms
        self._ensured: frozenset[str] = frozenset()

    name = "cloudwatch"
    takes_digests = True
    """One request carries the metrics of many applications."""

    def send(self, message: Message) -> None:
        """Publishes the mode that a message, or each of a digest, states, and adds to the counter of its kind. Others do nothing.

        Raises:
            RemoteError: See `controller.errors`.
        """
        data = []
        for one in parts(message):
            if one.application and one.mode in {Mode.COST, Mode.CAPACITY}:
                data.append(_datum(MODE_METRIC, one.application, float(one.mode == Mode.CAPACITY), "None", one.at))
            if one.kind in _COUNTERS:
                data.append(_datum(_COUNTERS[one.kind], one.application or CONTROLLER, 1.0, "Count", one.at))
        self._put(data)

    def publish_modes(self, modes: Mapping[str, Mode | None]) -> None:
        """Publishes the mode of every application, and creates or updates the alarm of each new one.

        Blocks on AWS: call it from a job of its own, not from a tick.

        Args:
            modes: Mode by application key. None means unknown: no value is published, and the alarm shows insufficient data.

        Raises:
            RemoteError: See `controller.errors`. The modes are published before any alarm is touched.
        """
        now = self._clock.now()
        self._put(_datum(MODE_METRIC, name, float(mode is Mode.CAPACITY), "None", now) for name, mode in modes.items() if mode is not None)
        if self._alarms and not self._ensured.issuperset(modes):
            self.ensure_alarms(sorted(modes.keys() - self._ensured))
            self._ensured = frozenset(modes)

    def ensure_alarms(self, applications: Sequence[str]) -> tuple[str, ...]:
        """Creates each application's alarm if it is absent and updates it if it differs; otherwise only reads.

        Keeps ActionsEnabled as a person set it.

        Args:
            applications: Application keys.

        Returns:
            The names of the alarms that were written.

        Raises:
            RemoteError: See `controller.errors`.
        """
        wanted = [self._alarm(application) for application in applications]
        found = self._describe([alarm["AlarmName"] for alarm in wanted])
        written = []
        for alarm in wanted:
            existing = found.get(alarm["AlarmName"])
            if existing is None or _differs(alarm, existing):
                enabled = True if existing is None else bool(existing.get("ActionsEnabled", True))
                client = self._clients.client(_SERVICE)
                with translated(_SERVICE, "PutMetricAlarm"):
                    client.put_metric_alarm(**alarm, ActionsEnabled=enabled)
                written.append(alarm["AlarmName"])
        return tuple(written)

    def _put(self, data: Iterable[Mapping[str, Any]]) -> None:
        for batch in _batches(data, MAX_DATA):
            client = self._clients.client(_SERVICE)
            with translated(_SERVICE, "PutMetricData"):
                client.put_metric_data(Namespace=self._namespace, MetricData=batch)

    def _describe(self, names: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        found: dict[str, Mapping[str, Any]] = {}
        for batch in _batches(names, MAX_NAMES):
            client = self._clients.client(_SERVICE)
            with translated(_SERVICE, "DescribeAlarms"):
                # MaxRecords covers the batch: there is no second page.
                answer = client.describe_alarms(AlarmNames=batch, AlarmTypes=["MetricAlarm"], MaxRecords=MAX_NAMES)
            found.update({alarm["AlarmName"]: alarm for alarm in answer.get("MetricAlarms", ())})
        return found

    def _alarm(self, application: str) -> dict[str, Any]:
        return {
            "AlarmName": alarm_name(application),
            "AlarmDescription": f"{application} runs in capacity mode: all ready units serve, at higher cost. Managed by failoverctl.",
            "Namespace": self._namespace,
            "MetricName": MODE_METRIC,
            "Dimensions": [{"Name": DIMENSION, "Value": application}],
            "Statistic": "Maximum",
            "Period": self._period_s,
            "EvaluationPeriods": 1,
            "DatapointsToAlarm": 1,
            "Threshold": 1.0,
            "ComparisonOperator": "GreaterThanOrEqualToThreshold",
            # A controller that publishes nothing must show neither cost mode nor capacity mode.
            "TreatMissingData": "missing",
            "AlarmActions": list(self._alarm_actions),
            "OKActions": list(self._ok_actions),
        }


def alarm_name(application: str) -> str:
    """The name of an application's alarm. If AWS's limit cuts it, a digest keeps it unique."""
    name = f"failoverctl {application} in capacity mode"
    if len(name) <= MAX_ALARM_NAME:
        return name
    digest = hashlib.sha256(application.encode()).hexdigest()[:_DIGEST]
    room = MAX_ALARM_NAME - (len(name) - len(application)) - _DIGEST - 1
    return f"failoverctl {application[:room]}~{digest} in capacity mode"


def _datum(metric: str, application: str, value: float, unit: str, at: float) -> dict[str, Any]:
    return {
        "MetricName": metric,
        "Dimensions": [{"Name": DIMENSION, "Value": application}],
        "Timestamp": datetime.fromtimestamp(at, UTC),
        "Value": value,
        "Unit": unit,
    }


def _differs(wanted: Mapping[str, Any], existing: Mapping[str, Any]) -> bool:
    for name, value in wanted.items():
        other = existing.get(name)
        if name in _UNORDERED:
            if sorted(value) != sorted(other or ()):
                return True
        elif value != other:
            return True
    return False


def _batches(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
