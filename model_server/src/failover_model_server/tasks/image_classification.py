"""Image classification: ViT."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, ConfigDict, Field

from failover_model_server.settings import Settings
from failover_model_server.tasks.base import Answer, Body, Item, Task, Tensor
from failover_model_server.tasks.images import png_base64, read_image, synthetic_image
from failover_model_server.tasks.labels import Labels, check_scores
from failover_model_server.tasks.loading import image_processor
from failover_model_server.tasks.payloads import Tensors


class ImageClassificationRequest(Body):
    """An image."""

    model_config = ConfigDict(populate_by_name=True)

    image: str = Field(
        min_length=1,
        description="JPEG, PNG or WebP in base64.",
        validation_alias=AliasChoices("image", "prompt"),
    )
    top_k: int = Field(5, ge=1, le=1000, description="How many labels to name.")


class ImageClassificationResponse(Answer):
    """The likeliest labels."""

    response: str = Field(description="The likeliest label.")
    score: float = Field(description="Its score, from 0 to 1.")
    scores: dict[str, float] = Field(description="The likeliest labels, at most `top_k`.")


class ImageClassification(Task[ImageClassificationRequest, ImageClassificationResponse]):
    """Says what an image shows. Every image is scaled to the model's own size: there is one shape."""

    name = "image-classification"
    route = "/imgcls"
    request = ImageClassificationRequest
    response = ImageClassificationResponse
    inputs = (Tensor("image", "BYTES"),)
    outputs = (Tensor("response", "BYTES"), Tensor("score", "FP32"), Tensor("scores", "BYTES"))

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.labels: Labels
        self.processor: Any

    def load(self, model: Path) -> None:
        """Load image processor and labels."""
        self.labels = Labels(model)
        self.processor = image_processor(model)

    def prepare(self, request: ImageClassificationRequest) -> Item:
        """Decode, scale, normalise."""
        image = read_image(request.image, self.settings)
        pixels = self.processor(images=image, return_tensors="np")["pixel_values"][0]
        return Item(key=pixels.shape, payload=Tensors({"pixel_values": pixels}))

    def finish(self, request: ImageClassificationRequest, item: Item, output: object) -> ImageClassificationResponse:
        """Name the labels."""
        scores = self.labels.scores(output, request.top_k)
        best = next(iter(scores))
        return ImageClassificationResponse(response=best, score=scores[best], scores=scores)

    def warm_requests(self) -> Sequence[ImageClassificationRequest]:
        """One: there is one shape."""
        return [ImageClassificationRequest(image=png_base64(synthetic_image()))]

    def check(self, response: ImageClassificationResponse) -> None:
        """Scores are numbers from 0 to 1."""
        check_scores(response.scores)
