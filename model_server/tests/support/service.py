"""A service in this process, without sockets."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
from failover_model_server.http import app
from failover_model_server.serving.service import Service
from failover_model_server.settings import Settings
from failover_model_server.telemetry.sink import Sink


class Recorder(Sink):
    """Remembers what was counted."""

    def __init__(self) -> None:
        self.latencies: list[float] = []
        self.turned_away = 0

    def answered(self, seconds: float) -> None:
        self.latencies.append(seconds)

    def rejected(self) -> None:
        self.turned_away += 1


def echo(**values: object) -> Settings:
    """Settings of an echo server; `values` by field name."""
    return Settings.model_validate({"backend": "echo", "task": "echo", **values})


@asynccontextmanager
async def loaded(settings: Settings, counters: Sink | None = None) -> AsyncIterator[Service]:
    """A service that is READY; stopped at the end."""
    service = Service(settings, counters or Sink())
    try:
        await service.load()
        yield service
    finally:
        await service.stop(1.0)


@asynccontextmanager
async def client(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client of the app, without a socket."""
    transport = httpx.ASGITransport(app.make(service), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as http:
        yield http


async def until(condition: Callable[[], bool]) -> None:
    """Wait until it holds; the test's timeout is the bound."""
    while not condition():
        await asyncio.sleep(0.001)
