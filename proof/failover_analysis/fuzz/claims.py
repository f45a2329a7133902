"""Pods and NodeClaims of a random world, as its parts share them."""

from __future__ import annotations

from dataclasses import dataclass, field

from failover_analysis.fuzz.world import LENGTH_S, PoolPlan, UnitPlan
from failover_testbed.capacity.ec2 import Offering


@dataclass(slots=True)
class Pod:
    """A replica. `claim` is the NodeClaim that it was given to, "" while it has none; `bound` once its node is there."""

    name: str
    unit: UnitPlan
    since: float
    claim: str = ""
    bound: bool = False
    ready: bool = False
    gone: bool = False
    said_at: float = -LENGTH_S


@dataclass(slots=True)
class Claim:
    """A NodeClaim and the pod that it is for."""

    name: str
    pool: PoolPlan
    pod: Pod
    types: tuple[str, ...]
    kinds: tuple[str, ...]
    created: float
    offering: Offering | None = None
    steps: dict[str, float] = field(default_factory=dict)  # condition by name, since when it is true
