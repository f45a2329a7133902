"""What Karpenter's objects and events say about each NodePool.

Karpenter deletes a refused NodeClaim within seconds, so its name, pool and requirements are kept as a tombstone for as long as the API
server keeps events. An event and its NodeClaim arrive in either order; therefore both are stored, and joined when read.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from controller.foreign import shown
from controller.objects import (
    Object,
    event_component,
    event_time,
    items,
    name_of,
    put,
    quantity,
    text,
)
from controller.policy.model import Held, Launch, PoolObservation, Refusal
from controller.policy.proof import Offering
from controller.signals.classify import (
    RefusalMessage,
    classify_create_error,
    classify_refusal,
    limited_pools,
    unavailable_pools,
)
from controller.signals.instance_labels import InstanceFilter
from controller.signals.launchable import Room, Terms
from controller.signals.node_claims import (
    RETENTION_S,
    Claim,
    has_type,
    is_reported,
    is_reserved,
    launch_of,
    never_less,
    offering_of,
    pool_in_name,
    read_claim,
)
from controller.signals.node_pools import Pool, fell, read_pool, room_of, takes
from controller.signals.refusals import not_ended, summed_up

COMPONENTS: Final = frozenset({"karpenter", "eks-auto-mode/compute"})
"""The names under which Karpenter reports events: one's own installation, and that of EKS Auto Mode (docs/research/auto-mode.md)."""

_REPLACEMENT_TTL_S: Final = 900.0
_LIMIT_SAID_S: Final = 600.0  # Karpenter says it of each pod that waits at least once in five minutes
_MAX_CLAIMS: Final = 20_000
_MAX_FAILURES: Final = 5_000
_MAX_TYPES: Final = 1_000  # more than EC2 has
_MAX_MARKS: Final = 1_000  # far more than NodePools, or than consolidation launches in an hour
_MAX_PODS: Final = 10_000  # that wait and of which Karpenter said something
_MAX_EARLY: Final = 1024
_ANYWHERE: Final = ""  # is no name of a NodePool


@dataclass(frozen=True, slots=True)
class _RefusedClaim:
    claim: str
    stamp: float  # as the event says, even if that lies in the future
    at: float
    seen: float
    refusal: RefusalMessage
    order: int  # of its first delivery, 0 where that was in a list


@dataclass(frozen=True, slots=True)
class _Mark:
    stamp: float  # as the event says, even if that lies in the future
    at: float


class _Shown(NamedTuple):
    """All that any observation says of one claim."""

    launch: Launch | None = None
    running: tuple[object, ...] | None = None
    asked: tuple[object, ...] | None = None
    create_error: tuple[object, ...] | None = None
    passing: str = ""

    @property
    def launched(self) -> str:
        """The instance type that it got; "" where it got none, or none that is known."""
        return "" if self.launch is None else self.launch.instance_type


@dataclass(frozen=True, slots=True)
class _Read:
    """A refusal, and what it was made of: there are thousands, and each new one has an observation made of all."""

    refused: _RefusedClaim
    of: Claim | None
    marked: _Mark | None
    through: tuple[str, tuple[str, ...]]  # its NodePool, and the capacity types of that
    refusal: Refusal


