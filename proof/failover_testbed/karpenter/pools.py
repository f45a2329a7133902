"""NodePools as the fake Karpenter reads them: what they may launch, what they use, and what their limits still allow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from kubernetes.utils.quantity import parse_quantity

from failover_testbed.cluster.world import CAPACITY_LABEL, TYPE_LABEL, ZONE_LABEL, Object, machine

ON_DEMAND: Final = "on-demand"

Amounts = dict[str, Decimal]
"""Quantities by resource."""


@dataclass(frozen=True, slots=True)
class Pool:
    """A NodePool's present state.

    Attributes:
        obj: The NodePool.
        types: The instance types of its requirements.
        capacity_types: The capacity types of its requirements.
        min_types: Its `minValues` of instance types: with fewer available, nothing is launched through it.
        zones: The zones of its requirements; () for all.
    """

    obj: Object
    types: tuple[str, ...]
    capacity_types: tuple[str, ...] = (ON_DEMAND,)
    min_types: int = 1
    zones: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.obj["metadata"]["name"])

    @property
    def replicas(self) -> int | None:
        """The nodes that a static NodePool keeps, with pods or without; None of one that launches nodes for pods."""
        replicas = self.obj["spec"].get("replicas")
        return None if replicas is None else int(replicas)

    @property
    def keeps_empty(self) -> bool:
        """Whether a disruption budget allows no empty node to be removed, whatever its schedule."""
        budgets: list[dict[str, Any]] = (self.obj["spec"].get("disruption") or {}).get("budgets", [])
        return any(one["nodes"] in {"0", "0%"} and "Empty" in one.get("reasons", ["Empty"]) for one in budgets)

    def suits(self, types: Iterable[str]) -> tuple[str, ...]:
        """Those of its instance types that a pod may use; all of them for a pod that pins none."""
        pinned = tuple(types)
        return tuple(one for one in self.types if not pinned or one in pinned)

    def exceeded(self, used: Mapping[str, Decimal]) -> str:
        """The limit that one more node would exceed, "" if none."""
        for resource, limit in (self.obj["spec"].get("limits") or {}).items():
            more = Decimal(1) if resource == "nodes" else amounts(self.types[0]).get(resource, Decimal(0))
            if more and used.get(resource, Decimal(0)) + more > _quantity(limit):
                return str(resource)
        return ""


def read_pools(objects: Iterable[Object]) -> dict[str, Pool]:
    """The NodePools that name instance types, by name, in the order in which Karpenter asks them: by weight.

    Args:
        objects: NodePools.
    """
    found = {}
    for obj in sorted(objects, key=lambda one: -int(one["spec"].get("weight") or 0)):
        requirements: list[dict[str, Any]] = obj["spec"]["template"]["spec"]["requirements"]
        types = _values(requirements, TYPE_LABEL)
        if types:
            least = next(int(one.get("minValues") or 1) for one in requirements if one["key"] == TYPE_LABEL)
            kinds, zones = _values(requirements, CAPACITY_LABEL) or (ON_DEMAND,), _values(requirements, ZONE_LABEL)
            found[str(obj["metadata"]["name"])] = Pool(obj, types, kinds, least, zones)
    return found


def amounts(instance_type: str) -> Amounts:
    """The resources of one node of an instance type."""
    return {name: _quantity(amount) for name, amount in machine(instance_type).capacity().items()} | {"nodes": Decimal(1)}


def add(total: Amounts, more: Mapping[str, Decimal]) -> None:
    """Adds quantities to a total."""
    for name, amount in more.items():
        total[name] = total.get(name, Decimal(0)) + amount


def shown(used: Mapping[str, Decimal]) -> dict[str, str]:
    """Quantities as a NodePool's status shows them."""
    units = {"memory": ("Mi", 2**20), "ephemeral-storage": ("Gi", 2**30)}
    made = {}
    for name, amount in used.items():
        suffix, size = units.get(name, ("", 1))
        made[name] = f"{int(amount / size)}{suffix}"
    return made


def _values(requirements: Iterable[Mapping[str, Any]], key: str) -> tuple[str, ...]:
    return next((tuple(one["values"]) for one in requirements if one["key"] == key), ())


def _quantity(text: object) -> Decimal:
    return Decimal(parse_quantity(text))  # type: ignore[no-untyped-call]
