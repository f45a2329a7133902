"""The OpenAI protocol for text generation: `/v1/models`, `/v1/completions`, `/v1/chat/completions`, with streaming."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

import structlog
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from failover_model_server.errors import UNFORESEEN, InferenceFailed, InputTooLarge, NoSuchModel, RequestError
from failover_model_server.http.openai_bodies import ChatRequest, CompletionRequest
from failover_model_server.http.openai_protocol import CHAT, COMPLETIONS, MODELS, STREAM, USUAL_TOKENS, error_event, event
from failover_model_server.http.requests import timeout, unless_gone
from failover_model_server.serving.service import Service
from failover_model_server.tasks.text_generation import GenerationAnswer, GenerationCall, TextGeneration
from failover_model_server.tasks.text_stream import TextStream

log = structlog.get_logger()

Body = CompletionRequest | ChatRequest


def routes(service: Service, task: TextGeneration) -> APIRouter:
    """Everything under `/v1`."""
    router = APIRouter(tags=["openai"])
    began = int(time.time())

    def described() -> dict[str, Any]:
        return {"id": service.settings.app, "object": "model", "created": began, "owned_by": "failover-model-server"}

    @router.get(MODELS)
    async def models() -> JSONResponse:
        """The one model."""
        return JSONResponse({"object": "list", "data": [described()]})

    @router.get(f"{MODELS}/{{name}}")
    async def model(name: str) -> JSONResponse:
        """The model of this name."""
        _check_name(service, name)
        return JSONResponse(described())

    @router.post(COMPLETIONS)
    async def completions(request: Request, body: CompletionRequest) -> Response:
        """Continue a text."""
        return await _answer(service, task, request, body, _Form(service.settings.app, chat=False))

    @router.post(CHAT)
    async def chat(request: Request, body: ChatRequest) -> Response:
        """Answer a conversation."""
        return await _answer(service, task, request, body, _Form(service.settings.app, chat=True))

    return router


def _check_name(service: Service, name: str) -> None:
    if name != service.settings.app:
        raise NoSuchModel(f"there is no such model here; there is {service.settings.app}")


class _Form:
    """The form of answers: completions have a text, chats have messages."""

    def __init__(self, model: str, *, chat: bool) -> None:
        self._chat = chat
        self._model = model
        self._id = f"{'chatcmpl' if chat else 'cmpl'}-{secrets.token_hex(12)}"
        self._created = int(time.time())

    def _around(self, kind: str, choices: list[dict[str, Any]], usage: dict[str, int] | None) -> dict[str, Any]:
        found: dict[str, Any] = {"id": self._id, "object": kind, "created": self._created, "model": self._model, "choices": choices}
        return found if usage is None else found | {"usage": usage}

    def whole(self, texts: Sequence[tuple[str, str]], usage: dict[str, int]) -> dict[str, Any]:
        """The answer of (text, finish reason) for each prompt."""
        choices: list[dict[str, Any]] = []
        for index, (text, reason) in enumerate(texts):
            said = {"message": {"role": "assistant", "content": text}} if self._chat else {"text": text}
            choices.append({"index": index, **said, "logprobs": None, "finish_reason": reason})
        return self._around("chat.completion" if self._chat else "text_completion", choices, usage)

    def chunk(self, text: str, reason: str | None = None, *, first: bool = False) -> dict[str, Any]:
        """A piece of a stream."""
        delta: dict[str, Any] = {"role": "assistant"} if first else {}
        if text or first:
            delta["content"] = text
        said = {"delta": delta} if self._chat else {"text": text}
        choices = [{"index": 0, **said, "logprobs": None, "finish_reason": reason}]
        return self._around("chat.completion.chunk" if self._chat else "text_completion", choices, None)

    def last(self, usage: dict[str, int]) -> dict[str, Any]:
        """The piece with the usage, after all others."""
        return self._around("chat.completion.chunk" if self._chat else "text_completion", [], usage)


def _usage(answers: Sequence[GenerationAnswer]) -> dict[str, int]:
    prompt, new = sum(answer.prompt_tokens for answer in answers), sum(answer.tokens for answer in answers)
    return {"prompt_tokens": prompt, "completion_tokens": new, "total_tokens": prompt + new}


async def _answer(service: Service, task: TextGeneration, request: Request, body: Body, form: _Form) -> Response:
    _check_name(service, body.model)
    body.check()
    usual = min(USUAL_TOKENS, service.settings.max_new_tokens)
    calls = body.calls(usual) if isinstance(body, CompletionRequest) else body.calls()
    if len(calls) > service.settings.max_queue:  # another try would fail the same way
        raise InputTooLarge(f"prompt: {len(calls)} prompts; at most {service.settings.max_queue}, which is what the queue holds")
    seconds = timeout(request.headers)
    generations = [_Generation(service, task, call, body.stops, seconds) for call in calls]
    if body.stream:
        return await _streamed(request, generations[0], form, include_usage=body.include_usage)
    try:
        texts = await unless_gone(request, _all(generations))
    finally:
        for generation in generations:
            generation.cancel()
    return JSONResponse(form.whole(texts, _usage([generation.answer for generation in generations])))


async def _streamed(request: Request, generation: "_Generation", form: _Form, *, include_usage: bool) -> Response:
    """The stream, once it has begun: what fails before has a status of its own."""
    try:
        await unless_gone(request, generation.begun())
    except BaseException:
        generation.cancel()
        raise
    return _Stream(generation, form, include_usage=include_usage)


async def _all(generations: Sequence["_Generation"]) -> list[tuple[str, str]]:
    return list(await asyncio.gather(*(generation.whole() for generation in generations)))


class _Generation:
    """One generation, whose text can be read while it is made."""

    def __init__(self, service: Service, task: TextGeneration, call: GenerationCall, stops: Sequence[str], seconds: float | None) -> None:
        self._pieces: asyncio.Queue[str | None] = asyncio.Queue()  # bounded by the most new tokens of a request
        self._text = TextStream(task.tokenizer.decode, stops)
        self._stops = bool(stops)
        self._sent = ""
        self._task = asyncio.ensure_future(service.infer(call, seconds, self._take))
        self._begun = asyncio.Event()
        self._task.add_done_callback(lambda _: self._put(None))

    def _put(self, piece: str | None) -> None:
        self._pieces.put_nowait(piece)
        self._begun.set()

    def _take(self, token: object) -> bool:
        """A token from the backend; False once a stop sequence has come."""
        if isinstance(token, int) and (piece := self._text.add(token)):
            self._sent += piece
            self._put(piece)
        return not self._text.stopped

    @property
    def answer(self) -> GenerationAnswer:
        """The task's answer, once there.

        Raises:
            RequestError: why there is none.
        """
        return cast("GenerationAnswer", self._task.result())

    def cancel(self) -> None:
        """Nobody waits for it; does nothing where it has ended."""
        self._task.cancel()

    async def begun(self) -> None:
        """Wait until there is text, or all of it.

        Raises:
            RequestError: it has failed before.
        """
        await self._begun.wait()
        if self._task.done():
            self._task.result()

    async def whole(self) -> tuple[str, str]:
        """The text up to a stop sequence, and why it ends."""
        await self._task
        if not self._stops:
            return self.answer.response, self.answer.finish_reason
        text = self._sent + self._text.rest()
        return text, "stop" if self._text.stopped else self.answer.finish_reason

    async def pieces(self) -> AsyncIterator[str]:
        """The text, piece by piece.

        Raises:
            RequestError: it has failed on the way.
        """
        while (piece := await self._pieces.get()) is not None:
            yield piece
        if not self._text.stopped:
            self._task.result()
            if rest := self._text.rest():
                yield rest

    @property
    def reason(self) -> str:
        """Why the text ends, once it has."""
        return "stop" if self._text.stopped else self.answer.finish_reason


class _Stream(StreamingResponse):
    """Ends the generation whatever happens to the client, which may leave before the first event."""

    def __init__(self, generation: _Generation, form: _Form, *, include_usage: bool) -> None:
        super().__init__(_events(generation, form, include_usage=include_usage), media_type=STREAM)
        self._generation = generation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._generation.cancel()


async def _events(generation: _Generation, form: _Form, *, include_usage: bool) -> AsyncIterator[bytes]:
    """Server-sent events; an error on the way is the last one."""
    try:
        first = True
        async for piece in generation.pieces():
            yield event(form.chunk(piece, first=first))
            first = False
        yield event(form.chunk("", generation.reason, first=first))
        if include_usage:
            yield event(form.last(_usage([generation.answer])))
        yield b"data: [DONE]\n\n"
    except RequestError as error:
        yield error_event(error)
    except Exception:
        log.exception("stream_failed")
        yield error_event(InferenceFailed(UNFORESEEN))
