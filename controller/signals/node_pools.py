"""What one NodePool says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from controller.catalog.instances import INSTANCES, maker_of
from controller.clock import parse_rfc3339
from controller.foreign import shown
from controller.objects import Object, condition, dig, in_values, items, mapping, quantity, text
from controller.signals.classify import Explained
from controller.signals.instance_labels import InstanceFilter, instance_filter
from controller.signals.node_labels import CAPACITY_LABEL, ZONE_LABEL

_UNSTATED: Final = ("on-demand", "spot")
"""What Karpenter may ask for through a NodePool that requires no capacity type (`getCapacityType` in its AWS provider, which asks for spot
first). What is reserved depends on the node class."""
_OF_EVERY_NODE: Final = frozenset({"cpu", "memory", "nodes", "pods", "ephemeral-storage"})
"""Resources of which every node takes some. Of an accelerator's only those take some that have it."""


@dataclass(frozen=True, slots=True)
class Pool:
    """What is kept of a NodePool.

    `unusable` says why Karpenter launches nothing through it for pods that wait, "" where it may. `node_class` names its node class, by API
    group and name. `taints` are the keys of its nodes' taints, `since` when it has been as
    it is, created and ready, by the cluster's clock: 0 where that is not known.
    """

    instances: InstanceFilter
    zones: tuple[str, ...]
    capacity_types: tuple[str, ...]
    limits: Mapping[str, object]
    used: Mapping[str, object]
    unusable: str
    node_class: tuple[str, str]
    taints: frozenset[str] = frozenset()
    since: float = 0.0

    def considered(self, explained: Explained, at: float) -> bool:
        """Whether Karpenter went through it when it said why a pod has no place, and yet says nothing of it."""
        return not self.unusable and self.since <= at and self.taints.isdisjoint(explained.taints)


def fell(before: Mapping[str, object], after: Mapping[str, object]) -> bool:
    """Whether a NodePool uses less of some resource than before."""
    pairs = [(quantity(value), quantity(after.get(name, "0"))) for name, value in before.items()]
    return any(then is not None and now is not None and now < then for then, now in pairs)


def takes(pool: Pool | None, resource: str) -> bool:
    """Whether every node of a NodePool takes some of a resource, as far as its types are known. A limit just reached is full then."""
    if resource in _OF_EVERY_NODE:
        return True
    types = [one for one in INSTANCES if pool is not None and pool.instances.restricts and pool.instances.admits(one)]
    return bool(types) and all(maker is not None and maker.resource == resource for maker in map(maker_of, types))


def room_of(pool: Pool) -> dict[str, tuple[str, str]]:
    """By resource, the limit of a NodePool and what its nodes take."""
    return {name: (shown(str(limit)), shown(str(pool.used.get(name, "0")))) for name, limit in pool.limits.items()}


def read_pool(obj: Object) -> Pool:
    """Reads a NodePool as the API server sent it."""
    requirements = items(obj, "spec", "template", "spec", "requirements")
    reference, ready = mapping(obj, "spec", "template", "spec", "nodeClassRef"), condition(obj, "Ready")
    return Pool(
        instances=instance_filter(requirements),
        zones=in_values(requirements, ZONE_LABEL)[0],
        capacity_types=in_values(requirements, CAPACITY_LABEL)[0] if _requires(requirements, CAPACITY_LABEL) else _UNSTATED,
        limits=mapping(obj, "spec", "limits"),
        used=mapping(obj, "status", "resources"),
        unusable=_unusable(obj),
        node_class=(text(reference, "group"), text(reference, "name")),
        taints=frozenset(text(one, "key") for kind in ("taints", "startupTaints") for one in items(obj, "spec", "template", "spec", kind)),
        since=max(parse_rfc3339(one) or 0.0 for one in (text(obj, "metadata", "creationTimestamp"), text(ready, "lastTransitionTime"))),
    )


def _requires(requirements: Sequence[object], label: str) -> bool:
    return any(text(one, "key") == label for one in requirements)


def _unusable(obj: Object) -> str:
    """Why Karpenter's scheduler leaves a NodePool out; "" where it does not.

    It considers those whose condition Ready is True, without a number of replicas of their own, and that are not being deleted
    (`NewScheduler` in its `provisioner.go`). Versions before 1.0 had no such condition.
    """
    if text(obj, "metadata", "deletionTimestamp"):
        return "being deleted"
    if dig(obj, "spec", "replicas") is not None:
        return "static: it keeps its own number of nodes"
    ready = condition(obj, "Ready")
    return "" if text(ready, "status") in {"", "True"} else f"not ready: {shown(text(ready, 'reason'))}"
