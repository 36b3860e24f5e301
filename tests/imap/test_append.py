"""APPEND as it goes out: together or one by one, waited for or not, and what its answers mean."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from archiver.errors import ConnectionLostError, UnavailableError
from archiver.imap import Appended, Connection, Mailbox, Outgoing, Refused
from archiver.imap.append import _date, _head
from tests.imap.conftest import Connect
from tests.servers.honest import Command
from tests.servers.scripted import ScriptedServer, Session, bye, reply

Scripted = Callable[..., ScriptedServer]
INBOX = Mailbox("INBOX", "INBOX", "/")


def message(number: int, size: int = 40) -> Outgoing:
    wire = b"Subject: %d\r\n\r\n" % number
    wire += b"x" * (size - len(wire))
    return Outgoing(wire, len(wire), ("\\Seen", "$Later"), 1_600_000_000 + number)


def offering(server: ScriptedServer, *capabilities: str) -> ScriptedServer:
    server.account.capabilities = ("IMAP4rev1",)
    server.account.late = capabilities
    return server


def put(connection: Connection, *messages: Outgoing) -> list[Appended | Refused]:
    appending = connection.appending(INBOX)
    appending.send(messages)
    return appending.answer()


@pytest.mark.parametrize(
    ("capabilities", "commands"),
    [
        ((), 3),
        (("LITERAL+",), 3),
        (("LITERAL-",), 3),
        (("MULTIAPPEND",), 1),
        (("MULTIAPPEND", "LITERAL+", "UIDPLUS"), 1),
        (("MULTIAPPEND", "LITERAL-"), 1),
    ],
)
def test_arrives_the_same_whatever_the_server_offers(
    scripted: Scripted, log_in: Connect, capabilities: tuple[str, ...], commands: int
) -> None:
    server = offering(scripted(), *capabilities)
    messages = [message(1), message(2, 5000), message(3)]
    outcomes = put(log_in(server), *messages)
    assert server.names().count("APPEND") == commands
    told = "UIDPLUS" in capabilities
    assert outcomes == [Appended(1, uid) if told else Appended() for uid in (1, 2, 3)]
    assert [(m.raw, m.flags, m.date.timestamp()) for m in server.folder().mails] == [
        (m.wire, m.flags, m.received) for m in messages
    ]


@pytest.mark.parametrize(
    ("capabilities", "sizes", "waited"),
    [
        (("LITERAL+",), (40, 9000), 0),
        (("LITERAL-",), (40, 4096), 0),
        (("LITERAL-",), (40, 4097), 1),
        (("LITERAL-", "MULTIAPPEND"), (40, 4097), 2),
        ((), (40, 40), 2),
        (("MULTIAPPEND",), (40, 40), 2),
    ],
)
def test_waits_only_where_it_must(
    scripted: Scripted,
    log_in: Connect,
    monkeypatch: pytest.MonkeyPatch,
    capabilities: tuple[str, ...],
    sizes: tuple[int, int],
    waited: int,
) -> None:
    server = offering(scripted(), *capabilities)
    connection = log_in(server)
    asked: list[bytes] = []
    send = Session.send

    def noted(session: Session, data: bytes) -> None:
        asked.append(data)
        send(session, data)

    monkeypatch.setattr(Session, "send", noted)
    put(connection, *(message(number, size) for number, size in enumerate(sizes)))
    assert sum(data.startswith(b"+") for data in asked) == waited


def test_several_bunches_under_way(scripted: Scripted, log_in: Connect) -> None:
    server = offering(scripted(), "MULTIAPPEND", "LITERAL+", "UIDPLUS")
    appending = log_in(server).appending(INBOX)
    assert appending.window == 2
    appending.send([message(1), message(2)])
    appending.send([message(3)])
    assert appending.answer() == [Appended(1, 1), Appended(1, 2)]
    assert (appending.answer(), appending.under_way) == ([Appended(1, 3)], 0)


@pytest.mark.parametrize("capabilities", [("LITERAL+",), ("UIDPLUS",), ()])
def test_one_at_a_time_where_answers_are_needed(
    scripted: Scripted, log_in: Connect, capabilities: tuple[str, ...]
) -> None:
    assert log_in(offering(scripted(), *capabilities)).appending(INBOX).window == 1


def test_refused_together_they_go_one_by_one(scripted: Scripted, log_in: Connect) -> None:
    """The answer to the next bunch, which is under way by then, is not lost."""
    server = offering(scripted(), "MULTIAPPEND", "LITERAL+", "UIDPLUS")
    server.on("APPEND", reply("{tag} NO [CANNOT] no"), when=lambda c: "Subject: 2" in c.arguments)
    appending = log_in(server).appending(INBOX)
    appending.send([message(1), message(2), message(3)])
    appending.send([message(4), message(5)])
    assert appending.answer() == [Appended(1, 3), Refused("CANNOT", "[CANNOT] no"), Appended(1, 4)]
    assert appending.answer() == [Appended(1, 1), Appended(1, 2)]


def test_a_mailbox_that_is_not_there_is_not_tried_one_by_one(scripted: Scripted, log_in: Connect) -> None:
    server = offering(scripted(), "MULTIAPPEND", "LITERAL+")
    server.account.folders.clear()
    outcomes = put(log_in(server), message(1), message(2))
    assert [each.code for each in outcomes if isinstance(each, Refused)] == ["TRYCREATE", "TRYCREATE"]
    assert server.names().count("APPEND") == 1


def test_refused_before_the_literal(
    scripted: Scripted, log_in: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that says NO in place of going on gets no literal, and the session goes on."""
    server = offering(scripted())
    connection = log_in(server)
    receive = Session._receive

    def refuse(session: Session) -> Command | None:
        line = session._input.readline()
        if line.endswith(b"}\r\n"):
            session.send(line.split()[0] + b" NO [TOOBIG] too big\r\n")
            monkeypatch.setattr(Session, "_receive", receive)
            return receive(session)
        return session._command(line.decode().rstrip())

    monkeypatch.setattr(Session, "_receive", refuse)
    # The session's thread waits in the function as it was.
    connection.refresh()
    assert put(connection, message(1)) == [Refused("TOOBIG", "[TOOBIG] too big")]
    assert put(connection, message(2)) == [Appended()]


