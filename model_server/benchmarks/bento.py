"""Texts classified behind BentoML with adaptive batches, as its documentation shows it. `BENTO_MODEL` names the model.

``bentoml serve benchmarks.bento:Texts --port PORT``.
"""

import os

import bentoml
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer


@bentoml.service(workers=1, traffic={"timeout": 120})
class Texts:
    """Texts of a batch are padded to the longest."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        name = os.environ["BENTO_MODEL"]
        self.tokenizer = AutoTokenizer.from_pretrained(name)
        self.model = AutoModelForSequenceClassification.from_pretrained(name).eval()

    @bentoml.api(batchable=True, max_batch_size=8, max_latency_ms=60_000, route="/predict")
    def predict(self, prompt: list[str]) -> list[float]:
        """The score of the likeliest label of each text."""
        with torch.inference_mode():
            inputs = self.tokenizer(prompt, padding=True, truncation=True, return_tensors="pt")
            found: list[float] = self.model(**inputs).logits.softmax(dim=-1).max(dim=-1).values.tolist()
        return found
