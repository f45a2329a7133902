"""The thin client: it sends bodies unchanged, gives every answer one meaning, and never shows a credential."""

from __future__ import annotations

import errno
import gzip
import json
import logging
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import yaml
from kubernetes import client as kubernetes_client

from controller.clients import kube
from controller.clients.kube import (
    APPLY_PATCH,
    CONFIG_MAPS,
    INGRESSES,
    JSON,
    JSON_PATCH,
    NODE_CLAIMS,
    RESOURCES,
    UNREACHABLE,
    KubeSession,
    Resource,
    connect,
    context_namespace,
)
from controller.errors import ConfigError, Conflict, Forbidden, Gone, NotFound, Rejected, RemoteError, TooLarge, Unavailable
from controller.foreign import MAX_ANNOTATION, MAX_VALUE
from failover_testbed.kube_api import EmulatedKubeApi
from tests.clients.dripping import dripping
from tests.support.proxies import without_proxies

SECRET = "tok-8f3e2d1c-secret"


@dataclass
class Server:
    """An HTTP server that gives scripted answers and records the requests."""

    url: str = ""
    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    truncated: bool = False

    def answer(self, status: int, body: bytes | str = b"{}", **headers: str) -> None:
        """Sets the answer to every further request."""
        self.status, self.body = status, body.encode() if isinstance(body, str) else body
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


@contextmanager
def serving() -> Iterator[Server]:
    """A running server."""
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            server.asked.append((self.command, self.path, dict(self.headers), sent))
            self.send_response(server.status)
            for name, value in ({"Content-Type": "application/json"} | server.headers).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(server.body) + (10 if server.truncated else 0)))
            self.end_headers()
            self.wfile.write(server.body)
            if server.truncated:
                self.close_connection = True

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Logs nothing."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    server.url = f"http://127.0.0.1:{http.server_address[1]}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    """A server for one test."""
    with serving() as running:
        yield running


def configuration(host: str, token: str = "") -> kubernetes_client.Configuration:
    """A configuration as the `kubernetes` package loads it."""
    made = kubernetes_client.Configuration(host=host)
    if token:
        made.api_key["BearerToken"] = f"Bearer {token}"
    return made


@pytest.fixture
def session(server: Server) -> Iterator[KubeSession]:
    """A session with a credential."""
    made = KubeSession(configuration(server.url, SECRET), connect_s=2.0, read_s=5.0)
    yield made
    made.close()


def ask(session: KubeSession, path: str, *, streamed: bool) -> None:
    """Makes an ordinary request, or reads a watch to its end."""
    if streamed:
        with session.stream(path, (), idle_s=5.0) as lines:
            list(lines)
    else:
        session.request("GET", path)


def status(code: int, reason: str = "", message: str = "") -> str:
    """A Kubernetes Status."""
    return json.dumps({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message})


# --- answers ---


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (300, Rejected),
        (301, Rejected),
        (302, Rejected),
        (304, Rejected),
        (400, Rejected),
        (401, Forbidden),
        (403, Forbidden),
        (404, NotFound),
        (405, Rejected),
        (408, Unavailable),
        (409, Conflict),
        (410, Gone),
        (415, Rejected),
        (422, Rejected),
        (429, Unavailable),
        (500, Unavailable),
        (502, Unavailable),
        (503, Unavailable),
        (504, Unavailable),
        (599, Unavailable),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_each_status_has_one_meaning(code: int, error: type[RemoteError], server: Server, session: KubeSession, *, streamed: bool) -> None:
    """For requests and for watches; the server's words and its reason are kept, redirects are not followed."""
    server.answer(code, status(code, "SomeReason", "what the server says"), Location="http://127.0.0.1:1/")
    with pytest.raises(error) as caught:
        ask(session, "/api/v1/pods", streamed=streamed)
    assert type(caught.value) is error
    assert (caught.value.status, caught.value.code) == (code, "SomeReason" if code != 304 else "")
    assert str(caught.value).startswith(f"GET /api/v1/pods: {code}")
    assert code == 304 or "what the server says" in str(caught.value)
    assert len(server.asked) == 1


