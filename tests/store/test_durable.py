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


def sync(syncer: Syncer, paths: Sequence[str]) -> None:
    """A group that was written already."""
    with syncer.group("/tmp" if not paths else os.path.dirname(paths[0])) as done:
        done(paths)


def trusted(monkeypatch: pytest.MonkeyPatch, *, yes: bool = True) -> None:
    """Whatever file system the tests run on, take it for one whose syncfs can be relied on, or not."""
    monkeypatch.setattr(durable, "_reaches_the_disk", lambda folder: yes)


def test_each_file_once(plain: Syncer, paths: list[str], trace: Trace) -> None:
    sync(plain, paths)
    assert sorted(trace.calls) == sorted(("fsync", path, "") for path in paths)


def test_by_one_way_or_the_other(paths: list[str], monkeypatch: pytest.MonkeyPatch, trace: Trace) -> None:
    """Each group by fsync of all of its files or by syncfs; both are used, since both are tried."""
    whole: list[str] = []
    monkeypatch.setattr(durable, "_syncfs", lambda descriptor, folder: whole.append(folder))
    trusted(monkeypatch)
    ways = set()
    with Syncer() as syncer:
        for _ in range(30):
            trace.calls.clear()
            whole.clear()
            sync(syncer, paths)
            assert bool(whole) != ({path for _, path, _ in trace.calls} == set(paths))
            ways.add(bool(whole))
    assert ways == {True, False}


def test_a_file_system_that_may_do_nothing_is_not_relied_on(
    paths: list[str], monkeypatch: pytest.MonkeyPatch, trace: Trace
) -> None:
    trusted(monkeypatch, yes=False)
    with Syncer() as syncer:
        for _ in range(30):
            trace.calls.clear()
            sync(syncer, paths)
            assert len(trace.calls) == len(paths)


@pytest.mark.parametrize(
    ("kinds", "trusts"), [(["ext4"], True), (["fuse.sshfs"], False), (["nfs4"], False), ([], False)]
)
def test_which_file_systems_are_relied_on(
    tmp_path: Path, kinds: list[str], trusts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = os.stat(tmp_path).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    mounts = tmp_path / "mountinfo"
    lines = [f"22 1 {number} / /mnt rw,relatime shared:1 - {kind} /dev/x rw\n" for kind in kinds]
    mounts.write_text("23 1 99:99 / /else rw - fuse /dev/y rw\n" + "".join(lines))
    real = open
    monkeypatch.setattr(
        "builtins.open",
        lambda file, *a, **k: real(mounts if file == "/proc/self/mountinfo" else file, *a, **k),
    )
    durable._reaches_the_disk.cache_clear()
    try:
        assert durable._reaches_the_disk(str(tmp_path)) is trusts
    finally:
        durable._reaches_the_disk.cache_clear()


def test_the_file_system_is_opened_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or an error of writing back between could be told to somebody else."""
    trusted(monkeypatch)
    opened: list[str] = []
    real = os.open

    def note(path: str, flags: int, *rest: int) -> int:
        opened.append(path)
        return real(path, flags, *rest)

    monkeypatch.setattr(os, "open", note)
    with Syncer() as syncer, syncer.group(str(tmp_path)) as done:
        assert opened == [str(tmp_path)]
        (tmp_path / "new").write_bytes(b"x")
        done([str(tmp_path / "new")])


def test_no_files_no_work(tmp_path: Path, trace: Trace) -> None:
    with Syncer(use_syncfs=False) as syncer:
        sync(syncer, [])
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
        sync(plain, paths)
    with pytest.raises(FileNotFoundError):
        sync(plain, [*paths[:5], "/nowhere/at/all"])


def test_few_descriptors_are_enough(plain: Syncer, paths: list[str]) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(map(int, os.listdir("/proc/self/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 20, hard))
    try:
        sync(plain, paths)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_whole_file_system_at_once(tmp_path: Path) -> None:
    assert durable._has_syncfs()
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        durable._syncfs(descriptor, str(tmp_path))
    finally:
        os.close(descriptor)
    with pytest.raises(OSError):
        durable._syncfs(descriptor, str(tmp_path))


def test_an_error_of_the_file_system_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Libc:
        def syncfs(self, descriptor: int) -> int:
            ctypes.set_errno(errno.EIO)
            return -1

    monkeypatch.setattr(durable, "_libc", Libc)
    with pytest.raises(OSError, match="Input/output error"):
        durable._syncfs(0, str(tmp_path))


@pytest.mark.parametrize(
    ("release", "usable"),
    [("5.7.19-generic", False), ("5.8.0", True), ("6.1", True), ("4.19.0-1", False), ("unknown", False)],
)
def test_kernels_that_tell_no_errors_are_not_trusted(
    release: str, usable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "host", release, "", "x86_64")))
    assert durable._has_syncfs() is usable


@pytest.mark.parametrize("faster", ["syncfs", "fsync"])
def test_the_faster_way_is_kept_and_the_other_tried_now_and_then(
    paths: list[str], faster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = 0.0
    taken: list[str] = []

    def take(way: str) -> None:
        nonlocal clock
        clock += 1.0 if way == faster else 2.0
        taken.append(way)

    trusted(monkeypatch)
    monkeypatch.setattr("archiver.store.durable.time.monotonic", lambda: clock)
    monkeypatch.setattr(durable, "_syncfs", lambda descriptor, folder: take("syncfs"))
    monkeypatch.setattr(Syncer, "_fsync", lambda self, paths: take("fsync"))
    with Syncer() as syncer:
        for _ in range(36):
            sync(syncer, paths)
    assert set(taken[:2]) == {"syncfs", "fsync"}
    assert 30 <= taken.count(faster) < 36
