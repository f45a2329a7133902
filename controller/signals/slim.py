"""Reduces objects to the parts that are read.

A list of a large cluster has thousands of objects, and most of each is bookkeeping of field managers and templates. Kept whole until the
last page has come, they would take several times the memory of everything else. Objects that are kept for long and rarely read are packed.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
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
_TRIGGER: Final = "metricName expression targetMetricValue metricStat metricStatPeriod namespace"


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


Shape = Mapping[str, "Shape | list[Shape] | None"]
"""Which fields of an object are kept: None for a whole field, a shape for parts of it, a list of one shape for parts of each entry."""


def _fields(names: str = "", **parts: Shape | list[Shape]) -> Shape:
    """A shape of whole fields, by their names, and of fields of which parts are kept."""
    return {**dict.fromkeys(names.split()), **parts}


def _kept(obj: object, shape: Shape) -> dict[str, Any]:
    """The parts of an object that a shape names, as far as they exist."""
    found = obj if isinstance(obj, Mapping) else {}
    return {key: _part(found[key], below) for key, below in shape.items() if key in found}


def _part(value: object, shape: Shape | list[Shape] | None) -> object:
    if isinstance(shape, list):
        return [_kept(one, shape[0]) for one in value] if isinstance(value, list) else []
    return value if shape is None else _kept(value, shape)


_NAMED: Final = _fields("name namespace")
_CONTAINERS: Final = [_fields(resources=_fields("limits requests"))]
_BOUND_POD: Final = _fields(metadata=_NAMED, spec=_fields("nodeName"))
_WAITING_POD: Final = _fields(
    metadata=_fields("name namespace uid labels ownerReferences creationTimestamp deletionTimestamp"),
    spec=_fields("schedulingGates nodeSelector affinity", containers=[_fields(resources=_fields("limits"))]),
    status=_fields("phase conditions"),
)
_WORKLOAD: Final = _fields(
    metadata=_NAMED,
    spec=_fields(
        f"replicas selector workloadRef {SIZE}",
        template=_fields(spec=_fields("nodeSelector affinity", containers=_CONTAINERS)),
    ),
    status=_fields("readyReplicas replicas"),
)
_BEHAVIOR: Final = {SCALE_IN: _fields(f"{_WINDOW} selectPolicy"), SCALE_OUT: _fields(_WINDOW)}
_SCALED_OBJECT: Final = _fields(
    metadata=_fields("name namespace uid resourceVersion annotations"),
    spec=_fields(
        "minReplicaCount maxReplicaCount idleReplicaCount",
        triggers=[_fields("type metricType", metadata=_fields(_TRIGGER))],
        scaleTargetRef=_fields("name kind"),
        advanced=_fields(scalingModifiers=_fields("formula"), horizontalPodAutoscalerConfig=_fields(behavior=_BEHAVIOR)),
    ),
    status=_fields("conditions"),
)
_CONFIGURATION: Final = _fields(
    metadata=_NAMED,
    spec=_fields(
        "targetReference defaultTargetGroupConfiguration conditions",
        actions=[_fields("type forwardConfig")],
        defaultConfiguration=_fields("targetType healthCheckConfig targetGroupAttributes"),
    ),
)
"""What a route is read with of the load-balancer controller's configurations: of a load balancer, a rule, or a target group."""
_NODE_CLASS: Final = _fields(metadata=_fields("name"), status=_fields(subnets=[_fields("zone")]))
_SHAPES: Final[Mapping[str, Shape]] = {
    # The stored memory of an application, and the alerts beside it; without its status.
    "configmaps": _fields(metadata=_fields("name resourceVersion"), data=_fields("memory epoch alerts")),
    "endpointslices": _fields(
        metadata=_fields("name namespace", labels=_fields(_SERVICE_LABEL)), endpoints=[_fields("addresses conditions targetRef")]
    ),
    "services": _fields(metadata=_fields("name namespace", annotations=_fields(ATTRIBUTES)), spec=_fields(ports=[_fields("port name")])),
    "targetgroupbindings": _fields(metadata=_fields("name namespace labels creationTimestamp"), spec=_fields("serviceRef targetGroupARN")),
    # Without what its controller counts in the status.
    "gateways": _fields(
        metadata=_NAMED,
        spec=_fields("listeners infrastructure"),
        status=_fields("addresses", conditions=[_fields("type status reason message")]),
    ),
    "referencegrants": _fields(metadata=_NAMED, spec=_fields("from to")),
    "listenerruleconfigurations": _CONFIGURATION,
    "loadbalancerconfigurations": _CONFIGURATION,
    "targetgroupconfigurations": _CONFIGURATION,
    "ec2nodeclasses": _NODE_CLASS,
    "nodeclasses": _NODE_CLASS,
}
_SPEC_OWNER: Final = _fields("manager time", fieldsV1={"f:spec": _fields("f:rules")})


def _pod(obj: Object) -> dict[str, Any]:
    """Of a pod that has a node only its gates count."""
    if not mapping(obj, "spec").get("nodeName"):
        return _kept(obj, _WAITING_POD)
    gates = [one for one in items(obj, "status", "conditions") if str(dig(one, "type")).startswith(GATE_PREFIX)]
    return _kept(obj, _BOUND_POD) | ({"status": {"conditions": gates}} if gates else {})


def _scaled_object(obj: Object) -> dict[str, Any]:
    kept = _kept(obj, _SCALED_OBJECT)
    return {**kept, "metadata": {**kept.get("metadata", {}), "managedFields": _owners(obj, "f:spec", "f:minReplicaCount")}}


def _routing_object(obj: Object) -> dict[str, Any]:
    """Of its rules only the list has an owner: it is atomic. Who changed anything of the spec, and when, stays."""
    changed = (one for one in items(obj, "metadata", "managedFields") if dig(one, "fieldsV1", "f:spec") is not None)
    owners = [*_owners(obj, "f:metadata", "f:annotations"), *(_kept(one, _SPEC_OWNER) for one in changed)]
    return {**obj, "metadata": {**mapping(obj, "metadata"), "managedFields": owners}}


def _owners(obj: Object, *path: str) -> list[dict[str, Any]]:
    """The managed fields at one path, by manager."""
    found = []
    for entry in items(obj, "metadata", "managedFields"):
        owned = dig(entry, "fieldsV1", *path)
        if owned is not None:
            outer, inner = path
            found.append({**_kept(entry, _fields("manager time")), "fieldsV1": {outer: {inner: owned}}})
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
    **{plural: partial(_kept, shape=shape) for plural, shape in _SHAPES.items()},
    **{port.resource.plural: _routing_object for port in KINDS.values()},
    **{resource.plural: lambda obj: _kept(as_deployment(obj), _WORKLOAD) for resource in WORKLOADS.values()},
    "pods": _pod,
    "scaledobjects": _scaled_object,
}
