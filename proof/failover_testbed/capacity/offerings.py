"""Which offerings Karpenter may request: all except those that EC2 refused recently."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from failover_testbed.capacity.ec2 import Code, FleetError, Offering

_ON_DEMAND: Final = ("on-demand",)
_ASKED_FIRST: Final = ("reserved", "spot", "on-demand")


def asked_first(offerings: Sequence[Offering]) -> list[Offering]:
    """Those of the one capacity type that Karpenter asks for: reserved if there are any, else spot, else on-demand."""
    kind = min((offering.capacity_type for offering in offerings), key=_ASKED_FIRST.index, default="")
    return [offering for offering in offerings if offering.capacity_type == kind]


class Offerings:
    """The offerings of a node class, and Karpenter's cache of the unavailable ones.

    Args:
        zones: Zones of the node class.
    """

    def __init__(self, zones: Sequence[str]) -> None:
        self._zones = tuple(zones)
        self._unavailable: dict[Offering, float] = {}  # until when
        self._full_zones: dict[str, float] = {}  # without free addresses, until when

    def available(
        self, types: Iterable[str], now: float, capacity_types: Sequence[str] = _ON_DEMAND, within: Sequence[str] = ()
    ) -> list[Offering]:
        """The offerings of these instance types that are not in the cache, by type, then zone, then capacity type.

        Args:
            types: The instance types.
            now: Seconds of any clock.
            capacity_types: The capacity types.
            within: The zones; () for all of the node class.
        """
        zones = [zone for zone in within or self._zones if self._full_zones.get(zone, 0.0) <= now]
        found = (Offering(one, zone, kind) for one in types for zone in zones for kind in capacity_types)
        return [offering for offering in found if self._unavailable.get(offering, 0.0) <= now]

    def refused(self, offering: Offering, now: float) -> bool:
        """Whether an offering is in the cache, by itself or with its zone."""
        return self._unavailable.get(offering, 0.0) > now or self._full_zones.get(offering.zone, 0.0) > now

    def available_types(
        self, types: Iterable[str], now: float, capacity_types: Sequence[str] = _ON_DEMAND, within: Sequence[str] = ()
    ) -> tuple[str, ...]:
        """Those of these instance types that have an offering outside the cache, in the given order."""
        return tuple(one for one in types if self.available((one,), now, capacity_types, within))

    def remember(self, errors: Iterable[FleetError], until: float) -> None:
        """Caches what CreateFleet refused; a subnet without free addresses affects every type in its zone.

        Args:
            errors: CreateFleet's error set.
            until: When the entries leave the cache, seconds of the same clock.
        """
        for error in errors:
            if error.code is Code.ADDRESSES:
                self._full_zones[error.offering.zone] = until
            else:
                self._unavailable[error.offering] = until
