"""A small HTTP client, so that the tests see the same bytes as any other client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import urllib3

from controller.embedded.kube_api import ADMIN_TOKEN, EmulatedKubeApi

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

INGRESSES = "/apis/networking.k8s.io/v1/namespaces/default/ingresses"
PODS = "/api/v1/namespaces/default/pods"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
EVENTS = "/api/v1/namespaces/default/events"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
SERVICES = "/api/v1/namespaces/default/services"
SCALED_OBJECTS = "/apis/keda.sh/v1alpha1/namespaces/default/scaledobjects"
NODE_POOLS = "/apis/karpenter.sh/v1/nodepools"
NODE_CLAIMS = "/apis/karpenter.sh/v1/nodeclaims"

START = 1_790_000_000.0


@dataclass(frozen=True)
class Answer:
    """Status, headers and body of an answer."""

    code: int
    headers: dict[str, str]
    data: bytes

    @property
    def json(self) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads(self.data)
        return loaded

    @property
    def metadata(self) -> dict[str, Any]:
        found: dict[str, Any] = self.json["metadata"]
        return found

    @property
    def names(self) -> list[str]:
        return [item["metadata"]["name"] for item in self.json["items"]]


class Client:
    """Sends requests to one emulator with one token."""

    def __init__(self, api: EmulatedKubeApi, pool: urllib3.PoolManager, token: str | None = ADMIN_TOKEN) -> None:
        self._api = api
        self._pool = pool
        self._token = token

    def _headers(self, content_type: str) -> dict[str, str]:
        headers = {"Content-Type": content_type, "User-Agent": "tester/1.0"}
        return headers | ({"Authorization": f"Bearer {self._token}"} if self._token else {})

    def send(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        content_type: str = "application/json",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        response = self._pool.request(
            method, self._api.url + path, body=data, headers=self._headers(content_type) | (headers or {}), retries=False
        )
        return Answer(response.status, dict(response.headers), response.data)

    def get(self, path: str) -> Answer:
        return self.send("GET", path)

    def post(self, path: str, body: object) -> Answer:
        return self.send("POST", path, body)

    def put(self, path: str, body: object) -> Answer:
        return self.send("PUT", path, body)

    def delete(self, path: str, body: object = None) -> Answer:
        return self.send("DELETE", path, body)

    def json_patch(self, path: str, *operations: dict[str, Any]) -> Answer:
        return self.send("PATCH", path, list(operations), content_type=JSON_PATCH)

    def merge_patch(self, path: str, body: object) -> Answer:
        return self.send("PATCH", path, body, content_type=MERGE_PATCH)

    def apply(self, path: str, body: object, *, manager: str, force: bool = False) -> Answer:
        query = f"?fieldManager={manager}" + ("&force=true" if force else "")
        return self.send("PATCH", path + query, body, content_type=APPLY_PATCH)

    @contextmanager
    def watch(self, path: str, query: str = "") -> Iterator[Iterator[dict[str, Any]]]:
        """The events of a watch, each taken as it comes."""
        response = self._pool.request(
            "GET",
            f"{self._api.url}{path}?watch=true{query}",
            headers=self._headers("application/json"),
            preload_content=False,
            retries=False,
            timeout=urllib3.Timeout(connect=5, read=10),
        )
        try:
            assert response.status == 200, response.read()
            yield _events(response)
        finally:
            response.close()


def _events(response: urllib3.BaseHTTPResponse) -> Iterator[dict[str, Any]]:
    buffered = b""
    for chunk in response.stream(None):
        buffered += chunk
        *lines, buffered = buffered.split(b"\n")
        for line in lines:
            yield json.loads(line)


def ingress(name: str = "sd21", **annotations: str) -> dict[str, Any]:
    """An Ingress with one rule."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": name, "annotations": annotations},
        "spec": {"ingressClassName": "alb", "rules": [{"host": "a.example"}]},
    }


def annotated(name: str = "sd21", **annotations: str) -> dict[str, Any]:
    """An apply configuration of nothing but annotations."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": name, "annotations": annotations},
    }


def pod(name: str = "p1", *, node: str = "", **labels: str) -> dict[str, Any]:
    """A pod with one container."""
    spec: dict[str, Any] = {"containers": [{"name": "main", "image": "img"}]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": spec | ({"nodeName": node} if node else {}),
    }


def config_map(name: str, **data: str) -> dict[str, Any]:
    """A ConfigMap."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def scaled_object() -> dict[str, Any]:
    """A ScaledObject whose trigger has more than a target."""
    trigger = {
        "type": "aws-cloudwatch",
        "metadata": {"targetMetricValue": "94", "expression": "SELECT 1", "awsRegion": "us-west-2"},
        "authenticationRef": {"name": "aws"},
    }
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": "sd21"},
        "spec": {"scaleTargetRef": {"name": "sd21"}, "minReplicaCount": 1, "triggers": [trigger]},
    }


def managers(obj: dict[str, Any]) -> dict[tuple[str, str, str], dict[str, Any]]:
    """The owned fields by (manager, operation, subresource)."""
    return {
        (entry["manager"], entry["operation"], entry.get("subresource", "")): entry["fieldsV1"]
        for entry in obj["metadata"].get("managedFields", ())
    }
