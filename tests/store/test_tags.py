"""Tags: names, changes, text, and how they last."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.errors import QueryError, StoreError
from archiver.store import tags as module
from archiver.store.ledger import Ledger
from archiver.store.records import NewPlace
from archiver.store.tags import Change, Tags, changes_in, dump, merged, read, tag_name


def key(number: int) -> bytes:
    return number.to_bytes(4) * 8


@pytest.fixture
def root(tmp_path: Path) -> str:
    return str(tmp_path / "archive")


class TestNames:
    @pytest.mark.parametrize(
        ("text", "name"),
        [
            ("todo", "todo"),
            ("To-Do", "to-do"),
            ("project/x.1", "project/x.1"),
            ("仕事", "仕事"),
            ("2024", "2024"),
        ],
    )
    def test_good(self, text: str, name: str) -> None:
        assert tag_name(text) == name

    def test_composed_and_decomposed_are_one(self) -> None:
        assert tag_name("Bu\u0308ro") == tag_name("b\u00fcro") == "b\u00fcro"

    @pytest.mark.parametrize(
        ("text", "position"),
        [
            ("", 0),
            ("-x", 0),
            ("+x", 0),
            ("_x", 0),
            ("a b", 1),
            ("a*", 1),
            ("a:b", 1),
            ('a"', 1),
            ("a(", 1),
            ("ab\x1b[31m", 2),
            ("a\u202eb", 1),
            ("x" * 101, 100),
        ],
    )
    def test_bad(self, text: str, position: int) -> None:
        with pytest.raises(QueryError) as caught:
            tag_name(text)
        assert caught.value.position == position

    def test_the_caret_is_in_the_whole_line(self) -> None:
        with pytest.raises(QueryError) as caught:
            changes_in("+todo -a:b")
        assert (caught.value.query, caught.value.position) == ("+todo -a:b", 8)


class TestChanges:
    def test_added_and_removed_and_counted(self, root: str) -> None:
        with Tags(root) as tags:
            assert tags.change([key(1), key(2)], Change(("a", "b"))) == 2
            assert tags.change([key(2), key(3)], Change(("a",), ("b",))) == 2
            assert tags.change([key(2), key(3)], Change(("a",), ("b",))) == 0
            assert tags.counts() == {"a": 3, "b": 1}
            assert tags.of([key(1), key(2), key(9)]) == {key(1): ("a", "b"), key(2): ("a",)}

    def test_a_dry_run_counts_the_same_and_changes_nothing(self, root: str) -> None:
        with Tags(root) as tags:
            tags.change([key(1)], Change(("a",)))
            assert tags.change([key(1), key(2)], Change(("a",), ("z",)), dry_run=True) == 1
            assert tags.counts() == {"a": 1}
            assert tags.change([key(1), key(2)], Change(("a",), ("z",))) == 1

    def test_all_or_none(self, root: str) -> None:
        with Tags(root) as tags:
            tags.change([key(1)], Change(("old",)))
            # What makes the second statement of the transaction fail, after the first has removed.
            tags._rows("CREATE TRIGGER full BEFORE INSERT ON tag BEGIN SELECT RAISE(ABORT, 'no'); END")
            with pytest.raises(StoreError):
                tags.change([key(1)], Change(("new",), ("old",)))
            assert tags.counts() == {"old": 1}

    def test_they_are_there_again(self, root: str) -> None:
        with Tags(root) as tags:
            tags.change([key(1)], Change(("a",)))
        with Tags(root) as tags:
            assert list(tags.all()) == [(key(1), ("a",))]

    def test_ten_thousand_messages_at_once(self, root: str) -> None:
        keys = [key(number) for number in range(10_000)]
        with Tags(root) as tags:
            start = time.process_time()
            assert tags.change(keys, Change(("a", "b"))) == 10_000
            assert time.process_time() - start < 1
            assert tags.counts() == {"a": 10_000, "b": 10_000}
            assert set(tags.of(keys)) == set(keys)


class TestKeys:
    @pytest.mark.parametrize(
        ("pattern", "numbers"),
        [
            ("work", [1, 2, 3]),
            ("WORK", [1, 2, 3]),
            ("work/x", [2]),
            ("work*", [1, 2, 3, 4]),
            ("*x", [2]),
            ("w?rk", [1, 2, 3]),
            ("none", []),
        ],
    )
    def test_of_globs_and_of_what_is_below(self, root: str, pattern: str, numbers: list[int]) -> None:
        with Ledger(root) as ledger, Tags(root) as tags:
            folder = ledger.add_folder("work", "INBOX", "INBOX", "work/INBOX")
            new = [NewPlace(n, key(n), 1, 0, f"file{n}", "", "") for n in range(1, 5)]
            ledger.add_places(folder, new)
            for number, name in ((1, "work"), (2, "work/x"), (3, "work/y"), (3, "work"), (4, "workshop")):
                tags.change([key(number)], Change((name,)))
            # One that the archive does not have.
            tags.change([key(9)], Change(("work",)))
            found = {int(number) for number in tags.documents(pattern).split(",") if number}
            assert found == set(ledger.numbers([key(number) for number in numbers]))


_names = st.text("abc-/.ü仕", min_size=1, max_size=6).filter(lambda name: name[0].isalnum())


class TestText:
    @given(st.dictionaries(st.binary(min_size=32, max_size=32), st.sets(_names, min_size=1), max_size=5))
    def test_there_and_back(self, held: dict[bytes, set[str]]) -> None:
        lines = "".join(dump((key, sorted(names)) for key, names in held.items())).splitlines()
        assert read(lines, "tags") == {key: Change(tuple(sorted(names))) for key, names in held.items()}

    def test_as_it_is_written(self) -> None:
        assert list(dump([(key(1), ("a", "b/c"))]))[1:] == [f"+a +b/c -- {key(1).hex()}\n"]

    def test_lines_of_a_message_come_one_after_the_other(self) -> None:
        found = read([f"+a +b -- {key(1).hex()}", "", "# note", f"-a +C -- {key(1).hex()}"], "tags")
        assert found == {key(1): Change(("b", "c"), ("a",))}

    @pytest.mark.parametrize(
        ("line", "position"),
        [
            ("+a", 2),
            ("+a --", 5),
            ("+a -- 12", 6),
            ("+a --   12", 8),
            ("a -- " + "0" * 64, 0),
            ("+a +b:c -- " + "0" * 64, 5),
            ("+a -- " + "0" * 64 + " x", 6),
        ],
    )
    def test_a_mistake_is_pointed_at(self, line: str, position: int) -> None:
        with pytest.raises(QueryError, match=r"^tags\.txt:2: ") as caught:
            read(["# tags", line], "tags.txt")
        assert (caught.value.query, caught.value.position) == (line, position)

    @given(st.text("+-ab /:0\x1b") | st.text())
    def test_any_line_is_read_or_a_mistake(self, line: str) -> None:
        try:
            read([line], "tags")
        except QueryError as error:
            assert 0 <= error.position <= len(error.query)

    def test_the_last_word_counts(self) -> None:
        assert merged(Change(("a",), ("b",)), Change(("b",), ("a",))) == Change(("b",), ("a",))


def test_the_limit_is_on_what_is_kept() -> None:
    assert len(tag_name("x" * module.NAME_LIMIT)) == module.NAME_LIMIT
