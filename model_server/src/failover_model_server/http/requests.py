"""What every HTTP request has: an id, a limit of its body, a deadline, a client that may go away."""

import asyncio
import contextlib
import re
import secrets
import time
import zlib
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import structlog
from fastapi import HTTPException, Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from failover_model_server.deadlines import ENDED, RETRY_ELSEWHERE
from failover_model_server.errors import InvalidRequest, Unavailable
from failover_model_server.http import errors
from failover_model_server.http.errors import ClientGone

log = structlog.get_logger()
T = TypeVar("T")

SAFE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
QUIET = frozenset({"/health", "/readiness", "/ping", "/metrics", "/v2/health/live", "/v2/health/ready"})
"""Asked every few seconds by probes and scrapers: not logged."""
TIMEOUT_HEADER = "X-Request-Timeout"
READ_TIMES = 8
"""As many times the largest body are read of one that is too large, before its connection is closed."""


def timeout(headers: Headers) -> float | None:
    """Seconds the client is willing to wait, if it says so.

    Raises:
        InvalidRequest: the header is not a positive number.
    """
    return seconds_of(headers.get(TIMEOUT_HEADER, ""))


def seconds_of(text: str) -> float | None:
    """The value of the header with the client's time-out; None where it is empty.

    Raises:
        InvalidRequest: not a positive number.
    """
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise InvalidRequest(f"{TIMEOUT_HEADER}: give seconds, as 2.5")
    return seconds


async def unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of the work, which is cancelled when the client closes its connection."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGone
        return task.result()
    finally:
        for pending in (task, gone):
            pending.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await task


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


CODINGS = {"": None, "identity": None, "gzip": 31, "deflate": zlib.MAX_WBITS}
"""Content codings of bodies that are read, with zlib's number of each; None: as it is. tritonclient sends the compressed ones."""
ACCEPTED = "gzip, deflate, identity"


def inflated(receive: Receive, form: int, most: int) -> Receive:
    """A compressed body, decompressed as it comes, up to one byte more than `most`: that byte shows that the body is too large.

    Raises (when received):
        HTTPException: the body is not compressed so.
    """
    stream, left = zlib.decompressobj(form), most + 1

    async def receive_plain() -> Message:
        nonlocal left
        message = await receive()
        if message["type"] != "http.request":
            return message
        try:
            plain = stream.decompress(message.get("body", b""), left) if left else b""
        except zlib.error:
            raise HTTPException(400, "Content-Encoding: the body is not compressed so") from None
        left -= len(plain)
        if left and not message.get("more_body") and not stream.eof:
            raise HTTPException(400, "Content-Encoding: the compressed body is cut off")
        return {**message, "body": plain}

    return receive_plain


class Envelope:
    """Gives each request an id, refuses bodies that are too large, decompresses them, logs one line a request.

    A path may end in a slash: Starlette would redirect it, to http:// where a load balancer in front speaks https.

    An ASGI middleware. The id is the client's `X-Request-Id` where that is short and harmless; it is sent back.

    Args:
        app: what is served.
        most_bytes: of a body.
        closing: whether clients are to open a new connection for their next request, elsewhere.
    """

    def __init__(self, app: ASGIApp, most_bytes: int, closing: Callable[[], bool] = lambda: False) -> None:
        self._app = app
        self._most = most_bytes
        self._message = f"the body is larger than {most_bytes} bytes"
        self._closing = closing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["path"] = scope["path"].removesuffix("/") or "/"
        headers = Headers(scope=scope)
        theirs = headers.get("x-request-id", "")
        scope["request_id"] = theirs if SAFE_ID.fullmatch(theirs) else secrets.token_hex(8)
        began, status = time.perf_counter(), 0

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                closing = [(b"connection", b"close")] if self._closing() else []
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", scope["request_id"].encode()), *closing]
            await send(message)

        try:
            with structlog.contextvars.bound_contextvars(request_id=scope["request_id"]):
                await self._limited(scope, headers, receive, send_on)
        except asyncio.CancelledError:  # by uvicorn, at the end of a drain, of what waits for its client
            if not status:
                wait = {"Retry-After": f"{RETRY_ELSEWHERE:.0f}"}
                await errors.body(scope, Unavailable.status, Unavailable.code, ENDED, wait)(scope, receive, send_on)
        finally:
            if scope["path"] not in QUIET:
                log.info(
                    "request",
                    request_id=scope["request_id"],
                    method=scope["method"],
                    path=scope["path"],
                    status=status,
                    seconds=round(time.perf_counter() - began, 6),
                )

    async def _limited(self, scope: Scope, headers: Headers, receive: Receive, send: Send) -> None:
        """Pass the request on, with a limit on the size of its body, declared or not, compressed or not."""
        coding = headers.get("content-encoding", "").strip().lower()
        if coding not in CODINGS:
            closing = await self._read_on(headers, receive, 0)
            wanted = {**closing, "Accept-Encoding": ACCEPTED}
            message = f"Content-Encoding: send the body as one of {ACCEPTED}"
            await errors.body(scope, 415, "unsupported_encoding", message, wanted)(scope, receive, send)
            return
        declared = headers.get("content-length", "0")
        if declared.isdigit() and int(declared) > self._most:
            closing = await self._read_on(headers, receive, 0)
            await errors.body(scope, 413, "input_too_large", self._message, closing)(scope, receive, send)
            return
        form = CODINGS[coding]
        come = receive if form is None else inflated(receive, form, self._most)
        seen = 0

        async def receive_some() -> Message:
            nonlocal seen
            message = await come()
            seen += len(message.get("body", b""))
            if seen > self._most:
                closing = await self._read_on(headers, receive, seen)
                raise HTTPException(413, self._message, closing)  # the one kind that passes through FastAPI's reading of the body
            return message

        await self._app(scope, receive_some, send)

    async def _read_on(self, headers: Headers, receive: Receive, seen: int) -> dict[str, str]:
        """Drop the rest of a body that is too large, within bounds; what the answer's headers have to say about the connection.

        Many clients read no answer before they have sent everything: a connection that is closed before is an error to them, not an answer.
        """
        if "expect" not in headers:  # such a client reads the answer first
            while seen <= READ_TIMES * self._most:
                message = await receive()
                if not message.get("more_body"):
                    return {}
                seen += len(message["body"])
        return {"Connection": "close"}
