"""Requests of the OpenAI protocol, as far as a single model without tools can honour them; what it cannot is refused by name."""

import contextlib
from collections.abc import Iterator
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from failover_model_server.errors import InvalidRequest, in_words
from failover_model_server.http.openai_protocol import USUAL_TOKENS
from failover_model_server.tasks.base import MOST_FIELDS
from failover_model_server.tasks.text_generation import MOST_CHARACTERS, GenerationCall, Said

MOST_STOPS = 4
"""As OpenAI has it."""
MOST_PROMPTS = 64
MOST_PARTS: Final = 1000
NEUTRAL: dict[str, tuple[object, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "echo": (False,),
    "logprobs": (False,),  # 0 asks a completion for that of each chosen token
    "top_logprobs": (0,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "suffix": ("",),
    "tools": ([],),
    "tool_choice": ("none",),
    "store": (False,),
    "response_format": ({"type": "text"},),
}
"""Parameters that are accepted at the values at which they change nothing; null changes nothing anywhere."""
IGNORED = frozenset({"user", "metadata", "service_tier", "safety_identifier", "prompt_cache_key"})
"""Parameters that change no answer."""

Prompt = Annotated[str, Field(min_length=1, max_length=MOST_CHARACTERS)]
Text = Annotated[str, Field(max_length=MOST_CHARACTERS)]
Stop = str | Annotated[list[str], Field(max_length=MOST_STOPS)]


def _neutral(name: str, value: object) -> bool:
    """Whether a parameter has a value at which it changes nothing; to Python 0 is False."""
    return any(value == one and isinstance(value, bool) is isinstance(one, bool) for one in NEUTRAL.get(name, ()))


@contextlib.contextmanager
def _taken() -> Iterator[None]:
    """What the task does not take is the client's mistake.

    Raises:
        InvalidRequest: names it.
    """
    try:
        yield
    except ValidationError as error:
        raise InvalidRequest(in_words(error.errors(include_url=False, include_input=False))) from None


class StreamOptions(BaseModel):
    """How to stream."""

    model_config = ConfigDict(extra="ignore")

    include_usage: bool = False


class Common(BaseModel):
    """What both kinds of request have."""

    model_config = ConfigDict(extra="allow")  # `check` names what is not taken

    model: str
    max_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(1.0, ge=0, le=2)
    top_p: float | None = Field(1.0, gt=0, le=1)
    seed: int | None = Field(None, ge=0, lt=2**63)
    stop: Stop | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None

    @property
    def stops(self) -> list[str]:
        """The stop sequences."""
        wanted = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return [stop for stop in wanted if stop]

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with the usage."""
        return self.stream_options is not None and self.stream_options.include_usage

    def check(self) -> None:
        """Check the parameters that the model does not declare.

        Raises:
            InvalidRequest: one of them would change the answer; names it.
        """
        if len(self.model_extra or {}) > MOST_FIELDS:
            raise InvalidRequest(f"the body has more than {MOST_FIELDS} fields that are not known here")
        for name, value in (self.model_extra or {}).items():
            if value is not None and name not in IGNORED and not _neutral(name, value):
                raise InvalidRequest(f"{name}: not supported here, or not with this value")

    def call(self, prompt: str, most: int | None, said: tuple[Said, ...] = ()) -> GenerationCall:
        """The task's request."""
        return GenerationCall(
            prompt=prompt,
            messages=said,
            max_new_tokens=most,
            temperature=1.0 if self.temperature is None else self.temperature,
            top_p=self.top_p or 1.0,
            seed=self.seed,
            stream=bool(self.stream or self.stops),
        )


class CompletionRequest(Common):
    """Continue one text or several."""

    prompt: Prompt | Annotated[list[Prompt], Field(min_length=1, max_length=MOST_PROMPTS)]

    def check(self) -> None:
        """Check the parameters that the model does not declare, and that a stream has one prompt.

        Raises:
            InvalidRequest: one of them would change the answer; names it.
        """
        super().check()
        if self.stream and isinstance(self.prompt, list) and len(self.prompt) > 1:
            raise InvalidRequest("prompt: a stream takes one; send several requests")

    def calls(self, usual: int = USUAL_TOKENS) -> list[GenerationCall]:
        """One for each prompt.

        Args:
            usual: most new tokens where the body does not say.

        Raises:
            InvalidRequest: the task does not take one of them.
        """
        prompts = [self.prompt] if isinstance(self.prompt, str) else self.prompt
        with _taken():
            return [self.call(prompt, self.max_tokens or usual) for prompt in prompts]


class Part(BaseModel):
    """A part of a message; text alone."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["text"]
    text: Text


class Message(BaseModel):
    """One message of a conversation."""

    model_config = ConfigDict(extra="ignore")  # names of speakers

    role: Literal["system", "developer", "user", "assistant"]
    content: Text | Annotated[list[Part], Field(fail_fast=True, max_length=MOST_PARTS)]

    def said(self) -> Said:
        """As templates know it: they have no developers."""
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return Said(role="system" if self.role == "developer" else self.role, content=text)


class ChatRequest(Common):
    """Answer a conversation."""

    messages: Annotated[list[Message], Field(fail_fast=True, min_length=1, max_length=1000)]
    max_completion_tokens: int | None = Field(None, ge=1)

    def calls(self) -> list[GenerationCall]:
        """The one.

        Raises:
            InvalidRequest: the parts of a message, or all messages, are too long together.
        """
        with _taken():
            said = tuple(message.said() for message in self.messages)
            if (count := sum(len(one.content) for one in said)) > MOST_CHARACTERS:
                raise InvalidRequest(f"messages: {count} characters together; at most {MOST_CHARACTERS}")
            return [self.call("-", self.max_completion_tokens or self.max_tokens, said)]
