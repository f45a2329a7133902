"""The pods that wait for a node, and which of them a unit has to be compared with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from controller.clock import parse_rfc3339
from controller.objects import Object, condition, dig, items, mapping, name_of, namespace_of, pinned_values, text
from controller.signals.instance_labels import TYPE_LABEL
from controller.signals.node_claims import devices
from controller.signals.node_labels import POOL_LABEL
from controller.signals.room import Bounded, Room
from controller.signals.workload_kinds import Owner, owner_of, replica_of

_MAX_LABELS: Final = 32  # of a pod; more are written by nobody whose workload is meant to be found

Selector = tuple[tuple[str, Any], ...]
"""The labels of a workload's selector, as `matchLabels` has them."""

_Trait = tuple[str, str, str]  # of a namespace: a label and its value; "" and the name of an owner
_Key = tuple[str, str]  # namespace and name


@dataclass(frozen=True, slots=True)
class WaitingPod:
    """What is kept of a pod that has no node yet.

    Attributes:
        namespace: Its namespace.
        name: Its name.
        labels: Its labels.
        owner: What keeps it.
        pools: The NodePools that it is pinned to, () for any.
        types: The instance types that it is pinned to, () for any.
        devices: How many accelerators it asks for.
        uid: Its uid.
        unschedulable_since: Since when the scheduler has found no node for it, by the cluster's clock; None: it has not tried yet.
        replica: See `PendingPod`.
    """

    namespace: str
    name: str
    labels: Mapping[str, Any]
    owner: Owner
    pools: tuple[str, ...]
    types: tuple[str, ...]
    devices: int
    uid: str
    unschedulable_since: float | None
    replica: str = ""

    @property
    def key(self) -> _Key:
        """Its namespace and name."""
        return self.namespace, self.name


def waiting_pod(obj: Object) -> WaitingPod | None:
    """A pod that has no node yet and is wanted; None for every other."""
    spec = mapping(obj, "spec")
    if (
        spec.get("nodeName")
        or spec.get("schedulingGates")
        or dig(obj, "metadata", "deletionTimestamp")
        or text(obj, "status", "phase") not in {"Pending", ""}
    ):
        return None
    owner = owner_of(obj)
    if owner.kind == "DaemonSet":
        return None
    scheduled = condition(obj, "PodScheduled")
    blocked = text(scheduled, "status") == "False" and text(scheduled, "reason") == "Unschedulable"
    since = parse_rfc3339(text(scheduled, "lastTransitionTime")) or parse_rfc3339(text(obj, "metadata", "creationTimestamp"))
    return WaitingPod(
        namespace=namespace_of(obj),
        name=name_of(obj),
        labels=dict(islice(mapping(obj, "metadata", "labels").items(), _MAX_LABELS)),
        owner=owner,
        pools=pinned_values(spec, POOL_LABEL),
        types=pinned_values(spec, TYPE_LABEL),
        devices=sum(devices(mapping(one, "resources", "limits")) for one in items(spec, "containers")),
        uid=text(obj, "metadata", "uid"),
        unschedulable_since=since if blocked else None,
        replica=replica_of(obj),
    )


class WaitingPods:
    """All waiting pods. A thousand applications may share a namespace: none goes through the pods of all.

    Args:
        room: Bounds them: of a flood, the oldest of its namespace are left out. Owners are no crowds, for a pod can name any.
    """

    def __init__(self, room: Room) -> None:
        self._pods: Bounded[_Key, WaitingPod] = room.store(
            lambda pod: pod.unschedulable_since or 0.0, lambda key, _: key[0], lambda _, pod: self._forget(pod), times=3
        )
        self._with: dict[_Trait, dict[_Key, WaitingPod]] = {}

    def __len__(self) -> int:
        return len(self._pods)

    def __iter__(self) -> Iterator[_Key]:
        return iter(self._pods)

    def get(self, key: _Key) -> WaitingPod | None:
        """The pod with a namespace and name; None where it does not wait."""
        return self._pods.get(key)

    def put(self, pod: WaitingPod) -> bool:
        """Adds or replaces a pod. Returns whether it is another than before."""
        before = self._pods.get(pod.key)
        if before == pod:
            return False
        if before is not None:
            self._forget(before)
        self._pods[pod.key] = pod
        for trait in _traits(pod):
            self._with.setdefault(trait, {})[pod.key] = pod
        return True

    def remove(self, key: _Key) -> bool:
        """Removes a pod. Returns whether it was there."""
        pod = self._pods.pop(key)
        if pod is not None:
            self._forget(pod)
        return pod is not None

    def candidates(self, namespace: str, workloads: Iterable[tuple[str, Selector]]) -> list[WaitingPod]:
        """The pods of a namespace that may be of one of some workloads: selected by it, owned by it as names say, or owned by nobody.

        Args:
            namespace: Which.
            workloads: Their names and selectors; () for a selector that is not known.
        """
        found = dict(self._with.get(_owned_by(namespace, ""), {}))
        for name, selector in workloads:
            found |= self._with.get(_owned_by(namespace, name), {})
            found |= self._carrying(namespace, selector) if selector else {}
        return list(found.values())

    def _carrying(self, namespace: str, selector: Selector) -> Mapping[_Key, WaitingPod]:
        """The pods with one of the selector's labels: that which the fewest have. A value that is no text is carried by none."""
        return min(
            (self._with.get((namespace, label, value), {}) for label, value in selector if isinstance(value, str)), key=len, default={}
        )

    def _forget(self, pod: WaitingPod) -> None:
        for trait in _traits(pod):
            del self._with[trait][pod.key]
            if not self._with[trait]:
                del self._with[trait]


def _owned_by(namespace: str, workload: str) -> _Trait:
    return namespace, "", workload  # no label has an empty name


def _traits(pod: WaitingPod) -> Iterator[_Trait]:
    yield _owned_by(pod.namespace, pod.owner.name)
    yield from ((pod.namespace, name, value) for name, value in pod.labels.items() if name and isinstance(value, str))
