"""Reduces objects to the parts that are read.

A list of a large cluster has thousands of objects, and most of each is bookkeeping of field managers and templates. Kept whole until the
last page has come, they would take several times the memory of everything else. Objects that are kept for long and rarely read are packed.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, overload

from controller.objects import Object, dig, items, mapping
from controller.routing.kinds import KINDS
from controller.routing.names import ATTRIBUTES
from controller.signals.workload_kinds import SIZE, WORKLOADS, as_deployment

GATE_PREFIX: Final = "target-health."
"""Starts the type of a condition that the load-balancer controller sets on a pod for one target group binding: ``PREFIXDOMAIN/BINDING``,
where the domain is ``elbv2.k8s.aws``, or that of EKS Auto Mode."""

_SERVICE_LABEL: Final = "kubernetes.io/service-name"
BEHAVIOR: Final = ("advanced", "horizontalPodAutoscalerConfig", "behavior")
"""Where a ScaledObject's spec says how its HPA adds and removes replicas."""

SCALE_IN: Final = "scaleDown"
SCALE_OUT: Final = "scaleUp"
_WINDOW: Final = "stabilizationWindowSeconds"

_GROUP: Final = 20  # objects that a list compresses together, and unpacks together
_FAST: Final = 1  # zlib's fastest level: less than a millisecond for a group
_TRIGGER: Final = ("metricName", "expression", "targetMetricValue", "metricStat", "metricStatPeriod", "namespace")


def slim(plural: str, obj: Object) -> dict[str, Any]:
    """The parts of an object that the views read; for an unknown kind, everything but the field managers.

    Args:
        plural: The resource's name.
        obj: As the API server sent it. It may have any shape.
    """
    cut = _CUTS.get(plural)
    if cut is not None:
        return cut(obj)
    metadata = {key: value for key, value in mapping(obj, "metadata").items() if key != "managedFields"}
    return {**obj, "metadata": metadata} if "metadata" in obj else dict(obj)


def _picked(source: object, *keys: str) -> dict[str, Any]:
    """The keys that exist."""
    found = source if isinstance(source, Mapping) else {}
    return {key: found[key] for key in keys if key in found}


def _pod(obj: Object) -> dict[str, Any]:
    spec = mapping(obj, "spec")
    if spec.get("nodeName"):
        gates = [one for one in items(obj, "status", "conditions") if str(dig(one, "type")).startswith(GATE_PREFIX)]
        kept = {"metadata": _picked(obj.get("metadata"), "name", "namespace"), "spec": {"nodeName": spec["nodeName"]}}
        return {**kept, "status": {"conditions": gates}} if gates else kept
    names = ("name", "namespace", "uid", "labels", "ownerReferences", "creationTimestamp", "deletionTimestamp")
    return {
        "metadata": _picked(obj.get("metadata"), *names),
        "spec": {
            **_picked(spec, "schedulingGates", "nodeSelector", "affinity"),
            "containers": [{"resources": _picked(mapping(one, "resources"), "limits")} for one in items(spec, "containers")],
        },
        "status": _picked(obj.get("status"), "phase", "conditions"),
    }


def _workload(obj: Object) -> dict[str, Any]:
    obj = as_deployment(obj)
    pods = mapping(obj, "spec", "template", "spec")
    containers = [{"resources": _picked(mapping(one, "resources"), "limits", "requests")} for one in items(pods, "containers")]
    template = {**_picked(pods, "nodeSelector", "affinity"), "containers": containers}
    return {
        "metadata": _picked(obj.get("metadata"), "name", "namespace"),
        "spec": {**_picked(obj.get("spec"), "replicas", "selector", "workloadRef", SIZE), "template": {"spec": template}},
        "status": _picked(obj.get("status"), "readyReplicas", "replicas"),
    }


def _endpoint_slice(obj: Object) -> dict[str, Any]:
    labels = _picked(mapping(obj, "metadata", "labels"), _SERVICE_LABEL)
    endpoints = [_picked(one, "addresses", "conditions", "targetRef") for one in items(obj, "endpoints")]
    return {"metadata": {**_picked(obj.get("metadata"), "name", "namespace"), "labels": labels}, "endpoints": endpoints}