def test_a_json_patch_that_does_not_fit_is_a_conflict(server: Server, session: KubeSession) -> None:
    """The server does not say which operation failed; ours are preconditions. Any other 422 is a wrong request."""
    words = "the server rejected our request due to an error in our request"
    server.answer(422, status(422, "Invalid", words))
    with pytest.raises(Conflict):
        session.request("PATCH", "/x", body="[]", content_type=JSON_PATCH)
    with pytest.raises(Rejected):
        session.request("PATCH", "/x", body="{}", content_type=APPLY_PATCH)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("7" * 400, None),
        ("0", 0.0),
        (None, None),
        ("", None),
        ("-5", None),
        ("nan", None),
        ("inf", None),
        ("1e99", None),
        ("²", None),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
    ],
)
def test_retry_after(header: str | None, seconds: float | None, server: Server, session: KubeSession) -> None:
    """Whole seconds, as API servers send them; any other form is ignored."""
    if header == "²":
        assert kube._seconds(header) is None
        return
    server.answer(429, "Too many requests", **({"Retry_After": header} if header is not None else {}))
    with pytest.raises(Unavailable) as caught:
        session.request("GET", "/x")
    assert caught.value.retry_after_s == seconds


@pytest.mark.parametrize(
    "body", [b"", b"404 page not found\n", b"\xff\xfe", b"[]", b"null", b"5", b'"text"', b"{", b"[" * 200_000, b"<html>nginx</html>"]
)
def test_an_answer_that_is_no_object_is_unavailable(body: bytes, server: Server, session: KubeSession) -> None:
    """A proxy's page with status 200 is not an answer of an API server."""
    server.answer(200, body)
    with pytest.raises(Unavailable, match=r"^GET /x: the answer is not (JSON|an object)$") as caught:
        session.request("GET", "/x")
    assert caught.value.status == 200


def test_an_answer_may_be_as_long_as_it_is_read(server: Server, session: KubeSession) -> None:
    """One byte more is another error: the caller can ask for less."""
    server.answer(200, '{"a":1}')
    assert session.request("GET", "/x", most_bytes=7) == {"a": 1}
    with pytest.raises(TooLarge, match=r"^GET /x: the answer is longer than 6 bytes$"):
        session.request("GET", "/x", most_bytes=6)


def test_the_objects_of_a_list_are_handed_over_one_by_one(server: Server, session: KubeSession) -> None:
    """The answer is without them: decoded whole, a page takes many times its text."""
    server.answer(200, '{"kind":"PodList","items":[{"a":1},{"a":2}],"metadata":{"resourceVersion":"7"}}')
    found: list[Any] = []
    assert session.request("GET", "/x", each=found.append) == {"kind": "PodList", "metadata": {"resourceVersion": "7"}}
    assert found == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize("body", [b"", b"upstream connect error", b"\xff\xfe", b"[]", b"null", b'{"message":null}', b"[" * 200_000])
def test_an_error_without_a_status_object(body: bytes, server: Server, session: KubeSession) -> None:
    """Plain text and garbage: the HTTP status alone decides."""
    server.answer(503, body)
    with pytest.raises(Unavailable) as caught:
        session.request("GET", "/x")
    assert (caught.value.status, caught.value.code, caught.value.causes) == (503, "", ())


def test_an_error_without_a_message_shows_what_came(server: Server, session: KubeSession) -> None:
    """Plain text, or an object of another kind."""
    for body in ("upstream connect error", '{"error":"quota"}'):
        server.answer(503, body)
        with pytest.raises(Unavailable) as caught:
            session.request("GET", "/x")
        assert (str(caught.value), caught.value.code) == (f"GET /x: 503 {body}", "")


def test_an_error_says_in_words_for_machines_what_was_refused(server: Server, session: KubeSession) -> None:
    """Such as a namespace that ends. As many as anyone may need, and each of them as long as such a word may be."""
    causes = [{"reason": "NamespaceTerminating"}, {"message": "no reason"}, *({"reason": "x" * 100} for _ in range(100))]
    server.answer(403, json.dumps({"reason": "Forbidden", "message": "no", "details": {"causes": causes}}))
    with pytest.raises(Forbidden) as caught:
        session.request("GET", "/x")
    first, second, *others = caught.value.causes
    assert (first, second) == ("NamespaceTerminating", "")
    assert (len(others), {len(one) for one in others}) == (14, {64})


def test_an_error_has_the_words_of_the_api_server_alone(server: Server, session: KubeSession) -> None:
    """Not the object that they came in, which nobody reads in an alert."""
    server.answer(400, status(400, "BadRequest", "spec.replicas: Invalid value"))
    with pytest.raises(Rejected) as caught:
        session.request("GET", "/x")
    assert str(caught.value) == "GET /x: 400 spec.replicas: Invalid value"


def test_a_long_error_is_cut(server: Server, session: KubeSession) -> None:
    """It appears in logs, alerts and the status page."""
    server.answer(400, status(400, "BadRequest", "x" * 100_000))
    with pytest.raises(Rejected) as caught:
        session.request("GET", "/x")
    assert 500 < len(str(caught.value)) < 600, "what a person needs of it stays"


