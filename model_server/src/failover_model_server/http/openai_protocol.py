"""The OpenAI protocol, as the adapter in front of vLLM needs it: paths, errors, events of a stream."""

import json
from typing import Any

from failover_model_server.errors import InferenceFailed, Overloaded, RequestError

MODELS = "/v1/models"
COMPLETIONS = "/v1/completions"
CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"
EMBEDDINGS = "/v1/embeddings"
USUAL_TOKENS = 16
"""Most new tokens of a completion that does not say, as OpenAI and vLLM have it; a chat has the server's limit."""
STREAM = "text/event-stream"
"""Media type of a stream."""


def openai_error(status: int, code: str, message: str) -> dict[str, Any]:
    """An error in the protocol's form."""
    kind = "rate_limit_error" if status == Overloaded.status else "invalid_request_error"
    kind = "server_error" if status >= InferenceFailed.status else kind
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def event(value: dict[str, Any]) -> bytes:
    """A server-sent event of a stream."""
    return f"data: {json.dumps(value, separators=(',', ':'))}\n\n".encode()


def error_event(error: RequestError) -> bytes:
    """The last event of a stream that fails on the way, when its status is sent already."""
    return event(openai_error(error.status, error.code, str(error)))
