"""What EC2's answers prove about a unit, by strength: saturated, named, age.

EC2 mostly refuses one instance type in one zone and says no more, and Karpenter cuts its message so that it names one zone even where three
were refused. So one refusal, however wide its NodeClaim, is a suspicion. What settles it is what Karpenter does next: it caches each
offering that EC2 named for three minutes and asks for the others, until one launches or nothing is left.

- *Saturated*: a refusal, and then Karpenter says that nothing the NodePool, or the waiting pod, may have is available.
- *Named*: refusals within one cycle of that cache that together name every allowed type, zone and capacity type. What none of them names
  counts as named while Karpenter's own metrics, where they are read, call it unavailable. These prove nothing alone, and disprove nothing.
- *Age*: some of it has been refused for a whole cycle, up to the time at which Karpenter must have asked for it again, and demand is older
  still, with nothing launched since, though Karpenter was heard of after that cycle: where it does not run, nobody has asked again.
  Demand may be old before anything is refused: Karpenter did not run, or was throttled. It then asks for one offering every ten seconds,
  and any may be had.

A launch ends the refusals before it only if its NodeClaim was created after them: EC2 may grant some claims of a batch and refuse the rest.
Karpenter's cache is by offering, so a refusal through another NodePool counts for every unit that may buy the same offering.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

from controller.policy.evidence.age import Ages
from controller.policy.karpenter_times import CREATE_ERROR_S, HARD_DEMAND_S, ICE_CACHE_S, ICE_WINDOW_S, REPLACEMENT_HOLD_S
from controller.policy.model import Cause, Launch, PendingPod, PolicySettings, PoolObservation, Proof, Refusal

Offering = tuple[str, str, str]
"""Instance type, zone and capacity type."""

ALL_UNAVAILABLE: Final = "AllOfferingsUnavailable"
"""Our code for a launch whose every offering was in Karpenter's cache by the time it was made."""

RETRY_S: Final = 25.0
"""How long Karpenter may take to ask again for an offering and to report the answer, once its time in the cache is over: ten seconds until
the cache drops it, ten until the next pass over the waiting pods, and the call. In recordings of a real Karpenter it took 10 to 13 s."""

_APART_S: Final = 5.0
"""How far apart the clocks of one cluster may be. Less than the 10 s after which Karpenter asks again."""

_SWEEP_S: Final = 15.0
"""Karpenter sweeps its cache every 10 s, computes the offerings anew only then, and reports a loop later: what it says until then is of the
refusals before."""

BATCH_S: Final = 2.0
"""How far apart the NodeClaims of one batch may be created, and refused, and what Karpenter says of its other pods."""

_RESERVED: Final = "reserved"

_FULL_RESERVATION: Final = frozenset({"ReservationCapacityExceeded", "InsufficientReservedInstanceCapacity"})
"""The codes of a reservation that has no free instance left."""