@pytest.mark.parametrize("code", [200, 500])
@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_that_breaks_off_is_unavailable(code: int, server: Server, session: KubeSession, *, streamed: bool) -> None:
    """The connection ends in the middle of the body."""
    server.answer(code, b'{"a":')
    server.truncated = True
    with pytest.raises(Unavailable):
        ask(session, "/x", streamed=streamed)


def test_a_server_that_does_not_exist(session: KubeSession) -> None:
    """Refused, or a name that does not exist."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for host in (f"http://127.0.0.1:{port}", "http://does-not-exist.invalid"):
        gone = KubeSession(configuration(host, SECRET), connect_s=2.0, read_s=2.0)
        with pytest.raises(Unavailable) as caught:
            gone.request("GET", "/x")
        assert caught.value.status == 0
        assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ECONNREFUSED, "the connection is refused"),
        (errno.EMFILE, "no connection (Too many open files)"),
        (errno.EHOSTUNREACH, "no connection (No route to host)"),
    ],
)
def test_a_connection_that_is_not_made_says_why(number: int, words: str, session: KubeSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not each of them is refused: a process may have no file descriptor left."""
    failing = Mock(side_effect=OSError(number, os.strerror(number)))
    monkeypatch.setattr("urllib3.util.connection.create_connection", failing)
    with pytest.raises(Unavailable, match=re.escape(f"{session.host}: {words}")) as caught:
        session.request("GET", "/x")
    assert caught.value.code in UNREACHABLE


def test_time_outs_are_the_settings() -> None:
    """A server that takes the connection and never answers: both kinds of request end by the time-out they were given."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        session = KubeSession(configuration(f"http://127.0.0.1:{silent.getsockname()[1]}"), connect_s=0.2, read_s=0.2)
        with pytest.raises(Unavailable, match="no answer in time"):
            session.request("GET", "/x")
        with pytest.raises(Unavailable, match="no answer in time"), session.stream("/x", (), idle_s=0.2):
            pass
        session.close()


def test_a_request_whose_connection_breaks_is_not_repeated() -> None:
    """It may have been carried out. The caller decides, who knows what it does twice."""
    connections: list[socket.socket] = []

    def slam() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connections.append(connection)
                connection.recv(65_536)
                connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=slam, daemon=True).start()
        session = KubeSession(configuration(f"http://127.0.0.1:{listener.getsockname()[1]}"))
        with pytest.raises(Unavailable):
            session.create(CONFIG_MAPS, "shop", {"x": 1}, field_manager="me")
        session.close()
    assert len(connections) == 1


def test_an_answer_that_does_not_end_in_time_names_the_request() -> None:
    with dripping("head") as port:
        session = KubeSession(configuration(f"http://127.0.0.1:{port}"))
        with pytest.raises(Unavailable, match=r"GET /x: "):
            session.request("GET", "/x", deadline_s=0.3)
        session.close()


def test_connections_time_out_as_set() -> None:
    """The values of the settings reach the pool, for connecting and for reading."""
    session = KubeSession(configuration("http://127.0.0.1:1"), connect_s=1.5, read_s=4.5)
    assert (session._timeout.connect_timeout, session._timeout.read_timeout) == (1.5, 4.5)
    assert session._whole_s == 6 * 4.5, "a large answer on a slow line"


def test_a_read_that_takes_too_long_ends_before_the_whole_answer_would() -> None:
    """No answer and an answer that is too long are different errors."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        session = KubeSession(configuration(f"http://127.0.0.1:{silent.getsockname()[1]}"), read_s=0.2)
        session._whole_s = 10.0
        with pytest.raises(Unavailable) as caught:
            session.request("GET", "/x")
        session.close()
    assert caught.value.code == "ReadTimeoutError"


# --- requests ---


@pytest.mark.parametrize("body", ["{}", '{ "b" :1,"a":[ ]}', "apiVersion: v1\n# ünïcode ☃\n", "", '[{"op":"test"}]\n\n'])
def test_bodies_are_sent_byte_for_byte(body: str, server: Server, session: KubeSession) -> None:
    """No key is moved, no space dropped, UTF-8; the content type is the one given."""
    session.request("PATCH", "/x", query=(("fieldManager", "a b"), ("force", "true")), body=body, content_type=APPLY_PATCH)
    method, path, headers, sent = server.asked[0]
    assert (method, path, sent) == ("PATCH", "/x?fieldManager=a+b&force=true", body.encode())
    assert (headers["Content-Type"], headers["Accept"], headers["User-Agent"]) == (APPLY_PATCH, JSON, "failoverctl")


