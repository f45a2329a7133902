"""The HTTP endpoint on its own."""

from __future__ import annotations

import asyncio
import errno
import gc
import http.client
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry
from structlog.testing import capture_logs

from controller.errors import ConfigError
from controller.service import http as http_server
from controller.service.http import Answer, HttpServer, make_routes
from controller.settings import Settings
from failover_harness.waiting import wait_for


def _fail() -> dict[str, object]:
    raise ValueError("a bug")


@pytest.fixture
def server() -> Iterator[HttpServer]:
    """One that is healthy, not ready and has a bug."""
    routes = make_routes(
        CollectorRegistry(),
        healthy=lambda: "",
        ready=lambda: "no fresh data from karpenter",
        status=_fail,
        page=lambda query: Answer(str(query).encode()),
    )
    made = HttpServer(routes, "127.0.0.1", 0)
    made.start()
    yield made
    made.stop()


def _ask(server: HttpServer, path: str, method: str = "GET") -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)) as connection:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read()


def test_each_path_has_its_answer(server: HttpServer) -> None:
    """A check that fails says why, with the status that probes act upon."""
    assert _ask(server, "/healthz") == (200, b"ok")
    assert _ask(server, "/healthz?verbose") == (200, b"ok")
    assert _ask(server, "/readyz") == (503, b"no fresh data from karpenter")
    assert _ask(server, "/metrics")[0] == 200
    assert _ask(server, "/nothing")[0] == 404
    assert _ask(server, "/?page=2&page=3") == (200, b"{'page': '3'}")
    assert _ask(server, "/healthz", "HEAD") == (200, b"")
    assert _ask(server, "/healthz", "POST")[0] == 501


def test_a_bug_is_an_answer_and_ends_nothing(server: HttpServer) -> None:
    """A request whose answer cannot be made gets an error; the next one is served."""
    assert _ask(server, "/status") == (500, b"internal error")
    assert _ask(server, "/healthz") == (200, b"ok")


def _raw(server: HttpServer, head: bytes) -> bytes:
    """The whole answer to a request as it stands."""
    with closing(socket.create_connection(("127.0.0.1", server.port), timeout=10)) as connection:
        connection.sendall(head)
        return b"".join(iter(lambda: connection.recv(65_536), b""))


@pytest.mark.parametrize(
    "head",
    [
        b"GET\t/metrics\tHTTP/1.1\r\nX: /healthz \r\n\r\n",
        b"GET\x0b/metrics /healthz HTTP/1.1\r\n\r\n",
        b"GET /metrics#/healthz HTTP/1.1\r\nHost: /healthz\r\n\r\n",
    ],
)
def test_no_other_request_takes_the_threads_of_probes(head: bytes) -> None:
    """One parser says which path it is: the threads of probes stay free while others wait for an answer that takes long."""
    over, begun = threading.Event(), threading.Semaphore(0)

    def slow(_: object) -> Answer:
        begun.release()
        over.wait(20)
        return Answer(b"late")

    routes = {"/healthz": lambda _: Answer(b"ok"), "/metrics": slow, "/metrics#/healthz": slow}
    server = HttpServer(routes, "127.0.0.1", 0)
    server.start()
    waiting = _connected(server, 20, head)
    try:
        for _ in range(20):
            assert _ask(server, "/healthz") == (200, b"ok")
    finally:
        over.set()
        for one in waiting:
            one.close()
        server.stop()


@pytest.mark.parametrize(
    "head", [b"GET /nothing HTTP/1.1\r\n\r\n", b"BREW / HTTP/1.1\r\n\r\n", b"GET / HTTP/9\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"]
)
def test_browsers_do_not_guess_what_an_answer_is(head: bytes, server: HttpServer) -> None:
    """Errors are answers, too."""
    assert _raw(server, head).lower().count(b"x-content-type-options: nosniff") == 1


