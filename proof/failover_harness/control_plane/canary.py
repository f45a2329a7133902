"""Checks that scheduler, controllers and EndpointSlices work: a Deployment must get a pod, a node and an endpoint."""

from __future__ import annotations

import json
import secrets
from typing import Final

from controller.clients.kube import DEPLOYMENTS, ENDPOINT_SLICES, PODS, SERVICES, KubeSession
from failover_harness.control_plane.describe import describe
from failover_harness.control_plane.kubelet import Kubelet
from failover_harness.waiting import wait_for

_DEADLINE_S: Final = 120.0


def await_controllers(session: KubeSession) -> None:
    """Waits until they work. First it leaves a pod pending, to see that the scheduler marks it unschedulable.

    Args:
        session: The administrator's session.

    Raises:
        AssertionError: They do not work; the message contains the canary's state.
    """
    namespace = f"canary-{secrets.token_hex(4)}"
    session.request("POST", "/api/v1/namespaces", body=json.dumps({"metadata": {"name": namespace}}))
    template = {
        "metadata": {"labels": {"app": "canary"}},
        "spec": {
            "nodeSelector": {"canary": namespace},
            "containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80}]}],
        },
    }
    deployment = {
        "metadata": {"name": "canary"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "canary"}}, "template": template},
    }
    service = {"metadata": {"name": "canary"}, "spec": {"selector": {"app": "canary"}, "ports": [{"port": 80}]}}
    session.request("POST", DEPLOYMENTS.path(namespace), body=json.dumps(deployment))
    session.request("POST", SERVICES.path(namespace), body=json.dumps(service))

    def verdicts() -> list[str]:
        pods = session.request("GET", PODS.path(namespace))["items"]
        return [one.get("reason", "") for pod in pods for one in pod["status"].get("conditions", ())]

    def endpoints() -> int:
        slices = session.request("GET", ENDPOINT_SLICES.path(namespace))["items"]
        return sum(one["conditions"]["ready"] for each in slices for one in each.get("endpoints") or ())

    def state() -> str:
        return describe(session, namespace)

    wait_for("the scheduler marks a pod without a node unschedulable", lambda: "Unschedulable" in verdicts(), _DEADLINE_S, state)
    with Kubelet(session) as kubelet:
        kubelet.register(f"node-{namespace}", {"canary": namespace}, {"cpu": "4", "memory": "8Gi", "pods": "10"})
        wait_for("a ready endpoint", lambda: endpoints() == 1, _DEADLINE_S, state)
        session.request("DELETE", DEPLOYMENTS.path(namespace, "canary"))
        kubelet.remove(f"node-{namespace}")
    session.request("DELETE", f"/api/v1/namespaces/{namespace}")
