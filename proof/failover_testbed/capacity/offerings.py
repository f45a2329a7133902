"""Which offerings Karpenter may request: all except those that EC2 refused recently."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from failover_testbed.capacity.ec2 import Code, FleetError, Offering


class Offerings:
    """The offerings of a node class, and Karpenter's cache of the unavailable ones.

    Args:
        zones: Zones of the node class.
    """

    def __init__(self, zones: Sequence[str]) -> None:
        self._zones = tuple(zones)
        self._unavailable: dict[Offering, float] = {}  # until when
        self._full_zones: dict[str, float] = {}  # without free addresses, until when

    def available(self, types: Iterable[str], now: float) -> list[Offering]:
        """The offerings of these instance types that are not in the cache, by type and then zone.

        Args:
            types: The instance types.
            now: Seconds of any clock.
        """
        zones = [zone for zone in self._zones if self._full_zones.get(zone, 0.0) <= now]
        return [(one, zone) for one in types for zone in zones if self._unavailable.get((one, zone), 0.0) <= now]

    def available_types(self, types: Iterable[str], now: float) -> tuple[str, ...]:
        """Those of these instance types that have an offering outside the cache, in the given order."""
        return tuple(one for one in types if self.available((one,), now))

    def remember(self, errors: Iterable[FleetError], until: float) -> None:
        """Caches what CreateFleet refused; a subnet without free addresses affects every type in its zone.

        Args:
            errors: CreateFleet's error set.
            until: When the entries leave the cache, seconds of the same clock.
        """
        for error in errors:
            instance_type, zone = error.offering
            if error.code is Code.ADDRESSES:
                self._full_zones[zone] = until
            else:
                self._unavailable[instance_type, zone] = until
