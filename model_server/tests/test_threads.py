"""Requests whose time is over keep no thread that others need."""

import asyncio
import threading
from collections.abc import Iterator

import pytest
from failover_model_server.errors import DeadlineExceeded, Overloaded
from failover_model_server.serving.service import Service
from failover_model_server.serving.threads import SPARE, Threads
from failover_model_server.tasks.base import Item
from failover_model_server.tasks.echo import EchoRequest, EchoResponse, EchoTask
from failover_model_server.telemetry.sink import Sink

from tests.support.service import echo, loaded, until

SLOW = "slow"


@pytest.fixture
def goes_on(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Slow requests are prepared until it is set."""
    event, prepare = threading.Event(), EchoTask.prepare

    def slowly(task: EchoTask, request: EchoRequest) -> Item:
        if request.prompt == SLOW:
            event.wait(30)
        return prepare(task, request)

    monkeypatch.setattr(EchoTask, "prepare", slowly)
    yield event
    event.set()


async def answer(service: Service, prompt: str, seconds: float | None = None) -> str:
    answered = await service.infer(EchoRequest(prompt=prompt), seconds)
    assert isinstance(answered, EchoResponse)
    return answered.response


def test_requests_past_their_deadline_keep_no_thread(goes_on: threading.Event) -> None:
    """As many as there are threads, again and again: the next request is answered, until too many have been given up, and then again."""

    async def run() -> None:
        async with loaded(echo(threads=2)) as service:
            for _ in range(SPARE // 2):
                late = await asyncio.gather(*(answer(service, SLOW, 0.05) for _ in range(2)), return_exceptions=True)
                assert [type(error) for error in late] == [DeadlineExceeded] * 2
                if service.refusal() is None:
                    assert await answer(service, "hello") == "hello"
            assert isinstance(service.refusal(), Overloaded)
            with pytest.raises(Overloaded, match="earlier ones"):
                await answer(service, "hello")
            goes_on.set()
            await until(lambda: service.refusal() is None)
            assert await answer(service, "hello") == "hello"

    asyncio.run(run())


def test_a_thread_that_still_works_at_the_end_is_reported(goes_on: threading.Event) -> None:
    """Python would wait for it at its exit, for as long as it takes."""

    async def run() -> None:
        service = Service(echo(), Sink())
        await service.load()
        with pytest.raises(DeadlineExceeded):
            await answer(service, SLOW, 0.05)
        assert await service.stop(1.0) is False

    asyncio.run(run())


def test_a_call_that_waits_for_a_thread_takes_none_when_it_is_cancelled() -> None:
    """Only what has begun can be given up."""

    async def run() -> None:
        threads, over = Threads(1, "test"), threading.Event()
        first = asyncio.create_task(threads.run(over.wait, 30))
        second = asyncio.create_task(threads.run(over.wait, 30))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        assert threads.idle
        over.set()
        assert await first
        threads.close()

    asyncio.run(run())
