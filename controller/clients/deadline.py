"""One deadline by the clock on the wall for each call to another system, whatever library makes it.

A socket's time-out counts from byte to byte: a peer that sends one now and then is waited for without end, in the head of an answer, its
body, the size of a chunk or the TLS handshake. So a thread watches all calls and shuts the socket of each that is late, which ends what
waits for it. Sockets are found by Python's audit events for connecting and sending (https://docs.python.org/3/library/audit_events.html),
which urllib3, botocore and urllib raise alike, for the calls with which botocore gets credentials, too.

The search of a name has no socket of ours: the resolver's own time-out ends it.
"""

from __future__ import annotations

import math
import os
import socket
import sys
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self

import urllib3

PIECE: Final = 64 * 1024
"""What is read of an answer at a time, bytes, whatever size a chunk claims to have."""


class DeadlineError(TimeoutError):
    """A call did not end by its deadline."""


class Deadline:
    """The deadline of the calls that this thread makes within a ``with`` block, which then ends with `DeadlineError`.

    Args:
        seconds: From now; also from each `renew`.
        at_most_s: From now, however often it is renewed; None: without end.
    """

    def __init__(self, seconds: float, at_most_s: float | None = None) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + (math.inf if at_most_s is None else at_most_s)
        self._lock = threading.Lock()
        self._late = False
        self._socket: socket.socket | None = None
        self._copied = False  # whether the socket is a copy of ours
        self._outer: Deadline | None = None
        self.renew()

    def renew(self) -> None:
        """Begins anew: the peer said something that counts."""
        self.until = min(time.monotonic() + self._seconds, self._end)

    def require(self) -> None:
        """Does nothing in time.

        Raises:
            DeadlineError: It is too late to begin anything.
        """
        if self._late:
            raise DeadlineError("no whole answer in time")

    def __enter__(self) -> Self:
        self._outer, _CURRENT.call = current(), self
        if self._outer is not None:  # which knows of no socket meanwhile
            self._end = min(self._end, self._outer.until)
            self.until = min(self.until, self._end)
        _WATCHED.add(self)
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        _WATCHED.remove(self)
        _CURRENT.call = self._outer
        self._use(None)
        if error is None or isinstance(error, Exception):
            try:
                self.require()
            except DeadlineError as late:
                raise late from error

    def connecting(self, connection: socket.socket) -> None:
        """Notes that the call connects. TLS moves the socket's descriptor into another object for its handshake: ours is a copy."""
        self.require()
        self._use(socket.socket(fileno=os.dup(connection.fileno())), copied=True)

    def sending(self, connection: socket.socket) -> None:
        """Notes the socket on which the call sends: a new one, or that of a connection which is used again."""
        self.require()
        self._use(connection)

    def _use(self, connection: socket.socket | None, *, copied: bool = False) -> None:
        with self._lock:
            if self._copied and self._socket is not None:
                self._socket.close()
            self._socket, self._copied = connection, copied
            if self._late:
                self._shut()

    def expire(self) -> None:
        """Shuts the socket. What waits for it goes on at once."""
        with self._lock:
            self._late = True
            self._shut()

    def _shut(self) -> None:
        if self._socket is not None:
            with suppress(OSError):  # it is closed already
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)  # TLS's own would disturb the thread that reads


class _Current(threading.local):
    call: Deadline | None = None


_CURRENT = _Current()


def current() -> Deadline | None:
    """The deadline of what this thread does now; None: there is none."""
    return _CURRENT.call


class _Watched:
    """The calls in progress, and the thread that ends those that are late."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._calls: set[Deadline] = set()
        self._next = math.inf  # when the thread wakes next
        self._thread: threading.Thread | None = None

    def add(self, call: Deadline) -> None:
        with self._changed:
            self._calls.add(call)
            if self._thread is None:
                sys.addaudithook(_heard)
                self._thread = threading.Thread(target=self._run, name="deadlines", daemon=True)
                self._thread.start()
            if call.until < self._next:
                self._changed.notify()

    def remove(self, call: Deadline) -> None:
        with self._changed:
            self._calls.discard(call)

    def _run(self) -> None:
        while True:
            with self._changed:
                now = time.monotonic()
                late = [call for call in self._calls if call.until <= now]
                self._calls.difference_update(late)
                for call in late:
                    call.expire()
                self._next = min((call.until for call in self._calls), default=math.inf)
                self._changed.wait(None if math.isinf(self._next) else max(0.0, self._next - now))


_WATCHED = _Watched()


def _heard(event: str, arguments: tuple[Any, ...]) -> None:
    """Finds the socket of the present call. A connection that is used again is found when something is sent on it."""
    call = current() if event in {"socket.connect", "http.client.send"} else None
    if call is not None and event == "http.client.send":
        call.sending(arguments[0].sock)
    elif call is not None:
        call.connecting(arguments[0])


def content_of(response: urllib3.BaseHTTPResponse, most: int) -> bytes:
    """What an answer holds; of one that is longer than `most` bytes, a little more than that. None was asked to be compressed."""
    content = bytearray()
    for piece in response.stream(PIECE, decode_content=False):
        content += piece
        if len(content) > most:
            response.close()
            break
    response.release_conn()
    return bytes(content)
