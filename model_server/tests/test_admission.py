"""Admission by time: what cannot be ready in time is refused at once, and never run."""

import asyncio
import http.client
import json
import math
import socket
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from failover_model_server.errors import Overloaded
from failover_model_server.serving.batcher import Batcher
from failover_model_server.serving.service import Service
from failover_model_server.serving.shape import Shape
from failover_model_server.serving.worker import Worker
from failover_model_server.tasks.base import Item
from failover_model_server.tasks.echo import EchoRequest, EchoTask
from failover_model_server.telemetry.sink import Sink

from tests.support.process import eventually, running
from tests.support.service import echo, until
from tests.test_batcher import Recording, Seen


class Bench:
    """A batcher whose first batch runs until `gate` opens, on a clock that the test sets."""

    def __init__(self, longest: float) -> None:
        self.now = 100.0
        self.gate = threading.Event()
        self.backend = Recording()
        self.backend.before = self.wait
        self.seen = Seen()
        self.worker = Worker(0, lambda: self.backend)
        self.batcher = Batcher([self.worker], Shape((1, 2, 4), static=False), 100, self.seen, longest, lambda: self.now)

    def wait(self) -> None:
        self.gate.wait(30)

    def takes(self, seconds: float, *, size: int, work: float = 1.0) -> None:
        """What batches of this size took so far."""
        for _ in range(5):
            self.batcher._pace.ran(size, work, seconds)

    def later(self, seconds: float) -> float:
        """Such a deadline."""
        return self.now + seconds

    @property
    def ran(self) -> list[list[object]]:
        return [[item.payload for item in batch] for batch in self.backend.batches]


@asynccontextmanager
async def bench(longest: float = math.inf, *, busy: bool = True) -> AsyncIterator[Bench]:
    """Every batch takes 10 s; one runs already, of the payload "first"."""
    made = Bench(longest)
    await made.worker.load(Path(), EchoTask(echo()))
    for size in (1, 2, 4):
        made.takes(10.0, size=size)
    made.batcher.start(lambda reason: None)
    first = asyncio.create_task(made.batcher.submit(Item("k", "first"))) if busy else None
    await until(lambda: bool(made.backend.batches) or not busy)
    try:
        yield made
    finally:
        made.gate.set()
        if first:
            await first
        await made.batcher.stop()
        await made.worker.close(1.0)


def test_what_would_be_late_is_refused_at_once() -> None:
    """10 s of the batch that runs and 10 s of its own are beyond a deadline in 19 s, and within one in 21 s."""

    async def run() -> None:
        async with bench() as made:
            with pytest.raises(Overloaded, match=r"expected in 20\.0 s") as refused:
                made.batcher.reserve(made.later(19.0))
            assert refused.value.retry_after == pytest.approx(10.0)
            made.batcher.reserve(made.later(21.0))
            made.now += 5.0  # half of the batch has passed
            made.batcher.reserve(made.later(16.0))

    asyncio.run(run())


def test_the_queue_is_bounded_in_seconds() -> None:
    """Without a deadline the limit decides: the first batch of the queue waits 10 s, the second 20 s."""

    async def run() -> None:
        async with bench(longest=15.0) as made:
            waiting = [asyncio.create_task(made.batcher.submit(Item("k", number))) for number in range(3)]
            await until(lambda: made.batcher.queued == 3)
            made.batcher.reserve()
            waiting.append(asyncio.create_task(made.batcher.submit(Item("k", 3))))
            await until(lambda: made.batcher.queued == 4)
            with pytest.raises(Overloaded, match=r"expected wait is 20\.0 s; at most 15 s"):
                made.batcher.reserve()
            made.gate.set()
            await asyncio.gather(*waiting)

    asyncio.run(run())


def test_an_idle_server_tries() -> None:
    """Only a run can show that an estimate is too high: what comes to an idle server runs, however short its deadline."""

    async def run() -> None:
        async with bench(busy=False) as made:
            made.gate.set()
            with made.batcher.reserve(made.later(0.5)) as place:
                assert await place.run(Item("k", "x")) == "x"

    asyncio.run(run())


