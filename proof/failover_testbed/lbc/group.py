"""What the load-balancer controller reconciles together, because it shares a load balancer: an IngressGroup, or a Gateway. Pure.

An Ingress without ``group.name`` forms its own (implicit) group.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from controller.routing.names import PREFIX
from failover_testbed.cluster.world import stable_hash
from failover_testbed.lbc.annotations import BuildError

CLUSTER: Final = "emulated"
IMPLICIT_FINALIZER: Final = "ingress.k8s.aws/resources"
EXPLICIT_FINALIZER: Final = "group.ingress.k8s.aws/"
GATEWAY_FINALIZER: Final = "gateway.k8s.aws/alb"

_CLASS: Final = "alb"
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
_LONGEST_NAME: Final = 63


class Owner(enum.StrEnum):
    """What a load balancer is made for. The value is the prefix of its tags and labels."""

    INGRESS = "ingress.k8s.aws"
    GATEWAY = "gateway.k8s.aws.alb"


@dataclass(frozen=True, slots=True, order=True)
class Group:
    """One group. `namespace` is "" for an explicit group of Ingresses, which spans namespaces."""

    namespace: str
    name: str
    owner: Owner = Owner.INGRESS

    @property
    def stack(self) -> str:
        """The group's name in AWS's tags."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    @property
    def labels(self) -> dict[str, str]:
        """The labels of its TargetGroupBindings."""
        if not self.namespace:
            return {self.stack_tag: self.name}
        return {f"{self.owner}/stack-namespace": self.namespace, f"{self.owner}/stack-name": self.name}

    @property
    def stack_tag(self) -> str:
        """The key of the tag that holds `stack`."""
        return f"{self.owner}/stack"

    @property
    def resource_tag(self) -> str:
        """The key of the tag that holds a resource's name in the group."""
        return f"{self.owner}/resource"

    @property
    def finalizer(self) -> str:
        """The finalizer of its Ingresses or its Gateway; it stays until their part of the load balancer is deleted."""
        if self.owner is Owner.GATEWAY:
            return GATEWAY_FINALIZER
        return IMPLICIT_FINALIZER if self.namespace else f"{EXPLICIT_FINALIZER}{self.name}"

    @property
    def balancer(self) -> str:
        """The name of its load balancer."""
        parts = [short(self.namespace, 8), short(self.name, 8)] if self.namespace else [short(self.name, 17)]
        return "-".join(["k8s", *parts, stable_hash(CLUSTER, *self._hashed)])

    @property
    def _hashed(self) -> tuple[str, ...]:
        return (self.stack,) if self.owner is Owner.INGRESS else (self.owner, self.stack)

    def target_group(self, stem: tuple[str, str], resource: str) -> str:
        """The name of a target group.

        Args:
            stem: The two names of which it shows the beginning.
            resource: The target group's name in the group.
        """
        return "-".join(["k8s", *(short(name, 8) for name in stem), stable_hash(CLUSTER, self.stack, resource)])

    def tags(self, resource: str) -> list[dict[str, str]]:
        """The tags of a resource of the group.

        Args:
            resource: The resource's name in the group.
        """
        tags = {"elbv2.k8s.aws/cluster": CLUSTER, self.stack_tag: self.stack, self.resource_tag: resource}
        return [{"Key": name, "Value": value} for name, value in tags.items()]


def short(name: str, length: int) -> str:
    """Shortens a name for use in a name in AWS: its first letters and digits."""
    return re.sub(r"[^A-Za-z0-9]", "", name)[:length]


def group_of(ingress: Mapping[str, Any]) -> Group | None:
    """The group of an Ingress, None if its class is not ``alb`` or it is being deleted.

    Raises:
        BuildError: The group's name is invalid.
    """
    metadata, spec = ingress["metadata"], ingress.get("spec") or {}
    annotations = metadata.get("annotations") or {}
    kind = spec.get("ingressClassName") or annotations.get("kubernetes.io/ingress.class")
    if kind != _CLASS or metadata.get("deletionTimestamp"):
        return None
    name = annotations.get(f"{PREFIX}/group.name")
    if name is None:
        return Group(str(metadata["namespace"]), str(metadata["name"]))
    if len(name) > _LONGEST_NAME or not _NAME.fullmatch(name):
        raise BuildError(f"invalid ingress group: groupName must consist of lower case alphanumeric characters, '-' or '.': {name}")
    return Group("", str(name))


def held_by(ingress: Mapping[str, Any]) -> set[Group]:
    """The groups whose finalizers an Ingress has, even if it no longer belongs to them."""
    metadata = ingress["metadata"]
    found = set()
    for finalizer in metadata.get("finalizers") or []:
        if finalizer == IMPLICIT_FINALIZER:
            found.add(Group(str(metadata["namespace"]), str(metadata["name"])))
        elif finalizer.startswith(EXPLICIT_FINALIZER):
            found.add(Group("", finalizer.removeprefix(EXPLICIT_FINALIZER)))
    return found
