"""The one place where what smtplib, ssl and sockets raise becomes this project's errors."""

from __future__ import annotations

import smtplib
import socket
import ssl
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from archiver.config import SmtpServer
from archiver.errors import (
    ArchiverError,
    ConfigError,
    ConnectError,
    ConnectionLostError,
    LoginError,
    ProtocolError,
    RefusedError,
    TlsError,
    UnavailableError,
    UsageError,
)

_MAX_REPLY = 300
_PRIVATE = (
    "for a private server put its authority into ca_file, or its certificate's SHA-256 into fingerprint"
)
_CERTIFICATE_HINTS = {
    9: "check this machine's clock",
    10: "the server's certificate must be renewed; check this machine's clock too",
    62: "put the name that the certificate is made for into host",
    64: "put the name that the certificate is made for into host",
}
# What OpenSSL calls the answer of a server that spoke in clear.
_NOT_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST")


@contextmanager
def translated(server: SmtpServer, *, connecting: bool = False) -> Iterator[None]:
    """Raise every foreign exception of the body as one of ours, the foreign one chained."""
    try:
        yield
    except (OSError, ValueError) as exc:
        raise translate(exc, server, connecting=connecting) from exc


def translate(exc: OSError | ValueError, server: SmtpServer, *, connecting: bool = False) -> ArchiverError:
    """Our error for a foreign one.

    smtplib's and ssl's are kinds of OSError; text that cannot be encoded is a ValueError.
    """
    rule = next(rule for kind, rule in RULES if isinstance(exc, kind))
    return rule(exc, server, connecting)


def where(server: SmtpServer) -> str:
    return f"{server.host}:{server.port}"


def one_line(reply: bytes) -> str:
    """A server's reply as one printable line of at most 300 characters."""
    text = reply.decode("utf-8", "replace")
    if not text.isprintable():
        text = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in text)
    kept = " ".join(text.split())
    return kept if len(kept) <= _MAX_REPLY else kept[: _MAX_REPLY - 1] + "…"


def reply_error(server: SmtpServer, to: str, code: int, text: str) -> ArchiverError:
    """The error for an unwelcome reply to `to` (a command's name, or `connecting`)."""
    said = f"{where(server)}: {to} answered {code} {text}".rstrip()
    if 400 <= code <= 499:
        return UnavailableError(said, hint="the server asks to try again later")
    if 500 <= code <= 599:
        return RefusedError(said, code=code)
    return ProtocolError(
        f"{where(server)}: {to}: a reply that is not SMTP", hint="check host, port and security"
    )


def _certificate(exc: Exception, server: SmtpServer, connecting: bool) -> ArchiverError:
    # Not every one that the ssl module makes has these.
    reason = getattr(exc, "verify_message", "") or "it cannot be verified"
    return TlsError(
        f"{where(server)}: certificate refused: {reason}",
        hint=_CERTIFICATE_HINTS.get(getattr(exc, "verify_code", 0), _PRIVATE),
    )


def _tls(exc: Exception, server: SmtpServer, connecting: bool) -> ArchiverError:
    reason = getattr(exc, "reason", None) or "TLS failed"
    if isinstance(exc, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return _ended(exc, server, connecting)
    if reason in _NOT_TLS:
        return TlsError(
            f"{where(server)}: the server does not speak TLS on this port",
            hint="security: tls is for port 465, security: starttls for port 587",
        )
    return TlsError(
        f"{where(server)}: no encrypted connection: {reason}",
        hint="the server must offer TLS 1.2 or later",
    )


def _disconnected(exc: Exception, server: SmtpServer, connecting: bool) -> ArchiverError:
    cause = exc.__cause__ or exc.__context__
    if isinstance(cause, OSError) and not isinstance(cause, smtplib.SMTPException):
        return translate(cause, server, connecting=connecting)
    return _ended(exc, server, connecting)


def _ended(exc: Exception, server: SmtpServer, connecting: bool) -> ArchiverError:
    kind = ConnectError if connecting else ConnectionLostError
    return kind(f"{where(server)}: the server closed the connection", hint="try again later")


def _login(exc: Exception, server: SmtpServer, connecting: bool) -> ArchiverError:
    return LoginError(f"{where(server)}: login refused", hint="check user and password")


def _reply(exc: Exception, server: SmtpServer, connecting: bool) -> ArchiverError:
    assert isinstance(exc, smtplib.SMTPResponseException)
    text = exc.smtp_error if isinstance(exc.smtp_error, bytes) else str(exc.smtp_error).encode()
    return reply_error(server, "the server", exc.smtp_code, one_line(text))


def _nonsense(exc: Exception, server: SmtpServer, connecting: bool) -> ArchiverError:
    return ProtocolError(
        f"{where(server)}: the server's answer cannot be understood", hint="check host, port and security"
    )


def _unknown_host(exc: Exception, server: SmtpServer, connecting: bool) -> ArchiverError:
    return ConnectError(f"{where(server)}: unknown host", hint="check host, and that the network is up")


def _silent(exc: Exception, server: SmtpServer, connecting: bool) -> ArchiverError:
    if connecting:
        return ConnectError(
            f"{where(server)}: no answer in time",
            hint="check host, port and security; connect_timeout and read_timeout say how long to wait",
        )
    return ConnectionLostError(f"{where(server)}: the server fell silent", hint="try again later")


def _network(exc: Exception, server: SmtpServer, connecting: bool) -> ArchiverError:
    assert isinstance(exc, OSError)
    reason = exc.strerror or "the connection failed"
    if connecting:
        return ConnectError(
            f"{where(server)}: cannot connect: {reason}", hint="check host, port and that the server is up"
        )
    return ConnectionLostError(f"{where(server)}: the connection was lost: {reason}", hint="try again later")


def _text(exc: Exception, server: SmtpServer, connecting: bool) -> ArchiverError:
    if connecting:
        return ConfigError(f"{where(server)}: not a host name", hint="check host")
    # Not the text of the cause: smtplib quotes the whole command in it.
    return UsageError("a command cannot hold these characters", hint="check addresses and user name")


_Rule = Callable[[Exception, SmtpServer, bool], ArchiverError]

# The first kind that fits decides.
RULES: tuple[tuple[type[Exception], _Rule], ...] = (
    (ssl.SSLCertVerificationError, _certificate),
    (ssl.SSLError, _tls),
    (smtplib.SMTPServerDisconnected, _disconnected),
    (smtplib.SMTPAuthenticationError, _login),
    (smtplib.SMTPConnectError, _reply),
    (smtplib.SMTPHeloError, _reply),
    (smtplib.SMTPSenderRefused, _reply),
    (smtplib.SMTPDataError, _reply),
    (smtplib.SMTPResponseException, _reply),
    (smtplib.SMTPRecipientsRefused, _nonsense),
    (smtplib.SMTPNotSupportedError, _nonsense),
    (smtplib.SMTPException, _nonsense),
    (socket.gaierror, _unknown_host),
    (TimeoutError, _silent),
    (OSError, _network),
    (ValueError, _text),
)
