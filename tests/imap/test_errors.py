"""Every foreign exception of the IMAP edge becomes one of ours."""

from __future__ import annotations

import imaplib
import inspect
import socket
import ssl
from collections.abc import Iterator

import imapclient.exceptions
import imapclient.response_parser
import pytest

from archiver.errors import (
    ConnectError,
    ConnectionLostError,
    FolderError,
    LoginError,
    ProtocolError,
    ServerError,
    TlsError,
    UnavailableError,
)
from archiver.imap.errors import explain, one_line, refusal, translate

SERVER = "imap.example.org:993"


def raised_by(module: object) -> Iterator[type[Exception]]:
    """The public exception classes a module defines or re-exports, and those inside its classes."""
    for name, member in inspect.getmembers(module, inspect.isclass):
        if name.startswith("_"):
            continue
        if issubclass(member, Exception):
            yield member
        elif member.__module__ == getattr(module, "__name__", None):
            for _, inner in inspect.getmembers(member, inspect.isclass):
                if issubclass(inner, Exception):
                    yield inner


def subclasses(kind: type[Exception]) -> Iterator[type[Exception]]:
    yield kind
    for each in kind.__subclasses__():
        yield from subclasses(each)


FOREIGN = sorted(
    {
        *raised_by(imaplib),
        *raised_by(imapclient.exceptions),
        *raised_by(ssl),
        *raised_by(socket),
        *subclasses(OSError),
        UnicodeEncodeError,
        UnicodeDecodeError,
        ValueError,
        IndexError,
        KeyError,
        TypeError,
    },
    key=lambda kind: (kind.__module__, kind.__qualname__),
)
# How a class is made where a text alone is not enough.
ARGUMENTS: dict[type, tuple[object, ...]] = {
    UnicodeEncodeError: ("ascii", "x", 0, 1, "secret text"),
    UnicodeDecodeError: ("ascii", b"x", 0, 1, "secret text"),
}


@pytest.mark.parametrize("kind", FOREIGN, ids=lambda kind: f"{kind.__module__}.{kind.__qualname__}")
def test_each_class_becomes_an_error_of_ours(kind: type[Exception]) -> None:
    try:
        foreign = kind(*ARGUMENTS.get(kind, ("text",)))
    except TypeError:
        foreign = kind.__new__(kind)  # wants arguments nobody outside its module can guess
    with pytest.raises(ServerError) as caught, translate(SERVER):
        raise foreign
    assert caught.value.__cause__ is foreign
    assert SERVER in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.exit_code in (1, 75)


def test_the_walk_finds_what_it_should() -> None:
    assert {
        imaplib.IMAP4.abort,
        imaplib.IMAP4.readonly,
        imapclient.exceptions.LoginError,
        imapclient.exceptions.ProtocolError,
        ssl.SSLCertVerificationError,
        ssl.SSLZeroReturnError,
        socket.gaierror,
        socket.herror,
        TimeoutError,
        BrokenPipeError,
    } <= set(FOREIGN)


def test_errors_of_ours_and_bugs_pass_as_they_are() -> None:
    for exc in (FolderError("x"), AttributeError("x"), KeyboardInterrupt()):
        with pytest.raises(type(exc)) as caught, translate(SERVER):
            raise exc
        assert caught.value is exc


@pytest.mark.parametrize(
    ("foreign", "ours", "words", "hint"),
    [
        (socket.gaierror(-2, "Name or service not known"), ConnectError, "unknown host", "check the name"),
        (ConnectionRefusedError(111, "refused"), ConnectError, "refuses connections", "check host and port"),
        (TimeoutError("timed out"), ConnectionLostError, "fell silent", "read_timeout"),
        (ConnectionResetError(104, "Connection reset by peer"), ConnectionLostError, "lost", None),
        (ssl.SSLEOFError(8, "EOF"), ConnectionLostError, "closed the encrypted connection", "port"),
        (ssl.SSLZeroReturnError(6, "x"), ConnectionLostError, "closed the encrypted connection", "port"),
        (ssl.SSLError(1, "x"), TlsError, "no encrypted connection", "check port and security"),
        (imaplib.IMAP4.abort("socket error: EOF"), ConnectionLostError, "closed the connection", None),
        (imaplib.IMAP4.abort("BYE [THROTTLED] later"), UnavailableError, "THROTTLED", "try again later"),
        (imaplib.IMAP4.error("NO [UNAVAILABLE] x"), UnavailableError, "UNAVAILABLE", "try again later"),
        (imaplib.IMAP4.error("BAD what"), ProtocolError, "BAD what", None),
        (IndexError("x"), ProtocolError, "cannot be understood (IndexError)", None),
    ],
    ids=repr,
)
def test_says_what_happened_and_what_to_do(
    foreign: Exception, ours: type[ServerError], words: str, hint: str | None
) -> None:
    error = explain(foreign, SERVER)
    assert type(error) is ours
    assert words in error.message
    assert hint is None or (error.hint and hint in error.hint)
    assert error.transient == (ours in (ConnectError, ConnectionLostError, UnavailableError))
    assert error.exit_code == (75 if error.transient else 1)


def test_a_login_that_is_refused_is_not_a_server_that_is_busy() -> None:
    assert isinstance(refusal("NO [AUTHENTICATIONFAILED] no", SERVER, login=True), LoginError)
    assert isinstance(refusal("NO [UNAVAILABLE] no", SERVER, login=True), UnavailableError)
    assert isinstance(refusal("NO too many connections", SERVER, login=True), UnavailableError)


def test_a_servers_words_are_one_clean_line() -> None:
    text = one_line("NO \x1b[31mred\r\nA1 OK\u2028" + "x" * 1000)
    assert text.isprintable()
    assert len(text) <= 200
    assert one_line("b'quoted by imaplib'") == "quoted by imaplib"
