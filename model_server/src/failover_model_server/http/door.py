"""The door: refuses what would get no answer anyway, from the head of a request, before anything is made for it.

Under overload most requests are refused. Each that goes through the whole application takes its time from the thread that runs the model: a
refusal here costs a fifth of that.
"""

import asyncio
import json
import math
import secrets
from collections.abc import Callable, Sequence

import structlog
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from failover_model_server.errors import InvalidRequest, RequestError
from failover_model_server.http.errors import content
from failover_model_server.http.requests import SAFE_ID, TIMEOUT_HEADER, seconds_of

log = structlog.get_logger()

LOG_SECONDS = 1.0
"""Between two lines of the log that count refusals: nobody reads more, and each line would cost as much as the refusal."""
Head = Sequence[tuple[bytes, bytes]]
"""Names, in lower case, and values of headers."""

_TIMEOUT = TIMEOUT_HEADER.lower().encode()


class Door:
    """Decides from method, path and deadline. Used on the event loop's thread only; must not block.

    Args:
        guards: whether requests with this path run the model.
        refusal: why one with this many seconds would get no answer, counted; None lets it in.
        closing: whether clients are to open a new connection for their next request, elsewhere.
    """

    def __init__(
        self, guards: Callable[[bytes], bool], refusal: Callable[[float | None], RequestError | None], closing: Callable[[], bool]
    ) -> None:
        self._guards = guards
        self._refusal = refusal
        self.closing = closing
        self._refused: dict[str, int] = {}

    def refuse(self, method: bytes, path: bytes, head: Head, usual: Head, *, keep: bool) -> bytes | None:
        """The whole answer to a request that is refused; None lets it in.

        Args:
            method: of the request.
            path: as it was sent, perhaps with a query.
            head: its headers.
            usual: headers that every answer has.
            keep: whether the connection stays open.
        """
        path = path.partition(b"?")[0].removesuffix(b"/")
        if method != b"POST" or not self._guards(path):
            return None
        values = dict(head)
        try:
            error = self._refusal(seconds_of(values.get(_TIMEOUT, b"").decode("latin-1")))
        except InvalidRequest:
            return None  # the route says what is wrong with it
        if error is None:
            return None
        self._count(error.code)
        theirs = values.get(b"x-request-id", b"").decode("latin-1")
        name = theirs if SAFE_ID.fullmatch(theirs) else secrets.token_hex(8)
        body = json.dumps(content(path.decode("latin-1"), error.status, error.code, str(error), name)).encode()
        lines = [STATUS_LINE[error.status], *(b"%b: %b\r\n" % header for header in usual)]
        if error.retry_after is not None:
            lines.append(b"retry-after: %d\r\n" % math.ceil(error.retry_after))
        if not keep:
            lines.append(b"connection: close\r\n")
        lines.append(b"content-type: application/json\r\nx-request-id: %b\r\ncontent-length: %d\r\n\r\n" % (name.encode(), len(body)))
        return b"".join([*lines, body])

    def _count(self, code: str) -> None:
        """Count a refusal for the line of this second."""
        if not self._refused:
            asyncio.get_running_loop().call_later(LOG_SECONDS, self._log)
        self._refused[code] = self._refused.get(code, 0) + 1

    def _log(self) -> None:
        log.info("refused", **self._refused, seconds=LOG_SECONDS)
        self._refused = {}
