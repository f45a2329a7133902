"""Pods, nodes and NodeClaims, which the parts of the simulation share. Times are seconds since the Unix epoch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from controller.policy.model import Unit


def types_of(unit: Unit) -> tuple[str, ...]:
    """The instance types that a unit's pods may run on: where their NodePool has others, they are pinned to these."""
    return unit.instance_types or (unit.instance_type,)


@dataclass(slots=True, eq=False)
class Node:
    """A node that has joined. One replica fills a node, because it takes the whole accelerator."""

    claim: Claim
    pod: Pod | None = None
    empty_since: float = 0.0


@dataclass(slots=True, eq=False)
class Claim:
    """A NodeClaim. `launched` is None until EC2 provides an instance, `node` until the node accepts pods."""

    name: str
    pool: str
    types: tuple[str, ...]
    capacity_types: tuple[str, ...]
    created: float
    order: int = 0  # of its delivery to the watches; 0 before the run
    instance_type: str = ""
    zone: str = ""
    capacity_type: str = ""
    launched: float | None = None
    registered: float | None = None
    initialized: float | None = None
    node: Node | None = None
    gone: bool = False


@dataclass(slots=True, eq=False)
class Pod:
    """A replica of a deployment unit."""

    name: str
    unit: Unit
    created: float
    unschedulable_since: float | None = None
    claim: Claim | None = None  # launched for this pod
    said_at: float = -math.inf  # when Karpenter last said why it has no node
    unavailable_at: float | None = None  # when it said that its part of a shared NodePool has no offering
    node: Node | None = None
    ready: bool = False
    ready_at: float = 0.0
    registered: bool = False  # with its target groups
    healthy: bool = False  # according to those target groups
    ending: bool = False


@dataclass(slots=True)
class UnitPods:
    """A unit's pods, oldest first, and the counts that follow from them.

    Attributes:
        unit: The deployment unit.
        desired: The Deployment's replicas.
        pods: The pods that are not terminating.
        ready: How many of them are ready.
        registered: Targets of the unit's target group.
        healthy: How many of those are healthy.
    """

    unit: Unit
    desired: int = 0
    pods: list[Pod] = field(default_factory=list)
    ready: int = 0
    registered: int = 0
    healthy: int = 0

    def pending(self) -> list[Pod]:
        """The pods without a node, oldest first."""
        return [pod for pod in self.pods if pod.node is None]
