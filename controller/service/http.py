"""The HTTP endpoint, read-only: the page at ``/``, and ``/healthz``, ``/readyz``, ``/metrics`` and ``/status``.

Five answers for a kubelet, a Prometheus and a person need no framework: one took 9 MiB, a tenth of an idle process.

One thread waits for all clients in an event loop, so that a client that sends or takes slowly, or says nothing, takes no other
thread. Threads make the answers. Those to probes have places of their own: whatever other clients do, the kubelet gets its answer.
"""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from io import BytesIO
from typing import Final
from urllib.parse import parse_qsl

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry

from controller.clients.kube import Object
from controller.errors import ConfigError
from controller.service.telemetry import exposition

Check = Callable[[], str]

_ALL: Final = "::"
_STOP_S: Final = 2.0
_AGAIN_S: Final = 0.05  # after a connection that could not be accepted
_REQUEST_S: Final = 5.0
"""Longest time from a connection until its request has a place, seconds."""
_SEND_S: Final = 5.0
"""Longest time in which a client may take its answer, seconds. Making the answer has no limit: on a busy machine `/metrics` of 1,000
applications takes more than five seconds, and Prometheus waits for ten."""
_OPEN: Final = 256  # connections whose request has no place yet; one more closes the oldest of them
_SHARE: Final = 4  # such connections may take this part (1/4) of the file descriptors of the process
_BACKLOG: Final = 128
_LONGEST_QUERY: Final = 2048
_HEAD: Final = 8192  # bytes of a request's head
_ENDS: Final = (b"\r\n\r\n", b"\n\n")
_PROBES: Final = frozenset({"/healthz", "/readyz"})
_PROBE_PLACES: Final = 2  # answers that are made and taken at a time
_OTHER_PLACES: Final = 4

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer."""

    content: bytes
    content_type: str = "text/plain; charset=utf-8"
    code: int = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=dict)


Query = Mapping[str, str]
"""The parameters of a request, the last of each name."""

Routes = Mapping[str, Callable[[Query], Answer]]


def make_routes(
    registry: CollectorRegistry, *, healthy: Check, ready: Check, status: Callable[[], Object], page: Callable[[Query], Answer]
) -> Routes:
    """The answers by path.

    Args:
        registry: The metrics for ``/metrics``.
        healthy: Returns why this process should be restarted, "" if it should not.
        ready: Returns why this process is not ready, "" if it is.
        status: The status document.
        page: Makes the page at ``/``.
    """

    def checked(check: Check) -> Callable[[Query], Answer]:
        def answer(_: Query) -> Answer:
            problem = check()
            return Answer((problem or "ok").encode(), code=HTTPStatus.SERVICE_UNAVAILABLE if problem else HTTPStatus.OK)

        return answer

    return {
        "/healthz": checked(healthy),
        "/readyz": checked(ready),
        "/": page,
        "/metrics": lambda _: Answer(exposition(registry), CONTENT_TYPE_LATEST),
        "/status": lambda _: Answer(json.dumps(status()).encode(), "application/json"),
    }


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens on an address.

    A pod has an address of one family or of both, by its cluster, and a machine may lack IPv6.

    Raises:
        OSError: The address cannot be listened on.
    """
    if host != _ALL:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=_BACKLOG)
    if socket.has_dualstack_ipv6():
        return socket.create_server((host, port), family=socket.AF_INET6, backlog=_BACKLOG, dualstack_ipv6=True)
    return socket.create_server(("", port), backlog=_BACKLOG)