def _service(obj: Object) -> dict[str, Any]:
    ports = [_picked(one, "port", "name") for one in items(obj, "spec", "ports")]
    stated = _picked(mapping(obj, "metadata", "annotations"), ATTRIBUTES)
    metadata = {**_picked(obj.get("metadata"), "name", "namespace"), **({"annotations": stated} if stated else {})}
    return {"metadata": metadata, "spec": {"ports": ports}}


def _scaled_object(obj: Object) -> dict[str, Any]:
    found = items(obj, "spec", "triggers")
    triggers = [{**_picked(one, "type", "metricType"), "metadata": _picked(dig(one, "metadata"), *_TRIGGER)} for one in found]
    spec = {**_picked(obj.get("spec"), "minReplicaCount", "maxReplicaCount", "idleReplicaCount"), "triggers": triggers}
    scaled = _picked(dig(obj, "spec", "scaleTargetRef"), "name", "kind")
    if scaled:
        spec["scaleTargetRef"] = scaled
    advanced, config, behavior = BEHAVIOR
    kept = {name: _picked(one, "formula") for name, one in _picked(dig(obj, "spec", advanced), "scalingModifiers").items()}
    read = ((SCALE_IN, (_WINDOW, "selectPolicy")), (SCALE_OUT, (_WINDOW,)))
    if rules := {name: one for name, fields in read if (one := _picked(dig(obj, "spec", *BEHAVIOR, name), *fields))}:
        kept[config] = {behavior: rules}
    if kept:
        spec[advanced] = kept
    return {
        "metadata": {
            **_picked(obj.get("metadata"), "name", "namespace", "uid", "resourceVersion", "annotations"),
            "managedFields": _owners(obj, "f:spec", "f:minReplicaCount"),
        },
        "spec": spec,
        "status": _picked(obj.get("status"), "conditions"),
    }


def _binding(obj: Object) -> dict[str, Any]:
    return {
        "metadata": _picked(obj.get("metadata"), "name", "namespace", "labels", "creationTimestamp"),
        "spec": _picked(obj.get("spec"), "serviceRef", "targetGroupARN"),
    }


def _node_class(obj: Object) -> dict[str, Any]:
    subnets = [_picked(one, "zone") for one in items(obj, "status", "subnets")]
    return {"metadata": _picked(obj.get("metadata"), "name"), "status": {"subnets": subnets}}


def _routing_object(obj: Object) -> dict[str, Any]:
    """Of its rules only the list has an owner: it is atomic. Who changed anything of the spec, and when, stays."""
    changed = (one for one in items(obj, "metadata", "managedFields") if dig(one, "fieldsV1", "f:spec") is not None)
    spec = [
        {**_picked(one, "manager", "time"), "fieldsV1": {"f:spec": _picked(dig(one, "fieldsV1", "f:spec"), "f:rules")}} for one in changed
    ]
    owners = [*_owners(obj, "f:metadata", "f:annotations"), *spec]
    return {**obj, "metadata": {**mapping(obj, "metadata"), "managedFields": owners}}


def _gateway(obj: Object) -> dict[str, Any]:
    """A Gateway, without what its controller counts in the status."""
    conditions = [_picked(one, "type", "status", "reason", "message") for one in items(obj, "status", "conditions")]
    return {
        "metadata": _picked(obj.get("metadata"), "name", "namespace"),
        "spec": _picked(obj.get("spec"), "listeners", "infrastructure"),
        "status": {**_picked(obj.get("status"), "addresses"), "conditions": conditions},
    }


