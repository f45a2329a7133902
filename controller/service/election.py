"""Leader election on one Lease as a state machine without I/O, threads or a clock.

The caller asks for the next request (`Election.next`), sends it, and passes in the answer (`Election.answered`). All times are one
process's monotonic seconds: no candidate compares its clock with another's or with the times in the Lease. So the same code runs against
the API server and, in simulated time, in tests of a hundred thousand lease periods.

What keeps two candidates from leading at once:

* A candidate takes over a Lease only after it has seen it unchanged for a whole lease duration of its own clock.
* A holder counts from when it *sent* the accepted renewal, and acts only within a quarter of the lease duration (`Timing.trust_s`). Its
  clock may then run at half the true rate and a candidate's at twice the true rate, and the holder still stops first.
* Every write of the Lease is an update under its resourceVersion, so that only one of several writers wins.
* A missing Lease counts as renewed just now, because its holder may not know yet that it is gone.
* ``leaseTransitions`` grows with every change of the holder. It is the **epoch** that is stored with the state.
* An epoch above `EPOCH_LIMIT` is nobody's count, and no candidate takes it over: the Lease has an int32, after whose largest value no term
  can begin any more. A Lease with such an epoch counts as one that was reset. Its holder, or the next one, writes it with the epoch after
  the last that it knows, and state of a later epoch raises that as it does after the Lease was deleted. State is fenced meanwhile as
  always: each write names the version that was read.
* A duration that no setting allows is nobody's either: it counts as the longest one. Otherwise a number that somebody mistyped would keep
  every candidate from leading for years.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

Object = dict[str, Any]

LONGEST_LEASE_S: Final = 300
"""What a Lease that anyone may have edited is believed at most, seconds: no version wrote a longer one."""

CLOCK_RATIO: Final = 4.0
"""How many times as fast as the holder's clock a candidate's may run: twice the true rate against half of it."""

EFFECT_S: Final = 2.5
"""Deadline of one effect, seconds. It fits, with a renewal before it, into the quarter of the lease duration in which a leader may act."""

EPOCH_LIMIT: Final = 2_000_000_000
"""The latest epoch that counts. No cluster reaches it by its own elections: a controller without election begins with the seconds since
1970, 1.8 thousand million in 2027, and a new leader a second adds 32 million a year. An int32 ends at 2,147,483,647."""

_JITTER: Final = 0.2  # up to a fifth longer, so that replicas do not act in step
_AGAIN: Final = 0.1  # of `Timing.poll_s`: the wait before a retry, so that there is no tight loop


@dataclass(frozen=True, slots=True)
class Timing:
    """The times of an election, seconds.

    Attributes:
        lease_s: How long a candidate must see no renewal before it takes over; written as ``leaseDurationSeconds``.
        renew_s: Between two renewals of the holder.
        poll_s: Between two reads by a candidate. Bounds how soon it notices a released Lease.
    """

    lease_s: float = 15.0
    renew_s: float = 2.0
    poll_s: float = 1.0

    @property
    def trust_s(self) -> float:
        """How long the holder may act after sending an accepted renewal."""
        return self.lease_s / CLOCK_RATIO

    @property
    def give_up_s(self) -> float:
        """How long after its last renewal the holder still calls itself the leader, like client-go's renew deadline."""
        return self.lease_s * 2 / 3


class Verb(StrEnum):
    """A request's verb."""

    GET = "get"
    CREATE = "create"
    UPDATE = "update"


@dataclass(frozen=True, slots=True)
class Request:
    """A request for the Lease.

    Attributes:
        verb: The operation.
        body: The whole Lease to write, with the resourceVersion for an update; None for `Verb.GET`.
    """

    verb: Verb
    body: Object | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """The request succeeded; `lease` is the Lease now."""

    lease: Object


class Missing:
    """There is no Lease."""


class Refused:
    """Another process wrote or created it first."""


class Failed:
    """No usable answer: the write may have taken place or not."""


