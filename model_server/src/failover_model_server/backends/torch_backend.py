"""What the backends on torch share: the device, the type of the weights, the pipeline of the task."""

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from failover_model_server.backends.base import Loaded
from failover_model_server.backends.pipeline import PipelineBackend
from failover_model_server.errors import LoadError
from failover_model_server.tasks.base import Task

if TYPE_CHECKING:
    import torch

DIFFUSION = "text-to-image"
LIBRARIES = ("torch", "transformers", "diffusers")


class TorchBackend(PipelineBackend):
    """Runs a pipeline on a device of torch."""

    device_type: ClassVar[str] = "cpu"
    """The device that this backend is for."""
    static_shapes: ClassVar[bool] = False

    def load(self, model: Path, task: Task[Any, Any]) -> Loaded:
        """Load the weights onto the device."""
        try:
            from failover_model_server.pipelines.base import Placement
            from failover_model_server.pipelines.builders import build
        except ImportError as error:
            raise LoadError(f"backend {self.name!r}: {error}; install its extra, failover-model-server[{self.name}]") from error
        quiet(task.name)
        device = self.device()
        static = self.static_shapes or self.settings.static_shapes
        placement = Placement(device, self.dtype(device), static)
        self.pipeline = build(model, placement, task)
        details = {"dtype": str(placement.dtype).removeprefix("torch."), **{name: version(name) for name in LIBRARIES}}
        if self.pipeline.padded:
            details["padded"] = self.pipeline.padded
        return Loaded(device=self.describe(device), static_shapes=static, packed=self.pipeline.packed, details=details)

    def device(self) -> "torch.device":
        """The device to use, which exists.

        Raises:
            LoadError: it does not; says what torch sees.
        """
        import torch

        wanted = self.settings.torch_device or self.device_type
        try:
            device = torch.device(wanted)
        except RuntimeError as error:
            raise LoadError(f"torch_device: {wanted!r} is not a device") from error
        if device.type == "cuda":
            count = torch.cuda.device_count() if torch.cuda.is_available() else 0
            if (device.index or 0) >= count:
                raise LoadError(
                    f"torch_device: {wanted!r}: torch {torch.__version__} sees {count} CUDA devices; "
                    "does the pod ask for nvidia.com/gpu, and is the node's driver new enough?"
                )
        return device

    def dtype(self, device: "torch.device") -> "torch.dtype":
        """The type of the weights: the setting's, else float32 on a CPU, else float16, which has the range that these models need."""
        import torch

        if self.settings.dtype != "auto":
            return {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}[self.settings.dtype]
        return torch.float32 if device.type == "cpu" else torch.float16

    def describe(self, device: "torch.device") -> str:
        """The device in words."""
        import torch

        return torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"


def quiet(task: str) -> None:
    """No progress bars in the log of a server. Of diffusers only for a task that needs it: it takes 70 MB and seconds to import."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    if task == DIFFUSION:
        import diffusers

        diffusers.utils.logging.disable_progress_bar()
