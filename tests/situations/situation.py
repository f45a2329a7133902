"""What a situation is made of, and what is expected of the controller in it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from controller.policy.model import Mode, PolicySettings, Proof, Verb
from controller.policy.reasons import Reason
from failover_analysis.fuzz.world import Closed, PoolPlan, UnitPlan, World
from failover_testbed.capacity.ec2 import Offering

if TYPE_CHECKING:
    from tests.situations.stage import Stage

BEGIN_S: Final = 180.0
"""When the trouble begins, seconds since the world's start: what is reported counts from there."""
LENGTH_S: Final = 800.0
NEVER_S: Final = 1e9

Do = Callable[["Stage"], None]


@dataclass(frozen=True, slots=True)
class Changed:
    """An expected mode change: what is decided, why, and between which seconds of the situation."""

    verb: Verb
    reason: Reason
    earliest: float
    latest: float


@dataclass(frozen=True, slots=True)
class Expected:
    """What the controller is to do.

    Attributes:
        reason: Of its last decision.
        proofs: How each unit that is proven short is first proven short; no other unit may be.
        changes: The mode changes, in order.
        alerts: The keys of all alerts that it raises at any time.
    """

    reason: Reason
    proofs: Mapping[str, Proof] = field(default_factory=dict)
    changes: tuple[Changed, ...] = ()
    alerts: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Situation:
    """One situation.

    Attributes:
        name: Of the test, unique.
        topic: Under which heading the table shows it.
        given: What is the case, as a sentence for people.
        world: The cluster and EC2.
        expected: What the controller is to do.
        policy: The policy's settings.
        units: Fields of the application's units that differ, by unit.
        steps: What happens besides, by seconds since the trouble begins.
        quotas: See `StagedCluster`.
        create_errors: See `StagedCluster`.
        codes: See `StagedCluster`.
        zones: See `StagedCluster`.
        mode: The mode in which it begins.
        capacity_ready: Whether the Service of capacity mode has endpoints.
        length_s: How long it is played, seconds since the trouble begins.
    """

    name: str
    topic: str
    given: str
    world: World
    expected: Expected
    policy: PolicySettings = field(default_factory=PolicySettings)
    units: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    steps: tuple[tuple[float, Do], ...] = ()
    quotas: Mapping[str, int] = field(default_factory=dict)
    create_errors: Mapping[str, str] = field(default_factory=dict)
    codes: Mapping[tuple[str, str], str] = field(default_factory=dict)
    zones: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    mode: Mode = Mode.COST
    capacity_ready: bool = True
    length_s: float = LENGTH_S


# --- worlds -----------------------------------------------------------------------------------------------------------------------------

A, B, C = ZONES = ("us-west-2a", "us-west-2b", "us-west-2c")

INF2 = UnitPlan("inf2", ("inf2",), ("inf2.xlarge",), pinned=False, replicas=((0.0, 4), (BEGIN_S, 6)))
"""Four replicas are ready, and two more are requested when the trouble begins."""
G5 = UnitPlan("g5", ("g5",), ("g5.xlarge",), pinned=False, replicas=((0.0, 3),))
"""The other side: it has what it needs, and EC2 has more."""


EVERY: Final = PolicySettings(failover_utilization=0.0)
"""Every shortage leads to a failover, however much the others could serve."""


def world(*units: UnitPlan, pools: tuple[PoolPlan, ...] = (), **changes: Any) -> World:
    """A world in which EC2 has everything. NodePools that are not given have the types of the first unit that uses them."""
    units = units or (INF2, G5)
    named = {pool.name for pool in pools}
    for unit in units:
        for name in unit.pools:
            if name not in named:
                pools, named = (*pools, PoolPlan(name, unit.types)), {*named, name}
    types = sorted({one for pool in pools for one in pool.types})
    made = World(
        seed=2,
        pools=pools,
        units=units,
        sold=dict.fromkeys(types, ZONES),
        zones_known=True,
        closed={},
        one_zone=True,
        boot_s=(40.0, 80.0),
        errors=(),
    )
    return replace(made, **changes)


def out(
    *instance_types: str, zones: tuple[str, ...] = ZONES, kinds: tuple[str, ...] = ("on-demand",), until: float = NEVER_S, **closed: Any
) -> dict[Offering, tuple[Closed, ...]]:
    """Offerings that EC2 is out of, until some seconds after the trouble begins."""
    one = Closed(0.0, BEGIN_S + until, **closed)
    return dict.fromkeys((Offering(*each) for each in itertools.product(instance_types, zones, kinds)), (one,))