def test_get_create_and_replace(server: Server, session: KubeSession) -> None:
    """Each uses its path and our field manager; a read sends no body and no content type."""
    server.answer(200, '{"kind":"ConfigMap"}')
    assert session.get(CONFIG_MAPS, "shop", "a") == {"kind": "ConfigMap"}
    session.create(CONFIG_MAPS, "shop", {"x": 1}, field_manager="me")
    session.replace(CONFIG_MAPS, "shop", "a", {"x": 1}, field_manager="me")
    base = "/api/v1/namespaces/shop/configmaps"
    assert [asked[:2] for asked in server.asked] == [
        ("GET", f"{base}/a"),
        ("POST", f"{base}?fieldManager=me"),
        ("PUT", f"{base}/a?fieldManager=me"),
    ]
    assert "Content-Type" not in server.asked[0][2]
    assert [json.loads(asked[3]) for asked in server.asked[1:]] == [{"x": 1}] * 2
    assert session.meter.totals() == {"kubernetes": 3}


def test_another_user_is_named_in_that_session_alone(server: Server, session: KubeSession) -> None:
    """What is checked as the controller would otherwise be done as it."""
    for one in (session.acting_as("system:serviceaccount:failover-system:failoverctl"), session):
        one.request("GET", "/x")
    assert [asked[2].get("Impersonate-User") for asked in server.asked] == ["system:serviceaccount:failover-system:failoverctl", None]


def test_the_server_is_given_the_time_that_there_is(server: Server, session: KubeSession) -> None:
    """It ends what nobody waits for any more: a Lease that is written late would seem to be held."""
    session.get(CONFIG_MAPS, "shop", "a", deadline_s=0.5)
    session.create(CONFIG_MAPS, "shop", {}, field_manager="me", deadline_s=1.25)
    session.replace(CONFIG_MAPS, "shop", "a", {}, field_manager="me", deadline_s=2.0)
    assert [path.partition("?")[2] for _, path, _, _ in server.asked] == [
        *("timeout=500ms", "fieldManager=me&timeout=1250ms", "fieldManager=me&timeout=2000ms"),
    ]


def test_what_is_sent_late_has_failed() -> None:
    """For each kind of request."""
    with dripping("head") as port:
        late = KubeSession(configuration(f"http://127.0.0.1:{port}"), connect_s=5.0, read_s=30.0)
        with pytest.raises(Unavailable, match="no answer in time"):
            late.create(CONFIG_MAPS, "shop", {}, field_manager="me", deadline_s=0.2)
        with pytest.raises(Unavailable, match="no answer in time"):
            late.replace(CONFIG_MAPS, "shop", "a", {}, field_manager="me", deadline_s=0.2)


@pytest.mark.parametrize(
    ("resource", "namespace", "name", "path"),
    [
        (CONFIG_MAPS, None, None, "/api/v1/configmaps"),
        (CONFIG_MAPS, "shop", "a", "/api/v1/namespaces/shop/configmaps/a"),
        (INGRESSES, "shop", None, "/apis/networking.k8s.io/v1/namespaces/shop/ingresses"),
        (NODE_CLAIMS, "ignored", "c", "/apis/karpenter.sh/v1/nodeclaims/c"),
        (CONFIG_MAPS, "../kube-system", "a/b?c", "/api/v1/namespaces/..%2Fkube-system/configmaps/a%2Fb%3Fc"),
    ],
)
def test_paths(resource: Resource, namespace: str | None, name: str | None, path: str) -> None:
    """Core and other groups, namespaced and not; an invalid name cannot form another path."""
    assert resource.path(namespace, name) == path


def test_resources_by_name() -> None:
    """As RBAC and plans write them; versions as manifests do."""
    assert RESOURCES["ingresses.networking.k8s.io"] is INGRESSES
    assert (CONFIG_MAPS.name, CONFIG_MAPS.api_version) == ("configmaps", "v1")
    assert INGRESSES.api_version == "networking.k8s.io/v1"


# --- credentials ---


def sent_credentials(server: Server) -> list[str | None]:
    """The Authorization headers so far."""
    return [headers.get("Authorization") for _, _, headers, _ in server.asked]


@pytest.mark.parametrize("key", ["BearerToken", "authorization"])
def test_a_token_is_sent(key: str, server: Server) -> None:
    """Under the package's present name for it and its former one; a newline at its end is stripped."""
    made = configuration(server.url)
    made.api_key[key] = f"bearer {SECRET}\n"
    KubeSession(made).request("GET", "/x")
    assert sent_credentials(server) == [f"bearer {SECRET}"]


