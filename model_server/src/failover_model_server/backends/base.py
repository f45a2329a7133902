"""The backend protocol: one accelerator context that loads a model and runs batches."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from failover_model_server.run import Run
from failover_model_server.settings import Settings
from failover_model_server.tasks.base import Item, Task


@dataclass(frozen=True, slots=True)
class Context:
    """One accelerator context: a worker owns it alone."""

    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables that select the device, set before its libraries load (NEURON_RT_VISIBLE_CORES). Not empty: a process of its own."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a backend says about the model it has loaded."""

    device: str
    """The device, in words: "NVIDIA A10G", "Neuron inf2, core 0"."""
    batch_buckets: tuple[int, ...] = ()
    """Batch sizes the loaded model can run, where it is compiled for some; empty: any, the settings or the task decide."""
    static_shapes: bool = False
    """Only the sizes in `batch_buckets` run without a new compilation: the server pads each batch to one of them."""
    packed: bool = False
    """Items of several lengths share a batch without padding."""
    details: Mapping[str, str] = field(default_factory=dict)
    """Versions, dtype, artifact: for the log and the model's metadata."""


class Backend(ABC):
    """Runs one model on one accelerator context.

    Constructed, loaded, run and closed on one thread, its owner; never two calls at once. `run` blocks.
    """

    name: ClassVar[str]

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @classmethod
    def contexts(cls, settings: Settings, task: str) -> tuple[Context, ...]:  # noqa: ARG003 - for backends with several
        """The contexts of this machine to use for a task; one worker for each. Must not import the accelerator's libraries."""
        return (Context(),)

    @abstractmethod
    def load(self, model: Path, task: Task[Any, Any]) -> Loaded:
        """Place the model on the accelerator. The task has been loaded from the same directory. Takes minutes.

        Raises:
            LoadError: with a reason an operator can act on: missing weights, artifact of another compiler, no such device.
        """

    @abstractmethod
    def run(self, items: Sequence[Item], run: Run) -> Sequence[object]:
        """Run one batch of items with equal keys and return as many outputs, in order.

        A backend that works in steps calls `run.step()` after each: that is how the server knows that it does not hang, and where a batch
        that nobody waits for ends. It may end what is `over` early.

        With static shapes the number of items is one of the buckets: a short batch has been filled by repeating its last item, and the
        outputs of the repetitions are thrown away. An exception fails the batch; the server then runs its items one by one, once.
        """

    def warmed(self) -> None:  # noqa: B027 - a hook
        """Called once after every shape and bucket has run: save compile caches, count recompilations from here on."""

    def close(self) -> None:  # noqa: B027 - a hook
        """Free the accelerator."""
