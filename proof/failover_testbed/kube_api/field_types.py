"""How server-side apply merges the fields of each kind, as the Kubernetes API reference documents it (``listType``, ``mapType``).

Without an entry here, a map is merged key by key and a list is replaced as a whole, as the documentation of server-side apply says for
fields without such a marker. The table contains only the fields that differ. Custom resources have no entries, so all their lists are
atomic, even those that a CRD marks as keyed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True)
class FieldType:
    """How a value is merged.

    Attributes:
        atomic: Whether a map is owned and replaced as a whole.
        fields: Types of a map's fields that do not follow the default.
        item: Type of the items of a list that is merged item by item; None if the list is atomic.
        keys: Fields that identify an item; () if the item itself does, as in a set.
        defaults: Values of identifying fields that an item may leave out.
    """

    atomic: bool = False
    fields: Mapping[str, FieldType] = field(default_factory=dict)
    item: FieldType | None = None
    keys: tuple[str, ...] = ()
    defaults: Mapping[str, str] = field(default_factory=dict)

    def of_field(self, name: str) -> FieldType:
        """The type of a map's field."""
        return self.fields.get(name, DEFAULT)


DEFAULT: Final = FieldType()
_ATOMIC: Final = FieldType(atomic=True)
_SET: Final = FieldType(item=DEFAULT)


def _map(**fields: FieldType) -> FieldType:
    return FieldType(fields=fields)


def _keyed(*keys: str, item: FieldType = DEFAULT, **defaults: str) -> FieldType:
    return FieldType(item=item, keys=keys, defaults=defaults)


_METADATA = _map(finalizers=_SET, ownerReferences=_keyed("uid", item=_ATOMIC))
_CONDITIONS = _map(conditions=_keyed("type"))

_ENV_SOURCE = _map(configMapKeyRef=_ATOMIC, secretKeyRef=_ATOMIC, fileKeyRef=_ATOMIC, fieldRef=_ATOMIC, resourceFieldRef=_ATOMIC)
_CONTAINERS = _keyed(
    "name",
    item=_map(
        env=_keyed("name", item=_map(valueFrom=_ENV_SOURCE)),
        ports=_keyed("containerPort", "protocol", protocol="TCP"),
        resources=_map(claims=_keyed("name")),
        volumeDevices=_keyed("devicePath"),
        volumeMounts=_keyed("mountPath"),
    ),
)
_POD_SPEC = _map(
    affinity=_map(nodeAffinity=_map(requiredDuringSchedulingIgnoredDuringExecution=_ATOMIC)),
    containers=_CONTAINERS,
    ephemeralContainers=_CONTAINERS,
    hostAliases=_keyed("ip"),
    imagePullSecrets=_keyed("name", item=_ATOMIC),
    initContainers=_CONTAINERS,
    nodeSelector=_ATOMIC,
    resourceClaims=_keyed("name"),
    schedulingGates=_keyed("name"),
    topologySpreadConstraints=_keyed("topologyKey", "whenUnsatisfiable", item=_map(labelSelector=_ATOMIC)),
    volumes=_keyed("name"),
)
_POD_STATUS = _map(conditions=_keyed("type"), podIPs=_keyed("ip"), resourceClaimStatuses=_keyed("name"))
_WORKLOAD_SPEC = _map(selector=_ATOMIC, template=_map(metadata=_METADATA, spec=_POD_SPEC))
_SERVICE_SPEC = _map(ports=_keyed("port", "protocol", protocol="TCP"), selector=_ATOMIC)
_INGRESS_SPEC = _map(defaultBackend=_map(resource=_ATOMIC, service=_map(port=_ATOMIC)))

_OTHERS: Final = _map(metadata=_METADATA)
_KINDS: Final[Mapping[str, FieldType]] = {
    "deployments": _map(metadata=_METADATA, spec=_WORKLOAD_SPEC, status=_CONDITIONS),
    "events": _map(metadata=_METADATA, involvedObject=_ATOMIC, related=_ATOMIC),
    "ingresses": _map(metadata=_METADATA, spec=_INGRESS_SPEC),
    "namespaces": _map(metadata=_METADATA, status=_CONDITIONS),
    "nodes": _map(
        metadata=_METADATA,
        spec=_map(podCIDRs=_SET),
        status=_map(addresses=_keyed("type"), conditions=_keyed("type")),
    ),
    "pods": _map(metadata=_METADATA, spec=_POD_SPEC, status=_POD_STATUS),
    "replicasets": _map(metadata=_METADATA, spec=_WORKLOAD_SPEC, status=_CONDITIONS),
    "serviceaccounts": _map(metadata=_METADATA, secrets=_keyed("name", item=_ATOMIC)),
    "statefulsets": _map(metadata=_METADATA, spec=_WORKLOAD_SPEC, status=_CONDITIONS),
    "services": _map(metadata=_METADATA, spec=_SERVICE_SPEC, status=_CONDITIONS),
}


def type_of(plural: str) -> FieldType:
    """The type of a resource's objects."""
    return _KINDS.get(plural, _OTHERS)
