"""Text generation: Llama, Mistral and other decoders."""

import secrets
from collections.abc import Sequence
from pathlib import Path

import structlog
from pydantic import BaseModel, Field

from failover_model_server.errors import InferenceFailed, InputTooLarge, InvalidRequest, LoadError
from failover_model_server.settings import Settings
from failover_model_server.tasks.base import Answer, Body, Item, Task, Tensor
from failover_model_server.tasks.compiled import CompiledShapes, compiled_shapes
from failover_model_server.tasks.loading import from_directory, loading
from failover_model_server.tasks.payloads import Completion, Prompt
from failover_model_server.tasks.texts import Tokenizer, bucket_of, buckets_up_to, input_limit

log = structlog.get_logger()

SMALLEST_OUTPUT = 16
MOST_CHARACTERS = 200_000
"""Of a prompt, and of what one message says."""
WARM_TOKENS = 2
"""One from the prompt's pass and one from a step after it: both graphs have run."""


class TextGenerationRequest(Body):
    """A prompt, and how to continue it."""

    prompt: str = Field(min_length=1, max_length=MOST_CHARACTERS, examples=["The capital of France is"])
    chat: bool = Field(False, description="Put the prompt into the model's chat template, as what the user says.")
    max_new_tokens: int | None = Field(None, ge=1, description="Most tokens to generate; the server's setting if left out.")
    temperature: float = Field(0.0, ge=0, le=10, description="0 takes the likeliest token each time.")
    top_p: float = Field(1.0, gt=0, le=1, description="Choose among the likeliest tokens that have this probability together.")
    seed: int | None = Field(None, ge=0, lt=2**63, description="Makes sampling repeatable; random if left out.")


class Said(BaseModel):
    """A message of a conversation."""

    role: str = Field(min_length=1, max_length=100)
    content: str = Field(max_length=MOST_CHARACTERS)


class GenerationCall(TextGenerationRequest):
    """What the OpenAI protocol asks for beyond a prompt; the server's own route does not take it."""

    messages: tuple[Said, ...] = ()
    """Instead of the prompt: put into the chat template."""
    stream: bool = False
    """Hand on each token as it is there."""


class TextGenerationResponse(Answer):
    """The continuation."""

    response: str = Field(description="What the model added; the prompt is not repeated.")
    tokens: int = Field(description="Tokens generated.")
    finish_reason: str = Field(description="stop: the model ended the text; length: the limit did.")
    seed: int = Field(description="What repeats this answer, where it was sampled.")


class GenerationAnswer(TextGenerationResponse):
    """The answer to a `GenerationCall`."""

    prompt_tokens: int


