"""The adapter in front of a fake of vLLM: ready when the engine generates, counts what the engine served, refuses what it cannot take."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import boto3
import httpx
import pytest
from failover_model_server.adapter.app import Adapter, make
from failover_model_server.adapter.bodies import TextGenerationRequest
from failover_model_server.adapter.engine import Engine
from failover_model_server.adapter.place import Place
from failover_model_server.http.errors import ClientGone
from failover_model_server.settings import Settings
from failover_model_server.telemetry.sink import Sink
from moto.server import ThreadedMotoServer
from prometheus_client import CollectorRegistry
from starlette.requests import ClientDisconnect

from tests.support import vllm
from tests.support.process import eventually, running
from tests.support.service import Recorder, until


@dataclass
class Setup:
    vllm: vllm.Vllm
    adapter: Adapter
    sink: Recorder
    client: httpx.AsyncClient

    async def observe(self) -> None:
        """The adapter observes the engine once."""
        await self.adapter.engine.observe()

    async def get(self, path: str) -> httpx.Response:
        return await self.client.get(path)

    async def ask(self, **body: Any) -> httpx.Response:
        return await self.client.post("/gentext", json={"prompt": "The capital of France is", **body})


@asynccontextmanager
async def _setup(**more: object) -> AsyncIterator[Setup]:
    with vllm.serve() as engine:
        settings = Settings(engine_url=engine.url, **more)  # type: ignore[arg-type]
        sink = Recorder()
        async with httpx.AsyncClient(base_url=engine.url, trust_env=False) as client:
            adapter = Adapter(settings, Engine(settings, sink, client), sink, CollectorRegistry())
            transport = httpx.ASGITransport(make(adapter), raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://adapter") as asked:
                yield Setup(engine, adapter, sink, asked)


def _run(test: Callable[[Setup], Any], **more: object) -> None:
    async def whole() -> None:
        async with _setup(**more) as setup:
            await test(setup)

    asyncio.run(whole())


def test_ready_means_that_the_engine_has_generated() -> None:
    """Not while it loads, not when it is healthy and says nothing; then yes, and no longer once it is gone."""

    async def test(setup: Setup) -> None:
        await setup.observe()
        assert (await setup.get("/readiness")).status_code == 503
        assert (await setup.get("/health")).status_code == 200
        setup.vllm.health, setup.vllm.text, setup.vllm.finish_reason = 200, "", "length"
        await setup.observe()
        assert (await setup.get("/readiness")).status_code == 503
        setup.vllm.text = " Paris."
        await setup.observe()
        answer = await setup.get("/readiness")
        assert (answer.status_code, answer.json()["state"]) == (200, "READY")
        assert (await setup.get("/ping")).json() == {"status": "Healthy"}
        setup.vllm.health = 500
        await setup.observe()
        answer = await setup.get("/readiness")
        assert (answer.status_code, answer.json()["reason"]) == (503, "the engine says 500 to /health")
        setup.adapter.draining = True
        assert (await setup.get("/readiness")).json()["state"] == "DRAINING"

    _run(test)


DEEP = httpx.Response(200, text="[" * 100_000)
ODD = [
    ("/v1/models", httpx.Response(401, json={"error": "Unauthorized"}), "the engine says 401 to /v1/models"),
    ("/v1/models", httpx.Response(307, headers={"Location": "https://x/"}), "the engine says 307 to /v1/models"),
    ("/v1/models", httpx.Response(200, json={"data": []}), "the engine's answer to /v1/models was not understood"),
    ("/v1/models", DEEP, "the engine's answer to /v1/models was not understood"),
    ("/metrics", httpx.Response(404, text="no metrics"), "the engine says 404 to /metrics"),
    ("/metrics", httpx.Response(200, text="other_total 1"), "the engine's answer to /metrics was not understood"),
    ("/v1/completions", httpx.Response(500, json={"error": {"message": "x"}}), "the engine says 500 to /v1/completions"),
    ("/v1/completions", httpx.Response(200, json={"choices": [None]}), "the engine's answer to /v1/completions was not understood"),
    ("/v1/completions", DEEP, "the engine's answer to /v1/completions was not understood"),
    ("/v1/completions", httpx.Response(200, json={"choices": [{"text": ""}]}), "the engine does not generate"),
]


@pytest.mark.parametrize(("path", "odd", "reason"), ODD)
def test_an_engine_that_answers_oddly_is_not_ready_and_the_reason_says_how(path: str, odd: httpx.Response, reason: str) -> None:
    """Whatever it answers, the adapter goes on to watch it: an exception would end the process."""
    usual = {
        "/health": httpx.Response(200),
        "/v1/models": httpx.Response(200, json={"data": [{"id": "org/llama"}]}),
        "/metrics": httpx.Response(200, text="# TYPE vllm:request_success counter\nvllm:request_success_total 0\n"),
        "/v1/completions": httpx.Response(200, json={"choices": [{"text": " Paris."}]}),
    }

    async def run() -> tuple[bool, str]:
        answers = httpx.MockTransport(lambda request: (usual | {path: odd})[request.url.path])
        async with httpx.AsyncClient(transport=answers, base_url="http://engine") as client:
            engine = Engine(Settings(), Recorder(), client)
            await engine.observe()
            return engine.state.ready, engine.state.reason

    assert asyncio.run(run()) == (False, reason)


def test_a_model_that_ends_the_warm_up_at_once_is_ready() -> None:
    """An end token is an answer: nothing came since the model had nothing to say, and it said so."""

    async def test(setup: Setup) -> None:
        setup.vllm.health, setup.vllm.text = 200, ""
        await setup.observe()
        assert (await setup.get("/readiness")).status_code == 200

    _run(test)


def test_what_is_answered_while_probes_time_out_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy engine is the same engine: what it served meanwhile is counted once it answers probes again, exactly."""
    monkeypatch.setattr("failover_model_server.adapter.engine.PROBE_TIMEOUT", 0.2)

    async def test(setup: Setup) -> None:
        setup.vllm.health = 200
        await setup.observe()
        setup.vllm.stalled = threading.Event()
        for _ in range(100):
            setup.vllm.finish(0.4)
        await setup.observe()
        assert (await setup.get("/readiness")).json()["reason"] == "the engine does not answer in time"
        setup.vllm.stalled.set()
        await setup.observe()
        assert (await setup.get("/readiness")).status_code == 200
        assert len(setup.sink.latencies) == 100

    _run(test)


