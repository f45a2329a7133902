"""What a random world is made of, and how it is drawn from a seed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Final

from failover_testbed.capacity.ec2 import Offering

LENGTH_S: Final = 1500.0
HOUR_S: Final = 3600.0
ZONES: Final = ("us-west-2a", "us-west-2b", "us-west-2c")
NAMESPACE: Final = "fuzz"

_WHOLE: Final = 0.3  # of the NodePools name the family of their types, and not the types

_MORE: Final = 0.3  # of the worlds have each of the troubles that `_further` adds

_EPISODES: Final = 3  # of demand and outages in a long world; after each the demand is what it was
_SETTLES_S: Final = 300.0

_LOST: Final = 0.15  # of the Events, where some are lost in a long world

_SHAPES: Final = ("one", "two types", "mixed", "shared", "twins", "either")
"""A NodePool of one type; of two; with spot; shared by units of two types, or of one; beside another one that its pods may use as well."""


_EVENTS: Final = ("InsufficientCapacityError", "NoCompatibleInstanceTypes", "FailedScheduling")


@dataclass(frozen=True, slots=True)
class Closed:
    """A time in which an offering has `left` instances to give, and one more every `every_s`; seconds since the world's start.

    `interrupts` says that EC2 takes back the instances of it that run.
    """

    start: float
    end: float
    left: int = 0
    every_s: float = math.inf
    interrupts: bool = False


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """A NodePool. `limit` is in nodes, None without one. `families`: its requirements name these instead of its types; () for the types.

    `min_types` is its `minValues` of instance types: with fewer available, nothing is launched. `static`: it keeps its own number of nodes,
    which are taken. `prefers` is the type that a NodeOverlay makes the cheapest: Karpenter asks for it first. `overlaid` are the types to
    which a NodeOverlay gives the capacity that pods request, and Karpenter launches no other for them; () where every type has it.
    """

    name: str
    types: tuple[str, ...]
    capacity_types: tuple[str, ...] = ("on-demand",)
    limit: int | None = None
    families: tuple[str, ...] = ()
    min_types: int = 0
    static: bool = False
    prefers: str = ""
    overlaid: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UnitPlan:
    """A unit: the types that its pods are pinned to, the NodePools that they may use, and the replicas requested over time.

    `ignored`: its pods ask for devices by Dynamic Resource Allocation, and Karpenter ignores them.
    """

    name: str
    pools: tuple[str, ...]
    types: tuple[str, ...]
    pinned: bool
    replicas: tuple[tuple[float, int], ...]
    slow: tuple[tuple[float, float], ...] = ()
    ignored: bool = False


@dataclass(frozen=True, slots=True)
class World:
    """Everything that happens in one world, but what the two controllers do. Times are seconds since its start.

    Attributes:
        seed: What it was drawn from.
        pools: Its NodePools.
        units: Its units; the last one never wants more than it has, so that another side can serve.
        sold: The zones in which each type is sold.
        zones_known: Whether the controller knows them.
        closed: When each offering is out.
        one_zone: Whether EC2 refuses one offering a call.
        boot_s: From launch to a node that is usable, seconds, shortest and longest.
        errors: When errors are beyond their limit.
        ahead_s: How far the controller's clock is ahead of the cluster's at the start.
        steps: When the controller's clock steps, and by how much.
        idle: When Karpenter does not run.
        claims_late_s: By how much NodeClaims are delivered later than events: they are two watches.
        lost: The part of the events with a reason that is never delivered: Karpenter and its client limit their rate.
        throttled: When EC2 answers each launch with `RequestLimitExceeded`.
        budgets: Whether disruption budgets block every disruption: Karpenter says so again and again, and removes no empty node.
        blocks: The offerings that are Capacity Blocks, each with its instances and its end.
        length_s: How long it lasts.
    """

    seed: int
    pools: tuple[PoolPlan, ...]
    units: tuple[UnitPlan, ...]
    sold: Mapping[str, tuple[str, ...]]
    zones_known: bool
    closed: Mapping[Offering, tuple[Closed, ...]]
    one_zone: bool
    boot_s: tuple[float, float]
    errors: tuple[tuple[float, float], ...]
    ahead_s: float = 0.0
    steps: tuple[tuple[float, float], ...] = ()
    idle: tuple[tuple[float, float], ...] = ()
    claims_late_s: float = 0.0
    lost: Mapping[str, float] = field(default_factory=dict)
    throttled: tuple[tuple[float, float], ...] = ()
    budgets: bool = False
    blocks: Mapping[Offering, tuple[int, float]] = field(default_factory=dict)
    length_s: float = LENGTH_S


def draw(seed: int) -> World:
    """The world of one seed: equal seeds give equal worlds."""
    chance = Random(seed)
    pools: list[PoolPlan] = []
    units: list[UnitPlan] = []
    for number in range(chance.randint(1, 2)):
        more_pools, more_units = _family(chance, f"f{number}")
        pools += more_pools
        units += more_units
    pools.append(PoolPlan("safe", ("safe.xlarge",)))
    units.append(UnitPlan("safe", ("safe",), ("safe.xlarge",), pinned=False, replicas=((0.0, 3),)))
    whole = Random(f"families of {seed}")  # of its own, so that what a seed gave before stays
    pools = [replace(pool, families=(pool.types[0].partition(".")[0],)) if whole.random() < _WHOLE else pool for pool in pools]
    types = sorted({one for pool in pools for one in pool.types})
    sold = {one: tuple(sorted(chance.sample(ZONES, chance.choice((1, 2, 3, 3, 3))))) for one in types}
    fastest = chance.choice((20.0, 60.0, 180.0))
    made = World(
        seed=seed,
        pools=tuple(pools),
        units=tuple(units),
        sold=sold,
        zones_known=chance.random() < 0.7,  # noqa: PLR2004
        closed=_closed(chance, pools, sold),
        one_zone=chance.random() < 0.8,  # noqa: PLR2004
        boot_s=(fastest, fastest * 2),
        errors=_times(chance, 0.3),
        ahead_s=chance.choice((0.0, 0.0, 0.0, -20.0, 20.0, -420.0, 420.0)),
        steps=((chance.uniform(0.0, LENGTH_S), chance.choice((-3600.0, 3600.0))),) if chance.random() < 0.2 else (),  # noqa: PLR2004
    )
    return _further(made, Random(f"further troubles of {seed}"))


def draw_long(seed: int, hours: int = 6) -> World:
    """The world of one seed for hours, in some of which demand rises while offerings are out, with troubles that only long worlds have."""
    world, chance = draw(seed), Random(f"hours of {seed}")
    later = sorted(chance.sample(range(1, hours), min(_EPISODES, hours) - 1))
    starts = [0.0, *(hour * HOUR_S + chance.uniform(0.0, HOUR_S - LENGTH_S - _SETTLES_S) for hour in later)]
    units = tuple(unit if unit.name == "safe" else replace(unit, replicas=tuple(_hours(chance, unit, starts))) for unit in world.units)
    closed: dict[Offering, tuple[Closed, ...]] = {}
    for start in starts:
        for one, times in (world.closed if start == 0.0 else _closed(chance, list(world.pools), world.sold)).items():
            moved = (replace(time, start=time.start + start, end=min(time.end, HOUR_S) + start) for time in times)
            closed[one] = (*closed.get(one, ()), *moved)
    idle = tuple((at + start, end + start) for start in starts[:2] for at, end in world.idle)
    return _long_troubles(replace(world, units=units, closed=closed, idle=idle, length_s=hours * HOUR_S), chance)


def _hours(chance: Random, unit: UnitPlan, starts: Sequence[float]) -> Iterator[tuple[float, int]]:
    """The replicas of a unit: an episode an hour, after which what it had at first is enough."""
    first = unit.replicas[0][1]
    for start in starts:
        drawn = unit.replicas if start == 0.0 else _replicas(chance, first)
        yield from ((start + t, count) for t, count in drawn)
        yield start + LENGTH_S + _SETTLES_S, first


def _long_troubles(world: World, chance: Random) -> World:
    pools, units, sold = list(world.pools), list(world.units), dict(world.sold)
    if chance.random() < _MORE:
        pools = [replace(pool, min_types=2) if len(pool.types) > 1 else pool for pool in pools]
    if chance.random() < _MORE:
        pools = [replace(pool, prefers=pool.types[-1]) for pool in pools]
    if chance.random() < _MORE:
        pools.append(PoolPlan("static", pools[0].types, static=True))
        units[0] = replace(units[0], pools=(*units[0].pools, "static"))
    if chance.random() < _MORE:
        pools.append(PoolPlan("claimed", ("claimed.xlarge",)))
        units.append(UnitPlan("claimed", ("claimed",), ("claimed.xlarge",), pinned=False, replicas=((0.0, 1), (HOUR_S, 3)), ignored=True))
        sold["claimed.xlarge"] = ZONES
    blocks: dict[Offering, tuple[int, float]] = {}
    if chance.random() < _MORE:
        pools[0] = replace(pools[0], capacity_types=("reserved", *pools[0].capacity_types))
        instance_type = pools[0].types[0]
        blocks[Offering(instance_type, sold[instance_type][0], "reserved")] = (
            chance.randint(1, 3),
            chance.uniform(0.4, 0.9) * world.length_s,
        )
    start = chance.uniform(0.0, world.length_s)
    return replace(
        world,
        pools=tuple(_overlaid(pools, units, Random(f"capacity of {world.seed}"))),
        units=tuple(units),
        sold=sold,
        blocks=blocks,
        throttled=((start, start + chance.uniform(30.0, 400.0)),) if chance.random() < _MORE else (),
        budgets=chance.random() < _MORE,
        lost=world.lost or (dict.fromkeys(_EVENTS, _LOST) if chance.random() < _MORE else {}),
    )


def _overlaid(pools: Sequence[PoolPlan], units: Sequence[UnitPlan], chance: Random) -> Iterator[PoolPlan]:
    """The NodePools, of which some have a NodeOverlay with capacity: where their pods pin no type, and no choice of types is required."""
    for pool in pools:
        free = len(pool.types) > 1 and not pool.min_types and not any(unit.pinned for unit in units if pool.name in unit.pools)
        yield replace(pool, overlaid=pool.types[-1:]) if chance.random() < _MORE and free else pool


def _further(world: World, chance: Random) -> World:
    """Troubles that came later, each in a part of the worlds: drawn apart, so that the others stay what their seeds gave before."""
    if chance.random() < _MORE:
        start = chance.uniform(0.0, LENGTH_S / 2)
        world = replace(world, idle=((start, start + chance.uniform(60.0, 500.0)),))
    if chance.random() < _MORE:
        world = replace(world, claims_late_s=chance.uniform(0.5, 8.0))
    if chance.random() < _MORE:
        units = tuple(unit if unit.name == "safe" else replace(unit, replicas=_leaving(chance, unit.replicas)) for unit in world.units)
        world = replace(world, units=units)
    if chance.random() < _MORE:
        least = chance.choice((0.15, 0.15, 0.5, 1.0))
        world = replace(world, lost={_EVENTS[0]: least, **dict.fromkeys(_EVENTS[1:], min(0.5, least))})
    if chance.random() < _MORE:
        taken = {one: tuple(replace(time, interrupts=one.capacity_type == "spot") for time in times) for one, times in world.closed.items()}
        world = replace(world, closed=taken)
    return world


def _leaving(chance: Random, replicas: tuple[tuple[float, int], ...]) -> tuple[tuple[float, int], ...]:
    """Demand that soon leaves again, and returns after about a cycle of Karpenter's cache; repeatedly."""
    first, t, found = replicas[0][1], 0.0, [replicas[0]]
    for _, count in replicas[1:]:
        t += chance.uniform(30.0, 120.0)
        found.append((t, max(count, first + 1)))
        t += chance.uniform(5.0, 60.0)
        found.append((t, first))
        t += chance.uniform(100.0, 350.0)
        found.append((t, max(count, first + 1)))
    return tuple(found)


