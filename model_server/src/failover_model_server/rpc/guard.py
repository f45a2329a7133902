"""What every gRPC method has: errors without internals. gRPC's own texts name classes, of messages and of exceptions."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import grpc
import structlog
from google.protobuf.message import DecodeError

from failover_model_server.errors import UNFORESEEN, RequestError

log = structlog.get_logger()

CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
"""gRPC's code for each of our HTTP statuses; INTERNAL for the rest."""
UNREADABLE = "the message cannot be read"
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Read = Callable[[bytes], Any]


class Guard(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # grpc is not typed
    """Reads each message itself, and turns what a method raises into a status with a text for clients.

    Args:
        watchers: streams of answers that may be open. They do not end by themselves: without a limit one client takes every call that the
            server allows, and a probe gets none.
    """

    def __init__(self, watchers: int) -> None:
        self._most = watchers
        self._watching = 0

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        """Wrap the method that was called."""
        method = await continuation(handler_call_details)
        if method is None or method.request_streaming:  # an unknown one, or reflection's, whose errors are messages of its own
            return method
        if method.response_streaming:  # Watch, which writes to the context
            return grpc.unary_stream_rpc_method_handler(
                unary(self._watched(method.unary_stream), method.request_deserializer), response_serializer=method.response_serializer
            )
        return grpc.unary_unary_rpc_method_handler(
            unary(method.unary_unary, method.request_deserializer), response_serializer=method.response_serializer
        )

    def _watched(self, answer: Any) -> Any:
        async def counted(request: Any, context: Context) -> Any:
            if self._watching >= self._most:
                await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{self._most} streams are open; no more are taken")
            self._watching += 1
            try:
                return await answer(request, context)
            finally:
                self._watching -= 1

        return counted


def unary(answer: Any, read: Read) -> Any:
    """A method that takes the bytes of its message and ends every error with a status. One that streams writes to the context."""

    async def guarded(message: bytes, context: Context) -> Any:
        try:
            return await answer(read(message), context)
        except Exception as error:  # noqa: BLE001 - every one becomes a status
            await _refuse(context, error)

    return guarded


async def _refuse(context: Context, error: Exception) -> None:
    """End the call; the time to wait is `retry-after` in the trailing metadata."""
    if isinstance(error, grpc.aio.AbortError):
        raise error  # the method has ended it itself
    if isinstance(error, RequestError):
        trailing = () if error.retry_after is None else (("retry-after", f"{error.retry_after:g}"),)
        await context.abort(CODES.get(error.status, grpc.StatusCode.INTERNAL), str(error), trailing)
    if isinstance(error, DecodeError):
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, UNREADABLE)
    log.error("rpc_failed", exc_info=error)
    await context.abort(grpc.StatusCode.INTERNAL, UNFORESEEN)
