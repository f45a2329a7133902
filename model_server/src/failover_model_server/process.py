"""The server as a process: ports, signals, exit code."""

import asyncio
import contextlib
import math
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import structlog
import uvicorn
import uvloop
from starlette.types import ASGIApp

from failover_model_server import background
from failover_model_server.deadlines import ANSWER_SECONDS
from failover_model_server.errors import LoadError
from failover_model_server.http import app
from failover_model_server.http.connections import Connections, limits
from failover_model_server.lifecycle import State, Status
from failover_model_server.rpc.server import RpcServer
from failover_model_server.serving.service import Service
from failover_model_server.settings import Settings
from failover_model_server.telemetry import logs
from failover_model_server.telemetry.cloudwatch import counters
from failover_model_server.telemetry.metrics import Metrics

log = structlog.get_logger()

KEEP_ALIVE = 75
"""Seconds; longer than a load balancer's 60, or it meets a connection that we are closing and answers 502."""
LOCK_SECONDS = 0.00005
"""How long a thread keeps Python's lock while another waits for it. A model takes it back after each of hundreds of kernels a batch; with
Python's own 5 ms, an event loop that is busy with refusals would hold each of them up for so long. With 0.03 ms a busy server answered
4 % more texts than with 0.5 ms. With 0.005 ms and a timer as exact, threads only passed the lock on: it answered an eighth. This is
between them, and was not measured itself."""
CLOSE_SECONDS = 5.0
"""For a worker to close its backend."""
EVERYWHERE = "::"
"""Every address of the machine, of IPv4 and IPv6."""
TERMINATION_LOG = Path("/dev/termination-log")
"""Where Kubernetes reads the reason of an exit; there only in a pod."""


class HttpServer(uvicorn.Server):
    """Leaves signals to us: uvicorn would close the listener at once, while load balancers still send requests."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install none."""
        yield


def serve(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; the exit code. Does not return where a thread hangs: the process ends here then."""
    logs.configure(settings.log_format, settings.log_level)
    sys.setswitchinterval(LOCK_SECONDS)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(settings))


async def _serve(settings: Settings) -> int:
    metrics = Metrics()

    def lost(reason: str) -> None:
        service.fail(reason)

    sink = counters(settings, metrics.dropped, lost)
    service = Service(settings, sink, metrics)
    failed = asyncio.Event()
    stopping = asyncio.Event()

    def changed(before: Status, after: Status) -> None:
        log.info("state", before=before.state, after=after.state, reason=after.reason)
        if after.state is State.FAILED:
            failed.set()

    service.lifecycle.listen(changed)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    listener = listen(settings.host, settings.port)
    connections = Connections(limits(settings), app.door(service))
    http = HttpServer(http_config(app.make(service), settings, connections))
    serving = background.begin(lambda: http.serve(sockets=[listener]), "http", lost)
    watching = background.begin(connections.watch, "connections", lost)
    rpc = RpcServer(service)
    grpc_port = await rpc.start(settings.host, settings.grpc_port)
    log.info("listening", http=listener.getsockname()[1], grpc=grpc_port)
    loading = asyncio.create_task(_load(service), name="load")
    async with sink:
        await _first(stopping, failed)
        wedged = service.lifecycle.state is State.WEDGED
        await _drain(service, settings, failed)
        http.should_exit = True
        loop.call_later(settings.finish_seconds, service.give_up)
        await asyncio.gather(serving, rpc.stop(settings.finish_seconds + ANSWER_SECONDS))
        watching.cancel()
        idle = loading.done()
        loading.cancel()
        idle &= await service.stop(CLOSE_SECONDS)
    if service.lifecycle.state is State.FAILED:
        explain_exit(service.lifecycle.status.reason)
    code = 1 if failed.is_set() or wedged else 0
    if not idle:
        log.warning("exit", code=code, reason="a thread that loads or runs a batch is left behind")
        sys.stdout.flush()
        os._exit(code)  # a normal exit would wait for the thread
    return code


def listen(host: str, port: int) -> socket.socket:
    """Bind the socket here rather than in uvicorn, so that a port in use ends the process with a reason and the choice for port 0 is known.

    ``::`` is every address, of IPv4 as well: a pod has an address of one family or of both, by its cluster, and a machine may lack IPv6.

    Raises:
        OSError: the address is in use or not ours.
    """
    dual = host == EVERYWHERE and socket.has_dualstack_ipv6()
    if host == EVERYWHERE and not dual:
        host = ""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=2048, dualstack_ipv6=dual)
    # Connections inherit it. asyncio sets it on sockets of its own only, and without it every answer waits 40 ms for an acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def http_config(served: ASGIApp, settings: Settings, connections: Connections) -> uvicorn.Config:
    """How uvicorn serves an app on these connections."""
    return uvicorn.Config(
        served,
        log_config=None,
        access_log=False,
        http=connections.protocol(),
        ws="none",
        lifespan="on",
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=math.ceil(settings.finish_seconds + ANSWER_SECONDS),
        server_header=False,
    )


async def _load(service: Service) -> None:
    with contextlib.suppress(LoadError):  # the state tells
        await service.load()


async def _first(*events: asyncio.Event) -> None:
    """Wait for one of them."""
    waiting = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()


async def _drain(service: Service, settings: Settings, failed: asyncio.Event) -> None:
    """Be not ready, and accept for as long as load balancers may still send; a failed server ends at once."""
    if failed.is_set():
        return
    was_ready = service.lifecycle.state is State.READY
    service.drain()
    if was_ready:
        log.info("draining", seconds=settings.drain_seconds, in_flight=service.in_flight)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(failed.wait(), settings.drain_seconds)


def explain_exit(reason: str) -> None:
    """Tell Kubernetes why the process ends, where it runs in a pod."""
    if TERMINATION_LOG.exists():
        with contextlib.suppress(OSError):
            TERMINATION_LOG.write_text(reason[:4000])
