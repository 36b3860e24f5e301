"""Place predicates as SQL: asked of rows like those of the ledger."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import datetime

import pytest

from archiver.search import places
from archiver.search.query import PLACES_LIMIT, parse
from archiver.search.tree import SamePlace, Word
from archiver.store.ledger import glob_folder, has_label

TAGGED = {"todo": [1, 5], "Project/x": [2]}
ROWS = [
    ("work", "INBOX", "", 0, None),
    ("work", "Lists", "S", 0, ""),
    ("work", "Lists/python", "FS", 0, None),
    ("home", "Listserv", "RS", 0, "Büro/2024\n\\Inbox"),
    ("home", "[Gmail]/Sent", "DS", 0, "Work"),
    ("home", "100%_done", "", 1700000000, "Work\nÄrger"),
]


def tagged(pattern: str) -> str:
    return ",".join(map(str, TAGGED.get(pattern, ())))


@pytest.fixture
def rows() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:")
    connection.create_function("glob_folder", 2, glob_folder, deterministic=True)
    connection.create_function("has_label", 2, has_label, deterministic=True)
    connection.execute("CREATE TABLE folder (id INTEGER PRIMARY KEY, account, name)")
    connection.execute(
        "CREATE TABLE place (id INTEGER PRIMARY KEY, document, folder, flags, gone, labels, received)"
    )
    for number, (account, folder, *facts) in enumerate(ROWS):
        connection.execute("INSERT INTO folder VALUES (?, ?, ?)", (10 + number, account, folder))
        connection.execute(
            "INSERT INTO place VALUES (?, ?, ?, ?, ?, ?, ?)",
            (1 + number, number, 10 + number, *facts, 1_000 * number),
        )
    yield connection
    connection.close()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("folder:inbox", [0]),
        ("folder:Lists", [1, 2]),
        ("folder:lists/", [1, 2]),
        ("folder:lists/python", [2]),
        ("folder:list*", [1, 2, 3]),
        ("folder:*/python", [2]),
        ("folder:[Gmail]", [4]),
        ("folder:[gmail]/s?nt", [4]),
        ("folder:100%_done", [5]),
        ("folder:1", []),
        ("account:WORK", [0, 1, 2]),
        ("account:h*", [3, 4, 5]),
        ("is:unread", [0, 5]),
        ("is:read", [1, 2, 3, 4]),
        ("is:flagged", [2]),
        ("is:answered", [3]),
        ("is:draft", [4]),
        ("is:gone", [5]),
        ("label:work", [4, 5]),
        ("label:WOR?", [4, 5]),
        ("label:büro/", [3]),
        ("label:inbox", [3]),
        ('label:"\\inbox"', [3]),
        ("label:*", [3, 4, 5]),
        ("label:work is:draft", [4]),
        ("label:(work OR büro)", [3, 4, 5]),
        ("account:work is:unread", [0]),
        ("account:work (is:unread OR is:flagged)", [0, 2]),
        ("received:@2000", [2]),
        ("received:@1001..@3000", [2, 3]),
        ("received:..@1000", [0, 1]),
        ("received:@4000.. is:unread", [5]),
        ("tag:todo", [1, 5]),
        ("tag:todo/", [1, 5]),
        ("tag:none", []),
        ("tag:todo is:gone", [5]),
        ("tag:(todo OR Project/x) account:work", [1, 2]),
        ("is:gone OR folder:inbox account:work", [0, 5]),
        ('folder:"x\' OR 1=1 --"', []),
    ],
)
def test_rows(rows: sqlite3.Connection, query: str, expected: list[int]) -> None:
    tree = parse(query, now=datetime(2026, 1, 1))
    assert isinstance(tree, SamePlace)
    where, parameters = places.compile(tree, tagged)
    found = rows.execute(f"SELECT id FROM place WHERE {where} ORDER BY id", parameters)
    assert [number - 1 for (number,) in found] == expected


@pytest.mark.parametrize("operator", [" AND ", " OR "])
def test_as_many_as_may_be_asked(rows: sqlite3.Connection, operator: str) -> None:
    tree = parse("(" * 40 + operator.join(["in:inbox"] * PLACES_LIMIT) + ")" * 40, now=datetime(2026, 1, 1))
    where, parameters = places.compile(tree, tagged)
    assert rows.execute(f"SELECT id FROM place WHERE {where}", parameters).fetchall() == [(1,)]


def test_only_places() -> None:
    with pytest.raises(TypeError):
        places.compile(Word("", "a"), tagged)
