"""`archiver stats` and `archiver addresses`."""

from __future__ import annotations

import pytest

from archiver.archive.figures import months
from tests.cli.home import Home, complains, fails
from tests.cli.mails import LIBRARY


class TestStats:
    def test_of_everything(self, library: Home) -> None:
        lines = library.good("stats").lines()
        assert lines[0].startswith("33 messages, ") and lines[0].endswith(", 2024-02-01 to 2024-03-08")
        assert lines[lines.index("by month") + 1 :][:2] == ["25  2024-02", " 8  2024-03"]
        assert lines[lines.index("by sender") + 1] == "30  Alice Example <alice@example.org>"
        assert lines[lines.index("by folder") + 1 :][:2] == ["25  work/Lists/News", " 7  work/INBOX"]
        assert lines[lines.index("by list") + 1] == "25  news.example.org"
        assert lines[lines.index("by size") + 1 :] == [
            "33  less than 10k",
            " 0  less than 100k",
            " 0  less than 1M",
            " 0  less than 10M",
            " 0  10M or more",
        ]

    def test_of_a_query(self, library: Home) -> None:
        found = library.good("stats", "in:kept", "--json").json()
        assert {
            name: found[name] for name in ("messages", "indexed", "pending", "by_month", "by_folder")
        } == {
            "messages": 1,
            "indexed": True,
            "pending": 0,
            "by_month": [{"month": "2024-03", "count": 1}],
            "by_folder": [{"folder": "work/INBOX", "count": 1}, {"folder": "work/Kept", "count": 1}],
        }
        assert found["oldest"] == found["newest"] == 1709380800
        assert found["by_sender"] == [{"address": "alice@example.org", "name": "Alice Example", "count": 1}]
        assert found["by_list"] == [] and [each["count"] for each in found["by_size"]] == [1, 0, 0, 0, 0]

    def test_bytes_are_those_on_the_wire(self, library: Home) -> None:
        sizes = {letter.raw: len(letter.raw) for letter in LIBRARY}
        assert library.good("stats", "--json").json()["bytes"] == sum(sizes.values())

    def test_one_table(self, library: Home) -> None:
        assert library.good("stats", "--by", "month", "--limit", "1").lines() == ["8  2024-03"]
        assert len(library.good("stats", "--by", "sender", "--limit", "0").lines()) == 4
        assert list(library.good("stats", "--by", "list", "--json").json())[-1] == "by_list"
        assert "by sender (3 more: --by sender --limit 0)\n" in library.good("stats", "--limit", "1").out

    def test_bars_on_a_terminal(self, library: Home) -> None:
        code, text = library.terminal("stats", "--by", "month", columns=60)
        rows = [line for line in text.splitlines() if "2024-" in line]
        bars = [line.count("█") for line in rows]
        assert code == 0 and bars[0] > 2 * bars[1] > 0 and max(map(len, rows)) <= 60
        assert "█" not in library.good("stats").out

    def test_nothing(self, library: Home, home: Home) -> None:
        assert library.good("stats", "nowhere").out == "0 messages, 0 B\n"
        assert library.good("stats", "nowhere", "--json").json()["oldest"] is None
        complains(home.call("stats"), 2, "there is no archive at")
        complains(home.call("addresses"), 2, "there is no archive at")

    def test_nothing_steers_the_terminal(self, library: Home) -> None:
        out = library.good("stats", "--by", "sender").out
        assert "mallory@example.org" in out and out.replace("\n", "").isprintable()
        assert library.good("addresses", "--senders").out.replace("\n", "").isprintable()
        assert (
            library.good("addresses", "--format", "mutt")
            .out.replace("\n", "")
            .replace("\t", "")
            .isprintable()
        )

    def test_bad_input(self, library: Home) -> None:
        fails(library, ["stats", "form:x"], 2, "no field is called form:", "^")
        complains(library.call("stats", "--by", "colour"), 2, "--by", "month")
        complains(library.call("stats", "--limit", "-1"), 2, "--limit")


def test_dates_beyond_all_calendars_are_of_one_month() -> None:
    first, *_, last = found = list(months([-(10**12), -(10**11), 0, 253_100_000_000, 10**12]))
    assert (first[1], last[1]) == (2, 2)
    assert len(dict(found)) == len(found) == 3


class TestAddresses:
    def test_those_of_most_messages_first(self, library: Home) -> None:
        lines = library.good("addresses", "--count").lines()
        assert lines[:2] == ["33  Bob Example <bob@example.org>", "30  Alice Example <alice@example.org>"]
        assert len(lines) == 5

    @pytest.mark.parametrize(
        ("options", "first", "number"),
        [
            (["--senders"], "Alice Example <alice@example.org>", 4),
            (["--recipients"], "Bob Example <bob@example.org>", 1),
            (["--senders", "--recipients"], "Bob Example <bob@example.org>", 5),
            (["--match", "ali"], "Alice Example <alice@example.org>", 1),
            (["--match", "exa ALI"], "Alice Example <alice@example.org>", 1),
            (["--match", "小明"], "王小明 <wang@example.org>", 1),
            (["--limit", "1"], "Bob Example <bob@example.org>", 1),
            (["from:tagger", "--senders"], '"[/] Tagger" <tag@example.org>', 1),
        ],
    )
    def test_plain(self, library: Home, options: list[str], first: str, number: int) -> None:
        lines = library.good("addresses", *options).lines()
        assert (lines[0], len(lines)) == (first, number)

    def test_for_mutt(self, library: Home) -> None:
        assert library.good("addresses", "--format", "mutt", "--match", "ali").lines() == [
            "1 found",
            "alice@example.org\tAlice Example\t30 messages",
        ]

    def test_json(self, library: Home) -> None:
        assert library.good("addresses", "invoice", "--senders", "--format", "json").json() == [
            {"address": "alice@example.org", "name": "Alice Example", "count": 1}
        ]

    def test_nothing(self, library: Home) -> None:
        assert library.good("addresses", "--match", "nobody").out == ""
        assert library.good("addresses", "--match", "!").out == ""
        assert library.good("addresses", "nowhere", "--format", "json").json() == []

    def test_bad_input(self, library: Home) -> None:
        fails(library, ["addresses", "form:x"], 2, "no field is called form:", "^")
        complains(library.call("addresses", "--format", "pine"), 2, "--format", "mutt")
        complains(library.call("addresses", "--match", "\udcff"), 2, "not UTF-8")
