"""``python -m failover_analysis.fuzz``: many random worlds, and the seeds of those in which the controller was wrong."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

from failover_analysis.fuzz.judge import judge


def main(arguments: list[str] | None = None) -> int:
    """Plays the worlds; 1 where any of them was judged wrongly."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--processes", type=int, default=1)
    asked = parser.parse_args(arguments)
    with ProcessPoolExecutor(asked.processes) as pool:
        verdicts = list(pool.map(judge, range(asked.first, asked.first + asked.worlds), chunksize=10))
    false = [one for one in verdicts if one.false]
    missed = [one for one in verdicts if one.missed]
    moved = [one for one in verdicts if one.failover_at is not None]
    kinds = Counter(words.split(": ")[1] for one in moved for words in one.proofs)
    short = sum(bool(one.short) for one in verdicts)
    said = (
        f"{len(verdicts)} worlds, {short} with a unit that was short, {len(moved)} failovers, proofs {dict(kinds)}",
        f"failovers without a short unit: {len(false)} {[(one.seed, one.failover_at, one.proofs) for one in false][:20]}",
        f"shortages that were missed: {len(missed)} {[(one.seed, one.missed) for one in missed][:20]}",
    )
    sys.stdout.write("\n".join((*said, "")))
    return 1 if false or missed else 0


if __name__ == "__main__":
    sys.exit(main())