@pytest.mark.parametrize("break_off", ["reset", "nonsense"])
def test_what_is_answered_around_a_broken_probe_is_counted(break_off: str) -> None:
    """A probe that fails makes the adapter warm up again, not forget: every answer is counted, and no warm-up is."""

    async def test(setup: Setup) -> None:
        setup.vllm.health = 200
        await setup.observe()
        for _ in range(10):
            setup.vllm.finish(0.4)
        client = setup.adapter.engine._client
        if break_off == "reset":
            setup.adapter.engine._client = httpx.AsyncClient(base_url="http://127.0.0.1:9", trust_env=False)
        else:
            setup.vllm.health = 503
        await setup.observe()
        setup.adapter.engine._client, setup.vllm.health = client, 200
        for _ in range(10):
            setup.vllm.finish(0.4)
        await setup.observe()
        await setup.observe()
        assert len(setup.sink.latencies) == 20

    _run(test)


def test_a_seed_is_sent_said_and_repeats() -> None:
    """As of the server: the client's own, or one that it can send again."""

    async def test(setup: Setup) -> None:
        setup.vllm.health = 200
        await setup.observe()
        assert (await setup.ask(seed=7)).json()["seed"] == setup.vllm.bodies[-1][1]["seed"] == 7
        first = (await setup.ask(temperature=1.0)).json()["seed"]
        assert first == setup.vllm.bodies[-1][1]["seed"]
        assert (await setup.ask(temperature=1.0)).json()["seed"] != first

    _run(test)


def test_limits_are_those_of_the_server() -> None:
    """More new tokens than the setting is 413, not fewer tokens than the client asked for; the deadline is that of the whole answer."""

    async def test(setup: Setup) -> None:
        setup.vllm.health = 200
        await setup.observe()
        asked = len(setup.vllm.bodies)
        answer = await setup.ask(max_new_tokens=65)
        assert (answer.status_code, answer.json()["error"]["message"]) == (413, "max_new_tokens: 65; at most 64")
        assert len(setup.vllm.bodies) == asked
        assert (await setup.ask(max_new_tokens=64)).status_code == 200
        for status, code in ((429, "overloaded"), (503, "unavailable")):
            setup.vllm.status = status
            answer = await setup.ask()
            assert (answer.status_code, answer.json()["error"]["code"], answer.headers["retry-after"]) == (status, code, "10")

    _run(test, max_new_tokens=64)


