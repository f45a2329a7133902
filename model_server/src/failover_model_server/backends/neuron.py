"""The backend on Inferentia2 and Trainium, through optimum-neuron: it runs what was compiled elsewhere.

Kept thin: optimum-neuron's models are called like those of transformers and diffusers, so that the same pipelines run them.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from failover_model_server.backends.base import Context, Loaded
from failover_model_server.backends.pipeline import PipelineBackend
from failover_model_server.compiled.cores import visible_cores
from failover_model_server.errors import LoadError
from failover_model_server.settings import Settings
from failover_model_server.tasks.base import Task
from failover_model_server.tasks.compiled import CompiledShapes, compiled_shapes
from failover_model_server.tasks.loading import loading

if TYPE_CHECKING:
    from failover_model_server.pipelines.base import Pipeline

ONE_CORE_TASKS = frozenset({"image-classification", "object-detection", "text-classification"})
"""Their models are loaded onto one core (optimum-neuron 0.4.5, NeuronTracedModel.load_model): the other core needs a process of its own.

Stable Diffusion's UNet runs on both cores of a chip.
"""


def optimum_neuron() -> Any:
    """The namespace of optimum-neuron; imported when a model is loaded, since it needs the Neuron runtime."""
    from optimum import neuron

    return neuron


class NeuronBackend(PipelineBackend):
    """Runs compiled artifacts on NeuronCores."""

    name = "neuron"

    @classmethod
    def contexts(cls, settings: Settings, task: str) -> tuple[Context, ...]:  # noqa: ARG003 - see Backend
        """A context for each core where the task's model uses one; else one for all."""
        cores = visible_cores()
        if task not in ONE_CORE_TASKS or len(cores) < 2:  # noqa: PLR2004 - one core needs no choosing
            return (Context(),)
        return tuple(Context({"NEURON_RT_VISIBLE_CORES": str(core)}) for core in cores)

    def load(self, model: Path, task: Task[Any, Any]) -> Loaded:
        """Load the artifacts onto the cores."""
        shapes = compiled_shapes(model)
        if shapes is None:
            raise LoadError(
                f"compiled_model: {model} is not compiled for Neuron; "
                "compile it with `optimum-cli export neuron` and name the result in COMPILED_MODEL_ID"
            )
        loader = LOADERS.get(task.name)
        if loader is None:
            raise LoadError(f"task {task.name!r}: the neuron backend runs {', '.join(sorted(LOADERS))}")
        with loading("the compiled model", model):  # a missing library is an ImportError, a missing device a RuntimeError
            self.pipeline = loader(optimum_neuron(), model, shapes)
        cores = visible_cores()
        details = {"batch_size": str(shapes.batch_size), "sequence_length": str(shapes.sequence_length or "")}
        return Loaded(
            device=f"Neuron, cores {', '.join(map(str, cores)) or 'unknown'}",
            batch_buckets=(shapes.batch_size,),
            static_shapes=True,
            details=details,
        )


def _encoder(class_name: str, outputs: tuple[str, ...]) -> Callable[[Any, Path, CompiledShapes], "Pipeline"]:
    def load(neuron: Any, model: Path, _shapes: CompiledShapes) -> "Pipeline":
        from failover_model_server.pipelines.base import on_host
        from failover_model_server.pipelines.encoders import EncoderPipeline

        return EncoderPipeline(getattr(neuron, class_name).from_pretrained(str(model)), outputs, on_host(static_shapes=True))

    return load


def _diffusion(neuron: Any, model: Path, _shapes: CompiledShapes) -> "Pipeline":
    from failover_model_server.pipelines.diffusion import DiffusionPipeline

    return DiffusionPipeline(neuron.NeuronStableDiffusionPipeline.from_pretrained(str(model)))


LOADERS: dict[str, Callable[[Any, Path, CompiledShapes], "Pipeline"]] = {
    "image-classification": _encoder("NeuronModelForImageClassification", ("logits",)),
    "object-detection": _encoder("NeuronModelForObjectDetection", ("logits", "pred_boxes")),
    "text-classification": _encoder("NeuronModelForSequenceClassification", ("logits",)),
    "text-to-image": _diffusion,
}
