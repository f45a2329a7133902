"""How many processors this container may use."""

import os
from pathlib import Path

CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def processors() -> int:
    """Those that the process may run on, and no more than the container's CPU limit amounts to."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(here, _limit(CGROUP_QUOTA) or here)


def _limit(quota: Path) -> int | None:
    """Processors that the container's CPU limit amounts to, at least 1; None without a limit.

    The file is cgroup v2's: "quota period" in microseconds, or "max period".
    """
    try:
        most, period = quota.read_text().split()
        return None if most == "max" else max(1, int(most) // int(period))
    except (OSError, ValueError, ZeroDivisionError):
        return None
