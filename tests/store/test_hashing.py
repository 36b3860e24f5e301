"""Files compared with their keys: as by reading them whole, in little memory, whatever happens to them."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.store import hashing
from archiver.store.hashing import check, hash_file
from archiver.store.maildir import Name, fits, key_of, to_file, to_wire

PIECE = hashing._PIECE


def stored(directory: Path, wire: bytes, *, keep_w: bool = True) -> str:
    """The path of a file that holds this message, as a pull leaves it."""
    data, size = to_file(wire)
    name = Name(1_600_000_000, key_of(wire).hex()[:32], len(data), size if keep_w else None, 7, 1)
    path = directory / f"{name}:2,S"
    path.write_bytes(data)
    return str(path)


@pytest.mark.parametrize(
    "wire",
    [
        b"",
        b"a\r\nb\r\n",
        b"a\nb\r\n",
        b"\r\n" * PIECE,
        b"x" * (PIECE - 1) + b"\r\n" + b"y" * 5,
        b"x" * (PIECE - 1) + b"\ny\r\n",
        b"x" * PIECE,
        b"\r" * PIECE + b"\r\n",
    ],
)
@pytest.mark.parametrize("keep_w", [True, False])
def test_the_key_on_the_wire(tmp_path: Path, wire: bytes, keep_w: bool) -> None:
    path = stored(tmp_path, wire, keep_w=keep_w)
    assert hash_file(path) == (os.path.getsize(path), key_of(wire))


@given(st.binary(max_size=40), st.binary(max_size=40), st.booleans())
def test_as_by_reading_it_whole(
    tmp_path_factory: pytest.TempPathFactory, wire: bytes, other: bytes, keep_w: bool
) -> None:
    path = stored(tmp_path_factory.mktemp("one"), wire, keep_w=keep_w)
    name = Name(1, key_of(wire).hex()[:32], 0, len(wire) if ",W=" in path else None, 7, 1)
    for content in (to_file(wire)[0], wire, other):
        Path(path).write_bytes(content)
        read = to_wire(content, name)
        assert hash_file(path) == (len(content), key_of(read) if fits(read, name) else b"")


def test_what_is_wrong_with_which(tmp_path: Path) -> None:
    texts = [b"%d\r\n" % n for n in range(6)]
    paths = [stored(tmp_path, text) for text in texts]
    Path(paths[1]).write_bytes(b"rot")
    Path(paths[2]).unlink()
    Path(paths[3]).unlink()
    Path(paths[3]).mkdir()
    keys = [key_of(text) for text in texts]
    keys[4] = key_of(b"what the ledger believes")
    expected = [*zip(paths, keys, strict=True), ("", key_of(b"none"))]
    wrong = [(1, "damaged"), (2, "missing"), (3, "unreadable"), (4, "damaged"), (6, "missing")]
    assert check((9, expected)) == (9, 4, 2 + 3 + 2 + 2, wrong)


def test_renamed_since_it_was_listed(tmp_path: Path) -> None:
    cur = tmp_path / "cur"
    cur.mkdir()
    path = stored(cur, b"text\r\n")
    os.rename(path, f"{path}T")
    assert check((0, [(path, key_of(b"text\r\n"))])) == (0, 1, 5, [])


def test_a_large_one_takes_little_memory(tmp_path: Path) -> None:
    wire = (b"x" * 70 + b"\r\n") * 400_000
    path = stored(tmp_path, wire)
    tracemalloc.start()
    try:
        assert hash_file(path)[1] == key_of(wire)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * PIECE
