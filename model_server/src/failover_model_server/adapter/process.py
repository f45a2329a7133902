"""The adapter as a process."""

import asyncio
import contextlib
import signal

import httpx
import structlog
from prometheus_client import CollectorRegistry, Counter

from failover_model_server import background
from failover_model_server.adapter.app import Adapter, door, make
from failover_model_server.adapter.engine import Engine
from failover_model_server.http.connections import Connections, limits
from failover_model_server.process import HttpServer, explain_exit, http_config, listen
from failover_model_server.settings import Settings
from failover_model_server.telemetry import logs
from failover_model_server.telemetry.cloudwatch import counters

log = structlog.get_logger()


def serve(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; the exit code.

    Raises:
        LoadError: the settings enable CloudWatch, and it cannot be used.
        OSError: the port is in use.
    """
    logs.configure(settings.log_format, settings.log_level)
    return asyncio.run(_serve(settings))


async def _serve(settings: Settings) -> int:
    registry = CollectorRegistry()
    stopping = asyncio.Event()
    failures: list[str] = []

    def lost(reason: str) -> None:
        log.error("failed", reason=reason)
        failures.append(reason)
        stopping.set()

    sink = counters(settings, Counter("model_server_cloudwatch_dropped", "Data points that were given up.", registry=registry), lost)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    pool = httpx.Limits(max_connections=settings.max_queue + 4)
    async with httpx.AsyncClient(base_url=settings.engine_url, limits=pool, trust_env=False) as client, sink:
        engine = Engine(settings, sink, client)
        adapter = Adapter(settings, engine, sink, registry)
        listener = listen(settings.host, settings.port)
        connections = Connections(limits(settings), door(adapter))
        http = HttpServer(http_config(make(adapter), settings, connections))
        serving = background.begin(lambda: http.serve(sockets=[listener]), "http", lost)
        log.info("listening", http=listener.getsockname()[1], engine=client.base_url.netloc.decode())  # without a user and a password
        watching = background.begin(engine.watch, "engine", lost)
        guarding = background.begin(connections.watch, "connections", lost)
        await stopping.wait()
        adapter.draining = engine.ending = True
        if not failures:  # else it ends at once
            log.info("draining", seconds=settings.drain_seconds)
            await asyncio.sleep(settings.drain_seconds)
        http.should_exit = True
        asyncio.get_running_loop().call_later(settings.finish_seconds, engine.deadlines.end)
        await serving
        watching.cancel()
        guarding.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
        await engine.finish()
    if failures:
        explain_exit(failures[0])
    return 1 if failures else 0
