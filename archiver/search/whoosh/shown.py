"""What is shown of a field of each document, as lines of one text, for what looks through them all.

The text is made in pieces, of so many documents each, when one of them is first wanted.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from typing import Any

from archiver.search.limits import Limits
from archiver.search.regex import compiled, is_alone

_PIECE = 4096
# Instructions of an expression times bytes of text between two looks at the clock: at worst 0.3 seconds.
_STEPS = 50_000_000
# Of fewer documents, each is looked at by itself.
_FEW = 200


class Shown:
    """A field of the documents of one segment."""

    def __init__(self, documents: int, shown: Callable[[int], str]) -> None:
        self._documents = documents
        self._text_of = shown
        self._pieces: dict[int, tuple[bytes, array[int]]] = {}

    def matching(
        self, pattern: str, window: range, among: AbstractSet[int] | None, limits: Limits
    ) -> AbstractSet[int]:
        """The documents in the window, perhaps only some, in which a regular expression matches."""
        regex = compiled(pattern)
        if (among is not None and len(among) < _FEW) or is_alone(pattern):
            asked = window if among is None else among
            return {number for number in self._checked(asked, limits) if regex.search(self._line(number))}
        found = set(self._lines_matching(regex, window, limits))
        return found if among is None else found & among

    def _lines_matching(self, regex: Any, window: range, limits: Limits) -> Iterator[int]:
        at, most = window.start, _STEPS // regex.programsize
        while at < window.stop:
            number = at // _PIECE
            text, begins = self._piece(number)
            first = number * _PIECE
            enough = first + bisect_right(begins, begins[at - first] + most) - 1
            stop = min(max(enough, at + 1), first + _PIECE, window.stop)
            end = begins[stop - first]
            limits.check()
            while at < stop and (match := regex.search(text, begins[at - first], end)):
                at = first + bisect_right(begins, match.start()) - 1
                if at >= stop:
                    break
                yield at
                at += 1
                if at % 256 == 0:
                    limits.check()
            at = stop

    def _checked(self, asked: range | AbstractSet[int], limits: Limits) -> Iterator[int]:
        for count, number in enumerate(asked):
            if count % 16 == 0:
                limits.check()
            yield number

    def _line(self, number: int) -> bytes:
        text, begins = self._piece(number // _PIECE)
        at = number % _PIECE
        return text[begins[at] : begins[at + 1] - 1]

    def _piece(self, number: int) -> tuple[bytes, array[int]]:
        """The lines of some documents, where each begins, and where the last one ends."""
        if number not in self._pieces:
            begins, lines, length = array("I", [0]), [], 0
            for document in range(number * _PIECE, min((number + 1) * _PIECE, self._documents)):
                line = self._text_of(document).replace("\n", " ").encode("utf-8", "replace") + b"\n"
                lines.append(line)
                length += len(line)
                begins.append(length)
            self._pieces[number] = b"".join(lines), begins
        return self._pieces[number]
