"""The same models behind LitServe, as its documentation shows it: what our server is measured beside by ``make bench-model-server``.

``python -m benchmarks.lit texts|pictures MODEL PORT BATCH`` serves on loopback; a batch of 1 is LitServe without batches.
"""

import base64
import io
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import litserve

if TYPE_CHECKING:  # only the worker loads torch, as only it needs it: LitServe has three further processes
    import torch

WAIT_SECONDS = 0.005
"""That LitServe waits for a batch to fill."""
Scores = list[float]


class Served(litserve.LitAPI):  # type: ignore[misc]  # litserve is not typed
    """What both have: one answer for each input, alone or in a batch."""

    def __init__(self, model: str, batch: int) -> None:
        super().__init__(max_batch_size=batch, batch_timeout=WAIT_SECONDS if batch > 1 else 0.0)
        self.name = model
        self.batches = batch > 1

    def encode_response(self, output: Scores) -> dict[str, object]:
        """Name the likeliest label."""
        best = max(range(len(output)), key=output.__getitem__)
        return {"response": self.model.config.id2label[best], "score": output[best]}


class Texts(Served):
    """Classifies texts; those of a batch are padded to the longest."""

    def setup(self, device: str) -> None:
        """Load; called in the worker."""
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        torch.set_num_threads(1)
        self.tokenizer = AutoTokenizer.from_pretrained(self.name)
        self.model = AutoModelForSequenceClassification.from_pretrained(self.name).eval().to(device)

    def decode_request(self, request: dict[str, str]) -> str:
        """The text."""
        return request["prompt"]

    def predict(self, asked: str | list[str]) -> Scores | list[Scores]:
        """Scores of the text, or of each text of a batch."""
        import torch

        texts = [asked] if isinstance(asked, str) else asked
        with torch.inference_mode():
            found = self.model(**self.tokenizer(texts, padding=True, truncation=True, return_tensors="pt")).logits.softmax(dim=-1)
        scores: list[Scores] = found.tolist()
        return scores if self.batches else scores[0]


class Pictures(Served):
    """Classifies pictures in base64."""

    def setup(self, device: str) -> None:
        """Load; called in the worker."""
        import torch
        from transformers import AutoImageProcessor, AutoModelForImageClassification

        torch.set_num_threads(1)
        self.processor = AutoImageProcessor.from_pretrained(self.name)
        self.model = AutoModelForImageClassification.from_pretrained(self.name).eval().to(device)

    def decode_request(self, request: dict[str, str]) -> "torch.Tensor":
        """Decode and scale."""
        from PIL import Image

        picture = Image.open(io.BytesIO(base64.b64decode(request["image"]))).convert("RGB")
        pixels: torch.Tensor = self.processor(images=picture, return_tensors="pt")["pixel_values"][0]
        return pixels

    def batch(self, inputs: "Sequence[torch.Tensor]") -> "torch.Tensor":
        """All in one tensor."""
        import torch

        return torch.stack(list(inputs))

    def predict(self, asked: "torch.Tensor") -> Scores | list[Scores]:
        """Scores of the picture, or of each picture of a batch."""
        import torch

        with torch.inference_mode():
            found = self.model(pixel_values=asked if self.batches else asked[None]).logits.softmax(dim=-1)
        scores: list[Scores] = found.tolist()
        return scores if self.batches else scores[0]


if __name__ == "__main__":
    kind, model, port, batch = sys.argv[1:]
    api = {"texts": Texts, "pictures": Pictures}[kind](model, int(batch))
    server = litserve.LitServer(api, accelerator="cpu", timeout=120)
    server.run(host="127.0.0.1", port=int(port), log_level="warning", generate_client_file=False)
