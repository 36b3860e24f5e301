"""The first words on a line, up to the login: by imapclient, within bounds.

imaplib keeps every word of them, and reads on for as long as the server speaks.
"""

from __future__ import annotations

import imaplib
import socket
import ssl
from typing import Any

import imapclient
from imapclient.imap4 import IMAP4WithTimeout
from imapclient.tls import IMAP4_TLS

from archiver.config import ImapServer
from archiver.errors import ConnectionLostError, ProtocolError

# A greeting and some lists of capabilities are a hundredth of this.
_MOST_BYTES = 1 << 18


class _Brief(imaplib.IMAP4):
    """Mixed into imapclient's connections: ProtocolError for a server that says too much."""

    _heard = 0

    def read(self, size: int) -> bytes:
        self._count(size)
        return super().read(size)

    def readline(self) -> bytes:
        line = super().readline()
        self._count(len(line))
        return line

    def _count(self, size: int) -> None:
        self._heard += size
        if self._heard > _MOST_BYTES:
            raise ProtocolError(
                f"{self.host}:{self.port} says more than {_MOST_BYTES:,} bytes before the login",
                hint="check host and port: this is no mail server",
            )


class _Clear(_Brief, IMAP4WithTimeout):  # type: ignore[misc]
    """In clear, at first or for ever."""


class _Encrypted(_Brief, IMAP4_TLS):  # type: ignore[misc]
    """Encrypted from the first byte."""


class _Client(imapclient.IMAPClient):  # type: ignore[misc]
    def _create_IMAP4(self) -> imaplib.IMAP4:
        timeout = self._timeout.connect
        if self.ssl:
            return _Encrypted(self.host, self.port, self.ssl_context, timeout)  # type: ignore[call-arg]
        return _Clear(self.host, self.port, timeout)


def meet(server: ImapServer, context: ssl.SSLContext | None) -> Any:
    """An imapclient.IMAPClient that has heard the greeting and what the server can do."""
    timeout = imapclient.SocketTimeout(connect=server.connect_timeout, read=server.read_timeout)
    try:
        client = _Client(
            server.host.strip("[]"),  # around an address of IPv6
            server.port,
            ssl=server.security == "tls",
            ssl_context=context,
            timeout=timeout,
        )
    except TimeoutError as exc:
        raise ConnectionLostError(
            f"{server.host}:{server.port} fell silent", hint="try again later, or raise connect_timeout"
        ) from exc
    # What is sent is sent whole: waiting for more to send with it (Nagle) costs some servers' clients 45 ms.
    client.socket().setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client
