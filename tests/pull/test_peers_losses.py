"""How other programs lost mail, or nearly: each case is done to this one, which must not lose any.

Each test is named after the program, and its report where there is one.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from archiver.config import Folders
from archiver.errors import ConnectionLostError
from archiver.store.ledger import Ledger
from tests.cli.conftest import home, own_library, pycache, shelf
from tests.cli.home import Home, until
from tests.cli.mails import GONE_UID
from tests.conftest import AnyUser
from tests.pull import checks
from tests.pull.conftest import HOUR, Archive, ArchiveOf, Scripted, mail, only
from tests.pull.steps import delivered, facts
from tests.servers.dovecot import User
from tests.servers.fake import FakeServer
from tests.servers.honest import Command
from tests.servers.scripted import Action, cut, reply, stall

__all__ = ["home", "own_library", "pycache", "shelf"]

SAMPLES = Path(__file__).parents[1] / "samples"


class DeathError(BaseException):
    """The program dies at this point."""


def contents(root: Path) -> Counter[str]:
    """The hash of every message file, set aside or not."""
    places = ("mail/**/cur/*", "mail/**/new/*", "quarantine/**/*")
    files = (path for place in places for path in root.glob(place) if path.is_file())
    return Counter(hashlib.sha256(path.read_bytes()).hexdigest() for path in files)


def asks_for_bodies(command: Command) -> bool:
    return "BODY" in command.arguments


def test_bichon_297_uidvalidity_change_wipes_nothing(mailbox: User, dovecot_archive: Archive) -> None:
    """They emptied the folder here, then fetched it again: what the server gave by then was all there was."""
    archive = dovecot_archive
    messages = delivered(mailbox, 1, 2, 3, 4, 5)
    archive.sync()
    before = contents(archive.path)

    def die(step: str) -> None:
        if step == "opened":
            raise DeathError

    mailbox.set_uidvalidity("INBOX", mailbox.status()["uidvalidity"] + 1000)
    with pytest.raises(DeathError):
        archive.sync(fault=die)
    assert contents(archive.path) == before
    assert only(archive.sync()).claimed == 5
    checks.converged(archive.root, messages)
    mailbox.expunge("INBOX", "1:*")
    mailbox.set_uidvalidity("INBOX", mailbox.status()["uidvalidity"] + 1000)
    archive.sync()
    assert checks.live(archive.root) == {}
    assert contents(archive.path) == before
    checks.readable(archive.root, *messages.values())


@pytest.mark.parametrize("uidvalidity", [1, 2])
def test_openarchiver_the_highest_uid_hides_no_mail_after_a_reset(
    scripted: Scripted, archive_of: ArchiveOf, uidvalidity: int
) -> None:
    """They kept the highest UID and not whose it was: new mail with lower UIDs was never asked for."""
    server = scripted()
    inbox = server.folder()
    for number in range(1, 6):
        inbox.add(mail(number))
    archive = archive_of(server)
    archive.sync()
    inbox.mails.clear()
    inbox.uidnext, inbox.uidvalidity = 1, uidvalidity
    inbox.add(mail(6))
    inbox.add(mail(7))
    assert only(archive.sync()).stored == 2
    checks.converged(archive.root, {("INBOX", 1): mail(6), ("INBOX", 2): mail(7)})
    checks.readable(archive.root, *map(mail, range(1, 8)))


@pytest.mark.parametrize("uidvalidity", [0, None])
def test_offlineimap_633_a_folder_said_to_be_skipped_is_skipped(
    scripted: Scripted, archive_of: ArchiveOf, uidvalidity: int | None
) -> None:
    """Their guard returned from an inner function, and the sync went on with the folder."""
    server = scripted()
    inbox = server.folder()
    for number in range(1, 4):
        inbox.add(mail(number))
    archive = archive_of(server)
    archive.sync()
    known, stored = facts(archive), contents(archive.path)
    inbox.uidvalidity = uidvalidity
    inbox.mails[0].flags = ("\\Seen",)
    del inbox.mails[1]
    inbox.add(mail(4))
    for _ in range(2):
        asked = len(server.commands)
        assert "UIDVALIDITY" in only(archive.sync()).error
        assert not {"FETCH", "UID FETCH", "SEARCH", "UID SEARCH"} & set(server.names()[asked:])
        assert (facts(archive), contents(archive.path)) == (known, stored)
    inbox.uidvalidity = 1
    archive.sync()
    checks.converged(archive.root, {("INBOX", m.uid): m.raw for m in inbox.mails})


NOTHING: dict[str, Action] = {
    "the line is cut": cut(after=3000),
    "cut at once": cut(),
    "OK and nothing": reply("{tag} OK done"),
    "NO": reply("{tag} NO not now"),
    "BAD": reply("{tag} BAD what"),
}


@pytest.mark.parametrize("how", NOTHING)
def test_bichon_299_the_cursor_waits_for_the_bodies(
    scripted: Scripted, archive_of: ArchiveOf, how: str
) -> None:
    """They moved it when they had the UIDs: 1,515 of 83,640 messages were kept."""
    server = scripted()
    wires = {("INBOX", server.folder().add(mail(n, "x" * 500)).uid): mail(n, "x" * 500) for n in range(40)}
    server.on("UID FETCH", NOTHING[how], when=asks_for_bodies)
    archive = archive_of(server)
    for _ in range(2):
        try:
            assert not archive.sync().complete
        except ConnectionLostError:
            with Ledger(archive.root) as ledger:
                assert [folder.cursor for folder in ledger.folders()] == [0]
    assert len(checks.files(archive.root)) < 40
    server._rules.clear()
    archive.now += 24 * HOUR
    assert archive.sync().complete
    checks.converged(archive.root, wires)


def test_mail_archiver_153_a_message_id_is_no_identity(home: Home, mailbox: User) -> None:
    """They took it for one: of 85,792 exported messages 68,207 came back."""
    one, other = letter("Twins", "one", "twin"), letter("Twins", "other", "twin")
    bare, again = letter("Bare", "text"), letter("Bare", "other text")
    named = letter("Bare", "text", "bare")
    at = {("INBOX", mailbox.save(wire)): wire for wire in (one, other, bare, again, named, one)}
    mailbox.create("Work")
    at["Work", mailbox.save(other, "Work")] = other
    home.mailbox(mailbox)
    home.good("sync")
    for _ in range(2):
        checks.converged(str(home.root), at)
        assert set(keys(home, "twins")) == {digest(one), digest(other)}
        assert set(keys(home, "bare")) == {digest(bare), digest(again), digest(named)}
        for path in home.root.glob("ledger.sqlite3*"):
            path.unlink()
        home.good("sync")
    assert len(checks.files(str(home.root))) == len(at)


def letter(subject: str, text: str, message_id: str = "") -> bytes:
    line = f"Message-ID: <{message_id}@example.org>\r\n" if message_id else ""
    return f"From: a@example.org\r\nSubject: {subject}\r\n{line}\r\n{text}\r\n".encode()


def keys(home: Home, subject: str) -> list[str]:
    return home.good("search", f"subject:{subject}", "--format", "keys").lines()


def digest(wire: bytes) -> str:
    return hashlib.sha256(wire).hexdigest()


def test_mail_archiver_82_old_mail_moved_in_is_seen(any_mailbox: AnyUser, archive_of: ArchiveOf) -> None:
    """They asked for what came since the last time: what was older and came now was never seen."""
    mailbox = any_mailbox
    archive = archive_of(mailbox.server, user=mailbox.name)
    archive.folders = Folders(exclude=("Elsewhere",))
    mailbox.create("Elsewhere")
    mailbox.save(mail(2), "Elsewhere", date=datetime(2001, 2, 3, tzinfo=UTC))
    at = {("INBOX", mailbox.save(mail(1))): mail(1)}
    archive.sync()
    at["INBOX", mailbox.save(mail(3), date=datetime(1999, 2, 3, tzinfo=UTC))] = mail(3)
    mailbox.move("Elsewhere", "1", "INBOX")
    at["INBOX", 3] = mail(2)
    assert only(archive.sync()).stored == 2
    checks.converged(archive.root, at)


def garbage(path: Path) -> None:
    path.write_bytes(b"this is nothing\n" * 400)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def overwritten(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 3] + b"\xff" * (len(data) // 3) + data[len(data) // 3 * 2 :])


def lost(path: Path) -> None:
    path.unlink()


def of_another(path: Path) -> None:
    path.write_text('{"raw": "Another", "name": "Another", "delimiter": "/"}')


DAMAGES = [garbage, empty, half, overwritten, lost]
METADATA = [
    *(("ledger.sqlite3", damage) for damage in DAMAGES),
    *(("user.sqlite3", damage) for damage in [garbage, empty, half]),
    *(("mail/*/*/.folder.json", damage) for damage in [*DAMAGES, of_another]),
    *(("index/*", damage) for damage in [garbage, lost]),
]
VERBS = ["sync", "search invoice", "status", "outbox", "verify", "verify --repair", "reindex", "sync"]


@pytest.mark.parametrize(("which", "damage"), METADATA)
def test_imap_backup_192_198_damaged_metadata_deletes_no_mail(
    own_library: Home, which: str, damage: Callable[[Path], None]
) -> None:
    """They deleted a mailbox whose metadata did not read. Here no verb does, whether it succeeds or not."""
    root = own_library.root
    if which == "user.sqlite3":
        own_library.good("tag", "+kept", "invoice")
    # And a message that no server has any more, whose file is damaged, too.
    rotten = next(root.glob(f"mail/*/INBOX/cur/*,U={GONE_UID}:2,*"))
    rotten.write_bytes(b"rotten" + rotten.read_bytes()[6:])
    before = contents(root)
    paths = list(root.glob(which))
    assert before and paths
    for path in paths:
        damage(path)
    damaged = {path: path.read_bytes() for path in paths if path.exists() and path.suffix == ".sqlite3"}
    codes = {verb: own_library.call(*verb.split()).code for verb in VERBS}
    assert not before - contents(root), codes
    for path, content in damaged.items():
        assert path.read_bytes() == content or not content, "it may still hold what can be saved"
    for path in root.glob("ledger.sqlite3*"):
        path.rename(own_library.path / path.name)
    if which != "user.sqlite3":
        own_library.good("sync")
        own_library.good("verify", "--repair")
        own_library.good("verify")
        assert not before - contents(root)


def test_imap_backup_157_a_message_costs_its_own_bytes(archive: Archive) -> None:
    """They wrote all metadata anew for each message: 1 TB for 150,000."""
    server = FakeServer()
    few = overhead(archive, server, 500)
    alone = min(overhead(archive, server, 1) for _ in range(3))
    many = overhead(archive, server, 4500)
    assert max(few, many) < 3000, (few, many)
    assert min(overhead(archive, server, 1) for _ in range(3)) < 1.2 * alone < 150_000, alone


def overhead(archive: Archive, server: FakeServer, count: int) -> float:
    """Bytes written for each of so many new messages, besides their own."""
    for _ in range(count):
        server.folder().add(mail(server.folder().uidnext, "x" * 300))
    size = sum(path.stat().st_size for path in checks.files(archive.root))
    before = written()
    archive.pull(server.connect())
    stored = sum(path.stat().st_size for path in checks.files(archive.root)) - size
    return (written() - before - stored) / count


def written() -> int:
    """Bytes that this process has given to write(2) and its like."""
    match = re.search(r"wchar: (\d+)", Path("/proc/self/io").read_text())
    assert match
    return int(match[1])


def test_openarchiver_053_a_killed_run_blocks_nobody_and_is_told(
    home: Home, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their mark that a run goes on outlived the run: accounts were silent for four months."""
    server = scripted()
    for number in range(30):
        server.folder().add(mail(number, "x" * 300))
    server.on("UID FETCH", stall(after=5000), when=asks_for_bodies, times=1)
    home.account("work", server.port, read_timeout="60s", schedule={"every": "1h"})
    with home.spawn("run") as process:
        until(lambda: any(map(asks_for_bodies, server.commands)))
        process.kill()
    shown = home.good("status").out
    assert "schedule  not running" in shown and "last good  never" in shown
    log = home.path / "log"
    with log.open("wb") as file, home.spawn("run", stderr=file) as process:
        until(lambda: " new" in log.read_text())
        second = home.run("run")
        assert second.code == 75 and f"has this archive on schedule: PID {process.pid}" in second.err
        until(lambda: "next run" in home.good("status").out)
        assert "overdue" not in home.good("status").out
        process.kill()
    shown = home.good("status").out
    assert "not running" in shown and re.search(r"last good  .* s ago", shown) and "overdue" not in shown
    later = time.time() + 4 * 3600
    monkeypatch.setattr(time, "time", lambda: later)
    shown = home.good("status").out
    assert re.search(r"last good  .* 4 h ago", shown) and re.search(r"overdue    since .*, 3 h", shown)
    checks.converged(str(home.root), {("INBOX", m.uid): m.raw for m in server.folder().mails})


