"""`archiver show` and `archiver attachments`: the message, and nothing of it that could do harm."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from tests.cli import mails
from tests.cli.home import Home, complains, fails


def id_of(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()[:8]


def harmless(text: str) -> bool:
    return not [char for char in text if not char.isprintable() and char not in "\r\n\t"]


class TestShow:
    def test_a_message(self, library: Home) -> None:
        assert library.good("show", id_of(mails.INVOICE)).lines() == [
            "From:       Alice Example <alice@example.org>",
            "To:         Bob Example <bob@example.org>",
            "Date:       2024-03-01 09:00",
            "Subject:    Invoice for March",
            "Where:      work/INBOX [FS]",
            f"Key:        {hashlib.sha256(mails.INVOICE).hexdigest()}",
            "",
            "Dear Bob,",
            "the invoice for March is 120 euros.",
            "Alice",
        ]

    def test_every_place_and_what_is_gone(self, library: Home) -> None:
        places = [line for line in library.good("show", id_of(mails.TWICE)).lines() if "Where:" in line]
        assert places == ["Where:      work/INBOX [S]", "Where:      work/Kept [S]"]
        assert "work/INBOX [S], gone from the server since 20" in library.good("show", id_of(mails.GONE)).out

    def test_attachments(self, library: Home) -> None:
        shown = library.good("show", id_of(mails.PARTS)).out
        assert "Attached:   report.txt (application/octet-stream, 16 B)\n" in shown
        assert "See the attachments." in shown

    def test_html_as_text(self, library: Home) -> None:
        shown = library.good("show", id_of(mails.PAGE)).out
        assert "Welcome to the garden club" in shown and "alert" not in shown and "<p>" not in shown

    @pytest.mark.parametrize("digits", [4, 9, 64])
    def test_any_beginning_of_the_key_is_an_id(self, library: Home, digits: int) -> None:
        whole = hashlib.sha256(mails.INVOICE).hexdigest()
        assert "Invoice for March" in library.good("show", whole[:digits].upper()).out

    @pytest.mark.parametrize("letter", mails.LIBRARY[:9])
    def test_raw_is_what_the_server_sent(self, library: Home, letter: mails.Letter) -> None:
        result = library.good("show", "--raw", id_of(letter.raw))
        assert (result.raw, result.err) == (letter.raw, "")

    def test_html_as_it_was_sent(self, library: Home) -> None:
        raw = library.good("show", "--html", id_of(mails.PAGE)).raw
        assert b"<script>alert(1)</script>" in raw and "\u202eexe.txt".encode() in raw
        fails(library, ["show", "--html", id_of(mails.INVOICE)], 2, "no HTML part", "without --html")

    def test_headers(self, library: Home) -> None:
        lines = library.good("show", "--headers", id_of(mails.CHINESE)).lines()
        assert lines[0] == "From: 王小明 <wang@example.org>"
        assert "Subject: 项目会议纪要" in lines and len(lines) == 7

    def test_one_form_at_a_time(self, library: Home) -> None:
        fails(library, ["show", "--raw", "--html", id_of(mails.PAGE)], 2, "exclude each other", "choose one")

    def test_a_file_that_is_gone_or_damaged(self, own_library: Home) -> None:
        (path,) = own_library.good("search", "invoice", "--format", "paths").lines()
        content = bytearray(Path(path).read_bytes())
        content[-5] ^= 1
        Path(path).write_bytes(content)
        fails(own_library, ["show", id_of(mails.INVOICE)], 1, "damaged", path, "verify --repair")
        Path(path).unlink()
        fails(
            own_library,
            ["show", "--raw", id_of(mails.INVOICE)],
            2,
            "gone from the archive",
            "verify --repair",
        )


class TestHostile:
    """Nothing that a sender wrote steers a terminal, whichever way it is shown."""

    @pytest.mark.parametrize("raw", [mails.STEERING, mails.PAGE, mails.PARTS, mails.MARKUP])
    @pytest.mark.parametrize("form", [(), ("--headers",)])
    def test_shown(self, library: Home, raw: bytes, form: tuple[str, ...]) -> None:
        result = library.good("show", *form, id_of(raw))
        assert harmless(result.out)
        assert "[31mred" in result.out or raw == mails.MARKUP or form

    @pytest.mark.parametrize("form", [(), ("--headers",), ("--raw",)])
    def test_shown_on_a_terminal(self, library: Home, form: tuple[str, ...]) -> None:
        code, text = library.terminal("show", *form, id_of(mails.STEERING))
        assert code == 0 and harmless(text)
        assert "last line" in text or form == ("--headers",)

    def test_html_on_a_terminal(self, library: Home) -> None:
        code, text = library.terminal("show", "--html", id_of(mails.PAGE))
        assert code == 0 and harmless(text) and "<script>" in text

    @pytest.mark.parametrize("form", [(), ("--json",), ("--format", "paths")])
    def test_found(self, library: Home, form: tuple[str, ...]) -> None:
        result = library.good("search", "steering OR markup", *form)
        assert harmless(result.out) and result.out

    def test_json_keeps_the_letters_for_programs(self, library: Home) -> None:
        data = library.good("search", "--json", "subject:look").json()
        assert "\u202e" in data["hits"][0]["subject"]

    def test_listed(self, library: Home) -> None:
        result = library.good("attachments", id_of(mails.PARTS))
        assert harmless(result.out) and "[31mred" in result.out


class TestAttachments:
    def test_listed(self, library: Home) -> None:
        lines = library.good("attachments", id_of(mails.PARTS)).lines()
        assert [line.split()[0] for line in lines] == ["2", "3", "4", "5", "6", "7", "8"]
        assert lines[0] == f"2           16 B  {'application/octet-stream':<32} report.txt"
        assert lines[-1].endswith(" 発表.pdf")

    def test_none(self, library: Home) -> None:
        for more in ((), ("--save", str(library.path / "nothing"))):
            result = library.good("attachments", id_of(mails.INVOICE), *more)
            assert (result.out, result.err) == ("", "no attachments\n")

    def test_saved_under_safe_names(self, library: Home, tmp_path: Path) -> None:
        target = tmp_path / "deep" / "down"
        result = library.good("attachments", id_of(mails.PARTS), "--save", str(target))
        paths = [Path(line) for line in result.lines()]
        assert [path.read_text() for path in paths] == [content for _, content in mails.ATTACHED]
        assert {path.parent for path in paths} == {target} and set(target.iterdir()) == set(paths)
        names = [path.name for path in paths]
        assert names[:2] == ["report.txt", "report-2.txt"] and names[-1] == "発表.pdf"
        assert all(harmless(name) and not name.startswith(".") for name in names)
        assert {path.stat().st_mode & 0o777 for path in paths} == {0o600}

    def test_nothing_is_overwritten_and_no_link_followed(self, library: Home, tmp_path: Path) -> None:
        outside, target = tmp_path / "outside", tmp_path / "target"
        target.mkdir()
        (target / "report.txt").write_text("mine")
        (target / "report-2.txt").symlink_to(outside)
        result = library.good("attachments", id_of(mails.PARTS), "--save", str(target))
        assert [os.path.basename(line) for line in result.lines()[:2]] == ["report-3.txt", "report-4.txt"]
        assert (target / "report.txt").read_text() == "mine"
        assert not outside.exists() and (target / "report-2.txt").is_symlink()

    def test_twice_is_two_sets(self, library: Home, tmp_path: Path) -> None:
        for _ in range(2):
            library.good("attachments", id_of(mails.PARTS), "--save", str(tmp_path))
        assert len(list(tmp_path.iterdir())) == 2 * len(mails.ATTACHED)

    def test_where_it_cannot_be_saved(self, library: Home, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("mine")
        where = str(tmp_path / "file" / "below")
        fails(
            library, ["attachments", id_of(mails.PARTS), "--save", where], 1, "cannot save", "Not a directory"
        )
        assert (tmp_path / "file").read_text() == "mine"

    def test_of_no_message(self, library: Home) -> None:
        complains(library.call("attachments"), 2, "Missing argument 'ID'", "archiver attachments --help")
