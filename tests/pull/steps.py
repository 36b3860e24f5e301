"""What tests of pulling do to servers and archives."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from archiver.archive.repair import repair
from archiver.search.index import open_index
from archiver.store.layout import index_path
from archiver.store.ledger import Ledger
from archiver.store.rebuild import rebuild
from archiver.store.records import Spot
from archiver.verify import verify
from tests.conftest import AnyUser
from tests.pull import checks
from tests.pull.conftest import Archive, mail
from tests.servers.dovecot import Dovecot, User
from tests.servers.fake import FakeServer

Messages = dict[tuple[str, int], bytes]
NOON = datetime(2021, 3, 4, 12, 0, 5, tzinfo=UTC)


def delivered(mailbox: AnyUser, *numbers: int, folder: str = "INBOX") -> Messages:
    """Messages put into a folder of a real server's."""
    return {(folder, mailbox.save(mail(number), folder, date=NOON)): mail(number) for number in numbers}


def loaded(*numbers: int, condstore: bool = True) -> FakeServer:
    """A fake server with these messages in INBOX."""
    server = FakeServer(condstore=condstore)
    for number in numbers:
        server.folder().add(mail(number))
    return server


def fetches(asked: list[tuple[object, ...]]) -> list[object]:
    """The UIDs whose content was asked for."""
    return [uid for call in asked if call[0] == "fetch" for uid in call[2:]]


def lose_ledger(archive: Archive) -> None:
    """Delete the ledger and make it anew from the files."""
    for path in archive.path.glob("ledger.sqlite3*"):
        path.unlink()
    with Ledger(archive.root) as ledger:
        rebuild(ledger)
        ledger.rebuilt()


def mended(archive: Archive) -> set[str]:
    """`verify --repair`, without the pull that follows it."""
    with Ledger(archive.root) as ledger:
        index = open_index(index_path(archive.root))
        try:
            return repair(ledger, index, verify(ledger, index).findings)
        finally:
            index.close()


def facts(archive: Archive) -> list[tuple[object, ...]]:
    """What the ledger says, apart from its row numbers and times."""
    spots = (msgspec.structs.astuple(spot) for spot in map(timeless, checks.spots(archive.root)))
    return sorted(spots)


def timeless(spot: Spot) -> Spot:
    """A place without row numbers and times, and of an earlier epoch without a UID."""
    uid = spot.uid if spot.current else 0
    return msgspec.structs.replace(spot, id=0, folder_id=0, gone=int(spot.gone > 0), uid=uid)


def crowd(dovecot: Dovecot, number: int) -> tuple[User, int]:
    """A user with so many messages in INBOX, one in ten a twin of another, and how many contents they are."""
    user = dovecot.new_user()
    source = dovecot.directory / f"crowd-{user.name}"
    for sub in ("cur", "new", "tmp"):
        (source / sub).mkdir(parents=True)
    contents = [mail(n - (n % 10 == 1), "x" * (n // 10 % 50 * 40)) for n in range(number)]
    for n, content in enumerate(contents):
        path = source / "cur" / f"{1_600_000_000 + n}.M{n}.host:2,"
        path.write_bytes(content.replace(b"\r\n", b"\n"))
    user.import_maildir(source)
    return user, len(set(contents))
