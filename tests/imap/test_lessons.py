"""What real servers do: a test for each of their habits, named after the server known for it."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from archiver.config import Folders
from archiver.errors import ArchiverError, FolderError, ProtocolError, UnavailableError
from archiver.imap import Connection, Fetched, Mailbox
from archiver.pull.plan import choose
from tests.imap.conftest import PASSWORD, Connect
from tests.servers.honest import Command
from tests.servers.scripted import ScriptedServer, Session, before, edit, reply

INBOX = Mailbox("INBOX", "INBOX", "/")
NOON = datetime(2021, 3, 4, 12, 0, 5, tzinfo=UTC)
FLAGS_ONLY = "(UID FLAGS)"
Scripted = Callable[..., ScriptedServer]


def mail(number: int, size: int = 0) -> bytes:
    return b"Subject: %d\r\n\r\n%b\r\n" % (number, b"x" * size)


@pytest.fixture
def server(scripted: Scripted) -> ScriptedServer:
    """Ten messages in INBOX, UIDs 1 to 10."""
    made = scripted()
    for number in range(1, 11):
        made.folder().add(mail(number), date=NOON)
    return made


@pytest.fixture
def inbox(server: ScriptedServer, log_in: Connect) -> Connection:
    """A connection with INBOX examined."""
    connection = log_in(server)
    connection.examine(INBOX)
    return connection


def bodies(connection: Connection, uids: range | list[int] = range(1, 11)) -> dict[int, bytes | str]:
    """UID -> content, or the reason why there is none."""
    found: dict[int, bytes | str] = {}
    for message in connection.fetch(list(uids)):
        content = message.wire if isinstance(message, Fetched) else message.reason
        assert isinstance(content, (bytes, str))
        found[message.uid] = content
    return found


def asks_for_bodies(command: Command) -> bool:
    return "BODY" in command.arguments


def of(uid: int) -> Callable[[Command], bool]:
    """Whether a FETCH asks for the content of this message, among others or alone."""
    return lambda command: (
        asks_for_bodies(command)
        and any(
            int(first) <= uid <= int(last or first)
            for first, last in re.findall(r"(\d+)(?::(\d+))?", command.text(0))
        )
    )


ALL = {uid: mail(uid) for uid in range(1, 11)}


def test_1_netease_lets_nobody_in_without_id(scripted: Scripted, log_in: Connect) -> None:
    server = scripted()
    server.on("EXAMINE", reply("{tag} NO Unsafe Login"), when=lambda c: "ID" not in server.names())
    assert log_in(server).examine(INBOX).exists == 0


def test_2_icloud_answers_rfc822_with_nothing(server: ScriptedServer, inbox: Connection) -> None:
    def forget(session: Session, command: Command) -> bytes:
        return reply("{tag} OK done")(session, command)

    server.on("UID FETCH", forget, when=lambda c: bool(re.search(r"RFC822(?!\.SIZE)", c.arguments)))
    assert bodies(inbox) == ALL
    assert all(
        "BODY.PEEK[]" in command.arguments
        for command in server.commands
        if command.name == "UID FETCH" and FLAGS_ONLY not in command.arguments
    )


def test_3_icloud_says_nothing_when_nothing_is_there(server: ScriptedServer, inbox: Connection) -> None:
    server.on("UID FETCH", reply("{tag} OK done"))
    assert list(inbox.list_uids(1)) == []
    assert list(inbox.list_uids(11)) == []


def test_5_yahoo_fails_at_one_message(server: ScriptedServer, inbox: Connection) -> None:
    server.on("UID FETCH", reply("{tag} NO [UNAVAILABLE] UID FETCH Server error"), when=of(4))
    assert bodies(inbox) == ALL | {4: "NO [UNAVAILABLE] UID FETCH Server error"}


def test_5_yahoo_fails_after_some_of_them(server: ScriptedServer, inbox: Connection) -> None:
    """What did arrive before the NO is not asked for again."""

    def half(session: Session, command: Command) -> bytes:
        answer = session.honest(command)
        return answer[: answer.index(b"* 4 FETCH")] + reply("{tag} NO Server error")(session, command)

    server.on("UID FETCH", half, times=1)
    assert bodies(inbox) == ALL
    again = [c.text(0) for c in server.commands if c.name == "UID FETCH" and asks_for_bodies(c)][1:]
    assert again == [str(uid) for uid in range(4, 11)]


@pytest.mark.parametrize(
    "nothing", [b"", b"* 4 FETCH (UID 4 BODY[] NIL)\r\n", b'* 4 FETCH (UID 4 BODY[] "")\r\n']
)
def test_6_exchange_completes_with_no_data(server: ScriptedServer, inbox: Connection, nothing: bytes) -> None:
    def hollow(answer: bytes) -> bytes:
        return re.sub(rb"\* 4 FETCH .*?\r\n\r\n\r\n\)\r\n", lambda match: nothing, answer, flags=re.DOTALL)

    server.on("UID FETCH", edit(hollow), when=asks_for_bodies)
    assert bodies(inbox) == ALL | {4: "the server sends no content"}


def test_6_a_refused_second_look_is_an_error_not_an_empty_folder(
    server: ScriptedServer, inbox: Connection
) -> None:
    server.on("UID FETCH", reply("{tag} NO what now"))
    with pytest.raises(ProtocolError, match="what now"):
        bodies(inbox)


def test_6_what_was_expunged_meanwhile_has_not_failed(server: ScriptedServer, inbox: Connection) -> None:
    server.folder().mails.pop(3)
    assert bodies(inbox) == {uid: wire for uid, wire in ALL.items() if uid != 4}


@pytest.mark.parametrize("size", [0, 3, 10**9])
def test_7_exchange_lies_about_sizes(server: ScriptedServer, inbox: Connection, size: int) -> None:
    for each in server.folder().mails:
        each.extra["RFC822.SIZE"] = str(size)
    assert bodies(inbox) == ALL


@pytest.mark.parametrize("answer", ["NO", "BAD"])
@pytest.mark.parametrize("command", ["LOGIN", "LIST", "STATUS", "EXAMINE", "UID FETCH"])
def test_8_exchange_suggests_how_long_to_wait(
    server: ScriptedServer, log_in: Connect, command: str, answer: str
) -> None:
    server.on(command, reply(f"{{tag}} {answer} Throttled. Suggested Backoff Time: 2500 milliseconds"))
    with pytest.raises(UnavailableError) as caught:
        everything(log_in, server)
    assert caught.value.wait == 2.5
    assert server.names()[-1] in (command, "LOGOUT"), "nothing more is asked of a server that wants a pause"


@pytest.mark.parametrize("command", ["LIST", "STATUS", "EXAMINE", "UID FETCH"])
def test_9_microsoft_365_is_not_connected_to_itself(
    server: ScriptedServer, log_in: Connect, command: str
) -> None:
    server.on(command, reply("{tag} BAD User is authenticated but not connected."))
    with pytest.raises(UnavailableError, match="not connected") as caught:
        everything(log_in, server)
    assert caught.value.transient


def everything(log_in: Connect, server: ScriptedServer) -> None:
    """All that a pull asks of a server."""
    connection = log_in(server)
    mailboxes = connection.list_folders()
    connection.status(mailboxes)
    connection.examine(INBOX)
    list(connection.fetch([m.uid for m in connection.list_uids(1)]))


@pytest.mark.parametrize("code", ["UNAVAILABLE", "INUSE", "NOPERM", "SERVERBUG"])
def test_9_a_folder_that_is_out_of_order_stops_no_other(
    server: ScriptedServer, log_in: Connect, code: str
) -> None:
    server.folder("Work")
    server.on("EXAMINE", reply(f"{{tag}} NO [{code}] not this one"), when=lambda c: c.text(0) == "INBOX")
    connection = log_in(server)
    with pytest.raises(FolderError, match="not this one"):
        connection.examine(INBOX)
    assert connection.examine(Mailbox("Work", "Work", "/")).exists == 0


def test_10_microsoft_365_sends_items_in_any_order(server: ScriptedServer, inbox: Connection) -> None:
    def turn(answer: bytes) -> bytes:
        """The UID behind the literal, and first an item nobody asked for."""
        return re.sub(
            rb"FETCH \((UID \d+) (.*?\r\n\r\n\r\n)\)",
            rb'FETCH (BODYSTRUCTURE ("UID 77" NIL (x)) \2 \1)',
            answer,
            flags=re.DOTALL,
        )

    server.on("UID FETCH", edit(turn), when=asks_for_bodies)
    found = {m.uid: m for m in inbox.fetch(list(range(1, 11)))}
    assert {uid: m.wire for uid, m in found.items() if isinstance(m, Fetched)} == ALL
    assert {m.received for m in found.values() if isinstance(m, Fetched)} == {int(NOON.timestamp())}


def test_11_courier_takes_no_long_lines(scripted: Scripted, log_in: Connect) -> None:
    server = scripted()
    uids = list(range(100_000_001, 100_008_000, 3))
    for uid in uids:
        server.folder().add(mail(uid), uid=uid)
    server.on("*", reply("{tag} BAD line too long"), when=lambda c: len(c.arguments) > 8000)
    connection = log_in(server)
    connection.examine(INBOX)
    assert bodies(connection, uids) == {uid: mail(uid) for uid in uids}


def test_12_qq_takes_only_ascending_sets_and_searches_for_everything(
    server: ScriptedServer, inbox: Connection
) -> None:
    def descends(command: Command) -> bool:
        spans = [tuple(map(int, s.split(":"))) for s in command.text(0).split(",") if "*" not in s]
        return sorted(spans) != spans or any(span[0] > span[-1] for span in spans)

    server.on("UID FETCH", reply("{tag} BAD descending"), when=descends)
    assert [m.uid for m in inbox.list_uids(3, 5)] == [3, 4, 5]
    assert bodies(inbox, [1, 2, 5, 9]) == {uid: mail(uid) for uid in (1, 2, 5, 9)}
    assert not {"SEARCH", "UID SEARCH"} & set(server.names())


def test_15_gmail_translates_folder_names(scripted: Scripted, log_in: Connect) -> None:
    server = scripted()
    names = {
        "[Gmail]": "\\Noselect",
        "[Gmail]/Alle Nachrichten": "\\All",
        "[Gmail]/すべてのメール": "\\All",
        "[Gmail]/Корзина": "\\Trash",
        "[Gmail]/Spam": "\\Junk",
        "Büro & Co": "\\HasNoChildren",
    }
    for name, attribute in names.items():
        server.folder(name).attributes = (attribute,)
    connection = log_in(server)
    listed = connection.list_folders()
    assert {m.name for m in listed} == {"INBOX", *names}
    chosen = choose(listed, Folders(exclude=("\\all", "\\Trash", "\\Junk")))
    assert [m.name for m in chosen] == ["INBOX", "Büro & Co"]
    for mailbox in listed:
        if mailbox.selectable:
            assert connection.examine(mailbox).uidvalidity == 1
    assert connection.status(listed).keys() == {m.raw for m in listed}


UNSOLICITED = [
    "* 11 EXISTS",
    "* 2 EXPUNGE",
    "* 1 FETCH (FLAGS (\\Seen))",
    "* 1 FETCH (UID 1 FLAGS ())",
    "* 0 RECENT",
]


def test_16_many_say_what_nobody_asked(server: ScriptedServer, inbox: Connection) -> None:
    between = "\r\n".join(UNSOLICITED).encode() + b"\r\n"
    server.on(
        "UID FETCH", edit(lambda answer: between + answer.replace(b"\r\n)\r\n", b"\r\n)\r\n" + between))
    )
    server.on("*", before(*UNSOLICITED, '* STATUS "Other" (MESSAGES 9)', '* LIST () "/" "Other"'))
    assert bodies(inbox) == ALL
    assert {m.uid for m in inbox.list_uids(1)} == set(range(1, 11))
    assert inbox.status([INBOX])["INBOX"].uidnext == 11  # type: ignore[union-attr]


def test_17_all_return_the_last_message_for_a_range_above_it(
    server: ScriptedServer, inbox: Connection
) -> None:
    assert list(inbox.list_uids(11)) == []
    assert server.commands[-1].text(0) == "11:*"
    assert [m.uid for m in inbox.list_uids(10)] == [10]


@pytest.mark.parametrize(("value", "seen"), [(None, None), (0, 0)])
def test_18_bridges_have_no_uidvalidity(
    server: ScriptedServer, log_in: Connect, value: int | None, seen: int | None
) -> None:
    """Told as it is; that such a folder is refused is the pull's, see tests/pull."""
    server.folder().uidvalidity = value
    connection = log_in(server)
    assert connection.examine(INBOX).uidvalidity == seen
    assert connection.status([INBOX])["INBOX"].uidvalidity == seen  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("date", "received"),
    [
        ('"00-Jan-0000 00:00:00 +0000"', None),
        ('"1-Jan-2020 00:00:00 +0000"', 1577836800),
        ('" 1-Jan-2020 00:00:00 +0000"', 1577836800),
        ("NIL", None),
    ],
)
def test_19_domino_has_dates_that_are_none(
    server: ScriptedServer, inbox: Connection, date: str, received: int | None
) -> None:
    server.folder().mails[0].extra["INTERNALDATE"] = date
    (found,) = inbox.fetch([1])
    assert isinstance(found, Fetched)
    assert (found.received, found.wire) == (received, mail(1))


