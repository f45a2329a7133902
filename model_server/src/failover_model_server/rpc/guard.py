"""What every gRPC method has: limits of what its client may take, and errors without internals.

gRPC's own texts name classes, of messages and of exceptions. And it has no limit for a call whose message does not come: such calls could
take every one that the server allows, and a probe got none.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
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
NOT_COME = "the message did not come in time"
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Read = Callable[[bytes], Any]


class Guard(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # grpc is not typed
    """Reads each message itself, and turns what a method raises into a status with a text for clients.

    Args:
        share: as many calls may be streams, which do not end by themselves, and as many others may wait for their messages. Beyond it a
            stream is refused, and the call ends that has waited longest for its message: one client cannot take every call that the server
            allows, and a probe always gets one.
        message_seconds: from the beginning of a call to the end of its message.
    """

    def __init__(self, share: int, message_seconds: float) -> None:
        self._share = share
        self._seconds = message_seconds
        self._streams = 0
        self._unread: dict[asyncio.Timeout, None] = {}
        """The limits of the calls whose messages have not come, oldest first."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        """Wrap the method that was called."""
        method = await continuation(handler_call_details)
        if method is None:  # an unknown one
            return method
        if method.request_streaming:  # reflection's, whose errors are messages of its own
            return grpc.stream_stream_rpc_method_handler(
                self._conversation(method.stream_stream), method.request_deserializer, method.response_serializer
            )
        # To a client a call of one message is the same as one of a stream that has one. Only of a stream the method itself reads it.
        answer = self._watched(method.unary_stream) if method.response_streaming else method.unary_unary
        return grpc.stream_stream_rpc_method_handler(
            self._read_first(unary(answer, method.request_deserializer)), response_serializer=method.response_serializer
        )

    def _read_first(self, answer: Callable[[bytes, Context], Awaitable[Any]]) -> Any:
        async def read(_: object, context: Context) -> None:
            answered = await answer(await self._message(context), context)
            if answered is not None:
                await context.write(answered)

        return read

    async def _message(self, context: Context) -> bytes:
        """The message of a call, once it is whole; ends the call where it does not come."""
        message: Any = grpc.aio.EOF
        try:
            async with asyncio.timeout(self._seconds) as limit:
                self._waits(limit)
                try:
                    message = await context.read()
                finally:
                    self._unread.pop(limit, None)
        except TimeoutError:
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, NOT_COME)
        if message is grpc.aio.EOF:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, UNREADABLE)
        return bytes(message)

    def _waits(self, limit: asyncio.Timeout) -> None:
        """Note that a call waits for its message, and end the one that has waited longest where they are too many."""
        if len(self._unread) >= self._share:
            longest = next(iter(self._unread))
            del self._unread[longest]
            if not longest.expired():  # else it ends anyway
                longest.reschedule(0.0)
        self._unread[limit] = None

    def _watched(self, answer: Any) -> Any:
        async def counted(request: Any, context: Context) -> Any:
            await self._begin_stream(context)
            try:
                return await answer(request, context)
            finally:
                self._streams -= 1

        return counted

    def _conversation(self, answer: Any) -> Any:
        async def counted(requests: Any, context: Context) -> AsyncIterator[Any]:
            await self._begin_stream(context)
            try:
                async for response in answer(requests, context):
                    yield response
            finally:
                self._streams -= 1

        return counted

    async def _begin_stream(self, context: Context) -> None:
        """Count a stream, or refuse it."""
        if self._streams >= self._share:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{self._share} streams are open; no more are taken")
        self._streams += 1


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