def test_basic_credentials_are_sent(server: Server) -> None:
    """A kubeconfig may still have them."""
    made = configuration(server.url)
    made.username, made.password = "u", "p"
    KubeSession(made).request("GET", "/x")
    assert sent_credentials(server) == ["Basic dTpw"]


def test_no_credentials_no_header(server: Server) -> None:
    """Client certificates need none."""
    KubeSession(configuration(server.url)).request("GET", "/x")
    assert sent_credentials(server) == [None]


def test_the_refresh_hook_is_run_before_each_request(server: Server) -> None:
    """Rotated in-cluster tokens and exec plugins' tokens are picked up, for watches too."""
    made = configuration(server.url)
    turns = iter(range(10))

    def refresh(one: kubernetes_client.Configuration) -> None:
        one.api_key["BearerToken"] = f"Bearer {next(turns)}"

    made.refresh_api_key_hook = refresh  # type: ignore[assignment]  # the package's annotation says None
    session = KubeSession(made)
    session.request("GET", "/x")
    with session.stream("/x", (), idle_s=5.0) as lines:
        list(lines)
    session.request("GET", "/x")
    assert sent_credentials(server) == ["Bearer 0", "Bearer 1", "Bearer 2"]


@pytest.mark.parametrize("error", [OSError(SECRET), ValueError(SECRET), RuntimeError(SECRET), KeyError(SECRET)])
def test_a_refresh_that_fails_is_unavailable(error: Exception, server: Server) -> None:
    """A token file that is being replaced must end neither a watch nor the controller; what the plugin says is not repeated."""
    made = configuration(server.url)

    def refresh(one: kubernetes_client.Configuration) -> None:
        raise error

    made.refresh_api_key_hook = refresh  # type: ignore[assignment]  # the package's annotation says None
    with pytest.raises(Unavailable) as caught:
        KubeSession(made).request("GET", "/x")
    assert str(caught.value) == f"GET /x: the credentials could not be refreshed ({type(error).__name__})"
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert server.asked == []


@pytest.mark.parametrize("token", [f"{SECRET}\r\nX-Evil: 1", f"{SECRET}\nb", f"☃{SECRET}"])
def test_a_token_that_is_no_header_is_not_shown(token: str, server: Server) -> None:
    """The library's own error shows the value; ours does not, nor does its cause."""
    session = KubeSession(configuration(server.url, token))
    with pytest.raises(Unavailable) as caught:
        session.request("GET", "/x")
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert server.asked == []


@pytest.mark.parametrize("code", [400, 401, 403, 500])
def test_errors_hold_no_credentials(code: int, server: Server, session: KubeSession) -> None:
    """Nor the query, which may hold selectors."""
    server.answer(code, status(code, "x", "no"))
    with pytest.raises(RemoteError) as caught:
        session.request("GET", "/x", query=(("fieldSelector", "hidden"),))
    assert SECRET not in repr(caught.value)
    assert "hidden" not in str(caught.value)


# --- watches ---


def test_lines_of_a_watch(server: Server, session: KubeSession) -> None:
    """One object a line; empty lines and what is no object are left out, so is a line without an end."""
    server.answer(200, b'{"type":"A"}\n\n  \n[]\n5\n{"type":"\xc3\xbc"}\n{"type":"cut')
    with session.stream("/x", (("watch", "true"),), idle_s=5.0) as lines:
        assert list(lines) == [{"type": "A"}, {"type": "ü"}]


@pytest.mark.parametrize("line", [b"<html>\n", b'{"type":\n', b"\xff\n", b"[" * 200_000 + b"\n"])
def test_a_line_that_is_no_json_ends_the_watch(line: bytes, server: Server, session: KubeSession) -> None:
    """It yields the lines before it first."""
    server.answer(200, b'{"type":"A"}\n' + line)
    with session.stream("/x", (), idle_s=5.0) as lines:
        assert next(lines) == {"type": "A"}
        with pytest.raises(Unavailable, match="not JSON"):
            next(lines)


