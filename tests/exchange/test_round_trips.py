"""Exported and imported again: byte for byte, but for what an mbox is said to change."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archiver.errors import StoreError
from archiver.exchange import mbox
from archiver.store.maildir import key_of
from tests.exchange.conftest import Box
from tests.message.samples import corpus
from tests.pull import checks
from tests.store.conftest import fast_directory
from tests.store.tree import message

FORMATS = ["maildir", "eml", "zip", "mbox"]
FAITHFUL = FORMATS[:3]
RECEIVED = 1_600_000_000

lines = st.sampled_from(
    [b"", b"From x", b">From x", b"Subject: x", b"Date: Mon, 1 Jan 2024", b"\0", b"\xff", b"t"]
)
wires = st.lists(st.tuples(lines, st.sampled_from([b"\r\n", b"\r\n", b"\n", b"\r", b""])), max_size=6).map(
    lambda pairs: b"".join(line + end for line, end in pairs)
)
trees = st.dictionaries(
    st.sampled_from(["INBOX", "Lists/python", "Küche & Bad", "..", "cur", "a.b", "&-", "仕事/会議", "%41"]),
    st.lists(wires.filter(bool), min_size=1, max_size=4, unique=True),
    min_size=1,
    max_size=4,
)


@pytest.mark.parametrize("format_", FAITHFUL)
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(tree=trees)
def test_any_bytes_in_any_folders(format_: str, tree: dict[str, list[bytes]]) -> None:
    with fast_directory() as first, fast_directory() as second, fast_directory() as out:
        source, target = Box(first), Box(second)
        for name, contents in tree.items():
            source.file(source.folder(name), contents, flags="FS")
        report = source.give(f"{out}/x", format=format_, account="work")
        assert (report.messages, report.differing) == (sum(map(len, tree.values())), 0)
        assert target.take(f"{out}/x").failed == 0
        kept = "FS" if format_ == "maildir" else ""
        assert target.facts() == {(*fact[:3], kept) for fact in source.facts("work")}
        assert target.wires() == source.wires("work")
        for each in (source, target):
            each.ledger.close()


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(contents=st.lists(wires.filter(bool), min_size=1, max_size=6, unique=True))
def test_an_mbox_names_those_it_changes(contents: list[bytes]) -> None:
    with fast_directory() as first, fast_directory() as second, fast_directory() as out:
        source, target = Box(first), Box(second)
        source.file(source.folder(), contents)
        report = source.give(f"{out}/x.mbox", account="work")
        target.take(f"{out}/x.mbox")
        kept = {wire for wire in contents if key_of(wire).hex() not in report.altered}
        assert kept == {wire for wire in contents if mbox.render(wire, 0)[1]}
        assert kept <= {wire for wires in target.wires().values() for wire in wires}
        for each in (source, target):
            each.ledger.close()


@pytest.mark.parametrize("format_", FORMATS)
def test_real_mail(box: Box, fast_path: Path, format_: str) -> None:
    """The hardest mail there is, twice around."""
    contents = list(dict.fromkeys(raw for _, raw in corpus("torture") if raw))
    box.file(box.folder(), contents)
    first = box.give(fast_path / "first", format=format_, account="work")
    assert first.messages == len(contents)
    taken = box.take(fast_path / "first", "second")
    assert (taken.failed, taken.passed) == (0, 0)
    back = set(box.wires("second")["INBOX"])
    altered = {wire for wire in contents if key_of(wire).hex() in first.altered}
    assert len(altered) == first.differing and (format_ == "mbox" or not altered)
    assert set(contents) - altered <= back and len(back) <= len(contents)
    again = box.give(fast_path / "again", format=format_, account="second")
    assert (again.messages, again.differing) == (len(back), 0)
    box.take(fast_path / "again", "third")
    assert set(box.wires("third")["INBOX"]) == back
    assert checks.findings(box.root) == []


def test_the_account_is_a_level_where_it_is_not_named(box: Box, tmp_path: Path) -> None:
    for account in ("work", "home"):
        box.file(box.folder("Lists/a", account), [message(1), message(2)])
    box.give(tmp_path / "all.zip", folders=("*",))
    box.take(tmp_path / "all.zip", "both", folder="From")
    assert set(box.wires("both")) == {"From/work/Lists/a", "From/home/Lists/a"}
    report = box.give(tmp_path / "flat.zip", folders=("*",), flat=True)
    assert report.messages == 2


def test_where_no_file_is_whole_it_is_not_said_that_there_is_nothing(box: Box, tmp_path: Path) -> None:
    box.file(box.folder(), [message(1), message(2)])
    for path in checks.files(box.root):
        path.write_bytes(b"damaged")
    with pytest.raises(StoreError, match=r"none of 2 messages can be read; the first: .* is damaged"):
        box.give(tmp_path / "out.mbox", account="work")
    assert os.listdir(tmp_path) == []
