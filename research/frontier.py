"""What strategy *planned* costs where as many requests are late as with the cheapest fleet of others, all on demand.

``python -m research.frontier`` prints the table in some minutes of a core; ``--write`` puts it into docs/laboratory/policy-evaluation.md.
*Planned* runs with units at zero, and a family may be lost for a cold start. Its application file says less than a replica carries, by each
headroom of `HEADROOMS`; a priority list is filled to each target of `TARGETS`. Between two neighbours the bill is a straight line: some of
the days with one, the others with the other.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

from rich.console import Console
from rich.table import Table

from benchmarks.markdown import markdown, put
from controller.catalog.loader import load_application_file
from controller.policy.model import Application
from research.fleets import DOCS, FLEETS, IN_TIME, ROOT, Played, World, known_loads, ours, played, priority_list, worlds

LEVELS: Final = (0.005, 0.01, 0.03)
"""Shares of the requests that may be late."""

HEADROOMS: Final = (0.0, 0.15, 0.3, 0.5, 0.8)
"""By how much a replica carries more than the application file says."""

TARGETS: Final = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Shares of its throughput that a priority list is filled to."""

_BEGIN: Final = "<!-- frontier: written by `python -m research.frontier --write` -->"
_END: Final = "<!-- end of frontier -->"
_LIST: Final = "priority list"
_OTHERS: Final = ("Mélange hourly", "two-mode, headroom", "adaptive", "none", "sample")


def cheapest(points: Sequence[Played], late: float) -> float | None:
    """The lowest bill with at most a share of late requests; None where all have more of them.

    Args:
        points: What one fleet cost, the earliest with the fewest late requests.
        late: The share, 0 to 1.
    """
    found = [one.bill for one in points if one.late <= late]
    for few, many in pairwise(points):
        if few.late <= late < many.late:
            found.append(few.bill + (many.bill - few.bill) * (late - few.late) / (many.late - few.late))
    return min(found, default=None)


def rivals(application: Application, in_world: World) -> dict[str, list[Played]]:
    """What each of the other fleets costs, by name; a priority list with each of its targets."""
    found = {name: [played(application, FLEETS[name], in_world)] for name in _OTHERS}
    return {_LIST: [played(application, priority_list(target), in_world) for target in TARGETS], **found}


def _cell(own: float | None, others: Mapping[str, float]) -> str:
    who = min(others, key=lambda name: others[name], default="")
    return f"{'none' if own is None else f'{own:.2f}'} / {f'{others[who]:.2f} ({who})' if who else 'none'}"


def table(application: Application, loads: Sequence[str]) -> Table:
    """Both bills on each load, with and without outages.

    Args:
        application: The application.
        loads: Names of loads.
    """
    columns = [f"{level:.1%} late" for level in LEVELS]
    found = Table("load", *columns, title="Planned / the cheapest other: bill ÷ the cheapest whole replicas for the demand of each moment")
    for load, one in worlds(application, loads):
        own = [played(application, ours(IN_TIME, at_zero=True, headroom=more), one) for more in reversed(HEADROOMS)]
        others = rivals(application, one)
        cells = [
            _cell(cheapest(own, level), {name: bill for name, of in others.items() if (bill := cheapest(of, level)) is not None})
            for level in LEVELS
        ]
        found.add_row(load, *cells)
    return found


def main() -> int:
    """Prints the table.

    Returns:
        The exit code.
    """
    known = known_loads()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loads", nargs="*", choices=known, default=known)
    parser.add_argument("--write", action="store_true", help="puts the table into the documentation")
    wanted = parser.parse_args()
    (application,) = load_application_file(ROOT / "config" / "sd21.yaml")
    made = table(application, wanted.loads)
    Console(width=160).print(made)
    if wanted.write:
        put(DOCS, _BEGIN, _END, [markdown(made)])
    return 0


if __name__ == "__main__":
    sys.exit(main())
