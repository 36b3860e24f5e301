"""Sources that lie, are damaged, or hold no mail: nothing leaves the archive's tree, and all is said."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from archiver.errors import ArchiverError, NotFoundError, SourceError, UsageError
from tests.exchange.conftest import Box, maildir, numbers
from tests.pull import checks
from tests.store.tree import message


class TestHostile:
    def test_paths_that_lead_out(self, box: Box, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
            for name in ("../up.eml", "/abs.eml", "a/../../b.eml", "good/x.eml", "n" * 5000 + "/x.eml"):
                archive.writestr(name, message(len(name)))
        report = box.take(tmp_path / "in.zip")
        assert (report.stored, report.failed) == (1, 4)
        assert set(box.wires()) == {"good"}
        assert sorted(os.listdir(tmp_path)) == ["in.zip"]

    def test_names_told_in_a_folder_file(self, box: Box, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
            archive.writestr("a/x.eml", message(1))
            archive.writestr("b/x.eml", message(2))
            archive.writestr("a/.folder.json", '{"raw": "a", "name": "../../../etc//cur", "delimiter": "/"}')
            archive.writestr("b/.folder.json", '{"raw": 1')
        box.take(tmp_path / "in.zip")
        assert set(box.wires()) == {"../../../etc/cur", "b"}
        mail = Path(box.root) / "mail"
        assert all(mail in path.resolve().parents for path in checks.files(box.root))
        assert {path.relative_to(mail).parts[0] for path in checks.files(box.root)} == {"old"}

    def test_links_and_devices(self, box: Box, tmp_path: Path) -> None:
        secret = tmp_path / "secret"
        secret.write_bytes(message(1))
        into = tmp_path / "in"
        into.mkdir()
        (into / "link.eml").symlink_to(secret)
        (into / "directory").symlink_to(tmp_path)
        os.mkfifo(into / "pipe.eml")
        (into / "good.eml").write_bytes(message(2))
        report = box.take(into)
        assert (report.stored, report.failed) == (1, 3)
        with tarfile.open(tmp_path / "in.tar", "w") as archive:
            archive.add(into, "in")
            hard = tarfile.TarInfo("hard.eml")
            hard.type, hard.linkname = tarfile.LNKTYPE, str(secret)
            archive.addfile(hard)
        report = box.take(tmp_path / "in.tar", "tar")
        assert (report.stored, report.failed) == (1, 4)
        link = zipfile.ZipInfo("link.eml")
        link.external_attr = 0o120777 << 16
        with zipfile.ZipFile(tmp_path / "in.zip", "w") as zipped:
            zipped.writestr(link, str(secret))
            zipped.writestr("good.eml", message(2))
        report = box.take(tmp_path / "in.zip", "zip")
        assert (report.stored, report.failed) == (1, 1)

    @pytest.mark.parametrize("packed", ["zip", "tar"])
    def test_a_bomb(self, box: Box, tmp_path: Path, packed: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("archiver.exchange.sources.MOST_ANYWAY", 1 << 20)
        path = tmp_path / "in"
        zeros = b"Subject: zeros\r\n\r\n" + bytes(1 << 20)
        if packed == "zip":
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr("0.eml", message(1))
                for number in range(1, 9):
                    archive.writestr(f"{number}.eml", zeros)
        else:
            with tarfile.open(path, "w:xz") as tar:
                for number in range(9):
                    data = zeros if number else message(1)
                    info = tarfile.TarInfo(f"{number}.eml")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
        with pytest.raises(ArchiverError, match="200 times"):
            box.take(path)
        assert message(1) in box.wires()["INBOX"]
        assert checks.findings(box.root) == []

    def test_a_header_of_a_tar_that_claims_a_gigabyte(self, box: Box, tmp_path: Path) -> None:
        huge = tarfile.TarInfo("pax")
        huge.type, huge.size = tarfile.XHDTYPE, 1 << 30
        good = tarfile.TarInfo("a.eml")
        good.size = len(message(1))
        with open(tmp_path / "in.tar", "wb") as file:
            file.write(good.tobuf() + message(1).ljust(512, b"\0"))
            file.write(huge.tobuf())
            file.truncate((1 << 30) + 10_000)
        report = box.take(tmp_path / "in.tar")
        assert (report.stored, report.failed) == (1, 1)

    @pytest.mark.parametrize("packing", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    def test_little_is_unpacked_at_once_where_much_may_come_out(
        self, box: Box, tmp_path: Path, packing: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked = []

        class Member(zipfile.ZipExtFile):
            def read(self, size: int | None = -1) -> bytes:
                asked.append(size or -1)
                return super().read(size)

        with zipfile.ZipFile(tmp_path / "in.zip", "w", packing) as archive:
            archive.writestr("a.eml", message(1) + b"x\r\n" * 10_000)
        monkeypatch.setattr(zipfile, "ZipExtFile", Member)
        assert box.take(tmp_path / "in.zip").stored == 1
        assert len(asked) > 5 and 0 < min(asked) <= max(asked) <= 4096
        assert message(1) + b"x\r\n" * 10_000 in box.wires()["INBOX"]

    @pytest.mark.parametrize(
        "headers",
        [
            {"mtime": "inf"},
            {"mtime": "nan"},
            {"GNU.sparse.size": "many"},
            {"GNU.sparse.map": "a,b", "GNU.sparse.size": "1"},
            {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "1"},
        ],
        ids=str,
    )
    def test_numbers_in_a_header_of_a_tar_that_are_none(
        self, box: Box, tmp_path: Path, headers: dict[str, str]
    ) -> None:
        with tarfile.open(tmp_path / "in.tar", "w", format=tarfile.PAX_FORMAT) as archive:
            for number, more in enumerate(({}, headers)):
                info = tarfile.TarInfo(f"{number}.eml")
                info.size, info.pax_headers = len(message(number)), more
                archive.addfile(info, io.BytesIO(message(number)))
        report = box.take(tmp_path / "in.tar")
        assert (report.stored, report.failed) == (1, 1)

    @pytest.mark.parametrize("everywhere", [True, False])
    def test_a_name_in_a_zip_that_is_no_text(self, box: Box, tmp_path: Path, everywhere: bool) -> None:
        with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
            archive.writestr("\u00e9.eml", message(1))
            archive.writestr("good.eml", message(2))
        data = (tmp_path / "in.zip").read_bytes()
        (tmp_path / "in.zip").write_bytes(
            data.replace("\u00e9".encode(), b"\xff\xff", 2 if everywhere else 1)
        )
        if everywhere:
            with pytest.raises(SourceError, match="damaged"):
                box.take(tmp_path / "in.zip")
        else:
            report = box.take(tmp_path / "in.zip")
            assert (report.stored, report.failed) == (1, 1)

    def test_a_zip_of_a_version_that_nobody_knows(self, box: Box, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
            archive.writestr("a.eml", message(1))
        data = bytearray((tmp_path / "in.zip").read_bytes())
        data[(at := data.index(b"PK\x01\x02") + 6) : at + 2] = b"\xff\xff"
        (tmp_path / "in.zip").write_bytes(data)
        with pytest.raises(SourceError, match="damaged"):
            box.take(tmp_path / "in.zip")

    def test_an_encrypted_member(self, box: Box, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
            archive.writestr("a.eml", message(1))
            archive.writestr("b.eml", message(2))
        data = bytearray((tmp_path / "in.zip").read_bytes())
        at = data.rindex(b"PK\x01\x02")
        data[at + 8] |= 1
        (tmp_path / "in.zip").write_bytes(data)
        report = box.take(tmp_path / "in.zip")
        assert (report.stored, [each.why for each in report.failures]) == (1, ["it is encrypted"])


class TestDamage:
    def test_a_member_whose_bytes_rotted(self, box: Box, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
            for number in range(3):
                archive.writestr(f"{number}.eml", message(number))
        data = (tmp_path / "in.zip").read_bytes().replace(b"word1", b"ward1")
        (tmp_path / "in.zip").write_bytes(data)
        report = box.take(tmp_path / "in.zip")
        assert numbers(box) == {"INBOX": [0, 2]}
        assert [each.where for each in report.failures] == ["1.eml"]

    @pytest.mark.parametrize("mode", ["", "gz", "xz"])
    def test_a_tar_that_was_cut(self, box: Box, tmp_path: Path, mode: str) -> None:
        path = tmp_path / "in.tar"
        with tarfile.open(path, f"w:{mode}") as archive:  # type: ignore[call-overload]
            for number in range(60):
                info = tarfile.TarInfo(f"{number}.eml")
                data = message(number) + os.urandom(3000)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        with open(path, "r+b") as file:
            file.truncate(path.stat().st_size // 2)
        report = box.take(path)
        assert 5 < report.stored < 40 and report.failed in (1, 2)
        assert any("cut short" in each.why for each in report.failures)

    def test_a_tar_that_was_cut_between_two_files(self, box: Box, tmp_path: Path) -> None:
        path = tmp_path / "in.tar"
        with tarfile.open(path, "w") as archive:
            for number in range(4):
                info = tarfile.TarInfo(f"{number}.eml")
                info.size = len(message(number))
                archive.addfile(info, io.BytesIO(message(number)))
        with open(path, "r+b") as file:
            file.truncate(2048)
        report = box.take(path)
        assert (report.stored, report.failed) == (2, 1)

    def test_a_file_of_ours_that_rotted(self, box: Box, tmp_path: Path) -> None:
        box.file(box.folder(), [message(1), message(2)])
        box.give(tmp_path / "maildir", account="work")
        path = next((tmp_path / "maildir").rglob("*.archiver*"))
        path.write_bytes(path.read_bytes().replace(b"Body", b"body"))
        report = box.take(tmp_path / "maildir")
        assert (report.stored, report.failed) == (1, 1)
        assert "name speaks of" in report.failures[0].why

    def test_a_file_that_goes_meanwhile_ends_nothing(self, box: Box, tmp_path: Path) -> None:
        maildir(tmp_path / "in", *map(message, range(3)))

        def read_elsewhere(messages: int, size: int) -> None:
            for path in (tmp_path / "in" / "cur").glob("1600000001.*:2,"):
                path.rename(f"{path}S")

        report = box.take(tmp_path / "in", advance=read_elsewhere)
        assert (report.stored, report.failed) == (2, 1)
        assert "No such file" in report.failures[0].why
        assert (report := box.take(tmp_path / "in")).stored == 1 and report.failed == 0

    def test_an_empty_file_among_others(self, box: Box, tmp_path: Path) -> None:
        maildir(tmp_path / "in", message(1), b"")
        report = box.take(tmp_path / "in")
        assert (report.stored, report.failed) == (1, 1)


class TestNoMail:
    def test_nothing_there(self, box: Box, tmp_path: Path) -> None:
        with pytest.raises(NotFoundError):
            box.take(tmp_path / "missing")
        with pytest.raises(NotFoundError):
            box.take(tmp_path / "missing" / "deep")

    @pytest.mark.parametrize("data", [b"", b"\n\n", b"\x89PNG\r\n\x1a\n", b"Dear Bob,\nFrom now on\n"])
    def test_a_file_of_another_kind(self, box: Box, tmp_path: Path, data: bytes) -> None:
        (tmp_path / "x").write_bytes(data)
        with pytest.raises(UsageError, match=r"no mail|is empty"):
            box.take(tmp_path / "x")

    def test_a_directory_without_any(self, box: Box, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("no mail")
        with pytest.raises(UsageError, match="holds no mail"):
            box.take(tmp_path)
        assert box.ledger.folders() == []
