"""Attachments on their way into the index: each read once, and none in the way of its mail."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path

import pytest
from msgspec.structs import replace

from archiver.attachments import Reading, Unread
from archiver.attachments.cache import Cache, Entry, digest_of
from archiver.attachments.process import DEADLY, LATE
from archiver.errors import InterruptedRun
from archiver.indexer import IndexReport, bulk, drain
from archiver.indexer import feed as feeding
from archiver.search.index import Index, open_index
from archiver.store.layout import attachments_path, index_path
from archiver.store.maildir import key_of
from tests.attachments import documents
from tests.attachments.hostile import obey
from tests.indexer.test_drain import found
from tests.store.tree import Tree, message

READING = Reading(25 << 20, work=obey)


@pytest.fixture(params=["few", "bulk"])
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Tree]:
    """The same with few changes, and with much mail that several processes divide."""
    if request.param == "bulk":
        monkeypatch.setattr(feeding, "FEW", 0)
        monkeypatch.setattr(bulk, "SHARE", 4)
        monkeypatch.setattr(bulk, "_WORTH", 1)
    made = Tree(str(tmp_path))
    yield made
    made.ledger.close()


@pytest.fixture
def index(tree: Tree) -> Iterator[Index]:
    opened = open_index(index_path(tree.root))
    yield opened
    opened.close()


def feed(tree: Tree, index: Index, reading: Reading | None = READING) -> IndexReport:
    return drain(tree.ledger, index, nullcontext, workers=2, attachments=reading)


def deliver(tree: Tree, *mails: bytes, first: int = 1) -> list[bytes]:
    tree.file(tree.folder(), mails, first)
    return [key_of(mail) for mail in mails]


def test_every_kind_is_found(tree: Tree, index: Index) -> None:
    mails = [
        documents.mail((f"file.{name}", make(f"figures {name}word")))
        for name, make in documents.MAKERS.items()
    ]
    keys = deliver(tree, *mails)
    report = feed(tree, index)
    assert (report.added, report.attachments.read, report.attachments.unread) == (len(mails), len(mails), ())
    for name, key in zip(documents.MAKERS, keys, strict=True):
        assert found(tree, index, f"attachment:{name}word") == [key]
        assert found(tree, index, f"{name}word") == [key]
        assert found(tree, index, f"body:{name}word") == []
    assert found(tree, index, "attachment:hidden") == []


def test_none_is_read_twice(tree: Tree, index: Index, tmp_path: Path) -> None:
    count = tmp_path / "count"
    count.mkdir()
    note = b"note:" + os.fsencode(count)
    deliver(tree, documents.mail(("a.txt", note)))
    assert feed(tree, index).attachments.read == 1
    deliver(tree, *(documents.mail((f"{n}.txt", note), subject=f"copy {n}") for n in range(6)), first=10)
    assert feed(tree, index).attachments.known == 6
    index.clear()
    report = feed(tree, index)
    assert (report.added, report.attachments.read, report.attachments.known) == (7, 0, 7)
    assert len(found(tree, index, "attachment:noted")) == 7
    assert len(os.listdir(count)) == 1


HOSTILE = {b"crash": DEADLY, b"kill": DEADLY, b"hang": LATE}


def test_hostile_ones_cost_a_warning_each(tree: Tree, index: Index) -> None:
    mails = {
        order: documents.mail(("evil.txt", order), ("fine.txt", b"plain words"), subject=order.decode())
        for order in HOSTILE
    }
    deliver(tree, *mails.values(), *(message(n) for n in range(10)))
    reading = replace(READING, seconds=3.0)
    expected = {Unread(key_of(mails[order]), "2", reason) for order, reason in HOSTILE.items()}
    report = feed(tree, index, reading)
    assert set(report.attachments.unread) == expected
    assert (report.added, report.unreadable) == (13, [])
    assert set(found(tree, index, "attachment:words")) == {key_of(mail) for mail in mails.values()}
    index.clear()
    report = feed(tree, index, reading)
    assert set(report.attachments.unread) == expected
    assert report.attachments.read == 0


def real(name: str) -> bytes:
    """What people make to hurt those who read it."""
    row = '<row><c t="inlineStr"><is><t>hello</t></is></c></row>'
    sheet = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    match name:
        case "bomb.zip":
            return documents.archive({"zeros": bytes(100_000_000)})
        case "bomb.docx":
            return documents.with_part(documents.docx("x"), "word/document.xml", b"<w:p>" * 40_000_000)
        case "sheet.xlsx":
            content = f'<worksheet xmlns="{sheet}"><sheetData>{row * 4_000_000}</sheetData></worksheet>'
            return documents.with_part(documents.xlsx("x"), "xl/worksheets/sheet1.xml", content)
        case "entities.docx":
            entities = "".join(f'<!ENTITY e{n + 1} "{f"&e{n};" * 10}">' for n in range(12))
            main = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
            content = (
                f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e0 "boom">{entities}]>'
                f'<w:document xmlns:w="{main}"><w:body><w:p><w:r><w:t>&e12;</w:t></w:r></w:p></w:body>'
                "</w:document>"
            )
            return documents.with_part(documents.docx("x"), "word/document.xml", content)
        case "endless.pdf":
            return endless_pdf()
        case "cut.pdf":
            return documents.pdf("x", pages=30)[:-9000]
    made = documents.archive({"core": b"x"})
    for depth in range(100):
        made = documents.archive({f"{depth}.zip": made})
    return made


def endless_pdf() -> bytes:
    """Pages whose parent is one of their kids, and a form that draws itself."""
    return (
        b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n"
        b"2 0 obj<</Type/Pages/Kids[3 0 R 2 0 R 4 0 R]/Count 1000000000>>endobj\n"
        b"3 0 obj<</Type/Page/Parent 2 0 R/Contents 5 0 R/Resources<</XObject<</F 6 0 R>>>>>>endobj\n"
        b"4 0 obj<</Type/Pages/Parent 2 0 R/Kids[2 0 R 4 0 R 3 0 R]/Count 1000000000>>endobj\n"
        b"5 0 obj<</Length 5>>stream\n/F Do\nendstream endobj\n"
        b"6 0 obj<</Type/XObject/Subtype/Form/Resources<</XObject<</F 6 0 R>>>>/Length 5>>stream\n"
        b"/F Do\nendstream endobj\ntrailer<</Root 1 0 R>>\n"
    )


def test_what_people_make_to_hurt(tree: Tree, index: Index) -> None:
    names = ["bomb.zip", "bomb.docx", "sheet.xlsx", "entities.docx", "endless.pdf", "cut.pdf", "nested.zip"]
    keys = deliver(tree, *(documents.mail((name, real(name)), subject=name) for name in names))
    report = feed(tree, index, Reading(25 << 20))
    assert (report.added, report.unreadable) == (len(names), [])
    blamed = {names[keys.index(each.key)] for each in report.attachments.unread}
    assert {"bomb.docx", "sheet.xlsx", "cut.pdf"} <= blamed
    assert found(tree, index, "attachment:zeros") == [keys[0]]
    assert found(tree, index, "attachment:99") == [keys[-1]]
    for name, key in zip(names, keys, strict=True):
        assert key in found(tree, index, f'subject:"{name}"')


def test_what_was_indexed_without_is_indexed_again(tree: Tree, index: Index) -> None:
    with_one = deliver(tree, documents.mail(("a.txt", b"plain words")), *(message(n) for n in range(5)))[0]
    assert feed(tree, index, None).added == 6
    assert found(tree, index, "attachment:words") == []
    assert feed(tree, index).added == 1
    assert found(tree, index, "attachment:words") == [with_one]
    assert feed(tree, index).added == 0
    assert feed(tree, index, None).added == 1
    assert found(tree, index, "attachment:words") == []


def test_where_the_reader_is_away_for_a_while(tree: Tree, index: Index) -> None:
    """What is in the index stays, what comes meanwhile is read when the reader is back."""
    away = replace(READING, known=True)
    before = deliver(tree, documents.mail(("a.txt", b"plain words")))
    feed(tree, index)
    meanwhile = deliver(tree, documents.mail(("b.txt", b"plain speech")), first=5)
    assert feed(tree, index, away).added == 1
    assert found(tree, index, "attachment:plain") == before
    assert feed(tree, index).added == 2
    assert set(found(tree, index, "attachment:plain")) == {*before, *meanwhile}


def test_a_kill_leaves_nothing_broken(tree: Tree, index: Index, rounds: int) -> None:
    mails = [documents.mail(("a.txt", b"slow:0.05"), (f"{n}.txt", b"words of %d" % n)) for n in range(40)]
    keys = deliver(tree, *mails)
    for number in range(rounds):
        with subprocess.Popen(
            [sys.executable, "-c", CHILD, tree.root, str(feeding.FEW)], stdout=subprocess.PIPE
        ) as child:
            assert child.stdout
            assert child.stdout.readline() == b"ready\n"
            wait_until(lambda: os.path.exists(attachments_path(tree.root)) or child.poll() is not None)
            time.sleep(0.1 * number)
            child.kill()
    wait_until(lambda: not readers(tree.root))
    report = feed(tree, index)
    assert report.unreadable == [] and report.attachments.unread == () and not report.attachments.lost
    assert index.keys() == set(keys)
    for number, key in enumerate(keys):
        assert found(tree, index, f'attachment:"words of {number}"') == [key]


CHILD = """\
import sys
from contextlib import nullcontext
from archiver.attachments import Reading
from archiver.indexer import bulk, drain, feed
from archiver.search.index import open_index
from archiver.store.layout import index_path
from archiver.store.ledger import Ledger
from tests.attachments.hostile import obey
feed.FEW, bulk.SHARE, bulk._WORTH = int(sys.argv[2]), 4, 1
if __name__ == "__main__":
    with Ledger(sys.argv[1]) as ledger:
        print("ready", flush=True)
        index = open_index(index_path(sys.argv[1]))
        drain(ledger, index, nullcontext, workers=2, attachments=Reading(1 << 20, work=obey))
