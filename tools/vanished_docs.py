"""Writes the table of docs/laboratory/reliability.md about objects that are gone: ``python -m tools.vanished_docs`` (five minutes)."""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor

from tests.analysis.simulation.vanished import LOSSES, moments, played, table
from tools.generated import replaced
from tools.mutation_score import RELIABILITY


def main() -> int:
    """Writes the table.

    Returns:
        1 where an invariant of the simulation did not hold in a case.
    """
    every = [(gone, moment) for gone in LOSSES for moment in moments()]
    with ProcessPoolExecutor(2) as pool:
        cases = list(pool.map(played, *zip(*every, strict=True)))
    RELIABILITY.write_text(replaced(f"docs/{RELIABILITY.name}", RELIABILITY.read_text(), "vanished", table(cases)))
    broken = [(one.gone, one.moment, one.run.violations) for one in cases if one.run.violations]
    sys.stdout.writelines(f"{gone}, {moment}: {found}\n" for gone, moment, found in broken)
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())
