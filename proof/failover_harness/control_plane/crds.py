"""Custom resource definitions: upstream's if shared/ exists, else minimal ones with the fields that the controller uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import yaml

from controller.clients.kube import JSON, KubeSession
from controller.errors import Conflict, NotFound, Unavailable
from failover_harness.waiting import wait_for

UPSTREAM: Final = Path(__file__).parents[4] / "shared" / "crds"
GATEWAY: Final = UPSTREAM.with_name("crds-gateway")
"""Definitions of the Gateway API and of the load-balancer controller's part of it, which serves Gateways where it finds them."""

Schema = dict[str, Any]
_PATH: Final = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

_STRING: Final[Schema] = {"type": "string"}
_INTEGER: Final[Schema] = {"type": "integer"}
_BOOLEAN: Final[Schema] = {"type": "boolean"}
_TIME: Final[Schema] = {"type": "string", "format": "date-time"}
_QUANTITY: Final[Schema] = {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True}


def _struct(properties: Mapping[str, Schema], *required: str) -> Schema:
    return {"type": "object", "properties": dict(properties)} | ({"required": list(required)} if required else {})


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _map(values: Schema) -> Schema:
    return {"type": "object", "additionalProperties": values}


_CONDITIONS: Final = _list(
    _struct(
        {
            "type": _STRING,
            "status": _STRING,
            "reason": _STRING,
            "message": _STRING,
            "lastTransitionTime": _TIME,
            "observedGeneration": _INTEGER,
        },
        "type",
        "status",
    )
)
_REQUIREMENTS: Final = _list(
    _struct({"key": _STRING, "operator": _STRING, "values": _list(_STRING), "minValues": _INTEGER}, "key", "operator")
)
_TAINTS: Final = _list(_struct({"key": _STRING, "value": _STRING, "effect": _STRING, "timeAdded": _TIME}, "key", "effect"))
_CLAIM: Final[Mapping[str, Schema]] = {
    "requirements": _REQUIREMENTS,
    "nodeClassRef": _struct({"group": _STRING, "kind": _STRING, "name": _STRING}, "group", "kind", "name"),
    "taints": _TAINTS,
    "startupTaints": _TAINTS,
    "expireAfter": _STRING,
}
_NODE_CLAIM: Final = _struct({**_CLAIM, "resources": _struct({"requests": _map(_QUANTITY)})}, "nodeClassRef", "requirements")
_NODE_CLAIM_STATUS: Final = _struct(
    {
        "providerID": _STRING,
        "nodeName": _STRING,
        "imageID": _STRING,
        "capacity": _map(_QUANTITY),
        "allocatable": _map(_QUANTITY),
        "conditions": _CONDITIONS,
    }
)
_TEMPLATE: Final = _struct(
    {
        "metadata": _struct({"labels": _map(_STRING), "annotations": _map(_STRING)}),
        "spec": _struct(_CLAIM, "nodeClassRef", "requirements"),
    },
    "spec",
)
_ANYTHING: Final[Schema] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_NODE_POOL: Final = _struct(
    {"template": _TEMPLATE, "limits": _map(_QUANTITY), "weight": _INTEGER, "replicas": _INTEGER, "disruption": _ANYTHING}, "template"
)
_NODE_POOL_STATUS: Final = _struct({"nodes": _INTEGER, "resources": _map(_QUANTITY), "conditions": _CONDITIONS})
_SCALED_OBJECT: Final = _struct(
    {
        "scaleTargetRef": _struct({"name": _STRING, "kind": _STRING, "apiVersion": _STRING}, "name"),
        "minReplicaCount": _INTEGER,
        "maxReplicaCount": _INTEGER,
        "idleReplicaCount": _INTEGER,
        "pollingInterval": _INTEGER,
        "cooldownPeriod": _INTEGER,
        "advanced": _struct({"scalingModifiers": _struct({"formula": _STRING, "target": _STRING})}) | _ANYTHING,
        "fallback": _struct({"failureThreshold": _INTEGER, "replicas": _INTEGER, "behavior": _STRING}, "failureThreshold", "replicas"),
        "triggers": _list(
            _struct(
                {
                    "type": _STRING,
                    "name": _STRING,
                    "metricType": _STRING,
                    "useCachedMetrics": _BOOLEAN,
                    "metadata": _map(_STRING),
                    "authenticationRef": _struct({"name": _STRING, "kind": _STRING}, "name"),
                },
                "type",
                "metadata",
            )
        ),
    },
    "scaleTargetRef",
    "triggers",
)
_BINDING: Final = _struct(
    {
        "serviceRef": _struct({"name": _STRING, "port": _QUANTITY}, "name", "port"),
        "targetGroupARN": _STRING,
        "targetGroupName": _STRING,
        "targetType": _STRING,
        "ipAddressType": _STRING,
        "vpcID": _STRING,
        "networking": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    },
    "serviceRef",
)


