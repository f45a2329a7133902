"""vLLM's OpenAI API through the adapter, as OpenAI's own client uses it."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import openai
import pytest
from failover_model_server.adapter.passing import MOST_EVENT, read, until_last, whole_events
from failover_model_server.adapter.refusals import MOST_MESSAGE, refusal
from failover_model_server.errors import InferenceFailed

from tests.support import vllm
from tests.support.process import ServerProcess, eventually, running

pytestmark = pytest.mark.slow

SAID: Any = [{"role": "user", "content": "hi"}]


@dataclass
class Setup:
    engine: vllm.Vllm
    process: ServerProcess

    @property
    def url(self) -> str:
        return self.process.url

    @property
    def client(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0, timeout=20)

    def outcome(self, name: str) -> float:
        return self.process.outcome(name)


@pytest.fixture
def setup() -> Iterator[Setup]:
    """An adapter that is ready, as a process, in front of the fake engine."""
    settings = {"MODEL_SERVER_MAX_QUEUE": "4", "MODEL_SERVER_MAX_NEW_TOKENS": "64", "MODEL_SERVER_DRAIN_SECONDS": "2"}
    with vllm.serve() as engine, running("adapter", MODEL_SERVER_ENGINE_URL=engine.url, **settings) as process:
        engine.health = 200
        process.until("/readiness", 200)
        yield Setup(engine, process)


def test_completions_and_chats_are_the_engines_own(setup: Setup) -> None:
    """Bodies go through as they are, but for the limit of new tokens."""
    client = setup.client
    assert [model.id for model in client.models.list()] == ["org/llama"]
    assert client.models.retrieve("org/llama").owned_by == "vllm"
    with pytest.raises(openai.NotFoundError, match="no such model here; there is org/llama"):
        client.models.retrieve("org/other")
    assert client.completions.create(model="org/llama", prompt="hi", max_tokens=3, logprobs=2).choices[0].text == " Paris."
    assert setup.engine.bodies[-1] == ("/v1/completions", {"model": "org/llama", "prompt": "hi", "max_tokens": 3, "logprobs": 2})
    assert client.chat.completions.create(model="org/llama", messages=SAID).choices[0].message.content == " Paris."
    assert setup.engine.bodies[-1][1]["max_tokens"] == 64
    assert setup.outcome("answered") == 2


@pytest.mark.parametrize(
    ("chat", "body", "most", "sent"),
    [
        (False, {}, 64, {"max_tokens": 16}),
        (False, {"max_tokens": None}, 64, {"max_tokens": 16}),
        (False, {}, 8, {"max_tokens": 8}),
        (False, {"max_tokens": None, "max_completion_tokens": 4}, 8, {"max_tokens": 8, "max_completion_tokens": 4}),
        (False, {"max_tokens": 0, "messages": []}, 8, {"max_tokens": 0, "messages": []}),
        (False, {"messages": []}, 64, {"max_tokens": 16, "messages": []}),
        (True, {}, 64, {"max_tokens": 64}),
        (True, {"max_tokens": None, "max_completion_tokens": None}, 64, {"max_tokens": 64}),
        (True, {"max_tokens": None, "max_completion_tokens": 4}, 64, {"max_completion_tokens": 4}),
        (True, {"max_tokens": 0, "max_completion_tokens": 0}, 64, {"max_tokens": 64, "max_completion_tokens": 0}),
        (True, {"temperature": None}, 64, {"max_tokens": 64, "temperature": None}),
    ],
)
def test_no_request_is_without_a_limit_of_new_tokens(chat: bool, body: dict[str, Any], most: int, sent: dict[str, Any]) -> None:
    """Null is as good as left out; a completion reads `max_tokens` alone, whatever else is in its body."""
    assert json.loads(read(json.dumps(body).encode(), most, chat=chat)[0]) == sent


@pytest.mark.parametrize(
    ("body", "places"),
    [
        ({}, 1),
        ({"prompt": "a"}, 1),
        ({"prompt": []}, 1),
        ({"prompt": [1, 2, 3]}, 1),
        ({"prompt": ["a", "b"]}, 2),
        ({"prompt": [[1], [2, 3]], "n": 3}, 6),
        ({"prompt": ["a", "b"], "n": 2, "best_of": 3}, 6),
        ({"prompt": "", "prompt_embeds": "AA=="}, 1),
        ({"prompt_embeds": ["AA==", "AA=="]}, 2),
        ({"prompt": ["a", "b"], "prompt_embeds": ["AA=="], "n": 2}, 6),
    ],
)
def test_every_sequence_takes_a_place(body: dict[str, Any], places: int) -> None:
    """Each prompt, as text, tokens or embeddings, is as many sequences as are wanted of it."""
    assert read(json.dumps(body).encode(), 64, chat=False)[1] == places


@pytest.mark.parametrize("kind", ["completions", "chat"])
def test_a_stream_comes_piece_by_piece(setup: Setup, kind: str) -> None:
    """The engine makes the second piece only once the client has the first."""
    setup.engine.words, setup.engine.rest = 4, threading.Event()
    if kind == "chat":
        chats = setup.client.chat.completions.create(model="org/llama", messages=SAID, stream=True)
        texts = (chunk.choices[0].delta.content or "" for chunk in chats)
    else:
        texts = (chunk.choices[0].text for chunk in setup.client.completions.create(model="org/llama", prompt="hi", stream=True))
    assert next(texts) == "w0 "
    setup.engine.rest.set()
    assert list(texts) == ["w1 ", "w2 ", "w3 "]
    eventually(lambda: setup.outcome("answered") == 1)  # counted after the last piece is sent


def test_a_client_that_leaves_after_the_last_event_was_answered(setup: Setup) -> None:
    """It need not wait until the engine has closed its own connection."""
    setup.engine.linger = threading.Event()
    body = {"model": "org/llama", "prompt": "hi", "stream": True}
    with httpx.stream("POST", f"{setup.url}/v1/completions", json=body, timeout=20, trust_env=False) as answer:
        assert "data: [DONE]" in answer.iter_lines()
    eventually(lambda: setup.outcome("answered") == 1)
    setup.engine.linger.set()
    assert setup.outcome("cancelled") == 0


def test_a_client_that_leaves_a_stream_aborts_it(setup: Setup) -> None:
    """The engine stops within a step or two, and the place is free."""
    setup.engine.words, setup.engine.pace = 2000, 0.02
    stream = setup.client.completions.create(model="org/llama", prompt="hi", stream=True)
    next(iter(stream))
    stream.close()
    eventually(lambda: setup.engine.aborted == 1)
    eventually(lambda: setup.outcome("cancelled") == 1)


def test_a_deadline_ends_a_stream_with_an_error(setup: Setup) -> None:
    """It says so in the stream: its status is sent already."""
    setup.engine.words, setup.engine.pace = 2000, 0.02
    headers = {"X-Request-Timeout": "0.5"}
    with pytest.raises(openai.APIError, match=r"no answer within 0.5 s"):
        list(setup.client.completions.create(model="org/llama", prompt="hi", stream=True, extra_headers=headers))
    eventually(lambda: setup.engine.aborted == 1)
    eventually(lambda: setup.outcome("deadline_exceeded") == 1)


@pytest.mark.parametrize("cut", [b": nothing more\n\n", b'data: {"id":"1","object":"text_comp', b"data: {}\n", b"data"])
def test_an_engine_that_ends_within_an_event_is_an_error_of_the_protocol(setup: Setup, cut: bytes) -> None:
    """The error is an event of its own, not the rest of the engine's: clients can read it."""
    setup.engine.cut = cut
    stream = setup.client.completions.create(model="org/llama", prompt="hi", stream=True)
    assert next(stream).choices[0].text == "w0 "
    with pytest.raises(openai.APIError, match="the engine has ended within its answer"):
        list(stream)
    eventually(lambda: setup.outcome("inference_failed") == 1)


