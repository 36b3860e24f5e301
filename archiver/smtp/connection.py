"""From a configured server to a session that may send."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator

from archiver import trust
from archiver.config import SmtpServer
from archiver.errors import ProtocolError, TlsError, UsageError
from archiver.smtp.login import log_in
from archiver.smtp.session import Session
from archiver.smtp.translate import one_line, reply_error, translated, where
from archiver.smtp.wire import Wire

_QUIT_SECONDS = 5


@contextlib.contextmanager
def connect(server: SmtpServer, secret: str | Callable[[], str] | None) -> Iterator[Session]:
    """A session that is encrypted as configured and logged in when the server has a `user`.

    `secret` is the password or the token, or what fetches it, which is asked when the server is there.
    Raises ServerError kinds (ConnectError, TlsError, LoginError, UnavailableError, RefusedError,
    ProtocolError) before the body runs; what the body raises passes unchanged. Ends with QUIT, whose answer
    changes nothing; after an exception the line is cut instead, so that half a message is never completed.
    """
    if server.user is not None and secret is None:
        raise UsageError(f"{where(server)}: a password is needed to log in as {server.user}")
    fetch = secret if callable(secret) else lambda: secret or ""
    wire, encrypted = _open(server)
    try:
        if server.user is not None:
            with translated(server):
                log_in(wire, server, fetch, encrypted=encrypted)
        yield Session(wire, server)
        _quit(wire)
    finally:
        wire.close()


def _open(server: SmtpServer) -> tuple[Wire, bool]:
    """The connection after EHLO, and whether it is encrypted."""
    with contextlib.ExitStack() as undo, translated(server, connecting=True):
        address = (server.host.strip("[]"), server.port)
        sock = socket.create_connection(address, timeout=server.connect_timeout)
        undo.callback(sock.close)
        # The end of a message goes out in a packet of its own, at once.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if server.security == "tls":
            sock = _encrypt(sock, server)
        wire = Wire(sock)
        undo.callback(wire.close)
        wire.patience(server.read_timeout)
        _greet(wire, server)
        if server.security == "starttls":
            _start_tls(wire, server)
        undo.pop_all()
    return wire, server.security != "none"


def _encrypt(plain: socket.socket, server: SmtpServer) -> ssl.SSLSocket:
    """The socket after a TLS handshake (RFC 8314) whose certificate was accepted; `plain` is used up."""
    encrypted = trust.context(server).wrap_socket(plain, server_hostname=server.host.strip("[]"))
    try:
        trust.check(server, encrypted.getpeercert(binary_form=True))
    except TlsError:
        encrypted.close()
        raise
    return encrypted


def _greet(wire: Wire, server: SmtpServer) -> None:
    code, text = wire.getreply()
    if code != 220:
        raise reply_error(server, "connecting", code, one_line(text))
    _hello(wire, server)


def _hello(wire: Wire, server: SmtpServer) -> None:
    code, text = wire.ehlo()
    if 500 <= code <= 599 and server.security == "none":
        # A server from before ESMTP: plain ASCII mail can still be sent.
        code, text = wire.helo()
    if not 200 <= code <= 299:
        raise reply_error(server, "EHLO", code, one_line(text))


def _start_tls(wire: Wire, server: SmtpServer) -> None:
    """STARTTLS (RFC 3207) or no connection: never on in clear. What was said before it is forgotten."""
    if not wire.has_extn("starttls"):
        raise TlsError(
            f"{where(server)}: the server does not offer STARTTLS",
            hint="use security: tls (port 465) if it has that; mail is never sent in clear instead",
        )
    code, text = wire.docmd("STARTTLS")
    if 500 <= code <= 599:
        raise TlsError(
            f"{where(server)}: STARTTLS answered {code} {one_line(text)}",
            hint="use security: tls (port 465) if the server has that",
        )
    if code != 220:
        raise reply_error(server, "STARTTLS", code, one_line(text))
    sock = wire.sock
    if sock is None:
        raise ProtocolError(f"{where(server)}: the server closed the connection at STARTTLS")
    wire.patience(server.connect_timeout)
    wire.swap(_encrypt(sock, server))
    wire.patience(server.read_timeout)
    _hello(wire, server)


def _quit(wire: Wire) -> None:
    if not wire.alive:
        return
    wire.patience(_QUIT_SECONDS)
    try:
        wire.docmd("QUIT")
    except OSError:
        # Every message has its answer by now.
        pass
