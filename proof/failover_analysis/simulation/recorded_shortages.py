"""What a recording says of EC2's capacity: from the refusals and launches that it observed to outages of offerings.

The recording does not say what EC2 would have answered without a request. An outage here begins with a refusal. It lasts as long as pods
that may use the type wait and nothing of it is launched in the zone: for them Karpenter asks again each cycle of its cache. One refusal in
twenty names neither type nor zone, so that a cycle may pass without a sign. When nobody waits any more, the outage ends with that cache.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from controller.errors import ConfigError
from controller.policy.evidence import allowed_offerings
from controller.policy.karpenter_times import ICE_CACHE_S, ICE_WINDOW_S
from controller.policy.model import Cause, Launch, PoolObservation, Refusal, Snapshot, Unit
from failover_analysis.simulation.outages import Outage
from failover_testbed.capacity.ec2 import Code, Shortage

MOST_OUTAGES: Final = 10_000
"""Most outages of one recording."""

_HELD_S: Final = 5 * ICE_CACHE_S  # pods that wait for so long after the last refusal wait for something else, as for a NodePool's limit
_FORGOTTEN_S: Final = 2 * 3600.0  # a snapshot repeats what the one before it had; what none has had for so long does not come back
_CODES: Final[Mapping[Cause, Code]] = {Cause.CAPACITY: Code.CAPACITY, Cause.QUOTA: Code.QUOTA, Cause.NETWORK: Code.ADDRESSES}
_ASKED: Final = frozenset({"event", "create-error"})  # sources of refusals that are EC2's answer to a launch


class Refused(NamedTuple):
    """What a refusal is about: a type in a zone ("": in each), bought as (""; in any way), and EC2's error."""

    instance_type: str
    zone: str
    capacity_type: str
    code: Code


@dataclass(frozen=True, slots=True)
class Span:
    """An outage of one offering, in seconds since the Unix epoch."""

    what: Refused
    start: float
    end: float


@dataclass(slots=True)
class _Open:
    start: float
    refused_at: float
    until: float  # it is known to have lasted until then

    @property
    def end(self) -> float:
        """Its end if nothing is launched."""
        return max(self.until, self.refused_at + ICE_CACHE_S)


@dataclass(slots=True)
class RecordedShortages:
    """Collects outages one snapshot at a time, in the order of time.

    Attributes:
        spans: The outages that have ended.
        unplayed: How many refusals and interruptions no outage is made of, by the reason.
        zones: The zones that refusals and launches named.
    """

    spans: list[Span] = field(default_factory=list)
    unplayed: Counter[str] = field(default_factory=Counter)
    zones: set[str] = field(default_factory=set)
    _open: dict[Refused, _Open] = field(default_factory=dict)
    _seen: dict[tuple[str, float], float] = field(default_factory=dict)  # when a snapshot last had it

    def add(self, snapshot: Snapshot) -> None:
        """Adds what a snapshot has of refusals and launches that no earlier one had.

        Raises:
            ConfigError: There are more outages than `MOST_OUTAGES`.
        """
        events: list[tuple[float, Refusal | Launch]] = []
        for pool in _pools(snapshot):
            refusals = (*pool.failures, *pool.elsewhere)
            events += [(one.at, one) for one in refusals if self._new(one.claim, one.at if one.stamp is None else one.stamp, snapshot.now)]
            events += [(one.launched, one) for one in pool.launches if self._new(one.claim, one.created, snapshot.now)]
        for at, one in sorted(events, key=lambda two: two[0]):
            if isinstance(one, Launch):
                self._launched(one, at)
            else:
                self._refused(one, at)
        self._wait(snapshot)
        self._seen = {key: at for key, at in self._seen.items() if snapshot.now - at < _FORGOTTEN_S}
        if len(self.spans) > MOST_OUTAGES:
            raise ConfigError(f"found more than {MOST_OUTAGES:,} shortages; allowed: a shorter time (--from, --until)")

    def ended(self) -> list[Span]:
        """All outages; those that still last end with Karpenter's cache."""
        return sorted((*self.spans, *(Span(what, one.start, one.end) for what, one in self._open.items())), key=_begin)

    def _new(self, claim: str, stamp: float, now: float) -> bool:
        """Whether no snapshot had this of a NodeClaim before. The cluster's stamp identifies it: our clock may have been set meanwhile."""
        known = (claim, stamp) in self._seen
        self._seen[claim, stamp] = now
        return not known

    def _refused(self, refusal: Refusal, at: float) -> None:
        if reason := _unplayed(refusal):
            self.unplayed[reason] += 1
            return
        for what in _about(refusal):
            self.zones.update([what.zone] if what.zone else [])
            one = self._open.setdefault(what, _Open(at, at, at))
            if at - one.until > ICE_WINDOW_S:
                self._end(what, one.end)
                one = self._open[what] = _Open(at, at, at)
            one.refused_at, one.until = max(one.refused_at, at), max(one.until, at)

    def _launched(self, launch: Launch, at: float) -> None:
        self.zones.update([launch.zone] if launch.zone else [])
        for what, one in list(self._open.items()):
            same = what.instance_type == launch.instance_type and what.zone in {"", launch.zone}
            if same and what.capacity_type in {"", launch.capacity_type} and at > one.refused_at:
                self._end(what, min(at, one.end))

    def _wait(self, snapshot: Snapshot) -> None:
        """Prolongs the outages of types for which pods wait, and ends those of which nothing has been heard for long."""
        waits = {name for unit in snapshot.application.units if snapshot.units[unit.name].pending for name in _types(unit, snapshot)}
        for what, one in list(self._open.items()):
            if snapshot.now - one.refused_at > _FORGOTTEN_S:
                self._end(what, one.end)
            elif what.instance_type in waits and snapshot.now - one.refused_at <= _HELD_S:
                one.until = max(one.until, snapshot.now)

    def _end(self, what: Refused, end: float) -> None:
        self.spans.append(Span(what, self._open.pop(what).start, end))


