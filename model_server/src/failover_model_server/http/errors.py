"""Errors as HTTP responses, without internals: an error body never holds a path, a stack trace or what was sent."""

import math
from collections.abc import Mapping
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Scope

from failover_model_server.errors import UNFORESEEN, InferenceFailed, InputTooLarge, RequestError, cut, in_words
from failover_model_server.http.openai_protocol import openai_error

log = structlog.get_logger()

MOST_TYPE = 100
"""Characters of a Content-Type that are named."""


class ErrorDetail(BaseModel):
    """What went wrong."""

    code: str
    """For programs."""
    message: str
    """For people."""
    request_id: str
    """Finds the request in the log."""


class ErrorBody(BaseModel):
    """The body of every response that is not a result."""

    error: ErrorDetail


RESPONSES: Mapping[int | str, dict[str, Any]] = {
    400: {"model": ErrorBody, "description": "The request cannot be read, or a field is wrong."},
    413: {"model": ErrorBody, "description": "More bytes, pixels or tokens than this server takes."},
    415: {"model": ErrorBody, "description": "The body is not JSON by its Content-Type, or of an unknown Content-Encoding."},
    422: {"model": ErrorBody, "description": "The body does not match the schema."},
    429: {"model": ErrorBody, "description": "The queue is full; Retry-After says when to try again."},
    500: {"model": ErrorBody, "description": "The model failed on this input."},
    503: {"model": ErrorBody, "description": "Not ready: loading, draining or failed; see Retry-After."},
    504: {"model": ErrorBody, "description": "No result before the deadline."},
}
"""For the OpenAPI document of every route that runs the model."""


class ClientGone(Exception):
    """The client has closed its connection; nobody reads the answer."""


GONE = (ClientGone, ClientDisconnect)
"""The client's leaving, as we notice it and as Starlette does."""


def content(path: str, status: int, code: str, message: str, request_id: str) -> dict[str, Any]:
    """An error in the form of the protocol that the path belongs to."""
    if path.startswith("/v2"):
        return {"error": message}
    if path.startswith("/v1/"):
        return openai_error(status, code, message)
    return ErrorBody(error=ErrorDetail(code=code, message=message, request_id=request_id)).model_dump()


def body(scope: Scope, status: int, code: str, message: str, headers: Mapping[str, str]) -> JSONResponse:
    """An error as a response."""
    return JSONResponse(content(scope["path"], status, code, message, str(scope.get("request_id", "-"))), status, headers)


def install(app: FastAPI) -> None:
    """Answer every exception of the app."""

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestError)  # noqa: S101 - registered for it
        headers = {} if error.retry_after is None else {"Retry-After": str(math.ceil(error.retry_after))}
        return body(request.scope, error.status, error.code, str(error), headers)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it
        kind = request.headers.get("content-type", "")
        if kind and "json" not in kind.lower():  # of curl's -d, if it is given no other
            message = f"Content-Type: {cut(kind, MOST_TYPE)!r} is not read as JSON; send application/json"
            return body(request.scope, 415, "unsupported_media_type", message, {})
        return body(request.scope, 422, "invalid_request", in_words(error.errors()), {})

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
        code = "input_too_large" if error.status_code == InputTooLarge.status else f"http_{error.status_code}"
        return body(request.scope, error.status_code, code, str(error.detail), error.headers or {})

    async def gone(request: Request, error: Exception) -> Response:  # noqa: ARG001 - the signature of handlers
        return Response(status_code=499)  # as nginx has it; only the log sees it

    async def unexpected(request: Request, error: Exception) -> Response:
        log.error("request_failed", exc_info=error)
        return body(request.scope, 500, InferenceFailed.code, UNFORESEEN, {})

    app.add_exception_handler(RequestError, refused)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    for left in GONE:
        app.add_exception_handler(left, gone)
    app.add_exception_handler(Exception, unexpected)
