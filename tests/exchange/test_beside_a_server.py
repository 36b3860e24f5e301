"""Imported mail in folders that are pulled, too: no server is ever compared with it."""

from __future__ import annotations

from pathlib import Path

from archiver.exchange import ImportReport, take
from archiver.store.ledger import Ledger
from tests.exchange.conftest import NOW, mbox_of
from tests.pull import checks
from tests.pull.conftest import Archive, archive
from tests.servers.fake import FakeServer
from tests.store.tree import message

__all__ = ["archive"]


def take_into(archive: Archive, source: Path, folder: str | None = None) -> ImportReport:
    report = ImportReport(account="work", source=str(source))
    with Ledger(archive.root) as ledger:
        take(report, ledger, folder=folder, now=lambda: NOW)
    return report


def test_no_pull_touches_it(archive: Archive, tmp_path: Path) -> None:
    server = FakeServer()
    server.folder().add(message(1))
    server.folder("Sent").add(message(2))
    archive.pull(server.connect())
    (tmp_path / "in").write_bytes(mbox_of(message(1), message(3)))
    report = take_into(archive, tmp_path / "in")
    assert (report.stored, report.known) == (1, 1)
    take_into(archive, tmp_path / "in", folder="Only here")
    for change in ("nothing", "epoch", "expunged"):
        if change == "epoch":
            server.folder().uidvalidity = 99
        if change == "expunged":
            server.folders.pop("Sent")
        assert archive.pull(server.connect()).complete
        imported = [spot for spot in checks.spots(archive.root) if spot.uid < 0]
        assert {(spot.folder, spot.gone, spot.current) for spot in imported} == {
            ("INBOX", 0, 0),
            ("Only here", 0, 0),
        }
        assert len(imported) == 3
        assert checks.findings(archive.root) == []


def test_a_server_that_has_such_a_folder_later_shares_it(archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(mbox_of(message(1), message(2)))
    take_into(archive, tmp_path / "in", folder="Lists/a")
    server = FakeServer()
    server.folder("Lists/a").add(message(1))
    report = archive.pull(server.connect())
    assert (report.total("stored"), report.total("linked")) == (1, 1)
    assert not any(folder.new_epoch for folder in report.folders)
    assert {spot.path for spot in checks.spots(archive.root)} == {"work/Lists/a"}
    assert len(checks.spots(archive.root)) == 3
    assert checks.findings(archive.root) == []
