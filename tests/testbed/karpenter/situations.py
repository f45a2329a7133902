"""The situations of the recordings of a real Karpenter: the cluster's NodePools, and what EC2 has."""

from __future__ import annotations

import random
from collections.abc import MutableSequence, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from failover_testbed.capacity.ec2 import FleetAnswer, Shortage

ZONES = ("us-west-2a", "us-west-2b", "us-west-2c")
FIRST_POOLS: dict[str, tuple[str, ...]] = {"inf2": ("inf2.xlarge",), "trn1": ("trn1.2xlarge",), "g5": ("g5.xlarge",), "g6": ("g6.xlarge",)}
POOLS = FIRST_POOLS | {"nvidia": ("g5.xlarge", "g6.xlarge"), "mixed": ("g4dn.xlarge",)}
KINDS = {"mixed": ("spot", "on-demand")}
"""Capacity types of the NodePools that have more than on-demand capacity."""
INF2 = Shortage(("inf2.xlarge",))

T = TypeVar("T")


class InOrder(random.Random):
    """Leaves everything in its order, so that EC2 tries the zones in the order of the recordings."""

    def choice(self, seq: Sequence[T]) -> T:  # type: ignore[override]
        """The first."""
        return seq[0]

    def shuffle(self, x: MutableSequence[Any]) -> None:
        """Does nothing."""


@dataclass(frozen=True)
class Situation:
    """What happened in a recording.

    Attributes:
        shortages: What EC2 has no room for from the start.
        answer: How it answers.
        pools: The NodePools of the cluster.
        back_at: When there is room again, seconds since the first pod was pending.
    """

    shortages: tuple[Shortage, ...] = ()
    answer: FleetAnswer = FleetAnswer.ONE_ZONE
    pools: dict[str, tuple[str, ...]] | None = None
    back_at: float = float("inf")


SITUATIONS = {
    "healthy": Situation(answer=FleetAnswer.ALL_ZONES, pools=FIRST_POOLS),
    "one_zone": Situation((replace(INF2, zones=ZONES[:1]),), FleetAnswer.ALL_ZONES, FIRST_POOLS),
    "all_zones": Situation((INF2,), FleetAnswer.ALL_ZONES, FIRST_POOLS, back_at=75.0),
    "field_all_zones": Situation((INF2,), back_at=75.0),
    "field_one_zone": Situation((replace(INF2, zones=ZONES[:1]),)),
    "partial": Situation((replace(INF2, zones=ZONES[:1], left=1), replace(INF2, zones=ZONES[1:])), back_at=75.0),
    "shared_pool": Situation((Shortage(("g6.xlarge",)),), FleetAnswer.ALL_ZONES),
    "spot_out": Situation((Shortage(("g4dn.xlarge",), capacity_types=("spot",)),), FleetAnswer.ALL_ZONES),
}
