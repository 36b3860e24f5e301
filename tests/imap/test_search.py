"""UIDs by SEARCH RETURN (ALL) (RFC 4731): ranges, believed as far as they can be; else one line a message."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from archiver.imap import Connection, Mailbox
from tests.imap.conftest import Connect
from tests.servers.dovecot import User
from tests.servers.scripted import ScriptedServer, reply

INBOX = Mailbox("INBOX", "INBOX", "/")
Scripted = Callable[..., ScriptedServer]


@pytest.fixture
def server(scripted: Scripted) -> ScriptedServer:
    """Five messages in INBOX, UIDs 1 to 5, and ESEARCH."""
    made = scripted()
    made.account.late += ("ESEARCH",)
    for number in range(1, 6):
        made.folder().add(b"Subject: %d\r\n\r\n" % number)
    return made


def examined(server: ScriptedServer, log_in: Connect) -> Connection:
    connection = log_in(server)
    connection.examine(INBOX)
    return connection


def found(what: str) -> str:
    return f'* ESEARCH (TAG "{{tag}}") UID {what}'


@pytest.mark.parametrize(
    ("answer", "uids"),
    [
        (found("ALL 3:5"), [3, 4, 5]),
        (found("ALL 5,3:4"), [3, 4, 5]),
        (found("ALL 4:3,5"), [3, 4, 5]),
        (found("MIN 3 COUNT 1 ALL 3"), [3]),
        (found("all 1:5"), [3, 4, 5]),  # whatever was asked for
        (found("ALL 2"), []),  # the last, though it is below
        ('* ESEARCH (TAG "{tag}") UID', []),
        ("* 5 EXISTS", []),
    ],
)
def test_what_is_told(server: ScriptedServer, log_in: Connect, answer: str, uids: list[int]) -> None:
    connection = examined(server, log_in)
    server.on("UID SEARCH", reply(answer, "{tag} OK done"))
    assert list(connection.uids(3)) == uids
    assert "UID FETCH" not in server.names()


@pytest.mark.parametrize(
    "answer",
    [
        (found("ALL 1:4294967295"), "{tag} OK done"),
        ("{tag} BAD what is that?",),
        ("{tag} NO not today",),
        ("* SEARCH 3 4 5", "{tag} OK done"),
    ],
)
def test_what_cannot_be_relied_on_is_asked_for_line_by_line(
    server: ScriptedServer, log_in: Connect, answer: tuple[str, ...]
) -> None:
    connection = examined(server, log_in)
    server.on("UID SEARCH", reply(*answer))
    assert list(connection.uids(3)) == [3, 4, 5]
    assert server.names()[-1] == "UID FETCH"


def test_not_asked_of_a_server_that_does_not_know(scripted: Scripted, log_in: Connect) -> None:
    server = scripted()
    server.folder().add(b"Subject: 1\r\n\r\n")
    assert list(examined(server, log_in).uids()) == [1]
    assert "UID SEARCH" not in server.names()


def test_more_ranges_than_a_line_may_have_otherwise(server: ScriptedServer, log_in: Connect) -> None:
    """200,000 messages, every second one deleted, make a line of more than a megabyte."""
    connection = examined(server, log_in)
    uids = range(1_000_001, 1_400_001, 2)
    server.on("EXAMINE", reply("* 200000 EXISTS", "* OK [UIDVALIDITY 1]", "{tag} OK done"))
    server.on("UID SEARCH", reply(found("ALL " + ",".join(map(str, uids))), "{tag} OK done"))
    connection.examine(INBOX)
    assert list(connection.uids()) == list(uids)


def test_dovecot(mailbox: User, log_in: Connect) -> None:
    for number in range(1, 5):
        mailbox.save(b"Subject: %d\r\n\r\n" % number)
    mailbox.expunge("INBOX", "2")
    connection = log_in(mailbox.server, user=mailbox.name, password=mailbox.password)
    assert connection.has("ESEARCH")
    connection.examine(INBOX)
    assert list(connection.uids()) == [1, 3, 4]
    assert list(connection.uids(3)) == [3, 4]
    assert list(connection.uids(5)) == []
