from __future__ import annotations

import re
import shutil

from archiver.store.layout import read_folder_file
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
