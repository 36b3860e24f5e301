"""Ids as people type them: the first digits of a key, never ambiguous, never guessed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.archive.ids import ID_LENGTH, resolve, short_id
from archiver.errors import NotFoundError
from archiver.store.ledger import Ledger
from archiver.store.records import NewPlace
from tests.store.conftest import fast_directory

TWINS = [bytes.fromhex("abcdef0123" + "00" * 27), bytes.fromhex("abcdef0124" + "00" * 27)]
ALONE = bytes.fromhex("1234567890" * 6 + "abcd")


def fill(ledger: Ledger, keys: list[bytes]) -> None:
    folder = ledger.add_folder("work", "INBOX", "INBOX", "work/INBOX")
    ledger.add_places(folder, [NewPlace(n, key, 1, 1, f"{n}.file", "", "") for n, key in enumerate(keys, 1)])


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    with fast_directory() as root, Ledger(root) as opened:
        fill(opened, [*TWINS, ALONE])
        yield opened


@pytest.mark.parametrize(
    "text",
    ["1234", "12345", "12345678", " 1234567890AB".replace("AB", "12"), ALONE.hex(), ALONE.hex().upper()],
)
def test_any_beginning_will_do(ledger: Ledger, text: str) -> None:
    assert resolve(ledger, text) == ALONE


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("abcd", "several messages have the id abcd"),
        ("abcdef012", "several messages"),
        ("ffff", "no message has the id ffff"),
        ("1235", "no message"),
        ("", "is no id"),
        ("123", "is no id"),
        ("c46", "is no id"),
        ("xyz12345", "is no id"),
        ("١٢٣٤", "is no id"),
        ("12 34", "is no id"),
        ("0" * 65, "is no id"),
        ("%", "is no id"),
    ],
)
def test_what_is_none_or_several(ledger: Ledger, text: str, why: str) -> None:
    with pytest.raises(NotFoundError, match=why) as caught:
        resolve(ledger, text)
    assert caught.value.hint
    assert caught.value.exit_code == 2


def test_as_short_as_tells_it_from_the_others(ledger: Ledger) -> None:
    assert short_id(ledger, ALONE) == "12345678"
    assert [short_id(ledger, key) for key in TWINS] == ["abcdef0123", "abcdef0124"]
    assert resolve(ledger, "abcdef0124") == TWINS[1]


@given(
    st.lists(
        st.binary(min_size=32, max_size=32)
        | st.binary(max_size=3).map(lambda end: b"\0" * (32 - len(end)) + end),
        min_size=1,
        max_size=6,
        unique=True,
    )
)
def test_what_is_shown_is_understood(keys: list[bytes]) -> None:
    with fast_directory() as root, Ledger(root) as ledger:
        fill(ledger, keys)
        for key in keys:
            shown = short_id(ledger, key)
            assert len(shown) >= ID_LENGTH
            assert resolve(ledger, shown) == key
