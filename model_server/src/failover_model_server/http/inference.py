"""The seed's routes: one that runs the task, one that measures it."""

import asyncio
import time
from typing import Annotated

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel

from failover_model_server.errors import DeadlineExceeded, InvalidRequest, Overloaded
from failover_model_server.http.errors import RESPONSES
from failover_model_server.http.requests import timeout, unless_gone
from failover_model_server.serving.service import Service

PERCENTILES = (0, 50, 90, 95, 99, 100)
RETRY_AFTER = 10.0
"""Seconds, for a measurement that does not run."""


class Banner(BaseModel):
    """What this server is."""

    app: str
    task: str
    backend: str
    device: str
    pod: str
    node_pool: str
    state: str


class LoadReport(BaseModel):
    """Latencies of the runs of one call, in seconds by percentile, and the throughput of it as one client saw it."""

    runs: int
    inferences_per_run: int
    latency: dict[str, float]
    inferences_per_second: float


def routes(service: Service) -> APIRouter:
    """`/`, the task's route, and `/load/{n_runs}/infer/{n_inf}` where the settings turn it on."""
    router = APIRouter(tags=["inference"])
    task = service.task

    @router.get("/")
    async def banner() -> Banner:
        """Say what is served here."""
        settings = service.settings
        device = service.loaded.device if service.loaded else ""
        return Banner(
            app=settings.app,
            task=task.name,
            backend=settings.backend,
            device=device,
            pod=settings.pod_name,
            node_pool=settings.node_pool,
            state=service.lifecycle.state,
        )

    async def infer(request: Request, body: BaseModel) -> BaseModel:
        return await unless_gone(request, service.infer(body, timeout(request.headers)))

    infer.__annotations__ |= {"body": task.request, "return": task.response}
    infer.__doc__ = f"Run {task.name}."
    router.post(task.route, operation_id=task.name, responses=dict(RESPONSES))(infer)

    limit = service.settings.load_route_limit
    alone = asyncio.Lock()
    if limit:
        Count = Annotated[int, Path(ge=1, le=limit)]  # noqa: N806 - a type

        @router.get("/load/{n_runs}/infer/{n_inf}", responses=dict(RESPONSES))
        async def load(request: Request, n_runs: Count, n_inf: Count) -> LoadReport:
            """Run the synthetic request `n_runs` times `n_inf` times, one after the other, through the queue, and report the latencies.

            One call at a time, within the time of one request.
            """
            if n_runs * n_inf > limit:
                raise InvalidRequest(f"n_runs times n_inf: {n_runs * n_inf} inferences; at most {limit}")
            if alone.locked():
                raise Overloaded("another call of this route is under way", RETRY_AFTER)
            seconds = service.settings.seconds(timeout(request.headers))
            async with alone:
                return await unless_gone(request, _load(service, n_runs, n_inf, seconds))

    return router


async def _load(service: Service, n_runs: int, n_inf: int, seconds: float) -> LoadReport:
    try:
        async with asyncio.timeout(seconds):
            return await _measured(service, n_runs, n_inf)
    except TimeoutError:
        raise DeadlineExceeded(f"not done within {seconds:g} s; run less at once", RETRY_AFTER) from None


async def _measured(service: Service, n_runs: int, n_inf: int) -> LoadReport:
    request = service.task.warm_requests()[0]
    began = time.perf_counter()
    latencies: list[float] = []
    for _ in range(n_runs):
        run_began = time.perf_counter()
        for _ in range(n_inf):
            await service.infer(request)
        latencies.append(time.perf_counter() - run_began)
    latencies.sort()
    return LoadReport(
        runs=n_runs,
        inferences_per_run=n_inf,
        latency={f"p{p}": round(latencies[round((len(latencies) - 1) * p / 100)], 6) for p in PERCENTILES},
        inferences_per_second=round(n_runs * n_inf / (time.perf_counter() - began), 3),
    )
