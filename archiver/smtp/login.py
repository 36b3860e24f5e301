"""AUTH (RFC 4954): PLAIN, LOGIN and CRAM-MD5, as offered."""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from collections.abc import Callable, Generator

from archiver.config import SmtpServer
from archiver.errors import CredentialError, LoginError, UnavailableError
from archiver.smtp.translate import one_line, where
from archiver.smtp.wire import Wire

_NOT_SUPPORTED = 504

# Yields responses; the first is the initial one or None; each further one answers the challenge sent in.
_Answers = Generator[bytes | None, bytes, None]


def log_in(wire: Wire, server: SmtpServer, user: str, password: str, *, encrypted: bool) -> None:
    """Authenticate with the best mechanism that both sides know.

    Over an encrypted line PLAIN comes first, being the one every server gets right; in clear CRAM-MD5 does,
    and after it nothing weaker is tried. LoginError, UnavailableError; neither holds the secret, even if
    the server echoes it.
    """
    if "\0" in user + password:
        raise CredentialError(f"{where(server)}: user or password holds a NUL")
    offered = wire.esmtp_features.get("auth", "").upper().split()
    order = ("PLAIN", "LOGIN", "CRAM-MD5") if encrypted else ("CRAM-MD5", "PLAIN", "LOGIN")
    mechanisms = [name for name in order if name in offered]
    if not mechanisms:
        raise _none_offered(server, offered)
    for name in mechanisms:
        code, reply = _exchange(wire, name, _ANSWERS[name](user, password))
        if code == 235:
            return
        if code != _NOT_SUPPORTED:
            break
    raise _refused(server, code, _without_echo(reply, user, password))


def _exchange(wire: Wire, mechanism: str, answers: _Answers) -> tuple[int, bytes]:
    """The server's last reply. `answers` gives the response to each challenge, the first maybe at once."""
    first = next(answers)
    code, reply = wire.docmd("AUTH", mechanism + (f" {_encoded(first)}" if first is not None else ""))
    while code == 334:
        try:
            response = answers.send(b64decode(reply))
        except (StopIteration, ValueError):
            code, reply = wire.docmd("*")
            return (code if 500 <= code <= 599 else 501), b"the server asked for more than the mechanism has"
        code, reply = wire.docmd(_encoded(response or b""))
    return code, reply


def _encoded(response: bytes) -> str:
    return b64encode(response).decode("ascii")


def _plain(user: str, password: str) -> _Answers:
    yield f"\0{user}\0{password}".encode()


def _login(user: str, password: str) -> _Answers:
    yield None
    yield user.encode()
    yield password.encode()


def _cram_md5(user: str, password: str) -> _Answers:
    challenge = yield None
    digest = hmac.new(password.encode(), challenge, "md5").hexdigest()
    yield f"{user} {digest}".encode()


_ANSWERS: dict[str, Callable[[str, str], _Answers]] = {
    "PLAIN": _plain,
    "LOGIN": _login,
    "CRAM-MD5": _cram_md5,
}


def _none_offered(server: SmtpServer, offered: list[str]) -> LoginError:
    if not offered:
        return LoginError(
            f"{where(server)}: the server offers no login on this connection",
            hint="use security: tls or starttls; or leave out user and password if it needs none",
        )
    return LoginError(
        f"{where(server)}: no common login mechanism; offered: {one_line(' '.join(offered).encode())}",
        hint="PLAIN, LOGIN and CRAM-MD5 are known here",
    )


def _refused(server: SmtpServer, code: int, text: str) -> LoginError | UnavailableError:
    said = f"{where(server)}: login as {server.user} refused: {code} {text}".rstrip()
    if 400 <= code <= 499:
        return UnavailableError(said, hint="the server asks to try again later")
    return LoginError(said, hint="check user and password; some providers want an application password here")


def _without_echo(reply: bytes, user: str, password: str) -> str:
    """The reply as one line, or nothing when the server repeats the secret in any form."""
    encoded = (_encoded(password.encode()), _encoded(f"\0{user}\0{password}".encode()))
    lowered = reply.lower()
    forms = [password.encode(), *(form[:8].encode() for form in encoded)]
    return "" if any(form.lower() in lowered for form in forms) else one_line(reply)
