"""vLLM's OpenAI API, passed through: with the adapter's admission, deadlines, drain and counters, and otherwise as it is."""

import asyncio
import contextlib
import json
import re
import time
from collections.abc import AsyncIterator
from typing import Any, NoReturn, Protocol

import httpx
import structlog
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from failover_model_server.adapter.engine import OK, Engine
from failover_model_server.adapter.place import ANSWERED, Place, Room
from failover_model_server.adapter.refusals import ENGINE_FAILED, MOST_LOGGED, RETRY_AFTER, refusal
from failover_model_server.errors import (
    UNFORESEEN,
    DeadlineExceeded,
    InferenceFailed,
    InputTooLarge,
    InvalidRequest,
    NoSuchModel,
    RequestError,
    Unavailable,
)
from failover_model_server.http.openai_protocol import CHAT, COMPLETIONS, MODELS, STREAM, USUAL_TOKENS, error_event
from failover_model_server.http.requests import timeout, unless_gone
from failover_model_server.settings import Settings

log = structlog.get_logger()

_ENDS = (b"\n\n", b"\r\n\r\n", b"\r\r")  # of an event
_END = re.compile(b"|".join(_ENDS))
_DONE = b"[DONE]"
_LAST = re.compile(rb'\[DONE\]|"error"')
"""Is in every event that ends a stream. A text has its quotes escaped, so that few others are read closely."""
MOST_ERROR = 65536
"""Bytes of an error of the engine's that are read: it may repeat the whole request, and says first what is wrong."""
MOST_ANSWER = 64 * 1024 * 1024
"""Bytes of an answer that is not streamed."""
MOST_EVENT = 16 * 1024 * 1024
"""Bytes of an event of a stream."""
MOST_NUMBER = 2**63 - 1
"""Of tokens or sequences: what is beyond is a mistake, and may have more digits than Python writes into an error."""
PROMPTS = ("prompt", "prompt_embeds")
"""Where a body has its prompts; vLLM continues those of both."""
TOKENS = ("max_tokens", "max_completion_tokens")
"""The first is the older name of the second."""


class Adapted(Room, Protocol):
    """What the routes need of the adapter."""

    engine: Engine
    settings: Settings


def routes(adapter: Adapted) -> APIRouter:
    """The engine's model, completions and chats; what else vLLM has under `/v1` is not passed through."""
    router = APIRouter(tags=["openai"])

    def described() -> dict[str, Any]:
        if not adapter.engine.model:
            raise Unavailable(adapter.engine.state.reason, RETRY_AFTER)
        return {"id": adapter.engine.model, "object": "model", "created": 0, "owned_by": "vllm"}

    @router.get(MODELS)
    async def models() -> JSONResponse:
        """The engine's model, under the name that requests use."""
        return JSONResponse({"object": "list", "data": [described()]})

    @router.get(f"{MODELS}/{{name:path}}")
    async def model(name: str) -> JSONResponse:
        """The model of this name, which may have slashes; vLLM has no such route."""
        found = described()
        if name != found["id"]:
            raise NoSuchModel(f"there is no such model here; there is {found['id']}")
        return JSONResponse(found)

    @router.post(COMPLETIONS)
    async def completions(request: Request) -> Response:
        """Continue a text."""
        return await _pass_on(adapter, request, COMPLETIONS)

    @router.post(CHAT)
    async def chat(request: Request) -> Response:
        """Answer a conversation."""
        return await _pass_on(adapter, request, CHAT)

    return router


def read(content: bytes, most_tokens: int, *, chat: bool) -> tuple[bytes, int]:
    """The body to send on, with a limit on the new tokens, and how many sequences it asks for.

    Args:
        content: the client's body.
        most_tokens: new tokens that the setting allows.
        chat: whether it is for chats, else for completions.

    Raises:
        InvalidRequest: not a JSON object, or a number is none, or not finite, or a text has half of a character.
        InputTooLarge: more new tokens than the setting allows.
    """
    try:
        body = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("the body is not JSON") from error
    if not isinstance(body, dict):
        raise InvalidRequest("the body is not a JSON object")
    for name in TOKENS:
        if body.get(name, 0) is None:
            del body[name]  # null says nothing
        if (wanted := _number(body, name)) > most_tokens:
            raise InputTooLarge(f"{name}: {wanted}; at most {most_tokens}")
    if chat and not any(body.get(name) for name in TOKENS):
        body["max_tokens"] = most_tokens  # else the engine fills its context
    elif not chat and "max_tokens" not in body:
        body["max_tokens"] = min(USUAL_TOKENS, most_tokens)
    prompts = sum(_prompts(body.get(name)) for name in PROMPTS)
    return _encoded(body), max(1, prompts) * max(1, _number(body, "n"), _number(body, "best_of"))


def _prompts(value: object) -> int:
    """How many there are: a list is several, but for one of tokens, which is one."""
    return len(value) if isinstance(value, list) and not all(isinstance(token, int) for token in value) else int(bool(value))


def _encoded(body: dict[str, Any]) -> bytes:
    """As JSON: Python reads more than JSON can say, NaN and 1e999 and half of a surrogate pair."""
    try:
        return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("the body has a number that is not finite, or half of a character, or is too deep") from error


def _number(body: dict[str, Any], name: str) -> int:
    value = body.get(name)
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > MOST_NUMBER:
        raise InvalidRequest(f"{name}: must be a whole number, {MOST_NUMBER} at most")
    return value


async def _pass_on(adapter: Adapted, request: Request, path: str) -> Response:
    body, places = read(await request.body(), adapter.settings.max_new_tokens, chat=path == CHAT)
    seconds = adapter.settings.seconds(timeout(request.headers))
    passage = _Passage(Place(adapter, places), time.monotonic() + seconds, seconds)
    try:
        return await passage.begin(adapter.engine, request, path, body)
    except BaseException as error:
        await passage.end(error)
        raise


