"""The AWS sample's stack, adopted and left alone under a wave of load, with the waits that `init` writes and KEDA's period of 300 s.

It takes as long as `$FAILOVER_TEST_ALONE_MINUTES` says, and is left out without it: an hour has one wave and twelve periods.
"""

from __future__ import annotations

import math
import os
import time
from typing import Any, Final

import pytest

from controller.clients.kube import SCALED_OBJECTS
from controller.routing.ingress.action import parse_action
from tests.cluster.traffic import latency_of
from tests.conftest import skip_loudly
from tests.world.adopted import AdoptedStack
from tests.world.steps import Steps

_MINUTES: Final = float(os.environ.get("FAILOVER_TEST_ALONE_MINUTES") or 0)
_WAVE_S: Final = 2400.0
"""From the trough over the crest to the trough, seconds; what is left of the time has the trough's load."""
_PERIOD_S: Final = 300
_LEAST, _MOST = 0.5, 2.5
"""Load of a unit in replicas."""
_CLOUDWATCH: Final = {"AWS__APIS": '["elbv2", "cloudwatch"]', "AWS__LATENCY_STAT": "Average", "CLOUDWATCH__ENABLED": "false"}


class _Load:
    """Publishes each minute's requests of every unit, to CloudWatch and, by KEDA's period, to KEDA."""

    def __init__(self, stack: AdoptedStack) -> None:
        self._stack, self._began, self._minutes = stack, time.time(), dict[float, float]()

    def replicas(self, at: float) -> float:
        """The load at a time in replicas of each unit."""
        since = at - self._began
        share = (1 - math.cos(2 * math.pi * since / _WAVE_S)) / 2 if 0 <= since < _WAVE_S else 0.0
        return _LEAST + (_MOST - _LEAST) * share

    def publish(self) -> None:
        """Publishes every minute that is over and was not published, and the newest whole period to KEDA."""
        now = math.floor(time.time() / 60) * 60.0
        last = max(self._minutes, default=now - 3600)
        for minute in range(int(last) + 60, int(now), 60):
            self._minutes[minute] = self.replicas(minute)
            data: list[dict[str, Any]] = []
            for unit, counter in self._stack.manifests.counters.items():
                share = self._stack.manifests.targets[unit] * 60 / _PERIOD_S
                data.append({"MetricName": counter, "Value": self.replicas(minute) * share, "Timestamp": minute})
                data.append({"MetricName": f"{unit}-latency", "Value": latency_of(unit), "Timestamp": minute})
            self._stack.aws.client("cloudwatch").put_metric_data(Namespace="hw-agnostic-infer", MetricData=data)
        end = math.floor(now / _PERIOD_S) * _PERIOD_S
        period = [load for minute, load in self._minutes.items() if end - _PERIOD_S <= minute < end]
        for unit, counter in self._stack.manifests.counters.items():
            self._stack.metrics.values[counter] = sum(period) / len(period) * self._stack.manifests.targets[unit]


@pytest.fixture
def long_enough(pytestconfig: pytest.Config) -> None:
    """Skips the test where nobody asked for it, before its stack is made."""
    if not _MINUTES:
        skip_loudly(pytestconfig, "THE STACK LEFT ALONE", "$FAILOVER_TEST_ALONE_MINUTES is not set")


@pytest.mark.usefixtures("long_enough")
@pytest.mark.timeout(_MINUTES * 60 + 1200)
def test_it_is_left_alone(adopted: AdoptedStack, steps: Steps) -> None:
    """No alert, no mode change, no floor beyond what is needed, whatever the wave does and however late the metrics are."""
    load, since = _Load(adopted), time.monotonic()
    load.publish()
    adopted.adopt()
    adopted.make_safe()
    adopted.waits = {}
    alerts: set[str] = set()
    most, highest = 0, 0
    with adopted.process(**_CLOUDWATCH) as process:
        while time.monotonic() - since < _MINUTES * 60:
            load.publish()
            alerts |= set(process.application().get("alerts", ()))
            most = max(most, adopted.endpoints(adopted.manifests.capacity))
            highest = max(highest, *_floors(adopted))
            time.sleep(15)
        reason = process.application()["reason"]
    observed = f"{sorted(alerts) or 'no alert'}; at most {most} replicas; highest floor {highest}, last {max(_floors(adopted))}; "
    observed += f"{len(adopted.routings())} changes of weights; {reason}"
    steps.note(f"{_MINUTES:g} min under a wave", "no alert, no mode change, floors of 1 at the end", observed, since=since)
    assert alerts == set()
    assert adopted.mode() in {"", "cost"}
    # Karpenter may move a unit's only replica: the weights follow that, and the mode does not change.
    assert not [action for action in adopted.routings() if adopted.manifests.capacity in {one.service for one in parse_action(action)[0]}]
    assert max(_floors(adopted)) <= 2, "within one replica of what the trough needs"


def _floors(stack: AdoptedStack) -> list[int]:
    items = stack.session.request("GET", SCALED_OBJECTS.path(stack.namespace))["items"]
    return [int(one["spec"].get("minReplicaCount", 0)) for one in items]