Answer = Found | Missing | Refused | Failed


@dataclass(frozen=True, slots=True)
class Holding:
    """What an election needs to know of a Lease.

    Attributes:
        holder: Identity of the holder; "" if the Lease was released or never held.
        epoch: ``leaseTransitions``.
        duration_s: ``leaseDurationSeconds``, at most the longest that the settings allow.
    """

    holder: str
    epoch: int
    duration_s: float


def plausible(epoch: int) -> bool:
    """Whether elections can have led to this epoch: otherwise somebody wrote it."""
    return 0 <= epoch <= EPOCH_LIMIT


def holding(lease: Mapping[str, Any]) -> Holding:
    """Reads a Lease. A field that is absent or has a wrong type, or an epoch that is not plausible, counts as absent."""
    spec = lease.get("spec")
    spec = spec if isinstance(spec, dict) else {}
    holder, epoch, duration = spec.get("holderIdentity"), spec.get("leaseTransitions"), spec.get("leaseDurationSeconds")
    return Holding(
        holder if isinstance(holder, str) else "",
        epoch if isinstance(epoch, int) and not isinstance(epoch, bool) and plausible(epoch) else 0,
        float(min(duration, LONGEST_LEASE_S)) if isinstance(duration, int) and not isinstance(duration, bool) and duration > 0 else 0.0,
    )


