"""What one client may send and leave unread."""

import asyncio

from failover_model_server.errors import Overloaded
from failover_model_server.http.connections import AHEAD
from starlette.types import Receive, Scope, Send

from tests.support.connection import House

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"


async def app(_scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the body."""
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})


async def settled() -> None:
    """Everything that can happen has happened."""
    for _ in range(20 * AHEAD):
        await asyncio.sleep(0)


def test_requests_ahead_of_their_answers_are_answered() -> None:
    """As many as there may be, twice; and meanwhile nothing more is read."""

    async def run() -> None:
        wire = House(app).connect()
        for answered in (AHEAD, 2 * AHEAD):
            wire.protocol.data_received(GET * AHEAD)
            while wire.sent.count(b"200 OK") < answered - 1:
                assert not wire.reading
                await asyncio.sleep(0)
            await settled()
            assert (wire.sent.count(b"200 OK"), wire.reading, wire.ended) == (answered, True, "")

    asyncio.run(run())


def test_more_requests_than_that_end_the_connection() -> None:
    """Nothing is written in the place of an answer."""

    async def run() -> None:
        wire = House(app).connect()
        wire.protocol.data_received(GET * (AHEAD + 1))
        assert (wire.sent, wire.ended) == (b"", "closed")

    asyncio.run(run())


def test_more_refusals_than_that_end_the_connection() -> None:
    """What the door refuses has its answer at once: these come first."""

    async def run() -> None:
        wire = House(app, Overloaded("full", 1.0)).connect()
        wire.protocol.data_received(POST * 1000)
        assert (wire.sent.count(b"HTTP/1.1 429"), wire.sent.count(b"HTTP/1.1 400"), wire.ended) == (AHEAD, 1, "closed")

    asyncio.run(run())


def test_requests_after_the_last_that_is_answered_are_not_read() -> None:
    """The door has refused one that asks for the end of the connection."""

    async def run() -> None:
        wire = House(app, Overloaded("full", 1.0)).connect()
        wire.protocol.data_received(POST.replace(b"Host: x", b"Connection: close") + POST * 5)
        assert (wire.sent.count(b"HTTP/1.1 "), wire.ended) == (1, "closed")

    asyncio.run(run())


def test_who_does_not_read_its_answers_is_not_read() -> None:
    """Neither while a request waits for its body, nor after an answer; and again once the answers are read."""

    async def run() -> None:
        wire = House(app).connect()
        wire.protocol.pause_writing()
        wire.protocol.data_received(POST.replace(b"Length: 0", b"Length: 1"))
        await settled()
        reading = [wire.reading]
        wire.protocol.resume_writing()
        reading.append(wire.reading)
        wire.protocol.data_received(b"x")
        await settled()
        reading.append(wire.reading)
        assert (wire.sent.count(b"200 OK"), reading) == (1, [False, True, True])

    asyncio.run(run())
