"""An archive made by hand: messages filed as a pull files them, without a server."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from archiver.store.durable import Syncer
from archiver.store.layout import FolderFile, claim_folder, ledger_path, mail_root
from archiver.store.ledger import Ledger
from archiver.store.maildir import Group, Name, key_of, to_file
from archiver.store.records import Folder, NewPlace


def message(number: int, body: str = "") -> bytes:
    """A small message that differs from every other number's."""
    return (
        f"From: Sender {number} <sender{number}@example.org>\r\nTo: me@example.org\r\n"
        f"Subject: Message number {number}\r\nDate: Mon, 02 Jan 2023 03:04:05 +0000\r\n"
        f"Message-ID: <{number}@example.org>\r\n\r\n{body or f'Body of word{number}.'}\r\n"
    ).encode()


class Plain(Syncer):
    """fsync of each file, one after the other."""

    def __init__(self) -> None:
        pass

    @contextmanager
    def group(self, folder: str) -> Iterator[Callable[[Sequence[str]], None]]:
        yield self._each

    def _each(self, paths: Sequence[str]) -> None:
        for path in paths:
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


class Tree:
    """A root directory and a ledger; `file` puts messages into both."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.ledger = Ledger(root)

    def folder(self, name: str = "INBOX", account: str = "work", uidvalidity: int = 7) -> Folder:
        """A folder of this name in its present epoch, which begins with its first message."""
        path = claim_folder(self.root, account, FolderFile(name, name, "/"))
        folder = self.ledger.add_folder(account, name, name, path)
        if folder.uidvalidity != uidvalidity:
            self.ledger.new_epoch(folder.id, uidvalidity)
        return self.ledger.folder(folder.id)

    def file(
        self,
        folder: Folder,
        wires: Sequence[bytes],
        first: int = 1,
        flags: str = "",
        received: int = 1_600_000_000,
    ) -> list[str]:
        """File messages from UID `first` on, each a minute younger than the one before; their paths."""
        group = Group(self.directory(folder))
        places = []
        for uid, wire in enumerate(wires, first):
            data, size = to_file(wire)
            name = Name(
                received + 60 * uid, key_of(wire).hex()[:32], len(data), size, folder.uidvalidity, uid
            )
            group.add(f"{name}:2,{flags}", data, name.received)
            places.append(NewPlace(uid, key_of(wire), len(wire), name.received, str(name), flags, ""))
        group.commit(Plain(), lambda step: None)
        self.ledger.add_places(folder, places)
        return [os.path.join(self.directory(folder), "cur", f"{each.file}:2,{flags}") for each in places]

    def directory(self, folder: Folder) -> str:
        return os.path.join(mail_root(self.root), folder.path)

    def lose_ledger(self) -> Ledger:
        """Delete the ledger; an empty one."""
        self.ledger.close()
        for end in ("", "-wal", "-shm"):
            if os.path.exists(path := os.path.join(self.root, "ledger.sqlite3" + end)):
                os.unlink(path)
        self.ledger = Ledger(self.root)
        return self.ledger


class Backup:
    """A copy of a tree's ledger as it is now."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._path = Path(ledger_path(tree.root))
        tree.ledger._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._bytes = self._path.read_bytes()

    def put_back(self) -> None:
        self._tree.lose_ledger().close()
        for end in ("-wal", "-shm"):
            Path(f"{self._path}{end}").unlink(missing_ok=True)
        self._path.write_bytes(self._bytes)
        self._tree.ledger = Ledger(self._tree.root)


def forget(ledger: Ledger, place: int) -> None:
    """Let the ledger lack a place, as if it had never known of it, and not be sure of the folder."""
    with ledger.transaction():
        ledger._db.execute(
            "UPDATE folder SET uidnext = NULL WHERE id = (SELECT folder FROM place WHERE id = ?)", (place,)
        )
        ledger._db.execute("DELETE FROM place WHERE id = ?", (place,))
