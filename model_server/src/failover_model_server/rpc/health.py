"""`grpc.health.v1`: the status of each service, asked for or watched.

grpcio-health-checking has a service of its own. Its streams end with their clients alone, so that each holds the exit of the server for as
long as calls in flight may. After a client has ended its stream, those of all others for the same service get no further state.
"""

import asyncio
from collections.abc import Mapping

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from failover_model_server.rpc.guard import Context

Answer = health_pb2.HealthCheckResponse
ENDING = "the server is ending"


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # grpc is not typed
    """Answers probes, and tells those that watch of each change."""

    def __init__(self) -> None:
        self._serving: dict[str, bool] = {}
        self._changed = asyncio.Condition()
        self._ended = False

    async def tell(self, serving: Mapping[str, bool]) -> None:
        """Whether each of these services serves, from now on."""
        async with self._changed:
            self._serving.update(serving)
            self._changed.notify_all()

    async def end(self) -> None:
        """End every stream, those that still come too, once it has got the last status."""
        async with self._changed:
            self._ended = True
            self._changed.notify_all()

    async def Check(  # noqa: N802 - the protocol's name
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> health_pb2.HealthCheckResponse:
        """The status of a service; NOT_FOUND for one that is not known."""
        if request.service not in self._serving:
            await context.abort(grpc.StatusCode.NOT_FOUND, "")
        return Answer(status=self._status(request.service))

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Context) -> None:  # noqa: N802 - the protocol's name
        """The status of a service now and after each change. At the end of the server it is UNAVAILABLE: clients watch another one then."""
        last: int | None = None
        while (status := await self._next(request.service, last)) is not None:
            await context.write(Answer(status=status))
            last = status
        await context.abort(grpc.StatusCode.UNAVAILABLE, ENDING)

    async def _next(self, service: str, last: int | None) -> int | None:
        """The status, once it is not the last one any more; None: the server ends with the last one."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._ended or self._status(service) != last)
        status = self._status(service)
        return None if status == last else status

    def _status(self, service: str) -> int:
        serving = self._serving.get(service)
        if serving is None:
            return int(Answer.SERVICE_UNKNOWN)
        return int(Answer.SERVING if serving else Answer.NOT_SERVING)
