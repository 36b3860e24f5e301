"""The ledger's numbers of a segment's documents: what joins facts of places to documents in the index.

They follow from keys and ledger, so they are no part of a commit: a segment's are noted in a file beside
it, `MAIN_<id>.<ledger>.numbers`, by whoever tidies up, and asked from the ledger where that is missing or
damaged. Content: CRC-32 of the rest, then a number of four bytes for each document, all little-endian.
"""

from __future__ import annotations

import os
import sys
from array import array
from binascii import crc32
from collections.abc import Iterable, Sequence

from archiver.search.index import Places
from archiver.search.whoosh.record import numbers_name
from archiver.search.whoosh.segment import Segment

WORTH_NOTING = 1000
"""Documents of a segment from which on asking the ledger takes longer than it should."""

_CHECK = 4


def numbers(segment: Segment, places: Places) -> Sequence[int]:
    """The number of each document."""
    if not places.ledger:
        return array("I", places.numbers(segment.keys))
    known = segment.numbers.get(places.ledger)
    if known is None:
        known = _noted(segment, places.ledger) or array("I", places.numbers(segment.keys))
        # Another ledger may come to know a document later.
        if all(known):
            segment.numbers[places.ledger] = known
    return known


def lacking(segments: Iterable[Segment], ledger: str) -> list[Segment]:
    """The segments whose numbers should be noted."""
    large = (segment for segment in segments if segment.record.documents >= WORTH_NOTING)
    return [segment for segment in large if not os.path.exists(_path(segment, ledger))]


def note(segment: Segment, places: Places) -> None:
    """Write the file of a segment; not when some of its documents have no number."""
    known = array("I", places.numbers(segment.keys))
    if not all(known):
        return
    if sys.byteorder == "big":
        known.byteswap()
    data = known.tobytes()
    path = _path(segment, places.ledger)
    descriptor = os.open(f"{path}.tmp", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(crc32(data).to_bytes(_CHECK, "little") + data)
    os.rename(f"{path}.tmp", path)


def _noted(segment: Segment, ledger: str) -> array[int] | None:
    try:
        with open(_path(segment, ledger), "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return None
    noted = array("I")
    if len(data) != _CHECK + noted.itemsize * segment.record.documents:
        return None
    if crc32(data[_CHECK:]) != int.from_bytes(data[:_CHECK], "little"):
        return None
    noted.frombytes(data[_CHECK:])
    if sys.byteorder == "big":
        noted.byteswap()
    return noted


def _path(segment: Segment, ledger: str) -> str:
    return os.path.join(os.path.dirname(segment.path), numbers_name(segment.record, ledger))
