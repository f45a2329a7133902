"""``python -m tests.fuzz --seconds 60``: runs every target for that long, and fails where one raised what it may not."""

from __future__ import annotations

import argparse
import sys
import time

from tests.fuzz.run import fuzz
from tests.fuzz.targets import TARGETS


def main() -> int:
    """Prints one line for each target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="time for each target")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="repeats a run")
    parser.add_argument("targets", nargs="*", help="names of targets; none: all")
    options = parser.parse_args()
    failed = False
    sys.stdout.write(f"seed {options.seed}\n")
    for name in options.targets or TARGETS:
        found = fuzz(name, seed=options.seed, seconds=options.seconds)
        sys.stdout.write(f"{name:<28} {found.executions:>9,} executions, {found.refused:>9,} refused, {len(found.errors)} errors\n")
        sys.stdout.flush()
        for error, raw in found.errors.items():
            failed = True
            sys.stdout.write(f"  {error}\n  input: {raw[:2000]!r}\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
