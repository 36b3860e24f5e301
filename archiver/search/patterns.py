"""Terms of some form: those that a pattern with `*` fits, and those that are a few edits from a word.

An edit is a letter more, less or another one, or two neighbours swapped (the restricted distance of
Damerau and Levenshtein: no letter is edited twice).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import msgspec


class Probe(msgspec.Struct, frozen=True):
    """What a term has that is a few edits from a word: it is `text`, or begins, ends or goes on with it.

    `at`: where `text` is in the word, so about where it is in the term.
    """

    kind: Literal["whole", "start", "end", "inside"]
    text: str
    at: int = 0


def fitting(pattern: str) -> Callable[[str], bool]:
    """Whether a term has this form, `*` standing for any characters; fast however many there are.

    Each stretch is looked for once, behind the one before: where it stands first it leaves most room for
    the rest. `re` would try all places of each with all of the others.
    """
    first, *inner = pattern.split("*")
    if not inner:
        return first.__eq__
    last = inner.pop()

    def fits(term: str) -> bool:
        at, end = len(first), len(term) - len(last)
        if at > end or not (term.startswith(first) and term.endswith(last)):
            return False
        for stretch in inner:
            found = term.find(stretch, at, end)
            if found < 0:
                return False
            at = found + len(stretch)
        return True

    return fits


def longest(pattern: str) -> str:
    """The longest stretch without a `*`."""
    return max(pattern.split("*"), key=len)


def probes(word: str, edits: int) -> Iterator[Probe]:
    """One of these holds for each term that is at most so many edits away.

    Cut into one piece more than there are edits, a word has a piece that no edit touches, unless two letters
    are swapped across a cut; swapped back, they leave an edit less.
    """
    if not edits:
        yield Probe("whole", word)
        return
    cuts = [len(word) * number // (edits + 1) for number in range(edits + 2)]
    for number in range(edits + 1):
        start, end = cuts[number], cuts[number + 1]
        kind: Literal["start", "end", "inside"] = (
            "start" if start == 0 else "end" if end == len(word) else "inside"
        )
        yield Probe(kind, word[start:end], start)
    for cut in cuts[1:-1]:
        swapped = word[: cut - 1] + word[cut] + word[cut - 1] + word[cut + 1 :]
        yield from probes(swapped, edits - 1)


def within(word: str, other: str, edits: int) -> bool:
    """Whether two words are at most so many edits apart."""
    if abs(len(word) - len(other)) > edits:
        return False
    before: list[int] = []
    row = list(range(len(other) + 1))
    for at, letter in enumerate(word, 1):
        older, before, row = before, row, [at]
        for to, wanted in enumerate(other, 1):
            cost = min(before[to - 1] + (letter != wanted), before[to] + 1, row[to - 1] + 1)
            if at > 1 and to > 1 and letter == other[to - 2] and word[at - 2] == wanted:
                cost = min(cost, older[to - 2] + 1)
            row.append(cost)
        if min(row) > edits and (not before or min(before) >= edits):
            return False
    return row[-1] <= edits
