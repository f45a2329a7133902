"""The backend on the processor: for tests, for laptops, and where no accelerator is left."""

import ctypes
import os
from pathlib import Path
from typing import Any, ClassVar, Final

from failover_model_server.backends.base import Loaded
from failover_model_server.backends.torch_backend import TorchBackend
from failover_model_server.processors import processors
from failover_model_server.tasks.base import Task

OWN_MAPPING: Final = 2 * 1024 * 1024
"""Bytes from which on each tensor has pages of its own, which go back to the system with it. glibc begins with 128 KiB and follows what is
freed, up to 32 MiB: batches of ever different lengths then leave holes that fit no other, of 100 MiB and more. At 128 KiB new pages take a
tenth of the time; at 2 MiB no loss was measured (docs/benchmarks.md, "Beside LitServe")."""
_M_MMAP_THRESHOLD: Final = -3  # glibc's malloc.h


class CpuBackend(TorchBackend):
    """Eager torch on the processor, with as many threads as the container may use."""

    name = "cpu"
    device_type: ClassVar[str] = "cpu"

    def load(self, model: Path, task: Task[Any, Any]) -> Loaded:
        """Set threads and memory, then load.

        torch counts the node's processors. With more threads than the container's CPU limit the kernel stops all of them for most of each
        period.
        """
        give_back(OWN_MAPPING)
        if "OMP_NUM_THREADS" not in os.environ:
            import torch

            torch.set_num_threads(min(processors(), torch.get_num_threads()))
        return super().load(model, task)


def give_back(size: int) -> None:
    """Make memory of this many bytes and more go back to the system when it is freed; where the C library is not glibc, nothing changes.

    What the environment says (`MALLOC_MMAP_THRESHOLD_`) counts more.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None and "MALLOC_MMAP_THRESHOLD_" not in os.environ:
        set_option(_M_MMAP_THRESHOLD, size)