class _Passage:
    """One request and its answer, on their way through."""

    def __init__(self, place: Place, deadline: float, seconds: float) -> None:
        self._place = place.__enter__()
        self._deadline = deadline
        self._seconds = seconds
        self._answer: httpx.Response | None = None
        self._ended = False

    async def begin(self, engine: Engine, request: Request, path: str, body: bytes) -> Response:
        """The response, once the engine has begun to answer."""
        self._answer = await unless_gone(request, engine.open(path, body, self._seconds))
        kind = self._answer.headers.get("content-type", "application/json")
        if self._answer.status_code != OK:
            raise await self._refused(self._answer.status_code)
        if kind.startswith(STREAM):
            return _Stream(self, kind)
        content = await unless_gone(request, self._whole(MOST_ANSWER))
        self._place.outcome = ANSWERED
        await self.end()
        return Response(content, media_type=kind)

    async def end(self, error: BaseException | None = None) -> None:
        """Give back the place, and close the connection to the engine, which aborts what is still running."""
        if self._ended:
            return
        self._ended = True
        self._place.__exit__(type(error) if error else None, error, None)
        if self._answer is not None:
            with contextlib.suppress(httpx.HTTPError):
                await self._answer.aclose()

    async def parts(self) -> AsyncIterator[bytes]:
        """The answer as it comes.

        Raises:
            RequestError: the engine has gone, or the deadline has passed.
        """
        assert self._answer is not None  # noqa: S101 - begun
        source = self._answer.aiter_raw()
        while True:
            try:
                async with asyncio.timeout(max(0.0, self._deadline - time.monotonic())):
                    part = await anext(source, None)
            except (httpx.TimeoutException, TimeoutError) as error:
                raise DeadlineExceeded(f"no answer within {self._seconds:g} s", RETRY_AFTER) from error
            except httpx.HTTPError as error:
                raise InferenceFailed("the engine has ended within its answer") from error
            if part is None:
                return
            yield part

    async def events(self) -> AsyncIterator[bytes]:
        """The stream, in whole events; an error on the way is the last one.

        An event that the engine does not finish is left out: clients would read the error as the rest of it. So is an error of the
        engine's, which says what has failed inside it.
        A client may leave once it has the event that ends the stream, before the engine has closed its own connection: it was answered.
        What the engine sends after that event is read, so that its connection can be used again, and dropped.
        """
        answered = False
        try:
            async for events in whole_events(self.parts()):
                if answered:
                    continue
                passed, last = until_last(events)
                if last == _DONE:
                    self._place.outcome, answered = ANSWERED, True
                if passed:
                    yield passed
                if last and not answered:
                    _failed(last)
            self._place.outcome = ANSWERED
        except Exception as error:
            if answered:
                return
            if not isinstance(error, RequestError):
                log.exception("stream_failed")
                error = InferenceFailed(UNFORESEEN)
            self._place.outcome = error.code
            yield error_event(error)

    async def _whole(self, most: int) -> bytes:
        content = bytearray()
        async for part in self.parts():
            content += part
            if len(content) > most:
                raise InferenceFailed("the engine's answer is too long")
        return bytes(content)

    async def _refused(self, status: int) -> RequestError:
        content = bytearray()
        with contextlib.suppress(InferenceFailed):  # the status is there
            async for part in self.parts():
                content += part
                if len(content) >= MOST_ERROR:
                    break
        text = content[:MOST_ERROR].decode(errors="replace")
        log.warning("engine_refused", status=status, text=text[:MOST_LOGGED])
        return refusal(status, text, show=True)


async def whole_events(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The parts of a stream of events, cut between events; at the end what is left.

    Raises:
        InferenceFailed: an event is longer than `MOST_EVENT`.
    """
    held = bytearray()
    async for part in parts:
        begin = max(0, len(held) - 3)  # an end may lie in two parts
        held += part
        whole = max(place + len(end) if (place := held.rfind(end, begin)) >= 0 else 0 for end in _ENDS)
        if whole:
            yield bytes(held[:whole])
            del held[:whole]
        if len(held) > MOST_EVENT:
            raise InferenceFailed("an event of the engine's is too long")
    if held:
        yield bytes(held)


def until_last(events: bytes) -> tuple[bytes, bytes]:
    """What of these whole events may be sent on, and the data of the one that ends the stream; empty where none of them does.

    [DONE] is sent on. An error is not.
    """
    if not _LAST.search(events):
        return events, b""
    begin = 0
    for end in (*(found.end() for found in _END.finditer(events)), len(events)):
        lines = events[begin:end].splitlines()
        data = b"\n".join(line.removeprefix(b"data:").strip() for line in lines if line.startswith(b"data:"))
        if data == _DONE:
            return events[:end], data
        if _LAST.search(data) and _is_error(data):
            return events[:begin], data
        begin = end
    return events, b""


def _failed(data: bytes) -> NoReturn:
    """Log what the engine says of its failure.

    Raises:
        InferenceFailed: always; for the client.
    """
    log.warning("engine_failed_in_stream", text=data[:MOST_LOGGED].decode(errors="replace"))
    raise InferenceFailed(ENGINE_FAILED)


def _is_error(data: bytes) -> bool:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and bool(found.get("error"))


class _Stream(StreamingResponse):
    """Ends the passage whatever happens to the client."""

    def __init__(self, passage: _Passage, kind: str) -> None:
        super().__init__(passage.events(), media_type=kind)
        self._passage = passage

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        except BaseException as error:
            await self._passage.end(error)
            raise
        await self._passage.end()