def _configuration(obj: Object) -> dict[str, Any]:
    """What a route is read with of the load-balancer controller's configurations: of a load balancer, a rule, or a target group."""
    spec = _picked(obj.get("spec"), "targetReference", "defaultTargetGroupConfiguration", "conditions")
    if actions := [_picked(one, "type", "forwardConfig") for one in items(obj, "spec", "actions")]:
        spec["actions"] = actions
    if stated := _picked(dig(obj, "spec", "defaultConfiguration"), "targetType", "healthCheckConfig", "targetGroupAttributes"):
        spec["defaultConfiguration"] = stated
    return {"metadata": _picked(obj.get("metadata"), "name", "namespace"), "spec": spec}


def _grant(obj: Object) -> dict[str, Any]:
    return {"metadata": _picked(obj.get("metadata"), "name", "namespace"), "spec": _picked(obj.get("spec"), "from", "to")}


def _config_map(obj: Object) -> dict[str, Any]:
    """The stored memory of an application, and the alerts beside it; without its status."""
    metadata = _picked(obj.get("metadata"), "name", "resourceVersion")
    return {"metadata": metadata, "data": _picked(obj.get("data"), "memory", "epoch", "alerts")}


def _owners(obj: Object, *path: str) -> list[dict[str, Any]]:
    """The managed fields at one path, by manager."""
    found = []
    for entry in items(obj, "metadata", "managedFields"):
        owned = dig(entry, "fieldsV1", *path)
        if owned is not None:
            outer, inner = path
            found.append({**_picked(entry, "manager", "time"), "fieldsV1": {outer: {inner: owned}}})
    return found


def pack(obj: Object) -> bytes:
    """An object as bytes, in a fifth of the memory. Equal objects give equal bytes."""
    return json.dumps(obj, separators=(",", ":"), sort_keys=True).encode()


def unpack(packed: bytes) -> dict[str, Any]:
    """The unpacked object."""
    obj: dict[str, Any] = json.loads(packed)
    return obj


class PackedList(Sequence[dict[str, Any]]):
    """Objects that stay packed until they are read: a complete list must be held, but not unpacked.

    They are compressed in groups, to a tenth or so. What all lists hold while an API server is back after an outage would else be the
    highest memory of the process, and not all of it goes back to the system.
    """

    def __init__(self) -> None:
        self._groups: list[bytes] = []
        self._open: list[bytes] = []
        self.size = 0  # of all but the last few, bytes

    def append(self, obj: Object) -> None:
        """Adds one."""
        self._open.append(pack(obj))
        if len(self._open) == _GROUP:
            self._groups.append(zlib.compress(_joined(self._open), _FAST))
            self.size += len(self._groups[-1])
            self._open = []

    def __len__(self) -> int:
        return _GROUP * len(self._groups) + len(self._open)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for number in range(len(self._groups) + 1):
            yield from self._group(number)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[dict[str, Any]]: ...

    def __getitem__(self, index: int | slice) -> dict[str, Any] | Sequence[dict[str, Any]]:
        places = range(len(self))[index]
        if isinstance(places, range):
            return [self[place] for place in places]
        number, place = divmod(places, _GROUP)
        return self._group(number)[place]

    def _group(self, number: int) -> list[dict[str, Any]]:
        packed = zlib.decompress(self._groups[number]) if number < len(self._groups) else _joined(self._open)
        objects: list[dict[str, Any]] = unpack(packed)["items"]
        return objects


def _joined(packed: Sequence[bytes]) -> bytes:
    """Packed objects as one packed object."""
    return b'{"items":[' + b",".join(packed) + b"]}"


_CUTS: Final[Mapping[str, Callable[[Object], dict[str, Any]]]] = {
    "configmaps": _config_map,
    "pods": _pod,
    **{resource.plural: _workload for resource in WORKLOADS.values()},
    "endpointslices": _endpoint_slice,
    "services": _service,
    "scaledobjects": _scaled_object,
    "targetgroupbindings": _binding,
    **{port.resource.plural: _routing_object for port in KINDS.values()},
    "gateways": _gateway,
    "referencegrants": _grant,
    "listenerruleconfigurations": _configuration,
    "loadbalancerconfigurations": _configuration,
    "targetgroupconfigurations": _configuration,
    "ec2nodeclasses": _node_class,
    "nodeclasses": _node_class,
}
