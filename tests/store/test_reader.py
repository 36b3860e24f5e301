"""From a key to the bytes that have it, wherever they are by now."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from archiver.errors import DamagedError, NotFoundError, StoreError
from archiver.store import maildir
from archiver.store.maildir import key_of
from archiver.store.reader import Reader, proves, read_wire
from tests.store.tree import Tree, message

WIRE = message(1)
KEY = key_of(WIRE)


@pytest.fixture
def paths(tree: Tree) -> list[str]:
    """Two copies, not links, of one message."""
    return [*tree.file(tree.folder("INBOX"), [WIRE]), *tree.file(tree.folder("Copy"), [WIRE])]


def test_the_wire_bytes(tree: Tree, paths: list[str]) -> None:
    reader = Reader(tree.ledger)
    assert reader.wire(KEY) == WIRE
    assert reader.paths(KEY) == paths
    assert Path(paths[0]).read_bytes() == WIRE.replace(b"\r\n", b"\n")


@pytest.mark.parametrize("rotten", [b"", b"other", WIRE])
def test_the_copy_that_is_whole_counts(tree: Tree, paths: list[str], rotten: bytes) -> None:
    Path(paths[0]).write_bytes(rotten)
    assert Reader(tree.ledger).wire(KEY) == WIRE
    Path(paths[1]).write_bytes(rotten)
    with pytest.raises(DamagedError, match=r"is damaged: .*/cur/") as caught:
        Reader(tree.ledger).wire(KEY)
    assert "verify --repair" in str(caught.value.hint)


def test_after_other_programs(tree: Tree, paths: list[str]) -> None:
    reader = Reader(tree.ledger)
    os.rename(paths[0], paths[0] + "RS")
    assert reader.paths(KEY) == [paths[0] + "RS", paths[1]]
    os.unlink(paths[1])
    assert reader.wire(KEY) == WIRE
    os.unlink(paths[0] + "RS")
    assert reader.paths(KEY) == []
    with pytest.raises(NotFoundError, match="is gone from the archive"):
        reader.wire(KEY)


@pytest.mark.parametrize(
    "wire", [WIRE, b"Subject: x\n\nlf\n", b"Subject: x\r\n\nmixed\n" + b"x\r\n" * 200_000]
)
@pytest.mark.parametrize("lost_w", [False, True])
def test_a_file_proves_its_message_and_no_other(tree: Tree, wire: bytes, lost_w: bool) -> None:
    (path,) = tree.file(tree.folder("INBOX"), [wire])
    if lost_w:
        os.rename(path, path := path.replace(f",W={len(wire)}", ""))
    assert proves(path, key_of(wire))
    assert not proves(path, key_of(wire + b"x"))
    assert not proves(path + "-", key_of(wire)), "it is called otherwise, and is not there"
    with open(path, "ab") as file:
        file.write(b"x")
    assert not proves(path, key_of(wire))


def test_w_was_lost_by_another_program(tree: Tree, paths: list[str]) -> None:
    lost = paths[0].replace(f",W={len(WIRE)}", "")
    assert lost != paths[0]
    os.rename(paths[0], lost)
    assert read_wire(KEY, [lost]) == WIRE


def test_a_rename_after_the_lookup(tree: Tree, paths: list[str]) -> None:
    """Paths travel to worker processes; meanwhile somebody reads the mail in mutt."""
    os.rename(paths[0], paths[0] + "S")
    assert read_wire(KEY, paths[:1]) == WIRE
    Path(paths[0] + "S").write_bytes(b"rot")
    with pytest.raises(DamagedError):
        read_wire(KEY, paths[:1])
    os.unlink(paths[0] + "S")
    with pytest.raises(NotFoundError):
        read_wire(KEY, paths[:1])


def test_a_copy_that_cannot_be_read(tree: Tree, paths: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    real = maildir._content

    def bad_sector(path: str) -> Any:
        if path == paths[0]:
            raise OSError(errno.EIO, "Input/output error", path)
        return real(path)

    monkeypatch.setattr(maildir, "_content", bad_sector)
    assert Reader(tree.ledger).wire(KEY) == WIRE
    os.unlink(paths[1])
    with pytest.raises(StoreError, match="cannot read the archive: Input/output error") as caught:
        Reader(tree.ledger).wire(KEY)
    assert type(caught.value) is StoreError
