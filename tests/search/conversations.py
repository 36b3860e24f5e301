"""What every engine must find of conversations. A test class of an engine inherits ConversationContract."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.message import parse as parse_message
from archiver.search.ids import id_term
from archiver.search.index import Document, Index, IndexState, Order
from archiver.search.index import document as as_document
from archiver.search.query import parse
from archiver.search.threads import Link, groups
from archiver.search.tree import And, Node, Not, Or, Thread, Word
from tests.search import plain
from tests.search.contract import NOW, key, no_places, places, with_place

DAY = 86_400
COUNT = 300


def talk(number: int, draw: random.Random) -> Document:
    """A message that may answer one before it, or one that is not there, or say so by its subject only."""
    kind = draw.choice(["new", "new", "answer", "answer", "answer", "lost", "gap", "odd"])
    before = draw.randrange(max(number - 25, 0), number) if number else 0
    refers = {
        "answer": (f"{before}@x",),
        "gap": (f"missing{before}@x", f"{draw.choice('abcdefgh')}{number // 40}@x"),
        "odd": tuple(f"{draw.randrange(COUNT)}@x" for _ in range(3)) if draw.random() < 0.1 else (),
    }.get(kind, ())
    return Document(
        key=key(number),
        date=1_700_000_000 + (number // 2) * DAY,
        size=draw.randrange(5),
        subject=f"{kind} {number}",
        from_=(f"{draw.choice(['Ann', 'Ben', 'Cleo'])} <{draw.choice('abc')}@example.org>",),
        body=draw.choice(["alpha", "beta", "alpha beta", ""]),
        id="" if kind == "odd" else f"{before if draw.random() < 0.05 else number}@x",
        refers=refers,
        topic=draw.choice(["", "plan", "report", "trip"]),
        is_reply=kind == "lost",
    )


@cache
def talks() -> tuple[Document, ...]:
    draw = random.Random(11)
    return tuple(talk(number, draw) for number in range(COUNT))


def link(document: Document) -> Link:
    return Link(document.key, document.date, document.id, document.refers, document.topic, document.is_reply)


def together(documents: Iterable[Document]) -> list[frozenset[bytes]]:
    """The conversations, by the rules alone."""
    return [frozenset(each.key for each in group) for group in groups(map(link, documents))]


def pages(
    tree: Node, documents: Sequence[Document], order: Order
) -> list[tuple[bytes, int, int, tuple[str, ...]]]:
    """(first document found, matched, messages, senders) of each conversation, by the rules alone."""
    found = [each.key for each in plain.found(tree, documents, with_place)]
    if order == "oldest":
        found.reverse()
    sender = {each.key: each.from_[0] for each in documents}
    when = {each.key: (each.date, each.key) for each in documents}
    listed: dict[frozenset[bytes], bytes] = {}
    for each in found:
        listed.setdefault(next(group for group in together(documents) if each in group), each)
    return [
        (
            first,
            len(group.intersection(found)),
            len(group),
            tuple(dict.fromkeys(sender[each] for each in sorted(group, key=when.__getitem__))),
        )
        for group, first in listed.items()
    ]


class ConversationContract:
    """Inherit it in a test class and say in `open` which index lives at a path."""

    @classmethod
    def open(cls, path: str) -> Index:
        raise NotImplementedError

    @pytest.fixture
    def empty(self, tmp_path: object) -> Iterator[Index]:
        index = self.open(f"{tmp_path}/index")
        yield index
        index.close()

    @pytest.fixture(scope="class")
    @classmethod
    def talking(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
        """An index of `talks`, in several commits, with others that were removed and tied them together."""
        index = cls.open(f"{tmp_path_factory.mktemp('talking')}/index")
        everything = tuple(f"{number}@x" for number in range(COUNT))
        binding = [Document(key(1000 + n), 5, 1, id=f"b{n}@x", refers=everything[n::7]) for n in range(7)]
        index.apply([*binding[:3], *talks()[:150]], (), IndexState("L", 1))
        index.apply([*binding[3:], *talks()[150:260]], [key(1000)], IndexState("L", 2))
        index.apply(talks()[260:], [each.key for each in binding], IndexState("L", 3))
        yield index
        index.close()

    def test_the_sample_has_conversations_of_every_size(self) -> None:
        sizes = sorted(map(len, together(talks())))
        assert sizes[0] == 1 and 5 < sizes[-1] < COUNT // 2 and len(sizes) > 50

    def test_each_message_is_in_its_conversation(self, talking: Index) -> None:
        groups_ = together(talks())
        for document in talks():
            (expected,) = (group for group in groups_ if document.key in group)
            found = talking.conversation(Thread(key=document.key))
            assert {each.hit.key for each in found.messages} == expected
            assert found.whole
            order = [(each.hit.date, each.hit.key) for each in found.messages]
            assert order == sorted(order)

    def test_what_ties_a_message(self, talking: Index) -> None:
        by_key = {each.key: each for each in talks()}
        for each in talking.conversation(Thread(key=key(30))).messages:
            document = by_key[each.hit.key]
            assert each.hit == talking.hit(document.key)
            assert each.ids == talking.ids(document.key)
            assert each.link == Link(
                document.key,
                document.date,
                id_term(document.id) if document.id else "",
                tuple(map(id_term, document.refers)),
                id_term(document.topic) if document.topic else "",
                document.is_reply,
            )

    def test_by_an_id_also_of_a_missing_message(self, talking: Index) -> None:
        named = next(each for each in talks() if each.refers and each.refers[0].startswith("missing"))
        expected = next(group for group in together(talks()) if named.key in group)
        for wanted in (named.refers[0], named.id):
            found = talking.conversation(Thread(id=id_term(wanted)))
            assert {each.hit.key for each in found.messages} == expected
        assert talking.conversation(Thread(id=id_term("nobody@x"))).messages == ()
        assert talking.conversation(Thread(key=key(9999))).messages == ()
        assert talking.conversation(Thread(key=key(1000))).messages == (), "a message that was removed"

    @given(st.integers(0, COUNT - 1), st.sampled_from(["a", "-a", "a w", "a OR w", "-a w", "a b", "a -a"]))
    def test_in_a_query(self, talking: Index, number: int, form: str) -> None:
        thread, other = Thread(key=key(number)), Thread(key=key(number // 2))
        word = Word("body", "alpha")
        forms: dict[str, Node] = {
            "a": thread,
            "-a": Not(thread),
            "a w": And((thread, word)),
            "a OR w": Or((thread, word)),
            "-a w": And((Not(thread), word)),
            "a b": And((thread, other)),
            "a -a": And((thread, Not(thread))),
        }
        tree = forms[form]
        expected = [each.key for each in plain.found(tree, talks(), with_place)]
        hits = talking.search(tree, no_places, "newest", 0, 1000)
        assert [hit.key for hit in hits.hits] == expected
        assert hits.total.count == talking.matches(tree, no_places) == len(expected)

    @pytest.mark.parametrize("query", ["alpha", "-alpha", "folder:A is:unread", "beta -alpha", "absent"])
    @pytest.mark.parametrize("order", ["newest", "oldest"])
    def test_pages_of_conversations(self, talking: Index, query: str, order: Order) -> None:
        tree = parse(query, now=NOW)
        expected = pages(tree, talks(), order)
        # A page that ends late is found in another way than the first ones.
        for offset, limit in ((0, 1), (0, 20), (7, 5), (20, 60), (0, 1000), (100, 1000), (500, 10)):
            found = talking.search_threads(tree, places, order, offset, limit)
            told = [(each.hit.key, each.matched, each.messages, each.senders) for each in found.hits]
            assert told == expected[offset : offset + limit]
            assert found.more == (offset + limit < len(expected))

    @pytest.mark.parametrize("order", ["relevance", "size", "sender", "oldest"])
    def test_in_every_order_the_first_message_speaks(self, talking: Index, order: Order) -> None:
        tree = parse("beta", now=NOW)
        best = [hit.key for hit in talking.search(tree, places, order, 0, 1000).hits]
        firsts = [
            next(each for each in best if each in group) for group in together(talks()) if group & {*best}
        ]
        for limit in (10, 1000):
            found = talking.search_threads(tree, places, order, 0, limit)
            assert [each.hit.key for each in found.hits] == sorted(firsts, key=best.index)[:limit]

    def test_tidying_up_changes_no_conversation(self, empty: Index) -> None:
        for start in range(0, COUNT, 40):
            empty.apply(talks()[start : start + 40], [key(start)], IndexState("L", start))
        left = [each for at, each in enumerate(talks()) if at % 40]
        empty.apply((), [key(start) for start in range(0, COUNT, 40)], IndexState("L", COUNT))
        expected = together(left)

        def found() -> list[frozenset[bytes]]:
            every = (empty.conversation(Thread(key=min(group))) for group in expected)
            return [frozenset(each.hit.key for each in one.messages) for one in every]

        assert found() == expected
        while empty.maintain():
            assert found() == expected
        listed = empty.search_threads(parse("-absent", now=NOW), no_places, limit=1000).hits
        assert sorted(hit.messages for hit in listed) == sorted(map(len, expected))

    def test_ten_thousand_references_in_one_header(self, empty: Index) -> None:
        """The first and the last ones count, of which the last is what it answers."""
        far = "".join(f" <{n}@x>\n" for n in range(10_000))
        raws = [
            b"Message-ID: <9999@x>\nSubject: Plan\n\n",
            f"Message-ID: <late@x>\nReferences:{far}Subject: Re: Plan\n\n".encode(),
            b"Message-ID: <0@x>\nSubject: Plan\n\n",
            b"Message-ID: <5000@x>\nSubject: Plan\n\n",
        ]
        documents = [as_document(key(n), n, len(raw), parse_message(raw)) for n, raw in enumerate(raws)]
        empty.apply(documents, (), IndexState("L", 1))
        found = empty.conversation(Thread(id=id_term("late@x")))
        assert {each.hit.key for each in found.messages} == {key(0), key(1), key(2)}

    def test_nothing_yet(self, empty: Index) -> None:
        assert empty.conversation(Thread(key=key(1))).messages == ()
        assert empty.search_threads(parse("a OR -a", now=NOW), no_places).hits == ()

    def test_a_conversation_of_five_thousand(self, empty: Index) -> None:
        """Most answer the first; others the one before them."""
        documents = [
            Document(key(n), n, 1, id=f"{n}@x", refers=("0@x", f"{n - 1}@x") if n % 5 else ("0@x",) * bool(n))
            for n in range(5000)
        ]
        empty.apply(documents, (), IndexState("L", 1))
        found = empty.conversation(Thread(id=id_term("4999@x")))
        assert (len(found.messages), found.whole) == (5000, True)
        (hit,) = empty.search_threads(parse("-absent", now=NOW), no_places).hits
        assert (hit.matched, hit.messages, hit.hit.key) == (5000, 5000, key(4999))
