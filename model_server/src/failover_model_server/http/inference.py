"""What is served here, and the route that runs the task."""

from fastapi import APIRouter, Request
from pydantic import BaseModel

from failover_model_server.http.errors import RESPONSES
from failover_model_server.http.requests import timeout, unless_gone
from failover_model_server.serving.service import Service


class Banner(BaseModel):
    """What this server is."""

    app: str
    task: str
    backend: str
    device: str
    pod: str
    node_pool: str
    state: str


def routes(service: Service) -> APIRouter:
    """`/`, and the task's route."""
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

    return router
