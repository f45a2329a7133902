"""The adapter in front of a real vLLM, its build for processors: what the fake of the other tests says is what it really says.

The model is tiny, with random weights: what it says means nothing, and is the same with each of a seed and a temperature of 0.
"""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from failover_model_server.adapter import scrape
from failover_model_server.adapter.bodies import TextGenerationRequest
from failover_model_server.adapter.engine import Engine
from failover_model_server.settings import Settings

from tests.support.process import ServerProcess, eventually, free_port, running
from tests.support.service import Recorder

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

CONTEXT = 4096
"""Tokens, which are bytes here."""
MOST = 3000
"""New tokens that the adapter allows: some ten seconds of this model."""
START_S = 600.0
DRAIN_S = 3.0
"""A busy machine needs seconds for the question whether the adapter is ready."""
PATIENT = Path(__file__).parents[1] / "vllm" / "patient"
"""What makes vLLM's processes sleep while they wait."""
MODEL = "model"
SAID: Any = [{"role": "user", "content": "hi"}]
GO_ON = {"ignore_eos": True}
"""vLLM's own: a text does not end by itself."""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of vLLM, ready."""
    from tests.pipelines.models import long_llama

    folder = tmp_path_factory.mktemp("engine")
    long_llama(folder / "model", CONTEXT)
    port, log = free_port(), folder / "log"
    options = {"max-model-len": CONTEXT, "max-num-seqs": 8, "served-model-name": MODEL, "host": "127.0.0.1", "port": port}
    given = [f"--{name}={value}" for name, value in (options | {"model": folder / "model", "dtype": "float32"}).items()]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *given, "--enforce-eager"]
    environment = {
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "HOME": str(folder),
        "PYTHONPATH": str(PATIENT),
    }
    with log.open("w") as out:
        started = subprocess.Popen(command, env={**os.environ, **environment}, stdout=out, stderr=out, start_new_session=True)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(started, url, log)
        yield url
    finally:
        started.terminate()
        with suppress(subprocess.TimeoutExpired):
            started.wait(30)
        with suppress(ProcessLookupError):
            os.killpg(started.pid, 9)  # its engine is a process of its own
        started.wait()


def _wait(started: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and started.poll() is None:
        with suppress(httpx.HTTPError):
            if httpx.get(f"{url}/health", trust_env=False).status_code == 200:
                return
        time.sleep(0.5)
    raise AssertionError(f"vLLM does not serve (exit code {started.poll()}):\n{log.read_text()[-5000:]}")


@dataclass
class Setup:
    engine: str
    process: ServerProcess
    client: openai.OpenAI
    """Of the adapter."""

    @property
    def running(self) -> float:
        """Requests that vLLM runs or keeps waiting."""
        totals = _totals(self.engine)
        return totals.running + totals.waiting

    @property
    def generated(self) -> float:
        """Tokens that vLLM has made."""
        text = httpx.get(f"{self.engine}/metrics", trust_env=False).text
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith("vllm:generation_tokens_total"))

    def outcome(self, name: str) -> float:
        return self.process.outcome(name)


def _finished(engine: str) -> float:
    """Requests whose whole text vLLM has made, by its own count."""
    lines = httpx.get(f"{engine}/metrics", trust_env=False).text.splitlines()
    ended = [line for line in lines if line.startswith("vllm:request_success_total{") and 'finished_reason="abort"' not in line]
    assert ended
    return sum(float(line.rsplit(" ", 1)[1]) for line in ended)


def _totals(engine: str) -> scrape.Totals:
    return scrape.parse(httpx.get(f"{engine}/metrics", trust_env=False).text)


@pytest.fixture
def setup(engine: str) -> Iterator[Setup]:
    """An adapter that is ready, in front of it."""
    settings = {"MODEL_SERVER_MAX_NEW_TOKENS": str(MOST), "MODEL_SERVER_MAX_QUEUE": "8", "MODEL_SERVER_DRAIN_SECONDS": str(DRAIN_S)}
    with running("adapter", MODEL_SERVER_ENGINE_URL=engine, **settings) as process:
        process.until("/readiness", 200)
        with _client(process.url) as client:
            yield Setup(engine, process, client)


def _client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=60)


def test_openais_client_gets_what_vllm_says(setup: Setup) -> None:
    """Through the adapter as from vLLM itself: models, completions, chats, usage, log probabilities, stop sequences."""
    client = setup.client
    assert [model.id for model in client.models.list()] == [MODEL]
    assert client.models.retrieve(MODEL).owned_by == "vllm"
    asked: Any = {"model": MODEL, "prompt": "a film", "max_tokens": 12, "temperature": 0, "logprobs": 2, "extra_body": GO_ON}
    chat: Any = {"model": MODEL, "messages": SAID, "max_tokens": 12, "temperature": 0.8, "seed": 5, "extra_body": GO_ON}
    with _client(setup.engine) as direct:
        own, own_chat = direct.completions.create(**asked), direct.chat.completions.create(**chat)
    said = client.completions.create(**asked)
    assert said.choices == own.choices
    assert said.usage == own.usage
    assert (said.usage and said.usage.completion_tokens, said.choices[0].finish_reason) == (12, "length")
    assert client.chat.completions.create(**chat).choices == own_chat.choices
    first = said.choices[0].text[3]
    stopped = client.completions.create(model=MODEL, prompt="a film", max_tokens=12, temperature=0, stop=first, extra_body=GO_ON)
    assert stopped.choices[0].finish_reason == "stop"
    assert first not in stopped.choices[0].text
    eventually(lambda: setup.outcome("answered") == 3)


@pytest.mark.parametrize("kind", ["completions", "chat"])
def test_a_stream_is_in_pieces_what_comes_at_once(setup: Setup, kind: str) -> None:
    """With its usage at the end, where that is wanted. The pieces come while vLLM makes the rest."""
    with_usage: Any = {"stream": True, "stream_options": {"include_usage": True}}
    asked: Any = {"model": MODEL, "max_tokens": 400, "temperature": 0, "extra_body": GO_ON}
    if kind == "chat":
        whole = setup.client.chat.completions.create(messages=SAID, **asked).choices[0].message.content
        stream: Any = setup.client.chat.completions.create(messages=SAID, **asked, **with_usage)
    else:
        whole = setup.client.completions.create(prompt="a film", **asked).choices[0].text
        stream = setup.client.completions.create(prompt="a film", **asked, **with_usage)
    texts: list[str] = []
    usage, before = None, setup.generated
    for piece in stream:
        if not texts:
            assert setup.generated - before < 400  # it has not made all of it
        usage = piece.usage or usage
        texts += [(one.delta.content or "") if kind == "chat" else one.text for one in piece.choices]
    assert "".join(texts) == whole
    assert usage is not None
    assert usage.completion_tokens == 400
    assert len(texts) >= 100
    eventually(lambda: setup.outcome("answered") == 2)


def test_a_client_that_leaves_aborts_its_request_in_vllm(setup: Setup) -> None:
    """In a stream, and while it waits for the whole answer: vLLM runs nothing afterwards, and has made a small part of the text."""
    before = setup.generated
    for _ in range(3):
        stream = setup.client.completions.create(model=MODEL, prompt="a", max_tokens=MOST, stream=True, extra_body=GO_ON)
        next(iter(stream))
        stream.close()
        eventually(lambda: setup.running == 0)
        with pytest.raises(openai.APITimeoutError):
            setup.client.completions.create(model=MODEL, prompt="a", max_tokens=MOST, extra_body=GO_ON, timeout=0.5)
        eventually(lambda: setup.running == 0)
    assert setup.generated - before < MOST
    eventually(lambda: setup.outcome("cancelled") == 6)
    assert setup.outcome("answered") == 0


def test_a_deadline_aborts_the_request_in_vllm(setup: Setup) -> None:
    """In a stream the client gets an error of the protocol, else 504."""
    late: Any = {"model": MODEL, "prompt": "a", "max_tokens": MOST, "extra_body": GO_ON, "extra_headers": {"X-Request-Timeout": "0.5"}}
    with pytest.raises(openai.APIError, match=r"no answer within 0.5 s"):
        list(setup.client.completions.create(**late, stream=True))
    eventually(lambda: setup.running == 0)
    with pytest.raises(openai.APIStatusError) as failed:
        setup.client.completions.create(**late)
    assert failed.value.status_code == 504
    eventually(lambda: setup.running == 0)


def test_wrong_requests_get_vllms_words(setup: Setup) -> None:
    """Word for word, with its status: clients know how to read them."""
    client = setup.client
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        client.completions.create(model="other", prompt="a")
    with pytest.raises(openai.BadRequestError, match="temperature"):
        client.completions.create(model=MODEL, prompt="a", temperature=-1)
    with _client(setup.engine) as direct:
        mistakes: list[Any] = [{"prompt": "a" * CONTEXT}, {"prompt": "a", "temperature": -1}, {"prompt": "a", "top_p": 2}, {"prompt": {}}]
        for wrong in mistakes:
            said: list[Any] = []
            for asked in (direct, client):
                with pytest.raises(openai.BadRequestError) as refused:
                    asked.completions.create(model=MODEL, max_tokens=1, **wrong)
                said.append((refused.value.status_code, refused.value.body))
            assert said[0] == said[1]


def test_the_sample_route_answers_and_repeats_its_seed(setup: Setup) -> None:
    """Its seed is sent to vLLM: the same one says the same again, without one they differ."""

    def ask(**more: object) -> dict[str, Any]:
        body = {"prompt": "a film", "max_new_tokens": 24, "temperature": 1.0, **more}
        found: dict[str, Any] = httpx.post(f"{setup.process.url}/gentext", json=body, timeout=60, trust_env=False).json()
        return found

    drawn, again = ask(), ask()
    repeated = ask(seed=drawn["seed"])
    assert repeated["response"] == drawn["response"] != again["response"]
    assert repeated["tokens"] == drawn["tokens"]
    assert ask(chat=True, seed=1)["finish_reason"] in {"stop", "length"}


def test_every_answer_is_counted_once_and_nothing_else(engine: str) -> None:
    """Of forty requests at once, some leave before they are answered: the others are counted, and no warm-up."""

    async def run() -> None:
        settings = Settings(engine_url=engine, max_new_tokens=MOST)
        counted = Recorder()
        async with httpx.AsyncClient(base_url=engine, trust_env=False, limits=httpx.Limits(max_connections=None)) as client:
            watching = Engine(settings, counted, client)
            await watching.observe()
            before = _finished(engine)
            assert watching.state.ready, watching.state.reason
            short, long = (
                TextGenerationRequest(prompt="a", max_new_tokens=8),
                TextGenerationRequest(prompt="a", max_new_tokens=MOST, chat=True),
            )
            answers = [asyncio.create_task(watching.generate(short)) for _ in range(30)]
            leaving = [asyncio.create_task(watching.generate(long)) for _ in range(10)]
            await asyncio.gather(*answers)
            for one in leaving:
                one.cancel()
            ended = await asyncio.gather(*leaving, return_exceptions=True)
            gone = sum(isinstance(one, asyncio.CancelledError) for one in ended)
            while (totals := _totals(engine)).running + totals.waiting:
                await asyncio.sleep(0.05)
            await watching.observe()
        assert gone > 0
        # vLLM may have finished a text whose client left before it read the answer.
        assert 40 - gone <= len(counted.latencies) == _finished(engine) - before < 40
        assert all(0 <= seconds <= 60 for seconds in counted.latencies)

    asyncio.run(run())


def test_sigterm_lets_a_stream_end(setup: Setup) -> None:
    """The adapter is not ready at once, sends all of the answer, and ends with 0."""
    asked: Any = {"model": MODEL, "prompt": "a", "max_tokens": 2000, "stream": True, "extra_body": GO_ON}
    with ThreadPoolExecutor(1) as threads:
        pieces = iter(setup.client.completions.create(**asked))
        next(pieces)
        rest = threads.submit(lambda: list(pieces))
        setup.process.terminate()
        setup.process.until("/readiness", 503)
        assert rest.result(60)[-1].choices[0].finish_reason == "length"
    assert setup.process.ended() == 0