"""


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def readers(root: str) -> list[int]:
    """Processes that have a file of the archive open."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            names = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        except OSError:
            continue
        if int(pid) != os.getpid() and any(name.startswith(root) for name in names):
            found.append(int(pid))
    return found


@contextmanager
def noted(held: Path) -> Iterator[None]:
    """A lock that is a file as long as it is held."""
    held.touch()
    try:
        yield
    finally:
        held.unlink()


def test_no_lock_is_held_while_a_few_are_read_that_come_during_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeding, "FEW", 3)
    monkeypatch.setattr(bulk, "SHARE", 4)
    held, archive = tmp_path / "held", tmp_path / "archive"
    tree, index = Tree(str(archive)), open_index(index_path(str(archive)))
    seen: list[int] = []

    def advance(done: int, total: int) -> None:
        if index.count() and not seen:
            deliver(tree, documents.mail(("a.txt", b"absent:1:" + os.fsencode(held))), first=99)
            seen.append(index.count())

    with tree.ledger:
        deliver(tree, *(message(n) for n in range(1, 20)))
        drain(tree.ledger, index, lambda: noted(held), workers=1, attachments=READING, advance=advance)
        assert seen[0] < 19 < index.count()
        assert len(found(tree, index, "attachment:absent")) == 1
    index.close()


