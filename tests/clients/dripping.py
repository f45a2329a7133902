"""Servers on loopback that send one byte now and then, without end, in each part of an answer."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_EVERY_S: Final = 0.05
HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
DRIPS: Final[dict[str, tuple[bytes, bytes]]] = {
    "status": (b"HTTP/1.1 200 ", b"O"),
    "head": (HEAD + b"X-Long: ", b"x"),
    "body": (HEAD + b"Content-Length: 100000\r\n\r\n{", b" "),
    "chunks": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "size of a chunk": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"0"),
    "line feeds": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n\n\r\n"),
}
"""What is sent at once, and what is sent again and again."""
TLS_DRIPS: Final = {"handshake": (b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc", b"\x00")}
"""The same for TLS: a record of 16 KiB that holds a ServerHello (RFC 8446, sections 4 and 5.1)."""


@contextmanager
def dripping(name: str) -> Iterator[int]:
    """A server that answers so; yields its port. Ends with all its connections."""
    begin, drip = {**DRIPS, **TLS_DRIPS}[name]
    stop, threads = threading.Event(), list[threading.Thread]()

    def answer(connection: socket.socket) -> None:
        with connection:
            try:
                connection.settimeout(0.2)
                connection.recv(65_536)
                connection.sendall(begin)
                while not stop.is_set():
                    connection.sendall(drip)
                    time.sleep(_EVERY_S)
            except OSError:  # the client has ended it
                return

    def serve(listener: socket.socket) -> None:
        while not stop.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                continue
            threads.append(threading.Thread(target=answer, args=(connection,)))
            threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        server = threading.Thread(target=serve, args=(listener,))
        server.start()
        try:
            yield listener.getsockname()[1]
        finally:
            stop.set()
            for thread in (server, *threads):
                thread.join()