def test_requests_that_never_arrive_leave_most_descriptors_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process has watches, and calls to AWS."""
    for limit, most in ((100, 25), (103, 25), (3, 1), (1_000_000, 256)):
        monkeypatch.setattr("resource.getrlimit", lambda _, soft=limit: (soft, 2_000_000))
        server = HttpServer({}, "127.0.0.1", 0)
        assert server._most == most
        server.stop()


def test_a_request_may_come_in_pieces(server: HttpServer) -> None:
    """Its head may be as long as any that is read."""
    begin = b"GET /healthz HTTP/1.1\r\nX: "
    for head in (begin, begin + b"x" * (http_server._HEAD - len(begin))):
        (connection,) = _connected(server, 1, head)
        with closing(connection):
            connection.settimeout(20)
            assert _ask(server, "/healthz") == (200, b"ok"), "the first piece is read before this"
            connection.sendall(b"\r\n\r\n")
            assert connection.recv(12) == b"HTTP/1.0 200"


def test_a_head_without_end_is_read_no_further(server: HttpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is one kept whose client has gone."""
    monkeypatch.setattr(http_server, "_REQUEST_S", 3600.0)
    (connection,) = _connected(server, 1, b"A" * (http_server._HEAD + 1))
    with closing(connection):
        connection.settimeout(20)
        with suppress(ConnectionResetError):
            assert connection.recv(1) == b""
    (gone,) = _connected(server, 1, b"GET /healthz")
    wait_for("it is accepted", lambda: len(server._waiting) == 1)
    gone.close()
    wait_for("it is forgotten", lambda: not server._waiting)


