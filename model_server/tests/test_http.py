"""The HTTP door, without sockets."""

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator

import httpx
import pytest
from failover_model_server.backends.echo import FAIL
from failover_model_server.errors import Overloaded
from failover_model_server.http.door import Door
from failover_model_server.http.requests import inflated
from failover_model_server.lifecycle import State
from failover_model_server.serving.service import Service
from failover_model_server.settings import Settings
from failover_model_server.telemetry.sink import Sink

from tests.support.service import Recorder, client, echo, loaded


def ask(settings: Settings, method: str, path: str, counters: Sink | None = None, **arguments: object) -> httpx.Response:
    """One request to a server that is ready."""

    async def run() -> httpx.Response:
        async with loaded(settings, counters) as service, client(service) as http:
            return await http.request(method, path, **arguments)  # type: ignore[arg-type]

    return asyncio.run(run())


def test_a_request_is_answered_and_counted() -> None:
    """The seed's shape of an answer, with the latency filled in, and one count."""
    counted = Recorder()
    answer = ask(echo(), "POST", "/echo", counted, json={"prompt": "hello"})
    assert answer.status_code == 200
    assert answer.json()["response"] == "hello"
    assert counted.latencies == [answer.json()["latency"]]


def test_a_failure_tells_nothing_of_the_inside() -> None:
    """The error has a code and the id of the request; the exception's text is in the log alone."""
    answer = ask(echo(), "POST", "/echo", json={"prompt": FAIL}, headers={"X-Request-Id": "abc-1"})
    assert answer.status_code == 500
    assert answer.json() == {"error": {"code": "inference_failed", "message": "the model failed on this input", "request_id": "abc-1"}}
    assert answer.headers["x-request-id"] == "abc-1"


@pytest.mark.parametrize("theirs", ["a b", "x" * 65, "é"])
def test_an_odd_request_id_is_replaced(theirs: str) -> None:
    """Nothing that could break a log line is taken from a client."""
    answer = ask(echo(), "POST", "/echo", json={"prompt": "x"}, headers={"X-Request-Id": theirs.encode()})
    assert answer.headers["x-request-id"] != theirs


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b'{"prompt": ""}', 422, "prompt"),
        (b"{}", 422, "prompt"),
        (b"{", 422, "body"),
        (b"\xff", 400, "body"),
        (b'{"prompt": "x", "sed": 3}', 422, "sed"),
        (b'{"prompt": "' + b"x" * 60 + b'"}', 413, "at most 40"),
        (b'{"prompt": "' + b"x" * 200 + b'"}', 413, "larger than 200 bytes"),
    ],
)
def test_a_wrong_request_names_the_field(body: bytes, status: int, says: str) -> None:
    """Bad input gets a clear error, not the value that was sent."""
    settings = echo(max_input_tokens=10, max_body_bytes=200)
    answer = ask(settings, "POST", "/echo", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status
    assert says in answer.json()["error"]["message"]
    assert "xxx" not in answer.text


@pytest.mark.parametrize(
    ("size", "expects", "connection"),
    [(8 * 1000, {}, None), (9 * 1000, {}, "close"), (2000, {"expect": "100-continue"}, "close")],
    ids=["large", "far too large", "a client that asks first"],
)
def test_a_body_that_is_too_large_is_read_within_bounds(size: int, expects: dict[str, str], connection: str | None) -> None:
    """Up to eight times the limit, and not where the client waits with it: beyond, the connection cannot be used again."""
    read = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(size // 100):
            read += 100
            yield b"x" * 100

    headers = {"content-type": "application/json", "content-length": str(size), **expects}
    answer = ask(echo(max_body_bytes=1000), "POST", "/echo", content=body(), headers=headers)
    assert (answer.status_code, answer.headers.get("connection")) == (413, connection)
    assert read <= (0 if expects else 8100)


def test_a_body_without_length_is_cut_off() -> None:
    """A chunked body is counted while it arrives."""

    async def run() -> None:
        async def endless() -> object:
            while True:
                yield b"x" * 100

        async with loaded(echo(max_body_bytes=1000)) as service, client(service) as http:
            answer = await http.post("/echo", content=endless(), headers={"content-type": "application/json"})  # type: ignore[arg-type]
            assert (answer.status_code, answer.headers["connection"]) == (413, "close")

    asyncio.run(run())


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "soon"])
def test_a_wrong_deadline_is_refused(value: str) -> None:
    """The client's deadline is a positive number of seconds."""
    answer = ask(echo(), "POST", "/echo", json={"prompt": "x"}, headers={"X-Request-Timeout": value})
    assert answer.status_code == 400