def test_a_line_without_end_does_not_fill_the_memory(server: Server, session: KubeSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """Objects have a size limit, so a stream that never ends its line is closed."""
    monkeypatch.setattr(kube, "LARGEST", 1000)
    server.answer(200, b"x" * 2000)
    with session.stream("/x", (), idle_s=5.0) as lines, pytest.raises(Unavailable, match="longer than"):
        next(lines)


def test_a_watch_is_not_unpacked(server: Server, session: KubeSession) -> None:
    """A megabyte from a hostile proxy would fill the memory with two thousand."""
    server.answer(200, gzip.compress(b'{"type":"A"}\n', mtime=0), **{"Content-Encoding": "gzip"})
    with session.stream("/x", (), idle_s=5.0) as lines:
        assert list(lines) == []


def test_a_large_object_in_one_line(server: Server, session: KubeSession) -> None:
    """As large as etcd takes them."""
    stored = {"kind": "ConfigMap", "data": {"memory": "x" * 1_500_000}}
    server.answer(200, json.dumps({"type": "A", "object": stored}).encode() + b"\n")
    with session.stream("/x", (), idle_s=5.0) as lines:
        assert next(lines)["object"] == stored


def test_what_a_stranger_wrote_is_bounded_in_every_answer(server: Server, session: KubeSession) -> None:
    """Of a request, of a watch, and of an error: 200 KiB that end as one line of what can be shown."""
    hostile = "\x1b[31m" + "eyJ" * 70_000
    server.answer(200, json.dumps({"metadata": {"annotations": {"a": hostile}}, "spec": {"b": hostile}}).encode())
    answer = session.get(kube.PODS, "shop", "p")
    assert (len(answer["metadata"]["annotations"]["a"]), len(answer["spec"]["b"])) == (MAX_ANNOTATION, MAX_VALUE)
    server.answer(200, json.dumps({"type": "ADDED", "object": {"spec": {"b": hostile}}}).encode() + b"\n")
    with session.stream("/x", (), idle_s=5.0) as lines:
        assert next(lines)["object"]["spec"]["b"].isprintable()
    server.answer(403, json.dumps({"reason": hostile, "message": hostile}).encode())
    with pytest.raises(Forbidden) as caught:
        session.get(kube.PODS, "shop", "p")
    assert len(str(caught.value)) < 600
    assert str(caught.value).isprintable()
    assert caught.value.code.isprintable()


# --- connecting ---


def test_a_kubeconfig_connects_and_authenticates(tmp_path: Path) -> None:
    """From the file and its token to the server."""
    with EmulatedKubeApi() as api:
        session = connect(kubeconfig=str(api.kubeconfig("admin", tmp_path / "good")))
        assert session.host == api.url
        assert session.request("GET", CONFIG_MAPS.path())["kind"] == "ConfigMapList"
        with pytest.raises(Forbidden):
            connect(kubeconfig=str(api.kubeconfig("wrong", tmp_path / "bad"))).request("GET", CONFIG_MAPS.path())


def test_the_environment_names_the_kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`$KUBECONFIG` goes before the in-cluster account (the package reads its value when it is imported)."""
    with EmulatedKubeApi() as api:
        monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(api.kubeconfig("admin", tmp_path / "k")))
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "k"))
        assert connect().host == api.url


@pytest.mark.parametrize(
    "content", [None, "", "{}", "5", "[]", "text", "clusters: [", "clusters: 5\n", "current-context: nowhere\n", "\x00"]
)
def test_a_kubeconfig_that_cannot_be_used_says_what_to_do(content: str | None, tmp_path: Path) -> None:
    """Missing, empty, no YAML, without the context: one kind of error, with a way out."""
    path = tmp_path / "kubeconfig"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match="KUBECONFIG"):
        connect(kubeconfig=str(path))


_CLUSTER = "{name: c, cluster: {server: 'https://127.0.0.1:1', certificate-authority-data: x}}"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "there is no such file"),
        ("text", "allowed: a mapping with clusters, users, contexts and current-context"),
        ("clusters: [\nx", "line 2, column 2"),
        (
            f"current-context: c\nclusters: [{_CLUSTER}]\nusers: [{{name: u, user: {{token: t}}}}]\n"
            "contexts: [{name: c, context: {cluster: c, user: u}}]\n",
            "no base64 in a field whose name ends with -data",
        ),
    ],
)
def test_an_error_names_the_kubeconfig_and_what_is_wrong_on_one_line(content: str | None, words: str, tmp_path: Path) -> None:
    """The package repeats Python's own errors, and names no file where there is none."""
    path = tmp_path / "kubeconfig"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        connect(kubeconfig=str(path))
    line, fix = str(caught.value).splitlines()
    assert line.startswith(f"no Kubernetes API server: kubeconfig {path}: ")
    assert words in line
    assert fix.startswith("  fix: ")


def test_a_context_that_does_not_exist(tmp_path: Path) -> None:
    """It is a configuration error too."""
    with EmulatedKubeApi() as api:
        path = api.kubeconfig("admin", tmp_path / "k")
        with pytest.raises(ConfigError):
            connect(kubeconfig=str(path), context="nowhere")


def kubeconfig(folder: Path, url: str, **cluster: str) -> str:
    """A kubeconfig of a server with a token."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": url, **cluster}}],
        "users": [{"name": "u", "user": {"token": SECRET}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }
    (folder / "k").write_text(yaml.safe_dump(config))
    return str(folder / "k")


def test_a_host_with_a_path_is_kept(server: Server, tmp_path: Path) -> None:
    """Rancher and other proxies serve clusters under a path."""
    server.answer(200, "{}")
    connect(kubeconfig=kubeconfig(tmp_path, f"{server.url}/k8s/clusters/c-1/")).request("GET", "/api/v1/pods")
    assert server.asked[0][1] == "/k8s/clusters/c-1/api/v1/pods"
    assert sent_credentials(server) == [f"Bearer {SECRET}"]


def test_a_host_may_end_with_a_slash(server: Server) -> None:
    """No path begins with two."""
    KubeSession(configuration(f"{server.url}/")).request("GET", "/version")
    assert server.asked[0][1] == "/version"


def test_in_a_cluster_the_service_account_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Host, CA and token of the pod; the token is sent, which the package keeps under another name than it once did."""
    (tmp_path / "token").write_text(SECRET)
    (tmp_path / "ca.crt").write_text("a certificate")
    for name, value in (("SERVICE_HOST", "10.0.0.1"), ("SERVICE_PORT", "443")):
        monkeypatch.setenv(f"KUBERNETES_{name}", value)
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setattr("kubernetes.config.incluster_config.SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr("kubernetes.config.incluster_config.SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))
    session = connect()
    assert session.host == "https://10.0.0.1:443"
    assert session._headers("GET", "/x", None)["Authorization"] == f"bearer {SECRET}"
    (tmp_path / "token").write_text("rotated")
    assert session._headers("GET", "/x", None)["Authorization"] == "bearer rotated", "the old one may be refused from now on"
    named = kubeconfig(tmp_path, "https://10.0.0.9:443")
    assert connect(kubeconfig=named).host == "https://10.0.0.9:443", "what a person names comes before it"
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", named)
    assert connect(context="c").host == "https://10.0.0.9:443"
    monkeypatch.setenv("KUBECONFIG", named)
    assert connect().host == "https://10.0.0.9:443"


