"""A fake of the kubelets: registers nodes, makes bound pods run and become ready, and deletes ended pods.

A pod that is never restarted succeeds at once. The fake writes only statuses and these deletions. The real components do scheduling,
ReplicaSets and EndpointSlices.
"""

from __future__ import annotations

import json
import time
from typing import Any, Final

from controller.clients.kube import JSON_PATCH, KubeSession
from controller.clock import format_rfc3339
from controller.errors import NotFound, RemoteError
from failover_harness.control_plane.rounds import Rounds

_POLL_S: Final = 0.1
_STRATEGIC: Final = "application/strategic-merge-patch+json"

Object = dict[str, Any]


class Kubelet(Rounds):
    """All kubelets of a cluster, in one thread. Use it as a context manager.

    Args:
        session: The administrator's session.
        ready_s: Seconds from a pod's binding until it is ready: image pull and model load.
    """

    def __init__(self, session: KubeSession, *, ready_s: float = 0.0) -> None:
        super().__init__("kubelet", _POLL_S)
        self._session = session
        self.ready_s = ready_s
        self._bound: dict[str, float] = {}
        self._running: set[str] = set()
        self._addresses = 0
        self._problem = ""  # of the last round

    def register(self, name: str, labels: dict[str, str], capacity: dict[str, str], *, taints: tuple[Object, ...] = ()) -> None:
        """Registers a node that is ready at once.

        Args:
            name: The node's name.
            labels: Its labels, except the host name's.
            capacity: Capacity and allocatable, such as ``{"cpu": "4", "memory": "16Gi", "pods": "10"}``.
            taints: The taints of its spec.
        """
        now = format_rfc3339(time.time())
        condition = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": now, "lastTransitionTime": now}
        node = {
            "metadata": {"name": name, "labels": {**labels, "kubernetes.io/hostname": name}},
            "spec": {"providerID": f"aws:///us-west-2a/i-{name}", "taints": list(taints)},
            "status": {"capacity": capacity, "allocatable": capacity, "conditions": [condition]},
        }
        self._session.request("POST", "/api/v1/nodes", body=json.dumps(node))
        # Admission adds the taint not-ready. The node-lifecycle controller would remove it, but is disabled.
        operations = [{"op": "replace", "path": "/spec/taints", "value": list(taints)}]
        self._session.request("PATCH", f"/api/v1/nodes/{name}", body=json.dumps(operations), content_type=JSON_PATCH)

    def remove(self, name: str) -> None:
        """Removes a node and its pods."""
        for pod in self._pods():
            if pod["spec"].get("nodeName") == name:
                self._delete(pod)
        try:
            self._session.request("DELETE", f"/api/v1/nodes/{name}")
        except NotFound:  # Karpenter deleted it first
            return

    def report(self) -> str:
        """Its state, for the message of a failed test."""
        alive = "runs" if self.alive else "does not run"
        return f"fake kubelet: {alive}, {len(self._running)} pods started; its last round: {self._problem or 'no problem'}"

    def round(self) -> None:
        """Serves every pod."""
        problems = []
        try:
            pods = self._pods()
        except RemoteError as error:  # some tests stop the API server; a kubelet retries
            pods, problems = [], [str(error)]
        for pod in pods:
            try:
                self._serve_pod(pod)
            except RemoteError as error:  # an error with one pod must not affect the others
                problems.append(str(error))
        self._problem = "; ".join(problems)

    def _pods(self) -> list[Object]:
        items: list[Object] = self._session.request("GET", "/api/v1/pods")["items"]
        return items

    def _serve_pod(self, pod: Object) -> None:
        metadata, node = pod["metadata"], pod["spec"].get("nodeName")
        if node is None:
            return
        if "deletionTimestamp" in metadata:
            self._delete(pod)
            return
        uid = metadata["uid"]
        bound_at = self._bound.setdefault(uid, time.monotonic())
        if uid not in self._running and time.monotonic() - bound_at >= self.ready_s:
            self._patch_status(pod)
            self._running.add(uid)
        elif uid in self._running:
            self._heed_gates(pod)

    def _heed_gates(self, pod: Object) -> None:
        """Makes a pod with readiness gates ready while all its gates are true."""
        gates = {one["conditionType"] for one in pod["spec"].get("readinessGates", ())}
        now = {one["type"]: one["status"] for one in pod["status"].get("conditions", ())}
        ready = str(all(now.get(gate) == "True" for gate in gates))
        if gates and now.get("Ready") != ready:
            condition = {"type": "Ready", "status": ready, "lastTransitionTime": format_rfc3339(time.time())}
            self._send(pod, {"conditions": [condition]})

    def _patch_status(self, pod: Object) -> None:
        self._addresses += 1
        now, address = format_rfc3339(time.time()), f"10.2.{self._addresses // 250}.{self._addresses % 250 + 1}"
        conditions = [{"type": kind, "status": "True", "lastTransitionTime": now} for kind in ("Initialized", "ContainersReady")]
        ends = pod["spec"]["restartPolicy"] == "Never"
        ready = str(not ends and not pod["spec"].get("readinessGates"))
        conditions.append({"type": "Ready", "status": ready, "lastTransitionTime": now})
        containers = [
            {
                "name": one["name"],
                "image": one["image"],
                "imageID": one["image"],
                "ready": not ends,
                "started": not ends,
                "restartCount": 0,
                "state": {"terminated": {"exitCode": 0, "startedAt": now, "finishedAt": now}} if ends else {"running": {"startedAt": now}},
            }
            for one in pod["spec"]["containers"]
        ]
        status = {
            "phase": "Succeeded" if ends else "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "startTime": now,
            "conditions": conditions,
            "containerStatuses": containers,
        }
        self._send(pod, status)

    def _send(self, pod: Object, status: Object) -> None:
        self._session.request("PATCH", f"{_path(pod)}/status", body=json.dumps({"status": status}), content_type=_STRATEGIC)

    def _delete(self, pod: Object) -> None:
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": pod["metadata"]["uid"]}}
        try:
            self._session.request("DELETE", _path(pod), body=json.dumps(options))
        except NotFound:
            return


def _path(pod: Object) -> str:
    return f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"
