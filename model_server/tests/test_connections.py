"""Strangers who open connections and say little: each wait for them ends, and a probe always gets through."""

import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from itertools import product
from typing import Any

import grpc
import httpx
import pytest

from tests.support.process import ServerProcess, eventually, running

pytestmark = pytest.mark.slow

QUICK = {"MODEL_SERVER_HEADER_TIMEOUT": "0.5", "MODEL_SERVER_BODY_TIMEOUT": "0.5"}
BODY = b'{"prompt": "x"}'
CHECK = "/grpc.health.v1.Health/Check"
HEAD = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """A server with short limits, and places for forty connections."""
    with running(**QUICK, MODEL_SERVER_MAX_CONNECTIONS="40") as process:
        process.until("/readiness", 200)
        yield process


@contextmanager
def connected(server: ServerProcess) -> Iterator[socket.socket]:
    """A connection to the HTTP port."""
    with socket.create_connection(("127.0.0.1", server.logged("listening")["http"]), timeout=20) as connection:
        yield connection


def everything(connection: socket.socket) -> bytes:
    """What comes until the other side closes."""
    found = b""
    try:
        while part := connection.recv(65536):
            found += part
    except ConnectionResetError:
        pass
    return found


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (b"", b""),
        (b"POST /echo HT", b"408"),
        (b"GET /health HTTP/1.1\r\nHost: x\r\n", b"408"),
        (HEAD + b"Content-Length: 15\r\n\r\n", b"408"),
        (HEAD + b'Content-Length: 15\r\n\r\n{"prompt', b"408"),
        (HEAD + b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"pro\r\n', b"408"),
    ],
    ids=["nothing", "a line", "headers", "no body", "half a body", "a chunk"],
)
def test_a_request_that_does_not_end_is_ended(server: ServerProcess, said: bytes, answer: bytes) -> None:
    """At every place where a client may stop."""
    with connected(server) as connection:
        connection.sendall(said)
        assert everything(connection)[9:12] == answer


def test_a_client_that_sends_all_of_a_body_that_is_too_large_gets_its_answer() -> None:
    """The standard library reads nothing before; its urllib asks for the end of each connection."""
    with running(MODEL_SERVER_MAX_BODY_BYTES="4000000") as server:
        server.until("/readiness", 200)
        connection = http.client.HTTPConnection("127.0.0.1", server.logged("listening")["http"], timeout=20)
        for size, last, chunked in product((5_000_000, 20_000_000), ({}, {"Connection": "close"}), (False, True)):
            body = b" " * size
            connection.request("POST", "/echo", iter([body]) if chunked else body, {"Content-Type": "application/json", **last})
            answer = connection.getresponse()
            assert (answer.status, b"larger than 4000000 bytes" in answer.read()) == (413, True)
        connection.close()


LARGE = b"a" * 100_000
"""More than a head may have."""


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (b"GET /health?" + LARGE + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"431"),
        (b"GET /health HTTP/1.1\r\nHost: x\r\nX-Large: " + LARGE + b"\r\n\r\n", b"431"),
        (b"GET /health HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 20_000 + b"\r\n", b"431"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nf\r\n" + BODY + b"\r\n0\r\nX-Large: " + LARGE + b"\r\n\r\n", b""),
    ],
    ids=["path", "a header", "many headers", "a trailer"],
)
def test_a_head_that_is_too_large_is_refused(server: ServerProcess, said: bytes, answer: bytes) -> None:
    """431 and the end of the connection; the end alone where the application has the request already."""
    with connected(server) as connection:
        connection.sendall(said)
        assert everything(connection)[9:12] == answer


@pytest.mark.parametrize(
    "said",
    [
        b"GET /",
        b"GET /health HTTP/1.1\r\nHost: x\r\nX-Large: ",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nf\r\n" + BODY + b"\r\n0\r\nX-Large: ",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nf;",
    ],
    ids=["path", "header", "trailer", "extension of a chunk"],
)
def test_a_head_that_does_not_end_is_refused(said: bytes) -> None:
    """The server does not wait for the end of what is too large already, however much time there is."""
    with running(MODEL_SERVER_HEADER_TIMEOUT="600", MODEL_SERVER_BODY_TIMEOUT="600") as server:
        server.until("/readiness", 200)
        with connected(server) as connection:
            connection.sendall(said)
            with pytest.raises(ConnectionError):
                connection.sendall(b"a" * 2**26)  # the kernel's buffers take a few MiB


