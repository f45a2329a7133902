"""What became of the requests of a run. Pure.

Whose fault a failed request is: that of a pod that vanished, if it was sent to that pod's address and ended after the pod did; else, in an
application that our controller switches, ours, however long after a switch. What the same pods' coming and going costs without any
switch is seen on the applications that nobody switches.
"""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from benchmarks.switch.drivers import Death, Order
from failover_harness.dataplane.load import Record

_AFTER_S: Final = 60.0  # after a naive switch, within which failures belong to it
_OWN: Final = frozenset({503})  # the load balancer's own answer, for which no target was chosen


@dataclass(frozen=True, slots=True)
class Outcome:
    """One application's requests.

    Attributes:
        requests: How many were sent.
        failed: How many were not answered with 200.
        by_death: Of those, how many had been sent to a pod that had vanished.
        in_flight: Of the failed ones that no death explains: those that were in flight when a rule changed.
        kinds: Failed requests by what the client saw.
        failures: When each failed one that no death explains was sent and ended, seconds since the Unix epoch.
        units: Answered requests by deployment unit.
    """

    requests: int = 0
    failed: int = 0
    by_death: int = 0
    in_flight: int = 0
    kinds: Mapping[str, int] = field(default_factory=dict)
    failures: tuple[tuple[float, float], ...] = ()
    units: Mapping[str, int] = field(default_factory=dict)

    @property
    def unexplained(self) -> int:
        """Failed requests that no pod's death explains."""
        return self.failed - self.by_death


@dataclass(frozen=True, slots=True)
class Window:
    """What one naive switch cost.

    Attributes:
        at: When it was asked for, seconds since the Unix epoch.
        direction: To which mode.
        failed: Requests.
        first_s: From the patch to the first failed request's end, seconds.
        length_s: From the first 503 to the last, seconds; 0 where there were none.
        cut: Requests that had reached a target and were cut.
    """

    at: float
    direction: str
    failed: int
    first_s: float
    length_s: float
    cut: int


def outcomes(records: Iterable[Record], deaths: Sequence[Death], modified: Mapping[str, Sequence[float]]) -> dict[str, Outcome]:
    """Sums up by application.

    Args:
        records: All requests.
        deaths: Pods that vanished.
        modified: When the live rule changed, by application.
    """
    streams: dict[str, list[Record]] = {}
    for record in records:
        streams.setdefault(record.stream, []).append(record)
    died = {(death.key, death.address): death.at for death in deaths}
    return {key: _outcome(found, died, sorted(modified.get(key, ()))) for key, found in streams.items()}


def _outcome(records: Sequence[Record], died: Mapping[tuple[str, str], float], modified: Sequence[float]) -> Outcome:
    failed = [record for record in records if record.failed]
    explained = [record for record in failed if _dead(record, died)]
    others = [record for record in failed if not _dead(record, died)]
    return Outcome(
        requests=len(records),
        failed=len(failed),
        by_death=len(explained),
        in_flight=sum(_crossed(record, modified) for record in others),
        kinds=dict(Counter(_kind(record) for record in failed)),
        failures=tuple((record.start, record.end) for record in others),
        units=dict(Counter(record.unit for record in records if not record.failed)),
    )


def _dead(record: Record, died: Mapping[tuple[str, str], float]) -> bool:
    at = died.get((record.stream, record.target.partition(":")[0]))
    return at is not None and record.end >= at


def _crossed(record: Record, modified: Sequence[float]) -> bool:
    """Whether a rule changed while the request was in flight."""
    return bisect.bisect_left(modified, record.start) < bisect.bisect_right(modified, record.end)


def _kind(record: Record) -> str:
    return str(record.status) if record.status else record.error.partition(":")[0]


def windows(orders: Sequence[Order], key: str, records: Iterable[Record]) -> list[Window]:
    """What each naive switch of an application cost.

    Args:
        orders: All switches that were asked for.
        key: ``namespace/ingress``.
        records: All requests.
    """
    mine = sorted((order for order in orders if order.key == key), key=lambda order: order.at)
    failed = sorted((record for record in records if record.stream == key and record.failed), key=lambda record: record.end)
    found = []
    for index, order in enumerate(mine):
        end = mine[index + 1].at if index + 1 < len(mine) else order.at + _AFTER_S
        these = [record for record in failed if order.at <= record.end < end]
        refused = [record.end for record in these if record.status in _OWN]
        length = refused[-1] - refused[0] if refused else 0.0
        first = these[0].end - order.at if these else 0.0
        found.append(Window(order.at, str(order.mode), len(these), first, length, len(these) - len(refused)))
    return found
