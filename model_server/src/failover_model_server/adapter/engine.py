"""The engine beside the adapter: observes whether it can serve and what it has served, and forwards requests to it."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass

import httpx
import structlog

from failover_model_server.adapter import scrape
from failover_model_server.adapter.bodies import TextGenerationRequest, TextGenerationResponse
from failover_model_server.adapter.refusals import RETRY_AFTER, Refused
from failover_model_server.deadlines import Deadlines
from failover_model_server.errors import DeadlineExceeded, InferenceFailed, InputTooLarge, Unavailable, cut
from failover_model_server.http.openai_protocol import CHAT, COMPLETIONS, EMBEDDINGS, MODELS
from failover_model_server.settings import Settings
from failover_model_server.telemetry.sink import Sink

PROBE_TIMEOUT = 3.0
"""Seconds for /health and /metrics."""
INTERVAL = 2.0
"""Seconds between two observations."""
OK, BAD_REQUEST, NOT_FOUND = 200, 400, 404
ODD = (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, RecursionError)
"""What reading an answer raises that is not as vLLM's are."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class EngineState:
    """Whether the engine can serve."""

    ready: bool
    reason: str
    since: float
    """Seconds on the monotonic clock."""


class NotAsExpected(Exception):
    """The engine answers, and not as vLLM does when it serves. The text says what it does; anybody who can reach a probe sees it."""


