"""On a terminal: the hits with what was found marked, the progress of a sync, colours where wanted."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest

from archiver.cli.text import columns
from tests.cli.home import Home
from tests.cli.mails import mail
from tests.servers.scripted import ScriptedServer, late, stall

STYLE = re.compile(r"\x1b\[[0-9;]*m")
CURSOR_SHOWN, CURSOR_HIDDEN = "\x1b[?25h", "\x1b[?25l"


def plain(text: str) -> list[str]:
    return STYLE.sub("", text).replace("\r\n", "\n").splitlines()


class TestHits:
    def test_two_lines_each(self, library: Home) -> None:
        code, text = library.terminal("search", "invoice OR 发票")
        assert code == 0
        assert plain(text) == [
            "id        date              from                  subject",
            "0736e8fe  2024-03-08 12:00  王小明                项目会议纪要",
            "  work/仕事/会議  下次会议在星期三，请准备发票和预算。",
            "c0f85171  2024-03-01 09:00  Alice Example         Invoice for March",
            "  work/INBOX  Dear Bob, the invoice for March is 120 euros. Alice",
            "2 messages",
        ]

    def test_what_was_found_is_marked_in_subject_and_text(self, library: Home) -> None:
        _, text = library.terminal("search", "invoice")
        assert len(re.findall(r"\x1b\[[0-9;]*33m(?i:invoice)\x1b\[0m", text)) == 2
        _, text = library.terminal("search", "发票")
        assert re.search(r"请准备\x1b\[0m\x1b\[[0-9;]*33m发票\x1b\[0m", text)

    def test_unread_is_bold_and_attachments_and_gone_are_marked(self, library: Home) -> None:
        _, text = library.terminal("search", "subject:(page OR invoice OR attachments OR deleted)")
        assert "\x1b[1mOnly a \x1b[0m\x1b[1;33mpage" in text
        assert "+ Seven attachments" in STYLE.sub("", text)
        assert "  work/INBOX (gone)  The archive still has it." in STYLE.sub("", text)
        assert "\x1b[33mInvoice" not in text or "\x1b[1mInvoice" not in text

    @pytest.mark.parametrize("width", [40, 60, 76, 100, 200])
    def test_no_line_is_wider_than_the_terminal(self, library: Home, width: int) -> None:
        code, text = library.terminal("search", "account:work", "--limit", "9", columns=width)
        lines = plain(text)[:-1]
        assert code == 0 and len(lines) == 19
        assert max(map(columns, lines)) <= width
        assert ("from" in lines[0]) == (width >= 72)

    def test_many_folders_leave_room_for_what_was_found(self, library: Home) -> None:
        _, text = library.terminal("search", "places", columns=48)
        assert re.search(r"…  .*\x1b\[[0-9;]*33mplaces\x1b", text)

    def test_a_very_narrow_one(self, library: Home) -> None:
        assert library.terminal("search", "invoice", columns=8)[0] == 0

    def test_markup_of_the_sender_is_text(self, library: Home) -> None:
        assert "[bold]Not markup[/nope] :smile:" in STYLE.sub("", library.terminal("search", "markup")[1])
        assert "[/] Tagger" in library.terminal("search", "from:tag")[1]

    def test_nothing_steers_it(self, library: Home) -> None:
        code, text = library.terminal("search", "account:work", "--limit", "9")
        left = STYLE.sub("", text)
        assert code == 0
        assert not [char for char in left if not char.isprintable() and char not in "\r\n"]

    def test_paging(self, library: Home) -> None:
        _, text = library.terminal("search", "gazette", "--limit", "2")
        assert plain(text)[-1] == "1 to 2 of 25 messages; --offset 2 goes on"

    def test_without_colours(self, library: Home) -> None:
        _, text = library.terminal("search", "invoice", env={"NO_COLOR": "1"})
        assert not re.search(r"\x1b\[[0-9;]*3[0-9]", text) and "Invoice for March" in STYLE.sub("", text)

    def test_a_dumb_one(self, library: Home) -> None:
        code, text = library.terminal("search", "invoice", env={"TERM": "dumb"})
        assert code == 0 and not re.search(r"\x1b\[[0-9;]*3[0-9]", text)


class TestErrors:
    def test_the_caret(self, library: Home) -> None:
        code, text = library.terminal("search", "发票 form:x")
        assert code == 2
        assert plain(text)[1:3] == ["  发票 form:x", "       ^"]


class TestProgress:
    @pytest.fixture
    def slow(self, home: Home, scripted: Callable[..., ScriptedServer]) -> Home:
        """A home whose account has 300 messages on a server that takes its time."""
        server = scripted()
        for number in range(300):
            server.folder().add(mail(f"Number {number}", "text\n" * 50))
        server.on("UID FETCH", late(0.5), when=lambda command: "BODY.PEEK[]" in command.arguments)
        home.account("work", server.port)
        return home

    @pytest.mark.parametrize("width", [100, 40])
    def test_a_bar_that_leaves_a_summary(self, slow: Home, width: int) -> None:
        code, text = slow.terminal("sync", columns=width)
        assert code == 0
        assert CURSOR_HIDDEN in text and text.rindex(CURSOR_SHOWN) > text.rindex(CURSOR_HIDDEN)
        if width == 100:
            assert re.search(r"work .*━+.*\d+%.* of 300 messages", STYLE.sub("", text))
            assert re.search(r"300 of 300 messages .*kB .*/s", STYLE.sub("", text))
        left = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "\n").split("\n")
        summary = [line for line in left if line][-3:]
        assert summary[0].startswith("work: 300 new messages, ")
        assert summary[1:] == ["  INBOX: 300 new messages", "indexed 300 messages"]

    def test_of_verify(self, library: Home) -> None:
        code, text = library.terminal("verify")
        assert code == 0 and re.search(r"read .*34 files .*kB", STYLE.sub("", text))
        assert plain(text)[-1].endswith(" 33 of 33 documents indexed: 0 differences")
        assert CURSOR_HIDDEN not in library.terminal("verify", "--json")[1]

    def test_without_a_terminal_there_is_none(self, slow: Home) -> None:
        slow.make_archive()
        result = slow.run("sync")
        assert result.code == 0 and result.err == ""
        assert result.lines()[0].startswith("work: 300 new messages, ")
        assert result.lines()[1:] == ["  INBOX: 300 new messages", "indexed 300 messages"]

    def test_ctrl_c_stops_after_the_batch(self, slow: Home) -> None:
        code, text = slow.terminal("sync", answers={"of 300 messages": "\x03"})
        assert code == 130
        assert "stopping after the batch in hand; once more to abort" in text
        assert text.rindex(CURSOR_SHOWN) > text.rindex(CURSOR_HIDDEN)
        assert plain(text)[-1].endswith("archiver: interrupted")
        slow.good("sync")
        assert slow.good("verify", "--json").json()["found"]["places"] == 300

    def test_a_second_one_ends_it_and_the_cursor_is_back(
        self, home: Home, scripted: Callable[..., ScriptedServer]
    ) -> None:
        server = scripted()
        server.on("LOGIN", stall())
        home.account("work", server.port, read_timeout="60s")
        begun = time.monotonic()
        code, text = home.terminal("sync", answers={CURSOR_HIDDEN: "\x03", "once more to abort": "\x03"})
        assert code == 130 and time.monotonic() - begun < 30
        assert text.rindex(CURSOR_SHOWN) > text.rindex(CURSOR_HIDDEN)
