"""The HTTP endpoint, read-only: the page at ``/``, and ``/healthz``, ``/readyz``, ``/metrics`` and ``/status``.

Five answers for a kubelet, a Prometheus and a person need no framework: one with an event loop took 9 MiB, a tenth of an idle process.

One thread accepts connections and reads the heads of all requests, so that a client that sends slowly, or nothing, takes no thread. The
answers to probes have threads of their own: whatever other clients do, the kubelet gets its answer.
"""

from __future__ import annotations

import json
import resource
import selectors
import socket
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from io import BytesIO
from typing import Final
from urllib.parse import parse_qsl

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry

from controller.clients.kube import Object
from controller.clock import Clock, SystemClock
from controller.errors import ConfigError
from controller.service.telemetry import exposition

Check = Callable[[], str]

_ALL: Final = "::"
_STOP_S: Final = 2.0
_POLL_S: Final = 0.05  # how often the server checks deadlines, and whether it is to stop
_REQUEST_S: Final = 5.0
"""Longest time from a connection until its request is answered by a thread, seconds."""
_SEND_S: Final = 5.0
"""Longest time in which a client may take its answer, seconds. Making the answer has no limit: on a busy machine `/metrics` of 1,000
applications takes more than five seconds, and Prometheus waits for ten."""
_OPEN: Final = 256  # connections whose request has not arrived; one more closes the oldest of them
_SHARE: Final = 4  # such connections may take this part (1/4) of the file descriptors of the process
_BACKLOG: Final = 128
_LONGEST_QUERY: Final = 2048
_HEAD: Final = 8192  # bytes of a request's head
_ENDS: Final = (b"\r\n\r\n", b"\n\n")
_PROBES: Final = frozenset({"/healthz", "/readyz"})
_PROBE_THREADS: Final = 2
_OTHER_THREADS: Final = 4
_WAITING: Final = 16  # requests that wait for a thread; further ones are refused

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
        self._clock: Clock = SystemClock()
        try:
            self._listener = _listening(host, port)
        except OSError as error:
            where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            raise ConfigError(f"http.host, http.port: cannot listen on {where}: {error.strerror}; choose a free address") from error
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._stop = threading.Event()
        self._most = max(1, min(_OPEN, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // _SHARE))
        self._heads: dict[socket.socket, _Head] = {}  # of requests that have not arrived, the oldest first
        self._probes, self._others = _Threads(_PROBE_THREADS), _Threads(_OTHER_THREADS)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve, name="http", daemon=True)

    def start(self) -> None:
        """Starts serving."""
        self._thread.start()

    def stop(self) -> None:
        """Stops serving within a few seconds. An answer in progress may be cut off."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(timeout=_STOP_S)
        for connection in [*self._heads]:
            self._drop(connection)
        self._probes.stop()
        self._others.stop()
        self._selector.close()
        self._listener.close()

    def _serve(self) -> None:
        while not self._stop.is_set():
            for key, _ in self._selector.select(_POLL_S):
                if key.fileobj is self._listener:
                    self._accept()
                elif isinstance(key.fileobj, socket.socket) and key.fileobj in self._heads:
                    self._read(key.fileobj)
            now = self._clock.monotonic()
            for connection in [one for one, head in self._heads.items() if head.until <= now]:
                self._drop(connection)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:  # the client has left again; or this process has no file descriptor left, and the client waits on
            self._clock.wait(self._stop, _POLL_S)
            return
        connection.setblocking(False)
        if len(self._heads) >= self._most:
            self._drop(next(iter(self._heads)))
        self._heads[connection] = _Head(self._clock.monotonic() + _REQUEST_S)
        self._selector.register(connection, selectors.EVENT_READ)

    def _read(self, connection: socket.socket) -> None:
        head = self._heads[connection]
        try:
            received = connection.recv(_HEAD)
        except OSError:
            received = b""
        head.received += received
        if any(end in head.received for end in _ENDS):
            self._selector.unregister(connection)
            del self._heads[connection]
            self._answer(connection, head)
        elif not received or len(head.received) > _HEAD:
            self._drop(connection)

    def _answer(self, connection: socket.socket, head: _Head) -> None:
        """Hands a request to a thread, or turns the client away where none will be free in time."""
        request = _Request(head.received, self._routes)
        (self._probes if request.route in _PROBES else self._others).handle(connection, lambda: self._handle(connection, head, request))

    def _handle(self, connection: socket.socket, head: _Head, request: _Request) -> None:
        if head.until <= self._clock.monotonic():
            return  # no thread was free for so long that the client has probably gone
        try:
            request.answer(connection)
        except OSError:
            log.debug("http.interrupted", exc_info=True)  # the client disconnected, or did not take the answer in time

    def _drop(self, connection: socket.socket) -> None:
        del self._heads[connection]
        with suppress(KeyError, ValueError):
            self._selector.unregister(connection)
        connection.close()


@dataclass(slots=True)
class _Head:
    """What has arrived of a request, and until when a thread must have taken it, by the monotonic clock."""

    until: float
    received: bytes = b""


class _Threads:
    """A bounded number of threads, and of connections that wait for one.

    Args:
        number: The most threads.
    """

    def __init__(self, number: int) -> None:
        self._pool = ThreadPoolExecutor(number, thread_name_prefix="http")
        self._free = threading.BoundedSemaphore(number + _WAITING)
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()

    def handle(self, connection: socket.socket, work: Callable[[], None]) -> None:
        """Does the work in a thread and closes the connection; closes it at once where too many wait."""
        if not self._free.acquire(blocking=False):
            connection.close()
            return
        with self._lock:
            self._open.add(connection)
        self._pool.submit(self._run, connection, work)

    def _run(self, connection: socket.socket, work: Callable[[], None]) -> None:
        try:
            work()
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()
            self._free.release()

    def stop(self) -> None:
        """Ends the threads: closed connections end what they wait for."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
                connection.close()


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

    def answer(self, connection: socket.socket) -> None:
        """Makes the answer and sends it; a socket's time-out counts for all of it.

        Raises:
            OSError: The client has left, or takes it too slowly.
        """
        if self._parsed:
            method = getattr(self, f"do_{self.command}", None)
            if method is None:
                self.send_error(HTTPStatus.NOT_IMPLEMENTED)
            else:
                method()
        connection.settimeout(_SEND_S)
        connection.sendall(self._written.getvalue())
        connection.shutdown(socket.SHUT_WR)

    def do_GET(self) -> None:
        self._answer(with_content=True)

    def do_HEAD(self) -> None:
        self._answer(with_content=False)

    def _answer(self, *, with_content: bool) -> None:
        answer = self._made(self.path.partition("?")[2][:_LONGEST_QUERY])
        self.send_response(answer.code)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.content)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if with_content:
            self.wfile.write(answer.content)

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