class Engine:
    """Watches vLLM and forwards to it. Used on the event loop's thread only."""

    def __init__(self, settings: Settings, sink: Sink, client: httpx.AsyncClient, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._sink = sink
        self._client = client
        self._clock = clock
        self._before: scrape.Totals | None = None
        self._own = 0
        self._warm = False
        self.deadlines = Deadlines()
        """Of the requests that are forwarded."""
        self.ending = False
        """The adapter has got SIGTERM: nothing new is begun, no warm-up either."""
        self.model = ""
        """The engine's name of its model; empty before it has said so."""
        self.state = EngineState(ready=False, reason="the engine has not answered yet", since=clock())
        self.totals = scrape.Totals()
        self.tokens = scrape.Tokens()

    async def watch(self) -> None:
        """Observe repeatedly, until cancelled."""
        while True:
            await self.observe()
            await asyncio.sleep(INTERVAL)

    async def observe(self) -> None:
        """Observe the engine once: whether it is healthy and answers, and what it has counted. Raises nothing."""
        ready, reason = await self._probe()
        if ready:
            await self._count()
        if (ready, reason) != (self.state.ready, self.state.reason):
            log.info("engine", ready=ready, reason=reason)
            self.state = EngineState(ready, reason, self._clock())

    async def finish(self) -> None:
        """Count what the engine has answered since the last observation, where it is the engine that was warm. Raises nothing."""
        if self._warm:
            await self._count()

    async def generate(self, request: TextGenerationRequest, timeout: float | None = None) -> TextGenerationResponse:
        """Ask the engine for a completion. A caller that is cancelled closes the connection, at which the engine aborts the request.

        Args:
            request: what to continue.
            timeout: seconds for it; the setting where that is shorter, or None is given.

        Raises:
            RequestError: the text may be sent to the client.
        """
        began = self._clock()
        seed = secrets.randbits(63) if request.seed is None else request.seed
        path, body = self._completion(request, seed)
        seconds = self._settings.seconds(timeout)
        async with self.answering(seconds):
            answer = await self._client.post(path, json=body, timeout=seconds)
        if answer.status_code != OK:
            raise refused(answer.status_code, answer.content)
        try:
            found = answer.json()
            choice, usage = found["choices"][0], found["usage"]
            text = choice["message"]["content"] if request.chat else choice["text"]
            reason, tokens = str(choice["finish_reason"]), int(usage["completion_tokens"])
        except ODD as error:
            log.warning("engine_answer_not_understood", path=path, error=type(error).__name__)  # its text may repeat the answer
            raise InferenceFailed("the engine's answer was not understood") from error
        return TextGenerationResponse(
            response=str(text or ""), tokens=tokens, finish_reason=reason, seed=seed, latency=self._clock() - began
        )

    async def open(self, path: str, body: bytes, seconds: float) -> httpx.Response:
        """Send a request on, as JSON; the answer, of which the body is still to come. Close it: that aborts what the engine is still doing.

        Raises:
            RequestError: the engine does not answer, or not in time.
        """
        async with self.answering(seconds):
            headers = {"Accept-Encoding": "identity", "Content-Type": "application/json"}
            request = self._client.build_request("POST", path, content=body, timeout=seconds, headers=headers)
            return await self._client.send(request, stream=True)

    @contextlib.asynccontextmanager
    async def answering(self, seconds: float) -> AsyncIterator[None]:
        """Give a call of the engine its time, and turn what it raises into an error for the client.

        httpx's own time-out is that of one wait alone.

        Raises:
            RequestError: the text may be sent to the client.
        """
        if not self.state.ready:
            raise Unavailable(self.state.reason, RETRY_AFTER)
        late = DeadlineExceeded(f"no answer within {seconds:g} s", RETRY_AFTER)
        try:
            async with self.deadlines.within(seconds, lambda: late):
                yield
        except httpx.TimeoutException as error:
            raise late from error
        except httpx.HTTPError as error:
            raise Unavailable("the engine does not answer", RETRY_AFTER) from error

    def _completion(self, request: TextGenerationRequest, seed: int) -> tuple[str, dict[str, object]]:
        most = self._settings.max_new_tokens
        if (request.max_new_tokens or 0) > most:
            raise InputTooLarge(f"max_new_tokens: {request.max_new_tokens}; at most {most}")
        body: dict[str, object] = {"model": self.model, "max_tokens": request.max_new_tokens or most, "seed": seed}
        body |= {"temperature": request.temperature, "top_p": request.top_p}
        if request.chat:
            return CHAT, {**body, "messages": [{"role": "user", "content": request.prompt}]}
        return COMPLETIONS, {**body, "prompt": request.prompt}

    async def _probe(self) -> tuple[bool, str]:
        try:
            health = await self._client.get("/health", timeout=PROBE_TIMEOUT)
            if health.status_code != OK:
                return False, f"the engine says {health.status_code} to /health"
            if not self.model:
                models = await self._client.get(MODELS, timeout=PROBE_TIMEOUT)
                with _understanding(models, MODELS):
                    self.model = str(models.json()["data"][0]["id"])
            if not self._warm and self.ending:
                return False, "the adapter is ending"
            if not self._warm:
                await self._warm_up()
        except httpx.TimeoutException:
            return False, "the engine does not answer in time"  # busy, not another engine: what it counts goes on
        except (httpx.HTTPError, NotAsExpected) as error:
            self.model, self._warm = "", False  # it may come back with another model
            return False, str(error) if isinstance(error, NotAsExpected) else f"the engine does not answer yet ({type(error).__name__})"
        return True, f"serves {self.model}"

    async def _warm_up(self) -> None:
        """One real request, not counted: /health says that the engine runs, not that it generates."""
        if self._before is None:  # what it answered before we came nobody knows
            metrics = await self._client.get("/metrics", timeout=PROBE_TIMEOUT)
            with _understanding(metrics, "/metrics"):
                self._before = scrape.parse(metrics.text)
        answer = await self._first(COMPLETIONS, {"prompt": "Hello", "max_tokens": 2, "temperature": 0.0})
        if answer.status_code in {BAD_REQUEST, NOT_FOUND}:  # of a model that makes vectors alone
            answer = await self._first(EMBEDDINGS, {"input": "Hello"})
            with _understanding(answer, EMBEDDINGS):
                generated = answer.json()["data"][0]["embedding"]
        else:
            with _understanding(answer, COMPLETIONS):
                choice = answer.json()["choices"][0]
                generated = choice.get("text") or choice.get("finish_reason") == "stop"  # a model may end a text at once
        if not generated:
            raise NotAsExpected("the engine does not generate")
        self._warm = True

    async def _first(self, path: str, body: dict[str, object]) -> httpx.Response:
        """A request of ours."""
        answer = await self._client.post(path, json={"model": self.model, **body}, timeout=self._settings.request_timeout)
        self._own += answer.status_code == OK
        return answer

    async def _count(self) -> None:
        try:
            metrics = await self._client.get("/metrics", timeout=PROBE_TIMEOUT)
            self.totals = scrape.parse(metrics.text)
        except (httpx.HTTPError, ValueError) as error:
            log.warning("engine_metrics_failed", reason=str(error))
            return
        before = self._before or self.totals
        self.tokens.add(before, self.totals)
        answered = scrape.between(before, self.totals)
        own, self._own = min(self._own, len(answered)), 0
        for seconds in answered[own:]:  # in ascending order: a warm-up of two tokens is among the shortest
            self._sink.answered(seconds)
        self._before = self.totals


def refused(status: int, content: bytes, media_type: str = "application/json") -> Refused:
    """The error that an answer of the engine means. Its words may repeat the prompt, and are not logged."""
    error = Refused(status, content, media_type)
    log.warning("engine_refused", status=status, kind=error.kind)
    return error


@contextlib.contextmanager
def _understanding(answer: httpx.Response, path: str) -> Iterator[None]:
    """Read an answer of the engine's.

    Raises:
        NotAsExpected: it is an error, or what reads it raised.
    """
    if answer.status_code != OK:
        raise NotAsExpected(f"the engine says {answer.status_code} to {path}")
    try:
        yield
    except ODD as error:
        log.warning("engine_answer_not_understood", path=path, error=type(error).__name__, reason=cut(str(error)))
        raise NotAsExpected(f"the engine's answer to {path} was not understood") from error
