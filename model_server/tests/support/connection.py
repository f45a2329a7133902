"""One connection to an application, without a socket and with a clock of the test's."""

import asyncio
from typing import Any

import uvicorn
from failover_model_server.errors import RequestError
from failover_model_server.http.connections import Connection, Connections, Limits
from failover_model_server.http.door import Door
from starlette.types import ASGIApp
from uvicorn.server import ServerState

LIMITS = Limits(most=3, head_seconds=10.0, body_seconds=30.0, body_bytes=1000)


class Wire(asyncio.Transport):
    """What the kernel would do: it takes everything at once, or nothing while `stuck`."""

    def __init__(self, protocol: Connection) -> None:
        super().__init__()
        self.protocol = protocol
        self.sent = b""
        self.stuck = False
        self.unsent = 0
        self.reading = True
        self.ended = ""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += data
        self.unsent += len(data) if self.stuck else 0

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return bool(self.ended)

    def close(self) -> None:
        self.ended = self.ended or "closed"

    def abort(self) -> None:
        self.ended = "aborted"


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


class House:
    """An application's connections.

    Args:
        app: the application.
        refusal: why its door refuses every POST; None: it does not.
        limits: of all connections and of each.
    """

    def __init__(self, app: ASGIApp, refusal: RequestError | None = None, limits: Limits = LIMITS) -> None:
        self.clock = Clock()
        self.all = Connections(limits, Door(lambda path: True, lambda seconds: refusal, lambda: False), self.clock)
        self._config = uvicorn.Config(app, log_config=None, access_log=False, ws="none", lifespan="off")
        self._state = ServerState()

    def connect(self) -> Wire:
        """A new connection."""
        wire = Wire(Connection(self.all, self._config, self._state, {}, asyncio.get_running_loop()))
        wire.protocol.connection_made(wire)
        return wire