def test_a_client_that_says_nothing_is_closed_in_time(server: HttpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though nothing else happens."""
    monkeypatch.setattr(http_server, "_REQUEST_S", 0.2)
    (connection,) = _connected(server, 1)
    with closing(connection):
        connection.settimeout(20)
        assert connection.recv(1) == b""


def test_after_its_end_nothing_of_it_is_left(server: HttpServer) -> None:
    """No thread, no client that waits, and no one who listens."""
    (waiting,) = _connected(server, 1, b"GET /healthz")
    wait_for("it is accepted", lambda: len(server._waiting) == 1)
    assert server._thread.daemon, "a bug in it must not keep the process from ending"
    server.stop()
    assert not server._thread.is_alive()
    with closing(waiting):
        waiting.settimeout(20)
        with suppress(ConnectionResetError):
            assert waiting.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port))


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="a machine without IPv6")
def test_an_address_of_either_family_may_be_chosen() -> None:
    """Of an IPv6 cluster's pod, or this machine's."""
    server = HttpServer({"/healthz": lambda _: Answer(b"ok")}, "::1", 0)
    server.start()
    try:
        with closing(http.client.HTTPConnection("::1", server.port, timeout=10)) as connection:
            connection.request("GET", "/healthz")
            assert connection.getresponse().status == 200
    finally:
        server.stop()


def test_what_a_browser_gets_is_whole() -> None:
    """The page's own heads, such as its policy for scripts, its type and its length; a HEAD has no content; a value may have a `?`."""
    page = Answer(b"<p>", "text/html", headers={"Content-Security-Policy": "default-src 'none'"})
    asked: list[object] = []

    def answer(query: object) -> Answer:
        asked.append(query)
        return page

    server = HttpServer({"/": answer}, "127.0.0.1", 0)
    server.start()
    try:
        got, head = (_raw(server, method + b" /?a=b?c HTTP/1.1\r\n\r\n") for method in (b"GET", b"HEAD"))
    finally:
        server.stop()
    assert asked == [{"a": "b?c"}] * 2
    lines = got.split(b"\r\n")
    assert {b"Content-Type: text/html", b"Content-Length: 3", b"Content-Security-Policy: default-src 'none'"} <= set(lines)
    assert (lines[0], lines[-1]) == (b"HTTP/1.0 200 OK", b"<p>")
    assert b"Cache-Control: no-store" in lines, "a page of before an outage must not be shown in it"
    assert head.endswith(b"\r\n\r\n")
    assert b"Content-Length: 3" in head


def test_prometheus_is_given_the_type_that_it_requires(server: HttpServer) -> None:
    """It refuses a scrape without one."""
    assert f"\r\nContent-Type: {CONTENT_TYPE_LATEST}\r\n".encode() in _raw(server, b"GET /metrics HTTP/1.1\r\n\r\n")


def test_the_status_has_the_type_of_json() -> None:
    routes = make_routes(CollectorRegistry(), healthy=str, ready=str, status=dict, page=lambda _: Answer(b""))
    assert routes["/status"]({}) == Answer(b"{}", "application/json")


def test_an_answer_that_is_larger_than_what_the_kernel_buffers_arrives_whole() -> None:
    """The metrics of 2,000 applications are; a client that reads them has the time to."""
    server = HttpServer({"/large": lambda _: Answer(b"x" * 30_000_000)}, "127.0.0.1", 0)
    server.start()
    try:
        assert _ask(server, "/large") == (200, b"x" * 30_000_000)
    finally:
        server.stop()


def test_an_answered_request_leaves_no_error(server: HttpServer, caplog: pytest.LogCaptureFixture) -> None:
    """Python logs what a connection raises once nothing refers to it, a line for each scrape."""
    assert _ask(server, "/healthz") == (200, b"ok")
    server.stop()
    gc.collect()
    assert [one.getMessage() for one in caplog.records if one.name == "asyncio" and one.levelno >= logging.ERROR] == []


def test_clients_that_take_no_answer_do_not_keep_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as there are places would take the metrics from Prometheus, for good; and nothing keeps what is over."""
    monkeypatch.setattr(http_server, "_SEND_S", 0.2)
    server = HttpServer({"/large": lambda _: Answer(b"x" * 8_000_000), "/metrics": lambda _: Answer(b"metrics")}, "127.0.0.1", 0)
    server.start()
    stuck = _connected(server, 4, b"GET /large HTTP/1.1\r\n\r\n")
    try:
        assert _ask(server, "/metrics") == (200, b"metrics")
        for one in stuck:
            one.settimeout(20)
            with suppress(ConnectionResetError):
                while one.recv(1_000_000):
                    pass
    finally:
        for one in stuck:
            one.close()
        server.stop()


def test_a_bug_is_logged_with_its_path(server: HttpServer) -> None:
    """So that a person finds it: the client reads of an internal error alone."""
    with capture_logs() as logs:
        assert _ask(server, "/status?token=x")[0] == 500
    assert [(one["event"], one["path"]) for one in logs] == [("http.failed", "/status")]


def test_no_answer_in_progress_delays_the_end_and_none_begins_after_it() -> None:
    """A rollout would wait for the slowest of them, until the kubelet kills the process before it has released the Lease."""
    over, begun = threading.Event(), threading.Semaphore(0)
    count: list[int] = []

    def slow(_: object) -> Answer:
        count.append(1)
        begun.release()
        over.wait(20)
        return Answer(b"late")

    server = HttpServer({"/": slow}, "127.0.0.1", 0)
    server.start()
    waiting = _connected(server, 12, b"GET / HTTP/1.1\r\n\r\n")
    for _ in range(4):
        assert begun.acquire(timeout=20)
    threads = [one for one in threading.enumerate() if one.name.startswith("http_")]
    server.stop()
    assert [one for one in threads if one.is_alive()], "they still make their answers"
    over.set()
    for one in threads:
        one.join(20)
    assert len(count) == 4
    for connection in waiting:
        connection.close()


def _connected(server: HttpServer, count: int, first: bytes = b"") -> list[socket.socket]:
    made = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(count)]
    for one in made:
        one.sendall(first)
    return made


def _drip(connections: list[socket.socket], over: threading.Event) -> None:
    """Sends one more byte of a head on each connection, again and again."""
    while not over.wait(0.05):
        for one in connections:
            with suppress(OSError):
                one.sendall(b"x")


@pytest.mark.parametrize(
    ("count", "first"),
    [
        pytest.param(24, b"GET /healthz HTTP/1.1\r\nX-Slow: ", id="24 that drip"),
        pytest.param(300, b"", id="300 that say nothing"),
        pytest.param(40, b"GET /metrics HTTP/1.1\r\n\r\n", id="40 that take no answer"),
        pytest.param(40, b"GET /stuck HTTP/1.1\r\n\r\n", id="40 whose answer takes long"),
    ],
)
def test_no_other_client_fails_a_probe(count: int, first: bytes) -> None:
    """The kubelet would restart a controller that is well: half of its probes failed beside 24 slow clients."""
    stuck = threading.Event()
    routes = {
        "/healthz": lambda _: Answer(b"ok"),
        "/metrics": lambda _: Answer(b"x" * 8_000_000),
        "/stuck": lambda _: Answer(b"late" if stuck.wait(20) else b""),
    }
    before = threading.active_count()
    server = HttpServer(routes, "127.0.0.1", 0)
    server.start()
    over, others = threading.Event(), _connected(server, count, first)
    dripping = threading.Thread(target=_drip, args=(others if b"Slow" in first else [], over))
    dripping.start()
    try:
        assert [_ask(server, "/healthz") for _ in range(40)] == [(200, b"ok")] * 40
        assert threading.active_count() < before + 10
    finally:
        over.set()
        stuck.set()
        dripping.join()
        for one in others:
            one.close()
        server.stop()


class _Full(socket.socket):
    """A listener of a process that has no file descriptor left."""

    tries = 0

    def accept(self) -> tuple[socket.socket, object]:
        self.tries += 1
        raise OSError(errno.EMFILE, "Too many open files")


def test_a_process_without_file_descriptors_does_not_spin(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client that cannot be accepted stays in the backlog: the server tried again at once, for ever, and took a whole core."""
    server, slept = HttpServer({}, "127.0.0.1", 0), threading.Semaphore(0)
    server._listener = full = _Full(fileno=server._listener.detach())

    async def sleep(seconds: float) -> None:
        assert seconds == http_server._AGAIN_S
        slept.release()
        await real(0.001)

    real = asyncio.sleep
    monkeypatch.setattr(asyncio, "sleep", sleep)
    server.start()
    for _ in range(3):
        assert slept.acquire(timeout=20)
    server.stop()
    assert full.tries >= 3


def test_one_connection_too_many_closes_the_oldest(server: HttpServer) -> None:
    """Their number is bounded, and somebody waits for the newest."""
    server._most = 3
    made = _connected(server, 5)
    for one in made[:2]:
        one.settimeout(20)
        assert one.recv(1) == b""
    for one in made[2:]:
        one.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
        one.settimeout(20)
        assert one.recv(12) == b"HTTP/1.0 200"
    for one in made:
        one.close()


def test_a_request_that_never_ends_is_closed(server: HttpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then does not prolong it: the deadline is that of the whole request."""
    monkeypatch.setattr(http_server, "_REQUEST_S", 1.0)
    over, slow = threading.Event(), _connected(server, 1, b"GET /healthz HTTP/1.1\r\nX-Slow: ")
    dripping = threading.Thread(target=_drip, args=(slow, over))
    dripping.start()
    try:
        slow[0].settimeout(20)
        with suppress(ConnectionResetError):
            assert slow[0].recv(1) == b""
    finally:
        over.set()
        dripping.join()
        slow[0].close()


def test_an_answer_that_took_long_to_make_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine took more than five seconds for the metrics of 1,000 applications, and they were thrown away."""
    monkeypatch.setattr(http_server, "_REQUEST_S", 0.5)
    server = HttpServer({"/metrics": lambda _: Answer(b"late" if threading.Event().wait(1.0) else b"metrics")}, "127.0.0.1", 0)
    server.start()
    try:
        assert _ask(server, "/metrics") == (200, b"metrics")
    finally:
        server.stop()


@pytest.mark.parametrize("head", [b"\r\n\r\n", b"GET\r\n\r\n", b"\xff \xff \xff\r\n\r\n", b"GET /healthz HTTP/9.9\r\n\r\n", b"A" * 20_000])
def test_garbage_is_answered_or_closed(server: HttpServer, head: bytes) -> None:
    """And the next request is served."""
    garbage = _connected(server, 1, head)[0]
    garbage.settimeout(20)
    with suppress(ConnectionResetError):
        garbage.recv(100_000)
    garbage.close()
    assert _ask(server, "/healthz") == (200, b"ok")


def test_by_default_it_listens_on_the_addresses_of_both_families() -> None:
    """The pods of an IPv6 cluster of EKS have no IPv4 address: the kubelet's probes were refused, and it restarted them for ever."""
    server = HttpServer({"/healthz": lambda _: Answer(b"ok")}, Settings().http.host, 0)
    server.start()
    try:
        for address in ("127.0.0.1", "::1") if socket.has_dualstack_ipv6() else ("127.0.0.1",):
            with closing(http.client.HTTPConnection(address, server.port, timeout=10)) as connection:
                connection.request("GET", "/healthz")
                assert connection.getresponse().status == 200
    finally:
        server.stop()


def test_a_machine_without_ipv6_is_listened_on_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with ``ipv6.disable=1``."""
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    server = HttpServer({"/healthz": lambda _: Answer(b"ok")}, Settings().http.host, 0)
    server.start()
    try:
        assert _ask(server, "/healthz") == (200, b"ok")
    finally:
        server.stop()


def test_an_address_that_is_taken_is_a_configuration_error(server: HttpServer) -> None:
    """It says which, and what to do."""
    with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{server.port}"):
        HttpServer({}, "127.0.0.1", server.port)


def test_the_error_about_all_addresses_names_them_as_urls_do() -> None:
    """Not as ``:::8080``."""
    taken = HttpServer({}, Settings().http.host, 0)
    with closing(taken._listener), pytest.raises(ConfigError, match=rf"cannot listen on \[::\]:{taken.port}: "):
        HttpServer({}, Settings().http.host, taken.port)
