"""Message-IDs as the index has them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from archiver.search.ids import SIZE, Ids, id_term, pack, unpack


def test_every_term_is_as_long_and_case_does_not_count() -> None:
    assert {len(id_term("a" * length)) for length in (1, 20, 900)} == {16}
    assert id_term("A.b@Example.org") == id_term("a.B@example.ORG") != id_term("a.c@example.org")
    assert id_term("a").isascii() and id_term("a").isalnum() and id_term("\udcff")


def test_nothing_takes_nothing() -> None:
    assert pack("", ()) == b""
    assert unpack(b"") == Ids("", ())


@given(st.text(max_size=4), st.lists(st.text(min_size=1, max_size=4), max_size=6))
def test_what_is_packed_comes_back(own: str, refers: list[str]) -> None:
    packed = pack(own, refers)
    others = tuple(dict.fromkeys(map(id_term, refers)))
    assert unpack(packed) == Ids(id_term(own) if own else "", others)
    assert len(packed) == (SIZE * (1 + len(others)) if own or others else 0)
