"""The task protocol: everything about a model that does not depend on the accelerator."""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from failover_model_server.settings import Settings

Datatype = Literal["BOOL", "INT64", "FP32", "FP64", "BYTES"]
"""Types of the Open Inference Protocol that our requests and responses need."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One input or output in the Open Inference Protocol: a field of the request or response model, one element a request."""

    field: str
    """Name of the field in `Task.request` or `Task.response`; also the name of the tensor."""
    datatype: Datatype
    """BYTES holds text; a field that is a list or an object travels as JSON text."""


@dataclass(frozen=True, slots=True)
class Item:
    """A prepared request: what the backend runs. Sent to another process where a backend has several, so it must pickle."""

    key: Hashable
    """Items with equal keys may share a batch: everything that must be the same in it, sampling parameters included, and with static shapes
    the length that it is padded to."""
    payload: object
    """What the backend understands; private to task and backend."""
    work: float = 1.0
    """How much there is to do, in a unit of the task's own: denoising steps, most new tokens, tokens read. A batch takes a fixed time and
    a time proportional to the most work of its items, or to all of it where they are not padded: that is what the server expects."""
    length: int | None = None
    """Where items of several lengths are padded to the longest of their batch: this one's."""
    free: Hashable | None = None
    """The key where shapes are free, of an item with a length: without the length that `key` has."""


MOST_FIELDS: Final = 100
"""Fields of a request. No task knows as many."""


class Body(BaseModel):
    """What all requests have: a field that the task does not know is refused by name, not silently left out of account."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _few_fields(cls, sent: object) -> object:
        """Refuses a body of thousands of fields: an error for each of them would hold up everyone for seconds."""
        if isinstance(sent, dict) and len(sent) > MOST_FIELDS:
            raise ValueError(f"{len(sent)} fields; at most {MOST_FIELDS}")
        return sent


class Answer(BaseModel):
    """What all responses have; a task's response model derives from it."""

    latency: float = Field(default=0.0, ge=0, description="Seconds from the arrival of the request to its answer; the server fills it in.")


RequestT = TypeVar("RequestT", bound=BaseModel)
ResponseT = TypeVar("ResponseT", bound=Answer)


class Task(ABC, Generic[RequestT, ResponseT]):
    """One kind of model. `prepare` and `finish` run in a pool of threads and may run side by side: keep them free of shared state."""

    name: ClassVar[str]
    """As the Hugging Face hub names it: text-to-image, text-generation, …"""
    route: ClassVar[str]
    """The seed's path: /genimage, /gentext, …"""
    request: type[RequestT]
    response: type[ResponseT]
    inputs: ClassVar[tuple[Tensor, ...]]
    """Tensors of the Open Inference Protocol; other request fields may be given as `parameters`."""
    outputs: ClassVar[tuple[Tensor, ...]]
    batch_buckets: ClassVar[tuple[int, ...]] = (1, 2, 4, 8)
    """Batch sizes that this task prefers, ascending; settings and backend may say otherwise."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def load(self, model: Path) -> None:
        """Load what `prepare` and `finish` need (tokenizer, image processor, labels) from the model's directory.

        Called once, in LOADING, before the backend loads.

        Raises:
            LoadError: a file is missing or of another kind of model.
        """

    @abstractmethod
    def prepare(self, request: RequestT) -> Item:
        """Check the request against the limits in the settings and turn it into what the backend runs.

        Raises:
            InvalidRequest, InputTooLarge: with a message that names the field and what is allowed.
        """

    @abstractmethod
    def finish(self, request: RequestT, item: Item, output: object) -> ResponseT:
        """Turn the backend's output for one item into the response (decode, encode as PNG, name the labels)."""

    @abstractmethod
    def warm_requests(self) -> Sequence[RequestT]:
        """Synthetic requests, one for each shape (key) that real ones are padded to. Each is run at every batch bucket before READY."""

    @abstractmethod
    def check(self, response: ResponseT) -> None:
        """Check the response to a synthetic request: finite, of the right shape, not constant.

        Raises:
            LoadError: the model is loaded but does not work.
        """
