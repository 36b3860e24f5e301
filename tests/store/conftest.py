"""What the tests of the store share: a tree on a fast disk, a record of what reaches the disk when."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.store.tree import Tree


@contextmanager
def fast_directory() -> Iterator[str]:
    """A directory in memory where there is such a thing: for properties, which make thousands of files."""
    where = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="archiver-", dir=where) as path:
        yield path


class Trace:
    """What a program asked of the disk, in order: (what, path, target path or "")."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[str, str, str]] = []
        for name in ("rename", "replace", "link", "unlink", "mkdir"):
            self._record(monkeypatch, name)
        fsync = os.fsync

        def traced(fd: int) -> None:
            path = os.readlink(f"/proc/self/fd/{fd}")
            fsync(fd)
            self.calls.append(("fsync", path, ""))

        monkeypatch.setattr(os, "fsync", traced)

    def _record(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        real = getattr(os, name)

        def traced(path: str, *rest: Any, **options: Any) -> None:
            real(path, *rest, **options)
            target = rest[0] if rest and isinstance(rest[0], str) else ""
            self.calls.append((name, os.fspath(path), target))

        monkeypatch.setattr(os, name, traced)

    def order(self, *what: str) -> list[str]:
        """The calls of these kinds as "fsync tmp/name" lines: the kind and the last two parts of the path."""
        return [f"{kind} {'/'.join(Path(path).parts[-2:])}" for kind, path, _ in self.calls if kind in what]

    def index(self, kind: str, path: str) -> int:
        """When a call was made, counted from 0; it must have been made once only."""
        (found,) = [i for i, call in enumerate(self.calls) if call[:2] == (kind, path)]
        return found


@pytest.fixture
def trace(monkeypatch: pytest.MonkeyPatch) -> Trace:
    return Trace(monkeypatch)


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    made = Tree(str(tmp_path))
    yield made
    made.ledger.close()