def _family(chance: Random, name: str) -> tuple[list[PoolPlan], list[UnitPlan]]:
    """One or two NodePools with the units that use them."""
    shape = chance.choice(_SHAPES)
    small, large = f"{name}.xlarge", f"{name}.8xlarge"
    limit = chance.choice((None, None, None, chance.randint(1, 6)))
    kinds = ("on-demand", "spot") if shape == "mixed" else ("on-demand",)
    pool = PoolPlan(name, (small, large) if shape in {"two types", "shared"} else (small,), kinds, limit)
    first = _unit(chance, f"{name}-a", (name,), pool.types if shape != "shared" else (small,), pinned=shape == "shared")
    match shape:
        case "shared":
            return [pool], [first, _unit(chance, f"{name}-b", (name,), (large,), pinned=True)]
        case "twins":
            return [pool], [first, _unit(chance, f"{name}-b", (name,), (small,), pinned=False)]
        case "either":
            other = PoolPlan(f"{name}x", (large,))
            return [pool, other], [_unit(chance, f"{name}-a", (name, other.name), (small, large), pinned=False)]
        case _:
            return [pool], [first]


def _unit(chance: Random, name: str, pools: tuple[str, ...], types: tuple[str, ...], *, pinned: bool) -> UnitPlan:
    replicas = _replicas(chance, chance.randint(1, 2))
    return UnitPlan(name, pools, types, pinned, replicas, _times(chance, 0.4))


