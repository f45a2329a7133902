"""The HTTP endpoint on its own."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest
from prometheus_client import CollectorRegistry

from controller.errors import ConfigError
from controller.service.http import HttpServer, make_routes
from failover_harness.waiting import wait_for


def _fail() -> dict[str, object]:
    raise ValueError("a bug")


@pytest.fixture
def server() -> Iterator[HttpServer]:
    """One that is healthy, not ready and has a bug."""
    routes = make_routes(CollectorRegistry(), healthy=lambda: "", ready=lambda: "no fresh data from karpenter", status=_fail)
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
    assert _ask(server, "/")[0] == 404
    assert _ask(server, "/healthz", "HEAD") == (200, b"")
    assert _ask(server, "/healthz", "POST")[0] == 501


def test_a_bug_is_an_answer_and_ends_nothing(server: HttpServer) -> None:
    """A request whose answer cannot be made gets an error; the next one is served."""
    assert _ask(server, "/status") == (500, b"internal error")
    assert _ask(server, "/healthz") == (200, b"ok")


def test_clients_that_say_nothing_take_no_place_for_ever(server: HttpServer) -> None:
    """Many open connections cost a bounded number of threads, and are closed after some seconds without a request."""
    before = threading.active_count()  # of other tests' servers, which end in their own time
    silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(40)]
    wait_for("threads", lambda: threading.active_count() > before + 5)
    assert threading.active_count() < before + 40

    def served() -> bool:
        try:
            return _ask(server, "/healthz") == (200, b"ok")
        except OSError:
            return False  # turned away

    wait_for("its turn", served)
    for one in silent:
        one.close()


def test_an_address_that_is_taken_is_a_configuration_error(server: HttpServer) -> None:
    """It says which, and what to do."""
    with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{server.port}"):
        HttpServer({}, "127.0.0.1", server.port)