class TestLooseSyntax:
    """20, many."""

    @pytest.mark.parametrize("command", ["LOGIN", "ID", "NAMESPACE", "LIST", "STATUS", "EXAMINE", "FETCH"])
    def test_20_a_status_without_text(self, server: ScriptedServer, log_in: Connect, command: str) -> None:
        def shorten(answer: bytes) -> bytes:
            return re.sub(rb"(?m)^(\w+ OK) .*\r\n\Z", rb"\1\r\n", answer)

        server.on("UID FETCH" if command == "FETCH" else command, edit(shorten))
        connection = log_in(server)
        connection.status(connection.list_folders())
        connection.examine(INBOX)
        assert bodies(connection) == ALL

    def test_20_blanks_more_than_needed(self, server: ScriptedServer, log_in: Connect) -> None:
        server.on("EXAMINE", edit(lambda answer: answer.replace(b"* 10 EXISTS", b"*  10  EXISTS")))
        server.on("UID FETCH", edit(lambda answer: re.sub(rb"\* (\d+) FETCH", rb"*  \1  FETCH ", answer)))
        server.on("STATUS", edit(lambda answer: answer.replace(b" (MESSAGES ", b"  ( MESSAGES  ")))
        server.on("LIST", edit(lambda answer: answer.replace(b"* LIST ()", b"* LIST  ( ) ")))
        connection = log_in(server)
        (found,) = connection.list_folders()
        assert connection.status([found])["INBOX"].messages == 10  # type: ignore[union-attr]
        assert connection.examine(found).exists == 10
        assert bodies(connection) == ALL

    def test_20_names_with_blanks_and_no_quotes(self, server: ScriptedServer, log_in: Connect) -> None:
        server.folder("Sent Items").attributes = ("\\Sent",)
        server.folder("Deleted  Items")
        server.folder("Work")
        server.on("LIST", edit(lambda answer: re.sub(rb'"([A-Z][^"]*)"\r\n', rb"\1\r\n", answer)))
        connection = log_in(server)
        found = {m.name: m for m in connection.list_folders()}
        assert set(found) == {"INBOX", "Sent Items", "Deleted  Items", "Work"}
        assert found["Sent Items"].special == ("\\Sent",)
        assert connection.examine(found["Deleted  Items"]).exists == 0

    def test_20_small_letters(self, server: ScriptedServer, log_in: Connect) -> None:
        def lower(answer: bytes) -> bytes:
            return re.sub(
                rb"(?m)^\* (?:\d+ )?(?:OK|EXISTS|LIST|STATUS|FETCH|ID)|UIDVALIDITY|UIDNEXT|UID|BODY|MESSAGES|"
                rb"^\w+ OK",
                lambda match: match[0] if match[0].endswith(b" OK") else match[0].lower(),
                answer,
            )

        server.on("*", edit(lower))
        connection = log_in(server)
        (found,) = connection.list_folders()
        assert connection.status([found])["INBOX"].uidvalidity == 1  # type: ignore[union-attr]
        assert connection.examine(found).uidnext == 11
        assert bodies(connection) == ALL


def test_22_imapclient_takes_no_ranges(server: ScriptedServer, inbox: Connection) -> None:
    """A folder of thousands is asked for by range, not by a list of every UID."""
    assert bodies(inbox) == ALL
    assert server.commands[-1].text(0) == "1:10"


@pytest.mark.parametrize("control", ["\r\n", "\n", "\r", "\0"], ids=repr)
def test_23_imaplib_sends_newlines_as_they_are(
    server: ScriptedServer, inbox: Connection, control: str
) -> None:
    before = list(server.commands)
    with pytest.raises(ArchiverError):
        inbox.examine(Mailbox(f"x{control}A9 DELETE INBOX", "x", "/"))
    assert server.commands == before


def test_nothing_is_ever_asked_that_could_change_a_mailbox(server: ScriptedServer, log_in: Connect) -> None:
    everything(log_in, server)
    assert set(server.names()) <= {
        "CAPABILITY",
        "LOGIN",
        "ID",
        "NAMESPACE",
        "LIST",
        "STATUS",
        "EXAMINE",
        "UID FETCH",
        "LOGOUT",
    }
    assert PASSWORD not in "".join(c.arguments for c in server.commands if c.name != "LOGIN")
