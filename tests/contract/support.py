"""A small HTTP client and sample objects: the tests see the same bytes as any other client of either server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import urllib3

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"

# `{namespace}` is the client's.
INGRESSES = "/apis/networking.k8s.io/v1/namespaces/{namespace}/ingresses"
PODS = "/api/v1/namespaces/{namespace}/pods"
CONFIG_MAPS = "/api/v1/namespaces/{namespace}/configmaps"
EVENTS = "/api/v1/namespaces/{namespace}/events"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
DEPLOYMENTS = "/apis/apps/v1/namespaces/{namespace}/deployments"
SERVICES = "/api/v1/namespaces/{namespace}/services"
ENDPOINT_SLICES = "/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
SCALED_OBJECTS = "/apis/keda.sh/v1alpha1/namespaces/{namespace}/scaledobjects"
TARGET_GROUP_BINDINGS = "/apis/elbv2.k8s.aws/v1beta1/namespaces/{namespace}/targetgroupbindings"
HTTP_ROUTES = "/apis/gateway.networking.k8s.io/v1/namespaces/{namespace}/httproutes"
GRPC_ROUTES = "/apis/gateway.networking.k8s.io/v1/namespaces/{namespace}/grpcroutes"
GATEWAYS = "/apis/gateway.networking.k8s.io/v1/namespaces/{namespace}/gateways"
GATEWAY_CLASSES = "/apis/gateway.networking.k8s.io/v1/gatewayclasses"
REFERENCE_GRANTS = "/apis/gateway.networking.k8s.io/v1beta1/namespaces/{namespace}/referencegrants"
LOAD_BALANCER_CONFIGURATIONS = "/apis/gateway.k8s.aws/v1/namespaces/{namespace}/loadbalancerconfigurations"
TARGET_GROUP_CONFIGURATIONS = "/apis/gateway.k8s.aws/v1/namespaces/{namespace}/targetgroupconfigurations"
LISTENER_RULE_CONFIGURATIONS = "/apis/gateway.k8s.aws/v1/namespaces/{namespace}/listenerruleconfigurations"
NODES = "/api/v1/nodes"
NODE_POOLS = "/apis/karpenter.sh/v1/nodepools"
NODE_CLAIMS = "/apis/karpenter.sh/v1/nodeclaims"

Object = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """Status, headers (by lower-case name) and body of an answer."""

    code: int
    headers: dict[str, str]
    data: bytes

    @property
    def json(self) -> Object:
        loaded: Object = json.loads(self.data)
        return loaded

    @property
    def metadata(self) -> Object:
        found: Object = self.json["metadata"]
        return found

    @property
    def version(self) -> str:
        return str(self.metadata["resourceVersion"])

    @property
    def names(self) -> list[str]:
        return [item["metadata"]["name"] for item in self.json["items"]]

    @property
    def refusal(self) -> tuple[int, str]:
        """Status and reason of an error."""
        return self.code, self.json.get("reason", "")

    @property
    def message(self) -> str:
        return str(self.json["message"])


@dataclass(frozen=True)
class Client:
    """Sends requests to one server.

    Attributes:
        url: The server's.
        pool: Connections, with the CA where there is one.
        token: Bearer token, None to send none.
        namespace: What `{namespace}` in a path stands for.
    """

    url: str
    pool: urllib3.PoolManager
    token: str | None
    namespace: str = "default"

    def with_token(self, token: str | None) -> Client:
        """The same with another token."""
        return replace(self, token=token)

    def in_namespace(self, namespace: str) -> Client:
        """The same in another namespace."""
        return replace(self, namespace=namespace)

    def _headers(self, content_type: str) -> dict[str, str]:
        headers = {"Content-Type": content_type, "User-Agent": "tester/1.0"}
        return headers | ({"Authorization": f"Bearer {self.token}"} if self.token else {})

    def _url(self, path: str) -> str:
        return self.url + path.replace("{namespace}", self.namespace)

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
        response = self.pool.request(
            method, self._url(path), body=data, headers=self._headers(content_type) | (headers or {}), retries=False, timeout=30
        )
        return Answer(response.status, {name.lower(): value for name, value in response.headers.items()}, response.data)

    def get(self, path: str) -> Answer:
        return self.send("GET", path)

    def post(self, path: str, body: object) -> Answer:
        return self.send("POST", path, body)

    def put(self, path: str, body: object) -> Answer:
        return self.send("PUT", path, body)

    def delete(self, path: str, body: object = None) -> Answer:
        return self.send("DELETE", path, body)

    def json_patch(self, path: str, *operations: Object) -> Answer:
        return self.send("PATCH", path, list(operations), content_type=JSON_PATCH)

    def merge_patch(self, path: str, body: object) -> Answer:
        return self.send("PATCH", path, body, content_type=MERGE_PATCH)

    def apply(self, path: str, body: object, *, manager: str, force: bool = False) -> Answer:
        query = f"?fieldManager={manager}" + ("&force=true" if force else "")
        return self.send("PATCH", path + query, body, content_type=APPLY_PATCH)

    def create(self, path: str, body: object) -> Answer:
        """A POST that must succeed: what the test is about comes after it."""
        answer = self.post(path, body)
        assert answer.code == 201, answer.data
        return answer

    @contextmanager
    def watch(self, path: str, query: str = "") -> Iterator[Iterator[Object]]:
        """The events of a watch, each taken as it comes."""
        response = self.pool.request(
            "GET",
            f"{self._url(path)}?watch=true{query}",
            headers=self._headers("application/json"),
            preload_content=False,
            retries=False,
            timeout=urllib3.Timeout(connect=5, read=20),
        )
        try:
            assert response.status == 200, response.read()
            yield _events(response)
        finally:
            response.close()


def _events(response: urllib3.BaseHTTPResponse) -> Iterator[Object]:
    buffered = b""
    for chunk in response.stream(None):
        buffered += chunk
        *lines, buffered = buffered.split(b"\n")
        for line in lines:
            yield json.loads(line)


def brief(event: Object) -> tuple[str, str]:
    """Type and name of a watch event."""
    return event["type"], event["object"]["metadata"]["name"]


def ingress(name: str = "sd21", **annotations: str) -> Object:
    """An Ingress with one rule."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": name, "annotations": annotations},
        "spec": {"ingressClassName": "alb", "rules": [{"host": "a.example"}]},
    }


