"""Fetch what a request names by URL: from hosts that the operator allows, and within limits of time and size.

Redirects are not followed, and proxies of the environment are not used: both would lead to an address that was not checked.
"""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

import structlog

from failover_model_server.errors import InvalidRequest

log = structlog.get_logger()

FETCH_SECONDS = 5.0
"""For all of it, except that the resolver of names has its own limits."""
CHUNK = 64 * 1024
HTTP_OK = 200


def fetch(url: str, allow_list: tuple[str, ...], most_bytes: int) -> bytes:
    """The body, cut off one byte after `most_bytes`.

    Args:
        url: http:// or https://.
        allow_list: each entry a host, reached by https on its own port, or an origin as http://HOST:PORT. A host that is a name must have
            public addresses; one that is itself an address is the operator's word and may be private.
        most_bytes: that the caller accepts.

    Raises:
        InvalidRequest: not allowed, or no answer with status 200 in time.
    """
    parts = _allowed(url, allow_list)
    try:
        return _get(parts, most_bytes)
    except (HTTPException, OSError, ValueError) as error:
        log.warning("image_not_fetched", host=parts.netloc, reason=type(error).__name__)  # its text may hold the URL, which may be signed
        raise InvalidRequest("image: its URL could not be fetched") from error


def _allowed(url: str, allow_list: tuple[str, ...]) -> SplitResult:
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise InvalidRequest("image: its URL cannot be read") from error
    allowed = {entry if "://" in entry else f"https://{entry}" for entry in allow_list}
    if not parts.hostname or f"{parts.scheme}://{parts.netloc}" not in allowed:
        raise InvalidRequest("image: URLs of this host are not fetched; send the image as base64")
    return parts


def _get(parts: SplitResult, most_bytes: int) -> bytes:
    end, data = time.monotonic() + FETCH_SECONDS, b""
    host, secure = str(parts.hostname), parts.scheme == "https"
    connection = (HTTPSConnection if secure else HTTPConnection)(host, parts.port)
    sock = _connect(host, connection.port, end)
    if secure:
        sock = ssl.create_default_context().wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
    with contextlib.closing(connection), sock, _cut_off(sock, end):
        if isinstance(sock, ssl.SSLSocket):
            sock.do_handshake()
        connection.sock = sock
        connection.request("GET", f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}")
        with connection.getresponse() as response:
            if response.status != HTTP_OK:
                raise HTTPException(f"status {response.status}")
            while len(data) <= most_bytes and (chunk := response.read1(CHUNK)):
                data += chunk
    if time.monotonic() >= end:  # what was cut off looks like an end
        raise TimeoutError
    return data[: most_bytes + 1]


def _connect(host: str, port: int, end: float) -> socket.socket:
    """Connect to an address that was checked, so that a second DNS lookup cannot return another one."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
    if not _is_address(host) and not all(ip_address(address).is_global for address in addresses):
        raise ConnectionRefusedError("the name has an address that is not public")
    for address in addresses:
        with contextlib.suppress(OSError):
            return socket.create_connection((address, port), timeout=max(0.001, end - time.monotonic()))
    raise ConnectionError("no address answers")


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


@contextlib.contextmanager
def _cut_off(sock: socket.socket, end: float) -> Iterator[None]:
    """Shut the connection down at the end: a time-out of a socket is that of one wait alone, which a byte now and then begins anew."""

    def shut_down() -> None:
        with contextlib.suppress(OSError):  # it is closed already
            socket.socket.shutdown(sock, socket.SHUT_RDWR)  # not that of TLS, which takes the session from the thread that reads

    timer = threading.Timer(max(0.0, end - time.monotonic()), shut_down)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