def test_a_pod_without_a_token_uses_the_kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a pod for development that mounts no service account. The error names the file that it is to have."""
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setattr("kubernetes.config.incluster_config.SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "config"))
    with pytest.raises(ConfigError, match=r"kubeconfig ~/\.kube/config: there is no such file"):
        connect()
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "other"))
    with pytest.raises(ConfigError, match=f"kubeconfig {tmp_path}/other: "):
        connect()


def test_a_session_has_the_time_outs_that_its_caller_chose(tmp_path: Path) -> None:
    """A command waits for a person's patience, the controller for less."""
    session = connect(kubeconfig=kubeconfig(tmp_path, "https://127.0.0.1:1"), connect_s=1.5, read_s=4.5)
    assert (session._timeout.connect_timeout, session._timeout.read_timeout) == (1.5, 4.5)


def test_a_kubeconfig_may_leave_the_certificate_unchecked(tmp_path: Path) -> None:
    """It says so once: no request repeats it on the terminal."""
    with EmulatedKubeApi(tls=True) as api:
        path = kubeconfig(tmp_path, api.url)
        with pytest.raises(Unavailable, match="TLS failed"):
            connect(kubeconfig=path).request("GET", CONFIG_MAPS.path())
        config = yaml.safe_load(Path(path).read_text())
        config["clusters"][0]["cluster"]["insecure-skip-tls-verify"] = True
        config["users"][0]["user"]["token"] = "admin"
        Path(path).write_text(yaml.safe_dump(config))
        assert connect(kubeconfig=path).request("GET", CONFIG_MAPS.path())["kind"] == "ConfigMapList"


def test_the_namespace_is_that_of_the_context(tmp_path: Path) -> None:
    """As with kubectl: of the named context, else of the current context, else ``default``."""
    path = kubeconfig(tmp_path, "https://127.0.0.1:1")
    assert context_namespace(kubeconfig=path) == "default"
    config = yaml.safe_load(Path(path).read_text())
    config["contexts"] += [{"name": name, "context": {"cluster": "c", "user": "u", "namespace": name}} for name in ("shop", "lab")]
    config["current-context"] = "shop"
    Path(path).write_text(yaml.safe_dump(config))
    assert [context_namespace(kubeconfig=path, context=name) for name in (None, "c", "lab")] == ["shop", "default", "lab"]
    assert context_namespace(kubeconfig=str(tmp_path / "missing")) == "default"