def test_a_large_head_within_the_limit_is_served(server: ServerProcess) -> None:
    """Of several requests on one connection too: each counts for itself, and no body counts."""
    head = HEAD + b"X-Large: " + b"a" * 60_000 + b"\r\nContent-Length: 100015\r\n\r\n"
    with connected(server) as connection:
        connection.sendall((head + b" " * 100_000 + BODY) * 2 + b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert everything(connection).count(b"HTTP/1.1 200") == 3


def test_the_second_request_of_a_connection_has_limits_too(server: ServerProcess) -> None:
    """Its first byte ends the time that a kept connection may rest."""
    with connected(server) as connection:
        connection.sendall(HEAD + b"Content-Length: 15\r\n\r\n" + BODY + b"POST /ec")
        answers = everything(connection)
        assert answers.startswith(b"HTTP/1.1 200")
        assert b"HTTP/1.1 408" in answers


def test_a_connection_that_rests_is_kept(server: ServerProcess) -> None:
    """The limits are those of requests: between two of them a load balancer keeps its connection."""
    connection = http.client.HTTPConnection("127.0.0.1", server.logged("listening")["http"], timeout=20)
    for _ in range(2):
        connection.request("POST", "/echo", BODY, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        assert (answer.status, b'"response":"x"' in answer.read()) == (200, True)
        with connected(server) as other:  # for longer than the limits
            assert everything(other) == b""
    connection.close()


def test_a_request_that_is_being_answered_has_none_of_these_limits() -> None:
    """It takes three times as long as a client may take to send one."""
    with running(ECHO_BATCH_SECONDS="1.5", **QUICK) as server:
        server.until("/readiness", 200)
        with connected(server) as connection:
            connection.sendall(HEAD + b"Connection: close\r\nContent-Length: 15\r\n\r\n" + BODY)
            assert everything(connection).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("said", [b"", b"GET /he", HEAD + b"Content-Length: 99\r\n\r\n"], ids=["idle", "half-open", "dripping"])
def test_probes_get_through_a_flood_of_connections(said: bytes) -> None:
    """Ten times as many connections as there are places: none fails a probe, and the oldest are closed for the newest."""
    with running(MODEL_SERVER_MAX_CONNECTIONS="30", MODEL_SERVER_HEADER_TIMEOUT="600", MODEL_SERVER_BODY_TIMEOUT="600") as server:
        server.until("/readiness", 200)
        with ExitStack() as stack:
            flood = []
            for number in range(300):
                flood.append(stack.enter_context(connected(server)))
                flood[-1].sendall(said)
                if number % 30 == 0:
                    assert httpx.get(f"{server.url}/health", timeout=5).status_code == 200
            assert httpx.get(f"{server.url}/readiness", timeout=5).status_code == 200
            everything(flood[0])  # ends: it has been closed


def test_probes_get_through_requests_that_are_sent_ahead() -> None:
    """Every place has a client with requests behind the one that is being answered, for as long as the probes last."""
    ahead = b"GET /v2 HTTP/1.1\r\nHost: x\r\n\r\n"
    with running(MODEL_SERVER_MAX_CONNECTIONS="30") as server, ExitStack() as stack:
        server.until("/readiness", 200)
        over, crowd = threading.Event(), [stack.enter_context(connected(server)) for _ in range(30)]

        def send_ahead(connection: socket.socket) -> None:
            with suppress(OSError):  # closed for a newcomer
                connection.sendall(ahead * 8)
                while not over.is_set():
                    connection.sendall(ahead * connection.recv(65536).count(b"HTTP/1.1 200"))

        threads = [threading.Thread(target=send_ahead, args=(connection,)) for connection in crowd]
        for thread in threads:
            thread.start()
        for path in ("/health", "/readiness", "/v2") * 2:
            assert httpx.get(server.url + path, timeout=10, trust_env=False).status_code == 200
        over.set()
        for connection in crowd:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()


def test_what_is_being_answered_is_never_closed_for_a_newcomer() -> None:
    """Only connections that keep the server waiting make room."""
    with running(ECHO_BATCH_SECONDS="1", MODEL_SERVER_MAX_CONNECTIONS="4", MODEL_SERVER_BATCH_BUCKETS="1,2,4") as server:
        server.until("/readiness", 200)
        with ThreadPoolExecutor(4) as threads, ExitStack() as stack:
            asked = [threads.submit(httpx.post, f"{server.url}/echo", json={"prompt": str(number)}, timeout=20) for number in range(3)]
            eventually(lambda: server_running(server) >= 1)
            for _ in range(20):
                stack.enter_context(connected(server)).sendall(b"GET /")
            assert [answer.result().status_code for answer in asked] == [200, 200, 200]


def server_running(server: ServerProcess) -> float:
    """Requests on the accelerator."""
    lines = httpx.get(f"{server.url}/metrics").text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("model_server_running_requests "))


@pytest.mark.parametrize(
    "method",
    [
        "/inference.GRPCInferenceService/ModelInfer",
        "/inference.GRPCInferenceService/ModelReady",
        CHECK,
    ],
)
def test_garbage_over_grpc_is_named_and_no_class_is(server: ServerProcess, method: str) -> None:
    """Neither messages nor exceptions are named."""
    with grpc.insecure_channel(server.grpc) as channel, pytest.raises(grpc.RpcError) as refused:
        channel.unary_unary(method)(b"\xff\xff garbage", timeout=5)
    error: Any = refused.value
    assert (error.code(), error.details()) == (grpc.StatusCode.INVALID_ARGUMENT, "the message cannot be read")


def test_garbage_over_a_grpc_stream(server: ServerProcess) -> None:
    """Watch reads its message itself too."""
    with grpc.insecure_channel(server.grpc) as channel, pytest.raises(grpc.RpcError) as refused:
        list(channel.unary_stream("/grpc.health.v1.Health/Watch")(b"\xff\xff garbage", timeout=5))
    error: Any = refused.value
    assert (error.code(), error.details()) == (grpc.StatusCode.INVALID_ARGUMENT, "the message cannot be read")


def test_clients_that_watch_the_health_lock_no_probe_out(server: ServerProcess) -> None:
    """Their streams do not end; a quarter of the calls may be such, and the next is refused. One that leaves makes room."""
    watch, check = "/grpc.health.v1.Health/Watch", CHECK
    with grpc.insecure_channel(server.grpc) as channel:
        with _crowd(server) as crowd:
            streams = [crowd.unary_stream(watch)(b"") for _ in range(10)]
            assert all(next(stream) for stream in streams)
            with pytest.raises(grpc.RpcError) as refused:
                next(channel.unary_stream(watch)(b"", timeout=5))
            error: Any = refused.value
            assert (error.code(), error.details()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "10 streams are open; no more are taken")
            assert channel.unary_unary(check)(b"", timeout=5)
        eventually(lambda: bool(_first(channel.unary_stream(watch)(b"", timeout=5))))


def test_conversations_over_grpc_lock_no_probe_out(server: ServerProcess) -> None:
    """Reflection reads until its client ends the stream: such streams are among those of which a quarter of the calls may be."""
    reflect = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    with grpc.insecure_channel(server.grpc) as channel, _crowd(server) as crowd, _waiting() as nothing:
        streams = [crowd.stream_stream(reflect)(nothing()) for _ in range(40)]
        eventually(lambda: sum(map(_done, streams)) == 30)
        assert {stream.code() for stream in streams if stream.done()} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert channel.unary_unary(CHECK)(b"", timeout=5)


@pytest.mark.parametrize("method", [CHECK, "/grpc.health.v1.Health/Watch", "/inference.GRPCInferenceService/ModelInfer"])
def test_grpc_calls_without_a_message_lock_no_probe_out(server: ServerProcess, method: str) -> None:
    """Each ends after the time for a body, and the one that has waited longest before that where they are too many."""
    with grpc.insecure_channel(server.grpc) as channel, _crowd(server) as crowd, _waiting() as nothing:
        calls = [crowd.stream_stream(method)(nothing()) for _ in range(45)]
        assert channel.unary_unary(CHECK)(b"", timeout=5)
        eventually(lambda: all(map(_done, calls)))
        ends = {(call.code(), call.details()) for call in calls}
        assert ends == {(grpc.StatusCode.DEADLINE_EXCEEDED, "the message did not come in time")}
        assert channel.unary_unary(CHECK)(b"", timeout=5)


def test_a_grpc_call_that_ends_without_its_message(server: ServerProcess) -> None:
    with grpc.insecure_channel(server.grpc) as channel, pytest.raises(grpc.RpcError) as refused:
        channel.stream_unary(CHECK)(iter(()), timeout=5)
    error: Any = refused.value
    assert (error.code(), error.details()) == (grpc.StatusCode.INVALID_ARGUMENT, "the message cannot be read")


def _crowd(server: ServerProcess) -> grpc.Channel:
    """A channel with a connection of its own."""
    return grpc.insecure_channel(server.grpc, [("grpc.use_local_subchannel_pool", 1)])


def _done(call: Any) -> bool:
    return bool(call.done())


@contextmanager
def _waiting() -> Iterator[Callable[[], Iterator[bytes]]]:
    """Makes requests of streams that bring nothing until the end."""
    over = threading.Event()

    def nothing() -> Iterator[bytes]:
        over.wait()
        yield from ()

    try:
        yield nothing
    finally:
        over.set()


def _first(stream: Any) -> bytes:
    try:
        found: bytes = next(stream)
    except grpc.RpcError:
        return b""
    stream.cancel()
    return found


def test_half_open_grpc_connections_end(server: ServerProcess) -> None:
    """A connection whose client never speaks HTTP/2 is closed after the time for headers."""
    with socket.create_connection(("127.0.0.1", server.logged("listening")["grpc"]), timeout=20) as connection:
        everything(connection)