def test_a_path_that_ends_in_a_slash_is_the_same_path() -> None:
    """It is answered, and refused under load. A redirect would name http://, where a prompt goes in the clear or nobody listens."""

    async def run() -> None:
        async with loaded(echo()) as service, client(service) as http:
            assert (await http.post("/echo/", json={"prompt": "x"})).json()["response"] == "x"
            answers = [await http.get(path) for path in ("/readiness/", "/v2/", "/v2/models/model/", "/")]
            assert [answer.status_code for answer in answers] == [200] * 4
        door = Door({b"/echo"}.__contains__, lambda _: Overloaded("full", retry_after=2.0), lambda: False)
        for path in (b"/echo", b"/echo/", b"/echo/?a=b"):
            assert (door.refuse(b"POST", path, [], [], keep=True) or b"").startswith(b"HTTP/1.1 429 ")

    asyncio.run(run())


def test_a_deadline_that_passes_is_504(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that waits for less than the model takes gets an error with a time for the next attempt."""
    monkeypatch.setenv("ECHO_BATCH_SECONDS", "0.2")
    answer = ask(echo(batch_buckets="1"), "POST", "/echo", json={"prompt": "x"}, headers={"X-Request-Timeout": "0.05"})
    assert answer.status_code == 504
    assert answer.json()["error"]["code"] == "deadline_exceeded"
    assert int(answer.headers["retry-after"]) >= 1


def test_before_ready_probes_tell_state_and_reason() -> None:
    """While loading: alive, not ready, 503 with Retry-After for requests, Unhealthy for TorchServe's clients."""

    async def run() -> None:
        counted = Recorder()
        service = Service(echo(), counted)
        service.lifecycle.to(State.DOWNLOADING, "3 of 5 MB")
        async with client(service) as http:
            assert (await http.get("/health")).status_code == 200
            readiness = await http.get("/readiness")
            assert readiness.status_code == 503
            assert (readiness.json()["state"], readiness.json()["reason"]) == ("DOWNLOADING", "3 of 5 MB")
            refused = await http.post("/echo", json={"prompt": "x"})
            assert refused.status_code == 503
            assert refused.headers["retry-after"] == "10"
            ping = await http.get("/ping")
            assert (ping.status_code, ping.json()) == (500, {"status": "Unhealthy"})
            assert (await http.get("/v2/health/live")).status_code == 200
            assert (await http.get("/v2/health/ready")).status_code == 503
            assert counted.turned_away == 1

    asyncio.run(run())


@pytest.mark.parametrize(("state", "health", "readiness", "infer"), [("DRAINING", 200, 503, 200), ("FAILED", 500, 503, 503)])
def test_what_each_state_means_to_probes(state: str, health: int, readiness: int, infer: int) -> None:
    """A draining server still answers what is sent; a failed one fails its liveness."""

    async def run() -> None:
        async with loaded(echo()) as service, client(service) as http:
            service.lifecycle.to(State(state), "because")
            assert (await http.get("/health")).status_code == health
            assert (await http.get("/readiness")).status_code == readiness
            assert (await http.post("/echo", json={"prompt": "x"})).status_code == infer

    asyncio.run(run())


def test_a_draining_server_closes_its_connections() -> None:
    """A client that keeps its connection would come back to a pod that is going away; it is answered, and comes back elsewhere."""

    async def run() -> None:
        async with loaded(echo()) as service, client(service) as http:
            assert "connection" not in (await http.post("/echo", json={"prompt": "x"})).headers
            service.drain()
            answer = await http.post("/echo", json={"prompt": "x"})
            assert (answer.status_code, answer.headers["connection"]) == (200, "close")

    asyncio.run(run())


def test_metrics_show_state_requests_and_batches() -> None:
    """What operators watch is there after one request."""

    async def run() -> str:
        async with loaded(echo()) as service, client(service) as http:
            await http.post("/echo", json={"prompt": "x"})
            await http.post("/echo", json={"prompt": FAIL})
            return (await http.get("/metrics")).text

    text = asyncio.run(run())
    for line in (
        'model_server_requests_total{outcome="ok"} 1.0',
        'model_server_requests_total{outcome="inference_failed"} 1.0',
        'model_server_state{state="READY"} 1.0',
        "model_server_batch_items_count 5.0",  # four synthetic batches, one real
        "model_server_batch_failures_total 1.0",
        "model_server_queued_requests 0.0",
    ):
        assert line in text


def test_a_client_that_goes_away_frees_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request whose connection closes while it waits is taken out of the queue and never run."""

    async def run() -> None:
        monkeypatch.setenv("ECHO_BATCH_SECONDS", "0.1")
        async with loaded(echo(batch_buckets="1")) as service:
            from failover_model_server.http import app

            messages: asyncio.Queue[dict[str, object]] = asyncio.Queue()
            sent: list[object] = []

            async def send(message: object) -> None:
                sent.append(message)

            scope = {"type": "http", "method": "POST", "path": "/echo", "raw_path": b"/echo", "query_string": b"", "http_version": "1.1"}
            scope |= {"headers": [(b"content-type", b"application/json")], "scheme": "http", "server": ("x", 1), "client": ("y", 2)}
            first = asyncio.create_task(service.infer(service.task.request(prompt="first")))
            await messages.put({"type": "http.request", "body": b'{"prompt": "second"}', "more_body": False})
            asked = asyncio.create_task(app.make(service)(scope, messages.get, send))
            assert service._batcher is not None
            while service._batcher.queued < 1:
                await asyncio.sleep(0.001)
            await messages.put({"type": "http.disconnect"})
            await asked
            assert service._batcher.queued == 0
            await first
            assert 'outcome="cancelled"} 1.0' in (await _metrics(service))

    asyncio.run(run())


async def _metrics(service: Service) -> str:
    async with client(service) as http:
        return (await http.get("/metrics")).text


PROMPT = b'{"prompt": "x"}'
LARGE = b'{"prompt": "' + b"x" * 2000 + b'"}'


@pytest.mark.parametrize(
    ("coding", "body", "status", "says"),
    [
        pytest.param("gzip", gzip.compress(PROMPT), 200, "", id="gzip"),
        pytest.param("GZIP", gzip.compress(PROMPT), 200, "", id="capitals"),
        pytest.param("deflate", zlib.compress(PROMPT), 200, "", id="deflate"),
        pytest.param("identity", PROMPT, 200, "", id="identity"),
        pytest.param("", PROMPT, 200, "", id="none"),
        pytest.param("gzip", PROMPT, 400, "Content-Encoding: the body is not compressed so", id="not compressed"),
        pytest.param("gzip", gzip.compress(PROMPT)[:-10], 400, "Content-Encoding: the compressed body is cut off", id="cut off"),
        pytest.param("gzip", gzip.compress(LARGE), 413, "the body is larger than 1000 bytes", id="large"),
        pytest.param("gzip", gzip.compress(bytes(100_000_000)), 413, "the body is larger than 1000 bytes", id="a bomb"),
        pytest.param("br", PROMPT, 415, "Content-Encoding: send the body as one of gzip, deflate, identity", id="unknown"),
    ],
)
def test_compressed_bodies_are_read_within_the_limit(coding: str, body: bytes, status: int, says: str) -> None:
    """The limit is that of the body that is read, however small its compressed form."""

    async def run() -> httpx.Response:
        async with loaded(echo(app="text", max_body_bytes=1000)) as service, client(service) as http:
            sent = iter([body[:7], body[7:]]) if len(body) < 1000 else iter([body[at : at + 500] for at in range(0, len(body), 500)])

            async def parts() -> AsyncIterator[bytes]:
                for part in sent:
                    yield part

            return await http.post("/echo", content=parts(), headers={"Content-Encoding": coding, "Content-Type": "application/json"})

    answer = asyncio.run(run())
    assert (answer.status_code, says in answer.text) == (status, True)
    if status == 415:
        assert answer.headers["accept-encoding"] == "gzip, deflate, identity"


def test_little_of_a_bomb_is_decompressed() -> None:
    """Of a body of a hundred thousand times the limit a byte more than the limit."""

    async def run() -> int:
        whole = gzip.compress(bytes(100_000_000))

        async def receive() -> dict[str, object]:
            return {"type": "http.request", "body": whole, "more_body": False}

        message = await inflated(receive, 31, 1000)()
        return len(message["body"])

    assert asyncio.run(run()) == 1001


@pytest.mark.parametrize(
    ("kind", "status", "says"),
    [
        ("application/x-www-form-urlencoded", 415, "Content-Type: 'application/x-www-form-urlencoded' is not read as JSON"),
        ("application/json", 422, "prompt: Field required"),
        ("", 422, "prompt: Field required"),
    ],
)
def test_a_body_of_another_type_is_named(kind: str, status: int, says: str) -> None:
    """Curl's -d sends a form's type unless a header says JSON. Without the header a body is JSON."""

    async def run() -> httpx.Response:
        async with loaded(echo(app="text")) as service, client(service) as http:
            return await http.post("/echo", content=b"{}", headers={"Content-Type": kind} if kind else {})

    answer = asyncio.run(run())
    assert (answer.status_code, says in answer.json()["error"]["message"]) == (status, True)


def test_a_priority_changes_nothing() -> None:
    """Tritonclient sends it as a parameter; what else no task knows is refused."""

    async def run() -> list[int]:
        async with loaded(echo(app="text")) as service, client(service) as http:
            tensor = {"name": "prompt", "shape": [1], "datatype": "BYTES", "data": ["a"]}
            bodies = ({"inputs": [tensor], "parameters": {name: 1}} for name in ("priority", "sequence_id"))
            return [(await http.post("/v2/models/text/infer", json=body)).status_code for body in bodies]

    assert asyncio.run(run()) == [200, 400]
