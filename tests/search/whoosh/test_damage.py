"""An index that is not what was written: refused, said, and built anew."""

from __future__ import annotations

import fcntl
import json
import os
import pickle
import resource
import signal
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import whoosh.index

from archiver.errors import ArchiverError, DamagedError, LockedError, StoreError
from archiver.search.index import Index, IndexState, open_draft, open_index
from archiver.search.people import Role
from archiver.search.query import parse
from archiver.search.tree import Thread
from archiver.search.whoosh import postings
from tests.search.contract import NOW, key, no_places, samples

STATE = IndexState("L", 3)
EVERYTHING = parse("-absent", now=NOW)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    index = open_index(str(tmp_path / "index"))
    index.apply(samples()[:20], (), IndexState("L", 1))
    index.apply(samples()[20:40], [key(3)], STATE)
    return tmp_path / "index"


def only(folder: Path, pattern: str) -> Path:
    return sorted(folder.glob(pattern))[0]


def truncate(folder: Path) -> None:
    segment = only(folder, "*.seg")
    os.truncate(segment, segment.stat().st_size - 1)


def lengthen(folder: Path) -> None:
    with only(folder, "*.seg").open("ab") as file:
        file.write(b"x")


def remove_segment(folder: Path) -> None:
    only(folder, "*.seg").unlink()


def remove_record(folder: Path) -> None:
    only(folder, "archiver-*.json").unlink()


def scribble_record(folder: Path) -> None:
    only(folder, "archiver-*.json").write_text('{"format": 1, "generation"')