class TextGeneration(Task[TextGenerationRequest, TextGenerationResponse]):
    """Continues a text. Temperature, top_p and seed may differ within a batch, and change nothing for the other prompts in it."""

    name = "text-generation"
    route = "/gentext"
    request = TextGenerationRequest
    response = TextGenerationResponse
    inputs = (Tensor("prompt", "BYTES"),)
    outputs = (Tensor("response", "BYTES"), Tensor("tokens", "INT64"), Tensor("finish_reason", "BYTES"), Tensor("seed", "INT64"))

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.tokenizer: Tokenizer
        self.context: int
        """Tokens of prompt and output together that the model can hold."""
        self.compiled: CompiledShapes | None
        self.buckets: tuple[int, ...]
        self.output_buckets: tuple[int, ...]

    def load(self, model: Path) -> None:
        """Load the tokenizer, and settle which lengths prompts and outputs are put together by."""
        from transformers import AutoConfig

        config = from_directory("the configuration", AutoConfig, model)
        self.tokenizer = Tokenizer(model)
        self.compiled = compiled_shapes(model)
        with loading("the configuration", model):
            self.context = int((self.compiled and self.compiled.sequence_length) or config.max_position_embeddings)
        longest = input_limit(self.settings, self.context)
        self.buckets = buckets_up_to(longest, self.settings.sequence_buckets)
        most = min(self.settings.max_new_tokens, self.context - 1)
        self.output_buckets = buckets_up_to(most, (), SMALLEST_OUTPUT)

    @property
    def longest(self) -> int:
        """Tokens that a prompt padded to the largest bucket and the longest output have together."""
        return self.buckets[-1] + self.output_buckets[-1]

    def prepare(self, request: TextGenerationRequest) -> Item:
        """Tokenize; the key is (length that the prompt is padded to, most new tokens in the batch)."""
        tokens = self._tokens(request)
        if not tokens:
            raise InvalidRequest("prompt: it has no tokens")
        wanted = request.max_new_tokens or min(self.output_buckets[-1], max(1, self.context - len(tokens)))
        if wanted > self.output_buckets[-1]:
            raise InputTooLarge(f"max_new_tokens: {wanted}; at most {self.output_buckets[-1]}")
        length = bucket_of(len(tokens), self.buckets)
        if len(tokens) + wanted > self.context:
            raise InputTooLarge(f"prompt: {len(tokens)} tokens and max_new_tokens {wanted}; the model holds {self.context} together")
        output = bucket_of(wanted, self.output_buckets)
        if self.compiled and length + output > self.context:
            length, output = len(tokens), wanted  # the padded sizes do not fit into the artifact, the real ones do: only its equals join it
        seed = secrets.randbits(63) if request.seed is None else request.seed
        stream = isinstance(request, GenerationCall) and request.stream
        prompt = Prompt(tuple(tokens), wanted, request.temperature, request.top_p, seed, stream)
        return Item((length, output), prompt, work=wanted, length=len(tokens), free=output)

    def _tokens(self, request: TextGenerationRequest) -> list[int]:
        said = request.messages if isinstance(request, GenerationCall) else ()
        if not (request.chat or said):
            return self.tokenizer.encode(request.prompt)["input_ids"]
        if not self.tokenizer.wrapped.chat_template:
            raise InvalidRequest("chat: this model has no chat template; send chat false")
        messages = [message.model_dump() for message in said] or [{"role": "user", "content": request.prompt}]
        try:
            text = self.tokenizer.wrapped.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        except Exception as error:  # templates are programs, and raise over roles that they do not know
            log.warning("chat_template_failed", exc_info=error)
            raise InvalidRequest("messages: the model's chat template does not take these roles in this order") from error
        return self.tokenizer.encode(text, special=False)["input_ids"]  # the template has the special tokens in it

    def finish(self, request: TextGenerationRequest, item: Item, output: object) -> TextGenerationResponse:
        """Decode."""
        if output is None:
            raise InferenceFailed("the model's output is not finite")
        if not isinstance(output, Completion) or not isinstance(item.payload, Prompt):
            raise TypeError(f"expected a Completion, got {type(output).__name__}")
        text = self.tokenizer.decode(output.tokens)
        reason = "stop" if output.stopped else "length"
        found = {"response": text, "tokens": len(output.tokens), "finish_reason": reason, "seed": item.payload.seed}
        if isinstance(request, GenerationCall):
            return GenerationAnswer(**found, prompt_tokens=len(item.payload.tokens))
        return TextGenerationResponse(**found)

    def warm_requests(self) -> Sequence[TextGenerationRequest]:
        """One for each length of prompts; the length of outputs makes no shape."""
        tokens = min(WARM_TOKENS, self.output_buckets[-1])
        lengths = [min(length, self.context - tokens) for length in self.buckets]
        return [TextGenerationRequest(prompt=self.tokenizer.text_of(length), max_new_tokens=tokens) for length in lengths]

    def check(self, response: TextGenerationResponse) -> None:
        """Something was generated, or the model ended the text at once."""
        if response.tokens == 0 and response.finish_reason != "stop":
            raise LoadError("the model generates nothing for a synthetic prompt")