def outages(spans: Iterable[Span], begin: float, end: float, aliases: Mapping[str, Mapping[str, tuple[str, ...]]]) -> tuple[Outage, ...]:
    """The outages of a stretch, in seconds from its begin.

    Args:
        spans: The outages of the recording.
        begin: Where the stretch begins, seconds since the Unix epoch.
        end: Where it ends.
        aliases: By instance type and zone: the zones of the simulated region that stand for it.
    """
    return tuple(
        Outage(max(0.0, one.start - begin), min(one.end, end) - begin, _shortage(one.what, aliases))
        for one in spans
        if one.start < end and one.end > begin
    )


def out_s(spans: Iterable[Span]) -> dict[str, float]:
    """By instance type: the time in which at least one of its offerings was refused, seconds."""
    found: dict[str, float] = {}
    until: dict[str, float] = {}
    for one in sorted(spans, key=_begin):
        name = one.what.instance_type
        since = max(one.start, until.get(name, one.start))
        found[name] = found.get(name, 0.0) + max(0.0, one.end - since)
        until[name] = max(one.end, since)
    return found


def _begin(span: Span) -> tuple[float, Refused]:
    return span.start, span.what


def _pools(snapshot: Snapshot) -> Iterator[PoolObservation]:
    for observed in snapshot.units.values():
        yield observed.pool
        yield from observed.alternatives


def _types(unit: Unit, snapshot: Snapshot) -> tuple[str, ...]:
    return allowed_offerings(unit, snapshot.units[unit.name]).instance_types


def _unplayed(refusal: Refusal) -> str:
    """Why no outage is made of a refusal; "" where one is."""
    if refusal.source == "interrupted":
        return "spot interruptions"
    if refusal.source not in _ASKED or refusal.cause not in _CODES:
        return "launches that failed for another reason than capacity, quota or addresses"
    return "" if _about(refusal) else "refusals that name no instance type"


def _about(refusal: Refusal) -> tuple[Refused, ...]:
    kinds = refusal.open_capacity_types
    kind, code = kinds[0] if len(kinds) == 1 else "", _CODES[refusal.cause]
    pairs = refusal.offerings or (((refusal.named_type, refusal.named_zone),) if refusal.named_type else ())
    if not pairs and refusal.cause is not Cause.CAPACITY:  # a quota and a subnet concern everything that the launch asked for
        pairs = tuple((one, "") for one in refusal.instance_types)
    return tuple(Refused(instance_type, zone, kind, code) for instance_type, zone in pairs)


def _shortage(what: Refused, aliases: Mapping[str, Mapping[str, tuple[str, ...]]]) -> Shortage:
    zones = aliases.get(what.instance_type, {}).get(what.zone, (what.zone,)) if what.zone else ()
    return Shortage((what.instance_type,), zones, what.code, (what.capacity_type,) if what.capacity_type else ())
