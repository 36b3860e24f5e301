from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from archiver.errors import StoreError
from archiver.store.layout import FOLDER_FILE, read_folder_file
from tests.pull import checks
from tests.pull.conftest import Archive, mail
from tests.pull.steps import loaded, lose_ledger, mended


class TestHands:
    """Other programs and people at the files."""

    def test_a_deleted_file_is_reported_and_fetched_again(self, archive: Archive) -> None:
        server = loaded(1, 2)
        archive.pull(server.connect())
        checks.files(archive.root)[0].unlink()
        (finding,) = checks.findings(archive.root)
        assert (finding.kind, finding.folder, finding.harmless) == ("missing", "INBOX", False)
        assert archive.pull(server.connect()).folders == [], "gone here is not gone there"
        assert mended(archive) == {"work"}
        archive.pull(server.connect())
        checks.converged(archive.root, server.messages())

    def test_a_deleted_file_is_linked_from_its_twin(self, archive: Archive) -> None:
        server = loaded(1)
        server.folder("Work").add(mail(1))
        archive.pull(server.connect())
        checks.files(archive.root)[0].unlink()
        assert mended(archive) == set()
        checks.converged(archive.root, server.messages())

    def test_a_deleted_file_of_a_gone_message_stays_missing(self, archive: Archive) -> None:
        server = loaded(1, 2)
        archive.pull(server.connect())
        server.folder().expunge(1)
        archive.pull(server.connect())
        next(path for path in checks.files(archive.root) if ",U=1:" in path.name).unlink()
        mended(archive)
        archive.pull(server.connect())
        (finding,) = checks.findings(archive.root)
        assert (finding.kind, finding.gone) == ("missing", True)

    def test_a_damaged_file_is_set_aside_and_fetched_again(self, archive: Archive) -> None:
        server = loaded(1, 2)
        archive.pull(server.connect())
        path = checks.files(archive.root)[0]
        path.write_bytes(b"x" * path.stat().st_size)
        (finding,) = checks.findings(archive.root)
        assert finding.kind == "damaged"
        mended(archive)
        archive.pull(server.connect())
        checks.converged(archive.root, server.messages())
        (aside,) = (p for p in (archive.path / "quarantine").rglob("*") if p.is_file())
        assert aside.read_bytes().startswith(b"xxx")

    def test_a_deleted_folder_is_fetched_again(self, archive: Archive) -> None:
        server = loaded(1)
        server.folder("Work").add(mail(2))
        archive.pull(server.connect())
        shutil.rmtree(archive.mail / "Work")
        assert [f.kind for f in checks.findings(archive.root)] == ["missing"]
        mended(archive)
        archive.pull(server.connect())
        checks.converged(archive.root, server.messages())
        assert read_folder_file(str(archive.mail / "Work")) is not None

    def test_new_mail_for_a_folder_whose_directory_was_deleted(self, archive: Archive) -> None:
        server = loaded(1)
        server.folder("Work")
        archive.pull(server.connect())
        shutil.rmtree(archive.mail / "Work")
        server.folder("Work").add(mail(2))
        archive.pull(server.connect())
        checks.converged(archive.root, server.messages())

    def test_a_lost_w_is_no_lost_message(self, archive: Archive) -> None:
        server = loaded(1)
        archive.pull(server.connect())
        (path,) = checks.files(archive.root)
        path.rename(path.with_name(re.sub(",W=[0-9]+", "", path.name)))
        lose_ledger(archive)
        archive.pull(server.connect())
        checks.readable(archive.root, mail(1))
        assert checks.live(archive.root) == server.messages()

    def test_files_of_other_programs_are_left_alone(self, archive: Archive) -> None:
        server = loaded(1)
        archive.pull(server.connect())
        strangers = [
            archive.mail / "INBOX" / "cur" / "1600000000.M1P2.host:2,S",
            archive.mail / "INBOX" / "tmp" / "1600000000.M1P2.host",
        ]
        for stranger in strangers:
            stranger.write_bytes(b"Subject: mine\n\n")
        server.folder().add(mail(2))
        archive.pull(server.connect())
        lose_ledger(archive)
        archive.pull(server.connect())
        assert all(stranger.exists() for stranger in strangers)
        assert checks.live(archive.root) == server.messages()

    @pytest.mark.parametrize("times", [1, 2])
    def test_a_file_renamed_just_before_its_flags_are(
        self, archive: Archive, monkeypatch: pytest.MonkeyPatch, times: int
    ) -> None:
        server = loaded(1)
        archive.pull(server.connect())
        server.folder().flag(1, ["\\Flagged"])
        meddle(monkeypatch, times)
        archive.pull(server.connect())
        (spot,) = checks.spots(archive.root)
        assert spot.flags == "F"
        (path,) = checks.files(archive.root)
        assert path.name.endswith(":2,F" if times == 1 else ":2,RT")
        checks.readable(archive.root, mail(1))

    @pytest.mark.parametrize("times", [1, 2])
    def test_a_file_renamed_just_before_it_is_claimed(
        self, archive: Archive, monkeypatch: pytest.MonkeyPatch, times: int
    ) -> None:
        server = loaded(1)
        archive.pull(server.connect())
        server.folder().renumber(77)
        meddle(monkeypatch, times)
        archive.pull(server.connect())
        checks.readable(archive.root, mail(1))
        assert checks.live(archive.root) == server.messages()
        (new,) = (path for path in checks.files(archive.root) if ",V=77," in path.name)
        assert new.read_bytes()
        assert len(checks.files(archive.root)) == times

    def test_a_folder_that_cannot_be_read(self, archive: Archive) -> None:
        server = loaded(1)
        archive.pull(server.connect())
        described = archive.mail / "INBOX" / FOLDER_FILE
        described.unlink()
        described.symlink_to(described)
        server.folder().add(mail(2))
        with pytest.raises(StoreError, match="cannot"):
            archive.pull(server.connect())


def meddle(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Another program renames a message each time just before this one would."""
    rename, left = os.rename, ["T", "RT"][:times]

    def late(source: str, target: str) -> None:
        if left and "/cur/" in source:
            rename(
                source,
                Path(source).with_name(os.path.basename(source).partition(":")[0] + ":2," + left.pop(0)),
            )
        rename(source, target)

    monkeypatch.setattr(os, "rename", late)
