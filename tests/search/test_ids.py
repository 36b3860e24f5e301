"""Message-IDs as the index has them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from archiver.search.ids import LOST, SIZE, Ids, id_term, pack, topic_terms, unpack


def test_every_term_is_as_long_and_case_does_not_count() -> None:
    assert {len(id_term("a" * length)) for length in (1, 20, 900)} == {16}
    assert id_term("A.b@Example.org") == id_term("a.B@example.ORG") != id_term("a.c@example.org")
    assert id_term("a").isascii() and id_term("a").isalnum() and id_term("\udcff")


def test_nothing_takes_nothing() -> None:
    assert pack("", ()) == b""
    assert unpack(b"") == Ids("", ())


@given(
    st.text(max_size=4),
    st.lists(st.text(min_size=1, max_size=4), max_size=6),
    st.text(max_size=2),
    st.booleans(),
)
def test_what_is_packed_comes_back(own: str, refers: list[str], topic: str, reply: bool) -> None:
    packed = pack(own, refers, topic, reply)
    others = tuple(dict.fromkeys(map(id_term, refers)))
    if own or others or topic:
        expected = Ids(id_term(own) if own else "", others, id_term(topic) if topic else "", reply)
        assert unpack(packed) == expected
        assert len(packed) == 1 + SIZE * (2 + len(others))
    else:
        assert packed == b""


def test_a_lost_reply_has_a_term_more() -> None:
    term = id_term("plan")
    assert topic_terms("plan", lost=False) == (term,)
    assert topic_terms("plan", lost=True) == (term, LOST + term)
    assert topic_terms("", lost=True) == ()
