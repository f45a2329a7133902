"""TLS in front of a server of loopback, with a certificate authority that can be replaced."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self
from urllib.parse import urlsplit

import trustme

NAME = "kubernetes.test"


class TlsFront:
    """Forwards connections to a server. Use it as a context manager.

    Args:
        url: The server's.

    Attributes:
        authority: The certificate that a client must trust, PEM.
        port: Where it listens.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._behind = (str(parts.hostname), int(parts.port or 0))
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self.authority = ""
        self.rotate()

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def rotate(self) -> None:
        """Another authority, and a certificate of it: from the next connection on."""
        authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(NAME).configure_cert(context)
        self._context, self.authority = context, authority.cert_pem.bytes().decode()

    def cut(self) -> None:
        """Ends all connections."""
        with self._lock:
            ended, self._open = self._open, set()
        for one in ended:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._forward, args=(client,), daemon=True).start()

    def _forward(self, client: socket.socket) -> None:
        with (
            suppress(OSError),
            client,
            self._context.wrap_socket(client, server_side=True) as ours,
            socket.create_connection(self._behind) as server,
        ):
            with self._lock:
                self._open |= {ours, server}
            back = threading.Thread(target=_pump, args=(server.recv, ours.sendall, ours), daemon=True)
            back.start()
            _pump(ours.recv, server.sendall, server)
            back.join()
            with self._lock:
                self._open -= {ours, server}


def _pump(read: Callable[[int], bytes], write: Callable[[bytes], None], end: socket.socket) -> None:
    with suppress(OSError):
        while piece := read(65_536):
            write(piece)
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