_ASKED_FIRST: Final = (_RESERVED, "spot", "on-demand")
"""The order in which Karpenter asks for the capacity types that a claim leaves open: one for each launch."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """What a unit may be launched as through one NodePool.

    Attributes:
        instance_types: At least one.
        zones: By position of the type, the zones in which it may run and is sold; () where they are not known.
        capacity_types: () where they are not known.
        unavailable: The offerings that Karpenter's own metrics call unavailable; () where they are not read.
        reserved: Where a capacity reservation has a free instance, as pairs of type and zone; None where that is not known. Elsewhere there
            is nothing reserved to refuse.
        beyond_limit: The types that the NodePool's limits no longer allow: Karpenter does not ask for them, so nothing refuses them.
        more: Whether there may be further types, whose names are not known. Then nothing is proven by name.
    """

    instance_types: tuple[str, ...]
    zones: tuple[tuple[str, ...], ...]
    capacity_types: tuple[str, ...] = ()
    unavailable: tuple[Offering, ...] = ()
    reserved: frozenset[tuple[str, str]] | None = None
    beyond_limit: tuple[str, ...] = ()
    more: bool = False

    @property
    def asked_for(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """The types that Karpenter may ask EC2 for now, each with its zones."""
        pairs = zip(self.instance_types, self.zones, strict=True)
        return tuple((instance_type, zones) for instance_type, zones in pairs if instance_type not in self.beyond_limit)

    def zones_of(self, instance_type: str) -> tuple[str, ...]:
        """The zones of one type, () where they are not known or the type is not allowed."""
        return self.zones[self.instance_types.index(instance_type)] if instance_type in self.instance_types else ()

    def concerns(self, instance_types: Sequence[str], zones: Sequence[str]) -> bool:
        """Whether something with these types and zones (empty = any) could have served the unit."""
        types = [one for one in self.instance_types if not instance_types or one in instance_types]
        return any(not zones or not self.zones_of(one) or not set(self.zones_of(one)).isdisjoint(zones) for one in types)

    def suits(self, launch: Launch) -> bool:
        """Whether the unit could run on what was launched, as far as its type, zone and capacity type are known.

        What runs in a reservation was launched because the NodePool allows it, also where it states no capacity type.
        """
        if launch.capacity_type and self.capacity_types and launch.capacity_type not in (*self.capacity_types, _RESERVED):
            return False
        return self.concerns((launch.instance_type,) if launch.instance_type else (), (launch.zone,) if launch.zone else ())


@dataclass(frozen=True, slots=True)
class Finding:
    """What the signals of one NodePool, or of several together, prove about a unit.

    Attributes:
        proof: The strongest proof, None where there is none.
        refusals: The refusals that stand: recent, of the unit's own offerings, and nothing launched since.
        named: The required offerings that they name within one cycle.
        unavailable: The required offerings that they do not name, and that Karpenter's own metrics call unavailable.
        required: Every offering that must be named; () where the zones are not known.
        age_at: When age alone proves it if nothing is launched, seconds since the Unix epoch; None where nothing is refused, or only to
            replacements, or nobody waits, or where that time is over and Karpenter has not been heard of.
        unrefused: Of several NodePools, the names of those through which nothing is refused; () of one alone.
        unheard: Whether age would prove it, had Karpenter been heard of since what was refused has left its cache.
    """

    proof: Proof | None
    refusals: tuple[Refusal, ...] = ()
    named: tuple[Offering, ...] = ()
    required: tuple[Offering, ...] = ()
    age_at: float | None = None
    unavailable: tuple[Offering, ...] = ()
    unrefused: tuple[str, ...] = ()
    unheard: bool = False

    @property
    def missing(self) -> tuple[Offering, ...]:
        """The offerings that are still missing for a proof by name."""
        return tuple(one for one in self.required if one not in self.named and one not in self.unavailable)


def examine(
    pool: PoolObservation,
    allowed: Allowed,
    waiting: Sequence[PendingPod],
    policy: PolicySettings,
    ages: Ages,
    since: float | None = None,
    heard_at: float = math.inf,
) -> Finding:
    """Judges one NodePool for one unit.

    Args:
        pool: What is known of it.
        allowed: What the unit may be launched as through it.
        waiting: The unit's pods that wait and whose node is not on its way.
        policy: Whether a misconfiguration counts.
        ages: Answers about ages now.
        since: Since when pods of the unit have waited without a break; None: as the oldest of `waiting` says.
        heard_at: When Karpenter was last heard of, as the function `heard_at` says.
    """
    concern = _Concern(allowed)
    start = min((pod.since for pod in waiting), default=None) if since is None else since
    standing = _Standing(pool, concern, ages, start)
    refusals = standing.recent()
    ageing = bool(pool.at_limit) or any(one.ages for one in refusals)
    age_at, unheard = None, False
    if ageing and start is not None:
        first_at = standing.first_at(refusals, start)
        age_at = _age_at(first_at, start)
        unheard = first_at is not None and not pool.at_limit and heard_at < first_at + ICE_CACHE_S and ages.reached(age_at, 0.0)
    age_at = None if unheard else age_at
    by_age = age_at is not None and ages.reached(age_at, 0.0)
    if not refusals:  # nothing is saturated or named
        return Finding(Proof.AGE if by_age else None, age_at=age_at)
    counting = [one for one in refusals if one.cause is not Cause.CONFIG or Cause.CONFIG in policy.trip_causes]
    required = _required(allowed, refusals)
    elsewhere = frozenset(one.claim for one in pool.elsewhere)
    said = _Said(start, ages, (*pool.failures, *pool.elsewhere), concern, elsewhere)
    by_name = _named(counting, allowed, required, said)
    named = tuple(one for one in required if one in by_name)
    unavailable = tuple(one for one in required if one in allowed.unavailable and one not in by_name) if named else ()
    proof = None
    if _saturated(pool, counting, allowed, waiting, said):
        proof = Proof.SATURATED
    elif required and len(named) + len(unavailable) == len(required):
        proof = Proof.NAMED
    elif by_age:
        proof = Proof.AGE
    return Finding(proof, refusals, named, required, age_at, unavailable, unheard=unheard)


def heard_at(pools: Iterable[PoolObservation], waiting: Iterable[PendingPod]) -> float:
    """When Karpenter was last heard of: a refusal, or a word about a NodePool or a pod. Infinite while a create error counts.

    Args:
        pools: The NodePools.
        waiting: The pods.
    """
    times = [0.0]
    for pool in pools:
        times += [one.at if one.cached else math.inf for one in (*pool.failures, *pool.elsewhere)]
        times += [pool.blocked_at or 0.0]
    for pod in waiting:
        times += [pod.unplaced_at or 0.0, *(at for _, at in pod.unavailable)]
    return max(times)


class _Standing:
    """The refusals of the unit's offerings that no launch has ended.

    In a shortage that lasts there are hundreds. All that is concluded follows from the recent ones and the oldest; no others are judged.

    Args:
        pool: What is known of its NodePool.
        concern: Says which of them are about the unit's offerings.
        ages: Answers about ages now.
        start: Since when pods of the unit have waited; None where none does. Then a refusal through another NodePool is none of its
            business, and one of its own waits for the mark that says whether consolidation asked.
    """

    def __init__(self, pool: PoolObservation, concern: _Concern, ages: Ages, start: float | None) -> None:
        self._concern, self._ages, self._start = concern, ages, start
        self._young, self._old = list[Refusal](), list[Refusal]()
        for one in (*pool.failures, *(pool.elsewhere if start is not None else ())):
            (self._young if ages.now - one.last_at <= ICE_WINDOW_S else self._old).append(one)
        if self._young:
            ages.within(min(one.last_at for one in self._young), ICE_WINDOW_S)  # the oldest of them is the next to become old
        suit = [one for one in pool.launches if concern.allowed.suits(one)] if self._young or self._old else []
        self._launches = last_launches(suit)

    def recent(self) -> tuple[Refusal, ...]:
        """Those that are young enough to count, the oldest first."""
        return tuple(sorted(filter(self._stands, self._young), key=lambda one: (one.at, one.claim)))

    def first_at(self, recent: Sequence[Refusal], start: float) -> float | None:
        """When the first was made to pods that wait now, however old it is; None where none was.

        Else the first of them would always be a new one. A refusal that was in Karpenter's cache when they began to wait is theirs as well.

        Args:
            recent: What `recent` returned.
            start: Since when they have waited.
        """
        since = start - ICE_CACHE_S
        older = sorted((one for one in self._old if one.at >= since and one.ages), key=_at)
        first = next(filter(self._stands, older), None)
        own = [one.at for one in (*recent, first) if one is not None and one.at >= since and one.ages]
        return min(own, default=None)

    def _stands(self, one: Refusal) -> bool:
        ages, start = self._ages, self._start
        return (
            (not one.replacement or _asked_for_both(one, ages, start))
            and _judged(one, ages, waited=start is not None)
            and self._concern.about(one)
            and not any(created_after(launch, one) for launch in self._launches)
        )


def last_launches(launches: Sequence[Launch]) -> tuple[Launch, ...]:
    """The launches that can end most refusals: the one that was created last, and the one that was delivered last."""
    if not launches:
        return ()
    return max(launches, key=lambda one: one.created), max(launches, key=lambda one: one.order)


def created_after(launch: Launch, refusal: Refusal) -> bool:
    """Whether a launch's NodeClaim was created after a refusal: both with the cluster's clock, which knows whole seconds.

    Where both were delivered as they happened, the order of delivery decides, as far as the clocks do not contradict it. Events and
    NodeClaims are two watches, and the second may be late: what was created together with the refused NodeClaim never came after it.
    """
    if refusal.created is not None and launch.created <= refusal.created + BATCH_S:
        return False
    stamp = refusal.at if refusal.stamp is None else refusal.stamp
    if launch.order and refusal.order and abs(launch.created - stamp) <= _APART_S:
        return launch.order > refusal.order
    return launch.created > stamp


def _judged(refusal: Refusal, ages: Ages, *, waited: bool) -> bool:
    """Whether it is time to judge it.

    Karpenter itself retries after a create error. An event is final, but the one that marks its claim as a consolidation's replacement may
    follow it; where pods wait that makes no difference, because EC2 refused an offering that they need.
    """
    if not refusal.cached:
        return ages.reached(refusal.at, CREATE_ERROR_S)
    return waited or ages.reached(refusal.seen, REPLACEMENT_HOLD_S)


def _asked_for_both(replacement: Refusal, ages: Ages, start: float | None) -> bool:
    """Whether what was refused to a replacement was refused to pods that waited for the same as well.

    The first to ask after a cycle of the cache is refused, and Karpenter does not ask a second time. Where that is the replacement of a
    drifted node in every cycle, nothing is ever refused to the pods. So it counts once they have waited for longer than one. It proves
    nothing by age: replacements are refused all the time, and pods may wait for something else.
    """
    return start is not None and start <= replacement.at and ages.reached(start, HARD_DEMAND_S)


_at: Final = attrgetter("at")
_about: Final = attrgetter(
    *("instance_types", "zones", "capacity_types", "pool_capacity_types", "requirements_known", "inexact"),
    *("offerings", "named_type", "named_zone", "truncated"),
)
"""All of a refusal that says which offerings it is about."""


class _Concern:
    """Which refusals are about an offering that the unit may have. Hundreds of them name a few combinations: each is looked up once.

    Args:
        allowed: What the unit may be launched as.
    """

    def __init__(self, allowed: Allowed) -> None:
        self.allowed = allowed
        self._known: dict[tuple[object, ...], bool] = {}

    def about(self, refusal: Refusal) -> bool:
        """Whether the refusal is about such an offering."""
        what = _about(refusal)
        found = self._known.get(what)
        if found is None:
            found = self._known[what] = _concerned(refusal, self.allowed)
        return found


def _concerned(refusal: Refusal, allowed: Allowed) -> bool:
    """Whether it is about an offering that the unit may have: the ones that it names, where it names any."""
    asked = refusal.open_capacity_types
    if asked and allowed.capacity_types and set(asked).isdisjoint(allowed.capacity_types):
        return False  # through another NodePool: spot instances, where this one has others
    pairs = _pairs(refusal)
    if pairs and not refusal.truncated:
        return any(allowed.concerns((instance_type,), (zone,)) for instance_type, zone in pairs)
    return allowed.concerns(refusal.instance_types, refusal.zones)


def _pairs(refusal: Refusal) -> tuple[tuple[str, str], ...]:
    if refusal.offerings:
        return refusal.offerings
    return ((refusal.named_type, refusal.named_zone),) if refusal.named_type and refusal.named_zone else ()


def _required(allowed: Allowed, refusals: Sequence[Refusal]) -> tuple[Offering, ...]:
    """Every offering that must be named; () where some are not known."""
    kinds = _kinds(allowed, refusals)
    if allowed.more or not kinds or any(not zones for _, zones in allowed.asked_for):
        return ()
    return tuple(
        (instance_type, zone, kind)
        for instance_type, zones in allowed.asked_for
        for zone in zones
        for kind in kinds
        if kind != _RESERVED or allowed.reserved is None or (instance_type, zone) in allowed.reserved
    )


def _kinds(allowed: Allowed, refusals: Sequence[Refusal]) -> tuple[str, ...]:
    """The capacity types that the unit may have: as its NodePool says, else every one that its refused claims left open."""
    return allowed.capacity_types or tuple(dict.fromkeys(kind for one in refusals for kind in one.capacity_types)) or ("on-demand",)


@dataclass(frozen=True, slots=True)
class _Said:
    """What Karpenter said, and whether it still holds of the pods that wait now.

    It holds of those that waited when it was said, until something launches. Of pods that came later it holds as long as all that was
    refused is still in the cache: after that Karpenter asks EC2 again, and may get it. So what was refused before pods waited counts for
    them while it is not nearly over; else the answer to the next request tells, or that nothing has launched by the time it was due.

    Attributes:
        start: Since when pods have waited; None where none does.
        ages: Answers about ages now.
        met: All refusals, ended or not: a launch elsewhere ends a refusal, and takes nothing out of the cache.
        concern: Says which of them are about the unit's offerings.
        elsewhere: The NodeClaims of those that came through other NodePools.
    """

    start: float | None
    ages: Ages
    met: Sequence[Refusal]
    concern: _Concern
    elsewhere: frozenset[str]

    def cycle(self, refusals: Sequence[Refusal], at: float, more_s: float = 0.0) -> list[Refusal]:
        """The refusals that were in the cache at some moment; `more_s` is for how much longer Karpenter may still count them."""
        return [one for one in refusals if one.cached and 0 <= at - one.at <= ICE_CACHE_S + more_s]

    def cached(self, refusals: Sequence[Refusal]) -> list[Refusal]:
        """The refusals of one cycle, as far as they still hold."""
        newest = max((one.at for one in refusals), default=0.0)
        return [one for one in self.cycle(refusals, newest) if self._lasts(one, newest)]

    def holds(self, refusals: Sequence[Refusal], at: float) -> bool:
        """Whether it still holds that everything was in the cache at some moment; not where nothing had been refused by then."""
        if not self.cycle(refusals, at, _SWEEP_S):
            return False
        held = sorted(filter(self.concern.about, self.cycle(self.met, at, _SWEEP_S)), key=_at)
        latest = {_about(one): one for one in held}  # asked for again, and refused again: its time in the cache begins anew
        return all(self._lasts(one, at) for one in latest.values())

    def lasts(self, refusal: Refusal, refusals: Sequence[Refusal]) -> bool:
        """Whether what one refusal says of everything still holds. A create error is in no cache: Karpenter repeats its launch."""
        if not refusal.cached:
            return self._waited(refusal.last_at) or self.ages.within(refusal.last_at, ICE_CACHE_S)
        return self.holds(refusals, refusal.at)

    def _lasts(self, refusal: Refusal, at: float) -> bool:
        """Whether a refusal that was in the cache at some moment holds of the pods that wait now."""
        if self._waited(refusal.at):
            return True
        if not self._waited(at):
            return self.ages.within(refusal.at, ICE_CACHE_S - RETRY_S)
        return at - refusal.at <= ICE_CACHE_S - RETRY_S or self.ages.reached(refusal.at, ICE_CACHE_S + RETRY_S)

    def _waited(self, at: float) -> bool:
        return self.start is None or self.start <= at


def _named(refusals: Sequence[Refusal], allowed: Allowed, required: Sequence[Offering], said: _Said) -> frozenset[Offering]:
    """The offerings that are named within one cycle."""
    kinds = tuple(dict.fromkeys(kind for _, _, kind in required))
    return frozenset(
        offering
        for one in said.cached(refusals)
        for offering in named_offerings(one, allowed, kinds, elsewhere=one.claim in said.elsewhere)
    )


def named_offerings(refusal: Refusal, allowed: Allowed, kinds: Sequence[str], *, elsewhere: bool = False) -> Iterator[Offering]:
    """What one refusal names: what its message says, or the only thing that its NodeClaim left open.

    Args:
        refusal: The refusal.
        allowed: What the unit may be launched as.
        kinds: The capacity types that the unit may have.
        elsewhere: Whether it came through another NodePool: those say nothing of what it asked for then.
    """
    reserved_gone = allowed.reserved is not None and _RESERVED not in kinds
    kind = _asked_kind(refusal, () if elsewhere else kinds, reserved_gone=reserved_gone)
    if kind is None or refusal.source in {"create-error", "unlaunched"}:
        return
    pairs = _pairs(refusal)
    if not pairs and refusal.says("instance_types", "zones"):
        types = [one for one in allowed.instance_types if not refusal.instance_types or one in refusal.instance_types]
        zones = refusal.zones or (allowed.zones_of(types[0]) if len(types) == 1 else ())
        single = len(types) == 1 and len(zones) == 1 and len(refusal.instance_types or types) == 1
        pairs = ((types[0], zones[0]),) if single else ()
    for instance_type, zone in pairs:
        yield instance_type, zone, kind


def _asked_kind(refusal: Refusal, kinds: Sequence[str], *, reserved_gone: bool) -> str | None:
    """The one capacity type that the launch asked for, None where that is not known.

    Args:
        refusal: The refusal of the launch.
        kinds: The capacity types that its NodePool may launch, as far as the unit may have them; () where they are not known.
        reserved_gone: Whether no reservation has a free instance for it. Karpenter then asks for the next kind.
    """
    if not _FULL_RESERVATION.isdisjoint(refusal.codes):
        return _RESERVED
    left_open = refusal.open_capacity_types or kinds
    left_open = tuple(kind for kind in left_open if not (reserved_gone and kind == _RESERVED))
    if len(left_open) == 1:
        return left_open[0]
    known = refusal.says("capacity_types") and bool(refusal.capacity_types)
    return next((kind for kind in _ASKED_FIRST if kind in left_open), None) if known else None


def _saturated(pool: PoolObservation, refusals: Sequence[Refusal], allowed: Allowed, waiting: Sequence[PendingPod], said: _Said) -> bool:
    """Whether Karpenter said, after a refusal, that nothing is available: of the NodePool, of a pod, or of a launch."""
    times = [at for pod in waiting for name, at in pod.unavailable if name == pool.name]
    times += [pool.blocked_at] if pool.blocked_at is not None else []
    after = any(said.holds(refusals, at) for at in times)
    return after or any(_asked_for_all(one, allowed) and said.lasts(one, refusals) for one in refusals)


def _asked_for_all(refusal: Refusal, allowed: Allowed) -> bool:
    """Whether a refusal is about everything the unit may have by its own words: all was in the cache, or the account's quota is used up."""
    by_words = ALL_UNAVAILABLE in refusal.codes or (refusal.source == "create-error" and refusal.cause is Cause.QUOTA)
    if not by_words or not refusal.says("instance_types", "zones", "capacity_types"):
        return False
    types = not refusal.instance_types or {one for one, _ in allowed.asked_for} <= set(refusal.instance_types)
    zones = not refusal.zones or all(known and set(known) <= set(refusal.zones) for _, known in allowed.asked_for)
    asked = refusal.open_capacity_types
    kinds = not asked or set(allowed.capacity_types) <= set(asked)
    return types and zones and kinds


def _age_at(first_at: float | None, since: float) -> float:
    """When age alone proves it.

    Args:
        first_at: When the first refusal to pods that wait now was made; None where none was.
        since: Since when they have waited.
    """
    old_at = since + HARD_DEMAND_S
    return old_at if first_at is None else max(old_at, first_at + ICE_CACHE_S + RETRY_S)
