"""AUTH (RFC 4954) with a password (PLAIN, LOGIN, CRAM-MD5) or a token (OAUTHBEARER, XOAUTH2), as offered."""

from __future__ import annotations

import hmac
import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Generator

from archiver.config import SmtpServer
from archiver.errors import CredentialError, LoginError, UnavailableError
from archiver.smtp.translate import one_line, where
from archiver.smtp.wire import Wire

_NOT_SUPPORTED = 504
_WITH_TOKEN = ("OAUTHBEARER", "XOAUTH2")

_PASSWORD_ADVICE = "check user and password; some providers want an application password here"
_TOKEN_ADVICE = "the token has expired, or is for another user or purpose: get a new one"

# Yields responses; the first is the initial one or None; each further one answers the challenge sent in.
_Answers = Generator[bytes | None, bytes, None]


def log_in(wire: Wire, server: SmtpServer, secret: Callable[[], str], *, encrypted: bool) -> None:
    """Authenticate with the best mechanism that both sides know.

    With a password over an encrypted line PLAIN comes first, being the one every server gets right; in clear
    CRAM-MD5 does, and after it nothing weaker is tried. A token that is refused is fetched once more, since
    it may have expired. LoginError, UnavailableError; neither holds the secret, even if the server echoes it.
    """
    mechanisms = _choose(wire, server, encrypted)
    word = secret()
    refusal = _try(wire, server, mechanisms, word)
    if isinstance(refusal, LoginError) and server.token and (newer := secret()) != word:
        try:
            refusal = _try(wire, server, mechanisms, newer)
        except OSError:
            pass  # the server went away after its refusal, which says more
    if refusal:
        raise refusal


def _choose(wire: Wire, server: SmtpServer, encrypted: bool) -> list[str]:
    offered = wire.esmtp_features.get("auth", "").upper().split()
    order: tuple[str, ...] = _WITH_TOKEN
    if not server.token:
        order = ("PLAIN", "LOGIN", "CRAM-MD5") if encrypted else ("CRAM-MD5", "PLAIN", "LOGIN")
    mechanisms = [name for name in order if name in offered]
    if not mechanisms:
        raise _none_offered(server, offered)
    return mechanisms


def _try(
    wire: Wire, server: SmtpServer, mechanisms: list[str], word: str
) -> LoginError | UnavailableError | None:
    """Nothing when the server lets us in, else its refusal."""
    if any(c in (server.user or "") + word for c in "\r\n\0\1"):
        raise CredentialError(f"{where(server)}: user, password or token holds a line break, NUL or ^A")
    reason = ""
    for name in mechanisms:
        code, reply, reason = _exchange(wire, name, _ANSWERS[name](server, word))
        if code == 235:
            return None
        if code != _NOT_SUPPORTED:
            break
    said = _without_echo(reply, server.user or "", word)
    reason = _without_echo(reason.encode(), server.user or "", word)
    return _refused(server, code, f"{said} ({reason})" if reason else said)


def _exchange(wire: Wire, mechanism: str, answers: _Answers) -> tuple[int, bytes, str]:
    """The server's last reply, and why it takes no token, where it said so before.

    `answers` gives the response to each challenge, the first maybe at once.
    """
    first = next(answers)
    code, reply = wire.docmd("AUTH", mechanism + (f" {_encoded(first)}" if first is not None else ""))
    reason = ""
    while code == 334:
        try:
            challenge = b64decode(reply)
            response = answers.send(challenge)
        except (StopIteration, ValueError):
            code, reply = wire.docmd("*")
            code = code if 500 <= code <= 599 else 501
            return code, b"the server asked for more than the mechanism has", ""
        reason = _why(challenge) if mechanism in _WITH_TOKEN else ""
        code, reply = wire.docmd(_encoded(response or b""))
    return code, reply, reason


def _encoded(response: bytes) -> str:
    return b64encode(response).decode("ascii")


def _why(challenge: bytes) -> str:
    """The status, and the scope that was wanted, in the challenge of a refused token (RFC 7628, 3.2.2)."""
    try:
        told = json.loads(challenge)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(told, dict):
        return ""
    said = ", ".join(f"{key} {told[key]}" for key in ("status", "scope") if told.get(key))
    return one_line(said.encode("utf-8", "replace"))


def _plain(server: SmtpServer, word: str) -> _Answers:
    yield f"\0{server.user}\0{word}".encode()


def _login(server: SmtpServer, word: str) -> _Answers:
    yield None
    yield (server.user or "").encode()
    yield word.encode()


def _cram_md5(server: SmtpServer, word: str) -> _Answers:
    challenge = yield None
    digest = hmac.new(word.encode(), challenge, "md5").hexdigest()
    yield f"{server.user} {digest}".encode()


def _oauthbearer(server: SmtpServer, word: str) -> _Answers:
    """RFC 7628, 3.1; the second answer ends the exchange after a refusal (3.2.3)."""
    name = (server.user or "").replace("=", "=3D").replace(",", "=2C")
    place = f"host={server.host}\1port={server.port}"
    yield f"n,a={name},\1{place}\1auth=Bearer {word}\1\1".encode()
    yield b"\1"


def _xoauth2(server: SmtpServer, word: str) -> _Answers:
    """What Google and Microsoft had before OAUTHBEARER."""
    yield f"user={server.user}\1auth=Bearer {word}\1\1".encode()
    yield b""


_ANSWERS: dict[str, Callable[[SmtpServer, str], _Answers]] = {
    "PLAIN": _plain,
    "LOGIN": _login,
    "CRAM-MD5": _cram_md5,
    "OAUTHBEARER": _oauthbearer,
    "XOAUTH2": _xoauth2,
}


def _none_offered(server: SmtpServer, offered: list[str]) -> LoginError:
    if not offered:
        return LoginError(
            f"{where(server)}: the server offers no login on this connection",
            hint="use security: tls or starttls; or leave out user and password if it needs none",
        )
    listed = one_line(" ".join(offered).encode())
    if server.token:
        return LoginError(
            f"{where(server)} takes no tokens; offered: {listed}", hint="use password: instead of token:"
        )
    tokens = any(name in offered for name in _WITH_TOKEN)
    return LoginError(
        f"{where(server)}: no common login mechanism; offered: {listed}",
        hint="use token: instead" if tokens else "PLAIN, LOGIN and CRAM-MD5 are known here",
    )


def _refused(server: SmtpServer, code: int, text: str) -> LoginError | UnavailableError:
    said = f"{where(server)}: login as {server.user} refused: {code} {text}".rstrip()
    if 400 <= code <= 499:
        return UnavailableError(said, hint="the server asks to try again later")
    return LoginError(said, hint=_TOKEN_ADVICE if server.token else _PASSWORD_ADVICE)


def _without_echo(reply: bytes, user: str, word: str) -> str:
    """The reply as one line, or nothing when the server repeats the secret in any form."""
    encoded = (_encoded(word.encode()), _encoded(f"\0{user}\0{word}".encode()))
    lowered = reply.lower()
    forms = [word.encode(), *(form[:8].encode() for form in encoded)]
    # Inside a longer text base64 has three forms, which differ by where a group of three begins.
    inside = (_encoded(b"\0" * lead + word.encode())[4 : 4 + 12].encode() for lead in range(3))
    forms += [form for form in inside if len(form) == 12]
    return "" if any(form.lower() in lowered for form in forms) else one_line(reply)
