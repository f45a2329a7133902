"""What Karpenter's objects and events say about each NodePool.

Karpenter deletes a refused NodeClaim within seconds, so its name, pool and requirements are kept as a tombstone for as long as the API
server keeps events. An event and its NodeClaim arrive in either order; therefore both are stored, and joined when read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
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
from controller.policy.evidence import Offering
from controller.policy.model import Held, Launch, PoolObservation, Refusal
from controller.signals.classify import (
    INTERRUPTED,
    Explained,
    RefusalMessage,
    classify_create_error,
    classify_refusal,
    explained_pools,
    interruption,
    limited_pools,
    unavailable_pools,
    unlaunched,
)
from controller.signals.fleet_answers import SAME_S, FleetAnswer
from controller.signals.instance_labels import InstanceFilter
from controller.signals.launchable import Room as NodeRoom
from controller.signals.launchable import Terms
from controller.signals.node_claims import (
    RETENTION_S,
    Claim,
    ended_unlaunched,
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
from controller.signals.room import Bounded, Room

COMPONENTS: Final = frozenset({"karpenter", "eks-auto-mode/compute"})
"""The names under which Karpenter reports events: one's own installation, and that of EKS Auto Mode (docs/research/auto-mode.md)."""

_REPLACED: Final = "DisruptionLaunching"
_BLOCKED: Final = "NoCompatibleInstanceTypes"
_LIMITED: Final = "FailedScheduling"
_REPLACEMENT_TTL_S: Final = 900.0
_LIMIT_SAID_S: Final = 600.0  # Karpenter says it of each pod that waits at least once in five minutes
_MAX_CHANGES: Final = 5_000  # names of NodePools of which something changed: far more than a cluster has
_MAX_TYPES: Final = 1_000  # more than EC2 has
_MAX_CLASSES: Final = 1_000
_MAX_NAME: Final = 253  # characters of a name in Kubernetes
_MAX_EARLY: Final = 8  # the newest statements that are kept of a pod before it is seen
_MAX_NAMED: Final = 1_000  # NodePools that are kept of one pod
_MAX_ANSWERS: Final = 32  # the newest records of EC2's answers that are kept of one NodePool, for reports of Karpenter that come after them
_MAX_UNSEEN: Final = 32  # NodePools that one statement names and that were not seen: they may have been created a moment ago
_ANYWHERE: Final = ""  # is no name of a NodePool
_Pod = tuple[str, str]  # namespace and name


@dataclass(frozen=True, slots=True)
class _RefusedClaim:
    claim: str
    stamp: float  # as the event says, even if that lies in the future
    at: float
    seen: float
    refusal: RefusalMessage
    order: int  # of its first delivery, 0 where that was in a list
    source: str = "event"  # as in `Refusal`
    answer: FleetAnswer | None = None  # EC2's whole answer, where its record has come


@dataclass(frozen=True, slots=True)
class _Mark:
    """When something was last said. `then`: the limits and the use of a NodePool when Karpenter called it limited, if they were known."""

    stamp: float  # as the event says, even if that lies in the future
    at: float
    then: tuple[Mapping[str, object], Mapping[str, object]] | None = None


@dataclass(frozen=True, slots=True)
class _Statement:
    """What one `FailedScheduling` event of Karpenter says of a pod: the NodePools at their limit, and those with nothing available."""

    limited: tuple[str, ...]
    lacking: tuple[str, ...]
    explained: Explained | None
    at: float


@dataclass(frozen=True, slots=True)
class _Types:
    """The instance types that a NodePool's NodeClaims ever named, and whether any of them listed what it may be."""

    names: frozenset[str] = frozenset()
    listed: bool = False


class Touched(NamedTuple):
    """The NodePools of which something else is known after an observation.

    Attributes:
        pools: Those that it is about.
        buying: Others that may buy what it is about: it is news only to pods that wait for one of them.
    """

    pools: tuple[str, ...] = ()
    buying: tuple[str, ...] = ()


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


