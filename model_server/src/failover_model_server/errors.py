"""The errors that a client gets instead of an answer: an HTTP status, a code for programs, and a sentence for people.

Only the texts of these errors reach a client. Any other exception becomes `InferenceFailed` with a request id; its own text, which
may hold paths or inputs, goes to the log alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

MOST_MESSAGE: Final = 1000
"""Characters of a message: it may name what the client sent, which may be megabytes, and gRPC has no room for more than 16 KiB."""
_MOST_NAME: Final = 100

UNFORESEEN = "the server failed on this request"
"""The message to a client for an exception that nobody has foreseen."""


class RequestError(Exception):
    """A request that gets no result. The message is sent to the client: say what is wrong, which field, and what is allowed."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"
    retry_after: float | None = None
    """Seconds after which another try makes sense; sent as `Retry-After`."""

    def __init__(self, message: str) -> None:
        super().__init__(cut(message))


class InvalidRequest(RequestError):
    """The request itself is wrong: another try fails the same way."""

    status = 400
    code = "invalid_request"


class NoSuchModel(RequestError):
    """Another name or version than the one served here."""

    status = 404
    code = "no_such_model"


class InputTooLarge(RequestError):
    """More bytes, pixels or tokens than this server takes."""

    status = 413
    code = "input_too_large"


class Overloaded(RequestError):
    """The queue is full."""

    status = 429
    code = "overloaded"

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unavailable(RequestError):
    """The server is not ready: loading, draining, failed."""

    status = 503
    code = "unavailable"

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DeadlineExceeded(RequestError):
    """The deadline of the request passed before it was run or answered."""

    status = 504
    code = "deadline_exceeded"

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class InferenceFailed(RequestError):
    """The model failed on this item. The client gets no further details; the log has the cause."""

    code = "inference_failed"


class LoadError(Exception):
    """The model cannot be served: missing weights, an artifact compiled for another device, a wrong setting. Fatal; for operators."""


def cut(text: str, most: int = MOST_MESSAGE) -> str:
    """A text, shortened to `most` characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def in_words(details: Sequence[Mapping[str, Any]]) -> str:
    """Validation errors in one sentence: the place of each and what is wrong there, without the value."""
    places = (".".join(cut(str(part), _MOST_NAME) for part in detail["loc"]) or "body" for detail in details[:10])
    return cut("; ".join(f"{place}: {detail['msg']}" for place, detail in zip(places, details, strict=False)))
