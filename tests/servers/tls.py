"""Certificates the tests make for themselves: a private authority, good ones and bad ones, as PEM files."""

from __future__ import annotations

import hashlib
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NAMES = ("localhost", "127.0.0.1")


@dataclass(frozen=True)
class Certificate:
    """A server's certificate (with its chain) and private key, and the SHA-256 of the certificate in hex."""

    certificate: Path
    key: Path
    fingerprint: str

    def context(self) -> ssl.SSLContext:
        """For the server's side."""
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(self.certificate, self.key)
        return made


class Authority:
    """A certificate authority nobody else trusts; `ca_file` is its own certificate."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._ca = trustme.CA()
        self.ca_file = directory / "ca.pem"
        self._ca.cert_pem.write_to_path(str(self.ca_file))

    def server(self, *names: str) -> Certificate:
        """Valid for localhost and 127.0.0.1, or for the names given instead."""
        return self._issue("server", names or NAMES, None)

    def expired(self) -> Certificate:
        """For the right names, until yesterday."""
        return self._issue("expired", NAMES, datetime.now(UTC) - timedelta(days=1))

    def _issue(self, stem: str, names: tuple[str, ...], until: datetime | None) -> Certificate:
        since = until - timedelta(days=30) if until else None
        made = self._ca.issue_cert(*names, not_before=since, not_after=until)
        chain = b"".join(blob.bytes() for blob in made.cert_chain_pems)
        return _write(self._directory, "-".join((stem, *names)), chain, made.private_key_pem.bytes())


def self_signed(directory: Path) -> Certificate:
    """For the right names, signed by nobody but itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return _write(directory, "self-signed", made.public_bytes(serialization.Encoding.PEM), private)


def _write(directory: Path, stem: str, chain: bytes, key: bytes) -> Certificate:
    certificate_path, key_path = directory / f"{stem}.pem", directory / f"{stem}.key"
    certificate_path.write_bytes(chain)
    key_path.touch(0o600)
    key_path.write_bytes(key)
    end = b"-----END CERTIFICATE-----\n"
    leaf = ssl.PEM_cert_to_DER_cert((chain.partition(end)[0] + end).decode())
    return Certificate(certificate_path, key_path, hashlib.sha256(leaf).hexdigest())
