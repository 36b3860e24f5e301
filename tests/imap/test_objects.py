"""Names of contents, and labels: Gmail's X-GM-EXT-1 and OBJECTID (RFC 8474)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from archiver.errors import ProtocolError, UnavailableError
from archiver.imap import Connection, Listed, Mailbox, Status
from archiver.imap.objects import content_name, label_item, labels_of, mailboxid, naming_items
from tests.imap.conftest import Connect
from tests.servers.pymap import Mail, Pymap
from tests.servers.scripted import ScriptedServer, edit, reply

INBOX = Mailbox("INBOX", "INBOX", "/")
EPOCH = 1577836800
Scripted = Callable[..., ScriptedServer]


def test_only_what_is_offered_is_asked_for() -> None:
    assert naming_items(("IMAP4REV1",)) == label_item(("IMAP4REV1", "OBJECTID")) == b""
    assert naming_items(("OBJECTID",)) == b" EMAILID RFC822.SIZE INTERNALDATE"
    assert naming_items(("OBJECTID", "X-GM-EXT-1")) == b" X-GM-MSGID RFC822.SIZE INTERNALDATE"


@pytest.mark.parametrize(
    ("items", "name"),
    [
        ({b"X-GM-MSGID": b"1278455344230334865"}, "gm:1278455344230334865:7"),
        ({b"EMAILID": b"(M6d99ac3275bb4e)"}, "id:M6d99ac3275bb4e:7"),
        ({b"EMAILID": b"(m-_1)"}, "id:m-_1:7"),
        ({b"X-GM-MSGID": b"0"}, None),
        ({b"X-GM-MSGID": b"7" * 21}, None),
        ({b"X-GM-MSGID": None}, None),
        ({b"EMAILID": None}, None),
        ({b"EMAILID": b"()"}, None),
        ({b"EMAILID": b"(a b)"}, None),
        ({b"EMAILID": b"(" + b"a" * 256 + b")"}, None),
        ({b"EMAILID": b"(a:b)"}, None),
        ({b"EMAILID": b"(M1)", b"RFC822.SIZE": None}, None),
        ({b"EMAILID": b"(M1)", b"RFC822.SIZE": b"x"}, None),
        ({}, None),
    ],
)
def test_a_name_is_one_to_rely_on(items: dict[bytes, bytes | None], name: str | None) -> None:
    assert content_name({b"RFC822.SIZE": b"7", **items}) == name


@pytest.mark.parametrize(
    ("value", "literals", "labels"),
    [
        (
            rb'(\Inbox \Sent Important "Muy Importante")',
            [],
            {"\\Inbox", "\\Sent", "Important", "Muy Importante"},
        ),
        (rb'("\\Inbox" "B&APw-ro & Co")', [], {"\\Inbox", "B&APw-ro & Co"}),
        (rb'("B&APw-ro &- Co" a/b)', [], {"Büro & Co", "a/b"}),
        (rb'("with \"quotes\" (and) \\ more")', [], {'with "quotes" (and) \\ more'}),
        (b"(\0000\000 x)", [b'a "literal'], {'a "literal', "x"}),
        (b"(&AAo-x)", [], {"\ufffdx"}),
        (b"()", [], set()),
        (None, [], set()),
        (b"bare", [], set()),
    ],
)
def test_labels_are_readable(value: bytes | None, literals: list[bytes], labels: set[str]) -> None:
    assert labels_of({b"X-GM-LABELS": value}, literals) == frozenset(labels)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"MESSAGES 1 MAILBOXID (F2212ea87-6097_x) UIDNEXT 2", "F2212ea87-6097_x"),
        (b"* OK [MAILBOXID (F1)] Ok", "F1"),
        (b"* ok [mailboxid  (f1)]", "f1"),
        (b"MAILBOXID NIL", None),
        (b"MAILBOXID ()", None),
        (b"MAILBOXID (a b)", None),
        (b"MAILBOXID (\x80\x81)", None),
        (b"XMAILBOXID (F1)", None),
        (b"", None),
    ],
)
def test_a_mailbox_is_called_what_is_an_id(text: bytes, found: str | None) -> None:
    assert mailboxid(text) == found


def test_without_labels_nothing_is_known_of_them() -> None:
    assert labels_of({b"FLAGS": b"()"}, []) is None


@pytest.fixture
def gmail(scripted: Scripted) -> ScriptedServer:
    server = scripted()
    server.account.late = (*server.account.late, "X-GM-EXT-1")
    for number in (1, 2, 3):
        extra = {
            "X-GM-MSGID": str(100 + number),
            "X-GM-LABELS": f'("\\\\Inbox" {{{number}}}\r\n' + "x" * number + ")",
        }
        server.folder().add(b"x" * number, extra=extra)
    return server


def opened(server: ScriptedServer | Pymap, log_in: Connect) -> Connection:
    connection = log_in(server)
    connection.examine(INBOX)
    return connection


def of(number: int, named: bool = True) -> Listed:
    labels = frozenset({"\\Inbox", "x" * number})
    name = (f"gm:{100 + number}:{number}", EPOCH) if named else (None, None)
    return Listed(number, frozenset(), labels, *name)


class TestMailboxes:
    NAMES = ("INBOX", "a (b)", "c)", "(d", "MAILBOXID (F9)")

    @pytest.fixture
    def server(self, scripted: Scripted) -> ScriptedServer:
        server = scripted()
        server.account.late = (*server.account.late, "OBJECTID")
        for number, name in enumerate(self.NAMES):
            server.folder(name).extra["MAILBOXID"] = f"(F{number})"
        return server

    @pytest.mark.parametrize("listed", [True, False], ids=["LIST-STATUS", "STATUS"])
    def test_are_told_by_status_and_by_examine(
        self, server: ScriptedServer, log_in: Connect, listed: bool
    ) -> None:
        server.account.late = (*server.account.late, *(["LIST-STATUS"] if listed else []))
        connection = log_in(server)
        mailboxes = connection.list_folders()
        statuses = connection.status(mailboxes)
        assert ("STATUS" in server.names()) != listed
        for number, mailbox in enumerate(mailboxes):
            status = statuses[mailbox.raw]
            assert isinstance(status, Status)
            assert (status.messages, status.uidvalidity, status.mailboxid) == (0, 1, f"F{number}")
            assert connection.examine(mailbox).mailboxid == f"F{number}"

    @pytest.mark.parametrize("garbage", ["((((", "(\x80\x7f)", "F1", "NIL", "(a) (b)", "()", ")("])
    def test_garbage_is_none_and_the_rest_stands(
        self, server: ScriptedServer, log_in: Connect, garbage: str
    ) -> None:
        server.folder().extra["MAILBOXID"] = garbage
        server.on("EXAMINE", edit(lambda answer: answer.replace(garbage.encode(), b"(F7)")))
        connection = log_in(server)
        status = connection.status([INBOX])["INBOX"]
        assert isinstance(status, Status)
        assert status.mailboxid in (None, "a")
        assert connection.examine(INBOX).mailboxid == "F7"

    @pytest.mark.parametrize("listed", [True, False], ids=["LIST-STATUS", "STATUS"])
    def test_status_is_not_asked_of_cyrus(
        self, server: ScriptedServer, log_in: Connect, listed: bool
    ) -> None:
        """What it tells is memory that it has freed, and may break a line."""
        server.account.late = (*server.account.late, *(["LIST-STATUS"] if listed else []))
        server.on("ID", reply('* ID ("name" "Cyrus IMAPD" "version" "3.6.1")', "{tag} OK done"))
        connection = log_in(server)
        told = connection.status(connection.list_folders())
        assert {getattr(status, "mailboxid", "?") for status in told.values()} == {None}
        assert "UIDVALIDITY MAILBOXID" not in "".join(command.arguments for command in server.commands)
        assert connection.examine(INBOX).mailboxid == "F0"

    def test_elsewhere_nobody_is_asked(self, scripted: Scripted, log_in: Connect) -> None:
        server = scripted()
        connection = log_in(server)
        assert connection.status([INBOX])["INBOX"] == Status(0, 1, 1, None)
        assert connection.examine(INBOX).mailboxid is None
        assert "MAILBOXID" not in server.commands[-2].arguments


class TestListing:
    def test_on_gmail(self, gmail: ScriptedServer, log_in: Connect) -> None:
        connection = opened(gmail, log_in)
        assert connection.names_contents
        assert list(connection.list_uids(2, named=True)) == [of(2), of(3)]
        assert list(connection.list_uids(1, 2)) == [of(1, named=False), of(2, named=False)]
        assert list(connection.name([1, 3])) == [of(1), of(3)]
        assert [c.arguments for c in gmail.commands if c.name == "UID FETCH"] == [
            "2:* (UID FLAGS X-GM-LABELS X-GM-MSGID RFC822.SIZE INTERNALDATE)",
            "1:2 (UID FLAGS X-GM-LABELS)",
            "1,3 (UID FLAGS X-GM-LABELS X-GM-MSGID RFC822.SIZE INTERNALDATE)",
        ]

    def test_what_changes_meanwhile_is_no_part_of_it(self, gmail: ScriptedServer, log_in: Connect) -> None:
        """Or a message that was never fetched would count as one that was."""
        connection = opened(gmail, log_in)
        gmail.on("UID FETCH", reply("* 4 FETCH (UID 4 FLAGS ())", "{tag} OK done"))
        assert list(connection.name([1, 3])) == []

    def test_on_pymap(self, start_pymap: Callable[..., Pymap], log_in: Connect) -> None:
        mails = [Mail(b"Subject: %d\r\n\r\n" % number) for number in (1, 2, 1)]
        first, second, third = opened(start_pymap({"INBOX": mails}), log_in).list_uids(1, named=True)
        assert first.content and first.content.startswith("id:M")
        assert first.content == third.content != second.content
        assert (first.uid, first.received, first.labels) == (101, EPOCH, None)

    def test_elsewhere_nothing_more_is_asked(self, scripted: Scripted, log_in: Connect) -> None:
        server = scripted()
        server.folder().add(b"x")
        connection = opened(server, log_in)
        assert not connection.names_contents
        assert list(connection.list_uids(1, named=True)) == [Listed(1, frozenset())]
        assert server.commands[-1].arguments == "1:* (UID FLAGS)"

    @pytest.mark.parametrize("answer", ["NO", "BAD"])
    def test_a_server_that_offers_what_it_does_not_tell(
        self, gmail: ScriptedServer, log_in: Connect, answer: str
    ) -> None:
        gmail.on("UID FETCH", reply(f"{{tag}} {answer} what?"), when=lambda c: "X-GM" in c.arguments)
        connection = opened(gmail, log_in)
        plain = [Listed(uid, frozenset()) for uid in (1, 2, 3)]
        assert list(connection.list_uids(1, named=True)) == plain
        assert not connection.names_contents
        assert list(connection.list_uids(1)) == plain
        assert sum("X-GM" in command.arguments for command in gmail.commands) == 1

    def test_a_server_that_tells_nothing_at_all(self, gmail: ScriptedServer, log_in: Connect) -> None:
        gmail.on("UID FETCH", reply("{tag} NO [SERVERBUG] what?"))
        connection = opened(gmail, log_in)
        with pytest.raises((ProtocolError, UnavailableError), match="what"):
            list(connection.list_uids(1, named=True))

    def test_a_server_that_wants_a_pause(self, gmail: ScriptedServer, log_in: Connect) -> None:
        gmail.on("UID FETCH", reply("{tag} NO [THROTTLED]"))
        connection = opened(gmail, log_in)
        with pytest.raises(UnavailableError):
            list(connection.list_uids(1, named=True))
        assert gmail.names().count("UID FETCH") == 1
        assert connection.names_contents

    def test_what_changed_is_not_asked_of_examine_where_it_would_lack_labels(
        self, gmail: ScriptedServer, log_in: Connect
    ) -> None:
        gmail.account.late = (*gmail.account.late, "CONDSTORE", "QRESYNC", "ENABLE")
        connection = log_in(gmail)
        connection.list_folders()
        assert not connection.tells_changes
        assert "ENABLE" not in gmail.names()
