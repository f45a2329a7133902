"""The adapter's HTTP application: the probes, routes and metrics of a model server, answered from what is known of the engine."""

from importlib.metadata import version

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from failover_model_server.adapter import passing
from failover_model_server.adapter.bodies import ROUTE, TextGenerationRequest, TextGenerationResponse
from failover_model_server.adapter.engine import Engine
from failover_model_server.adapter.place import ANSWERED, Place
from failover_model_server.adapter.refusals import RETRY_AFTER
from failover_model_server.errors import Overloaded, RequestError, Unavailable
from failover_model_server.http import errors
from failover_model_server.http.door import Door
from failover_model_server.http.probes import probe
from failover_model_server.http.requests import Envelope, timeout, unless_gone
from failover_model_server.settings import Settings
from failover_model_server.telemetry.metrics import SECONDS
from failover_model_server.telemetry.sink import Sink


class Adapter:
    """What the routes share."""

    def __init__(self, settings: Settings, engine: Engine, sink: Sink, registry: CollectorRegistry) -> None:
        self.settings = settings
        self.engine = engine
        self.registry = registry
        self.draining = False
        self._sink = sink
        self.in_flight = 0
        """Places that are taken."""
        self._requests = Counter("model_server_requests", "Requests by outcome.", ["outcome"], registry=registry)
        self._seconds = Histogram(
            "model_server_request_seconds", "From arrival to the end of the answer.", buckets=SECONDS, registry=registry
        )
        self._first = Histogram(
            "model_server_first_token_seconds", "From arrival to the first event of a stream.", buckets=SECONDS, registry=registry
        )
        registry.register(engine.tokens)
        Gauge("model_server_engine_ready", "1 when the engine can serve.", registry=registry).set_function(
            lambda: float(engine.state.ready)
        )
        Gauge("model_server_running_requests", "In the engine.", registry=registry).set_function(lambda: engine.totals.running)
        Gauge("model_server_queued_requests", "Waiting in the engine.", registry=registry).set_function(lambda: engine.totals.waiting)

    @property
    def most(self) -> int:
        """Places that there are."""
        return self.settings.max_queue

    @property
    def ready(self) -> bool:
        """Whether new requests should come here."""
        return self.engine.state.ready and not self.draining

    def refusal(self, _: float | None = None) -> RequestError | None:
        """Why a request that comes now would get no answer, counted; None: it may come in."""
        error = self.full(1)
        if error is not None:
            self.count(error)
        return error

    def full(self, places: int) -> RequestError | None:
        """Why there is no room for that many more."""
        if not self.engine.state.ready:
            return Unavailable(self.engine.state.reason, RETRY_AFTER)
        if self.in_flight + places > self.settings.max_queue:
            return Overloaded(f"{self.in_flight} requests are under way", RETRY_AFTER)
        return None

    def count(self, error: RequestError) -> None:
        """A request has got no result."""
        if error.status in {Overloaded.status, Unavailable.status}:
            self._sink.rejected()
        self._requests.labels(error.code).inc()

    def ended(self, outcome: str, seconds: float) -> None:
        """A request has ended so, after so long."""
        self._requests.labels(outcome).inc()
        if outcome == ANSWERED:
            self._seconds.observe(seconds)

    def began(self, seconds: float) -> None:
        """A stream has its first event, after so long."""
        self._first.observe(seconds)

    async def generate(self, request: TextGenerationRequest, seconds: float | None = None) -> TextGenerationResponse:
        """One request, if there is room for it. Answers are counted from the engine's metrics, which see those of every client."""
        with Place(self) as place:
            answer = await self.engine.generate(request, seconds)
            place.outcome = ANSWERED
            return answer


def make(adapter: Adapter) -> FastAPI:
    """All routes."""
    app = FastAPI(
        title=f"{adapter.settings.app} (vLLM)",
        version=version("failover-model-server"),
        description="In front of vLLM, whose OpenAI API is passed through.",
        redoc_url=None,
        strict_content_type=False,  # JSON without a Content-Type is JSON
    )
    errors.install(app)
    app.include_router(_probes(adapter))
    router = APIRouter(tags=["inference"])

    @router.post(ROUTE, operation_id="text-generation", responses=dict(errors.RESPONSES))
    async def generate(request: Request, body: TextGenerationRequest) -> TextGenerationResponse:
        """Continue a text."""
        return await unless_gone(request, adapter.generate(body, timeout(request.headers)))

    app.include_router(router)
    app.include_router(passing.routes(adapter))
    app.add_middleware(Envelope, most_bytes=adapter.settings.max_body_bytes, closing=lambda: adapter.draining)
    return app


def door(adapter: Adapter) -> Door:
    """The door in front of the routes that run the model."""
    guarded = {route.encode() for route in (ROUTE, *passing.ROUTES)}
    return Door(guarded.__contains__, adapter.refusal, lambda: adapter.draining)


def _probes(adapter: Adapter) -> APIRouter:
    router = APIRouter(tags=["probes"])

    def status(code: int) -> JSONResponse:
        state = adapter.engine.state
        word = "DRAINING" if adapter.draining else "READY" if state.ready else "LOADING"
        return JSONResponse({"state": word, "reason": state.reason}, code, {"Cache-Control": "no-store"})

    @probe(router, "/health", {})
    async def health() -> Response:
        """The adapter itself is alive; the engine has a liveness probe of its own, /health on its port."""
        return status(200)

    @probe(router, "/readiness", {503: {"description": "The engine does not serve, or we drain."}})
    async def readiness() -> Response:
        """For readiness and startup probes and the load balancer's health check: 200 when the engine has generated and is healthy."""
        return status(200 if adapter.ready else 503)

    @probe(router, "/ping", {500: {"description": "Unhealthy."}})
    async def ping() -> Response:
        """As TorchServe answers it."""
        return JSONResponse({"status": "Healthy" if adapter.ready else "Unhealthy"}, 200 if adapter.ready else 500)

    @router.get("/metrics")
    async def metrics() -> Response:
        """Of the adapter; the engine's own are on its port."""
        return Response(generate_latest(adapter.registry), media_type=CONTENT_TYPE_LATEST)

    return router
