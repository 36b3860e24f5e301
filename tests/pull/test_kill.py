"""kill -9 between every two steps: the next run comes to the same archive as one that nobody disturbed."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.cli.conftest import home, pycache
from tests.cli.home import Home
from tests.pull import checks
from tests.pull.conftest import Archive, ArchiveOf, Scripted, mail, small_groups
from tests.pull.steps import NOON, Messages, crowd, facts, lose_ledger
from tests.servers.dovecot import Dovecot, User
from tests.servers.gmail import Gmail

__all__ = ["home", "pycache"]

PROJECT = Path(__file__).parent.parent.parent
# What every pull goes through; `created`, `linked`, `claimed` come where there is something to create...
ALWAYS = {"opened", "renamed", "written", "synced", "moved", "durable", "known", "fetched"}


def deliver(mailbox: User, folder: str, *numbers: int) -> None:
    for number in numbers:
        mailbox.save(mail(number), folder, date=NOON)


def first(mailbox: User, archive: Archive) -> set[str]:
    """Two new folders, with twins within and across."""
    mailbox.create("Work/Küche")
    deliver(mailbox, "INBOX", 1, 2, 3, 1, 4)
    deliver(mailbox, "Work/Küche", 5, 1, 6)
    return ALWAYS | {"created", "linked"}


def later(mailbox: User, archive: Archive) -> set[str]:
    """New mail, flags, something expunged, something moved, a new folder."""
    first(mailbox, archive)
    archive.sync()
    deliver(mailbox, "INBOX", 7, 8, 2, 9)
    mailbox.add_flags("INBOX", "1:3", "\\Seen", "$Later")
    mailbox.expunge("INBOX", "2")
    mailbox.create("New")
    mailbox.move("INBOX", "5", "New")
    return ALWAYS | {"created", "linked"}


def epoch(mailbox: User, archive: Archive) -> set[str]:
    """UIDs that mean nothing any more, in a folder with twins, expunged, new and flagged mail."""
    first(mailbox, archive)
    archive.sync()
    deliver(mailbox, "INBOX", 7, 1)
    mailbox.expunge("INBOX", "2")
    mailbox.add_flags("INBOX", "3", "\\Flagged")
    mailbox.set_uidvalidity("INBOX", mailbox.status()["uidvalidity"] + 1000)
    return ALWAYS | {"claimed", "linked"}


@pytest.mark.parametrize("scenario", [first, later, epoch])
def test_at_every_step(
    mailbox: User, archive_of: ArchiveOf, tmp_path: Path, scenario: Callable[[User, Archive], set[str]]
) -> None:
    archive = archive_of(mailbox.server, user=mailbox.name)
    archive.path.mkdir()
    steps_expected = scenario(mailbox, archive)
    die_at_every_step(archive, tmp_path, on_server(mailbox), steps_expected)


def test_at_every_step_on_gmail(scripted: Scripted, archive_of: ArchiveOf, tmp_path: Path) -> None:
    """What is known by name is linked in a new folder, and claimed in one that is counted anew."""
    gmail = Gmail(scripted())
    archive = archive_of(gmail.server)
    first = [gmail.deliver(mail(number), "\\Inbox") for number in range(5)]
    archive.sync()
    lose_ledger(archive)
    gmail.server.folder("INBOX").uidvalidity = 77
    for msgid in first[1:]:
        gmail.label(msgid, "\\Inbox", "Work")
    for number in (5, 6):
        gmail.deliver(mail(number), "Work")
    die_at_every_step(archive, tmp_path, gmail.messages(), ALWAYS | {"created", "linked", "claimed", "named"})


def test_at_every_step_of_renames(scripted: Scripted, archive_of: ArchiveOf, tmp_path: Path) -> None:
    """Two folders have each other's name, a third that of one that was deleted; and there is new mail."""
    server = scripted()
    server.account.late = (*server.account.late, "OBJECTID", "LIST-STATUS")
    for number, name in enumerate(("INBOX", "A", "B", "A/deep", "Old")):
        server.folder(name).extra["MAILBOXID"] = f"(F{number})"
        server.folder(name).add(mail(number), extra={"EMAILID": f"(M{number})"})
    archive = archive_of(server)
    archive.sync()
    server.account.folders.pop("Old")
    for old, new in {"A": "B", "B": "A", "A/deep": "Old"}.items():
        server.folder(old).name = new
    server.folder("A").add(mail(9), extra={"EMAILID": "(M9)"})
    messages = {(f.name, m.uid): m.raw for f in server.account.folders.values() for m in f.mails}
    die_at_every_step(archive, tmp_path, messages, ALWAYS | {"described", "carried", "left", "followed"})