def test_json_without_a_content_type_is_json() -> None:
    """As with the model servers: a client need not know which of them answers."""

    async def test(setup: Setup) -> None:
        setup.vllm.health = 200
        await setup.observe()
        assert (await setup.client.post("/gentext", content=b'{"prompt": "x"}')).status_code == 200

    _run(test)


def test_a_client_that_goes_aborts_its_request() -> None:
    """The engine sees the connection close, which is how it hears of an abort; a deadline of the client's does the same."""

    async def test(setup: Setup) -> None:
        setup.vllm.health = 200
        await setup.observe()
        setup.vllm.hold = threading.Event()
        late = await setup.client.post("/gentext", json={"prompt": "x"}, headers={"X-Request-Timeout": "0.2"})
        assert (late.status_code, late.json()["error"]["code"]) == (504, "deadline_exceeded")
        await until(lambda: setup.vllm.aborted == 1)
        asked = asyncio.create_task(setup.adapter.generate(TextGenerationRequest(prompt="x")))
        await until(lambda: len(setup.vllm.bodies) == 3)
        asked.cancel()
        await until(lambda: setup.vllm.aborted == 2)

    _run(test)


def test_all_requests_of_the_engine_are_counted() -> None:
    """Those of /gentext and those of clients of the OpenAI API, once each; the warm-up is not."""

    async def test(setup: Setup) -> None:
        setup.vllm.health = 200
        await setup.observe()
        assert (await setup.ask()).status_code == 200
        setup.vllm.finish(1.2)
        setup.vllm.finish(1.2, "abort")
        await setup.observe()
        await setup.observe()
        assert len(setup.sink.latencies) == 2
        assert 0.3 <= min(setup.sink.latencies) <= 0.5
        assert "model_server_queued_requests 2.0" in (await setup.get("/metrics")).text

    _run(test)


def test_the_seeds_route_is_translated() -> None:
    """Prompt, limits and sampling arrive at the engine; the answer has the form of the model server."""

    async def test(setup: Setup) -> None:
        setup.vllm.health = 200
        await setup.observe()
        answer = await setup.ask(max_new_tokens=5, temperature=0.5, seed=7)
        assert answer.json() | {"latency": 0} == {"response": " Paris.", "tokens": 3, "finish_reason": "stop", "seed": 7, "latency": 0}
        path, body = setup.vllm.bodies[-1]
        assert path == "/v1/completions"
        assert body == {
            "model": "org/llama",
            "prompt": "The capital of France is",
            "max_tokens": 5,
            "temperature": 0.5,
            "top_p": 1.0,
            "seed": 7,
        }
        assert (await setup.ask(chat=True)).json()["response"] == " Paris."
        path, body = setup.vllm.bodies[-1]
        assert (path, body["messages"][0]["content"]) == ("/v1/chat/completions", "The capital of France is")
        await setup.ask(max_new_tokens=100_000)
        assert setup.vllm.bodies[-1][1]["max_tokens"] == 256

    _run(test)


REFUSALS = [
    pytest.param(500, "boom /secret", 500, "inference_failed", id="engine failed"),
    pytest.param(400, "maximum context length is 10", 400, "invalid_request", id="too long"),
    pytest.param(404, "the model 'x' does not exist", 404, "no_such_model", id="another model"),
]


@pytest.mark.parametrize(("status", "error", "expected", "code"), REFUSALS)
def test_the_sample_route_says_what_the_engine_says(status: int, error: str, expected: int, code: str) -> None:
    """In the form of the route. What the engine says of a failure of its own does not reach the client."""

    async def test(setup: Setup) -> None:
        setup.vllm.health = 200
        await setup.observe()
        setup.vllm.status, setup.vllm.error = status, error
        answer = await setup.ask()
        found = answer.json()["error"]
        assert (answer.status_code, found["code"], found["message"] == error) == (expected, code, status < 500)

    _run(test)


