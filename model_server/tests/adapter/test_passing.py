"""vLLM's OpenAI API through the adapter, as OpenAI's own client uses it."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import httpx
import openai
import pytest
from failover_model_server.adapter.passing import MOST_EVENT, ROUTES, read, until_last, whole_events
from failover_model_server.adapter.refusals import ENGINE_FAILED, ENGINE_REFUSED, Refused
from failover_model_server.errors import InferenceFailed
from failover_model_server.http.openai_protocol import CHAT, COMPLETIONS, EMBEDDINGS, RESPONSES

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

    def metric(self, name: str) -> float:
        """The value of one of the adapter's metrics."""
        text = httpx.get(f"{self.url}/metrics", trust_env=False).text
        return next((float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(f"{name} ")), 0.0)


@pytest.fixture
def setup() -> Iterator[Setup]:
    """An adapter that is ready, as a process, in front of the fake engine."""
    settings = {"MODEL_SERVER_MAX_QUEUE": "4", "MODEL_SERVER_MAX_NEW_TOKENS": "64", "MODEL_SERVER_DRAIN_SECONDS": "2"}
    with vllm.serve() as engine, running("adapter", MODEL_SERVER_ENGINE_URL=engine.url, **settings) as process:
        engine.health = 200
        process.until("/readiness", 200)
        yield Setup(engine, process)


@pytest.fixture
def setup_short() -> Iterator[Setup]:
    """One with places for many, and two seconds for them at its end."""
    settings = {"MODEL_SERVER_MAX_QUEUE": "64", "MODEL_SERVER_DRAIN_SECONDS": "0", "MODEL_SERVER_FINISH_SECONDS": "2"}
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
    ("path", "body", "most", "sent"),
    [
        (COMPLETIONS, {}, 64, {"max_tokens": 16}),
        (COMPLETIONS, {"max_tokens": None}, 64, {"max_tokens": 16}),
        (COMPLETIONS, {}, 8, {"max_tokens": 8}),
        (COMPLETIONS, {"max_tokens": None, "max_completion_tokens": 4}, 8, {"max_tokens": 8, "max_completion_tokens": 4}),
        (COMPLETIONS, {"max_tokens": 0, "messages": []}, 8, {"max_tokens": 0, "messages": []}),
        (COMPLETIONS, {"messages": []}, 64, {"max_tokens": 16, "messages": []}),
        (CHAT, {}, 64, {"max_tokens": 64}),
        (CHAT, {"max_tokens": None, "max_completion_tokens": None}, 64, {"max_tokens": 64}),
        (CHAT, {"max_tokens": None, "max_completion_tokens": 4}, 64, {"max_completion_tokens": 4}),
        (CHAT, {"max_tokens": 0, "max_completion_tokens": 0}, 64, {"max_tokens": 64, "max_completion_tokens": 0}),
        (CHAT, {"temperature": None}, 64, {"max_tokens": 64, "temperature": None}),
        (RESPONSES, {}, 64, {"max_output_tokens": 64}),
        (RESPONSES, {"max_output_tokens": 4, "max_tokens": 900}, 64, {"max_output_tokens": 4, "max_tokens": 900}),
        (EMBEDDINGS, {"input": "a"}, 64, {"input": "a"}),
    ],
)
def test_no_request_is_without_a_limit_of_new_tokens(path: str, body: dict[str, Any], most: int, sent: dict[str, Any]) -> None:
    """Null is as good as left out; a completion reads `max_tokens` alone, whatever else is in its body. Embeddings have no new tokens."""
    assert json.loads(read(json.dumps(body).encode(), ROUTES[path], most)[0]) == sent


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
    assert read(json.dumps(body).encode(), ROUTES[COMPLETIONS], 64)[1] == places


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
    """Its words, which are of its inside, go nowhere; the client gets what came before, and the request has failed."""
    failed = {"error": {"message": "EngineCore: see /secret/core.py", "type": "InternalServerError", "param": None, "code": 500}}
    setup.engine.cut = f"data: {json.dumps(failed)}\n\ndata: [DONE]\n\n".encode()
    stream = setup.client.completions.create(model="org/llama", prompt="hi", stream=True)
    assert next(stream).choices[0].text == "w0 "
    with pytest.raises(openai.APIError, match="the engine failed on this request") as error:
        list(stream)
    assert "secret" not in str(error.value)
    eventually(lambda: setup.outcome("inference_failed") == 1)
    assert setup.outcome("answered") == 0
    assert setup.process.logged("engine_refused")["kind"] == "InternalServerError"
    assert "secret" not in "".join(setup.process.text)


def test_what_the_engine_says_of_a_wrong_request_within_a_stream_is_passed_on(setup: Setup) -> None:
    """As before a stream: word for word, to its client alone."""
    wrong = {"error": {"message": "no room for hello", "type": "BadRequestError", "param": "prompt", "code": 400}}
    setup.engine.cut = f"data: {json.dumps(wrong)}\n\ndata: [DONE]\n\n".encode()
    answer = httpx.post(f"{setup.url}/v1/completions", json={"prompt": "hello", "stream": True}, timeout=20, trust_env=False)
    assert json.loads(answer.text.strip().split("\n\n")[-1].removeprefix("data: ")) == wrong
    eventually(lambda: setup.outcome("invalid_request") == 1)
    assert "hello" not in "".join(setup.process.text)


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
CONTEXT = "This model's maximum context length is 10 tokens. However, you requested 20 tokens."


