"""Batches under way at once: whatever happens to one of them, the others are whole."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from archiver.errors import ConnectionLostError, ProtocolError, UnavailableError
from archiver.imap import Connection, Failed, Fetched, Mailbox, fetch
from tests.imap.conftest import Connect
from tests.servers.honest import Command
from tests.servers.scripted import ScriptedServer, before, bye, cut, edit, reply

Scripted = Callable[..., ScriptedServer]
INBOX = Mailbox("INBOX", "INBOX", "/")
UIDS = range(1, 21)


def mail(number: int) -> bytes:
    return b"Subject: %d\r\n\r\ntext\r\n" % number


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archiver.imap.fetch.BATCH_MESSAGES", 3)


@pytest.fixture
def server(scripted: Scripted) -> ScriptedServer:
    made = scripted()
    for number in UIDS:
        made.folder().add(mail(number))
    return made


@pytest.fixture
def inbox(server: ScriptedServer, log_in: Connect) -> Connection:
    connection = log_in(server)
    connection.examine(INBOX)
    return connection


def batch(number: int) -> Callable[[Command], bool]:
    """Whether a command asks for the content of the batch with this number, 0 the first."""
    first = number * 3 + 1
    return lambda command: command.text(0) == f"{first}:{first + 2}" and "BODY" in command.arguments


def numbers(found: list[Fetched | Failed]) -> list[int]:
    assert all(isinstance(m, Fetched) and m.wire == mail(m.uid) for m in found)
    return [m.uid for m in found]


def test_all_of_them_in_order(server: ScriptedServer, inbox: Connection) -> None:
    assert numbers(list(inbox.fetch(UIDS))) == list(UIDS)
    assert [c.text(0) for c in server.commands if c.name == "UID FETCH"][:3] == ["1:3", "4:6", "7:9"]


def test_the_next_batch_is_asked_for_before_this_one_was_read(
    server: ScriptedServer, inbox: Connection
) -> None:
    messages = inbox.fetch(UIDS)
    next(messages)
    assert [c.text(0) for c in server.commands if c.name == "UID FETCH"] in (["1:3", "4:6"], ["1:3"])
    assert numbers(list(messages)) == list(UIDS)[1:]


def test_one_that_is_refused_comes_one_by_one_at_the_end(server: ScriptedServer, inbox: Connection) -> None:
    server.on("UID FETCH", reply("{tag} NO Server error"), when=batch(1))
    assert numbers(list(inbox.fetch(UIDS))) == [n for n in UIDS if n not in (4, 5, 6)] + [4, 5, 6]


def test_one_that_came_by_itself_counts_whatever_follows(server: ScriptedServer, inbox: Connection) -> None:
    server.on("UID FETCH", reply("{tag} NO Server error"), when=batch(1))
    server.on(
        "UID FETCH",
        edit(lambda answer: answer[: answer.rindex(b")\r\n") + 3] + b"* BYE enough\r\n"),
        when=lambda command: command.text(0) == "4",
    )
    found: list[Fetched | Failed] = []
    with pytest.raises(ConnectionLostError, match="enough"):
        iter_into(found, inbox)
    assert numbers(found) == [n for n in UIDS if n not in (4, 5, 6)] + [4]


def test_one_that_comes_without_a_date_and_again_with_it_is_one(
    server: ScriptedServer, inbox: Connection
) -> None:
    early = b"* 2 FETCH (UID 2 FLAGS () BODY[] {%d}\r\n%b)\r\n" % (len(mail(2)), mail(2))
    server.on("UID FETCH", edit(lambda answer: early + answer), when=batch(0))
    assert numbers(list(inbox.fetch(UIDS))) == list(UIDS)


def test_one_that_stays_empty(server: ScriptedServer, inbox: Connection) -> None:
    server.on("UID FETCH", reply("{tag} OK done"), when=batch(6))
    assert sorted(numbers(list(inbox.fetch(UIDS)))) == list(UIDS)


def test_answers_that_come_in_another_batch(server: ScriptedServer, inbox: Connection) -> None:
    """What was asked for is taken whenever it comes; what was not, never."""
    early = b"* 5 FETCH (UID 5 FLAGS () BODY[] {%d}\r\n%b)\r\n" % (len(mail(5)), mail(5))
    server.on("UID FETCH", edit(lambda answer: early + early + answer), when=batch(0))
    stranger = b"* 9 FETCH (UID 99 BODY[] {1}\r\nx)\r\n"
    server.on("UID FETCH", edit(lambda answer: stranger + answer), when=batch(2))
    assert sorted(numbers(list(inbox.fetch(UIDS)))) == list(UIDS)


@pytest.mark.parametrize("after", [0, 60, 200])
def test_what_came_before_the_end_of_the_line_is_given(
    server: ScriptedServer, inbox: Connection, after: int
) -> None:
    server.on("UID FETCH", cut(after), when=batch(3))
    found: list[Fetched | Failed] = []
    with pytest.raises(ConnectionLostError):
        found.extend(iter_into(found, inbox))
    assert set(range(1, 10)) <= set(numbers(found)) < set(range(1, 13))


def iter_into(found: list[Fetched | Failed], connection: Connection) -> list[Fetched | Failed]:
    """Collects what comes, so that it is there when an error ends it."""
    for message in connection.fetch(UIDS):
        found.append(message)
    return []


@pytest.mark.parametrize("words", ["NO [THROTTLED] slow down", "BAD User is authenticated but not connected"])
def test_a_session_that_is_refused_is_no_failed_message(
    server: ScriptedServer, inbox: Connection, words: str
) -> None:
    server.on("UID FETCH", reply(f"{{tag}} {words}"), when=batch(2))
    found: list[Fetched | Failed] = []
    with pytest.raises(UnavailableError):
        iter_into(found, inbox)
    assert numbers(found) == list(range(1, 7))
    assert not any(command.text(0) == "7" for command in server.commands)


def test_bye_in_the_middle(server: ScriptedServer, inbox: Connection) -> None:
    server.on("UID FETCH", bye("* BYE idle for too long"), when=batch(2))
    found: list[Fetched | Failed] = []
    with pytest.raises(ConnectionLostError, match="idle for too long"):
        iter_into(found, inbox)
    assert numbers(found) == list(range(1, 7))


def test_nothing_to_fetch_asks_nothing(server: ScriptedServer, inbox: Connection) -> None:
    before = len(server.commands)
    assert list(inbox.fetch([])) == []
    assert len(server.commands) == before


def test_batches_are_bounded_by_bytes_once_sizes_are_known(
    scripted: Scripted, log_in: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "BATCH_MESSAGES", 500)
    monkeypatch.setattr(fetch, "BATCH_BYTES", 2 << 20)
    monkeypatch.setattr(fetch, "_ENOUGH_TO_JUDGE", 1 << 18)
    server = scripted()
    for _ in range(40):
        server.folder().add(b"x" * (1 << 20))
    connection = log_in(server)
    connection.examine(INBOX)
    assert sum(isinstance(m, Fetched) for m in connection.fetch(range(1, 41))) == 40
    sets = [c.text(0) for c in server.commands if c.name == "UID FETCH"]
    sizes = [int(last or first) - int(first) + 1 for first, _, last in (s.partition(":") for s in sets)]
    assert sum(sizes) == 40
    assert max(sizes[len(sizes) // 2 :]) <= 2


DATE = b'INTERNALDATE "01-Jan-2020 00:00:00 +0000"'


@pytest.mark.parametrize(
    "order",
    [
        (b"BODY[] %b", rb"FLAGS (\Seen) " + DATE),
        (rb"FLAGS (\Seen)", b"BODY[] %b", DATE),
        (DATE, rb"FLAGS (\Seen) BODY[] %b"),
        (b"BODY[] %b", DATE, rb"FLAGS (\Seen)"),
    ],
)
def test_a_message_in_several_answers(
    server: ScriptedServer, inbox: Connection, order: tuple[bytes, ...]
) -> None:
    def apart(_: bytes) -> bytes:
        lines = [b"* %d FETCH (UID %d %b)\r\n" % (u, u, items) for items in order for u in (1, 2, 3)]
        texts = [mail(u) for items in order for u in (1, 2, 3) if b"%b" in items]
        filled = iter(texts)
        return b"".join(
            line.replace(b"%b", b"{%d}\r\n%b" % (len(text := next(filled)), text)) if b"%b" in line else line
            for line in lines
        )

    server.on("UID FETCH", edit(lambda answer: apart(answer) + answer[answer.rindex(b"A") :]), when=batch(0))
    found = list(inbox.fetch(range(1, 4)))
    assert numbers(found) == [1, 2, 3]
    for message in found:
        assert isinstance(message, Fetched)
        assert (set(message.flags), message.received) == ({r"\Seen"}, 1577836800)
    assert len([c for c in server.commands if c.name == "UID FETCH"]) == 1


def test_one_without_flags_is_asked_for_by_itself(server: ScriptedServer, inbox: Connection) -> None:
    server.folder().mails[1].flags = ("\\Seen",)
    server.on("UID FETCH", edit(lambda answer: re.sub(rb" FLAGS \(.*?\)", b"", answer)), when=batch(0))
    found = list(inbox.fetch(range(1, 4)))
    assert numbers(found) == [1, 2, 3]
    assert [m.flags for m in found if isinstance(m, Fetched)] == [set(), {r"\Seen"}, set()]


def test_one_that_never_has_flags_has_those_of_the_list(server: ScriptedServer, inbox: Connection) -> None:
    server.folder().mails[1].flags = ("\\Seen",)
    server.on(
        "UID FETCH",
        edit(lambda answer: re.sub(rb" FLAGS \(.*?\)", b"", answer)),
        when=lambda command: "BODY" in command.arguments,
    )
    found = list(inbox.fetch(range(1, 4)))
    assert numbers(found) == [1, 2, 3]
    assert [m.flags for m in found if isinstance(m, Fetched)] == [set(), {r"\Seen"}, set()]


def test_one_without_a_date_is_taken_as_it_is(server: ScriptedServer, inbox: Connection) -> None:
    server.on("UID FETCH", edit(lambda answer: re.sub(rb' INTERNALDATE ".*?"', b"", answer)))
    found = list(inbox.fetch(range(1, 4)))
    assert numbers(found) == [1, 2, 3]
    assert {m.received for m in found if isinstance(m, Fetched)} == {None}
    assert len([c for c in server.commands if c.name == "UID FETCH"]) == 1


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("STATUS", "* STATUS INBOX (MESSAGES 1 UIDNEXT 4294967296 UIDVALIDITY 1)"),
        ("STATUS", "* STATUS INBOX (UIDVALIDITY 4294967296)"),
        ("STATUS", "* STATUS INBOX (HIGHESTMODSEQ 9223372036854775808)"),
        ("EXAMINE", "* 4294967296 EXISTS"),
        ("EXAMINE", "* OK [UIDVALIDITY 4294967296] so"),
        ("EXAMINE", "* OK [UIDNEXT 4294967297] so"),
        ("EXAMINE", "* OK [HIGHESTMODSEQ 9223372036854775808] so"),
        ("EXAMINE", "* VANISHED (EARLIER) 1:4294967296"),
        ("UID FETCH", "* 1 FETCH (UID 4294967296 FLAGS ())"),
    ],
)
def test_numbers_that_cannot_be(server: ScriptedServer, log_in: Connect, command: str, line: str) -> None:
    server.on(command, before(line))
    connection = log_in(server)
    with pytest.raises(ProtocolError, match=r"sends .* \d+, which cannot be"):
        connection.status([INBOX])
        connection.examine(INBOX)
        list(connection.list_uids(1))


def test_the_largest_numbers_that_can_be(server: ScriptedServer, log_in: Connect) -> None:
    server.on("EXAMINE", before("* OK [HIGHESTMODSEQ 9223372036854775807] so"))
    server.folder().uidvalidity = 4294967295
    selected = log_in(server).examine(INBOX)
    assert (selected.uidvalidity, selected.modseq) == (4294967295, 9223372036854775807)