def test_an_engine_that_makes_vectors_alone_is_ready_once_it_has() -> None:
    """It refuses completions, and answers embeddings."""
    answers = {
        "/health": httpx.Response(200),
        "/v1/models": httpx.Response(200, json={"data": [{"id": "org/bge"}]}),
        "/metrics": httpx.Response(200, text="# TYPE vllm:request_success counter\nvllm:request_success_total 0\n"),
        "/v1/completions": httpx.Response(400, json={"error": {"message": "The model does not support Completions API"}}),
        "/v1/embeddings": httpx.Response(200, json={"data": [{"embedding": [0.5]}]}),
    }

    async def run(embedding: httpx.Response) -> tuple[bool, str]:
        served = httpx.MockTransport(lambda request: (answers | {"/v1/embeddings": embedding})[request.url.path])
        async with httpx.AsyncClient(transport=served, base_url="http://engine") as client:
            engine = Engine(Settings(), Recorder(), client)
            await engine.observe()
            return engine.state.ready, engine.state.reason

    assert asyncio.run(run(answers["/v1/embeddings"])) == (True, "serves org/bge")
    assert asyncio.run(run(httpx.Response(200, json={"data": []}))) == (False, "the engine's answer to /v1/embeddings was not understood")
    assert asyncio.run(run(httpx.Response(404))) == (False, "the engine says 404 to /v1/embeddings")


def test_an_engine_that_is_not_there_is_503() -> None:
    """Before it is ready and after it is gone, with Retry-After; both count as turned away."""

    async def test(setup: Setup) -> None:
        answer = await setup.ask()
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "10")
        assert setup.sink.turned_away == 1
        setup.vllm.health = 200
        await setup.observe()
        setup.adapter.engine._client = httpx.AsyncClient(base_url="http://127.0.0.1:9", trust_env=False)
        assert (await setup.ask()).status_code == 503
        assert setup.sink.turned_away == 2

    _run(test)


def test_a_flood_is_429_and_a_slow_engine_504() -> None:
    """No queue without a bound in front of the engine's own, and no request without a deadline."""

    async def test(setup: Setup) -> None:
        setup.vllm.health = 200
        await setup.observe()
        setup.vllm.hold = threading.Event()
        answers = await asyncio.gather(*(setup.ask() for _ in range(4)))
        setup.vllm.hold.set()
        assert sorted(answer.status_code for answer in answers) == [429, 429, 504, 504]
        assert setup.sink.turned_away == 2

    _run(test, max_queue=2, request_timeout=0.3)


