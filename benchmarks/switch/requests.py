"""The results of a run's requests. Pure.

A failed request counts for a crashed pod if it was sent to that pod's address and ended after the crash. All other failures in an
application whose mode the controller changes count for the controller, however long after a mode change. Applications without mode
changes show the cost of pods that come and go.
"""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from benchmarks.switch.drivers import Death, Order
from failover_harness.dataplane.load import Record

_AFTER_S: Final = 60.0  # failures within this time after a naive mode change belong to it
_OWN: Final = frozenset({503})  # the load balancer's own answer, without a target


@dataclass(frozen=True, slots=True)
class Outcome:
    """An application's requests.

    Attributes:
        requests: Number of requests.
        failed: Requests without the answer 200.
        by_death: Failed requests to a crashed pod.
        in_flight: Unexplained failed requests that were in flight when a rule changed.
        kinds: Failed requests by the client's error.
        failures: When each unexplained failed request was sent and ended, seconds since the Unix epoch.
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
        """Failed requests that no crash explains."""
        return self.failed - self.by_death


@dataclass(frozen=True, slots=True)
class Window:
    """The cost of a naive mode change.

    Attributes:
        at: When it was requested, seconds since the Unix epoch.
        direction: The new mode.
        failed: Failed requests.
        first_s: From the patch to the first failed request's end, seconds.
        length_s: From the first 503 to the last, seconds; 0 if there were none.
        cut: Requests that were cut after they had reached a target.
    """

    at: float
    direction: str
    failed: int
    first_s: float
    length_s: float
    cut: int


def outcomes(records: Iterable[Record], deaths: Sequence[Death], modified: Mapping[str, Sequence[float]]) -> dict[str, Outcome]:
    """The outcomes by application.

    Args:
        records: All requests.
        deaths: Crashed pods.
        modified: Times of the live rule's changes by application.
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
    """The costs of an application's naive mode changes.

    Args:
        orders: All requested mode changes.
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