@pytest.mark.parametrize(
    ("script", "said", "fix"),
    [
        pytest.param(None, "No such file or directory", "install that program", id="missing"),
        pytest.param("echo 'Error loading SSO Token' >&2; exit 255", "exec", "aws sso login", id="logged out"),
        pytest.param("echo 'Token has expired' >&2; exit 255", "exec", "aws sso login", id="expired"),
        pytest.param("echo 'no region' >&2; exit 1", "exec", "run the command under users[].user.exec", id="anything else"),
    ],
)
def test_a_credential_plugin_that_fails_says_what_to_do(script: str | None, said: str, fix: str, tmp_path: Path) -> None:
    """The package goes on without credentials, and the server would only say that it knows nobody. Other errors are logged as before."""
    plugin = tmp_path / "plugin"
    if script is not None:
        plugin.write_text(f"#!/bin/sh\n{script}\n")
        plugin.chmod(0o755)
    path = kubeconfig(tmp_path, "https://127.0.0.1:1")
    config = yaml.safe_load(Path(path).read_text())
    command = {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin), "interactiveMode": "Never"}
    config["users"][0]["user"] = {"exec": command}
    Path(path).write_text(yaml.safe_dump(config))
    before = list(logging.getLogger().handlers)
    with pytest.raises(ConfigError) as caught:
        connect(kubeconfig=path)
    failed, way_out = str(caught.value).splitlines()
    assert failed.startswith("the kubeconfig's credential plugin failed: ")
    assert said in failed
    assert way_out.startswith(f"  fix: {fix}")
    assert logging.getLogger().handlers == before


@pytest.fixture
def proxies(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets the proxies of the environment, and no others."""
    without_proxies(monkeypatch)

    def given(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return given


@pytest.mark.parametrize("scheme", ["http://", ""])
def test_a_proxy_of_the_environment_is_used_as_by_kubectl(
    scheme: str, server: Server, proxies: Callable[..., None], tmp_path: Path
) -> None:
    """Go takes one without a scheme, too; NO_PROXY excepts hosts."""
    proxies(HTTP_PROXY=server.url.replace("http://", scheme), NO_PROXY="other.invalid")
    connect(kubeconfig=kubeconfig(tmp_path, "http://api.invalid")).request("GET", "/version")
    assert [path for _, path, _, _ in server.asked] == ["http://api.invalid/version"]
    with pytest.raises(Unavailable):
        connect(kubeconfig=kubeconfig(tmp_path, "http://other.invalid")).request("GET", "/version")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_this_machine_is_not_reached_through_a_proxy_of_the_environment(
    host: str, server: Server, proxies: Callable[..., None], tmp_path: Path
) -> None:
    """Go does not, either: else no local cluster, and no demo, would run behind a proxy."""
    proxies(HTTP_PROXY="http://127.0.0.1:1")
    connect(kubeconfig=kubeconfig(tmp_path, server.url.replace("127.0.0.1", host))).request("GET", "/version")
    assert [path for _, path, _, _ in server.asked] == ["/version"]


def test_a_proxy_of_the_kubeconfig_is_used_for_this_machine_as_well(server: Server, proxies: Callable[..., None], tmp_path: Path) -> None:
    """It may be a tunnel, for which 127.0.0.1 is another machine."""
    proxies()
    connect(kubeconfig=kubeconfig(tmp_path, "http://127.0.0.1:1", **{"proxy-url": server.url})).request("GET", "/version")
    assert [path for _, path, _, _ in server.asked] == ["http://127.0.0.1:1/version"]


@pytest.mark.filterwarnings("ignore:SOCKS support in urllib3")
@pytest.mark.parametrize(
    ("proxy", "words"),
    [
        ("ftp://me:secret@proxy.example", "allowed: a URL such as http://proxy.example:3128"),
        ("http://me:secret@proxy.example:none", "allowed: a URL such as http://proxy.example:3128"),
        ("socks5://me:secret@proxy.example:1080", "SOCKS needs the package PySocks"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_a_mistake_that_shows_no_password(
    proxy: str, words: str, proxies: Callable[..., None], tmp_path: Path
) -> None:
    """Wherever it is named."""
    for cluster in ({}, {"proxy-url": proxy}):
        proxies(HTTPS_PROXY="" if cluster else proxy)
        with pytest.raises(ConfigError) as caught:
            connect(kubeconfig=kubeconfig(tmp_path, "https://api.invalid", **cluster))
        assert words in str(caught.value)
        assert "secret" not in str(caught.value)
        assert "fix: HTTPS_PROXY, or proxy-url in the kubeconfig" in str(caught.value)
