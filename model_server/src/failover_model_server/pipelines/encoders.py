"""Models that answer in one pass: BERT, ViT, YOLOS."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from failover_model_server.pipelines.base import Compile, Pipeline, Placement
from failover_model_server.pipelines.packing import Row, pack
from failover_model_server.pipelines.weights import load_model
from failover_model_server.run import Run
from failover_model_server.tasks.base import Item
from failover_model_server.tasks.payloads import Tensors

LOGITS = ("logits",)
LOGITS_AND_BOXES = ("logits", "pred_boxes")


class EncoderPipeline(Pipeline):
    """Stacks the inputs of the items, calls the model, and takes its outputs apart."""

    def __init__(self, model: Any, outputs: tuple[str, ...], placement: Placement) -> None:
        self.model = model
        self.outputs = outputs
        self.placement = placement

    def run(self, items: Sequence[Item], run: Run) -> Sequence[object]:
        """One pass over the batch; float32 outputs by name for each item."""
        payloads = [item.payload for item in items if isinstance(item.payload, Tensors)]
        width = self._width(items, payloads)
        inputs = {name: self._tensor(_stacked(payloads, name, width)) for name in payloads[0].values}
        row = {"packed": Row.of([_length(payload) for payload in payloads], self.placement.device)} if self.packed else {}
        with torch.inference_mode():
            result = self.model(**inputs, **row)
            arrays = {name: result[name].float().cpu().numpy() for name in self.outputs}
        return [Tensors({name: array[row] for name, array in arrays.items()}) for row in range(len(items))]

    def _width(self, items: Sequence[Item], payloads: Sequence[Tensors]) -> int:
        """What inputs of different lengths are padded to: the key's length with static shapes, else the longest."""
        if payloads[0].fill is None:
            return 0
        if self.placement.static_shapes and isinstance(items[0].key, int):
            return items[0].key
        return max(_length(payload) for payload in payloads)

    def _tensor(self, stacked: Any) -> torch.Tensor:
        tensor = torch.from_numpy(stacked)
        dtype = self.placement.dtype if tensor.is_floating_point() else None
        return tensor.to(device=self.placement.device, dtype=dtype)

    def compile(self, compiled: Compile) -> None:
        """The whole model is one graph."""
        self.model.forward = compiled(self.model.forward)


def _length(payload: Tensors) -> int:
    """Of its inputs, which all are as long, where lengths differ between items."""
    return len(next(iter(payload.values.values())))


def _stacked(payloads: Sequence[Tensors], name: str, width: int) -> Any:
    """One input of every item in an array; those of different lengths are filled up to the width."""
    rows = [payload.values[name] for payload in payloads]
    fill = payloads[0].fill
    if fill is None:
        return np.stack(rows)
    stacked = np.full((len(rows), width), fill[name], dtype=rows[0].dtype)
    for filled, row in zip(stacked, rows, strict=True):
        filled[: len(row)] = row
    return stacked


def text_classification(directory: Path, placement: Placement, _task: object) -> EncoderPipeline:
    """BERT and its kin."""
    from transformers import AutoModelForSequenceClassification

    model = load_model(AutoModelForSequenceClassification, directory, placement)
    made = EncoderPipeline(model, LOGITS, placement)
    if placement.packs:
        made.padded = pack(model)
        made.packed = not made.padded
    return made


def image_classification(directory: Path, placement: Placement, _task: object) -> EncoderPipeline:
    """ViT."""
    from transformers import AutoModelForImageClassification

    return EncoderPipeline(load_model(AutoModelForImageClassification, directory, placement), LOGITS, placement)


def object_detection(directory: Path, placement: Placement, _task: object) -> EncoderPipeline:
    """YOLOS."""
    from transformers import AutoModelForObjectDetection

    return EncoderPipeline(load_model(AutoModelForObjectDetection, directory, placement), LOGITS_AND_BOXES, placement)
