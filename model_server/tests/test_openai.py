"""The OpenAI protocol of the server itself, in this process; `pipelines/test_openai.py` asks a server with a model."""

import asyncio
import json
import time
from collections.abc import Sequence

import httpx
import pytest
from failover_model_server import registry
from failover_model_server.http import app
from failover_model_server.run import Run
from failover_model_server.tasks.base import Item
from failover_model_server.tasks.text_generation import MOST_CHARACTERS
from starlette.types import Message

from tests.support.generation import MOST_TOKENS, Alphabet, Spelling
from tests.support.service import client, echo, loaded, until

COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"


@pytest.fixture
def alphabet(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Servers of the test continue texts with the alphabet; the prompts that they continued."""
    monkeypatch.setattr(Alphabet, "ran", [])
    monkeypatch.setattr(registry, "task", lambda _: Spelling)
    monkeypatch.setattr(registry, "backend", lambda _: Alphabet)
    return Alphabet.ran


def ask(*bodies: dict[str, object] | bytes, path: str = COMPLETIONS, **settings: object) -> list[httpx.Response]:
    """The answers to the bodies, which one server is sent one after the other."""

    async def run() -> list[httpx.Response]:
        async with loaded(echo(app="m", **settings)) as service, client(service) as http:
            contents = [body if isinstance(body, bytes) else json.dumps({"model": "m", **body}).encode() for body in bodies]
            return [await http.post(path, content=content) for content in contents]

    return asyncio.run(run())


def test_a_stream_of_several_prompts_is_refused_and_none_is_generated(alphabet: list[str]) -> None:
    """The accelerator is free for the next client, whose prompt is the only one that runs."""
    many, one = ask({"prompt": ["a", "b", "c"], "stream": True, "max_tokens": 9}, {"prompt": ["next"], "stream": True, "max_tokens": 3})
    assert (many.status_code, "prompt: a stream takes one" in many.json()["error"]["message"]) == (400, True)
    assert one.text.endswith("data: [DONE]\n\n")
    assert alphabet == ["next"]


@pytest.mark.usefixtures("alphabet")
def test_a_client_that_leaves_before_the_first_event_ends_the_generation() -> None:
    """The server cannot send the head of the answer: nothing of the stream was read."""

    async def run() -> None:
        async with loaded(echo(app="m", max_new_tokens=MOST_TOKENS)) as service:
            asked: list[Message] = [
                {
                    "type": "http.request",
                    "body": json.dumps({"model": "m", "prompt": "a", "stream": True, "max_tokens": MOST_TOKENS}).encode(),
                }
            ]

            async def receive() -> Message:
                if not asked:
                    await asyncio.Event().wait()
                return asked.pop()

            async def send(message: Message) -> None:
                raise ConnectionResetError(message["type"])

            scope = {"type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "scheme": "http"}
            where = {"method": "POST", "path": COMPLETIONS, "raw_path": COMPLETIONS.encode(), "query_string": b"", "root_path": ""}
            with pytest.raises((ConnectionResetError, ExceptionGroup)):
                await app.make(service)({**scope, **where, "headers": []}, receive, send)
            await until(lambda: service.in_flight == 0)

    asyncio.run(run())


@pytest.mark.parametrize("ending", [{"max_tokens": 3}, {"max_tokens": 2000, "stop": ["d"]}], ids=["limit", "stop"])
@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_does_not_wait_for_longer_ones_in_its_batch(alphabet: list[str], ending: dict[str, object], stream: bool) -> None:
    """It is whole when its own text ends; what shares the batch goes on, and is answered as if it were alone."""

    async def run() -> None:
        async with loaded(echo(app="m", max_new_tokens=2000, batch_buckets="2")) as service, client(service) as http:

            async def post(prompt: str, body: dict[str, object]) -> httpx.Response:
                return await http.post(COMPLETIONS, json={"model": "m", "prompt": prompt, **body}, timeout=None)

            before = asyncio.create_task(post("before", {"max_tokens": 100}))
            await until(lambda: alphabet == ["before"])
            usage = {"stream_options": {"include_usage": True}} if stream else {}
            both = [
                asyncio.create_task(post("long", {"max_tokens": 2000})),
                asyncio.create_task(post("short", {**ending, **usage, "stream": stream})),
            ]
            long, short = both
            answer = await short
            assert not long.done()
            assert (await before).status_code == 200
            assert sorted(alphabet[1:]) == ["long", "short"]
            events = [json.loads(line[6:]) for line in answer.text.split("\n\n") if line and not line.endswith("[DONE]")] if stream else []
            choices = [choice for event in events or [answer.json()] for choice in event["choices"]]
            assert "".join(choice["text"] for choice in choices) == "abc"
            assert choices[-1]["finish_reason"] == ("stop" if "stop" in ending else "length")
            assert (events or [answer.json()])[-1]["usage"]["completion_tokens"] >= 3
            assert service._workers[0].in_flight is not None
            assert (await long).json()["choices"][0]["text"] == "".join(chr(ord("a") + number % 26) for number in range(2000))

    asyncio.run(run())


def test_texts_that_end_with_their_stop_sequence_say_how_long_texts_take(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all clients send one, nothing else does: the server refused all but one at a time for what its warm-up had made it expect."""

    class SlowToBegin(Alphabet):
        def run(self, items: Sequence[Item], run: Run) -> Sequence[object]:
            time.sleep(0.05)
            return super().run(items, run)

    monkeypatch.setattr(registry, "task", lambda _: Spelling)
    monkeypatch.setattr(registry, "backend", lambda _: SlowToBegin)

    async def run() -> None:
        async with loaded(echo(app="m", max_new_tokens=1000, batch_buckets="1", request_timeout=10)) as service, client(service) as http:

            async def post() -> int:
                body = {"model": "m", "prompt": "a", "max_tokens": 1000, "stop": ["d"]}
                return (await http.post(COMPLETIONS, json=body)).status_code

            assert [await post() for _ in range(4)] == [200] * 4
            assert await asyncio.gather(*(post() for _ in range(4))) == [200] * 4

    asyncio.run(run())


@pytest.mark.usefixtures("alphabet")
def test_texts_that_the_model_cannot_take_are_the_clients_mistake() -> None:
    """Not a failure of the server, which clients would send again: too long, or half of a character."""
    long, half, part = "a" * (MOST_CHARACTERS + 1), "\ud83d", {"type": "text", "text": "a" * MOST_CHARACTERS}
    for prompt in (long, half, [long]):
        assert [answer.status_code for answer in ask({"prompt": prompt, "max_tokens": 1})] == [422]
    said: list[tuple[object, int]] = [
        (long, 422),
        (half, 422),
        ([{"type": "text", "text": long}], 422),
        ([{"type": "text", "text": half}], 422),
        ([part, part], 400),
    ]
    bodies = [{"messages": [{"role": "user", "content": content}], "max_tokens": 1} for content, _ in said]
    answers = ask(*bodies, path=CHAT)
    assert [answer.status_code for answer in answers] == [status for _, status in said]
    assert {answer.json()["error"]["type"] for answer in answers} == {"invalid_request_error"}
    assert answers[-1].json()["error"]["message"] == f"content: String should have at most {MOST_CHARACTERS} characters"


@pytest.mark.usefixtures("alphabet")
def test_what_changes_nothing_is_accepted_and_all_else_is_refused_by_name() -> None:
    """0 is not false: a completion with `logprobs` 0 asks for the log probability of each token that was chosen."""
    neutral: list[dict[str, object]] = [{"logprobs": False}, {"logprobs": None}, {"n": 1}, {"echo": False}, {"user": "me"}]
    neutral += [{"tools": [], "tool_choice": "none"}, {"presence_penalty": 0.0}, {"response_format": {"type": "text"}}]
    wrong: list[dict[str, object]] = [{"logprobs": 0}, {"logprobs": 1}, {"logprobs": True}, {"n": 2}, {"n": True}, {"tool_choice": "auto"}]
    answers = ask(*({"prompt": "a", "max_tokens": 1, **body} for body in (*neutral, *wrong)))
    assert [answer.status_code for answer in answers] == [200] * len(neutral) + [400] * len(wrong)
    says = [answer.json()["error"]["message"] for answer in answers[len(neutral) :]]
    assert says == [f"{next(iter(body))}: not supported here, or not with this value" for body in wrong]


@pytest.mark.usefixtures("alphabet")
@pytest.mark.parametrize(("most", "text"), [(20, "abcdefghijklmnop"), (4, "abcd")])
def test_a_completion_that_names_no_number_of_tokens_is_within_the_limit(most: int, text: str) -> None:
    """16, as OpenAI has it, or the server's setting where that is lower: the client cannot know it."""
    answers = ask({"prompt": "a"}, {"prompt": "a", "max_tokens": None}, max_new_tokens=most)
    assert [answer.json()["choices"][0]["text"] for answer in answers] == [text, text]


def test_more_prompts_than_the_queue_holds_are_too_many(alphabet: list[str]) -> None:
    """413 and how many are allowed, not 429 for ever after some of them have run; the number that the queue holds is answered."""
    many, most = ask({"prompt": ["a", "b", "c", "d"], "max_tokens": 1}, {"prompt": ["e", "f", "g"], "max_tokens": 1}, max_queue=3)
    assert (many.status_code, "at most 3" in many.json()["error"]["message"]) == (413, True)
    assert (most.status_code, sorted(alphabet)) == (200, ["e", "f", "g"])


@pytest.mark.usefixtures("alphabet")
def test_a_conversation_is_bounded_as_a_whole() -> None:
    """Thirty messages of the longest length would keep a tokenizer busy for all others."""
    said = [{"role": "user", "content": "x" * (MOST_CHARACTERS // 2)}] * 3
    (answer,) = ask({"messages": said, "max_tokens": 1}, path=CHAT)
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, "messages: 300000 characters together; at most 200000")


@pytest.mark.usefixtures("alphabet")
@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "user", "content": [0] * 100_000}]},
        {"messages": [0] * 100_000},
        {"messages": [{"role": "user", "content": "a"}], **{f"x{number}": 1 for number in range(10_000)}},
        {"messages": [{"role": "user", "content": "a"}], "x" * 100_000: 1},
        {"messages": [{"role": "user", "content": "a"}], "max_tokens": 10**4000},
    ],
    ids=["parts", "messages", "fields", "a long name", "a long number"],
)
def test_a_wrong_body_has_a_short_answer(body: dict[str, object]) -> None:
    """However much is wrong: an error for each element took seconds and gigabytes, and named all of them."""
    (answer,) = ask(body, path=CHAT)
    assert answer.status_code in {400, 413, 422}
    assert len(answer.content) < 1500
