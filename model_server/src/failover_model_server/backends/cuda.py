"""The backend on an NVIDIA GPU, eager."""

from typing import ClassVar

from failover_model_server.backends.torch_backend import TorchBackend


class CudaBackend(TorchBackend):
    """Eager torch on a GPU."""

    name = "cuda"
    device_type: ClassVar[str] = "cuda"
