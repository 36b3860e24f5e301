"""`archiver search --format` and `--snippets`: for programs, and for people with a taste of their own."""

from __future__ import annotations

import hashlib
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.cli.template import NAMES, parse
from archiver.cli.text import printable
from archiver.errors import QueryError
from tests.cli import mails
from tests.cli.home import Home, complains, fails

KEY = hashlib.sha256(mails.INVOICE).hexdigest()


def line(home: Home, template: str, query: str = "invoice") -> str:
    return home.good("search", query, "--format", template).out


class TestShapes:
    def test_ids(self, library: Home) -> None:
        assert line(library, "ids") == f"{KEY[:8]}\n"

    def test_lines_of_json_are_the_hits_of_the_whole(self, library: Home) -> None:
        whole = library.good("search", "news OR steering", "--json").json()["hits"]
        lines = library.good("search", "news OR steering", "--format", "jsonl").lines()
        assert [json.loads(each) for each in lines] == whole
        assert not [c for each in lines for c in each if not c.isprintable()]

    def test_nothing_found_is_no_line(self, library: Home) -> None:
        for shape in ("ids", "jsonl", "{id}"):
            assert line(library, shape, "nowhere") == ""


class TestTemplates:
    @pytest.mark.parametrize(
        ("template", "expected"),
        [
            ("{id}|{key}", f"{KEY[:8]}|{KEY}"),
            ("{date} {time}", "2024-03-01 09:00 1709283600"),
            ("{from}", "Alice Example <alice@example.org>"),
            ("{name}, {address}", "Alice Example, alice@example.org"),
            ("{subject:7}|{subject:20}|", "Invoic…|Invoice for March   |"),
            ("{bytes}{attachment}", f"{len(mails.INVOICE)}"),
            ("{folders} {flags} {labels}{tags}", "work/INBOX FS "),
            ("{{{id}}}\\t\\\\x", f"{{{KEY[:8]}}}\t\\x"),
            ("{id}\\n", f"{KEY[:8]}\n"),
        ],
    )
    def test_values(self, library: Home, template: str, expected: str) -> None:
        assert line(library, template) == expected + "\n"

    def test_path_and_snippet(self, library: Home) -> None:
        (path,) = library.good("search", "invoice", "--format", "paths").lines()
        assert line(library, "{path}") == f"{path}\n"
        assert line(library, "{snippet}") == "Dear Bob, the invoice for March is 120 euros. Alice\n"

    def test_wide_letters_take_their_columns(self, library: Home) -> None:
        assert line(library, "{subject:7}|", "发票") == "项目会…|\n"

    @pytest.mark.parametrize("name", NAMES)
    def test_nothing_steers_the_terminal(self, library: Home, name: str) -> None:
        for query in ("steering", "attachments", "garden"):
            shown = line(library, f"{{{name}}}", query)
            assert shown.endswith("\n") and shown[:-1].replace("\u200c", "").isprintable()
        assert not re.search("[\x1b\x9b\u202e]", line(library, "a\x1b[31m{id}\u202e"))

    @pytest.mark.parametrize(
        ("template", "position"),
        [
            ("{form}", 1),
            ("{id} {", 5),
            ("{id", 0),
            ("{id} }", 5),
            ("{id:}", 4),
            ("{id:0}", 4),
            ("{id:1001}", 4),
            (f"{{id:{'1' * 5000}}}", 4),
            ("{id!r}", 0),
            ("{id.__class__}", 0),
            ("{0}{id}", 0),
            ("{id}\\x", 4),
            ("{id}\\", 4),
        ],
    )
    def test_a_mistake_is_pointed_at(self, template: str, position: int) -> None:
        with pytest.raises(QueryError) as caught:
            parse(template)
        assert caught.value.position == position

    @given(st.text("{}:\\\\tn ididsubject5\x1b é") | st.text())
    def test_anything_is_a_template_or_a_mistake_in_it(self, text: str) -> None:
        try:
            parts = parse(text)
        except QueryError as error:
            assert 0 <= error.position < len(text)
        else:
            plain = "".join(part for part in parts if isinstance(part, str))
            assert printable(plain, lines=True) == plain

    def test_bad_input(self, library: Home) -> None:
        result = fails(library, ["search", "x", "--format", "{id} {form}"], 2, "nothing is called {form}")
        assert "\n        ^\n" in result.err and "did you mean {from}?" in result.err
        complains(library.call("search", "x", "--format", "csv"), 2, "--format", "jsonl", "template")
        complains(library.call("search", "x", "--format", "{id}\udcff"), 2, "not UTF-8")


class TestSnippets:
    def test_below_each_line(self, library: Home) -> None:
        first, second = library.good("search", "euros", "--snippets").lines()
        assert first.startswith(KEY[:8])
        assert second == "          Dear Bob, the invoice for March is 120 euros. Alice"

    def test_offsets_are_of_the_text(self, library: Home) -> None:
        for query, word in (("march euros", "euros"), ("发票", "发票")):
            (hit,) = library.good("search", query, "--json", "--snippets").json()["hits"]
            text, marks = hit["snippet"]["text"], hit["snippet"]["marks"]
            assert word in [text[start:end] for start, end in marks]
        (jsonl,) = library.good("search", "euros", "--format", "jsonl", "--snippets").lines()
        assert json.loads(jsonl)["snippet"]["marks"] == [[39, 44]]

    def test_only_where_asked_for(self, library: Home) -> None:
        assert "snippet" not in library.good("search", "euros", "--json").json()["hits"][0]

    def test_of_what_has_no_file(self, own_library: Home) -> None:
        for path in (own_library.root / "mail").rglob("*.archiver,*"):
            path.unlink()
        (hit,) = own_library.good("search", "euros", "--json", "--snippets").json()["hits"]
        assert hit["snippet"] == {"text": "", "marks": []}
