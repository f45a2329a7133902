"""The engine beside the adapter: observes whether it can serve and what it has served, and forwards requests to it."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx
import structlog

from failover_model_server.adapter import scrape
from failover_model_server.errors import DeadlineExceeded, InferenceFailed, InputTooLarge, InvalidRequest, Unavailable
from failover_model_server.settings import Settings
from failover_model_server.tasks.text_generation import TextGenerationRequest, TextGenerationResponse
from failover_model_server.telemetry.sink import Sink

PROBE_TIMEOUT = 3.0
"""Seconds for /health and /metrics."""
INTERVAL = 2.0
"""Seconds between two observations."""
RETRY_AFTER = 10.0
_OK, _BAD_REQUEST, _SERVER_ERROR = 200, 400, 500

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class EngineState:
    """Whether the engine can serve."""

    ready: bool
    reason: str
    since: float
    """Seconds on the monotonic clock."""


class Engine:
    """Watches vLLM and forwards to it. Used on the event loop's thread only."""

    def __init__(self, settings: Settings, sink: Sink, client: httpx.AsyncClient, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._sink = sink
        self._client = client
        self._clock = clock
        self._before: scrape.Totals | None = None
        self._model = ""
        self._warm = False
        self.state = EngineState(ready=False, reason="the engine has not answered yet", since=clock())
        self.totals = scrape.Totals()

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

    async def generate(self, request: TextGenerationRequest, timeout: float | None = None) -> TextGenerationResponse:
        """Ask the engine for a completion. A caller that is cancelled closes the connection, at which the engine aborts the request.

        Args:
            request: what to continue.
            timeout: seconds for it; the setting where that is shorter, or None is given.

        Raises:
            RequestError: the text may be sent to the client.
        """
        if not self.state.ready:
            raise Unavailable(self.state.reason, RETRY_AFTER)
        began = self._clock()
        path, body = self._completion(request)
        seconds = min(timeout or self._settings.request_timeout, self._settings.request_timeout)
        try:
            answer = await self._client.post(path, json=body, timeout=seconds)
        except httpx.TimeoutException as error:
            raise DeadlineExceeded(f"no answer within {seconds:g} s", RETRY_AFTER) from error
        except httpx.HTTPError as error:
            raise Unavailable("the engine does not answer", RETRY_AFTER) from error
        self._understand(answer)
        try:
            choice, usage = answer.json()["choices"][0], answer.json()["usage"]
            text = choice["message"]["content"] if request.chat else choice["text"]
            reason, tokens = str(choice["finish_reason"]), int(usage["completion_tokens"])
        except (ValueError, KeyError, IndexError, TypeError) as error:
            log.exception("engine_answer_not_understood")
            raise InferenceFailed("the engine's answer was not understood") from error
        return TextGenerationResponse(
            response=str(text), tokens=tokens, finish_reason=reason, seed=body.get("seed") or 0, latency=self._clock() - began
        )

    def _completion(self, request: TextGenerationRequest) -> tuple[str, dict[str, object]]:
        most = min(request.max_new_tokens or self._settings.max_new_tokens, self._settings.max_new_tokens)
        body: dict[str, object] = {"model": self._model, "max_tokens": most, "temperature": request.temperature, "top_p": request.top_p}
        if request.seed is not None:
            body["seed"] = request.seed
        if request.chat:
            return "/v1/chat/completions", {**body, "messages": [{"role": "user", "content": request.prompt}]}
        return "/v1/completions", {**body, "prompt": request.prompt}

    def _understand(self, answer: httpx.Response) -> None:
        """Translate the engine's refusals. Its own texts go only to the log: they contain inputs and paths."""
        if answer.status_code == _OK:
            return
        log.warning("engine_refused", status=answer.status_code, text=answer.text[:500])
        if answer.status_code >= _SERVER_ERROR:
            raise InferenceFailed("the engine failed on this request")
        if answer.status_code == _BAD_REQUEST and "context length" in answer.text:
            raise InputTooLarge("prompt: longer than the model's context allows together with max_new_tokens")
        raise InvalidRequest("the engine refused this request")

    async def _probe(self) -> tuple[bool, str]:
        try:
            health = await self._client.get("/health", timeout=PROBE_TIMEOUT)
            if health.status_code != _OK:
                return False, f"the engine says {health.status_code} to /health"
            if not self._model:
                models = await self._client.get("/v1/models", timeout=PROBE_TIMEOUT)
                self._model = str(models.json()["data"][0]["id"])
            if not self._warm:
                await self._warm_up()
        except httpx.TimeoutException:
            return False, "the engine does not answer in time"  # busy, not another engine: what it counts goes on
        except (httpx.HTTPError, ValueError, KeyError, IndexError, TypeError) as error:
            self._model, self._warm = "", False  # it may come back with another model
            return False, f"the engine does not answer yet ({type(error).__name__})"
        return True, f"serves {self._model}"

    async def _warm_up(self) -> None:
        """One real request, not counted: /health says that the engine runs, not that it generates."""
        body = {"model": self._model, "prompt": "Hello", "max_tokens": 2, "temperature": 0.0}
        answer = await self._client.post("/v1/completions", json=body, timeout=self._settings.request_timeout)
        choice = answer.json()["choices"][0] if answer.status_code == _OK else {}
        if not (choice.get("text") or choice.get("finish_reason") == "stop"):  # a model may end a text at once
            raise ValueError("the engine does not generate")
        metrics = await self._client.get("/metrics", timeout=PROBE_TIMEOUT)
        self._before = scrape.parse(metrics.text)
        self._warm = True

    async def _count(self) -> None:
        try:
            metrics = await self._client.get("/metrics", timeout=PROBE_TIMEOUT)
            self.totals = scrape.parse(metrics.text)
        except (httpx.HTTPError, ValueError) as error:
            log.warning("engine_metrics_failed", reason=str(error))
            return
        for seconds in scrape.between(self._before or self.totals, self.totals):
            self._sink.answered(seconds)
        self._before = self.totals
