"""The engine's refusals as errors for clients. Pure."""

import json
import re

from failover_model_server.errors import (
    InferenceFailed,
    InputTooLarge,
    InvalidRequest,
    NoSuchModel,
    Overloaded,
    RequestError,
    Unavailable,
    cut,
)

RETRY_AFTER = 10.0
"""Seconds."""
MOST_MESSAGE = 500
"""Characters of a message that are passed on."""
MOST_LOGGED = 500
"""Characters of what the engine says that are logged."""
NOT_FOUND, SERVER_ERROR = 404, 500
ENGINE_FAILED = "the engine failed on this request"
_TOO_LONG = re.compile(r"[^\[{]{0,200}?(?:context length (?:is|of) (?:only )?\d|longer than the maximum model length)")
"""How vLLM's message begins for a prompt beyond the model's context. A message that repeats the request does so after a bracket."""
_TOO_LONG_CODE = "context_length_exceeded"
_BEGINNING = re.compile(
    r'\s*\{\s*(?:"error"\s*:\s*\{\s*)?(?:"object"\s*:\s*"error"\s*,\s*)?"message"\s*:\s*'
    rf'("(?:[^"\\]|\\u[0-9a-fA-F]{{4}}|\\[^u]){{0,{2 * MOST_MESSAGE}}})'
)
"""Of an error, up to its message, which may be cut."""


def refusal(status: int, text: str, *, show: bool) -> RequestError:
    """The error that an answer of the engine means.

    Args:
        status: of its answer, not 200. It alone says whose fault it is: its text may repeat the request.
        text: its body, which may be cut.
        show: whether the client speaks the engine's protocol, and so gets its words about a wrong request. What it says of itself nobody
            gets: it has inputs and paths in it.
    """
    if status == Overloaded.status:
        return Overloaded("the engine takes no more", RETRY_AFTER)
    if status == Unavailable.status:
        return Unavailable("the engine takes no requests now", RETRY_AFTER)
    if status >= SERVER_ERROR:
        return InferenceFailed(ENGINE_FAILED)
    said, code = _message(text)
    message = (cut(said, MOST_MESSAGE) if show else "") or "the engine refused this request"
    if status == NOT_FOUND:
        return NoSuchModel(message)
    if code == _TOO_LONG_CODE or _TOO_LONG.match(said):
        return InputTooLarge("prompt: longer than the model's context allows together with the new tokens")
    return InvalidRequest(message)


def _message(text: str) -> tuple[str, object]:
    """What it says, in one line, and its code: those of `error`, or of the body itself before vLLM 0.10. A body that is cut has no code."""
    try:
        body = json.loads(text)
        error = body.get("error", body)
        said, code = str(error["message"]), error.get("code")
    except (ValueError, RecursionError, AttributeError, KeyError, TypeError):
        said, code = _begun(text), None
    return " ".join(said[: 2 * MOST_MESSAGE].encode(errors="replace").decode().split()), code


def _begun(text: str) -> str:
    """The beginning of the message of a body that is cut; empty where it is not to be found."""
    begun = _BEGINNING.match(text)
    try:
        return str(json.loads(f'{begun[1]}"', strict=False)) if begun else ""
    except (ValueError, RecursionError):
        return ""
