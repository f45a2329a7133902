"""NodeOverlays: what somebody tells Karpenter about instance types beyond what EC2 says of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from failover_testbed.cluster.world import POOL_LABEL, TYPE_LABEL, Object


@dataclass(frozen=True, slots=True)
class Overlay:
    """One NodeOverlay.

    Attributes:
        types: The instance types that it is about; () for all.
        pools: The NodePools; () for all.
        price: The price that it gives them; None for their own.
        capacity: The resources that it adds to them.
    """

    types: tuple[str, ...] = ()
    pools: tuple[str, ...] = ()
    price: Decimal | None = None
    capacity: Mapping[str, str] = field(default_factory=dict)

    def concerns(self, pool: str, instance_type: str) -> bool:
        """Whether it is about an instance type of a NodePool."""
        return (not self.types or instance_type in self.types) and (not self.pools or pool in self.pools)


class Overlays:
    """All NodeOverlays.

    Args:
        objects: As the API has them.
    """

    def __init__(self, objects: Iterable[Object]) -> None:
        self._all = [_overlay(obj["spec"]) for obj in objects]

    def capacity(self, pool: str, instance_type: str) -> dict[str, str]:
        """The resources that they add to a node of an instance type."""
        return {name: amount for one in self._all if one.concerns(pool, instance_type) for name, amount in one.capacity.items()}

    def cheapest(self, pool: str, types: Iterable[str]) -> tuple[str, ...]:
        """Those of some types that have the lowest price of an overlay; all of them where none has any."""
        prices = {one: min(found) for one in types if (found := [*self._prices(pool, one)])}
        return tuple(one for one, price in prices.items() if price == min(prices.values())) or tuple(types)

    def _prices(self, pool: str, instance_type: str) -> Iterable[Decimal]:
        return (one.price for one in self._all if one.price is not None and one.concerns(pool, instance_type))


def _overlay(spec: Object) -> Overlay:
    named = {one["key"]: tuple(one["values"]) for one in spec.get("requirements", [])}
    price = spec.get("price")
    return Overlay(
        named.get(TYPE_LABEL, ()), named.get(POOL_LABEL, ()), None if price is None else Decimal(price), dict(spec.get("capacity") or {})
    )
