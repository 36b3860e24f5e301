"""The one place where foreign exceptions of the IMAP edge become ours."""

from __future__ import annotations

import imaplib
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from archiver.errors import (
    ArchiverError,
    ConnectError,
    ConnectionLostError,
    ExpiredError,
    LoginError,
    ProtocolError,
    ServerError,
    TlsError,
    UnavailableError,
)

# Response codes (RFC 5530, 3; RFC 9208, 4.3; Gmail) and words that mean: later. Those of the first kind
# are about the whole session, the others may be about the one message or folder that was asked for.
_NOTHING_NOW = r"\[(OVERQUOTA|THROTTLED)\b|not connected|too many|rate limit|backoff"
_NOT_THIS_NOW = r"\[(UNAVAILABLE|INUSE|LIMIT|SERVERBUG)\b|try again|temporar"
_LATER = re.compile(f"{_NOTHING_NOW}|{_NOT_THIS_NOW}", re.IGNORECASE)
_NOTHING = re.compile(_NOTHING_NOW, re.IGNORECASE)
# What ends a session whose token has expired (RFC 5530, 3; Gmail; Microsoft 365).
_EXPIRED = re.compile(
    r"\[(AUTHENTICATIONFAILED|EXPIRED)\b|AccessToken"
    r"|\b(session|token|credentials?|login|authentication)"
    r" (is |has |was |has been )?(expired|invalidated|revoked)"
    r"|\blog ?in again|\bre-?authenticate",
    re.IGNORECASE,
)
_BACKOFF = re.compile(r"Suggested Backoff Time: (\d+) milliseconds", re.IGNORECASE)


# What parsers raise on answers they do not understand; the last two on literals of absurd sizes.
_PARSING = (UnicodeError, ValueError, IndexError, KeyError, TypeError, MemoryError, OverflowError)


@contextmanager
def translate(server: str) -> Iterator[None]:
    """Turn what imapclient, imaplib, ssl and sockets raise into errors of ours; `server` is host:port."""
    try:
        yield
    except ArchiverError:
        raise
    except (OSError, imaplib.IMAP4.error, *_PARSING) as exc:
        raise explain(exc, server) from exc


def explain(exc: Exception, server: str) -> ServerError:
    """The error of ours for a foreign one; never with more of the server's text than one clean line."""
    # The reasons are set by OpenSSL's side only: an SSLError made by Python code has none.
    if isinstance(exc, ssl.SSLCertVerificationError):
        reason = getattr(exc, "verify_message", "") or "unknown reason"
        return TlsError(
            f"the certificate of {server} is not trusted: {reason}",
            hint="for a private server set ca_file or fingerprint; else somebody may be listening",
        )
    if isinstance(exc, (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)):
        return ConnectionLostError(
            f"{server} closed the encrypted connection", hint="try again later; check port and security"
        )
    if isinstance(exc, ssl.SSLError):
        reason = (getattr(exc, "reason", "") or "handshake failed").lower().replace("_", " ")
        return TlsError(f"no encrypted connection to {server}: {reason}", hint="check port and security")
    if isinstance(exc, socket.gaierror):
        return ConnectError(f"unknown host in {server}", hint="check the name, and the network")
    if isinstance(exc, TimeoutError):
        return ConnectionLostError(f"{server} fell silent", hint="try again later, or raise read_timeout")
    if isinstance(exc, ConnectionRefusedError):
        return ConnectError(f"{server} refuses connections", hint="check host and port, or try again later")
    if isinstance(exc, OSError):
        return ConnectionLostError(f"lost the connection to {server}: {exc.strerror or 'closed'}")
    if isinstance(exc, imaplib.IMAP4.abort):
        return bye(str(exc), server)
    if isinstance(exc, imaplib.IMAP4.error):
        return refusal(str(exc), server)
    return ProtocolError(f"{server} answered something that cannot be understood ({type(exc).__name__})")


def refusal(text: str, server: str, *, login: bool = False) -> ServerError:
    """What a NO or BAD means: a login that is wrong or no longer good, a server that is busy, or neither."""
    text = one_line(text)
    if not login and _EXPIRED.search(text):
        return _expired(text, server)
    if _LATER.search(text):
        backoff = _BACKOFF.search(text)
        wait = int(backoff[1]) / 1000 if backoff else None
        return UnavailableError(f"{server} says: {text}", wait=wait, hint="try again later")
    if login:
        return LoginError(
            f"{server} refused the login: {text}",
            hint="check user and password; some providers want an app password",
        )
    return ProtocolError(f"{server} says: {text}")


def stops_all(text: str) -> bool:
    """Whether a NO or BAD is about the whole session: whatever is asked for next is refused as well."""
    return _NOTHING.search(text) is not None or _EXPIRED.search(text) is not None


def bye(text: str, server: str) -> ServerError:
    text = one_line(text)
    if _EXPIRED.search(text):
        return _expired(text, server)
    if _LATER.search(text):
        return UnavailableError(f"{server} says: {text}", hint="try again later")
    return ConnectionLostError(f"{server} closed the connection{': ' + text if text else ''}")


def _expired(text: str, server: str) -> ExpiredError:
    return ExpiredError(f"{server} wants a new login: {text}", hint="the next run logs in anew")


def one_line(text: str) -> str:
    """A server's words fit for a message: one line, printable, bounded."""
    if text.startswith(("b'", 'b"')):
        text = text[2:-1]
    return "".join(c if c.isprintable() else " " for c in text).strip()[:200]
