"""The pipeline protocol, and where a pipeline's model is placed."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from failover_model_server.run import Run
from failover_model_server.tasks.base import Item

Compile = Callable[[Any], Any]
"""Takes a function or a module's forward and gives a compiled one."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a model is put, and as what."""

    device: torch.device
    dtype: torch.dtype
    static_shapes: bool = False
    """Pad to the shape in an item's key, also where the device does not need it."""

    @property
    def packs(self) -> bool:
        """Whether texts are packed where the model can: on a processor. A GPU would start as many kernels a layer as there are texts."""
        return self.device.type == "cpu" and not self.static_shapes

    @property
    def prepacks(self) -> bool:
        """Whether weights are laid out for oneDNN: on a processor, of float32, where nothing is compiled."""
        return self.packs and self.dtype is torch.float32


def on_host(*, static_shapes: bool = False) -> Placement:
    """For models that take their inputs from the host's memory as float32, whatever runs them: Neuron's."""
    return Placement(torch.device("cpu"), torch.float32, static_shapes)


class Pipeline(ABC):
    """Runs batches of one task. Called on one thread, one batch at a time."""

    packed: bool = False
    """Items of several lengths share a batch without padding: it takes a time in proportion to all its work."""
    padded: str = ""
    """Why they are padded, where they need not be."""

    @abstractmethod
    def run(self, items: Sequence[Item], run: Run) -> Sequence[object]:
        """The output for each item, in order; None for an item whose output is not finite, if the task does not check that itself.

        A pipeline of several passes reports each with `run.step()`.
        """

    @abstractmethod
    def compile(self, compiled: Compile) -> None:
        """Replace the parts that take the time by compiled ones. Their shapes depend on the number of items and their key alone."""
