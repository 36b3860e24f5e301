"""Which messages belong together, and who answers whom."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.search.threads import SPAN, Entry, Link, groups, tree

DAY = 86_400


def link(
    number: int, refers: str = "", own: str | None = None, topic: str = "", day: int | None = None
) -> Link:
    """A message with the id `own`, or its number; a topic that begins with `re:` is a reply's."""
    return Link(
        key=number.to_bytes(4, "big") * 8,
        date=DAY * (number if day is None else day),
        own=str(number) if own is None else own,
        refers=tuple(refers.split()),
        topic=topic.removeprefix("re:"),
        reply=topic.startswith("re:"),
    )


def number(link: Link) -> int:
    return int.from_bytes(link.key[:4], "big")


def numbers(found: Iterable[Sequence[Link]]) -> list[list[int]]:
    return [[number(each) for each in group] for group in found]


def drawn(entries: Iterable[Entry]) -> list[str]:
    """`..3` is message 3 two levels in, `?` a missing one, `+2` two missing above it, `~` a guess."""
    return [
        "." * entry.depth
        + ("?" if entry.link is None else str(number(entry.link)))
        + (f"+{entry.missing}" if entry.missing else "")
        + ("~" if entry.guessed else "")
        for entry in entries
    ]


def links() -> st.SearchStrategy[list[Link]]:
    """Messages that name each other, themselves, and ones that are not there."""
    ids = st.sampled_from(["", *"abcdefgh"])
    refers = st.lists(st.sampled_from("abcdefghxyz"), unique=True, max_size=4)
    topic = st.sampled_from(["", "t", "re:t", "u", "re:u"])
    one = st.tuples(ids, refers, topic, st.integers(0, 90))
    return st.lists(one, max_size=9).map(
        lambda rows: [
            link(at, " ".join(refers), own, topic, day) for at, (own, refers, topic, day) in enumerate(rows)
        ]
    )


def together(one: Link, other: Link, everything: Sequence[Link]) -> bool:
    """Whether the rules join two messages directly, said as plainly as they are in the docs."""
    if ({one.own, *one.refers} & {other.own, *other.refers}) - {""}:
        return True
    return any(
        late.is_lost and answered(late, everything) is early for late, early in ((one, other), (other, one))
    )


def answered(late: Link, everything: Sequence[Link]) -> Link | None:
    earlier = [each for each in everything if each.topic == late.topic and each.place < late.place]
    nearest = max(earlier, key=lambda each: each.place, default=None)
    return nearest if nearest and late.date - nearest.date <= SPAN else None


class TestGroups:
    @pytest.mark.parametrize(
        ("messages", "expected"),
        [
            ([link(1), link(2, "1"), link(3)], [[1, 2], [3]]),
            ([link(1, "x"), link(2, "x y"), link(3, "y")], [[1, 2, 3]]),
            ([link(1, own="a"), link(2, own="a"), link(3, "a")], [[1, 2, 3]]),
            ([link(1, own=""), link(2, own="")], [[1], [2]]),
            ([link(1, topic="t"), link(2, topic="re:t")], [[1, 2]]),
            ([link(1, topic="t"), link(2, topic="t")], [[1], [2]]),
            ([link(1, topic="re:t"), link(2, topic="t")], [[1], [2]]),
            ([link(1, topic="t"), link(2, "x", topic="re:t")], [[1], [2]]),
            ([link(1, topic="t"), link(2, topic="re:t", day=31)], [[1, 2]]),
            ([link(1, topic="t"), link(2, topic="re:t", day=32)], [[1], [2]]),
            ([link(1, topic=""), link(2, topic="re:")], [[1], [2]]),
            ([link(1, topic="t"), link(2, topic="t"), link(3, topic="re:t")], [[1], [2, 3]]),
            ([link(1, "1 2"), link(2, "3"), link(3, "1")], [[1, 2, 3]]),
        ],
    )
    def test_who_belongs_together(self, messages: list[Link], expected: list[list[int]]) -> None:
        assert numbers(groups(messages)) == expected

    @given(links())
    def test_it_is_what_the_rules_join_step_by_step(self, messages: list[Link]) -> None:
        parts = [{number(each)} for each in messages]
        for one in messages:
            for other in messages:
                if together(one, other, messages):
                    joined = [part for part in parts if part & {number(one), number(other)}]
                    parts = [part for part in parts if part not in joined] + [set().union(*joined)]
        assert sorted(map(sorted, numbers(groups(messages)))) == sorted(map(sorted, parts))

    @given(links(), st.randoms(use_true_random=False))
    def test_no_order_of_coming_matters(self, messages: list[Link], chance: random.Random) -> None:
        mixed = chance.sample(messages, len(messages))
        assert groups(mixed) == groups(messages)