def _mark(marks: dict[str, _Mark], name: str, stamp: float, now: float) -> bool:
    """Keeps the newest time at which something was said of a name, and says whether it is another than before.

    A time ahead of ours counts as the moment of its first sight: delivered again with the next list, it must not keep evidence alive.
    """
    known = marks.get(name)
    if known is not None and (known.stamp == stamp or min(stamp, now) < known.at):
        return False  # said before, or before what was said last: a list is in no order of time
    marks[name] = _Mark(stamp, max(min(stamp, now), known.at if known else 0.0))
    if len(marks) > _MAX_MARKS:
        for old in sorted(marks, key=lambda one: marks[one].at)[: _MAX_MARKS // 10]:
            del marks[old]
    return True


class KarpenterView:
    """NodeClaims, NodePools and Karpenter's events, kept as far as decisions need them. Not thread-safe: `ClusterView` locks."""

    def __init__(self) -> None:
        self._live: dict[str, Claim] = {}
        self._gone: OrderedDict[str, Claim] = OrderedDict()  # tombstones, the oldest first
        self._refused: dict[str, _RefusedClaim] = {}
        self._refusals: dict[str, _Read] = {}
        self._replacements: dict[str, _Mark] = {}
        self._blocked: dict[str, _Mark] = {}
        self._limited: dict[str, _Mark] = {}
        self._early: dict[str, tuple[tuple[str, ...], float]] = {}  # by pod whose NodePools are not known: limits that were named, and when
        # By NodePool, its limits and what it used when Karpenter last called it limited, if it was known then.
        self._limit_then: dict[str, tuple[Mapping[str, object], Mapping[str, object]]] = {}
        self._unavailable: dict[str, dict[str, _Mark]] = {}  # by pod (namespace/name), then by NodePool; `_ANYWHERE`: of the pod itself
        self._pools: dict[str, Pool] = {}
        self._pools_known = False  # until they are listed, one that is not among them may exist
        self._classes: dict[tuple[str, str], tuple[str, ...]] = {}  # the zones of each node class's subnets, by API group and name
        self._naming: dict[str, set[str]] = {}  # claims whose refusal names an instance type, by that type
        self._order = 0  # grows with everything that is delivered as it happens
        # By NodePool, so that a question about one does not cost a search of all: names of claims and of claims that were refused.
        self._claims_of: dict[str, set[str]] = {}
        self._refused_of: dict[str, set[str]] = {}
        self._reserved: Counter[str] = Counter()  # by NodePool, how many instances that exist run in a reservation
        self._running: dict[str, Counter[Offering]] = {}  # by NodePool, how many instances exist of each offering
        self._types: dict[str, set[str]] = {}  # by NodePool, the types that its NodeClaims ever named
        self._listing: set[str] = set()  # those of them of which a NodeClaim listed the types that it may be
        self._changes: dict[str, int] = {}
        self._lists = 0
        self.unparsed = 0

    def kept(self) -> dict[str, int]:
        """How many objects are kept, by kind. Of those that are gone and of events, only what later decisions need."""
        marks = (
            len(self._replacements) + len(self._blocked) + len(self._limited) + len(self._early) + sum(map(len, self._unavailable.values()))
        )
        return {
            "nodeclaims": len(self._live),
            "removed nodeclaims": len(self._gone),
            "refused nodeclaims": len(self._refused),
            "nodepools": len(self._pools),
            "nodeclasses": len(self._classes),
            "events": marks,
        }

    # --- what the watches deliver ---

    def claim(self, kind: str, obj: Object, now: float, *, listed: bool = False) -> tuple[str, ...]:
        """Takes one NodeClaim as a watch delivered it. `kind` is the watch event's type; `listed` says that it was in a list.

        Returns:
            The NodePools of which something else is known now. Most that happens to a claim concerns its node alone.
        """
        name = name_of(obj)
        if not name:
            return ()
        claim = read_claim(obj, now, 0 if listed else self._next())
        pool_before, shown_before = self.pool_of(name), self._shown(name, now)
        before = self._no_longer_live(name) or self._gone.pop(name, None)
        if before is not None:
            self._unlink(before)
            if before.uid == claim.uid or not (before.uid and claim.uid):
                claim = never_less(before, claim)
        if kind == "DELETED":
            self._bury(claim, now)
        else:
            self._now_live(claim)
        moved = claim.pool != pool_before
        if name in self._refused and moved:  # the refusal came first, and its pool was read off the claim's name
            _drop(self._refused_of, pool_before, name)
            self._refused_of.setdefault(claim.pool, set()).add(name)
        new_type = self._types_seen(claim)
        shown = self._shown(name, now)
        if shown == shown_before and not (moved and name in self._refused) and not new_type:
            return ()
        # What a launch ends of this NodePool's refusals, it ends for all that may buy the same.
        launched = shown.launched != shown_before.launched and shown.launched in self._naming
        buying = self._pools_buying({claim.launched_type}) if launched else ()
        asked = moved or shown.asked != shown_before.asked  # which is a part of its refusal
        return self._changed(*dict.fromkeys((pool_before, claim.pool, *buying, *(self._pools_refused(name) if asked else ()))))

    def _types_seen(self, claim: Claim) -> bool:
        """Keeps the types that a claim names, and whether that is news. The claims of a cycle leave out what EC2 has refused."""
        known = self._types.setdefault(claim.pool, set()) if len(self._types) < _MAX_MARKS else self._types.get(claim.pool, set())
        count, first = len(known), claim.pool in self._types and bool(claim.instance_types) and claim.pool not in self._listing
        if count < _MAX_TYPES:
            known.update(one for one in (*claim.instance_types, claim.launched_type) if one)
        if first:
            self._listing.add(claim.pool)
        return first or len(known) > count

    def _shown(self, name: str, now: float) -> _Shown:
        claim, refused = self._claim(name), name in self._refused
        if claim is None:
            return _Shown()
        launched = is_reported(claim, now)
        counts = has_type(claim) or (claim.launched is not None and claim.pool in self._reserved)
        live = name in self._live and counts
        return _Shown(
            launch_of(claim) if launched else None,
            (offering_of(claim), claim.reservation, claim.block) if live else None,
            (claim.instance_types, claim.zones, claim.capacity_types, claim.inexact) if refused else None,
            (claim.create_error, claim.create_error_at, claim.gone) if claim.create_error and not refused else None,
            claim.passing if name in self._live else "",
        )

    def _now_live(self, claim: Claim) -> None:
        self._live[claim.name] = claim
        self._claims_of.setdefault(claim.pool, set()).add(claim.name)
        if is_reserved(claim):
            self._reserved[claim.pool] += 1
        if has_type(claim):
            self._running.setdefault(claim.pool, Counter())[offering_of(claim)] += 1

    def _no_longer_live(self, name: str) -> Claim | None:
        """Takes a claim out of those that exist; None where it is not among them. It stays among the names of its NodePool."""
        claim = self._live.pop(name, None)
        if claim is not None and is_reserved(claim):
            self._reserved[claim.pool] -= 1
            if not self._reserved[claim.pool]:
                del self._reserved[claim.pool]
        if claim is not None and has_type(claim):
            nodes = self._running[claim.pool]
            nodes[offering_of(claim)] -= 1
            if not nodes[offering_of(claim)]:
                del nodes[offering_of(claim)]
            if not nodes:
                del self._running[claim.pool]
        return claim

    def claims_listed(self, listed: Sequence[Object], now: float) -> tuple[str, ...]:
        """Takes a complete list of NodeClaims: those that are gone become tombstones.

        Returns:
            As `claim`, of all of them.
        """
        names = {name_of(obj) for obj in listed}
        changed: list[str] = []
        for name, claim in [(name, claim) for name, claim in self._live.items() if name not in names]:
            shown = self._shown(name, now)
            self._no_longer_live(name)
            self._bury(claim, now)
            if self._shown(name, now) != shown:
                changed += self._changed(self.pool_of(name))
        for obj in listed:
            changed += self.claim("ADDED", obj, now, listed=True)
        return tuple(dict.fromkeys(changed))

    def _next(self) -> int:
        self._order += 1
        return self._order

    def pool_changed(self, kind: str, obj: Object, now: float) -> tuple[str, ...]:
        """Takes one NodePool as a watch delivered it.

        Returns:
            Its name if something else is known of it now. What it uses changes with every node, and matters only at its limit.
        """
        name = name_of(obj)
        if not name:
            return ()
        before, bound, fewer_types = self._pool_shown(name, now), self.capacity_types(name), False
        if kind == "DELETED":
            self._pools.pop(name, None)
            fewer_types = bool(self._types.pop(name, None))
            self._listing.discard(name)
        else:
            put(self._pools, name, read_pool(obj))
        if not fewer_types and self._pool_shown(name, now) == before:
            return ()
        refused = self._refused_of.get(name, ()) if self.capacity_types(name) != bound else ()  # others see these refusals by them
        buying = self._pools_buying({kind for claim in refused for kind, _ in self._refused[claim].refusal.offerings}) if refused else ()
        return self._changed(*dict.fromkeys((name, *buying)))

    def _pool_shown(self, name: str, now: float) -> tuple[object, ...]:
        """All that an observation says of a NodePool itself."""
        pool = self._pools.get(name)
        if pool is None:
            return ()
        limit = self._limit(name, pool, now, _LIMIT_SAID_S)
        lacking = Room(room_of(pool)).lacking(pool.instances) if pool.limits else ()
        return pool.instances, self._zones(pool), pool.capacity_types, pool.unusable, limit, lacking

    def _zones(self, pool: Pool) -> tuple[str, ...]:
        """Where a NodePool may launch: the zones that it asks for and in which its node class has a subnet; () where neither is known."""
        subnets = self._classes.get(pool.node_class, ())
        return tuple(zone for zone in pool.zones if zone in subnets) or pool.zones or subnets

    def class_changed(self, group: str, kind: str, obj: Object, now: float) -> tuple[str, ...]:
        """Takes one node class, an EC2NodeClass or that of EKS Auto Mode, as a watch delivered it.

        Returns:
            The NodePools that may launch in other zones now.
        """
        key = (group, name_of(obj))
        using = [name for name, pool in self._pools.items() if pool.node_class == key]
        before = {name: self._pool_shown(name, now) for name in using}
        zones = () if kind == "DELETED" else tuple(sorted({text(one, "zone") for one in items(obj, "status", "subnets")} - {""}))
        if zones and (key in self._classes or len(self._classes) < _MAX_MARKS):
            self._classes[key] = zones
        else:
            self._classes.pop(key, None)
        return self._changed(*(name for name in using if self._pool_shown(name, now) != before[name]))

    def classes_listed(self, group: str, listed: Sequence[Object], now: float) -> tuple[str, ...]:
        """Takes a complete list of the node classes of one API group.

        Returns:
            As `class_changed`, of all of them.
        """
        names = {name_of(obj) for obj in listed}
        gone = [{"metadata": {"name": name}} for known, name in self._classes if known == group and name not in names]
        changed = [pool for obj in gone for pool in self.class_changed(group, "DELETED", obj, now)]
        changed += [pool for obj in listed for pool in self.class_changed(group, "ADDED", obj, now)]
        return tuple(dict.fromkeys(changed))

    def pools_listed(self, listed: Sequence[Object], now: float) -> tuple[str, ...]:
        """Takes a complete list of NodePools.

        Returns:
            As `pool_changed`, of all of them.
        """
        self._set_pools_known(known=True)
        names = {name_of(obj) for obj in listed}
        changed: list[str] = []
        for name in [name for name in self._pools if name not in names]:
            changed += self.pool_changed("DELETED", {"metadata": {"name": name}}, now)
        for obj in listed:
            changed += self.pool_changed("ADDED", obj, now)
        return tuple(changed)

    def pools_forgotten(self, now: float) -> tuple[str, ...]:
        """Forgets the NodePools, because they can no longer be seen: from now on nobody knows which exist.

        Returns:
            The names of all of them.
        """
        changed = self.pools_listed([], now)
        self._set_pools_known(known=False)
        return changed

    def _set_pools_known(self, *, known: bool) -> None:
        if self._pools_known is not known:
            self._pools_known = known
            self._lists += 1  # of each NodePool something else is known now, also of those that are only named somewhere

    def event(self, obj: Object, now: float, *, listed: bool = False) -> tuple[str, ...]:
        """Takes one event of any kind.

        Args:
            obj: The event.
            now: Seconds since the Unix epoch.
            listed: Whether it was in a list: then it has been there since its own time, and so has any mark that goes with it.

        Returns:
            The NodePools of whose capacity it says something new: its own first, then those that may buy what a refusal names.
        """
        kind, name = text(obj, "involvedObject", "kind"), text(obj, "involvedObject", "name")
        at = event_time(obj)
        if not name or at is None or now - at > RETENTION_S:
            return ()
        pool = self.pool_of(name) if kind == "NodeClaim" else name
        buying: tuple[str, ...] = ()
        match kind, text(obj, "reason"):
            case "NodeClaim", "InsufficientCapacityError":
                seen = min(at, now) if listed else now
                order = 0 if listed else self._next()
                refusal = classify_refusal(text(obj, "message"))
                known = self._refused.get(name)
                self._refuse(_RefusedClaim(name, at, min(at, now), seen, refusal, order), pool)
                if self._refused.get(name) == known:
                    return ()  # it was in a list once more
                buying = self._pools_buying({instance_type for instance_type, _ in refusal.offerings})
            case "NodeClaim", "DisruptionLaunching":
                if not _mark(self._replacements, name, at, now):
                    return ()
                buying = self._pools_refused(name)
            case "NodePool", "NoCompatibleInstanceTypes":
                if not _mark(self._blocked, name, at, now):
                    return ()
            case _:
                return ()
        self._changed(pool, *buying)
        return (pool, *buying)

    def pod_event(self, obj: Object, pool_of_pod: tuple[str, ...], now: float) -> tuple[str, ...]:
        """Takes a `FailedScheduling` event of Karpenter on a pod that is pinned to `pool_of_pod`, () where it is not or is not known.

        Returns:
            The NodePools that it newly calls at their limit, or without anything available for the pod. Karpenter checks limits before it
            checks the pod's requirements, so the text names limited pools that have nothing to do with the pod: these are left out.
        """
        at = event_time(obj)
        if text(obj, "reason") != "FailedScheduling" or event_component(obj) not in COMPONENTS or at is None:
            return ()
        pod = f"{text(obj, 'involvedObject', 'namespace')}/{text(obj, 'involvedObject', 'name')}"
        limited = limited_pools(text(obj, "message"))
        if limited and not pool_of_pod:
            self._early[pod] = (tuple(limited), at)
            while len(self._early) > _MAX_EARLY:
                del self._early[next(iter(self._early))]
        own = self._at_limit([pool for pool in limited if pool in pool_of_pod], at, now)
        lacking = [pool for pool in unavailable_pools(text(obj, "message")) if not pool_of_pod or pool in pool_of_pod]
        new = self._lacking(pod, (_ANYWHERE, *lacking), at, now)
        return self._changed(*own, *(pool for pool in new if pool != _ANYWHERE))

    def pod_known(self, namespace: str, pod: str, pools: tuple[str, ...], now: float) -> tuple[str, ...]:
        """Takes what was said of a pod's limits before its NodePools were known: pods and events are two watches.

        Returns:
            The NodePools that are newly called at their limit.
        """
        named, at = self._early.pop(f"{namespace}/{pod}", ((), 0.0)) if pools else ((), 0.0)
        return self._changed(*self._at_limit([pool for pool in named if pool in pools], at, now))

    def _at_limit(self, pools: Sequence[str], at: float, now: float) -> list[str]:
        own = [pool for pool in pools if _mark(self._limited, pool, at, now)]
        for pool in own:
            known = self._pools.get(pool)
            if known is not None:
                self._limit_then[pool] = (known.limits, known.used)
        if len(self._limit_then) > len(self._limited):
            self._limit_then = {pool: then for pool, then in self._limit_then.items() if pool in self._limited}
        return own

    def _lacking(self, pod: str, pools: Sequence[str], at: float, now: float) -> list[str]:
        marks = self._unavailable.setdefault(pod, {})
        new = [pool for pool in pools if _mark(marks, pool, at, now)]
        if len(self._unavailable) > _MAX_PODS:
            self._drop_oldest_pods()
        return new

    def _drop_oldest_pods(self) -> None:
        """Drops the oldest marks of the namespace that has most of them: a large shortage of one team must not make another's forgotten."""
        namespaces = Counter(pod.partition("/")[0] for pod in self._unavailable)
        crowded = f"{namespaces.most_common(1)[0][0]}/"
        newest = {pod: max(mark.at for mark in found.values()) for pod, found in self._unavailable.items() if pod.startswith(crowded)}
        for old in sorted(newest, key=newest.__getitem__)[: max(1, len(newest) // 10)]:
            del self._unavailable[old]

    def pod_gone(self, namespace: str, pod: str) -> None:
        """Forgets what was said of a pod that waits no more."""
        self._early.pop(f"{namespace}/{pod}", None)
        self._unavailable.pop(f"{namespace}/{pod}", None)

    def unavailable(self, namespace: str, pod: str) -> tuple[tuple[str, float], ...]:
        """The NodePools that had nothing available for a pod when Karpenter last said so, and when it said so."""
        found = self._unavailable.get(f"{namespace}/{pod}", {})
        return tuple((pool, mark.at) for pool, mark in found.items() if pool != _ANYWHERE)

    def unplaced_at(self, namespace: str, pod: str) -> float | None:
        """When Karpenter last found no place for a pod, None where it has not said so."""
        mark = self._unavailable.get(f"{namespace}/{pod}", {}).get(_ANYWHERE)
        return None if mark is None else mark.at

    def _refuse(self, new: _RefusedClaim, pool: str) -> None:
        claim, known = new.claim, self._refused.get(new.claim)
        if known is not None:
            self._unname(known)
            known = known if new.at - known.at <= RETENTION_S else None  # of a later NodeClaim: names of five random letters repeat
        if not new.refusal.parsed and known is None:
            self.unparsed += 1
        if known is not None:
            at = known.at if known.stamp == new.stamp else max(new.at, known.at)
            new = replace(new, at=at, seen=known.seen, order=known.order)
        self._refused[claim] = new
        self._refused_of.setdefault(pool, set()).add(claim)
        for instance_type, _ in new.refusal.offerings:
            self._naming.setdefault(instance_type, set()).add(claim)
        if len(self._refused) > _MAX_FAILURES:  # a list is not in the order of time, so the oldest are found, many at once
            for old in sorted(self._refused.values(), key=lambda one: one.at)[: _MAX_FAILURES // 10]:
                del self._refused[old.claim]
                self._refusals.pop(old.claim, None)
                _drop(self._refused_of, self.pool_of(old.claim), old.claim)
                self._unname(old)

    def _unname(self, refused: _RefusedClaim) -> None:
        for instance_type, _ in refused.refusal.offerings:
            _drop(self._naming, instance_type, refused.claim)

    def _pools_buying(self, types: Collection[str]) -> tuple[str, ...]:
        """The NodePools whose requirements ask for one of these instance types."""
        return tuple(name for name, pool in self._pools.items() if pool.instances.restricts and any(map(pool.instances.admits, types)))

    def _pools_refused(self, claim: str) -> tuple[str, ...]:
        """The NodePools that a claim's refusal concerns beside its own: they may buy what it names."""
        refused = self._refused.get(claim)
        return () if refused is None else self._pools_buying({instance_type for instance_type, _ in refused.refusal.offerings})

    def _bury(self, claim: Claim, now: float) -> None:
        """Keeps a tombstone, and drops those that no decision can need any more."""
        self._gone[claim.name] = replace(claim, gone=now)
        self._claims_of.setdefault(claim.pool, set()).add(claim.name)
        while len(self._gone) > _MAX_CLAIMS or now - (next(iter(self._gone.values())).gone or now) > RETENTION_S:
            self._forget(next(iter(self._gone.values())))

    def _forget(self, claim: Claim) -> None:
        """Drops a tombstone. A refusal of that claim stays; its pool can then only be read off the claim's name."""
        del self._gone[claim.name]
        self._unlink(claim)
        if self._pools_known and claim.pool not in self._pools and claim.pool not in self._claims_of:
            self._types.pop(claim.pool, None)  # the NodePool was deleted before its last claim, which named its types once more
            self._listing.discard(claim.pool)
        if claim.name in self._refused:
            _drop(self._refused_of, claim.pool, claim.name)
            self._refused_of.setdefault(self.pool_of(claim.name), set()).add(claim.name)
        self._changed(claim.pool, self.pool_of(claim.name))

    def _unlink(self, claim: Claim) -> None:
        _drop(self._claims_of, claim.pool, claim.name)

    def _changed(self, *pools: str) -> tuple[str, ...]:
        for pool in pools:
            self._changes[pool] = self._changes.get(pool, 0) + 1
        if len(self._changes) > _MAX_CLAIMS:  # names of NodePools that are long gone, or were never there
            self._changes.clear()
            self._lists += 1
        return pools

    # --- what is read ---

    def observation(self, name: str, now: float, window_s: float) -> PoolObservation:
        """What is known of one NodePool; one that does not exist says so, as soon as the NodePools were listed.

        Args:
            name: Which.
            now: Seconds since the Unix epoch.
            window_s: How old a refusal may be, seconds; launches are reported for an hour, and for as long as their nodes are there and
                unusable.
        """
        known = (self._refused[claim] for claim in self._refused_of.get(name, ()))
        refusals = [self._refusal(refused, name) for refused in known if now - refused.at <= window_s]
        launches: list[Launch] = []
        for claim in (self._claim(one) for one in self._claims_of.get(name, ())):
            if claim is None:
                continue
            if is_reported(claim, now):
                launches.append(launch_of(claim))
            stuck = self._stuck(claim, now, window_s)
            if stuck is not None:
                refusals.append(stuck)
        return replace(self._observation(name, refusals, launches, now, window_s), elsewhere=self._elsewhere(name, now, window_s))

    def _elsewhere(self, name: str, now: float, window_s: float) -> tuple[Refusal, ...]:
        """The refusals through other NodePools of what this one may buy. A launch there that it may buy, too, has ended those before."""
        of_pools: dict[str, list[Refusal]] = {}
        kinds = self.capacity_types(name)
        for claim in {claim for one in self._named_types(name) for claim in self._naming[one]}:
            refused, other = self._refused[claim], self.pool_of(claim)
            if other != name and now - refused.at <= window_s:
                of_pools.setdefault(other, []).append(self._refusal(refused, other))
        standing = (one for other, some in of_pools.items() for one in summed_up(not_ended(some, self._launches(other, kinds))))
        return tuple(sorted(standing, key=lambda one: (one.at, one.claim)))

    def _named_types(self, pool: str) -> list[str]:
        """The instance types that refusals name and that a NodePool asks for; none where its requirements restrict nothing."""
        instances = self._pools[pool].instances if pool in self._pools else InstanceFilter()
        return [one for one in instances.types or self._naming if instances.restricts and one in self._naming and instances.admits(one)]

    def _launches(self, pool: str, kinds: tuple[str, ...]) -> list[Launch]:
        """The launches of a NodePool, without those of another capacity type than these; () for any."""
        claims = (self._claim(one) for one in self._claims_of.get(pool, ()))
        launches = (launch_of(claim) for claim in claims if claim is not None and claim.launched is not None)
        return [one for one in launches if not kinds or not one.capacity_type or one.capacity_type in kinds]

    def terms(self, pool: str) -> Terms:
        """What a NodePool may launch; anything where it is not known."""
        known = self._pools.get(pool)
        asked, room = (known.instances, room_of(known)) if known is not None else (InstanceFilter(), {})
        return Terms(asked, Room(room), tuple(sorted(self._types.get(pool, ()))), pool in self._listing)

    def running(self, pool: str) -> Mapping[Offering, int]:
        """How many instances of a NodePool exist, by type, zone and capacity type, as far as their type is known."""
        return self._running.get(pool, {})

    def capacity_types(self, pool: str) -> tuple[str, ...]:
        """The capacity types that a NodePool asks for; () where it does not say, or is not known."""
        known = self._pools.get(pool)
        return known.capacity_types if known is not None else ()

    def version_of(self, pool: str) -> tuple[int, int]:
        """Grows with every change of what is known of a NodePool."""
        return self._lists, self._changes.get(pool, 0)

    def _claim(self, name: str) -> Claim | None:
        return self._live.get(name) or self._gone.get(name)

    def pool_of(self, claim: str) -> str:
        """The NodePool of a NodeClaim; from its name where the claim itself was never seen."""
        known = self._claim(claim)
        return known.pool if known is not None and known.pool else pool_in_name(claim)

    def _refusal(self, refused: _RefusedClaim, pool: str) -> Refusal:
        """What an observation says of a refused claim; the same object until something else is known of it."""
        claim, marked, message = self._claim(refused.claim), self._replacements.get(refused.claim), refused.refusal
        known, through = self._refusals.get(refused.claim), (pool, self.capacity_types(pool))
        if known is not None and known.refused is refused and known.of is claim and known.marked is marked and known.through == through:
            return known.refusal
        made = Refusal(
            claim=refused.claim,
            pool=pool,
            at=refused.at,
            cause=message.cause,
            codes=message.codes,
            attempt=refused.claim,
            seen=refused.seen,
            instance_types=claim.instance_types if claim else (),
            zones=claim.zones if claim else (),
            capacity_types=claim.capacity_types if claim else (),
            requirements_known=claim is not None,
            inexact=claim.inexact if claim else (),
            pool_capacity_types=through[1],
            truncated=message.truncated,
            named_type=message.instance_type,
            named_zone=message.zone,
            offerings=message.offerings,
            stamp=refused.stamp,
            created=claim.created if claim else None,
            order=refused.order,
            replacement=marked is not None and refused.at - marked.at <= _REPLACEMENT_TTL_S,
        )
        self._refusals[refused.claim] = _Read(refused, claim, marked, through, made)
        return made

    def _stuck(self, claim: Claim, now: float, window_s: float) -> Refusal | None:
        """A NodeClaim whose launch failed with an error outside the capacity class: no event, it lingers up to five minutes."""
        if claim.launched is not None or claim.name in self._refused or claim.create_error_at is None:
            return None
        refusal = classify_create_error(claim.create_error)
        if refusal is None or now - claim.create_error_at > window_s:
            return None
        return Refusal(
            claim=claim.name,
            pool=claim.pool,
            at=claim.create_error_at,
            cause=refusal.cause,
            codes=refusal.codes,
            attempt=claim.name,
            instance_types=claim.instance_types,
            zones=claim.zones,
            capacity_types=claim.capacity_types,
            inexact=claim.inexact,
            pool_capacity_types=self.capacity_types(claim.pool),
            created=claim.created,
            source="create-error",
            stood_until=now if claim.gone is None else claim.gone,
        )

    def _observation(self, name: str, refusals: list[Refusal], launches: list[Launch], now: float, window_s: float) -> PoolObservation:
        pool = self._pools.get(name)
        blocked = self._blocked.get(name)
        return PoolObservation(
            name=name,
            exists=pool is not None or not self._pools_known,
            failures=summed_up(refusals),
            launches=tuple(sorted(launches, key=lambda launch: (launch.launched, launch.claim))),
            blocked_at=blocked.at if blocked is not None and now - blocked.at <= window_s else None,
            instance_types=pool.instances.types if pool is not None else (),
            zones=self._zones(pool) if pool is not None else (),
            capacity_types=pool.capacity_types if pool is not None else (),
            at_limit=self._limit(name, pool, now, window_s),
            ready=pool is None or not pool.unusable,
            problem=self._problem(name, pool),
            held=self._held(name),
        )

    def _problem(self, name: str, pool: Pool | None) -> str:
        if pool is None:
            return "does not exist" if self._pools_known else "not known"
        return pool.unusable or self._failing(name)

    def _failing(self, name: str) -> str:
        """Why the launches of a NodePool fail for now, as its newest NodeClaim says, in words; "" where none of them does."""
        live = (self._live[one] for one in self._claims_of.get(name, ()) if one in self._live)
        newest = max((one for one in live if one.passing), key=lambda one: (one.created, one.name), default=None)
        return "" if newest is None else f"launches fail with {newest.passing}, and Karpenter tries again (NodeClaim {newest.name})"

    def _held(self, name: str) -> tuple[Held, ...]:
        """The instances of a NodePool that exist, also those that are being drained; () where none of them runs in a reservation."""
        if name not in self._reserved:
            return ()
        claims = [self._live[one] for one in self._claims_of.get(name, ()) if one in self._live]
        found = Counter((one.launched_type, one.reservation, one.block) for one in claims if one.launched is not None)
        return tuple(Held(kind, reservation, count, block) for (kind, reservation, block), count in sorted(found.items()))

    def _limit(self, name: str, pool: Pool | None, now: float, window_s: float) -> str:
        limits, used = (pool.limits, pool.used) if pool is not None else ({}, {})
        for resource, limit in limits.items():
            allowed, present = quantity(limit), quantity(used.get(resource, "0"))
            if allowed is None or present is None:
                continue
            if present > allowed or (present == allowed and takes(pool, resource)):
                return shown(f"limit of {resource} reached: {used.get(resource, '0')} of {limit}")
        if pool is not None and not limits:
            return ""  # lifted since Karpenter said so
        said = self._limited.get(name)
        if said is None or now - said.at > min(window_s, _LIMIT_SAID_S):
            return ""
        then = self._limit_then.get(name)
        over = (then is not None and (limits != then[0] or fell(then[1], used))) or self._launched_after(name, said.stamp)
        return "" if over else "at its limit for the waiting pods, Karpenter says"

    def _launched_after(self, pool: str, stamp: float) -> bool:
        """Whether a NodeClaim that was created after a time got an instance: Karpenter counts one in flight as its largest type."""
        claims = (self._claim(one) for one in self._claims_of.get(pool, ()))
        return any(one is not None and one.launched is not None and one.created > stamp for one in claims)


def _drop(index: dict[str, set[str]], pool: str, name: str) -> None:
    names = index.get(pool)
    if names is not None:
        names.discard(name)
        if not names:
            del index[pool]
