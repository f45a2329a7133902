"""A hostile proxy before the API server, and a hostile kubeconfig: memory stays bounded, and no control character reaches a terminal."""

from __future__ import annotations

import gzip
import socket
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import yaml
from kubernetes import client as kubernetes_client

from controller.clients.kube import LARGEST, KubeSession, connect
from controller.errors import ConfigError, RemoteError

_MIB = 1024 * 1024
_BOMB = 256 * _MIB
_PIECES = 128
_MOST = 3 * LARGEST  # the answer, and what assembles it


@contextmanager
def _serving(head: bytes, pieces: Callable[[], Iterator[bytes]]) -> Iterator[KubeSession]:
    """A session of a server that answers one request with these bytes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError), listener.accept()[0] as peer:
                peer.recv(65_536)
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" + head + b"\r\n\r\n")
                for piece in pieces():
                    peer.sendall(piece)

        thread = threading.Thread(target=serve)
        thread.start()
        session = KubeSession(kubernetes_client.Configuration(host=f"http://127.0.0.1:{listener.getsockname()[1]}"))
        try:
            yield session
        finally:
            session.close()
            thread.join(timeout=30)


def _bomb() -> Iterator[bytes]:
    yield gzip.compress(b" " * _BOMB, compresslevel=9)


def _chunk() -> Iterator[bytes]:
    """A chunk of one GiB is announced; an eighth of it comes."""
    yield b"40000000\r\n"
    for _ in range(_PIECES):
        yield b" " * _MIB


_ANSWERS = [
    pytest.param(b"Content-Encoding: gzip\r\nConnection: close", _bomb, id="a gzip bomb"),
    pytest.param(b"Transfer-Encoding: chunked", _chunk, id="a chunk of 1 GiB"),
    pytest.param(b"Connection: close", lambda: (b" " * _MIB for _ in range(_PIECES)), id="no end"),
]


def _read(session: KubeSession) -> None:
    session.request("GET", "/x")


def _watch(session: KubeSession) -> None:
    with session.stream("/x", (), idle_s=20.0) as lines:
        for _ in lines:
            pass


@pytest.mark.parametrize(("head", "pieces"), _ANSWERS)
@pytest.mark.parametrize("ask", [_read, _watch])
def test_an_answer_without_end_is_refused_within_the_memory(
    ask: Callable[[KubeSession], None], head: bytes, pieces: Callable[[], Iterator[bytes]]
) -> None:
    """1 MB of gzip became 1.9 GB, and a chunk was held whole: the limit of the container is 256 MiB."""
    made = list(pieces()) if pieces is _bomb else []
    with _serving(head, lambda: iter(made or pieces())) as session:
        tracemalloc.start()
        try:
            with pytest.raises(RemoteError):
                ask(session)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < _MOST


@pytest.mark.parametrize("said", ["\x1b[2J\x1b]0;owned\x07", "a\x9b31mred", "token\u202e\r over"])
def test_a_credential_plugin_writes_nothing_to_the_terminal(said: str, tmp_path: Path) -> None:
    """Anyone who may edit a kubeconfig names a program; its words become an error of one line."""
    plugin = tmp_path / "plugin"
    plugin.write_text(f"#!/bin/sh\nprintf '%s' '{said}'\nprintf '%s' '{said}' >&2\nexit 1\n")
    plugin.chmod(0o755)
    command = {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin), "interactiveMode": "Never"}
    with pytest.raises(ConfigError) as caught:
        connect(kubeconfig=str(_kubeconfig(tmp_path, {"exec": command})))
    _plain(str(caught.value))
    assert "credential plugin failed" in str(caught.value)


def test_a_context_writes_nothing_to_the_terminal(tmp_path: Path) -> None:
    """Its name is repeated in the error."""
    with pytest.raises(ConfigError) as caught:
        connect(kubeconfig=str(_kubeconfig(tmp_path, {"token": "x"}, cluster="\x1b[2Jnowhere")))
    _plain(str(caught.value))


def _kubeconfig(folder: Path, user: dict[str, object], *, cluster: str = "here") -> Path:
    path = folder / "config"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "one",
        "clusters": [{"name": "here", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "me", "user": user}],
        "contexts": [{"name": "one", "context": {"cluster": cluster, "user": "me"}}],
    }
    path.write_text(yaml.safe_dump(document))
    return path


def _plain(text: str) -> None:
    assert all(character.isprintable() or character == "\n" for character in text), text
