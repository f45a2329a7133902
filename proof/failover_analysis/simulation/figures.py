"""What a policy is worth, in five figures: requests, those that failed or came late, exposed time, dollars."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from failover_analysis.simulation.recording import Result


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of one run, or of one stretch of a recording.

    Attributes:
        demand: All requests.
        failed: Requests without an answer.
        late: Answers over their unit's latency limit, in requests.
        exposed_s: Time in which requests failed or came late, seconds.
        dollars: Cost of the instances, US dollars.
    """

    demand: float
    failed: float
    late: float
    exposed_s: float
    dollars: float

    @property
    def bad(self) -> float:
        """Requests that failed or came late."""
        return self.failed + self.late

    @property
    def in_time(self) -> float:
        """Share of the requests that were answered in time, 0 to 1; 1 where there were none."""
        return 1 - self.bad / self.demand if self.demand else 1.0


NOTHING: Final = Figures(0.0, 0.0, 0.0, 0.0, 0.0)
"""The figures of no time at all."""


def figures(result: Result) -> Figures:
    """The figures of a run.

    Raises:
        ValueError: The run was not measured.
    """
    flow, measured = result.totals.flow, result.measured
    if measured is None:
        raise ValueError("figures need a run that was measured")
    values = (flow.demand, flow.lost, measured.late, measured.exposed_s, result.totals.dollars)
    return Figures(*(round(value, 3) for value in values))


def added(parts: Iterable[Figures]) -> Figures:
    """The sums of several stretches."""
    every = tuple(parts)
    return Figures(*(sum(getattr(one, name) for one in every) for name in ("demand", "failed", "late", "exposed_s", "dollars")))