@pytest.mark.parametrize("after", [b"", b"data: more\n\n", b"data: {"], ids=["nothing", "an event", "a part of one"])
def test_after_the_last_event_nothing_is_sent_and_the_request_was_answered(setup: Setup, after: bytes) -> None:
    """Whatever the engine still sends, and where it closes the connection without the last chunk."""
    setup.engine.cut = b"data: [DONE]\n\n" + after
    body = {"model": "org/llama", "prompt": "hi", "stream": True}
    answer = httpx.post(f"{setup.url}/v1/completions", json=body, timeout=20, trust_env=False)
    assert answer.text.count("data: ") == 2
    assert answer.text.endswith("data: [DONE]\n\n")
    eventually(lambda: setup.outcome("answered") == 1)
    assert setup.outcome("inference_failed") == 0


def test_an_error_of_the_engines_within_a_stream_is_an_error_of_ours(setup: Setup) -> None:
    """Its words, which are of its inside, go to the log; the client gets what came before, and the request has failed."""
    failed = {"error": {"message": "EngineCore: see /secret/core.py", "type": "InternalServerError", "param": None, "code": 500}}
    setup.engine.cut = f"data: {json.dumps(failed)}\n\ndata: [DONE]\n\n".encode()
    stream = setup.client.completions.create(model="org/llama", prompt="hi", stream=True)
    assert next(stream).choices[0].text == "w0 "
    with pytest.raises(openai.APIError, match="the engine failed on this request") as error:
        list(stream)
    assert "secret" not in str(error.value)
    eventually(lambda: setup.outcome("inference_failed") == 1)
    assert setup.outcome("answered") == 0
    assert "/secret/core.py" in setup.process.logged("engine_failed_in_stream")["text"]


