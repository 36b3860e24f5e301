"""What is said to log in, mechanism by mechanism (RFC 9051, 6.2.2)."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable

from archiver.config import ImapServer
from archiver.errors import LoginError, UsageError
from archiver.imap.errors import one_line

WITH_TOKEN = ("OAUTHBEARER", "XOAUTH2")
# Answers to the refusal of a token, encoded: they say nothing.
HARMLESS = (b"", b"AQ==")


def choose(server: ImapServer, where: str, has: Callable[[str], bool]) -> str:
    """The mechanism to use; "" for the command LOGIN. LoginError when the server has none that would do.

    `has` says whether the server announces a capability.
    """
    offered = [name for name in (*WITH_TOKEN, "PLAIN", "LOGIN") if has(f"AUTH={name}")]
    if server.token:
        if offered[:1] and offered[0] in WITH_TOKEN:
            return offered[0]
        raise LoginError(f"{where} takes no tokens", hint="use password: instead of token:")
    if "PLAIN" in offered:
        return "PLAIN"
    if not has("LOGINDISABLED"):
        return ""
    if "LOGIN" in offered:
        return "LOGIN"
    raise LoginError(
        f"{where} allows no login with a password here",
        hint="use token: instead" if offered else "use security: tls or starttls",
    )


def answers(mechanism: str, server: ImapServer, word: str) -> tuple[bytes, ...]:
    """What the client says, in order; the first may go with the command (RFC 4959) unless it is LOGIN's.

    PLAIN: RFC 4616. OAUTHBEARER: RFC 7628, 3.1; XOAUTH2 is what Google and Microsoft had before it. The
    second answer of these two is to the challenge that tells why the token is refused (RFC 7628, 3.2.3).
    """
    if any(c in server.user + word for c in "\r\n\0\1"):
        raise UsageError("a user, password or token with a line break, NUL or ^A cannot be sent to a server")
    user = server.user
    if mechanism == "PLAIN":
        return (f"\0{user}\0{word}".encode(),)
    if mechanism == "LOGIN":
        return (user.encode(), word.encode())
    if mechanism == "XOAUTH2":
        return (f"user={user}\1auth=Bearer {word}\1\1".encode(), b"")
    name = user.replace("=", "=3D").replace(",", "=2C")
    place = f"host={server.host}\1port={server.port}"
    return (f"n,a={name},\1{place}\1auth=Bearer {word}\1\1".encode(), b"\1")


def encoded(answer: bytes) -> bytes:
    return base64.b64encode(answer)


def why(challenge: bytes) -> str:
    """The status, and the scope that was wanted, in the challenge of a refused token; "" when it has none."""
    try:
        told = json.loads(base64.b64decode(challenge.strip()))
    except (binascii.Error, ValueError, RecursionError):
        return ""
    if not isinstance(told, dict):
        return ""
    return one_line(", ".join(f"{key} {told[key]}" for key in ("status", "scope") if told.get(key)))
