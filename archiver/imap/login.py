"""From a greeting to a session that may be trusted and used: STARTTLS, login, ID."""

from __future__ import annotations

import base64
import re
from typing import Any

from archiver import trust
from archiver.config import ImapServer
from archiver.errors import LoginError, TlsError, UsageError
from archiver.imap.errors import one_line, refusal
from archiver.imap.exchange import Exchange
from archiver.imap.names import quoted
from archiver.imap.wire import Line, values

_CAPABILITY = re.compile(rb"(?:\* +|\[)CAPABILITY +([^\]\r\n]*)", re.IGNORECASE)


def secure(client: Any, server: ImapServer, context: Any) -> None:
    """Encrypt before anything is said; a line that cannot be is given up (CVE-2020-37248)."""
    if server.security == "starttls":
        if client._imap.state != "NONAUTH":
            raise TlsError(f"{server.host} greets with PREAUTH, before encryption", hint="use security: tls")
        if not client.has_capability("STARTTLS"):
            raise TlsError(
                f"{server.host} does not offer STARTTLS", hint="use security: tls if the server has port 993"
            )
        _start_tls(client, server, context)
    if server.security != "none":
        trust.check(server, client.socket().getpeercert(binary_form=True))


def _start_tls(client: Any, server: ImapServer, context: Any) -> None:
    import imaplib

    try:
        client.starttls(context)
    except imaplib.IMAP4.abort:
        raise
    except imaplib.IMAP4.error as exc:
        raise TlsError(
            f"{server.host} refuses STARTTLS: {one_line(str(exc))}", hint="use security: tls"
        ) from exc


def log_in(client: Any, exchange: Exchange, user: str, password: str) -> tuple[str, ...]:
    """AUTHENTICATE PLAIN (RFC 4616) where the server has it, else LOGIN; the capabilities from then on.

    LoginError when refused, UnavailableError when refused for now.
    """
    plain = _chosen(client, exchange.server, user, password)
    whole = base64.b64encode(f"\0{user}\0{password}".encode())
    # Some servers repeat what they refuse.
    escaped = password.replace("\\", r"\\").replace('"', r"\"")
    exchange.hidden = (whole.decode(), escaped, password)
    # The answer with the question saves a round trip (RFC 4959).
    at_once = plain and client.has_capability("SASL-IR")
    command = b"AUTHENTICATE PLAIN" if plain else b"LOGIN %b %b" % (quoted(user), quoted(password))
    capabilities: tuple[str, ...] = ()
    for line in exchange.ask(command + b" " + whole if at_once else command):
        if plain and line.text.startswith(b"+"):
            exchange.raw(whole)
        capabilities = _capabilities(line) or capabilities
    if not exchange.ok(line):
        raise refusal(exchange.words(line), exchange.server, login=True)
    exchange.hidden = ()
    return capabilities or _asked_capabilities(exchange)


def _chosen(client: Any, server: str, user: str, password: str) -> bool:
    """Whether to use AUTHENTICATE PLAIN; errors for a login that cannot be tried."""
    if client._imap.state == "AUTH":
        raise LoginError(f"{server} greets with PREAUTH: whose mailbox this is cannot be known")
    if any(c in user + password for c in "\r\n\0"):
        raise UsageError("a user or password with a line break or NUL cannot be sent to a server")
    if client.has_capability("AUTH=PLAIN"):
        return True
    if client.has_capability("LOGINDISABLED"):
        raise LoginError(f"{server} allows no login here", hint="use security: tls or starttls")
    if not (user + password).isascii():
        raise LoginError(f"{server} takes no letters beyond ASCII in user and password")
    return False


def _capabilities(line: Line) -> tuple[str, ...]:
    match = _CAPABILITY.search(line.text)
    return tuple(sorted(match[1].decode("latin-1").upper().split())) if match else ()


def _asked_capabilities(exchange: Exchange) -> tuple[str, ...]:
    found: tuple[str, ...] = ()
    for line in exchange.ask(b"CAPABILITY"):
        found = _capabilities(line) or found
    exchange.insist(line)
    return found


def introduce(exchange: Exchange) -> str:
    """Send ID (RFC 2971); the server's name and version. A NO changes nothing.

    Only where the server knows ID; some of those let nobody in without.
    """
    from archiver import __version__

    identity = ""
    us = b'("name" "archiver" "version" %b "vendor" "archiver")' % quoted(__version__)
    for line in exchange.ask(b"ID " + us):
        if line.text[:5].upper() == b"* ID ":
            identity = _identity(line)
    return identity


def _identity(line: Line) -> str:
    pairs = values(line.text[5:], line.literals)[0]
    words = [word.decode("utf-8", "replace") if isinstance(word, bytes) else "" for word in pairs or ()]
    fields = dict(zip((word.lower() for word in words[::2]), words[1::2], strict=False))
    return one_line(" ".join(filter(None, (fields.get("name"), fields.get("version")))))[:100]