class HttpServer:
    """Serves routes.

    Args:
        routes: The routes.
        host: Address to listen on; ``::`` for all, IPv4 and IPv6.
        port: TCP port; 0 for any free one.

    Raises:
        ConfigError: The address cannot be listened on.
    """

    def __init__(self, routes: Routes, host: str, port: int) -> None:
        self._routes = routes
        try:
            self._listener = _listening(host, port)
        except OSError as error:
            where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            raise ConfigError(f"http.host, http.port: cannot listen on {where}: {error.strerror}; choose a free address") from error
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._most = max(1, min(_OPEN, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // _SHARE))
        self._waiting: OrderedDict[socket.socket, asyncio.Task[None]] = OrderedDict()  # for a request or a place, the oldest first
        self._probes, self._others = asyncio.Semaphore(_PROBE_PLACES), asyncio.Semaphore(_OTHER_PLACES)
        self._pool = ThreadPoolExecutor(_PROBE_PLACES + _OTHER_PLACES, thread_name_prefix="http")
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)

    def start(self) -> None:
        """Starts serving."""
        self._loop = asyncio.new_event_loop()
        self._thread.start()

    def stop(self) -> None:
        """Stops serving within a few seconds. An answer in progress may be cut off."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(timeout=_STOP_S)
        self._pool.shutdown(wait=False)  # none waits for a thread: there is one for each place
        self._listener.close()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        accepting = self._loop.create_task(self._accept())
        await self._stop.wait()
        accepting.cancel()

    async def _accept(self) -> None:
        while True:
            try:
                connection, _ = await self._loop.sock_accept(self._listener)
            except OSError:  # the client has left again; or this process has no file descriptor left, and the client waits on
                await asyncio.sleep(_AGAIN_S)
                continue
            if len(self._waiting) >= self._most:
                self._waiting.popitem(last=False)[1].cancel()
            self._waiting[connection] = self._loop.create_task(self._converse(connection))
            await asyncio.sleep(0)  # the others' turn: `sock_accept` gives none while clients wait

    async def _converse(self, connection: socket.socket) -> None:
        """Answers a client that sends its request, and takes its answer, in time. Making the answer has no deadline."""
        with connection:
            try:
                async with asyncio.timeout(_REQUEST_S) as deadline:
                    request = _Request(await self._head(connection), self._routes)
                    async with self._probes if request.route in _PROBES else self._others:
                        del self._waiting[connection]
                        deadline.reschedule(None)
                        answer = await self._loop.run_in_executor(self._pool, request.answer)
                        deadline.reschedule(self._loop.time() + _SEND_S)
                        await self._loop.sock_sendall(connection, answer)
                        connection.shutdown(socket.SHUT_WR)
            except OSError:
                log.debug("http.interrupted", exc_info=True)  # the client left, or was too slow, or sent what is no request
            finally:
                self._waiting.pop(connection, None)

    async def _head(self, connection: socket.socket) -> bytes:
        """The head of a request.

        Raises:
            OSError: None came.
        """
        head = b""
        while not any(end in head for end in _ENDS):
            received = await self._loop.sock_recv(connection, _HEAD) if len(head) <= _HEAD else b""
            if not received:
                raise ConnectionError("no head of a request")
            head += received
        return head


class _Request(BaseHTTPRequestHandler):
    """One request whose head has arrived. It is parsed once: the same path decides which thread answers, and what.

    Args:
        head: All that is read of it.
        routes: The routes.
    """

    default_request_version = "HTTP/1.0"  # of a request that says none, or a wrong one: every answer has a head

    def __init__(self, head: bytes, routes: Routes) -> None:
        self._routes = routes
        self.rfile, self._written = BytesIO(head), BytesIO()
        self.wfile = self._written
        self.client_address = ("", 0)
        self.raw_requestline = self.rfile.readline()
        self.requestline, self.request_version, self.command = "", "", ""
        self._parsed = self.parse_request()  # else the refusal is written already
        self.route = self.path.partition("?")[0] if self._parsed else ""

    def answer(self) -> bytes:
        """Makes the answer."""
        if self._parsed:
            method = getattr(self, f"do_{self.command}", None)
            if method is None:
                self.send_error(HTTPStatus.NOT_IMPLEMENTED)
            else:
                method()
        return self._written.getvalue()

    def do_GET(self) -> None:
        answer = self._made(self.path.partition("?")[2][:_LONGEST_QUERY])
        self.send_response(answer.code)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.content)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.content)

    do_HEAD = do_GET  # noqa: N815 - as the base class finds it

    def _made(self, query: str) -> Answer:
        route = self._routes.get(self.route)
        if route is None:
            return Answer(b"not found", code=HTTPStatus.NOT_FOUND)
        try:
            return route(dict(parse_qsl(query)))
        except Exception:
            log.exception("http.failed", path=self.route)
            return Answer(b"internal error", code=HTTPStatus.INTERNAL_SERVER_ERROR)

    def end_headers(self) -> None:
        """Ends the head of every answer, errors included: browsers are not to guess what an answer is, and nobody keeps it."""
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-store")
        super().end_headers()

    def version_string(self) -> str:
        return "failoverctl"

    def log_message(self, *_: object) -> None:
        """Logs nothing: probes come every few seconds."""
