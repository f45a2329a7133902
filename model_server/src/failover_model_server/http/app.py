"""The HTTP application."""

from importlib.metadata import version

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.types import Scope

from failover_model_server import ui
from failover_model_server.errors import InvalidRequest, RequestError
from failover_model_server.http import errors, inference, open_inference, openai, probes
from failover_model_server.http.requests import Envelope, Gate, timeout
from failover_model_server.lifecycle import State
from failover_model_server.serving.service import Service
from failover_model_server.tasks.text_generation import TextGeneration


def make(service: Service) -> FastAPI:
    """All routes of a service. `/docs` and `/openapi.json` describe them."""
    app = FastAPI(
        title=f"{service.settings.app} ({service.task.name})",
        version=version("failover-model-server"),
        description="One model on one accelerator. Errors have one form; Retry-After says when to try again.",
        redoc_url=None,
        strict_content_type=False,  # JSON without a Content-Type is JSON
    )
    errors.install(app)
    app.include_router(probes.routes(service))
    app.include_router(inference.routes(service))
    app.include_router(open_inference.routes(service))
    if isinstance(service.task, TextGeneration):
        app.include_router(openai.routes(service, service.task))
    if service.settings.ui:
        app = ui.mount(app, service)
    app.add_middleware(
        Envelope,
        most_bytes=service.settings.max_body_bytes,
        gate=_gate(service),
        closing=lambda: service.lifecycle.state is State.DRAINING,
    )
    return app


def _gate(service: Service) -> Gate:
    """Refuse requests of the model that would get no answer, before their bodies are read: a refusal must cost next to nothing."""

    def gate(scope: Scope, headers: Headers) -> RequestError | None:
        path = scope["path"]
        if scope["method"] != "POST" or not (
            path == service.task.route or (path.startswith(open_inference.MODELS) and path.endswith("/infer"))
        ):
            return None
        try:
            seconds = timeout(headers)
        except InvalidRequest:
            return None  # the route says what is wrong with it
        return service.refusal(seconds)

    return gate
