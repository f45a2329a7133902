"""What a recording says of the requests that were served and of the dollars that it cost, without any simulation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from controller.policy.account import counts, fresh_s, placed, total_demand
from controller.policy.model import Sample, Snapshot
from failover_analysis.simulation.figures import NOTHING, Figures, added

_KNOWN: Final = 0.99
"""Share of the time for which a figure must be known to be said."""
_HOUR_S: Final = 3600.0


@dataclass(slots=True)
class RecordedService:
    """Adds up the lines of a stretch. Each line counts until the next one.

    A request failed where the load balancer or a target answered 5xx, whatever the cause. It came late where its unit's mean latency was
    over the unit's limit. Dollars are those of the replicas that have a node.
    """

    _figures: Figures = NOTHING
    _seconds: float = 0.0
    _errors_s: float = 0.0  # time in which the error ratio was known
    _latency_s: float = 0.0
    _replicas_s: float = 0.0
    _last: Snapshot | None = None

    @property
    def figures(self) -> Figures:
        """The sums."""
        return self._figures

    @property
    def answers_known(self) -> bool:
        """Whether errors and latency are known for nearly all of the time."""
        return self._seconds > 0 and min(self._errors_s, self._latency_s) >= _KNOWN * self._seconds

    @property
    def dollars_known(self) -> bool:
        """Whether the replicas are known for nearly all of the time."""
        return self._seconds > 0 and self._replicas_s >= _KNOWN * self._seconds

    def add(self, snapshot: Snapshot, longest_s: float) -> None:
        """Adds the time since the last line, and remembers this one.

        Args:
            snapshot: The line's, with known demand.
            longest_s: The longest time that a line counts, seconds.
        """
        last, self._last = self._last, snapshot
        if last is not None:
            self._book(last, min(snapshot.now - last.now, longest_s))

    def _book(self, snapshot: Snapshot, seconds: float) -> None:
        period_s = snapshot.application.metric_period_s
        demand = (total_demand(snapshot) or 0.0) * seconds / period_s
        ratio = _fresh(snapshot.error_ratio, snapshot)
        slow = _slow(snapshot)
        failed = demand * (ratio or 0.0)
        late = min((slow or 0.0) * seconds / period_s, demand - failed)
        self._seconds += seconds
        self._errors_s += seconds if ratio is not None else 0.0
        self._latency_s += seconds if slow is not None else 0.0
        observed = snapshot.units.values()
        self._replicas_s += seconds if all(one.desired is not None or one.ready is not None for one in observed) else 0.0
        hourly = sum(unit.price_per_hour * placed(snapshot.units[unit.name]) for unit in snapshot.application.units)
        exposed_s = seconds if failed or late else 0.0
        self._figures = added((self._figures, Figures(demand, failed, late, exposed_s, hourly * seconds / _HOUR_S)))


def _fresh(sample: Sample | None, snapshot: Snapshot) -> float | None:
    """A share that was measured recently; None where none was."""
    if sample is None or abs(snapshot.now - sample.at) > fresh_s(snapshot.application.metric_period_s) or not 0 <= sample.value <= 1:
        return None
    return sample.value


def _slow(snapshot: Snapshot) -> float | None:
    """Requests per metric period of units over their latency limit; None where the latency of a unit that serves is unknown."""
    slow = 0.0
    for unit in snapshot.application.units:
        observed = snapshot.units[unit.name]
        demand, latency = observed.demand, observed.latency
        if demand is None or not counts(snapshot, demand) or not demand.value:
            continue
        if latency is None or abs(snapshot.now - latency.at) > fresh_s(snapshot.application.metric_period_s):
            return None
        slow += demand.value if latency.value > unit.latency_limit_s else 0.0
    return slow
