"""What the backends with a pipeline share: whatever places it, it is run and let go alike."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from failover_model_server.backends.base import Backend
from failover_model_server.run import Run
from failover_model_server.settings import Settings
from failover_model_server.tasks.base import Item

if TYPE_CHECKING:
    from failover_model_server.pipelines.base import Pipeline


class PipelineBackend(Backend):
    """Runs the pipeline that its `load` has set."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.pipeline: Pipeline | None = None

    def run(self, items: Sequence[Item], run: Run) -> Sequence[object]:
        """Run the task's pipeline."""
        if self.pipeline is None:
            raise RuntimeError("run before load")
        return self.pipeline.run(items, run)

    def close(self) -> None:
        """Let weights or artifacts go."""
        self.pipeline = None
