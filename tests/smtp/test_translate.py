from __future__ import annotations

import inspect
import smtplib
import socket
import ssl

import pytest

from archiver.config import SmtpServer
from archiver.errors import (
    ArchiverError,
    ConnectError,
    ConnectionLostError,
    LoginError,
    ProtocolError,
    RefusedError,
    TlsError,
    UnavailableError,
)
from archiver.smtp.translate import RULES, one_line, reply_error, translate, translated

SERVER = SmtpServer(host="smtp.example.org", from_="me@example.org")

SMTPLIB = [
    kind
    for _, kind in inspect.getmembers(smtplib, inspect.isclass)
    if issubclass(kind, Exception) and kind.__module__ == "smtplib"
]


def instance(kind: type[Exception]) -> Exception:
    if kind is smtplib.SMTPSenderRefused:
        return smtplib.SMTPSenderRefused(550, b"no", "me@example.org")
    if kind is smtplib.SMTPRecipientsRefused:
        return smtplib.SMTPRecipientsRefused({"you@example.org": (550, b"no")})
    if issubclass(kind, smtplib.SMTPResponseException):
        return kind(550, b"no")
    return kind("no")


def test_smtplib_raises_what_we_know() -> None:
    assert len(SMTPLIB) >= 10


@pytest.mark.parametrize("kind", SMTPLIB)
def test_every_exception_of_smtplib_has_a_rule_of_its_own(kind: type[Exception]) -> None:
    assert kind in [known for known, _ in RULES]
    exc = instance(kind)
    assert isinstance(exc, OSError)
    made = translate(exc, SERVER)
    assert type(made) is not ArchiverError
    assert "smtp.example.org:465" in str(made)
    assert made.hint or isinstance(made, RefusedError)


@pytest.mark.parametrize(
    "kind",
    [
        *(ssl.SSLError, ssl.SSLCertVerificationError, ssl.SSLEOFError, ssl.SSLZeroReturnError),
        *(socket.gaierror, socket.herror, TimeoutError, ConnectionResetError, BrokenPipeError),
        *(OSError, ValueError, UnicodeError),
    ],
)
@pytest.mark.parametrize("connecting", [True, False])
def test_every_exception_of_sockets_and_tls_becomes_ours(kind: type[Exception], connecting: bool) -> None:
    with pytest.raises(ArchiverError) as caught, translated(SERVER, connecting=connecting):
        raise kind()
    assert isinstance(caught.value.__cause__, kind)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("exc", "expected"),
    [
        (smtplib.SMTPServerDisconnected("x"), ConnectionLostError),
        (smtplib.SMTPAuthenticationError(535, b"no"), LoginError),
        (smtplib.SMTPConnectError(421, b"busy"), UnavailableError),
        (smtplib.SMTPConnectError(554, b"go away"), RefusedError),
        (smtplib.SMTPDataError(-1, b"?"), ProtocolError),
        (ssl.SSLError(1, "unsupported protocol"), TlsError),
        (ssl.SSLEOFError(8, "EOF"), ConnectionLostError),
        (socket.gaierror(-2, "unknown"), ConnectError),
        (TimeoutError(), ConnectionLostError),
    ],
)
def test_the_most_specific_class_is_chosen(exc: OSError, expected: type[ArchiverError]) -> None:
    assert type(translate(exc, SERVER)) is expected


def test_the_reason_for_a_disconnection_is_told() -> None:
    lost = smtplib.SMTPServerDisconnected("closed")
    lost.__cause__ = TimeoutError()
    assert "silent" in translate(lost, SERVER).message


def test_what_is_ours_passes() -> None:
    mine = LoginError("mine")
    with pytest.raises(LoginError) as caught, translated(SERVER):
        raise mine
    assert caught.value is mine


def test_a_command_is_never_quoted() -> None:
    with pytest.raises(ArchiverError) as caught, translated(SERVER):
        raise ValueError("command and arguments contain prohibited newline characters: AUTH PLAIN c2VjcmV0")
    assert "c2VjcmV0" not in str(caught.value)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (421, UnavailableError),
        (454, UnavailableError),
        (554, RefusedError),
        (-1, ProtocolError),
        (354, ProtocolError),
    ],
)
def test_a_reply_is_judged_by_its_code(code: int, expected: type[ArchiverError]) -> None:
    assert type(reply_error(SERVER, "EHLO", code, "text")) is expected


def test_a_reply_becomes_one_short_harmless_line() -> None:
    assert one_line(b"first\nsecond\x1b[31m\t red\xff") == "first second [31m red\ufffd"
    assert len(one_line(b"x" * 5000)) == 300
    assert one_line("a\u202eb\u2028c".encode()) == "a b c"
