"""Mode changes under load: real requests through a real proxy to real pods, while the production controller changes modes.

See docs/laboratory/benchmarks.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.switch import report
from benchmarks.switch.plan import FULL, QUICK
from benchmarks.switch.run import run
from failover_harness.dataplane.envoy import NotThereError, binary


def main() -> int:
    """Runs the benchmark and writes the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a minute and a half, for CI; writes no docs")
    parser.add_argument("--keep", type=Path, help="folder for logs and records; by default they are deleted")
    options = parser.parse_args()
    try:
        binary()
    except NotThereError as error:
        print(f"cannot run here: {error}", file=sys.stderr)
        return 2
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="failoverctl-bench-") as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        result = run(QUICK if options.quick else FULL, folder, begun)
    machine = {"cores": len(os.sched_getaffinity(0)), "python": platform.python_version()}
    made = report.document(result, machine, time.monotonic() - begun)
    report.write(made, docs=not options.quick)
    return report.verdict(made)


if __name__ == "__main__":
    sys.exit(main())
