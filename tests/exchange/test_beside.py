"""What is exported to appears whole, or not at all, and takes the place of nothing."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import pytest

from archiver.errors import LockedError, StoreError, UsageError
from archiver.exchange.beside import new_directory, new_file
from tests.store.conftest import Trace, trace

__all__ = ["trace"]


class New(Protocol):
    def __call__(self, path: str) -> AbstractContextManager[Any]: ...


def fill(target: int | str, text: bytes = b"whole") -> None:
    if isinstance(target, int):
        os.write(target, text)
    else:
        Path(target, "content").write_bytes(text)


def content(path: Path) -> bytes:
    return (path / "content" if path.is_dir() else path).read_bytes()


@pytest.fixture(params=[new_file, new_directory])
def new(request: pytest.FixtureRequest) -> New:
    return request.param  # type: ignore[no-any-return]


def test_it_is_not_there_before_it_is_whole(new: New, tmp_path: Path) -> None:
    with new(str(tmp_path / "x")) as target:
        fill(target)
        assert not (tmp_path / "x").exists()
    assert content(tmp_path / "x") == b"whole"
    assert os.listdir(tmp_path) == ["x"]
    assert (tmp_path / "x").stat().st_mode & 0o077 == 0


def test_nothing_is_left_of_what_failed(new: New, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), new(str(tmp_path / "x")) as target:
        fill(target)
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == []


def test_what_somebody_made_meanwhile_stays(new: New, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="meanwhile"), new(str(tmp_path / "x")) as target:
        fill(target)
        (tmp_path / "x").write_bytes(b"precious")
    assert (tmp_path / "x").read_bytes() == b"precious"
    assert os.listdir(tmp_path) == ["x"]


def test_of_two_at_once_one_is_told(new: New, tmp_path: Path) -> None:
    with new(str(tmp_path / "x")) as target:
        fill(target)
        with pytest.raises(LockedError), new(str(tmp_path / "x")):
            pass
    assert content(tmp_path / "x") == b"whole"


def test_one_that_ends_while_another_begins_is_not_written_over(
    new: New, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have opened the same part; the first is done with it before the second has the lock."""
    first = new(str(tmp_path / "x"))
    fill(first.__enter__())
    lock = fcntl.flock

    def late(descriptor: int, how: int) -> None:
        monkeypatch.setattr(fcntl, "flock", lock)
        first.__exit__(None, None, None)
        lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(LockedError), new(str(tmp_path / "x")):
        pass
    assert content(tmp_path / "x") == b"whole"


def test_what_a_killed_run_left_goes(new: New, tmp_path: Path) -> None:
    if new is new_file:
        (tmp_path / ".x.archiver-export").write_bytes(b"left" * 9)
    else:
        (tmp_path / ".x.archiver-export" / "deep").mkdir(parents=True)
        (tmp_path / ".x.archiver-export" / "file").write_bytes(b"left")
    with new(str(tmp_path / "x")) as target:
        fill(target)
    assert content(tmp_path / "x") == b"whole"
    assert [path.name for path in tmp_path.rglob("*")] in (["x"], ["x", "content"])


def test_no_link_is_followed(new: New, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    if new is new_file:
        victim.write_bytes(b"precious")
    else:
        victim.mkdir()
        (victim / "content").write_bytes(b"precious")
    (tmp_path / ".x.archiver-export").symlink_to(victim)
    with pytest.raises(StoreError), new(str(tmp_path / "x")):
        pass
    assert content(victim) == b"precious"


def test_where_there_are_no_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: str, target: str) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    with new_file(str(tmp_path / "x")) as target:
        fill(target)
    assert content(tmp_path / "x") == b"whole"
    with pytest.raises(UsageError), new_file(str(tmp_path / "x")) as target:
        fill(target, b"other")
    assert content(tmp_path / "x") == b"whole"


def test_a_file_is_durable_before_it_has_its_name(tmp_path: Path, trace: Trace) -> None:
    with new_file(str(tmp_path / "x")) as target:
        fill(target)
    parent = tmp_path.name
    assert trace.order("fsync", "link") == [
        f"fsync {parent}/.x.archiver-export",
        f"link {parent}/.x.archiver-export",
        f"fsync {tmp_path.parent.name}/{parent}",
    ]


def test_what_was_exported_before_is_not_written_over(tmp_path: Path) -> None:
    """A run was killed when the export had its name already and was only to lose the other one."""
    (tmp_path / "moved").write_bytes(b"precious")
    os.link(tmp_path / "moved", tmp_path / ".x.archiver-export")
    with new_file(str(tmp_path / "x")) as target:
        fill(target)
    assert (content(tmp_path / "moved"), content(tmp_path / "x")) == (b"precious", b"whole")
    assert sorted(os.listdir(tmp_path)) == ["moved", "x"]


def test_nobody_who_made_what_is_there_reads_along(new: New, tmp_path: Path) -> None:
    part = tmp_path / ".x.archiver-export"
    if new is new_file:
        part.touch(mode=0o666)
    else:
        part.mkdir(mode=0o777)
    held = os.open(part, os.O_RDONLY)
    with new(str(tmp_path / "x")) as target:
        fill(target)
    assert not os.path.samestat(os.fstat(held), (tmp_path / "x").stat())
    os.close(held)