@pytest.mark.parametrize("uids", ["7", "7:9", "1:4294967295", "9:7", "x"])
def test_uids_that_cannot_be_are_none(scripted: Scripted, log_in: Connect, uids: str) -> None:
    server = offering(scripted(), "MULTIAPPEND", "LITERAL+", "UIDPLUS")
    server.on("APPEND", reply(f"{{tag}} OK [APPENDUID 1 {uids}] done"))
    assert put(log_in(server), message(1), message(2)) == [Appended(), Appended()]


@pytest.mark.parametrize("uids", ["7,9", "7:8", "9,12"])
def test_uids_in_the_order_of_the_messages(scripted: Scripted, log_in: Connect, uids: str) -> None:
    server = offering(scripted(), "MULTIAPPEND", "LITERAL+", "UIDPLUS")
    server.on("APPEND", reply(f"{{tag}} OK [APPENDUID 5 {uids}] done"))
    first, _, last = uids.replace(":", ",").partition(",")
    assert put(log_in(server), message(1), message(2)) == [Appended(5, int(first)), Appended(5, int(last))]


def test_full_is_this_mailbox_busy_is_the_session(scripted: Scripted, log_in: Connect) -> None:
    server = offering(scripted(), "LITERAL+")
    server.on("APPEND", reply("{tag} NO [OVERQUOTA] full"), times=1)
    server.on("APPEND", reply("{tag} NO [THROTTLED] slower"), times=1)
    connection = log_in(server)
    assert put(connection, message(1)) == [Refused("OVERQUOTA", "[OVERQUOTA] full")]
    with pytest.raises(UnavailableError):
        put(connection, message(2))


def test_what_the_server_says_before_it_hangs_up(scripted: Scripted, log_in: Connect) -> None:
    server = offering(scripted(), "LITERAL+")
    server.on("APPEND", bye("* BYE too many connections"))
    with pytest.raises(UnavailableError, match="too many connections"):
        put(log_in(server), message(1))


@pytest.mark.parametrize("given", [10, 70])
def test_pieces_that_are_not_as_long_as_said(scripted: Scripted, log_in: Connect, given: int) -> None:
    """The command is never ended, so the server has nothing."""
    server = offering(scripted(), "LITERAL+")
    wrong = Outgoing([b"x" * given], 40, (), 0)
    with pytest.raises(ConnectionLostError, match="changed while it was sent"):
        put(log_in(server), wrong)
    assert server.folder().mails == []


@pytest.mark.parametrize(
    "flag", ["\\Seen)\r\nA1 DELETE INBOX", "a b", "", "(", "\\*", '"', "Wörk", "]", "{3}", "a\0b"]
)
def test_what_is_no_flag_reaches_no_command(flag: str) -> None:
    assert _head(Outgoing(b"", 0, (flag, "$Fine"), 0)) == b'($Fine) "01-Jan-1970 00:00:00 +0000"'


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, b"01-Jan-1970 00:00:00 +0000"),
        (1_709_251_199, b"29-Feb-2024 23:59:59 +0000"),
        (-86_400, b"31-Dec-1969 00:00:00 +0000"),
        (10**18, b"01-Jan-1970 00:00:00 +0000"),
        (-62_135_596_800, b"01-Jan-0001 00:00:00 +0000"),
    ],
)
def test_dates(seconds: int, expected: bytes) -> None:
    assert _date(seconds) == expected
