"""What tests of import and export share: archives with mail in them, and imports into them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from archiver.exchange import ExportReport, ImportReport, Wanted, give, guess_format, mbox, take
from archiver.exchange.mbox import render
from archiver.store.reader import Reader
from tests.pull.conftest import small_groups
from tests.store.conftest import fast_directory
from tests.store.tree import Tree

NOW = 1_750_000_000.0


class Box(Tree):
    """An archive that takes mail in and hands it out."""

    def take(self, source: Path | str, account: str = "old", **options: object) -> ImportReport:
        report = ImportReport(account=account, source=str(source))
        take(report, self.ledger, now=lambda: NOW, **options)  # type: ignore[arg-type]
        return report

    def give(self, path: Path | str, **wanted: object) -> ExportReport:
        format_ = wanted.pop("format", None) or guess_format(str(path))
        return give(self.ledger, Wanted(**wanted), str(path), format_)  # type: ignore[arg-type]

    def wires(self, account: str = "old") -> dict[str, list[bytes]]:
        """Folder -> the messages of it, oldest first, each read from its own file."""
        reader = Reader(self.ledger)
        found: dict[str, list[bytes]] = {}
        for folder in self.ledger.folders(account):
            spots = [*self.ledger.spots_of_folder(folder.id)]
            assert all(reader.path(spot) for spot in spots)
            found[folder.name] = [reader.wire(spot.key) for spot in spots]
        return found

    def facts(self, account: str = "old") -> set[tuple[str, bytes, int, str]]:
        """Folder, key, date and flags of every place."""
        return {
            (folder.name, spot.key, spot.received, spot.flags)
            for folder in self.ledger.folders(account)
            for spot in self.ledger.spots_of_folder(folder.id)
        }


def maildir(path: Path, *contents: bytes, flags: str = "", sub: str = "cur") -> None:
    for part in ("cur", "new", "tmp"):
        (path / part).mkdir(parents=True, exist_ok=True)
    for number, wire in enumerate(contents):
        tail = f":2,{flags}" if sub == "cur" else ""
        (path / sub / f"16000000{number:02}.M1P2.host{tail}").write_bytes(wire.replace(b"\r\n", b"\n"))


def mbox_of(*contents: bytes) -> bytes:
    return b"".join(render(wire, 1_600_000_000)[0] for wire in contents)


def numbers(box: Box, account: str = "old") -> dict[str, list[int]]:
    return {
        name: sorted(
            int(wire.split(b"number ")[1].split(b"\r" if b"\r" in wire else b"\n")[0]) for wire in wires
        )
        for name, wires in box.wires(account).items()
    }


@contextmanager
def little() -> Iterator[None]:
    """Let three messages make a group, and few kilobytes a message too large to hold."""
    with small_groups(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(mbox, "LARGE", 5000)
        yield


@pytest.fixture
def box() -> Iterator[Box]:
    with fast_directory() as path:
        made = Box(path)
        yield made
        made.ledger.close()


@pytest.fixture
def fast_path() -> Iterator[Path]:
    """A directory in memory, for thousands of files."""
    with fast_directory() as path:
        yield Path(path)
