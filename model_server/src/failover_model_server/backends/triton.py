"""The backend on an NVIDIA GPU with torch.compile: Inductor writes Triton kernels for the shapes that are warmed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import structlog

from failover_model_server.backends.base import Loaded
from failover_model_server.backends.torch_backend import TorchBackend
from failover_model_server.compiled.cache import CompileCache, keep, prepare
from failover_model_server.compiled.key import make_key
from failover_model_server.run import Run
from failover_model_server.tasks.base import Item, Task

MOST_GRAPHS = 128
"""Compilations of one function that torch allows before it gives up: batch buckets times lengths, with room."""

log = structlog.get_logger(__name__)


class TritonBackend(TorchBackend):
    """Compiles the model once for each shape, all of them while warming.

    `dynamic=False`: with dynamic shapes torch compiles a second time at the second size it meets, in the middle of serving. `fullgraph`:
    a graph break is an error, not a silent loss of speed.
    """

    name = "triton"
    device_type: ClassVar[str] = "cuda"
    static_shapes: ClassVar[bool] = True

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.warm_graphs: int | None = None
        self.cache: CompileCache | None = None

    def load(self, model: Path, task: Task[Any, Any]) -> Loaded:
        """Load, then wrap what takes the time; the compilations come with the first runs."""
        loaded = super().load(model, task)
        import torch

        torch._dynamo.config.recompile_limit = MOST_GRAPHS  # noqa: SLF001 - the documented place of this setting
        options: dict[str, Any] = {"backend": self.settings.compile_backend, "fullgraph": True, "dynamic": False}
        if self.settings.compile_backend == "inductor":
            options["mode"] = self.settings.compile_mode
            self.cache = prepare(self.settings, make_key(self.settings, model, task.name, self.device(), loaded.details["dtype"]))
        if self.pipeline is not None:
            self.pipeline.compile(lambda function: torch.compile(function, **options))
        return loaded

    def warmed(self) -> None:
        """Keep what was compiled for the next pod. From here on a compilation is a shape that nobody warmed."""
        self.warm_graphs = graphs()
        if self.cache is not None:
            keep(self.settings, self.cache)

    def run(self, items: Sequence[Item], run: Run) -> Sequence[object]:
        """Run; say so if it had to compile."""
        outputs = super().run(items, run)
        if self.warm_graphs is not None and (now := graphs()) > self.warm_graphs:
            log.warning("compiled after warming", compilations=now - self.warm_graphs, items=len(items), key=str(items[0].key))
            self.warm_graphs = now
        return outputs


def graphs() -> int:
    """Graphs that torch.compile has made in this process."""
    from torch._dynamo.utils import counters

    return int(counters["stats"]["unique_graphs"])