def test_the_work_of_a_request_counts() -> None:
    """Once prepared, a request of a hundred steps is refused where one of ten steps is not."""

    async def run() -> None:
        async with bench() as made:
            for work in (1.0, 10.0, 20.0):
                made.takes(work, size=1, work=work)
            with made.batcher.reserve(made.later(40.0)) as place, pytest.raises(Overloaded, match="after the deadline"):
                await place.run(Item("other", "long", work=100.0))
            asked = asyncio.create_task(made.batcher.submit(Item("other", "short", work=10.0), made.later(40.0)))
            made.gate.set()
            assert await asked == "short"

    asyncio.run(run())


def test_what_became_too_late_is_never_run() -> None:
    """The first batch took longer than expected: what can no longer make it is answered when its turn comes, and what can is run."""

    async def run() -> None:
        async with bench() as made:
            tight = asyncio.create_task(made.batcher.submit(Item("k", "tight"), made.later(25.0)))
            patient = asyncio.create_task(made.batcher.submit(Item("k", "patient"), made.later(60.0)))
            await until(lambda: made.batcher.queued == 2)
            made.now += 20.0
            made.gate.set()
            with pytest.raises(Overloaded, match="it was not run"):
                await tight
            assert await patient == "patient"
            assert made.ran == [["first"], ["patient"]]
            assert made.seen.too_late == 1

    asyncio.run(run())


def test_a_batch_takes_no_more_than_make_it_together() -> None:
    """Two together would miss the deadline of the first: it runs alone, and the other after it."""

    async def run() -> None:
        async with bench() as made:
            made.takes(30.0, size=2)
            made.takes(30.0, size=4)
            asked = [asyncio.create_task(made.batcher.submit(Item("k", number), made.later(s))) for number, s in enumerate((25.0, 90.0))]
            await until(lambda: made.batcher.queued == 2)
            made.now += 10.0
            made.gate.set()
            assert await asyncio.gather(*asked) == [0, 1]
            assert made.ran == [["first"], [0], [1]]

    asyncio.run(run())


def test_a_request_arrives_once() -> None:
    """One a second, whether the door lets it in or refuses it: it passes the door and the queue, and is one arrival."""

    async def run() -> None:
        now = 100.0
        service = Service(echo(max_queue=1), Sink(), clock=lambda: now)
        await service.load()
        batcher = service._batcher
        assert batcher is not None
        try:
            for _ in range(4):
                now += 1.0
                assert service.refusal() is None
                await service.infer(EchoRequest(prompt="x"))
                assert batcher._arrivals._last == now
            now += 1.0
            with batcher.reserve():
                for _ in range(4):
                    now += 1.0
                    assert isinstance(service.refusal(), Overloaded)
                    assert batcher._arrivals._last == now
            assert batcher._arrivals.gap == 1.0
        finally:
            await service.stop(1.0)

    asyncio.run(run())


@pytest.mark.slow
def test_a_refusal_needs_no_body() -> None:
    """The server answers before it has read or understood anything; the refusals of a second are one line of the log."""
    with running(ECHO_BATCH_SECONDS="1.5", MODEL_SERVER_BATCH_BUCKETS="1", APP="model") as server, ThreadPoolExecutor(1) as threads:
        server.until("/readiness", 200)
        busy = threads.submit(httpx.post, f"{server.url}/echo", json={"prompt": "x"}, timeout=30)
        eventually(lambda: "model_server_running_requests 1.0" in httpx.get(f"{server.url}/metrics").text)
        with socket.create_connection(("127.0.0.1", server.logged("listening")["http"]), timeout=20) as connection:
            for path, name in (("/echo", "mine"), ("/echo?trace=1", "other"), ("/v2/models/model/infer", "")):
                head = f"POST {path} HTTP/1.1\r\nHost: x\r\nX-Request-Timeout: 0.2\r\nX-Request-Id: {name}\r\nContent-Length: 7\r\n\r\n"
                connection.sendall(head.encode())
                answer = http.client.HTTPResponse(connection)
                answer.begin()
                body = json.loads(answer.read())
                assert answer.status == 429, path
                assert int(answer.headers["retry-after"]) in {1, 2}, path  # what is left of 1.5 s, in whole seconds
                assert (body["error"] if path.startswith("/v2") else body["error"]["message"]).endswith("after the deadline of the request")
                assert answer.headers["x-request-id"] == name or not name
                connection.sendall(b"no JSON")  # belongs to what was refused
        assert busy.result().status_code == 200
        assert 'outcome="overloaded"} 3.0' in httpx.get(f"{server.url}/metrics").text
        assert server.logged("refused")["overloaded"] == 3
        assert not [line for line in server.logs if line.get("status") == 429]
