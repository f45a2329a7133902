"""The backend on the processor: for tests, for laptops, and where no accelerator is left."""

import os
from pathlib import Path
from typing import Any, ClassVar

from failover_model_server.backends.base import Loaded
from failover_model_server.backends.torch_backend import TorchBackend
from failover_model_server.processors import processors
from failover_model_server.tasks.base import Task


class CpuBackend(TorchBackend):
    """Eager torch on the processor, with as many threads as the container may use."""

    name = "cpu"
    device_type: ClassVar[str] = "cpu"

    def load(self, model: Path, task: Task[Any, Any]) -> Loaded:
        """Set the threads, then load.

        torch counts the node's processors. With more threads than the container's CPU limit the kernel stops all of them for most of each
        period.
        """
        if "OMP_NUM_THREADS" not in os.environ:
            import torch

            torch.set_num_threads(min(processors(), torch.get_num_threads()))
        return super().load(model, task)
