"""What every engine must do. A test class of an engine inherits IndexContract and gives it `path`."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from archiver.errors import QueryError
from archiver.search.ids import Ids, id_term
from archiver.search.index import (
    Bulk,
    Document,
    Index,
    IndexState,
    Order,
    Portion,
    Total,
    open_draft,
)
from archiver.search.people import Role, split
from archiver.search.printer import query_text
from archiver.search.query import parse
from archiver.search.tree import Exact, Node
from tests.search import plain, trees
from tests.search.words import FLAGS, FOLDERS, WORDS, message_id

NOW = datetime(2026, 3, 31, tzinfo=UTC)


def key(number: int) -> bytes:
    return number.to_bytes(4, "big", signed=True) * 8


class Facts:
    """`Places` of a ledger that answers as `found` does, in keys."""

    ledger = "L"

    def __init__(self, found: Callable[[Node], AbstractSet[bytes]]) -> None:
        self.found = found

    def documents(self, tree: Node) -> AbstractSet[int]:
        return set(self.numbers([*self.found(tree)]))

    def numbers(self, keys: Sequence[bytes]) -> Sequence[int]:
        return [int.from_bytes(key[:4], signed=True) + 100_000 for key in keys]


def _nowhere(node: Node) -> AbstractSet[bytes]:
    raise AssertionError("no place was asked for")


no_places = Facts(_nowhere)


def sample(number: int, draw: random.Random) -> Document:
    """A document made of WORDS; the same number and state of `draw` give the same one."""

    def text(most: int) -> str:
        return draw.choice([" ", ", ", "\n"]).join(draw.choices(WORDS, k=draw.randrange(most)))

    def people() -> tuple[str, ...]:
        return tuple(f"{text(3)} <{draw.choice(WORDS[:4])}@example.org>" for _ in range(draw.randrange(3)))

    names = tuple(
        f"{draw.choice(WORDS)}.{draw.choice(['pdf', 'png'])}" for _ in range(draw.choice([0, 0, 1, 2]))
    )
    types = {"pdf": "application/pdf", "png": "image/png"}
    return Document(
        key=key(number),
        date=1_700_000_000 + draw.randrange(-40, 40) * 86_400,
        size=draw.choice([0, 1, 500, 1024, 1025, 5 << 20, 1 << 33]),
        subject=text(9),
        from_=people(),
        to=people(),
        cc=people(),
        bcc=people(),
        lists=people(),
        body=text(40),
        attachments=tuple(text(20) for _ in names),
        filenames=names,
        mimetypes=tuple(types[name[-3:]] for name in names),
        id=message_id(number) if number % 7 else "",
        refers=tuple(message_id(draw.randrange(300)) for _ in range(draw.choice([0, 0, 1, 3]))),
        has_attachment=bool(names),
        has_calendar=number % 11 == 0,
        is_encrypted=number % 5 == 0,
        is_signed=number % 3 == 0,
    )


@cache
def samples() -> tuple[Document, ...]:
    draw = random.Random(7)
    return tuple(sample(number, draw) for number in range(300))


@cache
def places_of(number: int) -> tuple[tuple[str, str], ...]:
    draw = random.Random(number)
    return tuple((draw.choice(FOLDERS), draw.choice(FLAGS)) for _ in range(draw.randrange(3)))


def with_place(node: Node) -> AbstractSet[bytes]:
    """The answer of a ledger in which document n is in `places_of(n)`."""
    return {key(n) for n in range(300) if any(plain.same_place(node, place) for place in places_of(n))}


places = Facts(with_place)


def queries() -> st.SearchStrategy[str]:
    """Queries of every kind, most of them with results."""
    return trees.trees().map(query_text) | trees.texts()


class IndexContract:
    """Inherit it in a test class and say in `open` which index lives at a path."""

    @classmethod
    def open(cls, path: str) -> Index:
        raise NotImplementedError

    @pytest.fixture
    def path(self, tmp_path: object) -> str:
        return f"{tmp_path}/index"

    @pytest.fixture
    def index(self, path: str) -> Iterator[Index]:
        index = self.open(path)
        yield index
        index.close()

    @pytest.fixture(scope="class")
    @classmethod
    def filled(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
        index = cls.open(f"{tmp_path_factory.mktemp('filled')}/index")
        cls.fill(index)
        yield index
        index.close()

    @staticmethod
    def fill(index: Index) -> None:
        """Let the index hold `samples()`, in several commits, some replaced, some removed and back."""
        documents = list(samples())
        stale = [sample(number, random.Random(-number)) for number in range(0, 300, 7)]
        index.apply(documents[:90] + stale, (), IndexState("L", 1))
        index.apply(documents[80:200], [key(number) for number in range(20)], IndexState("L", 2))
        index.apply(documents[200:], [key(9999)], IndexState("L", 3))
        index.apply(documents[:20] + documents[::7], (), IndexState("L", 4))

    def test_holds_what_was_given(self, filled: Index) -> None:
        assert filled.count() == 300
        assert filled.keys() == {document.key for document in samples()}
        assert filled.state() == IndexState("L", 4)

    @given(text=queries())
    def test_every_query_like_the_plain_evaluation(self, filled: Index, text: str) -> None:
        tree = parse(text, now=NOW)
        expected = plain.found(tree, samples(), with_place)
        hits = filled.search(tree, places, "newest", 0, 1000)
        assert [hit.key for hit in hits.hits] == [document.key for document in expected]
        assert hits.total == Total(len(expected), exact=True)
        assert filled.matches(tree, places) == len(expected)
        assert sorted(filled.found(tree, places)) == sorted(document.key for document in expected)

    @given(text=queries(), offset=st.integers(0, 30), limit=st.integers(0, 30))
    def test_pages_and_orders(self, filled: Index, text: str, offset: int, limit: int) -> None:
        tree = parse(text, now=NOW)
        page = slice(offset, offset + limit)
        orders: tuple[Order, ...] = ("newest", "oldest", "relevance", "size", "sender")
        for order in orders:
            whole = filled.search(tree, places, order, 0, 1000)
            part = filled.search(tree, places, order, offset, limit)
            assert part.hits == whole.hits[page]
            assert part.total == whole.total == Total(len(whole.hits), exact=True)
        oldest = filled.search(tree, places, "oldest", 0, 1000).hits
        assert list(oldest) == sorted(oldest, key=lambda hit: (hit.date, hit.key))
        assert filled.search(tree, places, "newest", 0, 1000).hits == oldest[::-1]

    @given(text=queries())
    def test_orders_like_the_plain_evaluation(self, filled: Index, text: str) -> None:
        tree = parse(text, now=NOW)
        found = plain.found(tree, samples(), with_place)
        orders: tuple[Order, ...] = ("newest", "oldest", "size", "sender")
        for order in orders:
            hits = filled.search(tree, places, order, 0, 1000).hits
            expected = [document.key for document in plain.in_order(found, order)]
            assert [hit.key for hit in hits] == expected, order

    @given(text=queries() | st.none())
    def test_surveys_like_the_plain_evaluation(self, filled: Index, text: str | None) -> None:
        tree = None if text is None else parse(text, now=NOW)
        found = list(samples()) if tree is None else plain.found(tree, samples(), with_place)
        made = filled.survey(tree, places, ("from", "to", "cc"), with_numbers=True)
        assert sorted(zip(made.dates, made.sizes, made.numbers, strict=True)) == sorted(
            (each.date, each.size, *places.numbers([each.key])) for each in found
        )
        for role, field in (("from", "from_"), ("to", "to"), ("cc", "cc")):
            counted = {split(term): count for term, count in made.people[cast("Role", role)].items()}
            assert counted == plain.people(found, field)

    def test_senders_in_order(self, index: Index) -> None:
        senders = [
            ("Zoe <A@example.org>",),
            (),
            ("b@example.org", "a@example.org"),
            ("Nobody",),
            ("a@example.org",),
        ]
        index.apply(
            [Document(key(n), n, 0, from_=each) for n, each in enumerate(senders)], (), IndexState("L", 1)
        )
        tree = parse("-absent", now=NOW)
        hits = [hit.key for hit in index.search(tree, no_places, "sender").hits]
        assert hits == [key(4), key(2), key(0), key(3), key(1)]
        index.apply([Document(key(9), 9, 0, from_=("A <a@example.org>",))], [key(4)], IndexState("L", 2))
        hits = [hit.key for hit in index.search(tree, no_places, "sender", 0, 3).hits]
        assert hits == [key(9), key(2), key(0)]
        assert index.survey(None, no_places, ("from",)).people["from"] == {
            "a@example.org\tZoe": 1,
            "a@example.org\tA": 1,
            "a@example.org\t": 1,
            "b@example.org\t": 1,
            "\tNobody": 1,
        }

    @given(st.text("東京都かな안녕สวั", min_size=2, max_size=5))
    def test_any_two_characters_of_a_script_without_spaces(self, filled: Index, part: str) -> None:
        hits = filled.search(parse(f"body:{part}", now=NOW), no_places, limit=1000)
        assert {hit.key for hit in hits.hits} == {each.key for each in samples() if part in each.body}

    def test_ids_of_every_document(self, filled: Index) -> None:
        for document in samples():
            own = id_term(document.id) if document.id else ""
            refers = tuple(dict.fromkeys(map(id_term, document.refers)))
            assert filled.ids(document.key) == Ids(own, refers)
            for field, terms in (("id", {own} - {""}), ("refers", refers)):
                for term in terms:
                    hits = filled.search(Exact(field, term), no_places, limit=1000).hits
                    assert document.key in {hit.key for hit in hits}
        assert filled.ids(key(9999)) is None

    def test_places_are_asked_once_for_each_question(self, filled: Index) -> None:
        asked: list[Node] = []

        def counting(node: Node) -> AbstractSet[bytes]:
            asked.append(node)
            return with_place(node)

        filled.search(parse("folder:A is:unread -folder:B", now=NOW), Facts(counting))
        assert len(asked) == len(set(asked)) == 2

    def test_nothing_yet(self, index: Index) -> None:
        assert index.state() is None
        assert index.count() == 0
        assert index.keys() == set()
        assert index.search(parse("a OR -a", now=NOW), no_places).total == Total(0, exact=True)
        assert index.matches(parse("a OR -a", now=NOW), no_places) == 0
        assert index.maintain() is False

    def test_a_prefix_of_very_many_words_finds_every_document(self, index: Index) -> None:
        bodies = [" ".join(f"2x{number:02}{word:03}" for word in range(1000)) for number in range(60)]
        index.apply([_document(n, f"word {body}") for n, body in enumerate(bodies)], (), IndexState("L", 1))
        everything = {key(n) for n in range(60)}
        assert set(_keys(index, "body:2*")) == set(_keys(index, '"word 2*"')) == everything
        assert _keys(index, "-body:2*") == []
        assert set(_keys(index, "2x5*")) == {key(n) for n in range(50, 60)}

    def test_a_hit_shows_the_document(self, index: Index) -> None:
        document = Document(
            key(1), 123, 1 << 33, "Sübject", ("Ä <a@example.org>", "b@example.org"), has_attachment=True
        )
        index.apply([document], (), IndexState("L", 1))
        (hit,) = index.search(parse("subject:subject", now=NOW), no_places).hits
        assert (hit.key, hit.date, hit.size, hit.has_attachment) == (key(1), 123, 1 << 33, True)
        assert (hit.subject, hit.sender) == ("Sübject", "Ä <a@example.org>, b@example.org")
        assert index.hit(key(1)) == hit
        assert index.hit(key(2)) is None

    def test_an_empty_document_and_dates_before_1970(self, index: Index) -> None:
        index.apply([Document(key(1), -5, 0), Document(key(2), 0, 0)], (), IndexState("L", 1))
        assert _keys(index, "-absent") == [key(2), key(1)]
        assert _keys(index, "before:1970") == [key(1)]

    def test_replaces_by_key(self, index: Index) -> None:
        index.apply([_document(1, "old"), _document(2, "old")], (), IndexState("L", 1))
        index.apply([_document(1, "first"), _document(1, "new")], (), IndexState("L", 2))
        assert index.count() == 2
        assert _keys(index, "old") == [key(2)]
        assert _keys(index, "first") == []
        assert _keys(index, "new") == [key(1)]

    def test_removes(self, index: Index) -> None:
        index.apply([_document(n, "word") for n in range(4)], (), IndexState("L", 1))
        index.apply((), [key(0), key(3), key(77)], IndexState("L", 2))
        assert index.keys() == {key(1), key(2)}
        assert index.count() == 2
        assert index.hit(key(0)) is None
        assert sorted(_keys(index, "word")) == sorted(_keys(index, "-absent")) == [key(1), key(2)]
        index.apply([_document(0, "again")], [key(0)], IndexState("L", 3))
        assert _keys(index, "again") == [key(0)]

    def test_all_can_be_removed(self, index: Index) -> None:
        index.apply([_document(1, "word")], (), IndexState("L", 1))
        index.apply((), [key(1)], IndexState("L", 2))
        assert (index.count(), index.keys(), index.state()) == (0, set(), IndexState("L", 2))
        assert _keys(index, "-absent") == []

    def test_a_commit_of_nothing_moves_the_state(self, index: Index) -> None:
        index.apply((), (), IndexState("L", 5))
        assert index.state() == IndexState("L", 5)
        index.apply((), (), IndexState("M", 1))
        assert index.state() == IndexState("M", 1)

    def test_reopened(self, path: str, index: Index) -> None:
        index.apply([_document(1, "word")], (), IndexState("L", 1))
        index.close()
        again = self.open(path)
        assert again.state() == IndexState("L", 1)
        assert _keys(again, "word") == [key(1)]
        again.close()
        assert _keys(index, "word") == [key(1)]

    def test_an_open_index_sees_what_another_commits(self, path: str, index: Index) -> None:
        assert index.count() == 0
        other = self.open(path)
        other.apply([_document(1, "word")], (), IndexState("L", 1))
        assert _keys(index, "word") == [key(1)]
        other.apply((), [key(1)], IndexState("L", 2))
        assert _keys(index, "word") == []
        other.clear()
        assert index.state() is None
        other.apply([_document(2, "word")], (), IndexState("L", 1))
        assert _keys(index, "word") == [key(2)]

    def test_maintenance_changes_no_answer_and_comes_to_an_end(self, index: Index) -> None:
        documents = samples()[:60]
        for start in range(0, 60, 3):
            given_up = [key(number - 30) for number in range(start, start + 3)]
            index.apply(documents[start : start + 3], given_up, IndexState("L", start))
        asked = [
            "alpha",
            '"alpha beta"',
            "-gamma",
            "al*",
            "東京",
            "has:attachment",
            "larger:1k",
            "from:delta",
        ]
        before = [index.search(parse(text, now=NOW), no_places, "relevance", 0, 100).total for text in asked]
        steps = 0
        while index.maintain():
            steps += 1
            assert steps < 100
        assert steps > 0
        assert [
            index.search(parse(text, now=NOW), no_places, "relevance", 0, 100).total for text in asked
        ] == before
        assert index.keys() == {document.key for document in documents[30:]}
        assert index.state() == IndexState("L", 57)
        for text in asked:
            expected = plain.found(parse(text, now=NOW), documents[30:], _nowhere)
            assert _keys(index, text) == [document.key for document in expected]

    def test_what_changes_while_tidying_up_is_kept(self, path: str, index: Index) -> None:
        """The lock is taken only at the end; by then somebody has removed, replaced and added documents."""
        for number in range(8):
            index.apply(samples()[5 * number : 5 * number + 5], (), IndexState("L", number))
        other = self.open(path)
        held: list[int] = []

        @contextmanager
        def lock() -> Iterator[None]:
            if not held:
                changed = replace(samples()[7], body="altered")
                other.apply([changed, *samples()[40:42]], [key(3), key(39)], IndexState("L", 100))
            held.append(index.count())
            yield

        while index.maintain(lock):
            pass
        assert held
        assert index.state() == IndexState("L", 100)
        assert index.keys() == {key(n) for n in range(42)} - {key(3), key(39)}
        assert index.count() == 40
        assert _keys(index, "body:altered") == [key(7)]
        other.close()

    def test_two_tidy_up_at_once(self, path: str, index: Index) -> None:
        for number in range(8):
            index.apply(samples()[5 * number : 5 * number + 5], (), IndexState("L", number))
        other = self.open(path)
        answers: list[bool] = []

        @contextmanager
        def lock() -> Iterator[None]:
            answers.append(other.maintain())
            yield

        assert index.maintain(lock) is True
        assert answers == [False]
        assert index.maintain() is False
        assert other.keys() == {key(n) for n in range(40)}
        other.close()

    def test_emptied_while_tidying_up(self, path: str, index: Index) -> None:
        for number in range(8):
            index.apply(samples()[5 * number : 5 * number + 5], (), IndexState("L", number))
        other = self.open(path)

        @contextmanager
        def lock() -> Iterator[None]:
            other.clear()
            yield

        assert index.maintain(lock) is False
        assert (index.state(), index.keys()) == (None, set())
        other.close()

    def test_adopts_what_any_process_wrote(self, index: Index) -> None:
        index.apply(samples()[:20], (), IndexState("L", 1))
        with index.drafting() as place:
            portions = [_portion(place, samples()[10:30]), _portion(place, samples()[30:50])]
            bulk = Bulk(9, 1_700_000_000, 5, 40)
            index.adopt(portions, IndexState("L", 1, bulk=bulk), {key(12), key(33), key(99)})
        assert index.state() == IndexState("L", 1, bulk=bulk)
        assert index.keys() == {key(n) for n in range(50)} - {key(33)}
        assert index.count() == 49
        expected = plain.found(parse("alpha", now=NOW), [*samples()[:33], *samples()[34:50]], _nowhere)
        assert _keys(index, "alpha") == [document.key for document in expected]

    def test_adopting_nothing_moves_the_state(self, index: Index) -> None:
        with index.drafting() as place:
            index.adopt([], IndexState("L", 3))
            portion = _portion(place, samples()[:3])
            index.adopt([portion], IndexState("L", 4), {key(0), key(1), key(2)})
        assert (index.state(), index.keys()) == (IndexState("L", 4), set())

    def test_a_draft_that_is_not_adopted_is_lost(self, index: Index) -> None:
        with index.drafting() as place:
            _portion(place, samples()[:3])
        assert (index.state(), index.keys()) == (None, set())
        index.apply(samples()[5:6], (), IndexState("L", 1))
        index.verify()
        assert index.keys() == {key(5)}

    def test_cleared(self, index: Index) -> None:
        index.apply([_document(1, "word")], (), IndexState("L", 1))
        index.clear()
        assert (index.state(), index.count(), _keys(index, "word")) == (None, 0, [])
        index.apply([_document(2, "word")], (), IndexState("L", 1))
        assert _keys(index, "word") == [key(2)]

    def test_relevance_puts_the_better_match_first(self, index: Index) -> None:
        texts = ["fox " + "x " * 200, "fox fox fox", "fox and " + "y " * 20, "no match"]
        index.apply([_document(n, text) for n, text in enumerate(texts)], (), IndexState("L", 1))
        assert _keys(index, "fox", "relevance") == [key(1), key(2), key(0)]
        assert _keys(index, "fox OR and", "relevance")[0] == key(2)

    def test_failing_documents_leave_the_old_state(self, index: Index) -> None:
        index.apply([_document(1, "word")], (), IndexState("L", 1))

        def failing() -> Iterator[Document]:
            yield _document(2, "word")
            raise QueryError("stop", "", 0)

        with pytest.raises(QueryError):
            index.apply(failing(), [key(1)], IndexState("L", 2))
        assert (index.state(), _keys(index, "word")) == (IndexState("L", 1), [key(1)])
        index.apply([_document(3, "word")], (), IndexState("L", 3))
        assert sorted(_keys(index, "word")) == [key(1), key(3)]

    def test_verify_accepts_what_was_written(self, filled: Index, index: Index) -> None:
        filled.verify()
        index.verify()


def _portion(place: str, documents: Sequence[Document]) -> Portion:
    draft = open_draft(place)
    held = draft.memory
    for document in documents:
        draft.add(document)
    assert (len(draft), draft.memory > held) == (len(documents), True)
    portion = draft.write()
    assert portion.documents == len(documents)
    return portion


def _document(number: int, body: str) -> Document:
    return Document(key(number), 1_700_000_000, 10, body=body)


def _keys(index: Index, text: str, order: Order = "newest") -> list[bytes]:
    return [hit.key for hit in index.search(parse(text, now=NOW), no_places, order, 0, 1000).hits]
