"""Object detection: YOLOS."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from failover_model_server.errors import LoadError
from failover_model_server.settings import Settings
from failover_model_server.tasks.base import Answer, Body, Item, Task, Tensor
from failover_model_server.tasks.images import png_base64, read_image, synthetic_image
from failover_model_server.tasks.labels import Labels, finite, softmax
from failover_model_server.tasks.loading import image_processor
from failover_model_server.tasks.payloads import Tensors

if TYPE_CHECKING:
    from failover_model_server.tasks.payloads import Array


class ObjectDetectionRequest(Body):
    """An image."""

    model_config = ConfigDict(populate_by_name=True)

    image: str = Field(
        min_length=1,
        description="JPEG, PNG or WebP in base64.",
        validation_alias=AliasChoices("image", "prompt"),
    )
    threshold: float = Field(0.5, ge=0, le=1, description="Objects of a lower score are left out.")


class Box(BaseModel):
    """Corners, in pixels of the image that was sent, upright."""

    xmin: float
    ymin: float
    xmax: float
    ymax: float


class Detected(BaseModel):
    """One object."""

    label: str
    score: float = Field(description="From 0 to 1.")
    box: Box


class ObjectDetectionResponse(Answer):
    """The objects, the surest first."""

    response: list[Detected]
    width: int = Field(description="Of the image, in pixels.")
    height: int


class ObjectDetection(Task[ObjectDetectionRequest, ObjectDetectionResponse]):
    """Finds objects. Every image is scaled to the model's own height and width, on every accelerator alike.

    YOLOS reads no pixel mask, so that an image padded to the size of others in its batch, or to a compiled size, gives other answers, and
    boxes in fractions of the padded image. With one fixed size nothing is padded, and the boxes are fractions of the image itself.
    """

    name = "object-detection"
    route = "/detectobj"
    request = ObjectDetectionRequest
    response = ObjectDetectionResponse
    inputs = (Tensor("image", "BYTES"),)
    outputs = (Tensor("response", "BYTES"), Tensor("width", "INT64"), Tensor("height", "INT64"))

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.labels: Labels
        self.processor: Any

    def load(self, model: Path) -> None:
        """Load the labels and the image processor, set to scale to the one size."""
        self.labels = Labels(model)
        kind = self.labels.config.model_type
        if kind != "yolos":
            raise LoadError(f"the configuration of {model}: model_type is {kind!r}; object-detection runs yolos")
        height, width = self.labels.config.image_size
        self.processor = image_processor(model, size={"height": height, "width": width}, do_pad=False)

    def prepare(self, request: ObjectDetectionRequest) -> Item:
        """Decode, scale, normalise; the size of the image stays beside the pixels."""
        image = read_image(request.image, self.settings)
        pixels = self.processor(images=image, return_tensors="np")["pixel_values"][0]
        return Item(key=pixels.shape, payload=Tensors({"pixel_values": pixels}, size=(image.width, image.height)))

    def finish(self, request: ObjectDetectionRequest, item: Item, output: object) -> ObjectDetectionResponse:
        """From logits and boxes (centre, width, height, as fractions) to labels and corners; the last class means: nothing here."""
        logits, boxes = finite(output, "logits", "pred_boxes")
        if not isinstance(item.payload, Tensors) or item.payload.size is None:
            raise TypeError("the payload has no size")
        width, height = item.payload.size
        chances = softmax(logits)[:, :-1]
        best = chances.argmax(axis=-1)
        found = [
            Detected(label=self.labels.names[int(kind)], score=float(chance[kind]), box=_corners(box, width, height))
            for kind, chance, box in zip(best, chances, boxes, strict=True)
            if chance[kind] >= request.threshold
        ]
        return ObjectDetectionResponse(response=sorted(found, key=lambda each: -each.score), width=width, height=height)

    def warm_requests(self) -> Sequence[ObjectDetectionRequest]:
        """One request, because there is one shape. Its threshold of 0 keeps every detection for the check."""
        return [ObjectDetectionRequest(image=png_base64(synthetic_image()), threshold=0)]

    def check(self, response: ObjectDetectionResponse) -> None:
        """Check that the model gave a finite answer to each of its queries."""
        values = [value for each in response.response for value in (each.score, *each.box.model_dump().values())]
        if not values or not all(map(math.isfinite, values)):
            raise LoadError("the model answers a synthetic request without boxes, or with boxes that are not numbers")


def _corners(box: "Array", width: int, height: int) -> Box:
    x, y, w, h = (float(value) for value in box)
    return Box(
        xmin=max(0.0, (x - w / 2) * width),
        ymin=max(0.0, (y - h / 2) * height),
        xmax=min(float(width), (x + w / 2) * width),
        ymax=min(float(height), (y + h / 2) * height),
    )