def _is_news(known: _Mark | None, mark: _Mark) -> bool:
    """Whether something was said anew: not what was said before, nor before what was said last, for a list is in no order of time."""
    return known is None or (known.stamp != mark.stamp and mark.at >= known.at)


def _marked(stamp: float, now: float) -> _Mark:
    """A time ahead of ours counts as the moment of its first sight: delivered again with the next list, it must not keep evidence alive."""
    return _Mark(stamp, min(stamp, now))


class KarpenterView:
    """NodeClaims, NodePools and Karpenter's events, kept as far as decisions need them. Not thread-safe: `ClusterView` locks.

    Args:
        room: Bounds what strangers can add to without end; `ClusterView` calls its `fit`. None: one of its own.
    """

    def __init__(self, room: Room | None = None) -> None:
        room = room or Room()
        of_claim: Callable[[str, Claim], str] = lambda _, claim: self._seen(claim.pool)  # noqa: E731
        self._live: Bounded[str, Claim] = room.store(lambda claim: claim.created, of_claim, self._lost)
        self._gone: Bounded[str, Claim] = room.store(lambda claim: claim.gone or 0.0, of_claim, self._forgotten)  # the oldest first
        self._refused: Bounded[str, _RefusedClaim] = room.store(
            lambda refused: refused.at, lambda claim, _: self._seen(self.pool_of(claim)), self._refusal_dropped
        )
        self._refusals: dict[str, _Read] = {}
        # By what was said (the reason of an event) and of which NodePool or NodeClaim.
        self._marks: Bounded[tuple[str, str], _Mark] = room.store(lambda mark: mark.at, lambda key, _: self._seen(self._pool_of_mark(*key)))
        of_pod: Callable[[_Pod, object], str] = lambda pod, _: pod[0]  # noqa: E731
        self._early: Bounded[_Pod, tuple[_Statement, ...]] = room.store(
            lambda said: said[-1].at, of_pod
        )  # of pods that were not seen waiting
        # Of waiting pods, by NodePool; `_ANYWHERE`: of the pod itself.
        self._unavailable: Bounded[_Pod, dict[str, _Mark]] = room.store(lambda marks: max(mark.at for mark in marks.values()), of_pod)
        self._answers: Bounded[str, tuple[FleetAnswer, ...]] = room.store(lambda known: known[-1].at, lambda pool, _: self._seen(pool))
        self._types: Bounded[str, _Types] = room.store(lambda _: 0.0, lambda pool, _: self._seen(pool))
        self._pools: dict[str, Pool] = {}
        self._pools_known = False  # until they are listed, one that is not among them may exist
        self._classes: dict[tuple[str, str], tuple[str, ...]] = {}  # the zones of each node class's subnets, by API group and name
        self._about: dict[str, tuple[str, ...]] = {}  # the instance types that a refusal is about, by its claim
        self._naming: dict[str, set[str]] = {}  # claims whose refusal is about an instance type, by that type
        self._order = 0  # grows with everything that is delivered as it happens
        # By NodePool, so that a question about one does not cost a search of all: names of claims and of claims that were refused.
        self._claims_of: dict[str, set[str]] = {}
        self._refused_of: dict[str, set[str]] = {}
        self._reserved: Counter[str] = Counter()  # by NodePool, how many instances that exist run in a reservation
        self._running: dict[str, Counter[Offering]] = {}  # by NodePool, how many instances exist of each offering
        self._changes: dict[str, int] = {}
        self._lists = 0
        self.unparsed = 0

    def _seen(self, pool: str) -> str:
        """A NodePool as an owner of entries; "" where it does not exist."""
        return pool if pool in self._pools else ""

    def _pool_of_mark(self, said: str, name: str) -> str:
        return self.pool_of(name) if said == _REPLACED else name

    def kept(self) -> dict[str, int]:
        """How many objects are kept, by kind. Of those that are gone and of events, only what later decisions need."""
        return {
            "nodeclaims": len(self._live),
            "removed nodeclaims": len(self._gone),
            "refused nodeclaims": len(self._refused),
            "nodepools": len(self._pools),
            "nodeclasses": len(self._classes),
            "events": len(self._marks) + len(self._early) + sum(map(len, self._unavailable.values())),
            "fleet answers": sum(map(len, self._answers.values())),
        }

    def claims(self) -> Collection[str]:
        """The names of the NodeClaims that exist."""
        return self._live

    def pools(self) -> Collection[str]:
        """The names of the NodePools that exist."""
        return self._pools

    def classes(self, group: str) -> list[str]:
        """The names of the node classes of one API group whose zones are known."""
        return [name for known, name in self._classes if known == group]

    # --- what the watches deliver ---

    def claim(self, kind: str, obj: Object, now: float, *, listed: bool = False) -> Touched:
        """Takes one NodeClaim as a watch delivered it. `kind` is the watch event's type; `listed` says that it was in a list.

        Returns:
            What is new. Most that happens to a claim concerns its node alone.
        """
        name = name_of(obj)
        if not name:
            return Touched()
        order = 0 if listed else self._next()
        claim = read_claim(obj, now, order)
        pool_before, shown_before = self.pool_of(name), self._shown(name, now)
        before = self._live.pop(name)
        if before is not None:
            self._count(before, -1)
        before = before or self._gone.pop(name)
        if before is not None:
            self._unlink(before)
            if kind == "DELETED" and listed:  # it is missing in a list, which says nothing more of it
                claim = before
            elif before.uid == claim.uid or not (before.uid and claim.uid):
                claim = never_less(before, claim)
        self._claims_of.setdefault(claim.pool, set()).add(name)
        if kind == "DELETED":
            self._bury(claim, now)
        else:
            self._live[name] = claim
            self._count(claim, 1)
        self._note_end(claim if listed or kind != "DELETED" else replace(claim, gone=now), now, order)
        moved = claim.pool != pool_before
        if name in self._refused and moved:  # the refusal came first, and its pool was read off the claim's name
            _drop(self._refused_of, pool_before, name)
            self._refused_of.setdefault(claim.pool, set()).add(name)
        if name in self._refused:  # what it may be launched as may be news
            self._name_types(name, self._refusal(self._refused[name], claim.pool).types)
        new_type = self._types_seen(claim)
        shown = self._shown(name, now)
        if shown == shown_before and not (moved and name in self._refused) and not new_type:
            return Touched()
        # What a launch ends of this NodePool's refusals, it ends for all that may buy the same.
        launched = shown.launched != shown_before.launched and shown.launched in self._naming
        buying = self._pools_buying({claim.launched_type}) if launched else ()
        asked = moved or shown.asked != shown_before.asked  # which is a part of its refusal
        return self._touched((pool_before, claim.pool), (*buying, *(self._pools_refused(name) if asked else ())))

    def _note_end(self, claim: Claim, now: float, order: int) -> None:
        """Takes the end of a claim as its refusal where no event says more: one may be lost, or come later and replace this."""
        known = self._refused.get(claim.name)
        if ended_unlaunched(claim) and (known is None or known.at < claim.created - RETENTION_S):
            # Cut to whole seconds, as all that Karpenter says: else what it said within the same second would not come after it.
            ended = claim.leaving if claim.leaving is not None else float(int(now))
            self._refuse(_RefusedClaim(claim.name, ended, min(ended, now), now, unlaunched(), order, "unlaunched"), claim.pool)

    def _types_seen(self, claim: Claim) -> bool:
        """Keeps the types that a claim names, and whether that is news. The claims of a cycle leave out what EC2 has refused."""
        known = self._types.get(claim.pool) or _Types()
        named = {one for one in (*claim.instance_types, claim.launched_type) if one}
        names = known.names | named if len(known.names) < _MAX_TYPES else known.names
        found = _Types(names, known.listed or bool(claim.instance_types))
        if found == known:
            return False
        self._types[claim.pool] = found
        return True

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

    def _count(self, claim: Claim, by: int) -> None:
        """Counts the instance of a claim in, or out where it exists no more."""
        if is_reserved(claim):
            self._reserved[claim.pool] += by
            if not self._reserved[claim.pool]:
                del self._reserved[claim.pool]
        if has_type(claim):
            nodes = self._running.setdefault(claim.pool, Counter())
            nodes[offering_of(claim)] += by
            if not nodes[offering_of(claim)]:
                del nodes[offering_of(claim)]
            if not nodes:
                del self._running[claim.pool]

    def _next(self) -> int:
        self._order += 1
        return self._order

    def pool_changed(self, kind: str, obj: Object, now: float) -> Touched:
        """Takes one NodePool as a watch delivered it.

        Returns:
            What is new. What it uses changes with every node, and matters only at its limit.
        """
        name = name_of(obj)
        if not name:
            return Touched()
        before, bound, fewer_types = self._pool_shown(name, now), self.capacity_types(name), False
        if kind == "DELETED":
            self._pools.pop(name, None)
            fewer_types = self._types.pop(name) is not None
        else:
            put(self._pools, name, read_pool(obj))
        if not fewer_types and self._pool_shown(name, now) == before:
            return Touched()
        refused = self._refused_of.get(name, ()) if self.capacity_types(name) != bound else ()  # others see these refusals by them
        buying = self._pools_buying({kind for claim in refused for kind in self._about.get(claim, ())}) if refused else ()
        return self._touched((name,), buying)

    def _pool_shown(self, name: str, now: float) -> tuple[object, ...]:
        """All that an observation says of a NodePool itself."""
        pool = self._pools.get(name)
        if pool is None:
            return ()
        limit = self._limit(name, pool, now, _LIMIT_SAID_S)
        lacking = NodeRoom(room_of(pool)).lacking(pool.instances) if pool.limits else ()
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
        if zones and (key in self._classes or len(self._classes) < _MAX_CLASSES):
            self._classes[key] = zones
        else:
            self._classes.pop(key, None)
        return self._changed(*(name for name in using if self._pool_shown(name, now) != before[name]))

    def pools_listable(self, *, known: bool) -> None:
        """Notes whether the NodePools can be listed. As long as they cannot, nobody knows which exist."""
        if self._pools_known is not known:
            self._pools_known = known
            self._lists += 1  # of each NodePool something else is known now, also of those that are only named somewhere

    def event(self, obj: Object, now: float, *, listed: bool = False) -> Touched:
        """Takes one event of any kind.

        Args:
            obj: The event.
            now: Seconds since the Unix epoch.
            listed: Whether it was in a list: then it has been there since its own time, and so has any mark that goes with it.

        Returns:
            Of whose capacity it says something new.
        """
        kind, name = text(obj, "involvedObject", "kind"), text(obj, "involvedObject", "name")
        at = event_time(obj)
        if not name or len(name) > _MAX_NAME or at is None or now - at > RETENTION_S:
            return Touched()
        pool = self.pool_of(name) if kind == "NodeClaim" else name
        buying: tuple[str, ...] = ()
        match kind, text(obj, "reason"):
            case "NodeClaim", "InsufficientCapacityError" | "SpotInterrupted" as reason:
                said = self._interruption(name) if reason == INTERRUPTED else classify_refusal(text(obj, "message"))
                known = self._refused.get(name)
                if said is not None:
                    seen, order = (min(at, now), 0) if listed else (now, self._next())
                    source = "interrupted" if reason == INTERRUPTED else "event"
                    self._refuse(_RefusedClaim(name, at, min(at, now), seen, said, order, source), pool)
                if self._refused.get(name) == known:
                    return Touched()  # it was in a list once more
                buying = self._pools_refused(name)
            case "NodeClaim", reason if reason == _REPLACED and self._mark(reason, name, at, now):
                buying = self._pools_refused(name)
            case "NodePool", reason if reason == _BLOCKED and self._mark(reason, name, at, now):
                pass
            case _:
                return Touched()
        return self._touched((pool,), buying)

    def _interruption(self, name: str) -> RefusalMessage | None:
        """What the interruption of a claim's spot instance says; None where the instance is not known."""
        claim = self._claim(name)
        return interruption(claim.launched_type, claim.launched_zone) if claim and claim.launched_type and claim.launched_zone else None

    def _mark(self, said: str, name: str, at: float, now: float) -> bool:
        """Notes that something was said of a NodePool or a NodeClaim, and says whether that is news."""
        before, mark = self._marks.get((said, name)), _marked(at, now)
        if not _is_news(before, mark):
            return False
        known = self._pools.get(name) if said == _LIMITED else None
        then = before.then if before is not None else None
        self._marks[said, name] = replace(mark, then=then if known is None else (known.limits, known.used))
        return True

    def pod_event(self, obj: Object, own: tuple[str, ...], now: float, *, waits: bool) -> tuple[str, ...]:
        """Takes a `FailedScheduling` event of Karpenter on a pod.

        Args:
            obj: The event.
            own: The NodePools that the pod is pinned to; () for any.
            now: Seconds since the Unix epoch.
            waits: Whether the pod is known to wait for a node. Pods and events are two watches: what is said of a pod that was not seen is
                kept until it is, see `pod_known`.

        Returns:
            The NodePools that it newly calls at their limit, or without anything available for the pod. Karpenter checks limits before it
            checks the pod's requirements, so the text names limited pools that have nothing to do with the pod: these are left out.
        """
        pod, at = (text(obj, "involvedObject", "namespace"), text(obj, "involvedObject", "name")), event_time(obj)
        if text(obj, "reason") != "FailedScheduling" or event_component(obj) not in COMPONENTS or at is None or len(pod[1]) > _MAX_NAME:
            return ()
        message = text(obj, "message")
        said = _Statement(limited_pools(message), unavailable_pools(message), explained_pools(message), at)
        if waits:
            return self._take(pod, said, own, now)
        known = self._early.get(pod, ())
        if said not in known:
            self._early[pod] = tuple(sorted((*known, said), key=lambda one: one.at)[-_MAX_EARLY:])
        return ()

    def pod_known(self, namespace: str, pod: str, own: tuple[str, ...], now: float) -> tuple[str, ...]:
        """Takes what was said of a pod before it was seen.

        Returns:
            As `pod_event`.
        """
        early = self._early.pop((namespace, pod), ())
        return tuple(dict.fromkeys(pool for said in early for pool in self._take((namespace, pod), said, own, now)))

    def _take(self, pod: _Pod, said: _Statement, own: tuple[str, ...], now: float) -> tuple[str, ...]:
        limited = [pool for pool in said.limited if pool in own and self._mark(_LIMITED, pool, said.at, now)]
        unseen = [pool for pool in said.lacking if pool not in self._pools][: _MAX_UNSEEN if self._pools_known else None]
        named = [pool for pool in said.lacking if (pool in own if own else pool in self._pools or pool in unseen)]
        named += self._unexplained(said.explained, own, said.at)[:_MAX_NAMED] if said.explained is not None else ()
        marks, mark = self._unavailable.get(pod, {}), _marked(said.at, now)
        new = [pool for pool in (_ANYWHERE, *named) if _is_news(marks.get(pool), mark)]
        if new:
            self._unavailable[pod] = {**(marks if len(marks) < _MAX_NAMED else {}), **dict.fromkeys(new, mark)}
        return self._changed(*limited, *(pool for pool in new if pool != _ANYWHERE))

    def _unexplained(self, explained: Explained, own: tuple[str, ...], at: float) -> list[str]:
        """The NodePools of which Karpenter says nothing where it says why a pod has no place in each: nothing of them is available."""
        missing = set(own).intersection(self._pools).difference(explained.pools) if own else self._pools.keys() - explained.pools
        return sorted(name for name in missing if self._pools[name].considered(explained, at))

    def pod_gone(self, namespace: str, pod: str) -> None:
        """Forgets what was said of a pod that waits no more."""
        self._early.pop((namespace, pod))
        self._unavailable.pop((namespace, pod))

    def unavailable(self, namespace: str, pod: str) -> tuple[tuple[str, float], ...]:
        """The NodePools that had nothing available for a pod when Karpenter last said so, and when it said so."""
        found = self._unavailable.get((namespace, pod), {})
        return tuple((pool, mark.at) for pool, mark in found.items() if pool != _ANYWHERE)

    def unplaced_at(self, namespace: str, pod: str) -> float | None:
        """When Karpenter last found no place for a pod, None where it has not said so."""
        mark = self._unavailable.get((namespace, pod), {}).get(_ANYWHERE)
        return None if mark is None else mark.at

    def _refuse(self, new: _RefusedClaim, pool: str) -> None:
        claim, known = new.claim, self._refused.get(new.claim)
        if known is not None:
            known = known if new.at - known.at <= RETENTION_S else None  # of a later NodeClaim: names of five random letters repeat
        if not new.refusal.parsed and known is None:
            self.unparsed += 1
        if known is not None:
            guessed = known.source == "unlaunched" and new.source != known.source  # the event knows better when it was
            at = new.at if guessed else known.at if known.stamp == new.stamp else max(new.at, known.at)
            new = replace(new, at=at, seen=known.seen, order=known.order, answer=known.answer if known.stamp == new.stamp else None)
        if new.answer is None and pool in self._answers:
            new = self._answered(new, pool)
        self._refused[claim] = new
        self._refused_of.setdefault(pool, set()).add(claim)
        self._name_types(claim, self._refusal(new, pool).types)

    def answered(self, answer: FleetAnswer, now: float) -> Touched:
        """Takes the record of EC2's answer to a fleet request. What Karpenter has not reported by then, it may report later.

        Args:
            answer: What EC2 answered. One of the future, of an hour ago or of a NodePool that does not exist is not kept.
            now: Seconds since the Unix epoch.

        Returns:
            The NodePools of whose refusals more is known now.
        """
        pool, known = answer.pool, self._answers.get(answer.pool, ())
        if pool not in self._pools or answer in known or not -SAME_S <= now - answer.at <= RETENTION_S:
            return Touched()
        self._answers[pool] = tuple(sorted((*known, answer), key=lambda one: one.at)[-_MAX_ANSWERS:])
        of_pool = (self._refused[claim] for claim in self._refused_of.get(pool, ()))
        near = [one for one in of_pool if one.answer is None and abs(one.at - answer.at) <= SAME_S]  # of thousands in an outage
        found = [one for one in (self._answered(refused, pool) for refused in near) if one.answer is not None]
        for refused in found:
            self._refused[refused.claim] = refused
            self._name_types(refused.claim, self._refusal(refused, pool).types)
        buying = dict.fromkeys(other for refused in found for other in self._pools_refused(refused.claim))
        return self._touched((pool,), tuple(buying)) if found else Touched()

    def _answered(self, refused: _RefusedClaim, pool: str) -> _RefusedClaim:
        """A refusal with EC2's answer that Karpenter reports in it, the nearest in time; as it was where no record of that is kept."""
        said, answers = self._refusal(refused, pool), self._answers.get(pool, ()) if refused.source == "event" else ()
        found = [one for one in answers if one.is_of(said)]
        return replace(refused, answer=min(found, key=lambda one: abs(one.at - refused.at))) if found else refused

    def _refusal_dropped(self, claim: str, _: _RefusedClaim) -> None:
        self._refusals.pop(claim, None)
        _drop(self._refused_of, self.pool_of(claim), claim)
        self._name_types(claim, ())

    def _name_types(self, claim: str, types: tuple[str, ...]) -> None:
        """Notes which instance types the refusal of a claim is about."""
        for instance_type in self._about.pop(claim, ()):
            _drop(self._naming, instance_type, claim)
        if types:
            self._about[claim] = types
        for instance_type in types:
            self._naming.setdefault(instance_type, set()).add(claim)

    def _pools_buying(self, types: Collection[str]) -> tuple[str, ...]:
        """The NodePools whose requirements ask for one of these instance types."""
        return tuple(name for name, pool in self._pools.items() if pool.instances.restricts and any(map(pool.instances.admits, types)))

    def _pools_refused(self, claim: str) -> tuple[str, ...]:
        """The NodePools that a claim's refusal concerns beside its own: they may buy what it is about."""
        types = self._about.get(claim)
        return () if types is None else self._pools_buying(types)

    def _bury(self, claim: Claim, now: float) -> None:
        """Keeps a tombstone, and drops those that no decision can need any more."""
        self._gone[claim.name] = replace(claim, gone=now)
        while now - (next(iter(self._gone.values())).gone or now) > RETENTION_S:
            self._gone.drop(next(iter(self._gone)))

    def _lost(self, _: str, claim: Claim) -> None:
        """Notes that a claim that exists was dropped for want of room."""
        self._count(claim, -1)
        self._forgotten(claim.name, claim)

    def _forgotten(self, name: str, claim: Claim) -> None:
        """Notes that nothing is kept of a claim. Its refusal stays; its pool can then only be read off the claim's name."""
        self._unlink(claim)
        if self._pools_known and claim.pool not in self._pools and claim.pool not in self._claims_of:
            self._types.pop(claim.pool)  # the NodePool was deleted before its last claim, which named its types once more
        if name in self._refused:
            _drop(self._refused_of, claim.pool, name)
            self._refused_of.setdefault(self.pool_of(name), set()).add(name)
            self._name_types(name, self._refusal(self._refused[name], self.pool_of(name)).types)
        self._changed(claim.pool, self.pool_of(name))

    def _unlink(self, claim: Claim) -> None:
        _drop(self._claims_of, claim.pool, claim.name)

    def _touched(self, pools: tuple[str, ...], buying: tuple[str, ...]) -> Touched:
        pools, others = tuple(dict.fromkeys(pools)), tuple(one for one in dict.fromkeys(buying) if one not in pools)
        self._changed(*pools, *others)
        return Touched(pools, others)

    def _changed(self, *pools: str) -> tuple[str, ...]:
        for pool in pools:
            self._changes[pool] = self._changes.get(pool, 0) + 1
        if len(self._changes) > _MAX_CHANGES:  # names of NodePools that are long gone, or were never there
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
        """The instance types that refusals are about and that a NodePool asks for; none where its requirements restrict nothing."""
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
        types = self._types.get(pool) or _Types()
        return Terms(asked, NodeRoom(room), tuple(sorted(types.names)), types.listed)

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
        claim, marked, message = self._claim(refused.claim), self._marks.get((_REPLACED, refused.claim)), refused.refusal
        known, through = self._refusals.get(refused.claim), (pool, self.capacity_types(pool))
        if known is not None and known.refused is refused and known.of is claim and known.marked is marked and known.through == through:
            return known.refusal
        interrupted = refused.source == "interrupted"
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
            capacity_types=("spot",) if interrupted else claim.capacity_types if claim else (),
            requirements_known=claim is not None or interrupted,
            inexact=claim.inexact if claim and not interrupted else (),
            pool_capacity_types=through[1],
            truncated=message.truncated,
            named_type=message.instance_type,
            named_zone=message.zone,
            offerings=message.offerings,
            stamp=refused.stamp,
            created=claim.created if claim else None,
            order=refused.order,
            replacement=not interrupted and marked is not None and refused.at - marked.at <= _REPLACEMENT_TTL_S,
            source=refused.source,
        )
        if refused.answer is not None and refused.answer.is_of(made):  # what is known of the claim now may say that it is not
            made = refused.answer.completed(made)
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
        blocked = self._marks.get((_BLOCKED, name))
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
        said = self._marks.get((_LIMITED, name))
        if said is None or now - said.at > min(window_s, _LIMIT_SAID_S):
            return ""
        changed = said.then is not None and (limits != said.then[0] or fell(said.then[1], used))
        over = changed or self._launched_after(name, said.stamp)
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
