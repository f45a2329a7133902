"""What the real KEDA makes of the ScaledObjects that are rendered and of what the controller writes into them."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
import yaml
from kubernetes.utils.quantity import parse_quantity

from controller.clients.kube import SCALED_OBJECTS, KubeSession
from controller.policy.model import Mode
from tests.cluster.manifests import kubectl
from tests.control_plane.control_plane import ControlPlane
from tests.support.stacks import NAMES, example
from tests.support.waiting import wait_for
from tests.world.cloudwatch import Metrics
from tests.world.keda import Keda

_NEEDED = {"Deployment", "ScaledObject", "ServiceAccount", "TriggerAuthentication"}
Object = dict[str, Any]


def scaled_objects(session: KubeSession, namespace: str) -> dict[str, Object]:
    """The ScaledObjects of a namespace, by name."""
    return {one["metadata"]["name"]: one for one in session.request("GET", SCALED_OBJECTS.path(namespace))["items"]}


def conditions(scaled: Object) -> dict[str, str]:
    """What KEDA says of a ScaledObject: the status of each of its conditions."""
    return {one["type"]: one["status"] for one in scaled.get("status", {}).get("conditions", ())}


def hpas(session: KubeSession, namespace: str) -> dict[str, Object]:
    """The HorizontalPodAutoscalers that KEDA made, by the ScaledObject's name."""
    items = session.request("GET", f"/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers")["items"]
    return {one["metadata"]["name"].removeprefix("keda-hpa-"): one for one in items}


@pytest.mark.parametrize("mode", Mode)
def test_every_example_is_ready_and_scaled_as_rendered(
    real_keda: Keda, installed: ControlPlane, namespace: str, metrics: Metrics, mode: Mode
) -> None:
    """KEDA calls every rendered ScaledObject ready and reads its metric; its HPA has the floor and the target of the mode."""
    rendered = [one for name in NAMES for one in example(name, mode) if one["kind"] in _NEEDED]
    for one in rendered:
        one["metadata"]["namespace"] = namespace
    # KEDA resolves the environment of the pods: without a Secret that they take a value from, there is no HPA.
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hub-token", "namespace": namespace}, "stringData": {"token": "t"}}
    said = kubectl(installed, "apply", "--server-side", "--validate=strict", "-f", "-", stdin=yaml.safe_dump_all([secret, *rendered]))
    assert said.count("serverside-applied") == 1 + len(rendered)
    wanted = {one["metadata"]["name"]: one["spec"] for one in rendered if one["kind"] == "ScaledObject"}
    session = installed.patient_session()

    def state() -> str:
        said = (f"{name}: {json.dumps(one.get('status'))}" for name, one in scaled_objects(session, namespace).items())
        return "\n".join([*said, real_keda.report()])

    def fine() -> bool:
        found = [conditions(one) for one in scaled_objects(session, namespace).values()]
        healthy = {"Ready": "True", "Fallback": "False", "HPAActive": "True", "Paused": "False"}
        return len(found) == len(wanted) and all(healthy.items() <= one.items() for one in found)

    wait_for("KEDA scales every unit", fine, 180, state)
    found = hpas(session, namespace)
    assert set(found) == set(wanted)
    for name, spec in wanted.items():
        hpa, (trigger,) = found[name]["spec"], spec["triggers"]
        (metric,) = hpa["metrics"]
        asked = metric["external"]["target"]
        assert (hpa["minReplicas"], hpa["maxReplicas"]) == (max(1, spec["minReplicaCount"]), spec["maxReplicaCount"])
        assert hpa["behavior"]["scaleDown"]["stabilizationWindowSeconds"] > 0
        assert (asked["type"], parse_quantity(asked["averageValue"])) == (  # type: ignore[no-untyped-call]
            "AverageValue",
            Decimal(trigger["metadata"]["targetMetricValue"]),
        )
        assert trigger["metadata"]["metricName"] in metrics.asked
    session.close()