def change_record(folder: Path, **changes: object) -> None:
    path = only(folder, "archiver-*.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def older(folder: Path) -> None:
    change_record(folder, format=0)


def newer(folder: Path) -> None:
    change_record(folder, format=99, segments="of another kind")


def wrong_type(folder: Path) -> None:
    change_record(folder, segments=[{"id": 1}])


def zero_all(folder: Path) -> None:
    segment = only(folder, "*.seg")
    segment.write_bytes(bytes(segment.stat().st_size))


def zero_postings(folder: Path) -> None:
    """Opening goes well, reading does not."""
    for path in folder.glob("*.seg"):
        data = bytearray(path.read_bytes())
        parts = pickle.loads(data[struct.unpack_from("!q", data)[0] :])
        part = parts[f"{path.stem}.pst"]
        data[part["offset"] : part["offset"] + part["length"]] = bytes(part["length"])
        path.write_bytes(data)


def optimise_with_stock_whoosh(folder: Path) -> None:
    stock: Any = whoosh.index.open_dir(str(folder))
    stock.optimize()


def open_to_others(folder: Path) -> None:
    folder.chmod(0o770)


def given_away(folder: Path) -> None:
    os.chown(folder, 65534, -1)


DAMAGES: list[Callable[[Path], None]] = [
    truncate,
    lengthen,
    remove_segment,
    remove_record,
    scribble_record,
    older,
    newer,
    wrong_type,
    zero_all,
    zero_postings,
    optimise_with_stock_whoosh,
    open_to_others,
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_refused_and_built_anew(folder: Path, damage: Callable[[Path], None]) -> None:
    damage(folder)
    index = open_index(str(folder))
    with pytest.raises(DamagedError) as caught:
        index.search(parse("alpha OR beta OR quarterly", now=NOW), no_places)
    assert "\n" not in caught.value.message
    assert "reindex" in (caught.value.hint or "")
    if damage is open_to_others:
        folder.chmod(0o700)
    index.clear()
    assert index.state() is None
    index.apply(samples()[:40], (), STATE)
    index.verify()
    assert index.count() == 40


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_somebody_else_is_refused(folder: Path) -> None:
    given_away(folder)
    index = open_index(str(folder))
    with pytest.raises(DamagedError):
        index.state()
    with pytest.raises(DamagedError):
        index.apply((), (), STATE)
    with pytest.raises(DamagedError):
        index.clear()


@pytest.mark.parametrize("damage", [remove_record, scribble_record, older, remove_segment])
def test_a_writer_refuses_too(folder: Path, damage: Callable[[Path], None]) -> None:
    damage(folder)
    (folder / "writing").touch()
    index = open_index(str(folder))
    for write in (lambda: index.apply((), (), STATE), index.maintain, index.verify):
        with pytest.raises(DamagedError):
            write()


def flip_one_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("pattern", ["*.seg", "*.toc"])
def test_one_wrong_bit_is_found_by_verify_and_after_an_unclean_end(folder: Path, pattern: str) -> None:
    flip_one_bit(only(folder, pattern))
    index = open_index(str(folder))
    assert index.state() == STATE
    with pytest.raises(DamagedError):
        index.verify()
    (folder / "writing").touch()
    for _ in range(2):
        with pytest.raises(DamagedError):
            index.apply((), (), IndexState("L", 4))
    index.clear()
    index.apply((), (), IndexState("L", 5))
    assert index.state() == IndexState("L", 5)


def part(path: Path, extension: str) -> tuple[int, int]:
    """Where a part of a segment file begins and ends."""
    data = path.read_bytes()
    facts = pickle.loads(data[struct.unpack_from("!q", data)[0] :])[f"{path.stem}{extension}"]
    return facts["offset"], facts["offset"] + facts["length"]


@pytest.mark.parametrize("size", [4, 64])
def test_zeros_among_the_postings_are_said_or_do_not_matter(
    folder: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(postings, "_BLOCK", 7)
    index = open_index(str(folder))
    index.clear()
    index.apply(samples()[:60], (), STATE)
    (path,) = folder.glob("*.seg")
    sound = path.read_bytes()
    trees = [parse(text, now=NOW) for text in ("alpha", "alpha beta", '"alpha beta"', "al*", "-gamma")]
    expected = [index.search(tree, no_places, limit=100).hits for tree in trees]
    start, end = part(path, ".pst")
    said = 0
    for at in range(start, end, (end - start) // 150):
        path.write_bytes(sound[:at] + bytes(size) + sound[at + size :])
        for tree, right in zip(trees, expected, strict=True):
            try:
                assert open_index(str(folder)).search(tree, no_places, limit=100).hits == right
            except DamagedError:
                said += 1
    assert said


LOOKED: dict[str, Callable[[Index], object]] = {
    "conversation": lambda index: index.conversation(Thread(key=key(5))),
    "conversations": lambda index: index.search_threads(EVERYTHING, no_places),
    "all conversations": lambda index: index.search_threads(EVERYTHING, no_places, offset=500),
    "by sender": lambda index: index.search(EVERYTHING, no_places, "sender", limit=1000),
    "by relevance": lambda index: index.search(EVERYTHING, no_places, "relevance"),
    "survey": lambda index: index.survey(EVERYTHING, no_places, get_args(Role)),
}


@pytest.mark.parametrize("looked", LOOKED.values(), ids=LOOKED.keys())
def test_whoever_meets_damage_says_so(folder: Path, looked: Callable[[Index], object]) -> None:
    """No error of who unpacks it escapes, whatever is read."""
    index = open_index(str(folder))
    index.clear()
    index.apply(samples()[:60], (), STATE)
    looked(index)
    (path,) = folder.glob("*.seg")
    sound = path.read_bytes()
    said = 0
    for extension in (".pst", ".trm", ".ids.col"):
        start, end = part(path, extension)
        for at, size in [
            (start, end - start),
            *((at, 4) for at in range(start, end - 4, (end - start) // 50)),
        ]:
            for byte in (b"\0", b"\xff"):
                path.write_bytes(sound[:at] + byte * size + sound[at + size :])
                try:
                    looked(open_index(str(folder)))
                except DamagedError:
                    said += 1
        path.write_bytes(sound)
    assert said


def test_after_an_unclean_end_a_sound_index_goes_on(folder: Path) -> None:
    (folder / "writing").touch()
    (folder / "_MAIN_9.toc.1700000000.5").write_bytes(b"half")
    (folder / "MAIN_0123456789abcdef.seg").write_bytes(b"half")
    (folder / "MAIN_0123456789abcdef.pst").write_bytes(b"half")
    (folder / "archiver-9.json.tmp").write_bytes(b"half")
    (folder / "MAIN.tmp").mkdir()
    (folder / "MAIN.tmp" / "x.ctmp").write_bytes(b"half")
    (folder / "draft-x1").mkdir()
    (folder / "draft-x1" / "MAIN_0123456789abcdef.seg").write_bytes(b"half")
    (folder / "notes.txt").write_text("not ours")
    index = open_index(str(folder))
    index.apply((), [key(1)], IndexState("L", 4))
    assert index.count() == 38
    index.verify()
    left = {path.suffix or path.name for path in folder.iterdir()}
    assert left == {".seg", ".toc", ".json", ".txt", "MAIN_WRITELOCK"}


def test_drafts_in_use_are_not_swept(folder: Path) -> None:
    index = open_index(str(folder))
    with index.drafting() as place:
        draft = open_draft(place)
        draft.add(samples()[50])
        portion = draft.write()
        open_index(str(folder)).apply((), [key(1)], IndexState("L", 4))
        index.adopt([portion], IndexState("L", 5))
        assert index.hit(key(50))
    assert index.state() == IndexState("L", 5)
    index.verify()
    assert not list(folder.glob("draft-*"))


def test_files_are_private(folder: Path) -> None:
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_a_second_writer_is_told(folder: Path) -> None:
    index = open_index(str(folder))
    with (folder / "MAIN_WRITELOCK").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(LockedError) as caught:
            index.apply((), (), STATE)
        assert caught.value.transient
        with pytest.raises(LockedError):
            index.clear()
        assert index.state() == STATE
    index.apply((), (), IndexState("L", 4))


def in_a_child(work: Callable[[], None]) -> int:
    """The exit code of a child that does the work: 0, or that of the error."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            work()
            code = 0
        except ArchiverError as error:
            code = error.exit_code
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_full_disk_is_said_and_loses_nothing(folder: Path) -> None:
    before = sorted(path.name for path in folder.iterdir())

    def work() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
        open_index(str(folder)).apply(samples(), (), IndexState("L", 4))

    assert in_a_child(work) == 75
    assert sorted(path.name for path in folder.iterdir()) == sorted([*before, "writing"])
    index = open_index(str(folder))
    assert (index.state(), index.count()) == (STATE, 39)
    index.apply(samples(), (), IndexState("L", 4))
    assert index.count() == 300


def test_a_path_that_cannot_be_a_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError):
        open_index(str(tmp_path / "file" / "index")).apply((), (), STATE)
    with pytest.raises(StoreError):
        open_index(str(tmp_path / "file")).state()
