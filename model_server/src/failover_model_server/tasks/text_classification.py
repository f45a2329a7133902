"""Text classification: BERT and its kin with a head of labels."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from failover_model_server.settings import Settings
from failover_model_server.tasks.base import Answer, Body, Item, Task, Tensor
from failover_model_server.tasks.compiled import compiled_shapes
from failover_model_server.tasks.labels import Labels, check_scores
from failover_model_server.tasks.payloads import Tensors
from failover_model_server.tasks.texts import Tokenizer, bucket_of, buckets_up_to, input_limit


class TextClassificationRequest(Body):
    """A text."""

    prompt: str = Field(min_length=1, max_length=200_000, examples=["The film was great."])


class TextClassificationResponse(Answer):
    """The likeliest label, and the score of each."""

    response: str = Field(description="The likeliest label.")
    score: float = Field(description="Its score, from 0 to 1.")
    scores: dict[str, float]


class TextClassification(Task[TextClassificationRequest, TextClassificationResponse]):
    """Says which label fits a text. Texts are padded on the right; the attention mask keeps padding out of the answer."""

    name = "text-classification"
    route = "/sentiment"
    request = TextClassificationRequest
    response = TextClassificationResponse
    inputs = (Tensor("prompt", "BYTES"),)
    outputs = (Tensor("response", "BYTES"), Tensor("score", "FP32"), Tensor("scores", "BYTES"))

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.tokenizer: Tokenizer
        self.labels: Labels
        self.buckets: tuple[int, ...]

    def load(self, model: Path) -> None:
        """Load tokenizer and labels, and settle which lengths to pad to."""
        self.labels = Labels(model)
        self.tokenizer = Tokenizer(model)
        compiled = compiled_shapes(model)
        positions = self.labels.config.max_position_embeddings
        if compiled:
            self.buckets = (compiled.sequence_length or positions,)
        else:
            self.buckets = buckets_up_to(input_limit(self.settings, positions, self.tokenizer.limit), self.settings.sequence_buckets)

    def prepare(self, request: TextClassificationRequest) -> Item:
        """Tokenize; the pipeline pads, to the bucket in the key or to the longest of the batch."""
        import numpy as np

        encoded = self.tokenizer.encode(request.prompt)
        length = len(encoded["input_ids"])
        values = {name: np.array(numbers, dtype=np.int64) for name, numbers in encoded.items()}
        fill = {name: self.tokenizer.padding if name == "input_ids" else 0 for name in values}
        return Item(bucket_of(length, self.buckets), Tensors(values, fill=fill), work=length, length=length, free=self.name)

    def finish(self, request: TextClassificationRequest, item: Item, output: object) -> TextClassificationResponse:
        """Name the labels."""
        scores = self.labels.scores(output)
        best = max(scores, key=lambda label: scores[label])
        return TextClassificationResponse(response=best, score=scores[best], scores=scores)

    def warm_requests(self) -> Sequence[TextClassificationRequest]:
        """One for each length."""
        return [TextClassificationRequest(prompt=self.tokenizer.text_of(length)) for length in self.buckets]

    def check(self, response: TextClassificationResponse) -> None:
        """Scores are numbers from 0 to 1."""
        check_scores(response.scores)
