"""`archiver status`, `verify` and `reindex`."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

from tests.cli import mails
from tests.cli.home import PASSWORD, Home, complains, fails
from tests.servers.dovecot import User


def file_of(home: Home, query: str) -> Path:
    (path,) = home.good("search", query, "--format", "paths").lines()
    return Path(path)


class TestStatus:
    def test_at_a_glance(self, library: Home) -> None:
        lines = library.good("status").lines()
        assert lines[:4] == [
            f"archive   {library.root}: 33 messages",
            "schedule  not running (archiver run)",
            "",
            "work",
        ]
        assert re.fullmatch(
            r"  holds      33 messages in 4 folders, [\d.]+ kB, 1 more gone from the server", lines[4]
        )
        assert re.fullmatch(r"  last good  \d{4}-\d\d-\d\d \d\d:\d\d, \d+ (s|min) ago", lines[5])
        assert len(lines) == 6

    def test_folders(self, library: Home) -> None:
        lines = library.good("status", "--folders").lines()[6:]
        assert [line.split()[-1] for line in lines] == ["INBOX", "Kept", "Lists/News", "仕事/会議"]
        assert lines[0].startswith("            6 (+1 gone)") and lines[2].split()[0] == "25"

    def test_json(self, library: Home) -> None:
        report = library.good("status", "--json").json()
        assert list(report) == ["archive", "daemon", "documents", "pending", "accounts"]
        (account,) = report["accounts"]
        assert list(account) == [
            "name",
            "configured",
            "started",
            "finished",
            "succeeded",
            "error",
            "next_run",
            "push",
            "failed",
            "folders",
        ]
        assert list(account["folders"][0]) == ["name", "messages", "gone", "bytes", "error"]
        assert (report["documents"], report["pending"], report["daemon"]) == (33, 0, None)
        assert account["folders"][0]["messages"] == 6 and account["folders"][0]["gone"] == 1

    def test_before_the_first_run(self, home: Home) -> None:
        home.make_archive()
        home.account("work", 1)
        assert home.good("status").lines()[-2:] == [
            "  holds      0 messages in 0 folders, 0 B",
            "  last good  never",
        ]

    def test_the_last_error(self, own_library: Home, shelf: tuple[Home, User]) -> None:
        own_library.mailbox(shelf[1], password=PASSWORD)
        assert own_library.call("sync").code == 1
        shown = own_library.good("status").out
        assert "  last error " in shown and "refused the login" in shown and PASSWORD not in shown
        own_library.mailbox(shelf[1])
        own_library.good("sync")
        assert "last error" not in own_library.good("status").out

    def test_an_account_no_longer_configured(self, own_library: Home) -> None:
        del own_library.settings["accounts"]["work"]
        own_library.write()
        assert "\nwork (not in the configuration)\n" in own_library.good("status").out
        assert own_library.good("search", "invoice", "--format", "keys").lines()


class TestVerify:
    def test_all_is_well(self, library: Home) -> None:
        (line,) = library.good("verify").lines()
        assert re.fullmatch(
            r"34 places in 4 folders, 34 files \([\d.]+ kB\) read, 33 of 33 documents indexed: 0 differences",
            line,
        )

    def test_json(self, library: Home) -> None:
        report = library.good("verify", "--json").json()
        assert list(report) == ["found", "sync", "left"]
        counts = ["folders", "places", "files", "bytes", "documents", "indexed", "server", "findings"]
        assert list(report["found"]) == counts and report["left"] is None
        assert [report["found"][name] for name in ("folders", "places", "files", "indexed")] == [
            4,
            34,
            34,
            33,
        ]

    def test_a_file_deleted_by_hand_is_fetched_again(self, own_library: Home) -> None:
        path = file_of(own_library, "invoice")
        path.unlink()
        result = fails(
            own_library, ["verify"], 1, "1 difference found", "archiver verify --repair mends them"
        )
        assert "  missing: work/INBOX UID 1 " in result.out
        repaired = own_library.good("verify", "--repair")
        assert "after the repair:" in repaired.lines() and repaired.lines()[-1].endswith(": 0 differences")
        assert path.read_bytes() == mails.INVOICE.replace(b"\r\n", b"\n")
        own_library.good("verify")

    def test_a_damaged_file_goes_to_quarantine(self, own_library: Home) -> None:
        path = file_of(own_library, "invoice")
        path.write_bytes(b"rotten" + path.read_bytes()[6:])
        fails(own_library, ["verify"], 1, "1 difference found")
        own_library.good("verify", "--repair")
        (kept,) = (own_library.root / "quarantine").rglob("*.archiver,*")
        assert kept.read_bytes().startswith(b"rotten")
        assert (
            own_library.good("show", "--raw", hashlib.sha256(mails.INVOICE).hexdigest()).raw == mails.INVOICE
        )

    def test_without_an_index_one_line_says_so(self, own_library: Home) -> None:
        shutil.rmtree(own_library.root / "index")
        result = fails(
            own_library, ["verify"], 1, "33 differences found", "archiver verify --repair mends them"
        )
        assert result.lines()[0].endswith(", 0 of 33 documents indexed: 33 differences")
        assert result.lines()[1:] == ["  unindexed: 33 messages -> index it"]
        own_library.good("verify", "--repair")
        assert own_library.good("count", "invoice").out != "0\n"

    def test_harmless_ones_are_told_apart_and_what_nobody_can_mend_is_not_offered(
        self, own_library: Home
    ) -> None:
        path = file_of(own_library, "invoice")
        (path.parent.parent / "new" / path.name).write_bytes(path.read_bytes())
        double = own_library.good("verify")
        assert double.lines()[0].endswith(": 1 difference, 1 of them harmless")
        path.unlink()
        (path.parent.parent / "new" / path.name).unlink()
        path.mkdir()
        result = own_library.call("verify")
        complains(result, 1, "1 difference found", "beside each is what can be done")
        assert "  unreadable: work/INBOX UID 1 " in result.out

    def test_what_cannot_be_had_again(self, own_library: Home) -> None:
        file_of(own_library, "is:gone").unlink()
        result = own_library.call("verify", "--repair")
        complains(result, 1, "1 difference found", "what is left cannot be had again")
        assert "missing: work/INBOX UID 3" in result.out

    def test_what_came_back_elsewhere_is_linked_in_the_same_run(self, home: Home, mailbox: User) -> None:
        for _ in range(2):
            mailbox.save(mails.INVOICE)
        home.mailbox(mailbox)
        home.good("sync")
        mailbox.expunge("INBOX", "2")
        home.good("sync")
        files = list((home.root / "mail").rglob("cur/*"))
        assert len(files) == 2
        for path in files:
            path.unlink()
        # The server has only one of them: the other is had from it.
        repaired = home.good("verify", "--repair")
        assert "2 differences" in repaired.lines()[0] and repaired.lines()[-1].endswith(": 0 differences")

    def test_when_the_server_cannot_be_asked(self, own_library: Home, shelf: tuple[Home, User]) -> None:
        file_of(own_library, "invoice").unlink()
        own_library.account("work", 1)
        result = own_library.call("verify", "--repair")
        assert result.code == 3
        # The account now stands for another user on another port: that is told too.
        assert "another mailbox than before" in result.err.splitlines()[0]
        assert "archiver: not everything could be fetched again\n  archiver sync tries" in result.err
        assert "fetching again failed: work: 127.0.0.1:1 refuses connections" in result.out
        # It is lacking for as long as nobody brought it back.
        complains(own_library.call("verify"), 1, "1 difference found")
        own_library.mailbox(shelf[1])
        own_library.good("sync")
        own_library.good("verify")
        assert own_library.good("search", "invoice", "--format", "keys").lines()

    def test_what_the_server_lost_meanwhile_is_not_forgotten(self, home: Home, mailbox: User) -> None:
        mailbox.save(mails.INVOICE)
        home.mailbox(mailbox)
        home.good("sync")
        file_of(home, "invoice").unlink()
        home.account("work", 1, mailbox.name)
        assert home.call("verify", "--repair").code == 3
        mailbox.expunge("INBOX", "1")
        home.mailbox(mailbox)
        home.good("sync")
        for server in ((), ("--server",)):
            result = home.call("verify", *server)
            assert result.code == 1 and "missing: work/INBOX UID 1" in result.out

    def test_another_program_renames_a_file(self, own_library: Home) -> None:
        path = file_of(own_library, "invoice")
        path.rename(path.with_name(path.name.split(":2,")[0] + ":2,RS"))
        own_library.good("verify")
        assert (
            "Invoice for March" in own_library.good("show", hashlib.sha256(mails.INVOICE).hexdigest()[:8]).out
        )

    def test_an_account_that_does_not_exist(self, library: Home) -> None:
        fails(library, ["verify", "other"], 2, "no account other", "work")

    def test_where_there_is_no_archive(self, home: Home) -> None:
        for verb in (
            ["status"],
            ["search", "x"],
            ["count", "x"],
            ["show", "12345678"],
            ["verify"],
            ["outbox"],
        ):
            result = home.call(*verb)
            assert result.code == 2
            assert result.err.startswith(f"archiver: there is no archive at {home.root}\n")
            assert not home.root.exists()


class TestReindex:
    def test_all_of_it(self, own_library: Home) -> None:
        before = own_library.good("search", "account:work", "--json", "--limit", "100").json()
        assert own_library.good("reindex").out == "indexed 33 messages\n"
        assert own_library.good("search", "account:work", "--json", "--limit", "100").json() == before

    def test_all_but_what_cannot_be_read(self, own_library: Home) -> None:
        file_of(own_library, "invoice").unlink()
        result = own_library.call("reindex")
        assert (result.code, result.out) == (3, "indexed 32 messages\n")
        lines = result.err.splitlines()
        assert lines[0].startswith("not indexed: ") and lines[1:] == [
            "archiver: 1 message could not be read",
            "  archiver verify says which",
        ]

    def test_an_empty_archive(self, home: Home) -> None:
        home.make_archive()
        assert home.good("reindex").out == "indexed 0 messages\n"