def die_at_every_step(archive: Archive, tmp_path: Path, messages: Messages, steps_expected: set[str]) -> None:
    """Kill copies of the archive's next run at the first and the last time of each step, and go on."""
    undisturbed = copy_of(archive, tmp_path / "undisturbed")
    steps: Counter[str] = Counter()
    with small_groups():
        undisturbed.sync(fault=lambda step: steps.update([step]))
    checks.converged(undisturbed.root, messages)
    assert set(steps) == steps_expected
    deaths = [(step, number) for step, times in steps.items() for number in sorted({1, times})]

    def die_and_go_on(death: tuple[str, int]) -> None:
        killed = copy_of(archive, tmp_path / f"{death[0]}-{death[1]}")
        kill(killed, *death)
        killed.sync()
        try:
            checks.converged(killed.root, messages)
            assert facts(killed) == facts(undisturbed)
        except AssertionError as error:
            raise AssertionError(f"killed at {death}: {error}") from error
        assert killed.sync().folders == []

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(die_and_go_on, deaths))


def on_server(mailbox: User) -> Messages:
    """What Dovecot has, asked for by its own means."""
    found: Messages = {}
    for folder in set(mailbox.folders()) - {"Work"}:  # which is only a level
        for uid in mailbox.uids(folder):
            where = ("-u", mailbox.name, "text", "mailbox", folder, "uid", str(uid))
            _, _, text = mailbox.server.doveadm("fetch", *where).partition("text:\n")
            found[folder, uid] = text.rstrip("\n\f").encode().replace(b"\n", b"\r\n") + b"\r\n"
    return found


def copy_of(archive: Archive, path: Path) -> Archive:
    shutil.copytree(archive.path, path)
    return Archive(path, archive.imap, now=archive.now)


def drive(archive: Archive, *options: str) -> subprocess.CompletedProcess[str]:
    where = [str(archive.path), str(archive.imap.port), archive.imap.user]
    command = [sys.executable, "-m", "tests.pull.driver", *where, *options]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)


def kill(archive: Archive, step: str, number: int) -> None:
    done = drive(archive, "--kill", step, str(number))
    assert done.returncode == -signal.SIGKILL, done


def test_no_room_for_a_message(mailbox: User, archive_of: ArchiveOf) -> None:
    """A limit on the size of files meets the large message in the middle, as a full disk would."""
    archive = archive_of(mailbox.server, user=mailbox.name)
    texts = {uid: "x" * (3_000_000 if uid == 4 else 100) for uid in range(1, 8)}
    for uid, text in texts.items():
        mailbox.save(mail(uid, text), date=NOON)
    done = drive(archive, "--room", "1000000")
    assert done.returncode == 75, done
    assert "make room" in done.stderr
    kept = checks.live(archive.root)
    assert {uid for _, uid in kept} >= {1, 2, 3}
    assert checks.findings(archive.root) == []
    assert archive.sync().complete
    checks.converged(archive.root, {("INBOX", uid): mail(uid, text) for uid, text in texts.items()})


MANY = 5000
COPIED = 200


def test_at_any_instant(dovecot: Dovecot, home: Home, rounds: int) -> None:
    """The real command on a new archive, killed at a random moment of pulling or of indexing, and run again.

    Each round ends as if nobody had disturbed it: nothing missing, nothing twice, no byte changed.
    """
    user, contents = crowd(dovecot, MANY)
    user.create("Copy")
    user.copy("INBOX", f"1:{COPIED}", "Copy")
    home.mailbox(user)
    pulling = duration(home, "sync", "--no-index")
    indexing = duration(home, "sync")
    messages = checks.live(str(home.root))
    assert len(messages) == MANY + COPIED
    chance = random.Random(rounds)
    killed = 0
    for number in range(rounds):
        shutil.rmtree(home.root)
        part = ("--no-index",) if number % 2 == 0 else ()
        moment = chance.uniform(0.1, pulling + (0 if part else indexing))
        killed += kill_at(moment, home, *part, group=chance.random() < 0.5)
        assert home.run("sync", "--json").code == 0
        try:
            undisturbed(home, messages, contents)
        except AssertionError as error:
            raise AssertionError(f"killed after {moment:.3f} s of sync {' '.join(part)}: {error}") from error
    assert killed, "none was killed in time"


def duration(home: Home, *verb: str) -> float:
    begun = time.monotonic()
    assert home.run(*verb).code == 0
    return time.monotonic() - begun


def kill_at(moment: float, home: Home, *options: str, group: bool) -> bool:
    """Run a sync for so many seconds; whether it was killed then, alone or with every process it started."""
    with home.spawn("sync", *options, start_new_session=True) as process:
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            (os.killpg if group else os.kill)(process.pid, signal.SIGKILL)
        return process.wait() == -signal.SIGKILL


def undisturbed(home: Home, messages: Messages, contents: int) -> None:
    """Each of these messages is archived, once, whole and indexed; so says also `verify --server`."""
    result = home.run("verify", "--server", "--json")
    found = result.json()["found"]
    assert (result.code, found["findings"][:3]) == (0, [])
    assert found["places"] == found["files"] == found["server"]["messages"] == len(messages)
    assert found["documents"] == found["indexed"] == contents
    assert checks.live(str(home.root)) == messages
    checks.nothing_between(str(home.root))
    assert home.run("search", "subject:message", "--json", "--limit", "1").json()["total"] == contents
