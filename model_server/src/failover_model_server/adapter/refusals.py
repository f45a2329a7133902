"""The engine's refusals as errors for clients. Pure."""

import json
from http import HTTPStatus

from failover_model_server.errors import InferenceFailed, InvalidRequest, NoSuchModel, Overloaded, RequestError, Unavailable, cut

RETRY_AFTER = 10.0
"""Seconds."""
MOST_KIND = 100
"""Characters of the engine's word for a kind of error."""
ENGINE_FAILED = "the engine failed on this request"
ENGINE_REFUSED = "the engine refused this request"
_CODES = {error.status: error.code for error in (NoSuchModel, Overloaded, Unavailable)}
Object = dict[str, object]


class Refused(RequestError):
    """The engine refuses a request, or has failed on it: its own status, type and words.

    Nobody gets its words about a failure of its own, which have inputs and paths in them. Those about a wrong request go to its client
    alone, because they may repeat the prompt.

    Args:
        status: of the engine's answer, not 200.
        content: of its body; empty where it is too long to be read whole.
        media_type: of the body.
    """

    def __init__(self, status: int, content: bytes = b"", media_type: str = "application/json") -> None:
        failed = status >= HTTPStatus.INTERNAL_SERVER_ERROR
        error = error_of(content)
        super().__init__(ENGINE_FAILED if failed else str(error.get("message") or ENGINE_REFUSED))
        self.status = status  # type: ignore[misc]  # of this error, not of its class
        self.code = _CODES.get(status, InferenceFailed.code if failed else InvalidRequest.code)  # type: ignore[misc]
        self.kind = cut(str(error.get("type") or ""), MOST_KIND)
        """The engine's word for it, as BadRequestError."""
        self.content = b"" if failed or not error else content
        """What a client that speaks the engine's protocol gets, word for word; empty: what we say."""
        self.document = _object(content) if self.content else {}
        """The same, read."""
        self.media_type = media_type
        if status in {Overloaded.status, Unavailable.status}:
            self.retry_after = RETRY_AFTER


def error_of(content: bytes) -> Object:
    """The error in a body or an event: that under `error`, or the body itself as before vLLM 0.10; empty where there is none."""
    body = _object(content)
    error = body.get("error", body if body.get("object") == "error" else None)
    return error if isinstance(error, dict) else {"message": error} if isinstance(error, str) else {}


def _object(content: bytes) -> Object:
    """The JSON object in a body; empty where there is none."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}
