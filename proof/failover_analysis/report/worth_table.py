"""The table of what a policy is worth: what people call its rows, and how its cells are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Final

from failover_analysis.simulation.figures import Figures

ROWS: Final[Mapping[str, str]] = {
    "none": "Nothing installed: fixed weights, KEDA",
    "sample": "The AWS sample's checker",
    "priority-list": "A priority list of instance types",
}
"""By policy: its row where the controller is not installed."""

HEADINGS: Final = ("served in time", "late or failed", "exposed minutes", "$")
"""The columns of the table."""


def cells(runs: Sequence[Figures]) -> tuple[str, ...]:
    """The cells of a row in the order of `HEADINGS`: the median of each figure over the seeds.

    Args:
        runs: The runs of one policy, one for each seed; at least one.
    """
    share, bad = 100 * median(one.in_time for one in runs), median(one.bad for one in runs)
    minutes, dollars = median(one.exposed_s / 60 for one in runs), median(one.dollars for one in runs)
    return f"{share:.2f} %", f"{bad:,.0f}", f"{minutes:.0f}", f"{dollars:,.0f}"
