"""Blocks of a posting list, however their pickle was made."""

from __future__ import annotations

import pickle
import struct
import zlib
from collections.abc import Callable
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.search.whoosh import lists
from archiver.search.whoosh.lists import unpacked, unpacked_ids

steps = st.lists(st.integers(1, 300) | st.integers(1, 70_000), min_size=1, max_size=128)


def opcode(number: int) -> bytes:
    for letter, form, limit in ((b"K", "<B", 1 << 8), (b"M", "<H", 1 << 16), (b"J", "<i", 1 << 31)):
        if number < limit:
            return letter + struct.pack(form, number)
    raise AssertionError(number)


def by_marks(deltas: tuple[int, ...], values: tuple[bytes, ...]) -> bytes:
    """As a writer does that joins ready-made opcodes and says no protocol."""
    packed = b"".join(b"C%c%b" % (len(value), value) for value in values)
    return b"((" + b"".join(map(opcode, deltas)) + b"tN(" + packed + b"tt."


PICKLES: dict[str, Callable[[tuple[int, ...], tuple[bytes, ...]], bytes]] = {
    "2": lambda deltas, values: pickle.dumps((deltas, None, values), 2),
    "3": lambda deltas, values: pickle.dumps((deltas, None, values), 3),
    "4": lambda deltas, values: pickle.dumps((deltas, None, values), 4),
    "list": lambda deltas, values: pickle.dumps(([*deltas], None, values), 2),
    "marks": by_marks,
}


def block(deltas: tuple[int, ...], made: str, compressed: bool, last: int | None = None) -> memoryview:
    values = tuple(b"%d" % delta * 9 for delta in deltas)
    data = PICKLES[made](deltas, values)
    head = (len(deltas), sum(deltas) if last is None else last, 1.0, int(compressed), 3, 9)
    return memoryview(pickle.dumps(head, 2) + (zlib.compress(data, 1) if compressed else data))


@pytest.mark.parametrize("made", PICKLES)
@pytest.mark.parametrize("compressed", [True, False])
@given(listed=steps)
def test_ids_alone_are_those_of_the_whole(made: str, compressed: bool, listed: list[int]) -> None:
    data = block(tuple(listed), made, compressed)
    ids, weights, values = unpacked(data)
    assert ids == list(accumulate(listed)) == unpacked_ids(data)
    assert weights is None
    assert values and len(values) == len(ids)


@pytest.mark.parametrize("made", ["2", "3", "marks"])
def test_ids_alone_do_not_unpack_positions(made: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = block(tuple(right - left for left, right in pairwise(range(129))), made, compressed=True)
    monkeypatch.setattr(lists, "unpacked", None)
    assert unpacked_ids(data) == list(range(1, 129))


@pytest.mark.parametrize("read", [unpacked, unpacked_ids])
@pytest.mark.parametrize("made", PICKLES)
def test_other_ids_than_the_head_says(read: Callable[[memoryview], object], made: str) -> None:
    with pytest.raises(ValueError, match="other documents"):
        read(block((5, 1, 1, 1, 1), made, compressed=True, last=10))
