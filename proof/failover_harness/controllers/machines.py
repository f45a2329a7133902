"""Fakes the machines that Karpenter launches: each registers as a Node some seconds after its launch."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import Any, Final

from controller.clients.kube import JSON_PATCH, NODE_CLAIMS, KubeSession
from controller.clock import format_rfc3339
from controller.errors import RemoteError
from failover_harness.control_plane.rounds import Rounds

_POLL_S: Final = 0.5
_NOT_READY: Final = "node.kubernetes.io/not-ready"
_UNREGISTERED: Final = {"key": "karpenter.sh/unregistered", "effect": "NoExecute"}

Object = dict[str, Any]


class Machines(Rounds):
    """Registers the Node of every launched NodeClaim. Use it as a context manager.

    Args:
        session: The administrator's session.
        boot_s: Seconds from the launch until a Node registers.
    """

    def __init__(self, session: KubeSession, *, boot_s: float = 3.0) -> None:
        super().__init__("machines", _POLL_S)
        self._session, self._boot_s = session, boot_s
        self._launched: dict[str, float] = {}
        self._joined: set[str] = set()

    def round(self) -> None:
        """Registers the machines whose boot time is over."""
        with suppress(RemoteError):  # the next round retries if the API server is busy
            self._register_due()
            self._settle()

    def _register_due(self) -> None:
        for claim in self._session.request("GET", NODE_CLAIMS.path(None))["items"]:
            provider, uid = (claim.get("status") or {}).get("providerID"), claim["metadata"]["uid"]
            if not provider or uid in self._joined or "deletionTimestamp" in claim["metadata"]:
                continue
            if time.monotonic() - self._launched.setdefault(uid, time.monotonic()) >= self._boot_s:
                self._join(claim, provider)
                self._joined.add(uid)

    def _join(self, claim: Object, provider: str) -> None:
        name, now = f"ip-{provider.rsplit('/', 1)[-1]}", format_rfc3339(time.time())
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": now, "lastTransitionTime": now}
        taints = [_UNREGISTERED, *claim["spec"].get("taints", ())]
        # One request with the status: if it came later, Karpenter would learn that the instance type has no capacity.
        node = {
            "metadata": {"name": name, "labels": {**claim["metadata"].get("labels", {}), "kubernetes.io/hostname": name}},
            "spec": {"providerID": provider, "taints": taints},
            "status": {"capacity": claim["status"]["capacity"], "allocatable": claim["status"]["allocatable"], "conditions": [ready]},
        }
        self._session.request("POST", "/api/v1/nodes", body=json.dumps(node))

    def _settle(self) -> None:
        """Removes the taint that admission adds. The node-lifecycle controller, which is disabled, would remove it."""
        for node in self._session.request("GET", "/api/v1/nodes")["items"]:
            keys = [one["key"] for one in node["spec"].get("taints", ())]
            if _NOT_READY in keys:
                # Karpenter removes its own taint at the same time. If ours has moved, the patch's test fails and the next round retries.
                at = f"/spec/taints/{keys.index(_NOT_READY)}"
                operations = [{"op": "test", "path": f"{at}/key", "value": _NOT_READY}, {"op": "remove", "path": at}]
                path = f"/api/v1/nodes/{node['metadata']['name']}"
                self._session.request("PATCH", path, body=json.dumps(operations), content_type=JSON_PATCH)
