"""Which instance types a unit's pods may be launched as out of a NodePool, how many of the pods one carries, and what that costs.

A NodePool may allow a whole family. What Karpenter launches then depends on what EC2 has and on how many pods wait: one pod may get a
``g5.xlarge``, four together a ``g5.12xlarge``, and where the small sizes are out a single pod gets a large one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import lru_cache
from typing import Final

from controller.catalog.instances import INSTANCES, PRICES, Instance, Maker, family_of, maker_of
from controller.foreign import shown
from controller.objects import Object, items, mapping, pod_requirements, quantity
from controller.policy.evidence import Offering
from controller.policy.model import PoolObservation, Unit
from controller.signals.instance_labels import InstanceFilter, instance_filter

_CORES: Final = "aws.amazon.com/neuroncore"
"""The resource that counts parts of a device; how many a device has depends on the instance type."""

_USABLE: Final = Decimal("0.925")
"""The part of an instance's memory that Karpenter counts: the default of its setting ``VM_MEMORY_OVERHEAD_PERCENT`` is 0.075."""

_GIB: Final = Decimal(2**30)

_FAMILIES: Final = frozenset(map(family_of, INSTANCES))
"""The families of which the catalog knows a type."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What one pod needs of its node: the maker of its accelerators, their number or that of their cores, processors, memory in bytes.

    `pods` is how many such pods a replica has: one, but of a LeaderWorkerSet a group of them.
    """

    maker: Maker | None = None
    accelerators: int = 0
    cores: int = 0
    cpus: Decimal = Decimal(0)
    memory: Decimal = Decimal(0)
    pods: int = 1

    def fit(self, instance_type: str) -> bool:
        """Whether a pod fits on an instance type, as far as the type is known."""
        made_by, instance = maker_of(instance_type), INSTANCES.get(instance_type)
        if self.maker is not None and made_by is not None and made_by is not self.maker:
            return False
        if instance is None:
            return True
        fits = self.cpus < instance.vcpus and self.memory < instance.memory_gib * _GIB
        return fits and self.devices_on(instance) <= instance.accelerators

    def devices_on(self, instance: Instance) -> int:
        """How many accelerators of an instance a pod takes."""
        return self.accelerators or math.ceil(self.cores / instance.cores)

    def pods_on(self, instance_type: str) -> int:
        """How many pods an instance carries, by its accelerators; 1 where that is not known."""
        instance = INSTANCES.get(instance_type)
        taken = self.devices_on(instance) if instance is not None else 0
        return max(1, instance.accelerators // taken) if instance is not None and taken else 1


def needs_of(spec: Object) -> Needs:
    """What the pods of a pod template need. What a container only limits it also requests."""
    wanted: dict[str, Decimal] = {}
    for container in items(spec, "containers"):
        asked = {**mapping(container, "resources", "limits"), **mapping(container, "resources", "requests")}
        for name, value in asked.items():
            wanted[name] = wanted.get(name, Decimal(0)) + (quantity(value) or Decimal(0))
    memory, cpus = wanted.get("memory", Decimal(0)), wanted.get("cpu", Decimal(0))
    for maker in Maker:
        if wanted.get(maker.resource):
            return Needs(maker, math.ceil(wanted[maker.resource]), 0, cpus, memory)
    cores = math.ceil(wanted.get(_CORES, 0))
    return Needs(Maker.NEURON if cores else None, 0, cores, cpus, memory)


def instance_pins(spec: Object) -> tuple[InstanceFilter, ...]:
    """The instances that a pod template requires, one for each alternative; () if one of them requires none."""
    found = tuple(instance_filter(alternative) for alternative in pod_requirements(spec))
    return found if all(one.restricts for one in found) else ()


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a unit's pods may run.

    Attributes:
        pins: See `instance_pins`.
        needs: Of one pod.
    """

    pins: tuple[InstanceFilter, ...] = ()
    needs: Needs = Needs()

    def admits(self, instance_type: str) -> bool:
        """Whether a pod may run on an instance type, as far as it is known."""
        return self.needs.fit(instance_type) and (not self.pins or any(one.admits(instance_type) for one in self.pins))

    def among(self, asked: InstanceFilter, further: Iterable[str] = ()) -> tuple[str, ...]:
        """The types that a NodePool may launch for the pods, as far as they are known.

        Args:
            asked: The requirements of the NodePool.
            further: Types that count besides those of the catalog, because the NodePool launched or tried them.
        """
        return _among(self, asked, tuple(further))


def placement_of(spec: Object, pods: int = 1) -> Placement:
    """Where the pods of a pod template may run, of which a replica has `pods`.

    Equal ones are one object: a fleet has thousands of units and a few kinds of pods.
    """
    return _one(Placement(instance_pins(spec), replace(needs_of(spec), pods=pods)))


@lru_cache(maxsize=4096)
def _one(placement: Placement) -> Placement:
    return placement


@lru_cache(maxsize=4096)
def _among(placement: Placement, asked: InstanceFilter, further: tuple[str, ...]) -> tuple[str, ...]:
    """`Placement.among`, cached: every pass asks it for every unit, and it goes through the catalog."""
    restricted = asked.restricts or placement.pins
    known = asked.types or (*further, *(INSTANCES if restricted else ()))
    return tuple(dict.fromkeys(one for one in known if asked.admits(one) and placement.admits(one)))


class Room:
    """What a NodePool's limits leave.

    Args:
        limits: By resource, the limit and what its nodes take now, as Kubernetes writes both.
    """

    def __init__(self, limits: Mapping[str, tuple[str, str]]) -> None:
        self._limits = limits
        read = {resource: (quantity(limit), quantity(used)) for resource, (limit, used) in limits.items()}
        self._left = {name: limit - used for name, (limit, used) in read.items() if limit is not None and used is not None}

    def lacks(self, instance_type: str) -> str:
        """Why an instance of a type does not fit under the limits, as a sentence; "" where it fits, or its size is not known.

        What is used is not part of it: that changes with every node, and would be news each time.
        """
        instance = INSTANCES.get(instance_type)
        if instance is None or not self._left:
            return ""
        for resource, taken in _sizes(instance_type, instance).items():
            if taken > self._left.get(resource, taken):
                limit, _ = self._limits[resource]
                return f"the limit of {limit} {resource} leaves less than the {_size(resource, taken)} that {_an(instance_type)} takes"
        return ""

    def lacking(self, asked: InstanceFilter) -> tuple[str, ...]:
        """What it lacks for the types of the catalog that a NodePool asks for."""
        return tuple(said for one in INSTANCES if asked.admits(one) and (said := self.lacks(one)))


@dataclass(frozen=True, slots=True)
class Terms:
    """What a NodePool may launch.

    Attributes:
        asked: Its requirements.
        room: What its limits leave.
        seen: The types that its NodeClaims named.
        listed: Whether a NodeClaim was seen that lists the types that it may be.
    """

    asked: InstanceFilter
    room: Room
    seen: tuple[str, ...] = ()
    listed: bool = False


def for_unit(pool: PoolObservation, unit: Unit, placement: Placement, terms: Terms) -> PoolObservation:
    """A NodePool as one unit sees it: which types it may launch for the unit, and which of them its limits still allow.

    Args:
        pool: What is known of it.
        unit: The unit.
        placement: Where its pods may run.
        terms: What the NodePool may launch.
    """
    types = placement.among(terms.asked, (unit.instance_type, *terms.seen))
    beyond = tuple(one for one in types if terms.room.lacks(one))
    full = types and len(beyond) == len(types)
    limit = pool.at_limit or (terms.room.lacks(types[0]) if full else "")
    return replace(pool, launchable=types, beyond_limit=beyond, at_limit=limit, open_family=_open(terms, placement))


def _open(terms: Terms, placement: Placement) -> bool:
    """Whether the pods may be launched as types of which nobody knows.

    They may not where the types are named, or are those of families that the catalog knows. Anything else, such as the maker of the GPU,
    leaves open what only Karpenter knows, until a NodeClaim lists it: after a restart those of before are gone.
    """
    pins = placement.pins
    if terms.asked.types or (pins and all(one.types for one in pins)):
        return False
    pinned = {family for one in pins for family in one.families} if all(one.families for one in pins) else set[str]()
    named = [families for families in (set(terms.asked.families), pinned) if families]
    return not any(_FAMILIES.issuperset(families) for families in named) if named else not terms.listed


def _sizes(instance_type: str, instance: Instance) -> dict[str, Decimal]:
    maker = maker_of(instance_type)
    sizes = {"cpu": Decimal(instance.vcpus), "memory": instance.memory_gib * _GIB * _USABLE, "nodes": Decimal(1)}
    return sizes if maker is None else {**sizes, maker.resource: Decimal(instance.accelerators)}


def _size(resource: str, amount: Decimal) -> str:
    return f"{amount / _GIB:.0f}Gi" if resource == "memory" else f"{amount:.0f}"


def _an(instance_type: str) -> str:
    return f"{'an' if instance_type[0] in 'aeiou' else 'a'} {instance_type}"


# --- prices -----------------------------------------------------------------------------------------------------------------------------


def price_of(unit: Unit, instance_type: str, needs: Needs) -> float | None:
    """The price of one of the unit's replicas on an instance type, US dollars per hour; None where it is not known.

    The application file has the price on the unit's own type, in the user's region and with the user's discount. Another type costs more or
    less in the proportion of EC2's on-demand prices. A replica costs its share of the node: what it could have beside it is not its price.
    """
    if instance_type == unit.instance_type:
        return unit.price_per_hour
    own, other = PRICES.get(unit.instance_type), PRICES.get(instance_type)
    if own is None or other is None:
        return None
    return unit.price_per_hour * (other / needs.pods_on(instance_type)) / (own / needs.pods_on(unit.instance_type))


def placed_on(nodes: Mapping[Offering, int], placement: Placement) -> dict[Offering, int]:
    """The nodes, by offering, that a unit's pods may run on."""
    return {offering: count for offering, count in sorted(nodes.items()) if count and placement.admits(offering[0])}


def price_note(unit: Unit, nodes: Mapping[Offering, int], price: float) -> Sequence[str]:
    """Says that a unit runs on other types than the one that its price is for; empty where it does not."""
    others = Counter[str]()
    for (instance_type, _, _), count in nodes.items():
        others[instance_type] += count if instance_type != unit.instance_type else 0
    others = +others
    if not others:
        return ()
    listed = shown(", ".join(f"{count} {name}" for name, count in others.items()))
    if price == unit.price_per_hour:
        return (f"runs on {listed}, whose price is not known: counted as {unit.instance_type}",)
    return (f"runs on {listed}: a replica costs ${price:.4g}/h on average, ${unit.price_per_hour:.4g}/h on {unit.instance_type}",)