REFUSALS = [(400, CONTEXT), (400, ECHOED), (404, "the model `x` does not exist"), (422, "no"), (429, "full"), (503, "paused")]


def test_the_engines_refusals_are_passed_on(setup: Setup) -> None:
    """Status, type, code and text are the engine's, as its clients know them, however long. Nothing of the text is in the log."""
    for path, (status, error) in product(ROUTES, REFUSALS):
        setup.engine.status, setup.engine.error = status, error
        answer = httpx.post(setup.url + path, json={"input": "x"}, timeout=20, trust_env=False)
        assert answer.status_code == status
        assert (answer.json()["error"] == setup.engine.refusal) is (status < 500)
        assert answer.headers.get("retry-after") == ("10" if status in {429, 503} else None)
    logged = [line for line in setup.process.logs if line["event"] == "engine_refused"]
    assert {(line["status"], line["kind"]) for line in logged} == {(status, "BadRequestError") for status, _ in REFUSALS}
    assert not [line for line in setup.process.text if "hello" in line or "maximum" in line or "does not exist" in line]


@pytest.mark.parametrize(
    ("status", "content", "says", "passed"),
    [
        (400, b'{"error": {"message": "no", "type": "BadRequestError"}}', "no", True),
        (400, b'{"object": "error", "message": "no"}', "no", True),
        (400, b'{"error": "no"}', "no", True),
        (400, b'{"message": "no"}', ENGINE_REFUSED, False),
        (400, b'{"detail": []}', ENGINE_REFUSED, False),
        (400, b"[" * 100_000, ENGINE_REFUSED, False),
        (400, b"", ENGINE_REFUSED, False),
        (500, b'{"error": {"message": "see /secret"}}', ENGINE_FAILED, False),
        (501, b'{"error": {"message": "see /secret"}}', ENGINE_FAILED, False),
    ],
)
def test_an_answer_that_is_no_error_of_the_engines_is_not_passed_on(status: int, content: bytes, says: str, passed: bool) -> None:
    """A proxy's page, or half of a body; nor is what the engine says of a failure of its own. The status is its own."""
    error = Refused(status, content)
    assert (error.status, str(error), error.content) == (status, says, content if passed else b"")


def test_responses_and_embeddings_are_passed_through(setup: Setup) -> None:
    """With the deadlines and places of the others."""
    for path, body in ((RESPONSES, {"model": "org/llama", "input": "hi"}), (EMBEDDINGS, {"model": "org/llama", "input": ["a"] * 100})):
        answer = httpx.post(setup.url + path, json=body, timeout=20, trust_env=False)
        assert (answer.status_code, answer.json()["usage"]) == (200, {"completion_tokens": 3})
        assert setup.engine.bodies[-1][0] == path
    assert setup.outcome("answered") == 2


def test_metrics_have_tokens_latencies_and_every_refusal(setup: Setup) -> None:
    """Also of what is refused before it takes a place."""
    list(setup.client.completions.create(model="org/llama", prompt="hi", stream=True))
    for body in (b"{", b'{"max_tokens": 65}'):
        httpx.post(f"{setup.url}/v1/completions", content=body, trust_env=False)
    assert (setup.outcome("invalid_request"), setup.outcome("input_too_large")) == (1, 1)
    eventually(lambda: setup.metric('model_server_tokens_total{kind="generated"}') >= 3)
    assert setup.metric("model_server_first_token_seconds_count") == 1
    assert setup.metric("model_server_request_seconds_count") == 1
    assert setup.metric('model_server_tokens_total{kind="prompt"}') >= 2


@pytest.mark.parametrize("settled", [False, True], ids=["at the end", "in time"])
def test_what_cannot_be_finished_is_answered(setup_short: Setup, settled: bool) -> None:
    """At the end of a drain: 503 with Retry-After where no answer has begun, an error as the last event of a stream; none is cut off."""
    held, rest = threading.Event(), threading.Event()
    setup_short.engine.hold, setup_short.engine.rest = held, rest
    answers: list[httpx.Response] = []

    def ask(body: dict[str, Any]) -> None:
        answers.append(httpx.post(f"{setup_short.url}/v1/completions", json=body, timeout=30, trust_env=False))

    threads = [threading.Thread(target=ask, args=({"prompt": str(number)},)) for number in range(20)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(setup_short.engine.bodies) == 21)  # the warm-up is one
    setup_short.engine.hold = None
    streams = [threading.Thread(target=ask, args=({"prompt": "x", "stream": True},)) for _ in range(20)]
    for thread in streams:
        thread.start()
    eventually(lambda: setup_short.metric("model_server_first_token_seconds_count") == 20)
    setup_short.process.terminate()
    if settled:
        held.set()
        rest.set()
    for thread in (*threads, *streams):
        thread.join(30)
    held.set()
    rest.set()
    assert setup_short.process.ended() == 0
    assert "Traceback" not in "".join(setup_short.process.text)
    whole = [answer for answer in answers if "event-stream" not in answer.headers.get("content-type", "")]
    events = [answer.text.strip().split("\n\n")[-1] for answer in answers if answer not in whole]
    assert (len(whole), len(events)) == (20, 20)
    if settled:
        assert {answer.status_code for answer in whole} == {200}
        assert set(events) == {"data: [DONE]"}
        return
    assert {(answer.status_code, answer.headers["retry-after"]) for answer in whole} == {(503, "1")}
    assert {json.loads(last.removeprefix("data: "))["error"]["code"] for last in events} == {"unavailable"}


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
