"""vLLM's OpenAI API, passed through: with the adapter's admission, deadlines, drain and counters, and otherwise as it is."""

import contextlib
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

import httpx
import structlog
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from failover_model_server.adapter.engine import BAD_REQUEST, OK, Engine, refused
from failover_model_server.adapter.place import ANSWERED, Place, Room
from failover_model_server.adapter.refusals import RETRY_AFTER, Refused, error_of
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
from failover_model_server.http.openai_protocol import (
    CHAT,
    COMPLETIONS,
    EMBEDDINGS,
    MODELS,
    RESPONSES,
    STREAM,
    USUAL_TOKENS,
    error_event,
    event,
)
from failover_model_server.http.requests import timeout, unless_gone
from failover_model_server.settings import Settings

log = structlog.get_logger()

_ENDS = (b"\n\n", b"\r\n\r\n", b"\r\r")  # of an event
_END = re.compile(b"|".join(_ENDS))
_DONE = b"[DONE]"
FAILED = 500
_LAST = re.compile(rb'\[DONE\]|"error"')
"""Is in every event that ends a stream. A text has its quotes escaped, so that few others are read closely."""
MOST_ANSWER = 64 * 1024 * 1024
"""Bytes of an answer that is not streamed."""
MOST_EVENT = 16 * 1024 * 1024
"""Bytes of an event of a stream."""
MOST_NUMBER = 2**63 - 1
"""Of tokens or sequences: what is beyond is a mistake, and may have more digits than Python writes into an error."""


@dataclass(frozen=True, slots=True)
class Route:
    """A route of vLLM's that is passed through."""

    says: str
    """For the OpenAPI document."""
    limits: tuple[str, ...] = ()
    """Fields that limit the new tokens. The first is set where none of those that count says how many."""
    counts: int = 0
    """How many of them the engine reads on this route."""
    usual: int | None = None
    """New tokens where the body does not say; None: the setting, else the engine fills its context."""
    zero: bool = False
    """Whether 0 asks for no new tokens; on other routes it counts as nothing said."""
    prompts: tuple[str, ...] = ()
    """Fields whose elements are sequences of their own; vLLM continues those of all of them."""


ROUTES = {
    COMPLETIONS: Route(
        "Continue a text.", ("max_tokens", "max_completion_tokens"), 1, USUAL_TOKENS, zero=True, prompts=("prompt", "prompt_embeds")
    ),
    CHAT: Route("Answer a conversation.", ("max_tokens", "max_completion_tokens"), 2),
    RESPONSES: Route("Answer in the form of OpenAI's newer API.", ("max_output_tokens",), 1),
    EMBEDDINGS: Route("Vectors of texts, from a model that is for that."),
}


class Adapted(Room, Protocol):
    """What the routes need of the adapter."""

    engine: Engine
    settings: Settings


def routes(adapter: Adapted) -> APIRouter:
    """The engine's model, and `ROUTES`; what else vLLM has under `/v1` is not passed through."""
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

    def passed(path: str, route: Route) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            return await _pass_on(adapter, request, path, route)

        return answer

    for path, route in ROUTES.items():
        router.post(path, operation_id=path, description=route.says)(passed(path, route))
    return router


def read(content: bytes, route: Route, most_tokens: int) -> tuple[bytes, int]:
    """The body to send on, with a limit on the new tokens, and how many sequences it asks for.

    Args:
        content: the client's body.
        route: that it is for.
        most_tokens: new tokens that the setting allows.

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
    for name in route.limits:
        if body.get(name, 0) is None:
            del body[name]  # null says nothing
        if (wanted := _number(body, name)) > most_tokens:
            raise InputTooLarge(f"{name}: {wanted}; at most {most_tokens}")
    said = [name for name in route.limits[: route.counts] if body.get(name) or (route.zero and name in body)]
    if route.limits and not said:
        body[route.limits[0]] = min(route.usual or most_tokens, most_tokens)
    prompts = sum(_prompts(body.get(name)) for name in route.prompts)
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


async def _pass_on(adapter: Adapted, request: Request, path: str, route: Route) -> Response:
    try:
        body, places = read(await request.body(), route, adapter.settings.max_new_tokens)
        seconds = adapter.settings.seconds(timeout(request.headers))
    except RequestError as error:
        adapter.count(error)
        raise
    passage = _Passage(Place(adapter, places), adapter.engine, seconds)
    try:
        return await passage.begin(request, path, body)
    except BaseException as error:
        await passage.end(error)
        if not (isinstance(error, Refused) and error.content):
            raise
        wait = {} if error.retry_after is None else {"Retry-After": f"{error.retry_after:.0f}"}
        return Response(error.content, error.status, wait, error.media_type)


class _Passage:
    """One request and its answer, on their way through."""

    def __init__(self, place: Place, engine: Engine, seconds: float) -> None:
        self._place = place.__enter__()
        self._engine = engine
        self._deadline = time.monotonic() + seconds
        self._late = DeadlineExceeded(f"no answer within {seconds:g} s", RETRY_AFTER)
        self._seconds = seconds
        self._answer: httpx.Response | None = None
        self._ended = False

    async def begin(self, request: Request, path: str, body: bytes) -> Response:
        """The response, once the engine has begun to answer."""
        self._answer = await unless_gone(request, self._engine.open(path, body, self._seconds))
        kind = self._answer.headers.get("content-type", "application/json")
        if self._answer.status_code == OK and kind.startswith(STREAM):
            return _Stream(self, kind)
        content = await unless_gone(request, self._whole(MOST_ANSWER))
        if self._answer.status_code != OK:
            raise refused(self._answer.status_code, content, kind)
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
            RequestError: the engine has gone, the deadline has passed, or the adapter ends.
        """
        assert self._answer is not None  # noqa: S101 - begun
        source = self._answer.aiter_raw()
        while True:
            try:
                async with self._engine.deadlines.within(self._deadline - time.monotonic(), lambda: self._late):
                    part = await anext(source, None)
            except httpx.TimeoutException as error:
                raise self._late from error
            except httpx.HTTPError as error:
                raise InferenceFailed("the engine has ended within its answer") from error
            if part is None:
                return
            yield part

    async def events(self) -> AsyncIterator[bytes]:
        """The stream, in whole events; an error on the way is the last one.

        An event that the engine does not finish is left out: clients would read the error as the rest of it. So is what the engine says of
        its own failure.
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
                    self._place.begun()
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
            yield event(error.document) if isinstance(error, Refused) and error.content else error_event(error)

    async def _whole(self, most: int) -> bytes:
        content = bytearray()
        async for part in self.parts():
            content += part
            if len(content) > most:
                raise InferenceFailed("the engine's answer is too long")
        return bytes(content)


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
        if _LAST.search(data) and error_of(data):
            return events[:begin], data
        begin = end
    return events, b""


def _failed(data: bytes) -> NoReturn:
    """Read the error in an event of the engine's.

    Raises:
        Refused: always; for the client.
    """
    code = error_of(data).get("code")
    raise refused(code if isinstance(code, int) and code >= BAD_REQUEST else FAILED, data)


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
