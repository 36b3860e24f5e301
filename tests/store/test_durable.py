"""Many files made durable: by whichever way is faster, none of them left out, every error told."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from archiver.store import durable
from archiver.store.durable import Syncer
from tests.store.conftest import Trace


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    made = [tmp_path / f"{n}" for n in range(40)]
    for path in made:
        path.write_bytes(b"content")
    return [str(path) for path in made]


@pytest.fixture
def plain() -> Iterator[Syncer]:
    with Syncer(use_syncfs=False) as syncer:
        yield syncer


def test_each_file_once(plain: Syncer, paths: list[str], trace: Trace) -> None:
    plain.sync(paths)
    assert sorted(trace.calls) == sorted(("fsync", path, "") for path in paths)


def test_by_one_way_or_the_other(paths: list[str], monkeypatch: pytest.MonkeyPatch, trace: Trace) -> None:
    """Each group by fsync of all of its files or by syncfs; both are used, since both are tried."""
    whole: list[str] = []
    syncfs = durable._syncfs

    def note(group: Sequence[str]) -> None:
        whole.extend(group)
        syncfs(group)

    monkeypatch.setattr(durable, "_syncfs", note)
    with Syncer() as syncer:
        for _ in range(30):
            trace.calls.clear()
            whole.clear()
            syncer.sync(paths)
            assert whole == paths or {path for _, path, _ in trace.calls} == set(paths)


def test_no_files_no_work(paths: list[str], trace: Trace) -> None:
    with Syncer() as syncer:
        syncer.sync([])
    assert trace.calls == []


def test_an_error_of_one_file_is_the_errors_of_all(
    plain: Syncer, paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync

    def broken(fd: int) -> None:
        if os.readlink(f"/proc/self/fd/{fd}") == paths[17]:
            raise OSError(errno.EIO, "Input/output error")
        real(fd)

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="Input/output error"):
        plain.sync(paths)
    with pytest.raises(FileNotFoundError):
        plain.sync([*paths[:5], "/nowhere/at/all"])


def test_few_descriptors_are_enough(plain: Syncer, paths: list[str]) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(map(int, os.listdir("/proc/self/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 20, hard))
    try:
        plain.sync(paths)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_whole_file_system_at_once(paths: list[str]) -> None:
    assert durable._has_syncfs()
    durable._syncfs(paths)
    with pytest.raises(FileNotFoundError):
        durable._syncfs(["/nowhere/at/all"])


def test_an_error_of_the_file_system_is_told(paths: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    class Libc:
        def syncfs(self, descriptor: int) -> int:
            ctypes.set_errno(errno.EIO)
            return -1

    monkeypatch.setattr(durable, "_libc", Libc)
    with pytest.raises(OSError, match="Input/output error"):
        durable._syncfs(paths)


@pytest.mark.parametrize(
    ("release", "usable"),
    [("5.7.19-generic", False), ("5.8.0", True), ("6.1", True), ("4.19.0-1", False), ("unknown", False)],
)
def test_kernels_that_tell_no_errors_are_not_trusted(
    release: str, usable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "host", release, "", "x86_64")))
    assert durable._has_syncfs() is usable


class TestChoice:
    """The way that was faster last time, and now and then the other."""

    def ways(self, syncer: Syncer, costs: Sequence[float], monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """Which way each of 30 groups went, when the ways take these seconds."""
        clock = 0.0
        taken: list[int] = []

        def way(number: int) -> object:
            def work(paths: Sequence[str]) -> None:
                nonlocal clock
                clock += costs[number]
                taken.append(number)

            return work

        monkeypatch.setattr("archiver.store.durable.time.monotonic", lambda: clock)
        monkeypatch.setattr(syncer, "_ways", [way(0), way(1)])
        monkeypatch.setattr(syncer, "_costs", [0.0, 0.0])
        for _ in range(30):
            syncer.sync(["a", "b"])
        return taken

    @pytest.mark.parametrize("costs", [(1.0, 9.0), (9.0, 1.0)])
    def test_the_faster_one(self, costs: tuple[float, float], monkeypatch: pytest.MonkeyPatch) -> None:
        with Syncer() as syncer:
            taken = self.ways(syncer, costs, monkeypatch)
        faster = costs.index(min(costs))
        assert set(taken[:2]) == {0, 1}
        assert taken.count(1 - faster) <= 4 and taken.count(1 - faster) >= 2
        assert taken[-1] == faster
