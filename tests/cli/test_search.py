"""`archiver search`: what it prints, for people and for programs."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from archiver.cli.text import columns
from tests.cli import mails
from tests.cli.home import Home, complains, fails

NEWEST = ["项目会议纪要", "[bold]Not markup[/nope] :smile:", "Seven attachments"]


def key(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def subjects(home: Home, *arguments: str) -> list[str]:
    return [hit["subject"] for hit in home.good("search", "--json", *arguments).json()["hits"]]


class TestPlain:
    def test_a_line_for_each_message(self, library: Home) -> None:
        result = library.good("search", "invoice")
        assert result.lines() == [
            f"{key(mails.INVOICE)[:8]}  2024-03-01 09:00   Alice Example <alice@example.…"
            "  Invoice for March  [work/INBOX]"
        ]
        assert result.err == "1 message\n"

    def test_marks_attachments_and_what_is_gone(self, library: Home) -> None:
        assert " 2024-03-06 12:00 + " in library.good("search", "subject:attachments").out
        assert library.good("search", "subject:deleted").out.endswith("[work/INBOX (gone)]\n")
        assert subjects(library, "is:gone") == ["Deleted on the server"]

    def test_names_every_place_once(self, library: Home) -> None:
        (line,) = library.good("search", "places").lines()
        assert line.endswith("  Kept in two folders  [work/INBOX, work/Kept]")

    def test_columns_stay_straight_with_wide_letters(self, library: Home) -> None:
        query = "from:wang OR from:tagger OR from:mallory"
        lines, found = library.good("search", query).lines(), subjects(library, query)
        starts = [
            columns(line[: line.index(subject[:4])]) for line, subject in zip(lines, found, strict=True)
        ]
        assert starts == [61, 61, 61]

    def test_nothing_found_is_no_error(self, library: Home) -> None:
        result = library.good("search", "nowheretobefound")
        assert (result.out, result.err) == ("", "0 messages\n")

    def test_chinese_by_two_characters(self, library: Home) -> None:
        assert subjects(library, "发票") == ["项目会议纪要"]

    def test_several_arguments_are_one_query(self, library: Home) -> None:
        assert subjects(library, "invoice", "march") == ["Invoice for March"]

    def test_a_minus_goes_after_a_double_dash(self, library: Home) -> None:
        found = set(subjects(library, "--limit", "100", "--", "-is:read"))
        assert {"Only a page", "项目会议纪要"} <= found and "Invoice for March" not in found
        assert len(found) == 4
        complains(library.call("search", "-is:read"), 2, "-i", "archiver search --help")


class TestOrderAndPages:
    def test_newest_first(self, library: Home) -> None:
        assert subjects(library, "account:work", "--limit", "3") == NEWEST

    def test_oldest_first(self, library: Home) -> None:
        assert subjects(library, "news", "--sort", "oldest", "--limit", "2") == [
            "News number 1",
            "News number 2",
        ]

    def test_relevance(self, library: Home) -> None:
        assert subjects(library, "gazette OR invoice", "--sort", "relevance")[0] == "Invoice for March"

    def test_largest_first(self, library: Home) -> None:
        whole = library.good("search", "--json", "account:work", "--sort", "size", "--limit", "50")
        hits = whole.json()["hits"]
        sizes = [hit["size"] for hit in hits]
        assert len(sizes) == 33 and sizes == sorted(sizes, reverse=True)
        page = subjects(library, "account:work", "--sort", "size", "--limit", "2", "--offset", "3")
        assert page == [hit["subject"] for hit in hits[3:5]]

    def test_by_sender(self, library: Home) -> None:
        arguments = ("--sort", "sender", "--limit", "50", "--format", "{address}")
        found = library.good("search", "account:work", *arguments)
        assert found.lines() == sorted(found.lines()) and found.lines()[-1] == "wang@example.org"

    def test_pages_meet_without_gap_or_overlap(self, library: Home) -> None:
        whole = library.good("search", "news", "--format", "keys", "--limit", "100").lines()
        assert len(whole) == 25
        pages = [
            library.good(
                "search", "news", "--format", "keys", "--limit", "10", "--offset", str(start)
            ).lines()
            for start in (0, 10, 20)
        ]
        assert [len(page) for page in pages] == [10, 10, 5]
        assert [*pages[0], *pages[1], *pages[2]] == whole

    @pytest.mark.parametrize(
        ("offset", "words"),
        [
            ("0", "1 to 10 of 25 messages; --offset 10 goes on\n"),
            ("10", "11 to 20 of 25 messages; --offset 20 goes on\n"),
            ("20", "21 to 25 of 25 messages\n"),
            ("30", "nothing from 31 on; 25 messages in all\n"),
        ],
    )
    def test_says_where_it_is(self, library: Home, offset: str, words: str) -> None:
        assert library.good("search", "news", "--limit", "10", "--offset", offset).err == words

    @pytest.mark.parametrize(
        "wrong", [("--limit", "0"), ("--offset", "-1"), ("--sort", "flags"), ("--format", "x")]
    )
    def test_wrong_options(self, library: Home, wrong: tuple[str, str]) -> None:
        complains(library.call("search", "x", *wrong), 2, wrong[0], "archiver search --help")


class TestForPrograms:
    def test_json(self, library: Home) -> None:
        result = library.good("search", "--json", "subject:kept")
        (received,) = {place["received"] for place in result.json()["hits"][0]["places"]}
        place = {"account": "work", "flags": "S", "labels": [], "gone": None, "received": received}
        assert result.json() == {
            "total": 1,
            "exact": True,
            "offset": 0,
            "indexed": True,
            "pending": 0,
            "hits": [
                {
                    "id": key(mails.TWICE)[:8],
                    "key": key(mails.TWICE),
                    "date": 1709380800,
                    "size": len(mails.TWICE),
                    "from": "Alice Example <alice@example.org>",
                    "subject": "Kept in two folders",
                    "attachment": False,
                    "tags": [],
                    "places": [{**place, "folder": "INBOX"}, {**place, "folder": "Kept"}],
                }
            ],
        }
        assert result.err == ""

    def test_json_of_nothing(self, library: Home) -> None:
        assert library.good("search", "--json", "nowhere").json() == {
            "total": 0,
            "exact": True,
            "offset": 0,
            "indexed": True,
            "pending": 0,
            "hits": [],
        }

    def test_json_tells_when_it_was_found_gone(self, library: Home) -> None:
        ((place,),) = [
            hit["places"] for hit in library.good("search", "--json", "subject:deleted").json()["hits"]
        ]
        assert place["gone"] > 1_700_000_000

    def test_json_counts_beyond_the_page(self, library: Home) -> None:
        page = library.good("search", "--json", "news", "--limit", "2", "--offset", "5").json()
        assert (page["total"], page["exact"], page["offset"], len(page["hits"])) == (25, True, 5, 2)

    def test_keys(self, library: Home) -> None:
        assert library.good("search", "invoice", "--format", "keys").lines() == [key(mails.INVOICE)]

    def test_paths(self, library: Home) -> None:
        (path,) = library.good("search", "发票", "--format", "paths").lines()
        assert Path(path).parent == library.root / "mail" / "work" / "仕事" / "会議" / "cur"
        assert Path(path).read_bytes() == mails.CHINESE.replace(b"\r\n", b"\n")

    def test_paths_say_what_has_none(self, own_library: Home) -> None:
        (path,) = own_library.good("search", "invoice", "--format", "paths").lines()
        Path(path).unlink()
        result = own_library.good("search", "invoice", "--format", "paths")
        assert (result.out, result.err) == ("", "1 message without a file: archiver verify says which\n")


class TestEmpty:
    def test_an_archive_with_nothing_in_it(self, home: Home) -> None:
        home.make_archive()
        result = home.good("search", "anything")
        assert result.out == ""
        assert result.err == "0 messages; the archive is empty, archiver sync fills it\n"


def test_a_query_that_begins_with_a_minus(library: Home) -> None:
    result = library.call("search", "-is:read")
    complains(result, 2, "No such option", "after a double dash: archiver search -- -is:read")
    assert "double dash" not in library.call("status", "-x").err


def test_what_other_programs_weigh_is_words_and_that_is_said(library: Home) -> None:
    said = "invoice^2 is looked for as words: no word weighs more than others here"
    assert library.good("search", "invoice^2").err == f"{said}\n0 messages\n"
    assert library.good("count", "body:invoice^0.5").err.count("is looked for as words") == 1
    for text in ('"invoice^2"', "x^2", "invoice^a"):
        assert "is looked for" not in library.good("search", text).err


def test_json_and_a_format_exclude_each_other(library: Home) -> None:
    fails(library, ["search", "x", "--json", "--format", "keys"], 2, "--json excludes --format", "choose one")


class TestExplain:
    def test_each_part_with_its_count_and_its_place(self, library: Home) -> None:
        result = library.good(
            "search", "--explain", "(invoice OR nowhere) -from:alice is:unread folder:INBOX"
        )
        lines = [line.split(maxsplit=1) for line in result.lines()]
        told = {text: int(count) for count, text in lines}
        assert list(told)[1:] == [
            "any of these",
            "any text has invoice  at 2",
            "any text has nowhere  at 13",
            "none of this",
            "from has alice  at 23",
            "in one place all of these",
            "is unread  at 34",
            "folder is INBOX  at 44",
        ]
        assert told["any text has invoice  at 2"] == 1 == told["any of these"]
        assert told["any text has nowhere  at 13"] == 0 == told["all of these"]
        assert told["from has alice  at 23"] > 0 < told["folder is INBOX  at 44"]
        (first, *_) = library.good("search", "--explain", "--json", "invoice").json()
        assert first == {"depth": 0, "text": "any text has invoice", "count": 1, "at": 0}

    def test_a_mistake_is_one_here_too(self, library: Home) -> None:
        fails(library, ("search", "--explain", "form:alice"), 2, "no field is called form:")

    def test_a_query_that_takes_too_much_is_an_error_with_its_place(
        self, library: Home, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("archiver.search.limits.Limits.__init__.__defaults__", (2.0, 3))
        told = library.call("search", "invoice *in*")
        assert told.code == 2
        assert "more than 3 different words are like this" in told.err
        assert "\n  invoice *in*\n          ^\n" in told.err
