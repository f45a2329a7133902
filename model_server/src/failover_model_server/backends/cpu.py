"""The backend on the processor: for tests, for laptops, and where no accelerator is left."""

import os
from pathlib import Path
from typing import Any, ClassVar

from failover_model_server.backends.base import Loaded
from failover_model_server.backends.torch_backend import TorchBackend
from failover_model_server.tasks.base import Task

CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")


class CpuBackend(TorchBackend):
    """Eager torch on the processor, with as many threads as the container may use."""

    name = "cpu"
    device_type: ClassVar[str] = "cpu"

    def load(self, model: Path, task: Task[Any, Any]) -> Loaded:
        """Set the threads, then load."""
        threads = allowed_cpus(CGROUP_QUOTA)
        if threads and "OMP_NUM_THREADS" not in os.environ:
            import torch

            torch.set_num_threads(min(threads, torch.get_num_threads()))
        return super().load(model, task)


def allowed_cpus(quota: Path) -> int | None:
    """Processors that the container's CPU limit amounts to, at least 1; None without a limit.

    torch counts the node's processors: with more threads than the limit the kernel stops all of them for most of each period.
    The file is cgroup v2's: "quota period" in microseconds, or "max period".
    """
    try:
        limit, period = quota.read_text().split()
        return None if limit == "max" else max(1, int(limit) // int(period))
    except (OSError, ValueError, ZeroDivisionError):
        return None
