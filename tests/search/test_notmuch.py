"""Conversations of real mail beside notmuch's of the same: `bench/threads.py` does it with all of it.

Two rules differ, and nothing else may: a reply that names no message is joined by its subject here and
stands alone there; an id without angle brackets in In-Reply-To counts here and not there.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from itertools import islice
from pathlib import Path

import pytest

from archiver.message import parse
from archiver.search.index import IndexState, document, open_index
from bench import threads
from tests.search.test_corpus import messages

COUNT = 800


def test_the_same_company_as_in_notmuch(tmp_path: Path) -> None:
    if shutil.which("notmuch") is None:
        pytest.skip("NOT TESTED beside notmuch: it is not installed")
    found = {hashlib.sha256(raw).digest(): raw for raw in islice(messages("list-18k"), COUNT)}
    theirs = by_notmuch(tmp_path, found)
    index = open_index(str(tmp_path / "index"))
    index.apply(
        [document(key, 1_800_000_000, len(raw), parse(raw)) for key, raw in found.items()],
        (),
        IndexState("L", 1),
    )
    ours = threads.our_threads(index)
    assert len(ours) == len(theirs) > COUNT * 0.9
    assert COUNT // 10 < len(set(theirs.values())) < COUNT // 2, "these messages are no conversations"
    same = sum(theirs[name] == threads.names(conversation) for name, conversation in ours.items())
    assert same / len(ours) >= threads.TARGET
    reasons = [threads.why(each, theirs, found.__getitem__) for each in threads.differing(ours, theirs)]
    assert threads.UNKNOWN not in reasons
    index.close()


def by_notmuch(directory: Path, found: dict[bytes, bytes]) -> dict[str, frozenset[str]]:
    cur = directory / "mail" / "cur"
    for each in ("cur", "new", "tmp"):
        (cur.parent / each).mkdir(parents=True)
    for key, raw in found.items():
        (cur / f"1.{key.hex()[:32]}.test:2,").write_bytes(raw)
    config = directory / "notmuch-config"
    config.write_text(f"[database]\npath={cur.parent}\n", encoding="utf-8")
    command = ["notmuch", f"--config={config}"]
    subprocess.run([*command, "new", "--quiet"], check=True)
    return threads.notmuch_threads(command)
