"""`archiver sync` and `archiver check`: what they report."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli import mails
from tests.cli.home import PASSWORD, Home, complains, fails
from tests.cli.mails import mail
from tests.servers.dovecot import User
from tests.servers.gmail import Gmail
from tests.servers.pymap import Mail, Pymap
from tests.servers.scripted import ScriptedServer, reply
from tests.servers.smtp import Offer, Sink

Scripted = Callable[..., ScriptedServer]
FOLDER = [
    "account",
    "folder",
    "stored",
    "bytes",
    "documents",
    "spared",
    "linked",
    "claimed",
    "adopted",
    "flags",
    "gone",
    "failed",
    "waiting",
    "unlisted",
    "new_epoch",
    "renamed",
    "damaged",
    "error",
]


@pytest.fixture
def work(home: Home, mailbox: User) -> tuple[Home, User]:
    """A home and its one mailbox, with two messages in INBOX and one of them again in another folder."""
    mailbox.save(mails.INVOICE, flags=["\\Seen"])
    mailbox.save(mails.TWICE)
    mailbox.create("Kept")
    mailbox.save(mails.TWICE, "Kept")
    home.mailbox(mailbox)
    return home, mailbox


class TestSync:
    def test_new_mail(self, work: tuple[Home, User]) -> None:
        work[0].make_archive()
        result = work[0].good("sync")
        first, *rest = result.lines()
        assert re.fullmatch(r"work: 3 new messages, \d+ B, [\d.]+ s, \d+/s in 2 folders", first)
        assert rest == [
            "  INBOX: 2 new messages",
            "  Kept: 1 new message, 1 of them kept already",
            "indexed 2 messages",
        ]
        assert result.err == ""

    def test_nothing_new(self, work: tuple[Home, User]) -> None:
        work[0].good("sync")
        assert work[0].good("sync").lines() == ["work: nothing new in 2 folders"]

    def test_changes_on_the_server(self, work: tuple[Home, User]) -> None:
        home, user = work
        home.good("sync")
        user.add_flags("INBOX", "1", "\\Flagged")
        user.expunge("INBOX", "2")
        assert home.good("sync").lines() == [
            "work: nothing new, 1 changed flags, 1 gone from the server in 2 folders"
        ]
        user.set_uidvalidity("INBOX", 4711)
        assert home.good("sync").lines()[1:] == [
            "  INBOX: 1 new message",
            "  INBOX: the server numbers its messages anew (UIDVALIDITY); 1 known again by content",
        ]

    def test_one_folder(self, work: tuple[Home, User]) -> None:
        assert work[0].good("sync", "work", "--folder", "k*").lines()[1:] == [
            "  Kept: 1 new message",
            "indexed 1 message",
        ]

    def test_without_the_index(self, work: tuple[Home, User]) -> None:
        home, _ = work
        assert "indexed" not in home.good("sync", "--no-index").out
        assert home.good("search", "invoice").err.startswith("2 messages not indexed yet: ")
        assert home.good("sync").lines()[-1] == "indexed 2 messages"
        assert home.good("search", "invoice").err == "1 message\n"

    def test_json(self, work: tuple[Home, User]) -> None:
        work[0].make_archive()
        result = work[0].good("sync", "--json")
        assert result.err == ""
        report = result.json()
        assert list(report) == ["accounts", "errors", "index", "index_error"]
        (account,) = report["accounts"]
        assert list(account) == ["account", "seconds", "checked", "other_mailbox", "folders"]
        assert [list(folder) for folder in account["folders"]] == [FOLDER, FOLDER]
        assert [folder["stored"] for folder in account["folders"]] == [2, 1]
        assert report["errors"] == {}
        assert report["index"].items() >= {"added": 2, "removed": 0, "rebuilt": ""}.items()

    def test_json_of_an_error(self, work: tuple[Home, User]) -> None:
        home, user = work
        home.mailbox(user, "other", password=PASSWORD)
        result = home.call("sync", "--json")
        assert result.code == 3
        (error,) = result.json()["errors"].items()
        assert error[0] == "other" and list(error[1]) == ["error", "hint", "transient", "exit_code"]
        assert (error[1]["transient"], error[1]["exit_code"]) == (False, 1)

    def test_json_of_what_cannot_be_indexed(self, work: tuple[Home, User]) -> None:
        home, _ = work
        home.good("sync", "--no-index")
        for path in Path(home.root).rglob("*.archiver,*"):
            if mails.INVOICE.replace(b"\r\n", b"\n") == path.read_bytes():
                path.unlink()
        result = home.call("sync", "--json")
        assert result.code == 3
        (lost,) = result.json()["index"]["unreadable"]
        assert re.fullmatch(r"[0-9a-f]{64}", lost["key"]) and "gone from the archive" in lost["reason"]
        complains(result, 3, "not everything came home: index")

    def test_what_was_not_downloaded(self, home: Home, scripted: Scripted) -> None:
        gmail = Gmail(scripted())
        gmail.deliver(mails.INVOICE, "\\Inbox", "Büro & Co")
        gmail.deliver(mails.TWICE, "\\Inbox")
        home.account("work", gmail.server.port)
        first, *rest = home.good("sync").lines()
        bytes_ = len(mails.INVOICE) + len(mails.TWICE)
        assert first.startswith(f"work: 5 new messages (3 not downloaded), {bytes_} B, ")
        assert rest == [
            "  INBOX: 2 new messages, 2 of them kept already, 2 not downloaded",
            "  Büro & Co: 1 new message, 1 of them kept already, 1 not downloaded",
            "  [Gmail]/Alle Nachrichten: 2 new messages",
            "indexed 2 messages",
        ]
        (hit,) = home.good("search", "--json", "label:inbox label:büro*").json()["hits"]
        assert {place["folder"]: place["labels"] for place in hit["places"]} == {
            "[Gmail]/Alle Nachrichten": ["Büro & Co", "\\Inbox"],
            "INBOX": ["Büro & Co"],
            "Büro & Co": ["\\Inbox"],
        }
        shown = home.good("show", hit["id"]).lines()
        assert "Where:      work/INBOX, labels: Büro & Co" in shown
        assert "Where:      work/[Gmail]/Alle Nachrichten, labels: Büro & Co, \\Inbox" in shown

    def test_a_folder_that_was_renamed(self, home: Home, start_pymap: Callable[..., Pymap]) -> None:
        server = start_pymap({"INBOX": [], "Köln": [Mail(mails.INVOICE)]})
        home.account("work", server.port)
        home.good("sync")
        server.rename("Köln", "Archive/Köln")
        assert home.good("sync").lines() == [
            "work: nothing new in 2 folders",
            "  Archive/Köln: renamed, it was Köln",
        ]
        assert home.good("search", "--format", "paths", "folder:archive").out.startswith(
            str(home.root / "mail/work/Archive/Köln/cur/")
        )
        assert home.good("search", "folder:Köln").out == ""
        home.good("verify")

    def test_a_hostile_folder_and_server(self, home: Home, scripted: Scripted) -> None:
        server = scripted()
        server.folder(f"a/{mails.HOSTILE.replace(chr(0x1B), '')}/..").add(mail("Hidden"))
        server.on("EXAMINE", reply("{tag} NO \x1b[31mnot\x07 today"), times=1)
        home.account("work", server.port)
        result = home.call("sync")
        complains(result, 3, "not everything came home: work")
        assert "not pulled: " in result.out
        home.good("sync")
        for verb in ("status", "check"):
            shown = home.good(verb, *(["--folders"] if verb == "status" else ["--connect"])).out
            assert not [char for char in shown if not char.isprintable() and char != "\n"]

    def test_accounts_that_all_fail(self, home: Home, mailbox: User) -> None:
        home.mailbox(mailbox, "one", password=PASSWORD)
        home.mailbox(mailbox, "two", password=PASSWORD)
        result = home.call("sync")
        assert result.code == 1
        assert result.err.splitlines()[-1] == "archiver: none of 2 accounts could be pulled"


class TestCheck:
    def test_without_a_connection(self, home: Home) -> None:
        home.account("work", 1)
        home.smtp(1)
        assert home.good("check").out == (
            f"{home.config} is valid: 1 account, 1 sending server, archive in {home.root}\n"
        )
        assert not home.root.exists()

    def test_with_one(self, work: tuple[Home, User]) -> None:
        home, user = work
        home.mailbox(user, folders={"exclude": ["Kept"]})
        with Sink() as sink:
            home.smtp(sink.port)
            lines = home.good("check", "--connect").lines()
        assert f"work: logged in to 127.0.0.1:{user.server.port} (none)" in lines
        assert "  server: Dovecot" in lines
        assert any(line.startswith("  capabilities: ") and " IDLE " in line for line in lines)
        assert {"             2  INBOX", "  -          1  Kept", "relay (sending): logged in"} <= set(lines)
        assert sink.commands == []

    def test_what_fails_and_what_does_not(self, work: tuple[Home, User]) -> None:
        home, user = work
        home.mailbox(user, "other", password=PASSWORD)
        with Sink(offer=Offer("me", "right")) as sink:
            home.smtp(sink.port, user="me", password=PASSWORD)
            result = home.call("check", "--connect")
        complains(result, 3, "2 of 3 logins failed", "check user and password")
        assert "\nwork: logged in" in result.out and "\nother: " in result.out
        assert "\nrelay (sending): " in result.out and "refused" in result.out

    def test_nothing_answers(self, home: Home) -> None:
        home.account("work", 1)
        home.smtp(1)
        result = fails(home, ["check", "--connect"], 75, "2 of 2 logins failed")
        assert "\nwork: 127.0.0.1:1 refuses connections\n" in result.out
        assert "\nrelay (sending): 127.0.0.1:1: cannot connect" in result.out


def test_a_configuration_that_leaves_out_every_folder(home: Home, scripted: Scripted) -> None:
    """A backup of nothing must not look like one of everything."""
    server = scripted()
    server.folder().add(mails.INVOICE)
    home.account("work", server.port, folders={"include": ["Inbocks"]})
    fails(home, ["sync"], 2, "work: none of the server's folders is pulled", "check --connect lists")
