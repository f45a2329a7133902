"""Certificates for programs that call each other or that the API server calls."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_VALID = timedelta(days=1)
_SKEW = timedelta(hours=1)


def write(folder: Path, names: tuple[str, ...]) -> bytes:
    """Writes ``ca.crt``, ``tls.crt`` and ``tls.key``, as in the Secrets of KEDA and the load-balancer controller.

    Args:
        folder: The folder to create.
        names: DNS names of the servers, in addition to the loopback address.

    Returns:
        The authority's certificate, PEM.
    """
    folder.mkdir()
    root_key, key = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
    root_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
    now = datetime.now(UTC)

    def builder(subject: x509.Name, public: rsa.RSAPublicKey) -> x509.CertificateBuilder:
        made = x509.CertificateBuilder().subject_name(subject).issuer_name(root_name).public_key(public)
        return made.serial_number(x509.random_serial_number()).not_valid_before(now - _SKEW).not_valid_after(now + _VALID)

    root = builder(root_name, root_key.public_key()).add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    known = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), *map(x509.DNSName, names)]
    leaf = builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])]), key.public_key())
    leaf = leaf.add_extension(x509.SubjectAlternativeName(known), critical=False)
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    leaf = leaf.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    authority = root.sign(root_key, hashes.SHA256()).public_bytes(Encoding.PEM)
    (folder / "ca.crt").write_bytes(authority)
    (folder / "tls.crt").write_bytes(leaf.sign(root_key, hashes.SHA256()).public_bytes(Encoding.PEM))
    (folder / "tls.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (folder / "tls.key").chmod(0o600)
    return authority
