from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from archiver.store import durable
from archiver.store.durable import Syncer


def written(directory: Path, count: int) -> list[str]:
    paths = [directory / str(n) for n in range(count)]
    for path in paths:
        path.write_bytes(b"x")
    return [str(path) for path in paths]


def inodes_fsynced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The inodes of files that fsync was called for from now on."""
    synced: list[int] = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    return synced


def test_every_file_is_synced_by_one_way_or_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each group by fsync of all of its files or by syncfs; both are used, since both are tried."""
    synced = inodes_fsynced(monkeypatch)
    whole: list[str] = []
    syncfs = durable._syncfs

    def note(paths: Sequence[str]) -> None:
        whole.extend(paths)
        syncfs(paths)

    monkeypatch.setattr(durable, "_syncfs", note)
    paths = written(tmp_path, 40)
    with Syncer() as syncer:
        for _ in range(30):
            synced.clear()
            whole.clear()
            syncer.sync(paths)
            assert set(synced) == {os.stat(path).st_ino for path in paths} or whole == paths


def test_without_syncfs_every_file_is_fsynced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = inodes_fsynced(monkeypatch)
    paths = written(tmp_path, 40)
    with Syncer(use_syncfs=False) as syncer:
        syncer.sync(paths)
    assert sorted(synced) == sorted(os.stat(path).st_ino for path in paths)


def test_the_faster_way_is_kept_and_the_other_looked_at_again(tmp_path: Path) -> None:
    chosen: list[int] = []
    with Syncer() as syncer:
        syncer._ways = [lambda paths: chosen.append(0), lambda paths: chosen.append(1)]
        syncer._costs = [2.0, 1.0]
        for _ in range(36):
            syncer._costs = [2.0, 1.0]
            syncer.sync(["a"])
    assert chosen.count(0) == 3


@pytest.mark.parametrize("way", [0, 1])
def test_an_error_of_any_file_is_told(tmp_path: Path, way: int) -> None:
    with Syncer() as syncer:
        missing = [*written(tmp_path, 20), str(tmp_path / "missing")]
        if way == 0:
            missing.reverse()
        with pytest.raises(FileNotFoundError) as caught:
            syncer._ways[way % len(syncer._ways)](missing)
    assert caught.value.errno == errno.ENOENT


def test_nothing_to_do(tmp_path: Path) -> None:
    with Syncer() as syncer:
        syncer.sync([])