class TestTree:
    @pytest.mark.parametrize(
        ("messages", "lines"),
        [
            ([link(1), link(2, "1"), link(3, "1 2"), link(4, "1")], ["1", ".2", "..3", ".4"]),
            ([link(3), link(2, "3"), link(1, "3")], ["3", ".1", ".2"]),
            # A missing message is a line of its own where several answer it, else a number.
            ([link(1, "x"), link(2, "x")], ["?", ".1", ".2"]),
            ([link(1), link(2, "1 x y")], ["1", ".2+2"]),
            ([link(1, "x y")], ["1+2"]),
            ([link(1), link(2, "1 w x"), link(3, "1 w x"), link(4, "1")], ["1", ".?+1", "..2", "..3", ".4"]),
            ([link(1), link(3, "1 x"), link(2, "1"), link(4, "1 x")], ["1", ".2", ".?", "..3", "..4"]),
            # An id that two have is the earlier one's.
            ([link(1, own="a"), link(2, own="a"), link(3, "a")], ["1", ".3", "2"]),
            # A guess.
            ([link(1, topic="t"), link(2, topic="re:t"), link(3, topic="re:t")], ["1", ".2~", "..3~"]),
            # Cycles are cut above the earliest.
            ([link(2, "3"), link(3, "2")], ["2", ".3"]),
            ([link(1, "3"), link(2, "1"), link(3, "2"), link(4, "3")], ["1", ".2", "..3", "...4"]),
            ([link(1, "x y"), link(2, "y x")], ["?", ".1+1", ".2"]),
            ([], []),
        ],
    )
    def test_lines(self, messages: list[Link], lines: list[str]) -> None:
        assert drawn(tree(messages)) == lines

    @given(links(), st.randoms(use_true_random=False))
    def test_every_message_once_below_whom_it_answers(
        self, messages: list[Link], chance: random.Random
    ) -> None:
        entries = tree(messages)
        assert tree(chance.sample(messages, len(messages))) == entries
        shown = [entry.link for entry in entries if entry.link]
        assert sorted(map(number, shown)) == sorted(map(number, messages))
        above: list[Entry] = []
        for entry in entries:
            assert entry.depth <= len(above), "a line below nothing"
            del above[entry.depth :]
            parent = above[-1].link if above else None
            if parent and entry.link and not entry.missing and not entry.guessed:
                assert entry.link.refers[-1] == parent.own
            above.append(entry)

    @given(links())
    def test_a_missing_message_has_several_below_it(self, messages: list[Link]) -> None:
        entries = tree(messages)
        for at, entry in enumerate(entries):
            if entry.link is None:
                below = []
                for each in entries[at + 1 :]:
                    if each.depth <= entry.depth:
                        break
                    below.append(each.depth)
                assert below.count(entry.depth + 1) > 1


class TestLarge:
    """What anybody may send must not take long: seconds, where a square of it would be hours."""

    @pytest.mark.parametrize("shape", ["chain", "star", "ring", "gaps", "topic"])
    def test_five_thousand_messages(self, shape: str) -> None:
        messages = [self.made(shape, n) for n in range(5000)]
        start = time.process_time()
        (found,) = groups(messages)
        entries = tree(messages)
        assert time.process_time() - start < 5
        assert len(found) == sum(entry.link is not None for entry in entries) == 5000

    @staticmethod
    def made(shape: str, n: int) -> Link:
        match shape:
            case "chain":
                return link(n, " ".join(str(m) for m in range(max(n - 60, 0), n)))
            case "star":
                return link(n, "0" if n else "")
            case "ring":
                return link(n, str((n + 1) % 5000))
            case "gaps":
                return link(n, f"x{n} y{n} z")
        return link(n, topic="re:t")

    def test_ten_thousand_references(self) -> None:
        messages = [link(n, " ".join(f"x{m}" for m in range(10_000))) for n in range(3)]
        assert drawn(tree(messages)) == ["?+9999", ".0", ".1", ".2"]
