"""What probes, load balancers and scrapers ask."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from failover_model_server.lifecycle import ALIVE, State
from failover_model_server.serving.service import Service

Endpoint = TypeVar("Endpoint", bound=Callable[[], Awaitable[Response]])


def probe(router: APIRouter, path: str, responses: dict[int | str, dict[str, Any]]) -> Callable[[Endpoint], Endpoint]:
    """A route for GET, and for HEAD, which some load balancers and monitors send.

    Args:
        router: gets the route.
        path: of it.
        responses: of the GET besides its usual one, as `APIRouter.get` takes them.
    """

    def add(endpoint: Endpoint) -> Endpoint:
        router.get(path, responses=responses)(endpoint)
        router.head(path, include_in_schema=False)(endpoint)
        return endpoint

    return add


def routes(service: Service) -> APIRouter:
    """`/health`, `/readiness`, `/ping`, `/metrics`."""
    router = APIRouter(tags=["probes"])

    def status(code: int) -> JSONResponse:
        now = service.lifecycle.status
        body = {"state": now.state, "reason": now.reason, "seconds_in_state": round(service.lifecycle.seconds_in_state, 3)}
        return JSONResponse(body, code, {"Cache-Control": "no-store"})

    @probe(router, "/health", responses={500: {"description": "A restart of the container would help: FAILED or WEDGED."}})
    async def health() -> Response:
        """For the liveness probe: 200 from the moment the port is bound, also while loading and under any load."""
        return status(200 if service.lifecycle.state in ALIVE else 500)

    @probe(router, "/readiness", responses={503: {"description": "Not ready, with state and reason."}})
    async def readiness() -> Response:
        """For readiness and startup probes and the load balancer's health check: 200 only when warm and not draining."""
        return status(200 if service.lifecycle.state is State.READY else 503)

    @probe(router, "/ping", responses={500: {"description": "Unhealthy."}})
    async def ping() -> Response:
        """As TorchServe answers it."""
        healthy = service.lifecycle.state is State.READY
        return JSONResponse({"status": "Healthy" if healthy else "Unhealthy"}, 200 if healthy else 500)

    @router.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """For Prometheus."""
        return Response(generate_latest(service.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return router
