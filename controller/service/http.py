"""The HTTP endpoint: ``/healthz``, ``/readyz``, ``/metrics`` and ``/status``. Read-only; nothing here changes anything."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Final

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from controller.clients.kube import Object
from controller.errors import ConfigError

Check = Callable[[], str]

_START_S: Final = 5.0


def make_app(registry: CollectorRegistry, *, healthy: Check, ready: Check, status: Callable[[], Object]) -> Starlette:
    """The application behind the endpoint.

    Args:
        registry: What ``/metrics`` shows.
        healthy: Says why this process should be restarted, "" where it should not.
        ready: Says why this process is not ready, "" where it is.
        status: The status document.
    """

    def answer(check: Check) -> Callable[[Request], Response]:
        def endpoint(_: Request) -> Response:
            problem = check()
            return PlainTextResponse(problem or "ok", status_code=503 if problem else 200)

        return endpoint

    def metrics(_: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    def show(_: Request) -> Response:
        return JSONResponse(status(), headers={"Cache-Control": "no-store"})

    return Starlette(
        routes=[
            Route("/healthz", answer(healthy)),
            Route("/readyz", answer(ready)),
            Route("/metrics", metrics),
            Route("/status", show),
        ]
    )


class HttpServer:
    """Serves an application from a thread of its own.

    Args:
        app: What to serve.
        host: Address to listen on.
        port: TCP port; 0 for any free one.

    Raises:
        ConfigError: The address cannot be listened on.
    """

    def __init__(self, app: Starlette, host: str, port: int) -> None:
        self._socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((host, port))
            self._socket.listen()  # at once: who connects before the thread runs waits instead of being refused
        except OSError as error:
            self._socket.close()
            raise ConfigError(f"http.host, http.port: cannot listen on {host}:{port}: {error.strerror}; choose a free address") from error
        self.port: int = self._socket.getsockname()[1]
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=2)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, name="http", daemon=True)

    def start(self) -> None:
        """Starts serving."""
        self._thread.start()

    def stop(self) -> None:
        """Stops serving, within a few seconds."""
        self._server.should_exit = True
        self._thread.join(timeout=_START_S)
        with contextlib.suppress(OSError):
            self._socket.close()