class Election:
    """One candidate.

    Args:
        identity: The process's identity. No other process ever uses it, not even the same pod after a restart.
        metadata: The Lease's name, namespace and labels, for creating it.
        timing: The times.
        chance: Random numbers for jitter.
        stamp: Returns the wall-clock time as a ``MicroTime`` text, for people only.
    """

    def __init__(self, identity: str, metadata: Mapping[str, Any], timing: Timing, chance: random.Random, stamp: Callable[[], str]) -> None:
        self.identity, self.timing = identity, timing
        self._metadata, self._chance, self._stamp = dict(metadata), chance, stamp
        self._lease: Object | None = None
        self._unchanged_since = 0.0  # since when `_lease`, or its absence, is unchanged
        self._absent = False
        self._fresh = False  # whether `_lease` may be updated without reading it again
        self._due = 0.0
        self._renewed_at: float | None = None
        self._epoch = 0
        self._floor = 0

    # --- state --------------------------------------------------------------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        """The epoch in which this candidate last led; 0 if it never did."""
        return self._epoch

    def leads(self, now: float) -> bool:
        """Whether it holds the Lease as far as it knows. That is enough for deciding and showing, not for acting."""
        return self._renewed_at is not None and now - self._renewed_at < self.timing.give_up_s

    def trusted_s(self, now: float) -> float:
        """For how many seconds of its own clock it certainly still holds the Lease; 0 if it does not."""
        return 0.0 if self._renewed_at is None else max(0.0, self._renewed_at + self.timing.trust_s - now)

    def holder(self) -> str:
        """The holder of the Lease as last seen; "" if there is none."""
        return "" if self._lease is None else holding(self._lease).holder

    def leader(self, now: float) -> str:
        """The holder while its Lease has not run out; "" where there is none."""
        return self.holder() if self._lease is not None and now < self._expires() else ""

    def outrank(self, epoch: int) -> None:
        """Makes the next write of the Lease start a later epoch than `epoch`. State of that epoch exists, so the Lease was reset.

        Does nothing if that epoch is not plausible: it would use up the count for all applications.
        """
        self._floor = max(self._floor, epoch if plausible(epoch) else 0)

    # --- what to send -------------------------------------------------------------------------------------------------------------------

    def next(self, now: float) -> Request | float:
        """The request that is due, or the seconds until one is."""
        if now < self._due:
            return self._due - now
        if self._absent and self._may_create(now):
            return Request(Verb.CREATE, self._written(None))
        if self._lease is not None and self._fresh and self._may_write(now):
            return Request(Verb.UPDATE, self._written(self._lease))
        return Request(Verb.GET)

    def renewal(self) -> Request | None:
        """The request that renews at once; None if the Lease must be read first."""
        if self._lease is None or not self._fresh or holding(self._lease).holder != self.identity:
            return None
        return Request(Verb.UPDATE, self._written(self._lease))

    def release(self) -> Request | None:
        """The request that lets another candidate take over; None if it holds nothing. After it, this epoch may not act."""
        if self._lease is None or holding(self._lease).holder != self.identity:
            return None
        self._renewed_at = None
        spec = {**self._lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": self._stamp()}
        return Request(Verb.UPDATE, {**self._lease, "spec": spec})

    def _may_create(self, now: float) -> bool:
        return self.trusted_s(now) > 0 or now - self._unchanged_since >= self.timing.lease_s

    def _may_write(self, now: float) -> bool:
        return self.holder() in {"", self.identity} or now >= self._expires()

    def _written(self, lease: Object | None) -> Object:
        """The Lease with this candidate as its holder. Labels and annotations of others stay."""
        held = holding(lease or {})
        ours = lease is not None and held.holder == self.identity
        epoch = held.epoch if ours and held.epoch > self._floor else max(self._floor, self._epoch) + 1
        now = self._stamp()
        spec = {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": round(self.timing.lease_s),
            "acquireTime": lease["spec"].get("acquireTime", now) if lease is not None and ours else now,
            "renewTime": now,
            "leaseTransitions": min(epoch, EPOCH_LIMIT),
        }
        base = lease if lease is not None else {"metadata": self._metadata}
        return {**base, "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": spec}

    # --- answers ------------------------------------------------------------------------------------------------------------------------

    def answered(self, request: Request, sent: float, now: float, answer: Answer) -> None:
        """Processes an answer.

        Args:
            request: The request.
            sent: When it was sent. A renewal counts from here, because the server cannot have got it earlier.
            now: When the answer came. What it shows counts from here, because the server cannot have sent it later.
            answer: The answer.
        """
        match answer:
            case Found(lease):
                self._see(lease, now)
                if request.verb is not Verb.GET:
                    self._wrote(lease, sent)
                elif not self._may_write(now):
                    self._due = min(now + self._spread(self.timing.poll_s), max(now, self._expires()))
            case Missing():
                self._miss(now)
            case Refused():
                self._fresh, self._absent, self._due = False, False, now + self._spread(self.timing.poll_s * _AGAIN)
            case Failed():
                # A write may have taken place: read before the next one, and soon, because a renewal may be missing.
                self._fresh, self._due = False, now + self._spread(self.timing.poll_s)

    def _see(self, lease: Object, now: float) -> None:
        if self._lease is None or self._absent or lease.get("spec") != self._lease.get("spec"):
            self._unchanged_since = now
        self._lease, self._absent, self._fresh, self._due = lease, False, True, now
        held = holding(lease)
        if held.holder != self.identity:
            self._renewed_at, self._floor = None, max(self._floor, held.epoch)

    def _wrote(self, lease: Object, sent: float) -> None:
        held = holding(lease)
        ours = held.holder == self.identity  # else it was a release, or the server did not store what it was sent
        if ours:
            self._renewed_at, self._epoch = sent, held.epoch
        self._due = sent + self._spread(self.timing.renew_s if ours else self.timing.poll_s)

    def _miss(self, now: float) -> None:
        """There is no Lease. Its holder creates it again while it may still act; the others wait as if it had just been renewed."""
        if not self._absent:
            self._absent, self._unchanged_since = True, now
        self._fresh = False
        self._due = now + self._spread(self.timing.poll_s * (_AGAIN if self.trusted_s(now) > 0 else 1))

    def _expires(self) -> float:
        assert self._lease is not None  # noqa: S101 - callers have checked
        return self._unchanged_since + max(self.timing.lease_s, holding(self._lease).duration_s)

    def _spread(self, seconds: float) -> float:
        return seconds * (1 + self._chance.random() * _JITTER)
