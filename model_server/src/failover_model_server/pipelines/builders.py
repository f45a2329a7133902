"""Which pipeline runs which task."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from failover_model_server.errors import LoadError
from failover_model_server.pipelines import diffusion, encoders
from failover_model_server.pipelines.base import Pipeline, Placement
from failover_model_server.tasks.base import Task

BUILDERS: dict[str, Callable[[Path, Placement, Task[Any, Any]], Pipeline]] = {
    "image-classification": encoders.image_classification,
    "object-detection": encoders.object_detection,
    "text-classification": encoders.text_classification,
    "text-to-image": diffusion.text_to_image,
}


def build(directory: Path, placement: Placement, task: Task[Any, Any]) -> Pipeline:
    """Load the model in a directory and place it.

    Raises:
        LoadError: no pipeline for this task; weights are missing; another kind of model; not enough memory.
    """
    builder = BUILDERS.get(task.name)
    if builder is None:
        raise LoadError(f"task {task.name!r}: torch backends run {', '.join(sorted(BUILDERS))}")
    return builder(directory, placement, task)
