"""What tasks hand to pipelines and get back: plain values and NumPy arrays, so that they can be sent to another process."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Tensors:
    """Inputs of an encoder (BERT, ViT, YOLOS), or its outputs, for one item: without the batch dimension."""

    values: Mapping[str, "Array"]
    """By the model's own names: input_ids, attention_mask (length,); pixel_values (channels, height, width); logits; pred_boxes."""
    size: tuple[int, int] | None = None
    """Width and height of the image that was sent, in pixels; of inputs, where the answer needs it."""
    fill: Mapping[str, int] | None = None
    """Of inputs whose length may differ within a batch: by name, what they are padded with on the right."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """A prompt for an image."""

    prompt: str
    negative_prompt: str
    steps: int
    guidance_scale: float
    seed: int