@pytest.mark.parametrize("path", ["/gentext", "/v1/completions"])
def test_a_failure_of_the_adapter_is_no_client_that_left(path: str) -> None:
    """Nobody has foreseen that its own client is closed: an error of ours, which an alert must see."""

    async def test(setup: Setup) -> None:
        setup.vllm.health = 200
        await setup.observe()
        await setup.adapter.engine._client.aclose()
        answer = await setup.client.post(path, json={"prompt": "x"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "inference_failed")
        assert _outcomes(setup) == {"inference_failed": 1.0}
        assert setup.adapter.in_flight == 0

    _run(test)


def test_a_failure_within_a_stream_is_its_last_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """As an error that was foreseen, and without the words of the exception."""

    async def breaks(_: object) -> AsyncIterator[bytes]:
        yield b"data: {}\n\n"
        raise RuntimeError("/secret/path")

    monkeypatch.setattr("failover_model_server.adapter.passing._Passage.parts", breaks)

    async def test(setup: Setup) -> None:
        setup.vllm.health = 200
        await setup.observe()
        answer = await setup.client.post("/v1/completions", json={"model": "org/llama", "prompt": "x", "stream": True})
        first, last = answer.text.strip().split("\n\n")
        assert first == "data: {}"
        assert json.loads(last.removeprefix("data: "))["error"]["code"] == "inference_failed"
        assert "secret" not in last
        assert _outcomes(setup) == {"inference_failed": 1.0}
        assert setup.adapter.in_flight == 0

    _run(test)


@pytest.mark.parametrize("gone", [ClientGone, ClientDisconnect, asyncio.CancelledError])
def test_a_client_that_left_is_no_failure(gone: type[BaseException]) -> None:
    """Each of the ways in which a request hears of it."""

    async def test(setup: Setup) -> None:
        setup.vllm.health = 200
        await setup.observe()
        with pytest.raises(gone), Place(setup.adapter):
            raise gone
        assert _outcomes(setup) == {"cancelled": 1.0}

    _run(test)


def _outcomes(setup: Setup) -> dict[str, float]:
    """Requests by outcome."""
    samples = [sample for family in setup.adapter.registry.collect() for sample in family.samples]
    return {sample.labels["outcome"]: sample.value for sample in samples if sample.name == "model_server_requests_total"}


def test_the_document_describes_the_routes() -> None:
    """OpenAPI, as of the model servers."""
    settings = Settings()
    engine = Engine(settings, Sink(), httpx.AsyncClient())
    document = make(Adapter(settings, engine, Sink(), CollectorRegistry())).openapi()
    assert {"/gentext", "/health", "/readiness", "/metrics"} <= set(document["paths"])


@pytest.fixture
def cloudwatch(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    yield f"http://{host}:{port}"
    server.stop()


@pytest.mark.slow
def test_as_a_process_it_follows_the_engine_counts_in_cloudwatch_and_drains(cloudwatch: str) -> None:
    """Loading, ready, requests of both kinds, SIGTERM: not ready while it drains, exit 0, and every answer in `<app>-counter`."""
    settings = {
        "MODEL_SERVER_APP": "llama-g5",
        "MODEL_SERVER_CLOUDWATCH": "true",
        "AWS_ENDPOINT_URL_CLOUDWATCH": cloudwatch,
        "MODEL_SERVER_CLOUDWATCH_SECONDS": "0.2",
        "MODEL_SERVER_DRAIN_SECONDS": "1",
    }
    with vllm.serve() as engine, running("adapter", MODEL_SERVER_ENGINE_URL=engine.url, **settings) as process:
        process.until("/readiness", 503)
        engine.health = 200
        process.until("/readiness", 200)
        assert httpx.post(f"{process.url}/gentext", json={"prompt": "Hello"}, trust_env=False).json()["response"] == " Paris."
        engine.finish(0.9)
        process.terminate()
        process.until("/readiness", 503)
        assert process.ended() == 0
    client = boto3.client("cloudwatch", endpoint_url=cloudwatch)
    end = time.time()
    data = client.get_metric_statistics(
        Namespace="hw-agnostic-infer", MetricName="llama-g5-counter", StartTime=end - 3600, EndTime=end + 60, Period=60, Statistics=["Sum"]
    )
    assert sum(point["Sum"] for point in data["Datapoints"]) == 2


def test_nothing_new_is_begun_once_the_adapter_ends() -> None:
    """An engine that becomes healthy while the adapter drains is not warmed up; one that was warm is counted to the end."""

    async def test(setup: Setup) -> None:
        engine = setup.adapter.engine
        setup.vllm.health, engine.ending = 200, True
        await engine.observe()
        await engine.finish()
        assert (engine.state.ready, setup.vllm.bodies, setup.sink.latencies) == (False, [], [])
        engine.ending = False
        await engine.observe()
        engine.ending = True
        setup.vllm.finish(0.4)
        await engine.finish()
        assert (len(setup.vllm.bodies), len(setup.sink.latencies)) == (1, 1)

    _run(test)


@pytest.mark.slow
def test_an_engine_that_does_not_generate_gets_no_request_at_the_exit() -> None:
    """It is healthy by /health alone; the adapter gives its warm-up up and ends. The password of its address is in no log."""
    with vllm.serve() as engine:
        engine.health, engine.hold = 200, threading.Event()
        url = engine.url.replace("://", "://user:s3cret@")
        with running("adapter", MODEL_SERVER_ENGINE_URL=url, MODEL_SERVER_FINISH_SECONDS="1") as process:
            process.until("/readiness", 503)
            eventually(lambda: len(engine.bodies) == 1)
            process.terminate()
            assert process.ended() == 0
            assert process.logged("listening")["engine"] == engine.url.removeprefix("http://")
            assert "s3cret" not in "".join(process.text)
        assert len(engine.bodies) == 1
        engine.hold.set()