def _replicas(chance: Random, first: int) -> tuple[tuple[float, int], ...]:
    replicas, t = [(0.0, first)], 0.0
    for _ in range(chance.randint(1, 4)):
        t += chance.uniform(5.0, 400.0)
        replicas.append((t, max(1, replicas[-1][1] + chance.choice((-1, 1, 1, 2, 3, 6)))))
    return tuple(replicas)


def _times(chance: Random, share: float) -> tuple[tuple[float, float], ...]:
    """With a probability of `share` one stretch of time."""
    if chance.random() >= share:
        return ()
    start = chance.uniform(0.0, LENGTH_S / 2)
    return ((start, start + chance.uniform(60.0, LENGTH_S)),)


def _closed(chance: Random, pools: list[PoolPlan], sold: Mapping[str, tuple[str, ...]]) -> dict[Offering, tuple[Closed, ...]]:
    """Outages that go by type: of one zone, of some, of all; of one capacity type or all; with something left or nothing."""
    found: dict[Offering, tuple[Closed, ...]] = {}
    kinds = {one: pool.capacity_types for pool in pools for one in pool.types if pool.name != "safe"}
    for instance_type, capacity_types in kinds.items():
        if chance.random() < 0.25:  # noqa: PLR2004
            continue
        start = chance.choice((0.0, chance.uniform(0.0, 600.0)))
        end = start + chance.choice((chance.uniform(30.0, 300.0), chance.uniform(300.0, 900.0), LENGTH_S))
        zones = sold[instance_type]
        out = zones if chance.random() < 0.6 else tuple(chance.sample(zones, chance.randint(1, len(zones))))  # noqa: PLR2004
        kept = capacity_types if chance.random() < 0.6 else tuple(chance.sample(capacity_types, 1))  # noqa: PLR2004
        every_s = chance.choice((math.inf, math.inf, math.inf, chance.uniform(150.0, 400.0)))
        for zone, kind in itertools.product(out, kept):
            left = chance.choice((0, 0, 0, 1, 2))
            found[Offering(instance_type, zone, kind)] = (Closed(start, end, left, every_s),)
    return found
