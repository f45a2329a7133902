"""TLS in front of a server of loopback, with a certificate authority that can be replaced."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

NAME = "kubernetes.test"


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _signed(builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey, issuer: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    now = datetime.now(UTC)
    dated = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=1))
    return dated.public_key(key.public_key()).serial_number(x509.random_serial_number()).sign(issuer, hashes.SHA256())


class TlsFront:
    """Forwards connections to a server. Use it as a context manager.

    Args:
        url: The server's.
        folder: For its certificate.

    Attributes:
        authority: The certificate that a client must trust, PEM.
        port: Where it listens.
    """

    def __init__(self, url: str, folder: Path) -> None:
        parts = urlsplit(url)
        self._behind = (str(parts.hostname), int(parts.port or 0))
        self._folder = folder
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
        root, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        of_root = x509.CertificateBuilder().subject_name(_named("authority")).issuer_name(_named("authority"))
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
        authority = _signed(of_root.add_extension(constraints, critical=True).add_extension(usage, critical=True), root, root)
        of_key = x509.CertificateBuilder().subject_name(_named(NAME)).issuer_name(_named("authority"))
        named = of_key.add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        identified = named.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key()), critical=False)
        certificate = _signed(identified, key, root)
        path = self._folder / "tls.pem"
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path.write_bytes(private + certificate.public_bytes(Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        self._context, self.authority = context, authority.public_bytes(Encoding.PEM).decode()

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
