"""What the messages of a query are together: counts by month, sender, folder, list and size; their people."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING

from archiver.archive.find import Asked, asking, asking_all
from archiver.archive.reports import People, Person, Stats
from archiver.search.people import Role, split

if TYPE_CHECKING:
    from archiver.archive import Archive
    from archiver.search.tree import Node

SIZES = (10 << 10, 100 << 10, 1 << 20, 10 << 20)
"""Where classes of sizes end, in bytes."""

# Dates beyond are no dates: the years 1 and 9999.
_EARLIEST, _LATEST = -62_000_000_000, 253_000_000_000


def stats(archive: Archive, query: str) -> Stats:
    """The figures of what a query finds; of everything without one."""
    with _asked(archive, query) as (asked, tree):
        made = asked.index.survey(tree, asked.places, ("from", "list"), with_numbers=True)
        folders = _folders(asked, set(made.numbers))
    dates = sorted(made.dates)
    return Stats(
        messages=len(dates),
        bytes=sum(made.sizes),
        oldest=dates[0] if dates else None,
        newest=dates[-1] if dates else None,
        months=dict(months(dates)),
        senders=people([made.people["from"]]),
        folders=folders,
        lists=people([made.people["list"]]),
        sizes=_sizes(made.sizes),
        behind=asked.behind,
    )


def addresses(archive: Archive, query: str, roles: Sequence[Role], match: str) -> People:
    """The people of what a query finds, those of most messages first.

    With `match` only those with a word, in name or address, that begins so.
    """
    with _asked(archive, query) as (asked, tree):
        made = asked.index.survey(tree, asked.places, roles)
    found = people(list(made.people.values()))
    return People([each for each in found if each.address and _matches(each, match)], asked.behind)


@contextmanager
def _asked(archive: Archive, query: str) -> Iterator[tuple[Asked, Node | None]]:
    with asking(archive, query) if query else asking_all(archive) as asked:
        yield asked, asked.tree if query else None


def months(dates: Sequence[int]) -> Iterator[tuple[str, int]]:
    """Each month of these dates, which ascend, once, and how many there are in it; in local time."""
    if dates and (dates[0] < _EARLIEST or dates[-1] > _LATEST):
        dates = [min(max(date, _EARLIEST), _LATEST) for date in dates]
    at = 0
    while at < len(dates):
        first = datetime.fromtimestamp(dates[at])
        following = datetime(first.year + first.month // 12, first.month % 12 + 1, 1)
        end = bisect_left(dates, int(following.timestamp()), at + 1)
        yield f"{first.year:04}-{first.month:02}", end - at
        at = end


def people(counted: Sequence[Mapping[str, int]]) -> list[Person]:
    """One for each address, with the name it goes by most often; those of most messages first."""
    names: dict[str, Counter[str]] = {}
    for terms in counted:
        for term, count in terms.items():
            address, name = split(term)
            # Who has no address is who the name says.
            names.setdefault(address or f"\t{name}", Counter())[name] += count
    found = [_person(address, counts) for address, counts in names.items()]
    return sorted(found, key=lambda each: (-each.count, each.address, each.name))


def _person(address: str, counts: Counter[str]) -> Person:
    count = sum(counts.values())
    named = [name for name in counts if name]
    best = min(named, key=lambda name: (-counts[name], name), default="")
    return Person("" if address.startswith("\t") else address, best, count)


def _matches(person: Person, match: str) -> bool:
    if not match:
        return True
    from archiver.search.analysis import terms

    wanted = terms(match)
    words = terms(f"{person.name} {person.address}")
    return bool(wanted) and all(any(word.startswith(each) for word in words) for each in wanted)


def _folders(asked: Asked, numbers: set[int]) -> dict[str, int]:
    """How many of the documents are, or were, in each folder, those with most first."""
    counted = {
        f"{account}/{name}": len(numbers & documents)
        for account, name, documents in asked.ledger.documents_by_folder()
    }
    ranked = sorted(counted.items(), key=lambda each: (-each[1], each[0]))
    return {name: count for name, count in ranked if count}


def _sizes(sizes: array[int]) -> tuple[int, ...]:
    """How many are less than each of SIZES, but not than the one before; how many are not less than any."""
    ordered = sorted(sizes)
    ends = [0, *(bisect_left(ordered, size) for size in SIZES), len(ordered)]
    return tuple(end - start for start, end in pairwise(ends))
