"""The engine's refusals as errors for clients. Pure."""

import json

from failover_model_server.errors import InferenceFailed, InputTooLarge, InvalidRequest, NoSuchModel, Overloaded, RequestError, Unavailable

RETRY_AFTER = 10.0
"""Seconds."""
MOST_MESSAGE = 500
"""Characters of a message that are passed on."""
NOT_FOUND, SERVER_ERROR = 404, 500


def refusal(status: int, text: str, *, show: bool) -> RequestError:
    """The error that an answer of the engine means.

    Args:
        status: of its answer, not 200.
        text: its body.
        show: whether the client speaks the engine's protocol, and so gets its words about a wrong request. What it says of itself nobody
            gets: it has inputs and paths in it.
    """
    if status == Overloaded.status:
        return Overloaded("the engine takes no more", RETRY_AFTER)
    if status == Unavailable.status:
        return Unavailable("the engine takes no requests now", RETRY_AFTER)
    if status >= SERVER_ERROR:
        return InferenceFailed("the engine failed on this request")
    if "context length" in text:
        return InputTooLarge("prompt: longer than the model's context allows together with the new tokens")
    message = (_message(text) if show else "") or "the engine refused this request"
    return NoSuchModel(message) if status == NOT_FOUND else InvalidRequest(message)


def _message(text: str) -> str:
    """What it says: `error.message`, or `message` before vLLM 0.10."""
    try:
        body = json.loads(text)
        found = body.get("error", body)["message"]
    except (ValueError, RecursionError, AttributeError, KeyError, TypeError):
        return ""
    return " ".join(str(found).split())[:MOST_MESSAGE]
