"""What is known of attachments stays known, and what is damaged is thrown away."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from archiver.attachments.cache import Cache, Entry, digest_of
from archiver.store.layout import attachments_path

ONE, TWO = digest_of(b"one"), digest_of(b"two")
WORDS = Entry("words " * 5000)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[str]:
    with closing(Cache(str(tmp_path))) as cache:
        cache.put(ONE, "pdf", "1", WORDS)
        cache.put(TWO, "pdf", "1", Entry("", "it is damaged"))
    yield str(tmp_path)


def test_what_was_read_and_what_could_not_be(root: str) -> None:
    with closing(Cache(root)) as cache:
        assert cache.get(ONE, "pdf", "1") == WORDS
        assert cache.get(TWO, "pdf", "1") == Entry("", "it is damaged")
        assert cache.get(ONE, "text", "1") is None
        assert cache.get(digest_of(b"three"), "pdf", "1") is None


def test_another_reader_reads_again(root: str) -> None:
    with closing(Cache(root)) as cache:
        assert cache.get(TWO, "pdf", "2") is None
        cache.put(TWO, "pdf", "2", Entry("found"))
        assert cache.get(TWO, "pdf", "2") == cache.get(TWO, "pdf") == Entry("found")


def test_it_is_small_and_private(root: str) -> None:
    path = attachments_path(root)
    assert os.stat(path).st_size < len(WORDS.text)
    assert os.stat(path).st_mode & 0o077 == 0


def overwrite_start(path: str) -> None:
    with open(path, "r+b") as file:
        file.write(b"no database" * 20)


def overwrite_text(path: str) -> None:
    """The file is a sound database, its content is not."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE text SET text = x'0102'")
        db.commit()


def other_schema(path: str) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP TABLE text")
        db.execute("CREATE TABLE text (other TEXT)")
        db.commit()


def later_version(path: str) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 77")


@pytest.mark.parametrize("damage", [overwrite_start, overwrite_text, other_schema, later_version])
def test_a_damaged_one_is_thrown_away(root: str, damage: object) -> None:
    assert callable(damage)
    damage(attachments_path(root))
    with closing(Cache(root)) as cache:
        assert cache.get(ONE, "pdf", "1") is None
        assert cache.thrown_away
        cache.put(ONE, "pdf", "1", WORDS)
        assert cache.get(ONE, "pdf", "1") == WORDS
    with closing(Cache(root)) as cache:
        assert cache.get(ONE, "pdf", "1") == WORDS
        assert not cache.thrown_away


def test_only_the_first_throws_it_away(root: str) -> None:
    """Two that find the damage at once: the second takes what the first made."""
    with closing(Cache(root)) as first, closing(Cache(root)) as second:
        overwrite_text(attachments_path(root))
        assert first.get(ONE, "pdf", "1") is None
        first.put(TWO, "pdf", "1", WORDS)
        assert second.get(ONE, "pdf", "1") is None
        assert second.get(TWO, "pdf", "1") == WORDS


def test_what_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    os.mkdir(attachments_path(str(tmp_path)))
    with closing(Cache(str(tmp_path))) as cache:
        cache.put(ONE, "pdf", "1", WORDS)
        assert cache.get(ONE, "pdf", "1") is None
        assert not cache.thrown_away


def test_somebody_who_writes_long_is_no_damage(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = sqlite3.connect
    monkeypatch.setattr(
        sqlite3, "connect", lambda path, **options: connect(path, **{**options, "timeout": 0})
    )
    with closing(Cache(root)) as cache, closing(connect(attachments_path(root))) as other:
        other.execute("BEGIN EXCLUSIVE")
        cache.put(ONE, "text", "1", WORDS)
        other.rollback()
        assert cache.get(ONE, "pdf", "1") == WORDS
        assert not cache.thrown_away
