"""What one client may send and leave unread."""

import asyncio
from dataclasses import replace

import pytest
from failover_model_server.errors import Overloaded, RequestError
from failover_model_server.http import connections
from failover_model_server.http.connections import AHEAD, TURNS, UNREAD_SECONDS
from starlette.types import Receive, Scope, Send

from tests.support.connection import LIMITS, House

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


def test_a_refused_request_is_read_to_its_end() -> None:
    """Closed before, the client would meet a reset while it sends its body, not its answer."""

    async def run() -> None:
        wire = House(app, Overloaded("full", 1.0)).connect()
        ended = []
        for part in (POST.replace(b"Host: x", b"Connection: close").replace(b"Length: 0", b"Length: 10"), b"12345", b"67890"):
            wire.protocol.data_received(part)
            ended.append((wire.sent.count(b"HTTP/1.1 429"), wire.ended))
        assert ended == [(1, ""), (1, ""), (1, "closed")]

    asyncio.run(run())


def test_a_refused_request_whose_body_does_not_come_is_the_last() -> None:
    """Its client waits for the answer before it sends the body. One that does not, and stops, has the time for a body."""

    async def run() -> None:
        house = House(app, Overloaded("full", 1.0))
        large = POST.replace(b"Length: 0", b"Length: 10")
        asks, stops = house.connect(), house.connect()
        asks.protocol.data_received(large.replace(b"Host: x", b"Expect: 100-continue"))
        stops.protocol.data_received(large)
        assert (asks.ended, stops.ended) == ("closed", "")
        house.clock.seconds += LIMITS.body_seconds + 1
        house.all.check()
        assert (stops.ended, stops.sent.count(b"HTTP/1.1 ")) == ("closed", 1)

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


OFFER = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEA\r\n"
"""As Java's own client begins each request."""
BODIES = [b"Content-Length: %d\r\n\r\n" % len(GET) + GET, b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(GET) + GET + b"\r\n0\r\n\r\n"]
"""One that could be a request, in both framings."""


@pytest.mark.parametrize("body", BODIES, ids=["length", "chunked"])
def test_an_offer_to_upgrade_is_ignored(body: bytes) -> None:
    """The body is the request's, however it comes, and the connection is kept: the same again, and one without an offer."""
    said = (OFFER + body) * 2 + GET

    async def answers(parts: list[bytes]) -> bytes:
        wire = House(app).connect()
        for part in parts:
            wire.protocol.data_received(part)
        await settled()
        assert (wire.ended, wire.reading) == ("", True)
        return wire.sent

    async def run() -> None:
        whole = await answers([said])
        assert (whole.count(b"200 OK"), whole.count(GET)) == (3, 2)
        assert await answers([said[at : at + 1] for at in range(len(said))]) == whole
        for split in range(1, len(OFFER + body) + 1):
            assert await answers([said[:split], said[split:]]) == whole

    asyncio.run(run())


@pytest.mark.parametrize(
    "said",
    [
        OFFER.replace(b"Upgrade,", b"Upgrade, close,") + BODIES[0] + GET,
        OFFER.replace(b"HTTP/1.1", b"HTTP/1.0") + BODIES[0] + GET,
    ],
    ids=["close", "HTTP/1.0"],
)
def test_what_else_a_request_with_an_offer_says_holds(said: bytes) -> None:
    """It is answered, and nothing after it."""

    async def run() -> None:
        wire = House(app).connect()
        wire.protocol.data_received(said)
        await settled()
        assert (wire.sent.count(b"200 OK"), wire.sent.endswith(GET), wire.ended) == (1, True, "closed")

    asyncio.run(run())


def test_offers_count_as_requests() -> None:
    """They are parsed twice, and counted once."""

    async def run() -> None:
        for number, ended in ((AHEAD, ""), (AHEAD + 1, "closed")):
            wire = House(app).connect()
            wire.protocol.data_received((OFFER + BODIES[0]) * number)
            assert wire.ended == ended

    asyncio.run(run())


def test_a_tunnel_is_refused() -> None:
    """The client of a proxy."""

    async def run() -> None:
        wire = House(app).connect()
        wire.protocol.data_received(b"CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n" + GET)
        assert (wire.sent[9:12], wire.sent.count(b"HTTP/1.1 "), wire.ended) == (b"400", 1, "closed")

    asyncio.run(run())


