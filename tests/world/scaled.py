"""Stacks that the real KEDA scales, and Kubernetes' own HorizontalPodAutoscaler for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from kubernetes.utils.quantity import parse_quantity

from controller.clients.kube import SCALED_OBJECTS, KubeSession
from controller.policy import text
from failover_harness.controllers.cloudwatch import Metrics
from failover_harness.controllers.keda import Keda
from failover_harness.waiting import wait_for
from tests.cluster.manifests import kubectl
from tests.cluster.rendered import RenderedStack
from tests.cluster.stack import Stack
from tests.world.balanced import BalancedStack
from tests.world.stack import World

HEALTHY: Final = {"Ready": "True", "Fallback": "False", "HPAActive": "True", "Paused": "False"}
"""The conditions of a ScaledObject that KEDA scales."""
SCALED_S: Final = 180.0
"""Until KEDA and the autoscaler, which runs every 15 s, have acted; busy machines are slow."""
_AUTHENTICATION: Final = Path(__file__).parents[2] / "deploy" / "cluster" / "trigger-authentication.yaml"

Object = dict[str, Any]


def scaled_objects(session: KubeSession, namespace: str) -> dict[str, Object]:
    """The ScaledObjects of a namespace, by name."""
    return {one["metadata"]["name"]: one for one in session.request("GET", SCALED_OBJECTS.path(namespace))["items"]}


def conditions(scaled: Object) -> dict[str, str]:
    """The status of each condition that KEDA wrote to a ScaledObject."""
    return {one["type"]: one["status"] for one in scaled.get("status", {}).get("conditions", ())}


def hpas(session: KubeSession, namespace: str) -> dict[str, Object]:
    """The HorizontalPodAutoscalers that KEDA made, by the ScaledObject's name."""
    items = session.request("GET", f"/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers")["items"]
    return {one["metadata"]["name"].removeprefix("keda-hpa-"): one for one in items}


class Scaled(Stack):
    """A stack in which KEDA scales every unit.

    Args:
        place: See the base class.
        keda: The running KEDA.
        metrics: The data of CloudWatch.
        more: See the base class.
    """

    def __init__(self, *place: Any, keda: Keda, metrics: Metrics, **more: Any) -> None:
        super().__init__(*place, **more)
        self.keda, self.metrics = keda, metrics

    def _fill(self) -> None:
        super()._fill()
        wait_for("KEDA scales every unit", self.all_scaled, SCALED_S, self.report)

    def all_scaled(self) -> bool:
        """Whether KEDA scales every unit by its metric."""
        found = scaled_objects(self.session, self.namespace)
        return len(found) == len(self.units) and all(HEALTHY.items() <= conditions(one).items() for one in found.values())

    def scale(self, unit: str, replicas: int) -> None:
        """Sets the demand to what this number of replicas serves, so that KEDA scales to it."""
        made = self.units[unit]
        self.metrics.values[made.counter_metric] = (replicas - 0.5) * made.throughput

    def scaled_object(self, unit: str) -> Object:
        """A unit's ScaledObject."""
        return self.session.get(SCALED_OBJECTS, self.namespace, f"{unit}-hpa")

    def autoscaler(self, unit: str) -> tuple[int, str]:
        """Floor and target of the unit's HorizontalPodAutoscaler."""
        spec = hpas(self.session, self.namespace)[f"{unit}-hpa"]["spec"]
        (metric,) = spec["metrics"]
        target = float(parse_quantity(metric["external"]["target"]["averageValue"]))  # type: ignore[no-untyped-call]
        return int(spec["minReplicas"]), text.number(target)

    def report(self) -> str:
        """See the base class."""
        said = (f"{name}: {json.dumps(one.get('status'))}" for name, one in scaled_objects(self.session, self.namespace).items())
        return "\n".join([super().report(), *said, self.keda.report()])


class ScaledStack(Scaled, RenderedStack):
    """The AWS sample's stack as `failoverctl render` makes it."""


class ScaledBalanced(Scaled, BalancedStack):
    """The same behind its load balancer, which the real load-balancer controller makes."""


class ScaledWorld(Scaled, World):
    """An application on nodes that the real Karpenter launches."""

    def _fill(self) -> None:
        kubectl(self.plane, "-n", self.namespace, "apply", "-f", str(_AUTHENTICATION))
        super()._fill()
