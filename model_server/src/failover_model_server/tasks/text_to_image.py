"""Text to image: Stable Diffusion."""

import base64
import io
import secrets
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from failover_model_server.errors import InferenceFailed, InputTooLarge, LoadError
from failover_model_server.settings import Settings
from failover_model_server.tasks.base import Answer, Body, Item, Task, Tensor
from failover_model_server.tasks.images import png_base64
from failover_model_server.tasks.payloads import Drawing
from failover_model_server.tasks.texts import Tokenizer, input_limit

WARM_STEPS = 2


class TextToImageRequest(Body):
    """What to draw."""

    prompt: str = Field(min_length=1, max_length=10_000, examples=["a photo of an astronaut riding a horse on mars"])
    negative_prompt: str = Field("", max_length=10_000, description="What must not be in the picture.")
    steps: int = Field(25, ge=1, le=100, description="Denoising steps: more take longer.")
    guidance_scale: float = Field(7.5, gt=1, le=30, description="How closely to follow the prompt.")
    seed: int | None = Field(None, ge=0, lt=2**63, description="Makes the picture repeatable; random if left out.")


class TextToImageResponse(Answer):
    """The picture."""

    response: str = Field(description="PNG in base64.")
    seed: int = Field(description="What repeats this picture.")


class TextToImage(Task[TextToImageRequest, TextToImageResponse]):
    """Draws, at the model's own size. Each picture has its seed: the others in its batch do not change it.

    Batches are off unless the settings ask for them: on the smaller GPUs (T4, A10G, L4) they gain little and each request waits for all.
    """

    name = "text-to-image"
    route = "/genimage"
    request = TextToImageRequest
    response = TextToImageResponse
    inputs = (Tensor("prompt", "BYTES"),)
    outputs = (Tensor("response", "BYTES"), Tensor("seed", "INT64"))
    batch_buckets = (1,)

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.tokenizer: Tokenizer
        self.limit: int

    def load(self, model: Path) -> None:
        """Load the tokenizer, which counts; the pipeline tokenizes itself."""
        self.tokenizer = Tokenizer(model / "tokenizer")
        self.limit = input_limit(self.settings, self.tokenizer.limit)

    def prepare(self, request: TextToImageRequest) -> Item:
        """Refuse what the text encoder would cut off. The key is what the loop over the steps shares."""
        for field in ("prompt", "negative_prompt"):
            count = len(self.tokenizer.encode(getattr(request, field))["input_ids"])
            if count > self.limit:
                raise InputTooLarge(f"{field}: {count} tokens; at most {self.limit}")
        seed = secrets.randbits(63) if request.seed is None else request.seed
        drawing = Drawing(request.prompt, request.negative_prompt, request.steps, request.guidance_scale, seed)
        return Item((request.steps, request.guidance_scale), drawing, request.steps)

    def finish(self, request: TextToImageRequest, item: Item, output: object) -> TextToImageResponse:
        """Encode as PNG."""
        from PIL import Image

        if output is None:
            raise InferenceFailed("the model's output is not finite")
        if not isinstance(item.payload, Drawing):
            raise TypeError(f"expected a Drawing, got {type(item.payload).__name__}")
        return TextToImageResponse(response=png_base64(Image.fromarray(output)), seed=item.payload.seed)

    def warm_requests(self) -> Sequence[TextToImageRequest]:
        """One: steps and guidance change no shape."""
        return [TextToImageRequest(prompt="a house by a lake", steps=WARM_STEPS, seed=0)]

    def check(self, response: TextToImageResponse) -> None:
        """The picture is not of one colour: a black one is what float16 overflows and missing weights give."""
        from PIL import Image, ImageStat

        image = Image.open(io.BytesIO(base64.b64decode(response.response)))
        if max(ImageStat.Stat(image).stddev) == 0:
            raise LoadError("the model draws a picture of one colour for a synthetic prompt")
