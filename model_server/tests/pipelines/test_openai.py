"""The openai library against the server as a process, on a tiny decoder."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import openai
import pytest

from tests.support.process import ServerProcess, running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240), pytest.mark.filterwarnings("default")]
ASKED = {"model": "llama", "temperature": 0.0, "seed": 7}


@pytest.fixture(scope="module")
def server(model: Callable[[str], Path]) -> Iterator[ServerProcess]:
    settings = {"APP": "llama", "MODEL_SERVER_BACKEND": "cpu", "MODEL_SERVER_TASK": "text-generation", "MAX_NEW_TOKENS": "48"}
    with running(MODEL_SERVER_MODEL=str(model("llama")), OMP_NUM_THREADS="1", **settings) as server:
        server.until("/readiness", 200, patience=150)
        yield server


@pytest.fixture
def client(server: ServerProcess) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, timeout=60) as client:
        yield client


def own(server: ServerProcess, prompt: str, tokens: int, **more: object) -> dict[str, object]:
    """The answer of the server's own route."""
    body = {"prompt": prompt, "max_new_tokens": tokens, "seed": 7, **more}
    answer: dict[str, object] = httpx.post(f"{server.url}/gentext", json=body, timeout=60).json()
    return answer


def test_models(client: openai.OpenAI) -> None:
    """The one that is served, in the list and by its name."""
    assert [model.id for model in client.models.list()] == ["llama"]
    assert client.models.retrieve("llama").object == "model"


def test_a_completion_is_the_servers_own_answer(client: openai.OpenAI, server: ServerProcess) -> None:
    """Text, reason and usage; several prompts in the order in which they were sent."""
    answer = client.completions.create(prompt="the film was", max_tokens=12, **ASKED)  # type: ignore[call-overload]
    mine = own(server, "the film was", 12)
    assert answer.choices[0].text == mine["response"]
    assert answer.choices[0].finish_reason == mine["finish_reason"]
    assert answer.usage.completion_tokens == mine["tokens"]
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.usage.prompt_tokens > 0
    both = client.completions.create(prompt=["the film", "once upon"], max_tokens=4, **ASKED)  # type: ignore[call-overload]
    assert [choice.text for choice in both.choices] == [own(server, prompt, 4)["response"] for prompt in ("the film", "once upon")]


def test_a_stream_is_the_same_text_in_pieces(client: openai.OpenAI, server: ServerProcess) -> None:
    """Piece by piece, then the reason, then the usage if the client wants it."""
    asked = {**ASKED, "stream": True, "stream_options": {"include_usage": True}}
    chunks = list(client.completions.create(prompt="the film was", max_tokens=12, **asked))  # type: ignore[call-overload]
    mine = own(server, "the film was", 12)
    texts = [chunk.choices[0].text for chunk in chunks if chunk.choices]
    assert "".join(texts) == mine["response"]
    assert len([text for text in texts if text]) > 2
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == mine["finish_reason"]
    assert chunks[-1].usage.completion_tokens == mine["tokens"]


def test_a_chat_goes_through_the_template(client: openai.OpenAI, server: ServerProcess) -> None:
    """One message of a user is what the server's own route makes of `chat`; streamed it is the same."""
    said = [{"role": "user", "content": "the film was"}]
    answer = client.chat.completions.create(messages=said, max_completion_tokens=12, **ASKED)  # type: ignore[call-overload]
    mine = own(server, "the film was", 12, chat=True)
    assert (answer.choices[0].message.content, answer.choices[0].message.role) == (mine["response"], "assistant")
    parts = [{"role": "user", "content": [{"type": "text", "text": "the film was"}]}]
    chunks = list(client.chat.completions.create(messages=parts, max_tokens=12, stream=True, **ASKED))  # type: ignore[call-overload]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == mine["response"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_stop_sequence_ends_the_text_before_it(client: openai.OpenAI, server: ServerProcess, stream: bool) -> None:
    """What the model says from there on is not shown, and is not waited for."""
    whole = str(own(server, "the film was", 24)["response"])
    stop = whole[len(whole) // 2 :][:3]
    answer = client.completions.create(prompt="the film was", max_tokens=24, stop=[stop], stream=stream, **ASKED)  # type: ignore[call-overload]
    chunks = list(answer) if stream else [answer]
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole[: whole.find(stop)]
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_errors_have_the_protocols_form(client: openai.OpenAI) -> None:
    """The library raises its own exceptions, with a code and a message that names what is wrong."""
    with pytest.raises(openai.NotFoundError, match="no such model"):
        client.completions.create(model="gpt", prompt="x")
    with pytest.raises(openai.BadRequestError, match="n: not supported") as refused:
        client.completions.create(model="llama", prompt="x", n=2)
    assert refused.value.code == "invalid_request"
    with pytest.raises(openai.APIStatusError, match="at most 48") as long:
        client.completions.create(model="llama", prompt="x", max_tokens=100)
    assert long.value.status_code == 413
    with pytest.raises(openai.UnprocessableEntityError):
        client.completions.create(model="llama", prompt="x", temperature=9)
    assert client.completions.create(model="llama", prompt="x", n=1, presence_penalty=0, user="me").choices


def test_a_client_that_leaves_a_stream_frees_the_accelerator(server: ServerProcess) -> None:
    """The generation ends with the connection."""
    body = {**ASKED, "prompt": "the film was", "max_tokens": 48, "stream": True}
    with httpx.stream("POST", f"{server.url}/v1/completions", json=body, timeout=60) as answer:
        lines = answer.iter_lines()
        assert json.loads(next(lines).removeprefix("data: "))["object"] == "text_completion"
    while "model_server_running_requests 0.0" not in httpx.get(f"{server.url}/metrics").text:
        time.sleep(0.01)