def test_a_connection_is_closed_for_a_newcomer_and_counts_until_it_is_gone() -> None:
    """Each newcomer has another one closed."""

    async def run() -> None:
        house = House(app)
        wires = [house.connect() for _ in range(LIMITS.most + 2)]
        assert [wire.ended for wire in wires] == ["closed", "closed", "", "", ""]
        assert len(house.all) == LIMITS.most + 2
        for wire in wires[:2]:
            wire.protocol.connection_lost(None)
        assert len(house.all) == LIMITS.most

    asyncio.run(run())


@pytest.mark.parametrize("last", [b"", b"Connection: close\r\n"], ids=["kept", "closing"])
def test_unread_answers_are_dropped_for_a_newcomer(last: bytes) -> None:
    """A connection that is merely closed stays until its answers are read."""

    async def run() -> None:
        house = House(app)
        wires = [house.connect() for _ in range(LIMITS.most)]
        wires[0].stuck = True
        for wire in wires:
            wire.protocol.data_received(GET.replace(b"Host: x\r\n", last))
            await settled()
        house.connect()
        assert wires[0].ended == "aborted"

    asyncio.run(run())


@pytest.mark.parametrize("last", [b"", b"Connection: close\r\n"], ids=["kept", "closing"])
def test_a_client_that_reads_slowly_is_served_and_one_that_stops_is_not(last: bytes) -> None:
    """Ten times as long as a client may read nothing."""

    async def run() -> None:
        house = House(app)
        wire = house.connect()
        wire.stuck = True
        wire.protocol.data_received(GET.replace(b"Host: x\r\n", last))
        await settled()
        before = wire.ended
        for _ in range(20):
            house.clock.seconds += UNREAD_SECONDS / 2
            wire.unsent -= 1
            house.all.check()
            assert wire.ended == before
        house.clock.seconds += UNREAD_SECONDS + 1
        house.all.check()
        assert (wire.unsent > 0, wire.ended) == (True, "aborted")

    asyncio.run(run())


async def early(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Answers without the body."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body"})


@pytest.mark.parametrize("refusal", [None, Overloaded("full", 1.0)], ids=["application", "door"])
@pytest.mark.parametrize("rest", [b"", b"garbage", b"0\r\nX: " + b"a" * 100_000 + b"\r\n"], ids=["nothing", "garbage", "a large trailer"])
def test_no_request_has_two_answers(refusal: RequestError | None, rest: bytes) -> None:
    """Where it is wrong, or does not end, after its answer."""

    async def run() -> None:
        house = House(early, refusal)
        wire = house.connect()
        wire.protocol.data_received(POST.replace(b"Content-Length: 0", b"Transfer-Encoding: chunked"))
        await settled()
        wire.protocol.data_received(rest)
        house.clock.seconds += LIMITS.body_seconds + 1
        house.all.check()
        assert (wire.sent.count(b"HTTP/1.1 "), wire.ended) == (1, "closed")

    asyncio.run(run())


def test_garbage_after_an_answer_has_its_own() -> None:
    """400, as at the beginning of a connection."""

    async def run() -> None:
        wire = House(app).connect()
        wire.protocol.data_received(GET)
        await settled()
        wire.protocol.data_received(b"\0garbage")
        assert (wire.sent.count(b"HTTP/1.1 200"), wire.sent.count(b"HTTP/1.1 400"), wire.ended) == (1, 1, "closed")

    asyncio.run(run())


def test_bodies_that_are_not_whole_have_a_bound_together() -> None:
    """The clients that were waited for longest make room, and a body that is whole counts no more."""

    async def run() -> None:
        house = House(app, limits=replace(LIMITS, most=100))
        begun = POST.replace(b"Content-Length: 0", b"Content-Length: %d" % LIMITS.body_bytes) + b"x" * (LIMITS.body_bytes - 1)
        whole = house.connect()
        whole.protocol.data_received(begun + b"x")
        await settled()
        wires = [house.connect() for _ in range(connections.BODIES + 4)]
        for wire in wires:
            wire.protocol.data_received(begun)
        assert [wire.ended for wire in (whole, *wires)] == ["", *["closed"] * 4, *[""] * connections.BODIES]
        assert [wire.sent[9:12] for wire in wires[:4]] == [b"408"] * 4
        for wire in wires:
            wire.protocol.connection_lost(None)
        again = [house.connect() for _ in range(connections.BODIES)]
        for wire in again:
            wire.protocol.data_received(begun)
        assert {wire.ended for wire in again} == {""}

    asyncio.run(run())