def annotated(name: str = "sd21", **annotations: str) -> Object:
    """An apply configuration of nothing but annotations."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": name, "annotations": annotations},
    }


def pod(name: str = "p1", *, node: str = "", **labels: str) -> Object:
    """A pod with one container."""
    spec: Object = {"containers": [{"name": "main", "image": "img"}], "automountServiceAccountToken": False}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": spec | ({"nodeName": node} if node else {}),
    }


def deployment(name: str = "d", *containers: str, **pod_spec: Any) -> Object:
    """A Deployment with these containers."""
    made = [{"name": container, "image": "i"} for container in containers or ("main",)]
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": made} | pod_spec}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": template},
    }


def config_map(name: str, **data: str) -> Object:
    """A ConfigMap."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def lease(name: str = "l", holder: str = "a") -> Object:
    """A Lease with every field that leader election writes."""
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name},
        "spec": {
            "holderIdentity": holder,
            "leaseDurationSeconds": 15,
            "acquireTime": "2026-09-21T14:13:20.000000Z",
            "renewTime": "2026-09-21T14:13:20.000000Z",
            "leaseTransitions": 0,
        },
    }


def event(name: str, *, about: str = "c1", namespace: str = "", **fields: Any) -> Object:
    """A core Event about a NodeClaim, which has no namespace, or about something with that name that has."""
    involved = {"apiVersion": "karpenter.sh/v1", "kind": "NodeClaim", "name": about} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": "v1", "kind": "Event", "metadata": {"name": name}, "involvedObject": involved} | fields


def scaled_object() -> Object:
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


def _claim_spec() -> Object:
    return {
        "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "default"},
        "requirements": [{"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["inf2.xlarge"]}],
        "expireAfter": "720h",
    }


def node_pool(name: str, **spec: Any) -> Object:
    """A NodePool that is complete, so that its CRD has nothing to default."""
    template = {"spec": _claim_spec()}
    budgets = {"budgets": [{"nodes": "10%"}], "consolidateAfter": "0s", "consolidationPolicy": "WhenEmptyOrUnderutilized"}
    return {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodePool",
        "metadata": {"name": name},
        "spec": {"template": template, "disruption": budgets} | spec,
    }


def node_claim(name: str, **metadata: Any) -> Object:
    """A NodeClaim."""
    return {"apiVersion": "karpenter.sh/v1", "kind": "NodeClaim", "metadata": {"name": name} | metadata, "spec": _claim_spec()}


def managers(obj: Object) -> dict[tuple[str, str, str], Object]:
    """The owned fields by (manager, operation, subresource)."""
    return {
        (entry["manager"], entry["operation"], entry.get("subresource", "")): entry["fieldsV1"]
        for entry in obj["metadata"].get("managedFields", ())
    }
