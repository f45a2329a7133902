"""The open connections: how many there may be, and how long each may keep the server waiting for its request or its answer's reader.

A stranger can open connections, begin requests and never end them. Each wait for a client has a limit. Where there are too many
connections, or too much of their bodies is in memory, the one that has kept the server waiting longest is closed: a probe can always
connect, and memory has a bound. A client that leaves its answers unread keeps the server waiting too, and so does one that sends further
requests before it has its answer: those take turns with the requests that others have sent ahead, behind everybody who waits for an answer.
"""

import asyncio
import resource
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import httptools
import structlog
from uvicorn._types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, Scope
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from failover_model_server.http.door import Door
from failover_model_server.settings import Settings

log = structlog.get_logger()

CHECK_SECONDS = 0.5
"""Between two checks of the limits."""
UNREAD_SECONDS = 30.0
"""A client that reads nothing of its answer for so long is gone. One that reads slowly is not."""
OTHER_FILES = 256
"""File descriptors that are not HTTP connections: gRPC's, the model's files, pipes."""
HEAD_BYTES = 64 * 1024
"""Of a request's line, headers and trailers together. Load balancers send less; a stranger could fill the memory with them."""
AHEAD = 8
"""Requests that are read at once. No browser or load balancer sends any before it has the last answer; a stranger could send thousands with
each packet, and whatever they ask for, nothing else would be served meanwhile."""
TURNS = 2
"""Requests sent ahead that are answered side by side, over all connections. With one for each connection, some hundred clients that send
thousands kept a probe waiting for longer than the kubelet does."""
BODIES = 32
"""As many of the largest bodies may be in memory before they are whole, 256 MiB by default: a thousand connections could hold 8 GB."""
BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
REQUEST_TIMEOUT = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
HEAD_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may take."""

    most: int
    """Connections that may be open."""
    head_seconds: float
    """From a connection, or from the first byte of a request, to the end of its headers."""
    body_seconds: float
    """From there to the end of the body."""
    body_bytes: int
    """Of one body. What comes beyond is not kept."""


def limits(settings: Settings) -> Limits:
    """The limits that the settings name; no more connections than the process may have open files."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = settings.max_connections if files == resource.RLIM_INFINITY else min(settings.max_connections, max(1, files - OTHER_FILES))
    return Limits(most, settings.header_timeout, settings.body_timeout, settings.max_body_bytes)


class Refused(Exception):
    """A request is so far from what a client may send that its connection ends. Raised by callbacks of the parser, to stop it.

    Args:
        answer: the last bytes that the client gets.
    """

    def __init__(self, answer: bytes) -> None:
        super().__init__()
        self.answer = answer