TEXT = b'data: {"choices":[{"text":"\\"error\\": [DONE]"}]}\n\n'
ERROR = b'data: {"error":{"message":"x"}}\n\n'


@pytest.mark.parametrize(
    ("events", "passed", "last"),
    [
        (TEXT, TEXT, b""),
        (TEXT + b'data: {"choices":[],"error":null}\n\n', TEXT + b'data: {"choices":[],"error":null}\n\n', b""),
        (TEXT + b"data: [DONE]\n\n" + TEXT, TEXT + b"data: [DONE]\n\n", b"[DONE]"),
        (b"data:[DONE]\r\n\r\n", b"data:[DONE]\r\n\r\n", b"[DONE]"),
        (b": [DONE]\n\n", b": [DONE]\n\n", b""),
        (TEXT + ERROR + b"data: [DONE]\n\n", TEXT, b'{"error":{"message":"x"}}'),
        (TEXT + ERROR.strip(), TEXT, b'{"error":{"message":"x"}}'),
        (b'event: error\rdata: {"error":\rdata: {"code":1}}\r\r', b"", b'{"error":\n{"code":1}}'),
    ],
)
def test_the_event_that_ends_a_stream(events: bytes, passed: bytes, last: bytes) -> None:
    """Found among others, and not in what the model says."""
    assert until_last(events) == (passed, last)


def test_a_stream_is_passed_on_in_whole_events() -> None:
    """Of parts that the engine sends, however they are cut; what is no event at the end of the stream is passed on too."""

    async def passed(*parts: bytes) -> list[bytes]:
        async def source() -> AsyncIterator[bytes]:
            for part in parts:
                yield part

        return [events async for events in whole_events(source())]

    for end in (b"\n\n", b"\r\n\r\n", b"\r\r"):
        one, two = b"data: 1" + end, b"data: 2" + end
        assert asyncio.run(passed(one + two[:4], two[4:], b"data")) == [one, two, b"data"]
        letters = [bytes([letter]) for letter in one + two]
        assert asyncio.run(passed(*letters)) == [one, two]
    with pytest.raises(InferenceFailed, match="too long"):
        asyncio.run(passed(b"a" * (MOST_EVENT + 1)))


