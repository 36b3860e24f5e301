"""All terms of a field as one text, to be looked through for those of some form.

The term table has them with what belongs to them in between, and walking through it in Python takes
seconds. So the terms of each field with words are also written one to a line, compressed, as a part of the
segment (`.<field>.lex`). A segment that Whoosh made has no such part: its table is walked through.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import IO

_LINE = b"\n"
_LINES = 4096


class LexiconWriter:
    """Terms of one field after the other into a file, from where it stands."""

    def __init__(self, file: IO[bytes]) -> None:
        self.extents: dict[str, tuple[int, int]] = {}
        self._file = file
        self._written = 0
        self._lines: list[bytes] = []

    def add(self, term: bytes) -> None:
        self._lines.append(term)
        if len(self._lines) == _LINES:
            self._flush()

    def begin(self) -> None:
        self._packing = zlib.compressobj(1)
        self._start = self._written

    def end(self, field: str) -> None:
        self._flush()
        self._write(self._packing.flush())
        self.extents[field] = self._start, self._written - self._start

    def _flush(self) -> None:
        if self._lines:
            self._write(self._packing.compress(_LINE.join([*self._lines, b""])))
            self._lines.clear()

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._written += len(data)


class Lexicon:
    """The terms of a field in one segment; stems, which begin with a `=`, are left out."""

    def __init__(self, lines: bytes) -> None:
        """`lines`: terms in their order, each ended by a line end."""
        self._text = _LINE + lines

    def containing(self, part: str, end: bool = False) -> Iterator[str]:
        """Terms with this part, perhaps at their end; in order, each once."""
        text, wanted = self._text, part.encode() + (_LINE if end else b"")
        at = text.find(wanted)
        while at >= 0:
            stop = text.index(_LINE, at)
            start = text.rindex(_LINE, 0, at) + 1 if at else 1
            if text[start] != 61:
                yield text[start:stop].decode()
            at = text.find(wanted, stop)

    def starting(self, part: str) -> Iterator[str]:
        wanted = _LINE + part.encode()
        first, last = self._text.find(wanted), self._text.rfind(wanted)
        if first >= 0:
            yield from self._text[first + 1 : self._text.index(_LINE, last + 1)].decode().split("\n")