def test_a_body_that_is_too_large_counts_for_what_is_kept_of_it() -> None:
    """The rest is read, so that the client reads its answer, and dropped."""

    async def run() -> None:
        house = House(app)
        wire = house.connect()
        wire.protocol.data_received(POST.replace(b"Content-Length: 0", b"Content-Length: 1000000"))
        for _ in range(connections.BODIES + 1):
            wire.protocol.data_received(b"x" * 10_000)
            await settled()
        assert wire.ended == ""

    asyncio.run(run())


def test_a_client_that_leaves_with_requests_behind_ends_the_one_that_runs() -> None:
    """Uvicorn tells the one that came last, and a generation went on for nobody."""

    async def run() -> None:
        heard: list[str] = []

        async def slow(_scope: Scope, receive: Receive, _send: Send) -> None:
            while (message := await receive())["type"] != "http.disconnect":
                pass
            heard.append(message["type"])

        wire = House(slow).connect()
        wire.protocol.data_received(GET * 3)
        await settled()
        assert heard == []
        wire.protocol.connection_lost(None)
        await settled()
        assert heard == ["http.disconnect"]

    asyncio.run(run())


async def waits(_scope: Scope, receive: Receive, _send: Send) -> None:
    """Answers nothing."""
    while (await receive())["type"] != "http.disconnect":
        pass


def test_who_does_not_read_its_answers_makes_room_for_a_newcomer() -> None:
    """Also while a request of it is being answered; a client that reads again, and one that waits for us, do not."""

    async def run() -> None:
        house = House(waits)
        works, reads, leaves = (house.connect() for _ in range(LIMITS.most))
        for wire in (works, reads, leaves):
            wire.protocol.data_received(GET)
        await settled()
        assert house.connect().ended == "aborted"
        for wire in (reads, leaves):
            wire.stuck, wire.unsent = True, 100_000
            wire.protocol.pause_writing()
        reads.protocol.resume_writing()
        house.connect()
        assert [wire.ended for wire in (works, reads, leaves)] == ["", "", "aborted"]
        for wire in (works, reads, leaves):
            wire.protocol.connection_lost(None)
        await settled()

    asyncio.run(run())


def test_a_request_that_comes_while_answers_are_unread_does_not_hide_them() -> None:
    """Its body was on the way already."""

    async def run() -> None:
        house = House(waits, limits=replace(LIMITS, most=1))
        wire = house.connect()
        wire.protocol.data_received(POST.replace(b"Length: 0", b"Length: 1"))
        wire.stuck, wire.unsent = True, 100_000
        wire.protocol.pause_writing()
        wire.protocol.data_received(b"x")
        house.connect()
        assert wire.ended == "aborted"
        wire.protocol.connection_lost(None)
        await settled()

    asyncio.run(run())


def test_requests_sent_ahead_take_turns_over_all_connections() -> None:
    """The first request of each connection begins at once, however much others send ahead; of requests sent ahead a few run at a time."""

    async def run() -> None:
        begun, answered = 0, asyncio.Semaphore(0)

        async def held(scope: Scope, receive: Receive, send: Send) -> None:
            nonlocal begun
            begun += 1
            await answered.acquire()
            await app(scope, receive, send)

        house = House(held, limits=replace(LIMITS, most=20))
        wires = [house.connect() for _ in range(10)]
        for wire in wires:
            wire.protocol.data_received(GET * 3)
        await settled()
        assert begun == 10
        for _ in range(10):
            answered.release()
        await settled()
        assert begun == 10 + TURNS
        one = house.connect()
        one.protocol.data_received(GET)
        await settled()
        assert begun == 10 + TURNS + 1
        wires[0].protocol.connection_lost(None)  # its turn, or its place in the queue, is the next one's
        for _ in range(20):
            answered.release()
        await settled()
        assert [wire.sent.count(b"200 OK") for wire in (*wires[1:], one)] == [3] * 9 + [1]

    asyncio.run(run())


def test_clients_that_send_requests_ahead_make_room_for_a_newcomer() -> None:
    """Each has a request that is being answered, at all times; one that waits for its only answer stays."""

    async def run() -> None:
        house = House(waits)
        wires = [house.connect() for _ in range(LIMITS.most)]
        for number, wire in enumerate(wires):
            wire.protocol.data_received(GET * (1 if number == 1 else 2))
        await settled()
        newcomers = [house.connect() for _ in range(2)]
        assert [wire.ended for wire in (*wires, *newcomers)] == ["closed", "", "closed", "", ""]
        for wire in (*wires, *newcomers):
            wire.protocol.connection_lost(None)
        await settled()

    asyncio.run(run())
