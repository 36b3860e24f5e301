"""Encryption of a connection: by certificate authority and name, or by one known certificate."""

from __future__ import annotations

import hashlib
import socket
import ssl

from archiver.config import SmtpServer
from archiver.config.structs import plain_hex
from archiver.errors import ConfigError, ProtocolError, TlsError
from archiver.smtp.translate import where


def encrypt(plain: socket.socket, server: SmtpServer) -> ssl.SSLSocket:
    """The socket after a TLS handshake (RFC 8314) whose certificate was accepted; `plain` is used up.

    With `fingerprint` the SHA-256 of the server's own certificate replaces every other check.
    """
    encrypted = context(server).wrap_socket(plain, server_hostname=server.host.strip("[]"))
    if server.fingerprint is not None:
        try:
            _check_fingerprint(encrypted, server, server.fingerprint)
        except TlsError:
            encrypted.close()
            raise
    return encrypted


def context(server: SmtpServer) -> ssl.SSLContext:
    """TLS 1.2 or later, verified against `ca_file` alone or, without it, the system's authorities."""
    try:
        made = ssl.create_default_context(cafile=server.ca_file)
    except OSError as exc:
        raise ConfigError(
            f"{where(server)}: ca_file {server.ca_file} holds no certificate that can be read",
            hint="name a PEM file with the authority's certificate",
        ) from exc
    if server.fingerprint is not None:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    return made


def _check_fingerprint(encrypted: ssl.SSLSocket, server: SmtpServer, fingerprint: str) -> None:
    leaf = encrypted.getpeercert(binary_form=True)
    if leaf is None:
        raise ProtocolError(f"{where(server)}: the server showed no certificate")
    seen = hashlib.sha256(leaf).hexdigest()
    if seen != plain_hex(fingerprint):
        raise TlsError(
            f"{where(server)}: the certificate is not the one in fingerprint; this one has {seen}",
            hint="put the new one into the configuration if, and only if, the certificate was renewed",
        )
