"""Background tasks: one that ends by an exception is seen at once, and its process fails aloud."""

import asyncio
from typing import NoReturn

import pytest
from failover_model_server import background, process
from failover_model_server.adapter import process as adapter_process
from failover_model_server.adapter.engine import Engine
from failover_model_server.serving.watchdog import Watchdog
from failover_model_server.settings import Settings
from structlog.testing import capture_logs

from tests.support.service import echo, until

SECRET = "/secret/path"


async def _fails(*_: object) -> NoReturn:
    raise RuntimeError(SECRET)


def test_its_end_is_logged_at_once_and_reported_without_internals() -> None:
    """Nobody awaits the task meanwhile."""

    async def run() -> None:
        lost: list[str] = []
        task = background.begin(_fails, "watch", lost.append)
        await until(lambda: bool(lost))
        assert lost == ["the background task watch ended by RuntimeError; the log has the cause"]
        await task

    with capture_logs() as logs:
        asyncio.run(run())
    assert [(line["event"], line["task"]) for line in logs] == [("background_task_failed", "watch")]


@pytest.mark.parametrize("begun", [False, True])
def test_one_that_is_cancelled_is_not_lost(begun: bool) -> None:
    """That is how they end with their process, also before they have begun."""

    async def run() -> None:
        lost: list[str] = []
        task = background.begin(lambda: asyncio.sleep(60), "watch", lost.append)
        await asyncio.sleep(0.01 if begun else 0)
        task.cancel()
        await asyncio.wait([task])
        assert (task.cancelled(), lost) == (True, [])

    asyncio.run(run())


def test_the_server_fails_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its watchdog, as one of them: the state is FAILED and the exit code is not 0."""
    monkeypatch.setattr(Watchdog, "run", _fails)
    with capture_logs() as logs:
        assert asyncio.run(process._serve(echo(host="127.0.0.1", port=0, grpc_port=0, finish_seconds=5))) == 1
    assert [line["reason"] for line in logs if line["event"] == "failed"] == [
        "the background task watchdog ended by RuntimeError; the log has the cause"
    ]


def test_the_adapter_fails_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its watch of the engine, as one of them; it does not drain first."""
    monkeypatch.setattr(Engine, "watch", _fails)
    with capture_logs() as logs:
        assert asyncio.run(adapter_process._serve(Settings(host="127.0.0.1", port=0, drain_seconds=600, finish_seconds=5))) == 1
    assert [line["event"] for line in logs] == ["listening", "background_task_failed", "failed"]
