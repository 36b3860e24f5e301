"""Where terms stand: in a row, and near each other."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet

from archiver.search.positions import starts
from archiver.search.tree import Near
from archiver.search.whoosh.lists import Postings


def in_a_row(lists: Sequence[Postings], wanted: AbstractSet[int]) -> Iterator[tuple[int, set[int]]]:
    """Of the wanted documents, which have all the terms, those that have them in a row, and where."""
    first, *others = [dict(each.values(wanted)) for each in lists]
    for number, packed in first.items():
        begins = set(starts(packed, 0))
        for at, column in enumerate(others, 1):
            begins.intersection_update(starts(column[number], at))
            if not begins:
                break
        if begins:
            yield number, begins


def near(leaf: Near, rows: Sequence[Sequence[Postings]], wanted: AbstractSet[int]) -> set[int]:
    """Of the wanted documents, which have all the terms, those that have the rows near each other."""
    begins: list[dict[int, set[int]]] = []
    for lists in rows:
        begins.append(dict(in_a_row(lists, wanted)))
        wanted = begins[-1].keys()
    return {number for number in wanted if _is_near(leaf, [each[number] for each in begins])}


def _is_near(leaf: Near, begins: Sequence[set[int]]) -> bool:
    reached = sorted(begins[0])
    for at, places in enumerate(begins[1:], 1):
        before, size = len(leaf.rows[at - 1]), len(leaf.rows[at])
        reached = [
            place
            for place in sorted(places)
            if _any_between(reached, place - before - leaf.distance + 1, place - before)
            or (not leaf.ordered and _any_between(reached, place + size, place + size + leaf.distance - 1))
        ]
    return bool(reached)


def _any_between(places: Sequence[int], low: int, high: int) -> bool:
    """Whether one of the places, ascending, is at least the one and at most the other."""
    at = bisect_left(places, low)
    return at < len(places) and places[at] <= high