class Connections:
    """Those that are open. Used on the event loop's thread only.

    Args:
        limits: of all of them and of each.
        door: refuses requests from their heads.
        clock: monotonic seconds.
    """

    def __init__(self, limits: Limits, door: Door, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits
        self.door = door
        self.now = clock
        self._open: set[Connection] = set()
        self._waiting: dict[Connection, None] = {}
        self._ahead: deque[tuple[Connection, Callable[[], None]]] = deque()
        """What begins the next request of each connection that has sent some ahead: one each, in the order of their turns."""
        self._turns = 0
        """Those that are being answered."""
        self._bytes = 0
        """Of bodies that are not whole."""

    def protocol(self) -> type[asyncio.Protocol]:
        """What uvicorn makes for each connection."""

        def made(
            config: Config, server_state: ServerState, app_state: dict[str, Any], _loop: asyncio.AbstractEventLoop | None = None
        ) -> Connection:
            return Connection(self, config, server_state, app_state, _loop)

        return cast("type[asyncio.Protocol]", made)  # uvicorn calls it and no more

    def __len__(self) -> int:
        return len(self._open)

    def opened(self, connection: "Connection") -> bool:
        """Take in a connection, for which the one is closed that has kept us waiting longest; False: all are at work."""
        if len(self._open) >= self.limits.most:
            longest = next(iter(self._waiting), None)
            if longest is None:
                return False
            longest.cut_off()
        self._open.add(connection)
        self.waits(connection)
        return True

    def waits(self, connection: "Connection") -> None:
        """From now on we wait for this client."""
        self._waiting.pop(connection, None)  # to the end of the order
        self._waiting[connection] = None

    def works(self, connection: "Connection") -> None:
        """Its request is whole, its answers are read, and it has sent nothing ahead: the client waits for us."""
        self._waiting.pop(connection, None)

    def queue(self, connection: "Connection", begin: Callable[[], None]) -> None:
        """Begin the next request of a connection that has sent it ahead, once it is its turn."""
        self._ahead.append((connection, begin))
        self._next_turn()

    def turn_ended(self) -> None:
        """A request that was sent ahead is answered."""
        self._turns -= 1
        self._next_turn()

    def _next_turn(self) -> None:
        while self._ahead and self._turns < TURNS:
            connection, begin = self._ahead.popleft()
            if connection in self._open:
                self._turns += 1
                begin()

    def holds(self, more: int) -> None:
        """Count more bytes of bodies that are not whole, and close what has kept us waiting longest where they are too many."""
        self._bytes += more
        while self._bytes > BODIES * self.limits.body_bytes:
            longest = next((connection for connection in self._waiting if connection.held), None)
            if longest is None:
                return
            longest.cut_off()

    def closed(self, connection: "Connection") -> None:
        """It is gone."""
        self._open.discard(connection)
        self._waiting.pop(connection, None)

    def check(self) -> None:
        """End what has kept us waiting beyond its limit."""
        for connection in list(self._open):
            connection.check()

    async def watch(self) -> None:
        """Check repeatedly, until cancelled."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            self.check()


class Flow(FlowControl):
    """Uvicorn reads on whenever a request is answered or waits for its body. Here that waits for a condition.

    Args:
        transport: of the connection.
        held: whether the client has to wait.
    """

    def __init__(self, transport: asyncio.Transport, held: Callable[[], bool]) -> None:
        super().__init__(transport)
        self._held = held

    def resume_reading(self) -> None:
        """Read on, unless the client has to wait."""
        if not self._held():
            super().resume_reading()


class Connection(HttpToolsProtocol):
    """One connection. Between two requests uvicorn's own keep-alive limit holds."""

    def __init__(
        self,
        connections: Connections,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, loop)
        self._all = connections
        self._since = connections.now()
        self._limit: float | None = connections.limits.head_seconds
        """Seconds for what is being read; None: no request is."""
        self._unsent = 0
        """Bytes that the client had not taken when last checked."""
        self._moved = 0.0
        """When their number changed last."""
        self._begun = False
        """It has sent a byte."""
        self._refused = False
        """What is being read has been refused already."""
        self._last = False
        """What was refused is the last request. A client that still sends its body when the connection is closed would get no answer."""
        self._head = 0
        """Bytes of what is being read: its line and those of its headers and trailers that are whole."""
        self._unfinished = 0
        """Bytes since something was whole: of a header that does not end, or of nothing that a request has."""
        self._at_once = 0
        """Requests in what has just come."""
        self.held = 0
        """Bytes of a body that is not whole."""
        self._running: RequestResponseCycle | None = None
        """The request that is being answered. uvicorn keeps the one that came last."""
        self._has_answered = False
        """An answer has just been written: what begins now was sent ahead of it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin to wait for a request."""
        super().connection_made(transport)
        self.flow = Flow(transport, self._held)
        if not self._all.opened(self):
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it, and tell the request that is being answered, also where others wait behind it."""
        self._all.closed(self)
        self._hold(-self.held)
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        """Begin to answer a request: one that was sent ahead when it is its turn, any other at once."""
        if self._has_answered:
            self._all.waits(self)
            self._all.queue(self, lambda: self._begin(cycle, self._in_turn(app)))
        else:
            self._begin(cycle, app)

    def _begin(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        if not (self.pipeline or cycle.more_body or self.flow.write_paused):
            self._all.works(self)
        super()._start_asgi_task(cycle, app)

    def _in_turn(self, app: ASGI3Application) -> ASGI3Application:
        async def answer(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
            try:
                await app(scope, receive, send)
            finally:
                self._all.turn_ended()

        return answer

    def _hold(self, more: int) -> None:
        self.held += more
        self._all.holds(more)

    def data_received(self, data: bytes) -> None:
        """Parse what came. End the connection where it is no request, or more than one may have."""
        self._unset_keepalive_if_required()
        self._unfinished += len(data)  # the callbacks begin again at 0
        self._at_once = 0
        try:
            self._parse(data)
            if self._unfinished > HEAD_BYTES:
                self._end(HEAD_TOO_LARGE)
        except httptools.HttpParserError as error:
            self._end(error.__context__.answer if isinstance(error.__context__, Refused) else BAD_REQUEST)

    def _parse(self, data: bytes) -> None:
        """Feed the parser. An offer of another protocol than HTTP/1.1 is ignored, as RFC 9110 section 7.8 allows.

        The parser expects the other protocol after the head, where the body is. A new one gets the same head without the offer.
        """
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as offer:
                (end,) = offer.args
                head = b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
                kept = [b"%b: %b\r\n" % header for header in self.headers if header[0] != b"upgrade"]
                data = b"".join([head, *kept, b"\r\n", data[end:]])
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
            else:
                return

    def _end(self, answer: bytes) -> None:
        """Close, with these last bytes unless they would come after the last answer, as a second one, or in place of another."""
        if not self._answering and not self._answered and not self.transport.is_closing():
            self.transport.write(answer)
        self._limit = None
        self.transport.close()

    def on_url(self, url: bytes) -> None:
        """A part of the path."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A whole header or trailer."""
        self._count(len(name) + len(value) + len(b": \r\n"))
        super().on_header(name, value)

    def _count(self, size: int) -> None:
        """Count bytes of a head that are whole.

        Raises:
            Refused: there are too many.
        """
        self._unfinished = 0
        self._head += size
        if self._head > HEAD_BYTES:
            raise Refused(HEAD_TOO_LARGE)

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._head = self._unfinished = 0
        self._begun = True
        self._reads(self._all.limits.head_seconds)

    def on_headers_complete(self) -> None:
        """A body may follow. The door may refuse the request, for which then nothing is made.

        Raises:
            Refused: it is one too many, comes after the last that is answered, or asks for a tunnel.
        """
        tunnel = self.parser.get_method() == b"CONNECT"
        if self.parser.should_upgrade() and not tunnel:
            return  # comes again, without the offer
        self._at_once += 1
        if tunnel or self._at_once > AHEAD or self.transport.is_closing():
            raise Refused(BAD_REQUEST)
        self._reads(self._all.limits.body_seconds)
        if self._answering or not self._refuse():
            super().on_headers_complete()
        if self.pipeline:
            self._all.waits(self)

    def _refuse(self) -> bool:
        """Answer the request if the door refuses it."""
        keep = self.parser.should_keep_alive() and not self.expect_100_continue and not self._all.door.closing()
        head, usual = self.headers, self.server_state.default_headers
        answer = self._all.door.refuse(self.parser.get_method(), self.url, head, usual, keep=keep)
        if answer is None:
            return False
        self.transport.write(answer)
        if self.expect_100_continue:
            self.transport.close()  # its body does not come
        self._refused, self._last = True, not keep
        return True

    def on_body(self, body: bytes) -> None:
        """A part of the body; of no use where the request has been refused."""
        self._unfinished = 0
        if not self._refused:
            super().on_body(body)
            self._hold(min(len(body), self._all.limits.body_bytes - self.held))

    def on_message_complete(self) -> None:
        """The request is whole, unless the parser takes its body for another protocol."""
        if self.parser.should_upgrade():
            return
        self._limit = None
        self._hold(-self.held)
        if self._refused:
            self._refused = False
            if self._last:
                self.transport.close()
            self.on_response_complete()
            return
        if self._answering and not (self.pipeline or self.flow.write_paused):
            self._all.works(self)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The answer is written."""
        self._since = self._all.now()  # what was sent ahead was not read meanwhile
        self._has_answered = True
        super().on_response_complete()
        self._has_answered = False
        self.flow.resume_reading()  # once more: uvicorn takes the next request off the pipeline after it has tried
        if not self._answering:
            self._all.waits(self)

    def pause_writing(self) -> None:
        """The client leaves much of its answers unread: until it reads we wait for it, and read no further requests."""
        super().pause_writing()
        self.flow.pause_reading()
        self._all.waits(self)

    def resume_writing(self) -> None:
        """It has read most."""
        super().resume_writing()
        self.flow.resume_reading()
        if self._running is not None and not (self._running.response_complete or self._running.more_body or self.pipeline):
            self._all.works(self)

    def _held(self) -> bool:
        """There are requests to answer, or answers to read, before more requests are read."""
        return bool(self.pipeline) or self.flow.write_paused

    def _reads(self, limit: float) -> None:
        self._limit, self._since = limit, self._all.now()
        if not self._answering:
            self._all.waits(self)

    @property
    def _answering(self) -> bool:
        """A request is being answered, whole or not."""
        return bool(self.cycle) and not self.cycle.response_complete

    @property
    def _answered(self) -> bool:
        """What is being read has at least the beginning of its answer, which need not wait for its body."""
        theirs = bool(self.cycle) and self.cycle.scope is self.scope
        return self._limit is not None and (self._refused or (theirs and self.cycle.response_started))

    def check(self) -> None:
        """Compare with the limits."""
        now = self._all.now()
        unsent = self.transport.get_write_buffer_size()
        # Also where it grew: the client may have read less than was added. Where it reads nothing, that has an end.
        if unsent != self._unsent:
            self._unsent, self._moved = unsent, now
        if unsent:
            if now - self._moved > UNREAD_SECONDS:
                self.transport.abort()
            return
        ahead = bool(self.pipeline) or (self._answering and not self.cycle.more_body)  # sent while an earlier one is being answered
        if self._limit is not None and now - self._since > self._limit and not ahead:
            self.cut_off()

    def cut_off(self) -> None:
        """Close it; with a word where a request was begun and nothing of an answer is written.

        It counts until the kernel has taken that word. Where answers are unread, nothing more would ever be taken: they are dropped.
        """
        self._all.works(self)  # it is closed once
        self._hold(-self.held)
        if self.transport.get_write_buffer_size():
            self.transport.abort()
            return
        if self._begun and self._limit is not None and not self._answered:
            self.transport.write(REQUEST_TIMEOUT)
        self._limit = None
        self.transport.close()