def test_no_lock_is_held_while_a_few_are_read(tmp_path: Path) -> None:
    held = tmp_path / "held"
    archive = tmp_path / "archive"
    tree, index = Tree(str(archive)), open_index(index_path(str(archive)))
    with tree.ledger:
        for first in (1, 2):
            deliver(tree, documents.mail(("a.txt", b"absent:%d:" % first + os.fsencode(held))), first=first)
            drain(tree.ledger, index, lambda: noted(held), attachments=READING)
        assert len(found(tree, index, "attachment:absent")) == 2
    index.close()


def test_who_asks_to_stop_does_not_wait_for_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeding, "PATIENCE", 0.5)
    tree, index = Tree(str(tmp_path)), open_index(index_path(str(tmp_path)))
    slow = [documents.mail((f"{n}.txt", b"slow:0.6"), (f"{n}.txt", b"words %d" % n)) for n in range(40)]
    with tree.ledger:
        deliver(tree, *slow)
        with pytest.raises(InterruptedRun):
            drain(tree.ledger, index, nullcontext, attachments=READING, stop=lambda: True)
        assert index.state() is None
        with closing(Cache(str(tmp_path))) as known:
            assert known.get(digest_of(b"words 0"), "text") == Entry("words 0")
            assert known.get(digest_of(b"words 39"), "text") is None
    index.close()


def test_a_lost_cache_costs_time_only(tree: Tree, index: Index) -> None:
    deliver(tree, documents.mail(("a.txt", b"plain words")))
    feed(tree, index)
    Path(attachments_path(tree.root)).write_bytes(b"no database" * 1000)
    deliver(tree, documents.mail(("a.txt", b"plain words"), subject="another"), first=2)
    report = feed(tree, index)
    assert report.attachments.lost and report.attachments.read == 1
    assert len(found(tree, index, "attachment:words")) == 2