def test_errors_have_the_protocols_form(setup: Setup) -> None:
    """What is wrong with a request is said in the engine's words, what is wrong with the engine is not."""
    client = setup.client
    with pytest.raises(openai.APIStatusError, match="max_tokens: 65; at most 64") as large:
        client.completions.create(model="org/llama", prompt="hi", max_tokens=65)
    assert large.value.status_code == 413
    with pytest.raises(openai.APIStatusError, match="5 sequences") as many:
        client.completions.create(model="org/llama", prompt="hi", n=5)
    assert many.value.status_code == 413
    setup.engine.status, setup.engine.error = 400, "logprobs: at most 20"
    with pytest.raises(openai.BadRequestError, match="at most 20"):
        client.completions.create(model="org/llama", prompt="hi")
    setup.engine.status, setup.engine.error = 404, "the model `x` does not exist"
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        client.completions.create(model="x", prompt="hi")
    setup.engine.status, setup.engine.error = 500, "boom /secret/path"
    with pytest.raises(openai.InternalServerError) as failed:
        client.completions.create(model="org/llama", prompt="hi")
    assert "secret" not in str(failed.value)
    wrong = (b"{", b"[]", b'{"n": "x"}', b'{"n": ""}', b'{"max_tokens": false}', b"[" * 100_000)
    long = b'{"prompt": ["a", "b"], "n": %b}' % (b"9" * 4300)
    unsayable = (b'{"prompt": "\\ud83d"}', b'{"temperature": NaN}', b'{"temperature": 1e999}')
    for content in (*wrong, long, *unsayable):
        answer = httpx.post(f"{setup.url}/v1/completions", content=content, trust_env=False)
        assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")


LONG = "hello " * 50_000
ASKED = {"messages": [{"role": "user", "content": LONG}], "stream_options": {"include_usage": True}}
ECHOED = f"[{{'type': 'value_error', 'msg': 'Value error, stream options need a stream', 'input': {ASKED}}}]"


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (ECHOED, 400, "stream options need a stream"),
        (ECHOED.replace(LONG, "How is the maximum context length is 10 set?"), 400, "stream options need a stream"),
        ("This model's maximum context length is 10 tokens. However, you requested 20 tokens.", 413, "longer than the model's context"),
        ("'max_tokens' is too large: 99. This model's maximum context length is 64 tokens.", 413, "longer than the model's context"),
        ("You passed 99 input tokens. However, the model's context length is only 64 tokens", 413, "longer than the model's context"),
        ("The decoder prompt (length 99) is longer than the maximum model length of 64.", 413, "longer than the model's context"),
        ("\u00e9\ud83d" * 100_000, 400, "\u00e9?"),
    ],
    ids=["long", "repeated", "context", "too many new tokens", "input", "prompt", "half a character"],
)
def test_the_engines_status_says_whose_fault_it_is(setup: Setup, error: str, status: int, says: str) -> None:
    """Not the length of its text, and not the request that it repeats. A long text is cut."""
    setup.engine.status, setup.engine.error = 400, error
    answer = httpx.post(f"{setup.url}/v1/chat/completions", json={"messages": []}, timeout=20, trust_env=False)
    said = answer.json()["error"]["message"]
    assert (answer.status_code, says in said, len(said) <= MOST_MESSAGE) == (status, True, True)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"error": {"message": "no \\u00e9\\n\\"', 'no \u00e9 "'),
        ('{"object": "error", "message": "no \\u00', "no"),
        ('{"error": {"message": "no \\x', "the engine refused this request"),
        ('{"detail": [{"input": {"message": "the context length is 10"', "the engine refused this request"),
        ("", "the engine refused this request"),
    ],
)
def test_an_error_that_is_cut_says_how_it_begins(text: str, says: str) -> None:
    """Where its message is at the beginning and can be read."""
    error = refusal(400, text, show=True)
    assert (error.status, str(error)) == (400, says)


def test_a_flood_is_refused_and_a_drain_finishes_what_is_under_way(setup: Setup) -> None:
    """The queue of the adapter holds for both of its protocols; after SIGTERM what runs is answered, and what comes too."""
    setup.engine.hold = threading.Event()
    answers: list[Any] = []

    def ask() -> None:
        answers.append(httpx.post(f"{setup.url}/v1/completions", json={"model": "org/llama", "prompt": "x"}, timeout=30, trust_env=False))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(setup.engine.bodies) == 5)  # the warm-up is one
    for path, form in (("/v1/completions", {"model": "m", "prompt": "x"}), ("/gentext", {"prompt": "x"})):
        refused = httpx.post(setup.url + path, json=form, trust_env=False)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "10")
    setup.process.terminate()
    setup.process.until("/readiness", 503)
    setup.engine.hold.set()
    for thread in threads:
        thread.join(30)
    assert [(answer.status_code, answer.headers["connection"]) for answer in answers] == [(200, "close")] * 4
    assert setup.process.ended() == 0
