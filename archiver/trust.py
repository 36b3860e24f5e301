"""Whom to trust: the system's authorities, a private one, or one certificate by its fingerprint."""

from __future__ import annotations

import hashlib
import hmac
import ssl

from archiver.config import Server
from archiver.config.structs import plain_hex
from archiver.errors import ConfigError, TlsError


def context(server: Server) -> ssl.SSLContext:
    """A verifying context, TLS 1.2 or later: `ca_file` alone or, without it, the system's authorities.

    With a fingerprint it lets every certificate pass: `check` must follow the handshake.
    """
    try:
        made = ssl.create_default_context(cafile=server.ca_file)
    except OSError as exc:
        raise ConfigError(
            f"{server.host}: ca_file {server.ca_file} holds no certificate that can be read",
            hint="name a PEM file with the authority's certificate",
        ) from exc
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if server.fingerprint is not None:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    return made


def check(server: Server, certificate: bytes | None) -> None:
    """TlsError unless the server's own certificate (DER) is the one in `fingerprint`, if there is one."""
    if server.fingerprint is None:
        return
    if not certificate:
        raise TlsError(f"{server.host} showed no certificate")
    seen = hashlib.sha256(certificate).hexdigest()
    if not hmac.compare_digest(seen, plain_hex(server.fingerprint)):
        raise TlsError(
            f"{server.host}: the certificate is not the one in fingerprint; this one has {seen}",
            hint="put it into the configuration if, and only if, the certificate was renewed",
        )
