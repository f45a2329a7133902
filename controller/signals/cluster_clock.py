"""The cluster's clock beside ours: by how much they differ, learned from the stamps of what the watches deliver.

Stamps of objects and events are compared with each other, and with the time that it is by the clock that wrote them. Only what leaves the
views is translated into our time. The API server's, the scheduler's and Karpenter's clocks count as one. They are learned from the stamps
of the API server alone: a component that reports an event stamps it with its own clock, and this controller reports some as well.

A stamp that a watch delivers as it happens is as old as the delivery took. Where the last few are older than a delivery takes, and about
equally old, our clock is ahead: what connections that hung deliver one after the other is the older, the later it comes. Where most lie in
the future, it is behind. A list only says that the cluster's clock is no earlier than its freshest stamp. A step of our own clock shows
against the monotonic one. What is known of a clock that is ahead stays known while deliveries come late, each by another time: only one
that is younger than that disproves it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from statistics import median
from typing import Final

from controller.clock import Clock, Steps
from controller.policy.model import PoolObservation, Refusal, Sample

_KEPT: Final = 5
_ENOUGH: Final = 3  # before that a late delivery may be most of what is known
_LATE_S: Final = 30.0  # how late a delivery may be: below it nobody can tell lateness from a clock that is behind
_TOGETHER_S: Final = 5.0  # what comes within this time may have waited for the same connection
_ROUNDED_S: Final = 2.0  # stamps are whole seconds, and nothing is delivered before it happens


class ClusterClock:
    """Not thread-safe: `ClusterView` locks.

    Args:
        clock: Ours.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._steps = Steps(clock)
        self._lags: deque[float] = deque(maxlen=_KEPT)
        self._freshest: deque[tuple[float, float]] = deque(maxlen=_KEPT)  # when a group of deliveries began, monotonic; the age of one
        self._ahead = 0.0  # what the freshest stamp of a list proves, 0 or below
        self._known = 0.0  # how far ahead ours is known to be, until something disproves it; 0: it is not

    @property
    def skew_s(self) -> float:
        """How far our clock is ahead of the cluster's, seconds; negative where it is behind, 0 where no difference shows."""
        self._follow()
        return self._known or self._behind()

    def _behind(self) -> float:
        """How far our clock is behind the cluster's, as a number below 0; 0 where it is not."""
        middle = median(self._lags) if len(self._lags) >= _ENOUGH else min((self._ahead, *self._lags))
        return middle if middle < -_ROUNDED_S else 0.0

    def now(self) -> float:
        """What time it is by the cluster's clock, seconds since the Unix epoch."""
        return self._clock.now() - self.skew_s

    def delivered(self, stamp: float | None, *, listed: bool = False) -> None:
        """Learns from the stamp of something that was just delivered for the first time.

        Args:
            stamp: When it happened by the cluster's clock; None: it does not say.
            listed: Whether it was in a list, and so may have happened long ago.
        """
        if stamp is None:
            return
        self._follow()
        lag = self._clock.now() - stamp
        if not listed:
            self._take(lag)
        elif lag < self._ahead:
            self._ahead = lag
        if lag < self._known - _ROUNDED_S:  # nothing is delivered before it happens
            self._set_known(lag)

    def _take(self, lag: float) -> None:
        """Takes how old a delivery is. Of those that come together the freshest is kept, too: a connection that hung delivers many late."""
        now = self._clock.monotonic()
        self._lags.append(lag)
        if self._freshest and now - self._freshest[-1][0] < _TOGETHER_S:
            at, freshest = self._freshest[-1]
            self._freshest[-1] = at, min(freshest, lag)
        else:
            self._freshest.append((now, lag))
        groups = sorted(self._freshest, key=lambda group: group[1])[:_ENOUGH]
        if len(groups) == _ENOUGH and _equally_old(groups) and not 0 < groups[0][1] - self._known < _LATE_S:
            self._set_known(groups[0][1])

    def _set_known(self, ahead_s: float) -> None:
        """Keeps by how much our clock is ahead; less than deliveries may be late is not known."""
        self._known = ahead_s if ahead_s > _LATE_S else 0.0

    def _follow(self) -> None:
        """Follows a step of our own clock: the cluster's has made none."""
        stepped = self._steps.taken()
        if stepped:
            self._set_known((self._known or self._behind()) + stepped)
            self._lags = _moved(self._lags, stepped)
            self._freshest = deque(((at, lag + stepped) for at, lag in self._freshest), maxlen=_KEPT)
            self._ahead = min(0.0, self._ahead + stepped)


def _equally_old(groups: Sequence[tuple[float, float]]) -> bool:
    """Whether deliveries, sorted by their age, differ by less than what waits for one connection, or at least grow no older with time."""
    spread, times = groups[-1][1] - groups[0][1], [at for at, _ in groups]
    return spread < _TOGETHER_S or (spread < _LATE_S and 2 * spread <= max(times) - min(times))


def _moved(lags: deque[float], stepped: float) -> deque[float]:
    """The ages of deliveries by a clock that was set. Where too few are known to tell, the clocks agreed before."""
    return deque((lag + stepped for lag in (*(0.0,) * (_ENOUGH - len(lags)), *lags)), maxlen=_KEPT)


def pool_by_our_clock(pool: PoolObservation, skew_s: float) -> PoolObservation:
    """What is known of a NodePool, with all times by our clock but the stamps that are compared with each other.

    Args:
        pool: By the cluster's clock.
        skew_s: How far ours is ahead of it, seconds.
    """
    launches = (
        replace(
            one,
            launched=one.launched + skew_s,
            registered=shifted(one.registered, skew_s),
            initialized=shifted(one.initialized, skew_s),
            asked_at=shifted(one.asked_at, skew_s),
            unjoined_at=shifted(one.unjoined_at, skew_s),
        )
        for one in pool.launches
    )
    refusals, elsewhere = (tuple(_refusal_by_our_clock(one, skew_s) for one in some) for some in (pool.failures, pool.elsewhere))
    return replace(pool, failures=refusals, elsewhere=elsewhere, launches=tuple(launches), blocked_at=shifted(pool.blocked_at, skew_s))


def by_our_clock(sample: Sample | None, skew_s: float) -> Sample | None:
    """A value of CloudWatch, whose times are the cluster's, with its time by our clock.

    Args:
        sample: By the cluster's clock; None stays None.
        skew_s: How far ours is ahead of it, seconds.
    """
    return sample if sample is None or not skew_s else replace(sample, at=sample.at + skew_s)


def _refusal_by_our_clock(refusal: Refusal, skew_s: float) -> Refusal:
    return replace(
        refusal,
        at=refusal.at + skew_s,
        seen=refusal.seen + skew_s,
        stamp=refusal.at if refusal.stamp is None else refusal.stamp,
        stood_until=shifted(refusal.stood_until, skew_s),
    )


def shifted(at: float | None, seconds: float) -> float | None:
    """A time that may be unknown, moved."""
    return None if at is None else at + seconds
