"""Whom to trust: the system's authorities, a private one, or one certificate by its fingerprint."""

from __future__ import annotations

import hashlib
import hmac
import ssl

from archiver.config import Server
from archiver.errors import TlsError


def context(server: Server) -> ssl.SSLContext:
    """A verifying context, TLS 1.2 or later; with a fingerprint, `check` must follow the handshake."""
    try:
        made = ssl.create_default_context(cafile=server.ca_file)
    except (ssl.SSLError, OSError) as exc:
        raise TlsError(
            f"cannot use ca_file {server.ca_file}", hint="it must hold certificates in PEM"
        ) from exc
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if server.fingerprint:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    return made


def check(server: Server, certificate: bytes | None) -> None:
    """Compare the certificate (DER) with the configured fingerprint; TlsError when they differ."""
    if not server.fingerprint:
        return
    from archiver.config.structs import plain_hex

    seen = hashlib.sha256(certificate or b"").hexdigest()
    if not certificate or not hmac.compare_digest(seen, plain_hex(server.fingerprint)):
        raise TlsError(
            f"the certificate of {server.host} has another fingerprint: {seen}",
            hint="put it into the configuration only if you know that the certificate was renewed",
        )