def _definition(group: str, version: str, kind: str, spec: Schema, status: Schema, *, namespaced: bool) -> dict[str, Any]:
    plural = f"{kind.lower()}es" if kind.endswith("s") else f"{kind.lower()}s"
    schema = _struct({"apiVersion": _STRING, "kind": _STRING, "metadata": {"type": "object"}, "spec": spec, "status": status})
    served = {
        "name": version,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": schema},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "names": {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()},
            "scope": "Namespaced" if namespaced else "Cluster",
            "versions": [served],
        },
    }


MINIMAL: Final = (
    _definition("karpenter.sh", "v1", "NodePool", _NODE_POOL, _NODE_POOL_STATUS, namespaced=False),
    _definition("karpenter.sh", "v1", "NodeClaim", _NODE_CLAIM, _NODE_CLAIM_STATUS, namespaced=False),
    _definition("keda.sh", "v1alpha1", "ScaledObject", _SCALED_OBJECT, _ANYTHING, namespaced=True),
    # Only `failoverctl render` makes these; upstream's definitions check their contents.
    _definition("karpenter.k8s.aws", "v1", "EC2NodeClass", _ANYTHING, _ANYTHING, namespaced=False),
    _definition("keda.sh", "v1alpha1", "TriggerAuthentication", _ANYTHING, _ANYTHING, namespaced=True),
    _definition("elbv2.k8s.aws", "v1beta1", "TargetGroupBinding", _BINDING, _struct({"observedGeneration": _INTEGER}), namespaced=True),
)
"""Minimal definitions, for machines without the upstream ones."""

KEDA_OTHERS: Final = (
    _definition("keda.sh", "v1alpha1", "ScaledJob", _ANYTHING, _ANYTHING, namespaced=True),
    _definition("keda.sh", "v1alpha1", "ClusterTriggerAuthentication", _ANYTHING, _ANYTHING, namespaced=False),
    _definition("eventing.keda.sh", "v1alpha1", "CloudEventSource", _ANYTHING, _ANYTHING, namespaced=True),
    _definition("eventing.keda.sh", "v1alpha1", "ClusterCloudEventSource", _ANYTHING, _ANYTHING, namespaced=False),
)
"""Other kinds that KEDA's operator watches; it does not start without them."""


@cache
def upstream(folder: Path = UPSTREAM) -> tuple[dict[str, Any], ...]:
    """The definitions in a folder of shared/; empty if it does not exist. Callers must not change them.

    It uses libyaml if PyYAML has it: PyYAML's own parser takes seconds, because the definitions are long.

    Args:
        folder: `UPSTREAM` or `GATEWAY`.
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return tuple(yaml.load(path.read_text(), Loader=loader) for path in sorted(folder.glob("*.yaml")))


def install(session: KubeSession, definitions: Sequence[Mapping[str, Any]] | None = None) -> None:
    """Creates the definitions and waits until the server serves their resources.

    Args:
        session: The administrator's session.
        definitions: With None, upstream's, or the minimal ones if those are absent.
    """
    wanted = upstream() or MINIMAL if definitions is None else definitions
    for definition in wanted:
        try:
            session.request("POST", _PATH, body=yaml.safe_dump(definition), content_type="application/yaml")
        except Conflict:
            continue  # installed before
    for definition in wanted:
        spec = definition["spec"]
        version = next(one["name"] for one in spec["versions"] if one["storage"])
        path = f"/apis/{spec['group']}/{version}/{spec['names']['plural']}"
        wait_for(f"{path} is served", partial(_served, session, path))


def _served(session: KubeSession, path: str) -> bool:
    try:
        session.request("GET", path, query=(("limit", "1"),), content_type=JSON)
    except (NotFound, Unavailable):
        return False
    return True
