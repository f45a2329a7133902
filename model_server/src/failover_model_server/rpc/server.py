"""The gRPC server: its port, and health that follows the lifecycle."""

import asyncio

import grpc
from grpc_health.v1 import health_pb2_grpc

from failover_model_server import background
from failover_model_server.lifecycle import ALIVE, State, Status
from failover_model_server.rpc import open_inference
from failover_model_server.rpc.guard import Guard
from failover_model_server.rpc.health import Health
from failover_model_server.rpc.messages import OPEN_INFERENCE_SERVICE
from failover_model_server.rpc.reflection import reflect
from failover_model_server.serving.service import Service

LIVENESS = "liveness"
READINESS = "readiness"
STREAMS = 128
"""Calls at a time on one connection."""
SHARE = 4
"""Every fourth call may be a stream, as those that watch the health, and every fourth may wait for its message."""
IDLE_MS = 300_000
"""A connection without a call for so long is closed; clients open another."""
PING_MS = 500
"""A client may send a keepalive ping so often, also while it waits for an answer or has no call. gRPC's own limit is one in 5 minutes: a
server counts those that come sooner while it sends nothing, and after the second ends the connection with "Too many pings". With it ends
every call that takes longer than a few pings, in the middle of its batch. Clients usually ping every 10 s, and those of Go and Java cannot
ping more often. The limit is there for a client that does nothing but ping."""


class RpcServer:
    """Serves a service's gRPC door.

    Health has the services `""`, `readiness`, the application's name and the protocol's (as ready), and `liveness` (as alive), so that a
    probe of Kubernetes can pick: `grpc: {port: 50051, service: liveness}`.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        settings = service.settings
        self._server = grpc.aio.server(
            interceptors=[Guard(max(1, settings.max_connections // SHARE), settings.body_timeout)],
            maximum_concurrent_rpcs=settings.max_connections,
            options=[
                ("grpc.max_receive_message_length", settings.max_body_bytes),
                ("grpc.so_reuseport", 0),
                ("grpc.server_handshake_timeout_ms", int(settings.header_timeout * 1000)),
                ("grpc.max_allowed_incoming_connections", settings.max_connections),
                ("grpc.max_concurrent_streams", STREAMS),
                ("grpc.max_connection_idle_ms", IDLE_MS),
                ("grpc.http2.min_ping_interval_without_data_ms", PING_MS),
                ("grpc.keepalive_permit_without_calls", 1),
            ],
        )
        self._health = Health()
        self._changes: asyncio.Queue[State] = asyncio.Queue()
        self._following: asyncio.Task[None] | None = None
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self._server.add_generic_rpc_handlers((open_inference.handler(service),))
        reflect(self._server)

    async def start(self, host: str, port: int) -> int:
        """Bind and serve; the port.

        Raises:
            OSError: the address is in use or not ours.
        """
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            bound: int = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise OSError(f"gRPC: cannot listen on {address}") from error
        await self._tell(self._service.lifecycle.state)
        self._service.lifecycle.listen(self._changed)
        await self._server.start()
        self._following = background.begin(self._follow, "grpc-health", self._service.fail)
        return bound

    async def stop(self, within: float) -> None:
        """Let calls in flight end for at most `within` seconds, then close. Streams that watch the health end with their last state."""
        if self._following is not None:
            self._following.cancel()
        await self._tell(self._service.lifecycle.state)
        await self._health.end()
        await self._server.stop(within)

    def _changed(self, _: Status, after: Status) -> None:
        self._changes.put_nowait(after.state)

    async def _follow(self) -> None:
        """Tell the watchers of each state, in order."""
        while True:
            await self._tell(await self._changes.get())

    async def _tell(self, state: State) -> None:
        ready = dict.fromkeys(("", READINESS, self._service.settings.app, OPEN_INFERENCE_SERVICE), state is State.READY)
        await self._health.tell({**ready, LIVENESS: state in ALIVE})
