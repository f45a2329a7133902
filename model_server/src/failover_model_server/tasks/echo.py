"""A task without a model: gives the prompt back. For tests of the server and for trying the probes without weights."""

from collections.abc import Sequence

from pydantic import Field

from failover_model_server.errors import InputTooLarge, LoadError
from failover_model_server.tasks.base import Answer, Body, Item, Task, Tensor

BYTES_PER_TOKEN = 4


class EchoRequest(Body):
    """A text."""

    prompt: str = Field(min_length=1, examples=["hello"])


class EchoResponse(Answer):
    """The same text."""

    response: str


class EchoTask(Task[EchoRequest, EchoResponse]):
    """Gives the prompt back."""

    name = "echo"
    route = "/echo"
    request = EchoRequest
    response = EchoResponse
    inputs = (Tensor("prompt", "BYTES"),)
    outputs = (Tensor("response", "BYTES"),)

    def prepare(self, request: EchoRequest) -> Item:
        """Check the length, as a task with a tokenizer would."""
        most = self.settings.max_input_tokens * BYTES_PER_TOKEN
        if len(request.prompt) > most:
            raise InputTooLarge(f"prompt: {len(request.prompt)} characters; at most {most}")
        return Item(key="echo", payload=request.prompt)

    def finish(self, request: EchoRequest, item: Item, output: object) -> EchoResponse:
        """Wrap the text."""
        return EchoResponse(response=str(output))

    def warm_requests(self) -> Sequence[EchoRequest]:
        """One: all prompts have the same shape."""
        return (EchoRequest(prompt="warm"),)

    def check(self, response: EchoResponse) -> None:
        """The text must have come back."""
        if response.response != "warm":
            raise LoadError("the echo backend does not echo")
