"""A TCP proxy in front of the API server, with which a test cuts connections. It forwards encrypted data unchanged."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import Final, Self

_CHUNK: Final = 65_536


class Proxy:
    """The proxy. Use it as a context manager.

    Args:
        port: Loopback port of the API server.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._blocked = False
        self._threads: list[threading.Thread] = []

    @property
    def url(self) -> str:
        """The URL to use instead of the API server's."""
        return f"https://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._spawn(self._accept)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(timeout=10)

    def cut(self) -> None:
        """Resets every connection and accepts new ones."""
        with self._lock:
            for one in self._open:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def block(self) -> None:
        """Resets every connection and accepts no new ones until `unblock`."""
        with self._lock:
            self._blocked = True
        self.cut()

    def unblock(self) -> None:
        """Takes connections again."""
        with self._lock:
            self._blocked = False

    def _spawn(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # closed
            with self._lock:
                blocked = self._blocked
            if blocked:
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self._target), timeout=5)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            with self._lock:
                self._open |= {client, server}
            ended: list[socket.socket] = []
            self._spawn(self._pump, client, server, ended)
            self._spawn(self._pump, server, client, ended)

    def _pump(self, source: socket.socket, target: socket.socket, ended: list[socket.socket]) -> None:
        """Copies one direction; the direction that ends last closes both sockets."""
        try:
            while data := source.recv(_CHUNK):
                target.sendall(data)
        except OSError:
            pass  # cut
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)
        with self._lock:
            ended.append(source)
            if len(ended) == 1:
                return
            self._open -= {source, target}
        source.close()
        target.close()
