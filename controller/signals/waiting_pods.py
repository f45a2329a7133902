"""The pods that wait for a node, and which of them a unit has to be compared with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from controller.clock import parse_rfc3339
from controller.objects import Object, condition, dig, items, mapping, name_of, pinned_values, text
from controller.signals.instance_labels import TYPE_LABEL
from controller.signals.node_claims import devices
from controller.signals.node_labels import POOL_LABEL

Selector = tuple[tuple[str, Any], ...]
"""The labels of a Deployment's selector, as `matchLabels` has them."""

_HASH_LABEL: Final = "pod-template-hash"
_Trait = tuple[str, str]  # a label and its value; the kind of owner and its name


@dataclass(frozen=True, slots=True)
class WaitingPod:
    """What is kept of a pod that has no node yet.

    Attributes:
        name: Its name.
        labels: Its labels.
        owner: The name of its controller, a ReplicaSet as a rule; "" for none.
        pools: The NodePools that it is pinned to, () for any.
        types: The instance types that it is pinned to, () for any.
        devices: How many accelerators it asks for.
        unschedulable_since: Since when the scheduler has found no node for it, by the cluster's clock; None: it has not tried yet.
    """

    name: str
    labels: Mapping[str, Any]
    owner: str
    pools: tuple[str, ...]
    types: tuple[str, ...]
    devices: int
    unschedulable_since: float | None

    @property
    def deployment(self) -> str:
        """The Deployment by the name of its ReplicaSet; what owns it where that is none; "" without an owner."""
        return self.owner.removesuffix(self._ending)

    @property
    def _ending(self) -> str:
        return f"-{self.labels.get(_HASH_LABEL, '')}"

    def is_of(self, deployment: str) -> bool:
        """Whether a ReplicaSet of the Deployment owns it, by its name."""
        return self.owner == deployment + self._ending


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
    owner = next((ref for ref in items(obj, "metadata", "ownerReferences") if dig(ref, "controller") is True), None)
    if text(owner, "kind") == "DaemonSet":
        return None
    scheduled = condition(obj, "PodScheduled")
    blocked = text(scheduled, "status") == "False" and text(scheduled, "reason") == "Unschedulable"
    since = parse_rfc3339(text(scheduled, "lastTransitionTime")) or parse_rfc3339(text(obj, "metadata", "creationTimestamp"))
    return WaitingPod(
        name=name_of(obj),
        labels=mapping(obj, "metadata", "labels"),
        owner=text(owner, "name"),
        pools=pinned_values(spec, POOL_LABEL),
        types=pinned_values(spec, TYPE_LABEL),
        devices=sum(devices(mapping(one, "resources", "limits")) for one in items(spec, "containers")),
        unschedulable_since=since if blocked else None,
    )


class WaitingPods:
    """The waiting pods of one namespace. A thousand applications may share it: none goes through the pods of all."""

    def __init__(self) -> None:
        self._pods: dict[str, WaitingPod] = {}
        self._with: dict[_Trait, dict[str, WaitingPod]] = {}

    def __len__(self) -> int:
        return len(self._pods)

    def __iter__(self) -> Iterator[str]:
        return iter(self._pods)

    def get(self, name: str) -> WaitingPod | None:
        """One of them; None where it does not wait."""
        return self._pods.get(name)

    def put(self, pod: WaitingPod) -> bool:
        """Adds or replaces a pod. Returns whether it is another than before."""
        before = self._pods.get(pod.name)
        if before == pod:
            return False
        if before is not None:
            self._forget(before)
        self._pods[pod.name] = pod
        for trait in _traits(pod):
            self._with.setdefault(trait, {})[pod.name] = pod
        return True

    def remove(self, name: str) -> bool:
        """Removes a pod. Returns whether it was there."""
        pod = self._pods.pop(name, None)
        if pod is not None:
            self._forget(pod)
        return pod is not None

    def candidates(self, deployments: Iterable[tuple[str, Selector]]) -> list[WaitingPod]:
        """The pods that may be of one of some Deployments: selected by it, owned by it as its name says, or owned by nobody.

        Args:
            deployments: Their names and selectors; () for a selector that is not known.
        """
        found = dict(self._with.get(_UNOWNED, {}))
        for name, selector in deployments:
            found |= self._with.get(_owned_by(name), {})
            found |= self._carrying(selector) if selector else {}
        return list(found.values())

    def _carrying(self, selector: Selector) -> Mapping[str, WaitingPod]:
        """The pods with one of the selector's labels: that which the fewest have."""
        if not all(isinstance(value, str) for _, value in selector):
            return self._pods
        return min((self._with.get(label, {}) for label in selector), key=len)

    def _forget(self, pod: WaitingPod) -> None:
        for trait in _traits(pod):
            del self._with[trait][pod.name]
            if not self._with[trait]:
                del self._with[trait]


def _owned_by(deployment: str) -> _Trait:
    return ("", deployment)  # no label has an empty name


_UNOWNED: Final = _owned_by("")


def _traits(pod: WaitingPod) -> Iterator[_Trait]:
    yield _owned_by(pod.deployment)
    yield from ((name, value) for name, value in pod.labels.items() if name and isinstance(value, str))