def test_bichon_342_gaps_between_uids_are_no_missing_mail(home: Home, scripted: Scripted) -> None:
    """They took "UIDNEXT is above the cursor" for mail that was not fetched, and warned for ever."""
    server = scripted()
    inbox = server.folder()
    for uid in (3, 7, 8, 500):
        inbox.add(mail(uid), uid=uid)
    del inbox.mails[-1]
    inbox.uidnext = 10_000
    home.account("work", server.port)
    home.make_archive()
    for number in range(3):
        asked = len(server.commands)
        result = home.good("sync")
        assert result.err == "" and ("3 new" if number == 0 else "nothing new") in result.out
        assert ("EXAMINE" in server.names()[asked:]) is (number == 0)
    assert home.good("sync", "--json").json()["accounts"][0]["folders"] == []
    (account,) = home.good("status", "--json").json()["accounts"]
    assert (account["failed"], account["error"]) == (0, None)
    assert "0 differences" in home.good("verify").out


WIRES = [
    b"Subject: x\r\n\r\ncrlf\r\n",
    b"Subject: x\n\nlf\n",
    b"Subject: x\r\n\nmixed\r\n\n",
    b"Subject: x\r\r\n\r\nlone \r here\r",
    b"Subject: no end\r\n\r\nno end",
    b"Subject: =?x?q?=ZZ?=\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nnever closed",
    b"Content-Transfer-Encoding: base64\r\n\r\n!!! no base64 !!!\r\n",
    b"From a@example.org Thu Jan  1 00:00:00 1970\r\nSubject: mbox\r\n\r\n.\r\n..\r\n>From x\r\n",
    bytes(range(256)),
    b"\r\n",
]


def test_mail_archiver_the_message_itself_is_kept_not_its_parts(home: Home, scripted: Scripted) -> None:
    """They kept headers, texts and attachments: what they gave back was another message."""
    server = scripted()
    wires = [*WIRES, *(path.read_bytes() for path in sorted(SAMPLES.glob("*.eml")))]
    for wire in wires:
        server.folder().add(wire)
    home.account("work", server.port)
    home.good("sync")
    for _ in range(2):
        assert [home.good("show", digest(wire), "--raw").raw for wire in wires] == wires
        for path in home.root.glob("ledger.sqlite3*"):
            path.unlink()
    for path in checks.files(str(home.root)):
        path.rename(path.with_name(re.sub(r",W=\d+", "", path.name)))
    home.call("verify", "--repair")
    assert [home.good("show", digest(wire), "--raw").raw for wire in wires] == wires
