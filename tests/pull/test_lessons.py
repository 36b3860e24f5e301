"""What real servers do, as a pull meets it: the number is the row's in tests/imap/test_lessons.py."""

from __future__ import annotations

import re

import pytest

from archiver.store.layout import FolderFile, claim_folder
from archiver.store.ledger import Ledger
from archiver.store.records import NewPlace
from tests.cli.conftest import home, pycache
from tests.cli.home import Home
from tests.pull import checks
from tests.pull.conftest import Archive, ArchiveOf, Scripted, mail, only
from tests.servers.honest import Command
from tests.servers.scripted import ScriptedServer, edit, reply

__all__ = ["home", "pycache"]


def asks_for_bodies(command: Command) -> bool:
    return "BODY" in command.arguments


@pytest.fixture
def server(scripted: Scripted) -> ScriptedServer:
    """Thirty messages in INBOX, UIDs 1 to 30."""
    made = scripted()
    for number in range(1, 31):
        made.folder().add(mail(number))
    return made


def wires(server: ScriptedServer) -> dict[tuple[str, int], bytes]:
    return {(folder.name, m.uid): m.raw for folder in server.account.folders.values() for m in folder.mails}


def test_4_yahoo_shows_some_ten_thousand_and_the_report_says_so(home: Home, server: ScriptedServer) -> None:
    """In each report, for as long as it does; what is hidden is not gone, and comes when it is shown."""
    older = re.compile(rb"\* \d+ FETCH \(UID (?:[1-9]|1\d|20) FLAGS \(\)\)\r\n")
    home.account("work", server.port)
    server.on("UID FETCH", edit(lambda answer: older.sub(b"", answer)), when=lambda c: not asks_for_bodies(c))
    for stored in ("10 new messages", "nothing new"):
        result = home.good("sync")
        assert stored in result.out
        assert "20 messages the server counts but does not show" in result.out
    assert len(checks.live(str(home.root))) == 10
    server._rules.clear()
    assert "20 new messages" in home.good("sync").out
    checks.converged(str(home.root), wires(server))
    server.on("UID FETCH", edit(lambda answer: older.sub(b"", answer)), when=lambda c: not asks_for_bodies(c))
    server.folder().mails[-1].flags = ("\\Seen",)
    server.folder().add(mail(31))
    home.good("sync")
    checks.converged(str(home.root), wires(server))


@pytest.mark.parametrize("renumbered", [True, False])
def test_18_tencent_changes_uidvalidity_with_an_upgrade(
    server: ScriptedServer, archive_of: ArchiveOf, renumbered: bool
) -> None:
    """The messages are the same ones: known again by their bytes, no file more or fewer."""
    archive = archive_of(server)
    archive.sync()
    inodes = {path.stat().st_ino for path in checks.files(archive.root)}
    server.folder().uidvalidity = 1_700_000_000
    if renumbered:
        del server.folder().mails[:2]
        for uid, each in enumerate(server.folder().mails, 1):
            each.uid = uid
        server.folder().uidnext = 29
    report = only(archive.sync())
    assert (report.new_epoch, report.claimed, report.documents) == (True, 28 if renumbered else 30, 0)
    checks.converged(archive.root, wires(server))
    assert {path.stat().st_ino for path in checks.files(archive.root)} == inodes
    checks.readable(archive.root, *map(mail, range(1, 31)))


def test_18_chatmail_forgets_uidvalidity_for_a_while(server: ScriptedServer, archive_of: ArchiveOf) -> None:
    archive = archive_of(server)
    archive.sync()
    server.folder().add(mail(31))
    for forgotten in (0, None):
        server.folder().uidvalidity = forgotten
        assert "gives no UIDVALIDITY" in only(archive.sync()).error
        assert len(checks.live(archive.root)) == 30
    server.folder().uidvalidity = 1
    assert only(archive.sync()).stored == 1
    checks.converged(archive.root, wires(server))


def test_19_domino_dates_fall_back_to_the_header_then_to_now(
    scripted: Scripted, archive_of: ArchiveOf
) -> None:
    """And the moment that was taken is in ledger and file name, as any other."""
    server = scripted()
    for date in ('"00-Jan-0000 00:00:00 +0000"', '" 5-Mar-2024 10:11:12 +0100"', "NIL", '"5-Foo-2024"'):
        server.folder().add(mail(1, date), extra={"INTERNALDATE": date})
    server.folder().add(b"Subject: undated\r\n\r\n", extra={"INTERNALDATE": '"00-Jan-0000 00:00:00 +0000"'})
    archive = archive_of(server)
    archive.sync()
    header, told, now = 1577836800, 1709629872, int(archive.now)
    received = {spot.uid: spot.received for spot in checks.spots(archive.root)}
    assert received == {1: header, 2: told, 3: header, 4: header, 5: now}
    for path in checks.files(archive.root):
        uid = int(path.name.partition(",U=")[2].partition(":")[0])
        assert path.name.startswith(f"{received[uid]}.") and path.stat().st_mtime == received[uid]


class TestMoreThanALine:
    """Row 21, Python's imaplib: it refuses lines over 1 MB, which UIDs of 149,000 messages are."""

    COUNT = 150_000
    FIRST = 4_000_000

    @pytest.fixture
    def crowded(self, scripted: Scripted) -> ScriptedServer:
        server = scripted()
        for uid in range(self.FIRST, self.FIRST + self.COUNT):
            server.folder().add(b"Subject: %d\r\n\r\n" % uid, uid=uid)
        assert len(" ".join(str(m.uid) for m in server.folder().mails)) > 1_000_000
        server.on("*", reply("{tag} BAD that is a long line"), when=lambda c: c.name.endswith("SEARCH"))
        return server

    def test_21_imaplib_reads_no_such_list_and_none_is_asked_for(
        self, crowded: ScriptedServer, archive_of: ArchiveOf
    ) -> None:
        archive = archive_of(crowded)
        self.know_all_but(archive, crowded, 3)
        report = only(archive.sync())
        assert (report.stored, report.gone, report.flags, report.unlisted) == (3, 0, 0, 0)
        fetched = [c.text(0) for c in crowded.commands if asks_for_bodies(c)]
        assert fetched == [f"{self.FIRST + self.COUNT - 3}:{self.FIRST + self.COUNT - 1}"]
        assert archive.sync().folders == []

    def know_all_but(self, archive: Archive, server: ScriptedServer, lacking: int) -> None:
        """Let the ledger have all messages but the last ones, though their files are not there."""
        path = claim_folder(archive.root, "work", FolderFile("INBOX", "INBOX", "/"))
        with Ledger(archive.root) as ledger:
            folder = ledger.add_folder("work", "INBOX", "INBOX", path)
            ledger.new_epoch(folder.id, 1)
            folder = ledger.folder(folder.id)
            mails = server.folder().mails[:-lacking]
            places = [NewPlace(m.uid, b"%032d" % m.uid, len(m.raw), 0, f"0.{m.uid}", "", "") for m in mails]
            for start in range(0, len(places), 30_000):
                ledger.add_places(folder, places[start : start + 30_000], [])
