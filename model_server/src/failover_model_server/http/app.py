"""The HTTP application."""

from importlib.metadata import version

from fastapi import FastAPI

from failover_model_server.http import errors, inference, open_inference, probes
from failover_model_server.http.door import Door
from failover_model_server.http.requests import Envelope
from failover_model_server.lifecycle import State
from failover_model_server.serving.service import Service

MODELS, INFER = open_inference.MODELS.encode(), b"/infer"


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
    app.add_middleware(
        Envelope,
        most_bytes=service.settings.max_body_bytes,
        closing=lambda: service.lifecycle.state is State.DRAINING,
    )
    return app


def door(service: Service) -> Door:
    """The door in front of the routes that run the model."""
    own = service.task.route.encode()

    def guards(path: bytes) -> bool:
        return path == own or (path.startswith(MODELS) and path.endswith(INFER))

    return Door(guards, service.refusal, lambda: service.lifecycle.state is State.DRAINING)
