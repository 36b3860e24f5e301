"""From a greeting to a session that may be trusted and used: STARTTLS, login, ID."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from typing import Any

from archiver import trust
from archiver.config import ImapServer
from archiver.errors import ExpiredError, LoginError, TlsError
from archiver.imap import sasl
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


def log_in(
    client: Any, exchange: Exchange, server: ImapServer, credential: Callable[[], str]
) -> tuple[str, ...]:
    """Log in with the best mechanism that both sides have; the capabilities from then on.

    `credential` gives the password or token, and is asked only where the server takes one. LoginError when
    refused, UnavailableError when refused for now.
    """
    if client._imap.state == "AUTH":
        raise LoginError(f"{exchange.server} greets with PREAUTH: whose mailbox this is cannot be known")
    mechanism = sasl.choose(server, exchange.server, client.has_capability)
    try:
        if mechanism:
            at_once = mechanism != "LOGIN" and client.has_capability("SASL-IR")
            capabilities = _authenticate(exchange, mechanism, server, credential(), at_once)
        else:
            capabilities = _plain_login(exchange, server, credential())
    except ExpiredError as exc:
        raise LoginError(exc.message, hint=_advice(server)) from exc  # a BYE in place of a NO
    exchange.hidden = ()
    return capabilities or _asked_capabilities(exchange)


def _authenticate(
    exchange: Exchange, mechanism: str, server: ImapServer, word: str, at_once: bool
) -> tuple[str, ...]:
    left = deque(sasl.encoded(answer) for answer in sasl.answers(mechanism, server, word))
    # Some servers repeat what they refuse.
    exchange.hidden = (*(answer.decode() for answer in left if answer not in sasl.HARMLESS), word)
    command = b"AUTHENTICATE " + mechanism.encode()
    if at_once:
        # The answer with the question saves a round trip (RFC 4959).
        command += b" " + left.popleft()
    capabilities: tuple[str, ...] = ()
    reason = ""
    for line in exchange.ask(command):
        if line.text.startswith(b"+"):
            if mechanism in sasl.WITH_TOKEN and len(left) == 1:
                reason = exchange.said(sasl.why(line.text[1:]))
            exchange.raw(left.popleft() if left else b"*")
        capabilities = _capabilities(line) or capabilities
    _insist(exchange, line, server, reason)
    return capabilities


def _plain_login(exchange: Exchange, server: ImapServer, password: str) -> tuple[str, ...]:
    user = server.user
    if not (user + password).isascii():
        raise LoginError(f"{exchange.server} takes no letters beyond ASCII in user and password")
    exchange.hidden = (quoted(password)[1:-1].decode(), password)
    capabilities: tuple[str, ...] = ()
    for line in exchange.ask(b"LOGIN %b %b" % (quoted(user), quoted(password))):
        capabilities = _capabilities(line) or capabilities
    _insist(exchange, line, server)
    return capabilities


def _insist(exchange: Exchange, tagged: Line, server: ImapServer, reason: str = "") -> None:
    """Nothing after an OK; after NO or BAD what it means, with the reason the server gave before."""
    if exchange.ok(tagged):
        return
    said = exchange.words(tagged)
    error = refusal(f"{said} ({reason})" if reason else said, exchange.server, login=True)
    if isinstance(error, LoginError):
        error.hint = _advice(server)
    raise error


def _advice(server: ImapServer) -> str:
    if server.token:
        return "the token has expired, or is for another user or purpose: get a new one"
    if server.preset:
        from archiver.presets import find

        if preset := find(server.preset):
            return f"{preset.title} takes: {preset.login}; {preset.where}"
    return "check user and password; some providers want an app password"


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
