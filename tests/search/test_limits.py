"""What a query may take: an error that says so and where, never a part of the answer."""

from __future__ import annotations

import threading

import pytest

from archiver.errors import TooCostlyError
from archiver.search import limits
from archiver.search.index import Document, Index, IndexState, Order, open_index
from archiver.search.limits import Limits
from archiver.search.query import parse
from archiver.search.tree import Glob, Word
from tests.search.contract import NOW, key, no_places

COUNT = 400


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    made = open_index(str(tmp_path_factory.mktemp("limits") / "index"))
    bodies = [" ".join(f"xx{number:03}y{word:02}z" for word in range(50)) for number in range(COUNT)]
    made.apply(
        [Document(key(n), n, 1, subject="ab" * 100, body=body) for n, body in enumerate(bodies)],
        (),
        IndexState("L", 1),
    )
    return made


def test_a_form_of_more_words_than_a_query_may_stand_for(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert index.matches(parse("*y0*", now=NOW), no_places) == COUNT
    monkeypatch.setattr(limits.Limits.__init__, "__defaults__", (2.0, COUNT * 50 - 1))
    with pytest.raises(TooCostlyError, match="more than 19,999 different words") as caught:
        index.search(parse("body:*xx*z* absent", now=NOW), no_places)
    assert caught.value.leaf == Glob("body", "*xx*z*")


@pytest.mark.parametrize(
    "text",
    ["body:x*", "body:*y0*", "xx000y00~", "subject:/(a|b)+c/", '"xx000y00z xx00*"', "-absent"],
)
@pytest.mark.parametrize("order", ["newest", "relevance"])
def test_a_query_ends_when_its_time_is_up(
    index: Index, monkeypatch: pytest.MonkeyPatch, text: str, order: Order
) -> None:
    tree = parse(text, now=NOW)
    ticks = iter(range(1_000_000))
    monkeypatch.setattr(limits, "thread_time", lambda: 3.0 * next(ticks))
    with pytest.raises(TooCostlyError, match="takes longer than 2 seconds"):
        index.search(tree, no_places, order)


def test_only_the_time_of_finding_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(limits, "thread_time", lambda: now)
    spent = Limits()
    with spent.running(), spent.running():
        now = 1.5
        spent.check()
    now = 100.0
    spent.check()
    with spent.running():
        now = 100.4
        spent.check()
        now = 100.6
        with pytest.raises(TooCostlyError):
            spent.check()


def test_what_a_thread_waits_for_is_not_its_time() -> None:
    spent = Limits(seconds=0.05)
    with spent.running():
        threading.Event().wait(0.1)
        spent.check()


def test_leaves_are_counted_apart() -> None:
    counted = Limits(terms=2)
    counted.count(Word("", "a"), 2)
    counted.count(Word("", "b"))
    with pytest.raises(TooCostlyError):
        counted.count(Word("", "a"))
